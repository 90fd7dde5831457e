//! The least that a UDP echo server can do: recvmmsg(2), and sendmmsg(2) of the same headers. It
//! waits within recvmmsg, knows one socket, and checks nothing.
//!
//! ```text
//! udp_echo 127.0.0.1:0
//! ```

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::{env, io, ptr};

const SLOTS: usize = 128;
const SLOT_BYTES: usize = 2048;

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let socket = UdpSocket::bind(address)?;
    println!("listening udp udp {}", socket.local_addr()?);
    let mut buffer = vec![0_u8; SLOTS * SLOT_BYTES];
    // SAFETY: null pointers and zeros are valid in all three.
    let mut names = vec![unsafe { std::mem::zeroed::<libc::sockaddr_in6>() }; SLOTS];
    let mut vectors = vec![unsafe { std::mem::zeroed::<libc::iovec>() }; SLOTS];
    let mut headers = vec![unsafe { std::mem::zeroed::<libc::mmsghdr>() }; SLOTS];
    let name_len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    for index in 0..SLOTS {
        vectors[index].iov_base = buffer[index * SLOT_BYTES..].as_mut_ptr().cast();
        vectors[index].iov_len = SLOT_BYTES;
        headers[index].msg_hdr.msg_name = (&raw mut names[index]).cast();
        headers[index].msg_hdr.msg_namelen = name_len;
        headers[index].msg_hdr.msg_iov = &raw mut vectors[index];
        headers[index].msg_hdr.msg_iovlen = 1;
    }
    let fd = socket.as_raw_fd();
    loop {
        let flags = libc::MSG_WAITFORONE;
        // SAFETY: the headers point at what was made above, which lives on.
        let count = unsafe {
            libc::recvmmsg(fd, headers.as_mut_ptr(), SLOTS as u32, flags as _, ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else { return Err(io::Error::last_os_error()) };
        for index in 0..count {
            vectors[index].iov_len = headers[index].msg_len as usize;
        }
        let mut sent = 0;
        while sent < count {
            // SAFETY: as above.
            let more = unsafe {
                libc::sendmmsg(fd, headers[sent..].as_mut_ptr(), (count - sent) as u32, 0)
            };
            let Ok(more) = usize::try_from(more) else { return Err(io::Error::last_os_error()) };
            sent += more;
        }
        for index in 0..count {
            vectors[index].iov_len = SLOT_BYTES;
            headers[index].msg_hdr.msg_namelen = name_len;
        }
    }
}
