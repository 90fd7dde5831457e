//! Codecs: bytes into frames and back, with no sockets, clocks or threads.
//!
//! A [`Decoder`] finds frames in what it is shown and lends them out of that very input; an
//! [`Encoder`] appends frames to a buffer. Whoever calls them owns the bytes: reading them,
//! keeping the tail of a frame that has not come in full, and writing are not done here.
//!
//! | codec | a frame is | default limit |
//! |---|---|---|
//! | [`Bytes`] | whatever has come | none is needed: nothing is kept |
//! | [`Lines`] | a [`Line`]: text up to its [`Ending`] | 8 KiB of text |
//! | [`Utf8Lines`] | a `str` up to its ending | 8 KiB of text |
//! | [`Delimited`] | what stands in front of a delimiter of any bytes | 64 KiB |
//! | [`FixedLength`] | an array | its length |
//! | [`LengthPrefixed`] | a payload behind its length, 1 to 8 bytes wide, and what else binary headers have | 1 MiB of payload |
//! | [`VarintPrefixed`] | a payload behind its length in LEB128, as Protocol Buffers has it | 1 MiB of payload |
//! | [`Netstrings`] | a payload, as in `5:hello,` | 1 MiB of payload |
//! | [`Cobs`], [`Slip`] | a view of a payload without its delimiter: [`Stuffed`] | 64 KiB of payload |
//! | [`Text`] | a [`Part`] of a conversation: a line, a block of announced length, dotted lines | 8 KiB a line, 1 MiB a block |
//! | [`Chunked`] | a [`Chunk`] of a body of HTTP/1.1 | 1 MiB a chunk, 16 KiB of what is no data |
//! | [`Switch`] | of one codec first, then of another | theirs |
//! | [`Chain`] | of one codec, in the frames of another | of the outer one |
//!
//! One rule holds for all of them and is tested for every one: frames, errors and their offsets
//! depend on the bytes of the stream alone, never on how reads happened to cut it.

mod bytes;
mod chain;
mod chunked;
mod cobs;
mod counted;
mod decimal;
mod delimited;
mod excerpt;
mod find;
mod fixed;
mod length;
mod line;
mod netstring;
mod slip;
mod stuffed;
mod switch;
#[cfg(test)]
mod tests;
mod text;
mod utf8_lines;
mod varint;

pub use bytes::Bytes;
pub use chain::{Chain, ChainError};
pub use chunked::{Chunk, Chunked, ChunkedEncodeError, ChunkedError};
pub use cobs::{Cobs, CobsError};
pub use decimal::decimal;
pub use delimited::{Delimited, DelimitedEncodeError, DelimitedError};
pub use excerpt::Excerpt;
pub use fixed::{FixedError, FixedLength};
pub use length::{ByteOrder, LengthEncodeError, LengthError, LengthPrefixed, Width};
pub use line::{Ending, Line, LineEncodeError, LineError, Lines};
pub use netstring::{NetstringError, Netstrings};
pub use slip::{Slip, SlipEncodeError, SlipError};
pub use stuffed::{Pieces, Stuffed};
pub use switch::{Either, Switch, SwitchEncodeError, SwitchError};
pub use text::{Next, Part, Text, TextEncodeError, TextError};
pub use utf8_lines::{Utf8LineError, Utf8Lines};
pub use varint::{VarintError, VarintPrefixed};

/// Finds the frames of one stream, in order.
///
/// The caller keeps the bytes and calls in this order:
///
/// 1. [`decode`](Decoder::decode) with all bytes not yet taken, again and again, each time
///    without those that the last frame took, until it answers `None`;
/// 2. [`skip`](Decoder::skip), and takes as many bytes as it says;
/// 3. once more bytes have come, [`needs`](Decoder::needs) of them at least if it does not want to
///    call in vain, `decode` with the same rest and the new bytes behind it;
/// 4. when the stream ends, after a `None`, [`decode_eof`](Decoder::decode_eof) with the rest.
///
/// A decoder may remember how far into the rest it has looked, so one value serves one stream.
/// An error is final: the place of the next frame is unknown, and the decoder must not be called
/// again.
///
/// ```
/// use tidemill::codec::{Decoder, Ending, Lines};
///
/// let mut lines = Lines::new(Ending::Any);
/// let mut input: &[u8] = b"one\ntwo\r\nthr";
/// let mut texts = Vec::new();
/// while let Some((line, taken)) = lines.decode(input)? {
///     texts.push(line.text());
///     input = &input[taken..];
/// }
/// assert_eq!(texts, [b"one", b"two"]);
/// assert_eq!(input, b"thr"); // to be shown again, with what comes next
/// # Ok::<(), tidemill::codec::LineError>(())
/// ```
pub trait Decoder: 'static {
    /// One frame, borrowed from the input.
    type Frame<'a>;

    /// Why the stream cannot be read on. It is the peer's fault.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The frame at the start of `input`, if it is there in full, and the bytes it took: at least
    /// one, at most all. `None` says "not yet": the same bytes are shown again with more behind
    /// them. Input may be empty; the answer is then `None`.
    ///
    /// # Errors
    ///
    /// The bytes can be no frame, whatever follows. What exceeds a limit is refused as soon as
    /// that is certain, not when the frame is complete.
    fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(Self::Frame<'a>, usize)>, Self::Error>;

    /// After `decode` has answered `None`: the number of further bytes with fewer of which it
    /// would answer `None` again, at least one. It may be less than the frame wants, never more.
    fn needs(&self) -> usize {
        1
    }

    /// After `decode` has answered `None`: how many bytes at the start of its input the decoder is
    /// through with, though no frame came of them. The caller must take them, as if a frame had;
    /// the question can be asked once.
    ///
    /// They are what some formats allow between frames, such as a delimiter sent twice, or what
    /// the decoder has made a note of. Where a frame follows at once they are taken with it; where
    /// none does, nobody has to keep them.
    fn skip(&mut self) -> usize {
        0
    }

    /// The stream ended, and `decode` has answered `None` for `rest`, which may be empty, or would
    /// because of what it needs. A frame answered here takes all of it. `None` says that nothing
    /// was cut off.
    ///
    /// # Errors
    ///
    /// The stream ended within a frame, and this codec has no use for a part of one.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Self::Frame<'a>>, Self::Error>;

    /// The most bytes that one frame can have, terminator or prefix included, and so an upper
    /// bound of what is left where `decode` has answered `None` and what it skips was taken: it
    /// sizes the carry of a connection. Zero for a codec that takes all it is shown. It does not
    /// change during a stream.
    fn max_bytes(&self) -> usize;
}

/// Writes items so that the decoder of the same codec finds them again.
///
/// The codecs here implement both traits. A stream has two directions, and each wants a value of
/// its own: the one that decodes belongs to whoever reads, the one that encodes to whoever writes.
///
/// ```
/// use tidemill::codec::{Encoder, Ending, Lines};
///
/// let mut lines = Lines::new(Ending::CrLf);
/// let mut out = Vec::new();
/// lines.encode(b"250 OK", &mut out)?;
/// assert!(lines.encode(b"two\r\nlines", &mut out).is_err());
/// assert_eq!(out, b"250 OK\r\n");
/// # Ok::<(), tidemill::codec::LineEncodeError>(())
/// ```
pub trait Encoder {
    /// What is written, borrowed where it can be: the counterpart of [`Decoder::Frame`].
    // A type of the codec and not a parameter of the trait: the compiler then knows what it
    // expects, and `b"text"`, `&vec` and `string.as_bytes()` all become `&[u8]` by themselves.
    type Item<'a>;

    /// Why an item cannot be written. It is the caller's fault, not the peer's.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Appends one frame to `out`.
    ///
    /// # Errors
    ///
    /// The item is one that a decoder with the same settings would refuse or read as something
    /// else. `out` is then as it was, and the encoder can go on.
    fn encode(&mut self, item: Self::Item<'_>, out: &mut Vec<u8>) -> Result<(), Self::Error>;
}
