//! A reactor inside somebody else's loop: here poll(2) over the terminal and the reactor.
//!
//! ```text
//! cargo run --release --example embed
//! nc 127.0.0.1 7015                       # in other terminals, as often as you like
//! ```
//!
//! Lines typed into the example's own terminal go to every client, and what clients say is shown
//! there. A thread beside the loop tells them the time every ten seconds. Ctrl-D ends it.
//!
//! What to look at, for a loop of your own (a GUI's, a game's, a language runtime's):
//!
//! - The reactor is a value with a descriptor, which is readable when there is something to do.
//! - [`Reactor::next_deadline`] says how long it would sleep. Round it *up*, or the loop spins
//!   for the last millisecond.
//! - [`Reactor::turn`] with no time to wait does what there is to do, and comes back.
//! - Between turns [`Reactor::desk`] reaches all connections; other threads have a [`Handle`].

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use tidemill::codec::{Line, Lines};
use tidemill::sys::net::{describe, resolve};
use tidemill::{
    Address, Broadcast, Context, Fault, FrameHandler, Framed, Group, Handle, NetAddr, Reactor,
};

/// One client.
struct Visitor;

impl FrameHandler<Lines> for Visitor {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.join(ALL);
        cx.write(b"Welcome to a poll loop.\n");
        Ok(())
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
        writeln!(io::stdout(), "{}: {}", cx.peer(), line.text().escape_ascii())?;
        Ok(())
    }
}

/// Every client is in it.
const ALL: Group = Group(0);

fn serve(address: Address) -> Result<(), Box<dyn Error>> {
    let mut reactor: Reactor = Reactor::new()?;
    for address in resolve(&address)? {
        let (_, local) = reactor
            .listen(&address, |_: &NetAddr| Framed::new(Lines::default(), Visitor))
            .map_err(|error| format!("{address}: {}", describe(&error)))?;
        writeln!(io::stdout(), "listening on {local}")?;
    }
    let handle = reactor.handle().clone();
    thread::Builder::new().spawn(move || tell_the_time(&handle))?;

    let mut input = Some(io::stdin().lock());
    loop {
        if reactor.turn(Some(Duration::ZERO))?.is_stopped {
            return Ok(());
        }
        let terminal = input.as_ref().map(AsFd::as_fd);
        let wait = reactor.next_deadline();
        let [_, has_input] = poll([Some(reactor.as_fd()), terminal], wait)?;
        if let (Some(lines), true) = (&mut input, has_input) {
            let typed = lines.fill_buf()?; // one read, which poll has said will not block
            let typed_bytes = typed.len();
            if typed_bytes > 0 {
                reactor.desk().broadcast(&Broadcast::new(ALL, typed));
                lines.consume(typed_bytes);
            } else {
                input = None;
                reactor.shutdown(Duration::from_secs(2)); // the turns that follow carry it out
            }
        }
    }
}

/// The life of a thread that knows nothing of sockets.
fn tell_the_time(handle: &Handle) {
    for tens in 1_u64.. {
        thread::sleep(Duration::from_secs(10));
        let line = format!("* {} seconds, {} here\n", tens * 10, handle.connection_count());
        if handle.broadcast(Broadcast::new(ALL, line.into_bytes())).is_err() {
            return; // the reactor has ended
        }
    }
}

/// Waits until one of the descriptors has something to read, has ended, or the time has passed,
/// and says which of them have.
fn poll<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    wait: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| {
        let fd = fd.map_or(-1, |fd| fd.as_raw_fd()); // poll passes over negative ones
        libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
    });
    let millis = wait.map_or(-1, |wait| {
        libc::c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: `polled` has N entries and outlives the call.
    let answer = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, millis) };
    match answer {
        0.. => Ok(polled.map(|fd| fd.revents != 0)),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
            error => Err(error),
        },
    }
}

fn parse() -> Result<Address, lexopt::Error> {
    use lexopt::prelude::*;
    let mut address = Address::Inet(([127, 0, 0, 1], 7015).into());
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(value) => address = value.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(address)
}

fn main() -> ExitCode {
    env_logger::init();
    match parse().map(serve) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(1, &error),
        Err(error) => fail(2, &format_args!("{error} (usage: embed [ADDRESS])")),
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("embed: {error}");
    ExitCode::from(code)
}
