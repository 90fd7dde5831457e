//! Slow work off the loop: threads compute, the loop goes on serving, answers come as messages.
//!
//! ```text
//! cargo run --release --example worker -- --workers 2 --queue 4
//! printf 'one\ntwo\nthree\n' | nc -N 127.0.0.1 7013
//! for n in 1 2 3 4 5 6 7 8 9; do echo "line $n"; done | nc -N 127.0.0.1 7013     # some are busy
//! ```
//!
//! Each line is hashed a hundred million times, which takes a moment; `ping` is answered by the
//! loop itself, at once, whatever the workers do.
//!
//! What to look at:
//!
//! - The way to the workers is a bounded channel. The loop must not wait for room in it, so it
//!   uses `try_send` and answers `busy` where there is none: an overload is told, not queued.
//! - The way back is [`Handle::send`]. A connection that has gone by then loses its answer, and
//!   nobody else gets it: ids are never used again.
//! - A client that has finished sending is still owed its answers; `on_eof` waits for them.

use std::error::Error;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tidemill::codec::{Line, Lines};
use tidemill::{Address, ConnId, Context, Fault, FrameHandler, Framed, Handle, NetAddr, Server};

/// What a worker is given, with the way back.
struct Job {
    id: ConnId,
    handle: Handle<Answer>,
    number: u64,
    text: Vec<u8>,
}

/// What it sends back.
struct Answer {
    number: u64,
    hash: u64,
}

/// One connection.
struct Asker {
    jobs: SyncSender<Job>,
    asked: u64,
    owed: usize,
    has_ended: bool,
}

impl FrameHandler<Lines, Answer> for Asker {
    fn on_frame(&mut self, cx: &mut Context<'_, Answer>, line: Line<'_>) -> Result<(), Fault> {
        if line.text() == b"ping" {
            cx.write(b"pong\n");
            return Ok(());
        }
        self.asked += 1;
        let (id, handle, number) = (cx.id(), cx.handle().clone(), self.asked);
        match self.jobs.try_send(Job { id, handle, number, text: line.text().to_vec() }) {
            Ok(()) => self.owed += 1,
            Err(TrySendError::Full(_)) => cx.write(format!("{number} busy\n").as_bytes()),
            Err(TrySendError::Disconnected(_)) => return Err(Fault::new("the workers are gone")),
        }
        Ok(())
    }

    /// Answers come in the order of their completion, so they carry the number of the line.
    fn on_message(&mut self, cx: &mut Context<'_, Answer>, answer: Answer) -> Result<(), Fault> {
        cx.write(format!("{} {:016x}\n", answer.number, answer.hash).as_bytes());
        self.owed -= 1;
        self.close_if_done(cx);
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, Answer>) -> Result<(), Fault> {
        self.has_ended = true;
        self.close_if_done(cx);
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, Answer>) -> Result<(), Fault> {
        self.on_eof(cx)
    }
}

impl Asker {
    fn close_if_done(&self, cx: &mut Context<'_, Answer>) {
        if self.has_ended && self.owed == 0 {
            cx.close();
        }
    }
}

/// Starts the workers, who share one end of a channel.
fn start_workers(count: usize, queue: usize) -> io::Result<SyncSender<Job>> {
    let (sender, receiver) = sync_channel(queue);
    let receiver = Arc::new(Mutex::new(receiver));
    for index in 0..count {
        let receiver = receiver.clone();
        thread::Builder::new().name(format!("worker-{index}")).spawn(move || work(&receiver))?;
    }
    Ok(sender)
}

/// The life of one worker, until nobody can send any more.
fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // Whoever waits for a job holds the lock; it is free again before the work begins.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let answer = Answer { number: job.number, hash: slow_hash(&job.text) };
        // Jobs are fewer than a mailbox holds, so this fails only once the reactor has ended.
        let _ = job.handle.send(job.id, answer);
    }
}

fn slow_hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    let seed = hasher.finish();
    (0..ROUNDS).fold(seed, |hash, _| (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

const ROUNDS: u32 = 100_000_000;

struct Options {
    address: Address,
    workers: usize,
    queue: usize,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let address = Address::Inet(([127, 0, 0, 1], 7013).into());
        let mut options = Options { address, workers: 2, queue: 4 };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("workers") => options.workers = parser.value()?.parse_with(at_least_one)?,
                Long("queue") => options.queue = parser.value()?.parse_with(at_least_one)?,
                Value(address) => options.address = address.parse()?,
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(count),
        _ => Err("not a number from 1 to 10000"),
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let jobs = start_workers(options.workers, options.queue)?;
    let service = move |_: &NetAddr| {
        let asker = Asker { jobs: jobs.clone(), asked: 0, owed: 0, has_ended: false };
        Framed::new(Lines::default(), asker)
    };
    let server = Server::builder_for::<Answer>()
        .listen(options.address, service)
        .stop_on_signals(Duration::from_secs(5))
        .bind()?;
    for bound in server.bound() {
        writeln!(io::stdout(), "listening on {}", bound.address)?;
    }
    writeln!(io::stdout(), "{}", server.run()?)?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match Options::parse().map(serve) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(1, &error),
        Err(error) => {
            fail(2, &format_args!("{error} (usage: worker [--workers N] [--queue N] [ADDRESS])"))
        }
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("worker: {error}");
    ExitCode::from(code)
}
