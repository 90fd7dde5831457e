//! Datagrams on their way out.
//!
//! A [`SendQueue`] keeps payloads one behind the other, and neighbours of one size to one peer as
//! one [`Run`], which some systems can take for one (segmentation offload).

use std::net::IpAddr;

use crate::base::address::NetAddr;

/// Datagrams that wait for their socket to take them, the oldest first.
pub struct SendQueue {
    /// `rows[first..last]` is what waits; when that is nothing, both are 0. The others are there to
    /// be written over, which takes fewer steps than to drop one and to make another.
    rows: Vec<Row>,
    first: usize,
    last: usize,
    /// `payloads[start..end]` are their bytes. What is behind is room: it was written once, so that
    /// it need not be again.
    payloads: Vec<u8>,
    start: usize,
    end: usize,
    /// How many datagrams they are.
    count: usize,
    /// What can be added without a further look: datagrams of just this size, from and to where
    /// the last one goes, as long as they end here, and there is memory. `usize::MAX` is no size.
    alike_bytes: usize,
    alike_end: usize,
    /// Whether what comes next begins a run, without a look at the last one.
    is_sealed: bool,
    max_bytes: usize,
    /// With more than this in it, it is [full](SendQueue::is_full). `full_bytes <= max_bytes`
    full_bytes: usize,
    is_full: bool,
    dropped: u64,
}

/// One run; its bytes end where the next one's begin.
struct Row {
    to: NetAddr,
    from: Option<IpAddr>,
    segment_bytes: usize,
    /// Where its bytes begin. Of the first: `start`
    start: usize,
}

/// Datagrams of one size to one peer, one behind the other; the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Whom they go to.
    pub to: &'a NetAddr,
    /// Which of our addresses they leave from, where it is not the system's choice.
    pub from: Option<&'a IpAddr>,
    /// The length of each but the last.
    pub segment_bytes: usize,
    /// The bytes of all.
    pub payloads: &'a [u8],
}

impl SendQueue {
    /// A queue that drops what would make it hold more than so many bytes, a few dozen for each
    /// run included.
    #[must_use]
    pub fn new(max_bytes: usize) -> SendQueue {
        SendQueue {
            rows: Vec::new(),
            first: 0,
            last: 0,
            payloads: Vec::new(),
            start: 0,
            end: 0,
            count: 0,
            alike_bytes: usize::MAX,
            alike_end: 0,
            is_sealed: true,
            max_bytes,
            full_bytes: max_bytes,
            is_full: false,
            dropped: 0,
        }
    }

    /// Adds a datagram, and answers true; or drops and counts it where there is too much already.
    #[inline]
    pub fn push(&mut self, to: &NetAddr, from: &Option<IpAddr>, payload: &[u8]) -> bool {
        if !self.is_sealed && self.last_takes(to, from, payload.len()) {
            return self.continue_run(payload);
        }
        self.begin_run(to, from, payload)
    }

    fn last_takes(&self, to: &NetAddr, from: &Option<IpAddr>, len: usize) -> bool {
        let last = self.rows[..self.last].last();
        last.is_some_and(|run| run.takes(to, from, self.end - run.start, len))
    }

    #[inline(always)] // for each sender of a batch
    fn begin_run(&mut self, to: &NetAddr, from: &Option<IpAddr>, payload: &[u8]) -> bool {
        // An empty datagram costs too, or a flood of them would have no bound.
        let len_bytes = self.len_bytes() + ROW_BYTES + payload.len();
        if len_bytes > self.full_bytes && !self.fill_up(len_bytes) {
            return false;
        }
        let (segment_bytes, start) = (payload.len(), self.end);
        match self.rows.get_mut(self.last) {
            Some(row) => {
                row.to.assign(to);
                (row.from, row.segment_bytes, row.start) = (*from, segment_bytes, start);
            }
            None => self.add_row(to, from, segment_bytes),
        }
        self.last += 1;
        self.is_sealed = false;
        self.append(payload);
        let run_left = run_bytes_max(segment_bytes) - segment_bytes;
        self.look_ahead(segment_bytes, run_left, len_bytes);
        true
    }

    #[inline(never)] // off the way of those who begin one
    fn continue_run(&mut self, payload: &[u8]) -> bool {
        let len_bytes = self.len_bytes() + payload.len();
        if len_bytes > self.full_bytes && !self.fill_up(len_bytes) {
            return false;
        }
        self.append(payload);
        let Row { segment_bytes, start, .. } = self.rows[self.last - 1];
        // What is shorter is the last of its run.
        let alike_bytes = if payload.len() == segment_bytes { segment_bytes } else { 0 };
        let run_left = run_bytes_max(segment_bytes) - (self.end - start);
        self.look_ahead(alike_bytes, run_left, len_bytes);
        true
    }

    /// Notes that the queue comes to more than it is full with. Answers false where that is too
    /// much; then what was to be added is counted as dropped.
    #[cold]
    fn fill_up(&mut self, len_bytes: usize) -> bool {
        if len_bytes > self.max_bytes {
            self.dropped += 1;
            return false;
        }
        self.is_full = true;
        true
    }

    #[cold]
    fn add_row(&mut self, to: &NetAddr, from: &Option<IpAddr>, segment_bytes: usize) {
        self.rows.push(Row { to: to.clone(), from: *from, segment_bytes, start: self.end });
    }

    #[inline(always)]
    fn append(&mut self, payload: &[u8]) {
        while !self.copy(payload) {
            self.make_room(payload.len());
        }
    }

    /// Adds these bytes if there is memory for them.
    #[inline(always)]
    fn copy(&mut self, payload: &[u8]) -> bool {
        let end = self.end + payload.len();
        let Some(room) = self.payloads.get_mut(self.end..end) else { return false };
        (self.end, self.count) = (end, self.count + 1);
        room.copy_from_slice(payload);
        true
    }

    #[cold]
    fn make_room(&mut self, more_bytes: usize) {
        let len = self.payloads.len().max(PAYLOADS_MIN_BYTES / 2);
        self.payloads.resize((2 * len).max(self.end + more_bytes), 0);
    }

    /// Works out what can be added without a further look: datagrams of so many bytes, as long as
    /// the run has room for more, and the queue, which comes to so many, is not full. None that are
    /// empty: each costs a row.
    #[inline(always)]
    fn look_ahead(&mut self, alike_bytes: usize, run_left: usize, len_bytes: usize) {
        self.alike_bytes = if alike_bytes > 0 { alike_bytes } else { usize::MAX };
        self.alike_end = self.end + run_left.min(self.full_bytes.saturating_sub(len_bytes));
    }

    /// Adds a datagram like the last one: from and to the same places, and as long. Answers false
    /// where it is longer or shorter, there is no room for it, or the queue was
    /// [sealed](SendQueue::seal); then nothing was done.
    #[inline]
    pub fn push_alike(&mut self, payload: &[u8]) -> bool {
        let is_alike = payload.len() == self.alike_bytes;
        is_alike && self.end + payload.len() <= self.alike_end && self.copy(payload)
    }

    /// What comes next is not like the last, and begins a run.
    #[inline]
    pub fn seal(&mut self) {
        self.alike_bytes = usize::MAX;
        self.is_sealed = true;
    }

    /// What comes next needs a [`push`](SendQueue::push), which looks whether it is like the last.
    #[inline]
    pub fn look_anew(&mut self) {
        self.alike_bytes = usize::MAX;
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// What the queue costs in memory: the payloads, and what is noted about each run.
    #[must_use]
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.end - self.start + (self.last - self.first) * ROW_BYTES
    }

    /// From now on it is [full](SendQueue::is_full) with more than so many bytes in it. (What comes
    /// next begins a run.)
    #[inline]
    pub fn set_full(&mut self, bytes: usize) {
        self.full_bytes = bytes.min(self.max_bytes);
        self.is_full = self.len_bytes() > bytes;
        self.seal();
    }

    /// Whether some had better be sent before more is added, as could be by now. It stays so until
    /// it is [asked anew](SendQueue::set_full).
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The most that [`len_bytes`](SendQueue::len_bytes) may come to.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The oldest datagram: whom it goes to, where it leaves from, and its bytes.
    #[must_use]
    pub fn front(&self) -> Option<(&NetAddr, Option<IpAddr>, &[u8])> {
        let Run { to, from, segment_bytes, payloads } = self.runs().next()?;
        Some((to, from.copied(), &payloads[..segment_bytes.min(payloads.len())]))
    }

    /// The runs, the oldest first.
    #[inline]
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let rows = &self.rows[self.first..self.last];
        rows.iter().enumerate().map(move |(index, row)| {
            let end = rows.get(index + 1).map_or(self.end, |next| next.start);
            let Row { to, from, segment_bytes, start } = row;
            let payloads = &self.payloads[*start..end];
            Run { to, from: from.as_ref(), segment_bytes: *segment_bytes, payloads }
        })
    }

    /// Takes out so many datagrams, the oldest first.
    ///
    /// # Panics
    /// There are fewer.
    pub fn discard(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let run = self.runs().next().expect("no more is taken out than was put in");
            let (run_count, bytes) = (run.count(), left * run.segment_bytes);
            if run_count > left {
                self.rows[self.first].start += bytes;
                break;
            }
            self.first += 1;
            left -= run_count;
        }
        self.forget_discarded(count);
    }

    /// Takes out so many runs, the oldest first, and answers how many datagrams they were.
    ///
    /// # Panics
    /// There are fewer.
    pub fn discard_runs(&mut self, runs: usize) -> usize {
        let waiting = self.last - self.first;
        assert!(runs <= waiting, "no more is taken out than was put in");
        let is_all = runs == waiting;
        let count =
            if is_all { self.count } else { self.runs().take(runs).map(|run| run.count()).sum() };
        self.first += runs;
        self.forget_discarded(count);
        count
    }

    fn forget_discarded(&mut self, count: usize) {
        self.count -= count;
        self.seal();
        if self.first == self.last {
            if self.payloads.len() > PAYLOADS_KEPT_BYTES || self.rows.len() > ROWS_KEPT {
                (self.payloads, self.rows) = (Vec::new(), Vec::new());
            }
            (self.start, self.end) = (0, 0);
            (self.first, self.last) = (0, 0);
            return;
        }
        self.start = self.rows[self.first].start;
        if self.start > self.end / 2 || self.first > self.last / 2 {
            self.payloads.copy_within(self.start..self.end, 0);
            self.rows.drain(..self.first);
            (self.first, self.last) = (0, self.last - self.first);
            self.rows[..self.last].iter_mut().for_each(|row| row.start -= self.start);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Row {
    /// Whether a datagram so long can follow in this run, which has so many bytes. What is empty
    /// cannot be cut in two, and the first that is shorter is the last.
    #[inline]
    fn takes(&self, to: &NetAddr, from: &Option<IpAddr>, bytes: usize, len: usize) -> bool {
        if !self.to.is_same(to) || self.from != *from {
            return false;
        }
        let is_open = self.segment_bytes > 0 && bytes % self.segment_bytes == 0;
        let is_shorter = (1..=self.segment_bytes).contains(&len);
        is_open && is_shorter && bytes + len <= run_bytes_max(self.segment_bytes)
    }
}

impl Run<'_> {
    /// How many there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        let len = self.payloads.len();
        if len <= self.segment_bytes { 1 } else { len.div_ceil(self.segment_bytes) }
    }
}

/// How many bytes a run may have whose datagrams have so many.
#[inline]
fn run_bytes_max(segment_bytes: usize) -> usize {
    match segment_bytes {
        0..=SEGMENT_BYTES_MAX => (SEGMENTS_MAX * segment_bytes).min(RUN_BYTES_MAX),
        _ => segment_bytes,
    }
}

/// What is noted about a run.
const ROW_BYTES: usize = size_of::<Row>();
/// What fits into an Ethernet frame behind the headers of IPv6 and UDP: a segment that would have
/// to be fragmented cannot be offloaded.
const SEGMENT_BYTES_MAX: usize = 1452;
/// As many as Linux has taken at a time from the start (UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 64;
/// A run is one datagram until the system cuts it, and no larger than one may be (RFC 768, behind
/// an IPv4 header).
const RUN_BYTES_MAX: usize = 65_507;
/// Where there is any room, there is this much.
const PAYLOADS_MIN_BYTES: usize = 1024;
/// An empty queue does not hold on to more memory than this.
const PAYLOADS_KEPT_BYTES: usize = 256 * 1024;
const ROWS_KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::base::rng::Rng;

    fn inet(port: u16) -> NetAddr {
        NetAddr::Inet(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn the_queue_keeps_order_and_drops_what_is_too_much() {
        let mut queue = SendQueue::new(1000);
        let to = NetAddr::Unnamed;
        for byte in 0..5 {
            queue.push(&to, &None, &[byte; 300]);
        }
        assert_eq!(queue.take_dropped(), 2);
        for byte in 0..3 {
            assert_eq!(queue.front(), Some((&to, None, &[byte; 300][..])));
            queue.discard(1);
        }
        assert!(queue.is_empty() && queue.end == 0);
    }

    #[test]
    fn empty_datagrams_are_bounded_too() {
        let mut queue = SendQueue::new(1000);
        for _ in 0..1000 {
            queue.push(&NetAddr::Unnamed, &None, b"");
        }
        assert!(queue.last < 100);
        assert!(queue.runs().all(|run| run.count() == 1), "nothing cannot be cut in two");
    }

    #[test]
    fn a_run_is_one_peer_one_source_one_size_and_ends_with_a_shorter_one() {
        let mut queue = SendQueue::new(1 << 20);
        let here: Option<IpAddr> = Some([127, 0, 0, 2].into());
        let pushed = [
            (1, None, 10),
            (1, None, 10),
            (1, None, 4), // shorter: the last
            (1, None, 4),
            (1, here, 4),
            (2, here, 4),
            (2, here, 5), // longer
            (2, here, 0),
            (3, None, SEGMENT_BYTES_MAX + 1),
            (3, None, SEGMENT_BYTES_MAX + 1),
        ];
        for (port, from, len) in pushed {
            queue.push(&inet(port), &from, &vec![7; len]);
        }
        let counts: Vec<usize> = queue.runs().map(|run| run.count()).collect();
        assert_eq!(counts, [3, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn what_is_alike_obeys_the_same_bounds() {
        let mut queue = SendQueue::new(ROW_BYTES + 10);
        assert!(!queue.push_alike(b"") && !queue.push_alike(b"to whom?"));
        assert!(queue.push(&inet(1), &None, b"abcd"));
        assert!(!queue.push_alike(b"abc") && !queue.push_alike(b"abcde"), "not as long");
        assert!(queue.push_alike(b"efgh"));
        assert!(!queue.push_alike(b"ijkl"), "more than the queue holds");
        assert_eq!(queue.len_bytes(), ROW_BYTES + 8);
        assert_eq!(queue.take_dropped(), 0);
        queue.discard(1);
        assert!(!queue.push_alike(b"abcd"), "what is behind it may be another's");
        queue.discard(1);
        assert!(!queue.push_alike(b"abcd"), "the run is gone");
        assert!(
            queue.push(&inet(1), &None, b"") && !queue.push_alike(b""),
            "it would cost nothing"
        );
        queue.discard(1);
        assert!(queue.push(&inet(1), &None, b"a"));
        queue.seal();
        assert!(!queue.push_alike(b"b"));
    }

    #[test]
    fn what_is_sealed_is_not_continued() {
        let mut queue = SendQueue::new(1000);
        queue.push(&inet(1), &None, b"a");
        queue.look_anew();
        assert!(!queue.push_alike(b"b"));
        queue.push(&inet(1), &None, b"b");
        assert_eq!(queue.runs().count(), 1);
        queue.seal();
        queue.push(&inet(1), &None, b"c");
        assert!(queue.push_alike(b"d"));
        assert_eq!(queue.runs().map(|run| run.count()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn it_is_full_with_more_than_was_said_and_takes_more_all_the_same() {
        let mut queue = SendQueue::new(1000);
        queue.set_full(ROW_BYTES + 8);
        assert!(queue.push(&inet(1), &None, b"abcd") && queue.push_alike(b"efgh"));
        assert!(!queue.is_full() && !queue.push_alike(b"ijkl"), "it would be, and nobody knew");
        assert!(queue.push(&inet(1), &None, b"ijkl") && queue.is_full());
        assert!(!queue.push_alike(b"mnop"));
        assert_eq!(queue.discard_runs(1), 3);
        assert!(queue.is_full(), "who fills it has to wait until it is asked anew");
        queue.set_full(0);
        assert!(!queue.is_full());
        assert!(queue.push(&inet(1), &None, b"") && queue.is_full());
        queue.set_full(usize::MAX);
        assert!(!queue.is_full());
        assert!(!queue.push(&inet(1), &None, &[0; 1000]) && queue.take_dropped() == 1);
    }

    #[test]
    fn runs_are_no_longer_than_a_system_takes() {
        let mut queue = SendQueue::new(1 << 20);
        for _ in 0..100 {
            queue.push(&inet(1), &None, b"x");
        }
        for _ in 0..100 {
            queue.push(&inet(2), &None, &[0; SEGMENT_BYTES_MAX]);
        }
        let runs: Vec<(usize, usize)> =
            queue.runs().map(|run| (run.count(), run.payloads.len())).collect();
        assert_eq!(runs[..2], [(64, 64), (36, 36)]);
        assert!(runs.iter().all(|(_, bytes)| *bytes <= RUN_BYTES_MAX));
        assert_eq!(runs[2..].iter().map(|(count, _)| count).sum::<usize>(), 100);
    }

    #[test]
    fn whatever_is_pushed_and_taken_out_comes_in_order_and_whole() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut queue = SendQueue::new(1 << 20);
            let mut model = VecDeque::new();
            for step in 0..200_u32 {
                if rng.chance(3, 5) {
                    let (to, len) = (inet(rng.below(2) as u16), 3 * rng.below(3) as usize);
                    let payload = vec![step as u8; len];
                    let is_alike = model.back().is_some_and(|(last, _)| *last == to);
                    if rng.chance(1, 8) {
                        queue.set_full(rng.below(2000) as usize);
                    }
                    if !is_alike || !queue.push_alike(&payload) {
                        assert!(queue.push(&to, &None, &payload));
                    }
                    let is_over = queue.len_bytes() > queue.full_bytes;
                    assert!(queue.is_full() || !is_over, "seed {seed}");
                    model.push_back((to, payload));
                } else {
                    let count = if rng.chance(1, 2) {
                        let count = rng.below(model.len() as u64 + 1) as usize;
                        queue.discard(count);
                        count
                    } else {
                        let runs = rng.below(queue.runs().count() as u64 + 1);
                        queue.discard_runs(runs as usize)
                    };
                    model.drain(..count);
                }
                let front = model.front().map(|(to, payload)| (to, None, &payload[..]));
                assert_eq!(queue.front(), front, "seed {seed}");
                let count: usize = queue.runs().map(|run| run.count()).sum();
                assert_eq!((count, queue.count), (model.len(), model.len()), "seed {seed}");
                let bytes: usize = model.iter().map(|(_, payload)| payload.len()).sum();
                let rows = queue.last - queue.first;
                assert_eq!(queue.len_bytes(), bytes + rows * ROW_BYTES, "seed {seed}");
            }
        }
    }
}
