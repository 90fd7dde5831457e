//! Numbers as protocols of text write them: decimal digits and nothing else.

/// The number that these digits are; `None` for none, for anything that is not a digit (a sign, a
/// space), and for more than 64 bits. Zeros in front are allowed.
///
/// ```
/// use tidemill::codec::decimal;
///
/// assert_eq!(decimal(b"042"), Some(42));
/// assert_eq!(decimal(b"+42"), None);
/// assert_eq!(decimal(b"18446744073709551616"), None);
/// ```
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Appends the digits of a number.
pub(super) fn write(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; DIGITS_MAX];
    let mut start = DIGITS_MAX;
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

const DIGITS_MAX: usize = u64::MAX.ilog10() as usize + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn digits_are_those_of_the_standard_library() {
        let mut rng = Rng::new(1);
        let edges = [0, 1, 9, 10, 99, 100, u64::MAX - 1, u64::MAX];
        let random = (0..64).map(|shift| rng.next_u64() >> shift);
        for number in edges.into_iter().chain(random.collect::<Vec<_>>()) {
            let mut out = Vec::new();
            write(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
            assert_eq!(decimal(&out), Some(number));
        }
    }

    #[test]
    fn what_is_not_a_number_of_64_bits_is_none() {
        for bad in ["", "-1", "+1", " 1", "1 ", "1a", "0x1", "18446744073709551616", "\u{663}"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decimal(&[b'0'; 100]), Some(0));
    }
}
