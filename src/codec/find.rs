//! Where the next byte of a kind is, when it is near by.
//!
//! `memchr` finds out at run time what the processor does best, and calls that: dear where it is
//! asked for every short line. So on x86-64 the first bytes are searched with what every such
//! processor can do, which is inlined, and only the rest is left to that call.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
use memchr::arch::x86_64::sse2::memchr::{One, Two};

/// Where the first `byte` is; the length of the input, where there is none.
#[inline(always)]
pub(super) fn find(byte: u8, input: &[u8]) -> usize {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if let Some(one) = One::new(byte) {
        return near(input, |piece| one.find(piece), |rest| find_far(byte, rest));
    }
    memchr::memchr(byte, input).unwrap_or(input.len())
}

/// Where the first of either is; the length of the input, where there is none.
#[inline(always)]
pub(super) fn find_either(first: u8, second: u8, input: &[u8]) -> usize {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if let Some(two) = Two::new(first, second) {
        return near(input, |piece| two.find(piece), |rest| find_either_far(first, second, rest));
    }
    memchr::memchr2(first, second, input).unwrap_or(input.len())
}

/// Where the first `byte` is, if that is among the first [`NEAR_BYTES`] of an input that has so
/// many; otherwise from where it is to be looked for.
#[inline(always)]
pub(super) fn find_near(byte: u8, input: &[u8]) -> Result<usize, usize> {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if let Some(one) = One::new(byte) {
        return near_only(input, |piece| one.find(piece));
    }
    near_only(input, |piece| memchr::memchr(byte, piece))
}

#[inline(always)]
fn near_only(input: &[u8], here: impl Fn(&[u8]) -> Option<usize>) -> Result<usize, usize> {
    let Some(near) = input.first_chunk::<NEAR_BYTES>() else { return Err(0) };
    for (index, piece) in near.chunks_exact(STEP_BYTES).enumerate() {
        if let Some(found) = here(piece) {
            return Ok(index * STEP_BYTES + found);
        }
    }
    Err(NEAR_BYTES)
}

/// Looks `here` in the first few pieces, and in the rest by `far`.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn near(
    input: &[u8],
    here: impl Fn(&[u8]) -> Option<usize>,
    far: impl Fn(&[u8]) -> usize,
) -> usize {
    let Some((near, rest)) = input.split_first_chunk::<NEAR_BYTES>() else { return far(input) };
    for (index, piece) in near.chunks_exact(STEP_BYTES).enumerate() {
        if let Some(found) = here(piece) {
            return index * STEP_BYTES + found;
        }
    }
    NEAR_BYTES + far(rest)
}

// These two are calls, so that only what is likely is inlined. They look near by once more.

/// As [`find`], where nothing is to be expected near by.
#[inline(never)]
pub(super) fn find_far(byte: u8, input: &[u8]) -> usize {
    let by_memchr = |rest: &[u8]| memchr::memchr(byte, rest).unwrap_or(rest.len());
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if let Some(one) = One::new(byte) {
        let here = |piece: &[u8]| one.find(piece);
        let far =
            |rest: &[u8]| if rest.len() < NEAR_BYTES { short(rest, here) } else { by_memchr(rest) };
        return near(input, here, far);
    }
    by_memchr(input)
}

/// As [`find_either`], where nothing is to be expected near by.
#[inline(never)]
pub(super) fn find_either_far(first: u8, second: u8, input: &[u8]) -> usize {
    let by_memchr = |rest: &[u8]| memchr::memchr2(first, second, rest).unwrap_or(rest.len());
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if let Some(two) = Two::new(first, second) {
        let here = |piece: &[u8]| two.find(piece);
        let far =
            |rest: &[u8]| if rest.len() < NEAR_BYTES { short(rest, here) } else { by_memchr(rest) };
        return near(input, here, far);
    }
    by_memchr(input)
}

/// Looks `here` in each piece. The last one overlaps the one before, where nothing was found.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn short(input: &[u8], here: impl Fn(&[u8]) -> Option<usize>) -> usize {
    let Some(last) = input.last_chunk::<STEP_BYTES>() else {
        return here(input).unwrap_or(input.len());
    };
    for (index, piece) in input.chunks_exact(STEP_BYTES).enumerate() {
        if let Some(found) = here(piece) {
            return index * STEP_BYTES + found;
        }
    }
    here(last).map_or(input.len(), |found| input.len() - STEP_BYTES + found)
}

/// What one instruction compares.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
const STEP_BYTES: usize = 16;
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
const STEP_BYTES: usize = NEAR_BYTES;

/// From there on `memchr` is quicker, its call included.
pub(super) const NEAR_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_search_byte_by_byte() {
        for len in 0..200_usize {
            for at in 0..=len {
                for other in [at, at.saturating_sub(1), 0, len] {
                    let mut input = vec![b'.'; len];
                    input[at..].fill(b'x');
                    if let Some(byte) = input.get_mut(other) {
                        *byte = b'y';
                    }
                    let naive = |wanted: &[u8]| {
                        input.iter().position(|it| wanted.contains(it)).unwrap_or(len)
                    };
                    assert_eq!(find(b'x', &input), naive(b"x"), "{at} of {len}");
                    assert_eq!(find_either(b'x', b'y', &input), naive(b"xy"), "{at} of {len}");
                }
            }
        }
    }
}
