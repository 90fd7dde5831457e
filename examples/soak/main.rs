//! Clients of every kind against a server that has to bear them, for as long as asked: those that
//! behave, those that cannot, and those that will not. What it is about is what is wrong at the
//! end: bytes, connections that were not served or not ended, descriptors and memory kept.
//!
//! ```text
//! cargo build --release --example server
//! cargo run --release --example soak -- --time 30m
//! cargo run --release --example soak -- --time 1h --threads 2 --seed 7
//! cargo run --release --example soak -- --echo 192.0.2.7:7000 --time 10m
//! ```
//!
//! It starts the example server as a process of its own, with limits short enough to be reached
//! all the time, or takes one that is there. A first fifth of the time (a minute at the most)
//! warms it up; what the process holds once all clients have left is the *baseline*, to which it
//! has to come back at the end.
//!
//! Each client is a thread with blocking calls. What they do is decided by the seed; in what order
//! it happens, by the system.

mod book;
mod clients;
mod lives;
mod options;
mod target;
mod verdict;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use book::Book;
use clients::Crowd;
use options::{Command, Options};
use target::{State, Target};
use verdict::Verdict;

fn main() -> ExitCode {
    let options = match options::parse(lexopt::Parser::from_env()) {
        Ok(Command::Soak(options)) => *options,
        Ok(Command::Help) => {
            print(options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&format_args!("{error} (see --help)"));
            return ExitCode::from(2);
        }
    };
    match soak(&options) {
        Ok(verdict) => {
            print(verdict.to_string());
            if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn soak(options: &Options) -> Result<Verdict, Box<dyn Error>> {
    print(format!("seed {}", options.seed));
    let target = Arc::new(Target::new(options)?);
    let fresh = target.state()?;

    let warm_up = (options.time / 5).min(Duration::from_secs(60));
    let book = Arc::new(Book::default());
    let start = Instant::now();
    round(&target, &book, options.seed, start, warm_up)?;
    let baseline = target.at_rest()?;

    // Latencies and counts of the first round are not those that are told, but what was wrong is.
    let before = book.start_anew();
    let rest = options.time.saturating_sub(warm_up);
    round(&target, &book, !options.seed, start, start.elapsed() + rest)?;
    let end = target.at_rest()?;
    let log = target.stop()?;
    Ok(Verdict { warm_up: before, main: book.look(), fresh, baseline, end, log })
}

/// Has all clients at it until so much time has passed since the start.
fn round(
    target: &Arc<Target>,
    book: &Arc<Book>,
    seed: u64,
    start: Instant,
    until: Duration,
) -> Result<(), Box<dyn Error>> {
    let crowd = Crowd::start(target, book, seed)?;
    let outcome = watch(target, book, start, until);
    crowd.leave();
    outcome
}

/// Tells how it goes, each second on a terminal and each ten seconds elsewhere.
fn watch(
    target: &Target,
    book: &Book,
    start: Instant,
    until: Duration,
) -> Result<(), Box<dyn Error>> {
    let is_terminal = io::stderr().is_terminal();
    let interval = Duration::from_secs(if is_terminal { 1 } else { 10 });
    let mut next = start.elapsed() + interval;
    while start.elapsed() < until {
        let now = start.elapsed();
        thread::sleep(next.min(until).saturating_sub(now));
        if start.elapsed() >= next {
            next += interval;
            let line = progress(start.elapsed(), book, &target.state()?);
            let _ = match is_terminal {
                true => write!(io::stderr(), "\r{line:<110}"),
                false => writeln!(io::stderr(), "{line}"),
            };
        }
    }
    if is_terminal {
        let _ = writeln!(io::stderr());
    }
    Ok(())
}

fn progress(at: Duration, book: &Book, state: &State) -> String {
    let (seconds, now) = (at.as_secs(), book.look());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}  {} connections, {} exchanges, {} MB; \
         quiet p99 {:.1} ms, worst {:.0} ms; {state}; wrong: {}",
        now.connections(),
        now.exchanges,
        now.bytes / 1_000_000,
        now.quiet_ms(99.0),
        now.quiet_ms(100.0),
        now.wrong_count(),
    )
}

fn complain(error: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "soak: {error}"); // nobody may be listening
}

fn print(text: impl AsRef<str>) {
    let _ = writeln!(io::stdout(), "{}", text.as_ref().trim_end());
}
