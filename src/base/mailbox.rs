//! Letters from any thread to one reactor.
//!
//! Posting locks, appends and, for the first letter of a burst only, asks the caller to wake the
//! reader. The reader takes the whole burst at once, by swapping its own empty buffer in. While
//! nothing waits, looking costs it one atomic load.
//!
//! ```text
//!  empty ──post: Wake──▶ waiting ──post: Quiet──▶ waiting
//!    ▲                      │
//!    └───────collect────────┘          close, from either: every later post is refused
//! ```
//!
//! No wake-up is lost: the letter and the mark are there before [`Posted::Wake`] is answered, so
//! a reader who looked too early to see them is yet to be woken.
//!
//! `interleavings` puts this before loom, which tries the orders that writers and a reader can
//! come in:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --lib interleavings
//! ```

#[cfg(all(test, loom))]
mod interleavings;
pub(crate) mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::PoisonError;

use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

pub(crate) struct Mailbox<T> {
    state: Mutex<State<T>>,
    /// Whether letters wait. Written only under the lock, so it may be read without.
    pending: AtomicBool,
    capacity: usize,
}

struct State<T> {
    /// At most `capacity`; none once closed.
    letters: Vec<T>,
    is_closed: bool,
}

/// What is left to do for the one who posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the reader may have to be woken"]
pub(crate) enum Posted {
    /// This is the first letter of a burst: wake the reader.
    Wake,
    /// The reader is being woken by somebody else.
    Quiet,
}

/// The letter back, because it was not posted.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Refused<T> {
    /// As many letters wait as may: try later, or drop it.
    Full(T),
    /// Nobody will read it.
    Closed(T),
}

impl<T> Mailbox<T> {
    /// A mailbox in which at most `capacity` letters wait.
    pub(crate) fn new(capacity: usize) -> Mailbox<T> {
        assert!(capacity > 0, "a mailbox without room");
        let state = State { letters: Vec::new(), is_closed: false };
        Mailbox { state: Mutex::new(state), pending: AtomicBool::new(false), capacity }
    }

    /// Leaves a letter. After [`Posted::Wake`] the caller must wake the reader.
    pub(crate) fn post(&self, letter: T) -> Result<Posted, Refused<T>> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Closed(letter));
        }
        if state.letters.len() >= self.capacity {
            return Err(Refused::Full(letter));
        }
        state.letters.push(letter);
        if state.letters.len() > 1 {
            return Ok(Posted::Quiet);
        }
        self.pending.store(true, Ordering::Release);
        Ok(Posted::Wake)
    }

    /// Whether letters wait.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Moves all letters, oldest first, to `into`, which must be empty: its memory takes the
    /// next burst. What a large burst made of it is given back here, also if nothing waits.
    pub(crate) fn collect(&self, into: &mut Vec<T>) {
        assert!(into.is_empty(), "letters of the last burst were left");
        into.shrink_to(KEPT_COUNT_MAX);
        if self.is_pending() {
            let mut state = self.lock();
            std::mem::swap(&mut state.letters, into);
            self.pending.store(false, Ordering::Release);
        }
    }

    /// Refuses every letter from now on, and answers those that nobody will collect.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.lock();
        state.is_closed = true;
        self.pending.store(false, Ordering::Release);
        std::mem::take(&mut state.letters)
    }

    /// How many letters wait.
    fn len(&self) -> usize {
        self.lock().letters.len()
    }

    /// Asserts what must be true while nobody is inside.
    fn check(&self) {
        let state = self.lock();
        assert_eq!(self.is_pending(), !state.letters.is_empty(), "the mark and the letters");
        assert!(state.letters.len() <= self.capacity, "more letters than there is room for");
        assert!(!state.is_closed || state.letters.is_empty(), "letters that nobody collects");
    }

    /// Nothing in here can panic half-way, so a poisoned state is still a good one.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many letters a buffer has room for at rest.
const KEPT_COUNT_MAX: usize = 1024;
