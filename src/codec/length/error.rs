//! What can be wrong with a length.

use std::{error, fmt};

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
        /// The largest length allowed.
        limit_bytes: usize,
    },
    /// The frame that starts at `offset` announces less than every frame has: its
    /// [adjustment](super::LengthPrefixed::with_adjustment) would make it negative, or less would
    /// be there than is to be [stripped](super::LengthPrefixed::strip).
    TooShort {
        /// Where the frame starts.
        offset: u64,
        /// The length that the peer sent.
        announced_bytes: u64,
        /// The smallest length allowed.
        least_bytes: u64,
    },
    /// The stream ended within the frame that starts at `offset`.
    UnexpectedEnd {
        /// Where the frame starts.
        offset: u64,
        /// The length that the peer sent; `None` if the stream ended within the length, or before.
        announced_bytes: Option<u64>,
        /// How much came of what follows the length.
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
            LengthError::TooShort { offset, announced_bytes, least_bytes } => write!(
                f,
                "frame at byte {offset} of the stream announces {announced_bytes} bytes, \
                 the least is {least_bytes}"
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

/// The payload is longer than the limit, or than its length can say; or shorter than every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LengthEncodeError {
    /// The length of the payload.
    pub payload_bytes: u64,
    /// The least bytes of payload that this codec can write.
    pub least_bytes: u64,
    /// The most bytes of payload that this codec can write.
    pub limit_bytes: u64,
}

impl LengthEncodeError {
    /// Refuses a payload that is longer than the limit of a codec whose payloads may be empty.
    #[inline]
    pub(in crate::codec) fn check(payload: &[u8], limit_bytes: usize) -> Result<(), Self> {
        if payload.len() <= limit_bytes {
            return Ok(());
        }
        let (payload_bytes, limit_bytes) = (payload.len() as u64, limit_bytes as u64);
        Err(LengthEncodeError { payload_bytes, least_bytes: 0, limit_bytes })
    }
}

impl fmt::Display for LengthEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LengthEncodeError { payload_bytes, least_bytes, limit_bytes } = self;
        if payload_bytes < least_bytes {
            write!(f, "payload of {payload_bytes} bytes is shorter than the least of {least_bytes}")
        } else {
            write!(
                f,
                "payload of {payload_bytes} bytes is longer than a frame of {limit_bytes} bytes"
            )
        }
    }
}

impl error::Error for LengthEncodeError {}
