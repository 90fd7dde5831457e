//! The other end: connects, says its lines, prints what is answered; tries again where nobody is.
//!
//! ```text
//! cargo run --release --example server                                     # somebody to talk to
//! cargo run --release --example client -- 127.0.0.1:7001 hello "how are you"
//! seq 100000 | cargo run --release --example client -- 127.0.0.1:7000 | tail -1
//! cargo run --release --example client -- --connections 100 localhost:7001 hello
//! cargo run --release --example client -- --retries 8 127.0.0.1:7999 hello # then start a server
//! ```
//!
//! Without lines among the arguments it takes standard input, up to its end (Ctrl-D).
//!
//! What to look at:
//!
//! - A connection that cannot be made tells its handler by `on_close` alone, and that is its end.
//!   The time until the next attempt belongs to `main`, which drives the reactor by turns.
//! - The deadline to connect covers the look-up of the name and all its addresses.
//! - All connections share the bytes of the lines. [`Context::finish`](tidemill::Context::finish)
//!   ends our direction behind them; the answers go on until the server has said everything.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tidemill::codec::{Line, Lines};
use tidemill::sys::StreamOptions;
use tidemill::sys::net::describe;
use tidemill::{
    Address, CloseReason, Connect, Context, Deadline, Fault, FrameHandler, Framed, Limits, Reactor,
    Time,
};

/// One attempt at a connection, and what follows if it fails.
#[derive(Clone)]
struct Attempt {
    index: usize,
    at: Time,
    pause: Duration,
    retries_left: u32,
}

enum End {
    /// Everything was said and answered.
    Done,
    /// No connection was made: worth another attempt.
    Unreachable(String),
    Broken(String),
}

/// One connection.
struct Talk {
    attempt: Attempt,
    lines: Arc<[u8]>,
    /// Stands before each answer, to tell connections apart.
    label: String,
    ends: Sender<(Attempt, End)>,
}

impl FrameHandler<Lines> for Talk {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.write_shared(self.lines.clone());
        cx.finish();
        Ok(())
    }

    fn on_frame(&mut self, _cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
        let mut out = io::stdout().lock();
        out.write_all(self.label.as_bytes())?;
        Ok(out.write_all(line.whole())?)
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, why: &CloseReason) {
        let end = match why {
            CloseReason::Closed => End::Done,
            CloseReason::ConnectFailed(error) => End::Unreachable(describe(error)),
            CloseReason::TimedOut(Deadline::Connect) => End::Unreachable("no answer".to_owned()),
            other => End::Broken(other.to_string()),
        };
        let _ = self.ends.send((self.attempt.clone(), end)); // `talk` listens as long as we live
    }
}

/// Talks until all connections have ended, and answers how many of them failed.
fn talk(options: &Options) -> Result<usize, Box<dyn Error>> {
    let lines = options.lines()?;
    // Above the high mark of its outbox a connection is not read. A client must read on: the
    // server may take no more of our lines before we have taken its answers.
    let (outbox_high_bytes, outbox_max_bytes) = (LINES_BYTES, LINES_BYTES);
    let limits = Limits { outbox_high_bytes, outbox_max_bytes, ..Limits::default() };
    let mut reactor: Reactor = Reactor::with_limits(limits)?;
    let (sender, ends) = channel();

    let mut waiting: Vec<Attempt> = (0..options.connections).map(|i| options.first(i)).collect();
    let (mut open, mut failed) = (0, 0);
    while open > 0 || !waiting.is_empty() {
        let now = reactor.desk().now();
        let due: Vec<Attempt>;
        (due, waiting) = waiting.into_iter().partition(|attempt| attempt.at <= now);
        for attempt in due {
            let many = options.connections > 1;
            let label = if many { format!("{}: ", attempt.index) } else { String::new() };
            let (lines, ends) = (lines.clone(), sender.clone());
            let talk = Talk { attempt, lines, label, ends };
            reactor.connect(options.connect(), Framed::new(Lines::default(), talk))?;
            open += 1;
        }
        reactor.turn(waiting.iter().map(|attempt| attempt.at.since(now)).min())?;
        let now = reactor.desk().now();
        for (attempt, end) in ends.try_iter() {
            open -= 1;
            match end {
                End::Done => {}
                End::Unreachable(why) if attempt.retries_left > 0 => {
                    let pause = attempt.pause;
                    eprintln!("client: {}: {why}, again in {pause:?}", options.address);
                    waiting.push(attempt.following(now));
                }
                End::Unreachable(why) | End::Broken(why) => {
                    eprintln!("client: {}: {why}", options.address);
                    failed += 1;
                }
            }
        }
    }
    Ok(failed)
}

impl Attempt {
    /// The one after it, after a pause that doubles each time.
    fn following(self, now: Time) -> Attempt {
        Attempt {
            at: now + self.pause,
            pause: (self.pause * 2).min(LONGEST_PAUSE),
            retries_left: self.retries_left - 1,
            index: self.index,
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const LINES_BYTES: usize = 16 * 1024 * 1024;

struct Options {
    address: Address,
    lines: Vec<String>,
    connections: usize,
    retries: u32,
    within: Duration,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut connections, mut retries, mut within) = (1, 4, Duration::from_secs(3));
        let (mut address, mut lines) = (None, Vec::new());
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("connections") => connections = parser.value()?.parse()?,
                Long("retries") => retries = parser.value()?.parse()?,
                Long("within") => within = Duration::from_millis(parser.value()?.parse()?),
                Value(value) if address.is_none() => address = Some(value.parse()?),
                Value(line) => lines.push(line.string()?),
                other => return Err(other.unexpected()),
            }
        }
        let address = address.ok_or("an address is needed")?;
        Ok(Options { address, lines, connections, retries, within })
    }

    /// What is to be said, by every connection.
    fn lines(&self) -> Result<Arc<[u8]>, Box<dyn Error>> {
        let mut lines: Vec<u8> =
            self.lines.iter().flat_map(|line| [line, "\n"].concat().into_bytes()).collect();
        if self.lines.is_empty() {
            io::stdin().take(LINES_BYTES as u64 + 1).read_to_end(&mut lines)?;
        }
        match lines.len() {
            ..=LINES_BYTES => Ok(lines.into()),
            _ => Err(format!("more than {LINES_BYTES} bytes to say").into()),
        }
    }

    fn first(&self, index: usize) -> Attempt {
        Attempt { index, at: Time::ZERO, pause: FIRST_PAUSE, retries_left: self.retries }
    }

    fn connect(&self) -> Connect {
        let to = self.address.clone();
        Connect { to, options: StreamOptions::default(), within: Some(self.within) }
    }
}

fn main() -> ExitCode {
    env_logger::init();
    match Options::parse().map(|options| talk(&options)) {
        Ok(Ok(0)) => ExitCode::SUCCESS,
        Ok(Ok(_failed)) => ExitCode::from(1), // each was told of
        Ok(Err(error)) => fail(1, &error),
        Err(error) => fail(2, &format_args!("{error} (usage: {USAGE})")),
    }
}

const USAGE: &str =
    "client [--connections N] [--retries N] [--within MILLISECONDS] ADDRESS [LINE]...";

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("client: {error}");
    ExitCode::from(code)
}
