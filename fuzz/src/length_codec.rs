//! [`LengthPrefixed`] against tokio-util's `LengthDelimitedCodec`.
//!
//! They agree on where the length stands, how it is written, and what follows it. They differ in
//! this:
//!
//! - Our adjustment is to the number of bytes behind the length, whatever is shown of those in
//!   front; theirs is to the number of bytes that are shown: larger by what is kept of the prefix.
//! - Our limit is on the bytes behind the length, theirs on the number that stands there. (So one
//!   is the other less the adjustment.)
//! - A length by which a frame would end within its own prefix is too short for us; they show what
//!   there is of the prefix, if that is not less than nothing. Where it is nothing, and none of
//!   the prefix is skipped, they take nothing either, and answer empty frames without end.
//! - They can skip more than the prefix, and panic where the stream has less: this is not asked.
//! - They forget the prefix once they have it: a stream that ends right behind a prefix that is
//!   all skipped is clean to them, and an unexpected end to us.
//! - With a negative adjustment they take the largest number that the length can say for less by
//!   as much, and refuse what is between the two.
//! - Their encoder knows no header in front of the length, so only forms without one are written.

use tidemill::codec::{ByteOrder, Encoder, LengthError, LengthPrefixed, Width};
use tidemill::testing::Choices;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Encoder as _, LengthDelimitedCodec};

use crate::stream::{Stream, frames};
use crate::tokio;

/// | bytes | meaning |
/// |---|---|
/// | 1 | width and byte order |
/// | 1 | where the length stands |
/// | 1 | the adjustment |
/// | 1 | how much of the prefix is shown |
/// | 1 | the limit |
/// | all others | cuts and the stream |
pub fn versus_length_codec(data: &[u8]) {
    let mut choices = Choices::new(data);
    let shape = choices.below(10);
    let width = [Width::One, Width::Two, Width::Three, Width::Four, Width::Eight][shape / 2];
    let order = [ByteOrder::Big, ByteOrder::Little][shape % 2];
    let length_index = choices.below(8);
    let prefix_bytes = length_index + width.bytes();
    let adjustment = i64::from(choices.byte() as i8);
    let kept_bytes = choices.below(prefix_bytes + 1);
    // No form in which every length is too long.
    let limit_bytes = choices.below(256).max(adjustment.max(0) as usize);
    let stream = Stream::new(choices);

    let form = || {
        LengthPrefixed::new(width, order)
            .with_length_at(length_index)
            .with_adjustment(adjustment)
            .strip(prefix_bytes - kept_bytes)
            .with_limit(limit_bytes)
    };
    let mut builder = LengthDelimitedCodec::builder();
    match order {
        ByteOrder::Big => builder.big_endian(),
        ByteOrder::Little => builder.little_endian(),
    };
    let mut theirs = builder
        .length_field_offset(length_index)
        .length_field_length(width.bytes())
        .length_adjustment(adjustment as isize + kept_bytes as isize)
        .num_skip(prefix_bytes - kept_bytes)
        .max_frame_length((limit_bytes as i64 - adjustment) as usize)
        .new_codec();
    let (their_frames, their_end) = tokio::read_pieces(&mut theirs, stream.pieces());
    let reading = stream.read(form(), <[u8]>::to_vec);
    let behind_bytes = stream.bytes.len() - reading.frames.last().map_or(0, |(end, _)| *end);
    let (our_frames, end) = frames(reading);

    let common = our_frames.len().min(their_frames.len());
    assert_eq!(our_frames[..common], their_frames[..common]);
    let is_end_of = |kind: std::io::ErrorKind| {
        their_frames.len() == common && their_end.as_ref().is_err_and(|error| error.kind() == kind)
    };
    let their_max = theirs.max_frame_length() as u64;
    if let Some(frame) = our_frames.get(common) {
        let announced_bytes = (frame.len() - kept_bytes) as i64 - adjustment;
        assert!(announced_bytes as u64 > their_max, "they found less");
        assert!(is_end_of(std::io::ErrorKind::InvalidData), "{their_end:?}");
        return;
    }
    match end {
        Ok(()) => assert!(their_frames.len() == common && their_end.is_ok()),
        Err(LengthError::TooLong { .. }) => assert!(is_end_of(std::io::ErrorKind::InvalidData)),
        Err(LengthError::TooShort { announced_bytes, .. }) => {
            let shown_bytes = i128::from(announced_bytes) + i128::from(adjustment);
            let shown_bytes = shown_bytes + kept_bytes as i128;
            if shown_bytes < 0 {
                assert!(is_end_of(std::io::ErrorKind::InvalidInput), "{their_end:?}");
            } else {
                assert!((shown_bytes as usize) < kept_bytes);
                assert_eq!(their_frames[common].len(), shown_bytes as usize);
            }
        }
        Err(LengthError::UnexpectedEnd { announced_bytes: Some(length), .. })
            if length > their_max =>
        {
            assert!(is_end_of(std::io::ErrorKind::InvalidData), "{their_end:?}");
        }
        Err(LengthError::UnexpectedEnd { .. }) => {
            let is_forgotten = kept_bytes == 0 && behind_bytes == prefix_bytes;
            assert_eq!(their_frames.len(), common);
            assert_eq!(their_end.is_ok(), is_forgotten, "{their_end:?}");
        }
        Err(error) => panic!("{error} is new"),
    }
    if length_index > 0 || kept_bytes > 0 {
        return;
    }
    for frame in our_frames {
        let (mut out, mut their_out) = (Vec::new(), BytesMut::new());
        form().encode(&frame, &mut out).expect("it was read");
        match theirs.encode(&frame[..], &mut their_out) {
            Ok(()) => assert_eq!(out, their_out),
            // Here they compare the bytes, not the number, with their limit.
            Err(_) => assert!(frame.len() > theirs.max_frame_length()),
        }
    }
}
