//! A moment on the clock of a [`Platform`](crate::sys::Platform), carried as a value.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment: nanoseconds since the platform's clock began, which is when it was made.
///
/// The reactor reads its clock at most twice a turn and hands the moment down, so time stands
/// still inside a turn, and a simulated clock serves as well as the real one. Moments of two
/// reactors can be compared only where they share a platform clock: those of one
/// [`Server`](crate::Server) do not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// When the platform's clock began.
    pub const ZERO: Time = Time(0);
    /// Later than everything: 584 years on.
    pub const MAX: Time = Time(u64::MAX);

    /// The moment this many nanoseconds after the clock began.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// The moment this many milliseconds after the clock began.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the clock began.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// As [`since`](Time::since), in nanoseconds.
    #[inline]
    pub(crate) const fn nanos_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long ago `earlier` was; zero where it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }
}

/// Saturates at [`Time::MAX`].
impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, span: Duration) -> Time {
        let seconds = span.as_secs().saturating_mul(1_000_000_000);
        let nanos = seconds.saturating_add(u64::from(span.subsec_nanos()));
        Time(self.0.saturating_add(nanos))
    }
}

/// Saturates at zero, like [`Time::since`].
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Time) -> Duration {
        self.since(earlier)
    }
}

/// Seconds with six decimals: `1.250000`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1_000)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Time({self})")
    }
}

/// How long to wait at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timeout {
    nanos: u64,
}

impl Timeout {
    /// Not at all.
    pub const ZERO: Timeout = Timeout { nanos: 0 };
    /// As long as it takes.
    pub const NEVER: Timeout = Timeout { nanos: u64::MAX };

    /// From one moment until another; [`Time::MAX`] is never.
    #[inline]
    pub(crate) const fn between(now: Time, until: Time) -> Timeout {
        match until {
            Time::MAX => Timeout::NEVER,
            _ => Timeout { nanos: until.nanos_since(now) },
        }
    }

    /// In milliseconds, rounded up: whoever sleeps for less than was asked for would turn again and
    /// again until the time has come.
    #[inline]
    pub(crate) const fn as_millis_up(self) -> u64 {
        self.nanos.saturating_add(999_999) / 1_000_000
    }

    /// When it is over, if it begins now.
    pub(crate) const fn end(self, now: Time) -> Time {
        Time(now.0.saturating_add(self.nanos))
    }

    /// `None` is as long as it takes.
    pub fn span(self) -> Option<Duration> {
        (self != Timeout::NEVER).then_some(Duration::from_nanos(self.nanos))
    }
}

/// `None` is as long as it takes.
impl From<Option<Duration>> for Timeout {
    fn from(span: Option<Duration>) -> Timeout {
        Timeout::between(Time::ZERO, span.map_or(Time::MAX, |span| Time::ZERO + span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_spans_or_none() {
        let second = Duration::from_secs(1);
        for span in [None, Some(Duration::ZERO), Some(second)] {
            assert_eq!(Timeout::from(span).span(), span);
        }
        assert_eq!(Timeout::from(Some(Duration::MAX)), Timeout::NEVER);
        assert_eq!(Timeout::between(Time::from_millis(7), Time::from_millis(5)), Timeout::ZERO);
        assert_eq!(Timeout::between(Time::ZERO, Time::from_nanos(1_000_001)).as_millis_up(), 2);
        assert!(Timeout::ZERO < Timeout::from(Some(second)) && Timeout::NEVER.as_millis_up() > 0);
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Time::MAX + Duration::MAX, Time::MAX);
        assert_eq!(Time::ZERO - Time::MAX, Duration::ZERO);
        assert_eq!(Time::from_millis(1500) - Time::from_millis(500), Duration::from_secs(1));
    }

    #[test]
    fn shows_as_seconds() {
        assert_eq!(Time::from_millis(1250).to_string(), "1.250000");
    }
}
