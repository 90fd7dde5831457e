//! The example server against clients and circumstances that mean it no good: each limit is
//! reached, and its counter is seen to move.
#![cfg(all(target_os = "linux", feature = "signals"))]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::process::{Process, server, server_by_shell};
use common::*;
use socket2::SockRef;

const ANY: &str = "127.0.0.1:0";

/// A server with these options, of which the first is its listener, and with one of metrics. At
/// its end it does not wait for clients that are still there.
fn serve(arguments: &[&str]) -> Process {
    let more = ["--limit", "linger=0.1", "--metrics", ANY];
    Process::serve(&mut server(&[arguments, &more].concat()), 2)
}

/// Whether a new client is reset, which may come as early as its connecting.
fn is_reset(process: &Process) -> bool {
    let connected = TcpStream::connect_timeout(&process.inet(0), PATIENCE);
    let answer = connected.and_then(|mut client| {
        client.set_patience();
        again(|| client.read(&mut [0]))
    });
    match answer {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Ok(0) => false,
        other => panic!("it is served: {other:?}"),
    }
}

fn closed_by(reason: &str) -> String {
    format!("tidemill_connections_closed_by_reason_total{{reason=\"{reason}\"}}")
}

/// Waits until the server has counted one end for this reason.
fn ends_by(process: &Process, reason: &str) {
    until(reason, || process.metric(&closed_by(reason)) == 1);
}

#[test]
fn the_metrics_are_served_as_http_has_it() {
    let process = serve(&["--echo", ANY]);
    let ask = |request: &str| {
        let mut stream = process.connect(1);
        write!(stream, "{request}\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.split_once("\r\nContent-Length: ").unwrap().1.split_once('\r').unwrap().0;
        let expected = if request.starts_with("HEAD ") { "" } else { body };
        assert_eq!(body, expected, "no body follows");
        assert!(body.is_empty() || body.len() == length.parse().unwrap(), "{head}");
        assert_ne!(length, "0");
        head.to_owned()
    };
    assert!(ask("GET /metrics HTTP/1.1").starts_with("HTTP/1.1 200 "));
    assert!(ask("GET /metrics?module=mill HTTP/1.0").starts_with("HTTP/1.1 200 "));
    assert!(ask("GET /metricsx HTTP/1.1").starts_with("HTTP/1.1 404 "));
    assert!(ask("HEAD /metrics HTTP/1.1").starts_with("HTTP/1.1 200 "));
    assert!(ask("HEAD /metricsx HTTP/1.1").starts_with("HTTP/1.1 404 "));
    let refused = ask("POST /metrics HTTP/1.1");
    assert!(refused.starts_with("HTTP/1.1 405 "));
    assert!(refused.contains("\r\nAllow: GET, HEAD\r\n"), "RFC 9110, section 15.5.6");
    assert!(ask("GET /metrics").starts_with("HTTP/1.1 400 "));
    process.stop();
}

#[test]
fn at_the_limit_on_connections_the_listener_stops() {
    let process = serve(&["--echo", ANY, "--limit", "connections=1"]);
    let mut inside = process.connect(0);
    exchange(&mut inside, b"hello");
    let mut waiting = process.connect(0);
    waiting.write_all(b"hello").unwrap();
    until("the limit", || process.metric("tidemill_accept_holds_total") == 1);
    assert!(is_silent(&mut waiting));
    drop(inside);
    assert_eq!(read(&mut waiting, 5), b"hello");
    process.stop();
}

#[test]
fn at_the_limit_on_connections_clients_are_refused_if_asked_for() {
    let process =
        serve(&["--echo", ANY, "--limit", "connections=1", "--limit", "when_full=refuse"]);
    let mut inside = process.connect(0);
    exchange(&mut inside, b"hello");
    for _ in 0..3 {
        assert!(is_reset(&process));
    }
    assert_eq!(process.metric("tidemill_connections_refused_total{by=\"connections\"}"), 3);
    exchange(&mut inside, b"still served");
    process.stop();
}

#[test]
fn one_client_has_its_share_of_connections_on_all_reactors() {
    for placement in ["round-robin", "reuse-port"] {
        let process = serve(&[
            "--echo",
            ANY,
            "--threads",
            "3",
            "--placement",
            placement,
            "--limit",
            "connections_per_client=4",
        ]);
        let mut inside: Vec<_> = (0..4).map(|_| process.connect(0)).collect();
        inside.iter_mut().for_each(|client| exchange(client, b"hello"));
        for _ in 0..6 {
            assert!(is_reset(&process));
        }
        let refused = "tidemill_connections_refused_total{by=\"connections_per_client\"}";
        assert_eq!(process.metric(refused), 6);
        inside.remove(0);
        until("its place", || process.metric("tidemill_connections") == 3);
        exchange(&mut process.connect(0), b"the next");
        process.stop();
    }
}

#[test]
fn clients_wait_for_the_rate_of_accepting() {
    let process = serve(&["--echo", ANY, "--limit", "accepts_per_second=2"]);
    let start = Instant::now();
    let mut clients: Vec<_> = (0..3).map(|_| process.connect(0)).collect();
    clients.iter_mut().for_each(|client| exchange(client, b"hello"));
    assert!(start.elapsed() >= Duration::from_millis(890), "{:?}", start.elapsed());
    assert!(process.metric("tidemill_accept_waits_total") >= 1);
    process.stop();
}

#[test]
fn an_address_that_is_denied_is_reset() {
    let denying = serve(&["--echo", ANY, "--deny", "127.0.0.0/8"]);
    assert!(is_reset(&denying));
    assert_eq!(denying.metric("tidemill_connections_refused_total{by=\"access\"}"), 1);
    denying.stop();
    let allowing = serve(&["--echo", ANY, "--allow", "127.0.0.1", "--deny", "127.0.0.0/8"]);
    exchange(&mut allowing.connect(0), b"hello");
    allowing.stop();
}

#[test]
fn a_line_without_an_end_is_cut_off() {
    let process = serve(&["--line", ANY]);
    let mut other = process.connect(0);
    let mut client = process.connect(0);
    let mut sent = 0;
    while sent < 64 << 20 {
        match client.write(&[b'x'; 4096]) {
            Ok(count) => sent += count,
            Err(_) => break, // reset
        }
        exchange(&mut other, b"served\n");
    }
    assert!(sent < 64 << 20, "it never ends");
    ends_by(&process, "fault");
    assert!(process.metric("tidemill_buffered_bytes_most") < 256 * 1024);
    process.stop();
}

#[test]
fn a_line_that_comes_by_drips_runs_out_of_time() {
    let process = serve(&["--line", ANY, "--limit", "message=1"]);
    let mut client = process.connect(0);
    let start = Instant::now();
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    while start.elapsed() < PATIENCE {
        // Being answered nothing for a while is the pace of the drip.
        let _ = client.write(b"x"); // it may just have ended
        match client.read(&mut [0]) {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(_) => {}
        }
    }
    assert!((Duration::from_secs(1)..PATIENCE).contains(&start.elapsed()));
    ends_by(&process, "message");
    process.stop();
}

#[test]
fn a_client_that_never_reads_is_reset() {
    let process = serve(&["--echo", ANY, "--limit", "write_progress=0.5"]);
    let mut client = process.connect(0);
    let mut sent: u64 = 0;
    while sent < 1 << 30 {
        match again(|| client.write(&[0; 64 * 1024])) {
            Ok(count) => sent += count as u64,
            Err(_) => break,
        }
    }
    assert!(sent < 1 << 30, "all of it was taken");
    ends_by(&process, "write_progress");
    assert!(process.metric("tidemill_short_writes_total") >= 1);
    assert!(process.metric("tidemill_buffered_bytes_most") < 1 << 20);
    assert_eq!(process.metric("tidemill_buffered_bytes"), 0);
    process.stop();
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let process = serve(&["--echo", ANY, "--limit", "first_byte=0.5"]);
    let mut silent = process.connect(0);
    let mut talkative = process.connect(0);
    exchange(&mut talkative, b"hello");
    assert!(read_to_end(&mut silent).is_empty());
    ends_by(&process, "first_byte");
    exchange(&mut talkative, b"still there");
    process.stop();
}

#[test]
fn a_client_that_falls_silent_is_let_go() {
    let process = serve(&["--echo", ANY, "--limit", "idle=0.5"]);
    let mut client = process.connect(0);
    exchange(&mut client, b"hello");
    assert!(read_to_end(&mut client).is_empty());
    ends_by(&process, "idle");
    process.stop();
}

/// Sends to an echo, and reads nothing, until there is no room left anywhere between the two, or
/// the connection has ended.
fn fill(client: &mut TcpStream) {
    client.set_nonblocking(true).unwrap();
    let start = Instant::now();
    // What the server takes makes room again; it has stopped once there is none for a while.
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(200) {
        match client.write(&[0; 64 * 1024]) {
            Ok(_) => last = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(_) => break,
        }
        assert!(start.elapsed() < PATIENCE, "it takes all");
    }
    client.set_nonblocking(false).unwrap();
}

#[test]
fn an_answer_that_is_not_taken_after_the_end_is_given_up() {
    let options = ["--limit", "flush=0.5", "--limit", "linger=60", "--grace", "60"];
    let arguments = [&["--echo", ANY, "--metrics", ANY][..], &options].concat();
    let process = Process::serve(&mut server(&arguments), 2);
    let mut deaf = process.connect(0);
    fill(&mut deaf);
    let mut other = process.connect(0);
    exchange(&mut other, b"hello");
    process.signal("TERM");
    ends_by(&process, "flush");
    assert!(read_to_end(&mut other).is_empty());
    drop(other); // it was awaited
    let outcome = process.wait();
    let stopped = &outcome.stdout[0];
    assert!(stopped.starts_with("stopped: 1 finished, 1 aborted, "), "{stopped}");
    assert!(!stopped.ends_with(" 0 bytes undelivered"), "{stopped}");
}

#[test]
fn together_they_buffer_no_more_than_may_be() {
    let limits = ["--limit", "buffered_bytes=600000", "--limit", "overload=0.5"];
    let process = serve(&[&["--echo", ANY][..], &limits].concat());
    let mut clients: Vec<_> = (0..6).map(|_| process.connect(0)).collect();
    clients[..3].iter_mut().for_each(fill);
    until("overload", || process.metric(&closed_by("overload")) >= 1);
    assert!(process.metric("tidemill_buffered_bytes_most") < 1_000_000);
    exchange(&mut clients[5], b"served all the same");
    drop(clients);
    process.stop();
}

#[test]
fn what_still_comes_after_an_answer_is_thrown_away_up_to_a_limit() {
    let process = serve(&["--line", ANY, "--limit", "linger=30", "--limit", "linger_bytes=100000"]);
    let mut client = process.connect(0);
    client.write_all(b"answered\n").unwrap();
    // The line is too long: it ends this.
    let mut sent = 0;
    while sent < 64 << 20 {
        match again(|| client.write(&[b'x'; 10_000])) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    assert!(sent < 64 << 20, "all of it was taken");
    until("it is thrown away", || process.metric("tidemill_connections") == 0);
    let discarded = process.metric("tidemill_discarded_bytes_total");
    assert!((100_001..400_000).contains(&discarded), "{discarded}");
    process.stop();
}

#[test]
fn datagrams_that_find_no_room_are_counted() {
    let process = serve(&["--udp", ANY]);
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.connect(process.inet(0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    process.signal("STOP");
    for _ in 0..2000 {
        socket.send(&[7; 1400]).unwrap();
    }
    process.signal("CONT");
    // The count comes with the next one.
    let overflowed = || process.metric("tidemill_datagrams_overflowed_total");
    until("it is told", || {
        socket.send(b"next").unwrap();
        overflowed() > 0
    });
    process.stop();
}

/// All that came while it was stopped is one turn's.
#[test]
fn one_peer_has_its_share_of_datagrams() {
    let process = serve(&["--udp", ANY, "--limit", "datagrams_per_peer=20"]);
    let peer = |from: &str| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(process.inet(0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let (flood, more, calm) = (peer("127.0.0.2"), peer("127.0.0.2"), peer("127.0.0.3"));
    let send = |socket: &UdpSocket, count: u8| (0..count).for_each(|it| drop(socket.send(&[it])));
    let answered = |socket: &UdpSocket, count: u8| {
        for number in 0..count {
            let mut answer = [0; 2];
            assert_eq!(again(|| socket.recv(&mut answer)).unwrap(), 1);
            assert_eq!(answer[0], number);
        }
    };
    let metric = |name: &str| process.metric(&format!("tidemill_datagrams_{name}_total"));
    for turn in 1..=2 {
        process.signal("STOP");
        send(&flood, 15);
        send(&more, 50);
        send(&calm, 10);
        process.signal("CONT");
        answered(&calm, 10);
        answered(&flood, 15);
        answered(&more, 5);
        assert_eq!((metric("in"), metric("over_share")), (30 * turn, 45 * turn));
        assert_eq!((metric("dropped"), metric("overflowed")), (0, 0));
    }
    process.stop();
}

#[test]
fn a_client_that_resets_is_counted_as_one() {
    let process = serve(&["--echo", ANY]);
    let mut client = process.connect(0);
    exchange(&mut client, b"hello");
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    ends_by(&process, "reset");
    process.stop();
}

#[test]
fn urgent_data_neither_spins_nor_stops_it() {
    let process = serve(&["--echo", ANY]);
    let mut client = process.connect(0);
    for _ in 0..100 {
        client.write_all(b"before").unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(b"behind").unwrap();
        assert_eq!(read(&mut client, 12), b"beforebehind");
    }
    let turns = process.metric("tidemill_turns_total");
    exchange(&mut client, b"calm");
    let more = process.metric("tidemill_turns_total") - turns;
    assert!(more < 20, "{more} turns for one exchange");
    client.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut client).is_empty());
    process.stop();
}

#[test]
fn descriptors_that_are_taken_away_while_it_runs_are_waited_for() {
    if Command::new("prlimit").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: there is no prlimit(1)");
        return;
    }
    let process = serve(&["--echo", ANY, "--limit", "connections=1000"]);
    let mut inside = process.connect(0);
    exchange(&mut inside, b"hello");
    let limit = |count: usize| {
        let (pid, limit) = (process.id().to_string(), format!("--nofile={count}:"));
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
        assert!(status.success());
    };
    let before = process.metric("process_max_fds");
    limit(5); // fewer than are open: those stay
    let mut waiting = process.connect(0);
    waiting.write_all(b"waiting").unwrap();
    process.wait_for_log("cannot accept, will try again");
    exchange(&mut inside, b"still served");
    assert!(is_silent(&mut waiting));
    limit(before as usize);
    assert_eq!(read(&mut waiting, 7), b"waiting");
    assert!(process.metric("tidemill_accept_rests_total") >= 1);
    process.stop();
}

#[test]
fn a_process_that_was_stopped_goes_on_where_it_was() {
    let process = serve(&["--echo", ANY, "--watchdog", "1"]);
    let mut clients: Vec<_> = (0..10).map(|_| process.connect(0)).collect();
    clients.iter_mut().for_each(|client| exchange(client, b"hello"));
    process.signal("STOP");
    for client in &mut clients {
        client.write_all(b"while it was away").unwrap();
    }
    let mut late = process.connect(0); // the system queues it
    late.write_all(b"late").unwrap();
    assert!(clients.iter_mut().all(is_silent));
    process.signal("CONT");
    for client in &mut clients {
        assert_eq!(read(client, 17), b"while it was away");
    }
    assert_eq!(read(&mut late, 4), b"late");
    let outcome = process.stop();
    assert!(outcome.stderr.iter().all(|line| !line.contains("and still does")), "{outcome:?}");
}

/// Each stop and continuation interrupts a wait of the system's (signal(7)); the others that are
/// sent, a process ignores by default.
#[test]
fn a_storm_of_signals_loses_nothing() {
    let process = serve(&["--echo", ANY, "--threads", "2"]);
    let mut client = process.connect(0);
    let storm = format!(
        "for i in $(seq 100); do for s in STOP CONT WINCH URG CHLD; do kill -s $s {}; done; done",
        process.id()
    );
    let mut storm = Command::new("sh").args(["-c", &storm]).spawn().unwrap();
    let mut rounds = 0;
    while storm.try_wait().unwrap().is_none() {
        exchange(&mut client, b"amid the storm");
        rounds += 1;
    }
    assert!(rounds > 0);
    exchange(&mut client, b"after it");
    process.stop();
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let (mut writer, reader) = mio::unix::pipe::new().unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    let writer: std::os::fd::OwnedFd = writer.into();
    let dir = TempDir::new();
    let address = dir.unix("socket");
    let mut command = server(&["--echo", &address, "--grace", "1"]);
    command.env("RUST_LOG", "trace");
    let process = Process::spawn_to(&mut command, Stdio::null(), Stdio::from(writer));
    serves_and_ends(process, &dir);
    drop(reader);
}

#[test]
fn a_standard_error_that_is_closed_stops_nothing() {
    let dir = TempDir::new();
    let address = dir.unix("socket");
    let mut command = server_by_shell(r#"exec "$@" 2>&-"#, &["--echo", &address, "--grace", "1"]);
    command.env("RUST_LOG", "trace");
    let process = Process::spawn_to(&mut command, Stdio::null(), Stdio::null());
    serves_and_ends(process, &dir);
}

/// So much is logged at `trace` that no pipe or queue holds it.
fn serves_and_ends(process: Process, dir: &TempDir) {
    use std::os::unix::net::UnixStream;
    let connected = || UnixStream::connect(dir.path("socket"));
    until("it listens", || connected().is_ok());
    let mut client = connected().unwrap();
    client.set_patience();
    for _ in 0..4000 {
        exchange(&mut client, b"hello");
    }
    process.signal("TERM");
    let outcome = process.wait();
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
}
