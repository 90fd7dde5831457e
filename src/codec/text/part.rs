//! What a conversation in text consists of, and what a line can say about what follows it.

use std::fmt;

use crate::codec::{Excerpt, decimal};

/// What follows a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Next {
    /// Another line.
    #[default]
    Line,

    /// So many bytes and CR LF, which is not part of them: NATS `PUB`, memcached `set`.
    Block(u64),

    /// So many bytes and nothing: what follows them is the rest of the line. IMAP (RFC 9051,
    /// section 4.3, "literal"). Of a literal without bytes there is nothing to see.
    Literal(u64),

    /// Lines up to one that is a single dot. Where a line starts with a dot the sender has put
    /// another in front, which is not shown (RFC 5321, section 4.5.2, "Transparency"): SMTP
    /// `DATA`, and answers of more than one line in NNTP (RFC 3977, section 3.1.1) and POP3.
    Dotted,

    /// Nobody knows: the line announces a length that cannot be read. The line is shown, so that
    /// it can be answered, and is the last.
    Unreadable,
}

impl Next {
    /// [`Block`](Next::Block) of as many bytes as `digits` say.
    pub fn block(digits: &[u8]) -> Next {
        decimal(digits).map_or(Next::Unreadable, Next::Block)
    }

    /// [`Literal`](Next::Literal) of as many bytes as a line that ends with `{123}` or, as
    /// RFC 7888 allows, `{123+}` announces; [`Line`](Next::Line) for any other.
    pub fn literal(line: &[u8]) -> Next {
        let Some(open) = line.strip_suffix(b"}") else { return Next::Line };
        let open = open.strip_suffix(b"+").unwrap_or(open);
        let Some(brace) = memchr::memrchr(b'{', open) else { return Next::Line };
        let digits = &open[brace + 1..];
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Next::Line;
        }
        decimal(digits).map_or(Next::Unreadable, Next::Literal)
    }
}

/// A part of a conversation in text, borrowed from the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A line, without its CR LF.
    Line(&'a [u8]),
    /// All bytes of a [`Next::Block`] or a [`Next::Literal`].
    Block(&'a [u8]),
    /// One line of what [`Next::Dotted`] announced, without its CR LF and the dot that was added.
    Dotted(&'a [u8]),
    /// The end of what [`Next::Dotted`] announced. A line follows.
    DottedEnd,
}

/// Escaped, and cut as an [`Excerpt`] is.
impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = match self {
            Part::Line(bytes) => ("Line", bytes),
            Part::Block(bytes) => ("Block", bytes),
            Part::Dotted(bytes) => ("Dotted", bytes),
            Part::DottedEnd => return f.write_str("DottedEnd"),
        };
        f.debug_tuple(name).field(&Excerpt::of(bytes)).finish()
    }
}
