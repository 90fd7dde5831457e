//! One direction of a stream: bytes on their way, and whether more can follow.

use std::collections::VecDeque;
use std::ops::Deref;

use super::net::Errno;
use crate::base::time::Time;

pub(super) struct Pipe {
    /// What has arrived, and behind it what is still on its way. `bytes.len() <= capacity`
    bytes: VecDeque<u8>,
    /// `arrived <= bytes.len()`
    arrived: usize,
    /// What is on its way, in order, and when it arrives; times never fall.
    flights: VecDeque<(Time, Cargo)>,
    capacity: usize,
    is_finished: bool,
    /// Where reads stop, in order, as numbers of bytes from the front.
    urgent_marks: VecDeque<usize>,
}

enum Cargo {
    Bytes(usize),
    Urgent,
    Fin,
    Reset(Errno),
}

/// What the reader of a pipe may learn of its end.
#[derive(Default)]
pub(super) struct Landed {
    pub(super) is_end: bool,
    pub(super) reset: Option<Errno>,
}

impl Pipe {
    pub(super) fn new(capacity: usize) -> Pipe {
        Pipe {
            bytes: VecDeque::new(),
            arrived: 0,
            flights: VecDeque::new(),
            capacity,
            is_finished: false,
            urgent_marks: VecDeque::new(),
        }
    }

    /// How many bytes have arrived.
    pub(super) fn len(&self) -> usize {
        self.arrived
    }

    pub(super) fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }

    /// The writer's FIN is behind the bytes.
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// How many bytes are still on their way.
    pub(super) fn bytes_in_flight(&self) -> usize {
        self.bytes.len() - self.arrived
    }

    /// When what is sent now arrives, at the earliest at `at`: nothing overtakes.
    pub(super) fn in_order(&self, at: Time) -> Time {
        self.flights.back().map_or(at, |(last, _)| at.max(*last))
    }

    /// Takes up to `limit` bytes, which must fit, and which arrive at that time.
    pub(super) fn put<B: Deref<Target = [u8]>>(&mut self, chunks: &[B], limit: usize, at: Time) {
        assert!(limit <= self.room() && !self.is_finished);
        let mut left = limit;
        for chunk in chunks {
            let taken = chunk.len().min(left);
            self.bytes.extend(&chunk[..taken]);
            left -= taken;
        }
        self.flights.push_back((at, Cargo::Bytes(limit)));
    }

    /// An urgent byte was sent, which is not read with the others; but a read stops where it was.
    pub(super) fn mark_urgent(&mut self, at: Time) {
        self.flights.push_back((at, Cargo::Urgent));
    }

    /// The writer ends.
    pub(super) fn finish(&mut self, at: Time) {
        self.flights.push_back((at, Cargo::Fin));
    }

    /// The writer, or whoever stands between, resets.
    pub(super) fn reset(&mut self, why: Errno, at: Time) {
        self.flights.push_back((at, Cargo::Reset(why)));
    }

    /// What was due by now has arrived.
    pub(super) fn land(&mut self, now: Time) -> Landed {
        let mut landed = Landed::default();
        while self.flights.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, cargo)) = self.flights.pop_front() else { break };
            match cargo {
                Cargo::Bytes(count) => self.arrived += count,
                Cargo::Urgent => {
                    self.urgent_marks.push_back(self.arrived);
                    landed.is_end = true; // with hints it is told of as an end is
                }
                Cargo::Fin => {
                    self.is_finished = true;
                    landed.is_end = true;
                }
                Cargo::Reset(why) => landed.reset = Some(why),
            }
        }
        landed
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent_marks.is_empty()
    }

    /// Hands out bytes from the front, as many as have arrived and fit.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        while self.urgent_marks.front() == Some(&0) {
            self.urgent_marks.pop_front();
        }
        let stop = self.urgent_marks.front().copied().unwrap_or(usize::MAX);
        let taken = into.len().min(self.arrived).min(stop);
        self.urgent_marks.iter_mut().for_each(|mark| *mark -= taken);
        let (front, back) = self.bytes.as_slices();
        let split = taken.min(front.len());
        into[..split].copy_from_slice(&front[..split]);
        into[split..taken].copy_from_slice(&back[..taken - split]);
        self.bytes.drain(..taken);
        self.arrived -= taken;
        taken
    }

    /// Loses everything on its way, the FIN too.
    pub(super) fn lose(&mut self) {
        *self = Pipe::new(self.capacity);
    }
}
