//! Datagram sockets: receiving in batches, answering, and what waits for the system to take it.
//!
//! What a batch is answered with leaves together. On Linux that makes for one `recvmmsg` and one
//! `sendmmsg` a batch, and a batch that is not full has told that nothing is left.

use super::Reactor;
use super::call::unwound;
use super::endpoint::{Endpoint, Kind};
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::handler::{DatagramContext, DatagramHandler, Screen};
use crate::hub::Hub;
use crate::hub::counters::Ledger;
use crate::hub::limits::Limits;
use crate::hub::notices::Notice;
use crate::hub::pulse::Callback;
use crate::sys::errors::DatagramError;
use crate::sys::{Platform, ReceiveBatch, SLOT_BYTES_MAX, SendQueue};

/// A datagram socket and its handler.
pub(super) struct Socketed<M: 'static, P: Platform> {
    pub(super) socket: P::Datagram,
    pub(super) handler: Box<dyn DatagramHandler<M>>,
    pub(super) queue: SendQueue,
    pub(super) screen: Screen,
}

impl<M: 'static, P: Platform> Socketed<M, P> {
    pub(super) fn new(
        socket: P::Datagram,
        handler: Box<dyn DatagramHandler<M>>,
        local: NetAddr,
        limits: &Limits,
    ) -> Self {
        let queue = SendQueue::new(limits.datagram_queue_bytes);
        Socketed { socket, handler, queue, screen: Screen::new(local) }
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Sends what waits, then receives and answers within the budget. Receiving does not wait for
    /// sending: answers that nobody takes are dropped and counted.
    pub(super) fn exchange_datagrams(&mut self, slot: u32) {
        self.send_datagrams(slot);
        self.begin_screen(slot);
        let mut batch =
            self.batch.take().unwrap_or_else(|| ReceiveBatch::new(SLOTS, SLOT_BYTES_MAX));
        let mut budget = self.desk.hub.limits.datagram_budget;
        let mut may_have_more = true;
        while may_have_more && budget > 0 {
            batch.clear();
            may_have_more = self.receive_batch(slot, budget, &mut batch);
            // An error counts too, or one that stays would keep all others waiting.
            budget = budget.saturating_sub(self.show_batch(slot, &mut batch).max(1));
        }
        self.batch = Some(batch);
        if may_have_more {
            self.note_endpoint(slot); // the others first
        }
    }

    fn begin_screen(&mut self, slot: u32) {
        if let Some(Endpoint { kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        {
            socketed.screen.begin(&self.desk.hub.limits);
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

    /// Shows a batch to the handler, and sends what it wants sent; answers how many datagrams had
    /// come. A panic costs the datagram at hand.
    fn show_batch(&mut self, slot: u32, batch: &mut ReceiveBatch) -> usize {
        let Some(Endpoint { id, timers, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return 0;
        };
        let id = *id;
        let Socketed { socket, handler, queue, screen } = socketed;
        self.desk.hub.counters.datagrams_overflowed.add(batch.overflowed());
        let mut is_taken = true;
        let mut cx = DatagramContext::new(&mut self.desk, timers, queue, screen, id);
        cx.lay_out(batch.arrivals());
        // A batch must not fill the queue by itself.
        let share = cx.queue.max_bytes() / STAGED_SHARE;
        while cx.has_datagrams() {
            cx.desk.hub.counters.pulse.note(Callback::Datagram, slot);
            cx.queue.set_full(if is_taken { share } else { usize::MAX });
            let outcome = unwound(|| handler.on_datagrams(&mut cx));
            let is_much = cx.queue.is_full();
            if let Err(message) = &outcome {
                tell_of_panic(&mut cx.desk.hub, id, message);
            }
            if is_much {
                is_taken = send(&mut self.platform, socket, cx.queue, &cx.desk.hub.counters, id);
            }
            if outcome.is_ok() && !is_much {
                break;
            }
        }
        let count = cx.came();
        log::trace!("{id}: received {count}");
        if is_taken {
            send(&mut self.platform, socket, queue, &self.desk.hub.counters, id);
        }
        self.note_endpoint_deadline(slot);
        count
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
        let Socketed { handler, queue, screen, .. } = socketed;
        self.desk.hub.counters.pulse.note(Callback::Datagram, slot);
        let mut cx = DatagramContext::new(&mut self.desk, timers, queue, screen, *id);
        if let Err(message) = unwound(|| callback(&mut **handler, &mut cx)) {
            tell_of_panic(&mut self.desk.hub, *id, &message);
        }
        self.note_endpoint_deadline(slot);
        self.send_datagrams(slot);
    }

    fn send_datagrams(&mut self, slot: u32) {
        if let Some(Endpoint { id, kind: Kind::Datagram(socketed), .. }) =
            self.endpoints.get_mut(slot as usize)
        {
            let Socketed { socket, queue, .. } = socketed;
            send(&mut self.platform, socket, queue, &self.desk.hub.counters, *id);
        }
    }
}

#[cold]
fn tell_of_panic(hub: &mut Hub, id: EndpointId, message: &str) {
    hub.counters.panics.add(1);
    let what = format_args!("{id}: the datagram handler panicked: {message}");
    hub.log(Notice::DatagramPanicked, log::Level::Error, what);
}

/// Sends what waits, until the system takes no more. Answers whether it took all.
fn send<P: Platform>(
    platform: &mut P,
    socket: &mut P::Datagram,
    queue: &mut SendQueue,
    counters: &Ledger,
    id: EndpointId,
) -> bool {
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

/// How many datagrams one call receives: 8 MiB of memory where each slot has seen the largest. (A
/// Unix socket may get larger ones, which are dropped and counted.)
const SLOTS: usize = 128;

/// Which part of the queue's bytes a batch may fill before it is sent; the rest is for one
/// callback.
const STAGED_SHARE: usize = 16;
