//! What every codec's tests share: the oracle of `testing`, with a note where an input is from.

use std::fmt::Debug;

use super::Decoder;
use crate::testing::{Reading, agrees_with};

/// Asserts that `input` reads as `expected` however it is cut. `note` says where the input is from
/// and how the decoder was made; it is shown if that fails.
pub(super) fn assert_reads<D: Decoder<Error: PartialEq>, T: Clone + Debug + PartialEq>(
    decoder: impl Fn() -> D,
    input: &[u8],
    expected: &Reading<T, D::Error>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
    note: &str,
) where
    D::Error: Clone,
{
    let note = Note(note);
    agrees_with(decoder, input, own, |_| expected.clone());
    drop(note);
}

struct Note<'a>(&'a str);

impl Drop for Note<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
