//! Floor 4: the loop.
//!
//! [`Reactor::turn`] is the map: every step has a file here, or a function below. One place
//! reads (`read`), one writes (`write`), one frees (`reap`); callbacks never nest, and slots come
//! free at the end of a turn only, so nothing that happens within a turn can hit a stranger.
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
use crate::base::carry::Carry;
use crate::base::rate::Rate;
use crate::base::time::{Time, Timeout};
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

/// What one turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Turn {
    /// Edges that the platform told of.
    pub edges: usize,
    /// Whether there is more to do at once, so that the next turn will not wait.
    pub has_work: bool,
    /// Whether a shutdown has come to its end.
    pub is_stopped: bool,
}

/// What there is to do without an edge. It changes where all steps are taken, or between turns.
#[derive(Clone, Copy)]
struct Outlook {
    /// Whether a list holds work, so that the reactor must not sleep.
    has_work: bool,
    /// The nearest deadline that is no connection's; [`Time::MAX`] is never.
    next: Time,
}

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
        let mut hub = Hub::new(index, limits.checked()?, handle.ledger(index));
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

    /// Runs until a shutdown that was asked for has come to its end. May be called again after
    /// that, with new listeners.
    ///
    /// # Errors
    /// The system's call to wait failed, which it does only when something is badly wrong.
    pub fn run(&mut self) -> io::Result<Report> {
        self.restart();
        let mut outlook = self.look_ahead();
        let mut now = self.platform.now();
        loop {
            let turn = self.turn_from(&mut outlook, &mut now, Timeout::NEVER)?;
            if turn.is_stopped {
                return Ok(self.report);
            }
        }
    }

    /// One turn of the loop: waits until there is something to do, but not longer than `wait`
    /// (`None` is as long as it takes, and zero not at all), and does it.
    ///
    /// # Errors
    /// As for [`run`](Reactor::run).
    pub fn turn(&mut self, wait: Option<Duration>) -> io::Result<Turn> {
        // The last turn may be long ago.
        let (mut outlook, mut now) = (self.look_ahead(), self.platform.now());
        self.turn_from(&mut outlook, &mut now, wait.into())
    }

    /// A turn that begins with this outlook at this moment, and leaves those that the next one may
    /// begin with, so that it need not ask.
    fn turn_from(
        &mut self,
        outlook: &mut Outlook,
        now: &mut Time,
        wait: Timeout,
    ) -> io::Result<Turn> {
        let timeout = self.timeout(*outlook, *now).min(wait); //   zero while a list is not empty
        let found = self.platform.wait(timeout)?; //           1   sleep: an edge, a deadline, a letter
        let began = self.platform.now(); //                    2   the moment of this turn
        self.desk.hub.begin_turn(began);
        let edges = self.take_edges(found); //                 3   usual requests are served; flags
        if self.is_due(*outlook) {
            self.work();
            *outlook = self.look_ahead();
        }
        self.check_in_debug(*outlook);
        *now = self.platform.now();
        self.note_turn(now.nanos_since(began));
        let is_stopped = self.shutdown.is_stopped();
        Ok(Turn { edges, has_work: outlook.has_work, is_stopped })
    }

    /// The steps for everything else.
    #[inline(never)]
    fn work(&mut self) {
        self.heed_shutdown(); //                                   asked for, or its time has run out
        self.admit(); //                                       4   accept, adopt, connect
        self.read_runnable(); //                               5   bytes in → on_bytes, on_eof
        self.deliver_letters(); //                             6   from other threads → on_message
        self.fire_due(); //                                    7   timers → on_timer; deadlines
        self.flush_dirty(); //                                 8   bytes out
        self.relieve(); //                                     9   drained outboxes → on_drain
        self.reap(); //                                        10  ended connections → on_close
        self.note_stopped();
    }

    /// How long the reactor would sleep: zero while there is something to do at once, and `None`
    /// where only an edge or a letter could wake it. For loops that wait by other means than
    /// [`turn`](Reactor::turn).
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timeout(self.outlook(), self.platform.now()).span()
    }

    /// How long to sleep at this moment.
    #[inline]
    fn timeout(&self, outlook: Outlook, now: Time) -> Timeout {
        if outlook.has_work { Timeout::ZERO } else { Timeout::between(now, self.next(outlook)) }
    }

    /// The nearest deadline.
    #[inline]
    fn next(&self, outlook: Outlook) -> Time {
        outlook.next.min(self.desk.hub.agenda.next())
    }

    /// Whether all steps are to be taken in this turn. While too much is buffered they are in each,
    /// as the outlook depends on since when nothing has left.
    #[inline]
    fn is_due(&self, outlook: Outlook) -> bool {
        let hub = &self.desk.hub;
        hub.wants_work || hub.budget.is_over() || self.next(outlook) <= hub.now
    }

    /// The outlook for the next turn, in which all steps are taken if there is work already.
    fn look_ahead(&mut self) -> Outlook {
        let outlook = self.outlook();
        self.desk.hub.wants_work = outlook.has_work || self.is_restless();
        outlook
    }

    fn outlook(&self) -> Outlook {
        Outlook { has_work: self.has_work(), next: self.next_apart() }
    }

    /// The nearest deadline that is no connection's.
    fn next_apart(&self) -> Time {
        let hub = &self.desk.hub;
        let stuck_since = hub.budget.stuck_since();
        let stuck_until = stuck_since.map_or(Time::MAX, |since| since + hub.limits.overload);
        self.endpoint_agenda.next().min(self.shutdown.deadline()).min(stuck_until)
    }

    /// Whether every turn takes all steps, as something is waited for that tells in no other way.
    fn is_restless(&self) -> bool {
        self.is_ending() || !self.attempts.is_empty() || self.is_holding
    }

    fn has_work(&self) -> bool {
        let desk = &self.desk;
        desk.hub.has_work() || self.ready_endpoints.len() + desk.outgoing.len() > 0
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
        } else if row.phase == Phase::Connecting {
            hub.mark_dirty(slot);
        }
    }

    #[inline]
    fn note_turn(&mut self, nanos: u64) {
        let hub = &self.desk.hub;
        hub.counters.turns.add(1);
        hub.counters.turn_time.add(nanos);
        hub.counters.buffered_bytes.set(hub.budget.used() as u64);
        hub.counters.buffered_bytes_most.set(hub.budget.most() as u64);
        hub.counters.pulse.rest();
        self.note_stall(nanos);
    }

    fn check_in_debug(&self, outlook: Outlook) {
        if cfg!(debug_assertions) {
            self.check();
            let is_seen = self.has_work() == outlook.has_work && outlook.next <= self.next_apart();
            assert!(is_seen, "there is more to do than the next turn will see");
            let wants_work = outlook.has_work || self.is_restless();
            assert_eq!(self.desk.hub.wants_work, wants_work, "whether all steps are to be taken");
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
                source.is_some() || row.phase != Phase::Open || waits,
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
            self.desk.handle.count_closed(self.desk.hub.reactor);
        }
        for stream in self.sides.iter_mut().filter_map(|side| side.source.take()) {
            self.platform.close(stream);
        }
        self.remove_endpoints();
        for (_, row) in &self.desk.hub.rows {
            if row.is_accepted() {
                self.desk.handle.leave(&row.peer.address(), &self.desk.hub.limits);
            }
            self.desk.handle.count_closed(self.desk.hub.reactor);
        }
    }
}
