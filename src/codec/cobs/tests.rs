use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

fn own(frame: Stuffed<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    frame.append_to(&mut payload);
    assert_eq!(frame.len(), payload.len());
    assert_eq!(frame.is_empty(), payload.is_empty());
    assert_eq!(*frame.to_bytes(), payload);
    assert!(frame.as_slice().is_none_or(|slice| slice == payload));
    assert!(frame.pieces().all(|piece| !piece.is_empty()));
    payload
}

/// The encoder of the paper's appendix, in its plainest form: one byte at a time.
fn stuff(payload: &[u8]) -> Vec<u8> {
    let (mut out, mut block) = (Vec::new(), Vec::new());
    let mut is_open = true;
    for &byte in payload {
        is_open = true;
        if byte != 0 {
            block.push(byte);
        }
        if byte == 0 || block.len() == 254 {
            out.push(block.len() as u8 + 1);
            out.append(&mut block);
            is_open = byte == 0;
        }
    }
    if is_open {
        out.push(block.len() as u8 + 1);
        out.append(&mut block);
    }
    [out, vec![0]].concat()
}

/// The slow and obvious reading: a machine of one byte at a time.
fn model(codec: &Cobs, input: &[u8]) -> Reading<Vec<u8>, CobsError> {
    let mut reading = Reading { frames: Vec::new(), end: Ok(()) };
    let limit_bytes = codec.limit_bytes;
    let (mut seen, mut payload) = (Vec::new(), Vec::new());
    let (mut left, mut owes_zero) = (0, false);
    for (index, &byte) in input.iter().enumerate() {
        if byte == 0 && seen.is_empty() {
            continue;
        }
        let start = (index - seen.len()) as u64;
        seen.push(byte);
        let frame_start = Excerpt::of(&seen);
        if left > 0 {
            if byte == 0 {
                reading.end = Err(CobsError::CutOff { offset: index as u64, frame_start });
                return reading;
            }
            payload.push(byte);
            left -= 1;
            continue;
        }
        if byte == 0 {
            reading.frames.push((index + 1, std::mem::take(&mut payload)));
            seen.clear();
            owes_zero = false;
            continue;
        }
        if owes_zero {
            payload.push(0);
        }
        left = byte - 1;
        owes_zero = byte < 255;
        if payload.len() + usize::from(left) > limit_bytes {
            reading.end = Err(CobsError::TooLong { offset: start, limit_bytes, frame_start });
            return reading;
        }
    }
    if !seen.is_empty() {
        let offset = (input.len() - seen.len()) as u64;
        let frame_start = Excerpt::of(&seen);
        reading.end = Err(CobsError::UnexpectedEnd { offset, frame_start });
    }
    reading
}

fn assert_agrees_with_model(codec: &Cobs, input: &[u8], note: &str) {
    let expected = model(codec, input);
    let note = format!("{note}, limit {}", codec.limit_bytes);
    assert_reads(|| codec.clone(), input, &expected, own, &note);
}

#[test]
fn the_examples_of_wikipedia_are_written_and_read() {
    let upto = |last: u8| (1..=last).collect::<Vec<u8>>();
    let examples: [(Vec<u8>, Vec<u8>); 10] = [
        (vec![0], vec![1, 1, 0]),
        (vec![0, 0], vec![1, 1, 1, 0]),
        (vec![0, 0x11, 0], vec![1, 2, 0x11, 1, 0]),
        (vec![0x11, 0x22, 0, 0x33], vec![3, 0x11, 0x22, 2, 0x33, 0]),
        (vec![0x11, 0x22, 0x33, 0x44], vec![5, 0x11, 0x22, 0x33, 0x44, 0]),
        (vec![0x11, 0, 0, 0], vec![2, 0x11, 1, 1, 1, 0]),
        (upto(254), [vec![255], upto(254), vec![0]].concat()),
        ([vec![0], upto(254)].concat(), [vec![1, 255], upto(254), vec![0]].concat()),
        (upto(255), [vec![255], upto(254), vec![2, 255, 0]].concat()),
        (
            [upto(255)[1..].to_vec(), vec![0]].concat(),
            [vec![255], upto(255)[1..].to_vec(), vec![1, 1, 0]].concat(),
        ),
    ];
    for (payload, encoded) in examples {
        let mut out = Vec::new();
        Cobs::new().encode(&payload, &mut out).unwrap();
        assert_eq!(out, encoded);
        assert_eq!(stuff(&payload), encoded);
        let expected = Reading { frames: vec![(encoded.len(), payload)], end: Ok(()) };
        assert_reads(Cobs::new, &encoded, &expected, own, "example");
    }
}

#[test]
fn every_short_input_reads_as_the_model_says() {
    for len in 0..=5_u32 {
        for number in 0..4_usize.pow(len) {
            let input: Vec<u8> =
                (0..len).map(|digit| [0, 1, 2, 3][number / 4_usize.pow(digit) % 4]).collect();
            let codec = Cobs::new().with_limit(number % 4);
            assert_agrees_with_model(&codec, &input, "short input");
        }
    }
}

#[test]
fn long_blocks_read_as_the_model_says() {
    let block = |code: u8| [vec![code], vec![7; usize::from(code) - 1]].concat();
    let full = block(255);
    let inputs = [
        [&full[..], &[0]].concat(),
        [&full[..], &[1, 0]].concat(),
        [&full[..], &[1, 1, 0]].concat(),
        [&full[..], &full, &block(254), &block(2), &[0, 0]].concat(),
        [&full[..200], &[0]].concat(),
        full[..200].to_vec(),
    ];
    for input in inputs {
        for limit_bytes in [253, 254, 255, 508, 765, 766, 1000] {
            assert_agrees_with_model(&Cobs::new().with_limit(limit_bytes), &input, "long blocks");
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut input = Vec::new();
        while input.len() < 40 {
            let len = rng.below(10);
            let payload: Vec<u8> = (0..len).map(|_| rng.below(3) as u8).collect();
            input.extend(stuff(&payload));
            input.extend(vec![0; rng.below(3).saturating_sub(1) as usize]);
        }
        input.truncate(rng.below(50) as usize);
        // Now and then one byte is another.
        if rng.chance(1, 3) && !input.is_empty() {
            let index = rng.below(input.len() as u64) as usize;
            input[index] = rng.below(6) as u8;
        }
        let codec = Cobs::new().with_limit(rng.below(12) as usize);
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn a_payload_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for limit_bytes in [0, 1, 253, 254, 255, 508, 509] {
        for byte in [0, 1] {
            let mut codec = Cobs::new().with_limit(limit_bytes);
            let payload = vec![byte; limit_bytes + 1];
            let fits = stuff(&payload[1..]);
            let (frame, taken) = codec.clone().decode(&fits).unwrap().unwrap();
            assert_eq!((own(frame), taken), (payload[1..].to_vec(), fits.len()));
            assert!(codec.max_bytes() >= fits.len());
            let error = codec.clone().decode(&stuff(&payload)).unwrap_err();
            assert!(matches!(error, CobsError::TooLong { offset: 0, .. }), "{error}");
            let mut out = b"before".to_vec();
            assert!(codec.encode(&payload, &mut out).is_err());
            assert_eq!(out, b"before");
            codec.encode(&payload[1..], &mut out).unwrap();
            assert_eq!(out[b"before".len()..], fits);
        }
    }
    assert_eq!(Cobs::default().max_bytes(), 65_536 + 258 + 2);
}

#[test]
fn zeros_between_frames_are_not_kept() {
    let mut codec = Cobs::new().with_limit(4);
    for _ in 0..3 {
        assert!(codec.decode(&[0; 1000]).unwrap().is_none());
        assert_eq!((codec.skip(), codec.skip()), (1000, 0));
    }
    assert!(codec.decode(b"\0\0\x03a").unwrap().is_none());
    assert_eq!(codec.skip(), 2);
    let (frame, taken) = codec.decode(b"\x03ab\0").unwrap().unwrap();
    assert_eq!((own(frame), taken), (b"ab".to_vec(), 4));
    let error = codec.decode_eof(b"\x03a").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"stream ended within the frame at its byte 3006, it starts "\x03a""#
    );
}

#[test]
fn what_has_been_checked_is_not_checked_again() {
    let mut codec = Cobs::new();
    assert!(codec.decode(b"\x02a\x05bc").unwrap().is_none());
    assert_eq!((codec.block_start, codec.scanned), (2, 5));
    // A caller who breaks the contract shows that the bytes before are not looked at.
    assert!(codec.decode(b"\x02\0\x05\0\0cd\0").is_ok_and(|frame| frame.is_some()));
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let (mut out, mut payloads) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(10) {
            let len = rng.below(600) as usize;
            let zeros = rng.below(3);
            let payload: Vec<u8> =
                rng.bytes(len).into_iter().map(|b| if zeros == 0 { b.max(1) } else { b }).collect();
            let start = out.len();
            Cobs::new().encode(&payload, &mut out).unwrap();
            assert_eq!(out[start..], stuff(&payload), "seed {seed}");
            payloads.push(payload);
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut Cobs::new(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(came, payloads, "seed {seed}");
    }
}

#[test]
fn a_payload_in_one_piece_is_not_copied() {
    let mut codec = Cobs::new();
    let input = b"\x05some\0";
    let (frame, _) = codec.decode(input).unwrap().unwrap();
    assert_eq!(frame.as_slice(), Some(&input[1..5]));
    assert!(matches!(frame.to_bytes(), std::borrow::Cow::Borrowed(b"some")));
    assert_eq!(frame.encoded(), b"\x05some");
    assert_eq!(format!("{frame:?}"), r#"Stuffed("\x05some")"#);
}

#[test]
fn too_long_is_said_with_the_code_that_is_too_much() {
    let error = Cobs::new().with_limit(3).decode(b"\0\x02a\x03").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"frame at byte 1 of the stream is longer than 3 bytes, it starts "\x02a\x03""#
    );
}

#[test]
fn room_for_a_frame_is_made_once() {
    let mut out = Vec::new();
    Cobs::new().encode(&[1; 1000], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (1005, 1005));
}
