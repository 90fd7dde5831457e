//! Memory has a limit, whatever comes.

use super::case::Case;
use super::seed;
use super::streams::{Stream, at_limit};
use crate::base::rng::Rng;
use crate::codec::Decoder;
use crate::testing::reading::{Broken, EAGER, Reader, Stop};

/// Asserts that nothing makes a decoder keep more than [`max_bytes`](Decoder::max_bytes) promises:
/// neither `input`, byte by byte, nor streams that are made of it (a frame that goes on and on, one
/// that announces a length near the limit, one that ends there).
///
/// What is kept is what the caller has to keep: bytes that a frame or [`skip`](Decoder::skip) did
/// not take. A decoder with memory of its own says in `held` how many bytes that is now, by the
/// capacity of its buffers, say; `|_| 0` if it has none. That may be twice the limit, since buffers
/// grow by doubling, and 4 KiB more.
///
/// A limit of more than 2 MiB is not reached; make the decoder with a small one. That a limit is
/// *smaller* than intended is not seen, since it is not known what was intended.
///
/// ```
/// use tidemill::codec::{Ending, Lines};
/// use tidemill::testing::bounded;
///
/// bounded(|| Lines::new(Ending::Any).with_limit(80), b"GET /\r\n", |_| 0);
/// ```
///
/// # Panics
/// More is kept, a frame is longer, the limit is none or moves; or the decoder answers what
/// [`Decoder`] does not allow.
pub fn bounded<D: Decoder>(make: impl Fn() -> D, input: &[u8], held: impl Fn(&D) -> usize) {
    let case = Case::new("bounded", input);
    let max = make().max_bytes();
    if max >= isize::MAX as usize {
        case.fail(Broken::NoLimit { max });
    }
    if let Err(broken) = feed(make(), input, 1, &held) {
        case.fail(broken);
    }
    drop(case);
    for Stream { bytes, recipe } in at_limit(input, max, &mut Rng::new(seed(input))) {
        let mut case = Case::new("bounded", input);
        case.stream = Some((&recipe, bytes.len()));
        if let Err(broken) = feed(make(), &bytes, usize::MAX, &held) {
            case.fail(broken);
        }
    }
}

/// Shows a stream in pieces of up to `piece_max` bytes, of one where the limit is near.
fn feed<D: Decoder>(
    mut decoder: D,
    stream: &[u8],
    piece_max: usize,
    held: impl Fn(&D) -> usize,
) -> Result<(), Broken> {
    let max = decoder.max_bytes();
    let held_before = held(&decoder);
    let mut reader = Reader::new(&mut decoder, stream, EAGER);
    while reader.shown < stream.len() {
        let room = max.saturating_sub(reader.kept());
        let piece = room.saturating_sub(NEAR).min(piece_max).max(1);
        let end = reader.shown.saturating_add(piece).min(stream.len());
        // Between frames may be what belongs to none and is taken with the next. Byte by byte it
        // was skipped.
        let is_exact = piece == 1 && max > 0;
        let mut longest = 0;
        match reader.show(end, |taken, _| longest = longest.max(taken.len())) {
            Ok(()) => {}
            Err(Stop::Refused(_)) => return Ok(()),
            Err(Stop::Broken(broken)) => return Err(broken),
        }
        if is_exact && longest > max {
            return Err(Broken::FrameTooLong { taken: longest, max });
        }
        let after = reader.decoder.max_bytes();
        if after != max {
            return Err(Broken::LimitMoves { before: max, after });
        }
        reader.check_kept()?;
        let allowed = held_before.saturating_add(2 * max).saturating_add(HELD_EXTRA);
        let held = held(reader.decoder);
        if held > allowed {
            return Err(Broken::HoldsTooMuch { held, max, allowed });
        }
    }
    // It must bear this, too; what it answers others compare.
    let _ = reader.decoder.decode_eof(&stream[reader.start..]).is_ok();
    Ok(())
}

/// So close to the limit a stream comes byte by byte.
const NEAR: usize = 8;

/// What a decoder may hold however small its limit.
const HELD_EXTRA: usize = 4096;
