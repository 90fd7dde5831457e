//! What clients have met with, written down by all of them.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clients::Kind;

/// The common book.
#[derive(Default)]
pub(crate) struct Book(Mutex<Page>);

/// Everything since the book was opened, or started anew.
#[derive(Clone)]
pub(crate) struct Page {
    /// By kind: lives that were lived to their end.
    lives: [u64; Kind::ALL.len()],
    /// Connections beyond one for each life.
    more_connections: u64,
    pub(crate) exchanges: u64,
    /// That came back, and were looked at.
    pub(crate) bytes: u64,
    /// Bytes that were not the right ones.
    pub(crate) wrong_bytes: u64,
    /// Clients that behaved and were not served.
    pub(crate) unserved: u64,
    /// Clients that should have been ended by a limit, and were not in time.
    pub(crate) overdue: u64,
    pub(crate) datagrams_sent: u64,
    pub(crate) datagrams_answered: u64,
    /// Of exchanges on the quiet connections, in microseconds.
    quiet: Histogram<u64>,
    /// The first things that went wrong.
    pub(crate) complaints: Vec<String>,
}

impl Default for Page {
    fn default() -> Page {
        Page {
            lives: [0; Kind::ALL.len()],
            more_connections: 0,
            exchanges: 0,
            bytes: 0,
            wrong_bytes: 0,
            unserved: 0,
            overdue: 0,
            datagrams_sent: 0,
            datagrams_answered: 0,
            quiet: Histogram::new_with_bounds(1, 600_000_000, 3).expect("sensible bounds"),
            complaints: Vec::new(),
        }
    }
}

impl Book {
    /// What is written so far.
    pub(crate) fn look(&self) -> Page {
        self.page().clone()
    }

    /// Turns the page; answers the one that was full.
    pub(crate) fn start_anew(&self) -> Page {
        mem::take(&mut self.page())
    }

    /// A client of this kind has left.
    pub(crate) fn lived(&self, kind: Kind) {
        self.page().lives[kind as usize] += 1;
    }

    pub(crate) fn connected_more(&self, count: u64) {
        self.page().more_connections += count;
    }

    /// So many bytes came back, of which so many were wrong.
    pub(crate) fn answered(&self, bytes: usize, wrong: usize) {
        let mut page = self.page();
        page.exchanges += 1;
        page.bytes += bytes as u64;
        page.wrong_bytes += wrong as u64;
    }

    pub(crate) fn datagrams(&self, sent: u64, answered: u64) {
        let mut page = self.page();
        page.datagrams_sent += sent;
        page.datagrams_answered += answered;
    }

    pub(crate) fn quiet(&self, latency: Duration) {
        self.page().quiet.saturating_record((latency.as_micros() as u64).max(1));
    }

    pub(crate) fn unserved(&self, kind: Kind, why: String) {
        let mut page = self.page();
        page.unserved += 1;
        page.complain(kind, why);
    }

    pub(crate) fn overdue(&self, kind: Kind, why: String) {
        let mut page = self.page();
        page.overdue += 1;
        page.complain(kind, why);
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn complain(&mut self, kind: Kind, why: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(format!("{}: {why}", kind.name()));
        }
    }

    pub(crate) fn connections(&self) -> u64 {
        self.lives.iter().sum::<u64>() + self.more_connections
    }

    pub(crate) fn wrong_count(&self) -> u64 {
        self.wrong_bytes + self.unserved + self.overdue
    }

    /// The latency that so many of a hundred exchanges did not exceed, in milliseconds.
    pub(crate) fn quiet_ms(&self, percent: f64) -> f64 {
        self.quiet.value_at_percentile(percent) as f64 / 1000.0
    }

    /// Each kind, with how many of it came and went.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        Kind::ALL.iter().copied().zip(self.lives)
    }
}

const COMPLAINTS_MAX: usize = 20;
