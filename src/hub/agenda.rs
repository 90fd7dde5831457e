//! What is due when: one entry of the wheel for each place of a connection or an endpoint.
//!
//! An entry stands for the nearest deadline of whoever is there, or for a moment before it. Deadlines
//! that are pushed back (the idle one, with every byte) leave it alone: when it fires, the owner
//! works out what is due and what comes next. So keeping a deadline costs nothing per request.
//!
//! Nor does a connection that ends take its entry along. The next one in its place is to be woken
//! later, as a rule, and finds an entry there; one that fires for nobody costs a look. So the wheel
//! turns once for each place and deadline, however many connections come and go meanwhile.

use std::time::Duration;

use crate::base::time::Time;
use crate::base::wheel::Wheel;

pub(crate) struct Agenda {
    wheel: Wheel,
    /// When to look at the wheel: at the nearest entry of those who are there, or before it where
    /// that was forgotten.
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
        let set = match self.wheel.deadline(slot) {
            Some(before) if before <= deadline => before,
            _ => self.wheel.set(slot, deadline),
        };
        self.next = self.next.min(set);
    }

    /// Forgets `slot`.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.wheel.cancel(slot);
        if self.wheel.is_empty() {
            self.wake_nobody();
        }
    }

    /// Nobody is left to be woken, until somebody comes.
    #[inline]
    pub(crate) fn wake_nobody(&mut self) {
        self.next = Time::MAX;
    }

    /// Somebody comes where nobody was: what has become due meanwhile is forgotten.
    pub(crate) fn catch_up(&mut self, now: Time) {
        self.wheel.expire(now, &mut Vec::new());
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

    /// Asserts that `slot` is woken within the tick of `deadline`.
    pub(crate) fn check_wakes(&self, slot: u32, deadline: Time) {
        let is_in_time =
            |set: Time| self.next <= set && set.since(deadline) < Duration::from_millis(1);
        let is_woken = deadline == Time::MAX || self.wheel.deadline(slot).is_some_and(is_in_time);
        assert!(is_woken, "{slot} sleeps past {deadline}");
    }

    pub(crate) fn check(&self) {
        self.wheel.check_entries();
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

    /// Who is woken by then.
    fn woken(agenda: &mut Agenda, millis: u64) -> Vec<u32> {
        let mut due = Vec::new();
        agenda.collect(Time::from_millis(millis), &mut due);
        due
    }

    #[test]
    fn whoever_comes_after_another_is_woken_when_the_other_would_have_been() {
        let mut agenda = Agenda::default();
        agenda.by(3, Time::from_millis(100));
        agenda.wake_nobody();
        assert_eq!(agenda.next(), Time::MAX);
        assert!(woken(&mut agenda, 99).is_empty());

        agenda.catch_up(Time::from_millis(99));
        agenda.by(3, Time::from_millis(200));
        assert_eq!(agenda.next(), Time::from_millis(100), "its entry is there");
        assert_eq!(woken(&mut agenda, 100), [3]);
        agenda.by(3, Time::from_millis(200));
        assert_eq!(woken(&mut agenda, 200), [3]);
    }

    #[test]
    fn what_became_due_while_nobody_was_there_wakes_nobody() {
        let mut agenda = Agenda::default();
        agenda.by(3, Time::from_millis(100));
        agenda.by(4, Time::from_millis(300));
        agenda.wake_nobody();
        agenda.catch_up(Time::from_millis(250));
        agenda.by(3, Time::from_millis(400));
        assert_eq!(agenda.next(), Time::from_millis(400));
        agenda.check_wakes(3, Time::from_millis(400));
        assert_eq!(woken(&mut agenda, 400), [4, 3], "the former 4 costs a look");
    }

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
