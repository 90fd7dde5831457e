//! One handler, without sockets and threads: what its peer does is a step of the test, and so is
//! time.

mod spy;
mod steps;
#[cfg(test)]
mod tests;
mod transcript;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use self::spy::{Notes, Once};
use self::transcript::{Mark, Transcript};
use crate::base::address::Address;
use crate::handler::StreamHandler;
use crate::hub::limits::Limits;
use crate::reactor::{Reactor, Turn};
use crate::sim::{Node, Peer, World};

/// Drives one [`StreamHandler`] by a sequence of steps, and shows what it answered.
///
/// Nothing is mocked: the handler is served by the very [`Reactor`] that serves sockets, in a
/// [simulated world](crate::sim) with one peer. After each step the reactor turns until there is
/// nothing left to do at that moment. Time moves by [`advance`](Harness::advance) and
/// [`end`](Harness::end) alone, so a deadline of five minutes costs nothing, and the same steps
/// always come to the same end.
///
/// ```
/// use std::time::Duration;
/// use tidemill::protocols::LineEcho;
/// use tidemill::testing::Harness;
///
/// let mut harness: Harness = Harness::new(LineEcho::framed());
/// harness.bytes(b"one\r\nhal").advance(Duration::from_secs(2)).bytes(b"f\n");
/// assert_eq!(harness.written(), b"one\r\nhalf\n");
///
/// harness.advance(Duration::from_secs(300)).eof();
/// assert_eq!(harness.close_reason(), Some("timed out: idle"));
/// harness.assert_transcript(
///     r#"
///   0.000 > "one\r\n"
///   0.000 > "hal"
///   0.000 < "one\r\n"
///   2.000 > "f\n"
///   2.000 < "half\n"
/// 302.000 < eof
/// 302.000 > eof
/// 302.000 = timed out: idle
/// "#,
/// );
/// ```
///
/// # What is asserted
///
/// While it runs, everything that passes between reactor and handler is watched:
///
/// - what [handlers are promised](StreamHandler): `on_open` first and `on_close` last, once each;
///   no callback within another; input in order, with nothing lost or shown twice, only while it
///   is wanted and never after a close; a rest with more behind it; one id; time that stands still
///   within a turn;
/// - what handlers promise: to take no more than they were shown, not to panic, and to come to rest;
///   and, where the test ends with [`end`](Harness::end), to have an end.
///
/// All steps panic where one of these is broken, with the transcript so far.
pub struct Harness<M: 'static = ()> {
    world: World,
    reactor: Reactor<M, Node>,
    /// None once it has reset the connection.
    peer: Option<Peer>,
    notes: Rc<RefCell<Notes>>,
    /// What the connection could not carry yet; sent before anything else.
    unsent: VecDeque<u8>,
    eof: Eof,
    is_blocked: bool,
    written: Vec<u8>,
    /// So much of `written` is in the transcript, and so much was taken.
    shown_bytes: usize,
    taken_bytes: usize,
    written_max: usize,
    has_ended: bool,
    /// Some once the end is in the transcript.
    close_reason: Option<String>,
    transcript: Transcript,
}

/// How far the peer's end has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eof {
    No,
    /// It waits behind what is unsent.
    Asked,
    Sent,
}

/// Setting it up.
impl<M: 'static> Harness<M> {
    /// A handler that has just been connected to, and told so, under the default [`Limits`].
    pub fn new(handler: impl StreamHandler<M>) -> Harness<M> {
        Harness::with_limits(handler, Limits::default())
    }

    /// The same under limits of its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidemill::{Limits, protocols::Echo, testing::Harness};
    ///
    /// let limits = Limits { first_byte: Duration::from_secs(3), ..Limits::default() };
    /// let mut harness: Harness = Harness::with_limits(Echo, limits);
    /// harness.advance(Duration::from_secs(3));
    /// assert_eq!(harness.transcript(), "3.000 < eof\n"); // nothing was said, and our end is sent
    /// ```
    ///
    /// # Panics
    /// [`Limits::check`] complains.
    pub fn with_limits(handler: impl StreamHandler<M>, limits: Limits) -> Harness<M> {
        Harness::in_world(handler, limits, World::new(0))
    }

    /// The same in a world of one's own: with a small [capacity](World::set_capacity) of the
    /// connection, bad [manners](World::set_manners), or others in it, whom the handler may
    /// connect to.
    ///
    /// ```
    /// use tidemill::{Limits, protocols::Echo, sim::World, testing::Harness};
    ///
    /// let world = World::new(1);
    /// world.set_capacity(4);
    /// let mut harness: Harness = Harness::in_world(Echo, Limits::default(), world);
    /// harness.bytes(b"in small pieces");
    /// assert_eq!(harness.written(), b"in small pieces");
    /// ```
    ///
    /// # Panics
    /// [`Limits::check`] complains, or somebody listens at 10.0.0.1:7 in that world.
    pub fn in_world(handler: impl StreamHandler<M>, limits: Limits, world: World) -> Harness<M> {
        let mut reactor = Reactor::with_platform(world.node(), limits)
            .unwrap_or_else(|wrong| panic!("testing::Harness: {wrong}"));
        let notes = Rc::new(RefCell::new(Notes::default()));
        let service = Once::new(handler, notes.clone());
        let at = Address::Inet(([10, 0, 0, 1], 7).into());
        reactor.listen(&at, service).unwrap_or_else(|error| panic!("testing::Harness: {error}"));
        let peer = Some(world.connect(at));
        let mut harness = Harness {
            world,
            reactor,
            peer,
            notes,
            unsent: VecDeque::new(),
            eof: Eof::No,
            is_blocked: false,
            written: Vec::new(),
            shown_bytes: 0,
            taken_bytes: 0,
            written_max: WRITTEN_MAX,
            has_ended: false,
            close_reason: None,
            transcript: Transcript::default(),
        };
        harness.settle();
        harness
    }

    /// Lets no more than so many bytes be written.
    pub(super) fn set_written_max(&mut self, bytes_max: usize) {
        self.written_max = bytes_max;
    }

    /// The end of the transcript, for a message.
    pub(super) fn tail(&self) -> String {
        self.transcript.tail()
    }
}

/// What came of it.
impl<M: 'static> Harness<M> {
    /// All that the peer has received.
    pub fn written(&self) -> &[u8] {
        &self.written
    }

    /// What the peer has received since this was last called.
    ///
    /// ```
    /// # use tidemill::{protocols::Echo, testing::Harness};
    /// let mut harness: Harness = Harness::new(Echo);
    /// assert_eq!(harness.bytes(b"one").take_written(), b"one");
    /// assert_eq!(harness.bytes(b"two").take_written(), b"two");
    /// ```
    pub fn take_written(&mut self) -> Vec<u8> {
        let new = self.written[self.taken_bytes..].to_vec();
        self.taken_bytes = self.written.len();
        new
    }

    /// Whether the peer has seen our end, a FIN or a reset. A peer that was sent a FIN is waited
    /// for ([`Limits::linger`]) until it answers with its own, [`eof`](Harness::eof).
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether the connection has ended, and [`on_close`](StreamHandler::on_close) was called.
    pub fn is_closed(&self) -> bool {
        self.close_reason.is_some()
    }

    /// Why the connection has ended: what the [`CloseReason`](crate::CloseReason) says.
    pub fn close_reason(&self) -> Option<&str> {
        self.close_reason.as_deref()
    }

    /// What has happened, as lines of text, for a test to compare with what it should have been.
    ///
    /// A line has the time in seconds, who acted, and what was done:
    ///
    /// | | who | what |
    /// |---|---|---|
    /// | `>` | the peer | bytes, escaped, a line each; `eof`; `reset` |
    /// | `<` | the handler, as the peer sees it | the same |
    /// | `!` | others | `message`, `shutdown within 1s`, `the peer stops reading` and so on |
    /// | `=` | the reactor | the reason for the end, as `on_close` was told |
    ///
    /// Of more than 120 bytes without a line feed only the start is shown.
    pub fn transcript(&self) -> String {
        self.transcript.to_string()
    }

    /// Asserts that the [`transcript`](Harness::transcript) is this one: a file by `include_str!`,
    /// or a string that may begin with an empty line. Where it is not, the panic shows it as it is,
    /// to be copied.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn assert_transcript(&self, expected: &str) {
        let (transcript, expected) = (self.transcript(), expected.trim_start_matches('\n'));
        if transcript != expected {
            let mut lines = transcript.lines().zip(expected.lines());
            let same = lines.position(|(one, other)| one != other);
            let same = same.unwrap_or(transcript.lines().count().min(expected.lines().count()));
            panic!(
                "testing::Harness: another transcript from line {}: it is\n{transcript}",
                same + 1
            );
        }
    }

    /// What every clock of its world shows: the time that has passed.
    pub fn now(&self) -> Duration {
        self.world.now() - crate::base::time::Time::ZERO
    }
}

impl<M: 'static> Harness<M> {
    /// Whether what the peer does is of any effect.
    fn is_talking(&self) -> bool {
        self.eof == Eof::No && self.peer.as_ref().is_some_and(|peer| !peer.was_reset())
    }

    /// Turns until there is nothing to do at this moment.
    fn settle(&mut self) -> &mut Self {
        let mut quiet_turns = 0;
        for _ in 0..TURNS_MAX {
            let has_sent = self.send();
            let turn = self.turn(Duration::ZERO);
            let has_received = self.receive();
            // A timer may be due at once, and again.
            let is_due = self.reactor.next_deadline() == Some(Duration::ZERO);
            let is_quiet = !has_sent && !has_received && turn.edges == 0 && !is_due;
            quiet_turns = if is_quiet { quiet_turns + 1 } else { 0 };
            if quiet_turns == 2 {
                self.note_news();
                return self; // what the first had started came to nothing
            }
        }
        self.fail(format_args!("after {TURNS_MAX} turns it has not come to rest"))
    }

    fn turn(&mut self, wait: Duration) -> Turn {
        self.notes.borrow_mut().turn += 1;
        // With debug assertions, which tests and fuzzers have, it ends with `Reactor::check`.
        let turn = self.reactor.turn(Some(wait)).expect("a simulated wait does not fail");
        let broken = self.notes.borrow_mut().broken.take();
        if let Some(broken) = broken {
            self.fail(broken);
        }
        if self.reactor.counters().panics > 0 {
            self.fail("a handler panicked while it was dropped");
        }
        turn
    }

    /// As much as the connection can carry.
    fn send(&mut self) -> bool {
        let Some(peer) = &self.peer else { return false };
        let pending = self.unsent.make_contiguous();
        let count = peer.send(pending);
        self.notes.borrow_mut().sent.extend_from_slice(&pending[..count]);
        self.unsent.drain(..count);
        if self.eof == Eof::Asked && self.unsent.is_empty() {
            self.eof = Eof::Sent;
            peer.finish();
            return true;
        }
        count > 0
    }

    fn receive(&mut self) -> bool {
        let Some(peer) = self.peer.as_ref().filter(|_| !self.is_blocked) else { return false };
        let bytes = peer.receive();
        self.written.extend_from_slice(&bytes);
        if self.written.len() > self.written_max {
            let bytes_max = self.written_max;
            self.fail(format_args!("it writes more than {bytes_max} bytes"));
        }
        !bytes.is_empty()
    }

    // The transcript.

    /// What the peer noticed since it was last looked at, and how it ended.
    fn note_news(&mut self) {
        let fresh = self.written[self.shown_bytes..].to_vec();
        self.note_bytes(Mark::Handler, &fresh);
        self.shown_bytes = self.written.len();
        if let Some(peer) = self.peer.as_ref().filter(|_| !self.has_ended) {
            let is_reset = peer.was_reset();
            if is_reset || peer.has_ended() {
                self.has_ended = true;
                self.note(Mark::Handler, if is_reset { "reset" } else { "eof" });
            }
        }
        if self.close_reason.is_none() {
            self.close_reason = self.notes.borrow().close_reason.clone();
            if let Some(reason) = self.close_reason.clone() {
                self.note(Mark::End, reason);
            }
        }
    }

    fn note(&mut self, mark: Mark, what: impl Display) {
        self.transcript.push(self.world.now(), mark, what.to_string());
    }

    fn note_bytes(&mut self, mark: Mark, bytes: &[u8]) {
        self.transcript.push_bytes(self.world.now(), mark, bytes);
    }

    fn fail(&mut self, what: impl Display) -> ! {
        self.note_news();
        panic!("testing::Harness: {what}\n{}", self.tail())
    }
}

/// In one step: far more than any test means to have, and little enough to wait for.
const TURNS_MAX: usize = 10_000;
/// To a peer that reads all.
const WRITTEN_MAX: usize = 64 * 1024 * 1024;
