//! What the command line says.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use tidemill::{Access, Address, Limits, Placement, Prefix};

const USAGE: &str = "\
Usage: server [OPTION]...

Serves echo, lines and datagrams. Where any of the first five options is given, only what they
say is served; otherwise TCP echo on 127.0.0.1:7000, lines on 127.0.0.1:7001, and UDP echo on
127.0.0.1:7002.

  --echo ADDR             streams: what comes is sent back
  --line ADDR             streams: each line is answered with itself
  --length ADDR           streams: the same with frames behind a length of four bytes
  --udp ADDR              datagrams: each is sent back
  --inherit               sockets that a service manager passes on (sd_listen_fds(3)), by name:
                          FileDescriptorName= is echo, line, length, udp or metrics
  --threads N             reactors, each in a thread (default 1)
  --placement WAY         of connections on reactors: round-robin (default), least-loaded,
                          or reuse-port
  --max-connections N     open at once; more wait (default: descriptors less 256)
  --idle-timeout SECONDS  without a byte either way (default 300)
  --busy-poll MICROSECONDS  ask before sleeping, which takes a processor for each thread (default 0)
  --limit NAME=VALUE      any limit by its name: connections_per_client=20, when_full=refuse,
                          datagrams_per_peer=64, message=5 (times in seconds)
  --allow PREFIX, --deny PREFIX
                          who may connect, such as 10.0.0.0/8; the longest prefix decides, and
                          once any is allowed, all others are denied
  --watchdog SECONDS      log a callback that holds a reactor up for so long, while it does
  --patience SECONDS      for connections to go on as they are, while no more are accepted: after
                          SIGUSR2 (default 60), after SIGINT or SIGTERM (default 0)
  --grace SECONDS         to finish after that (default 10)
  --metrics ADDR          counts for Prometheus, at http://ADDR/metrics
  --unix-mode OCTAL       permissions of Unix sockets (default: as the umask says)
  --help, --version

ADDR is 127.0.0.1:7000, [::1]:7000, localhost:7000, unix:PATH or unix:@NAME (abstract), and may be
given several times. Port 0 picks one. RUST_LOG=trace shows the loop at work.

SIGINT and SIGTERM end it in good order, a second one at once. SIGUSR2 starts the program anew and
passes its sockets on, so that nobody is refused; once that serves, this one ends.";

/// What a listener serves.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Echo,
    Line,
    Length,
    Udp,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Line => "line",
            Kind::Length => "length",
            Kind::Udp => "udp",
        }
    }
}

pub(crate) struct Options {
    pub(crate) listings: Vec<(Kind, Address)>,
    pub(crate) inherits: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) threads: usize,
    pub(crate) placement: Placement,
    pub(crate) limits: Limits,
    pub(crate) grace: Duration,
    pub(crate) busy_poll: Duration,
    pub(crate) unix_mode: Option<u32>,
    pub(crate) metrics: Option<Address>,
    pub(crate) watchdog: Option<Duration>,
    /// Prefixes, and whether they are allowed.
    pub(crate) access: Vec<(bool, Prefix)>,
}

impl Options {
    /// Who may connect, where that is said.
    pub(crate) fn access(&self) -> Option<Access> {
        if self.access.is_empty() {
            return None;
        }
        let allows_any = self.access.iter().any(|(is_allowed, _)| *is_allowed);
        let others = if allows_any { Access::deny_all() } else { Access::allow_all() };
        Some(self.access.iter().fold(others, |access, &(is_allowed, prefix)| {
            if is_allowed { access.allow(prefix) } else { access.deny(prefix) }
        }))
    }
}

/// What the command line asks for.
pub(crate) enum Command {
    Serve(Box<Options>),
    Print(String),
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let mut options = Options {
        listings: Vec::new(),
        inherits: false,
        patience: None,
        threads: 1,
        placement: Placement::default(),
        limits: Limits::default(),
        grace: Duration::from_secs(10),
        busy_poll: Duration::ZERO,
        unix_mode: None,
        metrics: None,
        watchdog: None,
        access: Vec::new(),
    };
    while let Some(option) = parser.next()? {
        match option {
            Long("echo") => options.listings.push((Kind::Echo, value(&mut parser, "--echo")?)),
            Long("line") => options.listings.push((Kind::Line, value(&mut parser, "--line")?)),
            Long("length") => {
                options.listings.push((Kind::Length, value(&mut parser, "--length")?))
            }
            Long("udp") => options.listings.push((Kind::Udp, value(&mut parser, "--udp")?)),
            Long("inherit") => options.inherits = true,
            Long("patience") => {
                let patience = seconds(&mut parser, "--patience")?;
                options.patience = Some(Duration::from_secs(patience));
            }
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
            Long("limit") => {
                let text = parser.value()?.string()?;
                let (name, value) = text.split_once('=').ok_or("--limit: not NAME=VALUE")?;
                let set = options.limits.set(name, value);
                set.map_err(|error| format!("--limit {text}: {error}"))?;
            }
            Long("allow") => options.access.push((true, value(&mut parser, "--allow")?)),
            Long("deny") => options.access.push((false, value(&mut parser, "--deny")?)),
            Long("watchdog") => {
                let span = Duration::from_secs(seconds(&mut parser, "--watchdog")?);
                options.watchdog = Some(span.max(Duration::from_secs(1)));
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
    if options.listings.is_empty() && !options.inherits {
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
    T: FromStr<Err: Display>,
{
    use lexopt::ValueExt;

    let text = parser.value()?.string()?;
    text.parse().map_err(|error| format!("{option} {text}: {error}").into())
}

fn number<T: FromStr>(parser: &mut lexopt::Parser, option: &str) -> Result<T, lexopt::Error> {
    use lexopt::ValueExt;

    let text = parser.value()?.string()?;
    text.parse().map_err(|_| format!("{option} {text}: not a whole number").into())
}

fn count(parser: &mut lexopt::Parser, option: &str, most: usize) -> Result<usize, lexopt::Error> {
    let count = number(parser, option)?;
    let is_fine = (1..=most).contains(&count);
    if is_fine { Ok(count) } else { Err(format!("{option}: not from 1 to {most}").into()) }
}

fn seconds(parser: &mut lexopt::Parser, option: &str) -> Result<u64, lexopt::Error> {
    let seconds = number(parser, option)?;
    let is_fine = seconds <= MOST_SECONDS;
    if is_fine { Ok(seconds) } else { Err(format!("{option}: above {MOST_SECONDS}").into()) }
}

const MOST_THREADS: usize = 1024;
const MOST_SECONDS: u64 = 100_000_000;
const PLACEMENT_WRONG: &str = "--placement: not round-robin, least-loaded or reuse-port";
