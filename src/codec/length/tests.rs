use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

const WIDTHS: [Width; 5] = [Width::One, Width::Two, Width::Three, Width::Four, Width::Eight];
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

/// The slow and obvious reading: numbers in 128 bits, the frame taken byte by byte.
fn model(codec: &LengthPrefixed, input: &[u8]) -> Reading<Vec<u8>, LengthError> {
    let (width_bytes, adjustment) = (codec.width.bytes(), i128::from(codec.adjustment));
    let prefix_bytes = codec.length_index + width_bytes;
    let stripped_bytes = codec.stripped_bytes.unwrap_or(prefix_bytes);
    let least_body = stripped_bytes.saturating_sub(prefix_bytes) as i128;
    let limit_bytes = codec.limit_bytes.min(isize::MAX as usize - prefix_bytes);
    let mut frames = Vec::new();
    let mut start = 0;
    while start < input.len() {
        let offset = start as u64;
        let mut frame: Vec<u8> = input[start..].iter().copied().take(prefix_bytes).collect();
        if frame.len() < prefix_bytes {
            let (announced_bytes, received_bytes) = (None, 0);
            let error = LengthError::UnexpectedEnd { offset, announced_bytes, received_bytes };
            return Reading { frames, end: Err(error) };
        }
        let mut digits = frame[codec.length_index..].to_vec();
        if codec.order == ByteOrder::Little {
            digits.reverse();
        }
        let length = digits.iter().fold(0_i128, |length, &digit| length * 256 + i128::from(digit));
        let announced_bytes = length as u64;
        if length + adjustment < least_body && length + adjustment <= limit_bytes as i128 {
            let least_bytes = (least_body - adjustment) as u64;
            let error = LengthError::TooShort { offset, announced_bytes, least_bytes };
            return Reading { frames, end: Err(error) };
        }
        if length + adjustment > limit_bytes as i128 {
            let most = (limit_bytes as i128 - adjustment).clamp(0, usize::MAX as i128);
            let error =
                LengthError::TooLong { offset, announced_bytes, limit_bytes: most as usize };
            return Reading { frames, end: Err(error) };
        }
        let mut received_bytes = 0;
        while (received_bytes as i128) < length + adjustment {
            let Some(&byte) = input.get(start + frame.len()) else {
                let announced_bytes = Some(announced_bytes);
                let error = LengthError::UnexpectedEnd { offset, announced_bytes, received_bytes };
                return Reading { frames, end: Err(error) };
            };
            frame.push(byte);
            received_bytes += 1;
        }
        start += frame.len();
        frames.push((start, frame.split_off(stripped_bytes)));
    }
    Reading { frames, end: Ok(()) }
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
fn frames_are_shown_without_what_is_stripped_however_much_that_is() {
    // A length behind a header counts that, too.
    for (width, order, index) in all_forms().flat_map(|it| [0, 1, 2].map(|at| (it.0, it.1, at))) {
        let frame = |payload: &[u8]| {
            let length = length_bytes(width, order, (index + payload.len()) as u64);
            [&b"he"[..index], &length, payload].concat()
        };
        for stripped_bytes in 0..12 {
            let codec = LengthPrefixed::new(width, order)
                .with_length_at(index)
                .with_adjustment(-(index as i64))
                .strip(stripped_bytes);
            for input in [frame(b"twelve bytes"), [frame(b"abc"), frame(b"")].concat()] {
                assert_agrees_with_model(&codec, &input, "stripped");
            }
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let width = WIDTHS[rng.below(5) as usize];
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

/// A form with a header, an adjustment and what is stripped at random.
fn random_form(rng: &mut Rng) -> LengthPrefixed {
    let width = WIDTHS[rng.below(5) as usize];
    let order = ORDERS[rng.below(2) as usize];
    let mut codec = LengthPrefixed::new(width, order)
        .with_limit(rng.below(12) as usize)
        .with_length_at(rng.below(4) as usize);
    if rng.chance(1, 2) {
        codec = codec.strip(rng.below(12) as usize);
    }
    codec.with_adjustment(match rng.below(8) {
        0 => i64::MIN + rng.below(3) as i64,
        1 => i64::MAX - rng.below(3) as i64,
        _ => rng.below(15) as i64 - 7,
    })
}

#[test]
fn random_forms_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let codec = random_form(&mut rng);
        let mut input = Vec::new();
        while input.len() < 40 {
            let (header, body) = (rng.bytes(codec.length_index), rng.below(14));
            let length = (body as i64).saturating_sub(codec.adjustment) as u64;
            input.extend(header);
            let length = if rng.chance(1, 20) { 0 } else { length };
            input.extend(length_bytes(codec.width, codec.order, length));
            input.extend(rng.bytes(body as usize));
        }
        input.truncate(rng.below(50) as usize);
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn forms_of_other_programs_are_read() {
    // The examples in the documentation of Netty's LengthFieldBasedFrameDecoder, in its order:
    // offset, width, adjustment, stripped, the bytes, and what is shown of them.
    use Width::{Three, Two};
    type Form = (usize, Width, i64, usize, &'static [u8], &'static [u8]);
    let forms: [Form; 8] = [
        (0, Two, 0, 0, b"\0\x0cHELLO, WORLD", b"\0\x0cHELLO, WORLD"),
        (0, Two, 0, 2, b"\0\x0cHELLO, WORLD", b"HELLO, WORLD"),
        (0, Two, -2, 0, b"\0\x0eHELLO, WORLD", b"\0\x0eHELLO, WORLD"),
        (2, Three, 0, 0, b"\xca\xfe\0\0\x0cHELLO, WORLD", b"\xca\xfe\0\0\x0cHELLO, WORLD"),
        (0, Three, 2, 0, b"\0\0\x0c\xca\xfeHELLO, WORLD", b"\0\0\x0c\xca\xfeHELLO, WORLD"),
        (1, Two, 1, 3, b"\xca\0\x0c\xfeHELLO, WORLD", b"\xfeHELLO, WORLD"),
        (1, Two, -3, 3, b"\xca\0\x10\xfeHELLO, WORLD", b"\xfeHELLO, WORLD"),
        (0, Two, 0, 9, b"\0\x0cHELLO, WORLD", b"WORLD"),
    ];
    for (length_index, width, adjustment, stripped_bytes, bytes, shown) in forms {
        let mut codec = LengthPrefixed::new(width, ByteOrder::Big)
            .with_length_at(length_index)
            .with_adjustment(adjustment)
            .strip(stripped_bytes);
        let expected = Reading { frames: vec![(bytes.len(), shown.to_vec())], end: Ok(()) };
        assert_reads(|| codec.clone(), bytes, &expected, own, "from Netty");
        let (header, rest) = bytes.split_at(length_index);
        let mut out = Vec::new();
        codec.encode(&[header, &rest[width.bytes()..]].concat(), &mut out).unwrap();
        assert_eq!(out, bytes);
    }
}

#[test]
fn what_is_encoded_in_any_form_is_decoded_and_the_rest_is_refused_without_a_trace() {
    let mut written_count = 0;
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let codec = random_form(&mut rng);
        let len = rng.below(16) as usize;
        let item = rng.bytes(len);
        let mut out = b"before".to_vec();
        match codec.clone().encode(&item, &mut out) {
            Ok(()) => {
                written_count += 1;
                let (header, body) = item.split_at(codec.length_index);
                let frame = &out[b"before".len()..];
                assert!(frame.starts_with(header) && frame.ends_with(body), "seed {seed}");
                let shown = &frame[codec.shape.stripped_bytes..];
                let taken = frame.len();
                assert_eq!(codec.clone().decode(frame), Ok(Some((shown, taken))), "seed {seed}");
            }
            Err(error) => {
                assert_eq!(out, b"before");
                let (least, most) = (error.least_bytes, error.limit_bytes);
                let length_max = codec.shape.most_length.min(codec.width.max_length());
                if codec.shape.least_length > length_max {
                    continue; // adjusted so far that there can be no frame
                }
                assert!(!(least..=most).contains(&error.payload_bytes), "{error:?}, seed {seed}");
                for bytes in least..=most.min(least.saturating_add(12)).min(1000) {
                    let item = vec![0; bytes as usize];
                    let result = codec.clone().encode(&item, &mut Vec::new());
                    assert_eq!(result, Ok(()), "seed {seed}");
                }
            }
        }
    }
    assert!(written_count > 300, "{written_count}");
}

#[test]
fn what_a_frame_needs_is_known_to_the_byte() {
    let mut codec = LengthPrefixed::new(Width::Four, ByteOrder::Big);
    let needs = [(&b""[..], 4), (b"\0", 3), (b"\0\0\0", 1), (b"\0\0\0\x09", 9)];
    for (input, needed_bytes) in needs {
        assert_eq!(codec.decode(input), Ok(None));
        assert_eq!(codec.needs(), needed_bytes);
    }
    assert_eq!(codec.decode(b"\0\0\0\x0912345678"), Ok(None));
    assert_eq!(codec.needs(), 1);
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
        let input = |length| [length_bytes(Width::Eight, order, length), vec![1]].concat();
        let limit_bytes = isize::MAX as usize - 8; // a frame that fits in a slice
        let most = limit_bytes as u64;
        assert_eq!(codec.decode(&input(most)), Ok(None));
        assert_eq!(codec.needs(), limit_bytes - 1);
        let error = codec.decode_eof(&input(most)).unwrap_err();
        let announced_bytes = Some(most);
        let expected = LengthError::UnexpectedEnd { offset: 0, announced_bytes, received_bytes: 1 };
        assert_eq!(error, expected);
        for announced_bytes in [most + 1, u64::MAX - 8, u64::MAX - 7, u64::MAX] {
            let error = codec.clone().decode(&input(announced_bytes)).unwrap_err();
            assert_eq!(error, LengthError::TooLong { offset: 0, announced_bytes, limit_bytes });
        }
    }
}

#[test]
fn a_payload_that_the_length_cannot_say_is_refused_without_a_trace() {
    for (width, payload_bytes) in
        [(Width::One, 256), (Width::Two, 65_536), (Width::Three, 16_777_216)]
    {
        for order in ORDERS {
            let mut codec = LengthPrefixed::new(width, order).with_limit(usize::MAX);
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
        let width = WIDTHS[rng.below(5) as usize];
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
        let reading = read_pieces(&mut codec.clone(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(came, payloads, "seed {seed}");
    }
}

#[test]
fn errors_say_where_and_how_much() {
    let codec = LengthPrefixed::new(Width::Two, ByteOrder::Big);
    let read = |input: &[u8]| read_pieces(&mut codec.clone(), [input], own).end.unwrap_err();
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

    let mut codec = codec.with_length_at(1).with_adjustment(-3);
    assert_eq!(
        codec.decode(b"x\0\x02").unwrap_err().to_string(),
        "frame at byte 0 of the stream announces 2 bytes, the least is 3"
    );
    let error = codec.encode(b"", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "payload of 0 bytes is shorter than the least of 1");
    let error = LengthEncodeError { payload_bytes: 5, least_bytes: 5, limit_bytes: 4 };
    assert_eq!(error.to_string(), "payload of 5 bytes is longer than a frame of 4 bytes");
}

#[test]
fn room_for_a_frame_is_made_once() {
    let mut out = Vec::new();
    let mut codec = LengthPrefixed::new(Width::Four, ByteOrder::Big);
    codec.encode(&[b'x'; 100], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (104, 104));
}
