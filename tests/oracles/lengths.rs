//! A decoder of payloads behind two bytes of length, and of frames between delimiters of two
//! bytes, and the ways to get them wrong.

use std::fmt;

use tidemill::codec::{Decoder, Encoder};
use tidemill::testing::Reading;

/// What is wrong with a decoder of payloads behind their length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Nothing,
    /// Half a length is taken for a length.
    HalfALength,
    /// One byte more than the limit is let through.
    LimitOffByOne,
    /// Any length is let through.
    NoLimit,
    /// The limit that is announced does not count the length.
    LimitWithoutLength,
    /// A length near the end of its range overflows.
    Overflows,
    /// Slices what has not come yet.
    SlicesTooEarly,
    /// The length is read the wrong way round.
    WrongOrder,
    /// At the end of the stream half a payload is as good as one.
    HalfAPayload,
    /// What is needed is counted from the start of the frame.
    NeedsTheWholeFrame,
    /// Looks for a byte that none may have, with each read in all that has come.
    ChecksAgain,
    /// Remembers the length of a frame for the next one.
    LengthOfTheLast,
    /// Reads the length once, and believes that it was taken.
    ForgetsLengthAtCut,
}

/// The most bytes of a payload.
pub(crate) const LIMIT: usize = 300;

pub(crate) struct Lengths {
    fault: Fault,
    offset: u64,
    needed: usize,
    known: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LengthsError {
    TooLong { offset: u64 },
    Forbidden { offset: u64 },
    CutOff { offset: u64 },
}

impl fmt::Display for LengthsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for LengthsError {}

impl Lengths {
    pub(crate) fn new(fault: Fault) -> Lengths {
        Lengths { fault, offset: 0, needed: 1, known: None }
    }
}

impl Decoder for Lengths {
    type Frame<'a> = &'a [u8];
    type Error = LengthsError;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LengthsError> {
        let offset = self.offset;
        let length = match *input {
            [high, low, ..] if self.fault == Fault::WrongOrder => u16::from_le_bytes([high, low]),
            [high, low, ..] => u16::from_be_bytes([high, low]),
            [high] if self.fault == Fault::HalfALength => u16::from(high),
            _ => {
                self.needed = 2 - input.len();
                return Ok(None);
            }
        };
        let mut length = usize::from(length);
        if matches!(self.fault, Fault::LengthOfTheLast) {
            length = *self.known.get_or_insert(length);
        }
        if self.fault == Fault::Overflows {
            assert!(length < 0xfff0, "attempt to add with overflow");
        }
        let limit = LIMIT + usize::from(self.fault == Fault::LimitOffByOne);
        if length > limit && self.fault != Fault::NoLimit {
            return Err(LengthsError::TooLong { offset });
        }
        let come = &input[input.len().min(2)..input.len().min(length + 2)];
        if self.fault == Fault::ChecksAgain && come.contains(&b';') {
            return Err(LengthsError::Forbidden { offset });
        }
        let prefix = match self.fault {
            Fault::ForgetsLengthAtCut if self.known.take().is_some() => 0,
            Fault::HalfALength => input.len().min(2),
            _ => 2,
        };
        if self.fault == Fault::SlicesTooEarly && input.len() > 10 {
            std::hint::black_box(&input[2..length + 2]);
        }
        let Some(payload) = input.get(prefix..prefix + length) else {
            self.needed = match self.fault {
                Fault::NeedsTheWholeFrame => length + 2,
                Fault::ChecksAgain => 1,
                _ => (length + 2 - input.len()).max(1),
            };
            self.known.get_or_insert(length);
            return Ok(None);
        };
        self.offset += (prefix + length) as u64;
        if self.fault != Fault::LengthOfTheLast {
            self.known = None;
        }
        Ok(Some((payload, prefix + length)))
    }

    fn needs(&self) -> usize {
        self.needed
    }

    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, LengthsError> {
        match rest {
            [] => Ok(None),
            [_, _, payload @ ..] if self.fault == Fault::HalfAPayload => Ok(Some(payload)),
            _ => Err(LengthsError::CutOff { offset: self.offset }),
        }
    }

    fn max_bytes(&self) -> usize {
        LIMIT + if self.fault == Fault::LimitWithoutLength { 0 } else { 2 }
    }
}

/// What payloads behind their length are: the simple version.
pub(crate) fn model(input: &[u8]) -> Reading<Vec<u8>, LengthsError> {
    let (mut frames, mut at) = (Vec::new(), 0);
    let end = loop {
        let offset = at as u64;
        match &input[at..] {
            [] => break Ok(()),
            [_] => break Err(LengthsError::CutOff { offset }),
            [high, low, rest @ ..] => {
                let length = usize::from(*high) * 256 + usize::from(*low);
                if length > LIMIT {
                    break Err(LengthsError::TooLong { offset });
                }
                let Some(payload) = rest.get(..length) else {
                    break Err(LengthsError::CutOff { offset });
                };
                at += 2 + length;
                frames.push((at, payload.to_vec()));
            }
        }
    };
    Reading { frames, end }
}

/// What is wrong with an encoder of payloads behind their length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EncoderFault {
    Nothing,
    /// Of a payload that is too long the length is cut.
    CutsTheLength,
    /// What is refused has left its length behind.
    LeavesHalf,
    /// Starts the buffer anew.
    Clears,
    /// An empty payload is not written.
    DropsEmpty,
    /// A payload that the decoder refuses is written.
    WritesTooLong,
}

pub(crate) struct LengthsEncoder(pub(crate) EncoderFault);

impl Encoder for LengthsEncoder {
    type Item<'a> = &'a [u8];
    type Error = LengthsError;

    fn encode(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), LengthsError> {
        let length = match self.0 {
            EncoderFault::CutsTheLength => item.len() % 256,
            _ => item.len(),
        };
        match self.0 {
            EncoderFault::Clears => out.clear(),
            EncoderFault::DropsEmpty if item.is_empty() => return Ok(()),
            EncoderFault::LeavesHalf if length > LIMIT => out.push(1),
            _ => {}
        }
        if length > LIMIT && self.0 != EncoderFault::WritesTooLong {
            return Err(LengthsError::TooLong { offset: 0 });
        }
        out.extend((length as u16).to_be_bytes());
        out.extend(item);
        Ok(())
    }
}

/// Frames that end with `||`. It forgets, if told to, that half a delimiter may have come.
pub(crate) struct Bars {
    pub(crate) misses_cut_delimiters: bool,
    pub(crate) scanned: usize,
}

impl Decoder for Bars {
    type Frame<'a> = &'a [u8];
    type Error = LengthsError;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LengthsError> {
        let news = &input[self.scanned..];
        let Some(index) = news.windows(2).position(|pair| pair == b"||") else {
            let overlap = usize::from(!self.misses_cut_delimiters);
            self.scanned = input.len().saturating_sub(overlap);
            let is_long = input.len() > LIMIT + 1;
            return if is_long { Err(LengthsError::TooLong { offset: 0 }) } else { Ok(None) };
        };
        let end = self.scanned + index;
        self.scanned = 0;
        let frame = &input[..end];
        let is_long = end > LIMIT;
        if is_long { Err(LengthsError::TooLong { offset: 0 }) } else { Ok(Some((frame, end + 2))) }
    }

    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, LengthsError> {
        Ok((!rest.is_empty()).then_some(rest))
    }

    fn max_bytes(&self) -> usize {
        LIMIT + 2
    }
}
