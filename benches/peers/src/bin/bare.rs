//! **L**, the limit: a loop over epoll with nothing in it that echoing does not need. It has no
//! handlers, no memory of its connections, no outbox, no deadlines and no limits, and must not be
//! used for anything: a client that does not read its answers ends it. A server that does more
//! for its users cannot be faster than this, other than by asking the kernel in another way.
//!
//! - Edge-triggered, so that the kernel does not look at a served socket again in the next wait.
//! - A short read has emptied a socket, unless the event tells of the end: no second read.
//! - Whatever one wait finds ready, up to 1024, is served before the next.
//!
//! For datagrams it is `bare_udp`.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;

use libc::{EPOLL_CTL_ADD, EPOLLET, EPOLLIN, EPOLLRDHUP, epoll_event};
use peers::READ_BYTES;

fn main() {
    let listener = peers::listener();
    let poll = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    watch(poll, listener.as_raw_fd());
    let mut events: Vec<epoll_event> = Vec::with_capacity(1024);
    let mut buffer = Box::new([MaybeUninit::<u8>::uninit(); READ_BYTES]);
    loop {
        // SAFETY: there is room for so many events, and so many were written.
        unsafe {
            let count = libc::epoll_wait(poll, events.as_mut_ptr(), 1024, -1);
            events.set_len(count.max(0) as usize); // below zero: interrupted
        }
        for event in &events {
            let fd = event.u64 as RawFd;
            if fd == listener.as_raw_fd() {
                accept(poll, fd);
            } else {
                echo(fd, event.events & EPOLLRDHUP as u32 != 0, &mut buffer);
            }
        }
    }
}

fn accept(poll: RawFd, listener: RawFd) {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    loop {
        let fd = unsafe { libc::accept4(listener, null_mut(), null_mut(), flags) };
        if fd < 0 {
            return;
        }
        watch(poll, fd);
    }
}

fn watch(poll: RawFd, fd: RawFd) {
    let mut event = epoll_event { events: (EPOLLIN | EPOLLRDHUP | EPOLLET) as u32, u64: fd as u64 };
    checked(unsafe { libc::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &mut event) });
}

#[inline]
fn echo(fd: RawFd, has_ended: bool, buffer: &mut [MaybeUninit<u8>; READ_BYTES]) {
    loop {
        // SAFETY: the buffer is as long as it says, and no more is sent than was received.
        unsafe {
            let came = libc::recv(fd, buffer.as_mut_ptr().cast(), READ_BYTES, 0);
            if came > 0 {
                let sent =
                    libc::send(fd, buffer.as_ptr().cast(), came as usize, libc::MSG_NOSIGNAL);
                assert!(sent == came || sent < 0, "a write fell short, and there is no outbox");
                if (came as usize) < READ_BYTES && !has_ended {
                    return;
                }
            } else {
                if came == 0 || *libc::__errno_location() != libc::EAGAIN {
                    libc::close(fd);
                }
                return;
            }
        }
    }
}

fn checked(answer: RawFd) -> RawFd {
    assert!(answer >= 0, "{}", std::io::Error::last_os_error());
    answer
}
