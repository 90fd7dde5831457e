//! The bytes that all outboxes and unfinished messages of a reactor hold together.
//!
//! Above the limit one connection at a time may read on, so that a message under way can still
//! be finished and its answer free memory; the others wait in line. Where even so no byte leaves
//! for a while, the reactor ends the connection that holds most.

use std::collections::VecDeque;

use crate::base::time::Time;

pub(crate) struct Budget {
    used: usize,
    /// The most that was ever used.
    most: usize,
    max: usize,
    /// When a byte last left, or the limit was passed.
    progress: Time,
    /// Who may read on; nobody unless the limit is passed.
    permit: Option<u32>,
    /// Who waits to be read, in order.
    starved: VecDeque<u32>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Budget {
        Budget {
            used: 0,
            most: 0,
            max,
            progress: Time::ZERO,
            permit: None,
            starved: VecDeque::new(),
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn most(&self) -> usize {
        self.most
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.used > self.max
    }

    /// Whether everybody may read.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        debug_assert!(self.is_over() || self.permit.is_none(), "a permit that nobody needs");
        !self.is_over()
    }

    #[inline]
    pub(crate) fn add(&mut self, bytes: usize, now: Time) {
        let was_over = self.is_over();
        self.used += bytes;
        self.most = self.most.max(self.used);
        if self.is_over() && !was_over {
            self.progress = now;
            log::debug!("{} bytes are buffered: reading one connection at a time", self.used);
        }
    }

    #[inline]
    pub(crate) fn release(&mut self, bytes: usize, now: Time) {
        debug_assert!(bytes <= self.used, "more is given back than was taken");
        if bytes > 0 {
            self.used -= bytes;
            self.progress = now;
            if !self.is_over() {
                self.permit = None;
            }
        }
    }

    /// Something was done about it: the time until more is done starts anew.
    pub(crate) fn note_relief(&mut self, now: Time) {
        self.progress = now;
    }

    /// Since when nothing has left, while above the limit.
    pub(crate) fn stuck_since(&self) -> Option<Time> {
        self.is_over().then_some(self.progress)
    }

    /// Whether a connection may be read now. One that may not waits in line.
    #[inline]
    pub(crate) fn admits(&mut self, slot: u32) -> bool {
        if !self.is_over() || self.has_permit(slot) {
            return true;
        }
        if self.permit.is_none() && self.starved.is_empty() {
            self.permit = Some(slot);
            return true;
        }
        self.starved.push_back(slot);
        false
    }

    #[inline]
    pub(crate) fn has_permit(&self, slot: u32) -> bool {
        self.permit == Some(slot)
    }

    /// A connection has no use for the permit, if it has it, any more.
    #[inline]
    pub(crate) fn pass_on(&mut self, slot: u32) {
        if self.has_permit(slot) {
            self.permit = None;
        }
    }

    /// Hands out who may be read next: everybody below the limit, above it the one who gets
    /// the permit.
    pub(crate) fn next_admitted(&mut self) -> Option<u32> {
        if !self.is_over() {
            return self.starved.pop_front();
        }
        if self.permit.is_none() {
            self.permit = self.starved.pop_front();
            return self.permit;
        }
        None // its holder is the only one who may read, and does not wait
    }

    /// Whether anybody waits in line.
    #[inline]
    pub(crate) fn has_starved(&self) -> bool {
        !self.starved.is_empty()
    }

    /// Whether [`next_admitted`](Budget::next_admitted) has somebody to hand out.
    #[inline]
    pub(crate) fn has_admissible(&self) -> bool {
        !self.starved.is_empty() && (self.permit.is_none() || !self.is_over())
    }

    /// A connection that waits in line has no use for that any more.
    pub(crate) fn leave_line(&mut self, slot: u32) {
        self.starved.retain(|&waiting| waiting != slot);
    }

    pub(crate) fn is_starved(&self, slot: u32) -> bool {
        self.starved.contains(&slot)
    }

    pub(crate) fn holder(&self) -> Option<u32> {
        self.permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_limit_one_at_a_time_reads_on_in_turn() {
        let mut budget = Budget::new(10);
        budget.add(11, Time::from_millis(5));
        assert_eq!(budget.stuck_since(), Some(Time::from_millis(5)));
        assert!(budget.admits(1), "the first gets the permit");
        assert!(!budget.admits(2) && !budget.admits(3));
        assert!(budget.admits(1), "1 is amid a message");
        assert!(!budget.has_admissible());
        assert_eq!(budget.next_admitted(), None);
        budget.pass_on(3);
        assert_eq!(budget.next_admitted(), None, "3 had nothing to pass on");
        budget.pass_on(1);
        assert!(!budget.admits(1), "the others first");
        assert!(budget.has_admissible());
        assert_eq!(budget.next_admitted(), Some(2));
        assert_eq!(budget.next_admitted(), None, "2 has the permit");
        budget.leave_line(3);
        budget.pass_on(2);
        assert_eq!(budget.next_admitted(), Some(1));
    }

    #[test]
    fn below_the_limit_all_who_waited_are_admitted() {
        let mut budget = Budget::new(10);
        budget.add(11, Time::ZERO);
        assert!(budget.admits(1) && !budget.admits(2) && !budget.admits(3));
        budget.release(1, Time::from_millis(7));
        assert_eq!(budget.stuck_since(), None);
        let admitted: Vec<u32> = std::iter::from_fn(|| budget.next_admitted()).collect();
        assert_eq!(admitted, [2, 3]);
        assert!(budget.admits(4));
    }
}
