//! What every codec's tests share: a caller that keeps the bytes as a connection would, and the
//! oracle that a stream reads the same however it was cut.

use std::fmt::Debug;

use super::Decoder;
use crate::base::rng::Rng;

/// What came of one stream.
#[derive(Debug, PartialEq)]
pub(super) struct Reading<T, E> {
    /// Each frame and where in the stream it ended. (Where it started is not certain: what belongs
    /// to no frame may be taken with the next one.)
    pub(super) frames: Vec<(usize, T)>,
    pub(super) end: Result<(), E>,
}

/// What a caller may do or leave.
#[derive(Clone, Copy, Debug)]
struct Caller {
    /// Does not call before as many bytes have come as [`Decoder::needs`] said.
    is_patient: bool,
    /// Takes what [`Decoder::skip`] says; one who doesn't keeps more than he has to.
    skips: bool,
}

const EAGER: Caller = Caller { is_patient: false, skips: true };
const PATIENT: Caller = Caller { is_patient: true, skips: true };
const HOARDER: Caller = Caller { is_patient: false, skips: false };

/// Shows the stream to `decoder` piece by piece, then its end, and keeps to the contract of
/// [`Decoder`]: what it asks of the caller is done here, what it promises is checked here.
pub(super) fn read_stream<'i, D: Decoder, T>(
    decoder: &mut D,
    pieces: impl IntoIterator<Item = &'i [u8]>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    read_stream_as(EAGER, decoder, pieces, own)
}

fn read_stream_as<'i, D: Decoder, T>(
    caller: Caller,
    decoder: &mut D,
    pieces: impl IntoIterator<Item = &'i [u8]>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    let mut frames = Vec::new();
    let mut offset = 0;
    let mut waiting = Vec::new();
    let mut wanted = 0;
    for piece in pieces {
        waiting.extend_from_slice(piece);
        if caller.is_patient && waiting.len() < wanted {
            continue;
        }
        let mut start = 0;
        loop {
            let input = &waiting[start..];
            let answer = decoder.decode(input);
            let is_early = input.len() < wanted;
            assert!(!is_early || matches!(answer, Ok(None)), "{} of {wanted}", input.len());
            match answer {
                Ok(Some((frame, taken))) => {
                    assert!((1..=input.len()).contains(&taken), "took {taken} of {}", input.len());
                    start += taken;
                    offset += taken;
                    frames.push((offset, own(frame)));
                    wanted = 0;
                }
                Ok(None) => {
                    assert!(decoder.needs() > 0, "the answer for these bytes is known");
                    wanted = wanted.max(input.len().saturating_add(decoder.needs()));
                    if caller.skips {
                        let skipped = decoder.skip();
                        assert!(skipped <= input.len(), "skips {skipped} of {}", input.len());
                        start += skipped;
                        offset += skipped;
                        wanted -= skipped;
                    }
                    break;
                }
                Err(error) => return Reading { frames, end: Err(error) },
            }
        }
        waiting.drain(..start);
        if caller.skips {
            assert!(waiting.len() <= decoder.max_bytes(), "{} bytes are kept", waiting.len());
        }
    }
    match decoder.decode_eof(&waiting) {
        Ok(frame) => {
            frames.extend(frame.map(|frame| (offset + waiting.len(), own(frame))));
            Reading { frames, end: Ok(()) }
        }
        Err(error) => Reading { frames, end: Err(error) },
    }
}

/// `input` cut before each index of `cuts`, which ascend and may repeat.
pub(super) fn pieces_at<'i>(input: &'i [u8], cuts: &[usize]) -> Vec<&'i [u8]> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([input.len()]);
    starts.zip(ends).map(|(start, end)| &input[start..end]).collect()
}

/// Up to eight places to cut `len` bytes at.
pub(super) fn random_cuts(rng: &mut Rng, len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> =
        (0..rng.below(9)).map(|_| rng.below(len as u64 + 1) as usize).collect();
    cuts.sort_unstable();
    cuts
}

/// Asserts that `input` reads as `expected` in one piece, byte by byte, with every pair of cuts
/// (every single one, if it is long), and with random ones. `note` says where the input is from.
pub(super) fn assert_reads<D: Decoder<Error: PartialEq>, T: Debug + PartialEq>(
    decoder: impl Fn() -> D,
    input: &[u8],
    expected: &Reading<T, D::Error>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
    note: &str,
) {
    let check = |callers: &[Caller], cuts: &[usize]| {
        for &caller in callers {
            let pieces = pieces_at(input, cuts);
            let reading = read_stream_as(caller, &mut decoder(), pieces, &own);
            let shown = input.escape_ascii();
            assert_eq!(reading, *expected, "{note}, {caller:?}, cut at {cuts:?}: \"{shown}\"");
        }
    };
    let all = [EAGER, PATIENT, HOARDER];
    check(&all, &[]);
    check(&all, &(0..=input.len()).collect::<Vec<_>>());
    let pairs_max = 64;
    for first in 0..=input.len() {
        if input.len() > pairs_max {
            check(&[EAGER], &[first]);
        } else {
            (first..=input.len()).for_each(|second| check(&[EAGER], &[first, second]));
        }
    }
    let mut rng = Rng::new(input.len() as u64);
    for _ in 0..8 {
        check(&all, &random_cuts(&mut rng, input.len()));
    }
}
