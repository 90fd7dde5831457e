//! A fuzzer's bytes as a stream and where to cut it.

use tidemill::codec::Decoder;
use tidemill::testing::{Choices, Reading, read_pieces};

/// | bytes | meaning |
/// |---|---|
/// | 1 + 2 each | cuts |
/// | all others | the stream |
pub(crate) struct Stream<'a> {
    pub(crate) bytes: &'a [u8],
    cuts: Vec<usize>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(mut choices: Choices<'a>) -> Stream<'a> {
        let count = choices.below(4);
        let places: Vec<u16> = (0..count).map(|_| choices.short()).collect();
        let bytes = choices.rest();
        let mut cuts: Vec<usize> =
            places.into_iter().map(|place| usize::from(place) % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        Stream { bytes, cuts }
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        let starts = [0].into_iter().chain(self.cuts.iter().copied());
        let ends = self.cuts.iter().copied().chain([self.bytes.len()]);
        starts.zip(ends).map(|(start, end)| &self.bytes[start..end])
    }

    /// What a codec of `tidemill` makes of it.
    pub(crate) fn read<D: Decoder, T>(
        &self,
        mut decoder: D,
        own: impl for<'f> Fn(D::Frame<'f>) -> T,
    ) -> Reading<T, D::Error> {
        read_pieces(&mut decoder, self.pieces(), own)
    }
}

/// The frames of a reading, without where they ended.
pub(crate) fn frames<T, E>(reading: Reading<T, E>) -> (Vec<T>, Result<(), E>) {
    let frames = reading.frames.into_iter().map(|(_, frame)| frame);
    (frames.collect(), reading.end)
}
