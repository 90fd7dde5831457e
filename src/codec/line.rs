//! Lines of text: bytes up to a terminator, of which each mode has exactly one rule.

mod error;

use std::fmt;

pub use error::{LineEncodeError, LineError};

use super::find::{NEAR_BYTES, find, find_either, find_either_far, find_far, find_near};
use super::{Decoder, Encoder, Excerpt};

/// What ends a line.
///
/// Two programs that disagree about this can be made to see different messages in the same bytes
/// ("smuggling"). Where lines are handed on to other programs, take the mode that the protocol
/// names, and [`CrLf`](Ending::CrLf) where it names CRLF.
///
/// | bytes | `Any` | `Lf` | `CrLf` |
/// |---|---|---|---|
/// | `text LF` | `text` | `text` | [`BareLf`](LineError::BareLf) |
/// | `text CR LF` | `text` | `text CR` | `text` |
/// | `text CR CR LF` | `text CR` | `text CR CR` | [`BareCr`](LineError::BareCr) |
/// | `te CR xt LF` | `te CR xt` | `te CR xt` | [`BareCr`](LineError::BareCr) |
/// | `text`, end | `text` | `text` | `text` |
/// | `text CR`, end | `text CR` | `text CR` | [`BareCr`](LineError::BareCr) |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ending {
    /// LF; one CR right before it belongs to the ending. Any other CR is text. Written as LF.
    ///
    /// What RFC 9112, section 2.2 allows: "a recipient MAY recognize a single LF as a line
    /// terminator and ignore any preceding CR". For people with telnet or netcat.
    #[default]
    Any,

    /// LF and nothing else: a CR is text like any other byte.
    Lf,

    /// CR LF and nothing else: a CR or an LF without the other is an error.
    ///
    /// RFC 5321, section 2.3.8: "Conforming implementations MUST NOT recognize or generate any
    /// other character or character sequence as a line terminator." We refuse stray ones instead
    /// of taking them for text, since the next program might not.
    CrLf,
}

impl Ending {
    /// The bytes that are written at the end of a line.
    pub fn as_bytes(self) -> &'static [u8] {
        match self {
            Ending::Any | Ending::Lf => b"\n",
            Ending::CrLf => b"\r\n",
        }
    }

    /// Where it may be: at the first LF, or in `CrLf` the first CR or LF; behind all where there is
    /// none.
    #[inline(always)]
    fn find(self, input: &[u8]) -> usize {
        match self {
            Ending::Any | Ending::Lf => find(b'\n', input),
            Ending::CrLf => find_either(b'\r', b'\n', input),
        }
    }

    /// Whether it is what `find` found, and all of it has come.
    #[inline(always)]
    fn is_at(self, index: usize, input: &[u8]) -> bool {
        self != Ending::CrLf || input[index..].starts_with(b"\r\n")
    }

    /// The line that has its ending at `index`.
    #[inline(always)]
    fn line_to(self, index: usize, input: &[u8]) -> Line<'_> {
        let (text_bytes, whole_bytes) = match self {
            Ending::Lf => (index, index + 1),
            Ending::Any => {
                let has_cr = index > 0 && input.get(index - 1) == Some(&b'\r');
                (index - usize::from(has_cr), index + 1)
            }
            Ending::CrLf => (index, index + 2),
        };
        Line { whole: &input[..whole_bytes], text_bytes }
    }

    fn max_bytes(self) -> usize {
        match self {
            Ending::Lf => 1,
            Ending::Any | Ending::CrLf => 2,
        }
    }
}

/// The codec of lines.
///
/// A line may have [`limit`](Lines::with_limit) bytes of text, its ending not counted. One byte
/// more is an error as soon as it has come, whether or not an ending follows. Text is any bytes:
/// whether it is UTF-8 is for the handler to ask.
///
/// A last line without an ending is a line too, unless [`require_ending`](Lines::require_ending)
/// was asked for; it can be told by [`Line::is_terminated`].
///
/// Each byte is looked at once, however small the pieces in which it comes.
///
/// ```
/// use tidemill::codec::{Decoder, Ending, LineError, Lines};
///
/// let mut lines = Lines::new(Ending::Any).with_limit(4);
/// let (line, taken) = lines.decode(b"ping\r\nand")?.unwrap();
/// assert_eq!(line.text(), b"ping");
/// assert_eq!(line.ending(), b"\r\n");
/// assert_eq!(taken, 6);
///
/// assert_eq!(lines.decode(b"and")?, None);
/// let error = lines.decode(b"and m").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"line at byte 6 of the stream is longer than 4 bytes, it starts "and m""#
/// );
/// # Ok::<(), LineError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    ending: Ending,
    requires_ending: bool,
    /// The most bytes of text in one line.
    limit_bytes: usize,
    search: Search,
    /// Where in the stream the waiting line starts.
    offset: u64,
}

/// How the ending of the waiting line is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Near by: an LF.
    Lf,
    /// Near by: the first CR or LF.
    CrLf,
    /// From here, which is within the input at every call: no ending begins before. In
    /// [`Ending::CrLf`] there is neither CR nor LF.
    From(usize),
}

impl Search {
    /// At the start of a line.
    fn new(ending: Ending, limit_bytes: usize) -> Search {
        match ending {
            _ if limit_bytes < NEAR_BYTES => Search::From(0), // what is near may be too long
            Ending::CrLf => Search::CrLf,
            Ending::Any | Ending::Lf => Search::Lf,
        }
    }
}

impl Lines {
    /// The most bytes of text in a line if nothing else is said: what most programs that read
    /// header lines allow.
    pub const DEFAULT_LIMIT_BYTES: usize = 8 * 1024;

    /// A codec for lines that end so, at the start of a stream.
    pub fn new(ending: Ending) -> Lines {
        Lines {
            ending,
            requires_ending: false,
            limit_bytes: Lines::DEFAULT_LIMIT_BYTES,
            search: Search::new(ending, Lines::DEFAULT_LIMIT_BYTES),
            offset: 0,
        }
    }

    /// Allows lines of up to `limit_bytes` of text, the ending not counted.
    pub fn with_limit(self, limit_bytes: usize) -> Lines {
        Lines { limit_bytes, search: Search::new(self.ending, limit_bytes), ..self }
    }

    /// Makes a last line without an ending an error. For protocols in which half a command must
    /// not be taken for a whole one.
    pub fn require_ending(self) -> Lines {
        Lines { requires_ending: true, ..self }
    }

    /// Where in the stream the waiting line starts.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What came in place of a line was taken by somebody else.
    #[inline]
    pub(super) fn pass(&mut self, taken: usize) {
        self.search = Search::new(self.ending, self.limit_bytes);
        self.offset += taken as u64;
    }

    /// The most bytes of text in one line.
    pub(super) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    #[inline(always)]
    fn take<'a>(&mut self, line: Line<'a>) -> Option<(Line<'a>, usize)> {
        self.offset += line.whole.len() as u64;
        Some((line, line.whole.len()))
    }

    /// Where the ending of a line is that is further away than usual, or was looked for before: at
    /// `from` or behind it. Where no line is whole, or it is too long, what no ending begins before.
    #[inline(never)]
    fn further(&mut self, input: &[u8], from: usize) -> Result<usize, usize> {
        let rest = &input[from..];
        let index = from
            + match self.ending {
                Ending::Any | Ending::Lf => find_far(b'\n', rest),
                Ending::CrLf => find_either_far(b'\r', b'\n', rest),
            };
        let is_line = index < input.len()
            && self.ending.is_at(index, input)
            && self.ending.line_to(index, input).text_bytes <= self.limit_bytes;
        if !is_line {
            self.search = Search::From(index);
            return Err(index);
        }
        self.search = Search::new(self.ending, self.limit_bytes);
        Ok(index)
    }

    /// What there is has no line, and no ending begins before `index`: an error, or a wait.
    #[inline(never)]
    fn no_line(&self, input: &[u8], index: usize) -> Result<(), LineError> {
        if index == input.len() {
            return self.wait(input);
        }
        if self.ending.is_at(index, input) {
            return Err(self.too_long(input));
        }
        if &input[index..] == b"\r" {
            return self.wait(input);
        }
        Err(self.bare(input, index))
    }

    /// `line` has no ending yet.
    fn wait(&self, line: &[u8]) -> Result<(), LineError> {
        if line.len() > self.limit_bytes {
            // A CR right behind the longest text may yet turn out to be half of its ending.
            let may_end = self.ending != Ending::Lf
                && line.len() - 1 == self.limit_bytes
                && line.ends_with(b"\r");
            if !may_end {
                return Err(self.too_long(line));
            }
        }
        Ok(())
    }

    /// The CR or LF at `index` stands alone, or stands beyond the limit.
    #[cold]
    fn bare(&self, line: &[u8], index: usize) -> LineError {
        if index > self.limit_bytes {
            return self.too_long(line);
        }
        let offset = self.offset + index as u64;
        let line_start = Excerpt::of(&line[..=index]);
        match line[index] {
            b'\n' => LineError::BareLf { offset, line_start },
            _ => LineError::BareCr { offset, line_start },
        }
    }

    #[cold]
    fn too_long(&self, line: &[u8]) -> LineError {
        // Not more than is there at the earliest moment at which this is known, so that the error
        // is the same however the stream was cut.
        let known_bytes = line.len().min(self.limit_bytes.saturating_add(1));
        LineError::TooLong {
            offset: self.offset,
            limit_bytes: self.limit_bytes,
            line_start: Excerpt::of(&line[..known_bytes]),
        }
    }
}

/// A call, which leaves the registers to the other search.
#[inline(never)]
fn find_cr_or_lf(input: &[u8]) -> usize {
    find_either(b'\r', b'\n', input)
}

/// [`Ending::Any`] with the default limit.
impl Default for Lines {
    fn default() -> Lines {
        Lines::new(Ending::Any)
    }
}

impl Decoder for Lines {
    type Frame<'a> = Line<'a>;
    type Error = LineError;

    // Short lines that have come in full and follow one another are usual. Their way is inlined
    // always: left to itself the compiler makes it a call, with the result going through memory.
    #[inline(always)]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Line<'a>, usize)>, LineError> {
        let from = match self.search {
            Search::Lf => {
                let ending = if self.ending == Ending::Lf { Ending::Lf } else { Ending::Any };
                let at = match find_near(b'\n', input) {
                    Ok(at) => return Ok(self.take(ending.line_to(at, input))),
                    Err(from) => from + find_far(b'\n', &input[from..]),
                };
                if at < input.len() && at <= self.limit_bytes {
                    return Ok(self.take(ending.line_to(at, input)));
                }
                at
            }
            Search::CrLf => {
                let at = find_cr_or_lf(input);
                if Ending::CrLf.is_at(at, input) && at <= self.limit_bytes {
                    return Ok(self.take(Ending::CrLf.line_to(at, input)));
                }
                at
            }
            Search::From(from) => from,
        };
        if input.is_empty() {
            return Ok(None);
        }
        match self.further(input, from) {
            Ok(at) => Ok(self.take(self.ending.line_to(at, input))),
            Err(index) => self.no_line(input, index).map(|()| None),
        }
    }

    /// The last line, if it has no ending; `None` if there is nothing behind the last ending.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Line<'a>>, LineError> {
        if rest.is_empty() {
            return Ok(None);
        }
        if self.ending == Ending::CrLf && rest.ends_with(b"\r") {
            return Err(self.bare(rest, rest.len() - 1));
        }
        // Too long by a CR that `wait` hoped would be half of an ending.
        if rest.len() > self.limit_bytes {
            return Err(self.too_long(rest));
        }
        if self.requires_ending {
            let line_start = Excerpt::of(rest);
            return Err(LineError::Unterminated { offset: self.offset, line_start });
        }
        Ok(Some(Line { whole: rest, text_bytes: rest.len() }))
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.limit_bytes.saturating_add(self.ending.max_bytes())
    }
}

/// Writes a text and [`Ending::as_bytes`].
impl Encoder for Lines {
    type Item<'a> = &'a [u8];
    type Error = LineEncodeError;

    #[inline]
    fn encode(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), LineEncodeError> {
        if text.len() > self.limit_bytes {
            let (text_bytes, limit_bytes) = (text.len(), self.limit_bytes);
            return Err(LineEncodeError::TooLong { text_bytes, limit_bytes });
        }
        let mut index = self.ending.find(text);
        if self.ending == Ending::Any && index == text.len() && text.ends_with(b"\r") {
            index -= 1; // it would be taken for a part of the ending
        }
        if index < text.len() {
            return Err(LineEncodeError::HoldsEnding { index });
        }
        let ending = self.ending.as_bytes();
        out.reserve(text.len() + ending.len());
        out.extend_from_slice(text);
        out.extend_from_slice(ending);
        Ok(())
    }
}

/// One line, as it stands in the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    whole: &'a [u8],
    /// `text_bytes <= whole.len()`; what lies behind is the ending.
    text_bytes: usize,
}

impl<'a> Line<'a> {
    /// The line without its ending.
    #[inline]
    pub fn text(&self) -> &'a [u8] {
        &self.whole[..self.text_bytes]
    }

    /// The ending as it came: `\n`, `\r\n`, or nothing where the stream ended first.
    #[inline]
    pub fn ending(&self) -> &'a [u8] {
        &self.whole[self.text_bytes..]
    }

    /// The text and its ending in one piece: what an echo sends back.
    #[inline]
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }

    /// False only for a last line that the stream ended before its ending.
    #[inline]
    pub fn is_terminated(&self) -> bool {
        self.text_bytes < self.whole.len()
    }
}

/// The text.
impl<'a> From<Line<'a>> for &'a [u8] {
    fn from(line: Line<'a>) -> &'a [u8] {
        line.text()
    }
}

/// Escaped, and cut as an [`Excerpt`] is.
impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Line").field(&Excerpt::of(self.whole)).finish()
    }
}

#[cfg(test)]
mod tests;
