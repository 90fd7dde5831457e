//! Step 6: what other threads have sent.

use super::Reactor;
use super::call::Answers;
use super::endpoint::Kind;
use super::place::Spread;
use crate::base::id::{ConnId, EndpointId};
use crate::handler::handle::Letter;
use crate::hub::Phase;
use crate::sys::Platform;

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Works off the mailbox as it stands; what comes meanwhile waits for the next turn.
    pub(super) fn deliver_letters(&mut self) {
        if !self.desk.handle.has_letters(self.desk.hub.reactor) {
            return;
        }
        let mut letters = std::mem::take(&mut self.letters);
        self.desk.handle.collect(self.desk.hub.reactor, &mut letters);
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
                if let Err(error) = self.desk.connect_boxed(to, handler) {
                    log::warn!("a connection that was asked for is not made: {error}");
                }
            }
            Letter::Listen(id, fd, service) => {
                let adopted = self.platform.adopt_listener(fd);
                let added =
                    adopted.and_then(|it| self.add_listener(id, Some(it), service, Spread::Here));
                if let Err(error) = added {
                    log::error!("{id}: cannot listen: {error}");
                }
            }
            Letter::Unlisten(id) => drop(self.close_endpoint(id)),
            Letter::Adopt(fd, handler) => {
                if let Err(error) = self.adopt_boxed(fd, handler) {
                    log::warn!("a stream that was handed over is closed: {error}");
                }
            }
        }
    }

    fn deliver_message(&mut self, id: ConnId, message: M) {
        let Ok(slot) = self.desk.hub.resolve(id) else {
            log::trace!("{id}: a message came too late");
            return;
        };
        let phase = self.desk.hub.row(slot).phase;
        match phase {
            Phase::Open => {
                self.call(slot, Answers::Later, |handler, cx| handler.on_message(cx, message));
            }
            // `on_open` comes first: the message waits for it.
            Phase::Connecting if self.early_letters.len() < self.desk.hub.limits.mailbox => {
                self.early_letters.push((id, message));
            }
            _ => log::trace!("{id}: a message came too late"),
        }
    }

    /// Delivers what came before a connection was made; what is for others, or came for one that
    /// was not made, is kept or dropped.
    pub(super) fn deliver_early(&mut self, slot: u32) {
        if self.early_letters.is_empty() {
            return;
        }
        for (id, message) in std::mem::take(&mut self.early_letters) {
            let is_waiting = self.desk.hub.resolve(id).is_ok_and(|other| other != slot);
            if is_waiting {
                self.early_letters.push((id, message));
            } else {
                self.deliver_message(id, message);
            }
        }
    }

    /// Forgets what waits for connections that were never made.
    pub(super) fn drop_late_letters(&mut self) {
        let hub = &self.desk.hub;
        self.early_letters.retain(|(id, _)| hub.resolve(*id).is_ok());
    }

    fn deliver_notice(&mut self, id: EndpointId, message: M) {
        let Some(slot) = self.endpoint_slot(id) else {
            log::trace!("{id}: a message came too late");
            return;
        };
        match self.endpoints[slot as usize].kind {
            Kind::Listener(_) => self.call_service(slot, |it, cx| it.on_message(cx, message)),
            Kind::Datagram(_) => {
                self.call_datagram(slot, None, |it, cx| it.on_message(cx, message));
            }
        }
    }
}
