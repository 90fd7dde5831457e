//! So many a second, and not all at once.

use std::time::Duration;

use super::time::Time;

/// Spaces events out, by the *generic cell rate algorithm* (ITU-T I.371): one number says when
/// the next is expected, and a few may come early.
pub(crate) struct Rate {
    /// Between two events, where there is a limit.
    interval: Option<Duration>,
    expected: Time,
}

/// How early an event may come: a tenth of a second's worth in a burst.
const EARLY: Duration = Duration::from_millis(100);

impl Rate {
    /// `u32::MAX` is no limit.
    pub(crate) fn per_second(count: u32) -> Rate {
        let interval = (count != u32::MAX).then(|| Duration::from_secs(1) / count);
        Rate { interval, expected: Time::ZERO }
    }

    /// When the next event may be, where that is not now.
    #[inline]
    pub(crate) fn not_before(&self, now: Time) -> Option<Time> {
        if self.expected == Time::ZERO {
            return None; // so it stays where there is no limit
        }
        let early = self.expected - Time::ZERO; // `Time` knows no subtraction of spans
        let from = Time::ZERO + early.saturating_sub(EARLY);
        (from > now).then_some(from)
    }

    /// An event has been.
    #[inline]
    pub(crate) fn note(&mut self, now: Time) {
        if let Some(interval) = self.interval {
            self.expected = self.expected.max(now) + interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as soon as they may be, over a second.
    fn taken(rate: &mut Rate, mut now: Time) -> usize {
        let end = now + Duration::from_secs(1);
        for count in 0..100_000 {
            now = rate.not_before(now).unwrap_or(now);
            if now >= end {
                return count;
            }
            rate.note(now);
        }
        100_000
    }

    #[test]
    fn a_second_has_so_many_and_at_first_a_burst_more() {
        for per_second in [1, 2, 10, 999, 50_000] {
            let mut rate = Rate::per_second(per_second);
            let burst = per_second as usize / 10 + 1;
            let first = taken(&mut rate, Time::from_millis(5));
            let then = taken(&mut rate, Time::from_millis(1005));
            let wanted = per_second as usize;
            assert!((wanted..=wanted + burst).contains(&first), "{first} of {wanted}");
            assert!((wanted - 1..=wanted + 1).contains(&then), "{then} of {wanted}");
        }
        assert_eq!(taken(&mut Rate::per_second(u32::MAX), Time::ZERO), 100_000);
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut rate = Rate::per_second(10);
        assert!(taken(&mut rate, Time::from_millis(3_600_000)) <= 12);
    }
}
