//! The moment in which all reactors of a server are about to serve.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is to be done then.
pub(super) type Tell = Box<dyn FnOnce() + Send>;

/// Counts the reactors that are still being made.
pub(super) struct Ready {
    awaited: AtomicUsize,
    tell: Mutex<Vec<Tell>>,
}

impl Ready {
    /// When so many are ready, all of these are called.
    pub(super) fn new(awaited: usize, tell: Vec<Tell>) -> Ready {
        Ready { awaited: AtomicUsize::new(awaited), tell: Mutex::new(tell) }
    }

    /// One more is; the last has everybody told.
    pub(super) fn count(&self) {
        if self.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner);
            tell.drain(..).for_each(|tell| tell());
        }
    }
}
