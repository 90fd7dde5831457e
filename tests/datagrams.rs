//! Datagrams over real sockets: each one is its own, whatever its size.

mod common;

use std::cell::RefCell;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use common::*;
use socket2::{Domain, SockAddr, Socket, Type};
use tidemill::protocols::{DatagramEcho, Echo};
use tidemill::sys::DatagramOptions;
use tidemill::{Address, Counters, DatagramContext, Limits, NetAddr, Reactor, Rng, Server};

/// The most that fits into a datagram over IPv4: 65,535 less the headers of IP and UDP.
const LARGEST: usize = 65_507;

fn udp_client(to: std::net::SocketAddr) -> UdpSocket {
    let from = if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

fn exchange_datagram(socket: &UdpSocket, payload: &[u8]) {
    assert_eq!(socket.send(payload).unwrap(), payload.len());
    let mut answer = vec![0; LARGEST + 1];
    let len = again(|| socket.recv(&mut answer)).unwrap();
    assert!(answer[..len] == *payload, "{} bytes became {len}", payload.len());
}

#[test]
fn the_empty_and_the_largest_datagram_are_answered_whole() {
    let server = start(Server::builder().datagram(any(), DatagramEcho));
    let client = udp_client(inet(&server, 0));
    let largest: Vec<u8> = (0..LARGEST).map(|index| (index % 251) as u8).collect();
    for payload in [&b""[..], b"x", &largest, b"", &largest[..1472], &largest[1..]] {
        exchange_datagram(&client, payload);
    }
}

#[test]
fn many_clients_of_one_socket_get_their_own_answers() {
    let server = start(Server::builder().datagram(any(), DatagramEcho));
    let clients: Vec<UdpSocket> = (0..50).map(|_| udp_client(inet(&server, 0))).collect();
    for round in 0..20 {
        for (number, client) in clients.iter().enumerate() {
            client.send(format!("client {number}, round {round}").as_bytes()).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            let mut answer = [0; 100];
            let len = again(|| client.recv(&mut answer)).unwrap();
            assert_eq!(answer[..len], *format!("client {number}, round {round}").as_bytes());
        }
    }
}

#[test]
fn a_peer_that_has_gone_does_not_end_the_socket() {
    let server = start(Server::builder().datagram(any(), DatagramEcho));
    let client = udp_client(inet(&server, 0));
    for _ in 0..20 {
        let gone = udp_client(inet(&server, 0));
        gone.send(b"answer me if you can").unwrap();
        drop(gone); // the answer may be refused (ICMP), which the server's socket is told
        exchange_datagram(&client, b"still there");
    }
}

#[test]
fn a_reply_is_no_larger_than_its_request() {
    let handler = |cx: &mut DatagramContext<'_>, from: &NetAddr, payload: &[u8]| {
        let doubled = [payload, payload].concat();
        match cx.reply(&doubled) {
            Ok(()) => unreachable!("larger than the request"),
            Err(refused) if payload == b"why" => cx.send_to(from, refused.to_string().as_bytes()),
            Err(_) => cx.reply(payload).unwrap(),
        }
    };
    let server = start(Server::builder().datagram(any(), handler));
    let client = udp_client(inet(&server, 0));
    exchange_datagram(&client, b"as long as this");
    client.send(b"why").unwrap();
    let mut answer = [0; 100];
    let len = again(|| client.recv(&mut answer)).unwrap();
    assert_eq!(&answer[..len], b"the reply is larger than the request");
}

#[test]
fn streams_are_served_beside_a_flood_of_datagrams() {
    let server =
        start(Server::builder().datagram(any(), DatagramEcho).listen(any(), |_: &NetAddr| Echo));
    let flood = udp_client(inet(&server, 0));
    let mut stream = connect(inet(&server, 1));
    for _ in 0..100 {
        for _ in 0..50 {
            // What nobody reads is lost on the way back, as datagrams may be.
            flood.send(&[0; 1000]).unwrap();
        }
        exchange(&mut stream, b"beside it");
    }
}

#[test]
fn datagrams_over_ipv6() {
    let Some(address) = ipv6() else { return };
    let server = start(Server::builder().datagram(address, DatagramEcho));
    let client = udp_client(inet(&server, 0));
    exchange_datagram(&client, b"hello");
    exchange_datagram(&client, b"");
}

#[test]
fn a_unix_datagram_is_answered_where_its_sender_has_a_name() {
    let dir = TempDir::new();
    let address: Address = dir.unix("server").parse().unwrap();
    let server = start(Server::builder().datagram(address, DatagramEcho));
    assert_eq!(server.bound()[0].address, NetAddr::Path(dir.path("server").into()));

    let nameless = UnixDatagram::unbound().unwrap();
    nameless.send_to(b"nobody can answer", dir.path("server")).unwrap();

    let client = UnixDatagram::bind(dir.path("client")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(dir.path("server")).unwrap();
    for payload in [&b"hello"[..], b"", &[7; 60_000]] {
        client.send(payload).unwrap();
        let mut answer = vec![0; 70_000];
        let len = again(|| client.recv(&mut answer)).unwrap();
        assert!(answer[..len] == *payload);
    }
    stop(server);
    assert!(!dir.path("server").exists(), "the path goes with the socket");
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn unix_datagrams_between_abstract_names() {
    let (ours, theirs) = (abstract_name(), abstract_name());
    let address: Address = format!("unix:@{ours}").parse().unwrap();
    let server = start(Server::builder().datagram(address, DatagramEcho));
    let client = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
    client.bind(&SockAddr::unix(format!("\0{theirs}")).unwrap()).unwrap();
    client.connect(&SockAddr::unix(format!("\0{ours}")).unwrap()).unwrap();
    let client = UnixDatagram::from(std::os::fd::OwnedFd::from(client));
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"hello").unwrap();
    let mut answer = [0; 100];
    let len = again(|| client.recv(&mut answer)).unwrap();
    assert_eq!(&answer[..len], b"hello");
    drop(server);
}

/// Asks a server that is bound to every address at one of them: only an answer from there gets
/// through a connected socket.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn the_answer_leaves_from_the_address_that_was_asked() {
    let handler = |cx: &mut DatagramContext<'_>, from: &NetAddr, payload: &[u8]| {
        let asked = cx.asked().expect("told, where every address is bound").to_string();
        match payload {
            b"larger" => cx.send_to(from, asked.as_bytes()),
            _ => cx.reply(payload).unwrap(),
        }
    };
    let mut asked = vec![("0.0.0.0:0", "127.0.0.2"), ("0.0.0.0:0", "127.0.0.1")];
    if ipv6().is_some() {
        asked.extend([("[::]:0", "::1"), ("[::]:0", "127.0.0.3")]);
    }
    for (bound, ip) in asked {
        let server = start(Server::builder().datagram(bound.parse().unwrap(), handler));
        let to = std::net::SocketAddr::new(ip.parse().unwrap(), inet(&server, 0).port());
        let client = udp_client(to);
        exchange_datagram(&client, b"who are you?");
        client.send(b"larger").unwrap();
        let mut answer = [0; 100];
        let len = again(|| client.recv(&mut answer)).unwrap();
        let answer = std::str::from_utf8(&answer[..len]).unwrap();
        assert_eq!(answer.trim_start_matches("::ffff:"), ip);
    }
}

/// On Linux such a run is answered by one message that the system cuts.
#[test]
fn a_run_from_one_peer_is_answered_one_by_one_in_order() {
    let server = start(Server::builder().datagram(any(), DatagramEcho));
    let client = udp_client(inet(&server, 0));
    for (count, bytes) in [(100_u8, 64_usize), (70, 1), (20, 1452), (20, 1453), (20, 4000)] {
        for number in 0..count {
            client.send(&vec![number; bytes]).unwrap();
        }
        for number in 0..count {
            let mut answer = vec![0; LARGEST];
            let len = again(|| client.recv(&mut answer)).unwrap();
            assert!(answer[..len] == vec![number; bytes], "{number} of {count}");
        }
    }
}

/// What the client's system joined to one arrives as one, and is shown as several.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn datagrams_that_came_joined_are_shown_one_by_one() {
    let handler = |cx: &mut DatagramContext<'_>, _: &NetAddr, payload: &[u8]| {
        cx.reply(&payload[..payload.len().min(1)]).unwrap();
    };
    let server = start(Server::builder().datagram(any(), handler));
    let client = udp_client(inet(&server, 0));
    let value: libc::c_int = 100;
    // SAFETY: the descriptor is open, and the value is as long as is said.
    let outcome = unsafe {
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&client),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if outcome < 0 {
        return; // a kernel before 4.18
    }
    let sent: Vec<u8> = (0..10).flat_map(|number| [number; 100]).take(950).collect();
    client.send(&sent).unwrap();
    for number in 0..10 {
        let mut answer = [0; 100];
        let len = again(|| client.recv(&mut answer)).unwrap();
        assert_eq!(answer[..len], [number]);
    }
}

/// Turns until the counters say so.
fn turn_until(reactor: &mut Reactor, is_done: impl Fn(Counters) -> bool) {
    while !is_done(reactor.counters()) {
        let turn = reactor.turn(Some(PATIENCE)).unwrap();
        assert!(turn.edges > 0 || turn.has_work, "nothing comes: {:?}", reactor.counters());
    }
}

/// A socket that is connected is told that nobody listens at its peer's port (ICMP).
#[test]
fn what_an_adopted_socket_is_told_of_its_peer_is_counted_and_does_not_end_it() {
    let (ours, theirs) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (our_address, their_address) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
    ours.connect(their_address).unwrap();
    let mut reactor = Reactor::new().unwrap();
    reactor.adopt_datagram(ours, DatagramEcho).unwrap();
    theirs.send_to(b"answer me if you can", our_address).unwrap();
    drop(theirs);
    turn_until(&mut reactor, |counters| counters.datagram_errors == 1);
    let theirs = UdpSocket::bind(their_address).unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    theirs.send_to(b"here again", our_address).unwrap();
    turn_until(&mut reactor, |counters| counters.datagrams_out == 2);
    let mut answer = [0; 100];
    let len = again(|| theirs.recv(&mut answer)).unwrap();
    assert_eq!(&answer[..len], b"here again");
}

#[test]
fn what_a_socket_sends_to_itself_is_dropped_and_counted() {
    let me = std::rc::Rc::new(RefCell::new(NetAddr::Unnamed));
    let to = me.clone();
    let handler = move |cx: &mut DatagramContext<'_>, _: &NetAddr, payload: &[u8]| {
        cx.send_to(&to.borrow(), payload);
    };
    let mut reactor: Reactor = Reactor::new().unwrap();
    let (_, local) = reactor.bind_datagram(&any(), &DatagramOptions::default(), handler).unwrap();
    *me.borrow_mut() = local.clone();
    let client = udp_client(local.inet().unwrap());
    client.send(b"round and round").unwrap();
    turn_until(&mut reactor, |counters| {
        assert!(counters.datagrams_in <= 1, "it was shown what it sent");
        counters.datagrams_dropped == 1
    });
    assert_eq!(reactor.counters().datagrams_out, 1);
}

/// The call that sends all three stops at the second.
#[test]
fn one_that_cannot_be_sent_costs_only_itself() {
    let handler = |cx: &mut DatagramContext<'_>, from: &NetAddr, _: &[u8]| {
        cx.send_to(from, b"before");
        cx.send_to(&NetAddr::Inet(([127, 0, 0, 1], 0).into()), b"to nobody");
        cx.send_to(from, b"behind");
    };
    let mut reactor: Reactor = Reactor::new().unwrap();
    let (_, local) = reactor.bind_datagram(&any(), &DatagramOptions::default(), handler).unwrap();
    let client = udp_client(local.inet().unwrap());
    client.send(b"x").unwrap();
    turn_until(&mut reactor, |counters| counters.datagrams_out == 2);
    assert_eq!(reactor.counters().datagrams_unsent, 1);
    for sent in [b"before", b"behind"] {
        let mut answer = [0; 100];
        let len = again(|| client.recv(&mut answer)).unwrap();
        assert_eq!(&answer[..len], sent);
    }
}

/// Needs the right to have such a port; without it the simulated world has to do.
#[test]
fn the_echo_does_not_answer_ports_of_servers() {
    let free = |port: u16| match UdpSocket::bind(("127.0.0.1", port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        outcome => Some(outcome),
    };
    let Some(Ok(chargen)) = (1..1024).rev().find_map(free) else { return };
    let mut reactor: Reactor = Reactor::new().unwrap();
    let options = DatagramOptions::default();
    let (_, local) = reactor.bind_datagram(&any(), &options, DatagramEcho).unwrap();
    chargen.send_to(b"x", local.inet().unwrap()).unwrap();
    turn_until(&mut reactor, |counters| counters.datagrams_in == 1);
    let counters = reactor.counters();
    assert_eq!((counters.datagram_replies_refused, counters.datagrams_out), (1, 0));
}

/// Of datagrams that wait for one turn, in runs from several senders: answers as long and shorter,
/// to others in between, none, and panics; with a queue that holds all of them, or has to be sent
/// in between. What each client gets is known beforehand.
#[test]
fn whatever_a_handler_does_everybody_gets_the_right_answers() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let clients: Vec<UdpSocket> =
            (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let at: Vec<NetAddr> =
            clients.iter().map(|it| NetAddr::Inet(it.local_addr().unwrap())).collect();
        let others = at.clone();
        let handler =
            move |cx: &mut DatagramContext<'_>, from: &NetAddr, payload: &[u8]| match payload[1] {
                0..=2 => cx.reply(payload).unwrap(),
                3 => cx.reply(&payload[..1]).unwrap(),
                4 => std::panic::resume_unwind(Box::new("as asked")),
                5 => cx.send_to(&others[0], &payload[..1]),
                6 => {
                    cx.send_to(&others[1], payload);
                    cx.reply(payload).unwrap();
                }
                7 => {
                    cx.reply(&[]).unwrap();
                    cx.send_to(from, payload);
                }
                _ => assert!(cx.reply(&[payload, b"!"].concat()).is_err()),
            };
        let queue_bytes = if rng.chance(1, 2) { 2000 } else { 1 << 20 };
        let limits = Limits { datagram_queue_bytes: queue_bytes, ..Limits::default() };
        let mut reactor: Reactor = Reactor::with_limits(limits).unwrap();
        let (_, local) =
            reactor.bind_datagram(&any(), &DatagramOptions::default(), handler).unwrap();
        let mut expected = vec![Vec::new(); 3];
        let (mut from, mut len, mut panics) = (0, 20, 0);
        for number in 0..150 {
            if rng.chance(1, 4) {
                (from, len) = (rng.below(3) as usize, 2 + rng.below(100) as usize);
            }
            let action = rng.below(9).min(rng.below(9)) as u8; // most are answered as they are
            let mut payload = rng.bytes(len);
            (payload[0], payload[1]) = (number, action);
            clients[from].send_to(&payload, local.inet().unwrap()).unwrap();
            let first = payload[..1].to_vec();
            match action {
                0..=2 => expected[from].push(payload),
                3 => expected[from].push(first),
                4 => panics += 1,
                5 => expected[0].push(first),
                6 => {
                    expected[1].push(payload.clone());
                    expected[from].push(payload);
                }
                7 => expected[from].extend([Vec::new(), payload]),
                _ => {}
            }
        }
        turn_until(&mut reactor, |counters| counters.datagrams_in == 150);
        let counters = reactor.counters();
        assert_eq!((counters.panics, counters.datagrams_unsent), (panics, 0), "seed {seed}");
        for (client, expected) in clients.iter().zip(expected) {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            for wanted in expected {
                let mut answer = [0; 200];
                let len = again(|| client.recv(&mut answer)).unwrap();
                assert_eq!(&answer[..len], wanted, "seed {seed}");
            }
            client.set_nonblocking(true).unwrap();
            assert!(client.recv(&mut [0]).is_err(), "seed {seed}: more than was sent");
        }
    }
}
