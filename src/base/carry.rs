//! The tail of the input that nobody has taken yet, such as the first half of a line.

pub(crate) mod model;

/// Bytes are appended at the back and taken from the front.
///
/// ```text
///  buffer   [ taken ······ | live ············ | spare ······ ]
///           0            start               len         capacity
/// ```
///
/// What was taken stays where it is until its room is needed. Then either as much was taken as
/// was moved, or the buffer grows to twice what it holds; so every byte is moved a bounded number
/// of times, and the capacity stays within twice the most that was ever live at once.
#[derive(Default)]
pub(crate) struct Carry {
    buffer: Vec<u8>,
    /// `start < buffer.len()`, or both are zero.
    start: usize,
}

impl Carry {
    /// What was appended and not taken.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// How much memory it holds.
    fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    pub(crate) fn append(&mut self, input: &[u8]) {
        if input.len() > self.buffer.capacity() - self.buffer.len() {
            self.make_room(input.len());
        }
        self.buffer.extend_from_slice(input);
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn take(&mut self, count: usize) {
        assert!(count <= self.len(), "{count} bytes taken of {}", self.len());
        self.start += count;
        if self.start == self.buffer.len() {
            self.clear();
        }
    }

    /// Forgets everything, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.buffer.clear();
        self.start = 0;
    }

    /// Forgets everything, and keeps the memory only where it is little enough for a pool.
    pub(crate) fn recycle(&mut self) {
        self.clear();
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
    }

    /// Asserts what must be true between calls.
    pub(crate) fn check(&self) {
        let len = self.buffer.len();
        assert!(self.start < len || (self.start, len) == (0, 0), "{} of {len}", self.start);
    }

    /// Moves what is live to the front and, unless that leaves half of the buffer free, grows.
    fn make_room(&mut self, extra: usize) {
        self.buffer.drain(..self.start);
        self.start = 0;
        let live = self.buffer.len();
        // A first piece is often the only one, and costs no move: it gets what it needs.
        let wanted = if live == 0 { extra } else { 2 * (live + extra) };
        self.buffer.reserve_exact(wanted - live);
    }
}

/// Most messages fit in this, so a buffer of that size is worth keeping for the next.
const KEPT_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::model::Twins;
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn agrees_with_a_queue_of_bytes_within_twice_its_memory() {
        for seed in 0..300 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut twins = Twins::default();
            (0..200).for_each(|_| twins.step(&mut |bound| rng.below(bound)));
        }
    }

    #[test]
    fn bytes_are_moved_a_bounded_number_of_times() {
        for seed in 0..50 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut carry = Carry::default();
            // The worst is a big carry from which little is taken for little that comes.
            let kept = 1 + rng.below(5_000) as usize;
            let step_max = 1 + rng.below(200);
            let (mut appended, mut moved) = (0, 0);
            for _ in 0..5_000 {
                let step = 1 + rng.below(step_max) as usize;
                let before = (carry.start, carry.capacity(), carry.len());
                carry.append(&vec![0; step]);
                appended += step;
                if (carry.start, carry.capacity()) != (before.0, before.1) {
                    // Once to the front, and once into a new allocation.
                    moved += 2 * before.2;
                }
                carry.take(carry.len().saturating_sub(kept).min(step));
            }
            assert!(moved <= 4 * appended, "{moved} moved for {appended}");
        }
    }

    #[test]
    fn recycling_keeps_a_small_buffer_and_drops_a_big_one() {
        let mut carry = Carry::default();
        carry.append(&[0; KEPT_BYTES_MAX]);
        carry.recycle();
        assert_eq!((carry.len(), carry.capacity()), (0, KEPT_BYTES_MAX));
        carry.append(&[0; KEPT_BYTES_MAX + 1]);
        carry.recycle();
        assert_eq!((carry.len(), carry.capacity()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "4 bytes taken of 3")]
    fn taking_more_than_there_is_is_a_mistake() {
        let mut carry = Carry::default();
        carry.append(b"abc");
        carry.take(4);
    }
}
