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

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod failing;
mod many;
mod network;

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{Shutdown, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::process::Process;
use common::*;

const ANY: &str = "127.0.0.1:0";
const LISTENERS: [&str; 8] = ["--echo", ANY, "--line", ANY, "--udp", ANY, "--metrics", ANY];

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
