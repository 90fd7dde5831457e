//! Plain vectors that do what outboxes do, for the tests of outboxes and for fuzzers.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::{Outbox, Shared};

/// What an outbox holds, by the byte, and which shared pieces, by where they end.
#[derive(Default)]
struct Model {
    bytes: Vec<u8>,
    own_count: usize,
    /// Lengths, and the number of the shared piece where it is one.
    segments: VecDeque<(usize, Option<usize>)>,
}

impl Model {
    fn push(&mut self, bytes: &[u8], shared: Option<usize>) {
        self.bytes.extend_from_slice(bytes);
        self.segments.push_back((bytes.len(), shared));
        if shared.is_none() {
            self.own_count += bytes.len();
        }
    }

    fn consume(&mut self, count: usize) {
        self.bytes.drain(..count);
        let mut left = count;
        while left > 0 {
            let (segment_left, shared) = &mut self.segments[0];
            let step = left.min(*segment_left);
            *segment_left -= step;
            left -= step;
            if shared.is_none() {
                self.own_count -= step;
            }
            if *segment_left == 0 {
                self.segments.pop_front();
            }
        }
    }

    fn holds(&self, shared: usize) -> bool {
        self.segments.iter().any(|&(left, number)| left > 0 && number == Some(shared))
    }
}

/// Three outboxes, what they may share, and their models, to which the same is done.
pub(crate) struct Twins {
    shared: [Shared; SHARED_COUNT],
    outboxes: [(Outbox, Model); 3],
    /// What the outboxes say they added, less what they say they released.
    charge: usize,
    /// For bytes of which each run differs from those near it.
    next_byte: u8,
}

impl Twins {
    pub(crate) fn new() -> Twins {
        let mut twins = Twins {
            shared: std::array::from_fn(|_| Shared::new([].into())),
            outboxes: Default::default(),
            charge: 0,
            next_byte: 0,
        };
        for at in 0..SHARED_COUNT {
            twins.shared[at] = Shared::new(twins.bytes(at * 500).into());
        }
        twins
    }

    /// Appends, consumes or clears, and asserts that both sides agree. `choose` answers a number
    /// below the one it is given.
    pub(crate) fn step(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let chosen = choose(3) as usize;
        match choose(9) {
            0..3 => {
                let most = if choose(40) == 0 { 150_000 } else { 100 };
                let bytes = self.bytes(choose(most) as usize);
                let (outbox, model) = &mut self.outboxes[chosen];
                self.charge += outbox.push(&bytes);
                model.push(&bytes, None);
            }
            3..5 => {
                let number = choose(SHARED_COUNT as u64) as usize;
                let shared = &self.shared[number];
                let (outbox, model) = &mut self.outboxes[chosen];
                self.charge += outbox.push_shared(shared.clone());
                model.push(shared.bytes(), Some(number));
            }
            5..8 => {
                let (outbox, model) = &mut self.outboxes[chosen];
                let at_most = (outbox.len() as u64).min(1 << choose(18));
                let count = choose(at_most + 1) as usize;
                self.charge -= outbox.consume(count);
                model.consume(count);
            }
            _ if choose(2) == 0 => {
                let (outbox, model) = &mut self.outboxes[chosen];
                self.charge -= outbox.clear();
                *model = Model::default();
            }
            _ => {}
        }
        let (outbox, model) = &self.outboxes[chosen];
        outbox.check();
        assert_eq!(outbox.len(), model.bytes.len());
        assert_eq!(outbox.is_empty(), model.bytes.is_empty());
        assert_eq!(gathered(outbox, outbox.segments.len() + 1), model.bytes);
        assert!(model.bytes.starts_with(&gathered(outbox, 2)));
        self.check_charge();
    }

    /// Drops the outboxes one by one: what is left is charged to others, or to nobody.
    pub(crate) fn end(mut self) {
        for (outbox, model) in &mut self.outboxes {
            self.charge -= outbox.clear();
            *model = Model::default();
        }
        self.check_charge();
        assert_eq!(self.charge, 0, "nothing is held");
    }

    /// Own bytes cost their number, and shared ones are charged once.
    fn check_charge(&self) {
        let models = || self.outboxes.iter().map(|(_, model)| model);
        let own: usize = models().map(|model| model.own_count).sum();
        let is_held = |&number: &usize| models().any(|model| model.holds(number));
        let held: usize =
            (0..SHARED_COUNT).filter(is_held).map(|number| self.shared[number].len()).sum();
        assert_eq!(self.charge, own + held);
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let start = self.next_byte;
        self.next_byte = self.next_byte.wrapping_add(97);
        // A prime: chunks and pieces are no multiples of it.
        (0..len).map(|index| start.wrapping_add((index % 251) as u8)).collect()
    }
}

fn gathered(outbox: &Outbox, slice_count: usize) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); slice_count];
    let filled = outbox.gather(&mut slices);
    assert_eq!(filled, slice_count.min(outbox.segments.len()));
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()));
    let slices: Vec<&[u8]> = slices[..filled].iter().map(|slice| &**slice).collect();
    slices.concat()
}

const SHARED_COUNT: usize = 4;
