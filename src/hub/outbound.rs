//! A row of the hub: the half of a connection that any callback may write to.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::Phase;
use super::agenda::Timers;
use super::groups::Membership;
use super::reason::CloseReason;
use crate::base::address::NetAddr;
use crate::base::outbox::Outbox;
use crate::base::time::Time;

pub(crate) struct Outbound {
    /// The serial of the connection's id.
    pub(crate) serial: u64,
    /// When a byte last went in either direction.
    pub(crate) last_activity: Time,
    clock: Clock,
    /// Present exactly while bytes wait for the system to take them.
    pub(crate) outbox: Option<Box<Backlog>>,
    /// Present once something rare was asked for.
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) peer: Peer,
    /// The number of the endpoint that accepted it; `NO_ENDPOINT` for the others.
    pub(crate) endpoint: u32,
    pub(crate) flags: Flags,
}

pub(crate) const NO_ENDPOINT: u32 = u32::MAX;

/// What a connection at rest costs in this table.
const _: () = assert!(size_of::<Outbound>() <= 64);

/// Bytes that the system did not take yet.
pub(crate) struct Backlog {
    pub(crate) bytes: Outbox,
    /// When the peer last took some, or the first had to wait.
    pub(crate) blocked_since: Time,
}

#[derive(Default)]
pub(crate) struct Extras {
    pub(crate) timers: Timers,
    /// Set by `expect_within`.
    pub(crate) expect: Option<Time>,
    /// Set by `connect` with a deadline of its own.
    pub(crate) connect_within: Option<Duration>,
    pub(crate) groups: Vec<Membership>,
    /// Why it ended, where that is not simply `Closed`.
    pub(crate) reason: Option<CloseReason>,
    /// Bytes that were queued when it ended, and were not delivered.
    pub(crate) undelivered: usize,
    /// Bytes that were discarded while it lingered.
    pub(crate) discarded: usize,
}

impl Outbound {
    #[inline]
    pub(crate) fn new(serial: u64, now: Time, phase: Phase, peer: &NetAddr, endpoint: u32) -> Self {
        // Nothing has told that a connection that is made takes no bytes.
        let facts = if phase == Phase::Open { Flags::WRITABLE } else { Flags::default() };
        Outbound {
            serial,
            last_activity: now,
            clock: Clock::begin(now),
            outbox: None,
            extras: None,
            peer: Peer::new(peer),
            endpoint,
            flags: facts.in_phase(phase),
        }
    }

    /// Where it stands.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.flags.phase()
    }

    /// Whether it came in by a listener, rather than being started or adopted by us.
    pub(crate) fn is_accepted(&self) -> bool {
        self.endpoint != NO_ENDPOINT
    }

    /// Whether a connection that has ended was accepted, never asked for something rare, and has a
    /// handler that is to be told that it was closed.
    #[inline]
    pub(crate) fn has_ended_plainly(&self) -> bool {
        self.is_accepted() && self.extras.is_none() && !self.flags.has(Flags::SILENCED)
    }

    /// Whether a write is kept for the peer.
    #[inline]
    pub(crate) fn takes_writes(&self) -> bool {
        self.phase().takes_writes() && !self.flags.has(Flags::FINISHING)
    }

    /// Whether the handler is shown input as it comes.
    #[inline]
    pub(crate) fn wants_input(&self) -> bool {
        const UNWANTED: Flags =
            Flags::NOT_OPEN.with(Flags::PAUSED).with(Flags::HELD).with(Flags::DEAF);
        !self.flags.has(UNWANTED)
    }

    /// Whether there may be input, and it is wanted.
    #[inline]
    pub(crate) fn may_read(&self) -> bool {
        const DECIDING: Flags = Flags::READABLE
            .with(Flags::NOT_OPEN)
            .with(Flags::EOF_SEEN)
            .with(Flags::PAUSED)
            .with(Flags::HELD)
            .with(Flags::DEAF);
        self.flags.0 & DECIDING.0 == Flags::READABLE.0
    }

    /// Whether it is in the state in which nearly every request finds it: open, on no list, with
    /// its input wanted, and nothing to be written or offered before.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        const INDIFFERENT: Flags = Flags::HEARD.with(Flags::READABLE);
        let is_plain = self.flags.0 & !INDIFFERENT.0 == Flags::WRITABLE.0;
        debug_assert!(!is_plain || self.outbox.is_none(), "what waits is dirty, or blocked");
        is_plain
    }

    /// One that is [plain](Outbound::is_plain) was read at this moment, and nothing is left to read.
    #[inline]
    pub(crate) fn note_read(&mut self, now: Time) {
        debug_assert!(self.is_plain(), "other flags would be lost");
        self.flags = Flags::WRITABLE.with(Flags::HEARD);
        self.last_activity = now;
    }

    /// One that is [plain](Outbound::is_plain) was read, and there was the end, of which the handler
    /// is being told.
    #[inline]
    pub(crate) fn note_eof(&mut self) {
        debug_assert!(self.is_plain(), "other flags would be lost");
        self.flags.clear(Flags::READABLE); // an older edge may have left it
        self.flags.set(Flags::EOF_SEEN.with(Flags::EOF_TOLD));
    }

    /// Whether input is wanted, and the reactor has room for it.
    #[inline]
    pub(crate) fn is_served(&self) -> bool {
        self.wants_input() && !self.flags.has(Flags::STARVED)
    }

    /// Whether there is anything to read for: input that is served, or to be discarded.
    #[inline]
    pub(crate) fn is_to_be_read(&self) -> bool {
        self.is_served() || self.phase() == Phase::Lingering
    }

    pub(crate) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(crate) fn outbox_len(&self) -> usize {
        self.outbox.as_ref().map_or(0, |backlog| backlog.bytes.len())
    }

    /// Takes the reason for the end, for the handler to be told; `None` is `Closed`.
    pub(crate) fn take_reason(&mut self) -> Option<CloseReason> {
        self.extras.as_mut()?.reason.take()
    }

    /// Whether it is open, and its peer's end was read.
    #[inline]
    pub(crate) fn has_peer_ended(&self) -> bool {
        const BOTH: Flags = Flags::NOT_OPEN.with(Flags::EOF_SEEN);
        self.flags.0 & BOTH.0 == Flags::EOF_SEEN.0
    }

    pub(crate) fn check(&self) {
        let flags = self.flags;
        if let Some(backlog) = &self.outbox {
            assert!(!backlog.bytes.is_empty(), "an empty outbox is taken away");
            assert!(self.phase() < Phase::Lingering, "nothing waits once our end was sent");
            backlog.bytes.check();
        }
        assert!(
            !flags.has(Flags::ABOVE_HIGH) || self.outbox.is_some() || flags.has(Flags::DRAINED),
            "held back by an outbox that is empty"
        );
        assert!(
            !flags.has(Flags::HELD) || flags.has(Flags::ABOVE_HIGH),
            "input waits for an outbox that is not full"
        );
        assert!(
            !flags.has(Flags::EOF_TOLD) || flags.has(Flags::EOF_SEEN),
            "told of an end that was not seen"
        );
        assert!(!flags.has(Flags::HAD_TURN), "a turn that is over is forgotten");
        let is_timed = [Flags::CLOCK_RUNS, Flags::CLOCK_HELD].map(|clock| flags.has(clock));
        let has_message = self.phase() == Phase::Open && flags.has(Flags::HEARD);
        assert!(is_timed == [false; 2] || has_message, "a message where there can be none");
        assert_ne!(is_timed, [true; 2], "its clock runs and is held");
    }
}

/// The one clock of a connection beside that of its idleness. Nanoseconds: a moment while it runs,
/// a span while it is held.
///
/// It runs since the current phase began. Once an open one has sent something, its phase is timed no
/// more, and this is the message clock: how long the message that has begun has taken, not counting
/// the time in which we were the ones who did not read.
#[derive(Clone, Copy)]
struct Clock(u64);

impl Clock {
    fn begin(now: Time) -> Clock {
        Clock(now.as_nanos())
    }
}

impl Outbound {
    /// Goes on to another phase at this moment.
    #[inline]
    pub(super) fn enter(&mut self, phase: Phase, now: Time) {
        debug_assert!(phase > self.phase(), "phases go forward only");
        self.stop_clock();
        self.clock = Clock::begin(now);
        self.flags = self.flags.in_phase(phase);
    }

    /// When the current phase began.
    pub(crate) fn phase_since(&self) -> Time {
        let is_of_messages = self.phase() == Phase::Open && self.flags.has(Flags::HEARD);
        debug_assert!(!is_of_messages, "the clock may be that of a message");
        Time::from_nanos(self.clock.0)
    }

    /// Starts the message clock anew: a message has begun, or some of it was taken.
    pub(crate) fn start_clock(&mut self, now: Time) {
        debug_assert!(self.phase() == Phase::Open && self.flags.has(Flags::HEARD), "it times this");
        if self.is_served() {
            self.flags.set(Flags::CLOCK_RUNS);
            self.flags.clear(Flags::CLOCK_HELD);
            self.clock = Clock::begin(now);
        } else {
            self.flags.set(Flags::CLOCK_HELD);
            self.flags.clear(Flags::CLOCK_RUNS);
            self.clock = Clock(0);
        }
    }

    /// No message is under way.
    pub(crate) fn stop_clock(&mut self) {
        self.flags.clear(Flags::CLOCK_RUNS.with(Flags::CLOCK_HELD));
    }

    /// Input has become unwanted, or has to wait.
    pub(super) fn hold_clock(&mut self, now: Time) {
        if self.flags.has(Flags::CLOCK_RUNS) {
            self.flags.clear(Flags::CLOCK_RUNS);
            self.flags.set(Flags::CLOCK_HELD);
            self.clock = Clock(now.as_nanos().saturating_sub(self.clock.0));
        }
    }

    /// Input is served again.
    pub(super) fn release_clock(&mut self, now: Time) {
        if self.flags.has(Flags::CLOCK_HELD) {
            self.flags.clear(Flags::CLOCK_HELD);
            self.flags.set(Flags::CLOCK_RUNS);
            self.clock = Clock(now.as_nanos().saturating_sub(self.clock.0));
        }
    }

    /// When the message under way began, were it not for the times it was held.
    pub(crate) fn clock_since(&self) -> Option<Time> {
        self.flags.has(Flags::CLOCK_RUNS).then_some(Time::from_nanos(self.clock.0))
    }
}

/// A peer's address, small for the usual kind.
pub(crate) enum Peer {
    V4 {
        ip: u32,
        port: u16,
    },
    /// `None` has no name.
    Other(Option<Box<NetAddr>>),
}

impl Peer {
    #[inline]
    pub(crate) fn new(address: &NetAddr) -> Peer {
        match address {
            // Asked for first, and alone, it is one comparison.
            NetAddr::Inet(SocketAddr::V4(v4)) => {
                Peer::V4 { ip: v4.ip().to_bits(), port: v4.port() }
            }
            other => Peer::Other(boxed(other)),
        }
    }

    pub(crate) fn address(&self) -> NetAddr {
        match self {
            Peer::V4 { ip, port } => {
                NetAddr::Inet(SocketAddrV4::new(Ipv4Addr::from_bits(*ip), *port).into())
            }
            Peer::Other(None) => NetAddr::Unnamed,
            Peer::Other(Some(other)) => (**other).clone(),
        }
    }
}

#[inline(never)]
fn boxed(address: &NetAddr) -> Option<Box<NetAddr>> {
    (*address != NetAddr::Unnamed).then(|| Box::new(address.clone()))
}

/// A set of facts about a connection, and its phase: in one word, so that one comparison tells who is
/// plain.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u32);

const _: () = assert!(Phase::Open as i8 == 0, "facts alone are those of an open one");

impl Flags {
    /// Where the phase stands, above all facts: some of these are set unless it is [`Phase::Open`].
    const NOT_OPEN: Flags = Flags(0xff << 24);

    #[inline]
    fn phase(self) -> Phase {
        const CONNECTING: i8 = Phase::Connecting as i8;
        const OPEN: i8 = Phase::Open as i8;
        const FLUSHING: i8 = Phase::Flushing as i8;
        const LINGERING: i8 = Phase::Lingering as i8;
        match (self.0 >> 24) as i8 {
            CONNECTING => Phase::Connecting,
            OPEN => Phase::Open,
            FLUSHING => Phase::Flushing,
            LINGERING => Phase::Lingering,
            _ => Phase::Closed,
        }
    }

    /// The same facts in this phase.
    #[inline]
    const fn in_phase(self, phase: Phase) -> Flags {
        Flags(self.0 & !Flags::NOT_OPEN.0 | (phase as i8 as u8 as u32) << 24)
    }

    /// Reading is worth trying: an edge said so, and no read has answered `WouldBlock` since.
    pub(crate) const READABLE: Flags = Flags(1);
    /// Writing is worth trying.
    pub(crate) const WRITABLE: Flags = Flags(1 << 1);
    /// An edge told of an end, an error or urgent data: only `WouldBlock` ends reading.
    pub(crate) const READ_TO_THE_END: Flags = Flags(1 << 2);
    /// An edge told of an error.
    pub(crate) const ERROR: Flags = Flags(1 << 3);
    /// The handler paused its input.
    pub(crate) const PAUSED: Flags = Flags(1 << 4);
    /// The outbox rose above the high mark and has not drained.
    pub(crate) const ABOVE_HIGH: Flags = Flags(1 << 5);
    /// The handler's own answers rose above the high mark: its input waits until they drain.
    pub(crate) const HELD: Flags = Flags(1 << 23);
    /// The outbox has drained, and the handler is yet to be told.
    pub(crate) const DRAINED: Flags = Flags(1 << 6);
    /// Input was left because it became unwanted: it is offered again before more is read.
    pub(crate) const OFFER_REST: Flags = Flags(1 << 7);
    /// A read answered 0.
    pub(crate) const EOF_SEEN: Flags = Flags(1 << 8);
    /// `on_eof` was called.
    pub(crate) const EOF_TOLD: Flags = Flags(1 << 9);
    /// A byte has come.
    pub(crate) const HEARD: Flags = Flags(1 << 10);
    /// Our direction is to be ended once everything is written.
    pub(crate) const FINISHING: Flags = Flags(1 << 11);
    /// It was ended.
    pub(crate) const FINISHED: Flags = Flags(1 << 12);
    /// The handler panicked and gets no further call.
    pub(crate) const SILENCED: Flags = Flags(1 << 14);
    /// The socket is to be reset rather than closed.
    pub(crate) const RESET: Flags = Flags(1 << 15);
    /// The message clock runs.
    pub(crate) const CLOCK_RUNS: Flags = Flags(1 << 16);
    /// The message clock is held.
    pub(crate) const CLOCK_HELD: Flags = Flags(1 << 17);
    /// The reactor is shutting down: no more is read.
    pub(crate) const DEAF: Flags = Flags(1 << 21);
    /// On the list of those to be read.
    pub(crate) const RUNNABLE: Flags = Flags(1 << 18);
    /// It has had its turn at reading, and an edge may tell of it once more.
    pub(crate) const HAD_TURN: Flags = Flags(1 << 13);
    /// On the list of those to be written.
    pub(crate) const DIRTY: Flags = Flags(1 << 19);
    /// In line to be read, once the reactor holds fewer bytes.
    pub(crate) const STARVED: Flags = Flags(1 << 22);

    pub(crate) const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether any of `other` is set.
    #[inline]
    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    #[inline]
    pub(crate) fn clear(&mut self, other: Flags) {
        self.0 &= !other.0;
    }

    /// Sets, and says whether that was news.
    #[inline]
    pub(crate) fn insert(&mut self, other: Flags) -> bool {
        let news = !self.has(other);
        self.set(other);
        news
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#b}", self.0)
    }
}
