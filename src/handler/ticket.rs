//! What becomes of a broadcast to several reactors.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::hub::groups::{Broadcast, Receipt};

/// A broadcast on its way to the reactors.
pub(crate) struct Posting {
    pub(crate) broadcast: Broadcast,
    pub(crate) ticket: Ticket,
}

/// What becomes of a broadcast to all reactors, once each has sent it on.
#[derive(Clone, Debug)]
pub struct Ticket(Arc<(Mutex<Tally>, Condvar)>);

#[derive(Debug)]
struct Tally {
    missing: usize,
    receipt: Receipt,
}

impl Ticket {
    pub(super) fn new(reactors: usize) -> Ticket {
        let tally = Tally { missing: reactors, receipt: Receipt::default() };
        Ticket(Arc::new((Mutex::new(tally), Condvar::new())))
    }

    pub(crate) fn add(&self, part: Receipt) {
        let mut tally = self.lock();
        tally.missing -= 1;
        tally.receipt.sent += part.sent;
        tally.receipt.skipped += part.skipped;
        tally.receipt.closed += part.closed;
        if tally.missing == 0 {
            self.0.1.notify_all();
        }
    }

    /// The receipt, once all reactors have answered.
    pub fn receipt(&self) -> Option<Receipt> {
        let tally = self.lock();
        (tally.missing == 0).then_some(tally.receipt)
    }

    /// Waits for the receipt, not longer than this. Not for handlers: they must not block, and
    /// their own reactor answers only after they have returned.
    pub fn wait(&self, at_most: Duration) -> Option<Receipt> {
        let waited = self.0.1.wait_timeout_while(self.lock(), at_most, |tally| tally.missing > 0);
        let (tally, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (tally.missing == 0).then_some(tally.receipt)
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
