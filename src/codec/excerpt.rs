//! The start of what a peer sent, made fit to stand in an error and a log.

use std::{ascii, fmt};

/// The first bytes of something a peer sent.
///
/// It holds 80 bytes at most, and shows 80 characters at most, with everything escaped that is
/// not printable ASCII: a peer can neither forge a line of a log nor flood it.
///
/// ```
/// use tidemill::codec::Excerpt;
///
/// let excerpt = Excerpt::of(b"name\r\nroot logged in");
/// assert_eq!(excerpt.to_string(), r"name\r\nroot logged in");
/// assert_eq!(Excerpt::of(&[b'x'; 1000]).as_bytes().len(), 80);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<[u8]>);

impl Excerpt {
    /// The start of `bytes`.
    pub fn of(bytes: &[u8]) -> Excerpt {
        Excerpt(bytes[..bytes.len().min(EXCERPT_MAX)].into())
    }

    /// The bytes as they came, cut but not escaped.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = EXCERPT_MAX;
        for &byte in &self.0 {
            let escaped = ascii::escape_default(byte);
            if escaped.len() > room {
                break;
            }
            room -= escaped.len();
            write!(f, "{escaped}")?;
        }
        Ok(())
    }
}

/// Escaped too: errors are often logged by their `Debug`.
impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

const EXCERPT_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_printable_whatever_was_sent() {
        for byte in 0..=255 {
            for len in [0, 1, 19, 20, 21, 79, 80, 81, 1000] {
                let excerpt = Excerpt::of(&vec![byte; len]);
                for shown in [format!("{excerpt}"), format!("{excerpt:?}")] {
                    assert!(shown.len() <= EXCERPT_MAX + 2);
                    assert!(shown.bytes().all(|shown| (b' '..=b'~').contains(&shown)));
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_those_that_came() {
        assert_eq!(Excerpt::of(b"a\0\xff").as_bytes(), b"a\0\xff");
        assert_eq!(Excerpt::of(&[b'x'; 81]).as_bytes(), [b'x'; 80]);
    }

    #[test]
    fn what_fits_is_shown_in_full() {
        let text = "x".repeat(80);
        assert_eq!(Excerpt::of(text.as_bytes()).to_string(), text);
        assert_eq!(format!("{:?}", Excerpt::of(b"a\n")), r#""a\n""#);
    }

    #[test]
    fn an_escape_is_never_cut_in_half() {
        let shown = Excerpt::of(&[b"x".as_slice(), &[0xff; 80]].concat()).to_string();
        assert_eq!(shown, format!("x{}", r"\xff".repeat(19)));
    }
}
