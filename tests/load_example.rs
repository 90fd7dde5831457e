//! The example load generator: its parts, and the whole as a process, against servers that are
//! right, wrong and slow.
#![cfg(all(target_os = "linux", feature = "signals"))] // it runs the example server, and reads /proc

#[allow(dead_code)]
#[path = "../examples/load/options.rs"]
mod options;
#[path = "../examples/load/pattern.rs"]
mod pattern;
#[allow(dead_code)]
#[path = "../examples/load/schedule.rs"]
mod schedule;
#[allow(dead_code)]
#[path = "../examples/load/tally.rs"]
mod tally;

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::process::{Process, program, server};
use common::{PATIENCE, TempDir};
use options::{Extent, Mode};
use pattern::{PIECE_BYTES, Pattern};
use schedule::Schedule;
use tally::{INTERVAL, Tally};

const ANY: &str = "127.0.0.1:0";
const SHORT: [&str; 4] = ["--time", "0.2", "--warm-up", "0.05"];

#[test]
fn a_pattern_is_one_stream_however_it_is_cut() {
    for (mode, size) in [
        (Mode::Echo, 1),
        (Mode::Echo, 64),
        (Mode::Line, 7),
        (Mode::Length, 7),
        (Mode::Echo, 70_001),
    ] {
        let pattern = Pattern::new(mode, size);
        let byte = |at: u64| pattern.piece(at, 1)[0];
        for from in [0, 1, 63, 64, 16_383, 70_000, 999_999] {
            let piece = pattern.piece(from, u64::MAX);
            assert_eq!(piece.len(), PIECE_BYTES);
            for at in [0, 1, 4095, PIECE_BYTES - 1] {
                assert_eq!(piece[at], byte(from + at as u64), "{mode} {size}: {at} from {from}");
            }
        }
        if mode == Mode::Line {
            let text = pattern.piece(0, 700);
            let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            assert!(ends.map(|(at, _)| at + 1).eq((1..=100).map(|line| line * size)));
        }
        if mode == Mode::Length {
            let mut frames = pattern.piece(0, 700).chunks(size);
            assert!(frames.all(|frame| frame.starts_with(b"\0\0\0\x03")));
        }
    }
}

#[test]
fn a_pattern_notices_what_is_wrong_lost_or_somebody_elses() {
    let pattern = Pattern::new(Mode::Line, 64);
    let sent = pattern.piece(0, 640).to_vec();
    pattern.check(0, &sent).unwrap();
    let mut changed = sent.clone();
    changed[100] ^= 1;
    assert!(pattern.check(0, &changed).unwrap_err().to_string().contains("byte 100 "));
    let (first, second) = (&sent[..64], &sent[64..128]);
    assert!(pattern.check(0, &[second, first].concat()).is_err());
    assert!(pattern.check(64, first).is_err());
    let neighbour = pattern.piece(pattern.start(1), 64);
    assert!(pattern.check(pattern.start(0), neighbour).is_err());
}

#[test]
fn an_open_loop_has_everything_due_that_the_clock_says() {
    let measured = Duration::from_secs(1);
    let extent = Extent::Time { warm_up: Duration::ZERO, measured };
    let mut schedule = Schedule::new(Instant::now(), extent, Some(1000.0));
    assert_eq!(schedule.take_due(0), Some((0, 0)));
    assert_eq!(schedule.take_due(999_999), None);
    // Nobody looked for half a second: all that was due meanwhile is, and since when.
    for number in 1..=500 {
        assert_eq!(schedule.take_due(500_000_000), Some((number, number * 1_000_000)));
    }
    assert_eq!(schedule.take_due(500_000_000), None);
    assert!(schedule.patience(500_000_000).is_zero());
    while schedule.take_due(u64::MAX).is_some() {}
    assert_eq!(schedule.next_due(), None); // the end
    let mut closed = Schedule::new(Instant::now(), extent, None);
    assert_eq!(closed.take_due(u64::MAX), None);
}

#[test]
fn a_tally_counts_what_belongs_to_the_measured_part() {
    let mut tally = Tally::new(INTERVAL, 3 * INTERVAL);
    tally.answered(0, INTERVAL - 1); // of the warm-up
    tally.answered(INTERVAL - 1, INTERVAL + 1); // due before, answered within
    tally.answered(INTERVAL, INTERVAL + 1_000_000);
    tally.answered(2 * INTERVAL, 5 * INTERVAL); // due within, answered late
    assert_eq!((tally.count, tally.latencies.len()), (2, 2));
    assert_eq!(tally.series, [1, 2, 0, 0, 0, 1]);
    let mut other = Tally::new(INTERVAL, 3 * INTERVAL);
    other.answered(INTERVAL, INTERVAL + 2_000_000);
    other.add(&tally);
    assert_eq!((other.count, other.latencies.len()), (3, 3));
    assert_eq!(other.series, [1, 3, 0, 0, 0, 1]);
    assert!(other.percentile(50.0).abs_diff(2_000_000) < 2_000_000 / 500);
    assert!(other.percentile(100.0) >= 3 * INTERVAL);
}

#[test]
fn rounds_are_as_many_messages_as_they_say() {
    let process = Process::serve(
        &mut server(&["--echo", ANY, "--line", ANY, "--udp", ANY, "--length", ANY]),
        4,
    );
    let at = |index: usize| process.inet(index).to_string();
    let pid = process.id().to_string();
    for (mode, address, size) in [
        ("echo", at(0), "1"),
        ("echo", at(0), "100000"),
        ("line", at(1), "64"),
        ("udp", at(2), "8"),
        ("length", at(3), "4"),
        ("length", at(3), "64"),
    ] {
        let rounds = ["--connections", "3", "--depth", "2", "--rounds", "5", "--json"];
        let got = json(&[&[mode, &address, "--size", size, "--pid", &pid], &rounds[..]].concat());
        assert_eq!(number(&got, "count"), 30.0, "{mode} {size}: {got}");
        assert_eq!(number(&got, "lost") + number(&got, "failed"), 0.0);
        assert!(number(&got, "resident_after_bytes") > 0.0);
        assert!(number(&got, "min") <= number(&got, "p50"));
        assert!(number(&got, "p99.99") <= number(&got, "max"));
    }
    let got = json(&["connect", &at(0), "--connections", "4", "--rounds", "5", "--json"]);
    assert_eq!(number(&got, "count"), 20.0, "{got}");
    process.stop();
}

#[test]
fn loops_take_the_time_they_are_given_and_threads_share_the_work() {
    let process = Process::serve(&mut server(&["--echo", ANY, "--udp", ANY]), 2);
    let (echo, udp) = (process.inet(0).to_string(), process.inet(1).to_string());
    for (mode, address) in [("echo", &echo), ("connect", &echo), ("udp", &udp)] {
        for way in [&["--threads", "2"][..], &["--rate", "500", "--threads", "2"]] {
            let got = json(&[&[mode, address, "--json"], &SHORT[..], way].concat());
            assert_eq!(number(&got, "seconds"), 0.2);
            assert!(number(&got, "count") > 0.0, "{got}");
            if way[0] == "--rate" {
                // With the warm-up so many are due, and some of that may be answered late.
                assert!(number(&got, "count") <= 126.0, "{got}");
            }
        }
    }
    process.stop();
}

#[test]
fn held_connections_are_asked_again() {
    let process = Process::serve(&mut server(&["--echo", ANY]), 1);
    let address = process.inet(0).to_string();
    let pid = process.id().to_string();
    let idle = ["idle", &address, "--connections", "50", "--pid", &pid, "--hold", "--json"];
    let mut child =
        load(&idle).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.as_mut().unwrap();
    let mut told = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut told).unwrap(); // all are open
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    process.stop();
}

#[test]
fn a_report_is_one_page_with_plots_and_nothing_from_elsewhere() {
    let process = Process::serve(&mut server(&["--echo", ANY]), 1);
    let (address, dir) = (process.inet(0).to_string(), TempDir::new());
    let path = dir.path("report.html");
    let pid = process.id().to_string();
    let report = ["--report", path.to_str().unwrap(), "--pid", &pid];
    let done = output(&[&["echo", &address], &SHORT[..], &report].concat());
    assert!(done.status.success());
    let text = String::from_utf8(done.stdout).unwrap();
    for part in ["64 connections", "a second", "p99.9 ", "processor time", "resident"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("class=\"line\" d=\"M").count(), 2);
    for open in ["svg", "table", "pre", "style", "h1", "text", "html", "body"] {
        let count = |tag: String| page.matches(&tag).count();
        let opened = count(format!("<{open}>")) + count(format!("<{open} "));
        assert_eq!(opened, count(format!("</{open}>")), "{open}");
    }
    for elsewhere in ["http", "<script", "<link", "@import", "src=", "NaN", "inf"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    process.stop();
}

#[test]
fn an_open_loop_charges_a_stall_to_all_whom_it_kept_waiting() {
    let stall = Duration::from_millis(400);
    let address = serve(move |mut stream| {
        let mut buffer = [0; 4096];
        let mut stalled = false;
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if !stalled {
                let (_nobody, never) = mpsc::channel::<()>();
                assert!(never.recv_timeout(stall).is_err());
                stalled = true;
            }
            stream.write_all(&buffer[..count]).unwrap();
        }
    });
    let address = address.to_string();
    let open = ["--rate", "500", "--time", "0.8", "--warm-up", "0", "--connections", "1", "--json"];
    let got = json(&[&["echo", &address], &open[..]].concat());
    // Half of the messages were due during the stall. Three in eight waited for 0.1 s and more,
    // and of that the load must not know less because it, too, was kept waiting.
    assert!(number(&got, "p90") > 1e8, "{got}");
    assert!(number(&got, "mean") > 5e7, "{got}");
    assert!(number(&got, "max") >= 3.9e8, "{got}");
}

#[test]
fn a_wrong_answer_ends_the_load() {
    let flips = |answer: fn(&mut [u8]) -> usize| {
        let address = serve(move |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer[..2048]) {
                let extra = answer(&mut buffer[..count]);
                if stream.write_all(&buffer[..count + extra]).is_err() {
                    return;
                }
            }
        });
        address.to_string()
    };
    let changed = flips(|bytes| {
        bytes[0] ^= 1;
        0
    });
    assert_failed(&["echo", &changed], "came back as");
    assert_failed(&["line", &changed], "came back as");
    assert_failed(&["connect", &changed], "came back as");
    let more = flips(|_| 1);
    assert_failed(&["echo", &more], "more came than was sent");
    let ended = serve(|mut stream| drop(stream.read(&mut [0; 1000])));
    assert_failed(&["echo", &ended.to_string()], "ended a connection");
    let silent = serve(|mut stream| while let Ok(1..) = stream.read(&mut [0; 1000]) {});
    let silent = silent.to_string();
    let stuck = ["echo", &silent, "--timeout", "0.2", "--connections", "2"];
    assert_failed(&stuck, "2 answers did not come");
}

#[test]
fn nobody_there_is_said_in_one_line() {
    let listener = TcpListener::bind(ANY).unwrap();
    let nowhere = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert_failed(&["echo", &nowhere], "refused");
    assert_failed(&[&["connect", &nowhere], &SHORT[..]].concat(), "connections failed");
    assert_failed(&[&["echo", &nowhere], &["--pid", "2147483647"][..]].concat(), "--pid");
    let missing = ["--report", "/there/is/no/such/directory"];
    assert_failed(&[&["echo", &nowhere], &missing[..]].concat(), "/there/is/no/such/directory");
}

#[test]
fn a_wrong_option_is_named_in_one_line() {
    for (arguments, named) in [
        (&["--nonsense"][..], "--nonsense"),
        (&[], "no mode"),
        (&["short"], "short"),
        (&["echo"], "no address"),
        (&["echo", "127.0.0.1"], "127.0.0.1"),
        (&["echo", ANY, "--size", "0"], "--size"),
        (&["echo", ANY, "--size", "x"], "--size"),
        (&["udp", ANY, "--size", "7"], "--size"),
        (&["length", ANY, "--size", "3"], "--size"),
        (&["udp", ANY, "--size", "65508"], "--size"),
        (&["echo", ANY, "--rate", "nan"], "--rate"),
        (&["echo", ANY, "--rate", "0"], "--rate"),
        (&["echo", ANY, "--time", "-1"], "--time"),
        (&["echo", ANY, "--rounds", "1", "--time", "1"], "--rounds"),
        (&["echo", ANY, "--hold"], "--hold"),
        (&["idle", ANY, "--rounds", "2"], "--rounds"),
        (&["idle", ANY, "--from", "127.0.0.2"], "--from"),
        (&["idle", ANY, "--from", "127.0.0.2:65530"], "--from"),
        (&["echo", ANY, "--from", "127.0.0.2:10000"], "--from"),
        (&["connect", ANY, "--depth", "2"], "--depth"),
        (&["echo", ANY, "--threads", "2", "--connections", "1"], "--threads"),
        (&["echo", ANY, "--pid", "0"], "--pid"),
        (&["echo", ANY, "--report"], "--report"),
    ] {
        let done = output(arguments);
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("load: ") && said.contains(named), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let help = output(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"Usage: load"));
}

/// The load generator, which `cargo test` builds beside the example server.
fn load(arguments: &[&str]) -> Command {
    let mut command = Command::new(program().with_file_name("load"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    load(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> String {
    let done = output(arguments);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && said.is_empty(), "{arguments:?}: {said}");
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(value(text.trim_end()), "", "not JSON: {text}");
    text
}

fn assert_failed(arguments: &[&str], why: &str) {
    let done = output(arguments);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.starts_with("load: ") && said.contains(why), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// The number behind a name.
fn number(json: &str, name: &str) -> f64 {
    let (_, behind) = json.split_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{json}"));
    let end = behind.find([',', '}', ']']).unwrap();
    behind[..end].parse().unwrap_or_else(|_| panic!("{name} in {json}"))
}

/// Takes one value of JSON from a text without escapes or blanks, and answers what follows it.
fn value(text: &str) -> &str {
    match text.chars().next().expect("a value") {
        '{' => items(&text[1..], '}', |text| {
            let text = value(text);
            value(text.strip_prefix(':').expect("a colon"))
        }),
        '[' => items(&text[1..], ']', value),
        '"' => &text[1 + text[1..].find('"').expect("the end of a string") + 1..],
        _ => {
            let end = text.find([',', '}', ']']).unwrap_or(text.len());
            let word = &text[..end];
            assert!(word == "null" || word.parse::<f64>().is_ok_and(f64::is_finite), "{word}");
            &text[end..]
        }
    }
}

fn items(mut text: &str, close: char, item: impl Fn(&str) -> &str) -> &str {
    if let Some(rest) = text.strip_prefix(close) {
        return rest;
    }
    loop {
        text = item(text);
        if let Some(rest) = text.strip_prefix(close) {
            return rest;
        }
        text = text.strip_prefix(',').expect("a comma or the end");
    }
}

/// A server of one's own: each connection in a thread, which ends with the test.
fn serve(answer: impl Fn(TcpStream) + Copy + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || answer(stream));
        }
    });
    address
}
