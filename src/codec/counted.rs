//! So many bytes, and what must stand behind them.

/// What is known of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counted<'a> {
    /// It and its ending are there.
    Whole(&'a [u8]),
    /// So many bytes must come before more is known.
    Needs(usize),
    /// The byte at this index should be another.
    Wrong(usize),
}

/// Looks at the block of `bytes` at the start of `input`, and at each byte of its ending as soon
/// as that has come.
#[inline]
pub(super) fn counted<'a>(input: &'a [u8], bytes: usize, ending: &[u8]) -> Counted<'a> {
    let Some((block, behind)) = input.split_at_checked(bytes) else {
        let wanted = bytes.saturating_add(usize::from(!ending.is_empty()));
        return Counted::Needs(wanted - input.len());
    };
    if behind.starts_with(ending) {
        return Counted::Whole(block);
    }
    match behind.iter().zip(ending).position(|(byte, ending)| byte != ending) {
        Some(index) => Counted::Wrong(bytes + index),
        None => Counted::Needs(1),
    }
}

/// The last bytes of a block and what follows, up to the byte at `wrong`: enough to recognise the
/// place.
pub(super) fn around(input: &[u8], bytes: usize, wrong: usize) -> &[u8] {
    &input[bytes.saturating_sub(16)..=wrong]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_of_the_ending_is_looked_at_as_soon_as_it_has_come() {
        let answers = [
            (&b""[..], Counted::Needs(3)),
            (b"ab", Counted::Needs(1)),
            (b"ab\r", Counted::Needs(1)),
            (b"ab\r\n", Counted::Whole(b"ab")),
            (b"ab\r\n\n", Counted::Whole(b"ab")),
            (b"ab\n", Counted::Wrong(2)),
            (b"ab\rx", Counted::Wrong(3)),
        ];
        for (input, answer) in answers {
            assert_eq!(counted(input, 2, b"\r\n"), answer, "{}", input.escape_ascii());
        }
        assert_eq!(counted(b"a", 2, b""), Counted::Needs(1));
        assert_eq!(counted(b"ab", 2, b""), Counted::Whole(b"ab"));
        assert_eq!(counted(b"", usize::MAX, b"\r\n"), Counted::Needs(usize::MAX));
        assert_eq!(around(b"0123456789abcdefgh\rx", 18, 19), b"23456789abcdefgh\rx");
    }
}
