//! What is sent, and whether it came back.

use std::io;

use tidemill::Rng;

use crate::options::{LENGTH_BYTES, Mode};

/// An endless stream of messages, all of one size: which byte stands at which place. It repeats
/// itself, but not soon, and messages near each other differ: an answer that is lost, doubled,
/// swapped or somebody else's is noticed.
pub(crate) struct Pattern {
    /// One period, and as much of the next as one piece may reach into it.
    bytes: Vec<u8>,
    period: usize,
    size: usize,
}

impl Pattern {
    pub(crate) fn new(mode: Mode, size: usize) -> Pattern {
        let period = size * (PERIOD_BYTES_LEAST / size).max(3);
        let mut rng = Rng::new(size as u64);
        let mut bytes = rng.bytes(period);
        if mode == Mode::Line {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = if (at + 1) % size == 0 { b'\n' } else { b'a' + *byte % 26 };
            }
        }
        if mode == Mode::Length {
            for frame in bytes.chunks_exact_mut(size) {
                let payload_bytes = (size - LENGTH_BYTES) as u32;
                frame[..LENGTH_BYTES].copy_from_slice(&payload_bytes.to_be_bytes());
            }
        }
        bytes.extend_from_within(..PIECE_BYTES.min(period));
        while bytes.len() < period + PIECE_BYTES {
            bytes.extend_from_within(..period.min(period + PIECE_BYTES - bytes.len()));
        }
        Pattern { bytes, period, size }
    }

    /// Where a connection starts in the stream: not where its neighbours do.
    pub(crate) fn start(&self, connection: usize) -> u64 {
        ((connection * self.size) % self.period) as u64
    }

    /// The bytes from one place of the stream on, so many of them, or a piece.
    pub(crate) fn piece(&self, from: u64, len: u64) -> &[u8] {
        let from = (from % self.period as u64) as usize;
        &self.bytes[from..from + len.min(PIECE_BYTES as u64) as usize]
    }

    /// # Errors
    /// `came` (a piece at the most) is not what stands at `from`.
    #[inline]
    pub(crate) fn check(&self, from: u64, came: &[u8]) -> io::Result<()> {
        let sent = self.piece(from, came.len() as u64);
        if sent == came {
            return Ok(());
        }
        let at = sent.iter().zip(came).position(|(a, b)| a != b).unwrap_or(0);
        let what = format!(
            "byte {} of a stream came back as {:#04x}, not as {:#04x}",
            from + at as u64,
            came[at],
            sent[at]
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

/// What is read or written by one call, at the most.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;
const PERIOD_BYTES_LEAST: usize = 16 * 1024;
