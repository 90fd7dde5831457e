//! Protocols of lines, some of which announce bytes that are not lines.

mod error;
mod part;

pub use error::{TextEncodeError, TextError};
pub use part::{Next, Part};

use super::counted::{Counted, around, counted};
use super::{Decoder, Encoder, Ending, Excerpt, LineEncodeError, Lines};

/// The codec of conversations in lines, some of which announce a block of bytes.
///
/// What a line announces says a function of it, given to [`announced_by`](Text::announced_by):
///
/// ```
/// use tidemill::codec::{Decoder, Next, Part, Text, TextError};
///
/// // memcached: set <key> <flags> <exptime> <bytes> [noreply]
/// fn memcached(line: &[u8]) -> Next {
///     let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
///     match words.next() {
///         Some(b"set" | b"add" | b"cas") => Next::block(words.nth(3).unwrap_or_default()),
///         _ => Next::Line,
///     }
/// }
///
/// let mut text = Text::new().announced_by(memcached).with_block_limit(100);
/// let mut input: &[u8] = b"set a 0 0 6\r\nget b\n\r\nget a\r\nset a 0 0 101\r\n...";
/// let mut parts = Vec::new();
/// let error = loop {
///     match text.decode(input) {
///         Ok(Some((part, taken))) => {
///             parts.push(part);
///             input = &input[taken..];
///         }
///         Ok(None) => unreachable!(),
///         Err(error) => break error,
///     }
/// };
/// assert_eq!(parts, [
///     Part::Line(b"set a 0 0 6"),
///     Part::Block(b"get b\n"),
///     Part::Line(b"get a"),
///     Part::Line(b"set a 0 0 101"),
/// ]);
/// assert_eq!(
///     error.to_string(),
///     "block of 101 bytes announced by the line \"set a 0 0 101\" at byte 28 of the stream, \
///      the limit is 100"
/// );
/// ```
///
/// Where that depends on more than the line, on whether a command was accepted, say, whoever owns
/// the codec [expects](Text::expect) what comes next when a line was shown. Both may be used in
/// one conversation.
///
/// ```
/// use tidemill::codec::{Decoder, Next, Part, Text, TextError};
///
/// let mut smtp = Text::new();
/// assert_eq!(smtp.decode(b"DATA\r\n")?, Some((Part::Line(b"DATA"), 6)));
/// smtp.expect(Next::Dotted);
/// assert_eq!(smtp.decode(b"..x\r\n.\r\n")?, Some((Part::Dotted(b".x"), 5)));
/// assert_eq!(smtp.decode(b".\r\n")?, Some((Part::DottedEnd, 3)));
/// assert_eq!(smtp.decode(b"QUIT\r\n")?, Some((Part::Line(b"QUIT"), 6)));
/// # Ok::<(), TextError>(())
/// ```
///
/// # Limits
///
/// Each line has the limit of [`Lines`], each block [one of its own](Text::with_block_limit), and
/// dotted lines together the limit of a block, with two bytes for each CR LF. Of a block announced
/// too large the line is still shown, so that it can be answered; nothing is read behind it.
/// Dotted lines come one by one: a message of many is never kept, here or by the caller.
///
/// # Strictness
///
/// [`Ending::CrLf`] in lines and dotted lines, and CR LF behind a block: a CR or LF that stands
/// alone is an error, so there are no two ways to see where a message ends. In blocks and literals
/// any byte may stand, and none is looked at.
#[derive(Clone, Debug)]
pub struct Text {
    /// Counts the bytes of the stream for blocks, too.
    lines: Lines,
    announces: fn(&[u8]) -> Next,
    /// The most bytes of one block.
    block_limit_bytes: usize,
    expected: Expected,
    needed_bytes: usize,
}

/// [`Next`], once it is known to be within the limits.
#[derive(Clone, Debug)]
enum Expected {
    Line,
    Block {
        bytes: usize,
        ending: &'static [u8],
    },
    Dotted {
        room_bytes: usize,
    },
    /// Not even that: the error is said when the line that caused it has been shown.
    Nothing(Box<TextError>),
}

impl Text {
    /// The most bytes of a block if nothing else is said.
    pub const DEFAULT_BLOCK_LIMIT_BYTES: usize = 1024 * 1024;

    /// A codec at the start of a stream, that expects lines only.
    pub fn new() -> Text {
        Text {
            lines: Lines::new(Ending::CrLf).require_ending(),
            announces: |_| Next::Line,
            block_limit_bytes: Text::DEFAULT_BLOCK_LIMIT_BYTES,
            expected: Expected::Line,
            needed_bytes: 1,
        }
    }

    /// Asks `announces` what follows a line, given its text.
    pub fn announced_by(self, announces: fn(&[u8]) -> Next) -> Text {
        Text { announces, ..self }
    }

    /// Allows lines of up to `limit_bytes` of text, the ending not counted.
    pub fn with_line_limit(self, limit_bytes: usize) -> Text {
        Text { lines: self.lines.with_limit(limit_bytes), ..self }
    }

    /// Allows blocks of up to `limit_bytes`, and as many of dotted lines.
    pub fn with_block_limit(self, limit_bytes: usize) -> Text {
        Text { block_limit_bytes: limit_bytes, ..self }
    }

    /// Says what comes next, in place of what was announced: call it between two frames.
    pub fn expect(&mut self, next: Next) {
        self.needed_bytes = 1;
        self.expect_after(next, self.lines.offset(), b"");
    }

    /// `line` was written or read at `offset`, and `next` follows.
    #[inline]
    fn expect_after(&mut self, next: Next, offset: u64, line: &[u8]) {
        let limit_bytes = self.block_limit_bytes;
        self.expected = match next {
            Next::Line | Next::Literal(0) => Expected::Line,
            Next::Block(bytes) if bytes <= limit_bytes as u64 => {
                Expected::Block { bytes: bytes as usize, ending: b"\r\n" }
            }
            Next::Literal(bytes) if bytes <= limit_bytes as u64 => {
                Expected::Block { bytes: bytes as usize, ending: b"" }
            }
            Next::Dotted => Expected::Dotted { room_bytes: limit_bytes },
            Next::Block(announced_bytes) | Next::Literal(announced_bytes) => {
                let line = Excerpt::of(line);
                let error = TextError::TooLong { offset, announced_bytes, limit_bytes, line };
                Expected::Nothing(Box::new(error))
            }
            Next::Unreadable => {
                let line = Excerpt::of(line);
                Expected::Nothing(Box::new(TextError::Unreadable { offset, line }))
            }
        };
    }

    /// The next line, its text and what it takes.
    #[inline]
    fn decode_line<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, TextError> {
        let found = self.lines.decode(input)?;
        self.needed_bytes = 1;
        Ok(found.map(|(line, taken)| (line.text(), taken)))
    }

    fn decode_block<'a>(
        &mut self,
        input: &'a [u8],
        bytes: usize,
        ending: &'static [u8],
    ) -> Result<Option<(Part<'a>, usize)>, TextError> {
        match counted(input, bytes, ending) {
            Counted::Whole(block) => {
                let taken = bytes + ending.len();
                self.lines.pass(taken);
                self.expected = Expected::Line;
                Ok(Some((Part::Block(block), taken)))
            }
            Counted::Needs(needed_bytes) => {
                self.needed_bytes = needed_bytes;
                Ok(None)
            }
            Counted::Wrong(index) => Err(TextError::NoEnding {
                offset: self.lines.offset() + index as u64,
                seen: Excerpt::of(around(input, bytes, index)),
            }),
        }
    }

    fn write_dotted(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), LineEncodeError> {
        if !text.starts_with(b".") {
            return self.lines.encode(text, out);
        }
        let (text_bytes, limit_bytes) = (text.len() + 1, self.lines.limit_bytes());
        if text_bytes > limit_bytes {
            return Err(LineEncodeError::TooLong { text_bytes, limit_bytes });
        }
        let start = out.len();
        out.push(b'.');
        self.lines.encode(text, out).inspect_err(|_| out.truncate(start))
    }

    fn decode_dotted<'a>(
        &mut self,
        input: &'a [u8],
        room_bytes: usize,
    ) -> Result<Option<(Part<'a>, usize)>, TextError> {
        let offset = self.lines.offset();
        let Some((line, taken)) = self.decode_line(input)? else { return Ok(None) };
        if line == b"." {
            self.expected = Expected::Line;
            return Ok(Some((Part::DottedEnd, taken)));
        }
        let text = line.strip_prefix(b".").unwrap_or(line);
        let Some(room_bytes) = room_bytes.checked_sub(text.len() + CR_LF.len()) else {
            let (limit_bytes, line) = (self.block_limit_bytes, Excerpt::of(line));
            return Err(TextError::TooLongDotted { offset, limit_bytes, line });
        };
        self.expected = Expected::Dotted { room_bytes };
        Ok(Some((Part::Dotted(text), taken)))
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::new()
    }
}

impl Decoder for Text {
    type Frame<'a> = Part<'a>;
    type Error = TextError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Part<'a>, usize)>, TextError> {
        match &self.expected {
            Expected::Line => {
                let offset = self.lines.offset();
                let Some((line, taken)) = self.decode_line(input)? else { return Ok(None) };
                self.expect_after((self.announces)(line), offset, line);
                Ok(Some((Part::Line(line), taken)))
            }
            &Expected::Block { bytes, ending } => self.decode_block(input, bytes, ending),
            &Expected::Dotted { room_bytes } => self.decode_dotted(input, room_bytes),
            Expected::Nothing(_) if input.is_empty() => Ok(None),
            Expected::Nothing(error) => Err(TextError::clone(error)),
        }
    }

    #[inline]
    fn needs(&self) -> usize {
        self.needed_bytes
    }

    /// `None` for an empty rest where a line was expected: lines and blocks all have an end.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Part<'a>>, TextError> {
        let offset = self.lines.offset();
        let received_bytes = rest.len();
        match &self.expected {
            Expected::Line => self.lines.decode_eof(rest)?,
            &Expected::Block { bytes, .. } => {
                return Err(TextError::UnexpectedEnd {
                    offset,
                    announced_bytes: Some(bytes as u64),
                    received_bytes: received_bytes.min(bytes),
                });
            }
            Expected::Dotted { .. } => {
                self.lines.decode_eof(rest)?;
                let announced_bytes = None;
                return Err(TextError::UnexpectedEnd { offset, announced_bytes, received_bytes });
            }
            Expected::Nothing(error) => return Err(TextError::clone(error)),
        };
        Ok(None)
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.lines.max_bytes().max(self.block_limit_bytes.saturating_add(CR_LF.len()))
    }
}

/// Writes parts in the order in which they can be read: after a line, what it announces.
impl Encoder for Text {
    type Item<'a> = Part<'a>;
    type Error = TextEncodeError;

    fn encode(&mut self, part: Part<'_>, out: &mut Vec<u8>) -> Result<(), TextEncodeError> {
        match (&self.expected, part) {
            (Expected::Line, Part::Line(line)) => {
                let start = out.len();
                self.lines.encode(line, out)?;
                self.expect_after((self.announces)(line), start as u64, line);
                if let Expected::Nothing(_) = self.expected {
                    out.truncate(start);
                    self.expected = Expected::Line;
                    return Err(TextEncodeError::BadAnnouncement);
                }
            }
            (&Expected::Block { bytes, ending }, Part::Block(block)) if block.len() == bytes => {
                out.extend_from_slice(block);
                out.extend_from_slice(ending);
                self.expected = Expected::Line;
            }
            (&Expected::Dotted { room_bytes }, Part::Dotted(text)) => {
                let Some(room_bytes) = room_bytes.checked_sub(text.len() + CR_LF.len()) else {
                    let limit_bytes = self.block_limit_bytes;
                    return Err(TextEncodeError::TooLongDotted { limit_bytes });
                };
                self.write_dotted(text, out)?;
                self.expected = Expected::Dotted { room_bytes };
            }
            (Expected::Dotted { .. }, Part::DottedEnd) => {
                out.extend_from_slice(b".\r\n");
                self.expected = Expected::Line;
            }
            _ => return Err(TextEncodeError::Unexpected),
        }
        Ok(())
    }
}

const CR_LF: &[u8] = b"\r\n";

#[cfg(test)]
mod tests;
