//! What is written to a connection, by its own handler or by others: on the stage, or into its
//! outbox. All of it ends in `judge`, which holds the marks and the limit.

use super::outbound::{Backlog, Flags};
use super::reason::CloseReason;
use super::stage::Stage;
use super::{Hub, NotTaken, Phase};
use crate::base::outbox::{Outbox, Shared};

impl Hub {
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
        if is_new && row.phase() != Phase::Connecting {
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
}

/// Shared bytes up to this many are copied all the same: to keep track of a piece costs as much
/// memory, and would be outside the limits on buffered bytes.
const COPIED_BYTES: usize = 128;
