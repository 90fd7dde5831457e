//! A connected stream of bytes: a socket, or whatever else can be polled.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::base::address::NetAddr;
use crate::sys::{Socket, raw, socket};

/// A stream of the operating system.
#[derive(Debug)]
pub struct OsStream {
    /// `None` once the write end of a pipe was finished, for which there is no way but closing.
    file: Option<File>,
    kind: Kind,
    /// It came from outside, where a duplicate of the descriptor may still be open.
    is_adopted: bool,
}

/// There are as many of these as connections.
const _: () = assert!(size_of::<OsStream>() == 8);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Tcp,
    /// A Unix socket, or one of a rarer sort.
    Socket,
    /// A terminal, a serial line, a FIFO that was opened for both.
    Duplex,
    /// The read end of a pipe.
    Input,
    /// The write end of a pipe.
    Output,
}

impl OsStream {
    /// A socket of our own making.
    pub(super) fn new(socket: OwnedFd, is_tcp: bool) -> OsStream {
        let kind = if is_tcp { Kind::Tcp } else { Kind::Socket };
        OsStream { file: Some(socket.into()), kind, is_adopted: false }
    }

    /// A descriptor from outside.
    pub(super) fn adopt(fd: OwnedFd) -> io::Result<OsStream> {
        let kind = match socket::inspect(fd.as_fd())? {
            Some(found) if !found.is_stream => return Err(invalid("not a stream socket")),
            Some(found) if found.is_listening == Some(true) => {
                return Err(invalid("a listening socket, not a connected one"));
            }
            Some(found) if found.is_tcp => Kind::Tcp,
            Some(_) => Kind::Socket,
            None => match raw::access(fd.as_fd())? {
                (true, true) => Kind::Duplex,
                (_, false) => Kind::Input,
                (false, _) => Kind::Output,
            },
        };
        raw::set_non_blocking_and_close_on_exec(fd.as_fd())?;
        Ok(OsStream { file: Some(fd.into()), kind, is_adopted: true })
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.kind == Kind::Tcp
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.is_adopted
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self.kind, Kind::Tcp | Kind::Socket)
    }

    pub(super) fn can_read(&self) -> bool {
        self.kind != Kind::Output
    }

    pub(super) fn can_write(&self) -> bool {
        self.kind != Kind::Input
    }

    pub(super) fn connected(&self) -> io::Result<NetAddr> {
        match &self.file {
            Some(file) if self.is_socket() => socket::connected(file.as_fd()),
            _ => Ok(NetAddr::Unnamed),
        }
    }

    #[inline]
    pub(super) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.file {
            Some(file) if self.is_socket() => socket::read(file.as_fd(), into),
            _ => self.read_other(into),
        }
    }

    #[inline(never)]
    fn read_other(&self, into: &mut [u8]) -> io::Result<usize> {
        match &self.file {
            None => Ok(0), // what never had a peer's direction ends with our own
            Some(_) if !self.can_read() => Err(io::ErrorKind::WouldBlock.into()),
            Some(file) => (&*file).read(into),
        }
    }

    #[inline(always)]
    pub(super) fn write(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.file {
            Some(file) if self.is_socket() => socket::write(file.as_fd(), bytes),
            _ => self.write_other(bytes),
        }
    }

    #[inline(never)]
    fn write_other(&self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.file {
            Some(file) if self.can_write() => (&*file).write_vectored(bytes),
            _ => Err(io::Error::from_raw_os_error(libc::EPIPE)),
        }
    }

    /// Ends our direction. What has to be closed to that end is handed out, so that it can be
    /// deregistered first.
    pub(super) fn finish(&mut self) -> io::Result<Option<File>> {
        match (&self.file, self.kind) {
            (Some(file), Kind::Tcp | Kind::Socket) => socket::finish(file.as_fd()).map(|()| None),
            (Some(_), Kind::Output) => Ok(self.file.take()),
            _ => Ok(None),
        }
    }

    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        match &self.file {
            Some(file) if self.is_tcp() => socket::reset_on_close(file.as_fd()),
            _ => Ok(()),
        }
    }
}

impl Socket for OsStream {
    fn local_addr(&self) -> io::Result<NetAddr> {
        match &self.file {
            Some(file) if self.is_socket() => socket::local_addr(file.as_fd()),
            _ => Ok(NetAddr::Unnamed),
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(File::as_fd)
    }
}

fn invalid(wrong: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, wrong)
}
