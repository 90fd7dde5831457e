//! Datagrams on their way in, many at a time.
//!
//! A [`ReceiveBatch`] has a slot for each datagram that one call may bring, and each slot has room
//! for the largest there is, so nothing is cut. That is a matter of addresses rather than of
//! memory: the system backs with pages only what datagrams have reached, which is one page of a
//! slot where they are small, and all of it where it has seen the largest.
//!
//! Neighbours from one sender, as a peer with several in flight makes them, are noted together:
//! what there is to do about a sender is then done once for all of them.

use std::net::{IpAddr, SocketAddrV4};
use std::ops::Range;
use std::{iter, slice};

use crate::base::address::NetAddr;
use crate::sys::{Received, many};

/// What one call received, and the memory it was received into. It is reused from call to call.
pub struct ReceiveBatch {
    /// Slots of `SLOT_STRIDE` bytes each; it never moves or grows.
    pub(super) buffer: Vec<u8>,
    /// How many bytes of a slot are used.
    slot_bytes: usize,
    pub(super) notes: Notes,
    /// Datagrams that the system lost for want of room in the socket's buffer before these.
    pub(super) overflowed: u64,
    pub(super) headers: many::ReceiveHeaders,
}

/// What is in the slots of a [`ReceiveBatch`]. Both tables are as long as there are slots; their
/// rows are written over and not dropped, which takes fewer steps.
pub(super) struct Notes {
    /// How long what is in each slot is; the first `filled` count.
    pub(super) lens: Box<[u16]>,
    pub(super) filled: usize,
    pub(super) senders: Senders,
}

/// From whom that is: the first `count` rows. `count <= filled`
pub(super) struct Senders {
    rows: Box<[Arrived]>,
    count: usize,
}

/// What datagrams have in common that came one behind the other: all that is told about them but
/// their bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    /// Who sent them.
    pub from: NetAddr,
    /// Which of our addresses they were sent to, where the platform tells. It does of sockets
    /// that are bound to every address: the answer has to leave from there.
    pub to: Option<IpAddr>,
    /// Whether what does not fit into a slot was cut off, or some of what is told beside it.
    pub truncated: bool,
    /// Where the system handed over several datagrams as one (GRO): the length of each but the
    /// last, which may be shorter. 0 where it did not.
    pub(super) joined_bytes: u32,
    /// The first of the slots that they are in; the last is before the next sender's.
    first_slot: u32,
}

/// It is written and looked at for each sender of each batch.
const _: () = assert!(size_of::<Arrived>() <= 64);

impl ReceiveBatch {
    /// Room for so many datagrams of so many bytes. A datagram that is larger is cut, which
    /// [`Arrived::truncated`] tells.
    ///
    /// # Panics
    /// There is no slot, or a slot has more than [`SLOT_BYTES_MAX`].
    #[must_use]
    pub fn new(slots: usize, slot_bytes: usize) -> ReceiveBatch {
        assert!(slots > 0 && slot_bytes <= SLOT_BYTES_MAX, "a batch that cannot be");
        let mut buffer = vec![0; slots * SLOT_STRIDE];
        let nothing = Arrived::new(NetAddr::Unnamed, None, false);
        ReceiveBatch {
            headers: many::ReceiveHeaders::new(&mut buffer, slots, slot_bytes),
            buffer,
            slot_bytes,
            notes: Notes {
                lens: vec![0; slots].into(),
                filled: 0,
                senders: Senders { rows: vec![nothing; slots].into(), count: 0 },
            },
            overflowed: 0,
        }
    }

    /// Forgets what is in it.
    pub fn clear(&mut self) {
        (self.notes.filled, self.notes.senders.count) = (0, 0);
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
        let start = self.notes.filled * SLOT_STRIDE;
        let received = receive(&mut self.buffer[start..start + self.slot_bytes])?;
        let Received { len, from, truncated } = received;
        let len = u16::try_from(len).expect("no more was received than there was room for");
        self.notes.note(len, Arrived::new(from, None, truncated));
        Ok(())
    }

    /// What has arrived, sender by sender.
    #[inline]
    #[must_use]
    pub fn arrivals(&self) -> Arrivals<'_> {
        Arrivals {
            rows: &self.notes.senders.rows[..self.notes.senders.count],
            lens: &self.notes.lens[..self.notes.filled],
            buffer: &self.buffer,
        }
    }

    /// The datagrams that have arrived, one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = (&Arrived, &[u8])> {
        let mut all = self.arrivals();
        let senders = iter::from_fn(move || {
            let arrived = all.next()?;
            let payloads = all.payloads_of_last(arrived, 0..all.count_of_last(arrived));
            Some(payloads.iter().map(move |bytes| (arrived, bytes)))
        });
        senders.flatten()
    }

    /// Who sent, and how many each.
    #[cfg(test)]
    pub(super) fn counts(&self) -> Vec<(NetAddr, usize)> {
        let mut all = self.arrivals();
        let next = || all.next().map(|it| (it.from.clone(), all.count_of_last(it)));
        iter::from_fn(next).collect()
    }

    /// Datagrams that the system lost before these, for want of room in the socket's buffer.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

impl Notes {
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Notes what is in the next slot.
    pub(super) fn note(&mut self, len: u16, arrived: Arrived) {
        self.lens[self.filled] = len;
        self.senders.note(self.filled, arrived);
        self.filled += 1;
    }
}

impl Senders {
    /// Notes from whom the datagram in this slot is, who is not the sender of the one before, and
    /// that nothing else is to be said.
    #[inline]
    pub(super) fn note_plain(&mut self, slot: usize, from: SocketAddrV4) {
        let row = &mut self.rows[self.count];
        row.from.assign_v4(from);
        (row.to, row.truncated, row.joined_bytes) = (None, false, 0);
        row.first_slot = slot as u32;
        self.count += 1;
    }

    /// Notes from whom the datagram in this slot is, where that is not as in the one before.
    pub(super) fn note(&mut self, slot: usize, arrived: Arrived) {
        if self.rows[..self.count].last().is_none_or(|last| !last.is_like(&arrived)) {
            self.rows[self.count] = Arrived { first_slot: slot as u32, ..arrived };
            self.count += 1;
        }
    }
}

impl Arrived {
    #[inline]
    pub(super) fn new(from: NetAddr, to: Option<IpAddr>, truncated: bool) -> Arrived {
        Arrived { from, to, truncated, joined_bytes: 0, first_slot: 0 }
    }

    /// Whether datagrams can be noted together.
    #[inline]
    fn is_like(&self, other: &Arrived) -> bool {
        let is_plain = |it: &Arrived| !it.truncated && it.joined_bytes == 0;
        is_plain(self) && is_plain(other) && self.from.is_same(&other.from) && self.to == other.to
    }
}

/// What is in a [`ReceiveBatch`], sender by sender: from [`arrivals`](ReceiveBatch::arrivals).
/// There is nothing in the default one.
#[derive(Clone, Default)]
pub struct Arrivals<'a> {
    /// What is left.
    rows: &'a [Arrived],
    /// All, by slot.
    lens: &'a [u16],
    buffer: &'a [u8],
}

impl<'a> Arrivals<'a> {
    /// Whether there is nothing left to be looked at.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many datagrams came from this sender, who was the last to be answered by `next`.
    #[inline]
    pub(crate) fn count_of_last(&self, arrived: &Arrived) -> usize {
        let start = arrived.first_slot as usize;
        match arrived.joined_bytes as usize {
            0 => {
                let next = self.rows.first();
                next.map_or(self.lens.len(), |next| next.first_slot as usize) - start
            }
            each => usize::from(self.lens[start]).div_ceil(each),
        }
    }

    /// These datagrams of that sender.
    ///
    /// # Panics
    /// There are fewer.
    #[inline(always)] // for each sender of a batch
    pub(crate) fn payloads_of_last(&self, arrived: &Arrived, these: Range<usize>) -> Payloads<'a> {
        let slot = arrived.first_slot as usize;
        match arrived.joined_bytes as usize {
            0 => {
                let (start, end) = (slot + these.start, slot + these.end);
                let slots = &self.buffer[start * SLOT_STRIDE..];
                Payloads::Apart(Apart { lens: &self.lens[start..end], slots })
            }
            each => {
                let whole = &self.buffer[slot * SLOT_STRIDE..][..usize::from(self.lens[slot])];
                let [start, end] = [these.start, these.end].map(|it| whole.len().min(it * each));
                Payloads::Joined(Joined { bytes: &whole[start..end], each })
            }
        }
    }
}

impl<'a> Iterator for Arrivals<'a> {
    type Item = &'a Arrived;

    #[inline]
    fn next(&mut self) -> Option<&'a Arrived> {
        let (arrived, rows) = self.rows.split_first()?;
        self.rows = rows;
        Some(arrived)
    }
}

/// The bytes of datagrams that came one behind the other.
#[derive(Clone)]
pub enum Payloads<'a> {
    /// Each in a slot of its own.
    Apart(Apart<'a>),
    /// All in one slot.
    Joined(Joined<'a>),
}

/// The bytes of datagrams in slots of their own.
#[derive(Clone)]
pub struct Apart<'a> {
    /// The length of each.
    lens: &'a [u16],
    /// Their slots, and what is behind them.
    slots: &'a [u8],
}

/// The bytes of datagrams that came as one.
#[derive(Clone)]
pub struct Joined<'a> {
    bytes: &'a [u8],
    /// The length of each but the last.
    each: usize,
}

impl<'a> Joined<'a> {
    /// One by one.
    #[inline]
    pub fn iter(&self) -> slice::Chunks<'a, u8> {
        self.bytes.chunks(self.each)
    }
}

impl<'a> Apart<'a> {
    /// One by one.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let slots = self.slots.chunks_exact(SLOT_STRIDE);
        self.lens.iter().zip(slots).map(|(len, slot)| &slot[..usize::from(*len)])
    }
}

impl<'a> Payloads<'a> {
    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (apart, joined) = match self {
            Payloads::Apart(apart) => (Some(apart.iter()), None),
            Payloads::Joined(joined) => (None, Some(joined.iter())),
        };
        apart.into_iter().flatten().chain(joined.into_iter().flatten())
    }
}

/// What one slot can hold: as much as the length of a UDP datagram can say (RFC 768), so that no
/// slice of a slot by a length need be checked. (A Unix socket may get larger ones.)
pub const SLOT_BYTES_MAX: usize = u16::MAX as usize;

/// From slot to slot. If they lay a power of two apart, they would share the same few lines of the
/// processor's caches.
pub(super) const SLOT_STRIDE: usize = SLOT_BYTES_MAX + 1 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(port: u16) -> NetAddr {
        NetAddr::Inet(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn neighbours_are_noted_together_and_each_keeps_its_bytes() {
        let mut batch = ReceiveBatch::new(8, 4);
        for round in 0..2 {
            batch.clear();
            let sent: [(u16, &[u8], bool); 7] = [
                (1, b"1", false),
                (1, b"", false),
                (1, b"333", false),
                (2, b"4", false),
                (1, b"5", false),
                (1, b"6666", true), // truncated: alone
                (1, b"7", false),
            ];
            for (port, payload, truncated) in sent {
                let filled = batch.fill(|slot| {
                    slot[..payload.len()].copy_from_slice(payload);
                    Ok::<_, ()>(Received { len: payload.len(), from: inet(port), truncated })
                });
                filled.unwrap();
            }
            let together = batch.counts().into_iter().map(|(_, count)| count);
            assert!(together.eq([3, 1, 1, 1, 1]), "round {round}");
            let came =
                batch.datagrams().map(|(it, bytes)| (it.from.port().unwrap(), bytes, it.truncated));
            assert!(came.eq(sent));
        }
    }

    #[test]
    fn what_came_joined_is_cut() {
        let mut batch = ReceiveBatch::new(3, 10);
        batch.fill(|_| Ok::<_, ()>(Received { len: 1, from: inet(1), truncated: false })).unwrap();
        let start = SLOT_STRIDE;
        batch.buffer[start..start + 8].copy_from_slice(b"aaabbbcc");
        let joined = Arrived { joined_bytes: 3, ..Arrived::new(inet(1), None, false) };
        batch.notes.note(8, joined);
        batch.fill(|_| Ok::<_, ()>(Received { len: 0, from: inet(1), truncated: false })).unwrap();
        let came: Vec<&[u8]> = batch.datagrams().map(|(_, bytes)| bytes).collect();
        assert_eq!(came, [&b"\0"[..], b"aaa", b"bbb", b"cc", b""]);

        assert_eq!(batch.counts(), [1, 3, 1].map(|count| (inet(1), count)));
    }

    #[test]
    fn a_part_is_what_it_says() {
        let mut batch = ReceiveBatch::new(8, 10);
        for len in 0..3 {
            let received = Received { len, from: inet(1), truncated: false };
            batch.fill(|_| Ok::<_, ()>(received)).unwrap();
        }
        let joined = Arrived { joined_bytes: 3, ..Arrived::new(inet(1), None, false) };
        batch.notes.note(8, joined);
        let mut all = batch.arrivals();
        while let Some(arrived) = all.next() {
            let whole: Vec<&[u8]> = all.payloads_of_last(arrived, 0..3).iter().collect();
            assert_eq!((whole.len(), all.count_of_last(arrived)), (3, 3));
            for (start, end) in (0..=3).flat_map(|end| (0..=end).map(move |start| (start, end))) {
                let part = all.payloads_of_last(arrived, start..end);
                assert!(part.iter().eq(whole[start..end].iter().copied()));
            }
        }
    }
}
