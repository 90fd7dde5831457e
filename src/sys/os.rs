//! The operating system as a [`Platform`]: polling by mio, which is named here and nowhere else.
//!
//! Made for epoll and kqueue, whose sources need no bookkeeping of their own: so sockets are
//! plain descriptors, and mio opens the poller, wakes, and lets go of them. It waits and watches,
//! too, where `os/epoll.rs` does not.

#[cfg_attr(all(target_os = "linux", target_pointer_width = "64"), path = "os/epoll.rs")]
mod events;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Poll};

use self::events::Events;
use crate::base::address::{Address, NetAddr};
use crate::base::id::ConnId;
use crate::base::time::{Time, Timeout};
use crate::sys::endpoint::{OsDatagram, OsListener};
use crate::sys::look_up::LookUps;
use crate::sys::net::{self, DatagramOptions, ListenOptions, StreamOptions};
use crate::sys::stream::OsStream;
use crate::sys::{
    Edge, Platform, ReceiveBatch, Received, SendQueue, Socket, Token, Wake, many, raw, socket,
};

/// The operating system.
///
/// Its poll descriptor (`AsFd`) becomes readable when [`wait`](Platform::wait) has something to
/// tell, so it can be watched by somebody else's loop.
///
/// Descriptors that are adopted share their O_NONBLOCK flag with every duplicate, in other
/// processes too: adopting standard input changes the terminal for the shell as well.
pub struct Os {
    poll: Poll,
    events: Events,
    waker: Arc<OsWaker>,
    look_ups: LookUps,
    send_headers: many::SendHeaders,
    /// Whom it accepted last.
    peer_name: socket::PeerName,
    /// How long a wait asks again and again before it sleeps.
    busy_poll: Timeout,
    /// When its clock began, by the system's.
    start: u64,
}

impl Os {
    /// Opens a poller. Its clock starts now.
    ///
    /// # Errors
    /// Descriptors have run out.
    pub fn new() -> io::Result<Os> {
        let poll = Poll::new()?;
        let waker = Arc::new(OsWaker(mio::Waker::new(poll.registry(), WAKER)?));
        let look_ups = LookUps::new(net::look_up, Arc::clone(&waker) as Arc<dyn Wake>);
        let events = Events::new();
        let send_headers = many::SendHeaders::default();
        let peer_name = socket::PeerName::new();
        let (busy_poll, start) = (Timeout::ZERO, raw::monotonic_nanos());
        Ok(Os { poll, events, waker, look_ups, send_headers, peer_name, busy_poll, start })
    }

    /// Has [`wait`](Platform::wait) ask for so long before it sleeps; zero, the default, is off.
    pub fn set_busy_poll(&mut self, busy_poll: Duration) {
        self.busy_poll = Some(busy_poll).into();
    }

    /// Asks without sleeping for a while before it sleeps.
    #[inline(never)]
    fn poll_busily(&mut self, timeout: Timeout) -> io::Result<()> {
        let mut now = self.now();
        let (until, busy_until) = (timeout.end(now), self.busy_poll.end(now));
        self.events.clear();
        while self.events.len() == 0 && now < until.min(busy_until) {
            self.events.poll(&mut self.poll, Timeout::ZERO)?;
            now = self.now();
        }
        match self.events.len() {
            0 => self.events.poll(&mut self.poll, Timeout::between(now, until)),
            _ => Ok(()),
        }
    }

    #[inline(never)] // for that of TCP connections to be small
    fn register_other(&self, stream: &OsStream, token: Token) -> io::Result<()> {
        self.register(stream, token, other_interest(stream))
    }

    fn register(&self, socket: &impl Socket, token: Token, interest: Interest) -> io::Result<()> {
        let fd = socket.fd().expect("open until it is finished or closed");
        events::register(&self.poll, fd, pack(token), interest)
    }

    /// Has an edge follow once a socket that is full has room again. Room is not watched all the
    /// time, as every datagram that leaves makes some: on the loopback each batch of answers would
    /// be followed by a turn about nothing. (Until it has sent something, a socket counts as full.)
    ///
    /// Where that fails, an answer that something was sent stays what it is: the socket is watched
    /// for too much, or will be asked again. Where nothing was, no edge would follow, and the
    /// error is the answer.
    fn watch_room<T>(
        &self,
        socket: &mut OsDatagram,
        is_full: bool,
        outcome: io::Result<T>,
    ) -> io::Result<T> {
        let Some(token) = socket.token.filter(|_| socket.is_full != is_full) else {
            return outcome;
        };
        let interest = if is_full { BOTH } else { Interest::READABLE };
        let fd = socket.fd().expect("it is open").as_raw_fd();
        match self.poll.registry().reregister(&mut SourceFd(&fd), pack(token), interest) {
            Ok(()) => socket.is_full = is_full,
            Err(error) if is_full => return Err(error),
            Err(_) => {}
        }
        outcome
    }

    /// A descriptor that is closed leaves the poller by itself, but not while a duplicate of it
    /// is open somewhere: then its events would go on, under a token that may be another's by
    /// then.
    fn deregister(&self, fd: BorrowedFd<'_>) {
        // It fails for one that was never registered, which is just as well.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
    }

    /// Regular files, directories and some devices cannot be watched on Linux (EPERM). This finds
    /// out before anybody relies on it.
    fn probe(&self, stream: &OsStream) -> io::Result<()> {
        match self.register_other(stream, Token::Connection(0)) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let wrong = "a file of this kind cannot be watched, only read and written";
                Err(io::Error::new(io::ErrorKind::Unsupported, wrong))
            }
            outcome => outcome.map(|()| stream.fd().into_iter().for_each(|fd| self.deregister(fd))),
        }
    }
}

impl Platform for Os {
    type Stream = OsStream;
    type Listener = OsListener;
    type Datagram = OsDatagram;

    #[inline]
    fn now(&self) -> Time {
        Time::from_nanos(raw::monotonic_nanos() - self.start)
    }

    #[inline]
    fn wait(&mut self, timeout: Timeout) -> io::Result<usize> {
        let is_busy = self.busy_poll != Timeout::ZERO && timeout != Timeout::ZERO;
        let outcome = match is_busy {
            false => self.events.poll(&mut self.poll, timeout),
            true => self.poll_busily(timeout),
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            outcome => outcome.map(|()| self.events.len()),
        }
    }

    #[inline(always)] // on the way of every request
    fn edge(&self, index: usize) -> Edge {
        Edge { token: unpack(self.events.token(index)), ready: self.events.ready(index) }
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<OsListener> {
        OsListener::listen(address, options)
    }

    fn bind_datagram(
        &mut self,
        address: &Address,
        options: &DatagramOptions,
    ) -> io::Result<OsDatagram> {
        OsDatagram::bind(address, options)
    }

    fn connect(&mut self, address: &Address, options: &StreamOptions) -> io::Result<OsStream> {
        let (socket, is_tcp) = net::connect(address, options)?;
        Ok(OsStream::new(socket, is_tcp))
    }

    fn adopt_stream(&mut self, fd: OwnedFd) -> io::Result<OsStream> {
        let stream = OsStream::adopt(fd)?;
        if !stream.is_socket() {
            self.probe(&stream)?;
        }
        Ok(stream)
    }

    fn adopt_listener(&mut self, fd: OwnedFd) -> io::Result<OsListener> {
        OsListener::adopt(fd)
    }

    fn adopt_datagram(&mut self, fd: OwnedFd) -> io::Result<OsDatagram> {
        OsDatagram::adopt(fd)
    }

    #[inline]
    fn register_stream(&mut self, stream: &mut OsStream, token: Token) -> io::Result<()> {
        match stream.as_tcp() {
            Some(fd) => events::register(&self.poll, fd, pack(token), TCP),
            None => self.register_other(stream, token),
        }
    }

    fn register_listener(&mut self, listener: &mut OsListener, token: Token) -> io::Result<()> {
        self.register(listener, token, Interest::READABLE)
    }

    fn register_datagram(&mut self, socket: &mut OsDatagram, token: Token) -> io::Result<()> {
        self.register(socket, token, BOTH)?;
        (socket.token, socket.is_full) = (Some(token), true);
        Ok(())
    }

    #[inline(always)] // on the way of every connection
    fn accept(&mut self, listener: &mut OsListener, peer: &mut NetAddr) -> io::Result<OsStream> {
        listener.accept(&mut self.peer_name, peer)
    }

    fn connected(&mut self, stream: &mut OsStream) -> io::Result<NetAddr> {
        stream.connected()
    }

    #[inline(always)] // on the way of every request
    fn read(&mut self, stream: &mut OsStream, into: &mut [u8]) -> io::Result<usize> {
        stream.read(into)
    }

    #[inline]
    fn short_read_drains(&self, stream: &OsStream) -> bool {
        SHORT_TCP_READ_DRAINS && stream.is_tcp()
    }

    #[inline(always)] // on the way of every answer, as are those that it calls
    fn write(&mut self, stream: &mut OsStream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.write(bytes)
    }

    fn finish(&mut self, stream: &mut OsStream) -> io::Result<()> {
        if let Some(file) = stream.finish()? {
            self.deregister(file.as_fd());
        }
        Ok(())
    }

    #[inline(always)] // on the way of every connection
    fn close(&mut self, stream: OsStream) {
        if let Err(adopted) = stream.close_own() {
            adopted.fd().into_iter().for_each(|fd| self.deregister(fd));
        }
    }

    fn abort(&mut self, stream: OsStream) {
        // Where it fails, the peer learns of the end in the ordinary way.
        let _ = stream.reset_on_close();
        self.close(stream);
    }

    fn close_listener(&mut self, listener: OsListener) {
        listener.fd().into_iter().for_each(|fd| self.deregister(fd));
    }

    fn close_datagram(&mut self, socket: OsDatagram) {
        socket.fd().into_iter().for_each(|fd| self.deregister(fd));
    }

    fn receive(&mut self, socket: &mut OsDatagram, into: &mut [u8]) -> io::Result<Received> {
        socket.receive(into)
    }

    fn send(&mut self, socket: &mut OsDatagram, payload: &[u8], to: &NetAddr) -> io::Result<()> {
        let outcome = socket.send(payload, to);
        self.watch_room(socket, is_would_block(&outcome), outcome)
    }

    fn receive_batch(
        &mut self,
        socket: &mut OsDatagram,
        max: usize,
        batch: &mut ReceiveBatch,
    ) -> io::Result<bool> {
        socket.receive_batch(max, batch)
    }

    fn send_queued(&mut self, socket: &mut OsDatagram, queue: &mut SendQueue) -> io::Result<usize> {
        let outcome = socket.send_queued(&mut self.send_headers, queue);
        let is_full = is_would_block(&outcome);
        if is_full == socket.is_full || (socket.is_full && !queue.is_empty()) {
            return outcome;
        }
        self.watch_room(socket, is_full, outcome)
    }

    fn look_up(&mut self, id: ConnId, name: &str, port: u16) -> io::Result<()> {
        self.look_ups.start(id, name, port)
    }

    #[inline]
    fn next_look_up(&mut self) -> Option<(ConnId, io::Result<Vec<SocketAddr>>)> {
        self.look_ups.next()
    }
}

impl AsFd for Os {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

impl AsRawFd for Os {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

struct OsWaker(mio::Waker);

impl Wake for OsWaker {
    fn wake(&self) {
        // There is no remedy: it fails only when the poller itself is broken.
        let _ = self.0.wake();
    }
}

fn is_would_block<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// What to ask for of a stream that is no TCP connection.
fn other_interest(stream: &OsStream) -> Interest {
    match (stream.can_read(), stream.can_write()) {
        (_, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (true, true) => BOTH,
    }
}

fn pack(token: Token) -> mio::Token {
    let (index, flag) = match token {
        Token::Connection(index) => (index, 0),
        Token::Endpoint(index) => (index, ENDPOINT),
    };
    let index = index as usize;
    assert!(index < INDEX_MAX, "a place beyond what a token holds");
    mio::Token(index | flag)
}

/// [`Token::NOBODY`] for [`WAKER`].
#[inline(always)]
fn unpack(token: mio::Token) -> Token {
    let index = (token.0 & !ENDPOINT) as u32;
    match token {
        _ if token.0 & ENDPOINT == 0 => Token::Connection(index),
        WAKER => Token::NOBODY,
        _ => Token::Endpoint(index),
    }
}

/// How many events one call takes from the system; what is left over comes with the next.
const EVENTS_MAX: usize = 1024;

/// On Linux a TCP read that did not fill its buffer found the queue empty, but for urgent data and
/// the end, and those two come with flags of their own. Unix sockets also stop at passed
/// descriptors; other systems promise nothing.
const SHORT_TCP_READ_DRAINS: bool = cfg!(any(target_os = "linux", target_os = "android"));

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Urgent data is not wanted, but a short read that stopped at it must be told apart.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TCP: Interest = BOTH.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const TCP: Interest = BOTH;

/// As an endpoint's it would be beyond [`INDEX_MAX`].
const WAKER: mio::Token = mio::Token(usize::MAX);
/// The bit that tells an endpoint's token from a connection's.
const ENDPOINT: usize = 1 << (usize::BITS - 1);
/// The first index that would not fit, or be taken for [`WAKER`].
const INDEX_MAX: usize = ENDPOINT - 1;

#[cfg(test)]
mod tests;
