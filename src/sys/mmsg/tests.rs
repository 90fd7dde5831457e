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
        assert!(queue.push(&to, &None, payload));
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
        assert!(queue.push(to, &None, payload));
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

/// Of a sender without a name the system writes none, into memory that may be as it was made.
#[test]
fn the_first_datagram_of_all_may_be_of_one_without_a_name() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let mut batch = ReceiveBatch::new(4, 100);
    let mut known = prepare(ours.as_fd(), &NetAddr::Unnamed).unwrap();
    theirs.send(b"one").unwrap();
    theirs.send(b"two").unwrap();
    assert!(!receive(ours.as_fd(), 4, &mut known, &mut batch).unwrap());
    let came: Vec<_> = batch.datagrams().map(|(arrived, bytes)| (&arrived.from, bytes)).collect();
    assert_eq!(came, [(&NetAddr::Unnamed, &b"one"[..]), (&NetAddr::Unnamed, b"two")]);
}

/// As many small ones as the receive buffer holds, and more.
fn overflow(from: &UdpSocket, to: &UdpSocket) {
    for _ in 0..2000 {
        from.send_to(b"x", to.local_addr().unwrap()).unwrap();
    }
}

/// Receives all there is, and answers how many the system told to have lost.
fn drain(socket: &UdpSocket, known: &mut Known) -> u64 {
    let mut batch = ReceiveBatch::new(64, 2048);
    let mut lost = 0;
    while matches!(receive(socket.as_fd(), 64, known, &mut batch), Ok(true)) {
        lost += batch.overflowed();
        batch.clear();
    }
    lost + batch.overflowed()
}

/// The count that comes with a datagram is of the moment in which that came: of those that were
/// queued before, it is older than what is known from the start.
#[test]
fn what_a_socket_had_lost_before_is_not_counted() {
    let (ours, theirs, _) = pair();
    set(ours.as_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1).unwrap();
    overflow(&theirs, &ours);
    let mut known = known(&ours);
    let before = lost(ours.as_fd());
    assert_eq!(known.lost, before);
    assert!(before > 0, "2000 found room");
    assert_eq!(drain(&ours, &mut known), 0);
    overflow(&theirs, &ours);
    assert_eq!(drain(&ours, &mut known), 0, "they came before those that are lost");
    theirs.send_to(b"the next", ours.local_addr().unwrap()).unwrap();
    assert_eq!(drain(&ours, &mut known), u64::from(lost(ours.as_fd()) - before));
}

#[test]
fn the_count_of_the_lost_goes_round() {
    let mut known = Known { lost: u32::MAX - 1, ..Known::default() };
    assert_eq!(known.lost_since(u32::MAX), 1);
    assert_eq!(known.lost_since(2), 3);
    assert_eq!(known.lost_since(u32::MAX), 0, "older");
    assert_eq!(known.lost_since(2), 0);
}

/// A socket that somebody else has set up may tell more than there is room for. What is missing may
/// be where a datagram is to be cut.
#[test]
fn a_datagram_is_not_whole_where_not_all_is_told_of_it() {
    let (ours, theirs, _) = pair();
    let mut known = known(&ours);
    let mut batch = ReceiveBatch::new(4, 2048);
    for is_much in [false, true] {
        if is_much {
            set(ours.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1).unwrap();
            let more =
                [libc::IP_PKTINFO, libc::IP_RECVTTL, libc::IP_RECVTOS, libc::IP_RECVORIGDSTADDR];
            for option in more {
                set(ours.as_fd(), libc::IPPROTO_IP, option, 1).unwrap();
            }
        }
        theirs.send_to(b"x", ours.local_addr().unwrap()).unwrap();
        batch.clear();
        assert!(!receive(ours.as_fd(), 4, &mut known, &mut batch).unwrap());
        assert_eq!(batch.datagrams().next().unwrap().0.truncated, is_much);
    }
}

/// On sockets that are told where datagrams were sent to, by both families: neighbours are noted
/// together where they have the sender and the address in common.
#[test]
fn who_asks_at_another_address_is_told_apart() {
    let (ours, theirs) = (
        UdpSocket::bind("0.0.0.0:0").unwrap(),
        [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap()],
    );
    let port = ours.local_addr().unwrap().port();
    let mut known = known(&ours);
    let mut batch = ReceiveBatch::new(16, 100);
    let sent = [(0, 1), (0, 1), (0, 2), (1, 2), (1, 2), (1, 1), (0, 1), (0, 1), (0, 1)];
    for (from, at) in sent {
        theirs[from].send_to(b"x", SocketAddr::from(([127, 0, 0, at], port))).unwrap();
    }
    assert!(!receive(ours.as_fd(), 16, &mut known, &mut batch).unwrap());
    let together: Vec<usize> = batch.counts().into_iter().map(|(_, count)| count).collect();
    assert_eq!(together, [2, 1, 2, 1, 3]);
    let came = batch.datagrams().map(|(arrived, _)| (arrived.from.port(), arrived.to));
    let port_of = |from: usize| Some(theirs[from].local_addr().unwrap().port());
    let expected = sent.map(|(from, at)| (port_of(from), Some(IpAddr::from([127, 0, 0, at]))));
    assert!(came.eq(expected));
}

#[test]
fn senders_of_ipv6_are_told_apart() {
    let bound = || UdpSocket::bind("[::1]:0");
    let Ok(ours) = bound() else { return };
    let theirs = [bound().unwrap(), bound().unwrap()];
    let mut known = known(&ours);
    let mut batch = ReceiveBatch::new(8, 100);
    for from in [0, 0, 1, 1, 0] {
        theirs[from].send_to(b"x", ours.local_addr().unwrap()).unwrap();
    }
    assert!(!receive(ours.as_fd(), 8, &mut known, &mut batch).unwrap());
    let came = batch.counts();
    let at = |from: usize| NetAddr::Inet(theirs[from].local_addr().unwrap());
    assert_eq!(came, [(at(0), 2), (at(1), 2), (at(0), 1)]);
}

/// The second half of an address of IPv6 and its scope are beyond its number.
#[test]
fn addresses_of_ipv6_are_compared_to_their_end() {
    let name = |text: &str| {
        // SAFETY: any bytes will do (4).
        let mut name = unsafe { std::mem::zeroed::<sockaddr_storage>() };
        sockaddr::write(&mut name, &NetAddr::Inet(text.parse().unwrap())).unwrap();
        name
    };
    let one = name("[fe80::1%1]:7");
    for (text, is_same) in
        [("[fe80::1%1]:7", true), ("[fe80::2%1]:7", false), ("[fe80::1%2]:7", false)]
    {
        let other = name(text);
        assert_eq!(sockaddr::number(&one), sockaddr::number(&other));
        assert_eq!(sockaddr::is_same_inet(&one, &other), is_same, "{text}");
    }
}
