//! Step 10, the one place that frees.

use log::Level;

use super::Reactor;
use super::call::{Answers, unwound};
use crate::base::escaped::Escaped;
use crate::hub::notices::Notice;
use crate::hub::pulse::Callback;
use crate::hub::reason::CloseReason;
use crate::sys::Platform;

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Tells the handlers of connections that have ended, and lets their places come free.
    pub(super) fn reap(&mut self) {
        if self.desk.hub.ended.is_empty() {
            return;
        }
        std::mem::swap(&mut self.slots, &mut self.desk.hub.ended);
        for index in 0..self.slots.len() {
            let slot = self.slots[index];
            if self.sides.get(slot as usize).is_none_or(|side| side.inbound.is_none()) {
                self.desk.hub.ended.push(slot); // `start_outgoing` will bring its handler
                continue;
            }
            let row = self.desk.hub.row(slot);
            let is_accepted = row.is_accepted();
            let told = row.take_reason();
            let reason = told.as_ref().unwrap_or(&CloseReason::Closed);
            log::trace!("{}: {}", self.desk.hub.id(slot), Escaped(reason));
            self.call(slot, Callback::Close, Answers::Later, |handler, cx| {
                handler.on_close(cx, reason);
                Ok(())
            });
            self.count_end(slot, reason);
            if !is_accepted {
                self.forget_attempt(slot);
            }
            self.free(slot);
        }
        self.slots.clear();
        self.retry_accept();
        self.shrink();
    }

    /// Forgets what waits for an outgoing connection to be made.
    fn forget_attempt(&mut self, slot: u32) {
        self.attempts.forget(slot);
        for message in self.early_letters.take(self.desk.hub.id(slot)) {
            self.let_go("a message", message);
        }
    }

    /// Lets the place of a connection come free, and drops its handler.
    #[inline(always)] // on the way of every connection
    pub(super) fn free(&mut self, slot: u32) {
        let handler = self.remove(slot);
        self.let_go("a handler", handler);
    }

    /// Drops what is of somebody else's making. Even that may panic, without consequence.
    #[inline(always)] // on the way of every connection
    pub(super) fn let_go<T>(&mut self, what: &str, foreign: T) {
        if let Err(message) = unwound(|| drop(foreign)) {
            self.desk.hub.counters.panics.add(1);
            let what = format_args!("{what} panicked while it was dropped: {message}");
            self.desk.hub.log(Notice::DropPanicked, Level::Error, what);
        }
    }
}
