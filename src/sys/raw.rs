//! What no safe wrapper offers. All unsafe code of the crate is in this folder: here, and for
//! batches of datagrams in `mmsg`, `cmsg` and `sockaddr`.
//!
//! Each block meets these obligations:
//!
//! 1. *Descriptors are open*: they come as a `BorrowedFd` or a `&Socket`, whose owner outlives
//!    the call.
//! 2. *Memory is ours*: what the system writes to is exclusively borrowed for the length of the
//!    call, and as large as it is told.
//! 3. *Bytes stay initialised*: memory that is seen as `u8` afterwards was so before, and is only
//!    overwritten.
//! 4. *Descriptors have one owner*: a number becomes an `OwnedFd` only where the process was
//!    started with it for that purpose, or has just got it from the system, and once.
//! 5. *Between fork and exec only what is safe there is done* (signal-safety(7)): system calls
//!    that are on its list, and nothing that allocates or locks.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::c_int;
use socket2::{MaybeUninitSlice, SockAddr, Socket};

/// How many descriptors this process may have open (the soft RLIMIT_NOFILE); the default for the
/// limit on connections derives from it. It is never changed by this library.
#[must_use]
pub fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: memory is ours (2): `limit` is the one struct that is written.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(outcome, 0, "getrlimit(2) fails only for a resource or an address that is wrong");
    #[allow(clippy::unnecessary_cast)] // signed on FreeBSD
    let soft = limit.rlim_cur as u64;
    soft
}

/// Whether a signal does what it does by default: nobody handles or ignores it.
#[cfg(feature = "signals")]
pub(crate) fn is_signal_default(signal: c_int) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: memory is ours (2): `action` is the one struct that is written, and none is read.
    let outcome = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the struct was written; and it consists of integers, which it held before, too (3).
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction == libc::SIG_DFL)
}

/// The system's clock that never goes back (CLOCK_MONOTONIC).
#[inline]
pub(super) fn monotonic_nanos() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: memory is ours (2): `now` is the one struct that is written.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    assert!(outcome == 0, "clock_gettime(2) fails only for a clock that there is not");
    // SAFETY: the struct was written.
    let now = unsafe { now.assume_init() };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Makes a descriptor non-blocking and close-on-exec.
pub(super) fn set_non_blocking_and_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = fcntl(fd, libc::F_GETFL, 0)?;
    if flags & libc::O_NONBLOCK == 0 {
        fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)?;
    }
    let flags = fcntl(fd, libc::F_GETFD, 0)?;
    if flags & libc::FD_CLOEXEC == 0 {
        fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC)?;
    }
    Ok(())
}

/// Whether a descriptor was opened for reading, and whether for writing.
pub(super) fn access(fd: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    let mode = fcntl(fd, libc::F_GETFL, 0)? & libc::O_ACCMODE;
    Ok((mode != libc::O_WRONLY, mode != libc::O_RDONLY))
}

/// Looks at a descriptor that is known by its number only, if it is open.
pub(super) fn with_descriptor<T>(
    number: RawFd,
    look: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
) -> io::Result<T> {
    // SAFETY: no pointer is passed, and a number that is not open is answered by an error.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (1), and stays so while this looks: nobody in the process has
    // been given it yet (4).
    look(unsafe { BorrowedFd::borrow_raw(number) })
}

/// The owner of a descriptor that the process was started with. `inherited` calls this once for
/// each of those that its parent says are for it, after it has looked at them.
pub(super) fn take_descriptor(number: RawFd) -> OwnedFd {
    // SAFETY: it was open when it was looked at (1), and this is its one owner (4).
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A duplicate whose number is the lowest free one from `least` on; it is close-on-exec.
pub(super) fn duplicate(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, libc::F_DUPFD_CLOEXEC, least)?;
    // SAFETY: the system has just opened it for us (4).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has the process that a command starts find the first `count` of these descriptors under the
/// numbers from `first` on, none of which may be the number of one of them. All stay open as long
/// as the command is there.
pub(super) fn place_descriptors(
    command: &mut Command,
    fds: Vec<OwnedFd>,
    first: RawFd,
    count: usize,
) {
    let place = move || {
        for (number, fd) in (first..).zip(&fds[..count]) {
            // SAFETY: no pointer is passed, and `fd` is open (1). It is on the list (5). The
            // duplicate stays open when the program starts.
            if unsafe { libc::dup2(fd.as_raw_fd(), number) } == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: `place` does nothing else (5); an error by number does not allocate.
    unsafe { command.pre_exec(place) };
}

/// recv(2) without its wrapper in libc, which is a point where a thread can be cancelled: with
/// glibc that costs some sixty instructions a call once the process has a second thread, and
/// syscall(3) costs twenty, where the loop around a small request has two hundred.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[inline]
pub(super) fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let (fd, at) = (fd.as_raw_fd() as usize, into.as_mut_ptr() as usize);
    // SAFETY: the descriptor is open (1); memory is ours (2); bytes stay initialised (3).
    unsafe { system_call(libc::SYS_recvfrom, [fd, at, into.len(), 0, 0, 0]) }
}

/// send(2), never raising SIGPIPE, without its wrapper in libc; see [`receive`].
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[inline]
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let (fd, at) = (fd.as_raw_fd() as usize, bytes.as_ptr() as usize);
    let flags = libc::MSG_NOSIGNAL as usize;
    // SAFETY: the descriptor is open (1), and the bytes are only read.
    unsafe { system_call(libc::SYS_sendto, [fd, at, bytes.len(), flags, 0, 0]) }
}

/// epoll_wait(2) without its wrapper in libc; see [`receive`]. A timeout of -1 is none.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[inline]
pub(super) fn wait_for_events(
    poll: BorrowedFd<'_>,
    into: &mut [libc::epoll_event],
    timeout_millis: c_int,
) -> io::Result<usize> {
    let (poll, at) = (poll.as_raw_fd() as usize, into.as_mut_ptr() as usize);
    let (timeout, no_mask) = (timeout_millis as usize, 0);
    // SAFETY: the descriptor is open (1); memory is ours (2); an event is made of integers, which
    // stay initialised (3).
    unsafe { system_call(libc::SYS_epoll_pwait, [poll, at, into.len(), timeout, no_mask, 8]) }
}

/// accept4(2) without its wrapper in libc, see [`receive`]: a socket that is non-blocking and
/// close-on-exec, and the length of its peer's address.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[inline]
pub(super) fn accept(
    listener: BorrowedFd<'_>,
    peer: &mut libc::sockaddr_storage,
) -> io::Result<(OwnedFd, libc::socklen_t)> {
    let mut len = size_of_val(peer) as libc::socklen_t;
    let (fd, at) = (listener.as_raw_fd() as usize, std::ptr::from_mut(peer) as usize);
    let (len_at, flags) = (&raw mut len as usize, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    // SAFETY: the descriptor is open (1); memory is ours (2): an address as long as is told, and
    // that length; bytes stay initialised (3).
    let fd = unsafe { system_call(libc::SYS_accept4, [fd, at, len_at, flags as usize, 0, 0]) }?;
    // SAFETY: the system has just opened it for us (4).
    Ok((unsafe { OwnedFd::from_raw_fd(fd as RawFd) }, len))
}

/// epoll_ctl(2) without its wrapper in libc, see [`receive`]: the poller is to tell of a descriptor
/// that it does not know.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[inline]
pub(super) fn watch(
    poll: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    event: &libc::epoll_event,
) -> io::Result<()> {
    let (poll, fd) = (poll.as_raw_fd() as usize, fd.as_raw_fd() as usize);
    let (add, at) = (libc::EPOLL_CTL_ADD as usize, std::ptr::from_ref(event) as usize);
    // SAFETY: both descriptors are open (1), and the event is only read.
    unsafe { system_call(libc::SYS_epoll_ctl, [poll, add, fd, at, 0, 0]) }.map(|_| ())
}

/// close(2) without its wrapper in libc; see [`receive`].
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[inline]
pub(super) fn close(fd: OwnedFd) {
    let fd = std::os::fd::IntoRawFd::into_raw_fd(fd) as usize;
    // SAFETY: the descriptor is open, and this was its one owner (4). Whatever the system answers,
    // it is closed (close(2)).
    let _ = unsafe { system_call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]) };
}

/// A system call in place of a call to libc, by the convention of this architecture (syscall(2)):
/// the answer comes in a register, -4095 to -1 being an error.
///
/// # Safety
///
/// As the system call demands: see the obligations above.
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_arch = "x86_64", not(miri)))]
#[inline(always)]
unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> io::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    let answer: isize;
    // SAFETY: the registers are those of the convention, which overwrites rcx and r11. Memory
    // counts as changed, and the stack is not touched.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    if answer < 0 { Err(failed(answer)) } else { Ok(answer as usize) }
}

/// As for the other architectures.
///
/// # Safety
///
/// As the system call demands: see the obligations above.
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_arch = "aarch64", not(miri)))]
#[inline(always)]
unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> io::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    let answer: isize;
    // SAFETY: the registers are those of the convention. Memory counts as changed, and the stack
    // is not touched.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => answer,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x5") f,
            options(nostack),
        );
    }
    if answer < 0 { Err(failed(answer)) } else { Ok(answer as usize) }
}

#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
#[cold]
fn failed(answer: isize) -> io::Error {
    io::Error::from_raw_os_error(-answer as i32)
}

/// A system call by way of libc, where we don't know better.
///
/// # Safety
///
/// As the system call demands: see the obligations above.
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64")))
))]
unsafe fn system_call(number: libc::c_long, arguments: [usize; 6]) -> io::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer as usize) }
}

/// recv(2).
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    io::Read::read(&mut &*socket2::SockRef::from(&fd), into)
}

/// send(2), never raising SIGPIPE.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    socket2::SockRef::from(&fd).send_with_flags(bytes, super::socket::NO_SIGNAL)
}

/// close(2).
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn close(fd: OwnedFd) {
    drop(fd);
}

/// Receives one datagram: its length in `into`, whether it was longer than that, and its sender.
pub(super) fn receive_from(
    socket: &Socket,
    into: &mut [u8],
) -> io::Result<(usize, bool, SockAddr)> {
    let into: *mut [u8] = into;
    // SAFETY: memory is ours (2), as the pointer was just made from an exclusive borrow that lasts
    // until the end of the function; and bytes stay initialised (3), as `recv_from_vectored`
    // promises not to write uninitialised ones.
    let into = unsafe { &mut *(into as *mut [MaybeUninit<u8>]) };
    let (len, flags, from) = socket.recv_from_vectored(&mut [MaybeUninitSlice::new(into)])?;
    Ok((len, flags.is_truncated(), from))
}

/// fcntl(2) with one of the commands that take an integer or nothing.
fn fcntl(fd: BorrowedFd<'_>, command: c_int, argument: c_int) -> io::Result<c_int> {
    // SAFETY: the descriptor is open (1), and none of the commands above takes a pointer.
    let answer = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs::OpenOptions;
    use std::os::fd::AsFd;

    use super::*;

    /// Binds a Unix socket to a path that leaves no room for a NUL, as anybody may.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(in crate::sys) fn bind_whole_path(socket: &Socket, path: &[u8]) {
        let sun_path: [u8; 108] = path.try_into().unwrap();
        let address = libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path: sun_path.map(|byte| byte as libc::c_char),
        };
        let len = size_of_val(&address) as libc::socklen_t;
        let address = (&raw const address).cast::<libc::sockaddr>();
        // SAFETY: the descriptor is open (1), and `address` is as long as is said.
        let outcome = unsafe { libc::bind(socket.as_raw_fd(), address, len) };
        assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
    }

    #[test]
    fn the_limit_on_descriptors_is_a_number_that_makes_sense() {
        assert!(descriptor_limit() > 16);
    }

    #[test]
    fn access_follows_how_it_was_opened() {
        let open = |read, write| {
            let file = OpenOptions::new().read(read).write(write).open("/dev/null").unwrap();
            access(file.as_fd()).unwrap()
        };
        assert_eq!(open(true, false), (true, false));
        assert_eq!(open(false, true), (false, true));
        assert_eq!(open(true, true), (true, true));
    }
}
