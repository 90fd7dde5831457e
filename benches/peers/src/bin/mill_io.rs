//! mill-io 4, with `new_low_latency`: handlers run in the loop's thread, not in a pool, which is
//! its fastest way for work as small as echoing.
//!
//! - Handlers read into one buffer of the thread, as the library has none to lend. (Its pool of
//!   buffers costs a lock and two moves.)
//! - Handlers must be `Sync`, but mio's streams can be read and written through a shared
//!   reference, and be deregistered by their descriptors: the stream needs no lock. The outbox has
//!   one, and is asked for only where a flag says that it holds something.
//! - Registered once for both directions; a short read has emptied the socket.
//! - The loop wakes up to look at its timers; a second is as seldom as is sensible.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mill_io::{EventHandler, EventLoop};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use peers::READ_BYTES;

fn main() {
    let events: &EventLoop =
        Box::leak(Box::new(EventLoop::new_low_latency(1024, 1000).expect("a loop")));
    let listener = TcpListener::from_std(peers::listener());
    let fd = listener.as_raw_fd();
    let token = events.alloc_token();
    let acceptor = Acceptor { events, listener };
    events.register(&mut SourceFd(&fd), token, Interest::READABLE, acceptor).expect("registered");
    events.run().expect("the loop");
}

struct Acceptor {
    events: &'static EventLoop,
    listener: TcpListener,
}

impl EventHandler for Acceptor {
    fn handle_event(&self, _event: &Event) {
        while let Ok((stream, _)) = self.listener.accept() {
            let (fd, token) = (stream.as_raw_fd(), self.events.alloc_token());
            let connection = Connection {
                events: self.events,
                token,
                fd,
                stream,
                outbox: Mutex::default(),
                has_more: AtomicBool::new(false),
            };
            let both = Interest::READABLE | Interest::WRITABLE;
            let _ = self.events.register(&mut SourceFd(&fd), token, both, connection);
        }
    }
}

struct Connection {
    events: &'static EventLoop,
    token: Token,
    fd: RawFd,
    stream: TcpStream,
    /// What the system did not take yet.
    outbox: Mutex<Vec<u8>>,
    has_more: AtomicBool,
}

impl EventHandler for Connection {
    fn handle_event(&self, event: &Event) {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
        }
        if BUFFER.with_borrow_mut(|buffer| self.serve(event, buffer)).is_err() {
            let _ = self.events.deregister(&mut SourceFd(&self.fd), self.token);
        }
    }
}

impl Connection {
    /// An error, the end included, ends the connection.
    fn serve(&self, event: &Event, buffer: &mut [u8]) -> io::Result<()> {
        if self.has_more.load(Relaxed) {
            self.flush()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        loop {
            let count = match (&self.stream).read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.write(&buffer[..count])?;
            if count < buffer.len() && !event.is_read_closed() {
                return Ok(());
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if !self.has_more.load(Relaxed) {
            sent = match (&self.stream).write(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
        }
        if sent < bytes.len() {
            self.outbox.lock().expect("no panics").extend_from_slice(&bytes[sent..]);
            self.has_more.store(true, Relaxed);
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut outbox = self.outbox.lock().expect("no panics");
        while !outbox.is_empty() {
            match (&self.stream).write(&outbox) {
                Ok(count) => drop(outbox.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.has_more.store(false, Relaxed);
        Ok(())
    }
}
