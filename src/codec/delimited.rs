//! Frames that end with a delimiter of any bytes.

use std::{error, fmt};

use memchr::memmem;

use super::find::find;
use super::{Decoder, Encoder, Excerpt};

/// The codec of frames that each end with the same bytes.
///
/// A frame may have [`limit`](Delimited::with_limit) bytes, the delimiter not counted, and may be
/// empty. What stands behind the last delimiter when the stream ends is half a frame and an
/// error, unless [`or_end`](Delimited::or_end) says otherwise. For lines of text there is
/// [`Lines`](super::Lines), which knows the habits of CR and LF.
///
/// Each byte is searched once, however small the pieces in which it comes; only as many as the
/// delimiter has, less one, are looked at again.
///
/// ```
/// use tidemill::codec::{Decoder, Delimited, DelimitedError};
///
/// let mut frames = Delimited::new(b"||").with_limit(4);
/// assert_eq!(frames.decode(b"a|b||c|")?, Some((&b"a|b"[..], 5)));
/// assert_eq!(frames.decode(b"c|")?, None);
/// let error = frames.decode(b"c|def").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"frame at byte 5 of the stream is longer than 4 bytes, it starts "c|def""#
/// );
/// # Ok::<(), DelimitedError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Delimited {
    /// Two ways to search. One byte is by far the most frequent and needs no preparation.
    delimiter: Delimiter,
    may_end: bool,
    /// The most bytes of one frame.
    limit_bytes: usize,
    /// No delimiter begins in so many bytes of the waiting frame. Zero between frames, and
    /// `scanned_bytes <= input.len()` at every call.
    scanned_bytes: usize,
    /// How much of the delimiter is missing at least.
    needed_bytes: usize,
    /// Where in the stream the waiting frame starts.
    offset: u64,
}

#[derive(Clone, Debug)]
enum Delimiter {
    Byte([u8; 1]),
    Bytes(Box<memmem::Finder<'static>>),
}

impl Delimited {
    /// The most bytes of a frame if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 64 * 1024;

    /// A codec for frames that end with `delimiter`, at the start of a stream.
    ///
    /// # Panics
    ///
    /// If the delimiter is empty.
    pub fn new(delimiter: impl AsRef<[u8]>) -> Delimited {
        let delimiter = match delimiter.as_ref() {
            [] => panic!("an empty delimiter is everywhere"),
            &[byte] => Delimiter::Byte([byte]),
            bytes => Delimiter::Bytes(Box::new(memmem::Finder::new(bytes).into_owned())),
        };
        Delimited {
            delimiter,
            may_end: false,
            limit_bytes: Delimited::DEFAULT_LIMIT_BYTES,
            scanned_bytes: 0,
            needed_bytes: 1,
            offset: 0,
        }
    }

    /// Allows frames of up to `limit_bytes`, the delimiter not counted.
    pub fn with_limit(self, limit_bytes: usize) -> Delimited {
        Delimited { limit_bytes, ..self }
    }

    /// Takes the end of the stream for a delimiter, too: what stands behind the last one, if
    /// anything does, is a frame.
    pub fn or_end(self) -> Delimited {
        Delimited { may_end: true, ..self }
    }

    /// The bytes that end a frame.
    #[inline]
    pub fn delimiter(&self) -> &[u8] {
        match &self.delimiter {
            Delimiter::Byte(byte) => byte,
            Delimiter::Bytes(finder) => finder.needle(),
        }
    }

    #[inline]
    fn find(&self, input: &[u8]) -> Option<usize> {
        let news = &input[self.scanned_bytes..];
        let index = match &self.delimiter {
            Delimiter::Byte([byte]) => find(*byte, news),
            Delimiter::Bytes(finder) => finder.find(news).unwrap_or(news.len()),
        };
        (index < news.len()).then_some(self.scanned_bytes + index)
    }

    /// There is no delimiter in `frame`, but one may have begun.
    #[inline(never)]
    fn wait(&mut self, frame: &[u8]) -> Result<(), DelimitedError> {
        let begun_bytes = self.begun(frame);
        self.scanned_bytes = frame.len() - begun_bytes;
        if self.scanned_bytes > self.limit_bytes {
            return Err(self.too_long(frame));
        }
        // So many until the delimiter is whole, or until it is certain that it comes too late.
        let until_too_long = self.limit_bytes.saturating_add(1).saturating_sub(frame.len());
        self.needed_bytes = (self.delimiter().len() - begun_bytes).min(until_too_long.max(1));
        Ok(())
    }

    /// How many bytes at the end of `frame` are the start of a delimiter.
    fn begun(&self, frame: &[u8]) -> usize {
        let delimiter = self.delimiter();
        let most = frame.len().min(delimiter.len());
        (1..=most).rev().find(|&bytes| frame.ends_with(&delimiter[..bytes])).unwrap_or(0)
    }

    #[cold]
    fn too_long(&self, frame: &[u8]) -> DelimitedError {
        // Not more than is there at the earliest moment at which this is known.
        let known_bytes = frame.len().min(self.limit_bytes.saturating_add(1));
        let (offset, limit_bytes) = (self.offset, self.limit_bytes);
        let frame_start = Excerpt::of(&frame[..known_bytes]);
        DelimitedError::TooLong { offset, limit_bytes, frame_start }
    }
}

impl Decoder for Delimited {
    type Frame<'a> = &'a [u8];
    type Error = DelimitedError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, DelimitedError> {
        let Some(frame_bytes) = self.find(input) else {
            return self.wait(input).map(|()| None);
        };
        if frame_bytes > self.limit_bytes {
            return Err(self.too_long(input));
        }
        let taken = frame_bytes + self.delimiter().len();
        self.scanned_bytes = 0;
        self.offset += taken as u64;
        Ok(Some((&input[..frame_bytes], taken)))
    }

    #[inline]
    fn needs(&self) -> usize {
        self.needed_bytes
    }

    /// The last frame, if it [may end so](Delimited::or_end); `None` behind a delimiter.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, DelimitedError> {
        if rest.is_empty() {
            return Ok(None);
        }
        // Too long by what might have been the start of a delimiter.
        if rest.len() > self.limit_bytes {
            return Err(self.too_long(rest));
        }
        if !self.may_end {
            let frame_start = Excerpt::of(rest);
            return Err(DelimitedError::Unterminated { offset: self.offset, frame_start });
        }
        Ok(Some(rest))
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.limit_bytes.saturating_add(self.delimiter().len())
    }
}

/// Writes a frame and its delimiter.
impl Encoder for Delimited {
    type Item<'a> = &'a [u8];
    type Error = DelimitedEncodeError;

    #[inline]
    fn encode(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), DelimitedEncodeError> {
        if frame.len() > self.limit_bytes {
            let (frame_bytes, limit_bytes) = (frame.len(), self.limit_bytes);
            return Err(DelimitedEncodeError::TooLong { frame_bytes, limit_bytes });
        }
        let start = out.len();
        out.reserve(frame.len() + self.delimiter().len());
        out.extend_from_slice(frame);
        out.extend_from_slice(self.delimiter());
        // Searched with the delimiter behind it: the end of a frame and the start of the
        // delimiter may together be one, too.
        let index = match &self.delimiter {
            Delimiter::Byte([byte]) => find(*byte, frame),
            Delimiter::Bytes(finder) => finder.find(&out[start..]).unwrap_or(frame.len()),
        };
        if index < frame.len() {
            out.truncate(start);
            return Err(DelimitedEncodeError::HoldsDelimiter { index });
        }
        Ok(())
    }
}

/// Why a stream of frames cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DelimitedError {
    /// The frame that starts at `offset` is longer than the limit.
    TooLong {
        /// Where the frame starts.
        offset: u64,
        /// The most bytes allowed.
        limit_bytes: usize,
        /// How the frame starts.
        frame_start: Excerpt,
    },
    /// The stream ended within the frame that starts at `offset`.
    Unterminated {
        /// Where the frame starts.
        offset: u64,
        /// How the frame starts.
        frame_start: Excerpt,
    },
}

impl fmt::Display for DelimitedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DelimitedError::TooLong { offset, limit_bytes, frame_start } => write!(
                f,
                "frame at byte {offset} of the stream is longer than {limit_bytes} bytes, \
                 it starts \"{frame_start}\""
            ),
            DelimitedError::Unterminated { offset, frame_start } => write!(
                f,
                "stream ended within the frame at its byte {offset}, it starts \"{frame_start}\""
            ),
        }
    }
}

impl error::Error for DelimitedError {}

/// Why bytes were not written as a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DelimitedEncodeError {
    /// They are longer than the limit.
    TooLong {
        /// The length of the frame.
        frame_bytes: usize,
        /// The most bytes allowed.
        limit_bytes: usize,
    },
    /// The delimiter would be found at `index` of the frame.
    HoldsDelimiter {
        /// Where it starts.
        index: usize,
    },
}

impl fmt::Display for DelimitedEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DelimitedEncodeError::TooLong { frame_bytes, limit_bytes } => {
                write!(f, "{frame_bytes} bytes are longer than a frame of {limit_bytes} bytes")
            }
            DelimitedEncodeError::HoldsDelimiter { index } => {
                write!(f, "frame holds a delimiter at byte {index}")
            }
        }
    }
}

impl error::Error for DelimitedEncodeError {}

#[cfg(test)]
mod tests;
