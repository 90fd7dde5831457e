//! Frames behind their length: an unsigned integer of fixed width, then so many bytes.

use std::{error, fmt};

use super::{Decoder, Encoder};

/// How many bytes the length takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// One byte: payloads of up to 255 bytes.
    One,
    /// Two bytes: payloads of up to 65,535 bytes.
    Two,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl Width {
    /// The width in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The largest length that can be written so.
    pub const fn max_length(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Which byte of the length comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The most significant one: network byte order (RFC 1700, "Data Notations").
    #[default]
    Big,
    /// The least significant one.
    Little,
}

/// The codec of payloads behind their length.
///
/// The length counts the payload alone, not itself. A payload may be empty. One longer than the
/// [`limit`](LengthPrefixed::with_limit) is refused when its length has come, before any of it is
/// waited for; nothing is ever allocated on the word of a peer.
///
/// ```
/// use tidemill::codec::{ByteOrder, Decoder, LengthError, LengthPrefixed, Width};
///
/// let mut frames = LengthPrefixed::new(Width::Two, ByteOrder::Big).with_limit(300);
/// assert_eq!(frames.decode(b"\0\x05hello\0")?, Some((&b"hello"[..], 7)));
/// assert_eq!(frames.decode(b"\0")?, None);
/// let error = frames.decode(b"\x01\x2d").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "frame at byte 7 of the stream announces 301 bytes, the limit is 300"
/// );
/// # Ok::<(), LengthError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LengthPrefixed {
    width: Width,
    order: ByteOrder,
    /// The most bytes of one payload.
    limit_bytes: usize,
    /// Where in the stream the waiting frame starts.
    offset: u64,
}

impl LengthPrefixed {
    /// The most bytes of a payload if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

    /// A codec for lengths of this form, at the start of a stream.
    pub fn new(width: Width, order: ByteOrder) -> LengthPrefixed {
        LengthPrefixed { width, order, limit_bytes: LengthPrefixed::DEFAULT_LIMIT_BYTES, offset: 0 }
    }

    /// Allows payloads of up to `limit_bytes`, the length itself not counted.
    pub fn with_limit(self, limit_bytes: usize) -> LengthPrefixed {
        LengthPrefixed { limit_bytes, ..self }
    }

    /// The length at the start of `input`, if all its bytes are there.
    #[inline]
    fn announced(&self, input: &[u8]) -> Option<u64> {
        use ByteOrder::{Big, Little};
        Some(match (self.width, self.order) {
            (Width::One, _) => u64::from(*input.first()?),
            (Width::Two, Big) => u64::from(u16::from_be_bytes(*input.first_chunk()?)),
            (Width::Two, Little) => u64::from(u16::from_le_bytes(*input.first_chunk()?)),
            (Width::Four, Big) => u64::from(u32::from_be_bytes(*input.first_chunk()?)),
            (Width::Four, Little) => u64::from(u32::from_le_bytes(*input.first_chunk()?)),
            (Width::Eight, Big) => u64::from_be_bytes(*input.first_chunk()?),
            (Width::Eight, Little) => u64::from_le_bytes(*input.first_chunk()?),
        })
    }

    #[cold]
    fn too_long(&self, announced_bytes: u64) -> LengthError {
        let (offset, limit_bytes) = (self.offset, self.limit_bytes);
        LengthError::TooLong { offset, announced_bytes, limit_bytes }
    }
}

impl Decoder for LengthPrefixed {
    type Frame<'a> = &'a [u8];
    type Error = LengthError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LengthError> {
        let Some(announced_bytes) = self.announced(input) else {
            return Ok(None);
        };
        if announced_bytes > self.limit_bytes as u64 {
            return Err(self.too_long(announced_bytes));
        }
        // At most `limit_bytes`, so it fits; and no sum of it is made before it is known to be
        // there, so none can overflow.
        let payload_bytes = announced_bytes as usize;
        let behind = &input[self.width.bytes()..];
        let Some(payload) = behind.get(..payload_bytes) else {
            return Ok(None);
        };
        let taken = self.width.bytes() + payload_bytes;
        self.offset += taken as u64;
        Ok(Some((payload, taken)))
    }

    /// `None` for an empty rest: there is no such thing as a last frame without an end.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, LengthError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let announced_bytes = self.announced(rest);
        Err(LengthError::UnexpectedEnd {
            offset: self.offset,
            announced_bytes,
            received_bytes: match announced_bytes {
                Some(_) => rest.len() - self.width.bytes(),
                None => 0,
            },
        })
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.limit_bytes.saturating_add(self.width.bytes())
    }
}

/// Writes the length of a payload, then the payload.
impl Encoder for LengthPrefixed {
    type Item<'a> = &'a [u8];
    type Error = LengthEncodeError;

    #[inline]
    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), LengthEncodeError> {
        let length = payload.len() as u64;
        let limit = self.width.max_length().min(self.limit_bytes as u64);
        if length > limit {
            return Err(LengthEncodeError { payload_bytes: length, limit_bytes: limit });
        }
        let width_bytes = self.width.bytes();
        out.reserve(width_bytes + payload.len());
        match self.order {
            ByteOrder::Big => out.extend_from_slice(&length.to_be_bytes()[8 - width_bytes..]),
            ByteOrder::Little => out.extend_from_slice(&length.to_le_bytes()[..width_bytes]),
        }
        out.extend_from_slice(payload);
        Ok(())
    }
}

/// Why a stream of frames cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LengthError {
    /// The frame that starts at `offset` announces more than the limit.
    TooLong {
        /// Where the frame starts.
        offset: u64,
        /// The length that the peer sent.
        announced_bytes: u64,
        /// The most bytes of payload allowed.
        limit_bytes: usize,
    },
    /// The stream ended within the frame that starts at `offset`.
    UnexpectedEnd {
        /// Where the frame starts.
        offset: u64,
        /// The length that the peer sent; `None` if the stream ended within the length.
        announced_bytes: Option<u64>,
        /// How much of the payload came.
        received_bytes: usize,
    },
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LengthError::TooLong { offset, announced_bytes, limit_bytes } => write!(
                f,
                "frame at byte {offset} of the stream announces {announced_bytes} bytes, \
                 the limit is {limit_bytes}"
            ),
            LengthError::UnexpectedEnd { offset, announced_bytes: None, .. } => {
                write!(f, "stream ended within the length of the frame at its byte {offset}")
            }
            LengthError::UnexpectedEnd {
                offset,
                announced_bytes: Some(announced_bytes),
                received_bytes,
            } => write!(
                f,
                "stream ended within the frame at its byte {offset}, \
                 after {received_bytes} of {announced_bytes} bytes"
            ),
        }
    }
}

impl error::Error for LengthError {}

/// The payload is longer than the limit, or than its length can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LengthEncodeError {
    /// The length of the payload.
    pub payload_bytes: u64,
    /// The most bytes of payload that this codec can write.
    pub limit_bytes: u64,
}

impl fmt::Display for LengthEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LengthEncodeError { payload_bytes, limit_bytes } = self;
        write!(f, "payload of {payload_bytes} bytes is longer than a frame of {limit_bytes} bytes")
    }
}

impl error::Error for LengthEncodeError {}

#[cfg(test)]
mod tests;
