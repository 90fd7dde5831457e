//! The example server as a process whose system fails it: calls that are made to fail by
//! strace(1), and more connections than anybody has. Together these take minutes, so they run
//! when asked for:
//!
//! ```text
//! cargo build --examples && cargo test --test abuse -- --ignored
//! ```
//!
//! After each, the same has to be so: the process is alive, a fresh client is served to the byte
//! and at once, the processor rests, and descriptors and memory are back where they were.
#![cfg(all(target_os = "linux", feature = "signals"))]

mod common;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::process::{Process, program, server};
use common::*;
use socket2::{Domain, SockRef, Socket, Type};

const ANY: &str = "127.0.0.1:0";
const LISTENERS: [&str; 8] = ["--echo", ANY, "--line", ANY, "--udp", ANY, "--metrics", ANY];

/// Clients in each case, ten at a time.
const CLIENTS: usize = 60;

/// A call that is made to fail, again and again and then not any more.
struct Case {
    call: &'static str,
    error: &'static str,
    /// Whether each failure may cost one client its connection.
    is_loss: bool,
}

const fn harmless(call: &'static str, error: &'static str) -> Case {
    Case { call, error, is_loss: false }
}

const fn loss(call: &'static str, error: &'static str) -> Case {
    Case { call, error, is_loss: true }
}

const CASES: [Case; 36] = [
    harmless("accept4", "EINTR"),
    harmless("accept4", "EMFILE"),
    harmless("accept4", "ENFILE"),
    harmless("accept4", "ENOBUFS"),
    harmless("accept4", "ENOMEM"),
    harmless("accept4", "ECONNABORTED"),
    harmless("accept4", "EPROTO"),
    harmless("accept4", "EPERM"),
    harmless("accept4", "ENETDOWN"),
    harmless("epoll_pwait", "EINTR"),
    loss("epoll_ctl", "ENOSPC"),
    loss("epoll_ctl", "ENOMEM"),
    harmless("recvfrom", "EINTR"),
    harmless("recvfrom", "EAGAIN"),
    loss("recvfrom", "ECONNRESET"),
    loss("recvfrom", "ETIMEDOUT"),
    loss("recvfrom", "EHOSTUNREACH"),
    loss("recvfrom", "ENOBUFS"),
    loss("recvfrom", "ENOMEM"),
    harmless("sendto", "EINTR"),
    harmless("sendto", "EAGAIN"),
    loss("sendto", "EPIPE"),
    loss("sendto", "ECONNRESET"),
    loss("sendto", "ETIMEDOUT"),
    loss("sendto", "ENOBUFS"),
    loss("sendto", "ENOMEM"),
    harmless("recvmmsg", "EINTR"),
    harmless("recvmmsg", "EAGAIN"),
    harmless("recvmmsg", "ECONNREFUSED"),
    harmless("recvmmsg", "ENOMEM"),
    harmless("sendmmsg", "EINTR"),
    loss("sendmmsg", "ENOBUFS"),
    loss("sendmmsg", "ECONNREFUSED"),
    loss("sendmmsg", "EPERM"),
    loss("shutdown", "ENOTCONN"),
    loss("shutdown", "ECONNRESET"),
];

#[test]
#[ignore = "long"]
fn whatever_the_system_answers_the_server_goes_on() {
    if !is_there("strace") {
        return;
    }
    let start = Instant::now();
    for case in &CASES {
        eprintln!("{} answers {}, after {:?}", case.call, case.error, start.elapsed());
        let dir = TempDir::new();
        let trace = dir.path("trace");
        // The first calls are those of its start; and it ends first only where metrics are asked for.
        let when = if case.call == "shutdown" { "1..3" } else { "8..60+3" };
        let inject = format!("inject={}:error={}:when={when}", case.call, case.error);
        let process = Process::serve(&mut strace(case.call, &inject, &trace), 4);
        let before = Held::by(&process);
        let mut lost = crowd(&process, case.error == "EAGAIN");
        if case.call == "shutdown" {
            lost += (0..5).filter(|_| scrape(&process).is_err()).count();
        }
        let injected = injected_count(&trace, &process, before);
        assert!(injected > 0, "it was never called");
        let most = if case.is_loss { injected } else { 0 };
        assert!(lost <= most, "{lost} were lost, by {injected} failures");
    }
}

/// A server that cannot start says so in one line; one that can do without serves.
#[test]
#[ignore = "long"]
fn whatever_fails_at_its_start_is_told_or_done_without() {
    if !is_there("strace") {
        return;
    }
    let (mut served, mut told) = (0, 0);
    for (call, error, count) in [
        ("socket", "EMFILE", 4),
        ("socket", "EACCES", 4),
        ("setsockopt", "ENOPROTOOPT", 9),
        ("setsockopt", "ENOMEM", 9),
        ("bind", "EADDRNOTAVAIL", 4),
        ("listen", "EADDRINUSE", 3),
        ("getsockname", "ENOBUFS", 6),
        ("epoll_create1", "EMFILE", 2),
        ("eventfd2", "EMFILE", 2),
        ("epoll_ctl", "ENOSPC", 5),
        ("clone3", "EAGAIN", 6),
    ] {
        for nth in 1..=count {
            eprintln!("{call} {nth} answers {error}");
            let dir = TempDir::new();
            let trace = dir.path("trace");
            let inject = format!("inject={call}:error={error}:when={nth}");
            let mut process = Process::spawn(&mut strace(call, &inject, &trace));
            // Listeners are told of before they are watched: it may end after that.
            if process.await_listeners(4) && is_served(process.inet(0)) {
                assert_fresh(&process);
                process.stop();
                served += 1;
            } else {
                let outcome = process.wait();
                assert_eq!(outcome.code(), Some(1), "{outcome:?}");
                let lines: Vec<_> =
                    outcome.stderr.iter().filter(|line| line.starts_with("server: ")).collect();
                assert_eq!(lines.len(), 1, "{outcome:?}");
                told += 1;
            }
        }
    }
    assert!(served > 0 && told > 10, "{served} served, {told} told");
}

/// The server under strace, whose child it seems not to be (`-D`): its number is the one that is
/// known here.
///
/// The idle deadline is for those of whose end an injected EAGAIN has kept the server from hearing:
/// no system answers so, and no edge follows.
fn strace(call: &str, inject: &str, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args([
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        &format!("trace={call}"),
        "-e",
        inject,
        "-o",
    ]);
    command.arg(trace).arg(program()).args(LISTENERS).args(["--limit", "idle=5"]);
    command.env_remove("RUST_LOG");
    command
}

/// What has to be so after each case; then ends the process, and counts what failed.
fn injected_count(trace: &Path, process: &Process, before: Held) -> usize {
    assert_settled(process, before);
    let text = fs::read_to_string(trace).unwrap();
    text.lines().filter(|line| line.contains("(INJECTED)")).count()
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    resident_kib: u64,
}

impl Held {
    fn by(process: &Process) -> Held {
        let path = format!("/proc/{}/smaps_rollup", process.id());
        let rollup = fs::read_to_string(path).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        let resident_kib = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        Held { descriptors: process.descriptor_count(usize::MAX), resident_kib }
    }
}

/// Alive, exact, at rest, and holding no more than before.
fn assert_settled(process: &Process, before: Held) {
    let mut idle = process.connect(0);
    let start = Instant::now();
    assert_fresh(process);
    assert!(start.elapsed() < Duration::from_secs(1), "only after {:?}", start.elapsed());
    let ticks = process.cpu_ticks();
    idle.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let waited = again(|| idle.read(&mut [0])).unwrap_err();
    assert_eq!(waited.kind(), ErrorKind::WouldBlock);
    let spent = process.cpu_ticks() - ticks;
    assert!(spent <= 3, "{spent} ticks of a processor for nothing");
    drop(idle);
    until("its descriptors are back", || Held::by(process).descriptors <= before.descriptors);
    let after = Held::by(process);
    assert!(after.resident_kib < before.resident_kib + 4096, "{before:?}, {after:?}");
}

/// A client of each kind is served to the byte.
fn assert_fresh(process: &Process) {
    let mut pattern = Pattern::new(5);
    let mut echo = process.connect(0);
    for _ in 0..3 {
        exchange(&mut echo, pattern.next(3000));
    }
    echo.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut echo).is_empty());
    exchange(&mut process.connect(1), b"a line\n");
    let udp = UdpSocket::bind(ANY).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    udp.send_to(b"a datagram", process.inet(2)).unwrap();
    assert_eq!(again(|| udp.recv(&mut [0; 64])).unwrap(), 10);
    assert!(process.metric("tidemill_connections_accepted_total") > 0);
}

/// Whether there is anybody at all.
fn is_served(at: SocketAddr) -> bool {
    let ask = || {
        let mut client = TcpStream::connect_timeout(&at, PATIENCE)?;
        client.set_patience();
        client.write_all(b"?")?;
        again(|| client.read(&mut [0]))
    };
    matches!(ask(), Ok(1))
}

/// Many clients of each kind. Answers how many were not served. Where the server may not hear of
/// their ends, it may end them by its idle deadline.
fn crowd(process: &Process, may_be_deaf: bool) -> usize {
    let mut lost = 0;
    for _ in 0..CLIENTS / 10 {
        let clients: Vec<_> = (0..10).map(|_| Patient::connect(process.inet(0))).collect();
        let ask = |client: Patient| thread::spawn(move || client.ask(may_be_deaf));
        let asked: Vec<_> = clients.into_iter().map(ask).collect();
        lost += asked.into_iter().filter_map(|asked| asked.join().unwrap().err()).count();
    }
    let udp = UdpSocket::bind(ANY).unwrap();
    udp.connect(process.inet(2)).unwrap();
    udp.set_read_timeout(Some(NUDGE)).unwrap();
    for number in 0..CLIENTS as u8 {
        lost += usize::from(!is_answered(&udp, number));
    }
    lost
}

/// Asks for the metrics, whose server ends first.
fn scrape(process: &Process) -> io::Result<()> {
    let mut stream = process.connect(3);
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.contains("\ntidemill_turn_seconds_count ") {
        true => Ok(()),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether a datagram is answered. As with streams, a receive that only seemed to find nothing is
/// made up for by the next: so others follow until one of them is answered.
fn is_answered(udp: &UdpSocket, number: u8) -> bool {
    let start = Instant::now();
    let mut buffer = [0; 16];
    udp.send(&[number]).unwrap();
    while start.elapsed() < PATIENCE {
        match again(|| udp.recv(&mut buffer)) {
            Ok(1) if buffer[0] == number => return true,
            // Those before it are answered in their order.
            Ok(1) if buffer[0] == number + NUDGING => return false,
            Ok(1) => {}
            Ok(other) => panic!("a datagram of one byte came back as one of {other}"),
            Err(_) => drop(udp.send(&[number + NUDGING]).unwrap()),
        }
    }
    panic!("no datagram is answered any more");
}

/// What is added to a number to ask anew.
const NUDGING: u8 = 100;

/// A client that asks again where nothing comes: the edge that an injected EAGAIN lacks comes with
/// the next bytes.
struct Patient {
    stream: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Patient {
    fn connect(to: SocketAddr) -> Patient {
        let stream = connect(to);
        stream.set_read_timeout(Some(NUDGE)).unwrap();
        Patient { stream, sent: Vec::new(), received: Vec::new() }
    }

    /// An error is a connection that was lost.
    fn ask(mut self, may_be_reset: bool) -> io::Result<()> {
        let mut pattern = Pattern::new(7);
        for _ in 0..3 {
            self.send(pattern.next(1000))?;
            let start = Instant::now();
            while self.received.len() < self.sent.len() && start.elapsed() < PATIENCE {
                if !self.receive()? {
                    self.send(b".")?;
                }
            }
        }
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        match self.stream.read_to_end(&mut self.received) {
            Err(error) if !may_be_reset || error.kind() != ErrorKind::ConnectionReset => {
                return Err(error);
            }
            _ => {}
        }
        match self.received == self.sent {
            true => Ok(()),
            // It ended before its time; what came until then is right.
            false if self.sent.starts_with(&self.received) => Err(ErrorKind::UnexpectedEof.into()),
            false => panic!("wrong bytes"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.sent.extend(bytes);
        Ok(())
    }

    /// Answers whether anything came in time.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match again(|| self.stream.read(&mut buffer)) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Long for an answer on this machine.
const NUDGE: Duration = Duration::from_millis(50);

fn is_there(program: &str) -> bool {
    let is_there = Command::new(program)
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !is_there {
        eprintln!("skipped: there is no {program}");
    }
    is_there
}

// More than there usually is.

/// Connects from one of the many addresses of the loopback: the ports of one would not do.
fn connect_from(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = Ipv4Addr::new(127, 1, (number / 250 % 250) as u8, 1 + (number % 250) as u8);
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_patience();
    stream
}

#[test]
#[ignore = "long"]
fn after_a_burst_of_ten_thousand_connections_their_memory_is_back() {
    const BURST: usize = 10_000;
    if tidemill::sys::descriptor_limit() < BURST as u64 + 300 {
        eprintln!("skipped: this takes {BURST} descriptors and some");
        return;
    }
    let process = Process::serve(&mut server(&LISTENERS), 4);
    let before = Held::by(&process);
    let mut clients: Vec<_> =
        (0..BURST).map(|number| connect_from(number, process.inet(0))).collect();
    for client in &mut clients {
        client.write_all(&[7; 1000]).unwrap();
    }
    for client in &mut clients {
        assert_eq!(read(client, 1000), [7; 1000]);
    }
    let amid = Held::by(&process);
    assert!(amid.descriptors >= before.descriptors + BURST);
    drop(clients);
    until("all are gone", || process.metric("tidemill_connections") == 0);
    let after = Held::by(&process);
    eprintln!("before {before:?}, amid {amid:?}, after {after:?}");
    assert_settled(&process, before);
}

/// `ABUSE_CHURN` says how many connections; 40,000 by default.
#[test]
#[ignore = "long"]
fn connections_that_come_and_go_leave_nothing() {
    let count = std::env::var("ABUSE_CHURN").map_or(40_000, |text| text.parse().unwrap());
    let process = Process::serve(&mut server(&LISTENERS), 4);
    let to = process.inet(0);
    let churn = |count: usize| {
        let life = |number: usize| {
            let mut client = connect_from(number, to);
            exchange(&mut client, b"hello");
            // Half of them in good order, half by a reset.
            if number % 2 == 0 {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
        };
        thread::scope(|scope| {
            for first in 0..4 {
                scope.spawn(move || (first..count).step_by(4).for_each(life));
            }
        });
        until("all are gone", || process.metric("tidemill_connections") == 0);
    };
    let before = Held::by(&process);
    churn(1000);
    let start = Instant::now();
    churn(count);
    let after = Held::by(&process);
    eprintln!("{count} connections in {:?}: before {before:?}, after {after:?}", start.elapsed());
    assert_eq!(process.metric("tidemill_panics_total"), 0);
    assert_settled(&process, before);
}

/// Loopback in a network of its own, where packets are lost, late, doubled and out of order; or, in
/// want of netem, where a queue too short for what is sent drops them.
#[test]
#[ignore = "long"]
fn on_a_bad_network_every_byte_arrives() {
    const NAME: &str = "on_a_bad_network_every_byte_arrives";
    const CHILD: &str = "TIDEMILL_TEST_BAD_NETWORK";
    if std::env::var_os(CHILD).is_some() {
        return serve_on_a_bad_network();
    }
    let prepare = "ip link set lo mtu 1500 up && \
        { tc qdisc add dev lo root netem loss 2% delay 2ms 1ms duplicate 1% reorder 20% || \
          tc qdisc add dev lo root tbf rate 40mbit burst 16kb latency 1ms; } 2>/dev/null && \
        tc qdisc show dev lo || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", prepare, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--ignored", "--nocapture"]).env(CHILD, "1");
    match command.output() {
        Ok(output) if output.status.success() => {
            eprint!("{}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(output) if !matches!(output.status.code(), Some(1 | 77)) => panic!("{output:?}"),
        _ => eprintln!("skipped: there is no right to a network of one's own, or no tc"),
    }
}

fn serve_on_a_bad_network() {
    let process = Process::serve(&mut server(&LISTENERS), 4);
    let before = Held::by(&process);
    let to = process.inet(0);
    let talk = move |seed: u64| {
        let mut client = connect(to);
        let (mut sent, mut came) = (Pattern::new(seed), Pattern::new(seed));
        for _ in 0..30 {
            let mut count = 0;
            for _ in 0..3 {
                let piece = sent.next(20_000);
                client.write_all(piece).unwrap();
                count += piece.len();
            }
            came.check(&read(&mut client, count));
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert!(read_to_end(&mut client).is_empty());
    };
    let clients: Vec<_> = (0..10).map(|seed| thread::spawn(move || talk(seed))).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let counts = fs::read_to_string("/proc/net/snmp").unwrap();
    let rows: Vec<_> = counts.lines().filter(|line| line.starts_with("Tcp:")).collect();
    let column = rows[0].split(' ').position(|name| name == "RetransSegs").unwrap();
    let count: u64 = rows[1].split(' ').nth(column).unwrap().parse().unwrap();
    eprintln!("{count} segments were sent again");
    assert!(count > 0, "the network was not that bad");
    until("all are gone", || process.metric("tidemill_connections") == 0);
    assert_eq!(process.metric("tidemill_panics_total"), 0);
    assert_settled(&process, before);
    process.stop();
}
