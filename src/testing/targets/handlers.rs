//! Targets for the handlers that are ready-made, and for one behind a codec: whatever can be asked
//! of every handler, and that they write what they should.

use std::time::Duration;

use crate::codec::{Ending, Lines, Netstrings};
use crate::handler::{Context, FrameHandler, Framed};
use crate::hub::reason::Fault;
use crate::protocols::{Echo, LineEcho};
use crate::testing::HandlerChecks;
use crate::testing::naive::{self, LinesEnd};

/// [`Echo`]: all that came is written, and nothing else. The bytes are those of [`HandlerChecks`].
pub fn handler_echo(data: &[u8]) {
    let outcome = checks().run(|| Echo, data);
    assert_eq!((&*outcome.written, &*outcome.close_reason), (data, "closed"));
}

/// [`LineEcho`]: the lines that a simple version finds are written, up to the first that is too
/// long. The bytes are those of [`HandlerChecks`].
pub fn handler_lines(data: &[u8]) {
    let lines = || Lines::new(Ending::Any).with_limit(LINE_BYTES_MAX);
    let outcome = checks().run(|| Framed::new(lines(), LineEcho), data);
    let (frames, end) = naive::lines(Ending::Any, false, LINE_BYTES_MAX, data);
    let good_bytes = frames.last().map_or(0, |(end, _)| *end);
    assert_eq!(outcome.written, data[..good_bytes]);
    assert_eq!(outcome.close_reason == "closed", end == LinesEnd::Clean, "{outcome:?}");
}

/// [`Framed`] over [`Netstrings`], with a handler that does all that a context offers: it pauses,
/// sets timers, closes. The bytes are those of [`HandlerChecks`].
pub fn handler_framed(data: &[u8]) {
    let netstrings = || Netstrings::new().with_limit(FRAME_BYTES_MAX);
    checks().run(|| Framed::new(netstrings(), Busy::default()), data);
}

fn checks() -> HandlerChecks {
    HandlerChecks::default().messages(|_| ()).output_max(|input_bytes| 2 * input_bytes + 10)
}

/// Answers each payload with itself and `;`: at once; or, where it starts with a digit, so
/// many milliseconds later, and takes nothing else until then. After an empty one it closes; after
/// `-` it ends its own direction, and listens on.
#[derive(Default)]
struct Busy {
    waiting: Option<Vec<u8>>,
}

impl Busy {
    fn answer_waiting(&mut self, cx: &mut Context<'_>) {
        if let Some(payload) = self.waiting.take() {
            Busy::answer(cx, &payload);
        }
    }

    fn answer(cx: &mut Context<'_>, payload: &[u8]) {
        cx.write(payload);
        cx.write(b";");
    }
}

impl FrameHandler<Netstrings> for Busy {
    fn on_frame(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Result<(), Fault> {
        // A shutdown shows what was read already, even to one that pauses.
        self.answer_waiting(cx);
        match payload.first() {
            None => cx.close(),
            Some(b'-') => cx.finish(),
            Some(b'?') => return Err(Fault::new("a question")),
            Some(digit @ b'0'..=b'9') => {
                let millis = u64::from(digit - b'0');
                self.waiting = Some(payload.to_vec());
                cx.pause();
                assert!(cx.set_timer(1, Duration::from_millis(millis)));
            }
            Some(_) => Busy::answer(cx, payload),
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: u32) -> Result<(), Fault> {
        self.answer_waiting(cx);
        cx.resume();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, (): ()) -> Result<(), Fault> {
        cx.write(b"m");
        Ok(())
    }
}

/// Small, so that they are met.
const LINE_BYTES_MAX: usize = 40;
const FRAME_BYTES_MAX: usize = 40;
