//! A caller of decoders that keeps the bytes as a connection would, and the oracle that holds for
//! every codec: a stream reads the same however it was cut.

use std::fmt::Debug;

use crate::codec::Decoder;

/// What came of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading<T, E> {
    /// Each frame, and where in the stream it ended.
    pub frames: Vec<(usize, T)>,
    /// The error that ended it, if one did.
    pub end: Result<(), E>,
}

/// Shows a stream to `decoder` piece by piece, then its end, as [`Decoder`] demands; what the
/// decoder promises in turn is asserted. `own` makes a value of a frame that is lent.
///
/// ```
/// use tidemill::codec::{Ending, Lines};
/// use tidemill::testing::read_pieces;
///
/// let pieces = [&b"one\nt"[..], b"wo\nth"];
/// let reading = read_pieces(&mut Lines::new(Ending::Lf), pieces, |line| line.text().to_vec());
/// assert_eq!(reading.frames, [(4, b"one".to_vec()), (8, b"two".to_vec()), (10, b"th".to_vec())]);
/// assert_eq!(reading.end, Ok(()));
/// ```
///
/// # Panics
/// The decoder takes nothing or too much, keeps more than [`Decoder::max_bytes`], or answers
/// before it has what it [needs](Decoder::needs).
pub fn read_pieces<'i, D: Decoder, T>(
    decoder: &mut D,
    pieces: impl IntoIterator<Item = &'i [u8]>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    let mut frames = Vec::new();
    let mut waiting: Vec<u8> = Vec::new();
    // Where in the stream `waiting` starts, and with fewer bytes of which nothing can be decoded.
    let (mut offset, mut wanted) = (0, 0);
    for piece in pieces {
        waiting.extend_from_slice(piece);
        let mut start = 0;
        loop {
            let input = &waiting[start..];
            let answer = match decoder.decode(input) {
                Ok(answer) => answer,
                Err(error) => return Reading { frames, end: Err(error) },
            };
            let Some((frame, taken)) = answer else {
                assert!(decoder.needs() > 0, "the answer for these bytes is known");
                wanted = wanted.max(input.len().saturating_add(decoder.needs()));
                let skipped = decoder.skip();
                assert!(skipped <= input.len(), "it skips {skipped} of {}", input.len());
                start += skipped;
                wanted -= skipped;
                break;
            };
            assert!((1..=input.len()).contains(&taken), "it took {taken} of {}", input.len());
            assert!(input.len() >= wanted, "it answers for {} of {wanted}", input.len());
            start += taken;
            wanted = 0;
            frames.push((offset + start, own(frame)));
        }
        waiting.drain(..start);
        offset += start;
        assert!(waiting.len() <= decoder.max_bytes(), "{} bytes are kept", waiting.len());
    }
    let end = decoder.decode_eof(&waiting).map(|last| {
        frames.extend(last.map(|frame| (offset + waiting.len(), own(frame))));
    });
    Reading { frames, end }
}

/// Asserts that `input` reads the same in one piece, byte by byte, and cut before each index of
/// `cuts`, and answers with what was read. `make` makes a decoder at the start of a stream.
///
/// ```
/// use tidemill::codec::FixedLength;
/// use tidemill::testing::assert_cuts_do_not_matter;
///
/// let make = FixedLength::<2>::new;
/// let reading = assert_cuts_do_not_matter(make, b"abcd", [1, 3], |frame| *frame);
/// assert_eq!(reading.frames, [(2, *b"ab"), (4, *b"cd")]);
/// ```
///
/// # Panics
/// It does not, or the decoder breaks another promise; see [`read_pieces`].
pub fn assert_cuts_do_not_matter<D, T>(
    make: impl Fn() -> D,
    input: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error>
where
    D: Decoder<Error: PartialEq>,
    T: PartialEq + Debug,
{
    let whole = read_pieces(&mut make(), [input], &own);
    let bytes = read_pieces(&mut make(), input.chunks(1), &own);
    assert_eq!(bytes, whole, "byte by byte and in one piece");
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
    cuts.sort_unstable();
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([input.len()]);
    let pieces = starts.zip(ends).map(|(start, end)| &input[start..end]);
    let cut = read_pieces(&mut make(), pieces, &own);
    assert_eq!(cut, whole, "cut at {cuts:?} and in one piece");
    whole
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Wrong on purpose: a frame is whatever a read happened to bring, without its first byte.
    struct ByReads;

    impl Decoder for ByReads {
        type Frame<'a> = &'a [u8];
        type Error = Infallible;

        fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, Infallible> {
            Ok(input.split_first().map(|(_, frame)| (frame, input.len())))
        }

        fn decode_eof<'a>(&mut self, _: &'a [u8]) -> Result<Option<&'a [u8]>, Infallible> {
            Ok(None)
        }

        fn max_bytes(&self) -> usize {
            0
        }
    }

    #[test]
    #[should_panic(expected = "byte by byte and in one piece")]
    fn a_decoder_that_depends_on_cuts_is_found_out() {
        assert_cuts_do_not_matter(|| ByReads, b"abc", [], <[u8]>::to_vec);
    }
}
