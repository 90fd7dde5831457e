//! Step 5, the one place that reads: bytes in, shown to handlers; ends; what is discarded.

use std::io;

use super::Reactor;
use super::call::{Answers, Failure, unwound};
use crate::base::carry::Carry;
use crate::hub::Phase;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::hub::reason::CloseReason;
use crate::sys::Platform;
use crate::sys::errors::StreamError;

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Gives everybody on the list one turn at reading, each within its budget.
    pub(super) fn read_runnable(&mut self) {
        self.desk.hub.admit_starved();
        if self.desk.hub.runnable.is_empty() {
            return;
        }
        std::mem::swap(&mut self.slots, &mut self.desk.hub.runnable);
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            // The list may still name one that has ended since, or its place's next owner.
            let Some(row) = self.desk.hub.rows.get_mut(slot as usize) else { continue };
            if !row.flags.has(Flags::RUNNABLE) {
                continue;
            }
            if row.flags.has(Flags::HAD_TURN) {
                row.flags.clear(Flags::HAD_TURN);
                self.desk.hub.runnable.push(slot);
                continue;
            }
            row.flags.clear(Flags::RUNNABLE);
            match row.phase() {
                Phase::Open => self.read_within_budget(slot),
                Phase::Lingering => self.discard(slot),
                Phase::Connecting | Phase::Flushing | Phase::Closed => {}
            }
        }
        self.slots.clear();
    }

    /// One connection's turn, where the bytes buffered in the whole reactor allow it.
    fn read_within_budget(&mut self, slot: u32) {
        if !self.desk.hub.admits(slot) {
            return;
        }
        self.read(slot);
        // The one who may read on does so until its message is whole.
        if self.desk.hub.budget.has_permit(slot) {
            let is_amid = self.has_rest(slot) && self.desk.hub.row(slot).wants_input();
            if !is_amid {
                self.desk.hub.budget.pass_on(slot);
            }
        }
    }

    /// Offers what was left, and reads.
    fn read(&mut self, slot: u32) {
        let row = self.desk.hub.row(slot);
        if row.flags.has(Flags::OFFER_REST) && row.wants_input() {
            row.flags.clear(Flags::OFFER_REST);
            self.offer(slot, 0);
        }
        self.read_up_to(slot, self.desk.hub.limits.read_budget_bytes);
    }

    /// Reads until nothing is there, nothing is wanted, or the turn is used up.
    pub(super) fn read_up_to(&mut self, slot: u32, mut budget: usize) {
        loop {
            if !self.desk.hub.row(slot).may_read() {
                return self.stop_reading(slot);
            }
            if budget == 0 {
                self.desk.hub.mark_runnable(slot);
                return;
            }
            let most = budget.min(self.scratch.len());
            let Some(answer) = self.read_once(slot, most) else { return };
            budget -= self.take_in(slot, most, answer);
        }
    }

    /// Offers what a read brought, and answers how much of the turn that used up.
    pub(super) fn take_in(&mut self, slot: u32, most: usize, answer: io::Result<usize>) -> usize {
        match self.note_read(slot, most, answer) {
            Some(0) => 0,
            Some(count) => {
                self.offer(slot, count);
                count
            }
            None => 1, // an end to interruptions, too
        }
    }

    /// There is nothing to read, or it is not wanted.
    pub(super) fn stop_reading(&mut self, slot: u32) {
        let row = self.desk.hub.row(slot);
        if !row.wants_input() {
            log::trace!("{}: parked", self.desk.hub.id(slot));
        } else if row.flags.has(Flags::EOF_SEEN) {
            self.end_of_input(slot);
        }
    }

    /// One call of the system. Bytes are in `scratch` then.
    pub(super) fn read_once(&mut self, slot: u32, most: usize) -> Option<io::Result<usize>> {
        let source = self.sides[slot as usize].source.as_mut()?;
        Some(self.platform.read(source, &mut self.scratch[..most]))
    }

    /// Notes in the flags what a read answered.
    fn note_read(&mut self, slot: u32, most: usize, answer: io::Result<usize>) -> Option<usize> {
        let hub = &mut self.desk.hub;
        let row = &mut hub.rows[slot as usize];
        match answer {
            Ok(0) => {
                row.flags.set(Flags::EOF_SEEN);
                row.flags.clear(Flags::READABLE);
                log::trace!("{}: read the end", hub.id(slot));
                Some(0)
            }
            Ok(count) => {
                row.flags.set(Flags::HEARD);
                row.last_activity = hub.now;
                hub.counters.reads.add(1);
                hub.counters.read_bytes.add(count as u64);
                // A short read leaves nothing behind where the platform says so, unless an edge
                // told of something that a read stops at.
                let source = self.sides[slot as usize].source.as_ref()?;
                if count < most
                    && !row.flags.has(Flags::READ_TO_THE_END)
                    && self.platform.short_read_drains(source)
                {
                    row.flags.clear(Flags::READABLE);
                }
                log::trace!("{}: read {count}", hub.id(slot));
                Some(count)
            }
            Err(error) => {
                match StreamError::of(&error) {
                    StreamError::Interrupted => {}
                    StreamError::WouldBlock => {
                        row.flags.clear(Flags::READABLE.with(Flags::READ_TO_THE_END));
                        hub.counters.would_block.add(1);
                        log::trace!("{}: read would block", hub.id(slot));
                    }
                    StreamError::Reset => hub.end(slot, CloseReason::Reset),
                    StreamError::Ended => hub.end(slot, CloseReason::Failed(error)),
                }
                None
            }
        }
    }

    /// Shows the handler what was left and what was read, keeps what it does not take, and sends
    /// what it answers.
    pub(super) fn offer(&mut self, slot: u32, fresh: usize) {
        let taken_of = self.call_on_bytes(slot, fresh);
        self.keep_or_lose_rest(slot, taken_of, fresh);
        self.send_staged(slot);
    }

    /// After a callback that took so much of so much, or failed.
    pub(super) fn keep_or_lose_rest(
        &mut self,
        slot: u32,
        taken_of: Option<(usize, usize)>,
        fresh: usize,
    ) {
        match taken_of {
            Some((taken, shown)) if taken == shown && shown == fresh => {}
            Some((taken, _)) => self.keep_rest(slot, taken, fresh),
            None => self.lose_rest(slot, fresh),
        }
    }

    /// The handler failed: what was left is lost with the connection.
    #[cold]
    fn lose_rest(&mut self, slot: u32, fresh: usize) {
        if self.has_rest(slot) {
            // It was joined to what had been left before, and is given back with that.
            self.desk.hub.budget.add(fresh, self.desk.hub.now);
            self.drop_rest(slot);
        }
    }

    fn keep_rest(&mut self, slot: u32, taken: usize, fresh: usize) {
        let hub = &mut self.desk.hub;
        let inbound = self.sides[slot as usize].inbound.as_mut().expect("whoever was read exists");
        if let Some(rest) = &mut inbound.rest {
            hub.budget.add(fresh, hub.now);
            hub.budget.release(taken, hub.now);
            rest.take(taken);
        } else {
            let mut rest = self.spare_carry.take().unwrap_or_default();
            rest.append(&self.scratch[taken..fresh]);
            hub.budget.add(rest.len(), hub.now);
            inbound.rest = Some(rest);
        }
        let len = inbound.rest.as_ref().map_or(0, |rest| rest.len());
        let now = hub.now;
        let row = &mut hub.rows[slot as usize];
        if len == 0 || row.phase() > Phase::Open {
            row.stop_clock();
            self.drop_rest(slot);
            return;
        }
        if !row.wants_input() {
            row.flags.set(Flags::OFFER_REST);
        }
        if taken > 0 || !row.flags.has(Flags::CLOCK_RUNS.with(Flags::CLOCK_HELD)) {
            row.start_clock(now);
            hub.agenda.by(slot, now + hub.limits.message);
        }
        let most = match unwound(|| inbound.handler.max_rest_bytes()) {
            Ok(most) => most.unwrap_or(hub.limits.rest_bytes),
            Err(message) => {
                self.judge_failure(slot, Failure::Panic(message));
                return self.drop_rest(slot);
            }
        };
        // What was shown but could not be taken, as input became unwanted, is one read more.
        let is_held = hub.row(slot).flags.has(Flags::OFFER_REST);
        if len > most && !is_held {
            hub.close_for(slot, CloseReason::InputLimit);
            self.drop_rest(slot);
        }
    }

    /// The peer's direction has ended, and everything before was offered.
    fn end_of_input(&mut self, slot: u32) {
        let row = self.desk.hub.row(slot);
        if !row.flags.insert(Flags::EOF_TOLD) {
            return;
        }
        row.stop_clock();
        let has_finished = row.flags.has(Flags::FINISHED);
        let inbound = self.sides[slot as usize].inbound.as_mut().expect("whoever was read exists");
        let rest = inbound.rest.take();
        self.tell_end(slot, rest);
        if has_finished {
            self.desk.hub.close(slot); // our direction had ended before: this was the last
        }
    }

    /// Tells a handler of the end, and shows it what was left.
    fn tell_end(&mut self, slot: u32, rest: Option<Box<Carry>>) {
        self.call(slot, Callback::Eof, Answers::AtOnce, |handler, cx| {
            handler.on_eof(cx, rest.as_ref().map_or(&[], |rest| rest.bytes()))
        });
        if let Some(rest) = rest {
            self.recycle(rest);
        }
    }

    /// Lingering: what still comes is read and thrown away, until the peer's end.
    fn discard(&mut self, slot: u32) {
        let mut budget = self.desk.hub.limits.read_budget_bytes;
        while self.desk.hub.row(slot).phase() == Phase::Lingering {
            let row = self.desk.hub.row(slot);
            if row.flags.has(Flags::EOF_SEEN) {
                self.desk.hub.enter(slot, Phase::Closed);
                return;
            }
            if !row.flags.has(Flags::READABLE) {
                return;
            }
            if budget == 0 {
                self.desk.hub.mark_runnable(slot);
                return;
            }
            let most = budget.min(self.scratch.len());
            let Some(answer) = self.read_once(slot, most) else { return };
            let count = self.note_read(slot, most, answer);
            budget -= count.unwrap_or(1);
            let most = self.desk.hub.limits.linger_bytes;
            self.desk.hub.counters.discarded_bytes.add(count.unwrap_or(0) as u64);
            let row = self.desk.hub.row(slot);
            let discarded = &mut row.extras().discarded;
            *discarded += count.unwrap_or(0);
            if *discarded > most {
                self.desk.hub.enter(slot, Phase::Closed);
            }
        }
    }

    // Rests.

    #[inline]
    fn has_rest(&self, slot: u32) -> bool {
        self.sides[slot as usize].inbound.as_ref().is_some_and(|inbound| inbound.rest.is_some())
    }

    /// How many bytes were not taken.
    pub(super) fn rest_len(&self, slot: u32) -> usize {
        let inbound = self.sides.get(slot as usize).and_then(|side| side.inbound.as_ref());
        inbound.and_then(|inbound| inbound.rest.as_ref()).map_or(0, |rest| rest.len())
    }

    /// Forgets what was not taken.
    pub(super) fn drop_rest(&mut self, slot: u32) {
        let inbound = self.sides.get_mut(slot as usize).and_then(|side| side.inbound.as_mut());
        if let Some(rest) = inbound.and_then(|inbound| inbound.rest.take()) {
            self.recycle(rest);
        }
    }

    pub(super) fn recycle(&mut self, mut rest: Box<Carry>) {
        self.desk.hub.budget.release(rest.len(), self.desk.hub.now);
        rest.recycle();
        self.spare_carry = Some(rest);
    }
}
