//! An orderly end of everything, with a report.
//!
//! A shutdown is a state of each connection rather than of the loop: listeners take what had
//! connected by then and close; every handler is shown what was already read, told, and given
//! the time to finish; the loop turns on as before until nobody is left. Before it there may be a
//! winding down, in which nobody comes any more and nobody is told to go.

use std::time::Duration;

use super::Reactor;
use super::call::Answers;
use crate::base::time::Time;
use crate::hub::Phase;
use crate::hub::counters::Report;
use crate::hub::outbound::{Flags, Outbound};
use crate::hub::pulse::Callback;
use crate::hub::reason::CloseReason;
use crate::sys::Platform;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Running,
    /// Nobody is accepted any more; nobody is told of it.
    WindingDown {
        deadline: Time,
        grace: Duration,
    },
    Draining {
        deadline: Time,
    },
    Stopped,
}

impl Stage {
    pub(super) fn is_stopped(self) -> bool {
        self == Stage::Stopped
    }

    /// Connections come and go as they like.
    pub(super) fn is_running(self) -> bool {
        matches!(self, Stage::Running | Stage::WindingDown { .. })
    }

    /// When it goes on by itself; [`Time::MAX`] is never.
    #[inline]
    pub(super) fn deadline(self) -> Time {
        match self {
            Stage::Draining { deadline } | Stage::WindingDown { deadline, .. } => deadline,
            Stage::Running | Stage::Stopped => Time::MAX,
        }
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Starts an orderly end, as [`Handle::shutdown`](crate::Handle::shutdown) does from
    /// elsewhere; the turns that follow carry it out.
    pub fn shutdown(&mut self, grace: Duration) {
        self.desk.handle.shutdown(grace);
    }

    /// Whether nobody is to come any more: it winds down, or shuts down.
    pub(super) fn is_ending(&self) -> bool {
        !matches!(self.shutdown, Stage::Running | Stage::Stopped)
    }

    /// A reactor that has stopped runs again.
    pub(super) fn restart(&mut self) {
        if self.shutdown.is_stopped() {
            self.shutdown = Stage::Running;
            self.report = Report::default();
        }
    }

    /// Begins a shutdown that was asked for, and ends one whose time has run out.
    pub(super) fn heed_shutdown(&mut self) {
        let now = self.desk.hub.now;
        if let Some(grace) = self.desk.handle.take_shutdown(self.desk.hub.reactor) {
            match self.shutdown {
                Stage::Running | Stage::WindingDown { .. } => self.begin_shutdown(now + grace),
                Stage::Draining { deadline } => {
                    self.shutdown = Stage::Draining { deadline: deadline.min(now + grace) };
                }
                Stage::Stopped => {}
            }
        }
        if let Some((patience, grace)) = self.desk.handle.take_wind_down(self.desk.hub.reactor) {
            self.wind_down(now + patience, grace);
        }
        match self.shutdown {
            Stage::WindingDown { deadline, grace } if deadline <= now => {
                self.begin_shutdown(now + grace);
            }
            Stage::Draining { deadline } if deadline <= now => self.abort_all(),
            _ => {}
        }
    }

    /// Nobody comes any more: what is in the queues is left to others who have the same sockets.
    fn wind_down(&mut self, deadline: Time, grace: Duration) {
        match self.shutdown {
            Stage::Running => {
                let (count, patience) = (self.desk.hub.rows.len(), deadline - self.desk.hub.now);
                log::info!("winding down: {count} connections are open, for {patience:?} at most");
                self.shutdown = Stage::WindingDown { deadline, grace };
                self.close_endpoints();
            }
            Stage::WindingDown { deadline: before, grace: least } => {
                let (deadline, grace) = (deadline.min(before), grace.min(least));
                self.shutdown = Stage::WindingDown { deadline, grace };
            }
            Stage::Draining { .. } | Stage::Stopped => {}
        }
    }

    fn begin_shutdown(&mut self, deadline: Time) {
        let (count, grace) = (self.desk.hub.rows.len(), deadline - self.desk.hub.now);
        log::info!("shutting down: {count} connections are open, for {grace:?} at most");
        self.shutdown = Stage::Draining { deadline };
        // Or a handler that connects again at its end would never let us come to ours.
        self.desk.is_closing = true;
        self.accept_the_last();
        for slot in self.all_slots() {
            self.retire(slot);
        }
        self.close_endpoints();
    }

    /// Has one connection finish: what was read is offered, and its handler told.
    pub(super) fn retire(&mut self, slot: u32) {
        if self.desk.hub.row(slot).phase() == Phase::Connecting {
            self.desk.hub.end(slot, CloseReason::Shutdown);
        } else if self.is_retiring(slot) {
            self.conclude(slot);
        }
    }

    /// Whether a connection is yet to be told of the shutdown.
    pub(super) fn is_retiring(&mut self, slot: u32) -> bool {
        let row = self.desk.hub.row(slot);
        row.phase() == Phase::Open && !row.flags.has(Flags::DEAF) && !self.shutdown.is_running()
    }

    /// Offers what was already read until it is taken or declined, even to one that had paused,
    /// and tells the handler. Where the outbox holds too much for more answers, that waits until
    /// it has drained; nothing is read meanwhile.
    pub(super) fn conclude(&mut self, slot: u32) {
        while self.desk.hub.row(slot).flags.has(Flags::OFFER_REST) {
            self.desk.hub.change_wants(slot, |row| row.flags.clear(Flags::PAUSED));
            if !self.desk.hub.row(slot).wants_input() {
                return; // `relieve` goes on
            }
            self.desk.hub.row(slot).flags.clear(Flags::OFFER_REST);
            let before = self.rest_len(slot);
            self.offer(slot, 0);
            if self.rest_len(slot) == before {
                break;
            }
        }
        self.desk.hub.change_wants(slot, |row| row.flags.set(Flags::DEAF));
        if self.desk.hub.row(slot).phase() == Phase::Open {
            self.call(slot, Callback::Shutdown, Answers::AtOnce, |handler, cx| {
                handler.on_shutdown(cx)
            });
        }
    }

    /// Asserts that a shutdown leaves nobody out, but for those who first have answers to send.
    pub(super) fn check_told(&self) {
        const TOLD: Flags = Flags::DEAF.with(Flags::HELD);
        let is_told = |row: &Outbound| row.phase() != Phase::Open || row.flags.has(TOLD);
        let mut rows = self.desk.hub.rows.iter();
        let is_right = self.shutdown.is_running() || rows.all(|(_, row)| is_told(row));
        assert!(is_right, "somebody is not told of the shutdown");
    }

    /// The time to finish has run out. Of those that linger, all was delivered.
    fn abort_all(&mut self) {
        for slot in self.all_slots() {
            if self.desk.hub.row(slot).phase() == Phase::Lingering {
                self.desk.hub.end(slot, CloseReason::Shutdown);
            } else {
                self.desk.hub.abort(slot, CloseReason::Shutdown);
            }
        }
    }

    fn all_slots(&self) -> Vec<u32> {
        self.desk.hub.rows.iter().map(|(slot, _)| slot as u32).collect()
    }

    /// Counts an end for the report, where there is one to be made.
    pub(super) fn count_end(&mut self, slot: u32, reason: &CloseReason) {
        self.desk.hub.counters.count_end(reason);
        if self.shutdown.is_running() {
            return;
        }
        if reason.is_clean() {
            self.report.finished += 1;
        } else {
            self.report.aborted += 1;
        }
        let extras = self.desk.hub.row(slot).extras.as_ref();
        self.report.undelivered_bytes += extras.map_or(0, |extras| extras.undelivered as u64);
    }

    /// The shutdown has come to its end once nobody is left, and nobody can come any more.
    pub(super) fn note_stopped(&mut self) {
        if !self.is_ending() || !self.desk.hub.rows.is_empty() {
            return;
        }
        if let Stage::WindingDown { grace, .. } = self.shutdown {
            self.take_last_arrivals(); // they are served like all before them
            if !self.desk.hub.rows.is_empty() {
                return;
            }
            self.begin_shutdown(self.desk.hub.now + grace);
        }
        self.take_last_arrivals();
        if self.desk.hub.rows.is_empty() {
            self.remove_endpoints();
            log::info!("stopped: {}", self.report);
            self.shutdown = Stage::Stopped;
            self.desk.is_closing = false;
        }
    }
}
