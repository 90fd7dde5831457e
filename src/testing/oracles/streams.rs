//! Streams that are made of an input so that they reach what it does not.

use crate::base::rng::Rng;

/// A stream, and what it is made of.
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    pub(super) recipe: String,
}

/// Bytes that mean something to many protocols.
pub(super) const SPECIAL: [&[u8]; 26] = [
    b"\n",
    b"\r\n",
    b"\0",
    b"\r\n\r\n",
    b",",
    b";",
    b"\xff",
    b"\r",
    b"|",
    b"}",
    b"\xc0",
    b" ",
    b":",
    b"\"",
    b"]",
    b")",
    b"\xdb",
    b".\r\n",
    b"\t",
    b"\x80",
    b"\n\n",
    b"\x01",
    b"\\",
    b"=",
    b"+",
    b"-",
];

/// Bytes as protocols like them, for tests of decoders without a fuzzer: lines, delimiters, halves
/// of both, numbers with as many bytes behind them, UTF-8 and what is nearly that, the same again.
/// The same seed always gives the same bytes, up to some hundred.
///
/// ```
/// use tidemill::codec::{Ending, Lines};
/// use tidemill::testing;
///
/// for seed in 0..100 {
///     let input = testing::random_input(seed);
///     testing::decoder(|| Lines::new(Ending::CrLf).with_limit(40), &input);
/// }
/// ```
pub fn random_input(seed: u64) -> Vec<u8> {
    let rng = &mut Rng::new(seed);
    let mut input = Vec::new();
    for _ in 0..rng.below(16) {
        match rng.below(12) {
            0..=3 => input.extend(SPECIAL[rng.below(SPECIAL.len() as u64) as usize]),
            4 | 5 => {
                let len = rng.below(12) as usize;
                input.extend(b"one two three"[..len].iter());
            }
            6 => {
                let len = rng.below(20) as usize;
                input.extend(number(len, rng));
                let payload = rng.bytes(len);
                input.extend(payload);
            }
            7 => {
                let byte = any_byte(&input, rng);
                let len = 1 << rng.below(7);
                input.extend([byte].repeat(len));
            }
            8 => {
                let again = part(&input, rng);
                input.extend(again);
            }
            9 => {
                input.extend("\u{e9}\u{20ac}\u{1f30a}".as_bytes()[..rng.below(10) as usize].iter())
            }
            10 => input.extend(input.clone().iter().take(64)),
            _ => {
                let len = rng.below(4) as usize;
                input.extend(rng.bytes(len));
            }
        }
    }
    input
}

/// Streams on which a decoder with this limit has to show that it has one: endless frames, and
/// frames that end close to it.
pub(super) fn at_limit(input: &[u8], max_bytes: usize, rng: &mut Rng) -> Vec<Stream> {
    let max_bytes = if max_bytes > REACHED_MAX { 0 } else { max_bytes };
    let count = if max_bytes <= SHORT {
        16
    } else if max_bytes <= LONG {
        4
    } else {
        2
    };
    let mut streams: Vec<Stream> = (0..count).map(|_| ending(input, max_bytes, rng)).collect();
    streams.extend([true, false].map(|is_byte| endless(input, max_bytes, is_byte, rng)));
    streams
}

/// Streams at whose end somebody may wait for the end of a frame: nothing or the input, and behind
/// it `fill_bytes` of the same.
pub(super) fn waiting(
    input: &[u8],
    fill_bytes: usize,
    rng: &mut Rng,
) -> impl Iterator<Item = Stream> {
    let byte = any_byte(input, rng);
    [(&b""[..], vec![b'a']), (b"", vec![byte]), (input, vec![b'a']), (b"", input.to_vec())]
        .into_iter()
        .filter(|(_, unit)| !unit.is_empty())
        .map(move |(head, unit)| {
            let mut stream = Stream { bytes: Vec::new(), recipe: String::new() };
            stream.push(head);
            stream.fill(&unit, head.len() + fill_bytes);
            stream
        })
}

/// The input with something special put in or over it: one by one, what no input may have shown.
pub(super) fn spoiled(input: &[u8], rng: &mut Rng) -> Vec<Stream> {
    let spoil = |_| {
        let at = rng.below(input.len() as u64 + 1) as usize;
        let special = SPECIAL[rng.below(SPECIAL.len() as u64) as usize];
        let replaced = if rng.chance(1, 2) { special.len() } else { 0 };
        let behind = &input[(at + replaced).min(input.len())..];
        let bytes = [&input[..at], special, behind].concat();
        let (special, verb) = (special.escape_ascii(), if replaced > 0 { "over" } else { "in" });
        Stream { bytes, recipe: format!("the input with b\"{special}\" written {verb} at {at}") }
    };
    (0..SPOILED_COUNT).map(spoil).collect()
}

/// The input, and behind it a byte, or the input, again and again.
fn endless(input: &[u8], max_bytes: usize, is_byte: bool, rng: &mut Rng) -> Stream {
    let mut stream = Stream { bytes: Vec::new(), recipe: String::new() };
    stream.push(input);
    let unit =
        if is_byte || input.is_empty() { vec![any_byte(input, rng)] } else { input.to_vec() };
    stream.fill(&unit, input.len() + max_bytes + 16);
    stream
}

/// A frame, perhaps, that ends close to the limit.
fn ending(input: &[u8], max_bytes: usize, rng: &mut Rng) -> Stream {
    let mut stream = Stream { bytes: Vec::new(), recipe: String::new() };
    let near = |rng: &mut Rng, below| (max_bytes + 2).saturating_sub(rng.below(below) as usize);
    let fill_bytes = if rng.chance(1, 2) {
        // What stands in front of a length is the start of a frame, if anything.
        let before = rng.below(2) * rng.below(input.len().min(4) as u64 + 1);
        stream.push(&input[..before as usize]);
        let huge = HUGE[rng.below(HUGE.len() as u64) as usize];
        let announced = if rng.chance(1, 4) { huge } else { near(rng, 13) };
        stream.push(&number(announced, rng));
        announced.min(max_bytes + 2)
    } else {
        if rng.chance(1, 3) {
            stream.push(input);
        }
        near(rng, 10)
    };
    let unit = if rng.chance(1, 4) { part(input, rng) } else { vec![any_byte(input, rng)] };
    stream.fill(&unit, stream.bytes.len() + fill_bytes);
    match rng.below(4) {
        0 => stream.push(&part(input, rng)),
        1 => {}
        _ => stream.push(SPECIAL[rng.below(SPECIAL.len() as u64) as usize]),
    }
    if rng.chance(1, 2) {
        stream.push(&input[..input.len().min(64)]);
    }
    stream
}

/// A byte of the input, or one of those that mean little.
fn any_byte(input: &[u8], rng: &mut Rng) -> u8 {
    if input.is_empty() || rng.chance(1, 2) {
        b"a1 \0\xff\x01"[rng.below(6) as usize]
    } else {
        input[rng.below(input.len() as u64) as usize]
    }
}

/// A few bytes of the input.
pub(super) fn part(input: &[u8], rng: &mut Rng) -> Vec<u8> {
    let start = rng.below(input.len() as u64 + 1) as usize;
    let part = &input[start..input.len().min(start + 1 + rng.below(4) as usize)];
    if part.is_empty() { b"ab".to_vec() } else { part.to_vec() }
}

/// A number as some protocol writes it.
fn number(number: usize, rng: &mut Rng) -> Vec<u8> {
    let big = (number as u64).to_be_bytes();
    let little = (number as u64).to_le_bytes();
    let behind = ["", ":", "\r\n", " ", "\n"][rng.below(5) as usize];
    match rng.below(11) {
        0 => big[7..].to_vec(),
        1 | 2 => big[6..].to_vec(),
        3 => big[5..].to_vec(),
        4 => big[4..].to_vec(),
        5 => big.to_vec(),
        6 => little[..2].to_vec(),
        7 => little[..4].to_vec(),
        8 => varint(number),
        9 => format!("{number:x}{behind}").into_bytes(),
        _ => format!("{number}{behind}").into_bytes(),
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number /= 128;
    }
    bytes.push(number as u8);
    bytes
}

impl Stream {
    fn push(&mut self, bytes: &[u8]) {
        self.fill(bytes, self.bytes.len() + bytes.len());
    }

    /// Repeats `unit` until the stream is so long.
    fn fill(&mut self, unit: &[u8], len: usize) {
        let count = len.saturating_sub(self.bytes.len());
        if count == 0 || unit.is_empty() {
            return;
        }
        let start = &unit[..unit.len().min(32)];
        self.recipe += if self.recipe.is_empty() { "" } else { " + " };
        self.recipe += &match count == unit.len() {
            true => format!("b\"{}\"", start.escape_ascii()),
            false => format!("{count} bytes of repeated b\"{}\"", start.escape_ascii()),
        };
        let len = self.bytes.len() + count;
        self.bytes.extend(unit.repeat(count.div_ceil(unit.len())));
        self.bytes.truncate(len);
    }
}

const SPOILED_COUNT: usize = 8;

/// Larger limits are not reached: it would take too long.
const REACHED_MAX: usize = 2 * 1024 * 1024;

/// Of streams that long there are few, and fewer.
const SHORT: usize = 16 * 1024;
const LONG: usize = 128 * 1024;

/// Numbers with which calculations go wrong.
const HUGE: [usize; 7] = [
    usize::MAX,
    usize::MAX - 1,
    isize::MAX as usize,
    u32::MAX as usize,
    i32::MAX as usize,
    u16::MAX as usize,
    u8::MAX as usize,
];
