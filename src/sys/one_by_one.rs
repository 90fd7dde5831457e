//! Datagrams one a call, where the system has no call for many. It does not tell where they were
//! sent to, and chooses the source of answers; what it loses is not counted.

use std::io;
use std::os::fd::BorrowedFd;

use super::batch::ReceiveBatch;
use super::send_queue::SendQueue;
use super::socket;
use crate::base::address::NetAddr;

#[derive(Default, Debug)]
pub(super) struct Known;

pub(super) struct ReceiveHeaders;

impl ReceiveHeaders {
    pub(super) fn new(_buffer: &mut [u8], _slots: usize, _slot_bytes: usize) -> ReceiveHeaders {
        ReceiveHeaders
    }
}

#[derive(Default)]
pub(super) struct SendHeaders;

pub(super) fn prepare(_fd: BorrowedFd<'_>, _local: &NetAddr) -> io::Result<Known> {
    Ok(Known)
}

/// Receives one datagram; there may always be more.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    _max: usize,
    _known: &mut Known,
    batch: &mut ReceiveBatch,
) -> io::Result<bool> {
    batch.fill(|slot| socket::receive(fd, slot))?;
    Ok(true)
}

/// Sends the datagram in front and takes it out.
pub(super) fn send(
    fd: BorrowedFd<'_>,
    _known: &mut Known,
    _headers: &mut SendHeaders,
    queue: &mut SendQueue,
) -> io::Result<usize> {
    let Some((to, _, payload)) = queue.front() else { return Ok(0) };
    socket::send(fd, payload, to)?;
    queue.discard(1);
    Ok(1)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn one_call_moves_one_datagram() {
        let (ours, theirs) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = NetAddr::Inet(theirs.local_addr().unwrap());
        let mut known = prepare(ours.as_fd(), &to).unwrap();
        let mut queue = SendQueue::new(1000);
        queue.push(&to, &None, b"one");
        queue.push(&to, &None, b"two");
        ReceiveHeaders::new(&mut [], 0, 0);
        for left in [b"two", b"one"] {
            let mut headers = SendHeaders;
            assert_eq!(send(ours.as_fd(), &mut known, &mut headers, &mut queue).unwrap(), 1);
            assert!(queue.is_empty() || queue.front().unwrap().2 == left);
        }
        for sent in [b"one", b"two"] {
            let mut batch = ReceiveBatch::new(4, 100);
            assert!(receive(theirs.as_fd(), 4, &mut known, &mut batch).unwrap());
            let came: Vec<&[u8]> = batch.datagrams().map(|(_, bytes)| bytes).collect();
            assert_eq!(came, [sent]);
        }
    }
}
