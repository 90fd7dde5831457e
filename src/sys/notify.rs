//! What a service manager is told: sd_notify(3), without its library.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use socket2::{Domain, SockAddr, Type};

use crate::sys::socket;

/// Tells the service manager how this process stands, by one datagram to the socket that
/// NOTIFY_SOCKET names: `"READY=1"` once it serves, `"STOPPING=1"` when its end begins, others by
/// sd_notify(3); several are separated by line feeds. Answers whether there was anybody to tell.
///
/// Sending does not wait, whatever the manager does.
///
/// # Errors
/// The name is neither a path nor an abstract one; or those of the system: nobody listens there,
/// or its queue is full.
pub fn notify(state: &str) -> io::Result<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(name) if !name.is_empty() => notify_at(&name, state).map(|()| true),
        _ => Ok(false),
    }
}

fn notify_at(name: &OsStr, state: &str) -> io::Result<()> {
    let to = manager(name)?;
    let socket = socket::new(Domain::UNIX, Type::DGRAM)?;
    socket.send_to_with_flags(state.as_bytes(), &to, socket::NO_SIGNAL)?;
    Ok(())
}

/// sd_notify(3): "If the first character of $NOTIFY_SOCKET is "@", the string is understood as
/// Linux abstract namespace socket."
fn manager(name: &OsStr) -> io::Result<SockAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => socket::abstract_address(rest),
        [b'/', ..] => socket::path_address(Path::new(name)),
        _ => {
            let wrong = "NOTIFY_SOCKET is neither an absolute path nor an abstract name";
            Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::sys::temp_dir::TempDir;

    fn received(socket: &UnixDatagram) -> Vec<u8> {
        let mut buffer = [0; 100];
        let len = socket.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }

    #[test]
    fn a_manager_with_a_path_is_told_and_one_that_has_gone_is_an_error() {
        let dir = TempDir::new();
        let path = dir.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        notify_at(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&socket), b"READY=1");
        drop(socket);
        let error = notify_at(path.as_os_str(), "STOPPING=1").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(notify_at(OsStr::new("relative"), "READY=1").is_err());
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_manager_with_an_abstract_name_is_told() {
        let name = format!("@tidemill-notify-{}", std::process::id());
        let socket = socket::new(Domain::UNIX, Type::DGRAM).unwrap();
        socket.bind(&manager(OsStr::new(&name)).unwrap()).unwrap();
        let socket = UnixDatagram::from(std::os::fd::OwnedFd::from(socket));
        notify_at(OsStr::new(&name), "READY=1").unwrap();
        assert_eq!(received(&socket), b"READY=1");
    }

    /// A manager that does not read keeps nobody waiting.
    #[test]
    fn a_manager_whose_queue_is_full_is_an_error_and_no_wait() {
        let dir = TempDir::new();
        let path = dir.path("notify");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| notify_at(path.as_os_str(), "WATCHDOG=1").err());
        assert!(full.is_some());
    }
}
