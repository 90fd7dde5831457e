use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;

use socket2::{Domain, SockRef, Type};

use super::*;
use crate::sys::temp_dir::TempDir;
use crate::sys::{Readiness, raw, socket};

const ANY: &str = "127.0.0.1:0";
const SEVEN: Token = Token::Connection(7);
/// Far longer than anything here takes; a test that runs into it fails.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn os() -> Os {
    Os::new().unwrap()
}

fn any() -> Address {
    ANY.parse().unwrap()
}

/// What all edges of one token said together, once they have said all of `wanted`.
fn wait_for(os: &mut Os, token: Token, wanted: &[Readiness]) -> Readiness {
    let mut said = Readiness::default();
    while !wanted.iter().all(|flag| said.has(*flag)) {
        let mut edges = Vec::new();
        os.wait(PATIENCE, &mut edges).unwrap();
        assert!(!edges.is_empty(), "waited for {wanted:?}, got {said:?}");
        let ours = edges.iter().filter(|edge| edge.token == token);
        said = ours.fold(said, |all, edge| all.with(edge.ready));
    }
    said
}

fn listen(os: &mut Os, options: &ListenOptions) -> (OsListener, SocketAddr) {
    let mut listener = os.listen(&any(), options).unwrap();
    os.register_listener(&mut listener, Token::Endpoint(0)).unwrap();
    let address = listener.local_addr().unwrap().inet().unwrap();
    (listener, address)
}

/// A registered stream that was accepted, and the other end of it.
fn accepted(os: &mut Os) -> (OsStream, TcpStream) {
    let (mut listener, address) = listen(os, &ListenOptions::default());
    let theirs = TcpStream::connect(address).unwrap();
    wait_for(os, Token::Endpoint(0), &[Readiness::READABLE]);
    let (mut ours, peer) = os.accept(&mut listener).unwrap();
    assert_eq!(peer, NetAddr::Inet(theirs.local_addr().unwrap()));
    os.register_stream(&mut ours, SEVEN).unwrap();
    os.close_listener(listener);
    (ours, theirs)
}

/// A pipe, whose ends block.
fn pipe() -> (File, File) {
    let (writer, reader) = mio::unix::pipe::new().unwrap();
    writer.set_nonblocking(false).unwrap();
    reader.set_nonblocking(false).unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

fn read_error(os: &mut Os, stream: &mut OsStream) -> io::ErrorKind {
    os.read(stream, &mut [0; 64]).unwrap_err().kind()
}

#[test]
fn accepted_tcp_sockets_inherit_every_option() {
    let mut os = os();
    let stream = StreamOptions {
        keep_alive: Some(Duration::from_secs(77)),
        receive_buffer: Some(30_000),
        send_buffer: Some(40_000),
        ..StreamOptions::default()
    };
    let (mut listener, address) =
        listen(&mut os, &ListenOptions { stream, ..ListenOptions::default() });
    let _theirs = TcpStream::connect(address).unwrap();
    wait_for(&mut os, Token::Endpoint(0), &[Readiness::READABLE]);
    let (ours, _) = os.accept(&mut listener).unwrap();

    let (parent, child) = (listener.fd().unwrap(), ours.fd().unwrap());
    let (parent, child) = (SockRef::from(&parent), SockRef::from(&child));
    assert!(child.tcp_nodelay().unwrap());
    assert!(child.keepalive().unwrap());
    assert_eq!(child.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
    assert_eq!(child.recv_buffer_size().unwrap(), parent.recv_buffer_size().unwrap());
    assert_eq!(child.send_buffer_size().unwrap(), parent.send_buffer_size().unwrap());
    assert!(parent.recv_buffer_size().unwrap() >= 30_000);
    assert!(child.nonblocking().unwrap());
}

#[test]
fn outgoing_streams_get_every_option() {
    let mut os = os();
    let listener = TcpListener::bind(ANY).unwrap();
    let options = StreamOptions {
        nodelay: false,
        keep_alive: Some(Duration::from_millis(10)),
        bind_to: Some(ANY.parse().unwrap()),
        ..StreamOptions::default()
    };
    let to = Address::Inet(listener.local_addr().unwrap());
    let stream = os.connect(&to, &options).unwrap();
    let fd = stream.fd().unwrap();
    let socket = SockRef::from(&fd);
    assert!(!socket.tcp_nodelay().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(1));
    assert!(socket.nonblocking().unwrap());
}

#[test]
fn data_and_end_come_in_one_edge() {
    let mut os = os();
    let (mut listener, address) = listen(&mut os, &ListenOptions::default());
    let mut theirs = TcpStream::connect(address).unwrap();
    theirs.write_all(b"last words").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    wait_for(&mut os, Token::Endpoint(0), &[Readiness::READABLE]);
    let (mut ours, _) = os.accept(&mut listener).unwrap();
    // Loopback delivers before `shutdown` returns, so both are there by now.
    os.register_stream(&mut ours, SEVEN).unwrap();
    let mut edges = Vec::new();
    os.wait(PATIENCE, &mut edges).unwrap();
    edges.retain(|edge| edge.token == SEVEN);
    assert_eq!(edges.len(), 1);
    assert!(edges[0].ready.has(Readiness::READABLE));
    assert!(edges[0].ready.has(Readiness::READ_CLOSED));
    assert!(edges[0].ready.has(Readiness::WRITABLE));
    let mut buffer = [0; 64];
    assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 10);
    assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 0);
}

#[test]
fn short_read_drains_tcp_and_the_next_bytes_make_an_edge() {
    let mut os = os();
    let (mut ours, mut theirs) = accepted(&mut os);
    let mut buffer = [0; 64];
    assert_eq!(read_error(&mut os, &mut ours), io::ErrorKind::WouldBlock);
    for _ in 0..3 {
        theirs.write_all(b"0123456789").unwrap();
        let said = wait_for(&mut os, SEVEN, &[Readiness::READABLE]);
        assert!(!said.has(Readiness::READ_CLOSED.with(Readiness::PRIORITY)));
        assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 10);
        // Not read to `WouldBlock`: the short read was enough.
    }
    assert_eq!(os.short_read_drains(&ours), cfg!(target_os = "linux"));
    assert_eq!(read_error(&mut os, &mut ours), io::ErrorKind::WouldBlock);
}

#[test]
fn connecting_is_told_by_an_edge() {
    let mut os = os();
    let listener = TcpListener::bind(ANY).unwrap();
    let to = listener.local_addr().unwrap();
    let mut ours = os.connect(&to.into(), &StreamOptions::default()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::WRITABLE]);
    assert_eq!(os.connected(&mut ours).unwrap(), NetAddr::Inet(to));
    assert_eq!(listener.accept().unwrap().1, ours.local_addr().unwrap().inet().unwrap());
}

#[test]
fn unanswered_connection_is_not_connected_yet() {
    let mut os = os();
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let (_listener, address) = listen(&mut os, &options);
    // A full queue lets further requests wait without an answer.
    let mut streams = Vec::new();
    let waits = (0..16).any(|_| {
        let mut stream = os.connect(&address.into(), &StreamOptions::default()).unwrap();
        let outcome = os.connected(&mut stream);
        streams.push(stream);
        outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    });
    assert!(waits);
}

#[cfg(target_os = "linux")]
#[test]
fn backlog_is_as_long_as_was_asked_for() {
    let system_max = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let count = system_max.trim().parse::<usize>().unwrap().min(300);
    let mut os = os();
    let (mut listener, address) = listen(&mut os, &ListenOptions::default());
    let streams: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = os.connect(&address.into(), &StreamOptions::default()).unwrap();
            os.connected(&mut stream).unwrap();
            stream
        })
        .collect();
    let accepted = std::iter::from_fn(|| os.accept(&mut listener).ok()).count();
    assert_eq!(accepted, streams.len());
    let error = os.accept(&mut listener).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn port_is_shared_only_by_option() {
    let mut os = os();
    let alone = ListenOptions::default();
    let (first, address) = listen(&mut os, &alone);
    let error = os.listen(&address.into(), &alone).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(net::describe(&error), "address already in use");
    os.close_listener(first);

    let shared = ListenOptions { reuse_port: true, ..alone };
    let (_first, address) = listen(&mut os, &shared);
    os.listen(&address.into(), &shared).unwrap();
}

#[test]
fn host_names_are_not_for_binding() {
    let name = "localhost:0".parse().unwrap();
    let mut os = os();
    let kinds = [
        os.listen(&name, &ListenOptions::default()).unwrap_err().kind(),
        os.bind_datagram(&name, &DatagramOptions::default()).unwrap_err().kind(),
        os.connect(&name, &StreamOptions::default()).unwrap_err().kind(),
    ];
    assert_eq!(kinds, [io::ErrorKind::InvalidInput; 3]);
}

#[test]
fn unix_streams_connect_at_once() {
    let dir = TempDir::new();
    let address = Address::Path(dir.path("socket"));
    let mut os = os();
    let options = ListenOptions { unix_mode: Some(0o600), ..ListenOptions::default() };
    let mut listener = os.listen(&address, &options).unwrap();
    let mut client = os.connect(&address, &StreamOptions::default()).unwrap();
    let name = NetAddr::Path(dir.path("socket").into());
    assert_eq!(os.connected(&mut client).unwrap(), name);
    let (mut ours, peer) = os.accept(&mut listener).unwrap();
    assert_eq!(peer, NetAddr::Unnamed);
    assert_eq!(ours.local_addr().unwrap(), name);
    assert!(!os.short_read_drains(&ours));

    os.register_stream(&mut ours, SEVEN).unwrap();
    os.write(&mut client, &[IoSlice::new(b"hello")]).unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::READABLE]);
    assert_eq!(os.read(&mut ours, &mut [0; 64]).unwrap(), 5);
    os.close_listener(listener);
    let error = os.connect(&address, &StreamOptions::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn abstract_names_work_at_both_ends() {
    let server = format!("tidemill-test-{}-server", std::process::id());
    let client = format!("tidemill-test-{}-client", std::process::id());
    let mut os = os();
    let address = Address::Abstract(server.clone().into_bytes());
    let mut listener = os.listen(&address, &ListenOptions::default()).unwrap();
    assert_eq!(listener.local_addr().unwrap().to_string(), format!("@{server}"));

    let named = socket::new(Domain::UNIX, Type::STREAM).unwrap();
    named.bind(&socket::abstract_address(client.as_bytes()).unwrap()).unwrap();
    named.connect(&socket::abstract_address(server.as_bytes()).unwrap()).unwrap();
    let (_, peer) = os.accept(&mut listener).unwrap();
    assert_eq!(peer.to_string(), format!("@{client}"));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn peer_whose_path_fills_the_whole_address_is_accepted() {
    // 108 bytes and no NUL behind: mio 1.2.4 panics here.
    let dir = TempDir::new();
    let address = Address::Path(dir.path("server"));
    let mut os = os();
    let mut listener = os.listen(&address, &ListenOptions::default()).unwrap();

    let start = dir.path("");
    let path = format!("{}{}", start.display(), "x".repeat(108 - start.as_os_str().len()));
    let client = socket::new(Domain::UNIX, Type::STREAM).unwrap();
    raw::tests::bind_whole_path(&client, path.as_bytes());
    client.connect(&socket::path_address(&dir.path("server")).unwrap()).unwrap();
    let (_, peer) = os.accept(&mut listener).unwrap();
    assert_eq!(peer.to_string(), path);
}

#[test]
fn read_end_of_a_pipe_is_a_stream() {
    let mut os = os();
    let (reader, mut writer) = pipe();
    let mut ours = os.adopt_stream(reader.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    assert_eq!(os.connected(&mut ours).unwrap(), NetAddr::Unnamed);
    assert_eq!(read_error(&mut os, &mut ours), io::ErrorKind::WouldBlock);
    writer.write_all(b"through").unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::READABLE]);
    let mut buffer = [0; 64];
    assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 7);
    let error = os.write(&mut ours, &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    os.finish(&mut ours).unwrap();
    drop(writer);
    wait_for(&mut os, SEVEN, &[Readiness::READ_CLOSED]);
    assert_eq!(os.read(&mut ours, &mut buffer).unwrap(), 0);
    os.close(ours);
}

#[test]
fn write_end_of_a_pipe_is_a_stream_and_finishing_closes_it() {
    let mut os = os();
    let (mut reader, writer) = pipe();
    let mut ours = os.adopt_stream(writer.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::WRITABLE]);
    assert_eq!(read_error(&mut os, &mut ours), io::ErrorKind::WouldBlock);
    assert_eq!(os.write(&mut ours, &[IoSlice::new(b"a"), IoSlice::new(b"b")]).unwrap(), 2);
    os.finish(&mut ours).unwrap();
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(all, "ab");
    assert_eq!(os.read(&mut ours, &mut [0; 1]).unwrap(), 0);
    assert!(ours.fd().is_none());
    os.finish(&mut ours).unwrap();
    os.close(ours);
}

#[test]
fn reader_that_leaves_a_pipe_is_told() {
    let mut os = os();
    let (reader, writer) = pipe();
    let mut ours = os.adopt_stream(writer.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    drop(reader);
    wait_for(&mut os, SEVEN, &[Readiness::WRITE_CLOSED]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_watched_is_not_adopted() {
    let mut os = os();
    let exe = File::open(std::env::current_exe().unwrap()).unwrap();
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    for file in [exe, null] {
        let error = os.adopt_stream(file.into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("cannot be watched"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn terminals_are_adopted() {
    let mut os = os();
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
    let mut ours = os.adopt_stream(terminal.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    wait_for(&mut os, SEVEN, &[Readiness::WRITABLE]);
    os.close(ours);
}

#[test]
fn adopted_sockets_become_what_they_are() {
    let mut os = os();
    let listener = TcpListener::bind(ANY).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let client = os.adopt_stream(client.into()).unwrap();
    assert!(client.is_tcp());
    assert!(SockRef::from(&client.fd().unwrap()).nonblocking().unwrap());
    let mut listener = os.adopt_listener(listener.into()).unwrap();
    let (server, _) = os.accept(&mut listener).unwrap();
    assert!(server.is_tcp());
    let (unix, _peer) = UnixStream::pair().unwrap();
    assert!(!os.adopt_stream(unix.into()).unwrap().is_tcp());
    os.adopt_datagram(UdpSocket::bind(ANY).unwrap().into()).unwrap();
    os.adopt_datagram(UnixDatagram::unbound().unwrap().into()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn sockets_are_not_adopted_for_what_they_are_not() {
    let dir = TempDir::new();
    let listener = || OwnedFd::from(TcpListener::bind(ANY).unwrap());
    let datagram = || OwnedFd::from(UnixDatagram::unbound().unwrap());
    let stream = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let file = || OwnedFd::from(File::create(dir.path("file")).unwrap());
    let mut os = os();
    for fd in [listener(), datagram()] {
        assert_eq!(os.adopt_stream(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    for fd in [stream(), datagram(), file()] {
        assert_eq!(os.adopt_listener(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    for fd in [stream(), listener(), file()] {
        assert_eq!(os.adopt_datagram(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    // An adopted Unix listener's path belongs to whoever bound it.
    let path = dir.path("theirs");
    let listener = os.adopt_listener(UnixListener::bind(&path).unwrap().into()).unwrap();
    os.close_listener(listener);
    assert!(path.exists());
}

#[test]
fn closed_stream_is_silent_although_a_duplicate_lives() {
    let mut os = os();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let duplicate = ours.try_clone().unwrap();
    let mut ours = os.adopt_stream(ours.into()).unwrap();
    os.register_stream(&mut ours, SEVEN).unwrap();
    os.close(ours);
    theirs.write_all(b"anybody?").unwrap();
    let mut edges = Vec::new();
    os.wait(Some(Duration::ZERO), &mut edges).unwrap();
    assert!(edges.is_empty());
    drop(duplicate);
}

#[test]
fn datagram_options_are_set() {
    let options = DatagramOptions {
        broadcast: true,
        receive_buffer: Some(30_000),
        ttl: Some(3),
        only_v6: Some(true),
        ..DatagramOptions::default()
    };
    let socket = os().bind_datagram(&any(), &options).unwrap();
    let fd = socket.fd().unwrap();
    let socket = SockRef::from(&fd);
    assert!(socket.broadcast().unwrap());
    assert!(!socket.reuse_address().unwrap());
    assert!(socket.recv_buffer_size().unwrap() >= 30_000);
    assert_eq!(socket.ttl_v4().unwrap(), 3);
}

#[test]
fn a_batch_brings_what_there_is_and_tells_when_that_is_all() {
    let mut os = os();
    let options = DatagramOptions::default();
    let mut ours = os.bind_datagram(&any(), &options).unwrap();
    let mut theirs = os.bind_datagram(&any(), &options).unwrap();
    let (to, from) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
    let mut queue = SendQueue::new(1 << 20);
    let sent: [&[u8]; 6] = [b"1", b"22", b"", b"333", b"4444", b"55555"];
    assert!(sent.iter().all(|payload| queue.push(&to, None, payload)));
    while !queue.is_empty() {
        os.send_queued(&mut theirs, &mut queue).unwrap();
    }
    let mut batch = ReceiveBatch::new(4, 4);
    let mut came = Vec::new();
    loop {
        batch.clear();
        match os.receive_batch(&mut ours, 4, &mut batch) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        for (arrived, bytes) in batch.datagrams() {
            assert_eq!(arrived.from, from);
            assert_eq!(arrived.to, None, "there is but one it can have been sent to");
            assert_eq!(arrived.truncated, came.len() == 5);
            came.push(bytes.to_vec());
        }
    }
    assert_eq!(came, [&b"1"[..], b"22", b"", b"333", b"4444", b"5555"]);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn what_the_system_lost_is_counted_with_the_next_datagram() {
    let mut os = os();
    let options = DatagramOptions { receive_buffer: Some(4096), ..DatagramOptions::default() };
    let mut ours = os.bind_datagram(&any(), &options).unwrap();
    let client = UdpSocket::bind(ANY).unwrap();
    client.connect(ours.local_addr().unwrap().inet().unwrap()).unwrap();
    let sent = 100;
    for _ in 0..sent {
        client.send(&[0; 1000]).unwrap();
    }
    let mut batch = ReceiveBatch::new(64, 2048);
    let has_more = os.receive_batch(&mut ours, 64, &mut batch).unwrap();
    let came = batch.datagrams().count() as u64;
    assert!(!has_more && came < sent);
    client.send(b"x").unwrap();
    batch.clear();
    os.receive_batch(&mut ours, 64, &mut batch).unwrap();
    assert_eq!(batch.overflowed(), sent - came);
    client.send(b"x").unwrap();
    batch.clear();
    os.receive_batch(&mut ours, 64, &mut batch).unwrap();
    assert_eq!(batch.overflowed(), 0, "counted once");
}

#[test]
fn waker_ends_a_wait_and_makes_no_edge() {
    let mut os = os();
    let waker = os.waker();
    let other = thread::spawn(move || waker.wake());
    let mut edges = Vec::new();
    os.wait(None, &mut edges).unwrap();
    assert!(edges.is_empty());
    other.join().unwrap();
    os.waker().wake();
    os.waker().wake();
    os.wait(None, &mut edges).unwrap();
    assert!(edges.is_empty());
}

#[test]
fn busy_polling_ends_with_a_waker_an_edge_or_the_timeout() {
    let mut os = os();
    os.set_busy_poll(Duration::from_millis(1));
    let mut edges = Vec::new();
    os.wait(Some(Duration::from_millis(2)), &mut edges).unwrap();
    assert!(edges.is_empty(), "it slept, and nothing came");
    os.set_busy_poll(Duration::MAX);
    os.wait(Some(Duration::from_millis(1)), &mut edges).unwrap();
    os.wait(Some(Duration::ZERO), &mut edges).unwrap();
    os.waker().wake();
    os.wait(None, &mut edges).unwrap();
    assert!(edges.is_empty());
    let mut socket = os.bind_datagram(&any(), &DatagramOptions::default()).unwrap();
    os.register_datagram(&mut socket, SEVEN).unwrap();
    let to = socket.local_addr().unwrap();
    os.send(&mut socket, b"to myself", &to).unwrap();
    os.wait(None, &mut edges).unwrap();
    assert_eq!(edges[0].token, SEVEN);
}

#[test]
fn look_up_ends_a_wait() {
    let mut os = os();
    let id = ConnId::new(0, 1, 2);
    assert!(os.next_look_up().is_none());
    os.look_up(id, "localhost", 80).unwrap();
    let (found_id, found) = loop {
        if let Some(answer) = os.next_look_up() {
            break answer;
        }
        os.wait(None, &mut Vec::new()).unwrap();
    };
    assert_eq!(found_id, id);
    assert!(found.unwrap().iter().all(|found| found.ip().is_loopback() && found.port() == 80));
    assert!(os.next_look_up().is_none());
}

#[test]
fn clock_starts_at_zero_and_does_not_run_backwards() {
    let os = os();
    let first = os.now();
    assert!(first < Time::ZERO + Duration::from_secs(20));
    assert!(os.now() >= first);
}

#[test]
fn wait_without_news_ends_at_its_timeout() {
    let mut os = os();
    let mut edges = Vec::new();
    let before = os.now();
    os.wait(Some(Duration::from_millis(2)), &mut edges).unwrap();
    assert!(os.now() - before >= Duration::from_millis(2));
    assert!(edges.is_empty());
}

#[test]
fn tokens_survive_being_packed() {
    for token in [
        Token::Connection(0),
        Token::Connection(i32::MAX as u32 - 1),
        Token::Endpoint(0),
        Token::Endpoint(i32::MAX as u32 - 1),
    ] {
        assert_eq!(unpack(pack(token)), token);
        assert_ne!(pack(token), WAKER);
    }
}

/// The way to wait that other systems have, beside Linux's own.
#[cfg(target_os = "linux")]
#[path = "events.rs"]
mod by_mio;

#[cfg(target_os = "linux")]
#[test]
fn both_ways_to_wait_tell_the_same() {
    type Step = fn(&mut TcpStream);
    let steps: [(&str, Step); 6] = [
        ("nothing", |_| {}),
        // Once it has ended, some of these cannot be done.
        ("data", |theirs| drop(theirs.write_all(b"data"))),
        ("an end", |theirs| drop(theirs.shutdown(Shutdown::Write))),
        ("urgent data", |theirs| drop(SockRef::from(&*theirs).send_out_of_band(b"!"))),
        ("both ends", |theirs| drop(theirs.shutdown(Shutdown::Both))),
        ("a reset", |theirs| {
            SockRef::from(&*theirs).set_linger(Some(Duration::ZERO)).unwrap(); // comes with the close
        }),
    ];
    for first in &steps {
        for second in &steps {
            for is_finished in [false, true] {
                let listener = TcpListener::bind(ANY).unwrap();
                let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (ours, _) = listener.accept().unwrap();
                if is_finished {
                    ours.shutdown(Shutdown::Write).unwrap();
                }
                first.1(&mut theirs);
                second.1(&mut theirs);
                if second.0 == "a reset" {
                    drop(theirs);
                }
                let watch = |poll: &Poll| {
                    let fd = ours.as_raw_fd();
                    poll.registry().register(&mut SourceFd(&fd), pack(SEVEN), TCP).unwrap();
                };
                let (mut poll, mut events) = (Poll::new().unwrap(), Events::new(8));
                watch(&poll);
                events.poll(&mut poll, PATIENCE).unwrap();
                let direct: Vec<_> = events.iter().collect();
                let (mut poll, mut events) = (Poll::new().unwrap(), by_mio::Events::new(8));
                watch(&poll);
                events.poll(&mut poll, PATIENCE).unwrap();
                let by_mio: Vec<_> = events.iter().collect();
                let what = format!("{}, {}, finished: {is_finished}", first.0, second.0);
                assert_eq!(direct, by_mio, "{what}");
                assert_eq!(direct.len(), 1, "{what}");
                events.clear();
                assert!(events.is_empty());
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_broken_pipe_is_told_alike() {
    let (reader, writer) = pipe();
    drop(reader);
    let watched = || {
        let poll = Poll::new().unwrap();
        let fd = writer.as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), pack(SEVEN), Interest::WRITABLE).unwrap();
        poll
    };
    let (mut events, mut by_mio) = (Events::new(8), by_mio::Events::new(8));
    events.poll(&mut watched(), PATIENCE).unwrap();
    by_mio.poll(&mut watched(), PATIENCE).unwrap();
    let (direct, by_mio): (Vec<_>, Vec<_>) = (events.iter().collect(), by_mio.iter().collect());
    assert_eq!(direct, by_mio);
    assert!(direct[0].1.has(Readiness::WRITE_CLOSED));
}
