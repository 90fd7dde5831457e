//! The example soak: a run against the example server, and runs against servers that have what it
//! looks for.
#![cfg(all(target_os = "linux", feature = "signals"))] // it runs the example server, and reads /proc

mod common;

use std::fs::File;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::process::program;
use common::*;
use tidemill::{Context, Fault, NetAddr, Running, Server, StreamHandler};

/// Runs it to its end.
fn soak(arguments: &[&str]) -> Output {
    let program = program().with_file_name("soak");
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    Command::new(program).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn ten_seconds_against_the_example_server_leave_no_trace() {
    let output = soak(&["--time", "10s", "--seed", "42", "--threads", "2"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}\n{output:?}");
    assert!(text.starts_with("seed 42\n"), "{text}");
    assert!(text.ends_with("\nall is well\n"), "{text}");
    assert_eq!(text.matches("\nok     ").count(), 7, "{text}");
    // Clients of every kind have come and gone.
    let line = text.lines().find_map(|line| line.strip_prefix("clients by kind: ")).unwrap();
    for kind in line.split(", ") {
        let count: u64 = kind.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count > 0, "{line}");
    }
    assert_eq!(line.split(", ").count(), 13);
}

/// What is wrong with a server.
#[derive(Clone, Copy, PartialEq)]
enum Vice {
    /// One byte in some thousands is another.
    Lies,
    /// Ends now and then.
    Leaves,
    /// A descriptor for each connection stays.
    KeepsDescriptors,
    /// Some memory for each connection stays.
    KeepsMemory,
}

struct Vicious {
    vice: Vice,
    heard: usize,
}

impl StreamHandler for Vicious {
    fn on_open(&mut self, _: &mut Context<'_>) -> Result<(), Fault> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        match self.vice {
            // Some, as others need theirs.
            Vice::KeepsDescriptors if COUNT.fetch_add(1, Ordering::Relaxed) % 100 == 0 => {
                std::mem::forget(File::open("/dev/null"));
            }
            Vice::KeepsMemory => std::mem::forget(vec![1_u8; 64 * 1024]),
            _ => {}
        }
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        let mut answer = input.to_vec();
        self.heard += answer.len();
        if self.vice == Vice::Lies && self.heard > 5000 {
            self.heard = 0;
            answer[0] ^= 1;
        }
        if self.vice == Vice::Leaves && self.heard > 50_000 {
            cx.close();
        }
        cx.write(&answer);
        Ok(input.len())
    }
}

fn vicious(vice: Vice) -> Running {
    start(Server::builder().listen(any(), move |_: &NetAddr| Vicious { vice, heard: 0 }))
}

#[test]
fn each_vice_is_found_out() {
    let pid = std::process::id().to_string();
    for (vice, complaint) in [
        (Vice::Lies, "FAILED bytes that were wrong: "),
        (Vice::Leaves, "FAILED clients that were not served: "),
        (Vice::KeepsDescriptors, "FAILED descriptors: "),
        (Vice::KeepsMemory, "FAILED resident memory: "),
    ] {
        let server = vicious(vice);
        let address = inet(&server, 0).to_string();
        let output = soak(&["--time", "1", "--echo", &address, "--pid", &pid]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(complaint) && text.ends_with("all is NOT well\n"), "{text}");
        stop(server);
    }
}

#[test]
fn a_wrong_option_is_named_in_one_line() {
    for (arguments, named) in [
        (&["--time", "0"][..], "--time"),
        (&["--time", "5d"], "--time"),
        (&["--seed", "x"], "--seed"),
        (&["--threads", "0"], "--threads"),
        (&["--pid", "1"], "go with --echo"),
        (&["--echo", "localhost"], "--echo"),
        (&["--echo", "127.0.0.1:7", "--threads", "2"], "--threads"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let output = soak(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("soak: ") && stderr.contains(named), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let output = soak(&["--server", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("soak: /nonexistent: "));
    assert!(stdout(&soak(&["--help"])).starts_with("Usage: soak"));
}
