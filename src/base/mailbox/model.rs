//! A queue that does what a mailbox does for one thread, for the mailbox's tests and for fuzzers.

use super::{Mailbox, Posted, Refused};

/// A mailbox and its model, to which the same is done.
pub(crate) struct Twins {
    mailbox: Mailbox<u64>,
    /// Those that wait.
    letters: Vec<u64>,
    /// Where a reader collects: its memory goes round.
    collected: Vec<u64>,
    capacity: usize,
    is_closed: bool,
    posted_count: u64,
}

impl Twins {
    pub(crate) fn new(capacity: usize) -> Twins {
        Twins {
            mailbox: Mailbox::new(capacity),
            letters: Vec::new(),
            collected: Vec::new(),
            capacity,
            is_closed: false,
            posted_count: 0,
        }
    }

    /// Posts, collects or closes, and asserts that both sides agree. `choose` answers a number
    /// below the one it is given.
    pub(crate) fn step(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        match choose(64) {
            0..32 => self.post(),
            32..40 => (0..choose(3000)).for_each(|_| self.post()),
            40..63 => {
                self.mailbox.collect(&mut self.collected);
                assert_eq!(self.collected, self.letters);
                self.collected.clear();
                self.letters.clear();
            }
            _ => {
                assert_eq!(self.mailbox.close(), self.letters);
                self.letters.clear();
                self.is_closed = true;
            }
        }
        self.mailbox.check();
        assert_eq!(self.mailbox.len(), self.letters.len());
        assert_eq!(self.mailbox.is_pending(), !self.letters.is_empty());
    }

    fn post(&mut self) {
        let letter = self.posted_count;
        self.posted_count += 1;
        let expected = if self.is_closed {
            Err(Refused::Closed(letter))
        } else if self.letters.len() == self.capacity {
            Err(Refused::Full(letter))
        } else if self.letters.is_empty() {
            Ok(Posted::Wake)
        } else {
            Ok(Posted::Quiet)
        };
        assert_eq!(self.mailbox.post(letter), expected);
        if expected.is_ok() {
            self.letters.push(letter);
        }
    }
}
