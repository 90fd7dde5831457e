//! Streams: listeners and connections, over TCP and between Unix sockets.

use super::*;

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
    let ours = os.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();

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
    let mut ours = os.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();
    // Loopback delivers before `shutdown` returns, so both are there by now.
    os.register_stream(&mut ours, SEVEN).unwrap();
    let mut edges = edges_within(&mut os, PATIENCE);
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
    let accepted =
        std::iter::from_fn(|| os.accept(&mut listener, &mut NetAddr::Unnamed).ok()).count();
    assert_eq!(accepted, streams.len());
    let error = os.accept(&mut listener, &mut NetAddr::Unnamed).unwrap_err();
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
fn accepting_tells_who_has_come() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let mut os = os();
        let Ok(mut listener) = os.listen(&at.parse().unwrap(), &ListenOptions::default()) else {
            assert_eq!(at, "[::1]:0", "a machine without IPv6");
            continue;
        };
        let to = listener.local_addr().unwrap().inet().unwrap();
        let client = std::net::TcpStream::connect(to).unwrap();
        let mut peer = NetAddr::Unnamed;
        os.accept(&mut listener, &mut peer).unwrap();
        assert_eq!(peer, NetAddr::Inet(client.local_addr().unwrap()));
    }
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
    let mut peer = NetAddr::Unnamed;
    let mut ours = os.accept(&mut listener, &mut peer).unwrap();
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
    let mut peer = NetAddr::Unnamed;
    os.accept(&mut listener, &mut peer).unwrap();
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
    let mut peer = NetAddr::Unnamed;
    os.accept(&mut listener, &mut peer).unwrap();
    assert_eq!(peer.to_string(), path);
}
