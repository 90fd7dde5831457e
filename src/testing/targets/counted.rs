//! Targets for codecs whose frames say how long they are, or are all of one length.

use super::stream::{Stream, byte_codec, item, limit, write};
use crate::codec::{
    ByteOrder, Chunk, Chunked, FixedLength, LengthError, LengthPrefixed, NetstringError,
    Netstrings, VarintError, VarintPrefixed, Width,
};
use crate::testing::Choices;
use crate::testing::naive::{self, LengthEnd, LengthForm, PayloadsEnd};

/// [`FixedLength`] of one, three and eight bytes: all that has come, cut to that length.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the length |
/// | all others | the cuts and the stream, as for all codecs |
pub fn fixed(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(3) {
        0 => fixed_of::<1>(choices),
        1 => fixed_of::<3>(choices),
        _ => fixed_of::<8>(choices),
    }
}

fn fixed_of<const N: usize>(choices: Choices<'_>) {
    let mut encoder = FixedLength::<N>::new();
    let stream = Stream::new(choices, |choices, out| {
        let frame = *choices.bytes(N).first_chunk::<N>()?;
        write(&mut encoder, &frame, out).then_some(frame)
    });
    let reading = stream.read(FixedLength::<N>::new, |frame| *frame);
    let chunks = stream.bytes.chunks_exact(N);
    let rest = chunks.remainder();
    assert!(reading.frames.iter().map(|(_, frame)| &frame[..]).eq(chunks));
    let wrong = reading.end.err().map(|error| (error.offset, error.received_bytes));
    let start = stream.bytes.len() - rest.len();
    assert_eq!(wrong, (!rest.is_empty()).then_some((start as u64, rest.len())));
}

/// [`LengthPrefixed`] in every form; a simple version agrees.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | [`Width`] and [`ByteOrder`] |
/// | 1 | where the length stands |
/// | 2, or 8 if the first is 255 | the adjustment |
/// | 1 | what is stripped |
/// | 2 | the limit |
/// | all others | the cuts and the stream, as for all codecs |
pub fn length_prefixed(data: &[u8]) {
    let mut choices = Choices::new(data);
    let shape = choices.below(10);
    let width = [Width::One, Width::Two, Width::Three, Width::Four, Width::Eight][shape / 2];
    let order = if shape % 2 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let length_index = choices.below(8);
    let adjustment = match choices.byte() {
        255 => {
            let mut wide = [0; 8];
            let given = choices.bytes(8);
            wide[..given.len()].copy_from_slice(given);
            i64::from_le_bytes(wide)
        }
        small => i64::from(small as i8),
    };
    let prefix_bytes = length_index + width.bytes();
    // Mostly the prefix, as when nothing is said.
    let stripped_bytes = [prefix_bytes, choices.below(24)][usize::from(choices.flag())];
    let limit_bytes = choices.below(1 << 16);
    let make = || {
        LengthPrefixed::new(width, order)
            .with_length_at(length_index)
            .with_adjustment(adjustment)
            .strip(stripped_bytes)
            .with_limit(limit_bytes)
    };
    // An encoder is given all but the length: header and body.
    let mut encoder = make();
    let stream = Stream::new(choices, |choices, out| {
        let item = item(choices);
        let start = out.len();
        write(&mut encoder, &item, out).then(|| {
            let frame = &out[start..];
            assert_eq!(frame[..length_index], item[..length_index]);
            assert_eq!(frame[prefix_bytes..], item[length_index..]);
            frame[stripped_bytes..].to_vec()
        })
    });
    let reading = stream.read(make, <[u8]>::to_vec);
    assert!(!stream.is_unspoiled() || reading.end.is_ok(), "{reading:?}");
    let width = width.bytes();
    let form = LengthForm { width, order, length_index, adjustment, stripped_bytes, limit_bytes };
    let expected = naive::length_prefixed(&form, &stream.bytes);
    assert_eq!((reading.frames, length_end(reading.end)), expected, "{form:?}");
}

/// How a stream of frames behind their length ended, in the words of the simple version.
pub(super) fn length_end(end: Result<(), LengthError>) -> LengthEnd {
    match end {
        Ok(()) => LengthEnd::Clean,
        Err(LengthError::TooLong { offset, .. }) => LengthEnd::TooLong(offset),
        Err(LengthError::TooShort { offset, .. }) => LengthEnd::TooShort(offset),
        Err(LengthError::UnexpectedEnd { offset, .. }) => LengthEnd::Unexpected(offset),
    }
}

/// [`VarintPrefixed`]; a simple version agrees.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the limit |
/// | all others | the cuts and the stream, as for all codecs |
pub fn varint_prefixed(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = limit(&mut choices);
    let make = || VarintPrefixed::new().with_limit(limit_bytes);
    let (input, reading) = byte_codec(choices, true, make, <[u8]>::to_vec);
    let end = match reading.end {
        Ok(()) => PayloadsEnd::Clean,
        Err(VarintError::TooLong { offset, .. }) => PayloadsEnd::TooLong(offset),
        Err(VarintError::UnexpectedEnd { offset, .. }) => PayloadsEnd::Unexpected(offset),
        Err(VarintError::Overlong { offset, .. } | VarintError::Overflow { offset, .. }) => {
            PayloadsEnd::BadLength(offset)
        }
    };
    assert_eq!((reading.frames, end), naive::varint_prefixed(limit_bytes, &input));
}

/// [`Netstrings`]; a simple version agrees.
///
/// The bytes are those of [`varint_prefixed`].
pub fn netstrings(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = limit(&mut choices);
    let make = || Netstrings::new().with_limit(limit_bytes);
    let (input, reading) = byte_codec(choices, true, make, <[u8]>::to_vec);
    let end = match reading.end {
        Ok(()) => PayloadsEnd::Clean,
        Err(NetstringError::TooLong { offset, .. }) => PayloadsEnd::TooLong(offset),
        Err(NetstringError::BadLength { offset, .. }) => PayloadsEnd::BadLength(offset),
        Err(NetstringError::NoComma { offset, .. }) => PayloadsEnd::NoComma(offset),
        Err(NetstringError::UnexpectedEnd { offset, .. }) => PayloadsEnd::Unexpected(offset),
    };
    assert_eq!((reading.frames, end), naive::netstrings(limit_bytes, &input));
}

/// [`Chunked`] bodies, one behind the other.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the limit of a chunk |
/// | 1 | the limit of what is no data |
/// | all others | the cuts and the stream, as for all codecs |
pub fn chunked(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (chunk_limit, extra_limit) = (limit(&mut choices), limit(&mut choices));
    let make = || Chunked::new().with_limit(chunk_limit).with_extra_limit(extra_limit);
    let mut encoder = make();
    let mut is_over = false;
    let stream = Stream::new(choices, |choices, out| {
        let chunk = match choices.below(8) {
            0 => Owned::End,
            1 => Owned::Trailer(item(choices)),
            2 => {
                let len = choices.below(32);
                Owned::Trailer([b"A:", choices.bytes(len)].concat())
            }
            _ => Owned::Data(item(choices)),
        };
        if !write(&mut encoder, chunk.lend(), out) {
            return None;
        }
        is_over = chunk == Owned::End;
        Some(chunk)
    });
    let is_unspoiled = stream.is_unspoiled();
    let reading = stream.read(make, Owned::of);
    assert!(!is_unspoiled || reading.end.is_ok() == is_over, "{reading:?}");
    if reading.end.is_ok() {
        let last = reading.frames.last().map(|(_, chunk)| chunk);
        assert_eq!(last, Some(&Owned::End), "a body that is not over is an error");
    }
}

/// A [`Chunk`] with its bytes.
#[derive(PartialEq, Debug)]
enum Owned {
    Data(Vec<u8>),
    Trailer(Vec<u8>),
    End,
}

impl Owned {
    fn of(chunk: Chunk<'_>) -> Owned {
        match chunk {
            Chunk::Data(data) => Owned::Data(data.to_vec()),
            Chunk::Trailer(field) => Owned::Trailer(field.to_vec()),
            Chunk::End => Owned::End,
        }
    }

    fn lend(&self) -> Chunk<'_> {
        match self {
            Owned::Data(data) => Chunk::Data(data),
            Owned::Trailer(field) => Chunk::Trailer(field),
            Owned::End => Chunk::End,
        }
    }
}
