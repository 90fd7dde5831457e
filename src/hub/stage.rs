//! What the running handler writes to its own peer, until its callback returns.
//!
//! Answers collect here as pieces and leave by one call of the system. A piece that repeats what
//! was just read is not copied: it points into the reactor's read buffer, which nobody touches
//! before the pieces have left. Adjacent pieces become one, so that sixteen lines echoed one by
//! one are sent as a single slice of what came in: the echo, which grows at the end of the pieces
//! and is one of them only once something else follows.
//!
//! ```text
//!  read buffer  [ GET a\r\n GET b\r\n GET c\r\n ............ ]
//!                 ▲──── Read(0..14) ────▲ ▲ echo ▲
//!  own          [ +OK\r\n ]                       pieces: Read(0..14), Own(0..5), Shared(…)
//! ```

use std::io::IoSlice;
use std::ops::Range;

use crate::base::outbox::{Outbox, Shared};

pub(crate) struct Stage {
    /// Whose callback runs; `NOBODY` where answers go to the outbox.
    owner: u32,
    /// The same, where what it writes may stand here, before anything that waits.
    writer: u32,
    /// The address and the length of what was just read.
    read: usize,
    read_len: usize,
    /// The last piece, where it repeats what was read: from which address to which.
    echo: Range<usize>,
    /// The address where the echo may end with no more to be asked: within what was read, and no
    /// more staged than `high`. Zero where it may not grow.
    echo_max: usize,
    /// Those before it.
    pieces: Vec<Piece>,
    /// What `Piece::Own` points into.
    own: Vec<u8>,
    /// The sum of the pieces' lengths.
    pieces_len: usize,
    /// Above it what was staged is to be judged.
    high: usize,
}

enum Piece {
    Read(Range<usize>),
    Own(Range<usize>),
    Shared(Shared),
}

const NOBODY: u32 = u32::MAX;

impl Stage {
    /// More bytes than `high` are for its owner to judge.
    pub(crate) fn new(high: usize) -> Stage {
        Stage {
            owner: NOBODY,
            writer: NOBODY,
            read: 0,
            read_len: 0,
            echo: 0..0,
            echo_max: 0,
            pieces: Vec::new(),
            own: Vec::new(),
            pieces_len: 0,
            high,
        }
    }

    /// Opens for the callback of `owner`, who is about to be shown `read`. What it writes may
    /// stand here only if it `may_write` and nothing waits in its outbox.
    #[inline(always)]
    pub(crate) fn open(&mut self, owner: u32, may_write: bool, read: &[u8]) {
        debug_assert!(self.is_empty(), "what the last one wrote has not been sent");
        self.owner = owner;
        self.writer = if may_write { owner } else { NOBODY };
        self.read = read.as_ptr().addr();
        self.read_len = read.len();
        self.echo = self.read..self.read;
        self.echo_max = if may_write { self.read + read.len().min(self.high) } else { 0 };
    }

    /// As [`open`](Stage::open), for one that may write and is shown nothing that it might repeat.
    #[inline(always)]
    pub(crate) fn open_unread(&mut self, owner: u32) {
        debug_assert!(self.is_empty() && self.echo_max == 0, "the last one's has not been closed");
        (self.owner, self.writer, self.read_len) = (owner, owner, 0);
    }

    /// Later writes go to outboxes again.
    #[inline(always)]
    pub(crate) fn close(&mut self) {
        self.owner = NOBODY;
        self.writer = NOBODY;
        self.echo_max = 0;
    }

    /// What was written has left, and the stage closes.
    #[inline(always)]
    pub(crate) fn end(&mut self) {
        self.close();
        self.clear();
    }

    /// `slot` may not write any more.
    #[inline]
    pub(crate) fn refuse(&mut self, slot: u32) {
        if self.writer == slot {
            self.writer = NOBODY;
            self.echo_max = 0;
        }
    }

    /// Whether what `slot` writes stands here.
    #[inline]
    pub(crate) fn takes_from(&self, slot: u32) -> bool {
        self.writer == slot
    }

    /// Whether what anybody writes stands here.
    pub(crate) fn is_taking(&self) -> bool {
        self.writer != NOBODY
    }

    /// Whose callback it was opened for, and how many bytes that was shown.
    pub(crate) fn reader(&self) -> (u32, usize) {
        (self.owner, self.read_len)
    }

    #[inline]
    pub(crate) fn is_open_for(&self, slot: u32) -> bool {
        self.owner == slot
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.pieces_len + self.echo.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces_len == 0 && self.echo.is_empty()
    }

    /// Pushes what goes on where the echo ends, without a look at anything else; answers false
    /// where it does not, or too much would be staged.
    #[inline(always)] // on the way of every answer
    pub(crate) fn echo(&mut self, bytes: &[u8]) -> bool {
        let at = bytes.as_ptr().addr();
        let goes_on = at == self.echo.end && at + bytes.len() <= self.echo_max;
        if goes_on {
            self.echo.end = at + bytes.len();
        }
        goes_on
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let at = bytes.as_ptr().addr();
        let read = self.read..self.read + self.read_len;
        if !(read.contains(&at) && bytes.len() <= read.end - at) {
            self.push_own(bytes);
        } else if at == self.echo.end {
            self.echo.end += bytes.len();
        } else if !bytes.is_empty() {
            self.end_echo();
            self.echo = at..at + bytes.len();
            self.bound_echo();
        }
    }

    /// Something else follows: the echo is a piece like any other.
    fn end_echo(&mut self) {
        if !self.echo.is_empty() {
            self.pieces_len += self.echo.len();
            self.pieces.push(Piece::Read(self.echo_in_read()));
        }
        self.echo = self.read..self.read;
    }

    /// Where in what was read the echo stands.
    #[inline(always)]
    fn echo_in_read(&self) -> Range<usize> {
        self.echo.start - self.read..self.echo.end - self.read
    }

    /// Says anew how far the echo may grow.
    fn bound_echo(&mut self) {
        let room = self.high.saturating_sub(self.pieces_len);
        let is_open = self.writer != NOBODY;
        let most = (self.read + self.read_len).min(self.echo.start.saturating_add(room));
        self.echo_max = if is_open { most } else { 0 };
    }

    fn push_own(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = self.own.len();
        self.own.extend_from_slice(bytes);
        self.claim_own(start);
    }

    /// Lets `fill` append, and keeps what it appended where it answers `Ok`.
    pub(crate) fn push_with<E>(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.pieces.is_empty() {
            self.own.clear(); // one that panicked may have left something
        }
        let start = self.own.len();
        let filled = fill(&mut self.own);
        if self.own.len() < start {
            self.clear(); // the pieces would point at nothing
            panic!("an encoder appends, and takes nothing away");
        }
        if filled.is_err() {
            self.own.truncate(start);
        }
        if self.own.len() > start {
            self.claim_own(start);
        }
        filled
    }

    fn claim_own(&mut self, start: usize) {
        self.end_echo();
        let end = self.own.len();
        self.pieces_len += end - start;
        match self.pieces.last_mut() {
            Some(Piece::Own(last)) if last.end == start => last.end = end,
            _ => self.pieces.push(Piece::Own(start..end)),
        }
        self.bound_echo();
    }

    pub(crate) fn push_shared(&mut self, shared: Shared) {
        if shared.len() > 0 {
            self.end_echo();
            self.pieces_len += shared.len();
            self.pieces.push(Piece::Shared(shared));
            self.bound_echo();
        }
    }

    /// The bytes, where they are all in one piece. `read` is the buffer that was read into.
    #[inline(always)] // on the way of every answer
    pub(crate) fn single<'a>(&'a self, read: &'a [u8]) -> Option<&'a [u8]> {
        if self.pieces.is_empty() {
            return Some(&read[self.echo_in_read()]);
        }
        match &self.pieces[..] {
            [piece] if self.echo.is_empty() => Some(self.bytes_of(piece, read)),
            _ => None,
        }
    }

    /// Fills `slices` with the first pieces, and says how many there are. `read` is the
    /// buffer that was read into.
    pub(crate) fn gather<'a>(&'a self, read: &'a [u8], slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().map(|piece| self.bytes_of(piece, read));
        let echo = (!self.echo.is_empty()).then(|| &read[self.echo_in_read()]);
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(pieces.chain(echo)) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    fn bytes_of<'a>(&'a self, piece: &'a Piece, read: &'a [u8]) -> &'a [u8] {
        match piece {
            Piece::Read(range) => &read[range.clone()],
            Piece::Own(range) => &self.own[range.clone()],
            Piece::Shared(shared) => shared.bytes(),
        }
    }

    /// Appends to `outbox` all but the first `sent` bytes, which the system took, and is empty
    /// again. Answers what that adds to the budget.
    pub(crate) fn move_to(&mut self, outbox: &mut Outbox, sent: usize, read: &[u8]) -> usize {
        self.end_echo();
        let mut skip = sent;
        let mut charge = 0;
        for piece in &self.pieces {
            let bytes = self.bytes_of(piece, read);
            charge += match piece {
                Piece::Shared(shared) if skip == 0 => outbox.push_shared(shared.clone()),
                _ => outbox.push(&bytes[skip.min(bytes.len())..]),
            };
            skip = skip.saturating_sub(bytes.len());
        }
        self.clear();
        charge
    }

    /// Forgets what was written.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.echo.start = self.echo.end;
        self.echo_max = 0;
        if !self.pieces.is_empty() {
            self.clear_pieces();
        }
    }

    #[inline(never)]
    fn clear_pieces(&mut self) {
        self.pieces.clear();
        self.pieces_len = 0;
        self.own.clear();
        if self.own.capacity() > OWN_KEPT_BYTES {
            self.own = Vec::new();
        }
    }
}

/// A larger buffer is given back after the answer that needed it.
const OWN_KEPT_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(stage: &Stage, read: &[u8]) -> (usize, Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = stage.gather(read, &mut slices);
        (filled, slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect())
    }

    #[test]
    fn echoed_neighbours_become_one_piece_and_are_not_copied() {
        let read = b"one\ntwo\nthree\n".to_vec();
        let mut stage = Stage::new(usize::MAX);
        stage.open(7, true, &read);
        stage.push(&read[..4]);
        stage.push(&read[4..8]);
        stage.push(&read[8..]);
        assert_eq!(collected(&stage, &read), (1, read.clone()));
        assert!(stage.own.is_empty());
    }

    #[test]
    fn pieces_keep_their_order() {
        let read = b"abcdef".to_vec();
        let mut stage = Stage::new(usize::MAX);
        stage.open(0, true, &read);
        stage.push(&read[3..]);
        stage.push(b"-");
        stage.push(b"+");
        stage.push(&read[..3]);
        stage.push_shared(Shared::new((*b"!!").into()));
        assert_eq!(collected(&stage, &read), (4, b"def-+abc!!".to_vec()));
        assert_eq!(stage.len(), 10);
    }

    #[test]
    fn what_was_not_sent_moves_to_the_outbox_from_any_byte_on() {
        let read = b"abc".to_vec();
        for sent in 0..=8 {
            let mut stage = Stage::new(usize::MAX);
            stage.open(0, true, &read);
            stage.push(&read);
            stage.push(b"de");
            stage.push_shared(Shared::new((*b"fgh").into()));
            let mut outbox = Outbox::new();
            let charge = stage.move_to(&mut outbox, sent, &read);
            assert_eq!(charge, 8 - sent);
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = outbox.gather(&mut slices);
            let rest: Vec<u8> = slices[..filled].iter().flat_map(|s| s.to_vec()).collect();
            assert_eq!(rest, b"abcdefgh"[sent..]);
            assert!(stage.is_empty());
        }
    }

    #[test]
    fn encoders_that_panic_leave_no_more_than_one_has_written() {
        use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
        let mut stage = Stage::new(usize::MAX);
        for _ in 0..10 {
            stage.open(0, true, b"");
            let half_way = |out: &mut Vec<u8>| -> Result<(), ()> {
                out.extend([0; 1000]);
                resume_unwind(Box::new("half-way"))
            };
            assert!(catch_unwind(AssertUnwindSafe(|| stage.push_with(half_way))).is_err());
            assert!(stage.is_empty());
            stage.close();
        }
        assert!(stage.own.len() <= 1000, "{}", stage.own.len());
    }

    #[test]
    fn a_failed_encoder_leaves_nothing() {
        let mut stage = Stage::new(usize::MAX);
        stage.open(0, true, b"");
        let failed = stage.push_with(|out| {
            out.extend(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert!(stage.is_empty());
        let filled: Result<(), ()> = stage.push_with(|out| {
            out.extend(b"whole");
            Ok(())
        });
        assert_eq!(filled, Ok(()));
        assert_eq!(collected(&stage, b"").1, b"whole");
    }
}
