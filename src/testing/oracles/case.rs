//! What an oracle is doing, told when it fails.

use std::cell::Cell;
use std::fmt;

use crate::testing::reading::{Caller, EAGER};

/// One stream, shown in one way. Whoever holds it and panics has told where.
pub(super) struct Case<'a> {
    pub(super) oracle: &'static str,
    pub(super) input: &'a [u8],
    /// How the stream was made of the input, and how long it is; none if it is the input.
    pub(super) stream: Option<(&'a str, usize)>,
    /// Where the pieces end; none if the oracle goes by what the decoder answers.
    pub(super) ends: Option<&'a [usize]>,
    pub(super) caller: Caller,
    is_told: Cell<bool>,
}

impl<'a> Case<'a> {
    pub(super) fn new(oracle: &'static str, input: &'a [u8]) -> Case<'a> {
        let is_told = Cell::new(false);
        Case { oracle, input, stream: None, ends: None, caller: EAGER, is_told }
    }

    /// Ends the test: the decoder does what is said.
    pub(super) fn fail(&self, what: impl fmt::Display) -> ! {
        self.is_told.set(true);
        panic!("testing::{}: {what}\n{self}", self.oracle)
    }
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.input[..self.input.len().min(SHOWN_MAX)];
        write!(f, "  input: {} bytes, b\"{}\"", self.input.len(), start.escape_ascii())?;
        f.write_str(if start.len() < self.input.len() { "...\n" } else { "\n" })?;
        if let Some((recipe, len)) = self.stream {
            writeln!(f, "  stream: {len} bytes: {recipe}")?;
        }
        write!(f, "  caller: {}, ", self.caller)?;
        match self.ends {
            None => f.write_str("in pieces that grow as the decoder lets them\n")?,
            Some([]) => f.write_str("in one piece\n")?,
            Some(ends) if ends.len() > 1 && ends.iter().copied().eq(1..=ends.len()) => {
                f.write_str("byte by byte\n")?;
            }
            Some(ends) => {
                let some = &ends[..ends.len().min(CUTS_SHOWN_MAX)];
                write!(f, "cut at {some:?}")?;
                f.write_str(if some.len() < ends.len() { "...\n" } else { "\n" })?;
            }
        }
        f.write_str("  again: the same call with this input; nothing else was chosen by chance")
    }
}

/// The decoder itself panicked. Its message does not say what it was shown.
impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.is_told.get() {
            eprintln!("testing::{}: the decoder panicked\n{self}", self.oracle);
        }
    }
}

const SHOWN_MAX: usize = 256;
const CUTS_SHOWN_MAX: usize = 32;
