//! When messages are due.

use std::time::{Duration, Instant};

use crate::options::Extent;
use crate::tally::Nanos;

/// The time of a run, and in an open loop the moments at which messages are due.
pub(crate) struct Schedule {
    start: Instant,
    pub(crate) end: Nanos,
    /// Between two messages; none in a closed loop.
    interval: Option<f64>,
    issued_count: u64,
}

impl Schedule {
    pub(crate) fn new(start: Instant, extent: Extent, rate: Option<f64>) -> Schedule {
        let end = match extent {
            Extent::Time { warm_up, measured } => nanos(warm_up + measured),
            Extent::Rounds(_) => Nanos::MAX,
        };
        Schedule { start, end, interval: rate.map(|rate| 1e9 / rate), issued_count: 0 }
    }

    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    pub(crate) fn is_open_loop(&self) -> bool {
        self.interval.is_some()
    }

    /// In an open loop: the next message if it is due by now, with its number and its moment.
    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<(u64, Nanos)> {
        let due = self.next_due().filter(|due| *due <= now)?;
        self.issued_count += 1;
        Some((self.issued_count - 1, due))
    }

    /// In an open loop: when the next message is due; none after the end.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        let due = (self.interval? * self.issued_count as f64) as Nanos;
        (due < self.end).then_some(due)
    }

    /// How long a poll may wait for events. In an open loop, waits are short of the next message
    /// by what the timers of poll are inexact, and the rest is asked for again and again.
    pub(crate) fn patience(&self, now: Nanos) -> Duration {
        match self.next_due() {
            None => PATIENCE,
            Some(due) => {
                let spare = due.saturating_sub(now).saturating_sub(POLL_INEXACT) / 1_000_000;
                Duration::from_millis(spare).min(PATIENCE)
            }
        }
    }
}

fn nanos(span: Duration) -> Nanos {
    span.as_nanos() as Nanos
}

/// Between two looks at what does not wake a poll.
const PATIENCE: Duration = Duration::from_millis(50);
const POLL_INEXACT: Nanos = 2_000_000;
