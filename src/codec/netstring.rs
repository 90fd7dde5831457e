//! Netstrings: the length in decimal digits, a colon, the payload, a comma.

use std::{error, fmt};

use super::counted::{Counted, around, counted};
use super::{Decoder, Encoder, Excerpt, LengthEncodeError, decimal};

/// The codec of netstrings, as in `12:hello world!,`.
///
/// D. J. Bernstein, "Netstrings", <http://cr.yp.to/proto/netstrings.txt>, section 2: "Any string
/// of 8-bit bytes may be encoded as `[len]":"[string]","`. Here \[string\] is the string and
/// \[len\] is a nonempty sequence of ASCII digits giving the length of \[string\] in decimal. ...
/// Extra zeros at the front of \[len\] are prohibited." Whatever else stands there is an error as
/// soon as it has come, and so is a length above the [`limit`](Netstrings::with_limit).
///
/// ```
/// use tidemill::codec::{Decoder, NetstringError, Netstrings};
///
/// let mut frames = Netstrings::new().with_limit(300);
/// assert_eq!(frames.decode(b"12:hello world!,0:")?, Some((&b"hello world!"[..], 16)));
/// assert_eq!(frames.decode(b"0:")?, None);
/// assert_eq!(frames.decode(b"0:,01")?, Some((&b""[..], 3)));
/// let error = frames.decode(b"01").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"no length where the frame at byte 19 of the stream starts: "01""#
/// );
/// # Ok::<(), NetstringError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Netstrings {
    /// The most bytes of one payload.
    limit_bytes: usize,
    /// What the waiting frame wants at least.
    needed_bytes: usize,
    /// Where in the stream the waiting frame starts.
    offset: u64,
}

impl Netstrings {
    /// The most bytes of a payload if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

    /// A codec at the start of a stream.
    pub fn new() -> Netstrings {
        Netstrings { limit_bytes: Netstrings::DEFAULT_LIMIT_BYTES, needed_bytes: 1, offset: 0 }
    }

    /// Allows payloads of up to `limit_bytes`; length, colon and comma not counted.
    pub fn with_limit(self, limit_bytes: usize) -> Netstrings {
        Netstrings { limit_bytes, ..self }
    }

    /// The length at the start of `input` and where the payload starts, if the colon is there.
    ///
    /// Stops at the digit that makes the length too large, so that it looks at few bytes and
    /// nothing overflows.
    #[inline]
    fn announced(&self, input: &[u8]) -> Result<Option<(usize, usize)>, NetstringError> {
        let mut length = 0_usize;
        for (index, &byte) in input.iter().enumerate() {
            match byte {
                b'0'..=b'9' if index == 0 || length > 0 => {
                    let digit = usize::from(byte - b'0');
                    let longer = length.checked_mul(10).and_then(|tens| tens.checked_add(digit));
                    match longer.filter(|&length| length <= self.limit_bytes) {
                        Some(longer) => length = longer,
                        None => return Err(self.too_long(&input[..=index])),
                    }
                }
                b':' if index > 0 => return Ok(Some((length, index + 1))),
                _ => return Err(self.bad_length(&input[..=index])),
            }
        }
        Ok(None)
    }

    #[cold]
    fn too_long(&self, digits: &[u8]) -> NetstringError {
        let (offset, limit_bytes) = (self.offset, self.limit_bytes);
        NetstringError::TooLong { offset, limit_bytes, length_start: Excerpt::of(digits) }
    }

    #[cold]
    fn bad_length(&self, seen: &[u8]) -> NetstringError {
        NetstringError::BadLength { offset: self.offset, seen: Excerpt::of(seen) }
    }
}

impl Default for Netstrings {
    fn default() -> Netstrings {
        Netstrings::new()
    }
}

impl Decoder for Netstrings {
    type Frame<'a> = &'a [u8];
    type Error = NetstringError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, NetstringError> {
        let Some((payload_bytes, prefix_bytes)) = self.announced(input)? else {
            self.needed_bytes = 1;
            return Ok(None);
        };
        let behind = &input[prefix_bytes..];
        match counted(behind, payload_bytes, b",") {
            Counted::Whole(payload) => {
                let taken = prefix_bytes + payload_bytes + 1;
                self.offset += taken as u64;
                Ok(Some((payload, taken)))
            }
            Counted::Needs(needed_bytes) => {
                self.needed_bytes = needed_bytes;
                Ok(None)
            }
            Counted::Wrong(index) => Err(NetstringError::NoComma {
                offset: self.offset + (prefix_bytes + index) as u64,
                seen: Excerpt::of(around(behind, payload_bytes, index)),
            }),
        }
    }

    #[inline]
    fn needs(&self) -> usize {
        self.needed_bytes
    }

    /// `None` for an empty rest: there is no such thing as a last frame without an end.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, NetstringError> {
        if rest.is_empty() {
            return Ok(None);
        }
        Err(NetstringError::UnexpectedEnd {
            offset: self.offset,
            received_bytes: rest.len(),
            frame_start: Excerpt::of(rest),
        })
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        let digits = self.limit_bytes.checked_ilog10().unwrap_or(0) as usize + 1;
        self.limit_bytes.saturating_add(digits + ":,".len())
    }
}

/// Writes the length of a payload, a colon, the payload and a comma.
impl Encoder for Netstrings {
    type Item<'a> = &'a [u8];
    type Error = LengthEncodeError;

    #[inline]
    fn encode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), LengthEncodeError> {
        LengthEncodeError::check(payload, self.limit_bytes)?;
        decimal::write(payload.len() as u64, out);
        out.push(b':');
        out.extend_from_slice(payload);
        out.push(b',');
        Ok(())
    }
}

/// Why a stream of netstrings cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetstringError {
    /// The netstring that starts at `offset` announces more than the limit.
    TooLong {
        /// Where the netstring starts.
        offset: u64,
        /// The most bytes of payload allowed.
        limit_bytes: usize,
        /// The digits that are too much; more may follow.
        length_start: Excerpt,
    },
    /// What starts at `offset` is not a length and a colon, or has zeros in front.
    BadLength {
        /// Where the netstring should start.
        offset: u64,
        /// What stands there, up to the first byte that is wrong.
        seen: Excerpt,
    },
    /// No comma stands at `offset`, behind as many bytes as were announced.
    NoComma {
        /// Where the comma should be.
        offset: u64,
        /// The last bytes of the payload, and what stands instead of the comma.
        seen: Excerpt,
    },
    /// The stream ended within the netstring that starts at `offset`.
    UnexpectedEnd {
        /// Where the netstring starts.
        offset: u64,
        /// How much of it came, its length and colon included.
        received_bytes: usize,
        /// How it starts.
        frame_start: Excerpt,
    },
}

impl fmt::Display for NetstringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetstringError::TooLong { offset, limit_bytes, length_start } => write!(
                f,
                "frame at byte {offset} of the stream announces \"{length_start}\" bytes \
                 or more, the limit is {limit_bytes}"
            ),
            NetstringError::BadLength { offset, seen } => write!(
                f,
                "no length where the frame at byte {offset} of the stream starts: \"{seen}\""
            ),
            NetstringError::NoComma { offset, seen } => {
                write!(f, "no comma at byte {offset} of the stream, the frame ends \"{seen}\"")
            }
            NetstringError::UnexpectedEnd { offset, received_bytes, frame_start } => write!(
                f,
                "stream ended within the frame at its byte {offset}, \
                 after {received_bytes} bytes, it starts \"{frame_start}\""
            ),
        }
    }
}

impl error::Error for NetstringError {}

#[cfg(test)]
mod tests;
