use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::codec::{
    ByteOrder, LengthEncodeError, LengthPrefixed, Line, LineError, Lines, Slip, Stuffed, Width,
};
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

type Codec = Switch<Lines, LengthPrefixed>;

fn codec() -> Codec {
    let second = LengthPrefixed::new(Width::One, ByteOrder::Big).with_limit(9);
    Switch::new(Lines::default().with_limit(9), second)
}

fn own(frame: Either<Line<'_>, &[u8]>) -> Either<Vec<u8>, Vec<u8>> {
    match frame {
        Either::First(line) => Either::First(line.text().to_vec()),
        Either::Second(payload) => Either::Second(payload.to_vec()),
    }
}

fn is_go(line: &Line<'_>) -> bool {
    line.text() == b"go"
}

/// What each codec says to its part of the stream, which ends for the first where `is_last` says.
fn model(
    input: &[u8],
    is_last: impl Fn(usize, &[u8]) -> bool,
) -> Reading<Either<Vec<u8>, Vec<u8>>, Error<Lines, LengthPrefixed>> {
    let Switch { first, second, .. } = codec();
    let own_line = |line: Line<'_>| (line.text().to_vec(), line.is_terminated());
    let lines = read_pieces(&mut first.clone(), [input], own_line);
    let mut frames = Vec::new();
    for (count, (end, (text, is_terminated))) in lines.frames.into_iter().enumerate() {
        let switches = is_terminated && is_last(count + 1, &text);
        frames.push((end, Either::First(text)));
        if switches {
            let own = <[u8]>::to_vec;
            let reading = read_pieces(&mut second.clone(), [&input[end..]], own);
            let payloads = reading.frames.into_iter();
            frames.extend(payloads.map(|(at, payload)| (end + at, Either::Second(payload))));
            let start = end as u64;
            let end = reading.end.map_err(|error| SwitchError::Second { start, error });
            return Reading { frames, end };
        }
    }
    Reading { frames, end: lines.end.map_err(SwitchError::First) }
}

#[test]
fn each_codec_sees_its_part_however_the_stream_was_cut() {
    let inputs: [&[u8]; 10] = [
        b"",
        b"one\ntwo",
        b"go",
        b"go\n",
        b"go\n\x03a\nb\x02go\x01c",
        b"one\r\ngo\r\n\x03a\nb",
        b"one\ngo\n\x09ab",
        b"one\ngo\n\x0aab",
        b"one\n0123456789",
        b"go\n\0\0",
    ];
    for input in inputs {
        let expected = model(input, |_, text| text == b"go");
        assert_reads(|| codec().after(is_go), input, &expected, own, "behind a frame");
        let expected = model(input, |count, _| count == 2);
        assert_reads(|| codec().after_frames(2), input, &expected, own, "behind two frames");
        let expected = model(input, |_, _| false);
        assert_reads(codec, input, &expected, own, "never");
    }
}

#[test]
fn random_inputs_are_read_by_each_codec_in_turn() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut input = Vec::new();
        for _ in 0..rng.below(16) {
            match rng.below(4) {
                0 => input.extend(b"go\n"),
                1 => input.extend(b"line\r\n"),
                2 => input.extend(b"\x03abc"),
                _ => input.extend(rng.bytes(1)),
            }
        }
        let expected = model(&input, |_, text| text == b"go");
        assert_reads(|| codec().after(is_go), &input, &expected, own, &format!("seed {seed}"));
    }
}

#[test]
fn whoever_owns_it_may_switch_and_what_has_come_is_not_lost() {
    let mut codec = codec();
    let input = b"STARTTLS\n\x02hi";
    let (frame, taken) = codec.decode(input).unwrap().unwrap();
    assert_eq!((own(frame), taken), (Either::First(b"STARTTLS".to_vec()), 9));
    assert!(!codec.is_switched());
    assert!(codec.decode(b"\x02hi").unwrap().is_none());
    codec.switch();
    assert!(codec.is_switched());
    let (frame, taken) = codec.decode(b"\x02hi").unwrap().unwrap();
    assert_eq!((own(frame), taken), (Either::Second(b"hi".to_vec()), 3));
    assert!(codec.decode(b"\x09").unwrap().is_none());
    assert_eq!(codec.needs(), 9);
    let error = codec.decode_eof(b"\x09a").unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream ended within the frame at its byte 3, after 1 of 9 bytes \
         (counted from byte 9, where another codec began)"
    );
}

#[test]
fn what_is_skipped_counts_too() {
    let mut codec = Switch::new(Slip::new(), Lines::default().with_limit(1)).after_frames(1);
    assert!(codec.decode(b"\xc0\xc0").unwrap().is_none());
    assert_eq!(codec.skip(), 2);
    assert!(codec.decode(b"a\xc0").unwrap().is_some());
    let error = codec.decode(b"long").unwrap_err();
    assert!(matches!(error, SwitchError::Second { start: 4, .. }), "{error}");

    let mut codec = Switch::new(Lines::default(), Slip::new()).after_frames(0);
    assert!(codec.decode(b"\xc0\xc0").unwrap().is_none());
    assert_eq!(codec.skip(), 2);
    let frame = codec.decode(b"a\xc0").unwrap();
    assert!(matches!(frame, Some((Either::Second(Stuffed { .. }), 2))));
}

#[test]
fn its_limit_is_the_larger_one() {
    assert_eq!(codec().max_bytes(), 11);
    let Switch { first, second, .. } = codec();
    assert_eq!(Switch::new(second.with_limit(100), first).max_bytes(), 101);
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let mut encoder = codec();
        let (mut out, mut items) = (Vec::new(), Vec::new());
        for count in [rng.below(4), 1 + rng.below(4)] {
            for _ in 0..count {
                let len = rng.below(11) as usize;
                let bytes = rng.bytes(len);
                let is_second = encoder.is_switched() || items.len() as u64 == count;
                let item =
                    if is_second { Either::Second(&bytes[..]) } else { Either::First(&bytes[..]) };
                if encoder.encode(item, &mut out).is_ok() {
                    items.push(if is_second {
                        Either::Second(bytes)
                    } else {
                        Either::First(bytes)
                    });
                }
            }
        }
        let first_count = items.iter().filter(|item| matches!(item, Either::First(_))).count();
        let mut decoder = codec().after_frames(first_count as u64);
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut decoder, pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<_> = reading.frames.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(came, items, "seed {seed}");
    }
}

#[test]
fn there_is_no_way_back() {
    let mut codec = codec();
    let mut out = Vec::new();
    let error = codec.encode(Either::Second(&[0; 10]), &mut out).unwrap_err();
    assert!(matches!(error, SwitchEncodeError::Second(LengthEncodeError { .. })));
    let error = codec.encode(Either::First(b"\n"), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "text holds a line ending at byte 0");
    codec.encode(Either::First(b"a"), &mut out).unwrap();
    codec.encode(Either::Second(b"b"), &mut out).unwrap();
    let error = codec.encode(Either::First(b"c"), &mut out).unwrap_err();
    assert_eq!(error.to_string(), "the other codec has begun");
    assert_eq!(out, b"a\n\x01b");
    let error: SwitchError<LineError, LineError> =
        SwitchError::First(Lines::default().with_limit(0).decode(b"a").unwrap_err());
    assert!(error.to_string().starts_with("line at byte 0"));
}
