//! The line in front of a chunk, as [`Chunked`] reads it, against `httparse::parse_chunk_size`.
//!
//! They agree on what is whole and on the size. They differ in this; we are the stricter but for
//! the last point:
//!
//! - A line without digits is a size of zero to `httparse`.
//! - Behind the digits it allows spaces and tabs also where no semicolon follows.
//! - In an extension it allows any byte but CR; we refuse control characters, and an LF or CR that
//!   stands alone as soon as it comes.
//! - It takes 16 digits at most; we count zeros in front among what is no data.

use tidemill::codec::{Chunk, Chunked, Decoder};
use tidemill::testing::Choices;

/// The first byte is the limit of a chunk; the rest is the start of a body.
pub fn versus_httparse(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit_bytes = choices.below(256);
    let input = choices.rest();
    let theirs = ::httparse::parse_chunk_size(input);
    let line_bytes = input.windows(2).position(|pair| pair == b"\r\n").map(|index| index + 2);
    let (line, taken) = match line_bytes {
        Some(bytes) => (&input[..bytes - 2], bytes),
        None => (input, input.len()),
    };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let ours = our_size(&input[..taken], limit_bytes);
    match (theirs, ours) {
        (Ok(::httparse::Status::Complete((their_taken, size))), Ours::Size(our_size)) => {
            assert_eq!((their_taken, size), (taken, our_size as u64));
            assert!(!is_refused(line, digits), "we take {:?}", line.escape_ascii().to_string());
        }
        (Ok(::httparse::Status::Complete((_, size))), Ours::TooLong) => {
            assert!(size > limit_bytes as u64);
        }
        (Ok(::httparse::Status::Partial), Ours::Waits) => assert_eq!(line_bytes, None),
        // Ours is the stricter.
        (Ok(_), Ours::Refused) => {
            assert!(is_refused(line, digits), "we refuse {:?}", line.escape_ascii().to_string());
        }
        // Not before the line is whole.
        (Err(_), Ours::Waits) => assert_eq!(line_bytes, None),
        (Err(_), Ours::Refused | Ours::TooLong) => {}
        (Err(_), Ours::Size(_)) => assert!(digits > 16),
        (theirs, ours) => panic!("{theirs:?} and {ours:?}"),
    }
}

/// What a [`Chunked`] makes of a line.
#[derive(Debug)]
enum Ours {
    Waits,
    Size(usize),
    TooLong,
    Refused,
}

fn our_size(line: &[u8], limit_bytes: usize) -> Ours {
    use tidemill::codec::ChunkedError::{BadSize, Line, TooLong, TooMuchExtra};

    // A size is seen by what it takes: so much data, or the end.
    let mut input = line.to_vec();
    if line.ends_with(b"\r\n") {
        input.extend(std::iter::repeat_n(b'x', limit_bytes + 1));
    }
    let make = || Chunked::new().with_limit(limit_bytes);
    match make().decode(&input) {
        Ok(None) if !line.ends_with(b"\r\n") => return Ours::Waits,
        Err(TooLong { .. }) => return Ours::TooLong,
        Err(BadSize { .. } | Line(_) | TooMuchExtra { .. }) => return Ours::Refused,
        _ => {}
    }
    for size in 0..=limit_bytes {
        input.truncate(line.len());
        input.extend(std::iter::repeat_n(b'x', size));
        input.extend(b"\r\n");
        match make().decode(&input) {
            Ok(Some((Chunk::Data(data), _))) if data.len() == size => return Ours::Size(size),
            Ok(Some((Chunk::End, _))) if size == 0 => return Ours::Size(0),
            _ => {}
        }
    }
    panic!("{} has no size", line.escape_ascii());
}

/// What they take and we do not.
fn is_refused(line: &[u8], digits: usize) -> bool {
    let behind = &line[digits..];
    let is_blank = !behind.is_empty() && behind.iter().all(|byte| b" \t".contains(byte));
    let has_control = line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
    digits == 0 || is_blank || has_control
}
