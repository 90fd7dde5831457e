//! A fuzzer's bytes as a stream for a decoder, and what holds for every codec.

use std::fmt::Debug;

use crate::codec::{Decoder, Encoder};
use crate::testing::oracles::quick_cuts;
use crate::testing::{Choices, Reading};

/// Bytes to decode, and where to cut them.
///
/// | bytes | meaning |
/// |---|---|
/// | 1 + 2 each | cuts |
/// | 1 | whether the rest is the stream itself, or says what is to be written |
/// | all others | that |
pub(super) struct Stream<T> {
    pub(super) bytes: Vec<u8>,
    /// Where it is cut, in order.
    cuts: Vec<usize>,
    /// What was written, where nothing was spoiled afterwards.
    written: Option<Vec<T>>,
}

impl<T> Stream<T> {
    /// `write` appends what it likes to what has been written, and answers the frame that it
    /// expects to be read, or nothing where it wrote nothing.
    pub(super) fn new(
        mut choices: Choices<'_>,
        write: impl FnMut(&mut Choices<'_>, &mut Vec<u8>) -> Option<T>,
    ) -> Stream<T> {
        let count = choices.below(8);
        let places: Vec<u16> = (0..count).map(|_| choices.short()).collect();
        let (bytes, written) =
            if choices.flag() { play(choices, write) } else { (choices.rest().to_vec(), None) };
        let cut_at = |place| usize::from(place) % (bytes.len() + 1);
        let mut cuts: Vec<usize> = places.into_iter().map(cut_at).collect();
        cuts.sort_unstable();
        Stream { bytes, cuts, written }
    }

    /// Reads it, whole and cut, which must come to the same; and to what was written.
    pub(super) fn read<D>(
        &self,
        make: impl Fn() -> D,
        own: impl for<'a> Fn(D::Frame<'a>) -> T,
    ) -> Reading<T, D::Error>
    where
        D: Decoder<Error: PartialEq>,
        T: PartialEq + Debug,
    {
        let reading = quick_cuts(make, &self.bytes, &self.cuts, own);
        if let Some(written) = &self.written {
            let read = reading.frames.iter().map(|(_, frame)| frame);
            assert!(read.eq(written), "{:?} was written, and read: {reading:?}", written);
        }
        reading
    }

    /// Whether it is all that an encoder wrote, and nothing else.
    pub(super) fn is_unspoiled(&self) -> bool {
        self.written.is_some()
    }

    /// The pieces in which it is to be shown.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.cuts.iter().copied().chain([self.bytes.len()]);
        let mut start = 0;
        ends.map(move |end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}

/// Writes frames, and spoils some of what was written.
fn play<T>(
    mut choices: Choices<'_>,
    mut write: impl FnMut(&mut Choices<'_>, &mut Vec<u8>) -> Option<T>,
) -> (Vec<u8>, Option<Vec<T>>) {
    let (mut bytes, mut written, mut is_spoiled) = (Vec::new(), Vec::new(), false);
    while !choices.is_empty() && bytes.len() < STREAM_BYTES_MAX {
        let act = choices.below(20);
        if act < 16 {
            written.extend(write(&mut choices, &mut bytes));
            continue;
        }
        is_spoiled = true;
        let place = usize::from(choices.short()) % (bytes.len() + 1);
        match act {
            16 => {
                let len = choices.below(8);
                bytes.splice(place..place, choices.bytes(len).iter().copied());
            }
            17 => bytes.truncate(place),
            _ if place == bytes.len() => {}
            18 => bytes[place] ^= 1 << choices.below(8),
            _ => drop(bytes.remove(place)),
        }
    }
    (bytes, (!is_spoiled).then_some(written))
}

/// A codec of byte strings: what it encodes it decodes, in a stream of many and one by one.
///
/// Answers the stream and what was read. With `rewrites`, its encoder must write all that its
/// decoder reads.
pub(super) fn byte_codec<C>(
    choices: Choices<'_>,
    rewrites: bool,
    make: impl Fn() -> C,
    own: impl for<'a> Fn(C::Frame<'a>) -> Vec<u8>,
) -> (Vec<u8>, Reading<Vec<u8>, <C as Decoder>::Error>)
where
    C: Decoder<Error: PartialEq> + for<'a> Encoder<Item<'a> = &'a [u8]>,
{
    let mut encoder = make();
    let stream = Stream::new(choices, |choices, out| {
        let item = item(choices);
        write(&mut encoder, &item, out).then_some(item)
    });
    let reading = stream.read(&make, &own);
    assert!(!stream.is_unspoiled() || reading.end.is_ok(), "{reading:?}");
    for (_, frame) in &reading.frames {
        let mut out = Vec::new();
        if !write(&mut make(), frame, &mut out) {
            assert!(!rewrites, "{frame:?} was read and cannot be written");
            continue;
        }
        let mut decoder = make();
        let (read, taken) = decoder.decode(&out).expect("it was written").expect("all is there");
        assert_eq!((&own(read), taken), (frame, out.len()));
    }
    (stream.bytes, reading)
}

/// Encodes an item, and says whether that was done. What is refused must leave nothing behind.
pub(super) fn write<E: Encoder>(encoder: &mut E, item: E::Item<'_>, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let is_written = encoder.encode(item, out).is_ok();
    assert!(is_written || out.len() == before, "what is refused leaves nothing behind");
    is_written
}

/// Something to write: a few bytes of the fuzzer's own, or many of one.
pub(super) fn item(choices: &mut Choices<'_>) -> Vec<u8> {
    if choices.below(8) == 7 {
        return vec![choices.byte(); choices.below(600)];
    }
    let len = choices.below(32);
    choices.bytes(len).to_vec()
}

/// The most bytes that a frame may have: few, so that it is met, or more than a block of COBS has.
pub(super) fn limit(choices: &mut Choices<'_>) -> usize {
    match choices.below(256) {
        255 => 1000,
        few => few,
    }
}

/// No more frames than make it slow.
const STREAM_BYTES_MAX: usize = 1500;
