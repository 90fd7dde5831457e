//! A load generator for servers that send back what they are sent: every byte is checked, and
//! what is measured is told as text, as JSON, and as a page with plots.
//!
//! ```text
//! cargo run --release --example server &
//! cargo run --release --example load -- echo 127.0.0.1:7000 --pid $! --report report.html
//! cargo run --release --example load -- echo 127.0.0.1:7000 --rate 50000
//! cargo run --release --example load -- connect 127.0.0.1:7000
//! cargo run --release --example load -- idle 127.0.0.1:7000 --connections 10000 --pid $!
//! cargo run --release --example load -- udp 127.0.0.1:7002
//! ```
//!
//! **Closed loop** (the default): a connection sends its next message when an answer has come, so
//! the load goes as fast as the server lets it. That tells throughput; its latencies are those of
//! a server under full load.
//!
//! **Open loop** (`--rate`): messages are due at fixed moments, whatever the server does, and a
//! latency counts from the moment its message was *due*. A server that stalls is charged for all
//! whom it kept waiting, not for one (the mistake called coordinated omission). The load then
//! does not sleep, so that nothing is sent late: give it a processor of its own.
//!
//! **Rounds** (`--rounds`): each connection sends, then all answers are awaited, then again: a
//! fixed amount of work, for counting what a server does for it.
//!
//! It is written with bare mio, not with this crate, so that it can be a judge of both; a message
//! costs it one write, one read, one comparison, and one reading of the clock.

mod datagrams;
mod gauge;
mod html;
mod openings;
mod options;
mod pattern;
mod report;
mod schedule;
mod streams;
mod tally;
mod team;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use options::{Command, Options};
use tally::Tally;

fn main() -> ExitCode {
    let options = match options::parse(lexopt::Parser::from_env()) {
        Ok(Command::Load(options)) => *options,
        Ok(Command::Help) => {
            print(options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(format_args!("{error} (see --help)"), 2),
    };
    match load(&options) {
        Ok(Tally { failed_count, first_failure: Some(error), .. }) => {
            fail(format_args!("{failed_count} connections failed, the first: {error}"), 1)
        }
        Ok(tally) if tally.count == 0 => fail("nothing was answered", 1),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(error, 1),
    }
}

fn load(options: &Options) -> Result<Tally, Box<dyn std::error::Error>> {
    // A report that cannot be written is better known before the work than after it.
    let file = match &options.report {
        Some(path) => {
            let file = std::fs::File::create(path);
            Some((path, file.map_err(|error| format!("{}: {error}", path.display()))?))
        }
        None => None,
    };
    let outcome = team::run(options, |outcome| {
        print(&if options.json { report::json(outcome) } else { report::text(outcome) });
    })?;
    if let Some((path, mut file)) = file {
        let written = file.write_all(html::page(&outcome).as_bytes());
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(outcome.tally)
}

fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()); // may be closed
}

fn fail(error: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "load: {error}"); // nobody may be listening
    ExitCode::from(code)
}
