//! Sockets that a service manager has opened for this process: sd_listen_fds(3), without its
//! library.

use std::env;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::address::NetAddr;
use crate::sys::{raw, socket};

/// A socket that was open when this process began, bound and checked.
#[derive(Debug)]
pub struct Inherited {
    name: String,
    kind: InheritedKind,
    address: NetAddr,
    fd: OwnedFd,
}

/// What an inherited socket can be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InheritedKind {
    /// It listens for streams.
    Listener,
    /// It carries datagrams.
    Datagram,
}

impl Inherited {
    /// What the manager calls it (FileDescriptorName= in systemd.socket(5)), or `unknown`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it can be used for.
    pub fn kind(&self) -> InheritedKind {
        self.kind
    }

    /// Where it is bound.
    pub fn address(&self) -> &NetAddr {
        &self.address
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Inherited> for OwnedFd {
    fn from(inherited: Inherited) -> OwnedFd {
        inherited.fd
    }
}

/// The sockets that the process which started this one passed to it, in their order: LISTEN_FDS
/// of them, from descriptor 3 on, where LISTEN_PID is this process; otherwise none. Each becomes
/// close-on-exec. They are handed out once; a second call answers none.
///
/// A socket that is passed on from one process to the next takes clients all the while: a restart
/// refuses nobody. With systemd, a socket unit holds it; without, see [`successor`](super::successor).
///
/// The variables stay in the environment, as changing that is not safe once there are threads.
/// Children are not misled: LISTEN_PID is not theirs.
///
/// # Errors
/// The variables contradict each other or name more than 1024; a descriptor is not open, or is
/// neither a listening stream socket nor a datagram socket of the internet or Unix kind. None is
/// handed out then, and all stay open.
pub fn inherited() -> io::Result<Vec<Inherited>> {
    let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    if variable("LISTEN_PID").is_none_or(|id| id != std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let names = names(variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"))?;
    static ARE_TAKEN: AtomicBool = AtomicBool::new(false);
    if ARE_TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let mut checked = Vec::new();
    for (number, name) in (FIRST..).zip(names) {
        let outcome = raw::with_descriptor(number, check);
        let (kind, address) = outcome.map_err(|error| {
            let wrong = format!("descriptor {number} ({name}) was passed on: {error}");
            io::Error::new(error.kind(), wrong)
        })?;
        checked.push((number, name, kind, address));
    }
    let take = |(number, name, kind, address)| {
        let fd = raw::take_descriptor(number);
        Inherited { name, kind, address, fd }
    };
    Ok(checked.into_iter().map(take).collect())
}

/// A name for each descriptor that was passed on.
fn names(count: Option<String>, names: Option<String>) -> io::Result<Vec<String>> {
    let count = count.unwrap_or_default();
    let Some(count) = count.parse().ok().filter(|count| *count <= COUNT_MAX) else {
        return Err(wrong(format!("LISTEN_FDS={count}: not a number up to {COUNT_MAX}")));
    };
    let Some(names) = names else { return Ok(vec!["unknown".to_owned(); count]) };
    let names: Vec<String> = match (count, &*names) {
        (0, "") => Vec::new(),
        _ => names.split(':').map(str::to_owned).collect(),
    };
    if names.len() != count {
        let found = names.len();
        return Err(wrong(format!("LISTEN_FDNAMES has {found} names for {count} descriptors")));
    }
    Ok(names)
}

fn check(fd: BorrowedFd<'_>) -> io::Result<(InheritedKind, NetAddr)> {
    let kind = match socket::inspect(fd)? {
        Some(found) if found.is_stream && found.is_listening != Some(false) => {
            InheritedKind::Listener
        }
        Some(found) if found.is_datagram && (found.is_unix || found.is_inet) => {
            InheritedKind::Datagram
        }
        _ => return Err(wrong("neither a listening socket nor one for datagrams".to_owned())),
    };
    raw::set_non_blocking_and_close_on_exec(fd)?;
    Ok((kind, socket::local_addr(fd)?))
}

fn wrong(wrong: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, wrong)
}

/// SD_LISTEN_FDS_START
pub(super) const FIRST: RawFd = 3;

/// Nobody passes on more by intention, and checking them stays quick.
pub(super) const COUNT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn names_belong_to_descriptors() {
        let named = |count: &str, text: Option<&str>| {
            names(Some(count.to_owned()), text.map(str::to_owned)).map_err(|it| it.to_string())
        };
        assert_eq!(named("2", Some("echo:line")).unwrap(), ["echo", "line"]);
        assert_eq!(named("2", None).unwrap(), ["unknown", "unknown"]);
        assert_eq!(named("0", Some("")).unwrap(), [""; 0]);
        assert_eq!(named("1", Some("")).unwrap(), [""]);
        let two = "LISTEN_FDNAMES has 1 names for 2 descriptors";
        assert_eq!(named("2", Some("echo")).unwrap_err(), two);
        for count in ["", "-1", "x", "1025", "99999999999999999999"] {
            assert!(named(count, None).unwrap_err().contains("LISTEN_FDS="), "{count}");
        }
        assert!(names(None, None).is_err());
    }

    #[test]
    fn a_socket_is_known_by_what_it_can_do() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let kind = |fd: BorrowedFd<'_>| check(fd).map(|(kind, _)| kind);
        assert_eq!(kind(listener.as_fd()).unwrap(), InheritedKind::Listener);
        assert_eq!(kind(udp.as_fd()).unwrap(), InheritedKind::Datagram);
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(kind(stream.as_fd()).is_err());
        assert!(kind(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn without_the_variables_nothing_is_inherited() {
        assert!(inherited().unwrap().is_empty());
    }
}
