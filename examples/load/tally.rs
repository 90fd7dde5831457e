//! What was measured.

use std::io;

use hdrhistogram::Histogram;

/// A span since the start, in nanoseconds.
pub(crate) type Nanos = u64;

/// The counts and latencies of one thread, or of all.
#[derive(Clone)]
pub(crate) struct Tally {
    /// The part of the run that counts.
    from: Nanos,
    until: Nanos,
    /// Messages answered in that part.
    pub(crate) count: u64,
    /// In nanoseconds, of messages that were due in that part, whenever their answers came.
    pub(crate) latencies: Histogram<u64>,
    /// Answers by the [`INTERVAL`] in which they came, the warm-up included.
    pub(crate) series: Vec<u64>,
    /// Connections that could not be made, or ended before their time.
    pub(crate) failed_count: u64,
    /// Why the first of them was.
    pub(crate) first_failure: Option<String>,
    /// Datagrams without an answer.
    pub(crate) lost_count: u64,
}

impl Tally {
    pub(crate) fn new(from: Nanos, until: Nanos) -> Tally {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MOST, 3).expect("sensible bounds");
        Tally {
            from,
            until,
            count: 0,
            latencies,
            series: Vec::new(),
            failed_count: 0,
            first_failure: None,
            lost_count: 0,
        }
    }

    /// A message was due, and now it is answered.
    #[inline]
    pub(crate) fn answered(&mut self, due: Nanos, now: Nanos) {
        let interval = (now / INTERVAL) as usize;
        if interval >= self.series.len() {
            self.series.resize(interval + 1, 0);
        }
        self.series[interval] += 1;
        if now >= self.from && now < self.until {
            self.count += 1;
        }
        if due >= self.from && due < self.until {
            self.latencies.saturating_record((now - due).max(1));
        }
    }

    /// A connection could not be made, or ended before its time.
    pub(crate) fn failed(&mut self, error: &io::Error) {
        self.failed_count += 1;
        self.first_failure.get_or_insert_with(|| error.to_string());
    }

    /// Is a message that was due then one of those that count?
    pub(crate) fn counts(&self, due: Nanos) -> bool {
        due >= self.from && due < self.until
    }

    /// Adds what another thread of the same run measured.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.count += other.count;
        self.failed_count += other.failed_count;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
        self.lost_count += other.lost_count;
        self.latencies.add(&other.latencies).expect("the same bounds");
        if self.series.len() < other.series.len() {
            self.series.resize(other.series.len(), 0);
        }
        for (mine, others) in self.series.iter_mut().zip(&other.series) {
            *mine += others;
        }
    }

    /// The latency, in nanoseconds, that so many of a hundred messages did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Nanos {
        self.latencies.value_at_percentile(percent)
    }
}

/// A tenth of a second.
pub(crate) const INTERVAL: Nanos = 100_000_000;
/// An hour: whatever takes longer is told as this.
const LATENCY_MOST: Nanos = 3_600_000_000_000;
