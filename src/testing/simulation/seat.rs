//! The reactors of a run, and the worlds they sit in.

use std::io;
use std::time::Duration;

use super::book::{Book, Role};
use super::datagrams::Answerer;
use super::places::client_at;
use super::watched::{Doorman, Watched};
use super::{Simulation, places};
use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::handler::{AtLimit, Connect, Handle, StreamHandler};
use crate::hub::limits::Limits;
use crate::protocols::Echo;
use crate::reactor::{Neighbours, Placement, Reactor, Spread};
use crate::sim::{Mishap, Node, World};
use crate::sys::{DatagramOptions, ListenOptions, Platform};

/// A reactor and what the run knows of it.
pub(super) struct Seat {
    pub(super) reactor: Reactor<(), Node>,
    /// Its number among the seats.
    host: usize,
    node: usize,
    pub(super) turns: u64,
    /// When it goes on without news, as it said at the end of its turn: to ask it again would be
    /// a wake-up that nobody else gives.
    sleeps_until: Option<Time>,
    pub(super) stalled_until: Time,
    pub(super) is_stopped: bool,
    /// The most that its listeners accept in one turn, where all that come are its own.
    accepted_max: u64,
}

impl Seat {
    fn new(reactor: Reactor<(), Node>, host: usize, node: usize, accepted_max: u64) -> Seat {
        Seat {
            reactor,
            host,
            node,
            turns: 0,
            sleeps_until: Some(Time::ZERO),
            stalled_until: Time::ZERO,
            is_stopped: false,
            accepted_max,
        }
    }

    /// Its host begins a connection between two turns, and sees to it that there is another.
    pub(super) fn connect(
        &mut self,
        to: impl Into<Connect>,
        handler: impl StreamHandler,
    ) -> Result<ConnId, AtLimit> {
        self.sleeps_until = Some(Time::ZERO);
        self.reactor.connect(to, handler)
    }

    /// When it would turn next, by now or later.
    pub(super) fn next_turn(&self, world: &World) -> Option<Time> {
        if self.is_stopped {
            return None;
        }
        let now = world.now();
        let next = if world.has_news(self.node) { Some(now) } else { self.sleeps_until };
        next.map(|next| next.max(now).max(self.stalled_until))
    }

    /// Turns, if there is something to do and the host is not stalled. Answers whether it did.
    pub(super) fn turn(&mut self, world: &World, book: &Book, rng: &mut Rng) -> io::Result<bool> {
        let now = world.now();
        if self.next_turn(world).is_none_or(|next| next > now) {
            return Ok(false);
        }
        if world.deals(Mishap::HostStalls) {
            let span = Duration::from_micros(rng.below(STALL_MOST));
            self.stalled_until = now + span;
            book.note_stall(self.host, span);
            return Ok(false);
        }
        book.begin_turn();
        let before = book.accepted();
        let turn = self.reactor.turn(Some(Duration::ZERO))?;
        self.sleeps_until = self.reactor.next_deadline().map(|left| world.now() + left);
        let accepted = book.accepted() - before;
        // A shutdown takes all who have come.
        let most = if turn.is_stopped { u64::MAX } else { self.accepted_max };
        book.check(accepted <= most || self.reactor.is_draining(), || {
            format!("{accepted} accepted in a turn")
        });
        self.turns += 1;
        self.is_stopped = turn.is_stopped;
        if self.turns % CHECK_EVERY == 0 {
            self.reactor.check();
        }
        Ok(true)
    }

    /// Whether it has ever held more bytes than it should.
    pub(super) fn was_tight(&self, limits: &Limits) -> bool {
        let handle = self.reactor.handle();
        // The far end is the only one of its handle.
        let most = handle.metrics_of(self.host % handle.reactor_count()).buffered_bytes_most;
        most > limits.buffered_bytes as u64
    }
}

/// The reactors of one server, of which the first accepts, and the far end that outgoing
/// connections lead to, on a host of its own.
pub(super) fn seats(
    simulation: &Simulation,
    world: &World,
    book: &Book,
    limits: &Limits,
    count: usize,
    rng: &mut Rng,
) -> io::Result<(Vec<Seat>, Handle)> {
    let nodes: Vec<Node> = (0..count).map(|_| world.node()).collect();
    let handle = Handle::new(nodes.iter().map(Platform::waker).collect(), limits.mailbox);
    let placements = [Placement::RoundRobin, Placement::LeastLoaded];
    let placement = placements[rng.below(2) as usize];
    let mut circle = Neighbours::circle(count, placement, limits.mailbox).into_iter();
    let spread = if count > 1 { Spread::Over } else { Spread::Here };
    let addresses = if simulation.is_own() { 1 } else { 2 };
    let addresses = &[places::inet(), places::unix()][..addresses];
    let endpoints: Vec<_> = addresses.iter().map(|_| handle.next_endpoint()).collect();
    let mut seats = Vec::new();
    for (host, mut platform) in nodes.into_iter().enumerate() {
        let node = platform.number();
        let mut listeners = Vec::new();
        for address in addresses {
            let is_first = host == 0;
            let listener = is_first.then(|| platform.listen(address, &ListenOptions::default()));
            listeners.push(listener.transpose()?);
        }
        let neighbours = circle.next().filter(|_| count > 1);
        let mut reactor =
            Reactor::assemble(platform, limits.clone(), handle.clone(), host as u32, neighbours)?;
        for (&endpoint, listener) in endpoints.iter().zip(listeners) {
            let make = simulation.handler(book, rng.next_u64());
            let doorman = Doorman { book: book.clone(), make, client_at };
            reactor.add_listener(endpoint, listener, Box::new(doorman), spread)?;
        }
        if host == 0 && !simulation.is_own() {
            for address in [places::inet(), places::unix_datagrams()] {
                let answerer = Answerer::new(book.clone());
                reactor.bind_datagram(&address, &DatagramOptions::default(), answerer)?;
            }
        }
        let accepted_max = (limits.accept_budget * addresses.len()) as u64;
        let accepted_max = if count > 1 { u64::MAX } else { accepted_max };
        seats.push(Seat::new(reactor, host, node, accepted_max));
    }
    seats.push(far_end(world, book, limits, count)?);
    Ok((seats, handle))
}

/// An echo, which has a name.
fn far_end(world: &World, book: &Book, limits: &Limits, host: usize) -> io::Result<Seat> {
    // Nobody listens at the first.
    world.name(places::FAR_NAME, vec![([10, 0, 0, 3], 0).into(), ([10, 0, 0, 2], 0).into()]);
    let platform = world.node();
    let node = platform.number();
    let limits = Limits { connections: usize::from(u16::MAX), ..limits.clone() };
    let accepted_max = limits.accept_budget as u64;
    let mut reactor = Reactor::with_platform(platform, limits)?;
    let book = book.clone();
    reactor.listen(&places::far(), move |peer: &NetAddr| {
        let echo = Watched::new(&book, Role::Far, Echo);
        book.note_address(echo.row, peer.clone());
        echo
    })?;
    Ok(Seat::new(reactor, host, node, accepted_max))
}

/// Small ones, so that they are met.
pub(super) fn chosen_limits(rng: &mut Rng) -> Limits {
    let high = 100 + rng.below(20_000) as usize;
    let is_tight = rng.chance(1, 4);
    Limits {
        connections: if rng.chance(1, 3) { 4 + rng.below(12) as usize } else { 1000 },
        outbox_low_bytes: 1 + rng.below(100) as usize,
        outbox_high_bytes: high,
        outbox_max_bytes: 1 << 20,
        buffered_bytes: if is_tight { 4000 } else { 1 << 26 },
        read_budget_bytes: if rng.chance(1, 2) { 1 << 16 } else { 1 + rng.below(5000) as usize },
        accept_budget: 1 + rng.below(8) as usize,
        ..Limits::default()
    }
}

const CHECK_EVERY: u64 = 64;
/// Microseconds, of [`Mishap::HostStalls`].
const STALL_MOST: u64 = 5_000_000;
