//! Step 3: edges. The usual request is served here, by the straight path: one read, one callback,
//! one write. So is the usual end: one read, one callback.
//!
//! Nearly every request comes in whole, to a connection on which nothing waits, and the system
//! takes its answer whole. Such a one is served as its edge is seen, with one look at each table.
//! It adds nothing to what [`read`](super::read) and [`write`](super::write) do, and decides
//! nothing: what is found to be otherwise goes on there, from where it stands. So does whatever is
//! to be traced or timed.

use std::any::Any;
use std::io::{self, IoSlice};
use std::panic::resume_unwind;

use super::call::{Failure, Outcome, message_of};
use super::side::Side;
use super::turn::Course;
use super::{Reactor, SCRATCH_BYTES};
use crate::handler::Context;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::sys::{Edge, Platform, Readiness, Token};

/// What an edge says of a peer that has ended its direction.
const EOF: Readiness = Readiness::READABLE.with(Readiness::READ_CLOSED);

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Works through what the wait has found, from where it is.
    #[inline(always)]
    pub(super) fn take_edges(&mut self, course: &mut Course) {
        let most = self.desk.hub.limits.read_budget_bytes.min(SCRATCH_BYTES);
        let is_watched = log::log_enabled!(log::Level::Trace) || self.desk.hub.stopwatch.is_on();
        while course.next < course.found {
            match self.platform.edge(course.next) {
                // Every edge says that writing is possible, or none that tells of input.
                Edge { token: Token::Connection(slot), ready }
                    if ready.without(Readiness::WRITABLE) == Readiness::READABLE && !is_watched =>
                {
                    self.read_straight(slot, most, course);
                }
                Edge { token: Token::Connection(slot), ready }
                    if ready.without(Readiness::WRITABLE) == EOF && !is_watched =>
                {
                    self.eof_straight(slot, most, course);
                }
                _ => self.take_other(course),
            }
            course.next += 1;
        }
        if !self.slots.is_empty() {
            self.end_turns();
        }
    }

    /// A handler has panicked: its connection ends, and the turn goes past its edge. A panic of our
    /// own goes on upwards.
    #[cold]
    pub(super) fn go_past(&mut self, course: &mut Course, thrown: Box<dyn Any + Send>) {
        if !std::mem::take(&mut course.is_calling) {
            resume_unwind(thrown);
        }
        let (slot, count) = self.desk.hub.stage.reader();
        self.offered(slot, count, Err(Failure::Panic(message_of(thrown))));
        course.next += 1;
    }

    /// The turn at reading of a connection that has been sent something: one read of up to `most`
    /// bytes, as a rule.
    #[inline(always)] // on the way of every request
    fn read_straight(&mut self, slot: u32, most: usize, course: &mut Course) {
        let index = slot as usize;
        let hub = &mut self.desk.hub;
        let (Some(row), Some(Side { source: Some(source), inbound })) =
            (hub.rows.get_mut(index), self.sides.get_mut(index))
        else {
            return;
        };
        if !row.is_plain() || !hub.budget.is_calm() {
            // Something waits, or it has had its turn.
            return self.note_edge(self.platform.edge(course.next));
        }
        if !self.platform.short_read_drains(source) {
            return self.read_again(slot, most);
        }
        let count = match self.platform.read(source, &mut self.scratch[..most]) {
            Ok(count) if (1..most).contains(&count) => count,
            answer => return self.read_on(slot, most, answer),
        };
        row.note_read(hub.now);
        let counters = &*hub.counters;
        counters.reads.add(1);
        counters.read_bytes.add(count as u64);

        let read = &self.scratch[..count];
        hub.stage.open(slot, true, read);
        counters.pulse.note(Callback::Bytes, slot);
        counters.pulse.note_bytes(count);
        hub.is_disturbed = false;
        let inbound = inbound.as_mut().expect("whoever is read exists");
        debug_assert!(inbound.rest.is_none(), "the message clock would be running");
        let mut cx = Context::new(&mut self.desk, Some(source), slot);
        course.is_calling = true;
        let outcome = inbound.handler.on_bytes(&mut cx, read);
        course.is_calling = false;
        let taken = match outcome {
            Ok(taken) => taken,
            Err(fault) => return self.offered(slot, count, Err(Failure::Fault(fault))),
        };
        let hub = &mut self.desk.hub;
        if taken != count || hub.is_disturbed {
            return self.offered(slot, count, Ok(taken));
        }

        match hub.stage.single(&*self.scratch) {
            None => return self.answered(slot),
            Some([]) => {}
            Some(bytes) => match self.platform.write(source, &[IoSlice::new(bytes)]) {
                Ok(sent) if sent == bytes.len() => {
                    let counters = &*hub.counters;
                    counters.writes.add(1);
                    counters.written_bytes.add(sent as u64);
                }
                answer => {
                    let total = bytes.len();
                    return self.wrote(slot, total, answer);
                }
            },
        }
        hub.stage.end();
    }

    /// It is no connection's, or no usual one.
    #[inline(never)]
    fn take_other(&mut self, course: &mut Course) {
        match self.platform.edge(course.next) {
            Edge { token: Token::NOBODY, .. } => {
                self.desk.hub.wants_work = true; // letters, arrivals, an answer, room, a shutdown
                course.void += 1;
            }
            edge => self.note_edge(edge),
        }
    }

    /// The turn at reading of a connection whose peer has ended its direction, as a rule with
    /// nothing before that.
    #[inline(never)] // for the straight path to have the registers to itself
    fn eof_straight(&mut self, slot: u32, most: usize, course: &mut Course) {
        let index = slot as usize;
        let hub = &mut self.desk.hub;
        let (Some(row), Some(Side { source: Some(source), inbound })) =
            (hub.rows.get_mut(index), self.sides.get_mut(index))
        else {
            return;
        };
        if !row.is_plain() || !hub.budget.is_calm() {
            return self.note_edge(self.platform.edge(course.next));
        }
        match self.platform.read(source, &mut self.scratch[..most]) {
            Ok(0) => row.note_eof(),
            answer => {
                row.flags.set(Flags::READ_TO_THE_END); // as the edge said
                return self.read_on(slot, most, answer);
            }
        }
        hub.stage.open_unread(slot);
        hub.counters.pulse.note(Callback::Eof, slot);
        let inbound = inbound.as_mut().expect("whoever is read exists");
        debug_assert!(inbound.rest.is_none(), "the message clock would be running");
        let mut cx = Context::new(&mut self.desk, Some(source), slot);
        course.is_calling = true;
        let outcome = inbound.handler.on_eof(&mut cx, &[]);
        course.is_calling = false;
        if let Err(fault) = outcome {
            self.judge_failure(slot, Failure::Fault(fault));
        }
        self.send_staged(slot);
    }

    // Where it is left.

    /// Those who are to be read on wait for the next turn; the others may forget that they had
    /// this one.
    #[inline(never)]
    fn end_turns(&mut self) {
        for slot in self.slots.drain(..) {
            let row = &mut self.desk.hub.rows[slot as usize];
            if !row.flags.has(Flags::RUNNABLE) {
                row.flags.clear(Flags::HAD_TURN);
            }
        }
    }

    /// It is read until there is nothing left.
    #[inline(never)]
    fn read_again(&mut self, slot: u32, most: usize) {
        if let Some(answer) = self.read_once(slot, most) {
            self.read_on(slot, most, answer);
        }
    }

    /// The read answered something else.
    #[inline(never)]
    fn read_on(&mut self, slot: u32, most: usize, answer: io::Result<usize>) {
        self.desk.hub.row(slot).flags.set(Flags::READABLE); // as the edge said
        let budget = self.desk.hub.limits.read_budget_bytes;
        let used = self.take_in(slot, most, answer);
        self.read_up_to(slot, budget - used);
        self.desk.hub.row(slot).flags.set(Flags::HAD_TURN);
        self.slots.push(slot);
    }

    /// The handler failed, did not take all, or did something else beside.
    #[inline(never)]
    fn offered(&mut self, slot: u32, fresh: usize, outcome: Outcome<usize>) {
        let taken = self.judge_taken(slot, fresh, outcome);
        self.keep_or_lose_rest(slot, taken.map(|taken| (taken, fresh)), fresh);
        self.answered(slot);
    }

    /// What was written is in several pieces.
    #[inline(never)]
    fn answered(&mut self, slot: u32) {
        self.send_staged(slot);
        self.stop_reading(slot);
    }

    /// The system did not take all.
    #[inline(never)]
    fn wrote(&mut self, slot: u32, total: usize, answer: io::Result<usize>) {
        let sent = self.judge_write(slot, total, answer);
        self.end_stage(slot, total, sent);
        self.stop_reading(slot);
    }
}
