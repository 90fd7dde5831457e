use super::*;
use crate::base::rng::Rng;
use crate::codec::LineError;
use crate::codec::tests::assert_reads;
use crate::testing::{Reading, pieces_at, random_cuts, read_pieces};

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Data(Vec<u8>),
    Trailer(Vec<u8>),
    End,
}

fn own(chunk: Chunk<'_>) -> Owned {
    match chunk {
        Chunk::Data(data) => Owned::Data(data.to_vec()),
        Chunk::Trailer(field) => Owned::Trailer(field.to_vec()),
        Chunk::End => Owned::End,
    }
}

/// The slow and obvious reading: the grammar of RFC 9112, from left to right over a whole input,
/// with numbers in 128 bits. What is wrong with a line `Lines` says, which has a model of its own.
fn model(codec: &Chunked, input: &[u8]) -> Reading<Owned, ChunkedError> {
    let mut frames = Vec::new();
    let end = read_bodies(codec, input, &mut frames);
    Reading { frames, end }
}

fn read_bodies(
    codec: &Chunked,
    input: &[u8],
    frames: &mut Vec<(usize, Owned)>,
) -> Result<(), ChunkedError> {
    let (limit_bytes, extra_limit) = (codec.limit_bytes, codec.extra_limit_bytes);
    let mut at = 0;
    let read_line = |at: &mut usize| {
        let offset = *at as u64;
        let mut lines = codec.lines.clone();
        lines.pass(*at);
        let seen = Excerpt::of(&input[*at..]);
        let line = lines.decode(&input[*at..])?;
        let Some((line, taken)) = line else {
            return Err(ChunkedError::UnexpectedEnd { offset, seen });
        };
        *at += taken;
        Ok((offset, line.text()))
    };
    loop {
        let mut extra = 0;
        let mut has_extra = |bytes: usize| {
            extra += bytes;
            extra > extra_limit
        };
        loop {
            let (offset, line) = read_line(&mut at)?;
            let (text, shown) = (String::from_utf8_lossy(line), Excerpt::of(line));
            let size = text.split([';', ' ', '\t']).next().unwrap();
            let extension = text[size.len()..].trim_start_matches([' ', '\t']);
            let has_controls = line.iter().any(|&b| b != b'\t' && (b < 32 || b == 127));
            let is_extension = extension.is_empty() == (text.len() == size.len())
                && (extension.is_empty() || extension.starts_with(';'));
            let is_size = !size.is_empty() && size.chars().all(|digit| digit.is_ascii_hexdigit());
            if !is_size || !is_extension || has_controls {
                return Err(ChunkedError::BadSize { offset, line: shown });
            }
            if has_extra(line.len().saturating_sub(16)) {
                let limit_bytes = extra_limit;
                return Err(ChunkedError::TooMuchExtra { offset, limit_bytes, line: shown });
            }
            let size = size.trim_start_matches('0');
            let bytes = match size.len() {
                0 => break,
                1..=30 => u128::from_str_radix(size, 16).unwrap(),
                _ => u128::MAX,
            };
            if bytes > limit_bytes as u128 {
                return Err(ChunkedError::TooLong { offset, limit_bytes, line: shown });
            }
            let bytes = bytes as usize;
            for (index, &ending) in [b'\r', b'\n'].iter().enumerate() {
                let index = (at + index).saturating_add(bytes);
                match input.get(index) {
                    Some(&byte) if byte == ending => {}
                    Some(_) => {
                        let seen = Excerpt::of(&input[at + bytes.saturating_sub(16)..=index]);
                        return Err(ChunkedError::NoEnding { offset: index as u64, seen });
                    }
                    None => {
                        let seen = Excerpt::of(&input[at..]);
                        return Err(ChunkedError::UnexpectedEnd { offset: at as u64, seen });
                    }
                }
            }
            let data = input[at..at + bytes].to_vec();
            at += bytes + 2;
            frames.push((at, Owned::Data(data)));
        }
        loop {
            let (offset, line) = read_line(&mut at)?;
            if line.is_empty() {
                break;
            }
            let name = line.iter().take_while(|&&byte| byte != b':').collect::<Vec<_>>();
            let is_token =
                |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
            if name.is_empty() || name.len() == line.len() || !name.into_iter().all(is_token) {
                return Err(ChunkedError::BadTrailer { offset, line: Excerpt::of(line) });
            }
            if has_extra(line.len() + 2) {
                let (limit_bytes, line) = (extra_limit, Excerpt::of(line));
                return Err(ChunkedError::TooMuchExtra { offset, limit_bytes, line });
            }
            frames.push((at, Owned::Trailer(line.to_vec())));
        }
        frames.push((at, Owned::End));
        if at == input.len() {
            return Ok(());
        }
    }
}

fn assert_agrees_with_model(codec: &Chunked, input: &[u8], note: &str) {
    let expected = model(codec, input);
    let limits = (codec.limit_bytes, codec.extra_limit_bytes);
    assert_reads(|| codec.clone(), input, &expected, own, &format!("{note}, limits {limits:?}"));
}

#[test]
fn known_inputs_read_as_the_model_says_however_cut() {
    let inputs: [&[u8]; 42] = [
        b"",
        b"0\r\n\r\n",
        b"4\r\nWiki\r\n7\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\n\r\n",
        b"000004\r\nWiki\r\n000\r\n\r\n",
        b"0\r\nExpires: never\r\nX:\r\n\r\n",
        b"0\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"5;name=value;other=\"a;b\"\r\nhello\r\n0;last\r\n\r\n",
        b"5 \t; a = b\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5;\x7f\r\nhello\r\n",
        b"5;\0\r\nhello\r\n",
        b"5;\xff\r\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"5\nhello\n",
        b"5\rhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rx",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhell\r\n",
        b"5\r\nhello\r",
        b"5\r\nhello",
        b"5\r\nhe",
        b"5\r\n",
        b"5",
        b"0\r\n",
        b"0\r\n\r",
        b"0\r\nA: b\r\n",
        b"0x5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5_0\r\n",
        b"\r\n",
        b";a\r\n",
        b"ffffffffffffffff\r\n",
        b"10000000000000000\r\n",
        b"fffffffffffffffffffffffffffffffffffff\r\n",
        b"0000000000000000000000000000000000001\r\na\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
    ];
    for (limit_bytes, extra_limit) in [(100, 100), (4, 12), (5, 16), (0, 0), (usize::MAX, 100)] {
        let codec = Chunked::new().with_limit(limit_bytes).with_extra_limit(extra_limit);
        for input in inputs {
            assert_agrees_with_model(&codec, input, "known input");
        }
    }
}

#[test]
fn random_inputs_read_as_the_model_says_however_cut() {
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let codec = Chunked::new()
            .with_limit(rng.below(20) as usize)
            .with_extra_limit(rng.below(60) as usize);
        let mut input = Vec::new();
        while input.len() < 40 {
            for _ in 0..rng.below(4) {
                let len = 1 + rng.below(18) as usize;
                let extension = ["", ";a", " ;b=\"c\"", ";abcdefghijklmnopqrs"];
                let extension = extension[rng.below(4) as usize];
                let size = format!("{len:x}{extension}\r\n");
                input.extend([size.as_bytes(), &rng.bytes(len), b"\r\n"].concat());
            }
            input.extend(b"0\r\n");
            for _ in 0..rng.below(3) {
                input.extend(b"Age: 1\r\n");
            }
            input.extend(b"\r\n");
        }
        input.truncate(rng.below(64) as usize);
        // Now and then one byte is another.
        if rng.chance(1, 3) && !input.is_empty() {
            let index = rng.below(input.len() as u64) as usize;
            input[index] = b"\r\n9;: \0"[rng.below(7) as usize];
        }
        assert_agrees_with_model(&codec, &input, &format!("seed {seed}"));
    }
}

#[test]
fn limits_are_exact() {
    let codec = Chunked::new().with_limit(100).with_extra_limit(10);
    let end = |input: &[u8]| read_pieces(&mut codec.clone(), [input], own).end;
    let chunk = [b"64\r\n", &[b'x'; 100][..], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(end(&chunk), Ok(()));
    assert!(matches!(end(b"65\r\n"), Err(ChunkedError::TooLong { offset: 0, .. })));

    assert!(end(b"0;34567890123456\r\n12345678:\r\n\r\n").is_err());
    assert_eq!(end(b"0;34567890123456\r\n1234567:\r\n\r\n"), Ok(()));
    assert_eq!(end(b"0;345678901234567\r\n123456:\r\n\r\n"), Ok(()));
    let error = end(b"0;345678901234567\r\n1234567:\r\n\r\n").unwrap_err();
    assert!(matches!(error, ChunkedError::TooMuchExtra { offset: 19, .. }), "{error}");
    // Each body has as much again.
    assert_eq!(end(b"0\r\n1234567:\r\n\r\n0\r\n1234567:\r\n\r\n"), Ok(()));
    assert!(matches!(end(&[b'0'; 27]), Err(ChunkedError::Line(LineError::TooLong { .. }))));
    assert!(matches!(end(&[b'0'; 26]), Err(ChunkedError::UnexpectedEnd { .. })));

    let encode = |len| codec.clone().encode(Chunk::Data(&[b'x'; 101][..len]), &mut Vec::new());
    assert_eq!(encode(100), Ok(()));
    assert!(matches!(encode(101), Err(ChunkedEncodeError::TooLong { data_bytes: 101, .. })));

    let mut codec = Chunked::default();
    assert_eq!(codec.decode(b"100000\r\n"), Ok(None));
    assert_eq!((codec.needs(), codec.skip(), codec.skip()), (1024 * 1024 + 1, 8, 0));
    assert!(Chunked::default().decode(b"100001\r\n").is_err());
    assert_eq!(Chunked::default().extra_limit_bytes, 16_384);
}

#[test]
fn what_is_encoded_is_decoded_and_the_rest_is_refused_without_a_trace() {
    let fields: [&[u8]; 7] = [b"A: b", b"a:", b"", b": b", b"no", b"A: b\r\nB: c", b"long: 7890"];
    let (mut written_count, mut refused_count) = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let codec = Chunked::new().with_limit(300).with_extra_limit(20);
        let mut encoder = codec.clone();
        let (mut out, mut chunks) = (Vec::new(), Vec::new());
        for step in 0..20 {
            let len = rng.next_u64() >> (54 + rng.below(11).min(9));
            let chunk = match rng.below(5) {
                _ if step == 19 => Owned::End,
                0..3 => Owned::Data(rng.bytes(len.min(310) as usize)),
                3 => Owned::Trailer(fields[rng.below(7) as usize].to_vec()),
                _ => Owned::End,
            };
            let lent = match &chunk {
                Owned::Data(data) => Chunk::Data(data),
                Owned::Trailer(field) => Chunk::Trailer(field),
                Owned::End => Chunk::End,
            };
            let before = out.clone();
            if encoder.encode(lent, &mut out).is_ok() {
                written_count += 1;
                chunks.push(chunk);
            } else {
                refused_count += 1;
                assert_eq!(out, before, "seed {seed}");
            }
        }
        let cuts = random_cuts(&mut rng, out.len());
        let reading = read_pieces(&mut codec.clone(), pieces_at(&out, &cuts), own);
        assert_eq!(reading.end, Ok(()), "seed {seed}");
        let came: Vec<Owned> = reading.frames.into_iter().map(|(_, chunk)| chunk).collect();
        assert_eq!(came, chunks, "seed {seed}");
    }
    assert!(written_count > 500 && refused_count > 500, "{written_count} {refused_count}");
}

#[test]
fn sizes_are_those_of_the_standard_library() {
    for number in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 4096, usize::MAX - 1, usize::MAX] {
        let mut out = Vec::new();
        write_hexadecimal(number, &mut out);
        assert_eq!(out, format!("{number:x}").as_bytes());
        assert_eq!(hexadecimal(&out), Some(number));
        assert_eq!(hexadecimal(&out.to_ascii_uppercase()), Some(number));
    }
    assert_eq!(hexadecimal(b"10000000000000000"), None);
}

#[test]
fn errors_say_where_and_show_what_came() {
    let read = |input: &[u8]| {
        let mut codec = Chunked::new().with_limit(9).with_extra_limit(9);
        read_pieces(&mut codec, [input], own).end.unwrap_err().to_string()
    };
    assert_eq!(
        read(b"1\r\na\r\n\x1b\r\n"),
        r#"no size of a chunk at byte 6 of the stream: "\x1b""#
    );
    assert_eq!(
        read(b"1\r\nab\r\n"),
        r#"no CR LF behind a chunk at byte 4 of the stream, it ends "ab""#
    );
    assert_eq!(read(b"0\r\nx\r\n"), r#"no trailer field at byte 3 of the stream: "x""#);
    assert_eq!(
        read(b"0\r\nx: 45678\r\n"),
        "extensions and trailers of a body are longer than 9 bytes, up to \"x: 45678\" at byte 3 \
         of the stream"
    );
    assert_eq!(read(b"2\r\na"), r#"stream ended before the body did, after "a" at its byte 3"#);
    assert_eq!(read(b"\n"), r#"LF without CR at byte 0 of the stream, in the line "\n""#);
    assert_eq!(
        format!("{:?} {:?} {:?}", Chunk::Data(b"\0"), Chunk::Trailer(b"a:"), Chunk::End),
        r#"Data("\x00") Trailer("a:") End"#
    );
    let mut codec = Chunked::new().with_limit(1).with_extra_limit(4);
    let mut refusal = |chunk| codec.encode(chunk, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(refusal(Chunk::Data(b"")), "a chunk without data would end the body");
    assert_eq!(refusal(Chunk::Data(b"ab")), "2 bytes are longer than a chunk of 1 bytes");
    assert_eq!(refusal(Chunk::Trailer(b"a: b")), "trailers are longer than 4 bytes");
    assert_eq!(refusal(Chunk::Trailer(b"ab")), "trailer is not a field in one line");
    codec.encode(Chunk::Trailer(b"a:"), &mut Vec::new()).unwrap();
    let error = codec.encode(Chunk::Data(b"a"), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "data behind a trailer");
}

#[test]
fn a_trailer_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let codec = || Chunked::new().with_extra_limit(7);
    codec().encode(Chunk::Trailer(b"a: bc"), &mut Vec::new()).unwrap();
    let refused = codec().encode(Chunk::Trailer(b"a: bcd"), &mut Vec::new());
    assert_eq!(refused, Err(ChunkedEncodeError::TooMuchExtra { limit_bytes: 7 }));
}

#[test]
fn room_for_a_chunk_is_made_once() {
    let mut out = Vec::new();
    Chunked::new().encode(Chunk::Data(&[b'x'; 100]), &mut out).unwrap();
    assert_eq!(out.capacity(), SIZE_DIGITS + 100 + 4);
}
