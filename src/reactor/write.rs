//! Steps 8 and 9, the one place that writes: answers, outboxes, ends of our direction.

use std::io::{self, IoSlice};

use super::Reactor;
use super::call::Answers;
use crate::hub::Phase;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::hub::reason::CloseReason;
use crate::sys::Platform;
use crate::sys::errors::StreamError;

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Sends what a callback has just written to its own peer, straight from where it lies. What
    /// the system does not take moves to the outbox.
    #[inline(always)] // on the way of every connection
    pub(super) fn send_staged(&mut self, slot: u32) {
        if self.desk.hub.stage.is_empty() {
            self.desk.hub.stage.close();
        } else {
            self.send_pieces(slot);
        }
    }

    #[inline(never)]
    fn send_pieces(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        let total = hub.stage.len();
        let row = &mut hub.rows[slot as usize];
        let mut sent = 0;
        if row.flags.has(Flags::WRITABLE) {
            let source = self.sides[slot as usize].source.as_mut().expect("whoever answers exists");
            let (wanted, answer) = if let Some(bytes) = hub.stage.single(&*self.scratch) {
                (total, self.platform.write(source, &[IoSlice::new(bytes)]))
            } else {
                let mut slices = [IoSlice::new(&[]); GATHERED];
                let filled = hub.stage.gather(&*self.scratch, &mut slices);
                let wanted = slices[..filled].iter().map(|slice| slice.len()).sum();
                (wanted, self.platform.write(source, &slices[..filled]))
            };
            sent = self.judge_write(slot, wanted, answer);
        }
        self.end_stage(slot, total, sent);
    }

    /// Keeps what the system did not take of what was staged.
    pub(super) fn end_stage(&mut self, slot: u32, total: usize, sent: usize) {
        let hub = &mut self.desk.hub;
        if sent == total {
            hub.stage.clear();
        } else if !hub.stage.is_empty() {
            hub.keep_staged(slot, sent, &*self.scratch);
        }
        hub.stage.close();
        if hub.rows[slot as usize].flags.has(Flags::ABOVE_HIGH) {
            hub.note_drained(slot);
        }
    }

    /// Notes what a write answered, and gives back how much was taken.
    pub(super) fn judge_write(
        &mut self,
        slot: u32,
        wanted: usize,
        answer: io::Result<usize>,
    ) -> usize {
        let hub = &mut self.desk.hub;
        match answer {
            // Nobody would tell when to try again, and to try at once may be for ever.
            Ok(0) => {
                hub.end(slot, CloseReason::Failed(io::ErrorKind::WriteZero.into()));
                0
            }
            Ok(sent) => {
                hub.rows[slot as usize].last_activity = hub.now;
                hub.counters.writes.add(1);
                hub.counters.written_bytes.add(sent as u64);
                if sent < wanted {
                    hub.counters.short_writes.add(1);
                    log::trace!("{}: short write, {sent} of {wanted}", hub.id(slot));
                } else {
                    log::trace!("{}: write {sent}", hub.id(slot));
                }
                sent
            }
            Err(error) => {
                match StreamError::of(&error) {
                    StreamError::Interrupted => hub.mark_dirty(slot),
                    StreamError::WouldBlock => {
                        hub.row(slot).flags.clear(Flags::WRITABLE);
                        hub.counters.would_block.add(1);
                        log::trace!("{}: blocked, {wanted} bytes wait", hub.id(slot));
                    }
                    StreamError::Reset => hub.end(slot, CloseReason::Reset),
                    StreamError::Ended => hub.end(slot, CloseReason::Failed(error)),
                }
                0
            }
        }
    }

    /// Writes what waits, for all who have been written to or have become writable.
    pub(super) fn flush_dirty(&mut self) {
        if self.desk.hub.dirty.is_empty() {
            return;
        }
        std::mem::swap(&mut self.slots, &mut self.desk.hub.dirty);
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            // As for reading: the list may name one that has ended.
            let Some(row) = self.desk.hub.rows.get_mut(slot as usize) else { continue };
            if !row.flags.has(Flags::DIRTY) {
                continue;
            }
            row.flags.clear(Flags::DIRTY);
            match row.phase() {
                Phase::Connecting => self.check_connecting(slot),
                Phase::Open | Phase::Flushing | Phase::Lingering => {
                    if row.phase() == Phase::Flushing {
                        self.drop_rest(slot); // it will not be offered any more
                    }
                    let row = self.desk.hub.row(slot);
                    if row.flags.has(Flags::ERROR) {
                        self.check_error(slot);
                    }
                    self.flush(slot);
                    self.settle(slot);
                }
                Phase::Closed => {}
            }
        }
        self.slots.clear();
    }

    /// An edge told of an error. One who is being read learns it there, after the last bytes,
    /// unless reading stops before; anybody else ends now.
    fn check_error(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        let row = hub.row(slot);
        let has_more = row.flags.has(Flags::READABLE) && !row.flags.has(Flags::EOF_SEEN);
        if row.is_to_be_read() && has_more {
            return;
        }
        row.flags.clear(Flags::ERROR);
        let Some(source) = self.sides[slot as usize].source.as_mut() else { return };
        if let Err(error) = self.platform.connected(source) {
            match StreamError::of(&error) {
                StreamError::WouldBlock => {}
                StreamError::Interrupted => {
                    hub.row(slot).flags.set(Flags::ERROR);
                    hub.mark_dirty(slot);
                }
                StreamError::Reset => hub.end(slot, CloseReason::Reset),
                StreamError::Ended => hub.end(slot, CloseReason::Failed(error)),
            }
        }
    }

    /// Writes from the outbox until it is empty, the system takes no more, or the turn is used
    /// up.
    fn flush(&mut self, slot: u32) {
        for _ in 0..WRITES_PER_TURN {
            let row = &self.desk.hub.rows[slot as usize];
            let Some(backlog) = &row.outbox else { return };
            if !row.flags.has(Flags::WRITABLE) {
                return;
            }
            let source = self.sides[slot as usize].source.as_mut().expect("whoever is open exists");
            let mut slices = [IoSlice::new(&[]); GATHERED];
            let filled = backlog.bytes.gather(&mut slices);
            let wanted = slices[..filled].iter().map(|slice| slice.len()).sum();
            let answer = self.platform.write(source, &slices[..filled]);
            let sent = self.judge_write(slot, wanted, answer);
            if sent > 0 {
                self.desk.hub.sent(slot, sent);
            }
        }
        if self.desk.hub.row(slot).outbox.is_some() {
            self.desk.hub.mark_dirty(slot); // the others first
        }
    }

    /// Once everything is written: ends our direction where that was asked for, and moves on.
    fn settle(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        let row = hub.row(slot);
        if row.outbox.is_some() {
            if row.phase() == Phase::Flushing {
                let deadline = row.phase_since() + hub.limits.flush;
                hub.agenda.by(slot, deadline);
            }
            return;
        }
        match row.phase() {
            Phase::Open if row.flags.has(Flags::FINISHING) => {
                let has_peer_ended = row.flags.has(Flags::EOF_TOLD);
                if row.flags.insert(Flags::FINISHED) {
                    self.finish(slot);
                    self.look_once(slot);
                }
                if has_peer_ended {
                    self.desk.hub.close(slot);
                }
            }
            // The peer's end was read, so nothing it sent is unread: closing loses nothing, and
            // sends our end.
            Phase::Flushing if row.flags.has(Flags::EOF_SEEN) => hub.enter(slot, Phase::Closed),
            Phase::Flushing => {
                if row.flags.insert(Flags::FINISHED) {
                    self.finish(slot);
                }
                self.linger(slot);
            }
            _ => {}
        }
    }

    /// Ends our direction.
    fn finish(&mut self, slot: u32) {
        let Some(source) = self.sides[slot as usize].source.as_mut() else { return };
        if let Err(error) = self.platform.finish(source) {
            let hub = &mut self.desk.hub;
            match StreamError::of(&error) {
                StreamError::Reset => hub.end(slot, CloseReason::Reset),
                _ => hub.end(slot, CloseReason::Failed(error)),
            }
        }
    }

    fn linger(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        if hub.row(slot).phase() != Phase::Flushing {
            return;
        }
        hub.enter(slot, Phase::Lingering);
        hub.agenda.by(slot, hub.now + hub.limits.linger);
        self.look_once(slot);
    }

    /// Our end was sent: one look for the peer's, whatever edges have told. The write end of a
    /// pipe has its own then, which no edge tells.
    fn look_once(&mut self, slot: u32) {
        self.desk.hub.row(slot).flags.set(Flags::READABLE);
        self.desk.hub.mark_runnable(slot);
    }

    /// Tells those whose outbox has drained, and lets their input flow again.
    pub(super) fn relieve(&mut self) {
        if self.desk.hub.drained.is_empty() {
            return;
        }
        std::mem::swap(&mut self.slots, &mut self.desk.hub.drained);
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            let Some(row) = self.desk.hub.rows.get_mut(slot as usize) else { continue };
            if !row.flags.has(Flags::DRAINED) {
                continue;
            }
            row.flags.clear(Flags::DRAINED);
            // It may have been written to since, and then drains once more.
            let is_low = row.outbox_len() <= self.desk.hub.limits.outbox_low_bytes;
            if row.phase() != Phase::Open || !is_low {
                continue;
            }
            const FULL: Flags = Flags::ABOVE_HIGH.with(Flags::HELD);
            self.desk.hub.change_wants(slot, |row| row.flags.clear(FULL));
            self.call(slot, Callback::Drain, Answers::AtOnce, |handler, cx| handler.on_drain(cx));
            if self.is_retiring(slot) {
                self.conclude(slot);
            }
        }
        self.slots.clear();
    }
}

/// Pieces handed to the system in one call.
const GATHERED: usize = 16;

/// Calls for one connection in a turn; with full pieces they carry 4 MiB.
const WRITES_PER_TURN: usize = 4;
