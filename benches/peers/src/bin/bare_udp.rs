//! **L** for datagrams: a loop of recvmmsg and sendmmsg, up to 128 datagrams with each, and nothing
//! else. It sleeps in the call that receives, so it can serve one socket and nothing beside.
//!
//! - `--segments`: neighbours that go to one peer, and are as long, leave as one large datagram that
//!   the system cuts (UDP_SEGMENT): it then walks through its layers once for all of them.
//! - `--epoll`: sleeps in epoll_wait, as whoever has several sockets has to.

use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;

use libc::{c_int, c_uint, iovec, mmsghdr, sockaddr_in};

/// With each call.
const BATCH: usize = 128;
/// The longest datagram.
const BYTES: usize = 2048;
/// As many as every Linux with UDP_SEGMENT takes.
const SEGMENTS: usize = 64;
/// A run is one datagram until it is cut, and no larger than one may be.
const RUN_BYTES: usize = 65_507;

fn main() {
    let socket = peers::datagrams();
    let has_segments = peers::has("--segments");
    let poll = peers::has("--epoll").then(|| watch(&socket));
    if poll.is_none() {
        socket.set_nonblocking(false).expect("blocking mode");
    }
    let mut batch = Batch::new();
    loop {
        if let Some(poll) = poll {
            // SAFETY: there is room for one event, and it is plain data.
            unsafe { libc::epoll_wait(poll, &mut zeroed(), 1, -1) };
        }
        while batch.receive(socket.as_raw_fd()) == BATCH {
            batch.answer(socket.as_raw_fd(), has_segments);
        }
        batch.answer(socket.as_raw_fd(), has_segments);
    }
}

/// A poller that tells of the socket, by edges.
fn watch(socket: &UdpSocket) -> RawFd {
    let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
    // SAFETY: the event lives as long as the call.
    unsafe {
        let poll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        let added = libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event);
        assert!(added == 0, "{}", std::io::Error::last_os_error());
        poll
    }
}

/// What one call receives, and the next sends back. The headers point into the other tables, which
/// never move.
struct Batch {
    count: usize,
    came: Vec<mmsghdr>,
    sent: Vec<mmsghdr>,
    from: Vec<sockaddr_in>,
    pieces: Vec<iovec>,
    segment: Vec<Segment>,
    _payloads: Vec<[u8; BYTES]>,
}

/// How long the datagrams of a run are, as the system is told (cmsg(3), udp(7)).
#[repr(C)]
#[derive(Clone)]
struct Segment {
    head: libc::cmsghdr,
    bytes: u16,
}

impl Batch {
    fn new() -> Batch {
        // SAFETY: plain data, for which zeroes are fine.
        let (header, nobody): (mmsghdr, sockaddr_in) = unsafe { (zeroed(), zeroed()) };
        let mut payloads = vec![[0_u8; BYTES]; BATCH];
        let piece = |payload: &mut [u8; BYTES]| iovec {
            iov_base: payload.as_mut_ptr().cast(),
            iov_len: BYTES,
        };
        let head = libc::cmsghdr {
            // SAFETY: it only counts.
            cmsg_len: unsafe { libc::CMSG_LEN(size_of::<u16>() as c_uint) } as _,
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        };
        let mut batch = Batch {
            count: 0,
            came: vec![header; BATCH],
            sent: vec![header; BATCH],
            from: vec![nobody; BATCH],
            pieces: payloads.iter_mut().map(piece).collect(),
            segment: vec![Segment { head, bytes: 0 }; BATCH],
            _payloads: payloads,
        };
        for (at, header) in batch.came.iter_mut().enumerate() {
            header.msg_hdr.msg_name = (&raw mut batch.from[at]).cast();
            header.msg_hdr.msg_iov = &raw mut batch.pieces[at];
            header.msg_hdr.msg_iovlen = 1;
        }
        batch
    }

    /// Answers how many came; if none is there, and the socket is in blocking mode, once one is.
    fn receive(&mut self, fd: RawFd) -> usize {
        for (header, piece) in self.came.iter_mut().zip(&mut self.pieces) {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_in>() as u32;
            piece.iov_len = BYTES;
        }
        let (headers, flags) = (self.came.as_mut_ptr(), libc::MSG_WAITFORONE);
        // SAFETY: what the headers point to is as long as they say.
        let came = unsafe { libc::recvmmsg(fd, headers, BATCH as c_uint, flags, null_mut()) };
        self.count = usize::try_from(came).unwrap_or(0);
        for (header, piece) in self.came[..self.count].iter().zip(&mut self.pieces) {
            piece.iov_len = header.msg_len as usize;
        }
        self.count
    }

    /// Sends all back; what the system does not take is lost.
    fn answer(&mut self, fd: RawFd, has_segments: bool) {
        let (mut runs, mut first) = (0, 0);
        while first < self.count {
            let len = if has_segments { self.run_from(first) } else { 1 };
            let header = &mut self.sent[runs].msg_hdr;
            *header = self.came[first].msg_hdr;
            header.msg_iovlen = len as _;
            if len > 1 {
                let segment = &mut self.segment[runs];
                segment.bytes = self.came[first].msg_len as u16;
                header.msg_controllen = size_of::<Segment>() as _;
                header.msg_control = (segment as *mut Segment).cast();
            }
            (runs, first) = (runs + 1, first + len);
        }
        if runs > 0 {
            // SAFETY: what the headers point to is as long as they say.
            unsafe { libc::sendmmsg(fd, self.sent.as_mut_ptr(), runs as c_uint, 0 as c_int) };
        }
    }

    /// How many from here on have one sender and one length.
    fn run_from(&self, first: usize) -> usize {
        let (from, len) = (self.from[first], self.came[first].msg_len);
        let is_like = |at: &usize| {
            let other = self.from[*at];
            other.sin_port == from.sin_port
                && other.sin_addr.s_addr == from.sin_addr.s_addr
                && self.came[*at].msg_len == len
        };
        let most = SEGMENTS.min(RUN_BYTES / len.max(1) as usize);
        if len == 0 { 1 } else { (first..self.count).take(most).take_while(is_like).count() }
    }
}
