//! [`VarintPrefixed`] against the numbers of `leb128` and `unsigned-varint`.
//!
//! All three read the same numbers. They differ in this:
//!
//! - `leb128` allows zeros at the end, which we refuse, as `unsigned-varint` does.
//! - `unsigned-varint` drops what of a tenth byte is beyond 64 bits, which we refuse, as `leb128`
//!   does; and says of a number of more than ten bytes that it is too large before it sees the end.

use tidemill::codec::{Decoder, Encoder, VarintError, VarintPrefixed};
use tidemill::testing::Choices;
use unsigned_varint::decode;

use crate::stream::{Stream, frames};

/// Cuts and the stream: a number, and behind it anything.
pub fn versus_leb128(data: &[u8]) {
    let stream = Stream::new(Choices::new(data));
    let limit_bytes = stream.bytes.len();
    let (our_frames, end) =
        frames(stream.read(VarintPrefixed::new().with_limit(limit_bytes), <[u8]>::to_vec));

    // The stream as they see it.
    let mut rest = stream.bytes;
    for frame in &our_frames {
        let number = ::leb128::read::unsigned(&mut rest).expect("we could read it");
        assert_eq!(number, frame.len() as u64);
        let payload = rest.split_off(..frame.len()).expect("we could read it");
        assert_eq!(payload, frame);
        let mut out = Vec::new();
        VarintPrefixed::new().encode(frame, &mut out).expect("it is short");
        let mut their_out = Vec::new();
        ::leb128::write::unsigned(&mut their_out, number).expect("a vector takes all");
        let mut buffer = unsigned_varint::encode::u64_buffer();
        assert_eq!(unsigned_varint::encode::u64(number, &mut buffer), their_out);
        assert_eq!(out, [&their_out[..], frame].concat());
    }
    let start = rest;
    let strict = decode::u64(start);
    let wide = ::leb128::read::unsigned(&mut rest);
    match end {
        Ok(()) => assert!(start.is_empty()),
        Err(VarintError::TooLong { announced_bytes, .. }) => {
            assert_eq!(strict.map(|(number, _)| number), Ok(announced_bytes));
            assert_eq!(wide.ok(), Some(announced_bytes));
            assert!(announced_bytes > limit_bytes as u64);
        }
        Err(VarintError::Overlong { .. }) => assert_eq!(strict, Err(decode::Error::NotMinimal)),
        Err(VarintError::Overflow { .. }) => {
            // They read on to the last byte of the number before they say so.
            assert!(wide.is_err(), "{wide:?}");
            assert!(start.len() >= 10 && start[..9].iter().all(|byte| *byte >= 0x80));
        }
        Err(VarintError::UnexpectedEnd { announced_bytes: None, .. }) => {
            assert_eq!(strict, Err(decode::Error::Insufficient));
            assert!(wide.is_err());
        }
        Err(VarintError::UnexpectedEnd { announced_bytes: Some(number), .. }) => {
            assert_eq!(strict.as_ref().map(|(number, _)| *number), Ok(number));
            assert!(strict.is_ok_and(|(_, behind)| (behind.len() as u64) < number));
            assert_eq!(wide.ok(), Some(number));
        }
        Err(error) => panic!("{error} is new"),
    }
    any_number(stream.bytes);
}

/// Without the limits of frames: the first number of any bytes, as all three read it.
fn any_number(input: &[u8]) {
    let ours = VarintPrefixed::new().with_limit(0).decode(input);
    let strict = decode::u64(input);
    match ours {
        Err(VarintError::TooLong { announced_bytes, .. }) => {
            assert_eq!(strict.map(|(number, _)| number), Ok(announced_bytes));
        }
        Ok(Some((payload, taken))) => {
            assert_eq!((payload.len(), strict), (0, Ok((0, &input[taken..]))));
        }
        Ok(None) => assert_eq!(strict, Err(decode::Error::Insufficient)),
        Err(VarintError::Overlong { .. }) => assert_eq!(strict, Err(decode::Error::NotMinimal)),
        Err(_) => {}
    }
}
