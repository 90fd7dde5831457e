//! What the poller told, straight from Linux.
//!
//! mio opens the poller, wakes, and lets go; but its call to wait goes through a wrapper in libc at
//! which a thread can be cancelled, and each flag of its events is a question of its own: for one
//! small request at a time that is a third of all that the loop does. The rules by which flags are
//! read and asked for are mio's (`sys/unix/selector/epoll.rs`), which keeps no book of what is
//! registered; and tests hold them against it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::{
    EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, c_int, epoll_event,
};
use mio::{Interest, Poll, Token};

use crate::base::time::Timeout;
use crate::sys::os::EVENTS_MAX;
use crate::sys::{Readiness, raw};

pub(super) struct Events {
    room: Box<[epoll_event; EVENTS_MAX]>,
    /// How many were told.
    count: usize,
}

impl Events {
    pub(super) fn new() -> Events {
        Events { room: Box::new([epoll_event { events: 0, u64: 0 }; EVENTS_MAX]), count: 0 }
    }

    /// Waits for the next ones.
    #[inline]
    pub(super) fn poll(&mut self, poll: &mut Poll, timeout: Timeout) -> io::Result<()> {
        self.count = 0;
        let poll = poll.registry().as_fd();
        self.count = raw::wait_for_events(poll, &mut *self.room, millis(timeout))?;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// How many there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline(always)] // on the way of every request, as is the next
    pub(super) fn token(&self, index: usize) -> Token {
        Token(self.room[index].u64 as usize)
    }

    #[inline(always)]
    pub(super) fn ready(&self, index: usize) -> Readiness {
        ready(self.room[index].events)
    }
}

/// Has the poller tell of a descriptor by edges.
#[inline(always)] // for what is asked for to be a constant
pub(super) fn register(
    poll: &Poll,
    fd: BorrowedFd<'_>,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    let flags = [
        (true, EPOLLET),
        (interest.is_readable(), EPOLLIN | EPOLLRDHUP),
        (interest.is_writable(), EPOLLOUT),
        (interest.is_priority(), EPOLLPRI),
    ];
    let asked = flags.into_iter().filter(|(is_asked, _)| *is_asked);
    let events = asked.fold(0, |all, (_, flag)| all | flag as u32);
    raw::watch(poll.registry().as_fd(), fd, &epoll_event { events, u64: token.0 as u64 })
}

#[inline]
fn millis(timeout: Timeout) -> c_int {
    if timeout == Timeout::NEVER {
        return -1;
    }
    timeout.as_millis_up().min(c_int::MAX as u64) as c_int
}

#[inline(always)]
fn ready(events: u32) -> Readiness {
    const PLAIN: u32 = (EPOLLIN | EPOLLOUT) as u32;
    const _: () = assert!(EPOLLIN as u8 == Readiness::READABLE.bits());
    const _: () = assert!(EPOLLOUT as u8 == Readiness::WRITABLE.bits());
    match events & !PLAIN {
        0 => Readiness::from_bits(events as u8),
        _ => ready_by_rule(events),
    }
}

#[inline(never)]
fn ready_by_rule(events: u32) -> Readiness {
    const END: u32 = (EPOLLIN | EPOLLOUT | EPOLLRDHUP) as u32;
    const ENDED: Readiness =
        Readiness::READABLE.with(Readiness::WRITABLE).with(Readiness::READ_CLOSED);
    if events == END {
        return ENDED; // as the rule says, of every connection once
    }
    let any = |flags: c_int| events & flags as u32 != 0;
    let flags = [
        (any(EPOLLIN | EPOLLPRI), Readiness::READABLE),
        (any(EPOLLOUT), Readiness::WRITABLE),
        (any(EPOLLHUP) || any(EPOLLIN) && any(EPOLLRDHUP), Readiness::READ_CLOSED),
        (
            any(EPOLLHUP) || any(EPOLLOUT) && any(EPOLLERR) || events == EPOLLERR as u32,
            Readiness::WRITE_CLOSED,
        ),
        (any(EPOLLERR), Readiness::ERROR),
        (any(EPOLLPRI), Readiness::PRIORITY),
    ];
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.fold(Readiness::default(), |all, (_, flag)| all.with(flag))
}
