//! What a reactor is at, for whoever looks on while it is stuck, and for the report afterwards.
//!
//! Noting it costs a callback a few stores. What held a turn up is then known where there was
//! one callback only, or where callbacks are timed, which they are for a while after a turn that
//! was held up: a clock read around each would be a tenth of the work of a small request.

use std::fmt;
use std::time::Duration;

use crate::base::count::Count;
use crate::base::time::Time;

/// A kind of callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Callback {
    Open,
    Bytes,
    Eof,
    Drain,
    Timer,
    Message,
    Shutdown,
    Close,
    /// One of a listener's service.
    Service,
    /// One of a datagram socket's handler.
    Datagram,
}

const CALLBACKS: [Callback; 10] = [
    Callback::Open,
    Callback::Bytes,
    Callback::Eof,
    Callback::Drain,
    Callback::Timer,
    Callback::Message,
    Callback::Shutdown,
    Callback::Close,
    Callback::Service,
    Callback::Datagram,
];

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Callback::Open => "on_open",
            Callback::Bytes => "on_bytes",
            Callback::Eof => "on_eof",
            Callback::Drain => "on_drain",
            Callback::Timer => "on_timer",
            Callback::Message => "on_message",
            Callback::Shutdown => "on_shutdown",
            Callback::Close => "on_close",
            Callback::Service => "a service",
            Callback::Datagram => "a datagram handler",
        })
    }
}

/// Written by the reactor, read by anybody.
#[derive(Default)]
pub(crate) struct Pulse {
    /// The number of the turn under way, counted from 1; 0 while the reactor waits.
    turn: Count,
    /// Callbacks since the turn began.
    calls: Count,
    /// The last callback.
    callback: Count,
    /// The place of its connection or endpoint.
    slot: Count,
    /// What it was shown, where it was [`Callback::Bytes`].
    bytes: Count,
}

/// What a [`Pulse`] says at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Beat {
    pub(crate) turn: u64,
    pub(crate) calls: u64,
    /// The last callback, if there was one in this turn.
    pub(crate) last: Option<(Callback, u32)>,
    pub(crate) bytes: u64,
}

impl Pulse {
    /// A turn has begun to work.
    #[inline]
    pub(crate) fn begin(&self, turn: u64) {
        self.calls.set(0);
        self.turn.set(turn);
    }

    /// The reactor is about to wait, or to return to its host.
    #[inline]
    pub(crate) fn rest(&self) {
        self.turn.set(0);
    }

    #[inline(always)] // on the way of every request
    pub(crate) fn note(&self, callback: Callback, slot: u32) {
        self.callback.set(callback as u64);
        self.slot.set(slot.into());
        self.calls.add(1);
    }

    #[inline(always)]
    pub(crate) fn note_bytes(&self, bytes: usize) {
        self.bytes.set(bytes as u64);
    }

    /// Its parts may be of moments a little apart, as is good enough for what stands still.
    pub(crate) fn look(&self) -> Beat {
        let calls = self.calls.get();
        let callback = CALLBACKS[self.callback.get() as usize];
        let last = (calls > 0).then_some((callback, self.slot.get() as u32));
        Beat { turn: self.turn.get(), calls, last, bytes: self.bytes.get() }
    }
}

/// Times callbacks, where it is on.
pub(crate) struct Stopwatch {
    /// From when on a turn is a stall.
    pub(crate) stall_nanos: u64,
    /// Turns in which callbacks are still to be timed.
    pub(crate) turns_left: u32,
    pub(crate) started: Time,
    /// The longest callback of this turn, with the name of whose it was.
    pub(crate) longest: Option<(Duration, String)>,
}

impl Stopwatch {
    pub(crate) fn new(stall: Duration) -> Stopwatch {
        let stall_nanos = u64::try_from(stall.as_nanos()).unwrap_or(u64::MAX);
        Stopwatch { stall_nanos, turns_left: 0, started: Time::ZERO, longest: None }
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.turns_left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_names_every_callback() {
        let pulse = Pulse::default();
        pulse.begin(7);
        assert_eq!(pulse.look().last, None);
        for (index, callback) in CALLBACKS.into_iter().enumerate() {
            assert_eq!(callback as usize, index);
            pulse.note(callback, u32::MAX - index as u32);
            assert_eq!(pulse.look().last, Some((callback, u32::MAX - index as u32)));
        }
        assert_eq!((pulse.look().turn, pulse.look().calls), (7, 10));
        pulse.rest();
        assert_eq!(pulse.look().turn, 0);
    }
}
