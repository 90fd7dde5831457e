//! Echo, lines and datagrams from one process.
//!
//! ```text
//! cargo run --release --example server
//! printf 'hello\n' | nc -N 127.0.0.1 7001
//! ```
//!
//! Once it serves it prints a line for each listener. At SIGINT or SIGTERM it delivers what is
//! queued, ends, and prints how that went. SIGUSR2 restarts it without a refused connection. With
//! `RUST_LOG=trace` the readiness model can be read as it happens.

#[path = "server/log_thread.rs"]
mod log_thread;
#[path = "server/options.rs"]
mod options;
#[path = "server/scrape.rs"]
mod scrape;
#[path = "server/succession.rs"]
mod succession;

use std::env;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use log_thread::LogThread;
use options::{Command, Kind, Options};
use succession::{Estate, Inheritance};
use tidemill::protocols::{DatagramEcho, Echo, LengthEcho, LineEcho};
use tidemill::server::{Bound, Builder, Running};
use tidemill::sys::{DatagramOptions, Inherited, ListenOptions};
use tidemill::{Counters, NetAddr, Report, Server};

fn main() -> ExitCode {
    let options = match options::parse(lexopt::Parser::from_env()) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Print(text)) => {
            say(text).wait();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(format_args!("{error} (see --help)"), 2),
    };
    let log = LogThread::start();
    let code = match serve(options) {
        Ok(report) => {
            say(format!("stopped: {report}")).wait();
            ExitCode::SUCCESS
        }
        Err(error) => fail(error, 1),
    };
    log.finish();
    code
}

fn serve(mut options: Options) -> Result<Report, Box<dyn Error>> {
    let program = env::current_exe()?; // another one may have this name by the time of a restart
    let mut inheritance = Inheritance::take(options.inherits)?;
    if inheritance.is_succession() {
        options.listings.clear();
        options.metrics = None;
    }
    let sockets = std::mem::take(&mut inheritance.sockets);
    let named = options.listings.iter().map(|(kind, _)| kind.name());
    let names: Vec<_> = named.chain(sockets.iter().map(|(kind, _)| kind.name())).collect();

    let mut server = builder(&options, sockets).bind()?;
    if let Some(access) = options.access() {
        server.handle().set_access(access);
    }
    let metrics = std::mem::take(&mut inheritance.metrics);
    let scrape = scrape::bind(options.metrics, metrics, server.handle().clone())?;
    let mut lines: Vec<String> =
        server.bound().iter().map(|bound| line(names[bound.listing], bound)).collect();
    let bound = scrape.iter().flat_map(|scrape| scrape.bound());
    lines.extend(bound.map(|bound| line("metrics", bound)));

    let handles = scrape.iter().map(Server::handle).chain([server.handle()]);
    let estate = Estate {
        program,
        names,
        sockets: server.handover()?,
        metrics: scrape.as_ref().map(Server::handover).transpose()?,
        handles: handles.cloned().collect(),
        patience: options.patience.unwrap_or(Duration::from_secs(60)),
        grace: options.grace,
    };
    estate.pass_on_at_signal()?;
    let _scrape = scrape.map(start_ready).transpose()?; // until the server has ended
    server.on_ready(move || {
        say(lines.join("\n")).wait();
        inheritance.tell_ready();
    });
    let handle = server.handle().clone();
    let report = server.run()?;
    let Counters { read_bytes, discarded_bytes, written_bytes, .. } = handle.metrics().counters;
    let taken_bytes = read_bytes - discarded_bytes;
    log::info!("{taken_bytes} bytes were taken, {written_bytes} written");
    Ok(report)
}

/// Starts a server, and waits until it serves.
fn start_ready(mut server: Server) -> io::Result<Running> {
    let (tell, is_ready) = mpsc::channel();
    server.on_ready(move || {
        let _ = tell.send(()); // it is awaited
    });
    let running = server.start()?;
    match is_ready.recv() {
        Ok(()) => Ok(running),
        // It cannot: it has ended, and says why.
        Err(_) => match running.join() {
            Ok(_) => Err(io::ErrorKind::Other.into()),
            Err(error) => Err(error),
        },
    }
}

fn builder(options: &Options, inherited: Vec<(Kind, Inherited)>) -> Builder {
    let patience = options.patience.unwrap_or(Duration::ZERO);
    let mut server = Server::builder()
        .threads(options.threads)
        .placement(options.placement)
        .limits(options.limits.clone())
        .busy_poll(options.busy_poll)
        .notify_manager()
        .wind_down_on_signals(patience, options.grace);
    if let Some(threshold) = options.watchdog {
        server = server.watchdog(threshold);
    }
    let unix_mode = options.unix_mode;
    let streams = ListenOptions { unix_mode, ..ListenOptions::default() };
    let datagrams = DatagramOptions { unix_mode, ..DatagramOptions::default() };
    for (kind, address) in &options.listings {
        let address = address.clone();
        server = match kind {
            Kind::Echo => server.listen_with(address, streams.clone(), |_: &NetAddr| Echo),
            Kind::Line => {
                server.listen_with(address, streams.clone(), |_: &NetAddr| LineEcho::framed())
            }
            Kind::Length => {
                server.listen_with(address, streams.clone(), |_: &NetAddr| LengthEcho::framed())
            }
            Kind::Udp => server.datagram_with(address, datagrams.clone(), DatagramEcho),
        };
    }
    for (kind, socket) in inherited {
        server = match kind {
            Kind::Echo => server.listen_on(socket, |_: &NetAddr| Echo),
            Kind::Line => server.listen_on(socket, |_: &NetAddr| LineEcho::framed()),
            Kind::Length => server.listen_on(socket, |_: &NetAddr| LengthEcho::framed()),
            Kind::Udp => server.datagram_on(socket, DatagramEcho),
        };
    }
    server
}

/// `listening echo tcp 127.0.0.1:7000`
fn line(kind: &str, bound: &Bound) -> String {
    let inet = if kind == "udp" { "udp" } else { "tcp" };
    let transport = if bound.address.inet().is_some() { inet } else { "unix" };
    format!("listening {kind} {transport} {}", bound.address)
}

fn fail(error: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "server: {error}"); // nobody may be listening
    ExitCode::from(code)
}

/// Text on its way to standard output.
struct Said(Receiver<()>);

/// Prints in a thread of its own: where standard output is a pipe that nobody reads, the text
/// waits, and the server does not. Where no thread can be had, it does.
fn say(text: String) -> Said {
    let (done, said) = mpsc::channel();
    let print = |text: String| {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush()); // it may be closed
    };
    let copy = text.clone();
    let print_and_tell = move || {
        print(copy);
        let _ = done.send(()); // who waits does so for a moment only
    };
    if thread::Builder::new().name("stdout".to_owned()).spawn(print_and_tell).is_err() {
        print(text);
    }
    Said(said)
}

impl Said {
    /// Waits until it is printed, but not for long.
    fn wait(self) {
        match self.0.recv_timeout(Duration::from_secs(1)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => log::warn!("nobody reads standard output"),
        }
    }
}
