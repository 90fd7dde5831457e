//! One echo server, written five ways: what blocking is, what it costs, and what a reactor is for.
//!
//! ```text
//! cargo run --release --example blocking_model -- compare             # all five, measured
//! cargo run --release --example blocking_model -- one-at-a-time       # one of them, to play with
//! nc 127.0.0.1 7010                              # in two other terminals: who gets an answer?
//! ```
//!
//! | way | it waits | so |
//! |---|---|---|
//! | `one-at-a-time` | in `read`, for this client | all others wait with it |
//! | `threads` | in `read`, one thread for each client | each client costs a stack and a task |
//! | `asking` | never: it asks everybody, again and again | it is busy while nothing happens |
//! | `readiness` | in `epoll_wait`, for anybody (with mio) | one thread serves all, by your books |
//! | `tidemill` | the same | the books are kept |
//!
//! Read the five functions in this order; `Client::serve` is what the third and the fourth share:
//! how to work with a socket that must not be waited for.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{self, Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use mio::{Events, Interest, Poll, Token};
use tidemill::protocols::Echo;
use tidemill::{Limits, NetAddr, Reactor};

type Way = fn(TcpListener) -> io::Result<()>;

const WAYS: [(&str, Way); 5] = [
    ("one-at-a-time", one_at_a_time),
    ("threads", a_thread_each),
    ("asking", keep_asking),
    ("readiness", wait_for_readiness),
    ("tidemill", leave_it_to_tidemill),
];

// 1. One client at a time.

fn one_at_a_time(listener: TcpListener) -> io::Result<()> {
    loop {
        let _ = echo(next_client(&listener)); // a client's trouble is its own
    }
}

/// Sends back what comes, until the client ends its direction.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let count = stream.read(&mut buffer)?; // waits, and does nothing else meanwhile
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count])?; // waits too, for a client that does not read
    }
}

fn next_client(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            Err(error) => take_a_rest(&error),
        }
    }
}

/// There are no descriptors, threads or memory for another client. In a moment there may be.
fn take_a_rest(error: &io::Error) {
    eprintln!("a client has to wait: {error}");
    thread::sleep(Duration::from_millis(50));
}

// 2. A thread for each client.

fn a_thread_each(listener: TcpListener) -> io::Result<()> {
    loop {
        let stream = next_client(&listener);
        let serve = move || {
            let _ = echo(stream);
        };
        if let Err(error) = thread::Builder::new().spawn(serve) {
            take_a_rest(&error); // this client is lost
        }
    }
}

// 3. Never wait: ask everybody, again and again.

fn keep_asking(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Vec::new();
    loop {
        match ask(|| listener.accept()) {
            Ok(Some((stream, _))) => {
                if stream.set_nonblocking(true).is_ok() {
                    clients.push(Client::new(stream));
                }
            }
            Ok(None) => {}
            Err(error) => take_a_rest(&error),
        }
        clients.retain_mut(|client| client.serve().unwrap_or(State::Ended) == State::Open);
    }
}

/// A client that must not be waited for.
struct Client<S> {
    stream: S,
    /// Answers that the system has not taken yet.
    unsent: Vec<u8>,
}

#[derive(PartialEq)]
enum State {
    Open,
    Ended,
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Client<S> {
        Client { stream, unsent: Vec::new() }
    }

    /// Reads and answers until the socket would block, and not a step less: whoever waits for
    /// *edges* is told only of what comes after that.
    fn serve(&mut self) -> io::Result<State> {
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            // What was kept goes first. While it waits nothing is read, so it cannot grow.
            while !self.unsent.is_empty() {
                match ask(|| self.stream.write(&self.unsent))? {
                    None => return Ok(State::Open),
                    Some(0) => return Err(ErrorKind::WriteZero.into()),
                    Some(sent) => drop(self.unsent.drain(..sent)),
                }
            }
            match ask(|| self.stream.read(&mut buffer))? {
                None => return Ok(State::Open),
                Some(0) => return Ok(State::Ended),
                Some(count) => self.unsent.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// Calls the system; `None` is "that would block".
fn ask<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<Option<T>> {
    loop {
        match call() {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                WOULD_BLOCK.fetch_add(1, Relaxed);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}

/// How often the system has answered "that would block".
static WOULD_BLOCK: AtomicU64 = AtomicU64::new(0);

// 4. Wait for anybody, and be told whom to ask.

fn wait_for_readiness(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(256);
    let mut clients = HashMap::new();
    let mut next = LISTENER.0 + 1; // never used twice: a late event must not find a stranger
    loop {
        ask(|| poll.poll(&mut events, None))?; // the one place that waits
        for event in &events {
            if event.token() == LISTENER {
                // One edge may stand for many clients: take them all.
                while let Some(mut stream) = accepted(&listener) {
                    // Registered once, for both directions and for its whole life.
                    let both = Interest::READABLE | Interest::WRITABLE;
                    if poll.registry().register(&mut stream, Token(next), both).is_ok() {
                        clients.insert(Token(next), Client::new(stream));
                        next += 1;
                    }
                }
            } else if let Some(client) = clients.get_mut(&event.token()) {
                // A client that never stops sending is never left: fairness is yours to add.
                let state = client.serve().unwrap_or(State::Ended);
                if state == State::Ended {
                    clients.remove(&event.token());
                }
            }
        }
    }
}

fn accepted(listener: &mio::net::TcpListener) -> Option<mio::net::TcpStream> {
    match ask(|| listener.accept()) {
        Ok(answer) => answer.map(|(stream, _)| stream),
        Err(error) => {
            take_a_rest(&error); // those in the queue wait until another one comes
            None
        }
    }
}

const LISTENER: Token = Token(0);

// 5. The same, with the books kept: fairness, limits, deadlines, ends, shutdown.

fn leave_it_to_tidemill(listener: TcpListener) -> io::Result<()> {
    let limits = Limits { connections: descriptors().max(64) - 32, ..Limits::default() };
    let mut reactor: Reactor = Reactor::with_limits(limits)?;
    reactor.adopt_listener(listener, |_: &NetAddr| Echo)?;
    while !reactor.turn(None)?.is_stopped {
        WOULD_BLOCK.store(reactor.counters().would_block, Relaxed);
    }
    Ok(())
}

const BUFFER_BYTES: usize = 4096;

// The comparison. Each way runs in a process of its own, so that time and memory are its own.

fn compare() -> Result<(), Box<dyn Error>> {
    let mut table = vec![Row::head()];
    for (name, _) in WAYS {
        let row = measure(name).map_err(|error| format!("{name}: {error}"))?;
        table.push(row);
    }
    let mut out = io::stdout().lock();
    for row in table {
        writeln!(out, "{}", row.0.trim_end())?;
    }
    Ok(writeln!(out, "{NOTES}")?)
}

const NOTES: &str = "
answered      of 32 clients that connect and ask together, those with an answer within 0.3 s
requests      64 bytes there and back, all who were answered asking together; the best fifth of a
              second (few clients are quick to serve: look at who is not)
would block   calls that found nothing to do, for each request, and while nobody says anything
CPU, idle     of one processor, while 32 clients are connected and say nothing
memory        resident, for each of 500 more clients who say nothing. For a thread the kernel
              keeps 16 KiB of stack besides, which no process is charged for, and of addresses
              2 MiB are set aside; each wake-up is a switch of tasks.";

/// One line of the table.
struct Row(String);

impl Row {
    fn new(cells: [&str; 7]) -> Row {
        let [way, answered, rate, busy, idle, cpu, memory] = cells;
        Row(format!("{way:<15}{answered:>8}{rate:>14}{busy:>15}{idle:>15}{cpu:>11}{memory:>18}"))
    }

    fn head() -> Row {
        let [above, below] = [
            Row::new(["", "", "requests", "would block,", "would block,", "CPU,", "memory"]),
            Row::new([
                "way",
                "answered",
                "a second",
                "a request",
                "idle a second",
                "idle",
                "a client",
            ]),
        ];
        Row(format!("{}\n{}", above.0.trim_end(), below.0))
    }
}

fn measure(way: &str) -> io::Result<Row> {
    let tell = |what: &str| eprintln!("{way:<14} {what}");
    let mut server = Measured::start(way)?;

    tell("32 clients at once");
    let mut clients = connect(server.address, CLIENTS)?;
    let mut answered = answered_by(&mut clients, Duration::from_millis(300));

    tell("requests for a second");
    let before = server.figures()?;
    let (mut requests, mut best_rate) = (0, 0.0_f64);
    for _ in 0..5 {
        let (rounds, seconds) = rounds_within(Duration::from_millis(200), &mut answered)?;
        requests += rounds * answered.len();
        best_rate = best_rate.max((rounds * answered.len()) as f64 / seconds);
    }
    let busy = server.figures()?;

    tell("silence for half a second");
    let begin = Instant::now();
    thread::sleep(Duration::from_millis(500));
    let (idle, idle_seconds) = (server.figures()?, begin.elapsed().as_secs_f64());

    let memory = if answered.len() == CLIENTS {
        let count = (descriptors() / 2).clamp(CLIENTS, MORE_CLIENTS);
        tell(&format!("{count} more clients"));
        let mut more = Vec::new();
        while more.len() < count {
            let mut some = connect(server.address, CLIENTS)?; // no more than the queue holds
            request_each(&mut some.iter_mut().collect::<Vec<_>>())?;
            more.append(&mut some);
        }
        let grown = server.figures()?.resident_bytes.saturating_sub(idle.resident_bytes);
        format!("{:.1} KiB", grown as f64 / more.len() as f64 / 1024.0)
    } else {
        "(they wait)".to_owned()
    };

    let vain_busy = (busy.would_block - before.would_block) as f64 / requests.max(1) as f64;
    let vain_idle = (idle.would_block - busy.would_block) as f64 / idle_seconds;
    let cpu_idle = (idle.cpu_micros - busy.cpu_micros) as f64 / 1e6 / idle_seconds;
    Ok(Row::new([
        way,
        &format!("{} of {CLIENTS}", answered.len()),
        &grouped(best_rate as u64),
        &format!("{vain_busy:.1}"),
        &grouped(vain_idle as u64),
        &format!("{:.1} %", cpu_idle * 100.0),
        &memory,
    ]))
}

const CLIENTS: usize = 32;
const MORE_CLIENTS: usize = 500;

fn connect(to: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| {
            let stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            Ok(stream)
        })
        .collect()
}

/// Asks all at once, and gives those that were answered in time.
fn answered_by(clients: &mut [TcpStream], patience: Duration) -> Vec<&mut TcpStream> {
    let deadline = Instant::now() + patience;
    let mut asked: Vec<_> =
        clients.iter_mut().filter_map(|it| it.write_all(&REQUEST).is_ok().then_some(it)).collect();
    asked.retain_mut(|client| {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let usual = client.read_timeout().ok().flatten();
        let is_answered = client.set_read_timeout(Some(left)).is_ok()
            && client.read_exact(&mut [0; REQUEST.len()]).is_ok();
        is_answered && client.set_read_timeout(usual).is_ok()
    });
    asked
}

/// Asks again and again, and says how often and for how long.
fn rounds_within(span: Duration, clients: &mut [&mut TcpStream]) -> io::Result<(usize, f64)> {
    let (begin, mut rounds) = (Instant::now(), 0);
    while begin.elapsed() < span {
        request_each(clients)?;
        rounds += 1;
    }
    Ok((rounds, begin.elapsed().as_secs_f64()))
}

fn request_each(clients: &mut [&mut TcpStream]) -> io::Result<()> {
    for client in clients.iter_mut() {
        client.write_all(&REQUEST)?;
    }
    for client in clients.iter_mut() {
        client.read_exact(&mut [0; REQUEST.len()])?;
    }
    Ok(())
}

const REQUEST: [u8; 64] = [b'?'; 64];

/// A server in a child process, which ends with this value.
struct Measured {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

/// What a child tells of itself.
struct Figures {
    would_block: u64,
    cpu_micros: u64,
    resident_bytes: u64,
}

impl Measured {
    fn start(way: &str) -> io::Result<Measured> {
        let mut child = Command::new(env::current_exe()?)
            .args([HIDDEN, way])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (questions, answers) = pipes.ok_or(ErrorKind::BrokenPipe)?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let answers = BufReader::new(answers);
        let mut server = Measured { child, questions, answers, address: nowhere };
        server.address = server.line()?.parse().map_err(io::Error::other)?;
        Ok(server)
    }

    fn figures(&mut self) -> io::Result<Figures> {
        self.questions.write_all(b"\n")?;
        let line = self.line()?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [would_block, cpu_micros, resident_bytes] => {
                Ok(Figures { would_block, cpu_micros, resident_bytes })
            }
            _ => Err(io::Error::other(format!("the child said {line:?}"))),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}

/// The child: serves in this thread, and answers each line of standard input with its figures.
/// It ends with its parent, whatever ends that.
fn be_measured(way: Way) -> io::Result<()> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    thread::Builder::new().spawn(|| {
        for _ in io::stdin().lines().map_while(Result::ok) {
            let figures = format!(
                "{} {} {}",
                WOULD_BLOCK.load(Relaxed),
                cpu_time().as_micros(),
                resident_bytes().unwrap_or(0)
            );
            if writeln!(io::stdout(), "{figures}").is_err() {
                break;
            }
        }
        process::exit(0);
    })?;
    way(listener)
}

/// The time on processors that this process has used.
fn cpu_time() -> Duration {
    // SAFETY: `rusage` holds numbers only, for which zeroes are good, and outlives the call.
    let usage = unsafe {
        let mut usage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000))
        .iter()
        .sum()
}

/// What of this process is in memory, where the system tells.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

fn descriptors() -> usize {
    usize::try_from(tidemill::sys::descriptor_limit()).unwrap_or(usize::MAX)
}

/// `1 234 567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let gap = |index| if index > 0 && (digits.len() - index) % 3 == 0 { " " } else { "" };
    digits.char_indices().map(|(index, digit)| format!("{}{digit}", gap(index))).collect()
}

// The command line.

const HIDDEN: &str = "be-measured";
const DEFAULT_ADDRESS: &str = "127.0.0.1:7010";

const USAGE: &str = "blocking_model compare | blocking_model WAY [ADDRESS], where WAY is \
    one-at-a-time, threads, asking, readiness or tidemill";

enum Task {
    Compare,
    BeMeasured(Way),
    Serve(Way, String),
}

fn parse(mut words: lexopt::Parser) -> Result<Task, lexopt::Error> {
    use lexopt::prelude::*;
    let mut values = Vec::new();
    while let Some(word) = words.next()? {
        match word {
            Value(value) => values.push(value.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let way = |name: &str| {
        let found = WAYS.iter().find(|(it, _)| *it == name);
        found.map(|(_, way)| *way).ok_or_else(|| format!("no way is called {name:?}"))
    };
    match values[..] {
        ["compare"] => Ok(Task::Compare),
        [HIDDEN, name] => Ok(Task::BeMeasured(way(name)?)),
        [name] => Ok(Task::Serve(way(name)?, DEFAULT_ADDRESS.to_owned())),
        [name, address] => Ok(Task::Serve(way(name)?, address.to_owned())),
        _ => Err("which way?".into()),
    }
}

fn run(task: Task) -> Result<(), Box<dyn Error>> {
    match task {
        Task::Compare => compare(),
        Task::BeMeasured(way) => Ok(be_measured(way)?),
        Task::Serve(way, address) => {
            let listener =
                TcpListener::bind(&address).map_err(|error| format!("{address}: {error}"))?;
            writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
            Ok(way(listener)?)
        }
    }
}

fn main() -> ExitCode {
    match parse(lexopt::Parser::from_env()).map(run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(1, &error),
        Err(error) => fail(2, &format_args!("{error} (usage: {USAGE})")),
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("blocking_model: {error}");
    ExitCode::from(code)
}
