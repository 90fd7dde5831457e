//! Datagram sockets: receiving in batches, answering, and what waits for the system to take it.
//!
//! What a batch is answered with leaves together. On Linux that makes for one `recvmmsg` and one
//! `sendmmsg` a batch, and a batch that is not full has told that nothing is left.

use std::net::IpAddr;

use super::Reactor;
use super::call::unwound;
use super::endpoint::{Endpoint, Kind};
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::handler::{DatagramContext, DatagramHandler, Request};
use crate::hub::counters::Ledger;
use crate::hub::notices::Notice;
use crate::hub::pulse::Callback;
use crate::sys::errors::DatagramError;
use crate::sys::{Arrived, Platform, ReceiveBatch, SendQueue};

/// A datagram socket and its handler.
pub(super) struct Socketed<M: 'static, P: Platform> {
    pub(super) socket: P::Datagram,
    pub(super) handler: Box<dyn DatagramHandler<M>>,
    pub(super) queue: SendQueue,
    pub(super) local: NetAddr,
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Sends what waits, then receives and answers within the budget. Receiving does not wait for
    /// sending: answers that nobody takes are dropped and counted.
    pub(super) fn exchange_datagrams(&mut self, slot: u32) {
        self.send_datagrams(slot);
        let mut batch =
            self.batch.take().unwrap_or_else(|| ReceiveBatch::new(SLOTS, DATAGRAM_BYTES_MAX));
        let mut budget = self.desk.hub.limits.datagram_budget;
        let mut may_have_more = true;
        while may_have_more && budget > 0 {
            batch.clear();
            may_have_more = self.receive_batch(slot, budget, &mut batch);
            self.show_batch(slot, &batch);
            // A run that the system made of several counts once: it is no larger than one may be.
            budget = budget.saturating_sub(batch.iter().count().max(1));
        }
        self.batch = Some(batch);
        if may_have_more {
            self.note_endpoint(slot); // the others first
        }
    }

    /// Receives a batch. Answers whether there may be more.
    fn receive_batch(&mut self, slot: u32, max: usize, batch: &mut ReceiveBatch) -> bool {
        let Some(Endpoint { id, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return false;
        };
        match self.platform.receive_batch(&mut socketed.socket, max, batch) {
            Ok(may_have_more) => may_have_more,
            Err(error) => match DatagramError::of(&error) {
                DatagramError::WouldBlock => false,
                DatagramError::Interrupted => true,
                // What an earlier send came to: it says nothing about this socket.
                DatagramError::Drop => {
                    log::trace!("{id}: told of an error: {error}");
                    self.desk.hub.counters.datagram_errors.add(1);
                    true
                }
                DatagramError::Broken => {
                    let id = *id;
                    log::error!("{id}: the socket is broken and will be closed: {error}");
                    self.close_endpoint(id);
                    false
                }
            },
        }
    }

    /// Shows a batch to the handler, and sends what it wants sent. A panic costs the datagram at
    /// hand.
    fn show_batch(&mut self, slot: u32, batch: &ReceiveBatch) {
        let Some(Endpoint { id, timers, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return;
        };
        let id = *id;
        self.desk.hub.counters.datagrams_overflowed.add(batch.overflowed());
        let mut is_taken = true;
        for (arrived, bytes) in batch.iter() {
            let Arrived { received, to, segment_bytes } = arrived;
            let from = &received.from;
            // What claims to come from ourselves would be answered for ever.
            if received.truncated
                || is_own(from, *to, &socketed.local)
                || !self.desk.handle.allows(from)
            {
                log::trace!("{id}: dropped a datagram of {} from {from}", received.len);
                self.desk.hub.counters.datagrams_dropped.add(1);
                continue;
            }
            let (first, mut rest) = bytes.split_at((*segment_bytes).min(bytes.len()));
            let mut payload = first;
            loop {
                log::trace!("{id}: received {} from {from}", payload.len());
                self.desk.hub.counters.datagrams_in.add(1);
                let request = Some(Request { from, to: *to, len: payload.len() });
                let Socketed { handler, queue, .. } = socketed;
                self.desk.hub.counters.pulse.note(Callback::Datagram, slot);
                let mut cx = DatagramContext::new(&mut self.desk, timers, queue, id, request);
                if let Err(message) = unwound(|| handler.on_datagram(&mut cx, from, payload)) {
                    let hub = &mut self.desk.hub;
                    hub.counters.panics.add(1);
                    let what = format_args!("{id}: the datagram handler panicked: {message}");
                    hub.log(Notice::DatagramPanicked, log::Level::Error, what);
                }
                // A batch must not fill the queue by itself.
                let is_much =
                    socketed.queue.len_bytes() > socketed.queue.max_bytes() / STAGED_SHARE;
                if is_much && is_taken {
                    is_taken = send(&mut self.platform, socketed, &self.desk.hub.counters, id);
                }
                if rest.is_empty() {
                    break;
                }
                (payload, rest) = rest.split_at((*segment_bytes).min(rest.len()));
            }
        }
        if is_taken {
            send(&mut self.platform, socketed, &self.desk.hub.counters, id);
        }
        self.note_endpoint_deadline(slot);
    }

    /// Calls a datagram handler about something else than a datagram, and sends what it wants
    /// sent.
    pub(super) fn call_datagram(
        &mut self,
        slot: u32,
        callback: impl FnOnce(&mut dyn DatagramHandler<M>, &mut DatagramContext<'_, M>),
    ) {
        let Some(Endpoint { id, timers, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return;
        };
        let Socketed { handler, queue, .. } = socketed;
        self.desk.hub.counters.pulse.note(Callback::Datagram, slot);
        let mut cx = DatagramContext::new(&mut self.desk, timers, queue, *id, None);
        if let Err(message) = unwound(|| callback(&mut **handler, &mut cx)) {
            let id = *id;
            self.desk.hub.counters.panics.add(1);
            let what = format_args!("{id}: the datagram handler panicked: {message}");
            self.desk.hub.log(Notice::DatagramPanicked, log::Level::Error, what);
        }
        self.note_endpoint_deadline(slot);
        self.send_datagrams(slot);
    }

    fn send_datagrams(&mut self, slot: u32) {
        if let Some(Endpoint { id, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        {
            send(&mut self.platform, socketed, &self.desk.hub.counters, *id);
        }
    }
}

/// Sends what waits, until the system takes no more. Answers whether it took all.
fn send<M, P: Platform>(
    platform: &mut P,
    socketed: &mut Socketed<M, P>,
    counters: &Ledger,
    id: EndpointId,
) -> bool {
    let Socketed { socket, queue, .. } = socketed;
    counters.datagrams_unsent.add(queue.take_dropped());
    while !queue.is_empty() {
        match platform.send_queued(socket, queue) {
            Ok(count) => counters.datagrams_out.add(count as u64),
            Err(error) => match DatagramError::of(&error) {
                DatagramError::WouldBlock => return false,
                DatagramError::Interrupted => {}
                DatagramError::Drop | DatagramError::Broken => {
                    log::trace!("{id}: a datagram was not sent: {error}");
                    counters.datagrams_unsent.add(1);
                    queue.discard(1);
                }
            },
        }
    }
    true
}

/// Whether a datagram claims to come from the very socket that received it. One that is bound to
/// all interfaces knows itself by the address that was asked, and on the loopback by any; what
/// claims to come from another interface of ours, but from outside, systems drop as martian
/// (RFC 1812, section 5.3.7).
#[inline]
fn is_own(from: &NetAddr, to: Option<IpAddr>, local: &NetAddr) -> bool {
    match (from.inet(), local.inet()) {
        (Some(from), Some(local)) if from.port() != local.port() => false,
        (Some(from), Some(local)) if local.ip().is_unspecified() => {
            from.ip().to_canonical().is_loopback() || to == Some(from.ip())
        }
        _ => from == local,
    }
}

/// How many datagrams one call receives.
const SLOTS: usize = 64;

/// What one slot holds: more than any UDP datagram has. A Unix socket may get larger ones, which
/// are dropped and counted.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Which part of the queue's bytes a batch may fill before it is sent; the rest is for one
/// callback.
const STAGED_SHARE: usize = 16;
