//! Echo servers to be measured beside tidemill's. Each is a program that listens on a port of the
//! loopback that is free, says where (`listening echo tcp 127.0.0.1:40123`), and serves until it
//! is killed. Each has the best settings we know for its library, and its file says which and why.
//! Whoever knows better ones: they are wanted.
//!
//! What all have in common: a backlog of 4096, as tidemill has (a short one makes clients wait for
//! a second); TCP_NODELAY, set on the listener, from which connections inherit it on Linux, so
//! that it costs no call; reads of up to 64 KiB, unless the file says why not; the system's
//! allocator; the same profile of the compiler as the library.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

/// A listener, in non-blocking mode, after saying where it is.
///
/// # Panics
/// The system refuses it.
pub fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
    socket.bind(&any().into()).expect("a free port");
    socket.listen(4096).expect("a backlog");
    socket.set_nonblocking(true).expect("non-blocking mode");
    let listener = TcpListener::from(socket);
    say("tcp", listener.local_addr().expect("an address"));
    listener
}

/// A datagram socket, in non-blocking mode, after saying where it is.
///
/// # Panics
/// The system refuses it.
pub fn datagrams() -> UdpSocket {
    let socket = UdpSocket::bind(any()).expect("a free port");
    socket.set_nonblocking(true).expect("non-blocking mode");
    say("udp", socket.local_addr().expect("an address"));
    socket
}

/// Any port of the loopback.
pub fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Says where a server is.
pub fn say(transport: &str, address: SocketAddr) {
    println!("listening echo {transport} {address}");
}

/// The number behind an option of the command line.
pub fn number(option: &str) -> Option<usize> {
    std::env::args().skip_while(|argument| argument != option).nth(1)?.parse().ok()
}

/// Is this option on the command line?
pub fn has(option: &str) -> bool {
    std::env::args().any(|argument| argument == option)
}

/// What a read takes at the most.
pub const READ_BYTES: usize = 64 * 1024;
