//! Step 10, the one place that frees.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use log::Level;

use super::Reactor;
use super::call::{Answers, Failure, message_of, unwound};
use super::side::Side;
use crate::base::escaped::Escaped;
use crate::handler::Context;
use crate::hub::notices::Notice;
use crate::hub::pulse::Callback;
use crate::hub::reason::CloseReason;
use crate::sys::Platform;

/// How far those that have ended are freed.
struct Course {
    next: usize,
    /// What is running that is not ours.
    called: Option<Foreign>,
}

enum Foreign {
    OnClose,
    Drop,
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Tells the handlers of connections that have ended, and lets their places come free.
    ///
    /// As for edges, handlers are guarded all at once.
    #[inline]
    pub(super) fn reap(&mut self) {
        if !self.desk.hub.ended.is_empty() {
            self.reap_ended();
        }
    }

    #[inline(never)]
    fn reap_ended(&mut self) {
        std::mem::swap(&mut self.slots, &mut self.desk.hub.ended);
        let mut course = Course { next: 0, called: None };
        let course = &mut course;
        while let Err(thrown) = catch_unwind(AssertUnwindSafe(|| self.reap_on(course))) {
            let slot = self.slots[course.next];
            match course.called.take() {
                Some(Foreign::OnClose) => {
                    self.judge_failure(slot, Failure::Panic(message_of(thrown)));
                    self.free(slot);
                }
                Some(Foreign::Drop) => self.log_drop("a handler", &message_of(thrown)),
                None => resume_unwind(thrown), // of nobody who is guarded: a bug of ours, most likely
            }
            course.next += 1;
        }
        self.slots.clear();
        self.retry_accept();
        self.shrink();
    }

    #[inline(never)] // for the straight path to have the registers to itself
    fn reap_on(&mut self, course: &mut Course) {
        let is_watched = log::log_enabled!(Level::Trace)
            || self.desk.hub.stopwatch.is_on()
            || !self.shutdown.is_running();
        while let Some(&slot) = self.slots.get(course.next) {
            if is_watched {
                self.tell_and_free(slot);
            } else {
                self.free_straight(slot, course);
            }
            course.next += 1;
        }
    }

    /// The usual end: of a connection that was accepted, with nothing to say of it.
    #[inline(always)] // on the way of every connection
    fn free_straight(&mut self, slot: u32, course: &mut Course) {
        let index = slot as usize;
        let hub = &mut self.desk.hub;
        let (Some(row), Some(Side { source: Some(source), inbound: Some(inbound) })) =
            (hub.rows.get(index), self.sides.get_mut(index))
        else {
            return self.tell_and_free(slot);
        };
        if !row.has_ended_plainly() {
            return self.tell_and_free(slot);
        }
        hub.counters.count_end(&CloseReason::Closed);
        hub.counters.pulse.note(Callback::Close, slot);
        let mut cx = Context::new(&mut self.desk, Some(source), slot);
        course.called = Some(Foreign::OnClose);
        inbound.handler.on_close(&mut cx, &CloseReason::Closed);
        course.called = None;

        let handler = self.remove(slot);
        course.called = Some(Foreign::Drop);
        drop(handler);
        course.called = None;
    }

    /// Any other end.
    #[inline(never)]
    fn tell_and_free(&mut self, slot: u32) {
        if self.sides.get(slot as usize).is_none_or(|side| side.inbound.is_none()) {
            self.desk.hub.ended.push(slot); // `start_outgoing` will bring its handler
            self.desk.hub.wants_work = true;
            return;
        }
        let row = self.desk.hub.row(slot);
        let is_accepted = row.is_accepted();
        let told = row.take_reason();
        let reason = told.as_ref().unwrap_or(&CloseReason::Closed);
        log::trace!("{}: {}", self.desk.hub.id(slot), Escaped(reason));
        self.count_end(slot, reason);
        self.call(slot, Callback::Close, Answers::Later, |handler, cx| {
            handler.on_close(cx, reason);
            Ok(())
        });
        if !is_accepted {
            self.forget_attempt(slot);
        }
        self.free(slot);
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
            self.log_drop(what, &message);
        }
    }

    #[cold]
    #[inline(never)]
    fn log_drop(&mut self, what: &str, message: &str) {
        self.desk.hub.counters.panics.add(1);
        let what = format_args!("{what} panicked while it was dropped: {message}");
        self.desk.hub.log(Notice::DropPanicked, Level::Error, what);
    }
}
