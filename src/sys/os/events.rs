//! What the poller told, by way of mio.

use std::io;
use std::time::Duration;

use mio::event::Event;
use mio::{Poll, Token};

use crate::sys::Readiness;

pub(super) struct Events(mio::Events);

impl Events {
    /// Room for so many at once.
    pub(super) fn new(most: usize) -> Events {
        Events(mio::Events::with_capacity(most))
    }

    /// Waits for the next ones.
    pub(super) fn poll(&mut self, poll: &mut Poll, timeout: Option<Duration>) -> io::Result<()> {
        poll.poll(&mut self.0, timeout)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, Readiness)> {
        self.0.iter().map(|event| (event.token(), ready(event)))
    }
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
