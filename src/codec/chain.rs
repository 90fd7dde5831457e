//! Frames within frames.

use std::{error, fmt};

use super::{Decoder, Encoder};

/// A codec whose frames are found within the frames of another.
///
/// Each frame of the outer codec is a stream of its own to the inner one, which starts at its
/// start and ends with its end. So an outer frame holds any number of inner frames, none that
/// begins in it goes on in the next, and what the inner codec makes of the end of a stream it
/// makes of the end of each outer frame: a last line without an ending is a line, half a netstring
/// is an error. Inner frames that may go on would have to be put together, which is a copy and a
/// buffer, and so are not the business of a codec.
///
/// The outer codec is one whose frames stand in the input as they are: payloads and lines, but not
/// [`Stuffed`](super::Stuffed) frames. The limit of the outer codec holds for all that it frames.
///
/// ```
/// use tidemill::codec::{ByteOrder, Chain, ChainError, Decoder, LengthPrefixed, Lines, Width};
///
/// let outer = LengthPrefixed::new(Width::One, ByteOrder::Big);
/// let mut codec = Chain::new(outer, Lines::default());
/// let mut input: &[u8] = b"\x07one\ntwo\x00\x05three";
/// let mut texts = Vec::new();
/// while let Some((line, taken)) = codec.decode(input)? {
///     texts.push(line.text());
///     input = &input[taken..];
/// }
/// assert_eq!(texts, [&b"one"[..], b"two", b"three"]);
/// # Ok::<(), ChainError<tidemill::codec::LengthError, tidemill::codec::LineError>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chain<O, I> {
    outer: O,
    /// As it is at the start of a stream.
    template: I,
    inner: I,
    /// The outer frame of which something is left to do.
    open: Option<Open>,
    /// Bytes at the start of the input that were read and not yet taken.
    passed_bytes: usize,
    /// Where in the stream the input starts.
    offset: u64,
    /// For the encoder: one outer frame. Empty between calls.
    scratch: Vec<u8>,
}

/// What is left of an outer frame.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// For the inner codec to read.
    frame_bytes: usize,
    /// What ends the outer frame and is not part of it.
    behind_bytes: usize,
    /// Where in the stream it starts, to the inner codec.
    start: u64,
}

impl<O, I: Clone> Chain<O, I> {
    /// Shows the frames of `outer` to `inner`, each to a new one.
    pub fn new(outer: O, inner: I) -> Chain<O, I> {
        Chain {
            outer,
            template: inner.clone(),
            inner,
            open: None,
            passed_bytes: 0,
            offset: 0,
            scratch: Vec::new(),
        }
    }

    /// An outer frame lies `before_bytes` behind the start of what is not yet read.
    fn open(&mut self, before_bytes: usize, frame_bytes: usize, taken: usize) {
        self.passed_bytes += before_bytes;
        self.open = Some(Open {
            frame_bytes,
            behind_bytes: taken - before_bytes - frame_bytes,
            start: self.offset + self.passed_bytes as u64,
        });
        self.inner.clone_from(&self.template);
    }

    /// The inner codec took so much of the open frame. With the last of it goes what is behind.
    fn take(&mut self, open: Open, bytes: usize) -> usize {
        let frame_bytes = open.frame_bytes - bytes;
        let behind_bytes = if frame_bytes == 0 { open.behind_bytes } else { 0 };
        let behind_left = open.behind_bytes - behind_bytes;
        self.open = Some(Open { frame_bytes, behind_bytes: behind_left, ..open });
        let taken = std::mem::take(&mut self.passed_bytes) + bytes + behind_bytes;
        self.offset += taken as u64;
        taken
    }
}

/// Where in `input` the slice stands that was borrowed from it.
fn place_in(input: &[u8], frame: &[u8]) -> usize {
    if frame.is_empty() {
        return 0;
    }
    let place = (frame.as_ptr() as usize).wrapping_sub(input.as_ptr() as usize);
    assert!(place <= input.len(), "a frame is borrowed from the input");
    place
}

type Error<O, I> = ChainError<<O as Decoder>::Error, <I as Decoder>::Error>;

impl<O, I> Decoder for Chain<O, I>
where
    O: Decoder,
    for<'a> O::Frame<'a>: Into<&'a [u8]>,
    I: Decoder + Clone,
{
    type Frame<'a> = I::Frame<'a>;
    type Error = Error<O, I>;

    fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(I::Frame<'a>, usize)>, Error<O, I>> {
        loop {
            let news = &input[self.passed_bytes..];
            let Some(open) = self.open else {
                let Some((frame, taken)) = self.outer.decode(news).map_err(ChainError::Outer)?
                else {
                    self.passed_bytes += self.outer.skip();
                    return Ok(None);
                };
                let frame = frame.into();
                self.open(place_in(news, frame), frame.len(), taken);
                continue;
            };
            let stream = &news[..open.frame_bytes];
            let start = open.start;
            let fail = |error| ChainError::Inner { start, error };
            if let Some((frame, taken)) = self.inner.decode(stream).map_err(fail)? {
                return Ok(Some((frame, self.take(open, taken))));
            }
            // All of the frame has been shown: this is the end of the inner stream.
            let last = self.inner.decode_eof(stream).map_err(fail)?;
            self.open = None;
            if let Some(frame) = last {
                let taken = self.passed_bytes + open.frame_bytes + open.behind_bytes;
                self.passed_bytes = 0;
                self.offset += taken as u64;
                return Ok(Some((frame, taken)));
            }
            self.passed_bytes += open.frame_bytes + open.behind_bytes;
        }
    }

    #[inline]
    fn needs(&self) -> usize {
        self.outer.needs()
    }

    fn skip(&mut self) -> usize {
        let skipped = std::mem::take(&mut self.passed_bytes);
        self.offset += skipped as u64;
        skipped
    }

    /// An outer frame that only the end of the stream ends may hold one inner frame: there is no
    /// way to show more.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<I::Frame<'a>>, Error<O, I>> {
        let news = &rest[self.passed_bytes..];
        let start = self.offset + self.passed_bytes as u64;
        let Some(frame) = self.outer.decode_eof(news).map_err(ChainError::Outer)? else {
            return Ok(None);
        };
        let stream = frame.into();
        let mut inner = self.template.clone();
        let fail = |error| ChainError::Inner { start, error };
        match inner.decode(stream).map_err(fail)? {
            Some((frame, taken)) if taken == stream.len() => {
                inner.decode_eof(b"").map_err(fail)?;
                Ok(Some(frame))
            }
            Some(_) => Err(ChainError::ManyAtEnd { start }),
            None => inner.decode_eof(stream).map_err(fail),
        }
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.outer.max_bytes()
    }
}

/// Writes each item as the only one in an outer frame.
impl<O, I> Encoder for Chain<O, I>
where
    O: for<'a> Encoder<Item<'a> = &'a [u8]>,
    I: Encoder,
{
    type Item<'a> = I::Item<'a>;
    type Error = ChainError<<O as Encoder>::Error, <I as Encoder>::Error>;

    fn encode(&mut self, item: I::Item<'_>, out: &mut Vec<u8>) -> Result<(), Self::Error> {
        self.scratch.clear();
        let fail = |error| ChainError::Inner { start: 0, error };
        self.inner.encode(item, &mut self.scratch).map_err(fail)?;
        self.outer.encode(&self.scratch, out).map_err(ChainError::Outer)
    }
}

/// Why a stream cannot be read on, or an item not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChainError<O, I> {
    /// What the outer codec says.
    Outer(O),
    /// What the inner codec says of an outer frame.
    Inner {
        /// Where in the whole stream the outer frame starts. The offsets of the inner codec count
        /// from here. Zero for an item.
        start: u64,
        /// What the inner codec says.
        error: I,
    },
    /// The end of the stream ends the outer frame at `start`, which holds more than one inner
    /// frame.
    ManyAtEnd {
        /// Where in the stream the outer frame starts.
        start: u64,
    },
}

impl<O: fmt::Display, I: fmt::Display> fmt::Display for ChainError<O, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainError::Outer(error) => error.fmt(f),
            ChainError::Inner { start, error } => {
                write!(f, "{error} (in the frame that starts at byte {start})")
            }
            ChainError::ManyAtEnd { start } => write!(
                f,
                "last frame, without an end, at byte {start} of the stream holds more than one"
            ),
        }
    }
}

impl<O: error::Error, I: error::Error> error::Error for ChainError<O, I> {}

#[cfg(test)]
mod tests;
