//! Bytes that wait for the system to take them.
//!
//! An outbox is a queue of segments: chunks of its own, which small writes fill up together, and
//! pieces that it shares with other outboxes. It knows what its bytes *cost*, for whoever keeps a
//! budget over many outboxes: own bytes cost their number, and shared bytes are charged once, to
//! the first outbox that holds them, and released by the last.
//!
//! ```text
//!  front                                             back
//!  [ own 64 KiB ][ shared, 3 MiB ][ own 64 KiB ][ own 212 B ··spare·· ]
//!   └ sent ┘└──────────────────── len ────────────────────┘
//! ```

pub(crate) mod model;

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Outbox {
    /// None is empty. Of two own chunks in a row the first is full.
    segments: VecDeque<Segment>,
    /// How much of the first segment was consumed: less than its length, or zero without one.
    sent: usize,
    /// The sum of the segments' lengths, less `sent`.
    len: usize,
}

enum Segment {
    /// At most `CHUNK_MAX` bytes.
    Own(Vec<u8>),
    /// Counted in its `holds`.
    Shared(Shared),
}

impl Outbox {
    pub(crate) fn new() -> Outbox {
        Outbox::default()
    }

    /// How many bytes are still to be sent.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy of `bytes`, and answers what that adds to the budget.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        if let Some(Segment::Own(chunk)) = self.segments.back_mut() {
            let fitting = rest.len().min(CHUNK_MAX - chunk.len());
            extend(chunk, &rest[..fitting]);
            rest = &rest[fitting..];
        }
        for piece in rest.chunks(CHUNK_MAX) {
            self.segments.push_back(Segment::Own(piece.to_vec()));
        }
        self.len += bytes.len();
        bytes.len()
    }

    /// Appends `shared` without copying it, and answers what that adds to the budget: nothing
    /// where an outbox holds it already.
    pub(crate) fn push_shared(&mut self, shared: Shared) -> usize {
        if shared.len() == 0 {
            return 0;
        }
        let charge = shared.hold();
        self.len += shared.len();
        self.segments.push_back(Segment::Shared(shared));
        charge
    }

    /// Fills `slices` with the first bytes to be sent, and answers how many it filled.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.sent;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            *slice = IoSlice::new(&segment.bytes()[skip..]);
            skip = 0;
        }
        slices.len().min(self.segments.len())
    }

    /// Forgets the first `count` bytes, which were sent, and answers what that releases.
    pub(crate) fn consume(&mut self, count: usize) -> usize {
        assert!(count <= self.len, "{count} bytes sent of {}", self.len);
        self.len -= count;
        let mut released = 0;
        let mut left = count;
        while left > 0 {
            let first = &self.segments[0];
            let first_len = first.bytes().len();
            let step = left.min(first_len - self.sent);
            if let Segment::Own(_) = first {
                released += step;
            }
            left -= step;
            self.sent += step;
            if self.sent == first_len {
                released += self.pop();
            }
        }
        released
    }

    /// Forgets everything, and answers what that releases.
    pub(crate) fn clear(&mut self) -> usize {
        let released = self.consume(self.len);
        self.segments = VecDeque::new();
        released
    }

    /// Asserts what must be true between calls.
    pub(crate) fn check(&self) {
        let mut len = 0;
        let mut has_room_before = false;
        for segment in &self.segments {
            assert!(!segment.bytes().is_empty(), "an empty segment");
            len += segment.bytes().len();
            has_room_before = match segment {
                Segment::Own(chunk) => {
                    assert!(chunk.len() <= CHUNK_MAX, "a chunk of {}", chunk.len());
                    assert!(!has_room_before, "a new chunk, though there was room");
                    chunk.len() < CHUNK_MAX
                }
                Segment::Shared(shared) => {
                    assert!(shared.0.holds.get() > 0, "held, but not counted");
                    false
                }
            };
        }
        let first_len = self.segments.front().map_or(0, |first| first.bytes().len());
        assert!(self.sent < first_len || self.sent == 0, "the first segment is all sent");
        assert_eq!(len, self.len + self.sent, "the sum of the segments");
    }

    /// Drops the first segment, and answers what that releases beyond bytes already consumed.
    fn pop(&mut self) -> usize {
        self.sent = 0;
        match self.segments.pop_front() {
            Some(Segment::Shared(shared)) => shared.release(),
            _ => 0,
        }
    }
}

/// Other outboxes may go on holding what this one held.
impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Segment::Own(chunk) => chunk,
            Segment::Shared(shared) => shared.bytes(),
        }
    }
}

/// Bytes that any number of outboxes of one thread may hold, for the price of one.
///
/// The price is per `Shared::new`: two made from the same `Arc` are charged twice.
#[derive(Clone)]
pub(crate) struct Shared(Rc<Piece>);

struct Piece {
    bytes: Arc<[u8]>,
    /// How many segments of outboxes this is. Clones elsewhere don't count: they cost nothing.
    holds: Cell<usize>,
}

impl Shared {
    pub(crate) fn new(bytes: Arc<[u8]>) -> Shared {
        Shared(Rc::new(Piece { bytes, holds: Cell::new(0) }))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.bytes.len()
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Counts one more holder, and answers the charge.
    fn hold(&self) -> usize {
        let before = self.0.holds.get();
        self.0.holds.set(before + 1);
        if before == 0 { self.len() } else { 0 }
    }

    /// Counts one holder less, and answers what is released.
    fn release(&self) -> usize {
        let after = self.0.holds.get() - 1;
        self.0.holds.set(after);
        if after == 0 { self.len() } else { 0 }
    }
}

/// Appends to a chunk; there must be room below `CHUNK_MAX`.
fn extend(chunk: &mut Vec<u8>, bytes: &[u8]) {
    let len = chunk.len() + bytes.len();
    debug_assert!(len <= CHUNK_MAX, "a chunk of {len}");
    if len > chunk.capacity() {
        // Doubling, as `Vec` would, but never beyond what a chunk may hold.
        let capacity = len.max(2 * chunk.capacity()).min(CHUNK_MAX);
        chunk.reserve_exact(capacity - chunk.len());
    }
    chunk.extend_from_slice(bytes);
}

/// What is sent of a chunk, and what is spare in one, stays allocated: at most this much each.
const CHUNK_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::model::Twins;
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn keeps_bytes_and_charge_as_plain_vectors_would() {
        for seed in 0..60 {
            println!("seed {seed}");
            let mut rng = Rng::new(seed);
            let mut twins = Twins::new();
            (0..150).for_each(|_| twins.step(&mut |bound| rng.below(bound)));
            twins.end();
        }
    }

    #[test]
    fn small_writes_share_a_chunk_and_a_chunk_never_outgrows_its_limit() {
        let mut outbox = Outbox::new();
        let mut capacities = std::collections::BTreeSet::new();
        for _ in 0..CHUNK_MAX / 7 + 1 {
            assert_eq!(outbox.push(b"seven b"), 7);
            let Segment::Own(chunk) = &outbox.segments[0] else { panic!("nothing was shared") };
            capacities.insert(chunk.capacity());
        }
        assert!(capacities.len() < 16, "it grows by doubling: {capacities:?}");
        outbox.check();
        assert_eq!(outbox.segments.len(), 2);
        outbox.push(&vec![0; 3 * CHUNK_MAX]);
        assert_eq!(outbox.segments.len(), 5);
        for segment in &outbox.segments {
            let Segment::Own(chunk) = segment else { panic!("nothing was shared") };
            assert!(chunk.capacity() <= CHUNK_MAX);
        }
    }

    #[test]
    fn shared_bytes_are_charged_to_the_first_and_released_by_the_last() {
        let shared = Shared::new((*b"abc").into());
        let (mut one, mut two) = (Outbox::new(), Outbox::new());
        assert_eq!([one.push_shared(shared.clone()), two.push_shared(shared.clone())], [3, 0]);
        assert_eq!([one.consume(3), two.consume(2), two.consume(1)], [0, 0, 3]);
        assert_eq!(one.push_shared(shared.clone()), 3, "nobody held it any more");
        assert_eq!(one.push_shared(shared), 0, "twice in one outbox is still once");
        assert_eq!([one.consume(3), one.clear()], [0, 3]);
    }

    #[test]
    fn an_outbox_that_is_dropped_lets_go() {
        let shared = Shared::new((*b"abc").into());
        Outbox::new().push_shared(shared.clone());
        let mut outbox = Outbox::new();
        assert_eq!(outbox.push_shared(shared), 3);
        assert_eq!(outbox.clear(), 3);
    }

    #[test]
    fn nothing_adds_no_segment() {
        let mut outbox = Outbox::new();
        assert_eq!(outbox.push(b"") + outbox.push_shared(Shared::new(Arc::default())), 0);
        outbox.check();
        assert_eq!(outbox.gather(&mut [IoSlice::new(&[])]), 0);
        assert_eq!(outbox.clear(), 0);
    }
}
