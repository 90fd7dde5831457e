//! Calls of the system that fail, by strace(1).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::clients::{crowd, scrape};
use super::common::process::{Process, program};
use super::common::*;
use super::{Held, LISTENERS, assert_fresh, assert_settled, is_there};

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
            if process.await_listeners(4) {
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
