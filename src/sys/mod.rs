//! Floor 1: the world as traits, and the one that is real.
//!
//! [`Platform`] is everything that a reactor asks of the world: a clock, a way to sleep until
//! something may have changed, and non-blocking sockets. [`Os`] answers with mio; a simulation
//! answers with pipes in memory and a clock of its own.

mod batch;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod cmsg;
mod descriptors;
mod endpoint;
pub mod errors;
mod inherited;
mod look_up;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod mmsg;
pub mod net;
mod notify;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod one_by_one;
mod os;
pub(crate) mod pass_on;
mod raw;
mod send_queue;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod sockaddr;
mod socket;
mod stream;
#[cfg(test)]
pub(crate) mod temp_dir;
mod unix_path;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

pub use batch::{Apart, Arrivals, Arrived, Joined, Payloads, ReceiveBatch, SLOT_BYTES_MAX};
pub use descriptors::descriptor_count;
pub use endpoint::{OsDatagram, OsListener};
pub use inherited::{Inherited, InheritedKind, inherited};
pub use net::{DatagramOptions, ListenOptions, StreamOptions};
pub use notify::notify;
pub use os::Os;
pub use pass_on::successor;
pub use raw::descriptor_limit;
#[cfg(feature = "signals")]
pub(crate) use raw::is_signal_default;
pub use send_queue::{Run, SendQueue};
pub(crate) use socket::local_addr;
pub use stream::OsStream;

#[cfg(any(target_os = "linux", target_os = "android"))]
use self::mmsg as many;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use self::one_by_one as many;
use crate::base::address::{Address, NetAddr};
use crate::base::id::ConnId;
use crate::base::time::{Time, Timeout};

/// What a platform must provide.
///
/// The contract is mio's, written down so that a simulation can be as unkind as it allows:
///
/// - Sockets never block: a call that would wait answers [`io::ErrorKind::WouldBlock`].
/// - A registered socket is watched in both directions, for its whole life, by *edges*. An edge
///   promises nothing (it may be late, doubled, or about something that has passed); but after a
///   call answered `WouldBlock`, an edge follows once that direction is worth trying again. A
///   fresh registration counts as such a call, but for sending datagrams, which is tried first.
/// - Errors carry the system's numbers (`io::Error::raw_os_error`), which [`errors`] sorts.
pub trait Platform: 'static {
    /// A connected stream of bytes.
    type Stream: Socket + Send;
    /// A socket that accepts streams.
    type Listener: Socket + Send;
    /// A socket that carries datagrams.
    type Datagram: Socket + Send;

    /// The clock.
    fn now(&self) -> Time;

    /// Waits until there is an edge, `timeout` has passed, or a waker was used, which is an edge of
    /// [nobody](Token::NOBODY). Answers how many may be asked for by [`edge`](Platform::edge).
    /// Returning early, with nothing, is allowed.
    fn wait(&mut self, timeout: Timeout) -> io::Result<usize>;
    /// One of the edges that the last [`wait`](Platform::wait) has found, by its index.
    fn edge(&self, index: usize) -> Edge;

    /// What ends a [`wait`](Platform::wait) from another thread.
    fn waker(&self) -> Arc<dyn Wake>;

    /// Binds and listens, but does not register. `address` is not a host name.
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<Self::Listener>;
    /// Binds a datagram socket, but does not register it. `address` is not a host name.
    fn bind_datagram(
        &mut self,
        address: &Address,
        options: &DatagramOptions,
    ) -> io::Result<Self::Datagram>;
    /// Starts to connect; whether it worked is told by [`connected`](Platform::connected) after
    /// an edge. `address` is not a host name. A Unix socket whose listener's queue is full answers
    /// `WouldBlock`: there is no stream then, and nothing to wait for but time.
    fn connect(&mut self, address: &Address, options: &StreamOptions) -> io::Result<Self::Stream>;

    /// Takes over a connected stream, an end of a pipe, a serial line, or whatever else can be
    /// polled (regular files cannot). It becomes non-blocking, as does every duplicate of it.
    fn adopt_stream(&mut self, fd: OwnedFd) -> io::Result<Self::Stream>;
    /// Takes over a listening socket.
    fn adopt_listener(&mut self, fd: OwnedFd) -> io::Result<Self::Listener>;
    /// Takes over a bound datagram socket.
    fn adopt_datagram(&mut self, fd: OwnedFd) -> io::Result<Self::Datagram>;

    /// Watches a stream. Fails only for want of memory or watches.
    fn register_stream(&mut self, stream: &mut Self::Stream, token: Token) -> io::Result<()>;
    /// Watches a listener.
    fn register_listener(&mut self, listener: &mut Self::Listener, token: Token) -> io::Result<()>;
    /// Watches a datagram socket.
    fn register_datagram(&mut self, socket: &mut Self::Datagram, token: Token) -> io::Result<()>;

    /// Takes one connection off the queue: a stream that is not yet registered. `peer` becomes the
    /// address of its peer.
    fn accept(
        &mut self,
        listener: &mut Self::Listener,
        peer: &mut NetAddr,
    ) -> io::Result<Self::Stream>;
    /// Asks how a connection that was started stands: the peer's address once it is made,
    /// `WouldBlock` while it is not, and otherwise why it failed.
    fn connected(&mut self, stream: &mut Self::Stream) -> io::Result<NetAddr>;

    /// Reads some bytes; 0 is the end of the peer's stream. The write end of a pipe has nothing
    /// to read and answers `WouldBlock`, until it is finished.
    fn read(&mut self, stream: &mut Self::Stream, into: &mut [u8]) -> io::Result<usize>;
    /// Whether a read that did not fill its buffer has left nothing behind, so that the one
    /// which would only learn `WouldBlock` can be spared. Holds only where no edge since the last
    /// `WouldBlock` had [`Readiness::READ_CLOSED`], [`Readiness::PRIORITY`] or
    /// [`Readiness::ERROR`]. `false` is always right.
    fn short_read_drains(&self, stream: &Self::Stream) -> bool;
    /// Writes some of the bytes.
    fn write(&mut self, stream: &mut Self::Stream, bytes: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Ends our direction of the stream (sends FIN); the peer's stays open. The write end of a
    /// pipe has no other: its [`read`](Platform::read) answers 0 from now on, which no edge tells.
    fn finish(&mut self, stream: &mut Self::Stream) -> io::Result<()>;
    /// Closes. The system still delivers what it took; unread input makes it reset instead.
    fn close(&mut self, stream: Self::Stream);
    /// Closes at once, and tells the peer so by a reset where the transport has one.
    fn abort(&mut self, stream: Self::Stream);

    /// Stops listening and closes.
    fn close_listener(&mut self, listener: Self::Listener);
    /// Closes.
    fn close_datagram(&mut self, socket: Self::Datagram);

    /// Receives one datagram.
    fn receive(&mut self, socket: &mut Self::Datagram, into: &mut [u8]) -> io::Result<Received>;
    /// Sends one datagram, whole or not at all; `WouldBlock` only if an edge will follow.
    fn send(&mut self, socket: &mut Self::Datagram, payload: &[u8], to: &NetAddr)
    -> io::Result<()>;

    /// Receives datagrams into an empty batch, at most `max` and at least one, and answers whether
    /// there may be more; after `false` an edge follows as after `WouldBlock`.
    ///
    /// One at a time, where the platform has no better way.
    fn receive_batch(
        &mut self,
        socket: &mut Self::Datagram,
        max: usize,
        batch: &mut ReceiveBatch,
    ) -> io::Result<bool> {
        debug_assert!(max > 0);
        batch.fill(|slot| self.receive(socket, slot))?;
        Ok(true)
    }
    /// Sends datagrams from the front of a queue that is not empty, takes them out, and answers
    /// how many they were: at least one. An error is about the one in front, which stays.
    ///
    /// One at a time, from an address of the system's choice, where the platform has no better
    /// way.
    fn send_queued(
        &mut self,
        socket: &mut Self::Datagram,
        queue: &mut SendQueue,
    ) -> io::Result<usize> {
        let Some((to, _, payload)) = queue.front() else { return Ok(0) };
        self.send(socket, payload, to)?;
        queue.discard(1);
        Ok(1)
    }

    /// Starts to look up a host name without blocking; the answer is handed out by
    /// [`next_look_up`](Platform::next_look_up) after a `wait`, and ends that `wait`.
    ///
    /// # Errors
    /// Too many are under way.
    fn look_up(&mut self, id: ConnId, name: &str, port: u16) -> io::Result<()>;
    /// One look-up that has come to an end.
    fn next_look_up(&mut self) -> Option<(ConnId, io::Result<Vec<SocketAddr>>)>;
}

/// What a handler may ask of a socket of any kind.
pub trait Socket {
    /// Our own end's address (getsockname(2)).
    ///
    /// # Errors
    /// Those of the system.
    fn local_addr(&self) -> io::Result<NetAddr>;

    /// The descriptor, for options that have no method of their own; `None` in a simulation.
    /// Reading, writing or closing it behind the reactor's back loses what the handler was
    /// promised.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Ends a [`Platform::wait`] from another thread.
pub trait Wake: Send + Sync {
    /// Makes the current or the next `wait` return. Many calls may count as one.
    fn wake(&self);
}

/// One datagram's outer facts; its bytes are in the buffer that it was received into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// How many bytes of it fit into the buffer.
    pub len: usize,
    /// Who sent it.
    pub from: NetAddr,
    /// Whether it was longer than the buffer, and the rest is lost.
    pub truncated: bool,
}

/// Whom an edge is about: the name that a socket was registered under.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Token {
    /// The connection in this place of the table.
    Connection(u32),
    /// The listener or datagram socket in this place of its table.
    Endpoint(u32),
}

impl Token {
    /// Names no socket: the edge is a waker's.
    pub const NOBODY: Token = Token::Endpoint(u32::MAX);
}

/// News that a socket may have become ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edge {
    /// Whom it is about.
    pub token: Token,
    /// What may have changed.
    pub ready: Readiness,
}

/// What an edge says, as a set of flags. Only the first two can be relied on everywhere.
//
// The numbers of those that Linux has too are the same there.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// Reading is worth trying.
    pub const READABLE: Readiness = Readiness(1);
    /// Writing is worth trying.
    pub const WRITABLE: Readiness = Readiness(4);
    /// The peer has ended its direction.
    pub const READ_CLOSED: Readiness = Readiness(32);
    /// Our direction is closed.
    pub const WRITE_CLOSED: Readiness = Readiness(64);
    /// The connection has failed (a reset, for one).
    pub const ERROR: Readiness = Readiness(8);
    /// There is urgent data.
    pub const PRIORITY: Readiness = Readiness(2);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Readiness) -> Readiness {
        Readiness(self.0 | other.0)
    }

    /// The flags of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    /// The set as a number.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// The set that has this number.
    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Readiness {
        Readiness(bits)
    }

    /// Whether any flag of `other` is set.
    pub const fn has(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }
}

/// `readable|writable`
impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Readiness::READABLE, "readable"),
            (Readiness::WRITABLE, "writable"),
            (Readiness::READ_CLOSED, "read closed"),
            (Readiness::WRITE_CLOSED, "write closed"),
            (Readiness::ERROR, "error"),
            (Readiness::PRIORITY, "priority"),
        ];
        let set: Vec<&str> =
            names.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        f.write_str(&set.join("|"))
    }
}
