//! Sockets that serve many peers: listeners, and datagram sockets.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::base::address::{Address, NetAddr};
use crate::sys::net::{self, DatagramOptions, ListenOptions};
use crate::sys::pass_on::Duplicate;
use crate::sys::stream::OsStream;
use crate::sys::unix_path::UnixPath;
use crate::sys::{ReceiveBatch, Received, SendQueue, Socket, Token, many, raw, socket};

/// A listener of the operating system.
#[derive(Debug)]
pub struct OsListener {
    /// Goes before the socket, as fields are dropped in this order.
    path: Option<UnixPath>,
    socket: OwnedFd,
    is_tcp: bool,
}

impl OsListener {
    pub(super) fn listen(address: &Address, options: &ListenOptions) -> io::Result<OsListener> {
        let (socket, path) = net::listen(address, options)?;
        let is_tcp = matches!(address, Address::Inet(_));
        Ok(OsListener { path, socket, is_tcp })
    }

    pub(super) fn adopt(fd: OwnedFd) -> io::Result<OsListener> {
        let is_tcp = match socket::inspect(fd.as_fd())? {
            Some(found) if found.is_stream && found.is_listening != Some(false) => found.is_tcp,
            _ => return Err(invalid("not a listening stream socket")),
        };
        raw::set_non_blocking_and_close_on_exec(fd.as_fd())?;
        Ok(OsListener { path: None, socket: fd, is_tcp })
    }

    /// For another process to have.
    pub(crate) fn duplicate(&self) -> io::Result<Duplicate> {
        Duplicate::new(self.socket.as_fd(), self.path.as_ref())
    }

    #[inline(always)] // on the way of every connection
    pub(super) fn accept(
        &self,
        name: &mut socket::PeerName,
        peer: &mut NetAddr,
    ) -> io::Result<OsStream> {
        let socket = socket::accept(self.socket.as_fd(), name, peer)?;
        Ok(OsStream::new(socket, self.is_tcp))
    }
}

impl Socket for OsListener {
    fn local_addr(&self) -> io::Result<NetAddr> {
        socket::local_addr(self.socket.as_fd())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

/// A datagram socket of the operating system.
#[derive(Debug)]
pub struct OsDatagram {
    /// Goes before the socket, as fields are dropped in this order.
    path: Option<UnixPath>,
    socket: OwnedFd,
    is_unix: bool,
    known: many::Known,
    /// What it is registered under.
    pub(super) token: Option<Token>,
    /// Whether it took no more when it was last tried, so that an edge is to tell of room.
    pub(super) is_full: bool,
}

impl OsDatagram {
    pub(super) fn bind(address: &Address, options: &DatagramOptions) -> io::Result<OsDatagram> {
        let (socket, path) = net::bind_datagram(address, options)?;
        let is_unix = !matches!(address, Address::Inet(_));
        OsDatagram::new(path, socket, is_unix)
    }

    pub(super) fn adopt(fd: OwnedFd) -> io::Result<OsDatagram> {
        let is_unix = match socket::inspect(fd.as_fd())? {
            Some(found) if found.is_datagram && (found.is_unix || found.is_inet) => found.is_unix,
            _ => return Err(invalid("not a datagram socket of the internet or Unix kind")),
        };
        raw::set_non_blocking_and_close_on_exec(fd.as_fd())?;
        OsDatagram::new(None, fd, is_unix)
    }

    fn new(path: Option<UnixPath>, socket: OwnedFd, is_unix: bool) -> io::Result<OsDatagram> {
        let known = many::prepare(socket.as_fd(), &socket::local_addr(socket.as_fd())?)?;
        Ok(OsDatagram { path, socket, is_unix, known, token: None, is_full: false })
    }

    /// For another process to have.
    pub(crate) fn duplicate(&self) -> io::Result<Duplicate> {
        Duplicate::new(self.socket.as_fd(), self.path.as_ref())
    }

    pub(super) fn receive(&self, into: &mut [u8]) -> io::Result<Received> {
        socket::receive(self.socket.as_fd(), into)
    }

    /// Between Unix sockets a datagram waits in the *receiver's* queue. While that is full, the
    /// answer is `WouldBlock`, and no edge would ever follow: ours is writable all along. So this
    /// datagram is lost, as it would be on the way elsewhere (and is to BSD, which says the same).
    pub(super) fn send(&self, payload: &[u8], to: &NetAddr) -> io::Result<()> {
        self.unblocked(socket::send(self.socket.as_fd(), payload, to))
    }

    pub(super) fn receive_batch(
        &mut self,
        max: usize,
        batch: &mut ReceiveBatch,
    ) -> io::Result<bool> {
        many::receive(self.socket.as_fd(), max, &mut self.known, batch)
    }

    pub(super) fn send_queued(
        &mut self,
        headers: &mut many::SendHeaders,
        queue: &mut SendQueue,
    ) -> io::Result<usize> {
        let outcome = many::send(self.socket.as_fd(), &mut self.known, headers, queue);
        self.unblocked(outcome)
    }

    fn unblocked<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        match outcome {
            Err(error) if self.is_unix && error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::from_raw_os_error(libc::ENOBUFS))
            }
            outcome => outcome,
        }
    }
}

impl Socket for OsDatagram {
    fn local_addr(&self) -> io::Result<NetAddr> {
        socket::local_addr(self.socket.as_fd())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

fn invalid(wrong: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, wrong)
}
