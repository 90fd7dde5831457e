//! The codec without frames: whatever has come is one.

use std::convert::Infallible;

use super::{Decoder, Encoder};

/// Every input that is not empty is a frame; nothing is kept, nothing is refused.
///
/// For handlers that treat a stream as a stream, such as an echo or a proxy, and for protocols
/// that keep their own state. Where one frame ends and the next begins depends on the network and
/// means nothing: this is the one codec of which only the bytes are promised, in their order.
///
/// ```
/// use tidemill::codec::{Bytes, Decoder};
///
/// assert_eq!(Bytes.decode(b"any bytes"), Ok(Some((&b"any bytes"[..], 9))));
/// assert_eq!(Bytes.decode(b""), Ok(None));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes;

impl Decoder for Bytes {
    type Frame<'a> = &'a [u8];
    type Error = Infallible;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, Infallible> {
        Ok((!input.is_empty()).then_some((input, input.len())))
    }

    /// `None`; a rest, which only a caller who has not asked `decode` can have, is a frame.
    #[inline]
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, Infallible> {
        Ok((!rest.is_empty()).then_some(rest))
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        0
    }
}

/// Appends the bytes as they are; none for an empty item.
impl Encoder for Bytes {
    type Item<'a> = &'a [u8];
    type Error = Infallible;

    #[inline]
    fn encode(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), Infallible> {
        out.extend_from_slice(item);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::testing::{pieces_at, random_cuts, read_pieces};

    #[test]
    fn every_byte_comes_out_once_and_in_order_however_it_was_cut() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let len = rng.below(200) as usize;
            let input = rng.bytes(len);
            let cuts = random_cuts(&mut rng, input.len());
            let reading = read_pieces(&mut Bytes, pieces_at(&input, &cuts), <[u8]>::to_vec);
            let joined: Vec<u8> = reading.frames.into_iter().flat_map(|(_, frame)| frame).collect();
            assert_eq!(joined, input, "seed {seed}");
            assert_eq!(reading.end, Ok(()), "seed {seed}");
        }
    }

    #[test]
    fn nothing_is_ever_left() {
        assert_eq!((Bytes.max_bytes(), Bytes.skip(), Bytes.decode(b"")), (0, 0, Ok(None)));
    }

    #[test]
    fn a_rest_that_was_never_shown_is_a_frame() {
        assert_eq!(Bytes.decode_eof(b"rest"), Ok(Some(&b"rest"[..])));
        assert_eq!(Bytes.decode_eof(b""), Ok(None));
    }

    #[test]
    fn encoding_changes_nothing() {
        let mut out = b"before ".to_vec();
        Bytes.encode(b"", &mut out).unwrap();
        Bytes.encode(b"after\0\n", &mut out).unwrap();
        assert_eq!(out, b"before after\0\n");
    }
}
