//! What is due when: one entry of the wheel for each connection and each endpoint.
//!
//! An entry stands for the nearest of its owner's deadlines, or for a moment before it. Deadlines
//! that are pushed back (the idle one, with every byte) leave it alone: when it fires, the owner
//! works out what is due and what comes next. So keeping a deadline costs nothing per request.

use std::time::Duration;

use crate::base::time::Time;
use crate::base::wheel::Wheel;

pub(crate) struct Agenda {
    wheel: Wheel,
    /// When to look at the wheel: at its nearest entry, or before it where that was forgotten.
    next: Time,
}

impl Default for Agenda {
    fn default() -> Agenda {
        Agenda { wheel: Wheel::default(), next: Time::MAX }
    }
}

impl Agenda {
    /// Wakes `slot` at `deadline`, where it would not be woken earlier anyway. [`Time::MAX`] is
    /// never.
    #[inline]
    pub(crate) fn by(&mut self, slot: u32, deadline: Time) {
        if deadline == Time::MAX {
            return;
        }
        if self.wheel.deadline(slot).is_none_or(|set| deadline < set) {
            self.wheel.set(slot, deadline);
            let rounded = self.wheel.deadline(slot).expect("it was just set");
            self.next = self.next.min(rounded);
        }
    }

    /// Forgets `slot`.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.wheel.cancel(slot);
        if self.wheel.is_empty() {
            self.next = Time::MAX;
        }
    }

    /// When somebody is to be woken next; [`Time::MAX`] is never.
    #[inline]
    pub(crate) fn next(&self) -> Time {
        self.next
    }

    /// Hands out everybody who is to be woken by now, and forgets them.
    #[inline]
    pub(crate) fn collect(&mut self, now: Time, due: &mut Vec<u32>) {
        if now >= self.next {
            self.wheel.expire(now, due);
            self.next = self.wheel.next().unwrap_or(Time::MAX);
        }
    }

    /// Gives back memory that no owner needs any more.
    pub(crate) fn shrink(&mut self) {
        self.wheel.shrink();
    }

    /// Asserts that `slot` is woken within the tick of `deadline`.
    pub(crate) fn check_wakes(&self, slot: u32, deadline: Time) {
        let is_in_time = |set: Time| set.since(deadline) < Duration::from_millis(1);
        let is_woken = deadline == Time::MAX || self.wheel.deadline(slot).is_some_and(is_in_time);
        assert!(is_woken, "{slot} sleeps past {deadline}");
    }

    pub(crate) fn check(&self) {
        self.wheel.check_entries();
        assert!(self.wheel.next().is_none_or(|next| self.next <= next), "somebody is overslept");
    }
}

/// The few timers that one owner has set for itself, by tag.
#[derive(Default)]
pub(crate) struct Timers(Vec<(u32, Time)>);

impl Timers {
    /// Sets or moves; false where `most` are set already.
    pub(crate) fn set(&mut self, tag: u32, deadline: Time, most: usize) -> bool {
        if let Some(timer) = self.0.iter_mut().find(|timer| timer.0 == tag) {
            timer.1 = deadline;
            return true;
        }
        if self.0.len() >= most {
            return false;
        }
        self.0.push((tag, deadline));
        true
    }

    pub(crate) fn cancel(&mut self, tag: u32) -> bool {
        let before = self.0.len();
        self.0.retain(|timer| timer.0 != tag);
        self.0.len() < before
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.0.iter().map(|timer| timer.1).min()
    }

    /// How many are due.
    pub(crate) fn count_due(&self, now: Time) -> usize {
        self.0.iter().filter(|timer| timer.1 <= now).count()
    }

    /// Takes out the one that has been due for longest (of equals, the one set first).
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u32> {
        let (index, &(tag, deadline)) =
            self.0.iter().enumerate().min_by_key(|(index, timer)| (timer.1, *index))?;
        if deadline > now {
            return None;
        }
        self.0.remove(index);
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_of_their_deadlines_and_then_of_setting() {
        let mut timers = Timers::default();
        for (tag, at) in [(1, 30), (2, 10), (3, 10), (4, 20)] {
            assert!(timers.set(tag, Time::from_millis(at), 4));
        }
        assert!(!timers.set(5, Time::ZERO, 4), "there is room for four");
        assert!(timers.set(4, Time::from_millis(5), 4), "a tag that is set can be moved");
        assert!(timers.cancel(1) && !timers.cancel(1));
        let now = Time::from_millis(10);
        let due: Vec<u32> = std::iter::from_fn(|| timers.pop_due(now)).collect();
        assert_eq!(due, [4, 2, 3]);
        assert_eq!(timers.next(), None);
    }
}
