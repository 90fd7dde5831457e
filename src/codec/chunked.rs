//! Bodies in chunks, as HTTP/1.1 sends what it does not know the length of.

mod error;

use std::fmt;

pub use error::{ChunkedEncodeError, ChunkedError};

use super::counted::{Counted, around, counted};
use super::{Decoder, Encoder, Ending, Excerpt, Lines};

/// A part of a body, borrowed from the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The data of a chunk, which is not empty.
    Data(&'a [u8]),
    /// A field of the trailer section as it stands there, such as `Expires: never`: a name, a
    /// colon, and anything.
    Trailer(&'a [u8]),
    /// The body is over.
    End,
}

/// Escaped, and cut as an [`Excerpt`] is.
impl fmt::Debug for Chunk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chunk::Data(data) => f.debug_tuple("Data").field(&Excerpt::of(data)).finish(),
            Chunk::Trailer(field) => f.debug_tuple("Trailer").field(&Excerpt::of(field)).finish(),
            Chunk::End => f.write_str("End"),
        }
    }
}

/// The codec of the chunked transfer coding, RFC 9112, section 7.1.
///
/// Chunks are shown one by one; how many there are is no concern of this codec, and whoever
/// collects them has a limit to set. Behind the [end](Chunk::End) of a body another may begin.
///
/// ```
/// use tidemill::codec::{Chunk, Chunked, ChunkedError, Decoder};
///
/// let mut body = Chunked::new().with_limit(100);
/// assert_eq!(body.decode(b"4;x=y\r\nWiki\r\n")?, Some((Chunk::Data(b"Wiki"), 13)));
/// assert_eq!(body.decode(b"0\r\nA: b\r\n\r\n")?, Some((Chunk::Trailer(b"A: b"), 9)));
/// assert_eq!(body.decode(b"\r\n")?, Some((Chunk::End, 2)));
/// let error = body.decode(b"65\r\n").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"chunk at byte 24 of the stream is longer than 100 bytes, its size is "65""#
/// );
/// # Ok::<(), ChunkedError>(())
/// ```
///
/// # What is refused
///
/// What programs disagree about can be used to make them see different messages ("request
/// smuggling"). A line ends with CR LF and nothing else, and so does the data of a chunk; a size
/// is hexadecimal digits, without a sign or `0x`; behind it stand CR LF or, perhaps after spaces
/// and tabs, a semicolon. "A recipient MUST ignore unrecognized chunk extensions": all are
/// ignored, if they have no control characters. The name of a trailer field is a token, so a line
/// folded onto the next is refused.
///
/// # Limits
///
/// A chunk has [one](Chunked::with_limit). "A server ought to limit the total length of chunk
/// extensions received in a request to an amount reasonable for the services provided": they and
/// the trailer section, and more than 16 digits of a size, have [one](Chunked::with_extra_limit)
/// together, for each body.
#[derive(Clone, Debug)]
pub struct Chunked {
    /// Reads the lines, and counts the bytes of the stream for all.
    lines: Lines,
    /// The most bytes of one chunk.
    limit_bytes: usize,
    extra_limit_bytes: usize,
    /// Of this body, so far: `extra_bytes <= extra_limit_bytes`.
    extra_bytes: usize,
    state: State,
    /// The start of the input was read and not yet taken: a line with a size.
    passed_bytes: usize,
    needed_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A body is over. A size may follow, or nothing.
    Over,
    /// A size follows.
    Size,
    /// So much data and CR LF.
    Data(usize),
    /// A field, or an empty line.
    Trailers,
}

impl Chunked {
    /// The most bytes of a chunk if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

    /// The most bytes of extensions and trailers of one body if nothing else is said.
    pub const DEFAULT_EXTRA_LIMIT_BYTES: usize = 16 * 1024;

    /// A codec at the start of a body.
    pub fn new() -> Chunked {
        let lines = Lines::new(Ending::CrLf);
        Chunked {
            lines,
            limit_bytes: Chunked::DEFAULT_LIMIT_BYTES,
            extra_limit_bytes: 0,
            extra_bytes: 0,
            state: State::Size,
            passed_bytes: 0,
            needed_bytes: 1,
        }
        .with_extra_limit(Chunked::DEFAULT_EXTRA_LIMIT_BYTES)
    }

    /// Allows chunks of up to `limit_bytes` of data.
    pub fn with_limit(self, limit_bytes: usize) -> Chunked {
        Chunked { limit_bytes, ..self }
    }

    /// Allows up to `limit_bytes` of extensions and trailers in one body.
    pub fn with_extra_limit(self, limit_bytes: usize) -> Chunked {
        let lines = self.lines.with_limit(limit_bytes.saturating_add(SIZE_DIGITS));
        Chunked { lines, extra_limit_bytes: limit_bytes, ..self }
    }

    /// Counts what nobody needs, of the line that starts at `offset`.
    fn count_extra(&mut self, bytes: usize, offset: u64, line: &[u8]) -> Result<(), ChunkedError> {
        if bytes > self.extra_limit_bytes - self.extra_bytes {
            let (limit_bytes, line) = (self.extra_limit_bytes, Excerpt::of(line));
            return Err(ChunkedError::TooMuchExtra { offset, limit_bytes, line });
        }
        self.extra_bytes += bytes;
        Ok(())
    }

    /// What follows the line with a size that starts at `offset`.
    #[inline]
    fn read_size(&mut self, offset: u64, line: &[u8]) -> Result<State, ChunkedError> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || !is_extension(&line[digits..]) {
            return Err(ChunkedError::BadSize { offset, line: Excerpt::of(line) });
        }
        self.count_extra(line.len().saturating_sub(SIZE_DIGITS), offset, line)?;
        match hexadecimal(&line[..digits]) {
            Some(0) => Ok(State::Trailers),
            Some(bytes) if bytes <= self.limit_bytes => Ok(State::Data(bytes)),
            _ => {
                let (limit_bytes, line) = (self.limit_bytes, Excerpt::of(line));
                Err(ChunkedError::TooLong { offset, limit_bytes, line })
            }
        }
    }

    fn read_trailer<'a>(&mut self, offset: u64, line: &'a [u8]) -> Result<Chunk<'a>, ChunkedError> {
        if line.is_empty() {
            self.state = State::Over;
            self.extra_bytes = 0;
            return Ok(Chunk::End);
        }
        if !is_field(line) {
            return Err(ChunkedError::BadTrailer { offset, line: Excerpt::of(line) });
        }
        self.count_extra(line.len() + CR_LF.len(), offset, line)?;
        Ok(Chunk::Trailer(line))
    }

    /// The chunk that took so much behind what was passed.
    fn taken<'a>(&mut self, chunk: Chunk<'a>, bytes: usize) -> Option<(Chunk<'a>, usize)> {
        Some((chunk, std::mem::take(&mut self.passed_bytes) + bytes))
    }
}

impl Default for Chunked {
    fn default() -> Chunked {
        Chunked::new()
    }
}

impl Decoder for Chunked {
    type Frame<'a> = Chunk<'a>;
    type Error = ChunkedError;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Chunk<'a>, usize)>, ChunkedError> {
        loop {
            let offset = self.lines.offset();
            let input = &input[self.passed_bytes..];
            let bytes = match self.state {
                State::Data(bytes) => bytes,
                State::Trailers | State::Size | State::Over => {
                    let Some((line, taken)) = self.lines.decode(input)? else {
                        self.needed_bytes = 1;
                        return Ok(None);
                    };
                    if self.state == State::Trailers {
                        let chunk = self.read_trailer(offset, line.text())?;
                        return Ok(self.taken(chunk, taken));
                    }
                    self.state = self.read_size(offset, line.text())?;
                    self.passed_bytes += taken;
                    continue;
                }
            };
            return match counted(input, bytes, CR_LF) {
                Counted::Whole(data) => {
                    let taken = bytes + CR_LF.len();
                    self.lines.pass(taken);
                    self.state = State::Size;
                    Ok(self.taken(Chunk::Data(data), taken))
                }
                Counted::Needs(needed_bytes) => {
                    self.needed_bytes = needed_bytes;
                    Ok(None)
                }
                Counted::Wrong(index) => Err(ChunkedError::NoEnding {
                    offset: offset + index as u64,
                    seen: Excerpt::of(around(input, bytes, index)),
                }),
            };
        }
    }

    #[inline]
    fn needs(&self) -> usize {
        self.needed_bytes
    }

    #[inline]
    fn skip(&mut self) -> usize {
        std::mem::take(&mut self.passed_bytes)
    }

    /// `None` behind the end of a body. A body that was not ended is not whole (RFC 9112, section
    /// 8), even if nothing of it came.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Chunk<'a>>, ChunkedError> {
        let seen = &rest[self.passed_bytes..];
        if seen.is_empty() && self.state == State::Over {
            return Ok(None);
        }
        let (offset, seen) = (self.lines.offset(), Excerpt::of(seen));
        Err(ChunkedError::UnexpectedEnd { offset, seen })
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        let line_bytes = self.lines.max_bytes();
        self.limit_bytes.saturating_add(CR_LF.len()).max(line_bytes).saturating_add(line_bytes)
    }
}

/// Writes chunks without extensions, and in front of the trailers or the end the last chunk.
impl Encoder for Chunked {
    type Item<'a> = Chunk<'a>;
    type Error = ChunkedEncodeError;

    fn encode(&mut self, chunk: Chunk<'_>, out: &mut Vec<u8>) -> Result<(), ChunkedEncodeError> {
        let in_trailers = self.state == State::Trailers;
        match chunk {
            Chunk::Data(_) if in_trailers => return Err(ChunkedEncodeError::DataInTrailers),
            Chunk::Data([]) => return Err(ChunkedEncodeError::Empty),
            Chunk::Data(data) if data.len() > self.limit_bytes => {
                let (data_bytes, limit_bytes) = (data.len(), self.limit_bytes);
                return Err(ChunkedEncodeError::TooLong { data_bytes, limit_bytes });
            }
            Chunk::Data(data) => {
                out.reserve(SIZE_DIGITS + CR_LF.len() + data.len() + CR_LF.len());
                write_hexadecimal(data.len(), out);
                out.extend_from_slice(CR_LF);
                out.extend_from_slice(data);
                out.extend_from_slice(CR_LF);
                self.state = State::Size;
            }
            Chunk::Trailer(field) => {
                let has_ending = memchr::memchr2(b'\r', b'\n', field).is_some();
                if !is_field(field) || has_ending {
                    return Err(ChunkedEncodeError::BadTrailer);
                }
                let limit_bytes = self.extra_limit_bytes;
                if field.len() + CR_LF.len() > limit_bytes - self.extra_bytes {
                    return Err(ChunkedEncodeError::TooMuchExtra { limit_bytes });
                }
                self.extra_bytes += field.len() + CR_LF.len();
                out.extend_from_slice(if in_trailers { b"" } else { LAST_CHUNK });
                out.extend_from_slice(field);
                out.extend_from_slice(CR_LF);
                self.state = State::Trailers;
            }
            Chunk::End => {
                out.extend_from_slice(if in_trailers { b"" } else { LAST_CHUNK });
                out.extend_from_slice(CR_LF);
                self.state = State::Over;
                self.extra_bytes = 0;
            }
        }
        Ok(())
    }
}

/// Nothing, or `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, of which only the
/// first semicolon and the absence of control characters is asked for.
fn is_extension(bytes: &[u8]) -> bool {
    let is_text = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != DELETE);
    bytes.is_empty() || (bytes.trim_ascii_start().starts_with(b";") && bytes.iter().all(is_text))
}

/// `field-name ":" ...`, where a name is a token: RFC 9110, section 5.6.2.
fn is_field(line: &[u8]) -> bool {
    let is_token = |&byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    !name.is_empty() && name.len() < line.len() && name.iter().all(is_token)
}

/// The number that these digits are; `None` if it does not fit.
fn hexadecimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |number, &byte| {
        let digit = char::from(byte).to_digit(16)? as usize;
        number.checked_mul(16)?.checked_add(digit)
    })
}

fn write_hexadecimal(number: usize, out: &mut Vec<u8>) {
    let digits = (number.checked_ilog2().unwrap_or(0) / 4) as usize + 1;
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[number >> (4 * digit) & 0xf]));
}

const CR_LF: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n";
const DELETE: u8 = 0x7f;

/// More digits than any size needs are extra.
const SIZE_DIGITS: usize = 16;

#[cfg(test)]
mod tests;
