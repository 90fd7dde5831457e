//! Calls on sockets that are there already, one function a call, and the two forms of addresses.
//! Which options a new socket gets is decided in [`net`](super::net).

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::base::address::NetAddr;
use crate::sys::{Received, raw};

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::sys::sockaddr;
pub(super) use atomic::new;

/// What kind of socket a descriptor is.
pub(super) struct Kind {
    pub(super) is_stream: bool,
    pub(super) is_datagram: bool,
    pub(super) is_tcp: bool,
    pub(super) is_unix: bool,
    pub(super) is_inet: bool,
    /// `None` where the system does not tell.
    pub(super) is_listening: Option<bool>,
}

/// What kind of socket it is; `None` if it is none.
pub(super) fn inspect(fd: BorrowedFd<'_>) -> io::Result<Option<Kind>> {
    let socket = SockRef::from(&fd);
    let kind = match socket.r#type() {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => return Ok(None),
        outcome => outcome?,
    };
    let domain = socket.local_addr()?.domain();
    let is_inet = domain == Domain::IPV4 || domain == Domain::IPV6;
    let is_stream = kind == Type::STREAM;
    Ok(Some(Kind {
        is_stream,
        is_datagram: kind == Type::DGRAM,
        is_tcp: is_stream && is_inet && told::is_tcp(&socket)?,
        is_unix: domain == Domain::UNIX,
        is_inet,
        is_listening: told::is_listening(&socket)?,
    }))
}

/// Starts to connect.
pub(super) fn connect(socket: &Socket, to: &SockAddr) -> io::Result<()> {
    match socket.connect(to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        outcome => outcome,
    }
}

/// How a connection that was started stands: see [`Platform::connected`](super::Platform).
pub(super) fn connected(fd: BorrowedFd<'_>) -> io::Result<NetAddr> {
    let socket = SockRef::from(&fd);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(peer) => Ok(net_addr(&peer)),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

/// The address of the peer that was accepted last, as the system wrote it: room for one serves all.
pub(super) struct PeerName {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    name: libc::sockaddr_storage,
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    len: libc::socklen_t,
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    name: Option<SockAddr>,
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl PeerName {
    pub(super) fn new() -> PeerName {
        PeerName { name: sockaddr::none(), len: 0 }
    }

    #[inline(always)] // on the way of every connection
    fn read_into(&self, address: &mut NetAddr) {
        sockaddr::read_into(address, &self.name, self.len);
    }
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
impl PeerName {
    pub(super) fn new() -> PeerName {
        PeerName { name: None }
    }

    fn read_into(&self, address: &mut NetAddr) {
        *address = self.name.as_ref().map_or(NetAddr::Unnamed, net_addr);
    }
}

/// Takes one connection off the queue of a listener; `peer` becomes the address of its peer.
#[inline(always)] // on the way of every connection
pub(super) fn accept(
    listener: BorrowedFd<'_>,
    name: &mut PeerName,
    peer: &mut NetAddr,
) -> io::Result<OwnedFd> {
    let socket = atomic::accept(listener, name)?;
    name.read_into(peer);
    Ok(socket)
}

#[inline]
pub(super) fn read(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    raw::receive(fd, into)
}

/// Writes some of the slices, without raising SIGPIPE: the host may not ignore it.
#[inline(always)]
pub(super) fn write(fd: BorrowedFd<'_>, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    match bytes {
        [bytes] => raw::send(fd, bytes),
        _ => write_vectored(fd, bytes),
    }
}

#[inline(never)]
fn write_vectored(fd: BorrowedFd<'_>, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
    let socket = SockRef::from(&fd);
    let first = &bytes[..bytes.len().min(SLICES_MAX)];
    socket.send_vectored_with_flags(first, NO_SIGNAL)
}

/// Ends our direction; it does not matter if the peer was quicker.
pub(super) fn finish(fd: BorrowedFd<'_>) -> io::Result<()> {
    match SockRef::from(&fd).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        outcome => outcome,
    }
}

/// Makes closing it send a reset, where the transport has one, and forget what is unsent.
pub(super) fn reset_on_close(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_linger(Some(Duration::ZERO))
}

pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<NetAddr> {
    SockRef::from(&fd).local_addr().map(|address| net_addr(&address))
}

pub(super) fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<Received> {
    let (len, truncated, from) = raw::receive_from(&SockRef::from(&fd), into)?;
    Ok(Received { len, from: net_addr(&from), truncated })
}

/// Sends one datagram; to [`NetAddr::Unnamed`] it goes to the peer that the socket is connected
/// to, as those of a socketpair(2) are.
pub(super) fn send(fd: BorrowedFd<'_>, payload: &[u8], to: &NetAddr) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    match to {
        NetAddr::Inet(inet) => socket.send_to_with_flags(payload, &(*inet).into(), NO_SIGNAL),
        NetAddr::Path(path) => {
            socket.send_to_with_flags(payload, &SockAddr::unix(path)?, NO_SIGNAL)
        }
        NetAddr::Abstract(name) => {
            socket.send_to_with_flags(payload, &abstract_address(name)?, NO_SIGNAL)
        }
        NetAddr::Unnamed => socket.send_with_flags(payload, NO_SIGNAL),
    }
    .map(|_| ())
}

/// An address as the system gave it. What is neither of the internet nor of a named Unix socket
/// has none that we could show.
pub(super) fn net_addr(address: &SockAddr) -> NetAddr {
    if let Some(inet) = address.as_socket() {
        NetAddr::Inet(inet)
    } else if let Some(path) = address.as_pathname() {
        NetAddr::Path(path.into())
    } else if let Some(name) = address.as_abstract_namespace() {
        NetAddr::Abstract(name.into())
    } else {
        NetAddr::Unnamed
    }
}

pub(super) fn path_address(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let wrong = if bytes.is_empty() {
        "the path is empty".to_owned()
    } else if bytes.contains(&0) {
        "the path has a NUL byte in it".to_owned()
    } else if bytes.len() > PATH_BYTES_MAX {
        let len = bytes.len();
        format!("a Unix socket's path has at most {PATH_BYTES_MAX} bytes, and this one has {len}")
    } else {
        return SockAddr::unix(path);
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn abstract_address(name: &[u8]) -> io::Result<SockAddr> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    if name.len() > PATH_BYTES_MAX {
        let wrong = format!("an abstract name has at most {PATH_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
    }
    let with_nul = [b"\0", name].concat();
    SockAddr::unix(OsStr::from_bytes(&with_nul))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn abstract_address(_name: &[u8]) -> io::Result<SockAddr> {
    let wrong = "abstract names of Unix sockets exist only on Linux";
    Err(io::Error::new(io::ErrorKind::Unsupported, wrong))
}

/// Where socket(2) and accept4(2) take the flags.
#[cfg(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "illumos",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd",
))]
mod atomic {
    use super::*;

    /// A socket that is non-blocking and close-on-exec.
    pub(in crate::sys) fn new(domain: Domain, kind: Type) -> io::Result<Socket> {
        Socket::new(domain, kind.nonblocking(), None)
    }

    /// Takes one connection off the queue, in one system call. (mio's own `accept` panics when a
    /// Unix peer's path fills all of `sun_path`, and does not see abstract names.)
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[inline(always)] // on the way of every connection
    pub(super) fn accept(listener: BorrowedFd<'_>, peer: &mut PeerName) -> io::Result<OwnedFd> {
        let (socket, len) = raw::accept(listener, &mut peer.name)?;
        peer.len = len;
        Ok(socket)
    }

    /// The same.
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    pub(super) fn accept(listener: BorrowedFd<'_>, peer: &mut PeerName) -> io::Result<OwnedFd> {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let (socket, name) = SockRef::from(&listener).accept4(flags)?;
        peer.name = Some(name);
        Ok(socket.into())
    }
}

/// Where they don't.
#[cfg(not(any(
    target_os = "android",
    target_os = "dragonfly",
    target_os = "freebsd",
    target_os = "illumos",
    target_os = "linux",
    target_os = "netbsd",
    target_os = "openbsd",
)))]
mod atomic {
    use super::*;

    pub(in crate::sys) fn new(domain: Domain, kind: Type) -> io::Result<Socket> {
        let socket = Socket::new(domain, kind, None)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    pub(super) fn accept(listener: BorrowedFd<'_>, peer: &mut PeerName) -> io::Result<OwnedFd> {
        let (socket, name) = SockRef::from(&listener).accept()?;
        socket.set_nonblocking(true)?;
        peer.name = Some(name);
        Ok(socket.into())
    }
}

/// What some systems tell of a socket.
#[cfg(any(target_os = "android", target_os = "freebsd", target_os = "linux"))]
mod told {
    use super::*;

    pub(super) fn is_tcp(socket: &Socket) -> io::Result<bool> {
        Ok(socket.protocol()? == Some(socket2::Protocol::TCP))
    }

    pub(super) fn is_listening(socket: &Socket) -> io::Result<Option<bool>> {
        socket.is_listener().map(Some)
    }
}

/// And others don't.
#[cfg(not(any(target_os = "android", target_os = "freebsd", target_os = "linux")))]
mod told {
    use super::*;

    pub(super) fn is_tcp(_socket: &Socket) -> io::Result<bool> {
        Ok(true)
    }

    pub(super) fn is_listening(_socket: &Socket) -> io::Result<Option<bool>> {
        Ok(None)
    }
}

/// Apple has an option of the socket instead, which socket2 sets.
#[cfg(target_vendor = "apple")]
pub(super) const NO_SIGNAL: i32 = 0;
#[cfg(not(target_vendor = "apple"))]
pub(super) const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;

/// sendmsg(2) refuses more slices than this (IOV_MAX) with EMSGSIZE, all of them.
const SLICES_MAX: usize = 1024;

/// `sun_path`, less one byte: the NUL behind a path, or before an abstract name.
const PATH_BYTES_MAX: usize =
    size_of::<libc::sockaddr_un>() - std::mem::offset_of!(libc::sockaddr_un, sun_path) - 1;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn more_slices_than_the_system_takes_are_written_in_part() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let slices = vec![IoSlice::new(b"x"); SLICES_MAX + 1];
        assert_eq!(write(ours.as_fd(), &slices).unwrap(), SLICES_MAX);
    }

    #[test]
    fn a_peer_that_is_gone_is_an_error_and_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        for slices in [&[IoSlice::new(b"x")][..], &[IoSlice::new(b"x"), IoSlice::new(b"y")]] {
            let error = write(ours.as_fd(), slices).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        finish(ours.as_fd()).unwrap();
    }

    #[test]
    fn an_unnamed_peer_is_answered_through_the_connection() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.send(b"ping").unwrap();
        let mut buffer = [0; 16];
        let received = receive(ours.as_fd(), &mut buffer).unwrap();
        assert_eq!(received, Received { len: 4, from: NetAddr::Unnamed, truncated: false });
        send(ours.as_fd(), b"pong", &received.from).unwrap();
        assert_eq!(theirs.recv(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn a_path_that_cannot_be_bound_says_why() {
        let wrong = |path: &str| path_address(Path::new(path)).unwrap_err().to_string();
        assert_eq!(wrong(""), "the path is empty");
        assert_eq!(wrong("a\0b"), "the path has a NUL byte in it");
        let longest = "x".repeat(PATH_BYTES_MAX);
        assert!(path_address(Path::new(&longest)).is_ok());
        assert!(wrong(&format!("{longest}x")).contains("at most"));
    }
}
