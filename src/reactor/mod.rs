//! Floor 4: the loop.
//!
//! `turn` is the map: every step has a file here, or a function below. One place reads (`read`),
//! one writes (`write`), one frees (`reap`); callbacks never nest, and slots come free at the end
//! of a turn only, so nothing that happens within a turn can hit a stranger.
//!
//! A connection is in two tables under one number: its `Side` here has the *source* that the
//! platform owns and the *inbound* half that one handler owns; the [`Hub`] has the *outbound* half
//! that any callback may write to. A handler runs with its inbound half and the hub borrowed side by
//! side.
//!
//! What one echoed request costs on Linux, a turn serving n connections: 1/n `epoll_wait`, one
//! `recv`, one `send`; no copy, no allocation, one virtual call, and the clock is read twice a
//! turn. A turn of nothing but such requests ends where they are served (`straight`); all the
//! other steps are for whoever is on a list.

mod accept;
mod call;
mod connect;
mod datagram;
mod due;
mod endpoint;
mod host;
mod letters;
mod place;
mod read;
mod reap;
mod rest;
mod shutdown;
mod side;
mod stall;
mod straight;
#[cfg(test)]
mod tests;
mod turn;
mod write;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use slab::Slab;

use self::connect::Attempts;
use self::endpoint::Endpoint;
use self::letters::EarlyLetters;
pub use self::place::Placement;
pub(crate) use self::place::{Neighbours, Spread};
use self::shutdown::Stage as ShutdownStage;
use self::side::Side;
pub use self::turn::Turn;
use crate::base::carry::Carry;
use crate::base::rate::Rate;
use crate::handler::handle::Letter;
use crate::handler::{Desk, Handle};
use crate::hub::agenda::Agenda;
use crate::hub::counters::Report;
use crate::hub::limits::Limits;
use crate::hub::outbound::Flags;
use crate::hub::{Hub, Phase};
use crate::sys::{Edge, Os, Platform, Readiness, ReceiveBatch, Token};

/// An event loop that owns the sockets of one thread.
///
/// It is a plain value: no globals, no threads of its own (but for looking up host names, once
/// one is used), and it never touches signals, loggers or process limits. Run it with
/// [`run`](Reactor::run), or drive it from a loop of your own with [`turn`](Reactor::turn),
/// [`next_deadline`](Reactor::next_deadline) and its descriptor (`AsFd`).
///
/// `M` is the type of the messages that a [`Handle`] may send from other threads; `P` is the
/// world it lives in, which is mio's unless it is a simulated one ([`crate::sim`]).
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use tidemill::{NetAddr, Reactor, protocols::Echo};
///
/// let mut reactor: Reactor = Reactor::new()?;
/// let (_, address) = reactor.listen(&"127.0.0.1:0".parse()?, |_: &NetAddr| Echo)?;
/// let handle = reactor.handle().clone();
///
/// let client = std::thread::spawn(move || {
///     let mut stream = std::net::TcpStream::connect(address.inet().unwrap())?;
///     stream.write_all(b"hello")?;
///     let mut answer = [0; 5];
///     stream.read_exact(&mut answer)?;
///     handle.shutdown(Duration::from_secs(1));
///     std::io::Result::Ok(answer)
/// });
///
/// reactor.run()?;
/// assert_eq!(&client.join().unwrap()?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reactor<M: 'static = (), P: Platform = Os> {
    platform: P,

    /// What the hub does not know of each connection, in the places of its rows.
    sides: Vec<Side<M, P>>,
    desk: Desk<M>,

    endpoints: Slab<Endpoint<M, P>>,
    /// Endpoints that an edge or a deadline has made worth looking at.
    ready_endpoints: Vec<u32>,
    endpoint_agenda: Agenda,
    neighbours: Option<Neighbours<P::Stream>>,
    /// How often this reactor accepts.
    accept_rate: Rate,
    /// Whether a listener may be resting until a connection closes, be it at a neighbour's.
    is_holding: bool,
    attempts: Attempts,
    /// Messages for outgoing connections that are not made yet.
    early_letters: EarlyLetters<M>,

    /// What was just read. There is one such buffer for all connections.
    scratch: Box<[u8; SCRATCH_BYTES]>,
    /// The same for datagrams, once there is a socket for them.
    batch: Option<ReceiveBatch>,
    /// An empty carry for the next connection that needs one.
    spare_carry: Option<Box<Carry>>,
    shutdown: ShutdownStage,
    report: Report,

    // Kept from turn to turn for their allocation only.
    due: Vec<u32>,
    letters: Vec<Letter<M>>,
    slots: Vec<u32>,
}

const SCRATCH_BYTES: usize = 64 * 1024;

impl<M: 'static> Reactor<M> {
    /// A reactor with the default [`Limits`].
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn new() -> io::Result<Reactor<M>> {
        Reactor::with_limits(Limits::default())
    }

    /// A reactor with limits of your own.
    ///
    /// # Errors
    /// The system has no descriptors left, or [`Limits::check`] complains.
    pub fn with_limits(limits: Limits) -> io::Result<Reactor<M>> {
        Reactor::with_platform(Os::new()?, limits)
    }

    /// Before it sleeps, the reactor asks the system for so long whether there is something to do
    /// (zero, the default: not at all). An answer then comes without the time that it takes to be
    /// woken; what it costs is the processor, all of it, and a sleep that begins later. It is
    /// for a reactor with a processor to itself whose clients wait for each answer.
    pub fn set_busy_poll(&mut self, busy_poll: Duration) {
        self.platform.set_busy_poll(busy_poll);
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// A reactor in a world of your own, such as a simulated one.
    ///
    /// # Errors
    /// [`Limits::check`] complains.
    pub fn with_platform(platform: P, limits: Limits) -> io::Result<Reactor<M, P>> {
        let limits = limits.checked()?;
        let handle = Handle::new(vec![platform.waker()], limits.mailbox);
        Reactor::assemble(platform, limits, handle, 0, None)
    }

    /// One of several reactors that share a handle.
    pub(crate) fn assemble(
        platform: P,
        limits: Limits,
        handle: Handle<M>,
        index: u32,
        neighbours: Option<Neighbours<P::Stream>>,
    ) -> io::Result<Reactor<M, P>> {
        let mut hub = Hub::new(index, limits.checked()?, handle.ledger(index).clone());
        hub.now = platform.now();
        let accept_rate = Rate::per_second(hub.limits.accepts_per_second);
        Ok(Reactor {
            platform,
            sides: Vec::new(),
            desk: Desk::new(hub, handle),
            endpoints: Slab::new(),
            ready_endpoints: Vec::new(),
            endpoint_agenda: Agenda::default(),
            neighbours,
            accept_rate,
            is_holding: false,
            attempts: Attempts::default(),
            early_letters: EarlyLetters::default(),
            scratch: vec![0; SCRATCH_BYTES].try_into().expect("it is as long"),
            batch: None,
            spare_carry: None,
            shutdown: ShutdownStage::Running,
            report: Report::default(),
            due: Vec::new(),
            letters: Vec::new(),
            slots: Vec::new(),
        })
    }

    /// An edge becomes flags, and whoever it concerns goes on a list. Nothing is read yet.
    #[inline(never)] // the usual ones are served without
    fn note_edge(&mut self, edge: Edge) {
        const NOT_ALL: Readiness =
            Readiness::READ_CLOSED.with(Readiness::ERROR).with(Readiness::PRIORITY);
        const INPUT: Readiness = Readiness::READABLE.with(NOT_ALL);
        const OUTPUT: Readiness =
            Readiness::WRITABLE.with(Readiness::WRITE_CLOSED).with(Readiness::ERROR);

        let Edge { token, ready } = edge;
        log::trace!("edge {token:?}: {ready:?}");
        let slot = match token {
            Token::Connection(slot) => slot,
            Token::Endpoint(slot) => return self.note_endpoint(slot),
        };
        let hub = &mut self.desk.hub;
        // An edge may be late: then it names nobody, or somebody who is only told to look.
        let Some(row) = hub.rows.get_mut(slot as usize) else { return };
        if ready.has(NOT_ALL) {
            row.flags.set(Flags::READ_TO_THE_END);
        }
        if ready.has(INPUT) {
            row.flags.set(Flags::READABLE);
            if row.is_to_be_read() && row.flags.insert(Flags::RUNNABLE) {
                hub.runnable.push(slot);
                hub.wants_work = true;
            }
        }
        // Every edge says that writing is possible, and hardly any that it has become so.
        if ready.has(OUTPUT) && row.flags.insert(Flags::WRITABLE) {
            self.note_writable(slot);
        }
        // Even one that nobody reads from or writes to must end.
        if ready.has(Readiness::ERROR) && self.desk.hub.row(slot).flags.insert(Flags::ERROR) {
            self.desk.hub.mark_dirty(slot);
        }
    }

    fn note_writable(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        let row = hub.row(slot);
        if row.outbox.is_some() {
            log::trace!("{}: resumed, {} bytes wait", hub.id(slot), hub.backlog(slot));
            hub.mark_dirty(slot);
        } else if row.phase() == Phase::Connecting {
            hub.mark_dirty(slot);
        }
    }

    /// Asserts that the tables are in step, and what holds between turns.
    ///
    /// # Panics
    /// Something does not hold, which is a bug of this crate.
    pub fn check(&self) {
        let hub = &self.desk.hub;
        hub.check();
        self.check_deadlines();
        self.check_told();
        self.endpoint_agenda.check();
        let mut buffered = 0;
        for (slot, row) in &hub.rows {
            // A connection that was asked for gets its side next turn.
            let side = self.sides.get(slot);
            let inbound = side.and_then(|side| side.inbound.as_ref());
            let source = side.and_then(|side| side.source.as_ref());
            let waits = self.desk.outgoing.iter().any(|asked| asked.id.slot() as usize == slot);
            assert!(inbound.is_some() || waits, "a row without a handler");
            assert!(
                source.is_some() || row.phase() != Phase::Open || waits,
                "a row without a socket"
            );
            if let Some(rest) = inbound.and_then(|inbound| inbound.rest.as_ref()) {
                assert!(!rest.is_empty(), "a rest that is empty is taken away");
                rest.check();
                buffered += rest.len();
            }
        }
        assert!(buffered <= hub.budget.used(), "rests are charged");
        let is_amid = |slot| self.rest_len(slot) > 0;
        assert!(hub.budget.holder().is_none_or(is_amid), "a permit that is not passed on");
        assert!(self.sides.iter().flat_map(|end| &end.inbound).count() <= hub.rows.len());
        assert!(self.sides.iter().flat_map(|end| &end.source).count() <= hub.rows.len());
    }
}

/// The descriptor that becomes readable when the reactor has something to do, for a loop of your
/// own to poll.
impl<M: 'static> AsFd for Reactor<M> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.platform.as_fd()
    }
}

impl<M: 'static> AsRawFd for Reactor<M> {
    fn as_raw_fd(&self) -> RawFd {
        self.platform.as_raw_fd()
    }
}

impl<M: 'static, P: Platform> Drop for Reactor<M, P> {
    /// Closes everything at once; handlers are dropped without a callback. A
    /// [`shutdown`](Handle::shutdown) before is the orderly way.
    fn drop(&mut self) {
        for letter in self.desk.handle.close_mailbox(self.desk.hub.reactor) {
            self.let_go("a letter", letter);
        }
        let arrivals = self.neighbours.as_ref().map_or_else(Vec::new, Neighbours::close);
        for arrival in arrivals {
            self.platform.close(arrival.stream);
            self.desk.handle.leave(&arrival.peer, &self.desk.hub.limits);
            self.desk.handle.count_closed(&self.desk.hub.counters);
        }
        for stream in self.sides.iter_mut().filter_map(|side| side.source.take()) {
            self.platform.close(stream);
        }
        self.remove_endpoints();
        for (_, row) in &self.desk.hub.rows {
            if row.is_accepted() {
                self.desk.handle.leave(&row.peer.address(), &self.desk.hub.limits);
            }
            self.desk.handle.count_closed(&self.desk.hub.counters);
        }
    }
}
