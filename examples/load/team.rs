//! The threads of a run: they connect, start together, and their tallies become one.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::datagrams::Datagrams;
use crate::gauge::{Gauge, Usage};
use crate::openings::Openings;
use crate::options::{Extent, Mode, Options};
use crate::schedule::Schedule;
use crate::streams::Streams;
use crate::tally::{Nanos, Tally};

/// One thread's part of the work.
pub(crate) struct Share {
    /// The numbers of its connections.
    pub(crate) connections: Range<usize>,
    /// Its part of the rate.
    rate: Option<f64>,
    /// What it has counted so far.
    pub(crate) progress: Arc<AtomicU64>,
}

/// What a run has shown.
pub(crate) struct Outcome {
    pub(crate) options: Options,
    pub(crate) tally: Tally,
    /// Of the part that was measured.
    pub(crate) took: Duration,
    pub(crate) server: Option<Usage>,
}

/// What threads tell.
enum News {
    Connected,
    Done(Box<Tally>, Duration),
    Left,
    Failed(io::Error),
}

/// Runs, shows the outcome, and where connections are held, holds them then.
///
/// # Errors
/// The first of a thread, or of looking at the server's process.
pub(crate) fn run(options: &Options, show: impl FnOnce(&Outcome)) -> io::Result<Outcome> {
    let gauge = options.pid.map(Gauge::new).transpose()?;
    let before = gauge.as_ref().map(Gauge::read).transpose()?;
    let (tell, news) = mpsc::channel();
    let (mut starts, mut progress) = (Vec::new(), Vec::new());
    for index in 0..options.threads {
        let part = |at: usize| options.connections * at / options.threads;
        let share = Share {
            connections: part(index)..part(index + 1),
            rate: options.rate.map(|rate| rate / options.threads as f64),
            progress: Arc::default(),
        };
        progress.push(Arc::clone(&share.progress));
        let (start, started) = mpsc::channel();
        starts.push(start);
        let (options, tell) = (options.clone(), tell.clone());
        thread::Builder::new().spawn(move || {
            if let Err(error) = work(&options, &share, &started, &tell) {
                let _ = tell.send(News::Failed(error)); // the first error ends the run
            }
        })?;
    }
    for _ in 0..options.threads {
        expect(&news, |news| matches!(news, News::Connected))?;
    }
    let start = Instant::now();
    for worker in &starts {
        let _ = worker.send(start); // its error, if any, is in the news
    }
    let mut bar = Bar::new(options, start, progress);
    let mut window = None;
    if let (Extent::Time { warm_up, measured }, Some(gauge)) = (options.extent, &gauge) {
        bar.wait_until(start + warm_up, &news)?;
        let first = gauge.read()?;
        bar.wait_until(start + warm_up + measured, &news)?;
        window = Some(gauge.read()?.since(&first));
    }
    let mut whole: Option<(Tally, Duration)> = None;
    for _ in 0..options.threads {
        let News::Done(tally, took) = bar.next(&news)? else { continue };
        match &mut whole {
            None => whole = Some((*tally, took)),
            Some((whole, longest)) => {
                whole.add(&tally);
                *longest = took.max(*longest);
            }
        }
    }
    bar.clear();
    let (tally, took) = whole.ok_or(ErrorKind::BrokenPipe)?;
    let mut server = match (&gauge, &before) {
        (Some(gauge), Some(before)) => Some(window.unwrap_or(gauge.read()?.since(before))),
        _ => None,
    };
    if let (Some(usage), Some(before)) = (&mut server, &before) {
        usage.resident_before = before.resident_bytes;
    }
    let outcome = Outcome { options: options.clone(), tally, took, server };
    show(&outcome);
    if options.hold {
        io::copy(&mut io::stdin().lock(), &mut io::sink())?;
        drop(starts);
        for _ in 0..options.threads {
            expect(&news, |news| matches!(news, News::Left))?;
        }
    }
    Ok(outcome)
}

/// The life of one thread.
fn work(
    options: &Options,
    share: &Share,
    started: &Receiver<Instant>,
    tell: &Sender<News>,
) -> io::Result<()> {
    enum Work {
        Streams(Streams),
        Openings(Openings),
        Datagrams(Datagrams),
    }
    let mut work = match options.mode {
        Mode::Echo | Mode::Line | Mode::Length => Work::Streams(Streams::new(options, share)?),
        Mode::Connect | Mode::Idle => Work::Openings(Openings::new(options, share)?),
        Mode::Udp => Work::Datagrams(Datagrams::new(options, share)?),
    };
    let _ = tell.send(News::Connected);
    let Ok(start) = started.recv() else { return Ok(()) }; // somebody else failed
    let mut schedule = Schedule::new(start, options.extent, share.rate);
    let from = match options.extent {
        Extent::Time { warm_up, .. } => warm_up.as_nanos() as Nanos,
        Extent::Rounds(_) => 0,
    };
    let mut tally = Tally::new(from, schedule.end);
    match &mut work {
        Work::Streams(streams) => streams.run(options, share, &mut schedule, &mut tally)?,
        Work::Openings(openings) => openings.run(options, share, &mut schedule, &mut tally)?,
        Work::Datagrams(datagrams) => datagrams.run(options, share, &mut schedule, &mut tally)?,
    }
    let took = match options.extent {
        Extent::Time { measured, .. } => measured,
        Extent::Rounds(_) => Duration::from_nanos(schedule.now()),
    };
    let made_count = tally.count;
    let _ = tell.send(News::Done(Box::new(tally), took));
    if let (Work::Openings(openings), true) = (&mut work, options.hold) {
        while started.recv().is_ok() {}
        if openings.ask_again(options)? as u64 != made_count {
            return Err(io::Error::new(ErrorKind::InvalidData, "connections were lost"));
        }
        let _ = tell.send(News::Left);
    }
    Ok(())
}

fn expect(news: &Receiver<News>, wanted: impl Fn(&News) -> bool) -> io::Result<News> {
    loop {
        match news.recv().map_err(|_| ErrorKind::BrokenPipe)? {
            News::Failed(error) => return Err(error),
            news if wanted(&news) => return Ok(news),
            _ => {}
        }
    }
}

/// A line about how far the run has come, where standard error is a terminal.
struct Bar {
    start: Instant,
    extent: Extent,
    work: u64,
    unit: &'static str,
    progress: Vec<Arc<AtomicU64>>,
    is_shown: bool,
    /// Came while something else was waited for.
    early: Vec<News>,
}

impl Bar {
    fn new(options: &Options, start: Instant, progress: Vec<Arc<AtomicU64>>) -> Bar {
        let round = options.connections * options.depth;
        let work = match options.extent {
            Extent::Rounds(rounds) => rounds.saturating_mul(round as u64),
            Extent::Time { .. } => 0,
        };
        Bar {
            start,
            extent: options.extent,
            work,
            unit: options.mode.unit(),
            progress,
            is_shown: io::stderr().is_terminal(),
            early: Vec::new(),
        }
    }

    /// Shows how far it is until then. A failure is answered at once.
    fn wait_until(&mut self, when: Instant, news: &Receiver<News>) -> io::Result<()> {
        loop {
            let left = when.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            match news.recv_timeout(left.min(TICK)) {
                Ok(News::Failed(error)) => return Err(self.failed(error)),
                Ok(news) => self.early.push(news),
                Err(RecvTimeoutError::Timeout) => self.show(),
                Err(RecvTimeoutError::Disconnected) => return Err(ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Shows how far it is until a thread is done.
    fn next(&mut self, news: &Receiver<News>) -> io::Result<News> {
        if let Some(news) = self.early.pop() {
            return Ok(news);
        }
        loop {
            match news.recv_timeout(TICK) {
                Ok(News::Failed(error)) => return Err(self.failed(error)),
                Ok(news) => return Ok(news),
                Err(RecvTimeoutError::Timeout) => self.show(),
                Err(RecvTimeoutError::Disconnected) => return Err(ErrorKind::BrokenPipe.into()),
            }
        }
    }

    fn failed(&mut self, error: io::Error) -> io::Error {
        self.clear();
        error
    }

    fn show(&self) {
        if !self.is_shown {
            return;
        }
        let count: u64 = self.progress.iter().map(|count| count.load(Relaxed)).sum();
        let done = match self.extent {
            Extent::Time { warm_up, measured } => {
                self.start.elapsed().as_secs_f64() / (warm_up + measured).as_secs_f64()
            }
            Extent::Rounds(_) => count as f64 / self.work as f64,
        };
        let filled = (done.clamp(0.0, 1.0) * BAR_WIDTH as f64) as usize;
        let (bar, rest) = ("#".repeat(filled), ".".repeat(BAR_WIDTH - filled));
        let _ = write!(io::stderr(), "\r[{bar}{rest}] {count} {} ", self.unit);
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r{:1$}\r", "", BAR_WIDTH + 40);
        }
    }
}

/// A connection that was made, for those who need them all before they start.
pub(crate) fn connect(options: &Options, connection: usize) -> io::Result<TcpStream> {
    let address = options.addresses[connection % options.addresses.len()];
    let stream = TcpStream::connect_timeout(&address, options.timeout)
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

pub(crate) fn wait(poll: &mut Poll, events: &mut Events, patience: Duration) -> io::Result<()> {
    match poll.poll(events, Some(patience)) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn is_would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

pub(crate) fn lost(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("a connection was lost: {error}"))
}

pub(crate) fn ended() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the server ended a connection")
}

const TICK: Duration = Duration::from_millis(100);
const BAR_WIDTH: usize = 40;
