//! Frames in which some bytes are written as others, undone while they are read.

use std::borrow::Cow;
use std::fmt;

use super::Excerpt;
use super::find::find;

/// A frame of [`Cobs`](super::Cobs) or [`Slip`](super::Slip) as it stands in the input.
///
/// Both keep their delimiter out of a frame by writing something else where it occurs. To undo
/// that for a whole frame is to copy it; so the frame is lent as it came, and is seen as *pieces*,
/// slices that one behind the other are the payload. That the frame is well formed, and how long
/// its payload is, was found out when it was decoded; nothing here can fail.
///
/// | to | take | copies |
/// |---|---|---|
/// | look at the bytes one by one, or hand them on | [`pieces`](Stuffed::pieces) | nothing |
/// | parse it | [`to_bytes`](Stuffed::to_bytes) | nothing where there is one piece |
/// | parse it without an allocation a frame | [`append_to`](Stuffed::append_to) a buffer of yours | once |
///
/// ```
/// use tidemill::codec::{Cobs, CobsError, Decoder};
///
/// let (frame, taken) = Cobs::new().decode(b"\x03ab\x02c\0")?.unwrap();
/// assert_eq!(taken, 6);
/// assert_eq!(frame.len(), 4);
/// assert!(frame.pieces().eq([&b"ab"[..], b"\0", b"c"]));
/// assert_eq!(*frame.to_bytes(), *b"ab\0c");
/// # Ok::<(), CobsError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Stuffed<'a> {
    /// Well formed, without delimiters.
    encoded: &'a [u8],
    payload_bytes: usize,
    stuffing: Stuffing,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stuffing {
    Cobs,
    Slip,
}

impl<'a> Stuffed<'a> {
    #[inline]
    pub(super) fn new(stuffing: Stuffing, encoded: &'a [u8], payload_bytes: usize) -> Stuffed<'a> {
        let frame = Stuffed { encoded, payload_bytes, stuffing };
        debug_assert_eq!(frame.pieces().map(<[u8]>::len).sum::<usize>(), payload_bytes);
        frame
    }

    /// How long the payload is.
    #[inline]
    pub fn len(&self) -> usize {
        self.payload_bytes
    }

    /// Whether there is no payload.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.payload_bytes == 0
    }

    /// The frame as it came, without its delimiter.
    #[inline]
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// What the payload consists of; none of it is empty.
    #[inline]
    pub fn pieces(&self) -> Pieces<'a> {
        let (rest, left_bytes) = (self.encoded, self.payload_bytes);
        Pieces { rest, left_bytes, owes_zero: false, stuffing: self.stuffing }
    }

    /// The payload where it stands in the input in one piece, as most short ones do.
    pub fn as_slice(&self) -> Option<&'a [u8]> {
        let first = self.pieces().next().unwrap_or_default();
        (first.len() == self.payload_bytes).then_some(first)
    }

    /// The payload: borrowed where it is one piece, else copied.
    pub fn to_bytes(&self) -> Cow<'a, [u8]> {
        self.as_slice().map_or_else(
            || {
                let mut payload = Vec::new();
                self.append_to(&mut payload);
                Cow::Owned(payload)
            },
            Cow::Borrowed,
        )
    }

    /// Appends the payload to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.payload_bytes);
        self.pieces().for_each(|piece| out.extend_from_slice(piece));
    }
}

/// Escaped, and cut as an [`Excerpt`] is.
impl fmt::Debug for Stuffed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stuffed").field(&Excerpt::of(self.encoded)).finish()
    }
}

/// The slices that one behind the other are the payload of a [`Stuffed`] frame.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    /// Starts with a block (COBS), or not within an escape (SLIP).
    rest: &'a [u8],
    /// SLIP: how much of the payload is in `rest`. If that is all of it, there is no escape.
    left_bytes: usize,
    /// COBS: the block before `rest` ends with a zero if another follows.
    owes_zero: bool,
    stuffing: Stuffing,
}

impl<'a> Pieces<'a> {
    /// Cheshire and Baker, section 2.2: a code of n stands for n - 1 bytes and a zero, or for 254
    /// bytes and no zero if n is 255; the zero behind the last block is not part of the payload.
    fn next_of_cobs(&mut self) -> Option<&'a [u8]> {
        loop {
            let &code = self.rest.first()?;
            if std::mem::take(&mut self.owes_zero) {
                return Some(b"\0");
            }
            let (block, rest) = self.rest.split_at(usize::from(code));
            self.rest = rest;
            self.owes_zero = code < u8::MAX;
            if block.len() > 1 {
                return Some(&block[1..]);
            }
        }
    }

    /// RFC 1055: "ESC" and "ESC_END" stand for "END", "ESC" and "ESC_ESC" for "ESC".
    #[inline(always)]
    fn next_of_slip(&mut self) -> Option<&'a [u8]> {
        let (piece, rest): (&[u8], _) = match self.rest {
            [] => return None,
            [ESC, ESC_END, rest @ ..] => (&[END], rest),
            [ESC, _esc, rest @ ..] => (&[ESC], rest),
            last if last.len() == self.left_bytes => (last, &[]),
            plain => plain.split_at(find(ESC, plain)),
        };
        self.rest = rest;
        self.left_bytes -= piece.len();
        Some(piece)
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self.stuffing {
            Stuffing::Cobs => self.next_of_cobs(),
            Stuffing::Slip => self.next_of_slip(),
        }
    }
}

/// RFC 1055, "PROTOCOL": the special characters.
pub(super) const END: u8 = 0o300;
pub(super) const ESC: u8 = 0o333;
pub(super) const ESC_END: u8 = 0o334;
pub(super) const ESC_ESC: u8 = 0o335;
