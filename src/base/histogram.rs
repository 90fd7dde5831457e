//! Counts by powers of two: little memory, and a few instructions for each value.

use std::array;
use std::time::Duration;

use super::count::Count;

/// How many times something took how long, by powers of two.
///
/// Bucket `i` counts what took up to 2^(10 + `i`) nanoseconds (about a microsecond for the first)
/// and more than the one before; the last has everything above 34 seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_nanos: u64,
}

impl Histogram {
    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// The buckets in order: the longest time that counts there, which is [`Duration::MAX`] for
    /// the last, and how many there are.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.counts.iter().enumerate().map(|(index, &count)| (bound(index), count))
    }

    /// The time that this share of all values (0.99 is 99 of a hundred) did not exceed, rounded
    /// up to the bound of a bucket; zero where there are no values.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in self.buckets() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return bound;
            }
        }
        Duration::ZERO
    }

    /// What several have counted together.
    #[must_use]
    pub fn and(self, other: Histogram) -> Histogram {
        Histogram {
            counts: array::from_fn(|index| self.counts[index] + other.counts[index]),
            sum_nanos: self.sum_nanos.wrapping_add(other.sum_nanos),
        }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKETS], sum_nanos: 0 }
    }
}

/// A [`Histogram`] in the making: one thread adds to it, and any may look.
#[derive(Default)]
pub(crate) struct Histograph {
    counts: [Count; BUCKETS],
    sum_nanos: Count,
}

impl Histograph {
    #[inline]
    pub(crate) fn add(&self, nanos: u64) {
        self.counts[bucket(nanos)].add(1);
        self.sum_nanos.add(nanos);
    }

    pub(crate) fn look(&self) -> Histogram {
        Histogram {
            counts: array::from_fn(|index| self.counts[index].get()),
            sum_nanos: self.sum_nanos.get(),
        }
    }
}

const BUCKETS: usize = 27;
/// The first bucket has everything up to 2 to this.
const FIRST: u32 = 10;

#[inline]
fn bucket(nanos: u64) -> usize {
    let above = nanos.saturating_sub(1) >> (FIRST - 1);
    ((above | 1).ilog2() as usize).min(BUCKETS - 1)
}

fn bound(bucket: usize) -> Duration {
    match bucket {
        _ if bucket == BUCKETS - 1 => Duration::MAX,
        _ => Duration::from_nanos(1 << (FIRST as usize + bucket)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_whose_bounds_hold_it() {
        let mut values = vec![0, 1, 1023, 1024, 1025, u64::MAX];
        values.extend((0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        for nanos in values {
            let at = bucket(nanos);
            let value = Duration::from_nanos(nanos);
            assert!(value <= bound(at), "{nanos}");
            assert!(at == 0 || value > bound(at - 1), "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_the_bounds_of_buckets() {
        let graph = Histograph::default();
        assert_eq!(graph.look().quantile(0.5), Duration::ZERO);
        for _ in 0..99 {
            graph.add(1000);
        }
        graph.add(1_000_000);
        let seen = graph.look();
        assert_eq!((seen.count(), seen.sum()), (100, Duration::from_nanos(1_099_000)));
        assert_eq!(seen.quantile(0.0), Duration::from_nanos(1024));
        assert_eq!(seen.quantile(0.99), Duration::from_nanos(1024));
        assert_eq!(seen.quantile(1.0), Duration::from_nanos(1 << 20));
        assert_eq!(seen.and(seen).count(), 200);
    }
}
