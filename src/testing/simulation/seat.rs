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
use crate::hub::limits::{Limits, WhenFull};
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
    is_far: bool,
    pub(super) turns: u64,
    /// When it goes on without news, as it said at the end of its turn: to ask it again would be
    /// a wake-up that nobody else gives.
    sleeps_until: Option<Time>,
    pub(super) stalled_until: Time,
    pub(super) is_stopped: bool,
    stuck: Option<Stuck>,
    /// The most that its listeners accept in one turn, where all that come are its own.
    accepted_max: u64,
}

/// What a reactor had written and ended, handlers took of rests, and it holds, since when.
struct Stuck {
    state: ((u64, u64, u64), usize),
    since: Time,
    /// By its host.
    lost: Duration,
}

impl Seat {
    fn new(reactor: Reactor<(), Node>, host: usize, node: usize, accepted_max: u64) -> Seat {
        Seat {
            reactor,
            host,
            node,
            is_far: false,
            turns: 0,
            sleeps_until: Some(Time::ZERO),
            stalled_until: Time::ZERO,
            is_stopped: false,
            stuck: None,
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

    /// Whether letters wait for it, and nobody has woken it.
    pub(super) fn is_overslept(&self, world: &World) -> bool {
        let (handle, now) = (self.reactor.handle(), world.now());
        let has_letters = handle.has_letters((self.host % handle.reactor_count()) as u32);
        has_letters
            && !self.is_stopped
            && self.next_turn(world).is_none_or(|next| next > now)
            && now >= self.stalled_until
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
        self.check_rate(world.now(), book);
        self.check_relief(world.now(), book);
        self.turns += 1;
        self.is_stopped = turn.is_stopped;
        if self.turns % CHECK_EVERY == 0 {
            self.reactor.check();
        }
        Ok(true)
    }

    /// Where more bytes are held than may be, and nothing moves for as long as it may, somebody
    /// has to go.
    fn check_relief(&mut self, now: Time, book: &Book) {
        let (most, overload) =
            book.with(|pages| (pages.limits.buffered_bytes, pages.limits.overload));
        let held = self.reactor.buffered_bytes();
        if held <= most {
            self.stuck = None;
            return;
        }
        let counters = self.reactor.counters();
        let rests_taken = book.with(|pages| pages.rests_taken);
        let moved = (counters.written_bytes, counters.closed, rests_taken);
        let lost = book.lost_by(self.host);
        match &self.stuck {
            Some(stuck) if stuck.state == (moved, held) => {
                let latest = stuck.since + overload + (lost - stuck.lost) + TICK;
                book.check(now <= latest, || {
                    format!("{held} bytes are held since {}", stuck.since)
                });
            }
            _ => self.stuck = Some(Stuck { state: (moved, held), since: now, lost }),
        }
    }

    /// As many are accepted as may be in that time, and a burst of a tenth of a second's worth. At
    /// a shutdown all who are in the queue are.
    fn check_rate(&self, now: Time, book: &Book) {
        let per_second = book.with(|pages| pages.limits.accepts_per_second);
        if per_second < u32::MAX && !self.is_far && !self.reactor.is_draining() {
            let accepted = self.reactor.counters().accepted;
            let span = (now - Time::ZERO) + Duration::from_millis(100);
            let interval = Duration::from_secs(1) / per_second;
            let most = 1 + (span.as_nanos() / interval.as_nanos()) as u64;
            book.check(accepted <= most, || format!("{accepted} accepted by {now}, of {most}"));
        }
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
            reactor.add_listener(endpoint, listener, Box::new(doorman), Spread::Over)?;
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
    let limits = Limits {
        connections: usize::from(u16::MAX),
        connections_per_client: usize::MAX,
        accepts_per_second: u32::MAX,
        mailbox: Limits::default().mailbox,
        ..limits.clone()
    };
    let accepted_max = 2 * limits.accept_budget as u64;
    let mut reactor = Reactor::with_platform(platform, limits)?;
    for address in [places::far(), places::far_unix()] {
        let book = book.clone();
        reactor.listen(&address, move |peer: &NetAddr| {
            let echo = Watched::new(&book, Role::Far, Echo);
            book.note_address(echo.row, peer.clone());
            echo
        })?;
    }
    Ok(Seat { is_far: true, ..Seat::new(reactor, host, node, accepted_max) })
}

/// Small ones, so that they are met. Most deadlines are as usual, or others would hide behind
/// them.
pub(super) fn chosen_limits(rng: &mut Rng) -> Limits {
    let high = 100 + rng.below(20_000) as usize;
    let is_tight = rng.chance(1, 4);
    let usual = Limits::default();
    let mut some = |odds, bound| rng.chance(1, odds).then(|| rng.below(bound));
    let mut span = |usual| {
        let short = some(10, SHORT_MOST).map(|millis| Duration::from_millis(20 + millis));
        short.unwrap_or(usual)
    };
    let spans = [usual.overload, usual.first_byte, usual.idle, usual.message].map(&mut span);
    let [overload, first_byte, idle, message] = spans;
    let spans = [usual.write_progress, usual.connect, usual.flush, usual.linger].map(&mut span);
    let [write_progress, connect, flush, linger] = spans;
    let mailbox = some(4, 4).map_or(usual.mailbox, |few| 1 + few as usize);
    let connections_per_client = some(6, 4).map_or(usize::MAX, |few| 1 + few as usize);
    let datagram_budget = some(2, 4).map_or(usual.datagram_budget, |few| 1 + few as usize);
    let outbox_max_bytes = some(8, 20_000).map_or(LARGE_OUTBOX, |more| high + more as usize);
    let accepts_per_second = some(6, 200).map_or(u32::MAX, |few| 20 + few as u32);
    // Drawn aside: what is drawn after it, for the same seed, is what it was before this was.
    let mut aside = Rng::new(rng.clone().next_u64());
    let datagrams_per_peer =
        if aside.chance(1, 4) { 1 + aside.below(3) as usize } else { usize::MAX };
    Limits {
        connections: if rng.chance(1, 3) { 4 + rng.below(12) as usize } else { 1000 },
        when_full: if rng.chance(1, 2) { WhenFull::Wait } else { WhenFull::Refuse },
        connections_per_client,
        accepts_per_second,
        overload,
        first_byte,
        idle,
        message,
        write_progress,
        connect,
        flush,
        linger,
        mailbox,
        outbox_low_bytes: 1 + rng.below(100) as usize,
        outbox_high_bytes: high,
        outbox_max_bytes,
        datagram_budget,
        datagrams_per_peer,
        buffered_bytes: if is_tight { 300 + rng.below(4000) as usize } else { 1 << 26 },
        read_budget_bytes: if rng.chance(1, 2) { 1 << 16 } else { 1 + rng.below(5000) as usize },
        accept_budget: 1 + rng.below(8) as usize,
        ..Limits::default()
    }
}

/// More than there is to say.
pub(super) const LARGE_OUTBOX: usize = 1 << 20;
/// Milliseconds, of a deadline that is meant to strike.
const SHORT_MOST: u64 = 500;
/// Of the wheel.
const TICK: Duration = Duration::from_millis(1);
const CHECK_EVERY: u64 = 64;
/// Microseconds, of [`Mishap::HostStalls`].
const STALL_MOST: u64 = 5_000_000;
