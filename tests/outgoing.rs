//! Connections that the reactor makes.

mod common;

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use common::*;
use socket2::{Domain, Socket, Type};
use tidemill::protocols::Echo;
use tidemill::sys::StreamOptions;
use tidemill::{
    Address, CloseReason, Connect, Context, Deadline, Fault, Limits, NetAddr, Running, Server,
    StreamHandler,
};

/// Says hello, and tells everything.
struct Caller {
    told: Sender<Said>,
}

#[derive(PartialEq, Eq, Debug)]
enum Said {
    Opened { peer: NetAddr, local: NetAddr },
    Got(Vec<u8>),
    Closed(String),
}

impl StreamHandler for Caller {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        let _ = self.told.send(Said::Opened { peer: cx.peer(), local: cx.local()? });
        cx.write(b"hello");
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        if input.len() < 5 {
            return Ok(0);
        }
        let _ = self.told.send(Said::Got(input.to_vec()));
        cx.close();
        Ok(input.len())
    }

    fn on_close(&mut self, _: &mut Context<'_>, why: &CloseReason) {
        let _ = self.told.send(Said::Closed(why.to_string()));
    }
}

/// A server that only calls.
fn caller() -> (Running, impl Fn(Connect) -> Receiver<Said>) {
    let server = start(Server::builder());
    let handle = server.handle().clone();
    let call = move |to: Connect| {
        let (told, said) = mpsc::channel();
        handle.connect(0, to, Caller { told }).unwrap();
        said
    };
    (server, call)
}

/// What a call to an echo has to say.
fn assert_answered(said: &Receiver<Said>) -> (NetAddr, NetAddr) {
    let Said::Opened { peer, local } = told(said) else { panic!("it opens first") };
    assert_eq!(told(said), Said::Got(b"hello".to_vec()));
    assert_eq!(told(said), Said::Closed("closed".to_owned()));
    (peer, local)
}

#[test]
fn calls_by_address_are_answered() {
    let echo = start(Server::builder().listen(any(), |_: &NetAddr| Echo));
    let address = inet(&echo, 0);
    let (_server, call) = caller();
    let calls: Vec<_> = (0..20).map(|_| call(address.into())).collect();
    for said in calls {
        assert_eq!(assert_answered(&said).0, NetAddr::Inet(address));
    }
}

#[test]
fn a_host_name_is_looked_up_and_its_addresses_are_tried_in_turn() {
    // Of localhost's addresses only this one is served; where [::1] comes first, it refuses.
    let echo = start(Server::builder().listen(any(), |_: &NetAddr| Echo));
    let address = inet(&echo, 0);
    let to: Address = format!("localhost:{}", address.port()).parse().unwrap();
    let (_server, call) = caller();
    assert_eq!(assert_answered(&call(to.into())).0, NetAddr::Inet(address));
}

#[test]
fn a_call_comes_from_the_address_that_was_asked_for() {
    let echo = start(Server::builder().listen(any(), |_: &NetAddr| Echo));
    let (_server, call) = caller();
    let from = "127.0.0.2:0".parse().unwrap();
    if cfg!(not(target_os = "linux")) {
        return; // elsewhere the loopback has one address
    }
    let options = StreamOptions { bind_to: Some(from), ..StreamOptions::default() };
    let said = call(Connect { to: inet(&echo, 0).into(), options, within: None });
    let (_, local) = assert_answered(&said);
    assert_eq!(local.inet().unwrap().ip(), from.ip());
}

#[test]
fn unix_sockets_are_called_by_path_and_by_name() {
    let dir = TempDir::new();
    let path: Address = dir.unix("echo").parse().unwrap();
    let mut addresses = vec![path];
    if cfg!(any(target_os = "linux", target_os = "android")) {
        addresses.push(format!("unix:@{}", abstract_name()).parse().unwrap());
    }
    let builder = addresses.iter().fold(Server::builder(), |builder, address| {
        builder.listen(address.clone(), |_: &NetAddr| Echo)
    });
    let _echo = start(builder);
    let (_server, call) = caller();
    for address in addresses {
        assert_answered(&call(address.into()));
    }
}

#[test]
fn a_call_that_is_refused_ends_without_having_opened() {
    // Bound, so that nobody else gets the port, and not listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let (_server, call) = caller();
    let Said::Closed(why) = told(&call(address.into())) else { panic!("nothing was opened") };
    assert!(why.contains("refused"), "{why}");

    let dir = TempDir::new();
    drop(UnixListener::bind(dir.path("stale")).unwrap());
    for (name, reason) in [("stale", "refused"), ("missing", "No such file")] {
        let to: Address = dir.unix(name).parse().unwrap();
        let Said::Closed(why) = told(&call(to.into())) else { panic!("nothing was opened") };
        assert!(why.contains(reason), "{why}");
    }
}

#[test]
fn a_call_that_is_given_up_at_once_ends_without_having_opened() {
    /// Calls, and takes it back in the same breath, in one of three ways.
    struct Fickle {
        to: std::net::SocketAddr,
        told: Sender<Said>,
    }
    impl StreamHandler for Fickle {
        fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
            for way in input {
                let call = cx.connect(self.to, Caller { told: self.told.clone() })?;
                match way {
                    b'a' => cx.abort_other(call)?,
                    b'c' => cx.close_other(call)?,
                    _ => cx.finish_other(call)?,
                }
            }
            cx.write(input);
            Ok(input.len())
        }
    }
    let echo = start(Server::builder().listen(any(), |_: &NetAddr| Echo));
    let to = inet(&echo, 0);
    let (told_to, said) = mpsc::channel();
    let fickle = move |_: &NetAddr| Fickle { to, told: told_to.clone() };
    let server = start(Server::builder().listen(any(), fickle));
    let mut client = connect(inet(&server, 0));
    for ways in [&b"a"[..], b"c", b"aaaa", b"acacac"] {
        exchange(&mut client, ways);
        for _ in ways {
            assert!(matches!(told(&said), Said::Closed(_)));
        }
    }
    until("nothing is left of them", || server.handle().connection_count() == 1);
}

#[test]
fn a_call_that_nobody_takes_ends_at_its_deadline() {
    let (address, _full) = full_listener();
    let (server, call) = caller();
    let within = Some(Duration::from_millis(100));
    let said = call(Connect { within, ..address.into() });
    let expected = CloseReason::TimedOut(Deadline::Connect).to_string();
    assert_eq!(told(&said), Said::Closed(expected.clone()));
    drop(server);

    let limits = Limits { connect: Duration::from_millis(100), ..Limits::default() };
    let server = start(Server::builder().limits(limits));
    let (told_to, said) = mpsc::channel();
    server.handle().connect(0, address, Caller { told: told_to }).unwrap();
    assert_eq!(told(&said), Said::Closed(expected));
}

#[test]
fn a_call_that_is_under_way_at_a_shutdown_ends_by_it() {
    let (address, _full) = full_listener();
    let (server, call) = caller();
    let said = call(address.into());
    let report = stop(server);
    assert_eq!(report.aborted, 1);
    assert_eq!(told(&said), Said::Closed(CloseReason::Shutdown.to_string()));
}

/// A listener whose queue is full, so that further clients wait for its answer; and what keeps it
/// so.
fn full_listener() -> (std::net::SocketAddr, (Socket, Vec<Socket>)) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let filling = |_| {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address); // some get in, and some wait
        client
    };
    let clients: Vec<Socket> = (0..4).map(filling).collect();
    (address.as_socket().unwrap(), (listener, clients))
}

#[test]
fn a_proxy_of_calls_carries_bytes_both_ways() {
    // Each accepted connection calls the echo and passes on what comes from either side.
    struct Front {
        to: std::net::SocketAddr,
        back: Option<tidemill::ConnId>,
    }
    struct Back {
        front: tidemill::ConnId,
    }
    impl StreamHandler for Front {
        fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
            let front = cx.id();
            self.back = Some(cx.connect(self.to, Back { front })?);
            Ok(())
        }
        fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
            cx.write_to(self.back.unwrap(), input).map_err(Fault::from)?;
            Ok(input.len())
        }
        fn on_eof(&mut self, cx: &mut Context<'_>, _: &[u8]) -> Result<(), Fault> {
            let _ = cx.finish_other(self.back.unwrap()); // it may have gone
            Ok(())
        }
    }
    impl StreamHandler for Back {
        fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
            cx.write_to(self.front, input)?;
            Ok(input.len())
        }
        fn on_close(&mut self, cx: &mut Context<'_>, _: &CloseReason) {
            let _ = cx.close_other(self.front);
        }
    }
    let echo = start(Server::builder().listen(any(), |_: &NetAddr| Echo));
    let to = inet(&echo, 0);
    let proxy = start(Server::builder().listen(any(), move |_: &NetAddr| Front { to, back: None }));
    for round in 0..20 {
        let mut client = connect(inet(&proxy, 0));
        let request = vec![round; 50_000];
        exchange(&mut client, &request); // what comes before the call is made is kept
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(read_to_end(&mut client).is_empty());
    }
}

#[test]
fn a_call_that_was_adopted_is_as_good_as_one_that_was_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = connect(listener.local_addr().unwrap());
    let (mut theirs, _) = listener.accept().unwrap();
    theirs.set_patience();
    let server = start(Server::builder());
    let (told_to, said) = mpsc::channel();
    server.handle().adopt_stream(0, OwnedFd::from(stream), Caller { told: told_to }).unwrap();
    assert_eq!(read(&mut theirs, 5), b"hello");
    std::io::Write::write_all(&mut theirs, b"world").unwrap();
    assert!(read_to_end(&mut theirs).is_empty());
    drop(theirs);
    assert!(matches!(told(&said), Said::Opened { .. }));
    assert_eq!(told(&said), Said::Got(b"world".to_vec()));
    assert_eq!(told(&said), Said::Closed("closed".to_owned()));
}
