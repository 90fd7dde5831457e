//! The straight path of step 5: one read, one callback, one write.
//!
//! Nearly every request comes in whole, to a connection on which nothing waits, and the system
//! takes its answer whole. Such a one is served here with one look at each column. It adds nothing
//! to what [`read`](super::read) and [`write`](super::write) do, and decides nothing: what is found
//! to be otherwise goes on there, from where it stands.

use std::io::{self, IoSlice};

use super::Reactor;
use super::call::{Failure, Outcome, unwound};
use crate::handler::Context;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::sys::Platform;

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// The turn at reading of a connection that is plain (`Outbound::is_plain`).
    #[inline(always)] // on the way of every request
    pub(super) fn read_straight(&mut self, slot: u32) {
        let index = slot as usize;
        let budget = self.desk.hub.limits.read_budget_bytes;
        let most = budget.min(self.scratch.len());
        let Some(source) = &mut self.sources[index] else { return };
        let count = match self.platform.read(source, &mut self.scratch[..most]) {
            Ok(count) if 0 < count && count < most && self.platform.short_read_drains(source) => {
                count
            }
            answer => return self.read_on(slot, most, answer),
        };
        let hub = &mut self.desk.hub;
        let counters = &*hub.counters;
        let row = &mut hub.rows[index];
        row.flags.clear(Flags::READABLE);
        row.flags.set(Flags::HEARD);
        row.last_activity = hub.now;
        counters.reads.add(1);
        counters.read_bytes.add(count as u64);
        log::trace!("{}: read {count}", hub.id(slot));

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
                    log::trace!("{}: write {sent}", hub.id(slot));
                    hub.stage.clear();
                }
                answer => {
                    let total = bytes.len();
                    return self.wrote(slot, total, answer);
                }
            },
        }
        hub.stage.close();
    }

    // Where it is left.

    /// The read answered something else.
    #[inline(never)]
    fn read_on(&mut self, slot: u32, most: usize, answer: io::Result<usize>) {
        let budget = self.desk.hub.limits.read_budget_bytes;
        let used = self.take_in(slot, most, answer);
        self.read_up_to(slot, budget - used);
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
