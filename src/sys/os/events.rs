//! What the poller told, by way of mio.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

use crate::base::time::Timeout;
use crate::sys::Readiness;
use crate::sys::os::EVENTS_MAX;

pub(super) struct Events {
    room: mio::Events,
    told: Vec<(Token, Readiness)>,
}

impl Events {
    pub(super) fn new() -> Events {
        let (room, told) = (mio::Events::with_capacity(EVENTS_MAX), Vec::with_capacity(EVENTS_MAX));
        Events { room, told }
    }

    /// Waits for the next ones.
    pub(super) fn poll(&mut self, poll: &mut Poll, timeout: Timeout) -> io::Result<()> {
        self.told.clear();
        poll.poll(&mut self.room, timeout.span())?;
        self.told.extend(self.room.iter().map(|event| (event.token(), ready(event))));
        Ok(())
    }

    #[cfg_attr(test, allow(dead_code))] // where only tests wait so
    pub(super) fn clear(&mut self) {
        self.told.clear();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    pub(super) fn token(&self, index: usize) -> Token {
        self.told[index].0
    }

    pub(super) fn ready(&self, index: usize) -> Readiness {
        self.told[index].1
    }
}

/// Has the poller tell of a descriptor by edges.
pub(super) fn register(
    poll: &Poll,
    fd: BorrowedFd<'_>,
    token: Token,
    interest: Interest,
) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, interest)
}

fn ready(event: &Event) -> Readiness {
    let flags = [
        (event.is_readable(), Readiness::READABLE),
        (event.is_writable(), Readiness::WRITABLE),
        (event.is_read_closed(), Readiness::READ_CLOSED),
        (event.is_write_closed(), Readiness::WRITE_CLOSED),
        (event.is_error(), Readiness::ERROR),
        (event.is_priority(), Readiness::PRIORITY),
    ];
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.fold(Readiness::default(), |all, (_, flag)| all.with(flag))
}
