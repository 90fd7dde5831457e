//! The server that has to bear it: its addresses, its limits, and what its process holds.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::options::{Options, Server, There};

pub(crate) struct Target {
    pub(crate) there: There,
    /// Known of a server that was started here.
    pub(crate) limits: Option<Limits>,
    own: Mutex<Option<Own>>,
}

/// How long the server waits for what does not come.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) first_byte: Duration,
    pub(crate) message: Duration,
    pub(crate) write_progress: Duration,
}

/// What a server's process holds at a moment; nothing where that is not known.
#[derive(Clone, Copy, Default)]
pub(crate) struct State {
    pub(crate) descriptors: Option<usize>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) connections: Option<u64>,
    pub(crate) panics: Option<u64>,
}

/// A process of our own.
struct Own {
    child: Child,
    log: Receiver<String>,
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Target {
    pub(crate) fn new(options: &Options) -> Result<Target, Box<dyn Error>> {
        let (there, limits, own) = match &options.server {
            Server::There(there) => (there.clone(), None, None),
            Server::Start { program, threads } => {
                let program = match program {
                    Some(program) => program.clone(),
                    None => std::env::current_exe()?.with_file_name("server"),
                };
                let mut command = Command::new(&program);
                command.args(ARGUMENTS).args(["--threads", &threads.to_string()]);
                for (name, seconds) in [
                    ("first_byte", LIMITS.first_byte),
                    ("message", LIMITS.message),
                    ("write_progress", LIMITS.write_progress),
                ] {
                    command.args(["--limit", &format!("{name}={}", seconds.as_secs())]);
                }
                let (own, there) = start(&mut command)
                    .map_err(|error| format!("{}: {error}", program.display()))?;
                (there, Some(LIMITS), Some(own))
            }
        };
        Ok(Target { there, limits, own: Mutex::new(own) })
    }

    /// How it stands now.
    pub(crate) fn state(&self) -> Result<State, Box<dyn Error>> {
        let mut state = State::default();
        if let Some(pid) = self.there.pid {
            let gone = |error| format!("process {pid}: {error}");
            state.resident_bytes = Some(resident_bytes(pid).map_err(gone)?);
            state.descriptors =
                Some(fs::read_dir(format!("/proc/{pid}/fd")).map_err(gone)?.count());
        }
        if let Some(address) = self.there.metrics {
            let text = scrape(address).map_err(|error| format!("{address}: {error}"))?;
            let number = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().parse().ok())
            };
            state.connections = number("tidemill_connections ");
            state.panics = number("tidemill_panics_total ");
        }
        Ok(state)
    }

    /// How it stands once it has seen the last of its clients off.
    pub(crate) fn at_rest(&self) -> Result<State, Box<dyn Error>> {
        let start = Instant::now();
        let mut before = self.state()?;
        loop {
            thread::sleep(Duration::from_millis(500));
            let now = self.state()?;
            let is_resting = match now.connections {
                Some(count) => count == 0,
                None => now.descriptors == before.descriptors,
            };
            if is_resting || start.elapsed() > REST_MAX {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Ends what was started here, in good order; answers what it had to say.
    pub(crate) fn stop(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut own) = own else { return Ok(Vec::new()) };
        let pid = own.child.id().to_string();
        Command::new("kill").args(["-s", "TERM", &pid]).status()?;
        let status = own.child.wait()?;
        if !status.success() {
            return Err(format!("the server ended with {status}").into());
        }
        Ok(own.log.try_iter().collect())
    }
}

/// `descriptors 40, 8.1 MiB`
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.descriptors, self.resident_bytes) {
            (Some(descriptors), Some(bytes)) => {
                write!(f, "{descriptors} descriptors, {:.1} MiB", bytes as f64 / 1048576.0)
            }
            _ => f.write_str("its process is not known"),
        }
    }
}

/// Starts the server, and reads where it listens.
fn start(command: &mut Command) -> Result<(Own, There), Box<dyn Error>> {
    let mut child = command
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().expect("it is piped");
    let stderr = child.stderr.take().expect("it is piped");
    let mut there = There { pid: Some(child.id()), ..There::default() };
    let (sender, log) = mpsc::sync_channel(LOG_LINES_MAX);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.try_send(line); // the first lines will do
        }
    });
    let mut own = Own { child, log };
    let mut lines = BufReader::new(stdout).lines();
    for _ in 0..LISTENERS {
        let Some(line) = lines.next().transpose()? else {
            let status = own.child.wait()?;
            let said: Vec<String> = own.log.iter().collect();
            return Err(format!("it ended with {status}: {}", said.join("; ")).into());
        };
        let words: Vec<&str> = line.split(' ').collect();
        let ["listening", kind, _, address] = words[..] else { return Err(line.into()) };
        let address = Some(address.parse()?);
        match kind {
            "echo" => there.echo = address,
            "line" => there.line = address,
            "udp" => there.udp = address,
            _ => there.metrics = address,
        }
    }
    thread::spawn(move || lines.for_each(drop));
    Ok((own, there))
}

/// Pages counted, as `VmRSS` may lag behind: proc(5).
fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn scrape(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, SCRAPE_MAX)?;
    stream.set_read_timeout(Some(SCRAPE_MAX))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: soak\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

const ARGUMENTS: [&str; 14] = [
    "--echo",
    "127.0.0.1:0",
    "--line",
    "127.0.0.1:0",
    "--udp",
    "127.0.0.1:0",
    "--metrics",
    "127.0.0.1:0",
    "--limit",
    "linger=1",
    "--limit",
    "connections=2000",
    "--grace",
    "5",
];
const LISTENERS: usize = 4;

/// Short, to be reached often. A client that stalls stays well below the last one.
const LIMITS: Limits = Limits {
    first_byte: Duration::from_secs(1),
    message: Duration::from_secs(1),
    write_progress: Duration::from_secs(5),
};

/// Lingering and flushing have ended long before.
const REST_MAX: Duration = Duration::from_secs(30);
const SCRAPE_MAX: Duration = Duration::from_secs(10);
const LOG_LINES_MAX: usize = 1000;
