//! The example server as a process: its lines, its options, its errors, its end.
#![cfg(all(unix, feature = "signals"))] // without signals there is no such example

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use common::process::{Process, program, server, server_by_shell};
use common::*;

const ANY: &str = "127.0.0.1:0";

#[test]
fn each_listener_says_where_it_is_in_the_order_of_the_options() {
    let dir = TempDir::new();
    let path = dir.unix("socket");
    let datagrams = dir.unix("datagrams");
    let mut arguments =
        vec!["--line", ANY, "--echo", ANY, "--udp", ANY, "--echo", &path, "--udp", &datagrams];
    arguments.extend(["--length", ANY]);
    let mut expected = vec![
        ("line tcp", "127.0.0.1:".to_owned()),
        ("echo tcp", "127.0.0.1:".to_owned()),
        ("udp udp", "127.0.0.1:".to_owned()),
        ("echo unix", dir.path("socket").display().to_string()),
        ("udp unix", dir.path("datagrams").display().to_string()),
        ("length tcp", "127.0.0.1:".to_owned()),
    ];
    let name = abstract_name();
    let abstract_address = format!("unix:@{name}");
    if cfg!(any(target_os = "linux", target_os = "android")) {
        arguments.extend(["--line", &abstract_address]);
        expected.push(("line unix", format!("@{name}")));
    }
    let process = Process::serve(server(&arguments).env("RUST_LOG", "warn"), expected.len());
    for (listening, (kind, address)) in process.listening.iter().zip(&expected) {
        assert_eq!(format!("{} {}", listening.kind, listening.transport), *kind);
        assert!(listening.address.starts_with(address), "{listening:?}");
    }
    let mut lines = process.connect(0);
    exchange(&mut lines, b"a line\r\n");
    let mut echo = process.connect(1);
    exchange(&mut echo, b"no line");
    let udp = UdpSocket::bind(ANY).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    udp.send_to(b"datagram", process.inet(2)).unwrap();
    assert_eq!(again(|| udp.recv(&mut [0; 100])).unwrap(), 8);
    let mut unix = UnixStream::connect(dir.path("socket")).unwrap();
    exchange(&mut unix, b"by path");
    let mut frames = process.connect(5);
    exchange(&mut frames, b"\0\0\0\x05frame");
    drop((lines, echo, unix, frames));
    let outcome = process.stop();
    assert_eq!(outcome.stdout.len(), 1, "{outcome:?}");
    assert_eq!(outcome.stderr, [""; 0]);
}

#[test]
fn a_host_name_is_served_at_all_its_addresses() {
    let process = Process::serve(&mut server(&["--echo", "localhost:0"]), 1);
    assert!(process.inet(0).ip().is_loopback());
    exchange(&mut process.connect(0), b"hello");
}

#[test]
fn ipv6_is_written_in_brackets() {
    if ipv6().is_none() {
        return;
    }
    let process = Process::serve(&mut server(&["--echo", "[::1]:0"]), 1);
    assert!(process.listening[0].address.starts_with("[::1]:"));
    exchange(&mut process.connect(0), b"hello");
}

#[test]
fn help_and_version_are_printed_and_that_is_all() {
    let help = Process::spawn(&mut server(&["--help"])).wait();
    assert_eq!(help.code(), Some(0));
    assert!(help.stdout[0].starts_with("Usage: server"));
    for option in [
        "--echo",
        "--line",
        "--length",
        "--udp",
        "--inherit",
        "--patience",
        "--threads",
        "--placement",
        "--max-connections",
        "--idle-timeout",
        "--grace",
        "--limit",
        "--allow",
        "--deny",
        "--watchdog",
        "--metrics",
        "--unix-mode",
        "--help",
        "--version",
    ] {
        assert!(help.stdout.iter().any(|line| line.contains(option)), "{option}");
    }
    assert!(help.stdout.iter().all(|line| line.len() <= 100));
    assert_eq!(help.stderr, [""; 0]);
    let version = Process::spawn(&mut server(&["--version"])).wait();
    assert_eq!(version.code(), Some(0));
    assert_eq!(version.stdout, [format!("tidemill {}", env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn a_wrong_option_is_named_in_one_line() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--nonsense"], "--nonsense"),
        (&["-x"], "-x"),
        (&["stray"], "stray"),
        (&["--echo"], "--echo"),
        (&["--echo", "127.0.0.1"], "--echo"),
        (&["--echo", "127.0.0.1:99999"], "--echo"),
        (&["--line", "a b:80"], "--line"),
        (&["--line", ""], "--line"),
        (&["--udp", "unix:"], "--udp"),
        (&["--udp", "::1:80"], "--udp"),
        (&["--threads"], "--threads"),
        (&["--threads", "0"], "--threads"),
        (&["--threads", "-1"], "--threads"),
        (&["--threads", "two"], "--threads"),
        (&["--threads", "1000000"], "--threads"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--max-connections", "99999999999999999999"], "--max-connections"),
        (&["--idle-timeout", "0"], "--idle-timeout"),
        (&["--idle-timeout", "1e9"], "--idle-timeout"),
        (&["--idle-timeout", "18446744073709551615"], "--idle-timeout"),
        (&["--grace", "soon"], "--grace"),
        (&["--limit", "idle"], "--limit"),
        (&["--limit", "idel=1"], "idel"),
        (&["--limit", "idle=never"], "idle=never"),
        (&["--deny", "10.0.0.1/8"], "--deny"),
        (&["--allow", "everybody"], "--allow"),
        (&["--metrics", "here"], "--metrics"),
        (&["--watchdog", "soon"], "--watchdog"),
        (&["--placement", "nearest"], "--placement"),
        (&["--placement"], "--placement"),
        (&["--unix-mode", "888"], "--unix-mode"),
        (&["--unix-mode", "1777"], "--unix-mode"),
        (&["--unix-mode", "rwx"], "--unix-mode"),
    ];
    for (arguments, name) in wrong {
        let outcome = Process::spawn(&mut server(arguments)).wait();
        assert_eq!(outcome.code(), Some(2), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, [""; 0], "{arguments:?}");
        assert_eq!(outcome.stderr.len(), 1, "{arguments:?}: {outcome:?}");
        assert!(outcome.stderr[0].contains(name), "{arguments:?}: {outcome:?}");
    }
}

/// Asserts that a server cannot start, and that one line says so with all of these words.
fn assert_fails(mut command: Command, words: &[&str]) {
    let outcome = Process::spawn(&mut command).wait();
    assert_eq!(outcome.code(), Some(1), "{words:?}: {outcome:?}");
    assert_eq!(outcome.stdout, [""; 0], "{words:?}");
    assert_eq!(outcome.stderr.len(), 1, "{words:?}: {outcome:?}");
    for word in words {
        assert!(outcome.stderr[0].contains(word), "{words:?}: {outcome:?}");
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_the_reason() {
    let dir = TempDir::new();

    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_fails(server(&["--echo", &address]), &[&address, "in use"]);
    assert_fails(server(&["--udp", ANY, "--line", &address]), &[&address, "in use"]);
    let taken = UdpSocket::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_fails(server(&["--udp", &address]), &[&address, "in use"]);

    // Of the net that is set aside for examples (RFC 5737), and so not ours.
    assert_fails(server(&["--echo", "192.0.2.1:0"]), &["192.0.2.1:0", "cannot assign"]);

    let long = dir.unix(&"x".repeat(200));
    assert_fails(server(&["--echo", &long]), &[&long, "at most"]);
    assert_fails(server(&["--udp", &long]), &[&long, "at most"]);
    let missing = dir.unix("no/such/directory");
    assert_fails(server(&["--echo", &missing]), &[&missing, "no such file"]);

    // A name that no one will ever have (RFC 6761, section 6.4).
    let unknown = "no-such-host.invalid:80";
    assert_fails(server(&["--echo", unknown]), &[unknown, "lookup"]);
}

#[test]
fn an_address_that_is_not_allowed_is_named_with_the_reason() {
    const NOBODY: u32 = 65_534;
    // Root may do anything: then somebody else has to try.
    let as_somebody = |arguments: &[&str]| {
        let mut command = server(arguments);
        if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
        {
            command.uid(NOBODY);
        }
        command
    };
    if as_somebody(&["--version"]).stdout(Stdio::null()).status().is_err() {
        eprintln!("skipped: {} is out of an ordinary user's reach", program().display());
        return;
    }
    let dir = TempDir::new();
    fs::create_dir(dir.path("closed")).unwrap();
    fs::set_permissions(dir.path("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    let address = dir.unix("closed/socket");
    assert_fails(as_somebody(&["--echo", &address]), &[&address, "permission denied"]);

    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    match first_free.ok().and_then(|number| number.trim().parse::<u16>().ok()) {
        Some(first) if first > 1 => assert_fails(
            as_somebody(&["--echo", "127.0.0.1:1"]),
            &["127.0.0.1:1", "permission denied"],
        ),
        _ => eprintln!("skipped: every port is free to all here"),
    }
}

#[test]
fn a_stale_path_is_replaced_a_live_one_and_a_file_are_not() {
    let dir = TempDir::new();
    let address = dir.unix("socket");

    let first = Process::serve(&mut server(&["--echo", &address]), 1);
    exchange(&mut UnixStream::connect(dir.path("socket")).unwrap(), b"hello");

    assert_fails(server(&["--echo", &address]), &[&address, "in use"]);
    assert_fails(server(&["--udp", &address]), &[&address, "in use"]);
    exchange(&mut UnixStream::connect(dir.path("socket")).unwrap(), b"still served");

    // One that was killed leaves its file; the next one takes its place. (A listener of our own
    // would not do: while another test starts a process, that may hold it for a moment.)
    first.signal("KILL");
    assert!(first.wait().status.code().is_none());
    assert!(dir.path("socket").exists());
    let second = Process::serve(&mut server(&["--echo", &address]), 1);
    exchange(&mut UnixStream::connect(dir.path("socket")).unwrap(), b"served again");
    second.stop();
    assert!(!dir.path("socket").exists(), "the path goes with its server");

    fs::write(dir.path("file"), "precious").unwrap();
    let address = dir.unix("file");
    assert_fails(server(&["--echo", &address]), &[&address, "not a socket"]);
    assert_eq!(fs::read(dir.path("file")).unwrap(), b"precious");
}

#[test]
fn a_path_that_somebody_else_took_over_is_left_to_them() {
    let dir = TempDir::new();
    let process = Process::serve(&mut server(&["--echo", &dir.unix("socket")]), 1);
    fs::remove_file(dir.path("socket")).unwrap();
    let theirs = UnixListener::bind(dir.path("socket")).unwrap();
    process.stop();
    assert!(dir.path("socket").exists());
    drop(theirs);
}

#[test]
fn where_one_address_fails_nothing_is_left_of_the_others() {
    let dir = TempDir::new();
    let taken = TcpListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = dir.unix("socket");
    assert_fails(server(&["--echo", &path, "--echo", &address]), &[&address]);
    assert!(!dir.path("socket").exists());
}

#[test]
fn unix_sockets_get_the_mode_that_was_asked_for() {
    let dir = TempDir::new();
    let (stream, datagram) = (dir.unix("stream"), dir.unix("datagram"));
    for mode in ["600", "660", "777"] {
        let arguments = ["--unix-mode", mode, "--echo", &stream, "--udp", &datagram];
        let process = Process::serve(&mut server(&arguments), 2);
        for name in ["stream", "datagram"] {
            let bits = fs::symlink_metadata(dir.path(name)).unwrap().permissions().mode();
            assert_eq!(format!("{:o}", bits & 0o7777), mode, "{name}");
        }
        process.stop();
    }
}

#[test]
fn a_signal_ends_it_in_good_order_with_a_report() {
    for signal in ["TERM", "INT"] {
        let process = Process::serve(&mut server(&["--echo", ANY, "--threads", "2"]), 1);
        let mut clients: Vec<_> = (0..6).map(|_| process.connect(0)).collect();
        for client in &mut clients {
            exchange(client, b"hello");
        }
        process.signal(signal);
        for mut client in clients {
            assert!(read_to_end(&mut client).is_empty());
        }
        let outcome = process.wait();
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        assert_eq!(outcome.stdout, ["stopped: 6 finished, 0 aborted, 0 bytes undelivered"]);
        let told = |what| outcome.stderr.iter().filter(|line| line.contains(what)).count();
        assert_eq!(
            told("shutting down: 3 connections are open, for 10s at most"),
            2,
            "{outcome:?}"
        );
        assert_eq!(told("INFO"), outcome.stderr.len(), "{outcome:?}");
    }
}

#[test]
fn the_grace_bounds_how_long_the_end_takes() {
    let process = Process::serve(&mut server(&["--echo", ANY, "--grace", "1"]), 1);
    let client = process.connect(0);
    let flood = flood(client.try_clone().unwrap());
    // One that does not read: it will not have its answers, however long it is waited for.
    let mut other = process.connect(0);
    exchange(&mut other, b"while it is there");
    drop(other);
    process.signal("TERM");
    let start = Instant::now();
    let outcome = process.wait();
    assert_eq!(outcome.code(), Some(0), "{outcome:?}");
    assert!(start.elapsed() < PATIENCE / 2);
    assert!(outcome.stdout[0].starts_with("stopped: "), "{outcome:?}");
    flood.join().unwrap();
    drop(client);
}

/// Sends until the connection ends, and reads nothing.
fn flood(mut client: std::net::TcpStream) -> thread::JoinHandle<()> {
    thread::spawn(move || while client.write_all(&[0; 64 * 1024]).is_ok() {})
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let arguments = ["--echo", ANY, "--grace", "100000"];
        let process = Process::serve(server(&arguments).env("RUST_LOG", "trace"), 1);
        let client = process.connect(0);
        let flood = flood(client.try_clone().unwrap());
        process.wait_for_log("bytes wait"); // more is owed to it than the system takes
        process.signal(signal);
        process.wait_for_log("shutting down");
        process.signal(signal);
        let outcome = process.wait();
        assert_eq!(outcome.code(), Some(code));
        assert_eq!(outcome.stdout, [""; 0]);
        flood.join().unwrap();
        drop(client);
    }
}

#[test]
fn it_serves_with_its_standard_output_closed() {
    let dir = TempDir::new();
    let address = dir.unix("socket");
    let mut command = server_by_shell(r#"exec "$@" >&-"#, &["--echo", &address, "--grace", "1"]);
    let process = Process::spawn_with(&mut command, Stdio::null());
    serves_and_stops(process, &dir);
}

#[test]
fn it_serves_with_a_standard_output_that_nobody_reads() {
    let (_reader, writer) = full_pipe();
    let dir = TempDir::new();
    let address = dir.unix("socket");
    let mut command = server(&["--echo", &address, "--grace", "1"]);
    let process = Process::spawn_with(&mut command, Stdio::from(writer));
    process.wait_for_log("nobody reads standard output");
    serves_and_stops(process, &dir);
}

#[test]
fn it_serves_with_a_standard_output_whose_reader_has_gone() {
    let (reader, writer) = pipe();
    drop(reader);
    let dir = TempDir::new();
    let address = dir.unix("socket");
    let mut command = server(&["--echo", &address, "--grace", "1"]);
    let process = Process::spawn_with(&mut command, Stdio::from(writer));
    serves_and_stops(process, &dir);
}

#[test]
fn it_fails_as_it_should_with_its_standard_error_closed() {
    let mut command = server_by_shell(r#"exec "$@" 2>&-"#, &["--nonsense"]);
    assert_eq!(Process::spawn(&mut command).wait().code(), Some(2));
}

/// One client is served, and a signal ends the process. The path says when it is there.
fn serves_and_stops(process: Process, dir: &TempDir) {
    let connected = || UnixStream::connect(dir.path("socket"));
    until("it listens", || connected().is_ok());
    let mut client = connected().unwrap();
    client.set_patience();
    exchange(&mut client, b"hello");
    drop(client);
    let outcome = process.stop();
    assert!(!outcome.stderr.iter().any(|line| line.contains("panicked")), "{outcome:?}");
    assert!(!dir.path("socket").exists());
}

/// A pipe that takes nothing more.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (mut writer, reader) = mio::unix::pipe::new().unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    while writer.write(b".").is_ok() {}
    writer.set_nonblocking(false).unwrap();
    (reader.into(), writer.into())
}

#[test]
fn beyond_the_most_connections_clients_wait() {
    let process = Process::serve(&mut server(&["--echo", ANY, "--max-connections", "2"]), 1);
    let mut first = process.connect(0);
    exchange(&mut first, b"hello");
    let mut second = process.connect(0);
    exchange(&mut second, b"hello");
    let mut third = process.connect(0);
    third.write_all(b"waiting").unwrap();
    for _ in 0..10 {
        exchange(&mut first, b"served");
        exchange(&mut second, b"served");
    }
    assert!(is_silent(&mut third));
    drop(first);
    assert_eq!(read(&mut third, 7), b"waiting");
}

#[test]
fn an_idle_client_is_let_go() {
    let process = Process::serve(&mut server(&["--echo", ANY, "--idle-timeout", "1"]), 1);
    let mut client = process.connect(0);
    exchange(&mut client, b"hello");
    assert_eq!(again(|| client.read(&mut [0])).unwrap(), 0);
}

#[test]
fn several_threads_serve() {
    for placement in ["round-robin", "least-loaded", "reuse-port"] {
        let arguments = ["--echo", ANY, "--udp", ANY, "--threads", "3", "--placement", placement];
        let process = Process::serve(&mut server(&arguments), 2);
        let mut clients: Vec<_> = (0..30).map(|_| process.connect(0)).collect();
        for client in &mut clients {
            exchange(client, b"hello");
        }
        #[cfg(target_os = "linux")]
        {
            // One of the three is the main thread, which keeps its name.
            let names = process.thread_names();
            let reactors = names.iter().filter(|name| name.starts_with("tidemill-")).count();
            assert!(reactors >= 2, "{names:?}");
        }
        drop(clients);
        process.stop();
    }
}

#[test]
fn a_trace_shows_the_readiness_of_a_stream_as_it_happens() {
    let dir = TempDir::new();
    let arguments = ["--echo", ANY, "--echo", &dir.unix("socket")];
    let process = Process::serve(server(&arguments).env("RUST_LOG", "trace"), 2);

    let mut client = UnixStream::connect(dir.path("socket")).unwrap();
    client.set_patience();
    exchange(&mut client, b"hello");
    process.wait_for_log("edge Connection");
    process.wait_for_log("read 5");
    process.wait_for_log("write 5");
    // What may stop at a passed descriptor is read until there is nothing.
    process.wait_for_log("read would block");
    drop(client);
    process.wait_for_log("read the end");
    process.wait_for_log("closed");

    let client = process.connect(0);
    let flood = flood(client.try_clone().unwrap());
    process.wait_for_log("blocked, ");
    process.wait_for_log("parked");
    client.shutdown(std::net::Shutdown::Both).unwrap();
    drop(client);
    flood.join().unwrap();
}

/// With few descriptors, and many more clients than they allow.
#[cfg(target_os = "linux")]
mod exhausted {
    use super::*;

    const DESCRIPTORS: usize = 32;
    const CLIENTS: usize = 60;

    fn few_descriptors(more: &[&str]) -> Process {
        let line = format!(r#"ulimit -n {DESCRIPTORS} && exec "$@""#);
        let arguments = [&["--echo", ANY, "--max-connections", "1000"], more].concat();
        Process::serve(&mut server_by_shell(&line, &arguments), 1)
    }

    #[test]
    fn out_of_descriptors_those_inside_stay_served_and_the_others_have_their_turn() {
        let process = few_descriptors(&[]);
        let mut clients = vec![process.connect(0)];
        exchange(&mut clients[0], b"the first");
        let free = DESCRIPTORS - process.descriptor_count(DESCRIPTORS);
        clients.extend((1..CLIENTS).map(|_| process.connect(0)));
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(format!("{number:04}").as_bytes()).unwrap();
        }
        process.wait_for_log("cannot accept, will try again");

        // The queue is in order.
        let mut waiting = clients.split_off(1 + free);
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(read(client, 4), format!("{number:04}").as_bytes());
        }
        for _ in 0..10 {
            for client in &mut clients {
                exchange(client, b"still served");
            }
        }
        assert_eq!(process.descriptor_count(DESCRIPTORS), DESCRIPTORS);
        for client in &mut waiting {
            assert!(is_silent(client), "more are served than there are descriptors");
        }
        // As each of those inside leaves, the next one comes in.
        for (number, client) in waiting.iter_mut().enumerate() {
            drop(clients.remove(0));
            let number = number + 1 + free;
            assert_eq!(read(client, 4), format!("{number:04}").as_bytes());
            clients.push(client.try_clone().unwrap());
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        drop((clients, waiting));
        process.stop();
    }

    #[test]
    fn out_of_descriptors_the_processor_rests() {
        let process = few_descriptors(&["--idle-timeout", "1"]);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| process.connect(0)).collect();
        for client in &mut clients {
            client.write_all(b"hello").unwrap();
        }
        process.wait_for_log("cannot accept, will try again");
        // Those inside are silent from now on, and so let go after a second.
        let (cpu, start) = (process.cpu_ticks(), Instant::now());
        let mut first = clients.remove(0);
        assert_eq!(read_to_end(&mut first), b"hello");
        let (cpu, elapsed) = (process.cpu_ticks() - cpu, start.elapsed());
        // A tick is a hundredth of a second. Whoever spins uses all of them.
        let ticks = elapsed.as_millis() as u64 / 10;
        assert!(cpu <= 10 + ticks / 4, "{cpu} ticks in {elapsed:?}");
        drop(first);
        for mut client in clients {
            assert_eq!(read_to_end(&mut client), b"hello");
        }
        process.stop();
    }
}
