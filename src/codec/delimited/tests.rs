use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

const DELIMITERS: [&[u8]; 8] =
    [b"\0", b"\n", b"||", b"\r\n.\r\n", b"aa", b"aba", b"aab", b"abababac"];

fn own(frame: &[u8]) -> Vec<u8> {
    frame.to_vec()
}

/// The slow and obvious reading: one byte after the other, with the frame so far in a vector.
fn model(codec: &Delimited, input: &[u8]) -> Reading<Vec<u8>, DelimitedError> {
    let (delimiter, limit_bytes) = (codec.delimiter(), codec.limit_bytes);
    let too_long = |offset, seen: &[u8]| {
        let frame_start = Excerpt::of(&seen[..limit_bytes + 1]);
        Err(DelimitedError::TooLong { offset, limit_bytes, frame_start })
    };
    let mut reading = Reading { frames: Vec::new(), end: Ok(()) };
    let (mut start, mut seen) = (0, Vec::new());
    for (index, &byte) in input.iter().enumerate() {
        seen.push(byte);
        if seen.ends_with(delimiter) {
            let frame = seen[..seen.len() - delimiter.len()].to_vec();
            if frame.len() > limit_bytes {
                reading.end = too_long(start, &seen);
                return reading;
            }
            start = index as u64 + 1;
            reading.frames.push((index + 1, frame));
            seen.clear();
        }
    }
    if seen.len() > limit_bytes {
        reading.end = too_long(start, &seen);
    } else if !seen.is_empty() && !codec.may_end {
        let frame_start = Excerpt::of(&seen);
        reading.end = Err(DelimitedError::Unterminated { offset: start, frame_start });
    } else if !seen.is_empty() {
        reading.frames.push((input.len(), seen));
    }
    reading
}

fn assert_agrees_with_model(codec: &Delimited, input: &[u8], note: &str) {
    let expected = model(codec, input);
    let note = format!("{note}, {} limit {}", codec.delimiter().escape_ascii(), codec.limit_bytes);
    assert_reads(|| codec.clone(), input, &expected, own, &note);
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    for delimiter in DELIMITERS {
        let frames: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"", b"", b"x"], &[b"one", b"two", b"three"], &[b"abcd"], &[b"abcde"]];
        for frames in frames {
            let mut input = Vec::new();
            for frame in frames {
                input.extend([frame, delimiter].concat());
            }
            for dropped in [0, 1, 2] {
                let input = &input[..input.len().saturating_sub(dropped)];
                for limit_bytes in [0, 1, 4, 1000] {
                    let codec = Delimited::new(delimiter).with_limit(limit_bytes);
                    assert_agrees_with_model(&codec, input, "known input");
                    assert_agrees_with_model(&codec.or_end(), input, "known input, or end");
                }
            }
        }
    }
}

#[test]
fn every_short_input_of_the_delimiters_bytes_reads_as_the_model_says() {
    for delimiter in [&b"aa"[..], b"aba", b"aab", b"abaab"] {
        for len in 0..=7 {
            for number in 0..1_usize << len {
                let input: Vec<u8> = (0..len).map(|bit| b"ab"[number >> bit & 1]).collect();
                let codec = Delimited::new(delimiter).with_limit(number % 4);
                assert_agrees_with_model(&codec, &input, "short input");
            }
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let delimiter = DELIMITERS[rng.below(8) as usize];
        let mut input = Vec::new();
        while input.len() < 40 {
            match rng.below(4) {
                0 => input.extend(delimiter),
                1 => input.extend(&delimiter[..rng.below(delimiter.len() as u64) as usize]),
                2 => input.extend(b"abc"),
                _ => input.extend(rng.bytes(1)),
            }
        }
        let codec = Delimited::new(delimiter).with_limit(rng.below(12) as usize);
        let codec = if rng.chance(1, 2) { codec.or_end() } else { codec };
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn a_frame_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for delimiter in DELIMITERS {
        let mut codec = Delimited::new(delimiter);
        let fits = [&vec![b'x'; 65_536], delimiter].concat();
        assert_eq!(codec.clone().decode(&fits), Ok(Some((&fits[..65_536], fits.len()))));
        assert_eq!(codec.max_bytes(), fits.len());
        assert_eq!(codec.clone().decode(&fits[..65_536]), Ok(None));
        let exceeds = vec![b'x'; 65_537];
        assert!(matches!(codec.clone().decode(&exceeds), Err(DelimitedError::TooLong { .. })));
        assert!(codec.encode(&exceeds, &mut Vec::new()).is_err());
        assert!(codec.encode(&exceeds[1..], &mut Vec::new()).is_ok());
    }
}

#[test]
fn what_has_been_searched_is_not_searched_again() {
    let mut codec = Delimited::new(b"||");
    assert_eq!(codec.decode(b"abc|"), Ok(None));
    assert_eq!(codec.scanned_bytes, 3);
    // A caller who breaks the contract shows that the first three bytes are not looked at.
    assert_eq!(codec.decode(b"||c||"), Ok(Some((&b"||c"[..], 5))));
    assert_eq!(codec.scanned_bytes, 0);
}

#[test]
fn it_needs_what_is_missing_of_the_delimiter_or_up_to_the_limit() {
    let mut codec = Delimited::new(b"\r\n.\r\n").with_limit(5);
    for (input, needed_bytes) in
        [(&b""[..], 5), (b"a", 5), (b"a\r", 4), (b"a\r\n.", 2), (b"a\r\n.x", 1), (b"abcde\r", 1)]
    {
        assert_eq!(codec.clone().decode(input).and_then(|_| codec.decode(input)), Ok(None));
        assert_eq!(codec.needs(), needed_bytes, "{}", input.escape_ascii());
    }
}

#[test]
fn what_is_encoded_is_decoded_and_the_rest_is_refused_without_a_trace() {
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let delimiter = DELIMITERS[rng.below(8) as usize];
        let codec = Delimited::new(delimiter).with_limit(rng.below(8) as usize);
        let len = rng.below(9);
        let frame: Vec<u8> = (0..len).map(|_| b"ab|\r\n.c\0"[rng.below(8) as usize]).collect();

        // The obvious rule: an item may be written if it would be read as itself.
        let written = [&frame, delimiter].concat();
        let reading = read_pieces(&mut codec.clone(), [&written[..]], own);
        let reads_back = reading.end.is_ok() && reading.frames == [(written.len(), frame.clone())];

        let mut out = b"before".to_vec();
        let result = codec.clone().encode(&frame, &mut out);
        assert_eq!(result.is_ok(), reads_back, "seed {seed}, {}", written.escape_ascii());
        let appended: &[u8] = if reads_back { &written } else { b"" };
        assert_eq!(out, [b"before", appended].concat(), "seed {seed}");
    }
}

#[test]
fn a_stream_of_encoded_frames_comes_back() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let codec = Delimited::new(DELIMITERS[rng.below(8) as usize]);
        let (mut out, mut frames) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(30) {
            let len = rng.below(100) as usize;
            let frame = rng.bytes(len);
            if codec.clone().encode(&frame, &mut out).is_ok() {
                frames.push(frame);
            }
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut codec.clone(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(came, frames, "seed {seed}");
    }
}

#[test]
#[should_panic(expected = "an empty delimiter is everywhere")]
fn an_empty_delimiter_is_a_mistake() {
    Delimited::new(b"");
}

#[test]
fn errors_say_where_and_show_what_came_escaped_and_short() {
    let error = read_pieces(&mut Delimited::new(b"\0"), [&b"ok\0\x1b[2J"[..]], own).end;
    assert_eq!(
        error.unwrap_err().to_string(),
        r#"stream ended within the frame at its byte 3, it starts "\x1b[2J""#
    );
    let error = Delimited::new(b"\0").decode(&[0xff; 70_000]).unwrap_err();
    assert!(error.to_string().len() < 200 && format!("{error:?}").len() < 200);
    let error = Delimited::new(b"aa").encode(b"xa", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "frame holds a delimiter at byte 1");
    let error = Delimited::new(b"\0").with_limit(1).encode(b"xy", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "2 bytes are longer than a frame of 1 bytes");
}

#[test]
fn what_no_delimiter_ends_is_a_frame_only_where_that_is_asked_for() {
    assert_eq!(Delimited::new(b";").or_end().decode_eof(b"rest"), Ok(Some(&b"rest"[..])));
    assert!(Delimited::new(b";").decode_eof(b"rest").is_err());
}

#[test]
fn room_for_a_frame_is_made_once() {
    let mut out = Vec::new();
    Delimited::new(b"\r\n\r\n").encode(&[b'x'; 100], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (104, 104));
}
