//! Step 7: timers and deadlines.
//!
//! The wheel has one entry for each place, at the nearest deadline of whoever is there or before it.
//! When it fires, what is due is worked out here, and when to look again.

use log::Level;

use super::Reactor;
use super::call::Answers;
use crate::base::time::Time;
use crate::hub::Phase;
use crate::hub::limits::Limits;
use crate::hub::notices::Notice;
use crate::hub::outbound::{Flags, Outbound};
use crate::hub::pulse::Callback;
use crate::hub::reason::{CloseReason, Deadline};
use crate::sys::Platform;

impl<M: 'static, P: Platform> Reactor<M, P> {
    pub(super) fn fire_due(&mut self) {
        if self.next_apart().min(self.desk.hub.agenda.next()) <= self.desk.hub.now {
            self.fire_all();
        }
    }

    #[inline(never)]
    fn fire_all(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        let now = self.desk.hub.now;
        self.note_lag();
        self.desk.hub.agenda.collect(now, &mut due);
        for slot in due.drain(..) {
            if self.desk.hub.rows.contains(slot as usize) {
                self.fire(slot);
            }
        }
        self.endpoint_agenda.collect(now, &mut due);
        for slot in due.drain(..) {
            self.fire_endpoint(slot);
        }
        self.due = due;
        self.relieve_overload();
    }

    /// Notes how late it is, where something is due.
    fn note_lag(&self) {
        let hub = &self.desk.hub;
        for due in [hub.agenda.next(), self.endpoint_agenda.next()] {
            if due <= hub.now {
                hub.counters.timer_lag.add(hub.now.nanos_since(due));
            }
        }
    }

    fn fire(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        let now = hub.now;
        match overdue(&hub.rows[slot as usize], &hub.limits, now) {
            Some(deadline) => self.time_out(slot, deadline),
            None if hub.rows[slot as usize].phase() == Phase::Connecting => {
                self.attempt_again(slot)
            }
            None => self.fire_timers(slot),
        }
        self.note_deadline(slot);
    }

    /// Has a connection be woken for the nearest of its deadlines.
    pub(super) fn note_deadline(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        let next = next_deadline(&hub.rows[slot as usize], &hub.limits);
        hub.agenda.by(slot, next);
    }

    fn time_out(&mut self, slot: u32, deadline: Deadline) {
        let hub = &mut self.desk.hub;
        log::debug!("{} timed out: {deadline}", hub.id(slot));
        let reason = CloseReason::TimedOut(deadline);
        match (hub.row(slot).phase(), deadline) {
            (Phase::Lingering, _) => hub.enter(slot, Phase::Closed),
            // Nothing more can be delivered to one that does not read.
            (_, Deadline::WriteProgress | Deadline::Flush) => hub.abort(slot, reason),
            _ => hub.close_for(slot, reason),
        }
    }

    /// Calls `on_timer` for what is due. A timer that a callback sets anew comes next turn at the
    /// earliest, so that one of no duration does not hold the loop.
    fn fire_timers(&mut self, slot: u32) {
        let now = self.desk.hub.now;
        let extras = self.desk.hub.row(slot).extras.as_ref();
        for _ in 0..extras.map_or(0, |extras| extras.timers.count_due(now)) {
            let row = self.desk.hub.row(slot);
            if row.phase() != Phase::Open {
                return;
            }
            let due = row.extras.as_mut().and_then(|extras| extras.timers.pop_due(now));
            let Some(tag) = due else { return };
            self.desk.hub.counters.timers_fired.add(1);
            self.call(slot, Callback::Timer, Answers::Later, |handler, cx| {
                handler.on_timer(cx, tag)
            });
        }
    }

    /// Above the byte budget, without a byte leaving: the connection that holds most ends.
    fn relieve_overload(&mut self) {
        let hub = &mut self.desk.hub;
        let Some(since) = hub.budget.stuck_since() else { return };
        if hub.now < since + hub.limits.overload {
            return;
        }
        let held = |slot: u32, row: &Outbound| row.outbox_len() + self.rest_len(slot);
        let rows = self.desk.hub.rows.iter().map(|(slot, row)| (slot as u32, row));
        let Some((slot, _)) = rows.max_by_key(|&(slot, row)| held(slot, row)) else { return };
        let hub = &mut self.desk.hub;
        let (id, used) = (hub.id(slot), hub.budget.used());
        let what = format_args!("{id} holds most of {used} bytes: it ends");
        hub.log(Notice::Overload, Level::Warn, what);
        hub.abort(slot, CloseReason::Overload); // what it holds goes with it, this turn
        self.desk.hub.budget.note_relief(self.desk.hub.now);
    }

    /// Asserts that everybody is woken for the nearest of its deadlines. Where a write is to
    /// settle first what phase it is in, that sets them.
    pub(super) fn check_deadlines(&self) {
        let hub = &self.desk.hub;
        for (slot, row) in hub.rows.iter().filter(|(_, row)| !row.flags.has(Flags::DIRTY)) {
            let next = next_deadline(row, &hub.limits);
            hub.agenda.check_wakes(slot as u32, next.max(hub.now));
        }
    }
}

/// The deadline that has passed, if any has.
fn overdue(row: &Outbound, limits: &Limits, now: Time) -> Option<Deadline> {
    let has_passed = |at: Time| at <= now && at != Time::MAX;
    deadlines(row, limits).into_iter().find(|&(at, _)| has_passed(at)).map(|(_, it)| it)
}

/// When a connection is to be looked at next; [`Time::MAX`] is never.
fn next_deadline(row: &Outbound, limits: &Limits) -> Time {
    let next = deadlines(row, limits).into_iter().fold(Time::MAX, |next, (at, _)| next.min(at));
    match &row.extras {
        Some(extras) if row.phase() == Phase::Open => {
            extras.timers.next().map_or(next, |timer| next.min(timer))
        }
        _ => next,
    }
}

/// The deadlines by phase; at [`Time::MAX`] is what does not run.
#[inline]
fn deadlines(row: &Outbound, limits: &Limits) -> [(Time, Deadline); 5] {
    const NONE: (Time, Deadline) = (Time::MAX, Deadline::Idle);
    let extras = row.extras.as_ref();
    match row.phase() {
        Phase::Connecting => {
            let within = extras.and_then(|extras| extras.connect_within);
            let deadline = row.phase_since() + within.unwrap_or(limits.connect);
            [(deadline, Deadline::Connect), NONE, NONE, NONE, NONE]
        }
        Phase::Open => {
            let is_silent = !row.flags.has(Flags::HEARD) && row.is_accepted();
            let first_byte =
                if is_silent { row.phase_since() + limits.first_byte } else { Time::MAX };
            let message = row.clock_since().map(|since| since + limits.message);
            let blocked = row.outbox.as_ref().map(|it| it.blocked_since + limits.write_progress);
            let expect = extras.and_then(|extras| extras.expect);
            [
                (first_byte, Deadline::FirstByte),
                (message.unwrap_or(Time::MAX), Deadline::Message),
                (blocked.unwrap_or(Time::MAX), Deadline::WriteProgress),
                (expect.unwrap_or(Time::MAX), Deadline::Expect),
                (row.last_activity + limits.idle, Deadline::Idle),
            ]
        }
        Phase::Flushing => {
            [(row.phase_since() + limits.flush, Deadline::Flush), NONE, NONE, NONE, NONE]
        }
        Phase::Lingering => {
            [(row.phase_since() + limits.linger, Deadline::Flush), NONE, NONE, NONE, NONE]
        }
        Phase::Closed => [NONE; 5],
    }
}
