//! What can be wrong with a body in chunks.

use std::{error, fmt};

use crate::codec::{Excerpt, LineError};

/// Why a body cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkedError {
    /// The line of a size or a trailer is too long or ends as none may.
    Line(LineError),
    /// No size, or not only one, stands in the line at `offset`.
    BadSize {
        /// Where the line starts.
        offset: u64,
        /// The line.
        line: Excerpt,
    },
    /// The chunk that starts at `offset` is longer than the limit.
    TooLong {
        /// Where the line with its size starts.
        offset: u64,
        /// The most bytes of a chunk allowed.
        limit_bytes: usize,
        /// The line with its size.
        line: Excerpt,
    },
    /// Behind the data of a chunk there is no CR LF.
    NoEnding {
        /// Where the first byte stands that is another.
        offset: u64,
        /// The last bytes of the data, and what follows them.
        seen: Excerpt,
    },
    /// The trailer at `offset` is no field.
    BadTrailer {
        /// Where the line starts.
        offset: u64,
        /// The line.
        line: Excerpt,
    },
    /// With the line at `offset`, extensions and trailers of this body are more than the limit.
    TooMuchExtra {
        /// Where the line starts.
        offset: u64,
        /// The most bytes of extensions and trailers allowed.
        limit_bytes: usize,
        /// The line.
        line: Excerpt,
    },
    /// The stream ended before the body did.
    UnexpectedEnd {
        /// Where the data or the line starts that did not come in full.
        offset: u64,
        /// How it starts.
        seen: Excerpt,
    },
}

impl fmt::Display for ChunkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkedError::Line(error) => error.fmt(f),
            ChunkedError::BadSize { offset, line } => {
                write!(f, "no size of a chunk at byte {offset} of the stream: \"{line}\"")
            }
            ChunkedError::TooLong { offset, limit_bytes, line } => write!(
                f,
                "chunk at byte {offset} of the stream is longer than {limit_bytes} bytes, \
                 its size is \"{line}\""
            ),
            ChunkedError::NoEnding { offset, seen } => write!(
                f,
                "no CR LF behind a chunk at byte {offset} of the stream, it ends \"{seen}\""
            ),
            ChunkedError::BadTrailer { offset, line } => {
                write!(f, "no trailer field at byte {offset} of the stream: \"{line}\"")
            }
            ChunkedError::TooMuchExtra { offset, limit_bytes, line } => write!(
                f,
                "extensions and trailers of a body are longer than {limit_bytes} bytes, \
                 up to \"{line}\" at byte {offset} of the stream"
            ),
            ChunkedError::UnexpectedEnd { offset, seen } => {
                write!(f, "stream ended before the body did, after \"{seen}\" at its byte {offset}")
            }
        }
    }
}

impl error::Error for ChunkedError {}

impl From<LineError> for ChunkedError {
    fn from(error: LineError) -> ChunkedError {
        ChunkedError::Line(error)
    }
}

/// Why a chunk was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkedEncodeError {
    /// It has no data: that would end the body.
    Empty,
    /// It is longer than the limit.
    TooLong {
        /// The length of the data.
        data_bytes: usize,
        /// The most bytes of a chunk allowed.
        limit_bytes: usize,
    },
    /// Behind a trailer there are only trailers and the end.
    DataInTrailers,
    /// The trailer is no field, or would be more than a line.
    BadTrailer,
    /// The trailers are longer than the limit.
    TooMuchExtra {
        /// The most bytes of trailers allowed.
        limit_bytes: usize,
    },
}

impl fmt::Display for ChunkedEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkedEncodeError::Empty => f.write_str("a chunk without data would end the body"),
            ChunkedEncodeError::TooLong { data_bytes, limit_bytes } => {
                write!(f, "{data_bytes} bytes are longer than a chunk of {limit_bytes} bytes")
            }
            ChunkedEncodeError::DataInTrailers => f.write_str("data behind a trailer"),
            ChunkedEncodeError::BadTrailer => f.write_str("trailer is not a field in one line"),
            ChunkedEncodeError::TooMuchExtra { limit_bytes } => {
                write!(f, "trailers are longer than {limit_bytes} bytes")
            }
        }
    }
}

impl error::Error for ChunkedEncodeError {}
