//! Step 6: what other threads have sent.

use std::collections::BTreeMap;
use std::fmt;

use log::Level;

use super::Reactor;
use super::call::Answers;
use super::endpoint::Kind;
use super::place::Spread;
use crate::base::id::{ConnId, EndpointId};
use crate::handler::AtLimit;
use crate::handler::handle::Letter;
use crate::hub::Phase;
use crate::hub::notices::Notice;
use crate::hub::pulse::Callback;
use crate::sys::Platform;

/// Messages for outgoing connections that are not made yet.
pub(super) struct EarlyLetters<M> {
    by_id: BTreeMap<ConnId, Vec<M>>,
    /// How many there are together.
    count: usize,
}

impl<M> EarlyLetters<M> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn push(&mut self, id: ConnId, message: M) {
        self.by_id.entry(id).or_default().push(message);
        self.count += 1;
    }

    /// Takes out what is for one connection.
    pub(super) fn take(&mut self, id: ConnId) -> Vec<M> {
        if self.count == 0 {
            return Vec::new();
        }
        let messages = self.by_id.remove(&id).unwrap_or_default();
        self.count -= messages.len();
        messages
    }
}

impl<M> Default for EarlyLetters<M> {
    fn default() -> EarlyLetters<M> {
        EarlyLetters { by_id: BTreeMap::new(), count: 0 }
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Works off the mailbox as it stands; what comes meanwhile waits for the next turn.
    pub(super) fn deliver_letters(&mut self) {
        if !self.desk.handle.has_letters(self.desk.hub.reactor) {
            return;
        }
        let mut letters = std::mem::take(&mut self.letters);
        self.desk.handle.collect(self.desk.hub.reactor, &mut letters);
        self.desk.hub.counters.letters.add(letters.len() as u64);
        for letter in letters.drain(..) {
            self.deliver(letter);
        }
        self.letters = letters;
    }

    fn deliver(&mut self, letter: Letter<M>) {
        match letter {
            Letter::Message(id, message) => self.deliver_message(id, message),
            Letter::Notify(id, message) => self.deliver_notice(id, message),
            // One that has ended meanwhile is what was asked for.
            Letter::Close(id) => drop(self.desk.close_other(id)),
            Letter::Abort(id) => drop(self.desk.abort_other(id)),
            Letter::Broadcast(posting) => {
                posting.ticket.add(self.desk.hub.broadcast(&posting.broadcast));
            }
            Letter::Connect(to, handler) => {
                if self.desk.handle.is_full(&self.desk.hub.limits) {
                    let what =
                        format_args!("a connection that was asked for is not made: {AtLimit}");
                    self.desk.hub.log(Notice::ConnectionRefused, Level::Warn, what);
                    self.let_go("a handler", handler);
                } else {
                    // While shutting down it begins only to end: who asked before that is told.
                    self.desk.connect_boxed(*to, handler);
                }
            }
            Letter::Listen(id, _, service) if self.is_ending() => {
                log::warn!("{id}: shutting down, a listener that was handed over is closed");
                self.let_go("a service", service);
            }
            Letter::Listen(id, fd, service) => match self.platform.adopt_listener(fd) {
                Ok(listener) => {
                    let added = self.add_listener(id, Some(listener), service, Spread::Here);
                    if let Err(error) = added {
                        log::error!("{id}: cannot listen: {error}");
                    }
                }
                Err(error) => {
                    log::error!("{id}: cannot listen: {error}");
                    self.let_go("a service", service);
                }
            },
            Letter::Unlisten(id) => drop(self.close_endpoint(id)),
            Letter::Adopt(fd, handler) => {
                if let Err(error) = self.adopt_boxed(fd, handler) {
                    let what = format_args!("a stream that was handed over is closed: {error}");
                    self.desk.hub.log(Notice::ConnectionRefused, Level::Warn, what);
                }
            }
        }
    }

    fn deliver_message(&mut self, id: ConnId, message: M) {
        let Ok(slot) = self.desk.hub.resolve(id) else {
            return self.lose_message(id, message);
        };
        let phase = self.desk.hub.row(slot).phase();
        match phase {
            Phase::Open => {
                self.call(slot, Callback::Message, Answers::Later, |handler, cx| {
                    handler.on_message(cx, message)
                });
            }
            // `on_open` comes first: the message waits for it.
            Phase::Connecting if self.early_letters.len() < self.desk.hub.limits.mailbox => {
                self.early_letters.push(id, message);
            }
            _ => self.lose_message(id, message),
        }
    }

    fn lose_message(&mut self, to: impl fmt::Display, message: M) {
        log::trace!("{to}: a message came too late");
        self.let_go("a message", message);
    }

    /// Delivers what came before a connection was made.
    pub(super) fn deliver_early(&mut self, slot: u32) {
        let id = self.desk.hub.id(slot);
        for message in self.early_letters.take(id) {
            self.deliver_message(id, message);
        }
    }

    fn deliver_notice(&mut self, id: EndpointId, message: M) {
        let Some(slot) = self.endpoint_slot(id) else {
            return self.lose_message(id, message);
        };
        match self.endpoints[slot as usize].kind {
            Kind::Listener(_) => self.call_service(slot, |it, cx| it.on_message(cx, message)),
            Kind::Datagram(_) => self.watch_datagrams(slot, |reactor| {
                reactor.call_datagram(slot, |it, cx| it.on_message(cx, message));
            }),
        }
    }
}
