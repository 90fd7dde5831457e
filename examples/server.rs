//! Echo, lines and datagrams from one process.
//!
//! ```text
//! cargo run --release --example server
//! printf 'hello\n' | nc -N 127.0.0.1 7001
//! ```
//!
//! It prints a line for each listener, serves until SIGINT or SIGTERM, delivers what is queued,
//! and prints how that went. With `RUST_LOG=trace` the readiness model can be read as it happens.

#[path = "server/log_thread.rs"]
mod log_thread;
#[path = "server/scrape.rs"]
mod scrape;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use log_thread::LogThread;
use tidemill::protocols::{DatagramEcho, Echo, LineEcho};
use tidemill::server::{Bound, Builder};
use tidemill::sys::{DatagramOptions, ListenOptions};
use tidemill::{Address, Limits, NetAddr, Placement, Report, Server};

const USAGE: &str = "\
Usage: server [OPTION]...

Serves echo, lines and datagrams. Where any of the first three options is given, only what they
say is served; otherwise TCP echo on 127.0.0.1:7000, lines on 127.0.0.1:7001, and UDP echo on
127.0.0.1:7002.

  --echo ADDR             streams: what comes is sent back
  --line ADDR             streams: each line is answered with itself
  --udp ADDR              datagrams: each is sent back
  --threads N             reactors, each in a thread (default 1)
  --placement WAY         of connections on reactors: round-robin (default), least-loaded,
                          or reuse-port
  --max-connections N     open at once; more wait (default: descriptors less 256)
  --idle-timeout SECONDS  without a byte either way (default 300)
  --busy-poll MICROSECONDS  ask before sleeping, which takes a processor for each thread (default 0)
  --grace SECONDS         to finish after SIGINT or SIGTERM (default 10)
  --metrics ADDR          counts for Prometheus, at http://ADDR/metrics
  --unix-mode OCTAL       permissions of Unix sockets (default: as the umask says)
  --help, --version

ADDR is 127.0.0.1:7000, [::1]:7000, localhost:7000, unix:PATH or unix:@NAME (abstract), and may be
given several times. Port 0 picks one. RUST_LOG=trace shows the loop at work.";

/// What a listener serves.
#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Line,
    Udp,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Line => "line",
            Kind::Udp => "udp",
        }
    }
}

struct Options {
    listings: Vec<(Kind, Address)>,
    threads: usize,
    placement: Placement,
    limits: Limits,
    grace: Duration,
    busy_poll: Duration,
    unix_mode: Option<u32>,
    metrics: Option<Address>,
}

/// What the command line asks for.
enum Command {
    Serve(Box<Options>),
    Print(String),
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Print(text)) => {
            say(text).wait();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(error, 2),
    };
    let log = LogThread::start();
    let code = match serve(options) {
        Ok(report) => {
            say(format!("stopped: {report}")).wait();
            ExitCode::SUCCESS
        }
        Err(error) => fail(error, 1),
    };
    log.finish();
    code
}

fn serve(options: Options) -> Result<Report, Box<dyn Error>> {
    let metrics = options.metrics.clone();
    let kinds: Vec<Kind> = options.listings.iter().map(|(kind, _)| *kind).collect();
    let server = builder(options).bind()?;
    let scrape = metrics.map(|at| scrape::bind(at, server.handle().clone())).transpose()?;
    let mut lines: Vec<String> =
        server.bound().iter().map(|bound| line(kinds[bound.listing].name(), bound)).collect();
    let bound = scrape.iter().flat_map(|scrape| scrape.bound());
    lines.extend(bound.map(|bound| line("metrics", bound)));
    let _scrape = scrape.map(Server::start).transpose()?; // until the server has ended
    say(lines.join("\n")).wait();
    Ok(server.run()?)
}

fn builder(options: Options) -> Builder {
    let Options { listings, threads, placement, limits, grace, busy_poll, unix_mode, .. } = options;
    let mut server = Server::builder()
        .threads(threads)
        .placement(placement)
        .limits(limits)
        .busy_poll(busy_poll)
        .stop_on_signals(grace);
    let streams = ListenOptions { unix_mode, ..ListenOptions::default() };
    let datagrams = DatagramOptions { unix_mode, ..DatagramOptions::default() };
    for (kind, address) in listings {
        server = match kind {
            Kind::Echo => server.listen_with(address, streams.clone(), |_: &NetAddr| Echo),
            Kind::Line => {
                server.listen_with(address, streams.clone(), |_: &NetAddr| LineEcho::framed())
            }
            Kind::Udp => server.datagram_with(address, datagrams.clone(), DatagramEcho),
        };
    }
    server
}

/// `listening echo tcp 127.0.0.1:7000`
fn line(kind: &str, bound: &Bound) -> String {
    let inet = if kind == "udp" { "udp" } else { "tcp" };
    let transport = if bound.address.inet().is_some() { inet } else { "unix" };
    format!("listening {kind} {transport} {}", bound.address)
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options {
        listings: Vec::new(),
        threads: 1,
        placement: Placement::default(),
        limits: Limits::default(),
        grace: Duration::from_secs(10),
        busy_poll: Duration::ZERO,
        unix_mode: None,
        metrics: None,
    };
    while let Some(option) = parser.next()? {
        match option {
            Long("echo") => options.listings.push((Kind::Echo, value(&mut parser, "--echo")?)),
            Long("line") => options.listings.push((Kind::Line, value(&mut parser, "--line")?)),
            Long("udp") => options.listings.push((Kind::Udp, value(&mut parser, "--udp")?)),
            Long("threads") => options.threads = count(&mut parser, "--threads", MOST_THREADS)?,
            Long("max-connections") => {
                options.limits.connections = count(&mut parser, "--max-connections", 1 << 24)?;
            }
            Long("idle-timeout") => {
                options.limits.idle = Duration::from_secs(seconds(&mut parser, "--idle-timeout")?);
                if options.limits.idle.is_zero() {
                    return Err("--idle-timeout: must be above 0".into());
                }
            }
            Long("grace") => {
                options.grace = Duration::from_secs(seconds(&mut parser, "--grace")?);
            }
            Long("busy-poll") => {
                let most = 1_000_000;
                let micros = count(&mut parser, "--busy-poll", most)?;
                options.busy_poll = Duration::from_micros(micros as u64);
            }
            Long("placement") => {
                options.placement = match parser.value()?.to_str() {
                    Some("round-robin") => Placement::RoundRobin,
                    Some("least-loaded") => Placement::LeastLoaded,
                    Some("reuse-port") => Placement::ReusePort,
                    _ => return Err(PLACEMENT_WRONG.into()),
                };
            }
            Long("metrics") => options.metrics = Some(value(&mut parser, "--metrics")?),
            Long("unix-mode") => {
                let mode = parser.value()?.string()?;
                let mode = u32::from_str_radix(&mode, 8).ok().filter(|mode| *mode <= 0o777);
                options.unix_mode = Some(mode.ok_or("--unix-mode: not from 0 to 777, octal")?);
            }
            Long("help") => return Ok(Command::Print(USAGE.to_owned())),
            Long("version") => {
                return Ok(Command::Print(format!("tidemill {}", env!("CARGO_PKG_VERSION"))));
            }
            other => return Err(other.unexpected()),
        }
    }
    if options.listings.is_empty() {
        for (kind, port) in [(Kind::Echo, 7000), (Kind::Line, 7001), (Kind::Udp, 7002)] {
            let address = Address::Inet(([127, 0, 0, 1], port).into());
            options.listings.push((kind, address));
        }
    }
    Ok(Command::Serve(Box::new(options)))
}

/// The value of an option; an error names the option.
fn value<T>(parser: &mut lexopt::Parser, option: &str) -> Result<T, lexopt::Error>
where
    T: std::str::FromStr<Err: Display>,
{
    use lexopt::ValueExt;

    let text = parser.value()?.string()?;
    text.parse().map_err(|error| format!("{option} {text}: {error}").into())
}

fn count(parser: &mut lexopt::Parser, option: &str, most: usize) -> Result<usize, lexopt::Error> {
    let count = value(parser, option)?;
    let is_fine = (1..=most).contains(&count);
    if is_fine { Ok(count) } else { Err(format!("{option}: not from 1 to {most}").into()) }
}

fn seconds(parser: &mut lexopt::Parser, option: &str) -> Result<u64, lexopt::Error> {
    let seconds = value(parser, option)?;
    let is_fine = seconds <= MOST_SECONDS;
    if is_fine { Ok(seconds) } else { Err(format!("{option}: above {MOST_SECONDS}").into()) }
}

const MOST_THREADS: usize = 1024;
const MOST_SECONDS: u64 = 100_000_000;
const PLACEMENT_WRONG: &str = "--placement: not round-robin, least-loaded or reuse-port";

fn fail(error: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "server: {error}"); // nobody may be listening
    ExitCode::from(code)
}

/// Text on its way to standard output.
struct Said(Receiver<()>);

/// Prints in a thread of its own: where standard output is a pipe that nobody reads, the text
/// waits, and the server does not.
fn say(text: String) -> Said {
    let (done, said) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush()); // it may be closed
        let _ = done.send(());
    });
    Said(said)
}

impl Said {
    /// Waits until it is printed, but not for long.
    fn wait(self) {
        match self.0.recv_timeout(Duration::from_secs(1)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => log::warn!("nobody reads standard output"),
        }
    }
}
