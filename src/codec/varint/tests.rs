use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

fn own(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

/// A number in so many bytes, or as many as it wants, built digit by digit.
fn length_bytes(length: u128, least_bytes: usize) -> Vec<u8> {
    let mut digits = vec![(length % 128) as u8];
    let mut rest = length / 128;
    while rest > 0 || digits.len() < least_bytes {
        *digits.last_mut().unwrap() += 128;
        digits.push((rest % 128) as u8);
        rest /= 128;
    }
    digits
}

/// The slow and obvious reading: numbers in 128 bits, the payload taken byte by byte.
fn model(codec: &VarintPrefixed, input: &[u8]) -> Reading<Vec<u8>, VarintError> {
    let mut frames = Vec::new();
    let mut bytes = input.iter().copied();
    loop {
        let offset = (input.len() - bytes.len()) as u64;
        let fail = |frames, error| Reading { frames, end: Err(error) };
        let (mut length, mut digits) = (0_u128, Vec::new());
        loop {
            let Some(byte) = bytes.next() else {
                if digits.is_empty() {
                    return Reading { frames, end: Ok(()) };
                }
                let (announced_bytes, received_bytes) = (None, 0);
                let end = VarintError::UnexpectedEnd { offset, announced_bytes, received_bytes };
                return fail(frames, end);
            };
            length += u128::from(byte % 128) << (7 * digits.len());
            digits.push(byte);
            if length > u128::from(u64::MAX) || digits.len() == 10 && byte >= 128 {
                return fail(
                    frames,
                    VarintError::Overflow { offset, length: Excerpt::of(&digits) },
                );
            }
            if byte < 128 {
                break;
            }
        }
        if digits.len() > 1 && digits.ends_with(&[0]) {
            return fail(frames, VarintError::Overlong { offset, length: Excerpt::of(&digits) });
        }
        let announced_bytes = length as u64;
        if length > codec.limit_bytes as u128 {
            let limit_bytes = codec.limit_bytes;
            let error = VarintError::TooLong { offset, announced_bytes, limit_bytes };
            return fail(frames, error);
        }
        let mut payload = Vec::new();
        while (payload.len() as u128) < length {
            let Some(byte) = bytes.next() else {
                let (announced_bytes, received_bytes) = (Some(announced_bytes), payload.len());
                let end = VarintError::UnexpectedEnd { offset, announced_bytes, received_bytes };
                return fail(frames, end);
            };
            payload.push(byte);
        }
        frames.push((input.len() - bytes.len(), payload));
    }
}

fn assert_agrees_with_model(codec: &VarintPrefixed, input: &[u8], note: &str) {
    let expected = model(codec, input);
    assert_reads(|| codec.clone(), input, &expected, own, &format!("{note}, {codec:?}"));
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    let long = [length_bytes(300, 1), vec![b'x'; 300]].concat();
    let inputs: [&[u8]; 19] = [
        b"",
        b"\0",
        b"\0\0\0",
        b"\x01a\x02bc\x03def",
        b"\x01a\x02b",
        b"\x80",
        b"\x80\0",
        b"\x81\0a",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\0",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\0",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0xff; 20],
        &[0x80; 20],
        &long,
        &long[..301],
    ];
    for limit_bytes in [0, 1, 2, 299, 300, usize::MAX] {
        let codec = VarintPrefixed::new().with_limit(limit_bytes);
        for input in inputs {
            assert_agrees_with_model(&codec, input, "known input");
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let codec = VarintPrefixed::new().with_limit(rng.below(12) as usize);
        let mut input = Vec::new();
        while input.len() < 40 {
            let len = rng.below(8);
            match rng.below(12) {
                0 => input.extend(length_bytes(u128::from(len), 2 + rng.below(10) as usize)),
                1 => input.extend(length_bytes(u128::from(rng.next_u64()), 1)),
                _ => input.extend(length_bytes(u128::from(len), 1)),
            }
            input.extend(rng.bytes(len as usize));
        }
        input.truncate(rng.below(50) as usize);
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn a_payload_of_exactly_the_limit_passes_and_one_byte_more_is_refused_by_its_length_alone() {
    for limit_bytes in [0, 1, 127, 128, 16_383, 16_384] {
        let mut codec = VarintPrefixed::new().with_limit(limit_bytes);
        let payload = vec![b'x'; limit_bytes + 1];
        let fits = [&length_bytes(limit_bytes as u128, 1), &payload[1..]].concat();
        assert_eq!(codec.clone().decode(&fits), Ok(Some((&payload[1..], fits.len()))));
        assert!(codec.max_bytes() >= fits.len());
        let announced_bytes = limit_bytes as u64 + 1;
        let error = VarintError::TooLong { offset: 0, announced_bytes, limit_bytes };
        assert_eq!(codec.clone().decode(&length_bytes(announced_bytes.into(), 1)), Err(error));
        let mut out = Vec::new();
        assert!(codec.encode(&payload, &mut out).is_err());
        codec.encode(&payload[1..], &mut out).unwrap();
        assert_eq!(out, fits);
    }
}

#[test]
fn the_default_limit_is_1_mib() {
    let mut codec = VarintPrefixed::default();
    assert_eq!(codec.decode(&length_bytes(0x0010_0000, 1)), Ok(None));
    assert_eq!(codec.needs(), 0x0010_0000);
    assert!(codec.decode(&length_bytes(0x0010_0001, 1)).is_err());
}

#[test]
fn the_examples_of_the_specification_are_read() {
    // protobuf.dev, "Encoding", "Base 128 Varints".
    assert!(matches!(read(b"\x01"), Ok(Some((1, 1)))));
    assert!(matches!(read(b"\x96\x01"), Ok(Some((150, 2)))));
    // Wikipedia, "LEB128".
    assert!(matches!(read(b"\xe5\x8e\x26"), Ok(Some((624_485, 3)))));
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let (mut out, mut payloads) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(20) {
            let len = rng.below(300) as usize;
            let payload = rng.bytes(len);
            VarintPrefixed::new().encode(&payload, &mut out).unwrap();
            payloads.push(payload);
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut VarintPrefixed::new(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(came, payloads, "seed {seed}");
    }
}

#[test]
fn errors_say_where_and_show_what_came() {
    let read = |input: &[u8]| {
        read_pieces(&mut VarintPrefixed::new(), [input], own).end.unwrap_err().to_string()
    };
    assert_eq!(
        read(b"\x01a\x81\x80\0"),
        r#"length of the frame at byte 2 of the stream is longer than it must be: "\x81\x80\x00""#
    );
    assert_eq!(
        read(&[0xff; 30]),
        "length of the frame at byte 0 of the stream has more than 64 bits: \
         \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\""
    );
    assert_eq!(read(b"\x01a\x80"), "stream ended within the length of the frame at its byte 2");
    assert_eq!(
        read(b"\x01a\x03hi"),
        "stream ended within the frame at its byte 2, after 2 of 3 bytes"
    );
}

#[test]
fn room_for_a_frame_is_made_once() {
    let mut out = Vec::new();
    VarintPrefixed::new().encode(&[b'x'; 100], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (101, 110));
}
