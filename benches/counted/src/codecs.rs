//! Every codec with something to decode and to encode, for whoever counts or measures.

use std::hint::black_box;

use tidemill::codec::{
    ByteOrder, Bytes, Chain, Chunked, Cobs, Decoder, Delimited, Encoder, Ending, FixedLength,
    LengthPrefixed, Lines, Netstrings, Next, Slip, Stuffed, Switch, Text, Utf8Lines,
    VarintPrefixed, Width,
};

/// Is shown each codec.
pub(crate) trait Visitor {
    /// A decoder, the whole frames it is to take, and a look at a frame.
    fn decode<D: Decoder>(
        &mut self,
        name: &str,
        make: impl Fn() -> D,
        input: &[u8],
        look: impl for<'a> Fn(D::Frame<'a>),
    );

    /// An encoder, and what it is to encode, so many times.
    fn encode<E: for<'a> Encoder<Item<'a> = &'a [u8]>>(
        &mut self,
        name: &str,
        make: impl Fn() -> E,
        item: &[u8],
        count: usize,
    );
}

/// Shows them all, with frames of so many bytes.
pub(crate) fn visit(visitor: &mut impl Visitor, frame_bytes: usize) {
    let text: Vec<u8> = (0..frame_bytes).map(|at| b'a' + (at % 26) as u8).collect();
    // Of every 50 bytes one has to be written as something else.
    let mut rare = text.clone();
    rare.iter_mut().skip(7).step_by(50).for_each(|byte| *byte = 0xc0);
    let mut zeros = text.clone();
    zeros.iter_mut().skip(7).step_by(50).for_each(|byte| *byte = 0);

    both(visitor, "lines, any ending", || Lines::new(Ending::Any), &text);
    both(visitor, "lines, LF", || Lines::new(Ending::Lf), &text);
    both(visitor, "lines, CRLF", || Lines::new(Ending::CrLf), &text);
    both(visitor, "delimited, 1 byte", || Delimited::new(b"|"), &text);
    both(visitor, "delimited, 4 bytes", || Delimited::new(b"\r\n\r\n"), &text);
    let two = || LengthPrefixed::new(Width::Two, ByteOrder::Big);
    both(visitor, "length, 2 bytes", two, &text);
    let four = || LengthPrefixed::new(Width::Four, ByteOrder::Little);
    both(visitor, "length, 4 bytes", four, &text);
    both(visitor, "varint", VarintPrefixed::new, &text);
    both(visitor, "netstrings", Netstrings::new, &text);
    stuffed(visitor, "COBS", Cobs::new, &zeros);
    stuffed(visitor, "SLIP", Slip::new, &rare);

    let lines = repeat(&[&text[..], b"\r\n"].concat());
    let utf8 = || Utf8Lines::new(Lines::new(Ending::Any));
    visitor.decode("lines, UTF-8", utf8, &lines, |line| see(line));
    let fixed = repeat(&text[..16]);
    visitor.decode("fixed, 16 bytes", FixedLength::<16>::new, &fixed, |it| see(it));
    visitor.decode("bytes", || Bytes, &lines, |it| see(it));
    visitor.decode("text, lines", Text::new, &lines, |part| see(part));
    let dotted = || {
        let mut text = Text::new();
        text.expect(Next::Dotted);
        text
    };
    visitor.decode("text, dotted", dotted, &lines, |part| see(part));
    let size = format!("{frame_bytes:x}\r\n");
    let chunks = repeat(&[size.as_bytes(), &text, b"\r\n"].concat());
    visitor.decode("chunked", Chunked::new, &chunks, |chunk| see(chunk));
    let mut inner = vec![frame_bytes as u8 + 1];
    inner.extend_from_slice(&text);
    inner.push(b'\n');
    if frame_bytes < 255 {
        let chained = repeat(&inner);
        let one = || LengthPrefixed::new(Width::One, ByteOrder::Big);
        let chain = || Chain::new(one(), Lines::new(Ending::Lf));
        visitor.decode("length, then lines", chain, &chained, |line| see(line));
    }
    let switched = || Switch::new(Lines::new(Ending::Any), Bytes).after_frames(u64::MAX);
    visitor.decode("switch, first half", switched, &lines, |frame| see(frame));
}

fn both<C>(visitor: &mut impl Visitor, name: &str, make: impl Fn() -> C, item: &[u8])
where
    C: Decoder + for<'a> Encoder<Item<'a> = &'a [u8]>,
{
    let input = encoded(make(), item);
    visitor.decode(name, &make, &input, |frame| see(frame));
    visitor.encode(name, &make, item, INPUT_BYTES / (item.len() + 2));
}

/// Frames that are undone as they are looked at.
fn stuffed<C>(visitor: &mut impl Visitor, name: &str, make: impl Fn() -> C, item: &[u8])
where
    C: for<'a> Decoder<Frame<'a> = Stuffed<'a>> + for<'a> Encoder<Item<'a> = &'a [u8]>,
{
    let input = encoded(make(), item);
    visitor.decode(name, &make, &input, |frame| {
        for piece in frame.pieces() {
            black_box(piece);
        }
    });
    visitor.encode(name, &make, item, INPUT_BYTES / (item.len() + 2));
}

fn encoded<E: for<'a> Encoder<Item<'a> = &'a [u8]>>(mut encoder: E, item: &[u8]) -> Vec<u8> {
    let mut one = Vec::new();
    encoder.encode(item, &mut one).expect("it can be encoded");
    repeat(&one)
}

/// Whole frames, as many as a read brings.
fn repeat(frame: &[u8]) -> Vec<u8> {
    frame.repeat(INPUT_BYTES / frame.len())
}

/// Keeps the compiler from leaving out what made this.
fn see<T>(it: T) {
    black_box(it);
}

/// Takes frames as `Framed` does, and answers how many there were.
pub(crate) fn decode_all<D: Decoder>(
    decoder: &mut D,
    input: &[u8],
    look: &impl for<'a> Fn(D::Frame<'a>),
) -> usize {
    let (mut taken, mut count) = (0, 0);
    while let Ok(Some((frame, len))) = decoder.decode(&input[taken..]) {
        look(frame);
        taken += len;
        count += 1;
    }
    assert_eq!(taken, input.len(), "all of it is whole frames");
    count
}

/// What a reactor shows a handler at the most.
const INPUT_BYTES: usize = 64 * 1024;
