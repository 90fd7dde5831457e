//! Options of sockets as plain values, and new sockets that have them. What is done with a socket
//! afterwards is in `socket`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive, Type};

use crate::base::address::Address;
use crate::sys::socket;
use crate::sys::unix_path::UnixPath;

/// Options of a stream. Those that only TCP has mean nothing to Unix sockets.
///
/// ```
/// use std::time::Duration;
/// use tidemill::sys::StreamOptions;
///
/// let keep_alive = Some(Duration::from_secs(60));
/// let options = StreamOptions { keep_alive, ..StreamOptions::default() };
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamOptions {
    /// TCP_NODELAY: send small writes at once. `true`: a handler's answers leave gathered into
    /// one write anyway, and waiting for more together with the peer's delayed acknowledgements
    /// costs 40 ms an exchange.
    pub nodelay: bool,
    /// SO_KEEPALIVE: after so much silence, ask the peer's system whether it is still there
    /// (whole seconds, at least one). `None`, off: the limits on idle connections notice too, and
    /// notice more.
    pub keep_alive: Option<Duration>,
    /// SO_RCVBUF, in bytes. `None`: left to the system, which adapts it to each connection, and
    /// stops doing so once it is set.
    pub receive_buffer: Option<usize>,
    /// SO_SNDBUF, in bytes. `None`, as for `receive_buffer`.
    pub send_buffer: Option<usize>,
    /// The local address that an outgoing connection comes from; port 0 lets the system choose
    /// one. `None`: the system chooses both. Listeners do not heed it.
    pub bind_to: Option<SocketAddr>,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            nodelay: true,
            keep_alive: None,
            receive_buffer: None,
            send_buffer: None,
            bind_to: None,
        }
    }
}

/// Options of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; the system cuts it to a limit of its own
    /// (net.core.somaxconn on Linux). 4096: with 1024, a burst of 5,000 clients took 24 seconds
    /// instead of a tenth of one.
    pub backlog: u32,
    /// SO_REUSEADDR, on TCP: bind although connections of a former listener linger. `true`: a
    /// restart must not have to wait a minute. It does not let two listen at once.
    pub reuse_address: bool,
    /// SO_REUSEPORT, on TCP: let several sockets of one user share the port. `false`: sharing by
    /// mistake is silent, and each process then gets some of the connections.
    pub reuse_port: bool,
    /// IPV6_V6ONLY: whether `[::]` leaves IPv4 alone. `None`: the system's default, which mostly
    /// is to serve both.
    pub only_v6: Option<bool>,
    /// Options of the streams that are accepted. They are set on the listener: accepted TCP
    /// sockets inherit them, without a call for each. Those of Unix listeners do not.
    pub stream: StreamOptions,
    /// Who may connect to a Unix socket with a path: its permissions, such as `0o660`; to connect
    /// takes the right to write. `None`: what the umask of the process leaves of `0o777`.
    pub unix_mode: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            backlog: 4096,
            reuse_address: true,
            reuse_port: false,
            only_v6: None,
            stream: StreamOptions::default(),
            unix_mode: None,
        }
    }
}

/// Options of a datagram socket. Those that only UDP has mean nothing to Unix sockets.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DatagramOptions {
    /// SO_REUSEADDR. `false`: on UDP it lets others take the port, and the datagrams with it.
    pub reuse_address: bool,
    /// SO_REUSEPORT: let several sockets of one user share the port. `false`: sharing by mistake
    /// is silent, and each gets some of the datagrams.
    pub reuse_port: bool,
    /// SO_BROADCAST: allow sending to broadcast addresses. `false`: the system's guard against
    /// doing so by accident.
    pub broadcast: bool,
    /// SO_RCVBUF, in bytes. `None`: the system's default. What comes in while it is full is lost.
    pub receive_buffer: Option<usize>,
    /// SO_SNDBUF, in bytes. `None`: the system's default.
    pub send_buffer: Option<usize>,
    /// IPV6_V6ONLY: whether `[::]` leaves IPv4 alone. `None`: the system's default, which mostly
    /// is to serve both.
    pub only_v6: Option<bool>,
    /// How many routers a datagram may pass (IP_TTL, IPV6_UNICAST_HOPS), from 1 to 255. `None`:
    /// the system's default, mostly 64.
    pub ttl: Option<u32>,
    /// Who may send to a Unix socket with a path: its permissions. `None`: what the umask of the
    /// process leaves of `0o777`.
    pub unix_mode: Option<u32>,
}

/// Every address that is meant: those of a host name, looked up now, each once; or the address
/// itself. It blocks, and is meant for start-up.
///
/// # Errors
/// The name could not be looked up, or has no address.
pub fn resolve(address: &Address) -> io::Result<Vec<Address>> {
    match address {
        Address::Host { name, port } => {
            Ok(look_up(name, *port)?.into_iter().map(Address::Inet).collect())
        }
        _ => Ok(vec![address.clone()]),
    }
}

/// The text of an error, to stand behind an address in one line: without the number that
/// `io::Error` appends and without a capital.
///
/// ```
/// let error = std::fs::File::open("/no/such/file").unwrap_err();
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(tidemill::sys::net::describe(&error), "no such file or directory");
/// ```
#[must_use]
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let suffix = error.raw_os_error().map(|number| format!(" (os error {number})"));
    let text = suffix.and_then(|suffix| text.strip_suffix(&suffix)).unwrap_or(&text);
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // Words, but not "I/O error".
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// Every address of a host name, each once, in the order of the system's preference.
pub(super) fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for address in (name, port).to_socket_addrs()? {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        let wrong = "the host name has no address";
        return Err(io::Error::new(io::ErrorKind::NotFound, wrong));
    }
    Ok(found)
}

/// Binds and listens. The path, if there is one, is to be dropped before the socket.
pub(super) fn listen(
    address: &Address,
    options: &ListenOptions,
) -> io::Result<(OwnedFd, Option<UnixPath>)> {
    let (socket, path) = match address {
        Address::Inet(inet) => (bind_tcp(*inet, options)?, None),
        Address::Path(path) => bind_path(Type::STREAM, path, options.unix_mode)?,
        Address::Abstract(name) => (bind_abstract(Type::STREAM, name)?, None),
        Address::Host { .. } => return Err(is_a_host_name()),
    };
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok((socket.into(), path))
}

/// Binds a datagram socket. The path, if there is one, is to be dropped before the socket.
pub(super) fn bind_datagram(
    address: &Address,
    options: &DatagramOptions,
) -> io::Result<(OwnedFd, Option<UnixPath>)> {
    let (socket, path) = match address {
        Address::Inet(inet) => (bind_udp(*inet, options)?, None),
        Address::Path(path) => bind_path(Type::DGRAM, path, options.unix_mode)?,
        Address::Abstract(name) => (bind_abstract(Type::DGRAM, name)?, None),
        Address::Host { .. } => return Err(is_a_host_name()),
    };
    set_buffers(&socket, options.receive_buffer, options.send_buffer)?;
    Ok((socket.into(), path))
}

/// Starts to connect: the socket, and whether it is TCP.
///
/// A Unix socket is connected at once or not at all: while the listener's queue is full, the
/// answer is `WouldBlock`, and as there is no socket whose edge could tell when to try again, the
/// caller has to see to that.
pub(super) fn connect(address: &Address, options: &StreamOptions) -> io::Result<(OwnedFd, bool)> {
    let (socket, to, is_tcp) = match address {
        Address::Inet(inet) => (outgoing_tcp(*inet, options)?, (*inet).into(), true),
        Address::Path(path) => (unix_stream()?, socket::path_address(path)?, false),
        Address::Abstract(name) => (unix_stream()?, socket::abstract_address(name)?, false),
        Address::Host { .. } => return Err(is_a_host_name()),
    };
    // Before connecting: the window's scale is agreed on in the handshake.
    set_buffers(&socket, options.receive_buffer, options.send_buffer)?;
    socket::connect(&socket, &to)?;
    Ok((socket.into(), is_tcp))
}

fn bind_tcp(inet: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
    let socket = socket::new(Domain::for_address(inet), Type::STREAM)?;
    socket.set_reuse_address(options.reuse_address)?;
    set_shared(&socket, inet, options.reuse_port, options.only_v6)?;
    set_tcp(&socket, &options.stream)?;
    set_buffers(&socket, options.stream.receive_buffer, options.stream.send_buffer)?;
    socket.bind(&inet.into())?;
    Ok(socket)
}

fn bind_udp(inet: SocketAddr, options: &DatagramOptions) -> io::Result<Socket> {
    let socket = socket::new(Domain::for_address(inet), Type::DGRAM)?;
    socket.set_reuse_address(options.reuse_address)?;
    set_shared(&socket, inet, options.reuse_port, options.only_v6)?;
    socket.set_broadcast(options.broadcast)?;
    match (options.ttl, inet) {
        (Some(ttl), SocketAddr::V4(_)) => socket.set_ttl_v4(ttl)?,
        (Some(ttl), SocketAddr::V6(_)) => socket.set_unicast_hops_v6(ttl)?,
        (None, _) => {}
    }
    socket.bind(&inet.into())?;
    Ok(socket)
}

fn bind_path(kind: Type, path: &Path, mode: Option<u32>) -> io::Result<(Socket, Option<UnixPath>)> {
    let socket = socket::new(Domain::UNIX, kind)?;
    let (socket, guard) = UnixPath::bind(socket, path, mode)?;
    Ok((socket, Some(guard)))
}

fn bind_abstract(kind: Type, name: &[u8]) -> io::Result<Socket> {
    let address = socket::abstract_address(name)?;
    let socket = socket::new(Domain::UNIX, kind)?;
    socket.bind(&address)?;
    Ok(socket)
}

fn outgoing_tcp(to: SocketAddr, options: &StreamOptions) -> io::Result<Socket> {
    let socket = socket::new(Domain::for_address(to), Type::STREAM)?;
    set_tcp(&socket, options)?;
    if let Some(from) = options.bind_to {
        // A port of one's own may still linger from the last connection.
        socket.set_reuse_address(from.port() != 0)?;
        socket.bind(&from.into())?;
    }
    Ok(socket)
}

fn unix_stream() -> io::Result<Socket> {
    socket::new(Domain::UNIX, Type::STREAM)
}

fn set_tcp(socket: &Socket, options: &StreamOptions) -> io::Result<()> {
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(silence) = options.keep_alive {
        let silence = silence.max(Duration::from_secs(1));
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(silence))?;
    }
    Ok(())
}

fn set_shared(
    socket: &Socket,
    inet: SocketAddr,
    reuse_port: bool,
    only_v6: Option<bool>,
) -> io::Result<()> {
    if reuse_port {
        set_reuse_port(socket)?;
    }
    match only_v6 {
        Some(only) if inet.is_ipv6() => socket.set_only_v6(only),
        _ => Ok(()),
    }
}

fn set_buffers(
    socket: &Socket,
    receive_bytes: Option<usize>,
    send_bytes: Option<usize>,
) -> io::Result<()> {
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = send_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(any(target_os = "illumos", target_os = "solaris"))]
fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    let wrong = "this system has no SO_REUSEPORT";
    Err(io::Error::new(io::ErrorKind::Unsupported, wrong))
}

fn is_a_host_name() -> io::Error {
    let wrong = "a host name has to be looked up first";
    io::Error::new(io::ErrorKind::InvalidInput, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_well_behind_an_address() {
        let said = |error: io::Error| describe(&error);
        assert_eq!(said(io::Error::from_raw_os_error(libc::ECONNREFUSED)), "connection refused");
        assert!(!said(io::Error::from_raw_os_error(libc::EIO)).contains("os error"));
        assert_eq!(said(io::Error::other("I/O is hard")), "I/O is hard");
        assert_eq!(said(io::Error::other("Écoute")), "écoute");
        assert_eq!(said(io::Error::other("")), "");
        assert_eq!(said(is_a_host_name()), "a host name has to be looked up first");
    }

    #[test]
    fn host_name_becomes_every_address_once() {
        let name: Address = "localhost:80".parse().unwrap();
        let found = resolve(&name).unwrap();
        assert!(!found.is_empty());
        for (index, address) in found.iter().enumerate() {
            assert!(matches!(address, Address::Inet(inet) if inet.ip().is_loopback()));
            assert!(!found[..index].contains(address));
        }
        let inet: Address = "[::1]:80".parse().unwrap();
        assert_eq!(resolve(&inet).unwrap(), [inet]);
    }
}
