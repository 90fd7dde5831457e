//! Deadlines by key: a hierarchical timing wheel (Varghese and Lauck, "Hashed and hierarchical
//! timing wheels", 1987).
//!
//! Time is counted in ticks of a millisecond, and ticks are written in digits of six bits. An
//! entry sits on the level of the highest digit in which its tick differs from `elapsed`, the
//! tick that the wheel has come to, in the bucket which that digit names:
//!
//! ```text
//!  elapsed   0 · 0 · 1 · 5
//!  a tick    0 · 0 · 1 · 9    differs in digit 0: level 0, bucket 9
//!            0 · 0 · 3 · 5               digit 1: level 1, bucket 3
//!            2 · 0 · 1 · 9               digit 3: level 3, bucket 2
//! ```
//!
//! So everything on one level comes before anything on the next, and within a level bucket by
//! bucket: the first occupied bucket holds the nearest deadline. When its time comes it is dealt
//! out over the levels below it; on level 0 a bucket is a single tick, and is handed out. Work is
//! bounded by entries times levels, however far time jumps.

pub(crate) mod model;

use super::time::Time;

pub(crate) struct Wheel {
    /// By key.
    entries: Vec<Entry>,
    /// By place: `level * SLOTS + slot`.
    buckets: Box<[Bucket]>,
    /// By level: bit `slot` is set exactly while that bucket holds something.
    occupied: [u64; LEVELS],
    /// `elapsed <= tick` of every entry, and each is in the place that this asks for. It moves
    /// only when a bucket is dealt or handed out, so it may be behind the clock.
    elapsed: u64,
    /// How many entries are set.
    len: usize,
}

/// One key's deadline, linked to its neighbours in a bucket.
#[derive(Clone, Copy)]
struct Entry {
    /// The deadline, rounded up; `UNSET` where the key has none.
    tick: u64,
    next: u32,
    prev: u32,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// A list of entries, in the order of setting.
#[derive(Clone, Copy)]
struct Bucket {
    /// At or before the tick of every entry, and exact unless one was cancelled or moved.
    min: u64,
    head: u32,
    tail: u32,
}

impl Wheel {
    pub(crate) fn new() -> Wheel {
        Wheel {
            entries: Vec::new(),
            buckets: vec![Bucket::EMPTY; LEVELS * SLOTS].into_boxed_slice(),
            occupied: [0; LEVELS],
            elapsed: 0,
            len: 0,
        }
    }

    /// How many keys have a deadline.
    fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives `key` a deadline, in place of the one it had, and answers it, rounded up to its tick.
    /// The past is due at the next [`expire`](Wheel::expire).
    ///
    /// Keys index a table, so they should be dense.
    pub(crate) fn set(&mut self, key: u32, deadline: Time) -> Time {
        assert!(key != NIL, "this number stands for no key");
        let index = key as usize;
        if index >= self.entries.len() {
            self.entries.resize(index + 1, Entry::NONE);
        } else if self.entries[index].tick != UNSET {
            self.cancel(key);
        }
        let tick = tick_of(deadline).max(self.elapsed);
        self.link(key, tick);
        self.len += 1;
        Time::from_millis(tick)
    }

    /// Takes the deadline of `key` away, and says whether there was one.
    pub(crate) fn cancel(&mut self, key: u32) -> bool {
        let Some(&entry) = self.entries.get(key as usize).filter(|entry| entry.tick != UNSET)
        else {
            return false;
        };
        self.unlink(entry);
        self.entries[key as usize] = Entry::NONE;
        self.len -= 1;
        true
    }

    /// The deadline of `key`, rounded up to its tick.
    #[inline]
    pub(crate) fn deadline(&self, key: u32) -> Option<Time> {
        let tick = self.entries.get(key as usize)?.tick;
        (tick != UNSET).then(|| Time::from_millis(tick))
    }

    /// When to call [`expire`](Wheel::expire) next.
    ///
    /// Never after the nearest deadline's tick, and exactly then unless entries were cancelled or
    /// moved, each of which can cost one call that finds nothing.
    pub(crate) fn next(&self) -> Option<Time> {
        self.first().map(|place| Time::from_millis(self.buckets[place].min))
    }

    /// Appends to `due` every key whose tick has come, and takes its deadline away: in the order
    /// of their ticks, and within a tick in that of setting.
    pub(crate) fn expire(&mut self, now: Time, due: &mut Vec<u32>) {
        let reached = tick_reached(now);
        while let Some(place) = self.first() {
            let Bucket { min, head, .. } = self.buckets[place];
            if min > reached {
                return;
            }
            // Everything else is behind this bucket, so only its entries change their places.
            self.elapsed = min;
            self.vacate(place);
            if place < SLOTS {
                self.hand_out(head, due);
            } else {
                self.deal_out(head);
            }
        }
    }

    /// Asserts what must be true between calls. Looks at every entry and every bucket.
    pub(crate) fn check(&self) {
        for (level, (buckets, &slots)) in
            self.buckets.chunks_exact(SLOTS).zip(&self.occupied).enumerate()
        {
            assert_eq!(strays(buckets, slots), 0, "level {level}: what is free holds something");
        }
        self.check_entries();
    }

    /// The same without the buckets that are free: for a check after every turn of a test or a
    /// fuzzer, in which nearly all are.
    pub(crate) fn check_entries(&self) {
        let mut linked_count = 0;
        for (level, &slots) in self.occupied.iter().enumerate() {
            let mut left = slots;
            while left != 0 {
                linked_count += self.check_bucket(level * SLOTS + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
        let set_count = self.entries.iter().filter(|entry| entry.tick != UNSET).count();
        assert_eq!((linked_count, set_count), (self.len, self.len), "entries listed and set");
    }

    /// Asserts what must be true of a bucket whose bit is set, and answers how much it holds.
    fn check_bucket(&self, place: usize) -> usize {
        let bucket = &self.buckets[place];
        assert!(bucket.head != NIL, "the bit of bucket {place}");
        let (mut key, mut prev, mut count) = (bucket.head, NIL, 0);
        while key != NIL {
            let entry = self.entries[key as usize];
            assert!(entry.tick <= LAST_TICK, "key {key} is listed without a deadline");
            assert!(entry.tick >= self.elapsed, "key {key} was left behind");
            assert_eq!(self.place(entry.tick), place, "the place of key {key}");
            assert_eq!(entry.prev, prev, "the link back from key {key}");
            assert!(bucket.min <= entry.tick, "key {key} is before its bucket's minimum");
            count += 1;
            (key, prev) = (entry.next, key);
        }
        assert_eq!(bucket.tail, prev, "the tail of bucket {place}");
        assert_eq!(self.place(bucket.min), place, "a minimum from elsewhere");
        count
    }

    /// The place of the first occupied bucket.
    #[inline]
    fn first(&self) -> Option<usize> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        Some(level * SLOTS + self.occupied[level].trailing_zeros() as usize)
    }

    /// Where an entry of this tick belongs, as long as `elapsed` stands.
    #[inline]
    fn place(&self, tick: u64) -> usize {
        // The digit that is or-ed in stands for level 0, also where no digit differs.
        let differing = (tick ^ self.elapsed) | DIGIT;
        let level = differing.ilog2() / DIGIT_BITS;
        let slot = (tick >> (level * DIGIT_BITS)) & DIGIT;
        level as usize * SLOTS + slot as usize
    }

    /// Makes `key` the last of the bucket where `tick` belongs.
    fn link(&mut self, key: u32, tick: u64) {
        let place = self.place(tick);
        let bucket = &mut self.buckets[place];
        let prev = std::mem::replace(&mut bucket.tail, key);
        bucket.min = bucket.min.min(tick);
        if prev == NIL {
            bucket.head = key;
            self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
        } else {
            self.entries[prev as usize].next = key;
        }
        self.entries[key as usize] = Entry { tick, next: NIL, prev };
    }

    /// Makes the neighbours of `entry` each other's.
    fn unlink(&mut self, entry: Entry) {
        let Entry { tick, next, prev } = entry;
        let place = self.place(tick);
        if next == NIL && prev == NIL {
            return self.vacate(place);
        }
        match next {
            NIL => self.buckets[place].tail = prev,
            _ => self.entries[next as usize].prev = prev,
        }
        match prev {
            NIL => self.buckets[place].head = next,
            _ => self.entries[prev as usize].next = next,
        }
    }

    /// Forgets what a bucket holds.
    fn vacate(&mut self, place: usize) {
        self.buckets[place] = Bucket::EMPTY;
        self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
    }

    /// Ends the deadlines of a list of keys.
    fn hand_out(&mut self, head: u32, due: &mut Vec<u32>) {
        let mut key = head;
        while key != NIL {
            let entry = std::mem::replace(&mut self.entries[key as usize], Entry::NONE);
            self.len -= 1;
            due.push(key);
            key = entry.next;
        }
    }

    /// Puts a list of keys where they belong by now: on lower levels, in the same order.
    fn deal_out(&mut self, head: u32) {
        let mut key = head;
        while key != NIL {
            let Entry { tick, next, .. } = self.entries[key as usize];
            self.link(key, tick);
            key = next;
        }
    }
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel::new()
    }
}

impl Entry {
    const NONE: Entry = Entry { tick: UNSET, next: NIL, prev: NIL };
}

impl Bucket {
    const EMPTY: Bucket = Bucket { min: UNSET, head: NIL, tail: NIL };
}

/// Not zero where one of these buckets is not free, though its bit in `occupied` says so.
///
/// A fuzzer traces comparisons: so there are none, but for one in eight buckets.
fn strays(buckets: &[Bucket], occupied: u64) -> u64 {
    let mut free = !occupied;
    let mut strays = 0;
    for eight in buckets.chunks_exact(8) {
        for bucket in eight {
            let held = !bucket.min | u64::from(!bucket.head | !bucket.tail);
            strays |= held & (free & 1).wrapping_neg();
            free >>= 1;
        }
    }
    strays
}

/// The first tick that is not before `deadline`: a timer never fires early.
fn tick_of(deadline: Time) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NANOS)
}

/// The last tick that is not after `now`. The very last one lies past the end of time, where
/// clocks stop at [`Time::MAX`].
fn tick_reached(now: Time) -> u64 {
    if now == Time::MAX { LAST_TICK } else { now.as_nanos() / TICK_NANOS }
}

const TICK_NANOS: u64 = 1_000_000;
const LAST_TICK: u64 = Time::MAX.as_nanos().div_ceil(TICK_NANOS);

const DIGIT_BITS: u32 = 6;
const DIGIT: u64 = (1 << DIGIT_BITS) - 1;
/// Buckets to a level: one for each bit of a word.
const SLOTS: usize = 1 << DIGIT_BITS;
/// Enough digits for every moment there is, so that nothing is too far away.
const LEVELS: usize = 8;

const _: () = assert!(LAST_TICK < 1 << (DIGIT_BITS * LEVELS as u32));

/// The tick of a key without a deadline.
const UNSET: u64 = u64::MAX;
/// The end of a list.
const NIL: u32 = u32::MAX;

// `strays` asks for their complements.
const _: () = assert!(!UNSET == 0 && !NIL == 0);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::model::Twins;
    use super::*;
    use crate::base::rng::Rng;

    fn expire(wheel: &mut Wheel, now: Time) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(now, &mut due);
        wheel.check();
        due
    }

    /// A span of any magnitude, from nothing to the end of time.
    fn any_span(rng: &mut Rng) -> Duration {
        Duration::from_nanos(rng.next_u64() >> rng.below(64))
    }

    fn run_against_the_model(seed: u64, are_close: bool) {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut twins = Twins::new(are_close);
        (0..400).for_each(|_| twins.step(&mut |bound| rng.below(bound)));
        twins.end();
    }

    #[test]
    fn agrees_with_a_sorted_map_over_all_magnitudes() {
        (0..300).for_each(|seed| run_against_the_model(seed, false));
    }

    #[test]
    fn agrees_with_a_sorted_map_where_deadlines_crowd() {
        (0..300).for_each(|seed| run_against_the_model(seed, true));
    }

    #[test]
    fn wakes_once_for_each_tick_that_is_due_and_never_between() {
        for seed in 0..200 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut wheel = Wheel::new();
            // Begin anywhere, so that carries ripple through every digit.
            let start = Time::ZERO + any_span(&mut rng);
            wheel.set(0, start);
            expire(&mut wheel, start + Duration::from_millis(1));
            let mut keys_by_tick = BTreeMap::<u64, Vec<u32>>::new();
            for key in 0..200 {
                let deadline = start + any_span(&mut rng);
                wheel.set(key, deadline);
                keys_by_tick.entry(tick_of(deadline).max(wheel.elapsed)).or_default().push(key);
            }
            for (tick, keys) in keys_by_tick {
                let wake = wheel.next().unwrap();
                assert_eq!(wake, Time::from_millis(tick));
                assert_eq!(expire(&mut wheel, wake), keys);
            }
            assert_eq!(wheel.next(), None);
        }
    }

    #[test]
    fn fires_neither_early_nor_more_than_a_tick_late() {
        let mut wheel = Wheel::new();
        wheel.set(0, Time::from_nanos(5_000_001));
        assert_eq!(wheel.next(), Some(Time::from_millis(6)));
        assert_eq!(expire(&mut wheel, Time::from_nanos(5_999_999)), []);
        assert_eq!(expire(&mut wheel, Time::from_millis(6)), [0]);
    }

    #[test]
    fn the_end_of_time_is_a_deadline_like_any_other() {
        let mut wheel = Wheel::new();
        wheel.set(3, Time::MAX);
        assert_eq!(wheel.next(), Some(Time::MAX));
        assert_eq!(expire(&mut wheel, Time::from_nanos(u64::MAX - 1)), []);
        assert_eq!(expire(&mut wheel, Time::MAX), [3]);
        wheel.set(3, Time::MAX);
        assert_eq!(expire(&mut wheel, Time::MAX), [3], "the past is due at once");
    }

    #[test]
    fn each_cancelled_entry_costs_at_most_one_wake_up() {
        for seed in 0..100 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut wheel = Wheel::new();
            for key in 0..100 {
                wheel.set(key, Time::ZERO + any_span(&mut rng));
            }
            let cancelled_count = (0..100).filter(|&key| key % 3 > 0 && wheel.cancel(key)).count();
            let (mut idle_count, mut due_count) = (0, 0);
            while let Some(wake) = wheel.next() {
                match expire(&mut wheel, wake).len() {
                    0 => idle_count += 1,
                    count => due_count += count,
                }
            }
            assert!(idle_count <= cancelled_count, "{idle_count} of {cancelled_count}");
            assert_eq!(due_count, 100 - cancelled_count);
        }
    }

    #[test]
    fn a_wheel_whose_entries_were_all_cancelled_does_not_wake() {
        let mut wheel = Wheel::new();
        for key in 0..100 {
            wheel.set(key, Time::from_millis(u64::from(key) * 1000));
        }
        assert!((0..100).all(|key| wheel.cancel(key)));
        assert_eq!(wheel.next(), None);
        assert!(!wheel.cancel(5) && !wheel.cancel(1000));
    }

    #[test]
    #[should_panic(expected = "what is free holds something")]
    fn a_bucket_without_its_bit_is_found() {
        let mut wheel = Wheel::new();
        wheel.set(3, Time::from_millis(5));
        wheel.occupied[0] = 0;
        wheel.check();
    }

    #[test]
    #[should_panic(expected = "the bit of bucket 6")]
    fn a_bit_without_its_bucket_is_found() {
        let mut wheel = Wheel::new();
        wheel.set(3, Time::from_millis(5));
        wheel.occupied[0] |= 1 << 6;
        wheel.check();
    }
}
