//! What can be wrong with a conversation in lines and blocks.

use std::{error, fmt};

use crate::codec::{Excerpt, LineEncodeError, LineError};

/// Why a conversation cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// A line, also a dotted one, is too long or ends as none may.
    Line(LineError),
    /// A block larger than the limit was announced.
    TooLong {
        /// Where the line that announced it starts.
        offset: u64,
        /// The length that the peer sent.
        announced_bytes: u64,
        /// The most bytes of a block allowed.
        limit_bytes: usize,
        /// The line.
        line: Excerpt,
    },
    /// A block was announced, but not how long it is.
    Unreadable {
        /// Where the line that announced it starts.
        offset: u64,
        /// The line.
        line: Excerpt,
    },
    /// Dotted lines are together longer than the limit.
    TooLongDotted {
        /// Where the line that is too much starts.
        offset: u64,
        /// The most bytes of all lines allowed.
        limit_bytes: usize,
        /// The line that is too much.
        line: Excerpt,
    },
    /// Behind a block there is no CR LF.
    NoEnding {
        /// Where the first byte stands that is another.
        offset: u64,
        /// The last bytes of the block, and what follows them.
        seen: Excerpt,
    },
    /// The stream ended within a block, or before the single dot.
    UnexpectedEnd {
        /// Where the block, or the dotted line that should follow, starts.
        offset: u64,
        /// The length of the block that the peer announced; `None` for dotted lines.
        announced_bytes: Option<u64>,
        /// How much of the block came.
        received_bytes: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Line(error) => error.fmt(f),
            TextError::TooLong { offset, announced_bytes, limit_bytes, line } => write!(
                f,
                "block of {announced_bytes} bytes announced by the line \"{line}\" at byte \
                 {offset} of the stream, the limit is {limit_bytes}"
            ),
            TextError::Unreadable { offset, line } => write!(
                f,
                "block of unreadable length announced by the line \"{line}\" at byte {offset} \
                 of the stream"
            ),
            TextError::TooLongDotted { offset, limit_bytes, line } => write!(
                f,
                "dotted lines up to \"{line}\" at byte {offset} of the stream are longer than \
                 {limit_bytes} bytes"
            ),
            TextError::NoEnding { offset, seen } => write!(
                f,
                "no CR LF behind a block at byte {offset} of the stream, it ends \"{seen}\""
            ),
            TextError::UnexpectedEnd { offset, announced_bytes: None, .. } => {
                write!(f, "stream ended before a single dot, at its byte {offset}")
            }
            TextError::UnexpectedEnd {
                offset,
                announced_bytes: Some(announced_bytes),
                received_bytes,
            } => write!(
                f,
                "stream ended within the block at its byte {offset}, after {received_bytes} of \
                 {announced_bytes} bytes, or before its CR LF"
            ),
        }
    }
}

impl error::Error for TextError {}

impl From<LineError> for TextError {
    fn from(error: LineError) -> TextError {
        TextError::Line(error)
    }
}

/// Why a part was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextEncodeError {
    /// It is no line.
    Line(LineEncodeError),
    /// Something else was announced, or a block of another length.
    Unexpected,
    /// The line announces what a reader with the same limits would refuse.
    BadAnnouncement,
    /// Dotted lines are together longer than the limit.
    TooLongDotted {
        /// The most bytes of all lines allowed.
        limit_bytes: usize,
    },
}

impl fmt::Display for TextEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextEncodeError::Line(error) => error.fmt(f),
            TextEncodeError::Unexpected => f.write_str("part is not the one that was announced"),
            TextEncodeError::BadAnnouncement => {
                f.write_str("line announces a block that would be refused")
            }
            TextEncodeError::TooLongDotted { limit_bytes } => {
                write!(f, "dotted lines are longer than {limit_bytes} bytes")
            }
        }
    }
}

impl error::Error for TextEncodeError {}

impl From<LineEncodeError> for TextEncodeError {
    fn from(error: LineEncodeError) -> TextEncodeError {
        TextEncodeError::Line(error)
    }
}
