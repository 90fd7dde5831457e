//! Datagrams many at a time: a batch on its way in, and a queue on its way out.
//!
//! A [`ReceiveBatch`] has a slot for each datagram that one call may bring, and each slot has room
//! for the largest there is, so nothing is cut. That is a matter of addresses rather than of
//! memory: the system backs with pages only what datagrams have reached, which is one page a slot
//! where they are small, and about 4 MiB where every slot has seen the largest.
//!
//! A [`SendQueue`] keeps payloads one behind the other, and neighbours of one size to one peer as
//! one [`Run`], which some systems can take for one (segmentation offload).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::base::address::NetAddr;
use crate::sys::{Received, many};

/// What one call received, and the memory it was received into. It is reused from call to call.
pub struct ReceiveBatch {
    /// `slots` slots of `slot_bytes + SLOT_OFFSET` bytes each; it never moves or grows.
    pub(super) buffer: Vec<u8>,
    pub(super) slot_bytes: usize,
    pub(super) arrived: Vec<Arrived>,
    /// Datagrams that the system lost for want of room in the socket's buffer before these.
    pub(super) overflowed: u64,
    pub(super) headers: many::ReceiveHeaders,
}

/// What is in one slot of a [`ReceiveBatch`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Its length, its sender, and whether it was cut.
    pub received: Received,
    /// Which of our addresses it was sent to, where the platform tells. It does of sockets that
    /// are bound to every address: the answer has to leave from there.
    pub to: Option<IpAddr>,
    /// Where the system handed over several datagrams of one peer as one (GRO): the length of
    /// each but the last, which may be shorter. Otherwise no less than the whole length.
    pub segment_bytes: usize,
}

impl ReceiveBatch {
    /// Room for so many datagrams of so many bytes. A datagram that is larger is cut, which
    /// [`Received::truncated`] tells.
    ///
    /// # Panics
    /// There is no slot.
    #[must_use]
    pub fn new(slots: usize, slot_bytes: usize) -> ReceiveBatch {
        assert!(slots > 0, "a batch without slots");
        let mut buffer = vec![0; slots * (slot_bytes + SLOT_OFFSET)];
        ReceiveBatch {
            headers: many::ReceiveHeaders::new(&mut buffer, slots, slot_bytes),
            buffer,
            slot_bytes,
            arrived: Vec::with_capacity(slots),
            overflowed: 0,
        }
    }

    /// How many datagrams one call may bring.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.buffer.len() / (self.slot_bytes + SLOT_OFFSET)
    }

    /// Forgets what is in it.
    pub fn clear(&mut self) {
        self.arrived.clear();
        self.overflowed = 0;
    }

    /// Fills the next slot by `receive`, which is given its memory.
    ///
    /// # Errors
    /// Those of `receive`.
    ///
    /// # Panics
    /// Every slot is full.
    pub fn fill<E>(
        &mut self,
        receive: impl FnOnce(&mut [u8]) -> Result<Received, E>,
    ) -> Result<(), E> {
        let start = self.arrived.len() * (self.slot_bytes + SLOT_OFFSET);
        let received = receive(&mut self.buffer[start..start + self.slot_bytes])?;
        self.arrived.push(Arrived { received, to: None, segment_bytes: usize::MAX });
        Ok(())
    }

    /// What has arrived, each with its bytes.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&Arrived, &[u8])> {
        let slots = self.buffer.chunks_exact(self.slot_bytes + SLOT_OFFSET);
        self.arrived
            .iter()
            .zip(slots)
            .map(|(arrived, slot)| (arrived, &slot[..arrived.received.len]))
    }

    /// Datagrams that the system lost before these, for want of room in the socket's buffer.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// Slots that lay a power of two apart would share the same few lines of the processor's caches.
pub(super) const SLOT_OFFSET: usize = 64;

/// Datagrams that wait for their socket to take them, the oldest first.
pub struct SendQueue {
    runs: VecDeque<Run>,
    /// `payloads[start..]` is what waits.
    payloads: Vec<u8>,
    start: usize,
    max_bytes: usize,
    dropped: u64,
}

/// Datagrams of one size to one peer, one behind the other; the last may be shorter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Whom they go to.
    pub to: NetAddr,
    /// Which of our addresses they leave from, where it is not the system's choice.
    pub from: Option<IpAddr>,
    /// The length of each but the last.
    pub segment_bytes: usize,
    /// The length of all. `bytes <= count * segment_bytes`
    pub bytes: usize,
    /// How many there are; at least one.
    pub count: usize,
}

impl SendQueue {
    /// A queue that drops what would make it hold more than so many bytes, a few dozen for each
    /// run included.
    #[must_use]
    pub fn new(max_bytes: usize) -> SendQueue {
        SendQueue { runs: VecDeque::new(), payloads: Vec::new(), start: 0, max_bytes, dropped: 0 }
    }

    /// Adds a datagram, or drops and counts it where there is too much already.
    pub fn push(&mut self, to: &NetAddr, from: Option<IpAddr>, payload: &[u8]) {
        // An empty datagram costs too, or a flood of them would have no bound.
        if self.len_bytes() + payload.len() > self.max_bytes {
            self.dropped += 1;
            return;
        }
        self.payloads.extend_from_slice(payload);
        match self.runs.back_mut() {
            Some(run) if run.takes(to, from, payload.len()) => {
                run.bytes += payload.len();
                run.count += 1;
            }
            _ => self.runs.push_back(Run {
                to: to.clone(),
                from,
                segment_bytes: payload.len(),
                bytes: payload.len(),
                count: 1,
            }),
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What the queue costs in memory: the payloads, and what is noted about each run.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.payloads.len() - self.start + self.runs.len() * size_of::<Run>()
    }

    /// The most that [`len_bytes`](SendQueue::len_bytes) may come to.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The oldest datagram: whom it goes to, where it leaves from, and its bytes.
    #[must_use]
    pub fn front(&self) -> Option<(&NetAddr, Option<IpAddr>, &[u8])> {
        let run = self.runs.front()?;
        let payload = &self.payloads[self.start..self.start + run.first_bytes()];
        Some((&run.to, run.from, payload))
    }

    /// The runs, each with its bytes, the oldest first.
    pub fn runs(&self) -> impl Iterator<Item = (&Run, &[u8])> {
        let mut rest = &self.payloads[self.start..];
        self.runs.iter().map(move |run| {
            let (payloads, behind) = rest.split_at(run.bytes);
            rest = behind;
            (run, payloads)
        })
    }

    /// Takes out so many datagrams, the oldest first.
    ///
    /// # Panics
    /// There are fewer.
    pub fn discard(&mut self, mut count: usize) {
        while count > 0 {
            let run = self.runs.front_mut().expect("no more is taken out than was put in");
            if run.count <= count {
                count -= run.count;
                self.start += run.bytes;
                self.runs.pop_front();
            } else {
                let gone = count * run.segment_bytes;
                run.count -= count;
                run.bytes -= gone;
                self.start += gone;
                count = 0;
            }
        }
        if self.runs.is_empty() {
            self.payloads.clear();
            self.start = 0;
            if self.payloads.capacity() > PAYLOADS_KEPT_BYTES {
                self.payloads = Vec::new();
            }
        } else if self.start > self.payloads.len() / 2 {
            self.payloads.drain(..self.start);
            self.start = 0;
        }
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Run {
    fn first_bytes(&self) -> usize {
        self.segment_bytes.min(self.bytes)
    }

    fn takes(&self, to: &NetAddr, from: Option<IpAddr>, bytes: usize) -> bool {
        (1..=self.segment_bytes).contains(&bytes)
            && self.segment_bytes <= SEGMENT_BYTES_MAX
            && self.count < SEGMENTS_MAX
            && self.bytes == self.count * self.segment_bytes
            && self.bytes + bytes <= RUN_BYTES_MAX
            && self.from == from
            && is_same(&self.to, to)
    }
}

/// As `==`, which compares an address of IPv4 byte by byte.
#[inline]
fn is_same(one: &NetAddr, two: &NetAddr) -> bool {
    match (one, two) {
        (NetAddr::Inet(SocketAddr::V4(one)), NetAddr::Inet(SocketAddr::V4(two))) => {
            one.port() == two.port() && one.ip().to_bits() == two.ip().to_bits()
        }
        _ => one == two,
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

#[cfg(test)]
mod tests {
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
        assert!(queue.runs.len() < 100);
        assert!(queue.runs.iter().all(|run| run.count == 1), "nothing cannot be cut in two");
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
        let counts: Vec<usize> = queue.runs().map(|(run, _)| run.count).collect();
        assert_eq!(counts, [3, 1, 1, 1, 1, 1, 1, 1]);
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
            queue.runs().map(|(run, _)| (run.count, run.bytes)).collect();
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
                    queue.push(&to, None, &payload);
                    model.push_back((to, payload));
                } else {
                    let count = rng.below(model.len() as u64 + 1) as usize;
                    queue.discard(count);
                    model.drain(..count);
                }
                let front = model.front().map(|(to, payload)| (to, None, &payload[..]));
                assert_eq!(queue.front(), front, "seed {seed}");
                let count: usize = queue.runs().map(|(run, _)| run.count).sum();
                assert_eq!(count, model.len(), "seed {seed}");
                for (run, bytes) in queue.runs() {
                    assert_eq!(run.bytes, bytes.len());
                    assert!(run.bytes <= run.count * run.segment_bytes && run.count > 0);
                }
            }
        }
    }
}
