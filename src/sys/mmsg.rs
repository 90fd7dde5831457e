//! Linux: datagrams many a call (recvmmsg(2), sendmmsg(2)), with what the system tells and is
//! told beside them (cmsg(3)), and several cut from or joined to one (udp(7), UDP_SEGMENT and
//! UDP_GRO).
//!
//! Each unsafe block meets these obligations:
//!
//! 1. *Descriptors are open*: they come as a `BorrowedFd`, whose owner outlives the call.
//! 2. *Headers point at what lives*: at the `Parts` of a `Table`, whose `Vec`s are never resized; at a batch's buffer, which is not either and is dropped with the headers; or at
//!    payloads that are borrowed for the length of the call. Lengths are those of what is
//!    pointed at.
//! 3. *Memory is ours*: what the system writes to is exclusively borrowed for the length of the
//!    call.
//! 4. *Any bytes will do*: what is read was written before, by us or by the system, and its type
//!    has no invalid values; and it is read within the length that came with it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, iovec, mmsghdr, sockaddr_storage, socklen_t};

use super::batch::{Arrived, ReceiveBatch, SLOT_STRIDE, Senders};
use super::cmsg::{self, Control};
use super::send_queue::{Run, SendQueue};
use super::sockaddr;
use crate::base::address::NetAddr;

/// What is known of one socket.
#[derive(Default, Debug)]
pub(super) struct Known {
    /// Whether the system can cut runs; false once it turns out that it cannot.
    can_segment: bool,
    /// Whether there is room for control messages. Not on a Unix socket: anybody could pass it
    /// descriptors, which would be ours to close.
    has_controls: bool,
    /// The system's count of datagrams it lost, as far as it is counted here. It goes round.
    lost: u32,
}

impl Known {
    /// How many more were lost, by a count that came with a datagram. It is of the moment in which
    /// that one came, and may be older than what is known.
    fn lost_since(&mut self, lost: u32) -> u64 {
        let more = lost.wrapping_sub(self.lost) as i32;
        match u64::try_from(more) {
            Ok(more) => {
                self.lost = lost;
                more
            }
            Err(_) => 0,
        }
    }
}

/// Headers of as many messages, and what each of them points at.
struct Table {
    headers: Vec<mmsghdr>,
    parts: Vec<Parts>,
}

/// What a header points at.
#[derive(Clone)]
struct Parts {
    vector: iovec,
    name: sockaddr_storage,
    control: Control,
}

// SAFETY: its headers point at what it owns, and at a buffer that goes wherever it goes (2).
unsafe impl Send for Table {}

impl Table {
    fn new(len: usize) -> Table {
        // SAFETY: any bytes will do (4): null pointers and zeros.
        let header = unsafe { std::mem::zeroed::<mmsghdr>() };
        let vector = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let parts = Parts { vector, name: sockaddr::none(), control: Control::EMPTY };
        let mut table = Table { headers: vec![header; len], parts: vec![parts; len] };
        for (header, parts) in table.headers.iter_mut().zip(&mut table.parts) {
            let header = &mut header.msg_hdr;
            header.msg_iov = &raw mut parts.vector;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut parts.name).cast();
            header.msg_control = (&raw mut parts.control).cast();
        }
        table
    }
}

/// The headers of a [`ReceiveBatch`].
pub(super) struct ReceiveHeaders {
    table: Table,
    /// The room for control messages that all of them have.
    control_bytes: usize,
}

impl ReceiveHeaders {
    pub(super) fn new(buffer: &mut [u8], slots: usize, slot_bytes: usize) -> ReceiveHeaders {
        let mut table = Table::new(slots);
        let start = buffer.as_mut_ptr();
        for (index, parts) in table.parts.iter_mut().enumerate() {
            let slot = start.wrapping_add(index * SLOT_STRIDE);
            parts.vector = iovec { iov_base: slot.cast(), iov_len: slot_bytes };
        }
        for header in &mut table.headers {
            header.msg_hdr.msg_namelen = NAME_BYTES;
        }
        ReceiveHeaders { table, control_bytes: 0 }
    }

    /// Gives all the same room for control messages.
    fn set_room(&mut self, control_bytes: usize) {
        if control_bytes != self.control_bytes {
            for header in &mut self.table.headers {
                header.msg_hdr.msg_controllen = control_bytes as _;
            }
            self.control_bytes = control_bytes;
        }
    }
}

/// Receives up to `max` datagrams into an empty batch, and answers whether there may be more:
/// the system stops early only where it finds no more.
///
/// (Or where it finds an error that an earlier send has come to. It keeps that for the next call,
/// and an edge has told of it already or will: it came up after this call began, or this call
/// would have answered it.)
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    max: usize,
    known: &mut Known,
    batch: &mut ReceiveBatch,
) -> io::Result<bool> {
    debug_assert!(batch.notes.is_empty());
    batch.headers.set_room(if known.has_controls { size_of::<Control>() } else { 0 });
    let table = &mut batch.headers.table;
    let max = max.min(table.headers.len());
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the descriptor is open (1), `max` headers point at what lives (2), and all of it is
    // ours (3), as the batch is.
    let count = unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            table.headers.as_mut_ptr(),
            max as libc::c_uint,
            flags as _,
            ptr::null_mut(),
        )
    };
    if count < 0 {
        return Err(io::Error::last_os_error());
    }
    note(count as usize, known, batch);
    Ok(count as usize == max)
}

/// Notes what so many headers say, and makes them ready for the next call: the system has written
/// over the room that they have.
fn note(count: usize, known: &mut Known, batch: &mut ReceiveBatch) {
    let ReceiveBatch { headers, notes, overflowed, .. } = batch;
    let ReceiveHeaders { table: Table { headers, parts }, control_bytes } = headers;
    let senders = &mut notes.senders;
    let control_bytes = *control_bytes;
    let mut noting = Noting { parts, senders, known, overflowed, previous: None };
    // Of the datagram before, where an address of IPv4 is all there is to say about it.
    let mut previous = NO_NUMBER;
    let rows = headers[..count].iter_mut().zip(&*parts).zip(&mut notes.lens);
    for (slot, ((header, part), len)) in rows.enumerate() {
        *len = header.msg_len as u16; // a slot holds no more
        let is_plain = is_plain(&header.msg_hdr);
        if !is_plain || sockaddr::number(&part.name) != previous {
            let read = || sockaddr::read_v4(&part.name, header.msg_hdr.msg_namelen);
            previous = if let Some(from) = is_plain.then(read).flatten() {
                noting.senders.note_plain(slot, from);
                sockaddr::number(&part.name)
            } else {
                noting.note(slot, header);
                NO_NUMBER
            };
        }
        header.msg_hdr.msg_controllen = control_bytes as _;
        header.msg_hdr.msg_namelen = NAME_BYTES;
    }
    notes.filled = count;
}

/// Whether nothing is told beside a datagram but its sender, and nothing is missing.
#[inline]
fn is_plain(header: &libc::msghdr) -> bool {
    header.msg_flags & libc::MSG_TRUNC == 0 && header.msg_controllen == 0
}

/// Notes datagrams of which more is to be said than an address of IPv4.
struct Noting<'a> {
    parts: &'a [Parts],
    senders: &'a mut Senders,
    known: &'a mut Known,
    overflowed: &'a mut u64,
    /// The last one, where another may be like it: its slot, the number of its sender, and how
    /// many bytes were told beside.
    previous: Option<(usize, u64, usize)>,
}

impl Noting<'_> {
    /// Notes from whom the datagram in a slot is.
    #[inline(never)] // off the way of those of which there is nothing else to be said
    fn note(&mut self, slot: usize, header: &mmsghdr) {
        let name = &self.parts[slot].name;
        let number = sockaddr::number(name);
        let bytes: usize = header.msg_hdr.msg_controllen as _;
        let is_whole = header.msg_hdr.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0;
        let is_repeated = is_whole
            && self.previous.is_some_and(|before| before == (slot - 1, number, bytes))
            && is_repeated(self.parts, slot, bytes);
        let can_repeat = is_repeated || self.note_told(slot, header, name);
        self.previous = can_repeat.then_some((slot, number, bytes));
    }

    /// Notes from whom it is with what is told beside it. Answers whether one of which the same is
    /// told is like it.
    #[inline(never)] // nor does who is repeated need its room on the stack
    fn note_told(&mut self, slot: usize, header: &mmsghdr, name: &sockaddr_storage) -> bool {
        let (len, header) = (header.msg_len as usize, &header.msg_hdr);
        let from = sockaddr::read(name, header.msg_namelen);
        // What is missing of what is told may be where it is to be cut. (A Unix socket has no room:
        // what is missing there was never wanted.)
        let may_miss = if self.known.has_controls { 0 } else { libc::MSG_CTRUNC };
        let missing = header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) & !may_miss;
        let mut arrived = Arrived::new(from, None, missing != 0);
        if header.msg_controllen > 0 {
            // SAFETY: the header points at what lives (2), and the system has just written it.
            let told = unsafe { cmsg::read(header) };
            arrived.to = told.to;
            arrived.joined_bytes =
                told.joined_bytes.filter(|bytes| (*bytes as usize) < len).unwrap_or(0);
            if let Some(lost) = told.lost {
                *self.overflowed += self.known.lost_since(lost);
            }
        }
        let is_inet = matches!(arrived.from, NetAddr::Inet(_));
        let can_repeat = is_inet && !arrived.truncated && arrived.joined_bytes == 0;
        self.senders.note(slot, arrived);
        can_repeat
    }
}

/// Whether a datagram is from the same sender as the one before, who has the same number, and the
/// same is told beside it, in as many bytes.
fn is_repeated(parts: &[Parts], slot: usize, told_bytes: usize) -> bool {
    let (one, two) = (&parts[slot - 1], &parts[slot]);
    sockaddr::is_same_inet(&one.name, &two.name)
        && one.control.bytes(told_bytes) == two.control.bytes(told_bytes)
}

/// The headers of what is sent. There is one set for all sockets; it is made when it is needed.
#[derive(Default)]
pub(super) struct SendHeaders {
    table: Option<Table>,
}

/// Sends from the front of the queue in one call, takes out what was sent, and answers how many
/// datagrams that were. An error is about the datagram in front.
pub(super) fn send(
    fd: BorrowedFd<'_>,
    known: &mut Known,
    headers: &mut SendHeaders,
    queue: &mut SendQueue,
) -> io::Result<usize> {
    let table = headers.table.get_or_insert_with(|| Table::new(SEND_MESSAGES_MAX));
    if known.can_segment {
        let filled = fill_runs(table, queue)?;
        match send_filled(fd, table, filled) {
            Ok(count) => return Ok(queue.discard_runs(count)),
            Err(error) if !is_refused_run(&error, queue) => return Err(error),
            Err(error) => known.can_segment = !is_unknown(&error),
        }
    }
    // This run at least goes piece by piece. Those behind it, to other peers, may not have to.
    let runs = if known.can_segment { 1 } else { usize::MAX };
    let filled = fill(table, queue.runs().take(runs))?;
    let count = send_filled(fd, table, filled)?;
    queue.discard(count);
    Ok(count)
}

/// Sends what the first headers say, and answers for how many of them.
fn send_filled(fd: BorrowedFd<'_>, table: &mut Table, filled: usize) -> io::Result<usize> {
    // SAFETY: the descriptor is open (1), and `filled` headers point at what lives (2): their
    // caller has the queue borrowed, and payloads are only read.
    let count = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            table.headers.as_mut_ptr(),
            filled as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// Whether an error may be about a run that was to be cut, and not about its datagrams.
fn is_refused_run(error: &io::Error, queue: &SendQueue) -> bool {
    let is_run = queue.runs().next().is_some_and(|run| run.count() > 1);
    is_run && error.raw_os_error().is_some_and(|it| REFUSED_RUN.contains(&it) || is_unknown(error))
}

/// Whether an error says that runs are never cut here.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP))
}

/// Fills headers from the front of the queue, one for each run; answers how many.
fn fill_runs(table: &mut Table, queue: &SendQueue) -> io::Result<usize> {
    let mut filled = 0;
    for (run, (header, parts)) in queue.runs().zip(table.headers.iter_mut().zip(&mut table.parts)) {
        match put(&mut header.msg_hdr, parts, &run, run.payloads) {
            Ok(()) => filled += 1,
            Err(error) if filled == 0 => return Err(error),
            Err(_) => break, // the next call is about that one
        }
    }
    Ok(filled)
}

/// As [`fill_runs`], but with one for each datagram.
fn fill<'a>(table: &mut Table, runs: impl Iterator<Item = Run<'a>>) -> io::Result<usize> {
    let mut filled = 0;
    for run in runs {
        let mut rest = run.payloads;
        loop {
            if filled == table.headers.len() {
                return Ok(filled);
            }
            let (piece, behind) = rest.split_at(run.segment_bytes.min(rest.len()));
            rest = behind;
            let header = &mut table.headers[filled].msg_hdr;
            match put(header, &mut table.parts[filled], &run, piece) {
                Ok(()) => filled += 1,
                Err(error) if filled == 0 => return Err(error),
                Err(_) => return Ok(filled),
            }
            // (What is empty has one piece too.)
            if rest.is_empty() {
                break;
            }
        }
    }
    Ok(filled)
}

/// Has a message be about a piece of a run, which the system is to cut where it is more than one
/// datagram.
#[inline(always)] // so that nobody puts a `Run` together to take it apart
fn put(
    header: &mut libc::msghdr,
    parts: &mut Parts,
    run: &Run<'_>,
    piece: &[u8],
) -> io::Result<()> {
    header.msg_namelen = match run.to {
        NetAddr::Inet(SocketAddr::V4(to)) => sockaddr::write_v4(&mut parts.name, to),
        to => sockaddr::write(&mut parts.name, to)?,
    };
    header.msg_controllen = match (run.from, piece.len() > run.segment_bytes) {
        (None, false) => 0,
        (None, true) => cmsg::write_cut(&mut parts.control, run.segment_bytes) as _,
        (from, cuts) => {
            let cut_bytes = if cuts { run.segment_bytes } else { 0 };
            cmsg::write(&mut parts.control, from.copied(), cut_bytes) as _
        }
    };
    parts.vector.iov_base = piece.as_ptr().cast_mut().cast();
    parts.vector.iov_len = piece.len();
    Ok(())
}

/// Asks the system to count what it loses (SO_RXQ_OVFL), to join what belongs together (UDP_GRO),
/// and to tell where datagrams were sent to (IP_PKTINFO, IPV6_RECVPKTINFO; RFC 3542, section 6)
/// where that is open. Finds out whether it can cut what is sent (UDP_SEGMENT).
///
/// Only the third is essential, and only that can fail.
pub(super) fn prepare(fd: BorrowedFd<'_>, local: &NetAddr) -> io::Result<Known> {
    let Some(inet) = local.inet() else { return Ok(Known::default()) };
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    let _ = set(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
    match inet.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
        IpAddr::V6(ip) if ip.is_unspecified() => {
            set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        _ => {}
    }
    // Zero sets nothing, but is an error where the option is not known (before Linux 4.18).
    let can_segment = set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
    Ok(Known { can_segment, has_controls: true, lost: lost(fd) })
}

/// The system's count of datagrams that a socket has lost by now (SO_MEMINFO): of one that is
/// adopted, those before our time. 0 where it does not say (before Linux 4.12).
fn lost(fd: BorrowedFd<'_>) -> u32 {
    let mut counts = [0_u32; SK_MEMINFO_DROPS + 1];
    let mut len = size_of_val(&counts) as socklen_t;
    // SAFETY: the descriptor is open (1), and the memory is ours (3) and as long as is said.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            counts.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if outcome < 0 { 0 } else { counts[SK_MEMINFO_DROPS] }
}

/// Which of the counts it is (sock_diag.h).
const SK_MEMINFO_DROPS: usize = 8;

fn set(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    let value = (&raw const value).cast::<c_void>();
    // SAFETY: the descriptor is open (1), and the value is as long as is said.
    let outcome = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, len) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many messages one call sends.
const SEND_MESSAGES_MAX: usize = 128;

/// A segment does not fit the path, the device or the socket has no checksums, or nobody can be
/// sent to at that address: it depends on whom the run is for.
const REFUSED_RUN: [i32; 3] = [libc::EINVAL, libc::EIO, libc::EMSGSIZE];

const NAME_BYTES: socklen_t = size_of::<sockaddr_storage>() as socklen_t;

/// The number of no address: there is no such family. (Where there is no address, its memory is as
/// it was: zero, or another's.)
const NO_NUMBER: u64 = u64::MAX;

#[cfg(test)]
mod tests;
