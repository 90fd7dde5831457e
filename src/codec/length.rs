//! Frames behind their length: an unsigned integer of fixed width, then so many bytes.

mod error;
mod field;

pub use error::{LengthEncodeError, LengthError};
pub use field::{ByteOrder, Width};

use super::{Decoder, Encoder};

/// The codec of payloads behind their length.
///
/// As it is made, the length stands first and counts the payload alone, not itself; a frame is
/// the payload, which may be empty. One longer than the [`limit`](LengthPrefixed::with_limit) is
/// refused when its length has come, before any of it is waited for; nothing is ever allocated on
/// the word of a peer.
///
/// ```
/// use tidemill::codec::{ByteOrder, Decoder, LengthError, LengthPrefixed, Width};
///
/// let mut frames = LengthPrefixed::new(Width::Two, ByteOrder::Big).with_limit(300);
/// assert_eq!(frames.decode(b"\0\x05hello\0")?, Some((&b"hello"[..], 7)));
/// assert_eq!(frames.decode(b"\0")?, None);
/// let error = frames.decode(b"\x01\x2d").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "frame at byte 7 of the stream announces 301 bytes, the limit is 300"
/// );
/// # Ok::<(), LengthError>(())
/// ```
///
/// # Other forms
///
/// The length may stand behind other fields, may count more or less than what follows it, and
/// what is in front of the payload may be shown too:
///
/// ```text
///  | header | length | body ················ |
///  0        index    index + width           taken
///             body = length + adjustment
///  ···· stripped ····| frame ··············· |
/// ```
///
/// Whoever knows `LengthFieldBasedFrameDecoder` of Netty finds its parameters here:
///
/// | Netty | here | if not said |
/// |---|---|---|
/// | `byteOrder`, `lengthFieldLength` | [`new`](LengthPrefixed::new) | |
/// | `lengthFieldOffset` | [`with_length_at`](LengthPrefixed::with_length_at) | 0 |
/// | `lengthAdjustment` | [`with_adjustment`](LengthPrefixed::with_adjustment) | 0 |
/// | `initialBytesToStrip` | [`strip`](LengthPrefixed::strip), [`keep_prefix`](LengthPrefixed::keep_prefix) | all that is not body (Netty: nothing) |
/// | `maxFrameLength`, which counts all | [`with_limit`](LengthPrefixed::with_limit), which counts the body | 1 MiB |
/// | `failFast` | always | |
///
/// ```
/// use tidemill::codec::{ByteOrder, Decoder, Encoder, LengthPrefixed, Width};
///
/// // A magic byte, the length of all there is in three bytes, a kind, and the payload.
/// let form = LengthPrefixed::new(Width::Three, ByteOrder::Big)
///     .with_length_at(1)
///     .with_adjustment(-4)
///     .keep_prefix();
/// let mut out = Vec::new();
/// form.clone().encode(b"\xfe\x07payload", &mut out)?; // all but the length
/// assert_eq!(out, b"\xfe\0\0\x0c\x07payload");
/// assert_eq!(form.clone().decode(&out)?, Some((&out[..], 12)));
/// assert_eq!(form.strip(4).decode(&out)?, Some((&b"\x07payload"[..], 12)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LengthPrefixed {
    width: Width,
    order: ByteOrder,
    length_index: usize,
    adjustment: i64,
    /// How much of a frame's start is not shown; all that is not body if nothing was said.
    stripped_bytes: Option<usize>,
    /// The most bytes of one body.
    limit_bytes: usize,
    /// What follows from the above.
    shape: Shape,
    /// What the waiting frame wants at least.
    needed_bytes: usize,
    /// Where in the stream the waiting frame starts.
    offset: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// What stands in front of the body: the header and the length.
    prefix_bytes: usize,
    stripped_bytes: usize,
    /// Of eight bytes' bits those that are the length's, where it stands at the lower end, and how
    /// many others there are: less than 64.
    mask: u64,
    spare_bits: u8,
    /// With `least_length <= length <= most_length`: `length + adjustment` overflows neither way
    /// and is within the limit, and not less is there than is stripped.
    least_length: u64,
    most_length: u64,
    /// What the frame takes is `length + reach`, which wraps where the adjustment is negative.
    reach: u64,
    /// Whether lengths are as most protocols have them: four bytes in network order, in front of
    /// nothing but what they count, and shown or not shown all together.
    is_usual: bool,
}

impl LengthPrefixed {
    /// The most bytes of a payload if nothing else is said.
    pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

    /// A codec for lengths of this form, at the start of a stream.
    pub fn new(width: Width, order: ByteOrder) -> LengthPrefixed {
        let shape = Shape::default();
        LengthPrefixed {
            width,
            order,
            length_index: 0,
            adjustment: 0,
            stripped_bytes: None,
            limit_bytes: LengthPrefixed::DEFAULT_LIMIT_BYTES,
            shape,
            needed_bytes: 1,
            offset: 0,
        }
        .shaped()
    }

    /// Allows payloads of up to `limit_bytes`: what follows the length, itself not counted. A frame
    /// that no slice can hold is refused even so.
    pub fn with_limit(self, limit_bytes: usize) -> LengthPrefixed {
        LengthPrefixed { limit_bytes, ..self }.shaped()
    }

    /// Looks for the length behind a header of `length_index` bytes.
    pub fn with_length_at(self, length_index: usize) -> LengthPrefixed {
        LengthPrefixed { length_index, ..self }.shaped()
    }

    /// Adds this to a length to have the number of bytes behind it: a positive number for fields
    /// that the length does not count, a negative one if it counts itself or what precedes it.
    pub fn with_adjustment(self, adjustment: i64) -> LengthPrefixed {
        LengthPrefixed { adjustment, ..self }.shaped()
    }

    /// Shows frames from their first byte on, with the header and the length.
    pub fn keep_prefix(self) -> LengthPrefixed {
        self.strip(0)
    }

    /// Shows frames without their first `stripped_bytes`.
    pub fn strip(self, stripped_bytes: usize) -> LengthPrefixed {
        LengthPrefixed { stripped_bytes: Some(stripped_bytes), ..self }.shaped()
    }

    fn shaped(self) -> LengthPrefixed {
        let prefix_bytes = self.length_index.saturating_add(self.width.bytes());
        let stripped_bytes = self.stripped_bytes.unwrap_or(prefix_bytes);
        let least_body = stripped_bytes.saturating_sub(prefix_bytes) as i128;
        let least_length = clamp(least_body - i128::from(self.adjustment));
        let room_bytes = FRAME_MAX.saturating_sub(prefix_bytes);
        let most_body = self.limit_bytes.min(room_bytes) as i128;
        let most_length = most_body - i128::from(self.adjustment);
        // If already a length of zero is too much, then none must pass.
        let least_length = if most_length < 0 { least_length.max(1) } else { least_length };
        let most_length = clamp(most_length);
        let reach = (prefix_bytes as u64).wrapping_add_signed(self.adjustment);
        let is_usual = matches!((self.width, self.order), (Width::Four, ByteOrder::Big))
            && (prefix_bytes, reach) == (4, 4)
            && matches!(stripped_bytes, 0 | 4);
        let shape = Shape {
            prefix_bytes,
            stripped_bytes,
            mask: self.width.max_length(),
            spare_bits: self.width.spare_bits(),
            least_length,
            most_length,
            reach,
            is_usual,
        };
        LengthPrefixed { shape, ..self }
    }

    /// The length of the frame at the start of `input`, if all its bytes are there.
    #[inline]
    fn announced<const IS_BIG: bool>(&self, input: &[u8]) -> Option<u64> {
        let eight = field::eight(self.width, self.length_index, input)?;
        Some(match IS_BIG {
            true => u64::from_be_bytes(eight) >> (self.shape.spare_bits % 64),
            false => u64::from_le_bytes(eight) & self.shape.mask,
        })
    }

    // These are always inlined: as a call, with the result going through memory, a frame costs
    // nearly twice as much.

    /// For frames of the usual form.
    #[inline(always)]
    fn decode_usual<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(&'a [u8], usize)>, LengthError> {
        let Some(length) = input.first_chunk() else {
            self.needed_bytes = 4 - input.len();
            return Ok(None);
        };
        let announced_bytes = u32::from_be_bytes(*length);
        if u64::from(announced_bytes) > self.shape.most_length {
            return Err(self.refusal(announced_bytes.into()));
        }
        let taken = announced_bytes as usize + 4;
        if taken > input.len() {
            self.needed_bytes = taken - input.len();
            return Ok(None);
        }
        self.offset += taken as u64;
        let stripped_bytes = self.shape.stripped_bytes & 4; // nothing else: for the compiler to know
        Ok(Some((&input[stripped_bytes..taken], taken)))
    }

    /// For frames of any form.
    #[inline(always)]
    fn decode_as<'a, const IS_BIG: bool>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(&'a [u8], usize)>, LengthError> {
        let shape = &self.shape;
        let Some(announced_bytes) = self.announced::<IS_BIG>(input) else {
            self.needed_bytes = shape.prefix_bytes - input.len();
            return Ok(None);
        };
        if !(shape.least_length..=shape.most_length).contains(&announced_bytes) {
            return Err(self.refusal(announced_bytes));
        }
        // At most `FRAME_MAX`.
        let taken = announced_bytes.wrapping_add(shape.reach) as usize;
        if taken > input.len() {
            self.needed_bytes = taken - input.len();
            return Ok(None);
        }
        self.offset += taken as u64;
        Ok(Some((&input[shape.stripped_bytes..taken], taken)))
    }

    #[cold]
    fn refusal(&self, announced_bytes: u64) -> LengthError {
        let (offset, least_bytes) = (self.offset, self.shape.least_length);
        let body_bytes = i128::from(announced_bytes) + i128::from(self.adjustment);
        if announced_bytes < least_bytes && body_bytes <= self.limit_bytes as i128 {
            return LengthError::TooShort { offset, announced_bytes, least_bytes };
        }
        let limit_bytes = usize::try_from(self.shape.most_length).unwrap_or(usize::MAX);
        LengthError::TooLong { offset, announced_bytes, limit_bytes }
    }
}

impl Decoder for LengthPrefixed {
    type Frame<'a> = &'a [u8];
    type Error = LengthError;

    #[inline(always)]
    fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Option<(&'a [u8], usize)>, LengthError> {
        // Asked first, and by itself, it makes of a loop over frames one that has nothing else in it.
        if self.shape.is_usual {
            self.decode_usual(input)
        } else if self.order == ByteOrder::Big {
            self.decode_as::<true>(input)
        } else {
            self.decode_as::<false>(input)
        }
    }

    #[inline]
    fn needs(&self) -> usize {
        self.needed_bytes
    }

    /// `None` for an empty rest: there is no such thing as a last frame without an end.
    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<&'a [u8]>, LengthError> {
        if rest.is_empty() {
            return Ok(None);
        }
        let announced_bytes = match self.order {
            ByteOrder::Big => self.announced::<true>(rest),
            ByteOrder::Little => self.announced::<false>(rest),
        };
        Err(LengthError::UnexpectedEnd {
            offset: self.offset,
            announced_bytes,
            received_bytes: rest.len().saturating_sub(self.shape.prefix_bytes),
        })
    }

    #[inline]
    fn max_bytes(&self) -> usize {
        self.shape.prefix_bytes.saturating_add(self.limit_bytes)
    }
}

/// Writes a frame, given all of it but the length: the header, if there is one, then what follows
/// the length.
impl Encoder for LengthPrefixed {
    type Item<'a> = &'a [u8];
    type Error = LengthEncodeError;

    #[inline]
    fn encode(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), LengthEncodeError> {
        let shape = &self.shape;
        // In 128 bits nothing overflows: each part fits in 64.
        let uncounted_bytes = self.length_index as i128 + i128::from(self.adjustment);
        let length = item.len() as i128 - uncounted_bytes;
        let least_length = i128::from(shape.least_length);
        let most_length = i128::from(shape.most_length.min(self.width.max_length()));
        if item.len() < self.length_index || length < least_length || length > most_length {
            return Err(LengthEncodeError {
                payload_bytes: item.len() as u64,
                least_bytes: clamp((least_length + uncounted_bytes).max(self.length_index as i128)),
                limit_bytes: clamp(most_length + uncounted_bytes),
            });
        }
        let (header, body) = item.split_at(self.length_index);
        out.reserve(shape.prefix_bytes + body.len());
        out.extend_from_slice(header);
        field::write(self.width, self.order, length as u64, out);
        out.extend_from_slice(body);
        Ok(())
    }
}

/// No slice is longer. What cannot come is refused, whatever the limit; so no sum overflows.
const FRAME_MAX: usize = isize::MAX as usize;

fn clamp(length: i128) -> u64 {
    length.clamp(0, i128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests;
