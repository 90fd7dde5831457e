//! The form of a length: how wide it is, and which of its bytes comes first.

/// How many bytes the length takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// One byte: lengths of up to 255.
    One = 1,
    /// Two bytes: lengths of up to 65,535.
    Two = 2,
    /// Three bytes: lengths of up to 16,777,215.
    Three = 3,
    /// Four bytes.
    Four = 4,
    /// Eight bytes.
    Eight = 8,
}

impl Width {
    /// The width in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        self as usize
    }

    /// The largest length that can be written so.
    pub const fn max_length(self) -> u64 {
        u64::MAX >> self.spare_bits()
    }

    /// What eight bytes have beside it.
    pub(super) const fn spare_bits(self) -> u8 {
        64 - 8 * self as u8
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

/// Eight bytes that start with the length at this place, if all its bytes are there.
#[inline]
pub(super) fn eight(width: Width, index: usize, input: &[u8]) -> Option<[u8; 8]> {
    // Mostly so much follows that eight bytes can be read at once, whatever the width.
    // Where the end wraps around, it is before the start: nothing is there.
    Some(match input.get(index..index.wrapping_add(8)) {
        Some(eight) => eight.try_into().expect("eight bytes"),
        None => padded(input.get(index..)?.get(..width.bytes())?),
    })
}

#[cold]
fn padded(length: &[u8]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight[..length.len()].copy_from_slice(length);
    eight
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
