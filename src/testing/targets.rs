//! Fuzz targets: functions that make what they like of any bytes, and panic where a promise is
//! broken.
//!
//! They run twice: under cargo-fuzz, where `fuzz/fuzz_targets` has a file of three lines for each,
//! and in `cargo test`, over the corpora that are kept in `fuzz/corpus`.

use std::fmt::Debug;

use super::naive::{self, LengthEnd, LengthForm, LinesEnd};
use super::scene::Scene;
use super::{Choices, Reading};
use crate::codec::{
    ByteOrder, Chain, Chunked, Cobs, Decoder, Delimited, Encoder, Ending, FixedLength, LengthError,
    LengthPrefixed, LineError, Lines, Netstrings, Next, Slip, Text, Utf8Lines, VarintPrefixed,
    Width,
};

/// A function for a fuzzer to call.
pub type Target = fn(&[u8]);

/// Every target, under the name of its corpus.
pub const TARGETS: [(&str, Target); 4] = [
    ("lines", lines),
    ("length_prefixed", length_prefixed),
    ("codecs", codecs),
    ("reactor_echo", reactor_echo),
];

/// [`Lines`] in every mode: the frames and errors are the same whole and cut, and those of a
/// simple version; what it encodes it decodes.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | [`Ending`], and whether one is required |
/// | 1 | the limit |
/// | 1 + 2 each | cuts |
/// | all others | the stream |
pub fn lines(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mode = choices.below(6);
    let ending = [Ending::Any, Ending::Lf, Ending::CrLf][mode / 2];
    let requires_ending = mode % 2 == 1;
    let limit_bytes = choices.below(256);
    let make = || {
        let lines = Lines::new(ending).with_limit(limit_bytes);
        if requires_ending { lines.require_ending() } else { lines }
    };
    let (cuts, input) = cuts_and_input(choices);
    let reading = super::cuts(make, input, cuts, |line| line.text().to_vec());
    for (_, text) in &reading.frames {
        assert_encodes(&mut make(), &mut make(), text, |line| line.text().to_vec());
    }
    let end = match reading.end {
        Ok(()) => LinesEnd::Clean,
        Err(LineError::TooLong { offset, .. }) => LinesEnd::TooLong(offset),
        Err(LineError::BareLf { offset, .. }) => LinesEnd::BareLf(offset),
        Err(LineError::BareCr { offset, .. }) => LinesEnd::BareCr(offset),
        Err(LineError::Unterminated { offset, .. }) => LinesEnd::Unterminated(offset),
    };
    let expected = naive::lines(ending, requires_ending, limit_bytes, input);
    assert_eq!((reading.frames, end), expected, "{ending:?}, up to {limit_bytes} bytes");
}

/// [`LengthPrefixed`] in every form: the frames and errors are the same whole and cut, and those
/// of a simple version; what it encodes it decodes.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | [`Width`] and [`ByteOrder`] |
/// | 1 | where the length stands |
/// | 2, or 8 if the first is 255 | the adjustment |
/// | 1 | what is stripped |
/// | 2 | the limit |
/// | 1 + 2 each | cuts |
/// | all others | the stream |
pub fn length_prefixed(data: &[u8]) {
    let mut choices = Choices::new(data);
    let shape = choices.below(10);
    let width = [Width::One, Width::Two, Width::Three, Width::Four, Width::Eight][shape / 2];
    let order = if shape % 2 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let length_index = choices.below(8);
    let adjustment = match choices.byte() {
        255 => {
            let mut wide = [0; 8];
            let given = choices.bytes(8);
            wide[..given.len()].copy_from_slice(given);
            i64::from_le_bytes(wide)
        }
        small => i64::from(small as i8),
    };
    let prefix_bytes = length_index + width.bytes();
    // Mostly the prefix, as when nothing is said.
    let stripped_bytes = [prefix_bytes, choices.below(24)][usize::from(choices.flag())];
    let limit_bytes = choices.below(1 << 16);
    let make = || {
        LengthPrefixed::new(width, order)
            .with_length_at(length_index)
            .with_adjustment(adjustment)
            .strip(stripped_bytes)
            .with_limit(limit_bytes)
    };
    let (cuts, input) = cuts_and_input(choices);
    let reading = super::cuts(make, input, cuts, <[u8]>::to_vec);
    // An encoder is given all but the length, and the whole frame is the simplest to compare.
    let keeps_all = || make().strip(0);
    for (_, frame) in &reading.frames {
        let mut out = Vec::new();
        if frame.len() >= length_index && keeps_all().encode(frame, &mut out).is_ok() {
            let (decoded, taken) = keeps_all().decode(&out).expect("encoded").expect("all of it");
            assert_eq!((taken, &decoded[..length_index]), (out.len(), &frame[..length_index]));
            assert_eq!(&decoded[prefix_bytes..], &frame[length_index..]);
        }
    }
    let end = match reading.end {
        Ok(()) => LengthEnd::Clean,
        Err(LengthError::TooLong { offset, .. }) => LengthEnd::TooLong(offset),
        Err(LengthError::TooShort { offset, .. }) => LengthEnd::TooShort(offset),
        Err(LengthError::UnexpectedEnd { offset, .. }) => LengthEnd::Unexpected(offset),
    };
    let width = width.bytes();
    let form = LengthForm { width, order, length_index, adjustment, stripped_bytes, limit_bytes };
    let expected = naive::length_prefixed(&form, input);
    assert_eq!((reading.frames, end), expected, "{form:?}");
}

/// All other codecs, with what holds for every one: the frames and errors are the same whole and
/// cut; and, where an item is a run of bytes, what is encoded is decoded.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 | which codec |
/// | 1 | the limit |
/// | 1 + 2 each | cuts |
/// | all others | the stream, and an item to encode |
pub fn codecs(data: &[u8]) {
    let mut choices = Choices::new(data);
    let which = choices.below(12);
    let limit = choices.below(256);
    let (cuts, input) = cuts_and_input(choices);
    match which {
        0 => codec(|| Delimited::new(b"|").with_limit(limit), &cuts, input, <[u8]>::to_vec),
        1 => codec(|| Delimited::new(b"a|a").with_limit(limit), &cuts, input, <[u8]>::to_vec),
        2 => codec(|| Delimited::new(b"\r\n").or_end(), &cuts, input, <[u8]>::to_vec),
        3 => codec(|| VarintPrefixed::new().with_limit(limit), &cuts, input, <[u8]>::to_vec),
        4 => codec(|| Netstrings::new().with_limit(limit), &cuts, input, <[u8]>::to_vec),
        5 => codec(|| Cobs::new().with_limit(limit), &cuts, input, |it| it.to_bytes().to_vec()),
        6 => codec(|| Slip::new().with_limit(limit), &cuts, input, |it| it.to_bytes().to_vec()),
        7 => decoder(FixedLength::<3>::new, &cuts, input, |it| it.to_vec()),
        8 => {
            let make = || Utf8Lines::new(Lines::new(Ending::Any).with_limit(limit));
            decoder(make, &cuts, input, str::to_owned);
        }
        9 => {
            let next = |line: &[u8]| match line.first() {
                Some(b'.') => Next::Dotted,
                Some(b'0'..=b'9') => Next::block(line),
                _ => Next::Line,
            };
            let make = || Text::new().announced_by(next).with_block_limit(limit);
            decoder(make, &cuts, input, |part| format!("{part:?}"));
        }
        10 => {
            let make = || Chunked::new().with_limit(limit).with_extra_limit(limit);
            decoder(make, &cuts, input, |chunk| format!("{chunk:?}"));
        }
        _ => {
            let outer = || LengthPrefixed::new(Width::One, ByteOrder::Big);
            let make = || Chain::new(outer(), Lines::new(Ending::CrLf).with_limit(limit));
            decoder(make, &cuts, input, |line| line.whole().to_vec());
        }
    }
}

/// A reactor with an echo of bytes, of lines and of datagrams in a simulated world, in which the
/// bytes decide what its clients do and what goes wrong.
///
/// However the world behaves, clients are answered with a start of the right answer; where nobody
/// gives up, with all of it. The reactor's own checks hold (after every turn where there are debug
/// assertions), and at the end no socket, no byte and no connection is left.
pub fn reactor_echo(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut scene = Scene::new(&mut choices);
    let is_cut_short = choices.flag();
    while !choices.is_empty() {
        scene.act(&mut choices);
    }
    if !is_cut_short {
        scene.play_out();
    }
    scene.end();
}

/// Where to cut, and what is left to be cut.
fn cuts_and_input(mut choices: Choices<'_>) -> (Vec<usize>, &[u8]) {
    let count = choices.below(8);
    let places: Vec<u16> = (0..count).map(|_| choices.short()).collect();
    let input = choices.rest();
    (places.into_iter().map(|place| usize::from(place) % (input.len() + 1)).collect(), input)
}

fn decoder<D, T>(
    make: impl Fn() -> D,
    cuts: &[usize],
    input: &[u8],
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) where
    D: Decoder<Error: PartialEq>,
    T: PartialEq + Debug,
{
    super::cuts(make, input, cuts.iter().copied(), own);
}

fn codec<C>(
    make: impl Fn() -> C,
    cuts: &[usize],
    input: &[u8],
    own: impl for<'a> Fn(C::Frame<'a>) -> Vec<u8>,
) where
    C: Decoder<Error: PartialEq> + for<'a> Encoder<Item<'a> = &'a [u8]>,
{
    let Reading { frames, .. } = super::cuts(&make, input, cuts.iter().copied(), &own);
    for (_, frame) in &frames {
        assert_encodes(&mut make(), &mut make(), frame, &own);
    }
    assert_encodes(&mut make(), &mut make(), input, &own);
}

/// What an encoder does not refuse, a decoder of the same form finds again.
fn assert_encodes<D, E>(
    encoder: &mut E,
    decoder: &mut D,
    item: &[u8],
    own: impl for<'a> Fn(D::Frame<'a>) -> Vec<u8>,
) where
    D: Decoder,
    E: for<'a> Encoder<Item<'a> = &'a [u8], Error: Debug>,
{
    let mut out = Vec::new();
    if encoder.encode(item, &mut out).is_err() {
        assert!(out.is_empty(), "what is refused leaves nothing behind");
        return;
    }
    let (frame, taken) = decoder.decode(&out).expect("it was encoded").expect("all of it is there");
    assert_eq!((own(frame), taken), (item.to_vec(), out.len()));
}
