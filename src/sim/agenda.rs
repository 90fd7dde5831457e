//! Time: the clock, what is to happen when, and how long things are on their way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::address::NetAddr;
use crate::base::rng::Rng;
use crate::base::time::Time;

pub(super) struct Agenda {
    pub(super) now: Time,
    /// In order of time, and of asking within one moment.
    events: BTreeMap<(Time, u64), Event>,
    next_number: u64,
    /// The shortest and the longest that anything is on its way.
    pub(super) latency: (Duration, Duration),
    rng: Rng,
}

/// What is to happen. A socket may have closed by then, and its place be another's: so all of
/// these only have somebody look at what is due.
pub(super) enum Event {
    /// Something arrives at a stream.
    Arrival(usize),
    /// A stream's request to connect arrives.
    Knock(usize, u64),
    Datagram {
        from: NetAddr,
        to: NetAddr,
        payload: Vec<u8>,
    },
    /// A late edge.
    Edge(usize),
    /// A node has something to look at.
    Wake(usize),
}

impl Agenda {
    pub(super) fn new(seed: u64) -> Agenda {
        Agenda {
            now: Time::ZERO,
            events: BTreeMap::new(),
            next_number: 0,
            latency: (Duration::ZERO, Duration::ZERO),
            rng: Rng::new(seed ^ 0x4c41_5445),
        }
    }

    pub(super) fn add(&mut self, at: Time, event: Event) {
        self.events.insert((at, self.next_number), event);
        self.next_number += 1;
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.events.first_key_value().map(|(&(at, _), _)| at)
    }

    /// The first event that is due by `until`; the clock moves to it.
    pub(super) fn pop(&mut self, until: Time) -> Option<Event> {
        let entry = self.events.first_entry()?;
        let (at, _) = *entry.key();
        if at > until {
            return None;
        }
        self.now = self.now.max(at);
        Some(entry.remove())
    }

    /// When what leaves now arrives. With no latency that is now, and chance is not asked.
    pub(super) fn arrival(&mut self) -> Time {
        let (least, most) = self.latency;
        self.now + least + self.span_below(most.saturating_sub(least))
    }

    pub(super) fn span_below(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return most;
        }
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.below(nanos))
    }
}
