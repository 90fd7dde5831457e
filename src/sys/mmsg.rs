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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, iovec, mmsghdr, sockaddr_in, sockaddr_in6, sockaddr_storage};
use socket2::{SockAddr, SockAddrStorage};

use super::batch::{Arrived, ReceiveBatch, SLOT_OFFSET, SendQueue};
use super::{Received, socket};
use crate::base::address::NetAddr;

/// What is known of one socket.
#[derive(Default, Debug)]
pub(super) struct Known {
    /// Whether the system can cut a run; false once it turns out that it cannot.
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

/// Room for every control message that was asked for: of 12, 20, 4 and 4 bytes, each behind a
/// header and padded to the next word.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 128]);

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
            controls: vec![Control([0; 128]); len],
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
    /// How many the last call has written to.
    used: usize,
    /// The room for control messages that all but those have.
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
        ReceiveHeaders { table, used: slots, control_bytes: 0 }
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
    debug_assert!(batch.arrived.is_empty());
    let headers = &mut batch.headers;
    let table = &mut headers.table;
    let control_bytes = if known.has_controls { size_of::<Control>() } else { 0 };
    if control_bytes != headers.control_bytes {
        headers.used = table.headers.len();
        headers.control_bytes = control_bytes;
    }
    for header in &mut table.headers[..headers.used] {
        header.msg_hdr.msg_controllen = control_bytes as _;
        header.msg_hdr.msg_namelen = size_of::<sockaddr_storage>() as libc::socklen_t;
    }
    let max = max.min(table.headers.len());
    headers.used = 0;
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
    let count = count as usize;
    headers.used = count;
    for (header, name) in table.headers[..count].iter().zip(&table.names) {
        let mut arrived = Arrived {
            received: Received {
                len: header.msg_len as usize,
                from: sender(name, header.msg_hdr.msg_namelen),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            },
            to: None,
            segment_bytes: usize::MAX,
        };
        if header.msg_hdr.msg_controllen > 0 {
            let lost = heed(&header.msg_hdr, &mut arrived);
            if let Some(lost) = lost {
                batch.overflowed += u64::from(lost.wrapping_sub(known.lost));
                known.lost = lost;
            }
        }
        batch.arrived.push(arrived);
    }
    Ok(count == max)
}

/// Reads the control messages of a datagram; answers the socket's count of lost ones, if told.
fn heed(header: &libc::msghdr, arrived: &mut Arrived) -> Option<u32> {
    let mut lost = None;
    // SAFETY: the header points at what lives (2): the system has written so many bytes of control
    // messages. Their data is read unaligned, and any bytes will do (4), as each is checked to be
    // of the kind that has that type.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while let Some(control) = at.as_ref() {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    arrived.to =
                        Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    arrived.to = (!to.to_canonical().is_multicast()).then_some(to.into());
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let bytes = data.cast::<c_int>().read_unaligned();
                    arrived.segment_bytes = usize::try_from(bytes).unwrap_or(0).max(1);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    lost = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, control);
        }
    }
    lost
}

/// The sender as the system wrote it.
#[inline]
fn sender(name: &sockaddr_storage, len: libc::socklen_t) -> NetAddr {
    let family = if len == 0 { libc::AF_UNSPEC } else { c_int::from(name.ss_family) };
    let name: *const sockaddr_storage = name;
    match family {
        libc::AF_INET => {
            // SAFETY: any bytes will do (4), and the storage is larger.
            let inet = unsafe { &*name.cast::<sockaddr_in>() };
            let ip = Ipv4Addr::from(inet.sin_addr.s_addr.to_ne_bytes());
            NetAddr::Inet(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(inet.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let inet = unsafe { &*name.cast::<sockaddr_in6>() };
            NetAddr::Inet(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(inet.sin6_addr.s6_addr),
                u16::from_be(inet.sin6_port),
                inet.sin6_flowinfo,
                inet.sin6_scope_id,
            )))
        }
        libc::AF_UNIX => {
            let mut storage = SockAddrStorage::zeroed();
            // SAFETY: both are a `sockaddr_storage` by another name, and any bytes will do (4).
            let address = unsafe {
                *storage.view_as::<sockaddr_storage>() = *name;
                SockAddr::new(storage, len)
            };
            socket::net_addr(&address)
        }
        _ => NetAddr::Unnamed,
    }
}

/// The headers of what is sent. There is one set for all sockets; it is made when it is needed.
#[derive(Default)]
pub(super) struct SendHeaders {
    table: Option<Table>,
}

/// Sends from the front of the queue in one call, takes out what was sent, and answers how many
/// datagrams that were. An error is about the datagram in front.
///
pub(super) fn send(
    fd: BorrowedFd<'_>,
    known: &mut Known,
    headers: &mut SendHeaders,
    queue: &mut SendQueue,
) -> io::Result<usize> {
    let table = headers.table.get_or_insert_with(|| Table::new(SEND_MESSAGES_MAX));
    let filled = fill(table, queue, known.can_segment)?;
    // SAFETY: the descriptor is open (1), and `filled` headers point at what lives (2): the queue
    // is borrowed, and payloads are only read.
    let count = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            table.headers.as_mut_ptr(),
            filled as libc::c_uint,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    if count < 0 {
        let error = io::Error::last_os_error();
        let was_run =
            known.can_segment && queue.runs().next().is_some_and(|(run, _)| run.count > 1);
        if was_run && error.raw_os_error().is_some_and(|it| CANNOT_SEGMENT.contains(&it)) {
            known.can_segment = false;
            return send(fd, known, headers, queue);
        }
        return Err(error);
    }
    let count = count as usize;
    let datagrams = if known.can_segment {
        queue.runs().take(count).map(|(run, _)| run.count).sum()
    } else {
        count
    };
    queue.discard(datagrams);
    Ok(datagrams)
}

/// Fills headers from the front of the queue: one for each run, or for each datagram.
fn fill(table: &mut Table, queue: &SendQueue, can_segment: bool) -> io::Result<usize> {
    let mut filled = 0;
    for (run, payloads) in queue.runs() {
        let piece_bytes = if can_segment { run.bytes } else { run.segment_bytes };
        let mut rest = payloads;
        loop {
            if filled == table.headers.len() {
                return Ok(filled);
            }
            let (piece, behind) = rest.split_at(piece_bytes.min(rest.len()));
            rest = behind;
            let header = &mut table.headers[filled].msg_hdr;
            header.msg_namelen = match write_name(&mut table.names[filled], &run.to) {
                Ok(len) => len,
                Err(error) if filled == 0 => return Err(error),
                // The next call is about that one.
                Err(_) => return Ok(filled),
            };
            let segment_bytes = if can_segment && run.count > 1 { run.segment_bytes } else { 0 };
            header.msg_controllen = match (run.from, segment_bytes) {
                (None, 0) => 0,
                _ => write_controls(&mut table.controls[filled], run.from, segment_bytes) as _,
            };
            let vector = &mut table.vectors[filled];
            vector.iov_base = piece.as_ptr().cast_mut().cast();
            vector.iov_len = piece.len();
            filled += 1;
            if rest.is_empty() {
                break;
            }
        }
    }
    Ok(filled)
}

/// Writes an address, and answers its length; 0 is the peer that the socket is connected to.
fn write_name(name: &mut sockaddr_storage, to: &NetAddr) -> io::Result<libc::socklen_t> {
    let name: *mut sockaddr_storage = name;
    let len = match to {
        NetAddr::Inet(SocketAddr::V4(inet)) => {
            // SAFETY: memory is ours (3): the storage is larger. Any bytes will do (4).
            let to = unsafe { &mut *name.cast::<sockaddr_in>() };
            to.sin_family = libc::AF_INET as libc::sa_family_t;
            to.sin_port = inet.port().to_be();
            to.sin_addr.s_addr = u32::from_ne_bytes(inet.ip().octets());
            size_of::<sockaddr_in>() as libc::socklen_t
        }
        NetAddr::Inet(SocketAddr::V6(inet)) => {
            // SAFETY: as above.
            let to = unsafe { &mut *name.cast::<sockaddr_in6>() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_port = inet.port().to_be();
            to.sin6_flowinfo = inet.flowinfo();
            to.sin6_addr.s6_addr = inet.ip().octets();
            to.sin6_scope_id = inet.scope_id();
            size_of::<sockaddr_in6>() as libc::socklen_t
        }
        NetAddr::Path(path) => write_unix(name, &SockAddr::unix(path)?),
        NetAddr::Abstract(abstract_name) => {
            write_unix(name, &socket::abstract_address(abstract_name)?)
        }
        NetAddr::Unnamed => 0,
    };
    Ok(len)
}

fn write_unix(name: *mut sockaddr_storage, address: &SockAddr) -> libc::socklen_t {
    // SAFETY: memory is ours (3), and no longer than a `sockaddr_storage` is what is copied.
    unsafe {
        ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            name.cast::<u8>(),
            address.len() as usize,
        );
    }
    address.len()
}

/// Writes where a datagram leaves from, and into what it is cut; answers their length.
fn write_controls(control: &mut Control, from: Option<IpAddr>, segment_bytes: usize) -> usize {
    let mut writer = ControlWriter { control, len: 0 };
    match from {
        // The route decides on the interface: another one may lead back.
        Some(IpAddr::V4(from)) => {
            let spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec_dst, ipi_addr: any };
            writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        Some(IpAddr::V6(from)) => {
            let address = libc::in6_addr { s6_addr: from.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        None => {}
    }
    if segment_bytes > 0 {
        writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, segment_bytes as u16);
    }
    writer.len
}

struct ControlWriter<'a> {
    control: &'a mut Control,
    len: usize,
}

impl ControlWriter<'_> {
    fn push<T: Copy>(&mut self, level: c_int, kind: c_int, data: T) {
        let bytes = size_of::<T>() as libc::c_uint;
        // SAFETY: these two only calculate.
        let (space, len) = unsafe { (libc::CMSG_SPACE(bytes), libc::CMSG_LEN(bytes)) };
        assert!(self.len + space as usize <= size_of::<Control>());
        let at = self.control.0[self.len..].as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: memory is ours (3), as was just asserted; it is aligned, as `CMSG_SPACE` keeps
        // it, and any bytes will do (4).
        unsafe {
            (*at).cmsg_len = len as _;
            (*at).cmsg_level = level;
            (*at).cmsg_type = kind;
            libc::CMSG_DATA(at).cast::<T>().write_unaligned(data);
        }
        self.len += space as usize;
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

/// A segment does not fit the path, the device cannot write checksums, or nobody knows how.
const CANNOT_SEGMENT: [i32; 5] =
    [libc::EINVAL, libc::EIO, libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::EMSGSIZE];
