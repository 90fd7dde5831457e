//! What the command line says.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const USAGE: &str = "\
Usage: soak [OPTION]...

Sends clients of every kind against a server, and tells whether it bore them: bytes that were
wrong, clients that were not served or not ended, descriptors and memory that were kept.

  --time SPAN       how long: 90, 90s, 30m, 2h (default 60s)
  --seed N          what clients do (default: of the clock; it is printed)
  --threads N       of the server that is started (default 1)
  --server PATH     the program that is started (default: the example server, beside this one)

  --echo ADDR       use the server that echoes there instead of starting one
  --line ADDR       and answers lines there
  --udp ADDR        and datagrams there
  --metrics ADDR    and serves its metrics there
  --pid PID         and is this process: its descriptors and memory are looked at
  --help

ADDR is 127.0.0.1:7000 or [::1]:7000. Exits with 0 if all is well, 1 if not, 2 for a wrong option.";

pub(crate) struct Options {
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    pub(crate) server: Server,
}

/// Who is to bear it.
pub(crate) enum Server {
    /// A process of our own.
    Start {
        program: Option<PathBuf>,
        threads: usize,
    },
    There(There),
}

/// A server that is there already. What is not known of it is not tested.
#[derive(Clone, Default)]
pub(crate) struct There {
    pub(crate) echo: Option<SocketAddr>,
    pub(crate) line: Option<SocketAddr>,
    pub(crate) udp: Option<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) pid: Option<u32>,
}

pub(crate) enum Command {
    Soak(Box<Options>),
    Help,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut time, mut seed) = (Duration::from_secs(60), now.subsec_nanos().into());
    let (mut program, mut threads, mut there) = (None, None, There::default());
    while let Some(option) = parser.next()? {
        match option {
            Long("time") => {
                let text = parser.value()?.string()?;
                time = span(&text).ok_or_else(|| {
                    format!("--time {text}: not a span from 1s to {DAYS_MAX} days: 90s, 30m, 2h")
                })?;
            }
            Long("seed") => seed = value(&mut parser, "--seed")?,
            Long("threads") => {
                let count = value(&mut parser, "--threads")?;
                if !(1..=1024).contains(&count) {
                    return Err("--threads: not from 1 to 1024".into());
                }
                threads = Some(count);
            }
            Long("server") => program = Some(PathBuf::from(parser.value()?)),
            Long("echo") => there.echo = Some(value(&mut parser, "--echo")?),
            Long("line") => there.line = Some(value(&mut parser, "--line")?),
            Long("udp") => there.udp = Some(value(&mut parser, "--udp")?),
            Long("metrics") => there.metrics = Some(value(&mut parser, "--metrics")?),
            Long("pid") => there.pid = Some(value(&mut parser, "--pid")?),
            Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    let is_there = there.echo.is_some();
    let others = [there.line, there.udp, there.metrics];
    if !is_there && (others.iter().any(Option::is_some) || there.pid.is_some()) {
        return Err("--line, --udp, --metrics and --pid go with --echo".into());
    }
    if is_there && (program.is_some() || threads.is_some()) {
        return Err("--server and --threads are for a server that is started here".into());
    }
    let server = match is_there {
        true => Server::There(there),
        false => Server::Start { program, threads: threads.unwrap_or(1) },
    };
    Ok(Command::Soak(Box::new(Options { time, seed, server })))
}

/// `90`, `90s`, `30m`, `2h`
fn span(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let number: u64 = number.parse().ok()?;
    let unit = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let seconds = number.checked_mul(unit)?;
    (1..=DAYS_MAX * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

const DAYS_MAX: u64 = 365;

/// The value of an option; an error names the option.
fn value<T>(parser: &mut lexopt::Parser, option: &str) -> Result<T, lexopt::Error>
where
    T: std::str::FromStr<Err: Display>,
{
    use lexopt::ValueExt;

    let text = parser.value()?.string()?;
    text.parse().map_err(|error| format!("{option} {text}: {error}").into())
}
