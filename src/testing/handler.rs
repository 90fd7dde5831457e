//! What can be asked of every handler without knowing what it is for.

use std::fmt::Display;
use std::time::Duration;

use super::{Choices, Harness};
use crate::base::rng::Rng;
use crate::handler::StreamHandler;
use crate::hub::limits::Limits;
use crate::sim::{Manners, World};

/// All that can be asked of a handler without knowing what it is for: [`HandlerChecks`] as they
/// are by default. The one line of a fuzz target, and of a test.
///
/// ```
/// use tidemill::protocols::LineEcho;
/// use tidemill::testing;
///
/// fn fuzz(data: &[u8]) {
///     testing::handler(LineEcho::framed, data);
/// }
///
/// fuzz(b"one\r\ntwo");
/// fuzz(b"\xff\x00\n");
/// ```
///
/// # Panics
/// The handler breaks a promise.
pub fn handler<H: StreamHandler>(make: impl Fn() -> H, input: &[u8]) {
    HandlerChecks::default().messages(|_| ()).run(make, input);
}

/// What is asked of a handler, and under which circumstances; for those that need others than
/// [`handler`] has.
///
/// The input is what a peer sends, as it is, so that captures of real conversations are good
/// seeds. It is played to a new handler in a [`Harness`], and so with all that one asserts, several
/// times:
///
/// | played | what is asserted besides |
/// |---|---|
/// | in one piece; then the peer ends | it has an end, and not by the idle deadline; no more is written than [`output_max`](HandlerChecks::output_max) allows |
/// | the same again | the same is written, and the end is the same: connections share nothing |
/// | byte by byte; in pieces of many sizes; through a narrow connection that misbehaves; to a peer that reads only at the end | the same is written, and the end is the same |
/// | in one piece, and then a shutdown; to a peer that does not read and resets; with interruptions, which the last bytes choose | it has an end, and the bound of output |
///
/// Interruptions are a peer that stops reading and starts again, ends or resets the connection
/// midway, or waits for some milliseconds or minutes; a shutdown; a message. The last byte says
/// how many bytes before it choose them.
///
/// Each play has a handler of its own, so `make` must not lend them what one would find changed
/// by another: a store that connections share has to be a new one each time.
///
/// What is not asked: how much it computes (of its decoder, [`testing::decoder`](super::decoder)
/// asks that), and whether the answers are the right ones.
///
/// ```
/// use tidemill::protocols::Echo;
/// use tidemill::testing::HandlerChecks;
///
/// let outcome = HandlerChecks::default()
///     .messages(|_| ())
///     .output_max(|input_bytes| input_bytes)
///     .run(|| Echo, b"hello");
/// assert_eq!(outcome.written, b"hello"); // the part that only its author knows
/// assert_eq!(outcome.close_reason, "closed");
/// ```
#[derive(Clone, Debug)]
pub struct HandlerChecks<M: 'static = ()> {
    limits: Limits,
    compares_cuts: bool,
    may_stay: bool,
    output_max: fn(usize) -> usize,
    message: Option<fn(&mut Choices<'_>) -> M>,
}

/// What came of a handler that was shown the input in one piece, and then the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// All that it wrote.
    pub written: Vec<u8>,
    /// What its [`CloseReason`](crate::CloseReason) says.
    pub close_reason: String,
}

/// The limits are those by default, with small marks for outboxes (4 and 8 bytes), so that they
/// are met; answers must be the same however they are cut; it closes when the peer has ended;
/// up to 64 KiB may be written, and 1 KiB more for each byte of input; there are no messages.
impl<M: 'static> Default for HandlerChecks<M> {
    fn default() -> HandlerChecks<M> {
        let limits = Limits { outbox_low_bytes: 4, outbox_high_bytes: 8, ..Limits::default() };
        HandlerChecks {
            limits,
            compares_cuts: true,
            may_stay: false,
            output_max: |input_bytes| (64 + input_bytes) * 1024,
            message: None,
        }
    }
}

impl<M: 'static> HandlerChecks<M> {
    /// Under these limits.
    pub fn limits(self, limits: Limits) -> HandlerChecks<M> {
        HandlerChecks { limits, ..self }
    }

    /// Does not compare how the input is cut: for a handler that answers each read, and not what
    /// it says, or answers by chance.
    pub fn without_cuts(self) -> HandlerChecks<M> {
        HandlerChecks { compares_cuts: false, ..self }
    }

    /// Does not ask that it closes once the peer has ended its direction: for a handler that has
    /// more to tell to one who only listens, and leaves the end to [`Limits::idle`].
    pub fn may_stay(self) -> HandlerChecks<M> {
        HandlerChecks { may_stay: true, ..self }
    }

    /// The most bytes that may be written where so many have come.
    pub fn output_max(self, bytes_max: fn(usize) -> usize) -> HandlerChecks<M> {
        HandlerChecks { output_max: bytes_max, ..self }
    }

    /// Some of the interruptions are messages, made of the next bytes that choose.
    pub fn messages(self, message: fn(&mut Choices<'_>) -> M) -> HandlerChecks<M> {
        HandlerChecks { message: Some(message), ..self }
    }

    /// Runs the checks.
    ///
    /// # Panics
    /// The handler breaks a promise.
    pub fn run<H: StreamHandler<M>>(&self, make: impl Fn() -> H, input: &[u8]) -> Outcome {
        let whole = Play::new(self.harness(&make, World::new(0), input), input, &[]);
        if !self.may_stay && whole.outcome.close_reason == IDLE {
            whole.fail("its peer has ended and reads, and it leaves the end to the idle deadline");
        }
        if self.compares_cuts {
            self.compare(&whole, &make, input);
        }
        self.harness(&make, World::new(0), input).bytes(input).shutdown(GRACE).end();
        self.harness(&make, narrow_world(), input).block().bytes(input).reset().end();
        let (stream, choices) = interruptions(input);
        self.interrupt(self.harness(&make, narrow_world(), input), stream, choices);
        whole.outcome
    }

    fn harness<H>(&self, make: impl Fn() -> H, world: World, input: &[u8]) -> Harness<M>
    where
        H: StreamHandler<M>,
    {
        let mut harness = Harness::in_world(make(), self.limits.clone(), world);
        harness.set_written_max((self.output_max)(input.len()));
        harness
    }

    /// However the stream is cut, the same is written.
    fn compare<H>(&self, whole: &Play<M>, make: impl Fn() -> H, input: &[u8])
    where
        H: StreamHandler<M>,
    {
        let new = || self.harness(&make, World::new(0), input);
        let mut rng = Rng::new(input.len() as u64);
        let again = Play::new(new(), input, &[]);
        if whole.outcome != again.outcome {
            whole.fail(format_args!(
                "a second connection is answered otherwise: what do they share?\n{}",
                again.harness.tail()
            ));
        }
        if input.len() <= SINGLES_MAX {
            whole.assert_same("byte by byte", &Play::new(new(), input, &[1]));
        }
        for most in [input.len() / 2 + 1, 17, 5] {
            let sizes: Vec<usize> = (0..8).map(|_| 1 + rng.below(most as u64) as usize).collect();
            whole.assert_same("in pieces", &Play::new(new(), input, &sizes));
        }

        let world = World::new(rng.below(u64::MAX));
        world.set_manners(Manners::chatty());
        world.set_capacity(1 + rng.below(40) as usize);
        let narrow = Play::new(self.harness(&make, world, input), input, &[]);
        whole.assert_same("through a narrow connection that misbehaves", &narrow);

        let mut blocked = self.harness(&make, narrow_world(), input);
        blocked.block();
        let late = Play::new(blocked, input, &[]);
        whole.assert_same("to a peer that reads only at the end", &late);
    }

    /// Plays with interruptions.
    fn interrupt(&self, mut harness: Harness<M>, mut stream: &[u8], mut choices: Choices<'_>) {
        while !choices.is_empty() && !harness.is_closed() {
            let (piece, rest) = stream.split_at(choices.below(stream.len() + 1));
            harness.bytes(piece);
            stream = rest;
            let kind = choices.byte();
            let amount = u32::from(kind >> 4);
            match kind & 15 {
                0..=2 => harness.block(),
                3..=5 => harness.unblock(),
                6 | 7 => harness.advance(Duration::from_millis(10) * amount),
                8 | 9 => harness.advance(Duration::from_secs(25) * amount),
                10 => harness.eof(),
                11 => harness.reset(),
                12 => harness.shutdown(Duration::from_secs(1) * amount),
                _ => match self.message {
                    Some(make) => harness.message(make(&mut choices)),
                    None => &mut harness,
                },
            };
        }
        harness.bytes(stream).end();
    }
}

/// A world with little room between the two: outboxes fill as soon as the peer stops reading.
fn narrow_world() -> World {
    let world = World::new(0);
    world.set_capacity(NARROW_BYTES);
    world
}

/// The stream, and what chooses its interruptions: so many bytes at its end as the last one says.
fn interruptions(input: &[u8]) -> (&[u8], Choices<'_>) {
    let Some((&last, before)) = input.split_last() else { return (input, Choices::new(&[])) };
    let count = usize::from(last) % (CHOICES_MAX + 1);
    let (stream, choices) = before.split_at(before.len().saturating_sub(count));
    (stream, Choices::new(choices))
}

/// A stream that was played to its end.
struct Play<M: 'static> {
    harness: Harness<M>,
    outcome: Outcome,
}

impl<M: 'static> Play<M> {
    /// Sends the stream in pieces of these sizes, over and over; in one where there are none.
    fn new(mut harness: Harness<M>, mut stream: &[u8], sizes: &[usize]) -> Play<M> {
        let mut sizes = sizes.iter().cycle();
        while !stream.is_empty() {
            let size = sizes.next().map_or(stream.len(), |&size| size.min(stream.len()));
            let (piece, rest) = stream.split_at(size);
            harness.bytes(piece);
            stream = rest;
        }
        let close_reason = harness.end().to_owned();
        let outcome = Outcome { written: harness.written().to_vec(), close_reason };
        Play { harness, outcome }
    }

    fn assert_same(&self, how: &str, other: &Play<M>) {
        if self.outcome != other.outcome {
            self.fail(format_args!(
                "the answers depend on how the stream is cut: {how}\n{}",
                other.harness.tail()
            ));
        }
    }

    fn fail(&self, what: impl Display) -> ! {
        panic!(
            "testing::handler: {}\nin one piece:\n{}",
            what.to_string().trim_end(),
            self.harness.tail()
        )
    }
}

/// The longest input that is played byte by byte.
const SINGLES_MAX: usize = 512;
/// The end of one who was forgotten.
const IDLE: &str = "timed out: idle";
/// Of a connection.
const NARROW_BYTES: usize = 16;
/// Of a shutdown.
const GRACE: Duration = Duration::from_secs(10);
/// So many bytes may choose interruptions.
const CHOICES_MAX: usize = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Ending, Lines};
    use crate::handler::{Context, Framed};
    use crate::hub::reason::Fault;
    use crate::protocols::{Echo, LineEcho};
    use crate::testing::random_input;

    struct Script<F>(F);

    impl<F> StreamHandler for Script<F>
    where
        F: FnMut(&mut Context<'_>, &[u8]) -> Result<usize, Fault> + 'static,
    {
        fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
            self.0(cx, input)
        }
    }

    /// Answers how many bytes came with each read.
    fn by_read() -> impl StreamHandler {
        Script(|cx: &mut Context<'_>, input: &[u8]| {
            cx.write(format!("{} ", input.len()).as_bytes());
            Ok(input.len())
        })
    }

    #[test]
    fn good_handlers_pass_with_any_bytes() {
        for seed in 0..60 {
            let data = random_input(seed);
            let data = &data[..data.len().min(300)];
            handler(|| Echo, data);
            let lines = || Lines::new(Ending::Any).with_limit(20);
            handler(|| Framed::new(lines(), LineEcho), data);
        }
    }

    #[test]
    #[should_panic(expected = "the answers depend on how the stream is cut")]
    fn answers_by_read_are_found() {
        handler(by_read, b"hello");
    }

    #[test]
    fn answers_by_read_are_allowed_where_that_is_switched_off() {
        let outcome = HandlerChecks::<()>::default().without_cuts().run(by_read, b"hello");
        assert_eq!(outcome.written, b"5 ");
    }

    #[test]
    #[should_panic(expected = "it writes more than 5 bytes")]
    fn too_much_output_is_found() {
        let twice = || {
            Script(|cx: &mut Context<'_>, input: &[u8]| {
                cx.write(&[input, input].concat());
                Ok(input.len())
            })
        };
        HandlerChecks::<()>::default().output_max(|bytes| bytes).run(twice, b"hello");
    }

    #[test]
    #[should_panic(expected = "the handler panicked: no messages")]
    fn messages_are_sent() {
        struct Deaf;
        impl StreamHandler for Deaf {
            fn on_bytes(&mut self, _: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
                Ok(input.len())
            }
            fn on_message(&mut self, _: &mut Context<'_>, (): ()) -> Result<(), Fault> {
                panic!("no messages")
            }
        }
        handler(|| Deaf, b"hello\x03\x0f\x02");
    }

    #[test]
    fn the_last_bytes_choose_the_interruptions() {
        let (stream, choices) = interruptions(b"hello\x05\x0b\x02");
        assert_eq!((stream, choices.rest()), (&b"hello"[..], &b"\x05\x0b"[..]));
        let (stream, choices) = interruptions(b"hi\x1f");
        assert_eq!((stream, choices.rest()), (&b""[..], &b"hi"[..]));
        assert_eq!(interruptions(b"").0, b"");
    }
}
