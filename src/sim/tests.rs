use std::io::{self, ErrorKind, IoSlice};

use super::*;
use crate::base::id::ConnId;
use crate::base::rng::Rng;
use crate::sys::{
    DatagramOptions, Edge, ListenOptions, Platform, Readiness, Socket, StreamOptions, Token,
};

mod histories;

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;
const LISTENER: Token = Token::Endpoint(0);
const STREAM: Token = Token::Connection(0);
const MILLISECOND: Duration = Duration::from_millis(1);

fn address() -> Address {
    "10.0.0.1:7".parse().unwrap()
}

fn listen(node: &mut Node, address: &Address) -> Listener {
    let mut listener = node.listen(address, &ListenOptions::default()).unwrap();
    node.register_listener(&mut listener, LISTENER).unwrap();
    listener
}

/// A world with one connection: accepted and registered, its first edges delivered.
fn connection_to(address: &Address) -> (World, Node, Stream, Peer) {
    let world = World::new(1);
    let mut node = world.node();
    let mut listener = listen(&mut node, address);
    let peer = world.connect(address.clone());
    let mut stream = node.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();
    node.close_listener(listener);
    node.register_stream(&mut stream, STREAM).unwrap();
    edges(&mut node);
    (world, node, stream, peer)
}

fn connection() -> (World, Node, Stream, Peer) {
    connection_to(&address())
}

fn edges(node: &mut Node) -> Vec<Edge> {
    edges_within(node, Some(Duration::ZERO))
}

fn edges_within(node: &mut Node, wait: Option<Duration>) -> Vec<Edge> {
    let found = node.wait(wait.into()).unwrap();
    (0..found).map(|index| node.edge(index)).collect()
}

fn only_edge(node: &mut Node) -> Readiness {
    let edges = edges(node);
    assert_eq!(edges.len(), 1, "{edges:?}");
    edges[0].ready
}

fn read(node: &mut Node, stream: &mut Stream) -> Result<Vec<u8>, i32> {
    let mut buffer = [0; 64];
    match node.read(stream, &mut buffer) {
        Ok(len) => Ok(buffer[..len].to_vec()),
        Err(error) => Err(error.raw_os_error().unwrap()),
    }
}

fn write(node: &mut Node, stream: &mut Stream, bytes: &[u8]) -> Result<usize, i32> {
    node.write(stream, &[IoSlice::new(bytes)]).map_err(|error| error.raw_os_error().unwrap())
}

fn errno<T>(outcome: io::Result<T>) -> i32 {
    outcome.err().expect("it fails").raw_os_error().unwrap()
}

// Edges

#[test]
fn registering_what_is_ready_gives_an_edge() {
    let world = World::new(1);
    let mut node = world.node();
    let mut listener = node.listen(&address(), &ListenOptions::default()).unwrap();
    let peer = world.connect(address());
    node.register_listener(&mut listener, LISTENER).unwrap();
    assert_eq!(edges(&mut node), [Edge { token: LISTENER, ready: READABLE }]);

    let mut from = NetAddr::Unnamed;
    let mut stream = node.accept(&mut listener, &mut from).unwrap();
    assert_eq!(&from, peer.address());
    peer.send(b"x");
    node.register_stream(&mut stream, STREAM).unwrap();
    assert_eq!(edges(&mut node), [Edge { token: STREAM, ready: READABLE.with(WRITABLE) }]);
    assert_eq!(edges(&mut node), []);
}

#[test]
fn who_stops_before_would_block_hears_nothing_more() {
    let (_world, mut node, mut stream, peer) = connection();
    peer.send(b"one");
    assert_eq!(only_edge(&mut node), READABLE);
    assert_eq!(read(&mut node, &mut stream), Ok(b"one".to_vec()));
    peer.send(b"two");
    assert_eq!(edges(&mut node), [], "nothing was promised");

    assert_eq!(read(&mut node, &mut stream), Ok(b"two".to_vec()));
    assert_eq!(read(&mut node, &mut stream), Err(libc::EAGAIN));
    assert_eq!(edges(&mut node), [], "there is nothing to read");
    peer.send(b"three");
    peer.finish();
    assert_eq!(only_edge(&mut node), READABLE, "one edge for both, and no hints");
}

#[test]
fn an_edge_that_was_overtaken_stays_owed() {
    let (_world, mut node, mut stream, peer) = connection();
    assert_eq!(read(&mut node, &mut stream), Err(libc::EAGAIN));
    peer.send(b"one");
    assert_eq!(read(&mut node, &mut stream), Ok(b"one".to_vec()));
    assert_eq!(edges(&mut node), []);
    peer.send(b"two");
    assert_eq!(only_edge(&mut node), READABLE);
}

#[test]
fn accepting_short_of_would_block_loses_the_next_edge() {
    let world = World::new(1);
    let mut node = world.node();
    let mut listener = listen(&mut node, &address());
    let _first = world.connect(address());
    assert_eq!(only_edge(&mut node), READABLE);
    world.fail_next(Call::Accept, libc::EMFILE);
    assert_eq!(errno(node.accept(&mut listener, &mut NetAddr::Unnamed)), libc::EMFILE);
    let _second = world.connect(address());
    assert_eq!(edges(&mut node), [], "as on Linux: out of descriptors is a hang");
    for _ in 0..2 {
        let stream = node.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();
        node.close(stream);
    }
    assert_eq!(errno(node.accept(&mut listener, &mut NetAddr::Unnamed)), libc::EAGAIN);
    let _third = world.connect(address());
    assert_eq!(only_edge(&mut node), READABLE);
}

#[test]
fn a_blocked_write_is_told_of_room_once() {
    let (_world, mut node, mut stream, peer) = connection();
    let bytes = vec![7; 65 * 1024];
    assert_eq!(write(&mut node, &mut stream, &bytes), Ok(64 * 1024));
    peer.receive_at_most(1);
    assert_eq!(edges(&mut node), [], "the write was cut, but it did not block");
    assert_eq!(write(&mut node, &mut stream, &bytes), Ok(1));
    assert_eq!(write(&mut node, &mut stream, &bytes), Err(libc::EAGAIN));
    assert_eq!(edges(&mut node), []);
    assert_eq!(peer.receive().len(), 64 * 1024);
    assert_eq!(only_edge(&mut node), WRITABLE);
    assert_eq!(edges(&mut node), []);
}

#[test]
fn would_block_out_of_season_is_followed_by_an_edge() {
    let (world, mut node, mut stream, peer) = connection();
    peer.send(b"x");
    edges(&mut node);
    world.fail_next(Call::Read, libc::EAGAIN);
    world.fail_next(Call::Read, libc::EINTR);
    assert_eq!(read(&mut node, &mut stream), Err(libc::EAGAIN));
    assert_eq!(only_edge(&mut node), READABLE);
    assert_eq!(read(&mut node, &mut stream), Err(libc::EINTR));
    assert_eq!(edges(&mut node), [], "an interrupted call is simply repeated");
    assert_eq!(read(&mut node, &mut stream), Ok(b"x".to_vec()));
    assert_eq!(world.calls(Call::Read), 3);
}

#[test]
fn edges_can_be_doubled_and_outlive_their_socket() {
    let (world, mut node, mut stream, peer) = connection();
    world.set_manners(Manners { doubled_edges: 100, stale_edges: 100, ..Manners::default() });
    assert_eq!(read(&mut node, &mut stream), Err(libc::EAGAIN));
    peer.send(b"x");
    assert_eq!(edges(&mut node), [Edge { token: STREAM, ready: READABLE }; 2]);
    node.close(stream);
    assert_eq!(edges(&mut node), [Edge { token: STREAM, ready: READABLE.with(WRITABLE) }]);
    assert_eq!(edges(&mut node), []);
}

#[test]
fn strays_do_not_stop_the_clock() {
    let (world, mut node, _stream, _peer) = connection();
    world.set_manners(Manners { stray_edges: 100, ..Manners::default() });
    let deadline = world.now() + MILLISECOND;
    while world.now() < deadline {
        let edges = edges_within(&mut node, Some(deadline - world.now()));
        assert_eq!(edges, [Edge { token: STREAM, ready: READABLE.with(WRITABLE) }]);
    }
    assert_eq!(world.now(), deadline);
}

#[test]
fn hints_tell_of_ends_at_once() {
    let (world, mut node, mut stream, peer) = connection();
    world.set_manners(Manners { hints: true, ..Manners::default() });
    peer.finish();
    let told = only_edge(&mut node);
    assert!(told.has(READABLE) && told.has(Readiness::READ_CLOSED));
    assert!(!told.has(Readiness::WRITE_CLOSED) && !told.has(Readiness::ERROR));
    node.finish(&mut stream).unwrap();
    peer.reset();
    let told = only_edge(&mut node);
    assert!(told.has(Readiness::WRITE_CLOSED) && told.has(Readiness::ERROR));
}

#[test]
fn a_short_read_drains_where_that_is_promised() {
    let (world, mut node, mut stream, peer) = connection();
    world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
    assert!(node.short_read_drains(&stream));
    assert_eq!(read(&mut node, &mut stream), Err(libc::EAGAIN));
    for _ in 0..2 {
        peer.send(b"x");
        assert_eq!(only_edge(&mut node), READABLE);
        assert_eq!(read(&mut node, &mut stream), Ok(b"x".to_vec()));
    }

    // The one case where it leaves something behind is told by the edge.
    peer.send(b"y");
    peer.finish();
    assert!(only_edge(&mut node).has(Readiness::READ_CLOSED));
    assert_eq!(read(&mut node, &mut stream), Ok(b"y".to_vec()));
    assert_eq!(edges(&mut node), []);
    assert_eq!(read(&mut node, &mut stream), Ok(Vec::new()));
}

#[test]
fn a_fin_behind_data_that_was_told_of_gives_an_edge_of_its_own_where_short_reads_drain() {
    let (world, mut node, mut stream, peer) = connection();
    world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
    peer.send(b"x");
    edges(&mut node);
    peer.finish();
    assert_eq!(read(&mut node, &mut stream), Ok(b"x".to_vec()));
    assert!(only_edge(&mut node).has(Readiness::READ_CLOSED));
}

// Streams

#[test]
fn a_reset_is_told_once_and_loses_what_was_on_its_way() {
    let (_world, mut node, mut stream, peer) = connection();
    peer.send(b"lost");
    peer.reset();
    assert_eq!(read(&mut node, &mut stream), Err(libc::ECONNRESET));
    assert_eq!(read(&mut node, &mut stream), Ok(Vec::new()));
    assert_eq!(write(&mut node, &mut stream, b"x"), Err(libc::EPIPE));
    assert!(node.finish(&mut stream).is_ok(), "there is nothing to end");
}

#[test]
fn closing_with_unread_input_resets() {
    let (world, mut node, mut stream, peer) = connection();
    assert_eq!(write(&mut node, &mut stream, b"reply"), Ok(5));
    node.finish(&mut stream).unwrap();
    peer.send(b"unread");
    node.close(stream);
    assert!(peer.was_reset() && !peer.has_ended());
    assert_eq!(peer.receive(), b"", "the reply is lost: that is what lingering is for");
    assert_eq!(world.open_sockets(), 0);
}

#[test]
fn unix_streams_know_at_once_and_have_no_reset() {
    for text in ["unix:/run/mill.sock", "unix:@mill"] {
        let (_world, mut node, mut stream, peer) = connection_to(&text.parse().unwrap());
        assert_eq!(peer.address(), &NetAddr::Unnamed);
        peer.reset();
        assert_eq!(write(&mut node, &mut stream, b"x"), Err(libc::EPIPE));
        assert_eq!(read(&mut node, &mut stream), Ok(Vec::new()));
        node.close(stream);
    }
}

#[test]
fn a_pipe_holds_its_capacity() {
    let world = World::new(1);
    world.set_capacity(10);
    let listener = world.listen(address());
    let mut node = world.node();
    let mut stream = node.connect(&address(), &StreamOptions::default()).unwrap();
    let peer = listener.accept().unwrap();
    assert_eq!(node.connected(&mut stream).unwrap(), *listener.address());
    let parts = [IoSlice::new(b"012345"), IoSlice::new(b"6789ab")];
    assert_eq!(node.write(&mut stream, &parts).unwrap(), 10);
    assert_eq!(peer.receive_at_most(3), b"012");
    assert_eq!(write(&mut node, &mut stream, b"XYZW"), Ok(3));
    assert_eq!(peer.receive(), b"3456789XYZ");
    assert_eq!(peer.send(&[1; 11]), 10);
}

// Connecting

#[test]
fn connecting_where_nobody_listens_is_refused() {
    let world = World::new(1);
    let mut node = world.node();
    let mut stream = node.connect(&address(), &StreamOptions::default()).unwrap();
    node.register_stream(&mut stream, STREAM).unwrap();
    assert!(only_edge(&mut node).has(WRITABLE));
    assert_eq!(errno(node.connected(&mut stream)), libc::ECONNREFUSED);
    assert!(world.connect(address()).was_reset());
    let unix = "unix:@nobody".parse().unwrap();
    assert_eq!(errno(node.connect(&unix, &StreamOptions::default())), libc::ECONNREFUSED);
}

#[test]
fn a_held_address_answers_when_released() {
    let world = World::new(1);
    let listener = world.listen(address());
    world.hold_connects(address());
    let mut node = world.node();
    let mut stream = node.connect(&address(), &StreamOptions::default()).unwrap();
    node.register_stream(&mut stream, STREAM).unwrap();
    let forgotten = node.connect(&address(), &StreamOptions::default()).unwrap();
    node.close(forgotten);
    assert_eq!(edges(&mut node), []);
    assert_eq!(errno(node.connected(&mut stream)), libc::EAGAIN);
    assert!(listener.accept().is_none());

    world.release_connects(address());
    assert_eq!(only_edge(&mut node), WRITABLE);
    assert_eq!(node.connected(&mut stream).unwrap(), *listener.address());
    assert_eq!(listener.accept().unwrap().remote(), stream.local_addr().unwrap());
    assert!(listener.accept().is_none());
}

#[test]
fn a_full_backlog_keeps_the_rest_waiting() {
    let world = World::new(1);
    let mut node = world.node();
    let options = ListenOptions { backlog: 2, ..ListenOptions::default() };
    let mut listener = node.listen(&address(), &options).unwrap();
    let peers: Vec<Peer> = (0..4).map(|_| world.connect(address())).collect();
    let connected = || peers.iter().filter(|peer| peer.is_connected()).count();
    assert_eq!(connected(), 2);
    let stream = node.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();
    assert_eq!(connected(), 3);
    assert_eq!(world.open_sockets(), 2, "those in the queue are nobody's yet");
    node.close_listener(listener);
    assert_eq!(connected(), 1);
    assert_eq!(peers.iter().filter(|peer| peer.was_reset()).count(), 3);
    node.close(stream);
}

#[test]
fn addresses_are_taken_once_and_given_out_for_port_zero() {
    let world = World::new(1);
    let mut node = world.node();
    let any: Address = "0.0.0.0:0".parse().unwrap();
    let first = node.listen(&any, &ListenOptions::default()).unwrap();
    let second = node.listen(&any, &ListenOptions::default()).unwrap();
    assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
    let taken = Address::Inet(first.local_addr().unwrap().inet().unwrap());
    assert_eq!(errno(node.listen(&taken, &ListenOptions::default())), libc::EADDRINUSE);

    let port = second.local_addr().unwrap().port().unwrap();
    let peer = world.connect(SocketAddr::from(([127, 0, 0, 1], port)));
    assert!(peer.is_connected(), "it listens on every interface");
}

#[test]
fn a_node_that_is_dropped_closes_its_sockets() {
    let (world, node, stream, peer) = connection();
    assert_eq!(world.open_sockets(), 1);
    drop(node);
    assert!(peer.has_ended());
    assert_eq!(world.open_sockets(), 0);
    drop(stream);
}

#[test]
fn a_stream_moves_to_the_node_that_registers_it() {
    let world = World::new(1);
    let (mut first, mut second) = (world.node(), world.node());
    let mut listener = listen(&mut first, &address());
    let peer = world.connect(address());
    let mut stream = first.accept(&mut listener, &mut NetAddr::Unnamed).unwrap();
    second.register_stream(&mut stream, STREAM).unwrap();
    drop(first);
    assert_eq!(only_edge(&mut second), WRITABLE);
    assert!(peer.is_connected());
    assert_eq!(errno(second.register_stream(&mut stream, STREAM)), libc::EEXIST);
}

// Datagrams, names, time

#[test]
fn datagrams_arrive_whole_cut_or_not_at_all() {
    let world = World::new(1);
    let mut node = world.node();
    let any: Address = "0.0.0.0:9".parse().unwrap();
    let mut socket = node.bind_datagram(&any, &DatagramOptions::default()).unwrap();
    node.register_datagram(&mut socket, LISTENER).unwrap();
    assert_eq!(only_edge(&mut node), WRITABLE);
    let peer = world.bind_datagram("127.0.0.1:0".parse::<Address>().unwrap());
    let here = NetAddr::Inet("127.0.0.1:9".parse().unwrap());

    peer.send_to(b"fits", &here);
    peer.send_to(b"", &here);
    peer.send_to(b"is too long", &here);
    assert_eq!(only_edge(&mut node), READABLE);
    let mut buffer = [0; 4];
    let mut receive = || node.receive(&mut socket, &mut buffer).map(|it| (it.len, it.truncated));
    assert_eq!(receive().unwrap(), (4, false));
    assert_eq!(receive().unwrap(), (0, false));
    assert_eq!(receive().unwrap(), (4, true));
    assert_eq!(errno(receive()), libc::EAGAIN);

    node.send(&mut socket, b"hello", peer.address()).unwrap();
    assert_eq!(peer.receive(), Some((b"hello".to_vec(), here)));
    let nobody = NetAddr::Inet("127.0.0.1:10".parse().unwrap());
    node.send(&mut socket, b"hello", &nobody).unwrap();
    assert_eq!(errno(node.send(&mut socket, &[0; 65_508], &nobody)), libc::EMSGSIZE);
}

#[test]
fn a_full_queue_loses_datagrams() {
    let world = World::new(1);
    let (near, far): (Address, Address) =
        ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
    let (near, far) = (world.bind_datagram(near), world.bind_datagram(far));
    for _ in 0..1000 {
        near.send_to(b"x", far.address());
    }
    assert_eq!(std::iter::from_fn(|| far.receive()).count(), 256);
}

#[test]
fn names_are_known_or_not_after_a_wait() {
    let world = World::new(1);
    world.name("mill.example", vec!["10.0.0.1:0".parse().unwrap()]);
    let mut node = world.node();
    let (known, unknown) = (ConnId::new(0, 1, 1), ConnId::new(0, 2, 2));
    node.look_up(known, "mill.example", 80).unwrap();
    node.look_up(unknown, "nowhere.example", 80).unwrap();
    assert!(node.next_look_up().is_none());
    node.wait(None.into()).unwrap();
    assert_eq!(world.stalled_waits(), 0);
    let (id, answer) = node.next_look_up().unwrap();
    assert_eq!((id, answer.unwrap()), (known, vec!["10.0.0.1:80".parse().unwrap()]));
    let (id, answer) = node.next_look_up().unwrap();
    assert_eq!((id, answer.unwrap_err().kind()), (unknown, ErrorKind::Other));
    assert!(node.next_look_up().is_none());
}

#[test]
fn waiting_moves_the_clock_only_when_there_is_nothing_else() {
    let (world, mut node, mut stream, peer) = connection();
    let waker = node.waker();
    let mut wait = |timeout: Option<Duration>| node.wait(timeout.into()).unwrap();
    let waits = world.waits();

    wait(Some(MILLISECOND));
    assert_eq!(world.now(), Time::from_millis(1));
    waker.wake();
    waker.wake();
    wait(Some(MILLISECOND));
    assert_eq!(world.now(), Time::from_millis(1), "two wakes may count as one");
    wait(None);
    assert_eq!((world.now(), world.stalled_waits()), (Time::from_millis(1), 1));
    world.advance(MILLISECOND);
    assert_eq!(world.now(), Time::from_millis(2));
    assert_eq!(world.waits(), waits + 3);

    assert_eq!(read(&mut node, &mut stream), Err(libc::EAGAIN));
    peer.send(b"x");
    node.wait(Some(MILLISECOND).into()).unwrap();
    assert_eq!(world.now(), Time::from_millis(2));
}

#[test]
fn handles_may_go_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<Stream>();
    is_send::<Listener>();
    is_send::<Datagram>();
}
