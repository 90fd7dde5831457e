//! Step 4, continued: outgoing connections, from the name to the handler's first call.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use super::Reactor;
use crate::base::address::{Address, NetAddr};
use crate::handler::Outgoing;
use crate::hub::Phase;
use crate::hub::outbound::{Flags, Peer};
use crate::hub::reason::CloseReason;
use crate::sys::errors::StreamError;
use crate::sys::{Platform, StreamOptions};

/// What is left to try for connections that are not made yet, by their place.
#[derive(Default)]
pub(super) struct Attempts(BTreeMap<u32, Attempt>);

struct Attempt {
    /// Addresses to try after the current one, last first.
    others: Vec<SocketAddr>,
    options: StreamOptions,
    /// An address that was busy, to be tried again in a moment.
    again: Option<Address>,
}

/// What edges have told of a socket that is tried.
const SEEN: Flags =
    Flags::READABLE.with(Flags::WRITABLE).with(Flags::READ_TO_THE_END).with(Flags::ERROR);

impl Attempts {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn forget(&mut self, slot: u32) {
        if !self.0.is_empty() {
            self.0.remove(&slot);
        }
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Starts the connections that callbacks, letters and the host have asked for.
    pub(super) fn start_outgoing(&mut self) {
        if self.desk.outgoing.is_empty() {
            return;
        }
        for Outgoing { id, to, handler } in std::mem::take(&mut self.desk.outgoing) {
            let slot = id.slot();
            self.fill(slot, handler);
            if self.desk.hub.row(slot).phase() != Phase::Connecting {
                continue; // ended again before it began; `reap` tells its handler
            }
            if !self.shutdown.is_running() {
                self.desk.hub.end(slot, CloseReason::Shutdown);
                continue;
            }
            let attempt = Attempt { others: Vec::new(), options: to.options, again: None };
            self.attempts.0.insert(slot, attempt);
            match to.to {
                Address::Host { name, port } => {
                    if let Err(error) = self.platform.look_up(id, &name, port) {
                        self.desk.hub.end(slot, CloseReason::ConnectFailed(error));
                    }
                }
                address => self.attempt(slot, &address),
            }
        }
    }

    /// Goes on with connections whose host name has been looked up.
    pub(super) fn take_look_ups(&mut self) {
        while let Some((id, answer)) = self.platform.next_look_up() {
            let Ok(slot) = self.desk.hub.resolve(id) else { continue }; // given up meanwhile
            if self.desk.hub.row(slot).phase() != Phase::Connecting {
                continue;
            }
            match answer {
                Ok(mut addresses) => {
                    addresses.reverse();
                    if let Some(attempt) = self.attempts.0.get_mut(&slot) {
                        attempt.others = addresses;
                    }
                    self.attempt_next(slot, io::ErrorKind::AddrNotAvailable.into());
                }
                Err(error) => self.desk.hub.end(slot, CloseReason::ConnectFailed(error)),
            }
        }
    }

    /// Tries an address, and where that fails at once, the others.
    fn attempt(&mut self, slot: u32, address: &Address) {
        if let Err(error) = self.attempt_one(slot, address) {
            self.attempt_next(slot, error);
        }
    }

    /// Tries the other addresses of a connection until one does not fail at once, or gives up
    /// with the error of the last.
    fn attempt_next(&mut self, slot: u32, error: io::Error) {
        let mut error = error;
        while let Some(address) = self.next_address(slot) {
            match self.attempt_one(slot, &Address::Inet(address)) {
                Ok(()) => return,
                Err(last) => error = last,
            }
        }
        self.desk.hub.end(slot, CloseReason::ConnectFailed(error));
    }

    fn next_address(&mut self, slot: u32) -> Option<SocketAddr> {
        self.attempts.0.get_mut(&slot)?.others.pop()
    }

    /// Tries one address. An error is about this one only.
    fn attempt_one(&mut self, slot: u32, address: &Address) -> io::Result<()> {
        if let Some(former) = self.sides[slot as usize].source.take() {
            self.platform.close(former);
        }
        // What edges told was about the former.
        self.desk.hub.row(slot).flags.clear(SEEN);
        let Some(Attempt { options, .. }) = self.attempts.0.get(&slot) else { return Ok(()) };
        log::trace!("{}: connecting to {address}", self.desk.hub.id(slot));
        match self.platform.connect(address, options) {
            Ok(stream) => {
                self.sides[slot as usize].source = Some(stream);
                if let Err(error) = self.register(slot) {
                    self.desk.hub.end(slot, CloseReason::ConnectFailed(error));
                }
            }
            // The queue of a Unix listener is full, and no edge will tell when it is not.
            Err(error) if StreamError::of(&error) == StreamError::WouldBlock => {
                let hub = &mut self.desk.hub;
                hub.agenda.by(slot, hub.now + hub.limits.accept_retry);
                if let Some(attempt) = self.attempts.0.get_mut(&slot) {
                    attempt.again = Some(address.clone());
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tries again what could only be waited for.
    pub(super) fn attempt_again(&mut self, slot: u32) {
        let attempt = self.attempts.0.get_mut(&slot);
        if let Some(address) = attempt.and_then(|attempt| attempt.again.take()) {
            self.attempt(slot, &address);
        }
    }

    /// An edge came for a connection that is not made yet.
    pub(super) fn check_connecting(&mut self, slot: u32) {
        let source = self.sides.get_mut(slot as usize).and_then(|side| side.source.as_mut());
        let Some(source) = source else { return }; // asked for in this turn, or being looked up
        match self.platform.connected(source) {
            Ok(peer) => self.complete(slot, &peer),
            Err(error) => match StreamError::of(&error) {
                StreamError::WouldBlock => {
                    self.desk.hub.row(slot).flags.clear(Flags::WRITABLE.with(Flags::ERROR));
                }
                StreamError::Interrupted => self.desk.hub.mark_dirty(slot),
                StreamError::Reset | StreamError::Ended => self.attempt_next(slot, error),
            },
        }
    }

    /// The connection is made.
    fn complete(&mut self, slot: u32, peer: &NetAddr) {
        self.attempts.forget(slot);
        let hub = &mut self.desk.hub;
        let now = hub.now;
        hub.enter(slot, Phase::Open);
        let row = hub.row(slot);
        row.peer = Peer::new(peer);
        row.last_activity = now;
        if let Some(backlog) = &mut row.outbox {
            backlog.blocked_since = now;
        }
        hub.mark_runnable(slot);
        hub.mark_dirty(slot);
        self.note_deadline(slot);
        self.open(slot);
        self.deliver_early(slot);
    }
}
