//! The command line.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
Usage: load MODE ADDR... [OPTION]...

MODE is what each connection does with a server that sends back what it is sent:
  echo      sends bytes, and checks that they come back
  line      the same with lines of text
  length    the same with frames behind a length of four bytes
  connect   connects, sends one message, reads it back, closes; again and again
  idle      does this once, and stays: what do connections cost that do nothing?
  udp       sends datagrams, each with a number, and checks those that come back

With several ADDRs, connections take them in turn.

  --connections N      at once (default 64)
  --size BYTES         of a message (default 64; connect and idle: 1)
  --depth N            messages sent before their answers have come (default 1)
  --time SECONDS       to measure (default 5)
  --warm-up SECONDS    before that (default 0.5)
  --rounds N           instead of --time: N times each connection's --depth, all together
  --rate N             an open loop: N messages (or connections) a second in all, on time
  --timeout SECONDS    for a datagram to be lost (default 1), for a server to be stuck (default 30)
  --threads N          that share the connections (default 1)
  --pid PID            of the server: tells its processor time, context switches and memory
  --from IP:PORT       idle: connect from there, each connection from the next port up; else the
                       system chooses, and many connections leave no ports for others
  --hold               idle: stay until standard input ends, then ask each connection once more
  --json               one line of JSON instead of text
  --report FILE        writes a page with plots, too
  --help";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Echo,
    Line,
    Length,
    Connect,
    Idle,
    Udp,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    /// Idle connections do one.
    Rounds(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) depth: usize,
    pub(crate) extent: Extent,
    /// Messages a second, by all threads; none is a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) timeout: Duration,
    pub(crate) threads: usize,
    pub(crate) pid: Option<u32>,
    /// Where the first connection comes from.
    pub(crate) from: Option<SocketAddr>,
    pub(crate) hold: bool,
    pub(crate) json: bool,
    pub(crate) report: Option<PathBuf>,
}

pub(crate) enum Command {
    Load(Box<Options>),
    Help,
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    use lexopt::prelude::*;

    let (mut mode, mut addresses) = (None, Vec::new());
    let (mut connections, mut size, mut depth, mut threads) = (64, None, 1, 1);
    let (mut time, mut warm_up, mut rounds, mut rate, mut timeout) = (None, None, None, None, None);
    let (mut pid, mut from, mut hold, mut json, mut report) = (None, None, false, false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(text) if mode.is_none() => mode = Some(text.string()?.parse()?),
            Value(text) => addresses.push(resolve(&text.string()?)?),
            Long("connections") => connections = within(&mut parser, "--connections", 1, 1 << 24)?,
            Long("size") => size = Some(within(&mut parser, "--size", 1, 16 << 20)?),
            Long("depth") => depth = within(&mut parser, "--depth", 1, 1 << 20)?,
            Long("threads") => threads = within(&mut parser, "--threads", 1, 1024)?,
            Long("time") => time = Some(seconds(&mut parser, "--time", 0.01)?),
            Long("warm-up") => warm_up = Some(seconds(&mut parser, "--warm-up", 0.0)?),
            Long("timeout") => timeout = Some(seconds(&mut parser, "--timeout", 0.01)?),
            Long("rounds") => rounds = Some(within(&mut parser, "--rounds", 1, 1 << 40)?),
            Long("rate") => rate = Some(within(&mut parser, "--rate", 0.001, 1e9)?),
            Long("pid") => pid = Some(within(&mut parser, "--pid", 1, i32::MAX as u32)?),
            Long("from") => from = Some(source(&parser.value()?.string()?)?),
            Long("hold") => hold = true,
            Long("json") => json = true,
            Long("report") => report = Some(parser.value()?.into()),
            Long("help") => return Ok(Command::Help),
            other => return Err(other.unexpected()),
        }
    }
    let mode = mode.ok_or("no mode: echo, line, length, connect, idle or udp")?;
    if addresses.is_empty() {
        return Err("no address of a server".into());
    }
    if rounds.is_some() && (time.is_some() || warm_up.is_some() || rate.is_some()) {
        return Err("--rounds: not together with --time, --warm-up or --rate".into());
    }
    if mode == Mode::Idle && (time.is_some() || warm_up.is_some() || rounds.is_some()) {
        return Err("idle opens its connections once: no --time, --warm-up or --rounds".into());
    }
    if mode != Mode::Idle && hold {
        return Err("--hold: for idle only".into());
    }
    if mode != Mode::Idle && from.is_some() {
        return Err("--from: for idle only".into());
    }
    if from.is_some_and(|from| usize::from(from.port()) + connections > 65_536) {
        return Err("--from: there are not so many ports above it".into());
    }
    if matches!(mode, Mode::Connect | Mode::Idle) && depth > 1 {
        return Err("--depth: not for connect or idle".into());
    }
    let opens = matches!(mode, Mode::Connect | Mode::Idle);
    let size = size.unwrap_or(if opens { 1 } else { 64 });
    if mode == Mode::Udp && !(NUMBER_BYTES..=DATAGRAM_BYTES_MOST).contains(&size) {
        return Err(format!("--size: {NUMBER_BYTES} to {DATAGRAM_BYTES_MOST} for udp").into());
    }
    if mode == Mode::Length && size < LENGTH_BYTES {
        return Err(format!("--size: at least {LENGTH_BYTES} for length").into());
    }
    if threads > connections {
        return Err("--threads: more than --connections".into());
    }
    let extent = match rounds {
        _ if mode == Mode::Idle => Extent::Rounds(1),
        Some(rounds) => Extent::Rounds(rounds),
        None => Extent::Time {
            warm_up: warm_up.unwrap_or(Duration::from_millis(500)),
            measured: time.unwrap_or(Duration::from_secs(5)),
        },
    };
    let patience = if mode == Mode::Udp { 1 } else { 30 };
    let timeout = timeout.unwrap_or(Duration::from_secs(patience));
    Ok(Command::Load(Box::new(Options {
        mode,
        addresses,
        connections,
        size,
        depth,
        extent,
        rate,
        timeout,
        threads,
        pid,
        from,
        hold,
        json,
        report,
    })))
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    match text.to_socket_addrs() {
        Ok(mut all) => all.next().ok_or_else(|| format!("{text}: no such address")),
        Err(error) => Err(format!("{text}: {error}")),
    }
}

fn source(text: &str) -> Result<SocketAddr, String> {
    let from = text.parse::<SocketAddr>().ok().filter(|from| from.port() > 0);
    from.ok_or_else(|| format!("--from {text}: not an address of the internet and a port"))
}

/// The value of an option, which must lie between two others.
fn within<T>(
    parser: &mut lexopt::Parser,
    option: &str,
    least: T,
    most: T,
) -> Result<T, lexopt::Error>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    use lexopt::ValueExt;

    let text = parser.value()?.string()?;
    let value: T = text.parse().map_err(|_| format!("{option} {text}: not a number"))?;
    let is_fine = value >= least && value <= most;
    if is_fine { Ok(value) } else { Err(format!("{option}: not from {least} to {most}").into()) }
}

fn seconds(
    parser: &mut lexopt::Parser,
    option: &str,
    least: f64,
) -> Result<Duration, lexopt::Error> {
    within(parser, option, least, 1e6).map(Duration::from_secs_f64)
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        let all = [Mode::Echo, Mode::Line, Mode::Length, Mode::Connect, Mode::Idle, Mode::Udp];
        let found = all.into_iter().find(|mode| mode.to_string() == text);
        found.ok_or_else(|| format!("{text}: not echo, line, length, connect, idle or udp"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Echo => "echo",
            Mode::Line => "line",
            Mode::Length => "length",
            Mode::Connect => "connect",
            Mode::Idle => "idle",
            Mode::Udp => "udp",
        })
    }
}

impl Mode {
    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Mode::Echo => "messages",
            Mode::Line => "lines",
            Mode::Length => "frames",
            Mode::Connect | Mode::Idle => "connections",
            Mode::Udp => "datagrams",
        }
    }
}

/// A frame begins with its length, less these.
pub(crate) const LENGTH_BYTES: usize = 4;
/// A datagram begins with its number.
pub(crate) const NUMBER_BYTES: usize = 8;
/// What fits in one of IPv4: 65,535 less the headers of IP and UDP.
const DATAGRAM_BYTES_MOST: usize = 65_507;
