use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

fn own(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [payload.len().to_string().as_bytes(), b":", payload, b","].concat()
}

/// The slow and obvious reading: a machine of one byte at a time.
fn model(codec: &Netstrings, input: &[u8]) -> Reading<Vec<u8>, NetstringError> {
    let mut reading = Reading { frames: Vec::new(), end: Ok(()) };
    let limit_bytes = codec.limit_bytes;
    let mut seen: Vec<u8> = Vec::new();
    let mut announced: Option<(usize, usize)> = None; // bytes of payload, and in front of it
    for (index, &byte) in input.iter().enumerate() {
        let offset = (index - seen.len()) as u64;
        seen.push(byte);
        if let Some((payload_bytes, prefix_bytes)) = announced {
            if seen.len() <= prefix_bytes + payload_bytes {
                continue;
            }
            if byte != b',' {
                let last = prefix_bytes + payload_bytes.saturating_sub(16);
                let (offset, seen) = (index as u64, Excerpt::of(&seen[last..]));
                reading.end = Err(NetstringError::NoComma { offset, seen });
                return reading;
            }
            let payload = seen[prefix_bytes..seen.len() - 1].to_vec();
            reading.frames.push((index + 1, payload));
            seen.clear();
            announced = None;
            continue;
        }
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some(digits) = text.strip_suffix(':').filter(|digits| !digits.is_empty()) {
            announced = Some((digits.parse().unwrap(), seen.len()));
            continue;
        }
        let has_zeros = text.len() > 1 && text.starts_with('0');
        if !text.chars().all(|digit| digit.is_ascii_digit()) || has_zeros {
            let seen = Excerpt::of(&seen);
            reading.end = Err(NetstringError::BadLength { offset, seen });
            return reading;
        }
        if text.parse::<u128>().unwrap() > limit_bytes as u128 {
            let length_start = Excerpt::of(&seen);
            reading.end = Err(NetstringError::TooLong { offset, limit_bytes, length_start });
            return reading;
        }
    }
    if !seen.is_empty() {
        let (offset, received_bytes) = ((input.len() - seen.len()) as u64, seen.len());
        let frame_start = Excerpt::of(&seen);
        reading.end = Err(NetstringError::UnexpectedEnd { offset, received_bytes, frame_start });
    }
    reading
}

fn assert_agrees_with_model(codec: &Netstrings, input: &[u8], note: &str) {
    let expected = model(codec, input);
    assert_reads(|| codec.clone(), input, &expected, own, &format!("{note}, {codec:?}"));
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    let inputs: [&[u8]; 24] = [
        b"",
        b"0:,",
        // The example of the specification.
        b"12:hello world!,",
        b"0:,0:,1:a,",
        b"3:one,3:two,5:three,",
        b"3:one,3:tw",
        b"3:one",
        b"3:one3:two,",
        b"3",
        b"12",
        b":",
        b":,",
        b"-1:,",
        b"+1:a,",
        b" 1:a,",
        b"1 :a,",
        b"00:,",
        b"01:a,",
        b"1a:a,",
        b"1::,",
        b"1:,,",
        b"18446744073709551616:",
        b"99999999999999999999999999999",
        b"\xff\0",
    ];
    for limit_bytes in [0, 1, 3, 12, usize::MAX] {
        let codec = Netstrings::new().with_limit(limit_bytes);
        for input in inputs {
            assert_agrees_with_model(&codec, input, "known input");
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let codec = Netstrings::new().with_limit(rng.below(14) as usize);
        let mut input = Vec::new();
        while input.len() < 40 {
            let len = rng.below(13) as usize;
            input.extend(frame(&rng.bytes(len)));
        }
        input.truncate(rng.below(50) as usize);
        // Now and then one byte is another.
        if rng.chance(1, 3) && !input.is_empty() {
            let index = rng.below(input.len() as u64) as usize;
            input[index] = b"0123456789:,x"[rng.below(13) as usize];
        }
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn a_payload_of_exactly_the_limit_passes_and_one_byte_more_is_refused_by_its_length_alone() {
    for limit_bytes in [0, 1, 9, 10, 99, 100] {
        let mut codec = Netstrings::new().with_limit(limit_bytes);
        let payload = vec![b'x'; limit_bytes + 1];
        let fits = frame(&payload[1..]);
        assert_eq!(codec.clone().decode(&fits), Ok(Some((&payload[1..], fits.len()))));
        assert_eq!(codec.max_bytes(), fits.len());
        let exceeds = (limit_bytes + 1).to_string();
        let error = codec.clone().decode(exceeds.as_bytes()).unwrap_err();
        assert!(matches!(error, NetstringError::TooLong { offset: 0, .. }), "{error}");
        let mut out = Vec::new();
        assert!(codec.encode(&payload, &mut out).is_err());
        codec.encode(&payload[1..], &mut out).unwrap();
        assert_eq!(out, fits);
    }
}

#[test]
fn the_default_limit_is_1_mib() {
    let mut codec = Netstrings::default();
    assert_eq!(codec.decode(b"1048576:"), Ok(None));
    assert_eq!(codec.needs(), 1_048_577);
    assert!(codec.decode(b"1048577").is_err());
}

#[test]
fn lengths_at_the_end_of_the_numbers_do_not_overflow() {
    let mut codec = Netstrings::new().with_limit(usize::MAX);
    assert_eq!(codec.max_bytes(), usize::MAX);
    let input = format!("{}:", usize::MAX);
    assert_eq!(codec.decode(input.as_bytes()), Ok(None));
    assert_eq!(codec.needs(), usize::MAX);
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let (mut out, mut payloads) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(20) {
            let len = rng.below(300) as usize;
            let payload = rng.bytes(len);
            Netstrings::new().encode(&payload, &mut out).unwrap();
            payloads.push(payload);
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut Netstrings::new(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(came, payloads, "seed {seed}");
    }
}

#[test]
fn errors_say_where_and_show_what_came() {
    let read = |input: &[u8]| {
        read_pieces(&mut Netstrings::new(), [input], own).end.unwrap_err().to_string()
    };
    assert_eq!(
        read(b"0:,9999999999"),
        "frame at byte 3 of the stream announces \"9999999\" bytes or more, the limit is 1048576"
    );
    assert_eq!(read(b"0:,2:abc,"), "no comma at byte 7 of the stream, the frame ends \"abc\"");
    assert_eq!(
        read(b"0:,2:a"),
        "stream ended within the frame at its byte 3, after 3 bytes, it starts \"2:a\""
    );
}
