//! Frames behind a length of as many bytes as it wants.

use std::{error, fmt};

use super::{Decoder, Encoder, Excerpt, LengthEncodeError};

/// The codec of payloads behind a length in LEB128: seven bits a byte, the lowest first, and the
/// eighth says that more follow.
///
/// This is how Protocol Buffers writes one message after the other (protobuf.dev, "Encoding",
/// "Base 128 Varints"; `writeDelimitedTo`). A length in more bytes than it wants, such as `80 00`
/// for zero, is refused: two spellings of one message are one too many where bytes are compared,
/// signed or filtered. So is one of more than 64 bits.
///
/// ```
/// use tidemill::codec::{Decoder, VarintError, VarintPrefixed};
///
/// let mut frames = VarintPrefixed::new().with_limit(300);
/// assert_eq!(frames.decode(b"\x05hello\xad")?, Some((&b"hello"[..], 6)));
/// assert_eq!(frames.decode(b"\xad")?, None);
/// let error = frames.decode(b"\xad\x02").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "frame at byte 6 of the stream announces 301 bytes, the limit is 300"
/// );
/// # Ok::<(), VarintError>(())
/// ```
#[derive(Clone, Debug)]
pub struct VarintPrefixed {
    /// The most bytes of one payload.
    limit_bytes: usize,
    /// What the waiting frame wants at least.
    needed_bytes: usize,
    /// Where in the stream the waiting frame starts.
    offset: u64,
}

impl VarintPrefixed {
    /// The most bytes of a payload if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

    /// A codec at the start of a stream.
    pub fn new() -> VarintPrefixed {
        let limit_bytes = VarintPrefixed::DEFAULT_LIMIT_BYTES;
        VarintPrefixed { limit_bytes, needed_bytes: 1, offset: 0 }
    }

    /// Allows payloads of up to `limit_bytes`, the length itself not counted.
    pub fn with_limit(self, limit_bytes: usize) -> VarintPrefixed {
        VarintPrefixed { limit_bytes, ..self }
    }

    #[cold]
    fn too_long(&self, announced_bytes: u64) -> VarintError {
        let (offset, limit_bytes) = (self.offset, self.limit_bytes);
        VarintError::TooLong { offset, announced_bytes, limit_bytes }
    }

    #[cold]
    fn bad_length(&self, bad: Bad, input: &[u8]) -> VarintError {
        let offset = self.offset;
        match bad {
            Bad::Overlong(bytes) => {
                VarintError::Overlong { offset, length: Excerpt::of(&input[..bytes]) }
            }
            Bad::Overflow => {
                VarintError::Overflow { offset, length: Excerpt::of(&input[..LENGTH_BYTES_MAX]) }
            }
        }
    }
}

impl Default for VarintPrefixed {
    fn default() -> VarintPrefixed {
        VarintPrefixed::new()
    }
}

/// The number at the start of `input` and how many bytes it takes, if they are all there.
#[inline]
fn read(input: &[u8]) -> Result<Option<(u64, usize)>, Bad> {
    match input {
        &[byte, ..] if byte < MORE => Ok(Some((u64::from(byte), 1))),
        _ => read_long(input),
    }
}

fn read_long(input: &[u8]) -> Result<Option<(u64, usize)>, Bad> {
    let mut number = 0;
    for (index, &byte) in input.iter().take(LENGTH_BYTES_MAX).enumerate() {
        // Of the tenth byte only the lowest bit fits, and nothing may follow.
        if index == LENGTH_BYTES_MAX - 1 && byte > 1 {
            return Err(Bad::Overflow);
        }
        number |= u64::from(byte & !MORE) << (7 * index);
        if byte < MORE {
            let bytes = index + 1;
            return if byte == 0 { Err(Bad::Overlong(bytes)) } else { Ok(Some((number, bytes))) };
        }
    }
    Ok(None)
}

enum Bad {
    /// Ends with a zero, which says nothing, and has so many bytes.
    Overlong(usize),
    Overflow,
}

impl Decoder for VarintPrefixed {
    type Frame<'a> = &'a [u8];
    type Error = VarintError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, VarintError> {
        let length = read(input).map_err(|bad| self.bad_length(bad, input))?;
        let Some((announced_bytes, length_bytes)) = length else {
            self.needed_bytes = 1;
            return Ok(None);
        };
        if announced_bytes > self.limit_bytes as u64 {
            return Err(self.too_long(announced_bytes));
        }
        // At most `limit_bytes`, so it fits.
        let payload_bytes = announced_bytes as usize;
        let behind = &input[length_bytes..];
        let Some(payload) = behind.get(..payload_bytes) else {
            self.needed_bytes = payload_bytes - behind.len();
            return Ok(None);
        };
        let taken = length_bytes + payload_bytes;
        self.offset += taken as u64;
        Ok(Some((payload, taken)))
    }

    #[inline]
    fn needs(&self) -> usize {
        self.needed_bytes
    }

    /// `None` for an empty rest: there is no such thing as a last frame without an end.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, VarintError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let length = read(rest).map_err(|bad| self.bad_length(bad, rest))?;
        let received_bytes = length.map_or(0, |(_, length_bytes)| rest.len() - length_bytes);
        let announced_bytes = length.map(|(announced_bytes, _)| announced_bytes);
        Err(VarintError::UnexpectedEnd { offset: self.offset, announced_bytes, received_bytes })
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.limit_bytes.saturating_add(LENGTH_BYTES_MAX)
    }
}

/// Writes the length of a payload in as few bytes as can be, then the payload.
impl Encoder for VarintPrefixed {
    type Item<'a> = &'a [u8];
    type Error = LengthEncodeError;

    #[inline]
    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), LengthEncodeError> {
        LengthEncodeError::check(payload, self.limit_bytes)?;
        out.reserve(LENGTH_BYTES_MAX + payload.len());
        let mut length = payload.len();
        while length >= usize::from(MORE) {
            out.push(length as u8 | MORE);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(payload);
        Ok(())
    }
}

/// Why a stream of frames cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VarintError {
    /// The frame that starts at `offset` announces more than the limit.
    TooLong {
        /// Where the frame starts.
        offset: u64,
        /// The length that the peer sent.
        announced_bytes: u64,
        /// The most bytes of payload allowed.
        limit_bytes: usize,
    },
    /// The length of the frame that starts at `offset` is written in more bytes than it wants.
    Overlong {
        /// Where the frame starts.
        offset: u64,
        /// The length as it came.
        length: Excerpt,
    },
    /// The length of the frame that starts at `offset` has more than 64 bits.
    Overflow {
        /// Where the frame starts.
        offset: u64,
        /// The first ten bytes of the length.
        length: Excerpt,
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

impl fmt::Display for VarintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VarintError::TooLong { offset, announced_bytes, limit_bytes } => write!(
                f,
                "frame at byte {offset} of the stream announces {announced_bytes} bytes, \
                 the limit is {limit_bytes}"
            ),
            VarintError::Overlong { offset, length } => write!(
                f,
                "length of the frame at byte {offset} of the stream is longer than it must be: \
                 \"{length}\""
            ),
            VarintError::Overflow { offset, length } => write!(
                f,
                "length of the frame at byte {offset} of the stream has more than 64 bits: \
                 \"{length}\""
            ),
            VarintError::UnexpectedEnd { offset, announced_bytes: None, .. } => {
                write!(f, "stream ended within the length of the frame at its byte {offset}")
            }
            VarintError::UnexpectedEnd {
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

impl error::Error for VarintError {}

/// More bytes follow.
const MORE: u8 = 0x80;

/// 64 bits, seven of them a byte.
const LENGTH_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests;
