//! Targets for codecs made of codecs, and for the one that has no frames.

use super::counted::length_end;
use super::lines::lines_end;
use super::stream::{Stream, item, limit, write};
use crate::codec::{
    ByteOrder, Bytes, Chain, ChainError, Either, Ending, LengthPrefixed, Lines, Switch,
    SwitchError, Width,
};
use crate::testing::naive::{self, LengthEnd, LengthForm, LinesEnd};
use crate::testing::{Choices, read_pieces};

/// [`Bytes`]: whatever the cuts, all bytes and nothing else. (It is the one codec whose frames
/// depend on them.)
///
/// The bytes are the cuts and the stream, as for all codecs.
pub fn bytes(data: &[u8]) {
    let stream = Stream::new(Choices::new(data), |choices, out| {
        let item = item(choices);
        write(&mut Bytes, &item, out).then_some(item)
    });
    let reading = read_pieces(&mut Bytes, stream.pieces(), <[u8]>::to_vec);
    let pieces: Vec<&[u8]> = stream.pieces().filter(|piece| !piece.is_empty()).collect();
    assert!(reading.frames.iter().map(|(_, frame)| &frame[..]).eq(pieces));
    assert_eq!(reading.end, Ok(()));
}

/// [`Switch`] from lines to frames behind their length, behind an empty line or a number of
/// lines; it reads what the simple versions of both read, one behind the other.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the limit of a line |
/// | 1 | behind how many lines, or an empty one |
/// | all others | the cuts and the stream, as for all codecs |
pub fn switch(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = limit(&mut choices);
    let count = choices.below(5);
    let make = || {
        let lines = Lines::new(Ending::Any).with_limit(limit_bytes);
        let codec = Switch::new(lines, LengthPrefixed::new(Width::One, ByteOrder::Big));
        match count {
            4 => codec.after(|line| line.text().is_empty()),
            _ => codec.after_frames(count as u64),
        }
    };
    let is_last = |index: usize, line: &[u8]| match count {
        4 => line.is_empty(),
        _ => index + 1 == count,
    };

    let (mut encoder, mut line_count, mut is_over) = (make(), 0, count == 0);
    let stream = Stream::new(choices, |choices, out| {
        let item = item(choices);
        if is_over {
            return write(&mut encoder, Either::Second(&item), out).then_some(Either::Second(item));
        }
        if !write(&mut encoder, Either::First(&item), out) {
            return None;
        }
        is_over = is_last(line_count, &item);
        line_count += 1;
        Some(Either::First(item))
    });
    let is_unspoiled = stream.is_unspoiled();
    let reading = stream.read(make, |frame| match frame {
        Either::First(line) => Either::First(line.text().to_vec()),
        Either::Second(payload) => Either::Second(payload.to_vec()),
    });
    assert!(!is_unspoiled || reading.end.is_ok(), "{reading:?}");

    let (mut lines, mut end) = naive::lines(Ending::Any, false, limit_bytes, &stream.bytes);
    let last = lines.iter().enumerate().position(|(index, (_, line))| is_last(index, line));
    let start = match last {
        _ if count == 0 => Some(0),
        Some(last) => Some(lines[last].0),
        None => None,
    };
    let mut payloads = Vec::new();
    let mut payloads_end = LengthEnd::Clean;
    if let Some(start) = start {
        lines.truncate(last.map_or(0, |last| last + 1));
        end = LinesEnd::Clean;
        (payloads, payloads_end) = naive::length_prefixed(&ONE_BYTE, &stream.bytes[start..]);
        payloads.iter_mut().for_each(|(end, _)| *end += start);
    }
    let lines = lines.into_iter().map(|(end, line)| (end, Either::First(line)));
    let payloads = payloads.into_iter().map(|(end, payload)| (end, Either::Second(payload)));
    assert_eq!(reading.frames, lines.chain(payloads).collect::<Vec<_>>());
    let ends = match reading.end {
        Ok(()) => (LinesEnd::Clean, LengthEnd::Clean),
        Err(SwitchError::First(error)) => (lines_end(Err(error)), LengthEnd::Clean),
        Err(SwitchError::Second { start: began, error }) => {
            assert_eq!(Some(began), start.map(|start| start as u64));
            (LinesEnd::Clean, length_end(Err(error)))
        }
    };
    assert_eq!(ends, (end, payloads_end));
}

/// [`Chain`] of lines in frames behind their length; the simple versions of both, one within the
/// other, agree.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the [`Ending`] |
/// | 1 | the limit of a line |
/// | all others | the cuts and the stream, as for all codecs |
pub fn chain(data: &[u8]) {
    let mut choices = Choices::new(data);
    let ending = [Ending::Any, Ending::Lf, Ending::CrLf][choices.below(3)];
    let limit_bytes = limit(&mut choices);
    let outer = || LengthPrefixed::new(Width::One, ByteOrder::Big);
    let make = || Chain::new(outer(), Lines::new(ending).with_limit(limit_bytes));
    let mut encoder = make();
    let stream = Stream::new(choices, |choices, out| {
        let item = item(choices);
        write(&mut encoder, &item, out).then_some(item)
    });
    let is_unspoiled = stream.is_unspoiled();
    let reading = stream.read(make, |line| line.text().to_vec());
    assert!(!is_unspoiled || reading.end.is_ok(), "{reading:?}");

    let (payloads, outer_end) = naive::length_prefixed(&ONE_BYTE, &stream.bytes);
    let mut expected = Vec::new();
    let mut expected_end = (None, LinesEnd::Clean, outer_end);
    for (payload_end, payload) in payloads {
        let start = payload_end - payload.len();
        let (lines, end) = naive::lines(ending, false, limit_bytes, &payload);
        expected.extend(lines.into_iter().map(|(end, line)| (start + end, line)));
        if end != LinesEnd::Clean {
            expected_end = (Some(start as u64), end, LengthEnd::Clean);
            break;
        }
    }
    assert_eq!(reading.frames, expected);
    let end = match reading.end {
        Ok(()) => (None, LinesEnd::Clean, LengthEnd::Clean),
        Err(ChainError::Outer(error)) => (None, LinesEnd::Clean, length_end(Err(error))),
        Err(ChainError::Inner { start, error }) => {
            (Some(start), lines_end(Err(error)), LengthEnd::Clean)
        }
        Err(error) => panic!("frames behind their length all end before the stream: {error}"),
    };
    assert_eq!(end, expected_end);
}

/// What both have for frames behind their length.
const ONE_BYTE: LengthForm = LengthForm {
    width: 1,
    order: ByteOrder::Big,
    length_index: 0,
    adjustment: 0,
    stripped_bytes: 1,
    limit_bytes: LengthPrefixed::DEFAULT_LIMIT_BYTES,
};
