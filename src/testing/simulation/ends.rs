//! Why connections ended, once all have: whoever did not end well met with a mishap of its own,
//! or with somebody who did.

use super::book::{Book, Pages, Role, Row, Why};
use super::seat::LARGE_OUTBOX;
use crate::sim::Mishap;

impl Book {
    /// At the end: everybody who was opened was closed, and those that no client looks after
    /// ended for a reason. `was_tight` says of which hosts the byte budget was passed.
    pub(super) fn check_ends(&self, was_tight: &[bool]) {
        self.with(|pages| {
            for number in 0..pages.rows.len() {
                let row = pages.rows[number].clone();
                let is_over = row.id.is_none() || row.is_closed;
                pages.check(is_over, || format!("{:?} was opened and never closed", row.id));
                let is_known = pages.has_reason(&row, was_tight);
                let other = pages.far_end(&row).cloned();
                pages.check(is_known, || format!("ended for no reason: {row:?}, with {other:?}"));
            }
        });
    }
}

impl Pages {
    fn has_reason(&self, row: &Row, was_tight: &[bool]) -> bool {
        let Some(why) = row.why.filter(|_| !self.is_judged_by_its_client(row)) else { return true };
        if self.has_mishap(row) {
            return true;
        }
        match why {
            Why::Closed => !row.is_owed || row.is_told || self.is_anothers(row),
            Why::Aborted | Why::Fault => row.is_told || self.is_pairs(row),
            Why::Broken => self.is_anothers(row) || self.is_unnamed(row) || self.is_left(row),
            Why::TimedOut(deadline) => self.has_slow(row) || self.may_strike(row, deadline),
            Why::Limit => self.has_slow(row) || self.limits.outbox_max_bytes < LARGE_OUTBOX,
            Why::Overload => was_tight[self.host_of(row)],
            Why::Shutdown => true,
        }
    }

    fn is_judged_by_its_client(&self, row: &Row) -> bool {
        matches!(row.role, Role::Accepted { .. })
    }

    /// Whether chance broke it.
    fn has_mishap(&self, row: &Row) -> bool {
        row.address.as_ref().is_some_and(|address| self.world.mishap_at(address).is_some())
    }

    /// Whether the row at the other end ended badly, and not because the connection broke; or
    /// had to, as the other of its pair did.
    fn is_anothers(&self, row: &Row) -> bool {
        self.far_end(row).is_some_and(|far| {
            far.is_unclean() && far.why != Some(Why::Broken) || self.is_pairs(far)
        })
    }

    /// Whether the row at the other end was told to close, and has lingered for as long as it may,
    /// or as the shutdown lets it: then what is still sent to it meets a reset.
    fn is_left(&self, row: &Row) -> bool {
        self.far_end(row).is_some_and(|far| {
            let silent_since = far.heard.unwrap_or(far.made);
            let now = self.world.now();
            let is_over = now.since(silent_since) >= self.limits.linger || now >= self.shutdown_due;
            far.is_told && far.is_closed && is_over
        })
    }

    /// Whether the other of a proxied pair ended badly, or was told to end.
    pub(super) fn is_pairs(&self, row: &Row) -> bool {
        let other = row.other.map(|other| &self.rows[other]);
        other.is_some_and(|other| {
            let far = self.far_end(other);
            other.is_unclean()
                || other.is_told
                || self.has_mishap(other)
                || far.is_some_and(Row::is_unclean)
        })
    }

    /// Whether the look-up of its name may have failed: it never had a socket then.
    fn is_unnamed(&self, row: &Row) -> bool {
        row.address.is_none() && self.world.dealt(Mishap::LookUpFails) > 0
    }

    /// Whether it, or somebody behind it, is slow.
    fn has_slow(&self, row: &Row) -> bool {
        let behind = |row: &Row| row.other.is_some_and(|other| self.rows[other].is_slow);
        row.is_slow || behind(row) || self.far_end(row).is_some_and(behind)
    }

    fn far_end(&self, row: &Row) -> Option<&Row> {
        let address = row.address.as_ref()?;
        match row.role {
            Role::Outgoing => self.far_row(address),
            Role::Far => self.near_row(address),
            Role::Accepted { .. } => None,
        }
    }
}
