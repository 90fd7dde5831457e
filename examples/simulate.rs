//! Worlds in which the real loop serves badly behaved clients over a bad network: thousands of
//! them, each from a seed.
//!
//! ```text
//! cargo run --release --example simulate -- --seeds 10000
//! cargo run --release --example simulate -- --seeds 1000 --handler chat --jobs 2
//! cargo run --release --example simulate -- --seed 42 --trace
//! ```
//!
//! What is checked stands in `tidemill::testing::simulation`. Where a promise is broken, it tells
//! the seed, what of the faults is needed for it, and the last that happened; `--seed N --only
//! FAULTS` runs that again.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use tidemill::Limits;
use tidemill::sim::{Mishap, Plan};
use tidemill::testing::simulation::{Builtin, Failure, Simulation, Summary};

const USAGE: &str = "\
Usage: simulate [OPTION]...

  --seeds N         run so many worlds (default 1000)
  --from N          the first of their seeds (default 0)
  --seed N          run only this one
  --trace           with --seed: print the whole of what happens
  --handler NAME    echo, line, chat or proxy (default: each in turn)
  --only FAULTS     of the faults of the plan only these, by name, between commas
  --clients N       in each world, all there at once; without faults unless --only names some
  --jobs N          threads (default 1)";

#[derive(Clone)]
struct Options {
    seeds: std::ops::Range<u64>,
    is_traced: bool,
    handler: Option<Builtin>,
    only: Option<Vec<Mishap>>,
    clients: Option<usize>,
    jobs: usize,
}

impl Options {
    fn parse() -> Result<Option<Options>, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut seeds, mut from, mut seed, mut is_traced) = (1000, 0, None, false);
        let (mut handler, mut only, mut clients, mut jobs) = (None, None, None, 1);
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("seeds") => seeds = number("seeds", &parser.value()?)?,
                Long("from") => from = number("from", &parser.value()?)?,
                Long("seed") => seed = Some(number("seed", &parser.value()?)?),
                Long("trace") => is_traced = true,
                Long("handler") => handler = Some(builtin(&parser.value()?.string()?)?),
                Long("only") => only = Some(mishaps(&parser.value()?.string()?)?),
                Long("clients") => clients = Some(number("clients", &parser.value()?)? as usize),
                Long("jobs") => jobs = number("jobs", &parser.value()?)? as usize,
                Long("help") => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        if jobs == 0 || jobs > 1024 {
            return Err("--jobs: not from 1 to 1024".into());
        }
        if clients.is_some_and(|count| count == 0 || count > CLIENTS_MOST) {
            return Err(format!("--clients: not from 1 to {CLIENTS_MOST}").into());
        }
        if is_traced && seed.is_none() {
            return Err("--trace needs --seed".into());
        }
        let first = seed.unwrap_or(from);
        let count = if seed.is_some() { 1 } else { seeds };
        let seeds = first..first.checked_add(count).ok_or("--from and --seeds: too large")?;
        Ok(Some(Options { seeds, is_traced, handler, only, clients, jobs }))
    }

    fn simulation(&self, seed: u64) -> Simulation {
        let in_turn = Builtin::ALL[(seed % Builtin::ALL.len() as u64) as usize];
        let simulation = Simulation::new(seed).builtin(self.handler.unwrap_or(in_turn));
        let plan = match &self.only {
            Some(kept) => Plan::swarm(seed).only(kept),
            None if self.clients.is_some() => Plan::default(),
            None => Plan::swarm(seed),
        };
        let simulation = simulation.plan(plan);
        match self.clients {
            // Far more than there is room for by default.
            Some(count) => simulation
                .clients(count)
                .arriving_within(Duration::ZERO)
                .limits(Limits { connections: 2 * count + 16, ..Limits::default() }),
            None => simulation,
        }
    }
}

/// A few gigabytes' worth.
const CLIENTS_MOST: usize = 1_000_000;

fn number(option: &str, value: &OsStr) -> Result<u64, String> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| format!("--{option}: {}: not a number", value.to_string_lossy()))
}

fn builtin(name: &str) -> Result<Builtin, String> {
    let found = Builtin::ALL.into_iter().find(|builtin| builtin.name() == name);
    found.ok_or_else(|| format!("--handler: {name}: not echo, line, chat or proxy"))
}

fn mishaps(names: &str) -> Result<Vec<Mishap>, String> {
    let named = |name: &str| Mishap::named(name).ok_or_else(|| format!("--only: no fault {name}"));
    names.split(',').filter(|name| !name.is_empty()).map(named).collect()
}

/// Runs all seeds, until one fails.
fn run(options: &Options) -> Result<Summary, Box<Failure>> {
    let next = AtomicU64::new(options.seeds.start);
    let has_failed = AtomicBool::new(false);
    let (told, outcomes) = mpsc::channel();
    let count = options.seeds.end - options.seeds.start;
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            let (told, next, has_failed) = (told.clone(), &next, &has_failed);
            scope.spawn(move || {
                while !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= options.seeds.end {
                        return;
                    }
                    let outcome = options.simulation(seed).run();
                    has_failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                    let _ = told.send(outcome); // nobody listens any more after a failure
                }
            });
        }
        drop(told);
        let mut progress = Progress::new(count);
        let mut whole = Summary::default();
        for outcome in outcomes {
            whole.add(&outcome?);
            progress.show(&whole);
        }
        progress.clear();
        Ok(whole)
    })
}

/// One line on the terminal, a few times a second.
struct Progress {
    count: u64,
    start: Instant,
    shown: Instant,
    is_on: bool,
}

impl Progress {
    fn new(count: u64) -> Progress {
        let now = Instant::now();
        Progress { count, start: now, shown: now, is_on: stderr().is_terminal() }
    }

    fn show(&mut self, whole: &Summary) {
        if !self.is_on || self.shown.elapsed() < Duration::from_millis(200) {
            return;
        }
        self.shown = Instant::now();
        let done = (whole.runs * 30 / self.count.max(1)) as usize;
        let rate = whole.lifetimes as f64 / self.start.elapsed().as_secs_f64() * 60.0;
        let bar = format!("{}{}", "#".repeat(done), ".".repeat(30 - done));
        let _ = write!(
            stderr(),
            "\r[{bar}] {} of {} worlds, {rate:.0} lifetimes/min ",
            whole.runs,
            self.count
        );
    }

    fn clear(&self) {
        if self.is_on {
            let _ = write!(stderr(), "\r{:80}\r", "");
        }
    }
}

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(format_args!("{error} (see --help)"), 2),
    };
    quieten();
    let start = Instant::now();
    if options.is_traced {
        let (outcome, timeline) = options.simulation(options.seeds.start).trace(usize::MAX);
        for line in timeline {
            if writeln!(stdout(), "{line}").is_err() {
                return ExitCode::SUCCESS; // whoever read it has seen enough
            }
        }
        return match outcome {
            Ok(_) => {
                println!("all is well");
                ExitCode::SUCCESS
            }
            Err(what) => fail(what, 1),
        };
    }
    match run(&options) {
        Ok(whole) => {
            let seconds = start.elapsed().as_secs_f64();
            let rate = whole.lifetimes as f64 / seconds * 60.0;
            println!("{whole}");
            println!("all is well: {seconds:.1} s, {rate:.0} connection lifetimes a minute");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(stdout(), "{failure}");
            let handler =
                options.handler.map_or_else(String::new, |it| format!(" --handler {}", it.name()));
            let (seed, only) = (failure.seed, failure.mishaps());
            fail(format!("again: --seed {seed}{handler} --only '{only}' --trace"), 1)
        }
    }
}

/// A broken assertion is told of once, with its world, and not whenever the plan is made smaller.
fn quieten() {
    static FIRST: Mutex<bool> = Mutex::new(true);
    std::panic::set_hook(Box::new(|panic| {
        let mut is_first = FIRST.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if std::mem::take(&mut *is_first) {
            let _ = writeln!(stderr(), "simulate: {panic}");
        }
    }));
}

fn fail(error: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(stderr(), "simulate: {error}"); // nobody may be listening
    ExitCode::from(code)
}
