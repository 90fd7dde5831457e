use std::io::Read;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use super::*;

fn pair() -> (UdpSocket, UdpSocket, NetAddr) {
    let (ours, theirs) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = NetAddr::Inet(theirs.local_addr().unwrap());
    (ours, theirs, to)
}

fn known(socket: &UdpSocket) -> Known {
    prepare(socket.as_fd(), &NetAddr::Inet(socket.local_addr().unwrap())).unwrap()
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut payload = [0; 100];
    let len = socket.recv(&mut payload).unwrap();
    payload[..len].to_vec()
}

/// Without checksums there is no segmentation (`udp_send_skb`): EINVAL for a run, while each of
/// its datagrams can be sent.
#[test]
fn a_run_that_the_system_does_not_cut_is_sent_one_by_one() {
    let (ours, theirs, to) = pair();
    let mut known = known(&ours);
    if !known.can_segment {
        return; // a kernel before 4.18
    }
    set(ours.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let mut queue = SendQueue::new(10_000);
    let mut headers = SendHeaders::default();
    let sent = [b"one", b"two", b"ten"];
    for payload in sent {
        assert!(queue.push(&to, None, payload));
    }
    assert_eq!(queue.runs().count(), 1);
    assert_eq!(send(ours.as_fd(), &mut known, &mut headers, &mut queue).unwrap(), 3);
    assert!(queue.is_empty());
    assert!(known.can_segment, "it may be about this peer alone");
    assert!(sent.iter().all(|payload| received(&theirs) == *payload));
}

/// A call that sends some answers how many, and the next tells what is wrong with the one behind.
#[test]
fn a_call_that_stops_short_has_taken_out_what_was_sent() {
    let (ours, theirs, to) = pair();
    let mut known = known(&ours);
    let mut queue = SendQueue::new(10_000);
    let mut headers = SendHeaders::default();
    let nowhere = NetAddr::Inet(([127, 0, 0, 1], 0).into());
    for (to, payload) in [(&to, b"1"), (&to, b"2"), (&nowhere, b"3"), (&to, b"4")] {
        assert!(queue.push(to, None, payload));
    }
    let mut send = |queue: &mut SendQueue| send(ours.as_fd(), &mut known, &mut headers, queue);
    let mut count = 0;
    while count < 2 {
        count += send(&mut queue).unwrap();
    }
    assert_eq!(count, 2);
    assert_eq!(queue.front().unwrap().2, b"3");
    assert_eq!(send(&mut queue).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    queue.discard(1);
    assert_eq!(send(&mut queue).unwrap(), 1);
    assert!(["1", "2", "4"].iter().all(|payload| received(&theirs) == payload.as_bytes()));
}

/// Descriptors that anybody passes are closed by the system where there is no room for them; with
/// room they would be ours, and stay open.
#[test]
fn descriptors_passed_to_a_unix_socket_are_not_taken() {
    let (udp, from, to) = pair();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let mut batch = ReceiveBatch::new(4, 100);
    // The batch has been used where there is room.
    from.send_to(b"x", udp.local_addr().unwrap()).unwrap();
    assert!(!receive(udp.as_fd(), 4, &mut known(&udp), &mut batch).unwrap());
    assert_eq!(batch.datagrams().next().unwrap().0.from, to);
    batch.clear();

    let (mut reader, writer) = UnixStream::pair().unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    pass(&theirs, writer.as_fd());
    drop(writer);
    let mut known = prepare(ours.as_fd(), &NetAddr::Unnamed).unwrap();
    assert!(!receive(ours.as_fd(), 4, &mut known, &mut batch).unwrap());
    let (arrived, payload) = batch.datagrams().next().unwrap();
    assert_eq!((&arrived.from, payload), (&NetAddr::Unnamed, &b"!"[..]));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "nobody holds the other end");
}

/// Sends a byte and a descriptor beside it (SCM_RIGHTS).
fn pass(socket: &UnixDatagram, passed: BorrowedFd<'_>) {
    let mut control = Control::EMPTY;
    let mut vector = iovec { iov_base: b"!".as_ptr().cast_mut().cast(), iov_len: 1 };
    // SAFETY: any bytes will do (4): null pointers and zeros.
    let mut header = unsafe { std::mem::zeroed::<libc::msghdr>() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut vector, 1);
    header.msg_control = (&raw mut control).cast();
    let bytes = size_of::<c_int>() as libc::c_uint;
    // SAFETY: the header points at what lives (2), a control of 128 bytes among it, of which the
    // first is written to (3); the descriptors are open (1).
    let sent = unsafe {
        header.msg_controllen = libc::CMSG_SPACE(bytes) as _;
        let at = libc::CMSG_FIRSTHDR(&raw const header);
        (*at).cmsg_len = libc::CMSG_LEN(bytes) as _;
        (*at).cmsg_level = libc::SOL_SOCKET;
        (*at).cmsg_type = libc::SCM_RIGHTS;
        libc::CMSG_DATA(at).cast::<c_int>().write_unaligned(passed.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const header, 0)
    };
    assert_eq!(sent, 1);
}
