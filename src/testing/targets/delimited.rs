//! Targets for codecs whose frames end with a mark.

use super::stream::{byte_codec, limit};
use crate::codec::{Cobs, Delimited, DelimitedError, Slip, Stuffed};
use crate::testing::Choices;
use crate::testing::naive::{self, DelimitedEnd};

/// [`Delimited`] by one byte, by several, and by some that begin as they end; a simple version
/// agrees.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the delimiter, and whether the end of the stream is one |
/// | 1 | the limit |
/// | all others | the cuts and the stream, as for all codecs |
pub fn delimited(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mode = choices.below(2 * DELIMITERS.len());
    let delimiter = DELIMITERS[mode / 2];
    let may_end = mode % 2 == 1;
    let limit_bytes = limit(&mut choices);
    let make = || {
        let frames = Delimited::new(delimiter).with_limit(limit_bytes);
        if may_end { frames.or_end() } else { frames }
    };
    // What only the end of the stream ends may, with a delimiter behind it, hold another.
    let (input, reading) = byte_codec(choices, !may_end, make, <[u8]>::to_vec);
    let end = match reading.end {
        Ok(()) => DelimitedEnd::Clean,
        Err(DelimitedError::TooLong { offset, .. }) => DelimitedEnd::TooLong(offset),
        Err(DelimitedError::Unterminated { offset, .. }) => DelimitedEnd::Unterminated(offset),
    };
    let expected = naive::delimited(delimiter, may_end, limit_bytes, &input);
    assert_eq!((reading.frames, end), expected, "{delimiter:?}, up to {limit_bytes} bytes");
}

/// [`Cobs`].
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the limit |
/// | all others | the cuts and the stream, as for all codecs |
pub fn cobs(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = limit(&mut choices);
    byte_codec(
        choices,
        true,
        || Cobs::new().with_limit(limit_bytes),
        |frame| payload(frame, 0, limit_bytes),
    );
}

/// [`Slip`].
///
/// The bytes are those of [`cobs`].
pub fn slip(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = limit(&mut choices);
    byte_codec(
        choices,
        true,
        || Slip::new().with_limit(limit_bytes),
        |frame| payload(frame, 0o300, limit_bytes),
    );
}

/// The payload, of which all ways to see it must be one.
fn payload(frame: Stuffed<'_>, delimiter: u8, limit_bytes: usize) -> Vec<u8> {
    let payload = frame.to_bytes().into_owned();
    assert!(payload.len() <= limit_bytes, "{} bytes", payload.len());
    assert_eq!((frame.len(), frame.is_empty()), (payload.len(), payload.is_empty()));
    let pieces: Vec<&[u8]> = frame.pieces().collect();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    assert_eq!(pieces.concat(), payload);
    let mut appended = b"x".to_vec();
    frame.append_to(&mut appended);
    assert_eq!(appended[1..], payload);
    assert!(frame.as_slice().is_none_or(|slice| slice == payload));
    assert!(!frame.encoded().contains(&delimiter));
    payload
}

const DELIMITERS: [&[u8]; 5] = [b"|", b"\r\n", b"a|a", b"||", b"abcabd"];
