//! A small load for an echo server, to count and to compare: every byte that comes back is
//! checked.
//!
//! ```text
//! cargo run --release --example server &
//! cargo run --release --example load -- echo 127.0.0.1:7000 --connections 64 --rounds 10000
//! cargo run --release --example load -- short 127.0.0.1:7000 --rounds 10000
//! cargo run --release --example load -- idle 127.0.0.1:7000 --connections 10000 --pid $!
//! ```
//!
//! It works in rounds: `echo` sends a message on every connection, then reads all the answers;
//! `short` connects, has one byte echoed on each connection, and closes; `idle` has one byte
//! echoed on each, and holds them. So a server finds many connections ready at once, as a busy
//! one does; latencies are not measured.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "\
Usage: load echo|short|idle ADDR [OPTION]...

  --connections N   at once (default 64)
  --rounds N        how often every connection is served (default 1000; idle: once)
  --size BYTES      of a message, for echo (default 64)
  --depth N         messages sent before their answers are read, for echo (default 1)
  --pid PID         of the server: also tell what memory the connections cost, for idle";

struct Options {
    mode: Mode,
    address: SocketAddr,
    connections: usize,
    rounds: usize,
    size: usize,
    depth: usize,
    pid: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Echo,
    Short,
    Idle,
}

fn main() -> ExitCode {
    let options = match parse(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(error, 2),
    };
    let outcome = match options.mode {
        Mode::Echo => echo(&options),
        Mode::Short => short(&options),
        Mode::Idle => idle(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format!("{}: {error}", options.address), 1),
    }
}

fn echo(options: &Options) -> io::Result<()> {
    let mut streams = connect_all(options)?;
    let sent: Vec<u8> = (0..options.size * options.depth)
        .map(|at| if (at + 1) % options.size == 0 { b'\n' } else { b'a' + (at % 26) as u8 })
        .collect();
    let mut came = vec![0; sent.len()];
    let start = Instant::now();
    for _ in 0..options.rounds {
        for stream in &mut streams {
            stream.write_all(&sent)?;
        }
        for stream in &mut streams {
            stream.read_exact(&mut came)?;
            check(&came, &sent)?;
        }
    }
    tell("messages", options.rounds * options.connections * options.depth, start.elapsed());
    Ok(())
}

fn short(options: &Options) -> io::Result<()> {
    let start = Instant::now();
    for _ in 0..options.rounds {
        let mut streams = connect_all(options)?;
        for stream in &mut streams {
            stream.write_all(b"x")?;
        }
        for stream in &mut streams {
            one_byte(stream)?;
            stream.shutdown(Shutdown::Write)?;
        }
        for stream in &mut streams {
            let rest = stream.read(&mut [0])?;
            if rest > 0 {
                return Err(wrong("more came back than was sent"));
            }
        }
    }
    tell("connections", options.rounds * options.connections, start.elapsed());
    Ok(())
}

fn idle(options: &Options) -> io::Result<()> {
    let before = options.pid.map(resident_bytes).transpose()?;
    let mut streams = connect_all(options)?;
    for stream in &mut streams {
        stream.write_all(b"x")?;
        one_byte(stream)?;
    }
    println!("{} connections are open", streams.len());
    if let (Some(pid), Some(before)) = (options.pid, before) {
        let grown = resident_bytes(pid)?.saturating_sub(before);
        let each = grown as f64 / streams.len() as f64;
        println!("{grown} bytes of memory more, {each:.1} for each connection");
    }
    Ok(())
}

fn connect_all(options: &Options) -> io::Result<Vec<TcpStream>> {
    (0..options.connections)
        .map(|_| {
            let stream = TcpStream::connect(options.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
        .collect()
}

fn one_byte(stream: &mut TcpStream) -> io::Result<()> {
    let mut came = [0];
    stream.read_exact(&mut came)?;
    check(&came, b"x")
}

fn check(came: &[u8], sent: &[u8]) -> io::Result<()> {
    if came == sent { Ok(()) } else { Err(wrong("what came back is not what was sent")) }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn tell(what: &str, count: usize, took: Duration) {
    let rate = count as f64 / took.as_secs_f64();
    println!("{count} {what} in {:.3} s: {rate:.0} a second", took.as_secs_f64());
}

/// The resident memory of a process (proc(5), VmRSS).
fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| wrong("no VmRSS in the status of the process"))
}

fn parse(mut parser: lexopt::Parser) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::*;

    let (mut mode, mut address) = (None, None);
    let (mut connections, mut rounds, mut size, mut depth, mut pid) = (64, 1000, 64, 1, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(text) if mode.is_none() => {
                mode = Some(match text.to_str() {
                    Some("echo") => Mode::Echo,
                    Some("short") => Mode::Short,
                    Some("idle") => Mode::Idle,
                    _ => return Err("not echo, short or idle".into()),
                });
            }
            Value(text) if address.is_none() => {
                let text = text.string()?;
                let found = text.to_socket_addrs().ok().and_then(|mut all| all.next());
                address = Some(found.ok_or(format!("{text}: no such address"))?);
            }
            Long("connections") => connections = count(&mut parser, "--connections")?,
            Long("rounds") => rounds = count(&mut parser, "--rounds")?,
            Long("size") => size = count(&mut parser, "--size")?,
            Long("depth") => depth = count(&mut parser, "--depth")?,
            Long("pid") => pid = Some(parser.value()?.parse()?),
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let mode = mode.ok_or("no mode: echo, short or idle")?;
    let address = address.ok_or("no address")?;
    // More would fill both sides' buffers before anybody reads an answer.
    if size.saturating_mul(depth) > IN_FLIGHT_MOST {
        return Err(format!("--size times --depth: above {IN_FLIGHT_MOST}").into());
    }
    Ok(Some(Options { mode, address, connections, rounds, size, depth, pid }))
}

fn count(parser: &mut lexopt::Parser, option: &str) -> Result<usize, lexopt::Error> {
    use lexopt::ValueExt;

    let count: usize = parser.value()?.parse()?;
    let is_fine = (1..=1_000_000_000).contains(&count);
    if is_fine { Ok(count) } else { Err(format!("{option}: not from 1 to 1000000000").into()) }
}

fn fail(error: impl Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "load: {error}"); // nobody may be listening
    ExitCode::from(code)
}

/// A server that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const IN_FLIGHT_MOST: usize = 128 * 1024;
