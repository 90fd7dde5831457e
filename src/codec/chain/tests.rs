use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::codec::{
    ByteOrder, Delimited, LengthError, LengthPrefixed, Line, LineError, Lines, NetstringError,
    Netstrings, Slip, Width,
};
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

fn length_prefixed() -> LengthPrefixed {
    LengthPrefixed::new(Width::One, ByteOrder::Big).with_limit(20)
}

fn own_line(line: Line<'_>) -> (Vec<u8>, Vec<u8>) {
    (line.text().to_vec(), line.ending().to_vec())
}

type LinesReading = Reading<(Vec<u8>, Vec<u8>), ChainError<LengthError, LineError>>;

/// Each payload is read as a stream of its own. An inner frame ends where its bytes do, and with
/// the last byte of a payload.
fn model(input: &[u8]) -> LinesReading {
    let outer = read_pieces(&mut length_prefixed(), [input], <[u8]>::to_vec);
    let mut frames = Vec::new();
    for (end, payload) in outer.frames {
        let start = end - payload.len();
        let reading = read_pieces(&mut lines(), [&payload[..]], own_line);
        frames.extend(reading.frames.into_iter().map(|(at, line)| (start + at, line)));
        if let Err(error) = reading.end {
            return Reading { frames, end: Err(ChainError::Inner { start: start as u64, error }) };
        }
    }
    Reading { frames, end: outer.end.map_err(ChainError::Outer) }
}

fn lines() -> Lines {
    Lines::default().with_limit(5)
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    let inputs: [&[u8]; 12] = [
        b"",
        b"\0",
        b"\0\0\0\0",
        b"\x04one\n",
        b"\x08one\ntwo\n",
        b"\x07one\ntwo",
        b"\x07one\ntwo\0\0\x05three",
        b"\x03\n\n\n",
        b"\x09one\nlonger\x01a",
        b"\x04one\n\x15",
        b"\x04one\n\x05two",
        b"\x04one\n\0",
    ];
    for input in inputs {
        let codec = || Chain::new(length_prefixed(), lines());
        assert_reads(codec, input, &model(input), own_line, "known input");
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut input = Vec::new();
        while input.len() < 40 {
            let len = rng.below(12) as usize;
            input.push(len as u8);
            input.extend((0..len).map(|_| b"\n\r\nabc"[rng.below(6) as usize]));
        }
        input.truncate(rng.below(50) as usize);
        let codec = || Chain::new(length_prefixed(), lines());
        assert_reads(codec, &input, &model(&input), own_line, &format!("seed {seed}"));
    }
}

#[test]
fn what_ends_an_outer_frame_is_taken_with_the_last_inner_one() {
    // Two netstrings in a line, one in the next, none in the third.
    let input = b"1:a,1:b,\n1:c,\n\n2:dd,\n";
    let own = <[u8]>::to_vec;
    let frames =
        vec![(4, b"a".to_vec()), (9, b"b".to_vec()), (14, b"c".to_vec()), (21, b"dd".to_vec())];
    let expected: Reading<_, ChainError<_, NetstringError>> = Reading { frames, end: Ok(()) };
    let delimited = || Chain::new(Delimited::new(b"\n"), Netstrings::new());
    assert_reads(delimited, input, &expected, own, "netstrings in frames");
    let expected = Reading { frames: expected.frames, end: Ok(()) };
    let lines = || Chain::new(Lines::default(), Netstrings::new());
    assert_reads(lines, input, &expected, own, "netstrings in lines");
}

#[test]
fn what_ends_an_outer_frame_is_taken_with_an_inner_one_that_has_no_end() {
    let input = b"5:a\nbcd,0:,1:e,";
    let own = |line: Line<'_>| line.text().to_vec();
    let frames = vec![(4, b"a".to_vec()), (8, b"bcd".to_vec()), (15, b"e".to_vec())];
    let expected: Reading<_, ChainError<NetstringError, LineError>> =
        Reading { frames, end: Ok(()) };
    assert_reads(|| Chain::new(Netstrings::new(), lines()), input, &expected, own, "netstrings");
}

#[test]
fn an_inner_frame_that_the_outer_one_cuts_off_is_an_error() {
    let mut codec = Chain::new(Delimited::new(b"\n"), Netstrings::new());
    let error = read_pieces(&mut codec, [&b"1:a,\n1:b,3:c\n"[..]], <[u8]>::to_vec).end;
    assert_eq!(
        error.unwrap_err().to_string(),
        "stream ended within the frame at its byte 4, after 3 bytes, it starts \"3:c\" \
         (in the frame that starts at byte 5)"
    );
}

#[test]
fn an_outer_frame_that_the_end_of_the_stream_ends_holds_one() {
    let codec = || Chain::new(Lines::default(), Netstrings::new());
    let read = |input: &'static [u8]| {
        let reading = read_pieces(&mut codec(), [input], <[u8]>::to_vec);
        (reading.frames.len(), reading.end.map_err(|error| error.to_string()))
    };
    assert_eq!(read(b"1:a,\n1:b,"), (2, Ok(())));
    let many = "last frame, without an end, at byte 5 of the stream holds more than one";
    assert_eq!(read(b"1:a,\n1:b,1:c,"), (1, Err(many.to_owned())));
    let (count, end) = read(b"1:a,\n1:b");
    assert_eq!(count, 1);
    assert!(end.unwrap_err().ends_with("(in the frame that starts at byte 5)"));
}

#[test]
fn outer_frames_without_inner_ones_are_not_kept() {
    let mut codec = Chain::new(length_prefixed(), lines());
    for _ in 0..3 {
        assert_eq!(codec.decode(&[0; 1000]), Ok(None));
        assert_eq!((codec.skip(), codec.skip(), codec.needs()), (1000, 0, 1));
    }
    assert_eq!(codec.decode(b"\0\x15"), Err(ChainError::Outer(too_long(3001))));
    assert_eq!(codec.max_bytes(), 21);
}

#[test]
fn what_the_outer_codec_skips_or_needs_is_the_chains_too() {
    // In the middle one empty frame, behind it an outer one without any.
    let outer = Chain::new(length_prefixed(), length_prefixed());
    let mut codec = Chain::new(outer, lines());
    assert_eq!(codec.decode(b"\x01\0\0"), Ok(None));
    assert_eq!((codec.skip(), codec.skip()), (3, 0));
    let mut codec = Chain::new(length_prefixed(), lines());
    assert_eq!(codec.decode(b"\x05ab"), Ok(None));
    assert_eq!(codec.needs(), 3);
}

fn too_long(offset: u64) -> LengthError {
    LengthError::TooLong { offset, announced_bytes: 21, limit_bytes: 20 }
}

#[test]
fn what_is_encoded_is_decoded_and_the_rest_is_refused_without_a_trace() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut codec = Chain::new(length_prefixed(), lines().with_limit(25));
        let (mut out, mut texts) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let len = rng.below(28) as usize;
            let text: Vec<u8> = (0..len).map(|_| b"abcdefghi\n"[rng.below(10) as usize]).collect();
            let before = out.len();
            if codec.encode(&text, &mut out).is_ok() {
                texts.push(text);
            } else {
                assert_eq!(out.len(), before);
            }
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut codec, pieces_at(&out, &cuts), own_line);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, (text, _))| text).collect();
        assert_eq!(came, texts, "seed {seed}");
    }
    // What the inner codec writes need not stand in the outer one as it is.
    let mut codec = Chain::new(Slip::new(), length_prefixed());
    let mut out = Vec::new();
    codec.encode(b"\xc0", &mut out).unwrap();
    assert_eq!(out, b"\xc0\x01\xdb\xdc\xc0");
}
