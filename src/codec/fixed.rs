//! Frames of one length.

use std::convert::Infallible;
use std::{error, fmt};

use super::{Decoder, Encoder};

/// The codec of frames that all have `N` bytes, which is their limit, too.
///
/// ```
/// use tidemill::codec::{Decoder, FixedError, FixedLength};
///
/// let mut points = FixedLength::<4>::new();
/// let (&[x_high, x_low, y @ ..], taken) = points.decode(b"\0\x01\0\x02\0")?.unwrap();
/// assert_eq!(u16::from_be_bytes([x_high, x_low]), 1);
/// assert_eq!(u16::from_be_bytes(y), 2);
/// assert_eq!(taken, 4);
/// assert_eq!(points.decode(b"\0")?, None);
/// assert_eq!(points.needs(), 3);
/// # Ok::<(), FixedError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FixedLength<const N: usize> {
    /// How much had come of the waiting frame, when `decode` was last called.
    received_bytes: usize,
    /// Where in the stream the waiting frame starts.
    offset: u64,
}

impl<const N: usize> FixedLength<N> {
    /// A codec at the start of a stream. That `N` is not zero is checked when it is compiled.
    pub fn new() -> FixedLength<N> {
        const { assert!(N > 0, "a frame has at least one byte") };
        FixedLength { received_bytes: 0, offset: 0 }
    }
}

impl<const N: usize> Decoder for FixedLength<N> {
    type Frame<'a> = &'a [u8; N];
    type Error = FixedError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8; N], usize)>, FixedError> {
        let Some(frame) = input.first_chunk() else {
            self.received_bytes = input.len();
            return Ok(None);
        };
        self.offset += N as u64;
        Ok(Some((frame, N)))
    }

    #[inline]
    fn needs(&self) -> usize {
        N - self.received_bytes
    }

    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8; N]>, FixedError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let (offset, received_bytes) = (self.offset, rest.len());
        Err(FixedError { offset, frame_bytes: N, received_bytes })
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        N
    }
}

/// Appends the bytes as they are.
impl<const N: usize> Encoder for FixedLength<N> {
    type Item<'a> = &'a [u8; N];
    type Error = Infallible;

    #[inline]
    fn encode(&mut self, frame: &[u8; N], out: &mut Vec<u8>) -> Result<(), Infallible> {
        out.extend_from_slice(frame);
        Ok(())
    }
}

/// The stream ended within a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FixedError {
    /// Where in the stream the frame starts.
    pub offset: u64,
    /// How long a frame is.
    pub frame_bytes: usize,
    /// How much of it came.
    pub received_bytes: usize,
}

impl fmt::Display for FixedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FixedError { offset, frame_bytes, received_bytes } = self;
        write!(
            f,
            "stream ended within the frame at its byte {offset}, \
             after {received_bytes} of {frame_bytes} bytes"
        )
    }
}

impl error::Error for FixedError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::codec::tests::assert_reads;
    use crate::testing::Reading;

    /// Random bytes of every length up to a few frames, against what `chunks` of the standard
    /// library says.
    fn assert_reads_as_chunks<const N: usize>() {
        for len in 0..=4 * N {
            let input = Rng::new(len as u64).bytes(len);
            let frames: Vec<&[u8]> = input.chunks_exact(N).collect();
            let received_bytes = len % N;
            let offset = (len - received_bytes) as u64;
            let error = FixedError { offset, frame_bytes: N, received_bytes };
            let expected = Reading {
                frames: (1..)
                    .map(|count| count * N)
                    .zip(frames.iter().map(|f| f.to_vec()))
                    .collect(),
                end: if received_bytes == 0 { Ok(()) } else { Err(error) },
            };
            let own = |frame: &[u8; N]| frame.to_vec();
            assert_reads(FixedLength::<N>::new, &input, &expected, own, "random input");

            let mut out = Vec::new();
            for frame in frames {
                FixedLength::<N>::new().encode(frame.try_into().unwrap(), &mut out).unwrap();
            }
            assert_eq!(out, input[..offset as usize]);
            assert_eq!(FixedLength::<N>::new().max_bytes(), N);
        }
    }

    #[test]
    fn frames_are_chunks_however_the_stream_was_cut() {
        assert_reads_as_chunks::<1>();
        assert_reads_as_chunks::<2>();
        assert_reads_as_chunks::<7>();
        assert_reads_as_chunks::<16>();
    }

    #[test]
    fn what_a_frame_needs_is_known_to_the_byte() {
        let mut codec = FixedLength::<4>::new();
        assert_eq!(codec.needs(), 4);
        assert_eq!(codec.decode(b"abcdefg"), Ok(Some((b"abcd", 4))));
        assert_eq!(codec.decode(b"efg"), Ok(None));
        assert_eq!(codec.needs(), 1);
        let error = codec.decode_eof(b"efg").unwrap_err().to_string();
        assert_eq!(error, "stream ended within the frame at its byte 4, after 3 of 4 bytes");
    }
}
