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
