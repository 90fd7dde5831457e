//! Restarts in which nobody is refused and nothing is lost: the example server passes its sockets
//! on to the next process, or a service manager does.
#![cfg(all(target_os = "linux", feature = "signals"))]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use common::process::{Outcome, Process, program, server};
use common::*;
use tidemill::protocols::{DatagramEcho, Echo};
use tidemill::sys::successor;
use tidemill::{NetAddr, Placement, Server};

const ANY: &str = "127.0.0.1:0";

/// How often a server is replaced under load.
const RESTARTS: usize = 10;

/// Clients that ask one thing after another until they are told to stop. One request that fails
/// ends its thread, and the test.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(tcp: SocketAddr, udp: SocketAddr) -> Load {
        let mut load = Load { is_over: Arc::default(), answered: Arc::default(), clients: vec![] };
        for _ in 0..4 {
            // A connection for each request, and one for twenty.
            load.spawn(move || exchange(&mut connect(tcp), b"one request"), 1);
            load.spawn(
                move || {
                    let mut client = connect(tcp);
                    (0..20).for_each(|_| exchange(&mut client, &[b'x'; 3000]));
                },
                20,
            );
        }
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(udp).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        load.spawn(
            move || {
                socket.send(b"a datagram").unwrap();
                assert_eq!(again(|| socket.recv(&mut [0; 64])).unwrap(), 10);
            },
            1,
        );
        load
    }

    fn spawn(&mut self, mut ask: impl FnMut() + Send + 'static, count: usize) {
        let (is_over, answered) = (self.is_over.clone(), self.answered.clone());
        self.clients.push(thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                ask();
                answered.fetch_add(count, Ordering::Relaxed);
            }
        }));
    }

    /// Waits until so many more requests were answered, and no client has failed.
    fn go_on(&self, count: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        until("requests are answered", || {
            assert!(self.clients.iter().all(|client| !client.is_finished()), "one has failed");
            self.answered.load(Ordering::Relaxed) >= wanted
        });
    }

    /// Ends all clients; each of their requests was answered.
    fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        self.answered.load(Ordering::Relaxed)
    }
}

/// A server with its successors: those are not our children, but share its output.
struct Line {
    first: Process,
    last: u32,
}

impl Line {
    fn start(command: &mut Command, listeners: usize) -> Line {
        let first = Process::serve(command.env("RUST_LOG", "info"), listeners);
        Line { last: first.id(), first }
    }

    fn signal_last(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.last);
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Has the last one replaced by another.
    fn succeed(&mut self) {
        self.signal_last("USR2");
        let line = self.first.wait_for_log("takes over");
        let number = line.split(' ').find_map(|word| word.parse().ok());
        let before = std::mem::replace(&mut self.last, number.expect("its number"));
        assert_ne!(before, self.last);
    }

    /// Ends the last one; answers what all have said after their first lines.
    fn stop(mut self) -> Outcome {
        self.signal_last("TERM");
        let last = std::mem::take(&mut self.last);
        // When the output has ended, so have all.
        let first = std::mem::replace(&mut self.first, Process::spawn(&mut Command::new("true")));
        let outcome = first.wait();
        assert!(!fs::exists(format!("/proc/{last}/exe")).unwrap(), "{outcome:?}");
        outcome
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.last != 0 && self.last != self.first.id() {
            let _ = Command::new("kill").args(["-9", &self.last.to_string()]).status();
        }
    }
}

fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

#[test]
fn ten_successions_under_load_fail_no_request() {
    for placement in ["round-robin", "reuse-port"] {
        let options = ["--threads", "2", "--placement", placement, "--metrics", ANY];
        let arguments = [&["--echo", ANY, "--udp", ANY][..], &options].concat();
        let mut line = Line::start(&mut server(&arguments), 3);
        let load = Load::start(line.first.inet(0), line.first.inet(1));
        for _ in 0..RESTARTS {
            load.go_on(200);
            line.succeed();
        }
        load.go_on(200);
        let accepted = || line.first.metric("tidemill_connections_accepted_total");
        until("the last one serves", || accepted() > 0);
        assert!(load.stop() >= 200 * (RESTARTS + 1));
        let outcome = line.stop();
        assert_eq!(outcome.code(), Some(0));
        let well = "0 aborted, 0 bytes undelivered";
        let stopped: Vec<_> =
            outcome.stdout.iter().filter(|it| it.starts_with("stopped: ")).collect();
        assert_eq!(stopped.len(), RESTARTS + 1, "{:#?}", outcome.stdout);
        assert!(stopped.iter().all(|it| it.ends_with(well)), "{stopped:#?}");
    }
}

/// As a systemd unit of Type=notify with a socket unit: the sockets are the manager's.
#[test]
fn ten_generations_under_a_service_manager_fail_no_request() {
    let dir = TempDir::new();
    let notified = UnixDatagram::bind(dir.path("notify")).unwrap();
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    let await_notice = |wanted: &[u8]| {
        let mut buffer = [0; 100];
        let len = again(|| notified.recv(&mut buffer)).unwrap();
        assert_eq!(buffer[..len], *wanted);
    };
    let (listener, udp) = (TcpListener::bind(ANY).unwrap(), UdpSocket::bind(ANY).unwrap());
    let next = || {
        let arguments = ["--inherit", "--patience", "60"];
        let sockets = [("echo", listener.as_fd()), ("udp", udp.as_fd())];
        let mut command = successor(program(), arguments, sockets).unwrap();
        command.env("NOTIFY_SOCKET", dir.path("notify")).env_remove("RUST_LOG");
        let process = Process::serve(&mut command, 2);
        await_notice(b"READY=1");
        assert_eq!(process.inet(0), listener.local_addr().unwrap());
        process
    };
    let mut process = next();
    let load = Load::start(process.inet(0), process.inet(1));
    for _ in 0..RESTARTS {
        load.go_on(200);
        let before = std::mem::replace(&mut process, next());
        before.signal("TERM");
        await_notice(b"STOPPING=1");
        let outcome = before.wait();
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        assert!(outcome.stdout[0].ends_with("0 aborted, 0 bytes undelivered"), "{outcome:?}");
    }
    load.go_on(200);
    load.stop();
    process.stop();
}

#[test]
fn readiness_is_told_once_when_all_reactors_are_there() {
    let mut server = Server::builder().threads(3).listen(any(), |_: &NetAddr| Echo).bind().unwrap();
    let (tell, told_of) = mpsc::channel();
    server.on_ready(move || tell.send(()).unwrap());
    assert!(told_of.try_recv().is_err());
    let running = server.start().unwrap();
    told(&told_of);
    stop(running);
    assert_eq!(told_of.try_recv(), Err(mpsc::TryRecvError::Disconnected), "once");
}

/// Those that the server before had still open go on with it, undisturbed.
#[test]
fn a_connection_stays_with_its_server_while_the_next_one_serves() {
    let dir = TempDir::new();
    let path = dir.unix("socket");
    let mut line = Line::start(&mut server(&["--echo", ANY, "--echo", &path]), 2);
    let mut old = line.first.connect(0);
    exchange(&mut old, b"before");
    line.succeed();
    line.first.wait_for_log("winding down"); // it accepts nobody any more
    let mut new = line.first.connect(0);
    exchange(&mut new, b"by the next");
    exchange(&mut old, b"by the first");
    drop(old);
    until("the first has ended", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", line.first.id())).unwrap();
        stat.contains(") Z ") // a zombie, as nobody has waited for it yet
    });
    exchange(&mut new, b"still");
    let mut unix = UnixStream::connect(dir.path("socket")).unwrap();
    exchange(&mut unix, b"the path has stayed");
    drop((new, unix));
    assert_eq!(line.stop().code(), Some(0));
}

#[test]
fn where_the_next_one_does_not_serve_the_one_before_goes_on() {
    let dir = TempDir::new();
    let copy = dir.path("server");
    install(&program(), &copy);
    let arguments = ["--echo", ANY, "--line", ANY];
    let mut command = Command::new(&copy);
    let mut line = Line::start(command.args(arguments), 2);
    let mut client = line.first.connect(0);
    exchange(&mut client, b"before");
    fs::write(dir.path("script"), "#!/bin/sh\nexit 3\n").unwrap();
    fs::remove_file(&copy).unwrap();
    for status in ["exit status: 127", "exit status: 3"] {
        line.signal_last("USR2");
        let logged = line.first.wait_for_log("the next process does not serve");
        assert!(logged.contains(status), "{logged}");
        exchange(&mut client, b"still served");
        exchange(&mut line.first.connect(0), b"as are others");
        install(&dir.path("script"), &copy);
    }
    // The program by now in its place is what is started: an upgrade.
    fs::remove_file(&copy).unwrap();
    install(&program(), &copy);
    drop(client);
    line.succeed();
    exchange(&mut line.first.connect(1), b"a line\n");
    let outcome = line.stop();
    assert_eq!(count(&outcome.stdout, "stopped: "), 2);
}

/// Copies a program in a process of its own: a file that a thread here has open for writing may be
/// open in a child that another thread has just started, and cannot be run then (ETXTBSY).
fn install(from: &Path, to: &Path) {
    let mut command = Command::new("install");
    assert!(command.arg("-m755").args([from, to]).status().unwrap().success());
}

/// A server that ends for good refuses clients from that moment on, although it could have passed
/// its sockets on.
#[test]
fn without_a_successor_clients_are_refused_at_the_end() {
    let process = Process::serve(&mut server(&["--echo", ANY, "--patience", "60"]), 1);
    let mut client = process.connect(0);
    exchange(&mut client, b"hello");
    process.signal("TERM");
    until("nobody listens", || is_refused(process.inet(0)));
    exchange(&mut client, b"still served");
    drop(client);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn what_is_passed_on_and_cannot_be_served_is_told_in_one_line() {
    let dir = TempDir::new();
    let listener = UnixListener::bind(dir.path("socket")).unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let wrong = [
        ("web", listener.as_fd(), "“web” is no name for a Listener"),
        ("udp", listener.as_fd(), "“udp” is no name for a Listener"),
        ("echo", pair.as_fd(), "descriptor 3 (echo) was passed on: neither a listening socket"),
    ];
    for (name, fd, complaint) in wrong {
        let mut command = successor(program(), ["--inherit"], [(name, fd)]).unwrap();
        let outcome = Process::spawn(&mut command).wait();
        assert_eq!(outcome.code(), Some(1));
        assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (0, 1));
        assert!(outcome.stderr[0].contains(complaint), "{outcome:?}");
    }
    let outcome = Process::spawn(&mut server(&["--inherit"])).wait();
    assert_eq!(outcome.code(), Some(1));
    assert!(outcome.stderr[0].contains("no socket was passed on"), "{outcome:?}");
}

/// Counted to the byte: what the server says that it took, what it says that it sent, and what
/// its clients received.
#[test]
fn every_byte_that_was_taken_at_the_signal_is_answered() {
    const CLIENTS: usize = 50;
    for threads in ["1", "2"] {
        let mut command = server(&["--echo", ANY, "--threads", threads]);
        let process = Process::serve(command.env("RUST_LOG", "info"), 1);
        let address = process.inet(0);
        let amid = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let amid = amid.clone();
                thread::spawn(move || pump(address, &amid))
            })
            .collect();
        until("all are amid their sending", || amid.load(Ordering::Relaxed) == CLIENTS);
        process.signal("TERM");
        let received: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        let outcome = process.wait();
        let report = format!("stopped: {CLIENTS} finished, 0 aborted, 0 bytes undelivered");
        assert_eq!(outcome.stdout, [report]);
        let counted = format!("{received} bytes were taken, {received} written");
        assert_eq!(count(&outcome.stderr, &counted), 1, "{received}: {:#?}", outcome.stderr);
    }
}

/// Sends for ever, a little ahead of what comes back, until the server ends; answers how many
/// bytes came back, which were the right ones.
fn pump(address: SocketAddr, amid: &AtomicUsize) -> usize {
    use std::io::{Read, Write};

    let mut client: TcpStream = connect(address);
    let (mut sending, mut receiving) = (Pattern::new(3), Pattern::new(3));
    let (mut buffer, mut ahead, mut received) = (vec![0; 32 * 1024], 0, 0);
    let mut is_refused = false;
    loop {
        while ahead < AHEAD && !is_refused {
            match client.write(sending.next(AHEAD - ahead)) {
                Ok(count) => ahead += count,
                Err(_) => is_refused = true, // it has ended; what it sent is still to be read
            }
        }
        let count = again(|| client.read(&mut buffer)).unwrap(); // and no reset
        if count == 0 {
            return received;
        }
        receiving.check(&buffer[..count]);
        ahead = ahead.saturating_sub(count);
        let before = received;
        received += count;
        if before < 4 * AHEAD && received >= 4 * AHEAD {
            amid.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Less than a server discards after its end.
const AHEAD: usize = 100 * 1000;

/// Each reactor has a listener and a datagram socket of its own, before and after.
#[test]
fn sockets_of_every_reactor_go_to_every_reactor() {
    let builder = || Server::builder().threads(2).placement(Placement::ReusePort);
    let echo = |_: &NetAddr| Echo;
    let before = builder().listen(any(), echo).datagram(any(), DatagramEcho).bind().unwrap();
    let handover = before.handover().unwrap();
    let mut after = builder();
    for (listing, fd) in handover.sockets() {
        let fd = fd.try_clone_to_owned().unwrap();
        after = if listing == 0 {
            after.listen_on(fd, echo)
        } else {
            after.datagram_on(fd, DatagramEcho)
        };
    }
    let after = after.bind().unwrap();
    let at: Vec<_> = before.bound().iter().map(|bound| bound.address.inet().unwrap()).collect();
    drop((before, handover)); // what was not accepted stays in the queues of those that are left
    let running = after.start().unwrap();
    // The system chooses by a hash of the clients' ports: that it takes one reactor for all of
    // them does not happen.
    for _ in 0..64 {
        exchange(&mut connect(at[0]), b"hello");
        let udp = UdpSocket::bind(ANY).unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        udp.send_to(b"hello", at[1]).unwrap();
        assert_eq!(again(|| udp.recv(&mut [0; 9])).unwrap(), 5);
    }
    let [one, two] = [0, 1].map(|reactor| running.handle().metrics_of(reactor).counters);
    assert_eq!((one.accepted + two.accepted, one.datagrams_in + two.datagrams_in), (64, 64));
    assert!(one.accepted > 0 && two.accepted > 0, "{one:?} {two:?}");
    assert!(one.datagrams_in > 0 && two.datagrams_in > 0, "{one:?} {two:?}");
    assert_eq!((one.opened, two.opened), (one.accepted, two.accepted), "none is handed over");
    stop(running);
}
