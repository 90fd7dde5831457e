//! What the poller told, straight from Linux.
//!
//! mio registers and wakes; but its call to wait goes through a wrapper in libc at which a thread
//! can be cancelled, and each flag of its events is a question of its own: for one small request
//! at a time that is a third of all that the loop does. The rules by which flags are read are
//! mio's (`sys/unix/selector/epoll.rs`), and a test holds them against it.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use libc::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, c_int, epoll_event};
use mio::{Poll, Token};

use crate::sys::{Readiness, raw};

pub(super) struct Events {
    room: Box<[epoll_event]>,
    /// How many were told.
    count: usize,
}

impl Events {
    /// Room for so many at once.
    pub(super) fn new(most: usize) -> Events {
        let room = vec![epoll_event { events: 0, u64: 0 }; most].into_boxed_slice();
        Events { room, count: 0 }
    }

    /// Waits for the next ones.
    pub(super) fn poll(&mut self, poll: &mut Poll, timeout: Option<Duration>) -> io::Result<()> {
        self.count = 0;
        self.count = raw::wait_for_events(
            poll.registry().as_fd(),
            &mut self.room,
            timeout.map_or(-1, millis),
        )?;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, Readiness)> {
        self.room[..self.count].iter().map(|event| (Token(event.u64 as usize), ready(event.events)))
    }
}

/// A sleep may be longer than was asked for, but never shorter: then the reactor would turn again
/// and again until the time has come.
fn millis(timeout: Duration) -> c_int {
    let rest = u64::from(timeout.subsec_nanos().div_ceil(1_000_000));
    let millis = timeout.as_secs().saturating_mul(1000).saturating_add(rest);
    c_int::try_from(millis).unwrap_or(c_int::MAX)
}

#[inline]
fn ready(events: u32) -> Readiness {
    const INPUT: u32 = (EPOLLIN | EPOLLOUT) as u32;
    const END: u32 = INPUT | EPOLLRDHUP as u32;
    const BOTH: Readiness = Readiness::READABLE.with(Readiness::WRITABLE);
    match events {
        INPUT => BOTH,
        END => BOTH.with(Readiness::READ_CLOSED),
        _ => ready_by_rule(events),
    }
}

#[inline(never)]
fn ready_by_rule(events: u32) -> Readiness {
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
