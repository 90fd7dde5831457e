//! One decoder first, another from some frame on.

use std::{error, fmt};

use super::{Decoder, Encoder};

/// One of two: a frame or an item of a [`Switch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Either<A, B> {
    /// Of the first codec.
    First(A),
    /// Of the second.
    Second(B),
}

/// A codec that becomes another in mid-stream: an upgrade, `STARTTLS`, a handshake in lines before
/// frames in binary.
///
/// It switches behind a frame of the first codec, and the byte behind that frame is the first that
/// the second codec sees, whether it came in the same read or later. Behind which frame it is, may
/// be told in three ways:
///
/// | what decides | say |
/// |---|---|
/// | their number | [`after_frames`](Switch::after_frames) |
/// | the frame itself | [`after`](Switch::after) |
/// | whoever owns the codec, before it decodes on | [`switch`](Switch::switch) |
///
/// There is no way back; a codec with more phases is made of switches in switches.
///
/// That bytes behind the frame are never shown to the first codec is what keeps commands that
/// were sent too early from being taken for commands sent under TLS (CVE-2011-0411).
///
/// ```
/// use tidemill::codec::{ByteOrder, Decoder, Either, LengthPrefixed, Line, Lines, Switch, Width};
///
/// let binary = LengthPrefixed::new(Width::One, ByteOrder::Big);
/// let mut codec = Switch::new(Lines::default(), binary).after(|line| line.text() == b"BINARY");
/// let mut input: &[u8] = b"hello\nBINARY\n\x03a\nb";
/// let mut texts = Vec::new();
/// while let Some((frame, taken)) = codec.decode(input)? {
///     texts.push(match frame {
///         Either::First(line) => line.text(),
///         Either::Second(payload) => payload,
///     });
///     input = &input[taken..];
/// }
/// assert_eq!(texts, [&b"hello"[..], b"BINARY", b"a\nb"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Switch<A: Decoder, B> {
    first: A,
    second: B,
    when: When<A>,
    is_switched: bool,
    /// Where in the stream the input starts; once switched, where the second codec did.
    offset: u64,
}

#[derive(Clone, Debug)]
enum When<A: Decoder> {
    Told,
    AfterFrames(u64),
    After(IsLast<A>),
}

type IsLast<A> = for<'f, 'a> fn(&'f <A as Decoder>::Frame<'a>) -> bool;

impl<A: Decoder, B> Switch<A, B> {
    /// `first`, until it is [told](Switch::switch) to switch to `second`.
    pub fn new(first: A, second: B) -> Switch<A, B> {
        Switch { first, second, when: When::Told, is_switched: false, offset: 0 }
    }

    /// Switches behind so many frames, by itself. With zero it has switched.
    pub fn after_frames(self, count: u64) -> Switch<A, B> {
        Switch { when: When::AfterFrames(count), is_switched: count == 0, ..self }
    }

    /// Switches behind the first frame of which `is_last` is true, by itself.
    pub fn after(self, is_last: for<'f, 'a> fn(&'f A::Frame<'a>) -> bool) -> Switch<A, B> {
        Switch { when: When::After(is_last), ..self }
    }

    /// Shows what comes from here on to the second codec. Call it between two frames: what has
    /// come and was not taken is not lost.
    pub fn switch(&mut self) {
        self.is_switched = true;
    }

    /// Whether what comes is for the second codec.
    #[inline]
    pub fn is_switched(&self) -> bool {
        self.is_switched
    }

    /// A frame of the first codec came.
    fn is_last(&mut self, frame: &A::Frame<'_>) -> bool {
        match &mut self.when {
            When::Told => false,
            When::AfterFrames(count) => {
                *count -= 1;
                *count == 0
            }
            When::After(is_last) => is_last(frame),
        }
    }
}

type Frame<'a, A, B> = Either<<A as Decoder>::Frame<'a>, <B as Decoder>::Frame<'a>>;
type Error<A, B> = SwitchError<<A as Decoder>::Error, <B as Decoder>::Error>;

impl<A: Decoder, B: Decoder> Decoder for Switch<A, B> {
    type Frame<'a> = Frame<'a, A, B>;
    type Error = Error<A, B>;

    #[inline]
    fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(Frame<'a, A, B>, usize)>, Error<A, B>> {
        if self.is_switched {
            let start = self.offset;
            let found = self.second.decode(input);
            let found = found.map_err(|error| SwitchError::Second { start, error })?;
            return Ok(found.map(|(frame, taken)| (Either::Second(frame), taken)));
        }
        let found = self.first.decode(input).map_err(SwitchError::First)?;
        let Some((frame, taken)) = found else { return Ok(None) };
        self.offset += taken as u64;
        self.is_switched = self.is_last(&frame);
        Ok(Some((Either::First(frame), taken)))
    }

    #[inline]
    fn needs(&self) -> usize {
        if self.is_switched { self.second.needs() } else { self.first.needs() }
    }

    #[inline]
    fn skip(&mut self) -> usize {
        if self.is_switched {
            return self.second.skip();
        }
        let skipped = self.first.skip();
        self.offset += skipped as u64;
        skipped
    }

    /// As the codec says whose turn it is.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Frame<'a, A, B>>, Error<A, B>> {
        if self.is_switched {
            let start = self.offset;
            let last = self.second.decode_eof(rest);
            let last = last.map_err(|error| SwitchError::Second { start, error })?;
            return Ok(last.map(Either::Second));
        }
        let last = self.first.decode_eof(rest).map_err(SwitchError::First)?;
        Ok(last.map(Either::First))
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.first.max_bytes().max(self.second.max_bytes())
    }
}

/// Writes items of the first codec until the first of the second; that is the switch.
impl<A: Decoder + Encoder, B: Encoder> Encoder for Switch<A, B> {
    type Item<'a> = Either<<A as Encoder>::Item<'a>, <B as Encoder>::Item<'a>>;
    type Error = SwitchEncodeError<<A as Encoder>::Error, <B as Encoder>::Error>;

    #[inline]
    fn encode(&mut self, item: Self::Item<'_>, out: &mut Vec<u8>) -> Result<(), Self::Error> {
        match item {
            Either::First(_) if self.is_switched => Err(SwitchEncodeError::IsSwitched),
            Either::First(item) => self.first.encode(item, out).map_err(SwitchEncodeError::First),
            Either::Second(item) => {
                self.second.encode(item, out).map_err(SwitchEncodeError::Second)?;
                self.is_switched = true;
                Ok(())
            }
        }
    }
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchError<A, B> {
    /// What the first codec says.
    First(A),
    /// What the second codec says, to which the stream starts at `start`.
    Second {
        /// Where in the whole stream the second codec began. Its own offsets count from here.
        start: u64,
        /// What it says.
        error: B,
    },
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for SwitchError<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwitchError::First(error) => error.fmt(f),
            SwitchError::Second { start, error } => {
                write!(f, "{error} (counted from byte {start}, where another codec began)")
            }
        }
    }
}

impl<A: error::Error, B: error::Error> error::Error for SwitchError<A, B> {}

/// Why an item was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchEncodeError<A, B> {
    /// What the first codec says.
    First(A),
    /// What the second codec says.
    Second(B),
    /// An item of the first codec came behind one of the second.
    IsSwitched,
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for SwitchEncodeError<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwitchEncodeError::First(error) => error.fmt(f),
            SwitchEncodeError::Second(error) => error.fmt(f),
            SwitchEncodeError::IsSwitched => f.write_str("the other codec has begun"),
        }
    }
}

impl<A: error::Error, B: error::Error> error::Error for SwitchEncodeError<A, B> {}

#[cfg(test)]
mod tests;
