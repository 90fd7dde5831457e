//! What every decoder promises, as functions that panic where one does not keep it.
//!
//! None is told what the decoder is for. Each takes a function that makes a decoder at the start of
//! a stream, and bytes from anywhere: a fuzzer, a random generator, a capture. All that an oracle
//! chooses (where to cut, what to put behind the input) comes from these bytes and nothing else, so
//! the same call with the same bytes fails the same way.

mod agreement;
mod bounded;
mod case;
mod cuts;
mod linear;
mod streams;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug, Write as _};

pub use agreement::{agrees_with, round_trip};
pub use bounded::bounded;
pub use cuts::cuts;
pub(super) use cuts::quick_cuts;
pub use linear::linear;
pub use streams::random_input;

use crate::base::rng::Rng;
use crate::codec::Decoder;

/// All that can be asked of a decoder without knowing what it is for: [`cuts`], [`bounded`] and
/// [`linear`], for `input` and for streams that are made of it: spoiled here and there, or long
/// enough to reach the limit. The one line of a fuzz target.
///
/// | found | by |
/// |---|---|
/// | answers that [`Decoder`] does not allow: nothing taken, too much taken, a wrong `needs` or `skip` | every oracle |
/// | frames, errors or offsets that depend on how reads cut the stream | [`cuts`] |
/// | a limit that is missing, off by one, or not the one announced | [`bounded`] |
/// | a frame that is searched again from its start with every read | [`linear`] |
/// | a panic | itself; what was shown is written to stderr |
///
/// Frames are compared by what [`Debug`] says of them, errors by that and by [`Display`]: derive
/// it, and nothing escapes. It must say the same of equal frames, which that of a `HashMap` does
/// not. Where it leaves something out, as an abridged frame does, that part is
/// not compared, and nor is what stands behind the first 64 KiB of its text; [`cuts`] can be given a
/// better view of a frame. Whether the frames are the *right* ones no function of this kind can
/// know: see [`agrees_with`] and [`round_trip`].
///
/// A decoder is best made with a small limit, some hundred bytes. Limits above 2 MiB are never
/// reached here. A decoder that never returns from a call is the fuzzer's to find, by its timeout.
///
/// ```
/// use tidemill::codec::Netstrings;
/// use tidemill::testing;
///
/// fn fuzz(data: &[u8]) {
///     testing::decoder(|| Netstrings::new().with_limit(300), data);
/// }
///
/// fuzz(b"5:hello,3:bye,0:");
/// fuzz(b"12:\xff");
/// ```
///
/// # Panics
/// The decoder breaks a promise.
///
/// [`Display`]: std::fmt::Display
pub fn decoder<D>(make: impl Fn() -> D, input: &[u8])
where
    D: Decoder,
    for<'a> D::Frame<'a>: Debug,
{
    quick_cuts(&make, input, &[], View::of::<D>);
    bounded(&make, input, |_| 0);
    let max_bytes = make().max_bytes();
    let mut rng = Rng::new(seed(input));
    let spoiled = streams::spoiled(input, &mut rng);
    for stream in spoiled.into_iter().chain(streams::at_limit(input, max_bytes, &mut rng)) {
        cuts::check_made(&make, input, &stream, View::of::<D>);
    }
    linear(make, input);
}

/// A number that stands for these bytes: FNV-1a.
fn seed(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What [`Debug`] says of a frame: the beginning, and of the rest enough to see a difference. Frames
/// may be long, and many readings are compared.
#[derive(PartialEq, Eq)]
struct View {
    start: String,
    len: usize,
    hash: u64,
}

impl View {
    fn of<D>(frame: D::Frame<'_>) -> View
    where
        D: Decoder,
        for<'a> D::Frame<'a>: Debug,
    {
        View::of_value(&frame)
    }

    fn of_value(value: &impl Debug) -> View {
        let mut view = View { start: String::new(), len: 0, hash: seed(b"") };
        // An error is its own, and means that it has seen enough.
        let _ = write!(view, "{value:?}");
        view
    }
}

impl fmt::Write for View {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.len < VIEW_MAX {
            self.start.push_str(text);
        }
        self.len += text.len();
        for &byte in text.as_bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.len > COMPARED_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start)?;
        if self.start.len() < self.len { write!(f, "...") } else { Ok(()) }
    }
}

/// So much of a frame is shown.
const VIEW_MAX: usize = 200;

/// So much of a frame is compared.
const COMPARED_MAX: usize = 64 * 1024;
