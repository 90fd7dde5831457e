//! **F**, the floor: the least that a library like ours cannot do without, over mio. A slab that
//! keeps connections by their tokens, a boxed handler for each, so that users can bring their own,
//! and an outbox with a bound, so that a client that does not read harms only itself. There are no
//! deadlines, budgets, fairness, threads or orderly ends: what those cost is the rest of the way
//! to tidemill.
//!
//! Registered once for both directions, edge-triggered as mio is; a short read has emptied the
//! socket; an answer is written straight from the buffer that was read into.

use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use peers::READ_BYTES;
use slab::Slab;

struct Connection {
    stream: TcpStream,
    handler: Box<dyn Handler>,
    /// What the system did not take yet.
    outbox: Vec<u8>,
}

trait Handler {
    fn on_bytes(&mut self, output: &mut Output<'_>, input: &[u8]);
}

/// The way of answers: the socket, and what waits before it.
struct Output<'a> {
    stream: &'a mut TcpStream,
    outbox: &'a mut Vec<u8>,
}

struct Echo;

impl Handler for Echo {
    fn on_bytes(&mut self, output: &mut Output<'_>, input: &[u8]) {
        output.write(input);
    }
}

impl Output<'_> {
    fn write(&mut self, bytes: &[u8]) {
        let mut sent = 0;
        if self.outbox.is_empty() {
            sent = self.stream.write(bytes).unwrap_or(0); // trouble is told by the next read
        }
        if sent < bytes.len() {
            self.outbox.extend_from_slice(&bytes[sent..]);
        }
    }
}

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(peers::listener());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Slab::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, poll.registry(), &mut connections)?;
                continue;
            }
            let key = event.token().0;
            let Some(connection) = connections.get_mut(key) else { continue };
            if connection.serve(event, &mut buffer).is_err() {
                connections.remove(key);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    registry: &Registry,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        let entry = connections.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(entry.key()), both)?;
        entry.insert(Connection { stream, handler: Box::new(Echo), outbox: Vec::new() });
    }
    Ok(())
}

impl Connection {
    /// An error, the end included, ends the connection.
    fn serve(&mut self, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if !event.is_readable() {
            return Ok(());
        }
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut output = Output { stream: &mut self.stream, outbox: &mut self.outbox };
            self.handler.on_bytes(&mut output, &buffer[..count]);
            if self.outbox.len() > OUTBOX_BYTES_MAX {
                return Err(ErrorKind::OutOfMemory.into());
            }
            if count < buffer.len() && !event.is_read_closed() {
                return Ok(());
            }
        }
    }
}

const LISTENER: Token = Token(usize::MAX);
const OUTBOX_BYTES_MAX: usize = 16 << 20;
