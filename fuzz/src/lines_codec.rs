//! [`Utf8Lines`] with [`Ending::Any`] against tokio-util's `LinesCodec`.
//!
//! They agree on lines, on what is UTF-8 and on LF and CR LF. They differ in this:
//!
//! - A limit of tokio-util's counts the CR of CR LF: of a text as long as the limit with CR LF
//!   behind it `LinesCodec` says that it is too long, and we show it. Nothing is compared behind.
//! - Of a last line without an LF `LinesCodec` takes a CR away, and where nothing else is left
//!   there is no line; to us it is text. (We say so in the table of [`Ending`].)
//! - After an error `LinesCodec` goes on; ours are final.

use tidemill::codec::{Ending, LineError, Lines, Utf8LineError, Utf8Lines};
use tidemill::testing::Choices;
use tokio_util::codec::{LinesCodec, LinesCodecError};

use crate::stream::{Stream, frames};
use crate::tokio;

/// The first byte is the limit; then come cuts and the stream.
pub fn versus_lines_codec(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = choices.below(256);
    let stream = Stream::new(choices);
    let mut theirs = LinesCodec::new_with_max_length(limit_bytes);
    let (their_lines, their_end) = tokio::read_pieces(&mut theirs, stream.pieces());
    let ours = Utf8Lines::new(Lines::new(Ending::Any).with_limit(limit_bytes));
    let (mut lines, end) = frames(stream.read(ours, str::to_owned));

    // The last line, if no LF ended it, as they would show it.
    if end.is_ok() && !stream.bytes.ends_with(b"\n") && !stream.bytes.is_empty() {
        let last = lines.pop().expect("what follows the last LF is a line");
        let shown = last.strip_suffix('\r').unwrap_or(&last);
        if last != "\r" {
            lines.push(shown.to_owned());
        }
    }
    match (their_end, end) {
        (Ok(()), Ok(())) => assert_eq!(lines, their_lines),
        (Err(LinesCodecError::MaxLineLengthExceeded), end) => {
            assert_eq!(lines[..their_lines.len()], their_lines);
            let is_cr_counted =
                lines.get(their_lines.len()).is_some_and(|line| line.len() == limit_bytes);
            let is_too_long = lines.len() == their_lines.len()
                && matches!(end, Err(Utf8LineError::Line(LineError::TooLong { .. })));
            // Which we would not show either if it is no string.
            let is_no_string = lines.len() == their_lines.len()
                && matches!(&end, Err(Utf8LineError::NotUtf8 { line, .. })
                    if line.as_bytes().len() == limit_bytes.min(80));
            assert!(is_cr_counted || is_too_long || is_no_string, "{lines:?}, {end:?}");
        }
        (Err(LinesCodecError::Io(_)), Err(Utf8LineError::NotUtf8 { .. })) => {
            assert_eq!(lines, their_lines);
        }
        ends => panic!("{ends:?} after {lines:?} and {their_lines:?}"),
    }
}
