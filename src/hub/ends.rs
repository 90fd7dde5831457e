//! How a connection goes from phase to phase, and comes to its end.

use log::Level;

use super::outbound::Flags;
use super::reason::CloseReason;
use super::{Hub, Phase};

impl Hub {
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
        if self.rows[slot as usize].phase() <= Phase::Open {
            self.set_reason(slot, reason);
            self.close(slot);
        }
    }

    /// An orderly end: what is queued is delivered first.
    pub(crate) fn close(&mut self, slot: u32) {
        let row = &self.rows[slot as usize];
        let is_staged = self.stage.is_open_for(slot) && !self.stage.is_empty();
        if row.has_peer_ended() && row.outbox.is_none() && !is_staged {
            self.enter(slot, Phase::Closed); // nothing that it sent is unread, and nothing waits
        } else {
            self.close_in_time(slot);
        }
    }

    #[inline(never)] // most peers end first
    fn close_in_time(&mut self, slot: u32) {
        match self.rows[slot as usize].phase() {
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
        if row.phase() == Phase::Closed {
            return;
        }
        let undelivered = staged + row.outbox_len();
        if row.phase() != Phase::Lingering {
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
        if row.phase() != Phase::Closed {
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
        // (The level is asked for without the call that `log_enabled` makes where it is high.)
        let is_waiting = self.rows[slot as usize].flags.has(Flags::STARVED);
        if is_waiting || self.budget.has_permit(slot) || log::max_level() >= Level::Trace {
            self.enter_unusual(slot, phase);
        } else {
            self.enter_usual(slot, phase);
        }
    }

    #[inline(always)]
    fn enter_usual(&mut self, slot: u32, phase: Phase) {
        let row = &mut self.rows[slot as usize];
        self.is_disturbed = true;
        row.enter(phase, self.now);
        if phase > Phase::Open {
            self.stage.refuse(slot);
            row.flags.clear(Flags::ABOVE_HIGH.with(Flags::HELD).with(Flags::PAUSED));
        }
        if phase == Phase::Closed {
            self.wants_work = true;
            push(&mut self.ended, slot);
        }
    }

    /// It is to be traced; or it had to wait to be read, or others had to for it.
    #[inline(never)]
    fn enter_unusual(&mut self, slot: u32, phase: Phase) {
        log::trace!("{}: {:?} → {phase:?}", self.id(slot), self.rows[slot as usize].phase());
        self.enter_usual(slot, phase);
        if phase > Phase::Open {
            self.rows[slot as usize].flags.clear(Flags::STARVED);
            self.budget.leave_line(slot);
            self.budget.pass_on(slot);
        }
    }
}

/// As [`Vec::push`], which keeps registers busy for when there is no room.
#[inline(always)]
fn push(list: &mut Vec<u32>, slot: u32) {
    if list.len() < list.capacity() {
        list.push(slot);
    } else {
        push_growing(list, slot);
    }
}

#[inline(never)]
fn push_growing(list: &mut Vec<u32>, slot: u32) {
    list.push(slot);
}
