//! Consistent overhead byte stuffing: zeros delimit, and no frame holds one.

use std::{error, fmt};

use super::find::find;
use super::stuffed::{Stuffed, Stuffing};
use super::{Decoder, Encoder, Excerpt, LengthEncodeError};

/// The codec of frames without zeros between zeros, for serial lines and what is tunnelled from
/// them.
///
/// Stuart Cheshire and Mary Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on
/// Networking, 1999, section 2. A frame is a [`Stuffed`] view of a payload. Zeros without anything
/// in between, as some send them in front of a frame or while idle, are no frames and are skipped;
/// an empty payload is `01 00`.
///
/// ```
/// use tidemill::codec::{Cobs, CobsError, Decoder, Encoder};
///
/// let mut out = Vec::new();
/// Cobs::new().encode(b"a\0b", &mut out)?;
/// assert_eq!(out, b"\x02a\x02b\0");
/// let (frame, taken) = Cobs::new().decode(&out)?.unwrap();
/// assert_eq!((&*frame.to_bytes(), taken), (&b"a\0b"[..], 5));
///
/// let error = Cobs::new().decode(b"\0\0\x04ab\0").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"zero at byte 5 of the stream, within a block of the frame "\x04ab\x00""#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cobs {
    /// The most bytes of one payload.
    limit_bytes: usize,
    /// Where in the input the frame starts, behind zeros that were not yet taken.
    start: usize,
    /// Where the next block starts, or the one that has not come in full.
    block_start: usize,
    /// There is no zero from `start` up to this. `start <= block_start <= scanned`.
    scanned: usize,
    /// What the blocks in front of `block_start` stand for, the zero of the last not included.
    payload_bytes: usize,
    /// If another block follows, there is a zero in front of it.
    owes_zero: bool,
    /// Where in the stream the input starts.
    offset: u64,
}

impl Cobs {
    /// The most bytes of a payload if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 64 * 1024;

    /// A codec at the start of a stream.
    pub fn new() -> Cobs {
        Cobs {
            limit_bytes: Cobs::DEFAULT_LIMIT_BYTES,
            start: 0,
            block_start: 0,
            scanned: 0,
            payload_bytes: 0,
            owes_zero: false,
            offset: 0,
        }
    }

    /// Allows payloads of up to `limit_bytes`, as they are before they are stuffed.
    pub fn with_limit(self, limit_bytes: usize) -> Cobs {
        Cobs { limit_bytes, ..self }
    }

    /// The state between frames, once `taken` bytes are gone.
    fn restart(&mut self, taken: usize) {
        *self =
            Cobs { offset: self.offset + taken as u64, ..Cobs::new().with_limit(self.limit_bytes) };
    }

    /// Walks over the blocks in front of `end`, the first zero or the end of the input; whether
    /// `end` is where a block would start.
    #[inline]
    fn walk(&mut self, end: usize, input: &[u8]) -> Result<bool, CobsError> {
        while self.block_start < end {
            let code = usize::from(input[self.block_start]);
            let payload_bytes = self.payload_bytes + usize::from(self.owes_zero) + (code - 1);
            if payload_bytes > self.limit_bytes {
                return Err(self.too_long(input));
            }
            let block_end = self.block_start + code;
            if block_end > end {
                return Ok(false);
            }
            self.block_start = block_end;
            self.payload_bytes = payload_bytes;
            self.owes_zero = code < CODE_MAX;
        }
        Ok(true)
    }

    #[cold]
    fn too_long(&self, input: &[u8]) -> CobsError {
        CobsError::TooLong {
            offset: self.offset + self.start as u64,
            limit_bytes: self.limit_bytes,
            frame_start: Excerpt::of(&input[self.start..=self.block_start]),
        }
    }

    #[cold]
    fn cut_off(&self, zero: usize, input: &[u8]) -> CobsError {
        CobsError::CutOff {
            offset: self.offset + zero as u64,
            frame_start: Excerpt::of(&input[self.start..=zero]),
        }
    }
}

impl Default for Cobs {
    fn default() -> Cobs {
        Cobs::new()
    }
}

impl Decoder for Cobs {
    type Frame<'a> = Stuffed<'a>;
    type Error = CobsError;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Stuffed<'a>, usize)>, CobsError> {
        while self.scanned == self.start && input.get(self.start) == Some(&0) {
            self.start += 1;
            (self.block_start, self.scanned) = (self.start, self.start);
        }
        let zero = self.scanned + find(0, &input[self.scanned..]);
        self.scanned = zero;
        let is_between_blocks = self.walk(zero, input)?;
        if zero == input.len() {
            return Ok(None);
        }
        if !is_between_blocks {
            return Err(self.cut_off(zero, input));
        }
        let frame = Stuffed::new(Stuffing::Cobs, &input[self.start..zero], self.payload_bytes);
        let taken = zero + 1;
        self.restart(taken);
        Ok(Some((frame, taken)))
    }

    fn skip(&mut self) -> usize {
        let skipped = self.start;
        self.start = 0;
        self.block_start -= skipped;
        self.scanned -= skipped;
        self.offset += skipped as u64;
        skipped
    }

    /// `None` where nothing but zeros is left.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Stuffed<'a>>, CobsError> {
        match rest.iter().position(|&byte| byte != 0) {
            None => Ok(None),
            Some(start) => Err(CobsError::UnexpectedEnd {
                offset: self.offset + start as u64,
                frame_start: Excerpt::of(&rest[start..]),
            }),
        }
    }

    /// A code for each 254 bytes and one more; a code in front of fewer bytes stands for a zero,
    /// too, and costs nothing.
    fn max_bytes(&self) -> usize {
        self.limit_bytes.saturating_add(self.limit_bytes / RUN_MAX + 2)
    }
}

/// Writes a payload without its zeros, and a zero.
impl Encoder for Cobs {
    type Item<'a> = &'a [u8];
    type Error = LengthEncodeError;

    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), LengthEncodeError> {
        LengthEncodeError::check(payload, self.limit_bytes)?;
        out.reserve(payload.len() + payload.len() / RUN_MAX + 2);
        let mut rest = payload;
        loop {
            let run = find(0, &rest[..rest.len().min(RUN_MAX)]);
            let has_zero = run < RUN_MAX && run < rest.len();
            out.push(run as u8 + 1);
            out.extend_from_slice(&rest[..run]);
            rest = &rest[run + usize::from(has_zero)..];
            // Behind a zero there is another block, even an empty one: that is what says so.
            if rest.is_empty() && !has_zero {
                out.push(0);
                return Ok(());
            }
        }
    }
}

/// Why a stream of frames cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CobsError {
    /// The payload of the frame that starts at `offset` is longer than the limit.
    TooLong {
        /// Where the frame starts.
        offset: u64,
        /// The most bytes of payload allowed.
        limit_bytes: usize,
        /// The frame up to the block that is too much.
        frame_start: Excerpt,
    },
    /// A frame ends at `offset`, within a block: bytes were lost, or this is no COBS.
    CutOff {
        /// Where the zero stands.
        offset: u64,
        /// The frame up to the zero.
        frame_start: Excerpt,
    },
    /// The stream ended within the frame that starts at `offset`.
    UnexpectedEnd {
        /// Where the frame starts.
        offset: u64,
        /// How the frame starts.
        frame_start: Excerpt,
    },
}

impl fmt::Display for CobsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CobsError::TooLong { offset, limit_bytes, frame_start } => write!(
                f,
                "frame at byte {offset} of the stream is longer than {limit_bytes} bytes, \
                 it starts \"{frame_start}\""
            ),
            CobsError::CutOff { offset, frame_start } => write!(
                f,
                "zero at byte {offset} of the stream, within a block of the frame \
                 \"{frame_start}\""
            ),
            CobsError::UnexpectedEnd { offset, frame_start } => write!(
                f,
                "stream ended within the frame at its byte {offset}, it starts \"{frame_start}\""
            ),
        }
    }
}

impl error::Error for CobsError {}

/// A block of this length has no zero behind it.
const CODE_MAX: usize = 255;

/// The most bytes of payload in one block.
const RUN_MAX: usize = CODE_MAX - 1;

#[cfg(test)]
mod tests;
