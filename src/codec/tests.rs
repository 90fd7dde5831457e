//! What every codec's tests share: a caller that keeps the bytes as a connection would, and the
//! oracle that a stream reads the same however it was cut.

use std::fmt::Debug;

use super::Decoder;
use crate::base::rng::Rng;

/// What came of one stream.
#[derive(Debug, PartialEq)]
pub(super) struct Reading<T, E> {
    /// Each frame and where in the stream it started.
    pub(super) frames: Vec<(usize, T)>,
    pub(super) end: Result<(), E>,
}

/// Shows the stream to `decoder` piece by piece, then its end, and keeps to the contract of
/// [`Decoder`]: what it asks of the caller is done here, what it promises is checked here.
pub(super) fn read_stream<'i, D: Decoder, T>(
    decoder: &mut D,
    pieces: impl IntoIterator<Item = &'i [u8]>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    let mut frames = Vec::new();
    let mut offset = 0;
    let mut waiting = Vec::new();
    for piece in pieces {
        waiting.extend_from_slice(piece);
        let mut start = 0;
        loop {
            let input = &waiting[start..];
            match decoder.decode(input) {
                Ok(Some((frame, taken))) => {
                    assert!((1..=input.len()).contains(&taken), "took {taken} of {}", input.len());
                    frames.push((offset, own(frame)));
                    offset += taken;
                    start += taken;
                }
                Ok(None) => break,
                Err(error) => return Reading { frames, end: Err(error) },
            }
        }
        waiting.drain(..start);
        assert!(waiting.len() <= decoder.max_bytes(), "{} bytes are kept", waiting.len());
    }
    match decoder.decode_eof(&waiting) {
        Ok(frame) => {
            frames.extend(frame.map(|frame| (offset, own(frame))));
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
    let check = |cuts: &[usize]| {
        let reading = read_stream(&mut decoder(), pieces_at(input, cuts), &own);
        assert_eq!(reading, *expected, "{note}, cut at {cuts:?}: \"{}\"", input.escape_ascii());
    };
    check(&[]);
    check(&(0..=input.len()).collect::<Vec<_>>());
    let pairs_max = 64;
    for first in 0..=input.len() {
        if input.len() > pairs_max {
            check(&[first]);
        } else {
            (first..=input.len()).for_each(|second| check(&[first, second]));
        }
    }
    let mut rng = Rng::new(input.len() as u64);
    for _ in 0..16 {
        check(&random_cuts(&mut rng, input.len()));
    }
}
