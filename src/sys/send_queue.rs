//! Datagrams on their way out.
//!
//! A [`SendQueue`] keeps payloads one behind the other, and neighbours of one size to one peer as
//! one [`Run`], which some systems can take for one (segmentation offload).

use std::net::IpAddr;

use crate::base::address::NetAddr;

/// Datagrams that wait for their socket to take them, the oldest first.
pub struct SendQueue {
    /// `rows[first..]` is what waits; when that is nothing, the rows are forgotten.
    rows: Vec<Row>,
    first: usize,
    /// `payloads[start..]` are their bytes.
    payloads: Vec<u8>,
    start: usize,
    /// What can be added without a further look: so many bytes, in datagrams of just this size,
    /// from and to where the last one goes. `usize::MAX` is no size.
    room_bytes: usize,
    room_segment_bytes: usize,
    max_bytes: usize,
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
    pub from: Option<IpAddr>,
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
            payloads: Vec::new(),
            start: 0,
            room_bytes: 0,
            room_segment_bytes: usize::MAX,
            max_bytes,
            dropped: 0,
        }
    }

    /// Adds a datagram, and answers true; or drops and counts it where there is too much already.
    pub fn push(&mut self, to: &NetAddr, from: Option<IpAddr>, payload: &[u8]) -> bool {
        let lengthens = self.rows.last().is_some_and(|last| {
            let bytes = self.payloads.len() - last.start;
            last.to.is_same(to) && last.from == from && last.takes(bytes, payload.len())
        });
        // An empty datagram costs too, or a flood of them would have no bound.
        let row_bytes = if lengthens { 0 } else { size_of::<Row>() };
        if self.len_bytes() + payload.len() + row_bytes > self.max_bytes {
            self.dropped += 1;
            return false;
        }
        if !lengthens {
            let start = self.payloads.len();
            self.rows.push(Row { to: to.clone(), from, segment_bytes: payload.len(), start });
        }
        self.payloads.extend_from_slice(payload);
        self.look_for_room();
        true
    }

    /// Adds a datagram like the last one: from and to the same places, and as long. Answers false
    /// where it is longer or shorter, or there is no room for it; then nothing was done.
    #[inline]
    pub fn push_alike(&mut self, payload: &[u8]) -> bool {
        if payload.len() != self.room_segment_bytes || payload.len() > self.room_bytes {
            return false;
        }
        self.room_bytes -= payload.len();
        self.payloads.extend_from_slice(payload);
        true
    }

    /// Works out what [`push_alike`](SendQueue::push_alike) may add.
    fn look_for_room(&mut self) {
        self.room_segment_bytes = usize::MAX;
        let Some(last) = self.rows.last() else { return };
        let bytes = self.payloads.len() - last.start;
        if last.takes(bytes, last.segment_bytes) {
            self.room_segment_bytes = last.segment_bytes;
            self.room_bytes = (last.bytes_max() - bytes).min(self.max_bytes - self.len_bytes());
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What the queue costs in memory: the payloads, and what is noted about each run.
    #[must_use]
    #[inline]
    pub fn len_bytes(&self) -> usize {
        self.payloads.len() - self.start + (self.rows.len() - self.first) * size_of::<Row>()
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
        Some((to, from, &payloads[..segment_bytes.min(payloads.len())]))
    }

    /// The runs, the oldest first.
    #[inline]
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let rows = &self.rows[self.first..];
        rows.iter().enumerate().map(move |(index, row)| {
            let end = rows.get(index + 1).map_or(self.payloads.len(), |next| next.start);
            let Row { to, from, segment_bytes, start } = row;
            let payloads = &self.payloads[*start..end];
            Run { to, from: *from, segment_bytes: *segment_bytes, payloads }
        })
    }

    /// Takes out so many datagrams, the oldest first.
    ///
    /// # Panics
    /// There are fewer.
    pub fn discard(&mut self, mut count: usize) {
        while count > 0 {
            let run = self.runs().next().expect("no more is taken out than was put in");
            let (run_count, bytes) = (run.count(), count * run.segment_bytes);
            if run_count > count {
                self.rows[self.first].start += bytes;
                break;
            }
            self.first += 1;
            count -= run_count;
        }
        self.forget_discarded();
    }

    /// Takes out so many runs, the oldest first, and answers how many datagrams they were.
    ///
    /// # Panics
    /// There are fewer.
    pub fn discard_runs(&mut self, count: usize) -> usize {
        assert!(count <= self.rows.len() - self.first, "no more is taken out than was put in");
        let datagrams = self.runs().take(count).map(|run| run.count()).sum();
        self.first += count;
        self.forget_discarded();
        datagrams
    }

    fn forget_discarded(&mut self) {
        let Some(first) = self.rows.get(self.first) else {
            let is_large =
                self.payloads.capacity() > PAYLOADS_KEPT_BYTES || self.rows.capacity() > ROWS_KEPT;
            if is_large {
                (self.payloads, self.rows) = (Vec::new(), Vec::new());
            }
            self.payloads.clear();
            self.rows.clear();
            (self.start, self.first) = (0, 0);
            self.look_for_room();
            return;
        };
        self.start = first.start;
        if self.start > self.payloads.len() / 2 || self.first > self.rows.len() / 2 {
            self.payloads.drain(..self.start);
            self.rows.drain(..self.first);
            self.rows.iter_mut().for_each(|row| row.start -= self.start);
            (self.start, self.first) = (0, 0);
        }
        self.look_for_room();
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
    fn takes(&self, bytes: usize, len: usize) -> bool {
        let is_open = self.segment_bytes > 0 && bytes % self.segment_bytes == 0;
        is_open && (1..=self.segment_bytes).contains(&len) && bytes + len <= self.bytes_max()
    }

    fn bytes_max(&self) -> usize {
        if self.segment_bytes > SEGMENT_BYTES_MAX {
            return self.segment_bytes;
        }
        (SEGMENTS_MAX * self.segment_bytes).min(RUN_BYTES_MAX)
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

/// What fits into an Ethernet frame behind the headers of IPv6 and UDP: a segment that would have
/// to be fragmented cannot be offloaded.
const SEGMENT_BYTES_MAX: usize = 1452;
/// As many as Linux has taken at a time from the start (UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 64;
/// A run is one datagram until the system cuts it, and no larger than one may be (RFC 768, behind
/// an IPv4 header).
const RUN_BYTES_MAX: usize = 65_507;
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
            queue.push(&to, None, &[byte; 300]);
        }
        assert_eq!(queue.take_dropped(), 2);
        for byte in 0..3 {
            assert_eq!(queue.front(), Some((&to, None, &[byte; 300][..])));
            queue.discard(1);
        }
        assert!(queue.is_empty() && queue.payloads.is_empty());
    }

    #[test]
    fn empty_datagrams_are_bounded_too() {
        let mut queue = SendQueue::new(1000);
        for _ in 0..1000 {
            queue.push(&NetAddr::Unnamed, None, b"");
        }
        assert!(queue.rows.len() < 100);
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
            queue.push(&inet(port), from, &vec![7; len]);
        }
        let counts: Vec<usize> = queue.runs().map(|run| run.count()).collect();
        assert_eq!(counts, [3, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn what_is_alike_obeys_the_same_bounds() {
        let mut queue = SendQueue::new(size_of::<Row>() + 10);
        assert!(!queue.push_alike(b"") && !queue.push_alike(b"to whom?"));
        assert!(queue.push(&inet(1), None, b"abcd"));
        assert!(!queue.push_alike(b"abc") && !queue.push_alike(b"abcde"), "not as long");
        assert!(queue.push_alike(b"efgh"));
        assert!(!queue.push_alike(b"ijkl"), "more than the queue holds");
        assert_eq!(queue.len_bytes(), size_of::<Row>() + 8);
        assert_eq!(queue.take_dropped(), 0);
        queue.discard(2);
        assert!(!queue.push_alike(b"abcd"), "the run is gone");
        assert!(queue.push(&inet(1), None, b"") && !queue.push_alike(b""), "it would cost nothing");
    }

    #[test]
    fn runs_are_no_longer_than_a_system_takes() {
        let mut queue = SendQueue::new(1 << 20);
        for _ in 0..100 {
            queue.push(&inet(1), None, b"x");
        }
        for _ in 0..100 {
            queue.push(&inet(2), None, &[0; SEGMENT_BYTES_MAX]);
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
                    if !is_alike || !queue.push_alike(&payload) {
                        assert!(queue.push(&to, None, &payload));
                    }
                    model.push_back((to, payload));
                } else {
                    let count = rng.below(model.len() as u64 + 1) as usize;
                    queue.discard(count);
                    model.drain(..count);
                }
                let front = model.front().map(|(to, payload)| (to, None, &payload[..]));
                assert_eq!(queue.front(), front, "seed {seed}");
                let count: usize = queue.runs().map(|run| run.count()).sum();
                assert_eq!(count, model.len(), "seed {seed}");
                let bytes: usize = model.iter().map(|(_, payload)| payload.len()).sum();
                let rows = queue.rows.len() - queue.first;
                assert_eq!(queue.len_bytes(), bytes + rows * size_of::<Row>(), "seed {seed}");
            }
        }
    }
}
