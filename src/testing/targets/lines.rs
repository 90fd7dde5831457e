//! Targets for codecs of lines.

use super::stream::{Stream, byte_codec, item, limit, write};
use crate::codec::{Ending, LineError, Lines, Next, Part, Text, Utf8LineError, Utf8Lines};
use crate::testing::Choices;
use crate::testing::naive::{self, LinesEnd};

/// What is chosen of [`Lines`], in two bytes: [`Ending`] and whether one is required, and a limit.
#[derive(Clone, Copy, Debug)]
struct Form {
    ending: Ending,
    requires_ending: bool,
    limit_bytes: usize,
}

impl Form {
    fn new(choices: &mut Choices<'_>) -> Form {
        let mode = choices.below(6);
        let ending = [Ending::Any, Ending::Lf, Ending::CrLf][mode / 2];
        Form { ending, requires_ending: mode % 2 == 1, limit_bytes: limit(choices) }
    }

    fn lines(self) -> Lines {
        let lines = Lines::new(self.ending).with_limit(self.limit_bytes);
        if self.requires_ending { lines.require_ending() } else { lines }
    }

    fn naive(self, input: &[u8]) -> naive::Naive<LinesEnd> {
        naive::lines(self.ending, self.requires_ending, self.limit_bytes, input)
    }
}

/// [`Lines`] in every mode; a simple version agrees.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | [`Ending`], and whether one is required |
/// | 1 | the limit |
/// | all others | the cuts and the stream, as for all codecs |
pub fn lines(data: &[u8]) {
    let mut choices = Choices::new(data);
    let form = Form::new(&mut choices);
    // Not every line that is read can be written: with `Ending::Any` a last one may end with CR.
    let (input, reading) = byte_codec(choices, false, || form.lines(), |line| line.text().to_vec());
    assert_eq!((reading.frames, lines_end(reading.end)), form.naive(&input), "{form:?}");
}

/// [`Utf8Lines`] in every mode: they are lines up to the first that is no string.
///
/// The bytes are those of [`lines()`].
pub fn utf8_lines(data: &[u8]) {
    let mut choices = Choices::new(data);
    let form = Form::new(&mut choices);
    let make = || Utf8Lines::new(form.lines());
    let mut encoder = make();
    let stream = Stream::new(choices, |choices, out| {
        let text = String::from_utf8(item(choices)).ok()?;
        write(&mut encoder, &text, out).then_some(text)
    });
    let reading = stream.read(make, str::to_owned);
    assert!(!stream.is_unspoiled() || reading.end.is_ok(), "{reading:?}");

    let (lines, lines_end_of) = form.naive(&stream.bytes);
    let strings = lines.iter().map_while(|(end, line)| {
        let text = String::from_utf8(line.clone()).ok()?;
        Some((*end, text))
    });
    let strings: Vec<(usize, String)> = strings.collect();
    assert_eq!(reading.frames, strings, "{form:?}");
    match reading.end {
        Err(Utf8LineError::NotUtf8 { offset, line }) => {
            let (_, bad) = &lines[strings.len()];
            let start = strings.last().map_or(0, |(end, _)| *end);
            let error = std::str::from_utf8(bad).expect_err("it is no string");
            assert_eq!(offset, (start + error.valid_up_to()) as u64);
            assert!(bad.starts_with(line.as_bytes()));
        }
        Err(Utf8LineError::Line(error)) => {
            assert_eq!((strings.len(), lines_end(Err(error))), (lines.len(), lines_end_of));
        }
        Ok(()) => assert_eq!((strings.len(), LinesEnd::Clean), (lines.len(), lines_end_of)),
    }
}

/// [`Text`] in which a line that is a number announces a block, one that ends with a number in
/// braces a literal, and one that starts with a dot dotted lines.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | the limit of a line |
/// | 1 | the limit of a block |
/// | all others | the cuts and the stream, as for all codecs |
pub fn text(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (line_limit, block_limit) = (limit(&mut choices), limit(&mut choices));
    let make = || {
        let text = Text::new().announced_by(announced);
        text.with_line_limit(line_limit).with_block_limit(block_limit)
    };
    let mut encoder = make();
    let mut next = Next::Line;
    let stream = Stream::new(choices, |choices, out| {
        let part = part(next, choices);
        if !write(&mut encoder, part.lend(), out) {
            return None;
        }
        next = match &part {
            Owned::Line(line) => announced(line),
            Owned::Dotted(_) => Next::Dotted,
            Owned::Block(_) | Owned::DottedEnd => Next::Line,
        };
        // Of a literal without bytes there is nothing to see.
        if next == Next::Literal(0) {
            next = Next::Line;
        }
        Some(part)
    });
    let is_unspoiled = stream.is_unspoiled();
    let reading = stream.read(make, Owned::of);
    let is_ended = next == Next::Line;
    assert!(!is_unspoiled || reading.end.is_ok() == is_ended, "{next:?} is owed: {reading:?}");
}

/// What a line announces in this target.
fn announced(line: &[u8]) -> Next {
    match line {
        [b'.', ..] => Next::Dotted,
        [b'0'..=b'9', .., b'}'] | [b'{', ..] => Next::literal(line),
        [b'0'..=b'9', ..] => Next::block(line),
        _ => Next::Line,
    }
}

/// A part of what is expected, mostly.
fn part(next: Next, choices: &mut Choices<'_>) -> Owned {
    match next {
        Next::Block(bytes) | Next::Literal(bytes) => {
            let mut block = choices.bytes(bytes as usize).to_vec();
            block.resize(bytes as usize, b'\n');
            Owned::Block(block)
        }
        Next::Dotted if choices.below(4) == 0 => Owned::DottedEnd,
        Next::Dotted => Owned::Dotted(item(choices)),
        Next::Line | Next::Unreadable => match choices.below(8) {
            0 => Owned::Line(choices.below(300).to_string().into_bytes()),
            1 => Owned::Line(format!("{{{}}}", choices.below(300)).into_bytes()),
            2 => Owned::Line(b".".to_vec()),
            3 => Owned::Dotted(item(choices)),
            _ => Owned::Line(item(choices)),
        },
    }
}

/// A [`Part`] with its bytes.
#[derive(PartialEq, Debug)]
enum Owned {
    Line(Vec<u8>),
    Block(Vec<u8>),
    Dotted(Vec<u8>),
    DottedEnd,
}

impl Owned {
    fn of(part: Part<'_>) -> Owned {
        match part {
            Part::Line(line) => Owned::Line(line.to_vec()),
            Part::Block(block) => Owned::Block(block.to_vec()),
            Part::Dotted(line) => Owned::Dotted(line.to_vec()),
            Part::DottedEnd => Owned::DottedEnd,
        }
    }

    fn lend(&self) -> Part<'_> {
        match self {
            Owned::Line(line) => Part::Line(line),
            Owned::Block(block) => Part::Block(block),
            Owned::Dotted(line) => Part::Dotted(line),
            Owned::DottedEnd => Part::DottedEnd,
        }
    }
}

/// How a stream of lines ended, in the words of the simple version.
pub(super) fn lines_end(end: Result<(), LineError>) -> LinesEnd {
    match end {
        Ok(()) => LinesEnd::Clean,
        Err(LineError::TooLong { offset, .. }) => LinesEnd::TooLong(offset),
        Err(LineError::BareLf { offset, .. }) => LinesEnd::BareLf(offset),
        Err(LineError::BareCr { offset, .. }) => LinesEnd::BareCr(offset),
        Err(LineError::Unterminated { offset, .. }) => LinesEnd::Unterminated(offset),
    }
}
