//! Decoders against somebody who knows what is right: an encoder, or a simpler decoder.

use std::fmt::Debug;

use super::View;
use super::case::Case;
use super::cuts::cuts;
use crate::codec::{Decoder, Encoder};
use crate::testing::Reading;

/// Asserts that what is encoded is decoded, however it is cut, and answers with what was written.
///
/// One encoder writes all items, one behind the other. Those that it does not refuse are the frames
/// of the stream, in this order; nothing else is, and the stream ends well. What it refuses leaves
/// no trace. `lend` makes an item of a value, `own` makes the value of a frame again.
///
/// ```
/// use tidemill::codec::Netstrings;
/// use tidemill::testing::round_trip;
///
/// let make = || Netstrings::new().with_limit(5);
/// let items = [b"hello".to_vec(), b"longer".to_vec(), b"".to_vec()];
/// let written = round_trip(make, make, &items, |item| item, <[u8]>::to_vec);
/// assert_eq!(written, b"5:hello,0:,");
/// ```
///
/// # Panics
/// It is not, or the decoder breaks a promise that [`cuts`] holds it to.
pub fn round_trip<E: Encoder, D: Decoder, T: PartialEq + Debug>(
    encoder: impl Fn() -> E,
    decoder: impl Fn() -> D,
    items: &[T],
    lend: impl for<'a> Fn(&'a T) -> E::Item<'a>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Vec<u8> {
    let (mut encoder, mut out, mut written) = (encoder(), Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let before = out.clone();
        let result = encoder.encode(lend(item), &mut out);
        let is_good = if result.is_ok() { out.starts_with(&before) } else { out == before };
        if !is_good {
            Case::new("round_trip", &out).fail(format_args!(
                "encode() of item {index}, {:?}, answered {result:?} and changed what was already \
                 written, or left something of what it refused",
                View::of_value(item)
            ));
        }
        if result.is_ok() {
            written.push(item);
        }
    }
    let reading = cuts(decoder, &out, [], own);
    let case = Case::new("round_trip", &out);
    let frames = reading.frames.iter().map(|(_, frame)| frame);
    if let Some(index) = frames.clone().zip(&written).position(|(frame, item)| frame != *item) {
        case.fail(format_args!(
            "item {index} of those written was {:?}, and comes back as {:?}",
            View::of_value(&written[index]),
            View::of_value(&reading.frames[index].1),
        ));
    }
    if let Err(error) = &reading.end {
        case.fail(format_args!(
            "what was written is refused behind {} of {} frames: {error:?} (\"{error}\")",
            frames.len(),
            written.len()
        ));
    }
    if frames.len() != written.len() {
        case.fail(format_args!("{} items were written, {} come back", written.len(), frames.len()));
    }
    drop(case);
    out
}

/// Asserts that a decoder finds what a simple version of it finds, however `input` is cut, and
/// answers with that.
///
/// The model is shown all of the stream at once and is as slow and as obvious as it likes. It need
/// not know the decoder's error: any type will do that the error can be made
/// [into](Into), and that says as much of it as the model knows.
///
/// ```
/// use tidemill::codec::{FixedError, FixedLength};
/// use tidemill::testing::{Reading, agrees_with};
///
/// /// Where the stream ended within a frame.
/// #[derive(Debug, PartialEq)]
/// struct CutOff(u64);
///
/// impl From<FixedError> for CutOff {
///     fn from(error: FixedError) -> CutOff {
///         CutOff(error.offset)
///     }
/// }
///
/// fn model(input: &[u8]) -> Reading<Vec<u8>, CutOff> {
///     let pairs = input.chunks_exact(2);
///     let (whole, rest) = (input.len() - input.len() % 2, pairs.remainder());
///     Reading {
///         frames: (1..).map(|count| 2 * count).zip(pairs.map(<[u8]>::to_vec)).collect(),
///         end: if rest.is_empty() { Ok(()) } else { Err(CutOff(whole as u64)) },
///     }
/// }
///
/// let make = FixedLength::<2>::new;
/// let reading = agrees_with(make, b"abcde", |frame| frame.to_vec(), model);
/// assert_eq!(reading.end, Err(CutOff(4)));
/// ```
///
/// # Panics
/// It finds something else, or breaks a promise that [`cuts`] holds it to.
pub fn agrees_with<D, T, E>(
    make: impl Fn() -> D,
    input: &[u8],
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
    model: impl Fn(&[u8]) -> Reading<T, E>,
) -> Reading<T, E>
where
    D: Decoder<Error: Into<E>>,
    T: PartialEq + Debug,
    E: PartialEq + Debug,
{
    let Reading { frames, end } = cuts(make, input, [], own);
    let (found, expected) = (Reading { frames, end: end.map_err(Into::into) }, model(input));
    if found == expected {
        return found;
    }
    let mut pairs = found.frames.iter().zip(&expected.frames);
    let same = pairs.position(|(one, other)| one != other);
    let same = same.unwrap_or(found.frames.len().min(expected.frames.len()));
    let next = |reading: &Reading<T, E>| match (reading.frames.get(same), &reading.end) {
        (Some((end, frame)), _) => format!("{:?}, ending at byte {end}", View::of_value(frame)),
        (None, Err(error)) => format!("the error {error:?}"),
        (None, Ok(())) => "the end".to_owned(),
    };
    Case::new("agrees_with", input).fail(format_args!(
        "behind {same} frames\n  comes {}\n  but the model says {}",
        next(&found),
        next(&expected)
    ))
}
