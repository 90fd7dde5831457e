use super::*;
use crate::base::rng::Rng;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

fn own(frame: Stuffed<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    frame.append_to(&mut payload);
    assert_eq!(frame.len(), payload.len());
    assert_eq!(*frame.to_bytes(), payload);
    assert!(frame.as_slice().is_none_or(|slice| slice == payload));
    assert!(frame.pieces().all(|piece| !piece.is_empty()));
    payload
}

/// `send_packet` of RFC 1055.
fn stuff(packet: &[u8]) -> Vec<u8> {
    let mut out = vec![0o300];
    for &byte in packet {
        match byte {
            0o300 => out.extend([0o333, 0o334]),
            0o333 => out.extend([0o333, 0o335]),
            _ => out.push(byte),
        }
    }
    out.push(0o300);
    out
}

/// The slow and obvious reading: `recv_packet` of RFC 1055, with errors.
fn model(codec: &Slip, input: &[u8]) -> Reading<Vec<u8>, SlipError> {
    let mut reading = Reading { frames: Vec::new(), end: Ok(()) };
    let limit_bytes = codec.limit_bytes;
    let (mut seen, mut packet) = (Vec::new(), Vec::new());
    for (index, &byte) in input.iter().enumerate() {
        let start = (index - seen.len()) as u64;
        let is_escaped = seen.last() == Some(&0o333);
        seen.push(byte);
        let frame_start = Excerpt::of(&seen);
        match byte {
            0o334 if is_escaped => packet.push(0o300),
            0o335 if is_escaped => packet.push(0o333),
            _ if is_escaped => {
                let offset = index as u64 - 1;
                reading.end = Err(SlipError::BadEscape { offset, frame_start });
                return reading;
            }
            0o300 => {
                if !packet.is_empty() {
                    reading.frames.push((index + 1, std::mem::take(&mut packet)));
                }
                seen.clear();
            }
            0o333 => {}
            _ => packet.push(byte),
        }
        if packet.len() > limit_bytes {
            reading.end = Err(SlipError::TooLong { offset: start, limit_bytes, frame_start });
            return reading;
        }
    }
    if !seen.is_empty() {
        let offset = (input.len() - seen.len()) as u64;
        let frame_start = Excerpt::of(&seen);
        reading.end = Err(SlipError::UnexpectedEnd { offset, frame_start });
    }
    reading
}

fn assert_agrees_with_model(codec: &Slip, input: &[u8], note: &str) {
    let expected = model(codec, input);
    let note = format!("{note}, limit {}", codec.limit_bytes);
    assert_reads(|| codec.clone(), input, &expected, own, &note);
}

#[test]
fn every_short_input_of_special_bytes_reads_as_the_model_says() {
    for len in 0..=5_u32 {
        for number in 0..5_usize.pow(len) {
            let input: Vec<u8> = (0..len)
                .map(|digit| [END, ESC, ESC_END, ESC_ESC, b'x'][number / 5_usize.pow(digit) % 5])
                .collect();
            let codec = Slip::new().with_limit(number % 4);
            assert_agrees_with_model(&codec, &input, "short input");
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
            let packet: Vec<u8> =
                (0..len).map(|_| b"ab\xc0\xdb\xdc\xdd"[rng.below(6) as usize]).collect();
            let skipped = rng.below(2) as usize;
            input.extend(&stuff(&packet)[skipped..]);
        }
        input.truncate(rng.below(50) as usize);
        // Now and then one byte is another.
        if rng.chance(1, 3) && !input.is_empty() {
            let index = rng.below(input.len() as u64) as usize;
            input[index] = b"a\xc0\xdb\xdc"[rng.below(4) as usize];
        }
        let codec = Slip::new().with_limit(rng.below(12) as usize);
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn a_packet_of_exactly_the_limit_passes_and_one_byte_more_is_refused_at_once() {
    for byte in [b'x', END, ESC] {
        let mut codec = Slip::new().with_limit(100);
        let packet = [byte; 101];
        let fits = stuff(&packet[1..]);
        let (frame, taken) = codec.clone().decode(&fits).unwrap().unwrap();
        assert_eq!((own(frame), taken), (packet[1..].to_vec(), fits.len()));
        let exceeds = stuff(&packet);
        let error = codec.clone().decode(&exceeds[..exceeds.len() - 1]).unwrap_err();
        assert!(matches!(error, SlipError::TooLong { offset: 1, .. }), "{error}");
        assert!(codec.clone().decode(&exceeds[..exceeds.len() - 2]).is_ok());
        let mut out = b"before".to_vec();
        assert!(codec.encode(&packet, &mut out).is_err());
        assert!(codec.encode(b"", &mut out).is_err());
        assert_eq!(out, b"before");
        codec.encode(&packet[1..], &mut out).unwrap();
        assert_eq!(out[b"before".len()..], fits);
        assert_eq!(codec.max_bytes(), 201);
    }
    let fits = [b'x'; 65_536];
    assert!(Slip::default().decode(&fits).unwrap().is_none());
    assert!(Slip::default().decode(&[&fits[..], b"x"].concat()).is_err());
}

#[test]
fn ends_between_packets_are_not_kept() {
    let mut codec = Slip::new().with_limit(4);
    for _ in 0..3 {
        assert!(codec.decode(&[END; 1000]).unwrap().is_none());
        assert_eq!((codec.skip(), codec.skip()), (1000, 0));
    }
    assert!(codec.decode(b"\xc0\xc0a\xdb").unwrap().is_none());
    assert_eq!((codec.skip(), codec.scanned), (2, 1));
    let (frame, taken) = codec.decode(b"a\xdb\xdd\xc0").unwrap().unwrap();
    assert_eq!((own(frame), taken), (b"a\xdb".to_vec(), 4));
    let error = codec.decode_eof(b"ab").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"stream ended within the frame at its byte 3006, it starts "ab""#
    );
}

#[test]
fn what_has_been_searched_is_not_searched_again() {
    let mut codec = Slip::new();
    assert!(codec.decode(b"ab\xdb\xdcc\xdb").unwrap().is_none());
    assert_eq!((codec.scanned, codec.payload_bytes), (5, 4));
}

#[test]
fn what_is_encoded_is_decoded() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let (mut out, mut packets) = (Vec::new(), Vec::new());
        for _ in 0..rng.below(10) {
            let len = 1 + rng.below(600) as usize;
            let packet = rng.bytes(len);
            let start = out.len();
            Slip::new().encode(&packet, &mut out).unwrap();
            assert_eq!(out[start..], stuff(&packet), "seed {seed}");
            packets.push(packet);
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut Slip::new(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Vec<u8>> = reading.frames.into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(came, packets, "seed {seed}");
    }
}

#[test]
fn errors_say_where_and_how_much() {
    let error = Slip::new().with_limit(2).decode(b"\xc0abcd").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"frame at byte 1 of the stream is longer than 2 bytes, it starts "abc""#
    );
    let error = Slip::new().encode(b"", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "an empty packet cannot be sent");
    let error = Slip::new().with_limit(2).encode(b"abc", &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "3 bytes are longer than a packet of 2 bytes");
}

#[test]
fn room_for_a_packet_without_escapes_is_made_once() {
    let mut out = Vec::new();
    Slip::new().encode(&[b'x'; 100], &mut out).unwrap();
    assert_eq!((out.len(), out.capacity()), (102, 102));
}
