//! The turn: its steps in their order, and what leads from one turn to the next.
//!
//! Most turns have nothing but usual requests, and end where those are served (`straight`). They
//! follow each other within one guard and one function, so that a request that comes alone does not
//! pay for entering and leaving them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::Reactor;
use crate::base::time::{Time, Timeout};
use crate::hub::counters::Report;
use crate::sys::Platform;

/// What one turn did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Turn {
    /// Edges that the platform told of.
    pub edges: usize,
    /// Whether there is more to do at once, so that the next turn will not wait.
    pub has_work: bool,
    /// Whether a shutdown has come to its end.
    pub is_stopped: bool,
}

/// How far the loop has come.
pub(super) struct Course {
    /// How many edges the wait has found, and which of them is next.
    pub(super) found: usize,
    pub(super) next: usize,
    /// How many were no socket's.
    pub(super) void: usize,
    /// Whether the handler that the stage is open for is being called.
    pub(super) is_calling: bool,
    /// The [outlook](Reactor::outlook), which changes where all steps are taken, or between turns.
    outlook: Time,
    /// When the last turn ended.
    now: Time,
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Runs until a shutdown that was asked for has come to its end. May be called again after
    /// that, with new listeners.
    ///
    /// # Errors
    /// The system's call to wait failed, which it does only when something is badly wrong.
    pub fn run(&mut self) -> io::Result<Report> {
        self.restart();
        self.turn_until(Timeout::NEVER, |turn| turn.is_stopped)?;
        Ok(self.report)
    }

    /// One turn of the loop: waits until there is something to do, but not longer than `wait`
    /// (`None` is as long as it takes, and zero not at all), and does it.
    ///
    /// # Errors
    /// As for [`run`](Reactor::run).
    pub fn turn(&mut self, wait: Option<Duration>) -> io::Result<Turn> {
        self.turn_until(wait.into(), |_| true)
    }

    /// Turns until one was the last, each of which waits no longer than `wait`.
    ///
    /// Handlers are guarded all at once, for as many turns as go well, as a guard around each
    /// would cost a small request an eighth more: after a panic the turn goes on with the next
    /// edge.
    fn turn_until(
        &mut self,
        wait: Timeout,
        is_last: impl Fn(Turn) -> bool + Copy,
    ) -> io::Result<Turn> {
        // The last turn may be long ago.
        let (outlook, now) = (self.look_ahead(), self.platform.now());
        let mut course = Course { found: 0, next: 0, void: 0, is_calling: false, outlook, now };
        let course = &mut course;
        self.begin_turn(course, wait)?;
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.go_on(course, wait, is_last))) {
                Ok(outcome) => return outcome,
                Err(thrown) => self.go_past(course, thrown),
            }
        }
    }

    /// Goes on with the turn at hand, and with those behind it.
    #[inline(never)] // for the straight path to have the registers to itself
    fn go_on(
        &mut self,
        course: &mut Course,
        wait: Timeout,
        is_last: impl Fn(Turn) -> bool,
    ) -> io::Result<Turn> {
        loop {
            self.take_edges(course); //                        3   usual requests are served; flags
            let turn = self.end_turn(course);
            if is_last(turn) {
                return Ok(turn);
            }
            self.begin_turn(course, wait)?;
        }
    }

    #[inline(always)]
    fn begin_turn(&mut self, course: &mut Course, wait: Timeout) -> io::Result<()> {
        let timeout = self.timeout(course.outlook, course.now).min(wait);
        course.found = self.platform.wait(timeout)?; //        1   sleep: an edge, a deadline, a letter
        (course.next, course.void) = (0, 0);
        self.desk.hub.begin_turn(self.platform.now()); //      2   the moment of this turn
        Ok(())
    }

    #[inline(always)]
    fn end_turn(&mut self, course: &mut Course) -> Turn {
        if self.is_due(course.outlook) {
            self.work();
            course.outlook = self.look_ahead();
        }
        self.check_in_debug(course.outlook);
        course.now = self.platform.now();
        let edges = course.found - course.void;
        self.note_turn(edges, course.now.nanos_since(self.desk.hub.now));
        let is_stopped = self.shutdown.is_stopped();
        Turn { edges, has_work: course.outlook == Time::ZERO, is_stopped }
    }

    /// The steps for everything else than usual requests.
    #[inline(never)]
    fn work(&mut self) {
        self.heed_shutdown(); //                                   asked for, or its time has run out
        self.admit(); //                                       4   accept, adopt, connect
        self.read_runnable(); //                               5   bytes in → on_bytes, on_eof
        self.deliver_letters(); //                             6   from other threads → on_message
        self.fire_due(); //                                    7   timers → on_timer; deadlines
        self.flush_dirty(); //                                 8   bytes out
        self.relieve(); //                                     9   drained outboxes → on_drain
        self.reap(); //                                        10  ended connections → on_close
        self.note_stopped();
    }

    /// How long the reactor would sleep: zero while there is something to do at once, and `None`
    /// where only an edge or a letter could wake it. For loops that wait by other means than
    /// [`turn`](Reactor::turn).
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timeout(self.outlook(), self.platform.now()).span()
    }

    /// How long to sleep at this moment.
    #[inline]
    fn timeout(&self, outlook: Time, now: Time) -> Timeout {
        Timeout::between(now, self.next(outlook))
    }

    /// When there is something to do next, without an edge.
    #[inline]
    fn next(&self, outlook: Time) -> Time {
        outlook.min(self.desk.hub.agenda.next())
    }

    /// Whether all steps are to be taken in this turn. While too much is buffered they are in each,
    /// as the outlook depends on since when nothing has left.
    #[inline]
    fn is_due(&self, outlook: Time) -> bool {
        let hub = &self.desk.hub;
        hub.wants_work || !hub.budget.is_calm() || self.next(outlook) <= hub.now
    }

    /// The outlook for the next turn, in which all steps are taken if there is work already.
    fn look_ahead(&mut self) -> Time {
        self.desk.hub.wants_work = self.has_work() || self.is_restless();
        self.outlook()
    }

    /// When there is something to do without an edge, leaving aside what connections wait for: at
    /// once ([`Time::ZERO`]) while a list holds work, or at the nearest deadline.
    fn outlook(&self) -> Time {
        if self.has_work() { Time::ZERO } else { self.next_apart() }
    }

    /// The nearest deadline that is no connection's.
    pub(super) fn next_apart(&self) -> Time {
        let hub = &self.desk.hub;
        let stuck_since = hub.budget.stuck_since();
        let stuck_until = stuck_since.map_or(Time::MAX, |since| since + hub.limits.overload);
        self.endpoint_agenda.next().min(self.shutdown.deadline()).min(stuck_until)
    }

    /// Whether every turn takes all steps, as something is waited for that tells in no other way.
    fn is_restless(&self) -> bool {
        self.is_ending() || !self.attempts.is_empty() || self.is_holding
    }

    fn has_work(&self) -> bool {
        let desk = &self.desk;
        desk.hub.has_work() || self.ready_endpoints.len() + desk.outgoing.len() > 0
    }

    #[inline]
    fn note_turn(&mut self, edges: usize, nanos: u64) {
        let hub = &self.desk.hub;
        hub.counters.turns.add(1);
        hub.counters.edges.add(edges as u64);
        hub.counters.turn_time.add(nanos);
        hub.counters.buffered_bytes.set(hub.budget.used() as u64);
        hub.counters.buffered_bytes_most.set(hub.budget.most() as u64);
        hub.counters.pulse.rest();
        self.note_stall(nanos);
    }

    fn check_in_debug(&self, outlook: Time) {
        if cfg!(debug_assertions) {
            self.check();
            let is_seen =
                if self.has_work() { outlook == Time::ZERO } else { outlook <= self.next_apart() };
            assert!(is_seen, "there is more to do than the next turn will see");
            let wants_work = self.has_work() || self.is_restless();
            assert_eq!(self.desk.hub.wants_work, wants_work, "whether all steps are to be taken");
        }
    }
}
