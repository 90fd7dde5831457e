//! The simple versions of what codecs do cleverly: all bytes are there, and nobody minds how long
//! it takes.

use crate::codec::{ByteOrder, Ending};

/// Frames with where each ended, and how the stream did.
pub(super) type Naive<E> = (Vec<(usize, Vec<u8>)>, E);

/// How a stream of lines ends; offsets are those of the errors.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum LinesEnd {
    Clean,
    TooLong(u64),
    BareLf(u64),
    BareCr(u64),
    Unterminated(u64),
}

pub(super) fn lines(
    ending: Ending,
    requires_ending: bool,
    limit_bytes: usize,
    input: &[u8],
) -> Naive<LinesEnd> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let at = start as u64;
        let is_end = |byte: &u8| *byte == b'\n' || (ending == Ending::CrLf && *byte == b'\r');
        let Some(index) = rest.iter().position(is_end) else {
            let end = if rest.len() > limit_bytes {
                LinesEnd::TooLong(at)
            } else if requires_ending {
                LinesEnd::Unterminated(at)
            } else {
                frames.push((input.len(), rest.to_vec()));
                LinesEnd::Clean
            };
            return (frames, end);
        };
        let is_pair = rest[index..].starts_with(b"\r\n");
        let has_cr = ending == Ending::Any && index > 0 && rest[index - 1] == b'\r';
        let text_bytes = index - usize::from(has_cr);
        if text_bytes > limit_bytes {
            return (frames, LinesEnd::TooLong(at));
        }
        if ending == Ending::CrLf && !is_pair {
            let at = at + index as u64;
            let is_lf = rest[index] == b'\n';
            return (frames, if is_lf { LinesEnd::BareLf(at) } else { LinesEnd::BareCr(at) });
        }
        start += index + 1 + usize::from(is_pair);
        frames.push((start, rest[..text_bytes].to_vec()));
    }
    (frames, LinesEnd::Clean)
}

/// The form of frames behind their length.
#[derive(Debug)]
pub(super) struct LengthForm {
    pub(super) width: usize,
    pub(super) order: ByteOrder,
    pub(super) length_index: usize,
    pub(super) adjustment: i64,
    pub(super) stripped_bytes: usize,
    pub(super) limit_bytes: usize,
}

/// How a stream of frames behind their length ends.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum LengthEnd {
    Clean,
    TooLong(u64),
    TooShort(u64),
    Unexpected(u64),
}

pub(super) fn length_prefixed(form: &LengthForm, input: &[u8]) -> Naive<LengthEnd> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let at = start as u64;
        let prefix_bytes = form.length_index + form.width;
        let Some(field) = rest.get(form.length_index..prefix_bytes) else {
            return (frames, LengthEnd::Unexpected(at));
        };
        let join = |length: i128, byte: &u8| length << 8 | i128::from(*byte);
        let announced = match form.order {
            ByteOrder::Big => field.iter().fold(0, join),
            ByteOrder::Little => field.iter().rev().fold(0, join),
        };
        let body_bytes = announced + i128::from(form.adjustment);
        if body_bytes > form.limit_bytes as i128 {
            return (frames, LengthEnd::TooLong(at));
        }
        if body_bytes < 0 || prefix_bytes as i128 + body_bytes < form.stripped_bytes as i128 {
            return (frames, LengthEnd::TooShort(at));
        }
        let Some(frame) = rest.get(..prefix_bytes + body_bytes as usize) else {
            return (frames, LengthEnd::Unexpected(at));
        };
        start += frame.len();
        frames.push((start, frame[form.stripped_bytes..].to_vec()));
    }
    (frames, LengthEnd::Clean)
}

/// How a stream of delimited frames ends.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum DelimitedEnd {
    Clean,
    TooLong(u64),
    Unterminated(u64),
}

pub(super) fn delimited(
    delimiter: &[u8],
    may_end: bool,
    limit_bytes: usize,
    input: &[u8],
) -> Naive<DelimitedEnd> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let at = start as u64;
        let found = rest.windows(delimiter.len()).position(|window| window == delimiter);
        let frame = &rest[..found.unwrap_or(rest.len())];
        if frame.len() > limit_bytes {
            return (frames, DelimitedEnd::TooLong(at));
        }
        if found.is_none() && !may_end {
            return (frames, DelimitedEnd::Unterminated(at));
        }
        start += frame.len() + found.map_or(0, |_| delimiter.len());
        frames.push((start, frame.to_vec()));
    }
    (frames, DelimitedEnd::Clean)
}

/// How a stream of payloads ends that say how long they are.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum PayloadsEnd {
    Clean,
    TooLong(u64),
    BadLength(u64),
    NoComma(u64),
    Unexpected(u64),
}

pub(super) fn varint_prefixed(limit_bytes: usize, input: &[u8]) -> Naive<PayloadsEnd> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let at = start as u64;
        let is_last = |byte: &u8| *byte < 0x80;
        let length_bytes = rest.iter().position(is_last).map(|index| index + 1);
        let digits = &rest[..length_bytes.unwrap_or(rest.len()).min(10)];
        let join = |length: u128, byte: &u8| length << 7 | u128::from(byte & 0x7f);
        let length = digits.iter().rev().fold(0, join);
        // Of 64 bits the tenth byte holds one, and is the last.
        let is_wide = rest.get(9).is_some_and(|&tenth| tenth > 1) && digits.len() == 10;
        if is_wide || (digits.len() > 1 && digits.ends_with(&[0])) {
            return (frames, PayloadsEnd::BadLength(at));
        }
        let Some(length_bytes) = length_bytes else {
            return (frames, PayloadsEnd::Unexpected(at));
        };
        if length > limit_bytes as u128 {
            return (frames, PayloadsEnd::TooLong(at));
        }
        let Some(payload) = rest[length_bytes..].get(..length as usize) else {
            return (frames, PayloadsEnd::Unexpected(at));
        };
        start += length_bytes + payload.len();
        frames.push((start, payload.to_vec()));
    }
    (frames, PayloadsEnd::Clean)
}

pub(super) fn netstrings(limit_bytes: usize, input: &[u8]) -> Naive<PayloadsEnd> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let rest = &input[start..];
        let at = start as u64;
        let digit_count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = &rest[..digit_count];
        let length = digits.iter().fold(0_usize, |length, digit| {
            length.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        // Whichever is seen first: a digit that may not follow a zero, or one too many.
        let is_bad = digits.starts_with(b"0") && digit_count > 1;
        if !is_bad && length > limit_bytes {
            return (frames, PayloadsEnd::TooLong(at));
        }
        if is_bad || digit_count == 0 || rest.get(digit_count) != Some(&b':') {
            let is_cut = !is_bad && digit_count == rest.len();
            let end = if is_cut { PayloadsEnd::Unexpected } else { PayloadsEnd::BadLength };
            return (frames, end(at));
        }
        let behind = &rest[digit_count + 1..];
        if behind.len() <= length {
            return (frames, PayloadsEnd::Unexpected(at));
        }
        if behind[length] != b',' {
            let comma = start + digit_count + 1 + length;
            return (frames, PayloadsEnd::NoComma(comma as u64));
        }
        start += digit_count + 1 + length + 1;
        frames.push((start, behind[..length].to_vec()));
    }
    (frames, PayloadsEnd::Clean)
}
