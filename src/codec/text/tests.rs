use super::*;
use crate::base::rng::Rng;
use crate::codec::LineError;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Line(Vec<u8>),
    Block(Vec<u8>),
    Dotted(Vec<u8>),
    DottedEnd,
}

fn own(part: Part<'_>) -> Owned {
    match part {
        Part::Line(line) => Owned::Line(line.to_vec()),
        Part::Block(block) => Owned::Block(block.to_vec()),
        Part::Dotted(line) => Owned::Dotted(line.to_vec()),
        Part::DottedEnd => Owned::DottedEnd,
    }
}

fn lend(part: &Owned) -> Part<'_> {
    match part {
        Owned::Line(line) => Part::Line(line),
        Owned::Block(block) => Part::Block(block),
        Owned::Dotted(line) => Part::Dotted(line),
        Owned::DottedEnd => Part::DottedEnd,
    }
}

/// A protocol with all there is: `b 12`, `l {12}`, `d`, and anything else.
fn announces(line: &[u8]) -> Next {
    match line {
        [b'b', b' ', digits @ ..] => Next::block(digits),
        [b'l', ..] => Next::literal(line),
        b"d" => Next::Dotted,
        _ => Next::Line,
    }
}

/// The slow and obvious reading: one byte after the other, what came in a vector.
struct Model<'c> {
    codec: &'c Text,
    reading: Reading<Owned, TextError>,
    next: Next,
    seen: Vec<u8>,
    /// Of the dotted lines so far.
    dotted_bytes: usize,
    index: usize,
    announcement: (u64, Excerpt),
}

impl Model<'_> {
    fn read(codec: &Text, input: &[u8]) -> Reading<Owned, TextError> {
        let mut model = Model {
            codec,
            reading: Reading { frames: Vec::new(), end: Ok(()) },
            next: Next::Line,
            seen: Vec::new(),
            dotted_bytes: 0,
            index: 0,
            announcement: (0, Excerpt::of(b"")),
        };
        for byte in input.iter().map(|&byte| Some(byte)).chain([None]) {
            if let Err(error) = model.step(byte) {
                model.reading.end = Err(error);
                break;
            }
        }
        model.reading
    }

    fn step(&mut self, byte: Option<u8>) -> Result<(), TextError> {
        let limit_bytes = self.codec.block_limit_bytes;
        let (offset, line) = self.announcement.clone();
        match self.next {
            Next::Block(announced_bytes) | Next::Literal(announced_bytes)
                if announced_bytes > limit_bytes as u64 =>
            {
                return Err(TextError::TooLong { offset, announced_bytes, limit_bytes, line });
            }
            Next::Unreadable => return Err(TextError::Unreadable { offset, line }),
            _ => {}
        }
        let start = self.index - self.seen.len();
        let Some(byte) = byte else { return self.end(start as u64) };
        self.index += 1;
        self.seen.push(byte);
        match self.next {
            Next::Block(bytes) | Next::Literal(bytes) => {
                let bytes = bytes as usize;
                let ending: &[u8] = if let Next::Block(_) = self.next { b"\r\n" } else { b"" };
                let behind = &self.seen[bytes.min(self.seen.len())..];
                if !ending.starts_with(behind) {
                    let offset = self.index as u64 - 1;
                    let seen = Excerpt::of(&self.seen[bytes.saturating_sub(16)..]);
                    return Err(TextError::NoEnding { offset, seen });
                }
                if self.seen.len() == bytes + ending.len() {
                    let mut block = std::mem::take(&mut self.seen);
                    block.truncate(bytes);
                    self.next = Next::Line;
                    self.reading.frames.push((self.index, Owned::Block(block)));
                }
                Ok(())
            }
            _ => self.line(start),
        }
    }

    /// One more byte of a line has come. What is wrong with it `Lines` says, which has a model of
    /// its own.
    fn line(&mut self, start: usize) -> Result<(), TextError> {
        let mut lines = self.codec.lines.clone();
        lines.pass(start);
        let Some((line, _)) = lines.decode(&self.seen)? else { return Ok(()) };
        let text = line.text().to_vec();
        self.seen.clear();
        if self.next == Next::Line {
            self.next = announces(&text);
            if self.next == Next::Literal(0) {
                self.next = Next::Line;
            }
            self.announcement = (start as u64, Excerpt::of(&text));
            self.dotted_bytes = 0;
            self.reading.frames.push((self.index, Owned::Line(text)));
        } else if text == b"." {
            self.next = Next::Line;
            self.reading.frames.push((self.index, Owned::DottedEnd));
        } else {
            let shown = if text[..].starts_with(b".") { text[1..].to_vec() } else { text.clone() };
            self.dotted_bytes += shown.len() + 2;
            if self.dotted_bytes > self.codec.block_limit_bytes {
                let (offset, line) = (start as u64, Excerpt::of(&text));
                let limit_bytes = self.codec.block_limit_bytes;
                return Err(TextError::TooLongDotted { offset, limit_bytes, line });
            }
            self.reading.frames.push((self.index, Owned::Dotted(shown)));
        }
        Ok(())
    }

    fn end(&self, offset: u64) -> Result<(), TextError> {
        let mut lines = self.codec.lines.clone();
        lines.pass(offset as usize);
        let received_bytes = self.seen.len();
        match self.next {
            Next::Block(bytes) | Next::Literal(bytes) => Err(TextError::UnexpectedEnd {
                offset,
                announced_bytes: Some(bytes),
                received_bytes: received_bytes.min(bytes as usize),
            }),
            _ => {
                lines.decode_eof(&self.seen)?;
                let announced_bytes = None;
                let end = TextError::UnexpectedEnd { offset, announced_bytes, received_bytes };
                if self.next == Next::Dotted { Err(end) } else { Ok(()) }
            }
        }
    }
}

fn assert_agrees_with_model(codec: &Text, input: &[u8], note: &str) {
    let expected = Model::read(codec, input);
    let limits = (codec.lines.limit_bytes(), codec.block_limit_bytes);
    assert_reads(|| codec.clone(), input, &expected, own, &format!("{note}, limits {limits:?}"));
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    let inputs: [&[u8]; 34] = [
        b"",
        b"\r\n",
        b"hello\r\nworld\r\n",
        b"hello",
        b"hello\n",
        b"b 5\r\nhello\r\nb 0\r\n\r\nx\r\n",
        b"b 5\r\nhello\n",
        b"b 5\r\nhello\rx",
        b"b 5\r\nhello!\r\n",
        b"b 5\r\nhell\r\n\r\n",
        b"b 5\r\nhello\r",
        b"b 5\r\nhello",
        b"b 5\r\nhel",
        b"b 5\r\n",
        b"b 4\r\n\r\n.\n\r\nx\r\n",
        b"b 9\r\n123456789\r\n",
        b"b 10\r\n",
        b"b 10\r\n0123456789\r\n",
        b"b 18446744073709551616\r\nx",
        b"b -1\r\nx",
        b"b \r\n",
        b"l {5}\r\nhello{5+}\r\nl {5+}\r\nworld\r\n",
        b"l {0}\r\nmore\r\nl {0}",
        b"l {5}\r\nhel",
        b"l {99}\r\nhello",
        b"l {99999999999999999999}\r\nhello",
        b"l {x}\r\nl {}\r\nl 5}\r\nl {-5}\r\n",
        b"d\r\na\r\n..b\r\n.c\r\n\r\n.\r\nx\r\n",
        b"d\r\n.\r\nd\r\n.\r\n",
        b"d\r\na\n.\r\n",
        b"d\r\na\r\n.\n",
        b"d\r\na\r\n",
        b"d\r\na\r\n.",
        b"d\r\n1234567\r\n.\r\nd\r\n12345678\r\n",
    ];
    for (line_limit, block_limit) in [(100, 100), (5, 9), (4, 4), (0, 0), (100, usize::MAX)] {
        let codec = Text::new()
            .announced_by(announces)
            .with_line_limit(line_limit)
            .with_block_limit(block_limit);
        for input in inputs {
            assert_agrees_with_model(&codec, input, "known input");
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let codec = Text::new()
            .announced_by(announces)
            .with_line_limit(4 + rng.below(8) as usize)
            .with_block_limit(rng.below(14) as usize);
        let mut input = Vec::new();
        while input.len() < 40 {
            let len = rng.below(8) as usize;
            let bytes = rng.bytes(len);
            match rng.below(5) {
                0 => input.extend([format!("b {len}\r\n").as_bytes(), &bytes, b"\r\n"].concat()),
                1 => input.extend([format!("l {{{len}}}\r\n").as_bytes(), &bytes].concat()),
                2 => input.extend(b"d\r\na\r\n..b\r\n.\r\n"),
                3 => input.extend(b"\r\n"),
                _ => input.extend(b"hello\r\n"),
            }
        }
        input.truncate(rng.below(56) as usize);
        // Now and then one byte is another.
        if rng.chance(1, 3) && !input.is_empty() {
            let index = rng.below(input.len() as u64) as usize;
            input[index] = b"\r\n.9"[rng.below(4) as usize];
        }
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn nothing_hides_a_second_message() {
    // The sequences of SMTP smuggling (CVE-2023-51764 and its kin).
    for hidden in [&b"\n.\n"[..], b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r"] {
        let input = [b"d\r\nbody", hidden, b"MAIL FROM:<x>\r\n.\r\n"].concat();
        let reading = read_pieces(&mut Text::new().announced_by(announces), [&input[..]], own);
        let end = reading.end.unwrap_err();
        assert!(
            matches!(end, TextError::Line(LineError::BareLf { .. } | LineError::BareCr { .. })),
            "{}: {end}",
            input.escape_ascii()
        );
    }
}

#[test]
fn limits_are_exact_and_the_line_that_announces_too_much_is_shown() {
    let codec = Text::new().announced_by(announces).with_block_limit(100);
    let block = [b'x'; 101];
    let read = |announced: usize, bytes: usize| {
        let input = [format!("b {announced}\r\n").as_bytes(), &block[..bytes], b"\r\n"].concat();
        read_pieces(&mut codec.clone(), [&input[..]], own)
    };
    assert_eq!(read(100, 100).frames.len(), 2);
    assert_eq!(read(100, 100).end, Ok(()));
    assert_eq!(read(101, 101).frames, [(7, Owned::Line(b"b 101".to_vec()))]);
    assert!(matches!(read(101, 0).end, Err(TextError::TooLong { announced_bytes: 101, .. })));

    let dotted = |first: usize| {
        let input = [b"d\r\n", &block[..first], b"\r\n\r\n.\r\n"].concat();
        read_pieces(&mut codec.clone(), [&input[..]], own).end
    };
    assert_eq!(dotted(96), Ok(()));
    assert!(matches!(dotted(97), Err(TextError::TooLongDotted { offset: 102, .. })));

    assert_eq!(codec.max_bytes(), 8194);
    assert_eq!(codec.with_line_limit(4).max_bytes(), 102);
    let mut codec = Text::default();
    codec.expect(Next::Block(1024 * 1024));
    assert_eq!(codec.decode(b""), Ok(None));
    assert_eq!(codec.needs(), 1024 * 1024 + 1);
    codec.expect(Next::Block(1024 * 1024 + 1));
    assert_eq!(codec.decode(b""), Ok(None));
    assert!(codec.decode(b"x").is_err());
}

#[test]
fn what_is_expected_may_be_said_between_any_two_frames() {
    let mut codec = Text::new();
    assert_eq!(codec.decode(b"half a li"), Ok(None));
    codec.expect(Next::Literal(4));
    assert_eq!(codec.needs(), 1);
    assert_eq!(codec.decode(b"half a li"), Ok(Some((Part::Block(b"half"), 4))));
    assert_eq!(codec.decode(b" a li"), Ok(None));
    codec.expect(Next::Block(2));
    let error = codec.decode(b" a li").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"no CR LF behind a block at byte 6 of the stream, it ends " a ""#
    );
}

#[test]
fn what_is_encoded_is_decoded_and_the_rest_is_refused_without_a_trace() {
    let texts: [&[u8]; 9] = [b"", b".", b"..", b".a", b"b 3", b"b 99", b"l {2}", b"d", b"a\rb"];
    let (mut written_count, mut refused_count) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let codec = Text::new().announced_by(announces).with_line_limit(5).with_block_limit(7);
        let mut encoder = codec.clone();
        let (mut out, mut parts) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(40) {
            let text = texts[rng.below(9) as usize].to_vec();
            let part = match rng.below(4) {
                0 => Owned::Line(text),
                1 => Owned::Block(rng.bytes(rng.clone().below(4) as usize)),
                2 => Owned::Dotted(text),
                _ => Owned::DottedEnd,
            };
            let before = out.clone();
            if encoder.encode(lend(&part), &mut out).is_ok() {
                written_count += 1;
                parts.push(part);
            } else {
                refused_count += 1;
                assert_eq!(out, before, "seed {seed}");
            }
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut codec.clone(), pieces_at(&out, &cuts), own);
        // The last announcement may be unfulfilled, nothing else.
        let is_open = matches!(reading.end, Err(TextError::UnexpectedEnd { .. }));
        assert!(is_open || reading.end.is_ok(), "seed {seed}: {:?}", reading.end);
        let came: Vec<Owned> = reading.frames.into_iter().map(|(_, part)| part).collect();
        assert_eq!(came, parts, "seed {seed}");
    }
    assert!(written_count > 500 && refused_count > 500, "{written_count} {refused_count}");
}

#[test]
fn a_dot_that_is_added_counts_for_the_line() {
    let mut codec = Text::new().with_line_limit(3);
    codec.expect(Next::Dotted);
    let mut out = Vec::new();
    codec.encode(Part::Dotted(b".ab"), &mut out).unwrap_err();
    codec.encode(Part::Dotted(b"abc"), &mut out).unwrap();
    codec.encode(Part::Dotted(b".a"), &mut out).unwrap();
    codec.encode(Part::Dotted(b".\r"), &mut out).unwrap_err();
    assert_eq!(out, b"abc\r\n..a\r\n");
}

#[test]
fn errors_say_where_and_show_what_came() {
    let read = |input: &[u8]| {
        let mut codec = Text::new().announced_by(announces).with_block_limit(9);
        read_pieces(&mut codec, [input], own).end.unwrap_err().to_string()
    };
    assert_eq!(
        read(b"\r\nb x\r\n"),
        r#"block of unreadable length announced by the line "b x" at byte 2 of the stream"#
    );
    assert_eq!(
        read(b"d\r\n12345678\r\n"),
        "dotted lines up to \"12345678\" at byte 3 of the stream are longer than 9 bytes"
    );
    assert_eq!(read(b"d\r\nx\r\n"), "stream ended before a single dot, at its byte 6");
    assert_eq!(
        read(b"b 5\r\nhello"),
        "stream ended within the block at its byte 5, after 5 of 5 bytes, or before its CR LF"
    );
    assert_eq!(read(b"x\n"), "LF without CR at byte 1 of the stream, in the line \"x\\n\"");
    let mut codec = Text::new().announced_by(announces).with_block_limit(9);
    let mut refusal = |part| codec.encode(part, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(refusal(Part::Block(b"")), "part is not the one that was announced");
    assert_eq!(refusal(Part::Line(b"b 10")), "line announces a block that would be refused");
    assert_eq!(refusal(Part::Line(b"\n")), "text holds a line ending at byte 0");
    assert_eq!(
        format!("{:?} {:?}", Part::Dotted(b"\0"), Part::DottedEnd),
        r#"Dotted("\x00") DottedEnd"#
    );
}

#[test]
fn a_literal_is_announced_by_the_end_of_a_line() {
    assert_eq!(Next::literal(b"a {12}"), Next::Literal(12));
    assert_eq!(Next::literal(b"a {1} {23+}"), Next::Literal(23));
    for line in [&b"a {}"[..], b"a {x}", b"a {+}", b"{1", b"1}", b"{1} a", b""] {
        assert_eq!(Next::literal(line), Next::Line, "{}", line.escape_ascii());
    }
    assert_eq!(Next::literal(b"{99999999999999999999}"), Next::Unreadable);
}

#[test]
fn what_was_announced_is_written_and_then_a_line() {
    let mut codec = Text::new();
    let mut out = Vec::new();
    codec.expect(Next::Dotted);
    codec.encode(Part::Dotted(b".a"), &mut out).unwrap();
    codec.encode(Part::DottedEnd, &mut out).unwrap();
    codec.encode(Part::Line(b"ok"), &mut out).unwrap();
    assert_eq!(out, b"..a\r\n.\r\nok\r\n");
    codec.expect(Next::Block(3));
    assert_eq!(codec.encode(Part::Block(b"ab"), &mut out), Err(TextEncodeError::Unexpected));
    codec.encode(Part::Block(b"abc"), &mut out).unwrap();
    assert!(out.ends_with(b"ok\r\nabc\r\n"));
}
