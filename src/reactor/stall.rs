//! Callbacks that hold the loop up: noted as they begin, told of after the turn.

use std::time::Duration;

use log::Level;

use super::Reactor;
use crate::hub::Hub;
use crate::hub::notices::Notice;
use crate::hub::pulse::{Beat, Callback};
use crate::sys::Platform;

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// A callback is about to be called, of a connection or an endpoint in this place.
    #[inline(always)] // on the way of every request
    pub(super) fn note_callback(&mut self, callback: Callback, slot: u32) {
        note_callback(&mut self.desk.hub, &self.platform, callback, slot);
    }

    /// Times what calls a datagram socket's handler as one, since a batch does so many times.
    pub(super) fn watch_datagrams(&mut self, slot: u32, work: impl FnOnce(&mut Self)) {
        start_watch(&mut self.desk.hub, &self.platform);
        work(self);
        self.note_return(Callback::Datagram, slot);
    }

    /// It has returned.
    #[inline(always)]
    pub(super) fn note_return(&mut self, callback: Callback, slot: u32) {
        if self.desk.hub.stopwatch.is_on() {
            self.note_time(callback, slot);
        }
    }

    #[cold]
    fn note_time(&mut self, callback: Callback, slot: u32) {
        let now = self.platform.now();
        let watch = &self.desk.hub.stopwatch;
        let took = now - watch.started;
        let is_longest = watch.longest.as_ref().is_none_or(|(longest, _)| took > *longest);
        if is_longest && took > self.desk.hub.limits.stall / 2 {
            let bytes = self.desk.hub.counters.pulse.look().bytes;
            let name = self.name(callback, slot, bytes);
            self.desk.hub.stopwatch.longest = Some((took, name));
        }
    }

    /// A turn is over: tells of it where it took too long.
    #[inline]
    pub(super) fn note_stall(&mut self, nanos: u64) {
        if nanos > self.desk.hub.stopwatch.stall_nanos {
            self.report_stall(Duration::from_nanos(nanos));
        } else if self.desk.hub.stopwatch.is_on() {
            let watch = &mut self.desk.hub.stopwatch;
            watch.turns_left -= 1;
            watch.longest = None;
        }
    }

    #[cold]
    fn report_stall(&mut self, took: Duration) {
        let hub = &mut self.desk.hub;
        hub.counters.stalls.add(1);
        hub.stopwatch.turns_left = TIMED_TURNS;
        let longest = hub.stopwatch.longest.take();
        let Beat { calls, last, bytes, .. } = hub.counters.pulse.look();
        let what = match (longest, last) {
            (Some((span, name)), _) => format!("{name} held the loop up for {span:.1?}"),
            (None, Some((callback, slot))) if calls == 1 => {
                let name = self.name(callback, slot, bytes);
                format!("{name} held the loop up for {took:.1?}")
            }
            (None, Some((callback, slot))) => {
                let name = self.name(callback, slot, bytes);
                format!(
                    "a turn took {took:.1?} with {calls} callbacks, the last {name}; the next \
                     turns will be timed"
                )
            }
            (None, None) => format!("a turn took {took:.1?} without a callback"),
        };
        self.desk.hub.log(Notice::Stall, Level::Warn, format_args!("{what}"));
    }

    /// `on_bytes of 0/5#42 with 64 bytes`; without the serial where the connection has gone.
    fn name(&self, callback: Callback, slot: u32, bytes: u64) -> String {
        let hub = &self.desk.hub;
        let of = match callback {
            Callback::Service | Callback::Datagram => {
                let endpoint = self.endpoints.get(slot as usize);
                endpoint.map_or_else(|| "one that is closed".to_owned(), |it| it.id.to_string())
            }
            _ if hub.rows.contains(slot as usize) => hub.id(slot).to_string(),
            _ => format!("{}/{slot}", hub.reactor),
        };
        match callback {
            Callback::Bytes => format!("{callback} of {of} with {bytes} bytes"),
            _ => format!("{callback} of {of}"),
        }
    }
}

/// As [`Reactor::note_callback`], for whoever has lent the rest of the reactor.
#[inline(always)]
pub(super) fn note_callback(
    hub: &mut Hub,
    platform: &impl Platform,
    callback: Callback,
    slot: u32,
) {
    hub.counters.pulse.note(callback, slot);
    start_watch(hub, platform);
}

#[inline(always)]
fn start_watch(hub: &mut Hub, platform: &impl Platform) {
    if hub.stopwatch.is_on() {
        hub.stopwatch.started = platform.now();
    }
}

/// How long callbacks are timed after a turn that took too long.
const TIMED_TURNS: u32 = 1000;
