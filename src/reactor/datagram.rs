//! Datagram sockets: receiving, answering, and what waits for the system to take it.

use super::Reactor;
use super::call::unwound;
use super::endpoint::{Endpoint, Kind};
use crate::base::address::NetAddr;
use crate::handler::{DatagramContext, DatagramHandler, OutQueue};
use crate::sys::Platform;
use crate::sys::errors::DatagramError;

/// A datagram socket and its handler.
pub(super) struct Socketed<M: 'static, P: Platform> {
    pub(super) socket: P::Datagram,
    pub(super) handler: Box<dyn DatagramHandler<M>>,
    pub(super) queue: OutQueue,
    pub(super) local: NetAddr,
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Sends what waits, then receives and answers within the budget. Receiving does not wait for
    /// sending: answers that nobody takes are dropped and counted.
    pub(super) fn exchange_datagrams(&mut self, slot: u32) {
        self.send_datagrams(slot);
        for _ in 0..self.desk.hub.limits.datagram_budget {
            if !self.receive_one(slot) {
                return;
            }
        }
        self.note_endpoint(slot); // the others first
    }

    /// Receives one datagram and shows it to the handler. Answers whether there may be more.
    fn receive_one(&mut self, slot: u32) -> bool {
        let Some(Endpoint { id, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return false;
        };
        let counters = &mut self.desk.hub.counters;
        match self.platform.receive(&mut socketed.socket, &mut self.scratch) {
            // What claims to come from ourselves would be answered for ever.
            Ok(received) if received.truncated || is_own(&received.from, &socketed.local) => {
                log::trace!("{id}: dropped a datagram of {} from {}", received.len, received.from);
                counters.datagrams_dropped += 1;
                true
            }
            Ok(received) => {
                log::trace!("{id}: received {} from {}", received.len, received.from);
                counters.datagrams_in += 1;
                self.show_datagram(slot, &received.from, received.len);
                true
            }
            Err(error) => match DatagramError::of(&error) {
                DatagramError::WouldBlock => false,
                DatagramError::Interrupted => true,
                // What an earlier send came to: it says nothing about this socket.
                DatagramError::Drop => true,
                DatagramError::Broken => {
                    let id = *id;
                    log::error!("{id}: the socket is broken and will be closed: {error}");
                    self.close_endpoint(id);
                    false
                }
            },
        }
    }

    fn show_datagram(&mut self, slot: u32, from: &NetAddr, len: usize) {
        // The payload is lent from the read buffer, which the call needs apart from `self`.
        let scratch = std::mem::take(&mut self.scratch);
        let payload = &scratch[..len];
        self.call_datagram(slot, Some((from, len)), |handler, cx| {
            handler.on_datagram(cx, from, payload);
        });
        self.scratch = scratch;
    }

    /// Calls a datagram handler, and sends what it wants sent. A panic costs the datagram at
    /// hand.
    pub(super) fn call_datagram(
        &mut self,
        slot: u32,
        request: Option<(&NetAddr, usize)>,
        callback: impl FnOnce(&mut dyn DatagramHandler<M>, &mut DatagramContext<'_, M>),
    ) {
        let Some(Endpoint { id, timers, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return;
        };
        let Socketed { handler, queue, .. } = socketed;
        let mut cx = DatagramContext::new(&mut self.desk, timers, queue, *id, request);
        if let Err(message) = unwound(|| callback(&mut **handler, &mut cx)) {
            let id = *id;
            self.desk.hub.counters.panics += 1;
            log::error!("{id}: the datagram handler panicked: {message}");
        }
        self.note_endpoint_deadline(slot);
        self.send_datagrams(slot);
    }

    /// Sends what waits, until the system takes no more.
    fn send_datagrams(&mut self, slot: u32) {
        let Some(Endpoint { id, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return;
        };
        let counters = &mut self.desk.hub.counters;
        let Socketed { socket, queue, .. } = socketed;
        counters.datagrams_dropped += queue.take_dropped();
        while let Some((to, payload)) = queue.front() {
            match self.platform.send(socket, payload, to) {
                Ok(()) => counters.datagrams_out += 1,
                Err(error) => match DatagramError::of(&error) {
                    DatagramError::WouldBlock => return,
                    DatagramError::Interrupted => continue,
                    DatagramError::Drop | DatagramError::Broken => {
                        log::trace!("{id}: a datagram to {to} was not sent: {error}");
                        counters.datagrams_dropped += 1;
                    }
                },
            }
            queue.pop();
        }
        debug_assert!(queue.is_empty());
    }
}

/// Whether a datagram claims to come from the very socket that received it. One that is bound to
/// all interfaces meets itself on the loopback; what claims to come from another interface of
/// ours, but from outside, systems drop as martian (RFC 1812, section 5.3.7).
fn is_own(from: &NetAddr, local: &NetAddr) -> bool {
    match (from.inet(), local.inet()) {
        (Some(from), Some(local)) if local.ip().is_unspecified() => {
            from.port() == local.port() && from.ip().to_canonical().is_loopback()
        }
        _ => from == local,
    }
}
