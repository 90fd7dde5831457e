//! How the world misbehaves: by the odds of a plan, and by appointment.

use std::collections::BTreeMap;

use super::mishap::Mishap;
use super::net::Errno;
use super::plan::Plan;
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
    /// A reset leaves what was sent before it to be read, as Linux does with all that has
    /// arrived; otherwise that is lost, as if it were still on the sender's side.
    pub reset_delivers: bool,
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
            reset_delivers: true,
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

/// The one place where chance is asked. Every mishap has a generator of its own, so that one that
/// is switched off changes nothing about the others.
pub(super) struct Whims {
    pub(super) plan: Plan,
    rngs: [Rng; Mishap::COUNT],
    dealt: [u64; Mishap::COUNT],
    /// For what is not about odds: which of many, and how much.
    rng: Rng,
    tallies: [Tally; KINDS_OF_CALL],
}

#[derive(Default)]
struct Tally {
    count: u64,
    /// What calls to come answer, by their number.
    faults: BTreeMap<u64, Errno>,
}

impl Whims {
    pub(super) fn new(seed: u64) -> Whims {
        let rng_of = |index: usize| Rng::new(seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9));
        Whims {
            plan: Plan::default(),
            rngs: std::array::from_fn(rng_of),
            dealt: [0; Mishap::COUNT],
            rng: Rng::new(seed),
            tallies: Default::default(),
        }
    }

    pub(super) fn count(&self, call: Call) -> u64 {
        self.tallies[call as usize].count
    }

    pub(super) fn dealt(&self, mishap: Mishap) -> u64 {
        self.dealt[mishap as usize]
    }

    /// Has the `nth` call from now fail, or the first behind it that is not to fail yet.
    pub(super) fn appoint(&mut self, call: Call, nth: u64, errno: Errno) {
        let Tally { count, faults } = &mut self.tallies[call as usize];
        let mut number = *count + nth;
        while faults.contains_key(&number) {
            number += 1;
        }
        faults.insert(number, errno);
    }

    /// Counts a call, and decides whether it is let through.
    pub(super) fn enter(&mut self, call: Call) -> Result<(), Errno> {
        let tally = &mut self.tallies[call as usize];
        tally.count += 1;
        if let Some(errno) = tally.faults.remove(&tally.count) {
            return Err(errno);
        }
        if call.may_wait() && self.deals(Mishap::Interrupted) {
            return Err(libc::EINTR);
        }
        if call.may_wait() && self.deals(Mishap::WouldBlock) {
            return Err(libc::EAGAIN);
        }
        let failures: &[(Mishap, Errno)] = match call {
            Call::Accept => &ACCEPT,
            Call::Send => &SEND,
            Call::Receive => &RECEIVE,
            _ => &[],
        };
        match failures.iter().find(|(mishap, _)| self.deals(*mishap)) {
            Some(&(_, errno)) => Err(errno),
            None => Ok(()),
        }
    }

    /// Whether it happens now.
    pub(super) fn deals(&mut self, mishap: Mishap) -> bool {
        let odds = self.plan.odds(mishap);
        let index = mishap as usize;
        if odds == 0 || !self.rngs[index].chance(odds.into(), Plan::OF.into()) {
            return false;
        }
        self.dealt[index] += 1;
        true
    }

    /// A number below `bound`, which must not be zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// How many of `possible_bytes` a call moves: all, or where it happens at least one.
    pub(super) fn shorten(&mut self, possible_bytes: usize, mishap: Mishap) -> usize {
        if possible_bytes < 2 || !self.deals(mishap) {
            return possible_bytes;
        }
        1 + self.below(possible_bytes as u64 - 1) as usize
    }
}

/// Accepting fails, and nobody has lost anything by it.
const ACCEPT: [(Mishap, Errno); 4] = [
    (Mishap::AcceptEmfile, libc::EMFILE),
    (Mishap::AcceptEnfile, libc::ENFILE),
    (Mishap::AcceptEnobufs, libc::ENOBUFS),
    (Mishap::AcceptEnomem, libc::ENOMEM),
];

/// Nothing is received, and the queue stays.
const RECEIVE: [(Mishap, Errno); 1] = [(Mishap::ReceiveRefused, libc::ECONNREFUSED)];

/// A datagram is not sent.
const SEND: [(Mishap, Errno); 3] = [
    (Mishap::SendTooLarge, libc::EMSGSIZE),
    (Mishap::SendRefused, libc::ECONNREFUSED),
    (Mishap::SendEnobufs, libc::ENOBUFS),
];
