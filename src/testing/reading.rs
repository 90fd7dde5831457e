//! A caller of decoders that keeps the bytes as a connection would, and finds out when a decoder
//! answers what [`Decoder`] does not allow.

use std::fmt;
use std::ops::Range;

use crate::base::rng::Rng;
use crate::codec::Decoder;

/// What came of one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading<T, E> {
    /// Each frame, and where in the stream it ended. (Where it started is not certain: what belongs
    /// to no frame may be taken with the next one.)
    pub frames: Vec<(usize, T)>,
    /// The error that ended it, if one did.
    pub end: Result<(), E>,
}

/// Shows a stream to `decoder` piece by piece, then its end, as [`Decoder`] demands; what the
/// decoder promises in turn is asserted. `own` makes a value of a frame that is lent.
///
/// ```
/// use tidemill::codec::{Ending, Lines};
/// use tidemill::testing::read_pieces;
///
/// let pieces = [&b"one\nt"[..], b"wo\nth"];
/// let reading = read_pieces(&mut Lines::new(Ending::Lf), pieces, |line| line.text().to_vec());
/// assert_eq!(reading.frames, [(4, b"one".to_vec()), (8, b"two".to_vec()), (10, b"th".to_vec())]);
/// assert_eq!(reading.end, Ok(()));
/// ```
///
/// # Panics
/// The decoder takes nothing or too much, keeps more than [`Decoder::max_bytes`], or answers
/// before it has what it [needs](Decoder::needs).
pub fn read_pieces<'i, D: Decoder, T>(
    decoder: &mut D,
    pieces: impl IntoIterator<Item = &'i [u8]>,
    own: impl for<'a> Fn(D::Frame<'a>) -> T,
) -> Reading<T, D::Error> {
    let mut stream = Vec::new();
    let mut ends = Vec::new();
    for piece in pieces {
        stream.extend_from_slice(piece);
        ends.push(stream.len());
    }
    let mut reader = Reader::new(decoder, &stream, EAGER);
    let reading = reader.read(&ends, own, Reader::check_kept);
    reading.unwrap_or_else(|broken| panic!("{broken}"))
}

/// `input` cut before each index of `cuts`, which ascend and may repeat.
#[cfg(test)]
pub(crate) fn pieces_at<'i>(input: &'i [u8], cuts: &[usize]) -> Vec<&'i [u8]> {
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([input.len()]);
    starts.zip(ends).map(|(start, end)| &input[start..end]).collect()
}

/// Up to eight places to cut `len` bytes at.
pub(crate) fn random_cuts(rng: &mut Rng, len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> =
        (0..rng.below(9)).map(|_| rng.below(len as u64 + 1) as usize).collect();
    cuts.sort_unstable();
    cuts
}

/// What a caller may do or leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    name: &'static str,
    /// Does not call before as many bytes have come as [`Decoder::needs`] said.
    is_patient: bool,
    /// Takes what [`Decoder::skip`] says; one who doesn't keeps more than he has to.
    skips: bool,
}

pub(super) const EAGER: Caller = Caller { name: "eager", is_patient: false, skips: true };
pub(super) const PATIENT: Caller =
    Caller { name: "obeying needs()", is_patient: true, skips: true };
pub(super) const HOARDER: Caller =
    Caller { name: "not asking skip()", is_patient: false, skips: false };

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What no decoder may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    TakesNothing { of: usize },
    TakesTooMuch { taken: usize, of: usize },
    RefusesNothing,
    AnswersEarly { shown: usize, wanted: usize },
    NeedsNothing,
    SkipsTooMuch { skipped: usize, of: usize },
    KeepsTooMuch { kept: usize, max: usize },
    FrameTooLong { taken: usize, max: usize },
    LimitMoves { before: usize, after: usize },
    NoLimit { max: usize },
    HoldsTooMuch { held: usize, max: usize, allowed: usize },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::TakesNothing { of } => {
                write!(f, "decode() took 0 of {of} bytes, and a frame takes at least one")
            }
            Broken::TakesTooMuch { taken, of } => {
                write!(f, "decode() took {taken} bytes, and was shown {of}")
            }
            Broken::RefusesNothing => {
                f.write_str("decode() answered an error for no bytes, for which the answer is None")
            }
            Broken::AnswersEarly { shown, wanted } => write!(
                f,
                "decode() answered for {shown} bytes, and had said that with fewer than {wanted} \
                 (what it was shown and what needs() said) it would not"
            ),
            Broken::NeedsNothing => {
                f.write_str("needs() is 0 behind a None, and the answer for these bytes is known")
            }
            Broken::SkipsTooMuch { skipped, of } => {
                write!(f, "skip() is {skipped}, and decode() was shown {of} bytes")
            }
            Broken::KeepsTooMuch { kept, max } => write!(
                f,
                "{kept} bytes are kept behind a None, and max_bytes() promises at most {max}"
            ),
            Broken::FrameTooLong { taken, max } => {
                write!(f, "a frame took {taken} bytes, and max_bytes() promises at most {max}")
            }
            Broken::LimitMoves { before, after } => {
                write!(f, "max_bytes() was {before} and became {after} during a stream")
            }
            Broken::NoLimit { max } => {
                write!(f, "max_bytes() is {max}: no input is so long, so this limits nothing")
            }
            Broken::HoldsTooMuch { held, max, allowed } => write!(
                f,
                "the decoder holds {held} bytes of its own, and a limit of {max} allows {allowed}"
            ),
        }
    }
}

/// Why a stream is read no further.
#[derive(Debug)]
pub(super) enum Stop<E> {
    /// The decoder refused it, as it may.
    Refused(E),
    /// The decoder did what none may.
    Broken(Broken),
}

impl<E> From<Broken> for Stop<E> {
    fn from(broken: Broken) -> Stop<E> {
        Stop::Broken(broken)
    }
}

/// A decoder, and the stream of which it has been shown a part.
///
/// A caller who keeps what is left and has more come behind it shows, each time, a slice of the
/// stream; so nothing is copied, and frames are lent by the stream itself.
pub(super) struct Reader<'d, 'i, D> {
    pub(super) decoder: &'d mut D,
    pub(super) stream: &'i [u8],
    caller: Caller,
    /// Taken: `start <= shown <= stream.len()`.
    pub(super) start: usize,
    pub(super) shown: usize,
    /// With fewer bytes behind `start` nothing can be decoded.
    wanted: usize,
}

impl<'d, 'i, D: Decoder> Reader<'d, 'i, D> {
    pub(super) fn new(decoder: &'d mut D, stream: &'i [u8], caller: Caller) -> Self {
        Reader { decoder, stream, caller, start: 0, shown: 0, wanted: 0 }
    }

    /// How many bytes the caller keeps.
    pub(super) fn kept(&self) -> usize {
        self.shown - self.start
    }

    /// How many bytes must come before a call is not in vain.
    pub(super) fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.kept()).max(1)
    }

    /// Shows what came, so that `end` bytes of the stream have come in all. `on_frame` is told
    /// which bytes a frame took.
    pub(super) fn show(
        &mut self,
        end: usize,
        mut on_frame: impl FnMut(Range<usize>, D::Frame<'i>),
    ) -> Result<(), Stop<D::Error>> {
        self.shown = end;
        if self.caller.is_patient && self.kept() < self.wanted {
            return Ok(());
        }
        loop {
            let input = &self.stream[self.start..end];
            let answer = match self.decoder.decode(input) {
                Err(_) if input.is_empty() => return Err(Broken::RefusesNothing.into()),
                answer => answer,
            };
            if input.len() < self.wanted && !matches!(answer, Ok(None)) {
                let (shown, wanted) = (input.len(), self.wanted);
                return Err(Broken::AnswersEarly { shown, wanted }.into());
            }
            let Some((frame, taken)) = answer.map_err(Stop::Refused)? else {
                return Ok(self.wait(input.len())?);
            };
            match taken {
                0 => return Err(Broken::TakesNothing { of: input.len() }.into()),
                _ if taken > input.len() => {
                    return Err(Broken::TakesTooMuch { taken, of: input.len() }.into());
                }
                _ => {}
            }
            on_frame(self.start..self.start + taken, frame);
            self.start += taken;
            self.wanted = 0;
        }
    }

    /// The decoder answered `None` for so many bytes.
    fn wait(&mut self, of: usize) -> Result<(), Broken> {
        let needs = self.decoder.needs();
        if needs == 0 {
            return Err(Broken::NeedsNothing);
        }
        self.wanted = self.wanted.max(of.saturating_add(needs));
        if self.caller.skips {
            let skipped = self.decoder.skip();
            if skipped > of {
                return Err(Broken::SkipsTooMuch { skipped, of });
            }
            self.start += skipped;
            self.wanted -= skipped;
        }
        Ok(())
    }

    /// What is kept is within the limit.
    pub(super) fn check_kept(&self) -> Result<(), Broken> {
        let (kept, max) = (self.kept(), self.decoder.max_bytes());
        if kept > max { Err(Broken::KeepsTooMuch { kept, max }) } else { Ok(()) }
    }

    /// Shows all of the stream in pieces that end so, and its end. `check` is called behind each
    /// piece.
    pub(super) fn read<T>(
        &mut self,
        ends: &[usize],
        own: impl for<'a> Fn(D::Frame<'a>) -> T,
        check: impl Fn(&Self) -> Result<(), Broken>,
    ) -> Result<Reading<T, D::Error>, Broken> {
        let mut frames = Vec::new();
        let whole = [self.stream.len()];
        for &end in ends.iter().chain(&whole[usize::from(ends.last() == whole.last())..]) {
            let shown = self.show(end, |taken, frame| frames.push((taken.end, own(frame))));
            match shown {
                Ok(()) => check(self)?,
                Err(Stop::Refused(error)) => return Ok(Reading { frames, end: Err(error) }),
                Err(Stop::Broken(broken)) => return Err(broken),
            }
        }
        let rest = &self.stream[self.start..];
        let end = self.decoder.decode_eof(rest).map(|last| {
            frames.extend(last.map(|frame| (self.stream.len(), own(frame))));
        });
        Ok(Reading { frames, end })
    }
}
