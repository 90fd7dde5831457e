//! The example server as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use super::{PATIENCE, connect};

/// The program. `cargo test` builds the examples of a package before its tests run, and puts
/// them beside the tests: `target/debug/deps/server_example-…` finds `target/debug/examples/server`.
/// (`cargo test --test NAME` alone does not build them anew; add `--examples`.)
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples/server");
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}

/// The program with these arguments, and nothing of our environment that would change it.
pub(crate) fn server(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// As [`server`], but started by a line of shell, in which `"$@"` is the program and its
/// arguments.
pub(crate) fn server_by_shell(line: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line, "sh"]).arg(program()).args(arguments).env_remove("RUST_LOG");
    command
}

/// A process that is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What the first lines said.
    pub(crate) listening: Vec<Listening>,
}

/// `listening echo tcp 127.0.0.1:7000`
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listening {
    pub(crate) kind: String,
    pub(crate) transport: String,
    pub(crate) address: String,
}

/// How a process ended, and what it said that was not read before.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Outcome {
    /// Exited with this code?
    pub(crate) fn code(&self) -> Option<i32> {
        assert_eq!(self.status.signal(), None, "killed: {self:?}");
        self.status.code()
    }
}

impl Process {
    /// Starts it, and does not wait for anything.
    pub(crate) fn spawn(command: &mut Command) -> Process {
        Process::spawn_with(command, Stdio::piped())
    }

    /// As [`spawn`](Process::spawn), with a standard output of one's own.
    pub(crate) fn spawn_with(command: &mut Command, stdout: Stdio) -> Process {
        Process::spawn_to(command, stdout, Stdio::piped())
    }

    /// As [`spawn`](Process::spawn), with outputs of one's own.
    pub(crate) fn spawn_to(command: &mut Command, stdout: Stdio, stderr: Stdio) -> Process {
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map_or_else(|| mpsc::channel().1, lines);
        let stderr = child.stderr.take().map_or_else(|| mpsc::channel().1, lines);
        Process { child, stdout, stderr, listening: Vec::new() }
    }

    /// Starts a server, and reads one line for each of its listeners.
    pub(crate) fn serve(command: &mut Command, listeners: usize) -> Process {
        let mut process = Process::spawn(command);
        for _ in 0..listeners {
            let line = process.stdout_line();
            process.note_listener(&line);
        }
        process
    }

    /// Reads one line for each listener; answers whether there were as many before the output
    /// ended.
    pub(crate) fn await_listeners(&mut self, listeners: usize) -> bool {
        while self.listening.len() < listeners {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(line) => self.note_listener(&line),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("no line on standard output"),
            }
        }
        true
    }

    fn note_listener(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let ["listening", kind, transport, address] = words[..] else {
            panic!("not a line about a listener: {line}");
        };
        self.listening.push(Listening {
            kind: kind.to_owned(),
            transport: transport.to_owned(),
            address: address.to_owned(),
        });
    }

    /// The address of the internet that one listener said it has.
    pub(crate) fn inet(&self, index: usize) -> SocketAddr {
        self.listening[index].address.parse().unwrap()
    }

    pub(crate) fn connect(&self, index: usize) -> TcpStream {
        connect(self.inet(index))
    }

    /// What the last listener, one of metrics, says of one of them; labels are part of its name.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut stream = self.connect(self.listening.len() - 1);
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().unwrap()
    }

    pub(crate) fn stdout_line(&self) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line on standard output"),
            Err(RecvTimeoutError::Disconnected) => {
                let stderr: Vec<String> = self.stderr.iter().collect();
                panic!("standard output ended; standard error: {stderr:#?}");
            }
        }
    }

    /// Reads lines of the log up to one that says this.
    pub(crate) fn wait_for_log(&self, wanted: &str) -> String {
        let mut others = Vec::new();
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(wanted) => return line,
                Ok(line) => others.push(line),
                Err(error) => panic!("{error}; no “{wanted}” in {others:#?}"),
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its short name, such as TERM.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end of the process, which is when its output ends.
    pub(crate) fn wait(mut self) -> Outcome {
        let rest = |from: &Receiver<String>| {
            let mut lines = Vec::new();
            loop {
                match from.recv_timeout(PATIENCE) {
                    Ok(line) => lines.push(line),
                    Err(RecvTimeoutError::Disconnected) => return lines,
                    Err(RecvTimeoutError::Timeout) => panic!("it does not end: {lines:#?}"),
                }
            }
        };
        let (stdout, stderr) = (rest(&self.stdout), rest(&self.stderr));
        Outcome { status: self.child.wait().unwrap(), stdout, stderr }
    }

    /// Has it stop in good order.
    pub(crate) fn stop(self) -> Outcome {
        self.signal("TERM");
        let outcome = self.wait();
        assert_eq!(outcome.code(), Some(0), "{outcome:?}");
        outcome
    }

    /// Processor time used so far, in ticks: utime and stime of proc(5).
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let (_, behind_name) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// How many of the descriptors below a limit are open. Those above it were inherited, and
    /// take nobody's place.
    pub(crate) fn descriptor_count(&self, limit: usize) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let number = |name: std::ffi::OsString| name.to_str()?.parse::<usize>().ok();
        let numbers = open.filter_map(|entry| number(entry.unwrap().file_name()));
        numbers.filter(|number| *number < limit).count()
    }

    /// The names of its threads.
    pub(crate) fn thread_names(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let name = |task: std::path::PathBuf| std::fs::read_to_string(task.join("comm"));
        let names = tasks.filter_map(|task| name(task.unwrap().path()).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// The lines of a stream as they come, read in a thread so that waiting for them has an end.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = mpsc::channel();
    thread::spawn(move || {
        for read in BufReader::new(from).lines() {
            if read.is_ok_and(|text| line.send(text).is_ok()) {
                continue;
            }
            break;
        }
    });
    lines
}
