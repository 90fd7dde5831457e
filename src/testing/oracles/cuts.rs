//! A stream reads the same however it was cut.

use std::fmt::Debug;

use super::case::Case;
use super::seed;
use super::streams::Stream;
use crate::base::rng::Rng;
use crate::codec::Decoder;
use crate::testing::Reading;
use crate::testing::reading::{Broken, Caller, EAGER, HOARDER, PATIENT, Reader, random_cuts};

/// Asserts that `input` reads the same however it is cut, and answers with what was read: the same
/// frames, ending at the same offsets, and the same error. `own` makes a value of a frame.
///
/// It is cut: not at all; at every byte, once and twice (a piece may be empty); at every pair of
/// places, or if it is longer than 64 bytes at every place, or if it is longer than 512 at random
/// ones; at random places, as the input says; and at all the places `at`, which is for what a bug
/// report tells or a fuzzer likes. The caller of the decoder is one who calls with whatever has
/// come, one who waits for what [`needs`](Decoder::needs) says, and one who never asks
/// [`skip`](Decoder::skip).
///
/// Errors are compared by [`Debug`] and [`Display`](std::fmt::Display), so they should say where in
/// the stream they are.
///
/// ```
/// use tidemill::codec::FixedLength;
/// use tidemill::testing::cuts;
///
/// let reading = cuts(FixedLength::<2>::new, b"abcd", [1, 3], |frame| *frame);
/// assert_eq!(reading.frames, [(2, *b"ab"), (4, *b"cd")]);
/// ```
///
/// # Panics
/// It does not read the same, or the decoder answers what [`Decoder`] does not allow.
pub fn cuts<D: Decoder, T: PartialEq + Debug>(
    make: impl Fn() -> D,
    input: &[u8],
    at: impl IntoIterator<Item = usize>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    let mut at: Vec<usize> = at.into_iter().map(|cut| cut.min(input.len())).collect();
    at.sort_unstable();
    check(make, input, &at, own, THOROUGH)
}

/// The same with fewer cuts, for a fuzzer, who has many inputs, most of which differ little.
pub(in crate::testing) fn quick_cuts<D: Decoder, T: PartialEq + Debug>(
    make: impl Fn() -> D,
    input: &[u8],
    at: &[usize],
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    check(make, input, at, own, QUICK)
}

/// How much is tried.
#[derive(Clone, Copy)]
struct Effort {
    /// The longest input of which every pair of places is tried, and every single one.
    pairs_max: usize,
    singles_max: usize,
    random_count: usize,
}

/// As is said of `cuts`.
const THOROUGH: Effort = Effort { pairs_max: 64, singles_max: 512, random_count: 8 };

/// As is said of `quick_cuts`.
const QUICK: Effort = Effort { pairs_max: 12, singles_max: 128, random_count: 4 };

const ALL: [Caller; 3] = [EAGER, PATIENT, HOARDER];

fn check<D: Decoder, T: PartialEq + Debug>(
    make: impl Fn() -> D,
    input: &[u8],
    at: &[usize],
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
    effort: Effort,
) -> Reading<T, D::Error> {
    let len = input.len();
    let whole = Whole::read(&make, input, None, &own);
    let check = |callers: &[Caller], cuts: &[usize]| whole.compare(callers, cuts);
    check(&ALL, &[]);
    check(&ALL, &(1..=len).collect::<Vec<_>>());
    check(&ALL, &(0..=len).flat_map(|end| [end, end]).collect::<Vec<_>>());
    check(&ALL, at);
    let mut rng = Rng::new(seed(input));
    if len > effort.singles_max {
        for _ in 0..effort.singles_max / 4 {
            check(&[EAGER], &[rng.below(len as u64) as usize]);
        }
    } else if len > effort.pairs_max {
        (1..len).for_each(|cut| check(&[EAGER], &[cut]));
    } else {
        for first in 0..=len {
            (first..=len).for_each(|second| check(&[EAGER], &[first, second]));
        }
    }
    for _ in 0..effort.random_count {
        check(&ALL, &random_cuts(&mut rng, len));
    }
    whole.reading
}

/// A stream that was made of the input; if it is long, so that something happens near its end.
pub(super) fn check_made<D: Decoder, T: PartialEq + Debug>(
    make: impl Fn() -> D,
    input: &[u8],
    stream: &Stream,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) {
    let len = stream.bytes.len();
    let whole = Whole::read(&make, &stream.bytes, Some((input, &stream.recipe)), &own);
    let mut rng = Rng::new(seed(&stream.bytes[len.saturating_sub(16)..]));
    whole.compare(&[EAGER, PATIENT], &(len.saturating_sub(12)..len).collect::<Vec<_>>());
    whole.compare(&[EAGER], &[len - rng.below(len as u64 + 1).min(8) as usize]);
    whole.compare(&[HOARDER], &random_cuts(&mut rng, len));
}

/// What comes of a stream in one piece.
struct Whole<'a, M, O, T, E> {
    make: M,
    own: O,
    /// What the stream was made of, and how.
    origin: Option<(&'a [u8], &'a str)>,
    stream: &'a [u8],
    reading: Reading<T, E>,
    error: Option<String>,
}

impl<'a, D, M, O, T> Whole<'a, M, O, T, D::Error>
where
    D: Decoder,
    M: Fn() -> D,
    O: for<'b> Fn(D::Frame<'b>) -> T,
    T: PartialEq + Debug,
{
    fn read(make: M, stream: &'a [u8], origin: Option<(&'a [u8], &'a str)>, own: O) -> Self {
        let case = case(stream, origin, &[], EAGER);
        let reading = read(&make, stream, &[], EAGER, &own);
        let reading = reading.unwrap_or_else(|broken| case.fail(broken));
        let error = reading.end.as_ref().err().map(told);
        Whole { make, own, origin, stream, reading, error }
    }

    /// Shows the stream to each kind of caller in pieces that end so.
    fn compare(&self, callers: &[Caller], cuts: &[usize]) {
        for &caller in callers {
            let case = case(self.stream, self.origin, cuts, caller);
            match read(&self.make, self.stream, cuts, caller, &self.own) {
                Err(broken) => case.fail(broken),
                Ok(reading) => {
                    if let Some(difference) = self.difference(&reading) {
                        case.fail(difference);
                    }
                }
            }
        }
    }

    fn difference(&self, cut: &Reading<T, D::Error>) -> Option<String> {
        let whole = &self.reading;
        let error = cut.end.as_ref().err().map(told);
        if whole.frames == cut.frames && self.error == error {
            return None;
        }
        let mut pairs = whole.frames.iter().zip(&cut.frames);
        let count = pairs.position(|(one, other)| one != other);
        let count = count.unwrap_or(whole.frames.len().min(cut.frames.len()));
        let what = |frames: &[(usize, T)], error: &Option<String>| match (frames.get(count), error)
        {
            (Some((end, frame)), _) => format!("{frame:?}, ending at byte {end}"),
            (None, Some(error)) => format!("the error {error}"),
            (None, None) => "the end".to_owned(),
        };
        Some(format!(
            "the stream reads otherwise when it is cut: behind {count} frames\n  comes {}\n  \
             but in one piece {}",
            what(&cut.frames, &error),
            what(&whole.frames, &self.error),
        ))
    }
}

fn told<E: std::error::Error>(error: &E) -> String {
    format!("{error:?} (\"{error}\")")
}

fn case<'a>(
    stream: &'a [u8],
    origin: Option<(&'a [u8], &'a str)>,
    ends: &'a [usize],
    caller: Caller,
) -> Case<'a> {
    let mut case = Case::new("cuts", origin.map_or(stream, |(input, _)| input));
    case.stream = origin.map(|(_, recipe)| (recipe, stream.len()));
    (case.ends, case.caller) = (Some(ends), caller);
    case
}

fn read<D: Decoder, T>(
    make: impl Fn() -> D,
    stream: &[u8],
    cuts: &[usize],
    caller: Caller,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Result<Reading<T, D::Error>, Broken> {
    Reader::new(&mut make(), stream, caller).read(cuts, own, |_| Ok(()))
}
