//! A queue of bytes that does what a carry does, for the carry's tests and for fuzzers.

use std::collections::VecDeque;

use super::Carry;

/// A carry and its model, to which the same is done.
#[derive(Default)]
pub(crate) struct Twins {
    carry: Carry,
    model: VecDeque<u8>,
    /// The most bytes that ever were there at once.
    live_max: usize,
    /// For bytes of which each run differs from those near it.
    next_byte: u8,
}

impl Twins {
    /// Appends, takes or empties, and asserts that both sides agree. `choose` answers a number
    /// below the one it is given.
    pub(crate) fn step(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        match choose(20) {
            0..10 => {
                let most = 1 << choose(13);
                let input = self.bytes(choose(most) as usize);
                self.carry.append(&input);
                self.model.extend(input);
                self.live_max = self.live_max.max(self.model.len());
            }
            10..19 => {
                let most = (self.model.len() as u64).min(1 << choose(13));
                let count = choose(most + 1) as usize;
                self.carry.take(count);
                self.model.drain(..count);
            }
            _ => {
                self.model.clear();
                let empty = if choose(2) == 0 { Carry::clear } else { Carry::recycle };
                empty(&mut self.carry);
            }
        }
        let (carry, model) = (&self.carry, &mut self.model);
        carry.check();
        assert_eq!(carry.bytes(), model.make_contiguous());
        assert_eq!((carry.len(), carry.is_empty()), (model.len(), model.is_empty()));
        // An allocator's smallest piece is 8 bytes.
        assert!(carry.capacity() <= (2 * self.live_max).max(8), "for {} bytes", self.live_max);
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let start = self.next_byte;
        self.next_byte = self.next_byte.wrapping_add(97);
        (0..len).map(|index| start.wrapping_add((index % 251) as u8)).collect()
    }
}
