//! What may happen to a handler, a method each.

use std::time::Duration;

use super::transcript::Mark;
use super::{Eof, Harness};

/// Steps. Each is done with when it returns, and answers the harness for the next one.
impl<M: 'static> Harness<M> {
    /// The peer sends bytes. What the connection cannot carry, as the handler does not want to
    /// read, follows as soon as it can.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if self.is_talking() {
            self.note_bytes(Mark::Peer, bytes);
            self.unsent.extend(bytes);
        }
        self.settle()
    }

    /// The peer ends its direction (FIN), behind all that it has to send. It goes on reading.
    pub fn eof(&mut self) -> &mut Self {
        if self.is_talking() {
            self.note(Mark::Peer, "eof");
            self.eof = Eof::Asked;
        }
        self.settle()
    }

    /// The peer resets the connection.
    pub fn reset(&mut self) -> &mut Self {
        if let Some(peer) = self.peer.take_if(|peer| !peer.was_reset()) {
            self.note(Mark::Peer, "reset");
            self.unsent.clear();
            peer.reset();
        }
        self.settle()
    }

    /// The peer stops reading, so that what the handler writes piles up: in the connection, which
    /// holds [64 KiB](crate::sim::World::set_capacity), and then in the outbox.
    pub fn block(&mut self) -> &mut Self {
        self.note(Mark::Other, "the peer stops reading");
        self.is_blocked = true;
        self.settle()
    }

    /// The peer reads again.
    pub fn unblock(&mut self) -> &mut Self {
        self.note(Mark::Other, "the peer reads");
        self.is_blocked = false;
        self.settle()
    }

    /// A message comes from another thread.
    pub fn message(&mut self, message: M) -> &mut Self {
        self.note(Mark::Other, "message");
        let id = self.notes.borrow().id.expect("it was opened first");
        let sent = self.reactor.handle().send(id, message);
        assert!(sent.is_ok(), "the mailbox is empty after every step");
        self.settle()
    }

    /// The reactor shuts down, and leaves the handler so much time to finish.
    pub fn shutdown(&mut self, grace: Duration) -> &mut Self {
        self.note(Mark::Other, format_args!("shutdown within {grace:?}"));
        self.reactor.shutdown(grace);
        self.settle()
    }

    /// Time passes. Whatever is due on the way comes at its moment, as that of the transcript says.
    pub fn advance(&mut self, span: Duration) -> &mut Self {
        let end = self.world.now() + span;
        for _ in 0..DEADLINES_MAX {
            self.settle();
            let left = end - self.world.now();
            if left.is_zero() {
                return self;
            }
            self.turn(left);
        }
        self.fail(format_args!("more than {DEADLINES_MAX} deadlines passed within {span:?}"))
    }

    /// Plays it out: the peer reads all, ends its direction, and time passes until the connection
    /// has ended, and those that the handler started. Answers the reason, as
    /// [`close_reason`](Harness::close_reason) does.
    ///
    /// ```
    /// use tidemill::{protocols::Echo, testing::Harness};
    ///
    /// let mut harness: Harness = Harness::new(Echo);
    /// assert_eq!(harness.bytes(b"hello").end(), "closed");
    /// assert_eq!(harness.written(), b"hello");
    /// ```
    ///
    /// # Panics
    /// It would last for ever, or more than a day; as with all steps.
    pub fn end(&mut self) -> &str {
        if self.is_blocked {
            self.unblock();
        }
        if self.eof == Eof::No {
            self.eof();
        }
        let start = self.world.now();
        for _ in 0..LAST_DEADLINES_MAX {
            if self.is_closed() && self.reactor.connection_count() == 0 {
                break;
            }
            match self.reactor.next_deadline() {
                Some(next) if self.world.now() + next - start <= PATIENCE => self.advance(next),
                Some(_) => self.fail("it is still open a day after the peer's end"),
                None => self.fail("the peer has ended, nothing is due, and it is still open"),
            };
        }
        if !self.is_closed() {
            self.fail(format_args!("still open when {LAST_DEADLINES_MAX} deadlines had passed"));
        }
        assert_eq!(self.reactor.buffered_bytes(), 0, "nothing is kept for nobody");
        self.close_reason.as_deref().expect("it is closed")
    }
}

/// While time passes: a second each for a day, far more than any test means to have.
const DEADLINES_MAX: usize = 100_000;
/// Behind the peer's end: likewise.
const LAST_DEADLINES_MAX: usize = 1000;
/// How long a connection may stay after its peer's end: longer than any deadline by default.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
