//! Step 4, where it has to wait: listeners that rest, and what ends that.

use super::Reactor;
use super::endpoint::{Endpoint, Kind};
use crate::base::time::Time;
use crate::hub::limits::WhenFull;
use crate::sys::Platform;

/// A listener does not accept for now, and no edge will tell when it can. It also tries whenever
/// a connection closes.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    pub(super) why: Why,
    /// In which turn it began: who has rested longest comes first, so that one listener which is
    /// flooded leaves the others their turns.
    pub(super) since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// There are as many connections as may be.
    Full,
    /// The rate of accepting allows the next at this moment.
    Rate(Time),
    /// Descriptors or memory ran out; it tries again at this moment.
    Exhausted(Time),
}

impl Rest {
    /// When to try again, where time will tell.
    pub(super) fn until(self) -> Option<Time> {
        match self.why {
            Why::Full => None,
            Why::Rate(moment) | Why::Exhausted(moment) => Some(moment),
        }
    }

    fn is_full(self) -> bool {
        self.why == Why::Full
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Whether a listener may have to rest: the limit on connections, or the rate of accepting,
    /// allows no more.
    #[inline(always)] // on the way of every connection
    pub(super) fn is_limited(&self) -> bool {
        let hub = &self.desk.hub;
        self.desk.handle.is_full(&hub.limits) || self.accept_rate.not_before(hub.now).is_some()
    }

    /// Has a listener wait where the limit on connections, or the rate of accepting, asks for it.
    #[inline(never)] // hardly ever asked
    pub(super) fn must_rest(&mut self, slot: u32) -> bool {
        let hub = &self.desk.hub;
        let before = self.endpoints.get(slot as usize).and_then(Endpoint::rest);
        let is_held = before.is_some_and(Rest::is_full);
        let waits = hub.limits.when_full == WhenFull::Wait;
        // Once it is held, it is until there is some room.
        if waits
            && (is_held || self.desk.handle.is_full(&hub.limits))
            && self.desk.handle.hold_accept(&hub.limits)
        {
            hub.counters.accept_holds.add(u64::from(!is_held));
            self.rest(slot, Why::Full);
            return true;
        }
        // (Once no more come, a rate protects nothing.)
        let not_before = self.accept_rate.not_before(hub.now);
        if let Some(moment) = not_before.filter(|_| self.shutdown.is_running()) {
            hub.counters.accept_waits.add(u64::from(before.is_none()));
            self.rest(slot, Why::Rate(moment));
            return true;
        }
        false
    }

    /// Has a listener wait, for a moment or for a connection to close.
    pub(super) fn rest(&mut self, slot: u32, why: Why) {
        let turn = self.desk.hub.counters.turns.get();
        if let Kind::Listener(listening) = &mut self.endpoints[slot as usize].kind {
            let rest = Rest { why, since: listening.rest.map_or(turn, |rest| rest.since) };
            self.is_holding |= rest.is_full() && self.neighbours.is_some();
            listening.rest = Some(rest);
            self.endpoint_agenda.by(slot, rest.until().unwrap_or(Time::MAX));
        }
    }

    /// The time to try again has come.
    pub(super) fn end_rest(&mut self, slot: u32) {
        let now = self.desk.hub.now;
        let rest = self.endpoints.get(slot as usize).and_then(Endpoint::rest);
        if rest.and_then(Rest::until).is_some_and(|until| until <= now) {
            self.note_endpoint(slot);
        }
    }

    /// A connection has closed: whoever rests may try again.
    pub(super) fn retry_accept(&mut self) {
        self.retry_where(|_| true);
    }

    /// Listeners that rest at the limit go on once another reactor has closed a connection.
    pub(super) fn retry_held(&mut self) {
        if !self.is_holding {
            return;
        }
        let mut endpoints = self.endpoints.iter();
        self.is_holding = endpoints.any(|(_, it)| it.rest().is_some_and(Rest::is_full));
        // Somebody else may have taken what had come free: then the next to close must wake us
        // once more.
        if self.is_holding && !self.desk.handle.hold_accept(&self.desk.hub.limits) {
            self.retry_where(Rest::is_full);
        }
    }

    fn retry_where(&mut self, may_retry: impl Fn(Rest) -> bool) {
        for (slot, endpoint) in &mut self.endpoints {
            if endpoint.rest().is_some_and(&may_retry) && !endpoint.is_ready {
                endpoint.is_ready = true;
                self.ready_endpoints.push(slot as u32);
                self.desk.hub.wants_work = true;
            }
        }
    }
}
