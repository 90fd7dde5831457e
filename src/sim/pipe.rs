//! One direction of a stream: bytes on their way, and whether more can follow.

use std::collections::VecDeque;
use std::ops::Deref;

pub(super) struct Pipe {
    /// `bytes.len() <= capacity`
    bytes: VecDeque<u8>,
    capacity: usize,
    is_finished: bool,
    /// Where reads stop, in order, as numbers of bytes from the front.
    urgent_marks: VecDeque<usize>,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Pipe {
        Pipe { bytes: VecDeque::new(), capacity, is_finished: false, urgent_marks: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    /// The writer's FIN is behind the bytes.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Takes up to `limit` bytes, which must fit.
    pub(super) fn put<B: Deref<Target = [u8]>>(&mut self, chunks: &[B], limit: usize) {
        assert!(limit <= self.room() && !self.is_finished);
        let mut left = limit;
        for chunk in chunks {
            let taken = chunk.len().min(left);
            self.bytes.extend(&chunk[..taken]);
            left -= taken;
        }
    }

    /// An urgent byte was sent, which is not read with the others; but a read stops where it was.
    pub(super) fn mark_urgent(&mut self) {
        self.urgent_marks.push_back(self.bytes.len());
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent_marks.is_empty()
    }

    /// Hands out bytes from the front, as many as there are and fit.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        while self.urgent_marks.front() == Some(&0) {
            self.urgent_marks.pop_front();
        }
        let stop = self.urgent_marks.front().copied().unwrap_or(usize::MAX);
        let taken = into.len().min(self.bytes.len()).min(stop);
        self.urgent_marks.iter_mut().for_each(|mark| *mark -= taken);
        let (front, back) = self.bytes.as_slices();
        let split = taken.min(front.len());
        into[..split].copy_from_slice(&front[..split]);
        into[split..taken].copy_from_slice(&back[..taken - split]);
        self.bytes.drain(..taken);
        taken
    }

    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Loses everything on its way, the FIN too.
    pub(super) fn lose(&mut self) {
        self.bytes.clear();
        self.urgent_marks.clear();
        self.is_finished = false;
    }
}
