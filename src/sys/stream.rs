//! A connected stream of bytes: a socket, or whatever else can be polled.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::base::address::NetAddr;
use crate::sys::{Socket, raw, socket};

/// A stream of the operating system.
#[derive(Debug)]
pub struct OsStream(Kind);

/// There are as many of these as connections.
const _: () = assert!(size_of::<OsStream>() == 8);

/// What came from outside is adopted: a duplicate of the descriptor may still be open.
#[derive(Debug)]
enum Kind {
    Tcp(File),
    AdoptedTcp(File),
    /// A Unix socket, or one of a rarer sort.
    Socket(File),
    AdoptedSocket(File),
    /// A terminal, a serial line, a FIFO that was opened for both.
    Duplex(File),
    /// The read end of a pipe.
    Input(File),
    /// The write end of a pipe.
    Output(File),
    /// It was one once: there is no way to finish it but closing.
    Finished,
}

impl OsStream {
    /// A socket of our own making.
    #[inline]
    pub(super) fn new(socket: OwnedFd, is_tcp: bool) -> OsStream {
        OsStream(if is_tcp { Kind::Tcp(socket.into()) } else { Kind::Socket(socket.into()) })
    }

    /// A descriptor from outside.
    pub(super) fn adopt(fd: OwnedFd) -> io::Result<OsStream> {
        let found = socket::inspect(fd.as_fd())?;
        let access = raw::access(fd.as_fd())?;
        match &found {
            Some(found) if !found.is_stream => return Err(invalid("not a stream socket")),
            Some(found) if found.is_listening == Some(true) => {
                return Err(invalid("a listening socket, not a connected one"));
            }
            _ => raw::set_non_blocking_and_close_on_exec(fd.as_fd())?,
        }
        let file = fd.into();
        Ok(match (found, access) {
            (Some(found), _) if found.is_tcp => OsStream(Kind::AdoptedTcp(file)),
            (Some(_), _) => OsStream(Kind::AdoptedSocket(file)),
            (None, (true, true)) => OsStream(Kind::Duplex(file)),
            (None, (_, false)) => OsStream(Kind::Input(file)),
            (None, (false, _)) => OsStream(Kind::Output(file)),
        })
    }

    /// It, where it is a socket.
    #[inline(always)]
    fn as_socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Tcp(file)
            | Kind::AdoptedTcp(file)
            | Kind::Socket(file)
            | Kind::AdoptedSocket(file) => Some(file.as_fd()),
            _ => None,
        }
    }

    /// It, where it is a TCP connection.
    #[inline(always)]
    pub(super) fn as_tcp(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Tcp(file) | Kind::AdoptedTcp(file) => Some(file.as_fd()),
            _ => None,
        }
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.as_tcp().is_some()
    }

    pub(super) fn is_socket(&self) -> bool {
        self.as_socket().is_some()
    }

    pub(super) fn can_read(&self) -> bool {
        !matches!(self.0, Kind::Output(_))
    }

    pub(super) fn can_write(&self) -> bool {
        !matches!(self.0, Kind::Input(_))
    }

    pub(super) fn connected(&self) -> io::Result<NetAddr> {
        self.as_socket().map_or(Ok(NetAddr::Unnamed), socket::connected)
    }

    #[inline(always)] // on the way of every request, as is `write`
    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self.as_socket() {
            Some(socket) => socket::read(socket, into),
            None => self.read_other(into),
        }
    }

    #[inline(never)]
    fn read_other(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::Finished => Ok(0), // what never had a peer's direction ends with our own
            Kind::Output(_) => Err(io::ErrorKind::WouldBlock.into()),
            Kind::Duplex(file) | Kind::Input(file) => (&*file).read(into),
            _ => unreachable!("a socket is read as one"),
        }
    }

    #[inline(always)]
    pub(super) fn write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.as_socket() {
            Some(socket) => socket::write(socket, bytes),
            None => self.write_other(bytes),
        }
    }

    #[inline(never)]
    fn write_other(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Kind::Duplex(file) | Kind::Output(file) => (&*file).write_vectored(bytes),
            _ => Err(io::Error::from_raw_os_error(libc::EPIPE)),
        }
    }

    /// Ends our direction. What has to be closed to that end is handed out, so that it can be
    /// deregistered first.
    pub(super) fn finish(&mut self) -> io::Result<Option<File>> {
        if let Some(socket) = self.as_socket() {
            return socket::finish(socket).map(|()| None);
        }
        Ok(match std::mem::replace(&mut self.0, Kind::Finished) {
            Kind::Output(file) => Some(file),
            other => {
                self.0 = other;
                None
            }
        })
    }

    /// Closes it, unless it was adopted: then it is given back, for it to be deregistered first.
    #[inline(always)] // on the way of every connection
    pub(super) fn close_own(self) -> Result<(), OsStream> {
        match self.0 {
            Kind::Tcp(file) => raw::close(file.into()),
            Kind::Socket(file) => drop(file),
            other => return Err(OsStream(other)),
        }
        Ok(())
    }

    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        self.as_tcp().map_or(Ok(()), socket::reset_on_close)
    }
}

impl Socket for OsStream {
    fn local_addr(&self) -> io::Result<NetAddr> {
        self.as_socket().map_or(Ok(NetAddr::Unnamed), socket::local_addr)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Kind::Duplex(file) | Kind::Input(file) | Kind::Output(file) => Some(file.as_fd()),
            Kind::Finished => None,
            _ => self.as_socket(),
        }
    }
}

fn invalid(wrong: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, wrong)
}
