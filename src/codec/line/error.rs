//! What can be wrong with lines: those a peer sent, and those we were asked to write.

use std::{error, fmt};

use crate::codec::Excerpt;

/// Why a stream of lines cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineError {
    /// The line that starts at `offset` has more text than the limit.
    TooLong {
        /// Where the line starts.
        offset: u64,
        /// The most bytes of text allowed.
        limit_bytes: usize,
        /// How the line starts.
        line_start: Excerpt,
    },
    /// [`Ending::CrLf`](super::Ending::CrLf): the LF at `offset` follows no CR.
    BareLf {
        /// Where the LF stands.
        offset: u64,
        /// How the line starts.
        line_start: Excerpt,
    },
    /// [`Ending::CrLf`](super::Ending::CrLf): no LF follows the CR at `offset`.
    BareCr {
        /// Where the CR stands.
        offset: u64,
        /// How the line starts.
        line_start: Excerpt,
    },
    /// [`require_ending`](super::Lines::require_ending): the stream ended within the line that
    /// starts at `offset`.
    Unterminated {
        /// Where the line starts.
        offset: u64,
        /// How the line starts.
        line_start: Excerpt,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::TooLong { offset, limit_bytes, line_start } => write!(
                f,
                "line at byte {offset} of the stream is longer than {limit_bytes} bytes, \
                 it starts \"{line_start}\""
            ),
            LineError::BareLf { offset, line_start } => write!(
                f,
                "LF without CR at byte {offset} of the stream, in the line \"{line_start}\""
            ),
            LineError::BareCr { offset, line_start } => write!(
                f,
                "CR without LF at byte {offset} of the stream, in the line \"{line_start}\""
            ),
            LineError::Unterminated { offset, line_start } => write!(
                f,
                "stream ended within the line at its byte {offset}, it starts \"{line_start}\""
            ),
        }
    }
}

impl error::Error for LineError {}

/// Why a text was not written as a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineEncodeError {
    /// The text is longer than the limit.
    TooLong {
        /// The length of the text.
        text_bytes: usize,
        /// The most bytes of text allowed.
        limit_bytes: usize,
    },
    /// The CR or LF at `index` of the text would be read as an ending, or as a broken one.
    HoldsEnding {
        /// Where in the text it stands.
        index: usize,
    },
}

impl fmt::Display for LineEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineEncodeError::TooLong { text_bytes, limit_bytes } => {
                write!(f, "text of {text_bytes} bytes is longer than a line of {limit_bytes} bytes")
            }
            LineEncodeError::HoldsEnding { index } => {
                write!(f, "text holds a line ending at byte {index}")
            }
        }
    }
}

impl error::Error for LineEncodeError {}
