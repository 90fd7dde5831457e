use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::{Reading, assert_reads, pieces_at, random_cuts, read_stream};

const WIDTHS: [Width; 4] = [Width::One, Width::Two, Width::Four, Width::Eight];
const ORDERS: [ByteOrder; 2] = [ByteOrder::Big, ByteOrder::Little];

fn all_forms() -> impl Iterator<Item = (Width, ByteOrder)> {
    WIDTHS.into_iter().flat_map(|width| ORDERS.map(|order| (width, order)))
}

fn own(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

/// A length as bytes, built digit by digit.
fn length_bytes(width: Width, order: ByteOrder, length: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..width.bytes()).map(|digit| (length >> (8 * digit) & 0xff) as u8).collect();
    if order == ByteOrder::Big {
        bytes.reverse();
    }
    bytes
}

/// The slow and obvious reading: numbers in 128 bits, the payload taken byte by byte.
fn model(codec: &LengthPrefixed, input: &[u8]) -> Reading<Vec<u8>, LengthError> {
    let mut frames = Vec::new();
    let mut bytes = input.iter().copied();
    loop {
        let start = input.len() - bytes.len();
        let offset = start as u64;
        let mut digits: Vec<u8> = bytes.by_ref().take(codec.width.bytes()).collect();
        if digits.is_empty() {
            return Reading { frames, end: Ok(()) };
        }
        if digits.len() < codec.width.bytes() {
            let (announced_bytes, received_bytes) = (None, 0);
            let error = LengthError::UnexpectedEnd { offset, announced_bytes, received_bytes };
            return Reading { frames, end: Err(error) };
        }
        if codec.order == ByteOrder::Little {
            digits.reverse();
        }
        let length = digits.iter().fold(0_u128, |length, &digit| length * 256 + u128::from(digit));
        if length > codec.limit_bytes as u128 {
            let (announced_bytes, limit_bytes) = (length as u64, codec.limit_bytes);
            let error = LengthError::TooLong { offset, announced_bytes, limit_bytes };
            return Reading { frames, end: Err(error) };
        }
        let mut payload = Vec::new();
        while (payload.len() as u128) < length {
            let Some(byte) = bytes.next() else {
                let (announced_bytes, received_bytes) = (Some(length as u64), payload.len());
                let error = LengthError::UnexpectedEnd { offset, announced_bytes, received_bytes };
                return Reading { frames, end: Err(error) };
            };
            payload.push(byte);
        }
        frames.push((start, payload));
    }
}

fn assert_agrees_with_model(codec: &LengthPrefixed, input: &[u8], note: &str) {
    let expected = model(codec, input);
    assert_reads(|| codec.clone(), input, &expected, own, &format!("{note}, {codec:?}"));
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    for (width, order) in all_forms() {
        let frame = |payload: &[u8]| {
            [length_bytes(width, order, payload.len() as u64), payload.to_vec()].concat()
        };
        let inputs = [
            vec![],
            vec![0],
            vec![0xff; 9],
            frame(b""),
            [frame(b""), frame(b""), frame(b"a")].concat(),
            [frame(b"one"), frame(b"two"), frame(b"three")].concat(),
            [frame(b"one"), frame(b"cut")[..width.bytes() + 1].to_vec()].concat(),
            [frame(b"one"), length_bytes(width, order, 6)].concat(),
            [frame(b"one"), length_bytes(width, order, width.max_length())].concat(),
        ];
        for limit_bytes in [0, 3, 5, usize::MAX] {
            let codec = LengthPrefixed::new(width, order).with_limit(limit_bytes);
            for input in &inputs {
                assert_agrees_with_model(&codec, input, "known input");
            }
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let width = WIDTHS[rng.below(4) as usize];
        let order = ORDERS[rng.below(2) as usize];
        let codec = LengthPrefixed::new(width, order).with_limit(rng.below(12) as usize);
        let mut input = Vec::new();
        while input.len() < 40 {
            let len = rng.below(8);
            // Now and then a length that lies.
            let length = if rng.chance(1, 10) { rng.next_u64() } else { len };
            input.extend(length_bytes(width, order, length));
            input.extend(rng.bytes(len as usize));
        }
        input.truncate(rng.below(50) as usize);
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn a_payload_of_exactly_the_limit_passes_and_one_byte_more_is_refused_by_its_length_alone() {
    for (width, order) in all_forms() {
        let codec = LengthPrefixed::new(width, order).with_limit(100);
        let fits = [length_bytes(width, order, 100), vec![b'x'; 100]].concat();
        assert_eq!(codec.clone().decode(&fits), Ok(Some((&[b'x'; 100][..], fits.len()))));
        assert_eq!(codec.max_bytes(), fits.len());
        let error = LengthError::TooLong { offset: 0, announced_bytes: 101, limit_bytes: 100 };
        assert_eq!(codec.clone().decode(&length_bytes(width, order, 101)), Err(error));
        assert_eq!(codec.clone().encode(&[b'x'; 100], &mut Vec::new()), Ok(()));
        assert!(codec.clone().encode(&[b'x'; 101], &mut Vec::new()).is_err());
    }
}

#[test]
fn the_default_limit_is_1_mib() {
    let mut codec = LengthPrefixed::new(Width::Four, ByteOrder::Big);
    assert_eq!(codec.decode(&0x0010_0000_u32.to_be_bytes()), Ok(None));
    assert!(codec.decode(&0x0010_0001_u32.to_be_bytes()).is_err());
}

#[test]
fn lengths_at_the_end_of_the_numbers_do_not_overflow() {
    for order in ORDERS {
        let mut codec = LengthPrefixed::new(Width::Eight, order).with_limit(usize::MAX);
        assert_eq!(codec.max_bytes(), usize::MAX);
        let input = [length_bytes(Width::Eight, order, usize::MAX as u64), vec![1]].concat();
        assert_eq!(codec.decode(&input), Ok(None));
        let error = codec.decode_eof(&input).unwrap_err();
        let announced_bytes = Some(usize::MAX as u64);
        let expected = LengthError::UnexpectedEnd { offset: 0, announced_bytes, received_bytes: 1 };
        assert_eq!(error, expected);
    }
}

#[test]
fn a_payload_that_the_length_cannot_say_is_refused_without_a_trace() {
    for (width, payload_bytes) in [(Width::One, 256), (Width::Two, 65_536)] {
        for order in ORDERS {
            let mut codec = LengthPrefixed::new(width, order);
            let mut out = b"before".to_vec();
            let error = codec.encode(&vec![0; payload_bytes], &mut out).unwrap_err();
            assert_eq!(error.limit_bytes, width.max_length());
            assert_eq!(out, b"before");
            codec.encode(&vec![0; payload_bytes - 1], &mut out).unwrap();
            assert_eq!(out.len(), b"before".len() + width.bytes() + payload_bytes - 1);
        }
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let width = WIDTHS[rng.below(4) as usize];
        let order = ORDERS[rng.below(2) as usize];
        let codec = LengthPrefixed::new(width, order);
        let (mut out, mut payloads) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(20) {
            let len = rng.below(256) as usize;
            let payload = rng.bytes(len);
            codec.clone().encode(&payload, &mut out).unwrap();
            payloads.push(payload);
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_stream(&mut codec.clone(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(came, payloads, "seed {seed}");
    }
}

#[test]
fn errors_say_where_and_how_much() {
    let codec = LengthPrefixed::new(Width::Two, ByteOrder::Big);
    let read = |input: &[u8]| read_stream(&mut codec.clone(), [input], own).end.unwrap_err();
    assert_eq!(
        read(b"\0\x01a\0").to_string(),
        "stream ended within the length of the frame at its byte 3"
    );
    assert_eq!(
        read(b"\0\x01a\0\x05hel").to_string(),
        "stream ended within the frame at its byte 3, after 3 of 5 bytes"
    );
    let error = codec.clone().encode(&[0; 65_536], &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "payload of 65536 bytes is longer than a frame of 65535 bytes");
}
