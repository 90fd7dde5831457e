//! A proxy: whatever comes in at one address goes out to another, and back, byte for byte.
//!
//! ```text
//! cargo run --release --example proxy -- 127.0.0.1:7014 127.0.0.1:7000
//! cargo run --release --example proxy -- unix:/tmp/door.sock example.org:80
//! ```
//!
//! What to look at: two connections, each with a [`Side`] for a handler, know one another's id.
//!
//! | what happens on one side | what is done to the other |
//! |---|---|
//! | bytes come | they are written to it |
//! | its outbox is full | this side is paused, and the network holds the sender back |
//! | it has drained | this side is resumed |
//! | the peer ends its direction | ours is ended there, behind the last byte; replies go on |
//! | it fails (reset, refused, timed out) | it is reset too: half an answer must not look whole |
//!
//! Once both directions have ended, both connections close by themselves. The directions do not
//! hold each other up: only a handler's own answers make its input wait, not what the other side
//! writes to it.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tidemill::{
    Address, CloseReason, ConnId, Context, Fault, Limits, NetAddr, Server, StreamHandler,
};

/// One of the two connections of a pair.
enum Side {
    /// A client that was just accepted. The connection to the target is still to be asked for.
    Accepted { target: Address },
    /// One end of a pair.
    Paired { other: ConnId },
}

impl StreamHandler for Side {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if let Side::Accepted { target } = self {
            // What the client sends until the connection is made waits in its outbox.
            let upstream = Side::Paired { other: cx.id() };
            let other = cx.connect(target.clone(), upstream)?;
            *self = Side::Paired { other };
        }
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        let Side::Paired { other } = *self else { unreachable!("it was paired when it opened") };
        cx.write_to(other, input)?;
        if cx.is_other_full(other)? {
            cx.pause(); // until the other side's `on_drain`
        }
        Ok(input.len())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if let Side::Paired { other } = *self {
            let _ = cx.resume_other(other); // gone is fine: it has sent everything it had
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _rest: &[u8]) -> Result<(), Fault> {
        if let Side::Paired { other } = *self {
            let _ = cx.finish_other(other); // gone is fine: then it has failed, and so shall we
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
        if let Side::Paired { other } = *self {
            if !why.is_clean() && cx.abort_other(other).is_ok() {
                log::info!("{}: {why}", cx.id());
            }
        }
    }
}

struct Options {
    threads: usize,
    listen: Address,
    target: Address,
}

impl Options {
    fn parse() -> Result<Options, lexopt::Error> {
        use lexopt::prelude::*;
        let (mut threads, mut addresses) = (1, Vec::new());
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("threads") => threads = parser.value()?.parse()?,
                Value(address) => addresses.push(address.parse()?),
                other => return Err(other.unexpected()),
            }
        }
        match <[Address; 2]>::try_from(addresses) {
            Ok([listen, target]) => Ok(Options { threads, listen, target }),
            Err(_) => Err("two addresses are needed".into()),
        }
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let target = options.target;
    let limits = Limits {
        first_byte: Duration::MAX, // it may be the target who speaks first
        ..Limits::default()
    };
    let server = Server::builder()
        .threads(options.threads)
        .limits(limits)
        .listen(options.listen, move |_: &NetAddr| Side::Accepted { target: target.clone() })
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
        Err(error) => fail(2, &format_args!("{error} (usage: proxy [--threads N] LISTEN TARGET)")),
    }
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    eprintln!("proxy: {error}");
    ExitCode::from(code)
}
