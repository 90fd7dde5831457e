use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

const ENDINGS: [Ending; 3] = [Ending::Any, Ending::Lf, Ending::CrLf];

/// The text and the ending.
type OwnedLine = (Vec<u8>, Vec<u8>);

fn own(line: Line<'_>) -> OwnedLine {
    assert_eq!([line.text(), line.ending()].concat(), line.whole());
    assert_eq!(line.is_terminated(), !line.ending().is_empty());
    (line.text().to_vec(), line.ending().to_vec())
}

/// The slow and obvious reading: one byte after the other, with the line so far in a vector.
struct Model {
    lines: Lines,
    reading: Reading<OwnedLine, LineError>,
    line: Vec<u8>,
    line_start: usize,
}

impl Model {
    fn read(lines: &Lines, input: &[u8]) -> Reading<OwnedLine, LineError> {
        let reading = Reading { frames: Vec::new(), end: Ok(()) };
        let mut model = Model { lines: lines.clone(), reading, line: Vec::new(), line_start: 0 };
        for byte in input.iter().map(|&byte| Some(byte)).chain([None]) {
            if let Err(error) = model.step(byte) {
                model.reading.end = Err(error);
                break;
            }
        }
        model.reading
    }

    fn step(&mut self, byte: Option<u8>) -> Result<(), LineError> {
        let after_cr = self.line.last() == Some(&b'\r');
        match (self.lines.ending, byte) {
            (Ending::CrLf, Some(b'\n')) if after_cr => self.emit(b"\r\n"),
            (Ending::CrLf, _) if after_cr => self.bare(self.line.len() - 1),
            (Ending::CrLf, Some(b'\n')) => {
                self.line.push(b'\n');
                self.bare(self.line.len() - 1)
            }
            (Ending::Any, Some(b'\n')) if after_cr => self.emit(b"\r\n"),
            (Ending::Any | Ending::Lf, Some(b'\n')) => self.emit(b"\n"),
            (_, Some(b'\r')) if self.lines.ending != Ending::Lf => {
                // One CR may be half of an ending; one that is followed by another is text.
                if after_cr {
                    self.check_length(self.line.len())?;
                }
                self.line.push(b'\r');
                self.check_length(self.line.len() - 1)
            }
            (_, Some(byte)) => {
                self.line.push(byte);
                self.check_length(self.line.len())
            }
            (_, None) if self.line.is_empty() => Ok(()),
            (_, None) => {
                self.check_length(self.line.len())?;
                if self.lines.requires_ending {
                    let (offset, line_start) = (self.line_start as u64, Excerpt::of(&self.line));
                    return Err(LineError::Unterminated { offset, line_start });
                }
                self.emit(b"")
            }
        }
    }

    fn emit(&mut self, ending: &[u8]) -> Result<(), LineError> {
        let mut text = std::mem::take(&mut self.line);
        if ending == b"\r\n" {
            text.pop();
        }
        self.line_start += text.len() + ending.len();
        self.reading.frames.push((self.line_start, (text, ending.to_vec())));
        Ok(())
    }

    fn bare(&self, index: usize) -> Result<(), LineError> {
        self.check_length(index)?;
        let offset = (self.line_start + index) as u64;
        let line_start = Excerpt::of(&self.line[..=index]);
        Err(match self.line[index] {
            b'\n' => LineError::BareLf { offset, line_start },
            _ => LineError::BareCr { offset, line_start },
        })
    }

    fn check_length(&self, text_bytes: usize) -> Result<(), LineError> {
        let limit_bytes = self.lines.limit_bytes;
        if text_bytes <= limit_bytes {
            return Ok(());
        }
        let line_start = Excerpt::of(&self.line[..limit_bytes + 1]);
        Err(LineError::TooLong { offset: self.line_start as u64, limit_bytes, line_start })
    }
}

fn assert_agrees_with_model(lines: &Lines, input: &[u8], note: &str) {
    let expected = Model::read(lines, input);
    let note = format!("{note}, {:?} limit {}", lines.ending, lines.limit_bytes);
    assert_reads(|| lines.clone(), input, &expected, own, &note);
}

/// The settings that tests go through.
fn all_settings(limits: &[usize]) -> Vec<Lines> {
    let mut all = Vec::new();
    for ending in ENDINGS {
        for &limit_bytes in limits {
            all.push(Lines::new(ending).with_limit(limit_bytes));
            all.push(Lines::new(ending).with_limit(limit_bytes).require_ending());
        }
    }
    all
}

/// One whole input, then its end.
fn read(lines: Lines, input: &[u8]) -> Reading<OwnedLine, LineError> {
    read_pieces(&mut { lines }, [input], own)
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    let inputs: [&[u8]; 24] = [
        b"",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\r",
        b"\r\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"a",
        b"a\n",
        b"a\r",
        b"a\r\n",
        b"a\rb\n",
        b"a\r\rb",
        b"one\ntwo\nthree\n",
        b"one\r\ntwo\r\nthree\r\n",
        b"one\r\ntwo\nthree",
        b"abcd\r\nabcde\r\n",
        b"abcd\r",
        b"abcd\rx\r\n",
        b"abcd\r\r\n",
        b"abcde",
        b"a\0\xff\xfe\n\x80\r\n",
        b"MAIL FROM:<a@b>\r\n.\n\r\nRCPT\r\n",
    ];
    for lines in all_settings(&[0, 1, 4, 100, usize::MAX]) {
        for input in inputs {
            assert_agrees_with_model(&lines, input, "known input");
        }
    }
}

#[test]
fn every_short_input_of_cr_lf_and_text_reads_as_the_model_says() {
    for lines in all_settings(&[0, 1, 2]) {
        for len in 0..=5 {
            for number in 0..3_usize.pow(len) {
                let input: Vec<u8> =
                    (0..len).map(|digit| b"\r\nx"[number / 3_usize.pow(digit) % 3]).collect();
                assert_agrees_with_model(&lines, &input, "short input");
            }
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let len = rng.below(48);
        let input: Vec<u8> = (0..len)
            .flat_map(|_| match rng.below(8) {
                0 => b"\n".to_vec(),
                1 => b"\r".to_vec(),
                2 | 3 => b"\r\n".to_vec(),
                _ => rng.bytes(1),
            })
            .collect();
        let ending = ENDINGS[rng.below(3) as usize];
        let lines = Lines::new(ending).with_limit(rng.below(12) as usize);
        assert_agrees_with_model(&lines, &input, &format!("seed {seed}"));
    }
}

#[test]
fn text_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for ending in ENDINGS {
        let limit_bytes = 100;
        let lines = Lines::new(ending).with_limit(limit_bytes);
        for text_bytes in [limit_bytes - 1, limit_bytes, limit_bytes + 1, limit_bytes + 2] {
            let input = [&vec![b'x'; text_bytes], ending.as_bytes()].concat();
            let fits = text_bytes <= limit_bytes;
            assert_eq!(read(lines.clone(), &input).end.is_ok(), fits, "{ending:?} {text_bytes}");
            assert_agrees_with_model(&lines, &input, "around the limit");
            let unterminated = &input[..text_bytes];
            assert_eq!(read(lines.clone(), unterminated).end.is_ok(), fits);
        }
        assert_eq!(lines.max_bytes(), limit_bytes + ending.max_bytes());
    }
}

#[test]
fn the_default_limit_is_8_kib_of_text() {
    for ending in ENDINGS {
        let fits = [&[b'x'; 8192], ending.as_bytes()].concat();
        assert_eq!(read(Lines::new(ending), &fits).frames.len(), 1);
        let exceeds = [&[b'x'; 8193], ending.as_bytes()].concat();
        assert!(matches!(read(Lines::new(ending), &exceeds).end, Err(LineError::TooLong { .. })));
    }
}

#[test]
fn a_limit_holds_however_much_follows() {
    for ending in ENDINGS {
        for limit_bytes in 0..2 * NEAR_BYTES {
            let lines = Lines::new(ending).with_limit(limit_bytes);
            let input = |text_bytes: usize| {
                [&vec![b'x'; text_bytes], ending.as_bytes(), &[b'y'; 2 * NEAR_BYTES]].concat()
            };
            let fits = input(limit_bytes);
            let (line, _) = lines.clone().decode(&fits).unwrap().unwrap();
            assert_eq!(line.text().len(), limit_bytes, "{ending:?}");
            let exceeds = input(limit_bytes + 1);
            let decoded = lines.clone().decode(&exceeds);
            let is_refused = matches!(decoded, Err(LineError::TooLong { offset: 0, .. }));
            assert!(is_refused, "{ending:?}, {limit_bytes} bytes: {decoded:?}");
        }
    }
}

#[test]
fn too_long_is_said_at_once_and_a_cr_that_may_be_an_ending_is_waited_for() {
    for ending in ENDINGS {
        let lines = Lines::new(ending).with_limit(4);
        assert_eq!(lines.clone().decode(b"abcd"), Ok(None));
        assert!(matches!(lines.clone().decode(b"abcde"), Err(LineError::TooLong { .. })));
        let after_cr = lines.clone().decode(b"abcd\r");
        assert_eq!(after_cr == Ok(None), ending != Ending::Lf, "{ending:?}");
    }
    let mut lines = Lines::new(Ending::Any).with_limit(4);
    assert_eq!(lines.decode(b"abcd\r"), Ok(None));
    assert!(matches!(lines.decode(b"abcd\r\r"), Err(LineError::TooLong { offset: 0, .. })));
    let mut lines = Lines::new(Ending::CrLf).with_limit(4);
    assert_eq!(lines.decode(b"abcd\r"), Ok(None));
    assert!(matches!(lines.decode(b"abcd\rx"), Err(LineError::BareCr { offset: 4, .. })));
}

#[test]
fn what_has_been_searched_is_not_searched_again() {
    for ending in ENDINGS {
        let mut lines = Lines::new(ending);
        assert_eq!(lines.decode(b"abc"), Ok(None));
        assert_eq!(lines.search, Search::From(3));
        // A caller who breaks the contract shows that the first three bytes are not looked at.
        let behind = [b"\n\n\n", ending.as_bytes()].concat();
        let (line, taken) = lines.decode(&behind).unwrap().unwrap();
        assert_eq!((line.text(), taken), (&b"\n\n\n"[..], behind.len()));
        assert_eq!(lines.search, Search::new(ending, Lines::DEFAULT_LIMIT_BYTES));
    }
}

#[test]
fn strict_lines_refuse_what_hides_a_second_message() {
    // The sequences of SMTP smuggling (CVE-2023-51764 and its kin).
    for hidden in [&b"\n.\n"[..], b"\n.\r\n", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\r"] {
        let input = [b"body", hidden, b"MAIL FROM:<x>\r\n"].concat();
        let reading = read(Lines::new(Ending::CrLf), &input);
        assert!(
            matches!(reading.end, Err(LineError::BareLf { .. } | LineError::BareCr { .. })),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn errors_say_where_and_show_what_came_escaped_and_short() {
    let strict = Lines::new(Ending::CrLf);
    let error = read(strict.clone(), b"ok\r\n\x1b[2J\"\n").end.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"LF without CR at byte 9 of the stream, in the line "\x1b[2J\"\n""#
    );
    let error = read(strict.clone(), b"ok\r\na\rb").end.unwrap_err();
    assert_eq!(error.to_string(), r#"CR without LF at byte 5 of the stream, in the line "a\r""#);
    let error = read(strict.require_ending(), b"ok\r\nrm /tmp").end.unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"stream ended within the line at its byte 4, it starts "rm /tmp""#
    );
    let error = read(Lines::default(), &[0xff; 10_000]).end.unwrap_err();
    assert!(error.to_string().len() < 200);
    assert!(format!("{error:?}").len() < 200);
}

#[test]
fn what_is_encoded_is_decoded_and_the_rest_is_refused_without_a_trace() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let ending = ENDINGS[rng.below(3) as usize];
        let lines = Lines::new(ending).with_limit(rng.below(6) as usize);
        let len = rng.below(7);
        let text: Vec<u8> = (0..len).map(|_| b"\r\nabcdefgh"[rng.below(10) as usize]).collect();

        // The obvious rule: an item may be written if it would be read as itself.
        let written = [&text, ending.as_bytes()].concat();
        let reading = read(lines.clone(), &written);
        let reads_back = reading.end.is_ok()
            && reading.frames == [(written.len(), (text.clone(), ending.as_bytes().to_vec()))];

        let mut out = b"before".to_vec();
        let result = lines.clone().encode(&text, &mut out);
        assert_eq!(result.is_ok(), reads_back, "seed {seed}, {ending:?}, {}", text.escape_ascii());
        let appended: &[u8] = if reads_back { &written } else { b"" };
        assert_eq!(out, [b"before", appended].concat(), "seed {seed}");
    }
}

#[test]
fn a_stream_of_encoded_lines_comes_back() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let lines = Lines::new(ENDINGS[rng.below(3) as usize]);
        let mut out = Vec::new();
        let mut texts = Vec::new();
        for _ in 0..rng.below(30) {
            let len = rng.below(100) as usize;
            let text = rng.bytes(len);
            if lines.clone().encode(&text, &mut out).is_ok() {
                texts.push(text);
            }
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut lines.clone(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, (text, _))| text).collect();
        assert_eq!(came, texts, "seed {seed}");
    }
}

#[test]
fn room_for_a_line_is_made_once() {
    let mut out = Vec::new();
    Lines::new(Ending::CrLf).encode(&[b'x'; 100], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (102, 102));
}

#[test]
fn the_longest_line_has_its_ending_too() {
    for (ending, most) in [(Ending::Any, 12), (Ending::Lf, 11), (Ending::CrLf, 12)] {
        let mut lines = Lines::new(ending).with_limit(10);
        assert_eq!(lines.max_bytes(), most);
        let longest = [&[b'x'; 10], ending.as_bytes()].concat();
        assert!(lines.decode(&longest).unwrap().is_some());
    }
}

#[test]
fn a_line_is_its_text_where_bytes_are_wanted_and_escaped_where_it_is_shown() {
    let mut lines = Lines::default();
    let (line, _) = lines.decode(b"a\tb\r\n").unwrap().unwrap();
    assert_eq!(<&[u8]>::from(line), b"a\tb");
    assert_eq!(format!("{line:?}"), r#"Line("a\tb\r\n")"#);
}

#[test]
fn a_text_that_is_no_line_is_refused_with_a_reason() {
    let refusal = |text: &[u8]| {
        let mut lines = Lines::new(Ending::CrLf).with_limit(4);
        lines.encode(text, &mut Vec::new()).unwrap_err().to_string()
    };
    assert_eq!(refusal(b"12345"), "text of 5 bytes is longer than a line of 4 bytes");
    assert_eq!(refusal(b"123\r"), "text holds a line ending at byte 3");
}
