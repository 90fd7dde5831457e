//! A number that one thread changes and any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count of one writer's. Adding is a plain load and store, which on x86-64 become the same
/// single instruction as for a number that nobody shares; with a second writer, counts would be
/// lost.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
