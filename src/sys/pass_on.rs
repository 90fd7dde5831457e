//! Sockets on their way to the process that comes after this one, which finds them by
//! [`inherited`](super::inherited).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::inherited::{COUNT_MAX, FIRST};
use crate::sys::raw;
use crate::sys::unix_path::UnixPath;

/// A socket of ours, for another process.
#[derive(Debug)]
pub(crate) struct Duplicate {
    pub(crate) fd: OwnedFd,
    /// Of a Unix socket with a path: set where the path is to stay.
    is_path_kept: Option<Arc<AtomicBool>>,
}

impl Duplicate {
    pub(super) fn new(fd: BorrowedFd<'_>, path: Option<&UnixPath>) -> io::Result<Duplicate> {
        Ok(Duplicate { fd: fd.try_clone_to_owned()?, is_path_kept: path.map(UnixPath::is_kept) })
    }

    /// Has the original leave its path to others when it is closed.
    pub(crate) fn keep_path(&self) {
        if let Some(is_kept) = &self.is_path_kept {
            is_kept.store(true, Ordering::Release);
        }
    }
}

/// A command that starts `program` with sockets to be found by [`inherited`](super::inherited),
/// under these names, as a service manager would start it. The shell `/bin/sh` is in between: it
/// puts the number of the process into LISTEN_PID, which is known to nobody before.
///
/// The sockets stay open here as they are; duplicates of them are open until the command is
/// dropped.
///
/// # Errors
/// A name has a colon in it; there are more than 1024; descriptors have run out.
pub fn successor<'a>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    sockets: impl IntoIterator<Item = (&'a str, BorrowedFd<'a>)>,
) -> io::Result<Command> {
    let (names, sockets): (Vec<&str>, Vec<BorrowedFd<'_>>) = sockets.into_iter().unzip();
    if sockets.len() > COUNT_MAX || names.iter().any(|name| name.contains(':')) {
        let wrong = format!("more than {COUNT_MAX} sockets, or a name with a colon: {names:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, wrong));
    }
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]).arg(program).args(arguments);
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    let behind = FIRST + sockets.len() as i32;
    let duplicates: io::Result<Vec<_>> =
        sockets.iter().map(|fd| raw::duplicate(*fd, behind)).collect();
    let mut duplicates = duplicates?;
    // What the standard library opens to start a process must not get a number that is written
    // over then: so none of those is left free. These stand behind the others, and go nowhere.
    while let Some(fd) = sockets.first() {
        let filler = raw::duplicate(*fd, FIRST)?;
        if filler.as_raw_fd() >= behind {
            break;
        }
        duplicates.push(filler);
    }
    raw::place_descriptors(&mut command, duplicates, FIRST, sockets.len());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// The inode of a socket, which its duplicates share.
    fn inode(fd: BorrowedFd<'_>) -> u64 {
        std::fs::File::from(fd.try_clone_to_owned().unwrap()).metadata().unwrap().ino()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_successor_finds_the_sockets_under_their_numbers_and_names() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let script = "test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES \"$1\" && \
                      stat -L -c %i /proc/$$/fd/3 /proc/$$/fd/4 && ls /proc/$$/fd";
        let sockets = [("line", listener.as_fd()), ("udp", udp.as_fd())];
        let arguments = ["-c", script, "sh", "an argument"];
        let output = successor("/bin/sh", arguments, sockets).unwrap().output().unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let inodes = [inode(listener.as_fd()), inode(udp.as_fd())].map(|inode| inode.to_string());
        assert_eq!(lines[..3], ["2 line:udp an argument", &inodes[0], &inodes[1]], "{output:?}");
        // Some shells keep their script open, above all others.
        let passed: Vec<_> = lines[3..].iter().filter(|number| number.len() == 1).collect();
        assert_eq!(passed, [&"0", &"1", &"2", &"3", &"4"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_exit_code() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets = [("udp", udp.as_fd())];
        let mut command = successor("/nonexistent", [""; 0], sockets).unwrap();
        assert_eq!(command.output().unwrap().status.code(), Some(127)); // as sh(1) says
    }

    #[test]
    fn names_that_cannot_be_told_are_an_error() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(successor("true", [""; 0], [("a:b", udp.as_fd())]).is_err());
        let many = (0..=COUNT_MAX).map(|_| ("udp", udp.as_fd()));
        assert!(successor("true", [""; 0], many).is_err());
    }
}
