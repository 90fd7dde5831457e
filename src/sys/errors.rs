//! The one table of error numbers: what a failed call means for the loop.
//!
//! Every error of a socket is sorted here and nowhere else, so that one that nobody thought of
//! ends one connection and never the loop.

use std::io::{self, ErrorKind};

/// What to do when `accept` failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptError {
    /// The queue is empty: wait for an edge.
    Empty,
    /// That one connection is lost; the next may be fine. Go on at once.
    Retry,
    /// Descriptors or memory have run out. No edge will come for those that are queued already:
    /// pause, and try again on a timer and whenever a connection closes.
    Exhausted,
    /// The listener itself no longer works.
    Broken,
}

impl AcceptError {
    /// Sorts an error of [`Platform::accept`](super::Platform::accept).
    pub fn of(error: &io::Error) -> AcceptError {
        match error.kind() {
            ErrorKind::WouldBlock => return AcceptError::Empty,
            ErrorKind::Interrupted | ErrorKind::ConnectionAborted => return AcceptError::Retry,
            _ => {}
        }
        match error.raw_os_error() {
            Some(number) if ACCEPT_EXHAUSTED.contains(&number) => AcceptError::Exhausted,
            Some(number) if ACCEPT_RETRY.contains(&number) => AcceptError::Retry,
            Some(number) if ACCEPT_RETRY_ON_LINUX.contains(&number) => AcceptError::Retry,
            _ => AcceptError::Broken,
        }
    }
}

/// What to do when reading from, writing to or connecting a stream failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamError {
    /// Wait for an edge.
    WouldBlock,
    /// A signal came in between: call again.
    Interrupted,
    /// The peer has gone, without taking leave.
    Reset,
    /// The connection has failed in some other way.
    Ended,
}

impl StreamError {
    /// Sorts an error of a stream.
    pub fn of(error: &io::Error) -> StreamError {
        match error.kind() {
            ErrorKind::WouldBlock => StreamError::WouldBlock,
            ErrorKind::Interrupted => StreamError::Interrupted,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected => StreamError::Reset,
            _ => StreamError::Ended,
        }
    }
}

/// What to do when receiving or sending a datagram failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramError {
    /// Wait for an edge.
    WouldBlock,
    /// A signal came in between: call again.
    Interrupted,
    /// That one datagram is lost, or an earlier one is reported lost: count it and go on.
    Drop,
    /// The socket itself no longer works; trying again would only fail again.
    Broken,
}

impl DatagramError {
    /// Sorts an error of a datagram socket. What is not known to be the socket's own end counts
    /// as one datagram lost: one peer's trouble must not end everybody's socket.
    pub fn of(error: &io::Error) -> DatagramError {
        match error.kind() {
            ErrorKind::WouldBlock => return DatagramError::WouldBlock,
            ErrorKind::Interrupted => return DatagramError::Interrupted,
            _ => {}
        }
        match error.raw_os_error() {
            Some(number) if DATAGRAM_BROKEN.contains(&number) => DatagramError::Broken,
            _ => DatagramError::Drop,
        }
    }
}

/// accept(2): out of descriptors (of the process, of the system), of buffers, of memory.
const ACCEPT_EXHAUSTED: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// accept(2): "Linux accept() passes already-pending network errors on the new socket as an error
/// code from accept(). For reliable operation the application should detect the network errors
/// defined for the protocol after accept() and treat them like EAGAIN by retrying." EPERM is a
/// firewall's refusal.
const ACCEPT_RETRY: [i32; 8] = [
    libc::EPROTO,
    libc::EPERM,
    libc::ENETDOWN,
    libc::ENOPROTOOPT,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
    libc::EOPNOTSUPP,
    libc::ENETUNREACH,
];

#[cfg(any(target_os = "linux", target_os = "android"))]
const ACCEPT_RETRY_ON_LINUX: [i32; 1] = [libc::ENONET];
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ACCEPT_RETRY_ON_LINUX: [i32; 0] = [];

/// The descriptor is closed, or was never a socket.
const DATAGRAM_BROKEN: [i32; 2] = [libc::EBADF, libc::ENOTSOCK];

#[cfg(test)]
mod tests {
    use super::*;

    fn os(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[test]
    fn accept_goes_on_pauses_or_gives_up() {
        assert_eq!(AcceptError::of(&os(libc::EAGAIN)), AcceptError::Empty);
        for number in [libc::EINTR, libc::ECONNABORTED, libc::EPROTO, libc::EPERM, libc::ENETDOWN] {
            assert_eq!(AcceptError::of(&os(number)), AcceptError::Retry, "{number}");
        }
        for number in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(AcceptError::of(&os(number)), AcceptError::Exhausted, "{number}");
        }
        for number in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK, 12345] {
            assert_eq!(AcceptError::of(&os(number)), AcceptError::Broken, "{number}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn accept_goes_on_after_every_network_error_that_linux_may_pass_on() {
        for number in [64, 71, 92, 95, 100, 101, 112, 113] {
            assert_eq!(AcceptError::of(&os(number)), AcceptError::Retry, "{number}");
        }
    }

    #[test]
    fn stream_errors_blame_the_peer_where_it_left() {
        assert_eq!(StreamError::of(&os(libc::EWOULDBLOCK)), StreamError::WouldBlock);
        assert_eq!(StreamError::of(&os(libc::EINTR)), StreamError::Interrupted);
        for number in [libc::ECONNRESET, libc::EPIPE, libc::ECONNABORTED, libc::ENOTCONN] {
            assert_eq!(StreamError::of(&os(number)), StreamError::Reset, "{number}");
        }
        for number in [libc::ETIMEDOUT, libc::ECONNREFUSED, libc::EIO, libc::EBADF, 12345] {
            assert_eq!(StreamError::of(&os(number)), StreamError::Ended, "{number}");
        }
    }

    #[test]
    fn nothing_that_a_peer_or_a_route_does_ends_a_datagram_socket() {
        assert_eq!(DatagramError::of(&os(libc::EAGAIN)), DatagramError::WouldBlock);
        assert_eq!(DatagramError::of(&os(libc::EINTR)), DatagramError::Interrupted);
        let lost = [
            libc::ECONNREFUSED,
            libc::ECONNRESET,
            libc::EMSGSIZE,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ENETDOWN,
            libc::EPERM,
            libc::EACCES,
            libc::EINVAL,
            libc::EAFNOSUPPORT,
            libc::EDESTADDRREQ,
            libc::ENOTCONN,
            libc::ENOENT,
            12345,
        ];
        for number in lost {
            assert_eq!(DatagramError::of(&os(number)), DatagramError::Drop, "{number}");
        }
        assert_eq!(DatagramError::of(&os(libc::EBADF)), DatagramError::Broken);
    }

    #[test]
    fn errors_without_a_number_are_sorted_by_their_kind() {
        let error = io::Error::from(ErrorKind::WouldBlock);
        assert_eq!(AcceptError::of(&error), AcceptError::Empty);
        assert_eq!(StreamError::of(&error), StreamError::WouldBlock);
        assert_eq!(DatagramError::of(&error), DatagramError::WouldBlock);
    }
}
