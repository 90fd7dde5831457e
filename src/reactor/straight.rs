//! Step 3: edges. The usual request is served here, by the straight path: one read, one callback,
//! one write.
//!
//! Nearly every request comes in whole, to a connection on which nothing waits, and the system
//! takes its answer whole. Such a one is served as its edge is seen, with one look at each column.
//! It adds nothing to what [`read`](super::read) and [`write`](super::write) do, and decides
//! nothing: what is found to be otherwise goes on there, from where it stands. So does whatever is
//! to be traced or timed.

use std::io::{self, IoSlice};

use super::call::{Failure, Outcome, unwound};
use super::{Reactor, SCRATCH_BYTES};
use crate::handler::Context;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::sys::{Edge, Platform, Readiness, Token};

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Works through the edges, and answers how many there were.
    #[inline(never)] // for the straight path to have the registers to itself
    pub(super) fn take_edges(&mut self) -> usize {
        let count = self.edges.len();
        self.desk.hub.counters.edges.add(count as u64);
        let most = self.desk.hub.limits.read_budget_bytes.min(SCRATCH_BYTES);
        let is_watched = log::log_enabled!(log::Level::Trace) || self.desk.hub.stopwatch.is_on();
        for index in 0..count {
            let edge = self.edges[index];
            match edge.token {
                // Every edge says that writing is possible, or none that tells of input.
                Token::Connection(slot)
                    if edge.ready.without(Readiness::WRITABLE) == Readiness::READABLE
                        && !is_watched =>
                {
                    self.read_straight(slot, edge, most);
                }
                _ => self.note_edge(edge),
            }
        }
        self.edges.clear();
        if !self.slots.is_empty() {
            self.end_turns();
        }
        count
    }

    /// The turn at reading of a connection that has been sent something: one read of up to `most`
    /// bytes, as a rule.
    #[inline(always)] // on the way of every request
    fn read_straight(&mut self, slot: u32, edge: Edge, most: usize) {
        let index = slot as usize;
        let hub = &mut self.desk.hub;
        let (Some(row), Some(Some(source))) =
            (hub.rows.get_mut(index), self.sources.get_mut(index))
        else {
            return;
        };
        if !row.is_plain() || !hub.budget.is_calm() {
            return self.note_edge(edge); // something waits, or it has had its turn
        }
        let count = match self.platform.read(source, &mut self.scratch[..most]) {
            Ok(count) if 0 < count && count < most && self.platform.short_read_drains(source) => {
                count
            }
            answer => return self.read_on(slot, most, answer),
        };
        row.flags.clear(Flags::READABLE); // an older edge may have left it
        row.flags.set(Flags::HEARD);
        row.last_activity = hub.now;
        let counters = &*hub.counters;
        counters.reads.add(1);
        counters.read_bytes.add(count as u64);

        let read = &self.scratch[..count];
        hub.stage.open(slot, true, read);
        counters.pulse.note(Callback::Bytes, slot);
        counters.pulse.note_bytes(count);
        let disturbances = hub.disturbances;
        let inbound = self.inbounds[index].as_mut().expect("whoever is read exists");
        debug_assert!(inbound.rest.is_none(), "the message clock would be running");
        let mut cx = Context::new(&mut self.desk, Some(source), slot);
        let taken = match unwound(|| inbound.handler.on_bytes(&mut cx, read)) {
            Ok(Ok(taken)) => taken,
            Ok(Err(fault)) => return self.offered(slot, count, Err(Failure::Fault(fault))),
            Err(panic) => return self.offered(slot, count, Err(Failure::Panic(panic))),
        };
        let hub = &mut self.desk.hub;
        if taken != count || hub.disturbances != disturbances {
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
