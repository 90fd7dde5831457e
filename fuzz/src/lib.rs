//! Differential fuzz targets: the codecs of `tidemill` against independent implementations of the
//! same formats.
//!
//! Each file names the points in which the two differ for good reasons, and how that is
//! reconciled. Everything else that differs is a bug, in one or the other.
//!
//! | target | against |
//! |---|---|
//! | [`versus_lines_codec`] | `tokio_util::codec::LinesCodec` |
//! | [`versus_delimiter_codec`] | `tokio_util::codec::AnyDelimiterCodec` |
//! | [`versus_length_codec`] | `tokio_util::codec::LengthDelimitedCodec` |
//! | [`versus_leb128`] | `leb128` for the numbers, `unsigned-varint` for how short they are |
//! | [`versus_corncobs`] | `corncobs` |
//! | [`versus_slip_codec`] | `slip-codec` |
//! | [`versus_httparse`] | `httparse::parse_chunk_size` |
//!
//! Of netstrings there is no implementation to compare with: the published one (`netstring` 0.4)
//! takes strings only, allocates what a peer announces and panics at 64 digits. The target
//! `netstrings` has a simple version.
//!
//! The bodies are here and not in `fuzz_targets`, so that `cargo test` replays their corpora on
//! stable Rust.

mod corncobs;
mod delimiter_codec;
mod httparse;
mod leb128;
mod length_codec;
mod lines_codec;
mod slip_codec;
mod stream;
#[cfg(test)]
mod tests;
mod tokio;

pub use corncobs::versus_corncobs;
pub use delimiter_codec::versus_delimiter_codec;
pub use httparse::versus_httparse;
pub use leb128::versus_leb128;
pub use length_codec::versus_length_codec;
pub use lines_codec::versus_lines_codec;
pub use slip_codec::versus_slip_codec;

use tidemill::testing::targets::Target;

/// Every target of this crate, under the name of its corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("versus_corncobs", versus_corncobs),
    ("versus_delimiter_codec", versus_delimiter_codec),
    ("versus_httparse", versus_httparse),
    ("versus_leb128", versus_leb128),
    ("versus_length_codec", versus_length_codec),
    ("versus_lines_codec", versus_lines_codec),
    ("versus_slip_codec", versus_slip_codec),
];
