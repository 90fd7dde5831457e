//! Frames of serial lines: END ends a frame, and is escaped within.

use std::{error, fmt};

use super::find::find_either;
use super::stuffed::{END, ESC, ESC_END, ESC_ESC, Stuffed, Stuffing};
use super::{Decoder, Encoder, Excerpt};

/// The codec of SLIP, RFC 1055: packets between bytes 192.
///
/// A frame is a [`Stuffed`] view of a packet. An empty packet is none: RFC 1055 has the sender
/// "begin and end its packets with an END character" so that "extra" ENDs flush line noise, and the
/// receiver drop packets of "zero length". They are skipped here and written by the encoder.
///
/// Of an escape that means nothing, RFC 1055 says that "the best bet seems to be to leave the byte
/// alone". Here it is refused: two spellings of one packet are one too many, and on a stream that
/// loses nothing there is no noise to put up with.
///
/// ```
/// use tidemill::codec::{Decoder, Encoder, Slip, SlipError};
///
/// let mut out = Vec::new();
/// Slip::new().encode(b"a\xc0b", &mut out)?;
/// assert_eq!(out, b"\xc0a\xdb\xdcb\xc0");
/// let (frame, taken) = Slip::new().decode(&out)?.unwrap();
/// assert_eq!((&*frame.to_bytes(), taken), (&b"a\xc0b"[..], 6));
///
/// let error = Slip::new().decode(b"a\xdbb\xc0").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"escape at byte 1 of the stream means nothing, in the frame "a\xdbb""#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Slip {
    /// The most bytes of one packet.
    limit_bytes: usize,
    /// Where in the input the frame starts, behind ENDs that were not yet taken.
    start: usize,
    /// Nothing more is to be learned from what precedes this: no END, no half of an escape.
    scanned: usize,
    /// What the frame stands for up to `scanned`, at most `limit_bytes`.
    payload_bytes: usize,
    /// Where in the stream the input starts.
    offset: u64,
}

impl Slip {
    /// The most bytes of a packet if nothing else is said: what IP has. (RFC 1055 names 1006 as
    /// what everybody should accept.)
    pub const DEFAULT_LIMIT_BYTES: usize = 64 * 1024;

    /// A codec at the start of a stream.
    pub fn new() -> Slip {
        let limit_bytes = Slip::DEFAULT_LIMIT_BYTES;
        Slip { limit_bytes, start: 0, scanned: 0, payload_bytes: 0, offset: 0 }
    }

    /// Allows packets of up to `limit_bytes`, as they are before they are escaped.
    pub fn with_limit(self, limit_bytes: usize) -> Slip {
        Slip { limit_bytes, ..self }
    }

    /// Counts `count` bytes of payload, the first of which is at `scanned`.
    #[inline(always)]
    fn count(&mut self, count: usize, input: &[u8]) -> Result<(), SlipError> {
        if count > self.limit_bytes - self.payload_bytes {
            return Err(self.too_long(input));
        }
        self.payload_bytes += count;
        Ok(())
    }

    /// No more is shown than is there at the earliest moment at which this is known.
    #[cold]
    fn too_long(&self, input: &[u8]) -> SlipError {
        let room_bytes = self.limit_bytes - self.payload_bytes;
        let is_escape = input[self.scanned] == ESC;
        let exceeding = self.scanned + room_bytes + usize::from(is_escape);
        SlipError::TooLong {
            offset: self.offset + self.start as u64,
            limit_bytes: self.limit_bytes,
            frame_start: Excerpt::of(&input[self.start..=exceeding]),
        }
    }

    #[cold]
    fn bad_escape(&self, input: &[u8]) -> SlipError {
        SlipError::BadEscape {
            offset: self.offset + self.scanned as u64,
            frame_start: Excerpt::of(&input[self.start..self.scanned + 2]),
        }
    }
}

impl Default for Slip {
    fn default() -> Slip {
        Slip::new()
    }
}

impl Decoder for Slip {
    type Frame<'a> = Stuffed<'a>;
    type Error = SlipError;

    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(Stuffed<'a>, usize)>, SlipError> {
        while self.scanned == self.start && input.get(self.start) == Some(&END) {
            self.start += 1;
            self.scanned = self.start;
        }
        let end = loop {
            let news = &input[self.scanned..];
            let plain_bytes = find_either(END, ESC, news);
            self.count(plain_bytes, input)?;
            self.scanned += plain_bytes;
            match &news[plain_bytes..] {
                [] | [ESC] => return Ok(None),
                [ESC, ESC_END | ESC_ESC, ..] => {
                    self.count(1, input)?;
                    self.scanned += 2;
                }
                [ESC, ..] => return Err(self.bad_escape(input)),
                [_end, ..] => break self.scanned,
            }
        };
        let frame = Stuffed::new(Stuffing::Slip, &input[self.start..end], self.payload_bytes);
        self.offset += end as u64 + 1;
        (self.start, self.scanned, self.payload_bytes) = (0, 0, 0);
        Ok(Some((frame, end + 1)))
    }

    fn skip(&mut self) -> usize {
        let skipped = self.start;
        self.start = 0;
        self.scanned -= skipped;
        self.offset += skipped as u64;
        skipped
    }

    /// `None` where nothing but ENDs is left.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Stuffed<'a>>, SlipError> {
        match rest.iter().position(|&byte| byte != END) {
            None => Ok(None),
            Some(start) => Err(SlipError::UnexpectedEnd {
                offset: self.offset + start as u64,
                frame_start: Excerpt::of(&rest[start..]),
            }),
        }
    }

    /// Each byte may be escaped.
    fn max_bytes(&self) -> usize {
        self.limit_bytes.saturating_mul(2).saturating_add(1)
    }
}

/// Writes END, a packet with its ENDs and ESCs escaped, and END.
impl Encoder for Slip {
    type Item<'a> = &'a [u8];
    type Error = SlipEncodeError;

    fn encode(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SlipEncodeError> {
        if packet.is_empty() {
            return Err(SlipEncodeError::Empty);
        }
        if packet.len() > self.limit_bytes {
            let (packet_bytes, limit_bytes) = (packet.len(), self.limit_bytes);
            return Err(SlipEncodeError::TooLong { packet_bytes, limit_bytes });
        }
        out.reserve(packet.len() + 2);
        out.push(END);
        let mut rest = packet;
        loop {
            let (plain, special) = rest.split_at(find_either(END, ESC, rest));
            out.extend_from_slice(plain);
            let Some((byte, behind)) = special.split_first() else { break };
            out.extend([ESC, if *byte == END { ESC_END } else { ESC_ESC }]);
            rest = behind;
        }
        out.push(END);
        Ok(())
    }
}

/// Why a stream of packets cannot be read on. Offsets count bytes from the start of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlipError {
    /// The packet in the frame that starts at `offset` is longer than the limit.
    TooLong {
        /// Where the frame starts.
        offset: u64,
        /// The most bytes of a packet allowed.
        limit_bytes: usize,
        /// How the frame starts.
        frame_start: Excerpt,
    },
    /// The ESC at `offset` is followed by neither ESC_END nor ESC_ESC.
    BadEscape {
        /// Where the ESC stands.
        offset: u64,
        /// How the frame starts, up to the byte behind the ESC.
        frame_start: Excerpt,
    },
    /// The stream ended within the frame that starts at `offset`.
    UnexpectedEnd {
        /// Where the frame starts.
        offset: u64,
        /// How the frame starts.
        frame_start: Excerpt,
    },
}

impl fmt::Display for SlipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlipError::TooLong { offset, limit_bytes, frame_start } => write!(
                f,
                "frame at byte {offset} of the stream is longer than {limit_bytes} bytes, \
                 it starts \"{frame_start}\""
            ),
            SlipError::BadEscape { offset, frame_start } => write!(
                f,
                "escape at byte {offset} of the stream means nothing, in the frame \
                 \"{frame_start}\""
            ),
            SlipError::UnexpectedEnd { offset, frame_start } => write!(
                f,
                "stream ended within the frame at its byte {offset}, it starts \"{frame_start}\""
            ),
        }
    }
}

impl error::Error for SlipError {}

/// Why bytes were not written as a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlipEncodeError {
    /// There are none: what receivers drop cannot be sent.
    Empty,
    /// They are longer than the limit.
    TooLong {
        /// The length of the packet.
        packet_bytes: usize,
        /// The most bytes allowed.
        limit_bytes: usize,
    },
}

impl fmt::Display for SlipEncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlipEncodeError::Empty => f.write_str("an empty packet cannot be sent"),
            SlipEncodeError::TooLong { packet_bytes, limit_bytes } => {
                write!(f, "{packet_bytes} bytes are longer than a packet of {limit_bytes} bytes")
            }
        }
    }
}

impl error::Error for SlipEncodeError {}

#[cfg(test)]
mod tests;
