//! A decoder of lines, and the ways to get it wrong.

use std::fmt;

use tidemill::codec::Decoder;
use tidemill::testing::Reading;

/// What is wrong with a decoder of lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Nothing,
    /// What was searched in vain is left out of the frame.
    StartLostAtCut,
    /// Every search starts at the start of the line.
    SearchesAgain,
    /// As before, from the end.
    SearchesAgainBackwards,
    /// The byte behind the line is taken with it.
    TakesTooMuch,
    /// An empty line takes nothing.
    TakesNothing,
    /// Lines may be as long as they like.
    NoLimit,
    /// As before, and it says so.
    NoLimitAtAll,
    /// One byte more than the limit is let through.
    LimitOffByOne,
    /// Only lines without an ending are held to the limit.
    LimitWhileWaiting,
    /// Only lines with an ending are held to the limit.
    LimitWhenWhole,
    /// The limit is what is left of it.
    LimitMoves,
    /// The limit that is announced does not count the ending.
    LimitWithoutEnding,
    PanicsOnNul,
    PanicsOnBadUtf8,
    /// A CR is part of the ending only if it came in the same read.
    CrLostAtCut,
    /// Of a last line only what came last is shown.
    RestLostAtEof,
    /// Of a last line the first byte is missing, however it was cut.
    RestCutAtEof,
    /// A last line is dropped.
    RestDroppedAtEof,
    /// A line that was waited for is shown twice.
    ShownTwiceAfterCut,
    /// Every line is shown twice.
    ShownTwice,
    /// Two more bytes are said to be needed where one may do.
    NeedsTooMuch,
    NeedsNothing,
    /// The start of a line that waits is said to be of no use.
    SkipsTheLine,
    /// More is skipped than was there.
    SkipsTooMuch,
    /// Errors count from the read in which they come.
    OffsetOfTheRead,
    /// Errors tell how many bytes had come.
    ErrorTellsTheRead,
    /// The end of the input is an error.
    RefusesNothing,
    /// Gives up when it was called in vain too often.
    LosesPatience,
    /// Empty lines are only dropped where another line follows in the same read.
    DropsWithTheNext,
    /// A copy of everything is kept, for debugging.
    KeepsCopies,
    /// Ends the line at a NUL, too, as C would.
    EndsAtNul,
}

/// The most bytes of text in a line.
pub(crate) const LIMIT: usize = 100;

pub(crate) struct Lines {
    fault: Fault,
    scanned: usize,
    offset: u64,
    calls_in_vain: usize,
    is_second: bool,
    shown_bytes: usize,
    pub(crate) copies: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LinesError {
    TooLong { offset: u64, seen: usize },
    NoInput,
    Impatient,
}

impl fmt::Display for LinesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for LinesError {}

impl Lines {
    pub(crate) fn new(fault: Fault) -> Lines {
        Lines {
            fault,
            scanned: 0,
            offset: 0,
            calls_in_vain: 0,
            is_second: false,
            shown_bytes: 0,
            copies: Vec::new(),
        }
    }

    fn too_long(&self, seen: usize) -> LinesError {
        let seen = if self.fault == Fault::ErrorTellsTheRead { seen } else { LIMIT + 1 };
        LinesError::TooLong { offset: self.offset, seen }
    }

    fn find(&self, input: &[u8]) -> Option<usize> {
        let is_end = |&byte: &u8| byte == b'\n' || self.fault == Fault::EndsAtNul && byte == 0;
        match self.fault {
            Fault::SearchesAgain => input.iter().position(is_end),
            Fault::SearchesAgainBackwards => (0..input.len())
                .rev()
                .fold(None, |found, index| if is_end(&input[index]) { Some(index) } else { found }),
            _ => input[self.scanned..].iter().position(is_end).map(|index| self.scanned + index),
        }
    }

    /// No line has ended.
    fn wait(&mut self, input: &[u8]) -> Result<(), LinesError> {
        let limit = LIMIT + usize::from(self.fault == Fault::LimitOffByOne);
        let may_end = input.len() == limit + 1 && input.ends_with(b"\r");
        let is_unlimited =
            matches!(self.fault, Fault::NoLimit | Fault::NoLimitAtAll | Fault::LimitWhenWhole);
        if input.len() > limit && !may_end && !is_unlimited {
            return Err(self.too_long(input.len()));
        }
        self.calls_in_vain += 1;
        if self.fault == Fault::LosesPatience && self.calls_in_vain > 20 {
            return Err(LinesError::Impatient);
        }
        self.scanned = input.len();
        if self.fault == Fault::OffsetOfTheRead {
            self.offset = 0;
        }
        Ok(())
    }
}

impl Decoder for Lines {
    type Frame<'a> = &'a [u8];
    type Error = LinesError;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LinesError> {
        if self.fault == Fault::RefusesNothing && input.is_empty() {
            return Err(LinesError::NoInput);
        }
        if self.fault == Fault::KeepsCopies {
            self.copies.extend_from_slice(input);
        }
        self.shown_bytes = input.len();
        let Some(index) = self.find(input) else {
            return self.wait(input).map(|()| None);
        };
        let start = if self.fault == Fault::StartLostAtCut { self.scanned } else { 0 };
        let has_cr = index > 0 && input[index - 1] == b'\r';
        let is_cr_old = has_cr && index == self.scanned;
        let is_lost = self.fault == Fault::CrLostAtCut && is_cr_old;
        let text_bytes = index - usize::from(has_cr && !is_lost);
        let limit = LIMIT + usize::from(self.fault == Fault::LimitOffByOne);
        let is_unlimited =
            matches!(self.fault, Fault::NoLimit | Fault::NoLimitAtAll | Fault::LimitWhileWaiting);
        if text_bytes > limit && !is_unlimited {
            return Err(self.too_long(index));
        }
        let text = &input[start.min(text_bytes)..text_bytes];
        let was_waited_for = self.scanned > 0;
        (self.scanned, self.calls_in_vain) = (0, 0);
        let again = match self.fault {
            Fault::ShownTwice => true,
            Fault::ShownTwiceAfterCut => was_waited_for,
            _ => false,
        };
        // Shown first without its ending; the second time it is an empty line.
        if again && !self.is_second && text_bytes > 0 {
            self.is_second = true;
            self.offset += text_bytes as u64;
            return Ok(Some((text, text_bytes)));
        }
        self.is_second = false;
        match self.fault {
            Fault::PanicsOnNul if text.contains(&0) => panic!("no NUL was expected"),
            Fault::PanicsOnBadUtf8 => assert!(std::str::from_utf8(text).is_ok(), "only UTF-8"),
            _ => {}
        }
        let taken = match self.fault {
            Fault::TakesTooMuch => index + 2,
            Fault::TakesNothing if index == 0 => 0,
            Fault::DropsWithTheNext if index == 0 && input.len() > 1 => {
                // Without the line that it stands in front of, but only if that has begun.
                let Some(next) = input[1..].iter().position(|&byte| byte == b'\n') else {
                    self.offset += 1;
                    return Ok(Some((b"", 1)));
                };
                self.offset += next as u64 + 2;
                return Ok(Some((&input[1..=next], next + 2)));
            }
            _ => index + 1,
        };
        self.offset += taken as u64;
        Ok(Some((text, taken)))
    }

    fn needs(&self) -> usize {
        match self.fault {
            Fault::NeedsTooMuch => 2,
            Fault::NeedsNothing => 0,
            _ => 1,
        }
    }

    fn skip(&mut self) -> usize {
        match self.fault {
            Fault::SkipsTheLine if self.shown_bytes > 1 => {
                let skipped = self.scanned;
                self.scanned = 0;
                self.offset += skipped as u64;
                skipped
            }
            Fault::SkipsTooMuch => self.shown_bytes + 1,
            _ => 0,
        }
    }

    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, LinesError> {
        let rest = match self.fault {
            Fault::RestLostAtEof => &rest[rest.len().saturating_sub(4)..],
            Fault::RestCutAtEof => rest.get(1..).unwrap_or_default(),
            Fault::RestDroppedAtEof => b"",
            _ => rest,
        };
        Ok((!rest.is_empty()).then_some(rest))
    }

    fn max_bytes(&self) -> usize {
        match self.fault {
            Fault::NoLimitAtAll => usize::MAX,
            Fault::LimitMoves => LIMIT + 2 - self.scanned.min(LIMIT),
            Fault::LimitWithoutEnding => LIMIT,
            _ => LIMIT + 2,
        }
    }
}

/// What lines are: the simple version.
pub(crate) fn model(input: &[u8]) -> Reading<Vec<u8>, LinesError> {
    let (mut frames, mut start) = (Vec::new(), 0);
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let text =
            line.strip_suffix(b"\n").map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        // A CR at the very end may be the first half of an ending.
        let is_waiting = !line.ends_with(b"\n") && text.len() == LIMIT + 1 && text.ends_with(b"\r");
        if text.len() > LIMIT && !is_waiting {
            let error = LinesError::TooLong { offset: start as u64, seen: LIMIT + 1 };
            return Reading { frames, end: Err(error) };
        }
        start += line.len();
        frames.push((start, text.to_vec()));
    }
    Reading { frames, end: Ok(()) }
}
