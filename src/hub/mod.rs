//! Floor 1: what a callback may reach.
//!
//! The hub is the outbound half of every connection: outboxes, phases, flags and deadlines,
//! with the lists that the reactor works through. A running handler writes here, to its own row
//! or to another's, while the handlers themselves stay in a table apart; so nothing is shared,
//! counted or taken out and put back.
//!
//! Whoever changes a row here puts it on the list of the step that will act on it; nothing is
//! read, written or freed before that step comes.

pub(crate) mod admission;
pub(crate) mod agenda;
pub(crate) mod budget;
pub(crate) mod counters;
mod ends;
pub(crate) mod groups;
pub(crate) mod limits;
pub(crate) mod metrics;
pub(crate) mod notices;
pub(crate) mod outbound;
pub(crate) mod phase;
pub(crate) mod pulse;
pub(crate) mod reason;
pub(crate) mod shares;
pub(crate) mod stage;
mod writing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use log::Level;
use slab::Slab;

use self::agenda::{Agenda, Timers};
use self::budget::Budget;
use self::counters::Ledger;
use self::groups::Groups;
use self::limits::Limits;
use self::notices::{Notice, Notices};
use self::outbound::{Backlog, Extras, Flags, Outbound};
pub(crate) use self::phase::Phase;
use self::pulse::Stopwatch;
use self::stage::Stage;
use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::outbox::Shared;
use crate::base::time::Time;

pub(crate) struct Hub {
    /// This turn's moment.
    pub(crate) now: Time,
    pub(crate) reactor: u32,
    pub(crate) limits: Limits,
    pub(crate) rows: Slab<Outbound>,
    next_serial: u64,

    /// Set by whatever a callback may do that decides whether its connection is read on, to
    /// anybody: whoever clears it before and finds it so need not look further.
    pub(crate) is_disturbed: bool,
    /// Whether all steps are to be taken in this turn. Whoever adds to a list sets it.
    pub(crate) wants_work: bool,
    /// What the running handler writes to its own peer.
    pub(crate) stage: Stage,
    pub(crate) budget: Budget,
    pub(crate) agenda: Agenda,
    pub(crate) groups: Groups,
    /// Others may look at it.
    pub(crate) counters: Arc<Ledger>,
    notices: Notices,
    pub(crate) stopwatch: Stopwatch,

    /// Connections to be read. All lists below hold places in `rows`, each at most once, which
    /// a flag of the row tells, or for `ended` its phase.
    pub(crate) runnable: Vec<u32>,
    /// Connections to be written to, or that a write has to settle.
    pub(crate) dirty: Vec<u32>,
    /// Connections whose outbox has drained.
    pub(crate) drained: Vec<u32>,
    /// Connections to be freed: those in [`Phase::Closed`].
    pub(crate) ended: Vec<u32>,
}

/// A write was not taken: the connection is closing, or it ends because of this one.
#[derive(Debug)]
pub(crate) struct NotTaken;

impl Hub {
    pub(crate) fn new(reactor: u32, limits: Limits, counters: Arc<Ledger>) -> Hub {
        Hub {
            now: Time::ZERO,
            reactor,
            rows: Slab::new(),
            next_serial: 0,
            is_disturbed: false,
            wants_work: false,
            stage: Stage::new(limits.outbox_high_bytes),
            budget: Budget::new(limits.buffered_bytes),
            agenda: Agenda::default(),
            groups: Groups::default(),
            counters,
            notices: Notices::default(),
            stopwatch: Stopwatch::new(limits.stall),
            runnable: Vec::new(),
            dirty: Vec::new(),
            drained: Vec::new(),
            ended: Vec::new(),
            limits,
        }
    }

    /// Whether any list holds work, so that the reactor must not sleep.
    pub(crate) fn has_work(&self) -> bool {
        self.runnable.len() + self.dirty.len() + self.drained.len() + self.ended.len() > 0
            || self.budget.has_admissible()
    }

    // Rows come and go.

    /// Adds a row. The reactor keeps its sides in step.
    #[inline(always)] // on the way of every connection
    pub(crate) fn insert(&mut self, phase: Phase, peer: &NetAddr, endpoint: u32) -> u32 {
        if self.rows.is_empty() {
            self.agenda.catch_up(self.now);
        }
        self.next_serial += 1;
        self.rows.insert(Outbound::new(self.next_serial, self.now, phase, peer, endpoint)) as u32
    }

    /// Takes a row away, with all that the hub keeps about it elsewhere but for its entry on the
    /// agenda, which the next one in its place finds there. Answers its flags.
    #[inline(always)] // on the way of every connection
    pub(crate) fn remove(&mut self, slot: u32) -> Flags {
        let Outbound { outbox, extras, flags, .. } = self.rows.remove(slot as usize);
        if outbox.is_some() || extras.is_some() {
            self.give_back(outbox, extras);
        }
        if self.rows.is_empty() {
            self.agenda.wake_nobody();
        }
        flags
    }

    /// What a row held beside itself goes after it.
    #[inline(never)] // as a rule there is none
    fn give_back(&mut self, outbox: Option<Box<Backlog>>, extras: Option<Box<Extras>>) {
        if let Some(extras) = extras {
            self.leave_all(extras.groups);
        }
        if let Some(mut backlog) = outbox {
            self.budget.release(backlog.bytes.clear(), self.now);
        }
    }

    /// Gives back the memory of a table that is empty.
    pub(crate) fn shrink(&mut self) {
        debug_assert!(self.rows.is_empty());
        self.rows = Slab::new();
        self.agenda = Agenda::default();
        self.runnable = Vec::new();
        self.dirty = Vec::new();
        self.drained = Vec::new();
    }

    pub(crate) fn row(&mut self, slot: u32) -> &mut Outbound {
        &mut self.rows[slot as usize]
    }

    pub(crate) fn id(&self, slot: u32) -> ConnId {
        ConnId::new(self.reactor, slot, self.rows[slot as usize].serial)
    }

    // Input is wanted or not.

    /// Changes what decides whether input is wanted and read. The message clock stands still
    /// while it is not; once it is again, there may be something to read at once.
    pub(crate) fn change_wants(&mut self, slot: u32, change: impl FnOnce(&mut Outbound)) {
        let now = self.now;
        let row = &mut self.rows[slot as usize];
        let was_served = row.is_served();
        self.is_disturbed = true;
        change(row);
        if was_served && !row.is_served() {
            row.hold_clock(now);
            if row.flags.has(Flags::ERROR) {
                self.mark_dirty(slot); // it would not learn of it by reading
            }
            self.budget.pass_on(slot);
        } else if row.is_served() && !was_served {
            row.release_clock(now);
            if let Some(since) = row.clock_since() {
                self.agenda.by(slot, since + self.limits.message);
            }
            self.mark_runnable(slot);
        }
    }

    /// Whether the bytes buffered in the whole reactor allow a connection to be read. One that
    /// may not be waits in line.
    #[inline]
    pub(crate) fn admits(&mut self, slot: u32) -> bool {
        if self.budget.admits(slot) {
            return true;
        }
        self.change_wants(slot, |row| row.flags.set(Flags::STARVED));
        self.wants_work = true;
        false
    }

    /// Lets those in line whose turn has come be read.
    #[inline]
    pub(crate) fn admit_starved(&mut self) {
        if self.budget.has_starved() {
            self.admit_next();
        }
    }

    #[inline(never)]
    fn admit_next(&mut self) {
        while let Some(slot) = self.budget.next_admitted() {
            self.change_wants(slot, |row| row.flags.clear(Flags::STARVED));
            if !self.rows[slot as usize].flags.has(Flags::RUNNABLE) {
                self.budget.pass_on(slot); // its input is not wanted any more
            }
        }
    }

    pub(crate) fn pause(&mut self, slot: u32) {
        self.change_wants(slot, |row| row.flags.set(Flags::PAUSED));
    }

    pub(crate) fn resume(&mut self, slot: u32) {
        self.change_wants(slot, |row| row.flags.clear(Flags::PAUSED));
    }

    /// A turn begins to work at this moment, for others to see.
    #[inline]
    pub(crate) fn begin_turn(&mut self, now: Time) {
        self.now = now;
        self.counters.pulse.begin(self.counters.turns.get() + 1);
    }

    // The log.

    /// Logs what clients can bring about, unless much the same was logged too often lately.
    #[cold]
    pub(crate) fn log(&mut self, kind: Notice, level: Level, what: fmt::Arguments<'_>) {
        match self.notices.admit(kind, self.now) {
            None => self.counters.log_suppressed.add(1),
            Some(0) => log::log!(level, "{what}"),
            Some(others) => log::log!(level, "{what} ({others} like it were not logged)"),
        }
    }

    // Lists.

    /// Puts a connection on the list of those to be read, where there is something to be read
    /// and it is wanted.
    #[inline]
    pub(crate) fn mark_runnable(&mut self, slot: u32) {
        let row = &mut self.rows[slot as usize];
        // An end that is read is told at once, as nobody is read who does not want input.
        let has_input = row.flags.has(Flags::READABLE.with(Flags::OFFER_REST));
        if has_input && row.is_to_be_read() && row.flags.insert(Flags::RUNNABLE) {
            self.runnable.push(slot);
            self.wants_work = true;
        }
    }

    #[inline]
    pub(crate) fn mark_dirty(&mut self, slot: u32) {
        if self.rows[slot as usize].flags.insert(Flags::DIRTY) {
            self.dirty.push(slot);
            self.wants_work = true;
        }
    }

    // Time.

    /// Sets a timer, or moves it; false where the connection has as many as it may.
    pub(crate) fn set_timer(&mut self, slot: u32, tag: u32, after: Duration) -> bool {
        let deadline = self.now + after;
        let most = self.limits.timers;
        let row = &mut self.rows[slot as usize];
        if row.phase() > Phase::Open {
            return false;
        }
        let is_set = row.extras().timers.set(tag, deadline, most);
        if is_set {
            self.agenda.by(slot, deadline);
        }
        self.count_timer(is_set)
    }

    /// As [`set_timer`](Hub::set_timer), for an endpoint, whose timers are kept elsewhere.
    pub(crate) fn set_in(&self, timers: &mut Timers, tag: u32, after: Duration) -> bool {
        self.count_timer(timers.set(tag, self.now + after, self.limits.timers))
    }

    fn count_timer(&self, is_set: bool) -> bool {
        let counters = &self.counters;
        if is_set {
            counters.timers_set.add(1)
        } else {
            counters.timers_refused.add(1)
        }
        is_set
    }

    pub(crate) fn cancel_timer(&mut self, slot: u32, tag: u32) -> bool {
        let extras = &mut self.rows[slot as usize].extras;
        extras.as_mut().is_some_and(|extras| extras.timers.cancel(tag))
    }

    pub(crate) fn expect_within(&mut self, slot: u32, span: Option<Duration>) {
        let deadline = span.map(|span| self.now + span);
        self.rows[slot as usize].extras().expect = deadline;
        if let Some(deadline) = deadline {
            self.agenda.by(slot, deadline);
        }
    }

    /// Asserts what must hold between steps.
    pub(crate) fn check(&self) {
        let mut charged = 0;
        for (slot, row) in &self.rows {
            row.check();
            let slot = slot as u32;
            let flags = row.flags;
            let is_over = row.phase() == Phase::Closed;
            debug_assert!(!is_over || self.ended.contains(&slot), "nobody will free it");
            debug_assert!(!flags.has(Flags::DIRTY) || self.dirty.contains(&slot));
            debug_assert!(!flags.has(Flags::RUNNABLE) || self.runnable.contains(&slot));
            debug_assert_eq!(flags.has(Flags::STARVED), self.budget.is_starved(slot));
            charged += row.outbox_len();
        }
        if let Some(holder) = self.budget.holder() {
            assert!(self.rows[holder as usize].wants_input(), "a permit that nobody uses");
        }
        assert!(self.stage.is_empty(), "what a callback wrote has left before the next one");
        assert!(charged == 0 || self.budget.used() > 0, "queued bytes are charged");
        self.agenda.check();
        self.check_groups();
    }
}

/// Bytes that several connections are sent; see [`Context::write_shared`](crate::Context).
pub(crate) fn shared(bytes: Arc<[u8]>) -> Shared {
    Shared::new(bytes)
}
