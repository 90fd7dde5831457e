//! Clients that are not ours: Python's standard library against the example server.
#![cfg(all(unix, feature = "signals"))] // without signals there is no such example

mod common;

use std::process::{Command, Stdio};

use common::TempDir;
use common::process::{Process, server};

#[test]
fn pythons_ways_of_using_sockets_are_served() {
    let version = Command::new("python3").args(["-c", "import sys; print(sys.version)"]).output();
    let Ok(version) = version else {
        eprintln!("skipped: there is no python3");
        return;
    };
    let dir = TempDir::new();
    let (any, path, datagrams) = ("127.0.0.1:0", dir.unix("echo"), dir.unix("datagrams"));
    for threads in ["1", "2"] {
        let arguments = [
            "--echo",
            any,
            "--line",
            any,
            "--udp",
            any,
            "--echo",
            &path,
            "--udp",
            &datagrams,
            "--threads",
            threads,
        ];
        let process = Process::serve(server(&arguments).env("RUST_LOG", "warn"), 5);
        let mut client = Command::new("python3");
        client.args(["-I", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client.py")]);
        client.args((0..3).map(|index| process.inet(index).port().to_string()));
        client.args([dir.path("echo"), dir.path("datagrams")]);
        let outcome = Process::spawn_with(&mut client, Stdio::piped()).wait();
        let version = String::from_utf8_lossy(&version.stdout);
        assert!(outcome.status.success(), "Python {version}: {outcome:#?}");
        assert!(outcome.stdout.iter().all(|line| line.starts_with("ok: ")), "{outcome:#?}");
        assert!(outcome.stdout.len() >= 15, "{outcome:#?}");
        let stopped = process.stop();
        assert_eq!(stopped.stderr, [""; 0]);
    }
}
