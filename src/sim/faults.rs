//! How the world misbehaves: odds for what the contract allows, and errors by appointment.

use std::collections::VecDeque;

use super::net::Errno;
use crate::base::rng::Rng;

/// How kindly the world treats its nodes. Every odd counts times in a hundred, and stays within
/// what [`Platform`](crate::sys::Platform) allows.
///
/// The default is *strict*: no odds, and not one edge more than is promised, so that a reactor
/// which leans on luck gets stuck. [`Manners::chatty`] is the other extreme.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Manners {
    /// A read gives fewer bytes than there are.
    pub short_reads: u8,
    /// A write takes fewer bytes than there is room for.
    pub short_writes: u8,
    /// A call answers `WouldBlock` though it need not; an edge follows. Keep it below 100.
    pub would_block: u8,
    /// A call answers `Interrupted`; it is to be repeated at once. Keep it below 100.
    pub interrupted: u8,
    /// A wait brings an edge, for both directions, to a socket that is owed none.
    pub stray_edges: u8,
    /// A wait brings an edge twice.
    pub doubled_edges: u8,
    /// After a registered socket was closed, the next wait still brings an edge for its token.
    pub stale_edges: u8,
    /// Edges carry [`READ_CLOSED`](crate::sys::Readiness::READ_CLOSED) and the like, and a FIN or
    /// a reset gives an edge even to a socket that is owed none, as epoll does.
    pub hints: bool,
    /// [`short_read_drains`](crate::sys::Platform::short_read_drains) answers `true` for internet
    /// streams, and holds. It implies [`hints`](Manners::hints) and rules out
    /// [`short_reads`](Manners::short_reads).
    pub short_read_drains: bool,
}

impl Manners {
    /// Everything that may happen does, often.
    pub fn chatty() -> Manners {
        Manners {
            short_reads: 20,
            short_writes: 20,
            would_block: 10,
            interrupted: 10,
            stray_edges: 30,
            doubled_edges: 20,
            stale_edges: 50,
            hints: true,
            short_read_drains: false,
        }
    }
}

/// What a node may ask of its world: the kinds of call that are counted
/// ([`World::calls`](super::World::calls)) and can be made to fail
/// ([`World::fail_next`](super::World::fail_next)). Each is the method of
/// [`Platform`](crate::sys::Platform) of that name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Call {
    /// `listen`
    Listen,
    /// `bind_datagram`
    Bind,
    /// `connect`
    Connect,
    /// `register_stream`, `register_listener` or `register_datagram`
    Register,
    /// `accept`
    Accept,
    /// `connected`
    Connected,
    /// `read`
    Read,
    /// `write`
    Write,
    /// `finish`
    Finish,
    /// `receive`
    Receive,
    /// `send`
    Send,
    /// `look_up`
    LookUp,
}

const KINDS_OF_CALL: usize = Call::LookUp as usize + 1;

impl Call {
    /// Whether the call can meet with `WouldBlock`.
    fn may_wait(self) -> bool {
        use Call::{Accept, Connected, Read, Receive, Send, Write};
        matches!(self, Accept | Connected | Read | Write | Receive | Send)
    }
}

/// The one place where chance is asked. With all odds at zero the generator is never used, so
/// that a switch which is off changes nothing about the others.
pub(super) struct Whims {
    pub(super) manners: Manners,
    rng: Rng,
    tallies: [Tally; KINDS_OF_CALL],
}

#[derive(Default)]
struct Tally {
    count: u64,
    /// What the next calls answer, first one first.
    faults: VecDeque<Errno>,
}

impl Whims {
    pub(super) fn new(seed: u64) -> Whims {
        Whims { manners: Manners::default(), rng: Rng::new(seed), tallies: Default::default() }
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.tallies[call as usize].count
    }

    pub(super) fn appoint(&mut self, call: Call, errno: Errno) {
        self.tallies[call as usize].faults.push_back(errno);
    }

    /// Counts a call, and decides whether it is let through.
    pub(super) fn enter(&mut self, call: Call) -> Result<(), Errno> {
        let tally = &mut self.tallies[call as usize];
        tally.count += 1;
        if let Some(errno) = tally.faults.pop_front() {
            return Err(errno);
        }
        if call.may_wait() && self.chance(self.manners.interrupted) {
            return Err(libc::EINTR);
        }
        if call.may_wait() && self.chance(self.manners.would_block) {
            return Err(libc::EAGAIN);
        }
        Ok(())
    }

    pub(super) fn chance(&mut self, odds: u8) -> bool {
        odds > 0 && self.rng.chance(odds.into(), 100)
    }

    /// A number below `bound`, which must not be zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// How many of `possible_bytes` a call moves: all, or by the odds at least one.
    pub(super) fn shorten(&mut self, possible_bytes: usize, odds: u8) -> usize {
        if possible_bytes < 2 || !self.chance(odds) {
            return possible_bytes;
        }
        1 + self.below(possible_bytes as u64 - 1) as usize
    }
}
