//! Unix sockets with a place in the file system: taking the place, setting who may use it, and
//! giving it back, without ever taking or removing what belongs to somebody else.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::{net, socket};

/// Owns the place of a bound socket, and removes it when dropped if it is still ours.
///
/// Drop it *before* the socket. An open socket keeps its inode from being used again, so the
/// number is proof; and while it is open, nobody takes the path for a stale one.
#[derive(Debug)]
pub(super) struct UnixPath {
    /// Absolute, so that a change of directory does not mislead the removal.
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Whether it stays, as another process has the socket as well.
    is_kept: Arc<AtomicBool>,
}

impl UnixPath {
    /// What has the path stay once it is set.
    pub(super) fn is_kept(&self) -> Arc<AtomicBool> {
        self.is_kept.clone()
    }

    /// Binds `socket` to `path`.
    ///
    /// `mode` is put on the socket before it is bound: the system takes the file's permissions
    /// from there, so that there is no moment in which they are wider (the umask belongs to the
    /// whole process and cannot be borrowed). Where the umask took away what was asked for, it is
    /// put back afterwards.
    pub(super) fn bind(
        socket: Socket,
        path: &Path,
        mode: Option<u32>,
    ) -> io::Result<(Socket, UnixPath)> {
        let address = socket::path_address(path)?;
        let absolute = std::path::absolute(path)?;
        let socket = match mode {
            Some(mode) => set_mode(socket, mode)?,
            None => socket,
        };
        bind_or_replace(&socket, &address, path)?;
        let bound = fs::symlink_metadata(path)?;
        let (device, inode) = (bound.dev(), bound.ino());
        let guard = UnixPath { path: absolute, device, inode, is_kept: Arc::default() };
        if let Some(mode) = mode.filter(|mode| bound.mode() & MODE_BITS != *mode) {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok((socket, guard))
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if self.is_kept.load(Ordering::Acquire) {
            return;
        }
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if is_ours {
            // Nobody is left to tell, and the next one to bind will find it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// fchmod(2) on a socket that is not bound yet. Only Linux heeds it; elsewhere the mode is set
/// right after binding, which for a listener is still before anybody can connect.
fn set_mode(socket: Socket, mode: u32) -> io::Result<Socket> {
    if mode & !MODE_BITS != 0 {
        let wrong = format!("a mode of {mode:o} has more than permission bits");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
    }
    let file = File::from(OwnedFd::from(socket));
    match file.set_permissions(Permissions::from_mode(mode)) {
        Err(error) if MODE_GOES_FIRST => return Err(error),
        _ => {}
    }
    Ok(Socket::from(OwnedFd::from(file)))
}

/// Binds; where the path is taken by a socket that nobody holds any more, takes its place.
fn bind_or_replace(socket: &Socket, address: &SockAddr, path: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        match socket.bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
        remove_stale(address, socket.r#type()?, path)?;
    }
    Err(in_use())
}

/// Removes a socket on which connecting is refused. Two starting at once may both find the same
/// one stale; the second then finds another file in its place, and leaves it alone.
fn remove_stale(address: &SockAddr, kind: Type, path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        outcome => outcome?,
    };
    if !found.file_type().is_socket() {
        let wrong = "there is something at this path that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, wrong));
    }
    let probe = socket::new(Domain::UNIX, kind)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => return Err(in_use()),
    }
    match fs::symlink_metadata(path) {
        Ok(now) if is_same(&found, &now) => fs::remove_file(path).map_err(|error| {
            let wrong = format!("cannot remove the stale socket: {}", net::describe(&error));
            io::Error::new(error.kind(), wrong)
        }),
        _ => Ok(()),
    }
}

/// The inode alone would not do: a stale socket's number is free again once it is removed.
fn is_same(before: &Metadata, now: &Metadata) -> bool {
    let identity = |file: &Metadata| (file.dev(), file.ino(), file.ctime(), file.ctime_nsec());
    identity(before) == identity(now)
}

fn in_use() -> io::Error {
    io::Error::from_raw_os_error(libc::EADDRINUSE)
}

const MODE_BITS: u32 = 0o777;

const MODE_GOES_FIRST: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Each further attempt needs somebody who takes or leaves the path between two of our calls.
const ATTEMPTS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::sys::temp_dir::TempDir;

    fn bind(path: &Path, kind: Type) -> io::Result<(UnixPath, Socket)> {
        bind_with_mode(path, kind, None)
    }

    fn bind_with_mode(
        path: &Path,
        kind: Type,
        mode: Option<u32>,
    ) -> io::Result<(UnixPath, Socket)> {
        let socket = socket::new(Domain::UNIX, kind)?;
        UnixPath::bind(socket, path, mode).map(|(socket, guard)| (guard, socket))
    }

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & MODE_BITS
    }

    #[test]
    fn path_is_removed_with_the_socket() {
        let dir = TempDir::new();
        for kind in [Type::STREAM, Type::DGRAM] {
            let path = dir.path("ours");
            let bound = bind(&path, kind).unwrap();
            assert!(path.exists());
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[test]
    fn path_that_became_somebody_elses_is_left_alone() {
        let dir = TempDir::new();
        let path = dir.path("moved");
        let bound = bind(&path, Type::STREAM).unwrap();
        fs::remove_file(&path).unwrap();
        let theirs = UnixListener::bind(&path).unwrap();
        drop(bound);
        assert!(path.exists());
        UnixStream::connect(&path).unwrap();
        drop(theirs);
    }

    #[test]
    fn stale_socket_is_replaced() {
        let dir = TempDir::new();
        let path = dir.path("stale");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(bind(&path, Type::STREAM).unwrap());
        drop(UnixDatagram::bind(&path).unwrap());
        drop(bind(&path, Type::DGRAM).unwrap());
        drop(UnixListener::bind(&path).unwrap());
        drop(bind(&path, Type::DGRAM).unwrap());
    }

    #[test]
    fn live_socket_of_any_kind_is_in_use() {
        let dir = TempDir::new();
        let listener = UnixListener::bind(dir.path("listener")).unwrap();
        let datagram = UnixDatagram::bind(dir.path("datagram")).unwrap();
        for name in ["listener", "datagram"] {
            for kind in [Type::STREAM, Type::DGRAM] {
                let error = bind(&dir.path(name), kind).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE), "{name}");
            }
        }
        drop((listener, datagram));
    }

    #[test]
    fn live_socket_with_a_full_queue_is_in_use() {
        let dir = TempDir::new();
        let path = dir.path("busy");
        let (_guard, listener) = bind(&path, Type::STREAM).unwrap();
        listener.listen(0).unwrap();
        let address = socket::path_address(&path).unwrap();
        let mut queued = Vec::new();
        loop {
            let client = socket::new(Domain::UNIX, Type::STREAM).unwrap();
            match client.connect(&address) {
                Ok(()) => queued.push(client),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let error = bind(&path, Type::STREAM).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[test]
    fn what_is_not_a_socket_is_never_removed() {
        let dir = TempDir::new();
        let file = dir.path("file");
        fs::write(&file, "precious").unwrap();
        let link = dir.path("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            let error = bind(path, Type::STREAM).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains("not a socket"), "{error}");
        }
        assert_eq!(fs::read(&link).unwrap(), b"precious");
    }

    #[test]
    fn mode_is_what_was_asked_for_whatever_the_umask_is() {
        let dir = TempDir::new();
        for mode in [0o600, 0o660, 0o666, 0o777] {
            for kind in [Type::STREAM, Type::DGRAM] {
                let path = dir.path("mode");
                let _bound = bind_with_mode(&path, kind, Some(mode)).unwrap();
                assert_eq!(mode_of(&path), mode, "{:o} for {mode:o}", mode_of(&path));
            }
        }
        assert!(bind_with_mode(&dir.path("mode"), Type::STREAM, Some(0o1777)).is_err());
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn mode_is_narrow_from_the_first_moment() {
        let dir = TempDir::new();
        let path = dir.path("narrow");
        let socket = socket::new(Domain::UNIX, Type::STREAM).unwrap();
        let socket = set_mode(socket, 0o600).unwrap();
        socket.bind(&socket::path_address(&path).unwrap()).unwrap();
        assert_eq!(mode_of(&path), 0o600);
    }
}
