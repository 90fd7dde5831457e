//! Linux: datagrams many a call (recvmmsg(2), sendmmsg(2)), with what the system tells and is
//! told beside them (cmsg(3)), and several cut from or joined to one (udp(7), UDP_SEGMENT and
//! UDP_GRO).
//!
//! Each unsafe block meets these obligations:
//!
//! 1. *Descriptors are open*: they come as a `BorrowedFd`, whose owner outlives the call.
//! 2. *Headers point at what lives*: at names, vectors and controls in a `Table`, whose `Vec`s are
//!    never resized; at a batch's buffer, which is not either and is dropped with the headers; or at
//!    payloads that are borrowed for the length of the call. Lengths are those of what is
//!    pointed at.
//! 3. *Memory is ours*: what the system writes to is exclusively borrowed for the length of the
//!    call.
//! 4. *Any bytes will do*: what is read was written before, by us or by the system, and its type
//!    has no invalid values; and it is read within the length that came with it.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, iovec, mmsghdr, sockaddr_storage, socklen_t};

use super::batch::{Arrived, ReceiveBatch, SLOT_OFFSET, Senders};
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
    /// The system's count of datagrams it lost, when it was last told.
    lost: u32,
}

/// Headers of as many messages, and what they point at: message `n` at the `n`th of each.
struct Table {
    headers: Vec<mmsghdr>,
    vectors: Vec<iovec>,
    names: Vec<sockaddr_storage>,
    controls: Vec<Control>,
}

// SAFETY: its headers point at what it owns, and at a buffer that goes wherever it goes (2).
unsafe impl Send for Table {}

impl Table {
    fn new(len: usize) -> Table {
        // SAFETY: any bytes will do (4): null pointers and zeros.
        let (header, name) =
            unsafe { (std::mem::zeroed::<mmsghdr>(), std::mem::zeroed::<sockaddr_storage>()) };
        let mut table = Table {
            headers: vec![header; len],
            vectors: vec![iovec { iov_base: ptr::null_mut(), iov_len: 0 }; len],
            names: vec![name; len],
            controls: vec![Control::EMPTY; len],
        };
        let (vectors, names, controls) =
            (table.vectors.as_mut_ptr(), table.names.as_mut_ptr(), table.controls.as_mut_ptr());
        for (index, header) in table.headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            header.msg_iov = vectors.wrapping_add(index);
            header.msg_iovlen = 1;
            header.msg_name = names.wrapping_add(index).cast();
            header.msg_control = controls.wrapping_add(index).cast();
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
        for (index, vector) in table.vectors.iter_mut().enumerate() {
            vector.iov_base = start.wrapping_add(index * (slot_bytes + SLOT_OFFSET)).cast();
            vector.iov_len = slot_bytes;
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
    let ReceiveHeaders { table, control_bytes } = headers;
    // Of the datagram before, where that is all there is to say about it.
    let mut previous = NO_NUMBER;
    let rows = table.headers[..count].iter_mut().zip(&table.names).zip(&mut notes.lens);
    for (slot, ((header, name), len)) in rows.enumerate() {
        *len = header.msg_len as usize;
        let is_alike = is_plain(&header.msg_hdr) && sockaddr::number(name) == previous;
        if !is_alike {
            previous = note_sender(slot, header, name, &mut notes.senders, known, overflowed);
        }
        header.msg_hdr.msg_controllen = *control_bytes as _;
        header.msg_hdr.msg_namelen = NAME_BYTES;
    }
    notes.filled = count;
}

/// Notes from whom the datagram in a slot is, with all that is told beside it; answers the number
/// of its sender, where that is all there is to say.
#[inline(never)] // off the way of those that come from one sender in a row
fn note_sender(
    slot: usize,
    header: &mmsghdr,
    name: &sockaddr_storage,
    senders: &mut Senders,
    known: &mut Known,
    overflowed: &mut u64,
) -> u64 {
    let (len, header) = (header.msg_len as usize, &header.msg_hdr);
    let from = sockaddr::read(name, header.msg_namelen);
    let mut arrived = Arrived::new(from, None, header.msg_flags & libc::MSG_TRUNC != 0);
    if header.msg_controllen > 0 {
        // SAFETY: the header points at what lives (2), and the system has just written it.
        let told = unsafe { cmsg::read(header) };
        arrived.to = told.to;
        arrived.joined_bytes = told.joined_bytes.filter(|bytes| *bytes < len).unwrap_or(0);
        if let Some(lost) = told.lost {
            *overflowed += u64::from(lost.wrapping_sub(known.lost));
            known.lost = lost;
        }
    }
    senders.note(slot, arrived);
    let is_all = is_plain(header) && sockaddr::is_v4(name, header.msg_namelen);
    if is_all { sockaddr::number(name) } else { NO_NUMBER }
}

/// Whether nothing is told beside a datagram but its sender.
#[inline]
fn is_plain(header: &libc::msghdr) -> bool {
    header.msg_flags & libc::MSG_TRUNC == 0 && header.msg_controllen == 0
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
        let filled = fill(table, queue.runs(), true)?;
        match send_filled(fd, table, filled) {
            Ok(count) => return Ok(queue.discard_runs(count)),
            Err(error) if !is_refused_run(&error, queue) => return Err(error),
            Err(error) => known.can_segment = !is_unknown(&error),
        }
    }
    // This run at least goes piece by piece. Those behind it, to other peers, may not have to.
    let runs = if known.can_segment { 1 } else { usize::MAX };
    let filled = fill(table, queue.runs().take(runs), false)?;
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

/// Fills headers from the front of the queue, one for each run, or for each datagram; answers how
/// many.
fn fill<'a>(
    table: &mut Table,
    runs: impl Iterator<Item = Run<'a>>,
    can_segment: bool,
) -> io::Result<usize> {
    let mut filled = 0;
    for run in runs {
        let mut rest = run.payloads;
        let piece_bytes = if can_segment { rest.len() } else { run.segment_bytes };
        loop {
            if filled == table.headers.len() {
                return Ok(filled);
            }
            let (piece, behind) = rest.split_at(piece_bytes.min(rest.len()));
            rest = behind;
            match table.put(filled, &run, piece) {
                Ok(()) => filled += 1,
                Err(error) if filled == 0 => return Err(error),
                // The next call is about that one.
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

impl Table {
    /// Has a message be about a piece of a run, which the system is to cut where it is more than
    /// one datagram.
    #[inline]
    fn put(&mut self, index: usize, run: &Run<'_>, piece: &[u8]) -> io::Result<()> {
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = sockaddr::write(&mut self.names[index], run.to)?;
        let cut_bytes = if piece.len() > run.segment_bytes { run.segment_bytes } else { 0 };
        header.msg_controllen = match (run.from, cut_bytes) {
            (None, 0) => 0,
            (from, _) => cmsg::write(&mut self.controls[index], from, cut_bytes) as _,
        };
        let vector = &mut self.vectors[index];
        vector.iov_base = piece.as_ptr().cast_mut().cast();
        vector.iov_len = piece.len();
        Ok(())
    }
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
    Ok(Known { can_segment, has_controls: true, lost: 0 })
}

fn set(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    let value = (&raw const value).cast::<c_void>();
    // SAFETY: the descriptor is open (1), and the value is as long as is said.
    let outcome = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, len) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many messages one call sends.
const SEND_MESSAGES_MAX: usize = 64;

/// A segment does not fit the path, the device or the socket has no checksums, or nobody can be
/// sent to at that address: it depends on whom the run is for.
const REFUSED_RUN: [i32; 3] = [libc::EINVAL, libc::EIO, libc::EMSGSIZE];

const NAME_BYTES: socklen_t = size_of::<sockaddr_storage>() as socklen_t;

/// The number of no address: its family would be AF_UNSPEC.
const NO_NUMBER: u64 = 0;

#[cfg(test)]
mod tests;
