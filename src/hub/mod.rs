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
use self::outbound::{Backlog, Flags, Outbound};
pub(crate) use self::phase::Phase;
use self::pulse::Stopwatch;
use self::reason::CloseReason;
use self::stage::Stage;
use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::outbox::{Outbox, Shared};
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
    /// a flag of the row tells.
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
        if let Some(extras) = extras {
            self.leave_all(extras.groups);
        }
        if let Some(mut backlog) = outbox {
            self.budget.release(backlog.bytes.clear(), self.now);
        }
        if self.rows.is_empty() {
            self.agenda.wake_nobody();
        }
        flags
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

    // Writing. All of it ends in `judge`, which holds the marks and the limit.

    /// Bytes written that the system has not taken.
    #[inline]
    pub(crate) fn backlog(&self, slot: u32) -> usize {
        let staged = if self.stage.is_open_for(slot) { self.stage.len() } else { 0 };
        staged + self.rows[slot as usize].outbox_len()
    }

    pub(crate) fn write(&mut self, slot: u32, bytes: &[u8]) -> Result<(), NotTaken> {
        let row = &self.rows[slot as usize];
        if !row.takes_writes() {
            return Err(NotTaken);
        }
        if self.stage.takes_from(slot) {
            self.stage.push(bytes);
        } else {
            self.queue(slot, |outbox| outbox.push(bytes));
        }
        self.judge(slot)
    }

    /// As [`write`](Hub::write), by the connection's own handler. Its answers hold its input
    /// once they are above the high mark, or who asks without reading would fill the outbox.
    /// What others write does not: in a relay, input that waits for output of the same
    /// connection is a circle in which everybody waits.
    #[inline]
    pub(crate) fn answer(&mut self, slot: u32, bytes: &[u8]) {
        debug_assert!(self.stage.takes_from(slot) || !self.stage.is_taking(), "callbacks nest");
        if !self.stage.echo(bytes) {
            self.answer_apart(slot, bytes);
        }
    }

    /// The answer is no echo, or is to be judged, or has to wait behind others.
    #[inline(never)]
    fn answer_apart(&mut self, slot: u32, bytes: &[u8]) {
        // Trouble arrives as `on_close`.
        let _ = self.write(slot, bytes);
        self.hold(slot);
    }

    /// As [`answer`](Hub::answer), with bytes that others have too.
    pub(crate) fn answer_shared(&mut self, slot: u32, bytes: Shared) {
        let _ = self.write_shared(slot, bytes);
        self.hold(slot);
    }

    /// The connection's own handler has written: where that is too much, its input waits.
    fn hold(&mut self, slot: u32) {
        let flags = self.rows[slot as usize].flags;
        if flags.has(Flags::ABOVE_HIGH) && !flags.has(Flags::HELD) {
            self.change_wants(slot, |row| row.flags.set(Flags::HELD));
        }
    }

    pub(crate) fn write_shared(&mut self, slot: u32, bytes: Shared) -> Result<(), NotTaken> {
        if bytes.len() <= COPIED_BYTES {
            return self.write(slot, bytes.bytes());
        }
        let row = &self.rows[slot as usize];
        if !row.takes_writes() {
            return Err(NotTaken);
        }
        if self.stage.takes_from(slot) {
            self.stage.push_shared(bytes);
        } else {
            self.queue(slot, |outbox| outbox.push_shared(bytes));
        }
        self.judge(slot)
    }

    /// As [`answer`](Hub::answer), with what `fill` appends to the outgoing bytes; where it
    /// answers an error, nothing is sent.
    pub(crate) fn answer_with<E>(
        &mut self,
        slot: u32,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.stage.takes_from(slot) {
            self.stage.push_with(fill)?;
            let _ = self.judge(slot);
            self.hold(slot);
        } else {
            let mut bytes = Vec::new();
            fill(&mut bytes)?;
            self.answer(slot, &bytes);
        }
        Ok(())
    }

    /// Opens the stage for the callback of a connection that is about to be shown `read`.
    #[inline]
    pub(crate) fn open_stage(&mut self, slot: u32, read: &[u8]) {
        let row = &self.rows[slot as usize];
        let may_write = row.takes_writes() && row.outbox.is_none();
        self.stage.open(slot, may_write, read);
    }

    /// Appends to the outbox by `push`, which answers what that adds to the budget.
    fn queue(&mut self, slot: u32, push: impl FnOnce(&mut Outbox) -> usize) {
        let now = self.now;
        let row = &mut self.rows[slot as usize];
        let is_new = row.outbox.is_none();
        let backlog = row
            .outbox
            .get_or_insert_with(|| Box::new(Backlog { bytes: Outbox::new(), blocked_since: now }));
        let charge = push(&mut backlog.bytes);
        if backlog.bytes.is_empty() {
            row.outbox = None;
            return;
        }
        if is_new && row.phase != Phase::Connecting {
            self.agenda.by(slot, now + self.limits.write_progress);
        }
        self.budget.add(charge, now);
        self.mark_dirty(slot);
    }

    /// Keeps what the system did not take of the staged answers, of which it took `sent` bytes.
    pub(crate) fn keep_staged(&mut self, slot: u32, sent: usize, read: &[u8]) {
        let mut stage = std::mem::replace(&mut self.stage, Stage::new(0));
        self.queue(slot, |outbox| stage.move_to(outbox, sent, read));
        self.stage = stage;
    }

    /// Notes that a connection has too much to take, and ends one that has far too much.
    fn judge(&mut self, slot: u32) -> Result<(), NotTaken> {
        let backlog = self.backlog(slot);
        if backlog <= self.limits.outbox_high_bytes {
            return Ok(());
        }
        if backlog > self.limits.outbox_max_bytes {
            self.abort(slot, CloseReason::OutputLimit);
            return Err(NotTaken);
        }
        self.is_disturbed = true;
        self.rows[slot as usize].flags.set(Flags::ABOVE_HIGH);
        Ok(())
    }

    /// The system took `sent` bytes of the outbox.
    pub(crate) fn sent(&mut self, slot: u32, sent: usize) {
        let now = self.now;
        let row = &mut self.rows[slot as usize];
        row.last_activity = now;
        let backlog = row.outbox.as_mut().expect("bytes were taken from an outbox");
        let released = backlog.bytes.consume(sent);
        backlog.blocked_since = now;
        if backlog.bytes.is_empty() {
            row.outbox = None;
        }
        self.budget.release(released, now);
        self.note_drained(slot);
    }

    /// Once the outbox has fallen to the low mark, the handler is to be told and read again.
    pub(crate) fn note_drained(&mut self, slot: u32) {
        let row = &mut self.rows[slot as usize];
        let is_low = row.outbox_len() <= self.limits.outbox_low_bytes;
        if is_low && row.flags.has(Flags::ABOVE_HIGH) && row.flags.insert(Flags::DRAINED) {
            self.drained.push(slot);
            self.wants_work = true;
        }
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

    // Ends.

    /// Our direction ends once everything is written; the peer's goes on.
    pub(crate) fn finish(&mut self, slot: u32) {
        let row = &mut self.rows[slot as usize];
        if row.takes_writes() {
            row.flags.set(Flags::FINISHING);
            self.stage.refuse(slot);
            self.mark_dirty(slot);
        }
    }

    /// As [`close`](Hub::close), for a reason. The first that is given stays.
    pub(crate) fn close_for(&mut self, slot: u32, reason: CloseReason) {
        if self.rows[slot as usize].phase <= Phase::Open {
            self.set_reason(slot, reason);
            self.close(slot);
        }
    }

    /// An orderly end: what is queued is delivered first.
    pub(crate) fn close(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        let has_ended = row.phase == Phase::Open && row.flags.has(Flags::EOF_SEEN);
        let is_staged = self.stage.is_open_for(slot) && !self.stage.is_empty();
        if has_ended && row.outbox.is_none() && !is_staged {
            self.enter(slot, Phase::Closed); // nothing that it sent is unread, and nothing waits
        } else {
            self.close_in_time(slot);
        }
    }

    #[inline(never)] // most peers end first
    fn close_in_time(&mut self, slot: u32) {
        match self.rows[slot as usize].phase {
            Phase::Connecting => self.end(slot, CloseReason::Closed),
            Phase::Open => {
                self.enter(slot, Phase::Flushing);
                self.mark_dirty(slot); // it has a deadline if that does not settle it
            }
            Phase::Flushing | Phase::Lingering | Phase::Closed => {}
        }
    }

    /// An end at once: what is queued is lost. It gives the reason of an orderly close that was
    /// cut short; but in [`Phase::Lingering`] all was delivered already.
    pub(crate) fn end(&mut self, slot: u32, reason: CloseReason) {
        let staged = if self.stage.is_open_for(slot) { self.stage.len() } else { 0 };
        let row = &mut self.rows[slot as usize];
        if row.phase == Phase::Closed {
            return;
        }
        let undelivered = staged + row.outbox_len();
        if row.phase != Phase::Lingering {
            self.set_reason(slot, reason);
        }
        if staged > 0 {
            self.stage.clear();
        }
        let row = &mut self.rows[slot as usize];
        if undelivered > 0 {
            row.extras().undelivered = undelivered;
        }
        if let Some(mut backlog) = row.outbox.take() {
            self.budget.release(backlog.bytes.clear(), self.now);
        }
        self.enter(slot, Phase::Closed);
    }

    /// As [`end`](Hub::end), and the peer is told by a reset: what it got must not look whole.
    pub(crate) fn abort(&mut self, slot: u32, reason: CloseReason) {
        let row = &mut self.rows[slot as usize];
        if row.phase != Phase::Closed {
            row.flags.set(Flags::RESET);
            self.end(slot, reason);
        }
    }

    fn set_reason(&mut self, slot: u32, reason: CloseReason) {
        let row = &mut self.rows[slot as usize];
        match reason {
            CloseReason::Closed => {}
            other => {
                row.extras().reason.get_or_insert(other);
            }
        }
    }

    #[inline(always)] // on the way of every connection
    pub(crate) fn enter(&mut self, slot: u32, phase: Phase) {
        if log::log_enabled!(Level::Trace) {
            self.trace_phase(slot, phase);
        }
        let row = &mut self.rows[slot as usize];
        debug_assert!(phase > row.phase, "phases go forward only");
        self.is_disturbed = true;
        row.phase = phase;
        row.since = self.now;
        if phase > Phase::Open {
            self.stage.refuse(slot);
            row.stop_clock();
            row.flags.clear(Flags::ABOVE_HIGH.with(Flags::HELD).with(Flags::PAUSED));
            if row.flags.has(Flags::STARVED) || self.budget.has_permit(slot) {
                self.leave_line(slot);
            }
        }
        if phase == Phase::Closed {
            self.ended.push(slot);
            self.wants_work = true;
        }
    }

    /// A connection will not be read any more, for which it had to wait, or others had to.
    #[inline(never)] // nobody waits as a rule
    fn leave_line(&mut self, slot: u32) {
        self.rows[slot as usize].flags.clear(Flags::STARVED);
        self.budget.leave_line(slot);
        self.budget.pass_on(slot);
    }

    #[cold]
    #[inline(never)]
    fn trace_phase(&self, slot: u32, phase: Phase) {
        log::trace!("{}: {:?} → {phase:?}", self.id(slot), self.rows[slot as usize].phase);
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
        if row.phase > Phase::Open {
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
            let is_over = row.phase == Phase::Closed;
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

/// Shared bytes up to this many are copied all the same: to keep track of a piece costs as much
/// memory, and would be outside the limits on buffered bytes.
const COPIED_BYTES: usize = 128;

/// Bytes that several connections are sent; see [`Context::write_shared`](crate::Context).
pub(crate) fn shared(bytes: Arc<[u8]>) -> Shared {
    Shared::new(bytes)
}
