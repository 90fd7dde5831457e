//! A long answer in little memory: 1 GiB for everybody who connects, made as fast as it is read.
//!
//! ```text
//! cargo run --release --example stream                       # or: -- --bytes 10000000000 ADDRESS
//! nc -d 127.0.0.1 7012 | wc -c                               # python3 does as well as nc:
//! python3 -c 'import socket; s = socket.create_connection(("127.0.0.1", 7012)); \
//!     print(sum(iter(lambda: len(s.recv(1 << 20)), 0)))'
//! ```
//!
//! What to look at: `Stream::pump` writes until the outbox is full, and `on_drain` calls it again.
//! So a connection holds [`Limits::outbox_high_bytes`] and one piece at the most, whether its
//! client reads fast, slowly, or stops for a while; the peak that is printed shows it. Writing
//! without asking would end at [`Limits::outbox_max_bytes`].

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tidemill::{
    Address, CloseReason, Context, Fault, Limits, NetAddr, Server, StreamHandler, Time,
};

/// One connection.
struct Stream {
    /// What is sent again and again. All connections share it; none copies it.
    piece: Arc<[u8]>,
    left_bytes: u64,
    total_bytes: u64,
    since: Time,
}

impl StreamHandler for Stream {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.since = cx.now();
        self.pump(cx);
        Ok(())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.pump(cx);
        Ok(())
    }

    /// Nothing that the client says matters.
    fn on_bytes(&mut self, _cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        Ok(input.len())
    }

    /// A client that has nothing to say (`nc -N`, `< /dev/null`) still wants to read.
    fn on_eof(&mut self, _cx: &mut Context<'_>, _rest: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
        let seconds = cx.now().since(self.since).as_secs_f64();
        let made = self.total_bytes - self.left_bytes;
        let peak = peak_memory().unwrap_or_else(|| "unknown".to_owned());
        let line = format!(
            "{}: made {made} bytes in {seconds:.1} s, {why}; peak memory {peak}",
            cx.peer()
        );
        let _ = writeln!(io::stdout(), "{line}"); // whoever read it may have gone
    }
}

impl Stream {
    fn pump(&mut self, cx: &mut Context<'_>) {
        while self.left_bytes > 0 && !cx.is_full() {
            let piece_bytes = self.piece.len() as u64;
            if self.left_bytes >= piece_bytes {
                cx.write_shared(self.piece.clone());
                self.left_bytes -= piece_bytes;
            } else {
                cx.write(&self.piece[..self.left_bytes as usize]);
                self.left_bytes = 0;
            }
        }
        if self.left_bytes == 0 {
            cx.close(); // delivers first what is queued
        }
    }
}

/// The most that this process has held in memory so far, where the system tells.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().to_owned())
}

const PIECE_BYTES: usize = 64 * 1024;

struct Options {
    address: Address,
    total_bytes: u64,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let mut options =
            Options { address: Address::Inet(([127, 0, 0, 1], 7012).into()), total_bytes: 1 << 30 };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("bytes") => options.total_bytes = parser.value()?.parse()?,
                Value(address) => options.address = address.parse()?,
                other => return Err(other.unexpected()),
            }
        }
        Ok(options)
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let total_bytes = options.total_bytes;
    let piece: Arc<[u8]> = (0..PIECE_BYTES).map(|index| b'a' + (index % 26) as u8).collect();
    let server = Server::builder()
        // Clients here read and say nothing.
        .limits(Limits { first_byte: Duration::MAX, ..Limits::default() })
        .listen(options.address, move |_: &NetAddr| Stream {
            piece: piece.clone(),
            left_bytes: total_bytes,
            total_bytes,
            since: Time::ZERO,
        })
        .stop_on_signals(Duration::from_secs(2))
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
        Err(error) => fail(2, &format_args!("{error} (usage: stream [--bytes N] [ADDRESS])")),
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("stream: {error}");
    ExitCode::from(code)
}
