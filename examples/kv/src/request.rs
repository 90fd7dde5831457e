//! Bytes into requests.

use std::{error, fmt};

use tidemill::codec::{Decoder, decimal};

/// What a client asks, borrowed from the bytes it sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    Get { key: &'a [u8] },
    Set { key: &'a [u8], value: &'a [u8] },
    Del { key: &'a [u8] },
    Quit,
}

/// Finds the requests in a stream.
#[derive(Clone, Debug)]
pub struct Requests {
    /// So much of the first line holds no LF: it is not looked at again.
    scanned_bytes: usize,
    /// How many bytes a request waits for, at least.
    needed_bytes: usize,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests { scanned_bytes: 0, needed_bytes: 1 }
    }
}

impl Decoder for Requests {
    type Frame<'a> = Request<'a>;
    type Error = RequestError;

    fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(Request<'a>, usize)>, RequestError> {
        let head = &input[..input.len().min(LINE_BYTES_MAX)];
        let Some(index) = head[self.scanned_bytes..].iter().position(|&byte| byte == b'\n') else {
            if head.len() == LINE_BYTES_MAX {
                return Err(RequestError::LineTooLong);
            }
            (self.scanned_bytes, self.needed_bytes) = (head.len(), 1);
            return Ok(None);
        };
        let line_bytes = self.scanned_bytes + index + 1;
        let (line, behind) = input.split_at(line_bytes);
        let line = line.strip_suffix(b"\r\n").ok_or(RequestError::BareLf)?;
        let mut words = line.split(|&byte| byte == b' ');
        let (request, value_bytes) = match (words.next(), words.next(), words.next()) {
            (Some(b"GET"), Some(key), None) => (Request::Get { key: checked(key)? }, 0),
            (Some(b"DEL"), Some(key), None) => (Request::Del { key: checked(key)? }, 0),
            (Some(b"QUIT"), None, None) => (Request::Quit, 0),
            (Some(b"SET"), Some(key), Some(length)) if words.next().is_none() => {
                let key = checked(key)?;
                let len = length_of(length)?;
                let whole = len + END.len();
                if behind.len() < whole {
                    // The LF is found again at once.
                    self.scanned_bytes = line_bytes - 1;
                    self.needed_bytes = whole - behind.len();
                    return Ok(None);
                }
                let (value, rest) = behind.split_at(len);
                if !rest.starts_with(END) {
                    return Err(RequestError::NoEnd);
                }
                (Request::Set { key, value }, whole)
            }
            _ => return Err(RequestError::Unknown),
        };
        self.scanned_bytes = 0;
        Ok(Some((request, line_bytes + value_bytes)))
    }

    fn needs(&self) -> usize {
        self.needed_bytes
    }

    fn decode_eof<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Request<'a>>, RequestError> {
        if rest.is_empty() { Ok(None) } else { Err(RequestError::Unfinished) }
    }

    fn max_bytes(&self) -> usize {
        LINE_BYTES_MAX + VALUE_BYTES_MAX + END.len()
    }
}

fn checked(key: &[u8]) -> Result<&[u8], RequestError> {
    let is_key = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    if is_key { Ok(key) } else { Err(RequestError::BadKey) }
}

/// The length is compared with the limit before anybody waits for so much.
fn length_of(digits: &[u8]) -> Result<usize, RequestError> {
    let len = decimal(digits).ok_or(RequestError::BadLength)?;
    let len = usize::try_from(len).ok().filter(|&len| len <= VALUE_BYTES_MAX);
    len.ok_or(RequestError::ValueTooLong)
}

/// Why a stream cannot be read on. It is the client's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestError {
    LineTooLong,
    BareLf,
    Unknown,
    BadKey,
    BadLength,
    ValueTooLong,
    NoEnd,
    Unfinished,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestError::LineTooLong => "a line is too long",
            RequestError::BareLf => "a line ends without CR",
            RequestError::Unknown => "no such request",
            RequestError::BadKey => "a key has 1 to 64 letters, digits and signs",
            RequestError::BadLength => "no such length",
            RequestError::ValueTooLong => "a value has at most 1024 bytes",
            RequestError::NoEnd => "a value is longer than its length",
            RequestError::Unfinished => "the last request is cut off",
        })
    }
}

impl error::Error for RequestError {}

const END: &[u8] = b"\r\n";
pub const KEY_BYTES_MAX: usize = 64;
pub const VALUE_BYTES_MAX: usize = 1024;
/// `SET`, a key, a length, what stands between them, and the end.
const LINE_BYTES_MAX: usize = "SET  1024\r\n".len() + KEY_BYTES_MAX;
