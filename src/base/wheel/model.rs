//! The promises of a wheel kept by a sorted map, for the wheel's tests and for fuzzers.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Wheel, tick_of};
use crate::base::time::Time;

#[derive(Default)]
struct Model {
    keys_by_turn: BTreeMap<(u64, u64), u32>,
    turns_by_key: BTreeMap<u32, (u64, u64)>,
    set_count: u64,
}

impl Model {
    fn set(&mut self, key: u32, tick: u64) {
        self.cancel(key);
        let turn = (tick, self.set_count);
        self.set_count += 1;
        self.keys_by_turn.insert(turn, key);
        self.turns_by_key.insert(key, turn);
    }

    fn cancel(&mut self, key: u32) -> bool {
        let turn = self.turns_by_key.remove(&key);
        turn.is_some_and(|turn| self.keys_by_turn.remove(&turn).is_some())
    }

    fn nearest(&self) -> Option<Time> {
        self.keys_by_turn.keys().next().map(|turn| Time::from_millis(turn.0))
    }

    fn expire(&mut self, now: Time) -> Vec<u32> {
        let mut due = Vec::new();
        while self.nearest().is_some_and(|nearest| nearest <= now) {
            let Some((_, key)) = self.keys_by_turn.pop_first() else { break };
            self.turns_by_key.remove(&key);
            due.push(key);
        }
        due
    }
}

/// A wheel and its model, to which the same is done.
pub(crate) struct Twins {
    wheel: Wheel,
    model: Model,
    now: Time,
    /// Deadlines crowd within a third of a second; else they are of any magnitude.
    are_close: bool,
}

impl Twins {
    pub(crate) fn new(are_close: bool) -> Twins {
        Twins { wheel: Wheel::new(), model: Model::default(), now: Time::ZERO, are_close }
    }

    /// Sets, moves, cancels, or lets time run, and asserts that both sides agree. `choose` answers
    /// a number below the one it is given.
    pub(crate) fn step(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let key = choose(40) as u32;
        match choose(10) {
            0..5 => {
                let deadline = match choose(20) {
                    0 => Time::MAX,
                    1 => Time::from_nanos(choose(self.now.as_nanos().max(1))),
                    2 => self.now,
                    _ => self.now + self.span(choose),
                };
                self.wheel.set(key, deadline);
                // What is past counts as the tick that the wheel has come to.
                self.model.set(key, tick_of(deadline).max(self.wheel.elapsed));
                assert!(self.wheel.deadline(key).is_some_and(|set| set >= deadline));
            }
            5..8 => assert_eq!(self.wheel.cancel(key), self.model.cancel(key)),
            step => {
                self.now = match self.wheel.next() {
                    Some(next) if step == 8 => next.max(self.now),
                    _ => self.now + self.span(choose),
                };
                self.expire();
            }
        }
        self.wheel.check();
        assert_eq!(self.wheel.len(), self.model.turns_by_key.len());
        assert_eq!(self.wheel.is_empty(), self.wheel.next().is_none());
        assert!(self.wheel.next() <= self.model.nearest(), "would wake too late");
        let set = self.model.turns_by_key.get(&key).map(|turn| Time::from_millis(turn.0));
        assert_eq!(self.wheel.deadline(key), set);
    }

    /// Lets all of time run.
    pub(crate) fn end(mut self) {
        self.now = Time::MAX;
        self.expire();
        assert!(self.wheel.is_empty());
    }

    fn expire(&mut self) {
        let mut due = Vec::new();
        self.wheel.expire(self.now, &mut due);
        self.wheel.check();
        assert_eq!(due, self.model.expire(self.now));
    }

    fn span(&self, choose: &mut dyn FnMut(u64) -> u64) -> Duration {
        if self.are_close {
            Duration::from_micros(choose(300_000))
        } else {
            let shift = choose(64);
            Duration::from_nanos(choose(u64::MAX) >> shift)
        }
    }
}
