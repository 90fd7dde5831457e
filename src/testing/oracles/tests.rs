//! Every codec of this crate keeps what is promised of every decoder. That each oracle finds who
//! does not is shown in `tests/oracles`.

use super::*;
use crate::codec::{
    ByteOrder, Bytes, Chain, Chunk, Chunked, Cobs, Delimited, Either, Encoder, Ending, FixedLength,
    LengthPrefixed, Lines, Netstrings, Next, Part, Slip, Switch, Text, Utf8Lines, VarintPrefixed,
    Width,
};

const INPUTS: u64 = 40;

/// All oracles, over random inputs, with some limits.
fn assert_sound<D>(make: impl Fn(usize) -> D)
where
    D: Decoder,
    for<'a> D::Frame<'a>: Debug,
{
    for limit_bytes in [0, 5, 64, 300] {
        for seed in 0..INPUTS {
            decoder(|| make(limit_bytes), &random_input(seed));
        }
    }
}

#[test]
fn limits_are_reached_as_large_as_they_are_by_default() {
    let input = random_input(1);
    decoder(Lines::default, &input);
    decoder(Cobs::new, &input);
    decoder(Netstrings::new, &input);
    decoder(Chunked::new, &input);
}

#[test]
fn lines_are_sound() {
    for ending in [Ending::Any, Ending::Lf, Ending::CrLf] {
        assert_sound(|limit| Lines::new(ending).with_limit(limit));
        assert_sound(|limit| Utf8Lines::new(Lines::new(ending).with_limit(limit)));
    }
    assert_sound(|limit| Lines::new(Ending::CrLf).with_limit(limit).require_ending());
}

#[test]
fn delimited_and_fixed_are_sound() {
    for delimiter in [&b"\n"[..], b"||", b"aab", b"\r\n.\r\n"] {
        assert_sound(|limit| Delimited::new(delimiter).with_limit(limit));
    }
    assert_sound(|limit| Delimited::new(b"\r\n").or_end().with_limit(limit));
    assert_sound(|_| FixedLength::<3>::new());
    assert_sound(|_| FixedLength::<300>::new());
}

#[test]
fn lengths_are_sound() {
    for width in [Width::One, Width::Two, Width::Three, Width::Four, Width::Eight] {
        assert_sound(|limit| LengthPrefixed::new(width, ByteOrder::Big).with_limit(limit));
        let with_header = LengthPrefixed::new(width, ByteOrder::Little).with_length_at(3);
        assert_sound(|limit| with_header.clone().with_adjustment(-2).with_limit(limit));
    }
    assert_sound(|limit| VarintPrefixed::new().with_limit(limit));
    assert_sound(|limit| Netstrings::new().with_limit(limit));
}

#[test]
fn stuffed_frames_are_sound() {
    assert_sound(|limit| Cobs::new().with_limit(limit));
    assert_sound(|limit| Slip::new().with_limit(limit));
    // What they show of a frame is abridged: here it is not.
    for seed in 0..INPUTS {
        let input = random_input(seed);
        cuts(Cobs::new, &input, [], |frame| frame.to_bytes().to_vec());
        cuts(Slip::new, &input, [], |frame| frame.to_bytes().to_vec());
    }
}

fn announces(line: &[u8]) -> Next {
    match line.first() {
        Some(b'.') => Next::Dotted,
        Some(b'0'..=b'9') => Next::block(line),
        _ => Next::Line,
    }
}

#[test]
fn text_and_chunks_are_sound() {
    let text = Text::new().announced_by(announces);
    assert_sound(|limit| text.clone().with_line_limit(limit).with_block_limit(limit));
    assert_sound(|limit| Chunked::new().with_limit(limit).with_extra_limit(limit));
}

#[test]
fn codecs_of_codecs_are_sound() {
    let lines = |limit| Lines::new(Ending::CrLf).with_limit(limit);
    let length = |limit| LengthPrefixed::new(Width::Two, ByteOrder::Big).with_limit(limit);
    assert_sound(|limit| Chain::new(length(limit), lines(limit)));
    assert_sound(|limit| Chain::new(Delimited::new(b"|").with_limit(limit), Netstrings::new()));
    assert_sound(|limit| Switch::new(lines(limit), length(limit)).after_frames(2));
}

/// Random items, and what is special to a codec of text or bytes.
fn items() -> Vec<Vec<u8>> {
    let mut items: Vec<Vec<u8>> = (0..40).map(random_input).collect();
    items.extend([b"".to_vec(), b"\0".to_vec(), vec![0xff; 300], b"\r".to_vec(), vec![b'x'; 100]]);
    items
}

/// What is written comes back, and some of it is refused, and some not.
fn assert_comes_back<C>(make: impl Fn() -> C, own: impl for<'a> Fn(C::Frame<'a>) -> Vec<u8>)
where
    C: Decoder + for<'a> Encoder<Item<'a> = &'a [u8]>,
{
    let written = round_trip(&make, &make, &items(), |item| item, own);
    assert!(!written.is_empty());
}

#[test]
fn what_is_written_comes_back() {
    for limit in [100, 1000] {
        for ending in [Ending::Any, Ending::Lf, Ending::CrLf] {
            let make = || Lines::new(ending).with_limit(limit);
            assert_comes_back(make, |line| line.text().to_vec());
        }
        assert_comes_back(|| Delimited::new(b"\r\n").with_limit(limit), <[u8]>::to_vec);
        assert_comes_back(|| Delimited::new(b"a").with_limit(limit), <[u8]>::to_vec);
        assert_comes_back(|| VarintPrefixed::new().with_limit(limit), <[u8]>::to_vec);
        assert_comes_back(|| Netstrings::new().with_limit(limit), <[u8]>::to_vec);
        assert_comes_back(|| Cobs::new().with_limit(limit), |frame| frame.to_bytes().to_vec());
        assert_comes_back(|| Slip::new().with_limit(limit), |frame| frame.to_bytes().to_vec());
        for width in [Width::One, Width::Two, Width::Three, Width::Four, Width::Eight] {
            let make = || LengthPrefixed::new(width, ByteOrder::Little).with_limit(limit);
            assert_comes_back(make, <[u8]>::to_vec);
        }
        let outer = || LengthPrefixed::new(Width::Two, ByteOrder::Big).with_limit(limit);
        let make = || Chain::new(outer(), Lines::new(Ending::CrLf));
        assert_comes_back(make, |line| line.text().to_vec());
    }
}

#[test]
fn items_that_are_not_bytes_come_back() {
    let arrays = [[1, 2, 3], [0, 0, 0], *b"\r\n\xff"];
    let make = FixedLength::<3>::new;
    assert_eq!(round_trip(make, make, &arrays, |item| item, |frame| *frame).len(), 9);

    let texts = ["", "\u{e9}\u{20ac}", "a\0b"].map(str::to_owned);
    let make = || Utf8Lines::new(Lines::new(Ending::CrLf));
    round_trip(make, make, &texts, |item| item, str::to_owned);
}

/// An item or a frame of a codec that has several kinds of them.
#[derive(Debug, PartialEq)]
enum Said {
    Line(Vec<u8>),
    Data(Vec<u8>),
    End,
}

fn conversation() -> [Said; 2] {
    [Said::Line(b"5".to_vec()), Said::Data(b"a\r\nbc".to_vec())]
}

#[test]
fn chunks_come_back() {
    let bodies = [Said::Data(b"5\r\n".to_vec()), Said::Line(b"A: b".to_vec()), Said::End];
    fn lend(said: &Said) -> Chunk<'_> {
        match said {
            Said::Data(data) => Chunk::Data(data),
            Said::Line(line) => Chunk::Trailer(line),
            Said::End => Chunk::End,
        }
    }
    fn own(chunk: Chunk<'_>) -> Said {
        match chunk {
            Chunk::Data(data) => Said::Data(data.to_vec()),
            Chunk::Trailer(line) => Said::Line(line.to_vec()),
            Chunk::End => Said::End,
        }
    }
    let written = round_trip(Chunked::new, Chunked::new, &bodies, lend, own);
    assert_eq!(written, b"3\r\n5\r\n\r\n0\r\nA: b\r\n\r\n");
}

#[test]
fn parts_of_a_conversation_come_back() {
    fn lend(said: &Said) -> Part<'_> {
        match said {
            Said::Data(data) => Part::Block(data),
            Said::Line(line) => Part::Line(line),
            Said::End => Part::DottedEnd,
        }
    }
    fn own(part: Part<'_>) -> Said {
        match part {
            Part::Line(line) | Part::Dotted(line) => Said::Line(line.to_vec()),
            Part::Block(data) => Said::Data(data.to_vec()),
            Part::DottedEnd => Said::End,
        }
    }
    let make = || Text::new().announced_by(announces);
    let written = round_trip(make, make, &conversation(), lend, own);
    assert_eq!(written, b"5\r\na\r\nbc\r\n");
}

#[test]
fn items_of_two_codecs_come_back() {
    fn lend(said: &Said) -> Either<&[u8], &[u8]> {
        match said {
            Said::Line(line) => Either::First(line),
            Said::Data(data) => Either::Second(data),
            Said::End => unreachable!("none is among the items"),
        }
    }
    fn own(frame: <Switch<Lines, Netstrings> as Decoder>::Frame<'_>) -> Said {
        match frame {
            Either::First(line) => Said::Line(line.text().to_vec()),
            Either::Second(data) => Said::Data(data.to_vec()),
        }
    }
    let make = || Switch::new(Lines::new(Ending::Lf), Netstrings::new()).after_frames(1);
    assert_eq!(round_trip(make, make, &conversation(), lend, own), b"5\n5:a\r\nbc,");
}

#[test]
#[should_panic(expected = "testing::cuts")]
fn bytes_are_no_frames() {
    decoder(|| Bytes, b"ab");
}
