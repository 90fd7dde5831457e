//! Sockets of every family, and descriptors that were opened elsewhere: by the standard library,
//! as pipes and pairs, by a parent process; and a reactor inside somebody else's loop.

mod common;

use std::fs::File;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use common::*;
use tidemill::protocols::{DatagramEcho, Echo};
use tidemill::{
    Address, CloseReason, Context, Fault, Handle, NetAddr, Reactor, Server, StreamHandler,
};

#[test]
fn streams_over_ipv6() {
    let Some(address) = ipv6() else { return };
    let server = start(Server::builder().listen(address, |_: &NetAddr| Echo));
    assert!(inet(&server, 0).is_ipv6());
    exchange(&mut connect(inet(&server, 0)), b"hello");
}

#[test]
fn a_unix_socket_with_a_path_is_there_while_it_is_served() {
    let dir = TempDir::new();
    let address: Address = dir.unix("socket").parse().unwrap();
    let server = start(Server::builder().listen(address, |_: &NetAddr| Echo));
    assert_eq!(server.bound()[0].address, NetAddr::Path(dir.path("socket").into()));
    for _ in 0..20 {
        let mut client = UnixStream::connect(dir.path("socket")).unwrap();
        client.set_patience();
        exchange(&mut client, b"hello");
        exchange(&mut client, &[7; 100_000]);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(read_to_end(&mut client).is_empty());
    }
    stop(server);
    assert!(!dir.path("socket").exists());
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn a_unix_socket_with_an_abstract_name_leaves_no_file() {
    let name = abstract_name();
    let address: Address = format!("unix:@{name}").parse().unwrap();
    let server = start(Server::builder().listen(address, |_: &NetAddr| Echo));
    assert_eq!(server.bound()[0].address.to_string(), format!("@{name}"));
    let mut client = connect_abstract(&name).unwrap();
    exchange(&mut client, b"hello");
    drop(client);
    stop(server);
    assert_released("the name", || connect_abstract(&name).is_err());
}

#[test]
fn a_listener_of_the_standard_library_is_served() {
    let dir = TempDir::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let mut early = connect(address); // queued before it is taken over
    let unix = UnixListener::bind(dir.path("socket")).unwrap();
    let mut reactor: Reactor = Reactor::new().unwrap();
    let id = reactor.adopt_listener(tcp, |_: &NetAddr| Echo).unwrap();
    assert_eq!(reactor.endpoint_addr(id), Some(NetAddr::Inet(address)));
    reactor.adopt_listener(unix, |_: &NetAddr| Echo).unwrap();
    let path = dir.path("socket");
    while_running(&mut reactor, move || {
        exchange(&mut early, b"early");
        exchange(&mut connect(address), b"late");
        let mut client = UnixStream::connect(path).unwrap();
        client.set_patience();
        exchange(&mut client, b"unix");
    });
    assert!(dir.path("socket").exists(), "a path that somebody else made is left to them");
}

#[test]
fn streams_and_datagram_sockets_of_the_standard_library_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = connect(listener.local_addr().unwrap());
    let (accepted, _) = listener.accept().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_patience();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.connect(udp.local_addr().unwrap()).unwrap();

    let mut reactor: Reactor = Reactor::new().unwrap();
    client.write_all(b"before").unwrap();
    reactor.adopt_stream(accepted, Echo).unwrap();
    reactor.adopt_stream(ours, Echo).unwrap();
    reactor.adopt_datagram(udp, DatagramEcho).unwrap();
    while_running(&mut reactor, move || {
        assert_eq!(read(&mut client, 6), b"before");
        exchange(&mut client, b"after");
        exchange(&mut theirs, &[7; 300_000]);
        peer.send(b"datagram").unwrap();
        let mut answer = [0; 100];
        assert_eq!(again(|| peer.recv(&mut answer)).unwrap(), 8);
    });
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let mut reactor: Reactor = Reactor::new().unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let error = reactor.adopt_stream(file, Echo).unwrap_err();
    assert_eq!(error.to_string(), "a file of this kind cannot be watched, only read and written");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = reactor.adopt_stream(listener, Echo).unwrap_err();
    assert_eq!(error.to_string(), "a listening socket, not a connected one");
    let stream = UnixStream::pair().unwrap().0;
    let error = reactor.adopt_listener(stream, |_: &NetAddr| Echo).unwrap_err();
    assert_eq!(error.to_string(), "not a listening stream socket");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(reactor.adopt_datagram(listener, DatagramEcho).is_err());
    assert_eq!(reactor.connection_count(), 0);
    assert_eq!(reactor.handle().connection_count(), 0);
}

/// Passes on what it is shown, and how it ended.
struct Collect(Sender<Vec<u8>>, Sender<String>);

impl StreamHandler for Collect {
    fn on_bytes(&mut self, _: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        let _ = self.0.send(input.to_vec());
        Ok(input.len())
    }

    fn on_close(&mut self, _: &mut Context<'_>, why: &CloseReason) {
        let _ = self.1.send(why.to_string());
    }
}

/// Says so many bytes and closes.
struct Say(Vec<u8>, Sender<String>);

impl StreamHandler for Say {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.write(&self.0);
        cx.close();
        Ok(())
    }

    fn on_bytes(&mut self, _: &mut Context<'_>, _: &[u8]) -> Result<usize, Fault> {
        unreachable!("nothing can be read here")
    }

    fn on_close(&mut self, _: &mut Context<'_>, why: &CloseReason) {
        let _ = self.1.send(why.to_string());
    }
}

#[test]
fn the_read_end_of_a_pipe_brings_bytes_and_an_end() {
    let (reader, writer) = pipe();
    let (bytes, received) = mpsc::channel();
    let (ended, ends) = mpsc::channel();
    let mut reactor: Reactor = Reactor::new().unwrap();
    reactor.adopt_stream(reader, Collect(bytes, ended)).unwrap();
    while_running(&mut reactor, move || {
        let mut writer = File::from(writer);
        writer.write_all(b"hello").unwrap();
        assert_eq!(told(&received), b"hello");
        let written = vec![7; 200_000]; // more than a pipe holds
        writer.write_all(&written).unwrap();
        drop(writer);
        let mut total = 0;
        while total < written.len() {
            let piece = told(&received);
            assert!(piece.iter().all(|byte| *byte == 7));
            total += piece.len();
        }
        assert_eq!(total, written.len());
        assert_eq!(told(&ends), "closed");
    });
}

#[test]
fn the_write_end_of_a_pipe_delivers_everything_and_then_the_end() {
    let (reader, writer) = pipe();
    let (ended, ends) = mpsc::channel();
    let mut reactor: Reactor = Reactor::new().unwrap();
    let said: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    reactor.adopt_stream(writer, Say(said.clone(), ended)).unwrap();
    while_running(&mut reactor, move || {
        let read = in_time("a pipe's end", move || read_to_end(&mut File::from(reader)));
        assert!(read == said);
        assert_eq!(told(&ends), "closed");
    });
}

/// As [`Say`], but ends its direction rather than the connection.
struct SayAll(Say);

impl StreamHandler for SayAll {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.write(&self.0.0);
        cx.finish();
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.0.on_bytes(cx, input)
    }

    fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
        self.0.on_close(cx, why);
    }
}

#[test]
fn the_write_end_of_a_pipe_has_no_other_direction_to_wait_for() {
    let (reader, writer) = pipe();
    let (ended, ends) = mpsc::channel();
    let mut reactor: Reactor = Reactor::new().unwrap();
    reactor.adopt_stream(writer, SayAll(Say(b"all".to_vec(), ended))).unwrap();
    while_running(&mut reactor, move || {
        let read = in_time("a pipe's end", move || read_to_end(&mut File::from(reader)));
        assert_eq!(read, b"all");
        assert_eq!(told(&ends), "closed");
    });
}

#[test]
fn a_pipe_whose_reader_has_gone_ends() {
    let (reader, writer) = pipe();
    let (ended, ends) = mpsc::channel();
    let mut reactor: Reactor = Reactor::new().unwrap();
    reactor.adopt_stream(writer, Say(vec![0; 1_000_000], ended)).unwrap();
    while_running(&mut reactor, move || {
        drop(reader);
        assert_ne!(told(&ends), "closed");
    });
}

#[test]
fn a_process_is_talked_to_by_its_pipes() {
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (bytes, received) = mpsc::channel();
    let (ended, ends) = mpsc::channel();
    let mut reactor: Reactor = Reactor::new().unwrap();
    reactor.adopt_stream(child.stdout.take().unwrap(), Collect(bytes, ended.clone())).unwrap();
    reactor.adopt_stream(child.stdin.take().unwrap(), Say(b"meow".repeat(50_000), ended)).unwrap();
    while_running(&mut reactor, move || {
        assert_eq!(told(&ends), "closed"); // its input, which ends it,
        assert_eq!(told(&ends), "closed"); // and so its output
        let echoed: Vec<u8> = received.try_iter().flatten().collect();
        assert!(echoed == b"meow".repeat(50_000));
    });
    assert!(child.wait().unwrap().success());
}

/// Runs itself as a child whose standard input is a listening socket, as inetd and systemd do.
#[test]
fn an_inherited_listener_is_served() {
    const CHILD: &str = "TIDEMILL_TEST_INHERITED";
    if std::env::var_os(CHILD).is_some() {
        let inherited: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let mut reactor: Reactor = Reactor::new().unwrap();
        reactor.adopt_listener(inherited, |_: &NetAddr| Once).unwrap();
        reactor.run().unwrap();
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "an_inherited_listener_is_served"]).env(CHILD, "1");
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null());
    let mut child = KilledOnDrop(command.spawn().unwrap());
    drop(command); // it holds the listener as well
    let mut client = connect(address);
    exchange(&mut client, b"hello");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut client).is_empty());
    drop(client);
    let status = in_time("the child's end", move || child.0.wait()).unwrap();
    assert!(status.success());
}

struct KilledOnDrop(std::process::Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// An echo for one client, whose end stops the reactor.
struct Once;

impl StreamHandler for Once {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        cx.write(input);
        Ok(input.len())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: &CloseReason) {
        cx.handle().shutdown(PATIENCE);
    }
}

#[test]
fn a_reactor_lives_in_somebody_elses_loop() {
    let mut reactor: Reactor = Reactor::new().unwrap();
    let (_, address) = reactor.listen(&any(), |_: &NetAddr| Echo).unwrap();
    let handle = reactor.handle().clone();
    let client = thread::spawn(move || {
        let mut clients: Vec<TcpStream> =
            (0..5).map(|_| connect(address.inet().unwrap())).collect();
        for _ in 0..100 {
            for client in &mut clients {
                exchange(client, &[7; 10_000]);
            }
        }
        handle.shutdown(PATIENCE); // a waker is seen through the descriptor as well
    });
    loop {
        // The host's own sockets would stand beside it.
        let is_ready = poll(reactor.as_fd().as_raw_fd(), reactor.next_deadline());
        let turn = reactor.turn(Some(Duration::ZERO)).unwrap();
        if turn.is_stopped {
            break;
        }
        let had_work = is_ready || turn.has_work || reactor.next_deadline().is_some();
        assert!(had_work, "poll ended, and there was nothing to do");
    }
    client.join().unwrap();
    assert_eq!(reactor.report().aborted, 0);
}

/// poll(2) for input on one descriptor: whether there is any, or the time had run out.
#[allow(unsafe_code)]
fn poll(fd: std::os::fd::RawFd, timeout: Option<Duration>) -> bool {
    let timeout = timeout.unwrap_or(PATIENCE).min(PATIENCE);
    let millis = timeout.as_nanos().div_ceil(1_000_000) as i32;
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `polled` is one struct, exclusively borrowed, and one is what is said.
    let ready = unsafe { libc::poll(&raw mut polled, 1, millis) };
    assert!(ready >= 0, "{}", std::io::Error::last_os_error());
    ready > 0
}

#[test]
fn a_reactor_runs_again_after_it_has_stopped() {
    let mut reactor: Reactor = Reactor::new().unwrap();
    let mut former = None;
    for round in 0..3 {
        let (_, address) = reactor.listen(&any(), |_: &NetAddr| Echo).unwrap();
        let address = address.inet().unwrap();
        let report = while_running(&mut reactor, move || {
            exchange(&mut connect(address), b"hello");
            let mut staying = connect(address);
            exchange(&mut staying, b"staying");
            if let Some(former) = former {
                assert_released(&format!("the listener before round {round}"), || {
                    is_refused(former)
                });
            }
        });
        assert_eq!(report.undelivered_bytes, 0);
        former = Some(address);
    }
}

/// Asserts that something was let go. Processes that other tests start here may hold a copy of any
/// descriptor until they run their program: so this waits.
fn assert_released(what: &str, is_released: impl Fn() -> bool) {
    until(what, is_released);
}

/// Runs a reactor in this thread, and meanwhile something else in another; then stops it.
fn while_running(reactor: &mut Reactor, clients: impl FnOnce() + Send) -> tidemill::Report {
    /// Even when the clients panic.
    struct Stop(Handle);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.shutdown(Duration::from_secs(10));
        }
    }
    let handle = reactor.handle().clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _stop = Stop(handle);
            clients();
        });
        reactor.run().unwrap()
    })
}
