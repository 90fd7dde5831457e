//! Lines that are known to be UTF-8.

use std::{error, fmt};

use super::{Decoder, Encoder, Excerpt, LineEncodeError, LineError, Lines};

/// The codec of lines that are strings: [`Lines`], in which what is not UTF-8 (RFC 3629) is an
/// error.
///
/// Endings, limits and the last line are as in the [`Lines`] it is made of; limits count bytes.
///
/// ```
/// use tidemill::codec::{Decoder, Lines, Utf8LineError, Utf8Lines};
///
/// let mut lines = Utf8Lines::new(Lines::default());
/// assert_eq!(lines.decode("Käse\r\n".as_bytes())?, Some(("Käse", 7)));
/// let error = lines.decode(b"caf\xe9\n").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"byte 10 of the stream is not UTF-8, in the line "caf\xe9""#
/// );
/// # Ok::<(), Utf8LineError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Utf8Lines {
    lines: Lines,
}

impl Utf8Lines {
    /// Lines as `lines` finds them.
    pub fn new(lines: Lines) -> Utf8Lines {
        Utf8Lines { lines }
    }
}

/// The text of the line that starts at `offset`.
#[inline]
fn text_at(offset: u64, text: &[u8]) -> Result<&str, Utf8LineError> {
    std::str::from_utf8(text).map_err(|error| Utf8LineError::NotUtf8 {
        offset: offset + error.valid_up_to() as u64,
        line: Excerpt::of(text),
    })
}

impl Decoder for Utf8Lines {
    type Frame<'a> = &'a str;
    type Error = Utf8LineError;

    #[inline]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a str, usize)>, Utf8LineError> {
        let offset = self.lines.offset();
        let Some((line, taken)) = self.lines.decode(input)? else { return Ok(None) };
        Ok(Some((text_at(offset, line.text())?, taken)))
    }

    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a str>, Utf8LineError> {
        let offset = self.lines.offset();
        let last = self.lines.decode_eof(rest)?;
        last.map(|line| text_at(offset, line.text())).transpose()
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.lines.max_bytes()
    }
}

/// As [`Lines`] does.
impl Encoder for Utf8Lines {
    type Item<'a> = &'a str;
    type Error = LineEncodeError;

    #[inline]
    fn encode(&mut self, text: &str, out: &mut Vec<u8>) -> Result<(), LineEncodeError> {
        self.lines.encode(text.as_bytes(), out)
    }
}

/// Why a stream of lines cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Utf8LineError {
    /// A line is too long or ends as none may.
    Line(LineError),
    /// A line is not UTF-8 from `offset` on.
    NotUtf8 {
        /// Where the first byte stands that is not part of a character.
        offset: u64,
        /// The line.
        line: Excerpt,
    },
}

impl fmt::Display for Utf8LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Utf8LineError::Line(error) => error.fmt(f),
            Utf8LineError::NotUtf8 { offset, line } => {
                write!(f, "byte {offset} of the stream is not UTF-8, in the line \"{line}\"")
            }
        }
    }
}

impl error::Error for Utf8LineError {}

impl From<LineError> for Utf8LineError {
    fn from(error: LineError) -> Utf8LineError {
        Utf8LineError::Line(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::codec::tests::assert_reads;
    use crate::codec::{Ending, Line};
    use crate::testing::{Reading, read_pieces};

    /// What `Lines` finds, up to the first line that is no `String`.
    fn model(lines: &Lines, input: &[u8]) -> Reading<String, Utf8LineError> {
        let own = |line: Line<'_>| (line.whole().len(), line.text().to_vec());
        let reading = read_pieces(&mut lines.clone(), [input], own);
        let mut frames = Vec::new();
        for (end, (whole_bytes, text)) in reading.frames {
            match String::from_utf8(text) {
                Ok(text) => frames.push((end, text)),
                Err(error) => {
                    let index = end - whole_bytes + error.utf8_error().valid_up_to();
                    let (offset, line) = (index as u64, Excerpt::of(error.as_bytes()));
                    let end = Err(Utf8LineError::NotUtf8 { offset, line });
                    return Reading { frames, end };
                }
            }
        }
        Reading { frames, end: reading.end.map_err(Utf8LineError::Line) }
    }

    #[test]
    fn random_inputs_read_as_the_model_says_however_cut() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut input = Vec::new();
            for _ in 0..rng.below(24) {
                match rng.below(9) {
                    0 => input.extend(rng.bytes(1)),
                    1 | 2 => input.extend(b"\r\n"),
                    3 => input.extend("€".as_bytes()),
                    4 => input.extend(b"\0"),
                    _ => input.extend("aé".as_bytes()),
                }
            }
            let ending = [Ending::Any, Ending::Lf, Ending::CrLf][rng.below(3) as usize];
            let lines = Lines::new(ending).with_limit(rng.below(20) as usize);
            let expected = model(&lines, &input);
            let decoder = || Utf8Lines::new(lines.clone());
            assert_reads(decoder, &input, &expected, str::to_owned, &format!("seed {seed}"));
            assert_eq!(decoder().max_bytes(), lines.max_bytes());
        }
    }

    #[test]
    fn a_character_may_be_cut_and_the_last_line_is_checked() {
        let mut lines = Utf8Lines::default();
        assert_eq!(lines.decode(b"\xe2\x82"), Ok(None));
        assert_eq!(lines.decode_eof("€".as_bytes()), Ok(Some("€")));
        let mut lines = Utf8Lines::default();
        let error = lines.decode_eof(b"ok \xe2\x82").unwrap_err();
        assert!(matches!(error, Utf8LineError::NotUtf8 { offset: 3, .. }), "{error}");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let (mut lines, mut out) = (Utf8Lines::default(), Vec::new());
        lines.encode("Grüße", &mut out).unwrap();
        lines.encode("a\nb", &mut out).unwrap_err();
        assert_eq!(lines.decode(&out), Ok(Some(("Grüße", out.len()))));
        let error = lines.decode(&[b'x'; 9000]).unwrap_err().to_string();
        assert!(error.starts_with("line at byte 8 of the stream is longer"), "{error}");
    }
}
