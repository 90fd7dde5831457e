//! The form of a length: how wide it is, and which of its bytes comes first.

/// How many bytes the length takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// One byte: lengths of up to 255.
    One,
    /// Two bytes: lengths of up to 65,535.
    Two,
    /// Three bytes: lengths of up to 16,777,215.
    Three,
    /// Four bytes.
    Four,
    /// Eight bytes.
    Eight,
}

impl Width {
    /// The width in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        match self {
            Width::One => 1,
            Width::Two => 2,
            Width::Three => 3,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    /// The largest length that can be written so.
    pub const fn max_length(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }
}

/// Which byte of the length comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The most significant one: network byte order (RFC 1700, "Data Notations").
    #[default]
    Big,
    /// The least significant one.
    Little,
}

/// The length at the start of `input`, if all its bytes are there.
#[inline]
pub(super) fn read(width: Width, order: ByteOrder, input: &[u8]) -> Option<u64> {
    use ByteOrder::{Big, Little};
    Some(match (width, order) {
        (Width::One, _) => u64::from(*input.first()?),
        (Width::Two, Big) => u64::from(u16::from_be_bytes(*input.first_chunk()?)),
        (Width::Two, Little) => u64::from(u16::from_le_bytes(*input.first_chunk()?)),
        (Width::Three, Big) => {
            let &[high, middle, low] = input.first_chunk()?;
            u64::from(u32::from_be_bytes([0, high, middle, low]))
        }
        (Width::Three, Little) => {
            let &[low, middle, high] = input.first_chunk()?;
            u64::from(u32::from_le_bytes([low, middle, high, 0]))
        }
        (Width::Four, Big) => u64::from(u32::from_be_bytes(*input.first_chunk()?)),
        (Width::Four, Little) => u64::from(u32::from_le_bytes(*input.first_chunk()?)),
        (Width::Eight, Big) => u64::from_be_bytes(*input.first_chunk()?),
        (Width::Eight, Little) => u64::from_le_bytes(*input.first_chunk()?),
    })
}

/// Appends a length, which must be one that the width can say.
#[inline]
pub(super) fn write(width: Width, order: ByteOrder, length: u64, out: &mut Vec<u8>) {
    debug_assert!(length <= width.max_length(), "{length} in {width:?}");
    match order {
        ByteOrder::Big => out.extend_from_slice(&length.to_be_bytes()[8 - width.bytes()..]),
        ByteOrder::Little => out.extend_from_slice(&length.to_le_bytes()[..width.bytes()]),
    }
}
