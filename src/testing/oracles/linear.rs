//! Bytes are not searched again and again.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::case::Case;
use super::seed;
use super::streams::{SPECIAL, Stream, part, waiting};
use crate::base::rng::Rng;
use crate::codec::Decoder;
use crate::testing::reading::{Broken, EAGER, PATIENT, Reader, Stop};

/// Asserts that a decoder that waits for the rest of a long frame does not look again, with every
/// read, at what it was already shown: its work would grow with the square of the frame, and a peer
/// who sends byte by byte would choose how much there is of it.
///
/// What is counted is bytes looked at, and that without help from the decoder. The start of a frame
/// is shown, and then what a read brings, but with one of the *old* bytes changed (to what ended a
/// frame in `input`, to part of it, to a delimiter of some protocol). Who remembers how far he has
/// searched cannot notice; if the answer is another one, that byte was looked at again. So this is
/// done for places all over a frame of some 256 bytes, and at two reads in a row. A few old bytes
/// may be looked at, as in a header with a length, or at the end, where a delimiter may have begun.
/// If at both reads it is three in four, the promise is broken.
///
/// # What it does not see
///
/// - Looking that has no consequences: a sum that is taken of all bytes and not yet compared.
/// - Work on copies, in a buffer of the decoder.
/// - Decoders that keep fewer than 64 bytes. What they can waste is small.
/// - Frames that need more of a header than `input` shows: have some good frames among the inputs.
///
/// - Everything, where panics abort the process (`panic = "abort"`).
///
/// The decoder is shown what no connection would show it, and one that looks at an old byte may be
/// so surprised that it panics. That is caught and counts as a look. To keep it quiet a panic hook
/// is put in front of the one that is installed, once, which lets pass all other panics. An
/// assertion over all old bytes is work like any other: it fails in builds that have it.
///
/// ```
/// use tidemill::codec::Delimited;
/// use tidemill::testing::linear;
///
/// linear(|| Delimited::new(b"||").with_limit(1000), b"one||two||thr");
/// ```
///
/// # Panics
/// It does look again; or the decoder answers what [`Decoder`] does not allow.
pub fn linear<D: Decoder>(make: impl Fn() -> D, input: &[u8]) {
    if cfg!(panic = "abort") {
        return;
    }
    let mut rng = Rng::new(seed(input));
    let marks = marks(make(), input, &mut rng);
    let max_bytes = make().max_bytes();
    for Stream { bytes, recipe } in waiting(input, WAIT + WAIT / 4, &mut rng) {
        let mut case = Case::new("linear", input);
        case.stream = Some((&recipe, bytes.len()));
        case.caller = PATIENT;
        let head = bytes.len() - (WAIT + WAIT / 4);
        for waiting in [WAIT, max_bytes.saturating_sub(4).min(WAIT), WAIT / 2, LEAST + 8] {
            let found = Wait::at(&make, &bytes, head + waiting);
            let Some(first) = found.unwrap_or_else(|broken| case.fail(broken)) else { continue };
            // At one read alone it may be its turn: who doubles what he waits for looks at all, too.
            let again = |wait: &Wait| wait.looks_again(&make, &bytes, &marks);
            if let Some(place) = again(&first) {
                let second = Wait::at(&make, &bytes, first.next);
                let second = second.unwrap_or_else(|broken| case.fail(broken));
                if second.is_some_and(|second| again(&second).is_some()) {
                    case.fail(format_args!(
                        "{} bytes had been shown of a frame, {} more came, and decode() looked \
                         again at three in four of the old ones or more, such as byte {place} of \
                         the stream: its work is quadratic",
                        first.shown - first.start,
                        first.next - first.shown,
                    ));
                }
            }
            break;
        }
    }
}

/// What to write over old bytes: whatever might end a frame, or spoil it.
fn marks<D: Decoder>(mut decoder: D, input: &[u8], rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut marks = Vec::new();
    let mut reader = Reader::new(&mut decoder, input, EAGER);
    // Whether the stream is good, others ask.
    let _ = reader.show(input.len(), |taken, _| {
        if marks.len() < 9 {
            let frame = &input[taken];
            let ends = [1, 2, 4].map(|bytes| frame[frame.len().saturating_sub(bytes)..].to_vec());
            marks.extend(ends);
        }
    });
    marks.extend(SPECIAL[..12].iter().map(|mark| mark.to_vec()));
    marks.extend((0..4).map(|_| part(input, rng)));
    // If it is one byte that does, it is among these.
    marks.extend((0..16).map(|high| (0..16).map(|low| high << 4 | low).collect()));
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// A decoder waits for the rest of a frame.
struct Wait {
    /// Where in the stream the frame starts.
    start: usize,
    /// So much of the stream was shown, and so much will be next.
    shown: usize,
    next: usize,
}

impl Wait {
    /// The wait when `shown` bytes were shown at once, if it is one for few more bytes.
    fn at<D: Decoder>(
        make: impl Fn() -> D,
        stream: &[u8],
        shown: usize,
    ) -> Result<Option<Wait>, Broken> {
        let mut decoder = make();
        let mut reader = Reader::new(&mut decoder, stream, PATIENT);
        match reader.show(shown, |_, _| ()) {
            Ok(()) => {}
            Err(Stop::Refused(_)) => return Ok(None),
            Err(Stop::Broken(broken)) => return Err(broken),
        }
        let (start, kept, missing) = (reader.start, reader.kept(), reader.missing());
        let next = shown.saturating_add(missing);
        let is_long = kept >= LEAST && missing <= kept / 16 && next <= stream.len();
        Ok(is_long.then_some(Wait { start, shown, next }))
    }

    /// Whether the decoder looks again at three in four of the old bytes or more; at which, say.
    fn looks_again<D: Decoder>(
        &self,
        make: impl Fn() -> D,
        stream: &[u8],
        marks: &[Vec<u8>],
    ) -> Option<usize> {
        let usual = self.answer(make(), stream, stream)?;
        let mut altered = stream.to_vec();
        let (mut unnoticed, mut noticed) = (0, None);
        for index in 0..PLACES {
            let kept = self.shown - self.start;
            let place = self.start + (2 * index + 1) * kept / (2 * PLACES);
            let is_noticed = marks.iter().any(|mark| {
                let end = place + mark.len();
                if end > self.shown {
                    return false;
                }
                altered[place..end].copy_from_slice(mark);
                let answer = self.answer(make(), stream, &altered);
                altered[place..end].copy_from_slice(&stream[place..end]);
                answer.as_ref() != Some(&usual)
            });
            if is_noticed {
                noticed = Some(place);
            } else {
                unnoticed += 1;
            }
            if unnoticed > PLACES / 4 {
                return None;
            }
        }
        noticed
    }

    /// What a decoder says to the next read if the stream is another one since; `None` if it waits
    /// no longer, or panics. What is compared is how it waits: what it needs and skips.
    fn answer<D: Decoder>(
        &self,
        mut decoder: D,
        stream: &[u8],
        altered: &[u8],
    ) -> Option<(usize, usize)> {
        let mut reader = Reader::new(&mut decoder, stream, PATIENT);
        reader.show(self.shown, |_, _| ()).ok()?;
        quietly(|| {
            let answer = decoder.decode(&altered[self.start..self.next]);
            matches!(answer, Ok(None)).then(|| (decoder.needs(), decoder.skip()))
        })
        .flatten()
    }
}

thread_local! {
    /// A panic of this thread is expected.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What `run` answers; `None` if it panics, of which no hook is told. (The one of a fuzzer would
/// end the process.)
fn quietly<R>(run: impl FnOnce() -> R) -> Option<R> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                loud(info);
            }
        }));
    });
    IS_QUIET.set(true);
    let answer = panic::catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(false);
    answer.ok()
}

/// So many bytes of a frame have come, if its limit allows.
const WAIT: usize = 256;

/// A shorter wait tells nothing: that much may be header.
const LEAST: usize = 64;

/// So many old bytes are changed, one after the other.
const PLACES: usize = 16;
