//! What others say, made fit to stand in a log.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Shows something on one line and with an end: what is not printable is escaped, and after
/// [`SHOWN`] characters it is cut. It may quote what a peer sent, which then can neither forge a
/// line nor flood the log. It may be of somebody else's making, and panic: then that is shown, and
/// has no further consequence.
pub(crate) struct Escaped<T>(pub(crate) T);

/// Stands for what cannot be shown.
const PANICKED: &str = "(its Display panicked)";

/// Characters that are shown, escapes included.
pub(crate) const SHOWN: usize = 200;

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { out: f, room: SHOWN, is_over: false };
        let shown = catch_unwind(AssertUnwindSafe(|| write!(cut, "{}", self.0)));
        match shown {
            _ if cut.is_over => f.write_str("…"),
            Ok(outcome) => outcome,
            Err(_) => f.write_str(PANICKED),
        }
    }
}

struct Cut<'a, 'f> {
    out: &'a mut fmt::Formatter<'f>,
    room: usize,
    is_over: bool,
}

impl Write for Cut<'_, '_> {
    /// Fails where there is no more room, so that whoever shows itself can stop.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            let is_plain = matches!(char, '"' | '\'');
            let len = if is_plain { 1 } else { char.escape_debug().len() };
            if len > self.room {
                self.is_over = true;
                return Err(fmt::Error);
            }
            self.room -= len;
            if is_plain {
                self.out.write_char(char)?;
            } else {
                write!(self.out, "{}", char.escape_debug())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_start_a_line_is_escaped() {
        let shown = Escaped("no \"name\"\r\nroot logged in\x1b[2J\u{202e}é\\").to_string();
        assert_eq!(shown, r#"no "name"\r\nroot logged in\u{1b}[2J\u{202e}é\\"#);
    }

    #[test]
    fn what_panics_is_shown_as_far_as_it_came() {
        struct Sore;
        impl fmt::Display for Sore {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("so far, ")?;
                panic!("as it is shown");
            }
        }
        assert_eq!(Escaped(Sore).to_string(), "so far, (its Display panicked)");
    }

    #[test]
    fn what_is_long_is_cut_and_shown_no_further() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("again, ")?;
                }
            }
        }
        assert_eq!(Escaped(Endless).to_string().chars().count(), SHOWN + 1);
        assert_eq!(Escaped("x".repeat(SHOWN)).to_string(), "x".repeat(SHOWN));
        let newlines = Escaped("\n".repeat(1000)).to_string();
        assert_eq!(newlines, format!("{}…", "\\n".repeat(SHOWN / 2)));
    }
}
