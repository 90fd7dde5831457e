//! Addresses as a person writes them ([`Address`]) and as the system tells them ([`NetAddr`]).

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::escaped::Escaped;

/// Where to listen or connect to, as a person writes it.
///
/// | text | meaning |
/// |---|---|
/// | `127.0.0.1:7000`, `[::1]:7000` | an internet address |
/// | `localhost:7000` | a host name, looked up when it is used |
/// | `unix:/run/x.sock` | a Unix socket with a place in the file system |
/// | `unix:@name` | a Unix socket in Linux's abstract namespace (unix(7)) |
///
/// ```
/// use tidemill::Address;
/// let address: Address = "localhost:7000".parse()?;
/// assert_eq!(address, Address::Host { name: "localhost".into(), port: 7000 });
/// # Ok::<(), tidemill::AddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An internet address and port.
    Inet(SocketAddr),
    /// A host name, to be looked up.
    Host {
        /// The name, up to 253 bytes (RFC 1035, section 2.3.4).
        name: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket in the file system.
    Path(PathBuf),
    /// A Unix socket in Linux's abstract namespace, without the leading NUL.
    Abstract(Vec<u8>),
}

/// What is wrong with the text of an [`Address`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `:PORT` at the end.
    NoPort,
    /// The port is not a number from 0 to 65535.
    BadPort,
    /// The host is empty, too long, or has a character that no host name has.
    BadHost,
    /// `unix:` with nothing behind it.
    EmptyPath,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressError::NoPort => "no port (write HOST:PORT or unix:PATH)",
            AddressError::BadPort => "the port is not a number from 0 to 65535",
            AddressError::BadHost => "not an internet address or host name",
            AddressError::EmptyPath => "unix: without a path",
        })
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if let Some(rest) = text.strip_prefix("unix:") {
            return match rest.strip_prefix('@') {
                Some("") => Err(AddressError::EmptyPath),
                Some(name) => Ok(Address::Abstract(name.as_bytes().to_vec())),
                None if rest.is_empty() => Err(AddressError::EmptyPath),
                None => Ok(Address::Path(PathBuf::from(rest))),
            };
        }
        if let Ok(inet) = text.parse() {
            return Ok(Address::Inet(inet));
        }
        let (name, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        let port = port.parse().map_err(|_| AddressError::BadPort)?;
        let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > 253 || !name.bytes().all(is_name_byte) {
            return Err(AddressError::BadHost);
        }
        Ok(Address::Host { name: name.to_owned(), port })
    }
}

impl From<SocketAddr> for Address {
    fn from(inet: SocketAddr) -> Address {
        Address::Inet(inet)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(inet) => inet.fmt(f),
            Address::Host { name, port } => write!(f, "{name}:{port}"),
            Address::Path(path) => write!(f, "unix:{}", path.display()),
            Address::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
        }
    }
}

/// An address as the system tells it: of a peer, or of one of our own sockets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum NetAddr {
    /// An internet address and port.
    Inet(SocketAddr),
    /// A Unix socket with a place in the file system.
    Path(Box<Path>),
    /// A Unix socket in Linux's abstract namespace, without the leading NUL.
    Abstract(Box<[u8]>),
    /// A Unix socket that was never bound, as most clients' are; or something else without an
    /// address, such as a pipe.
    Unnamed,
}

impl NetAddr {
    /// The internet address, where it is one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            NetAddr::Inet(inet) => Some(*inet),
            _ => None,
        }
    }

    /// The port, where it is an internet address.
    #[inline]
    pub fn port(&self) -> Option<u16> {
        match self {
            // Where it is differs: asked for first, it is in one place.
            NetAddr::Inet(SocketAddr::V4(inet)) => Some(inet.port()),
            other => other.port_of_another(),
        }
    }

    #[inline(never)]
    fn port_of_another(&self) -> Option<u16> {
        self.inet().map(|inet| inet.port())
    }
}

impl NetAddr {
    /// Whether there is none. (Asked for where there is no port; inlined, it would keep a register
    /// busy for those that have one.)
    #[inline(never)]
    pub(crate) fn is_unnamed(&self) -> bool {
        *self == NetAddr::Unnamed
    }

    /// As `==`, which compares an address of IPv4 byte by byte.
    #[inline]
    pub(crate) fn is_same(&self, other: &NetAddr) -> bool {
        match (self, other) {
            (NetAddr::Inet(SocketAddr::V4(one)), NetAddr::Inet(SocketAddr::V4(two))) => {
                one.port() == two.port() && one.ip().to_bits() == two.ip().to_bits()
            }
            _ => self == other,
        }
    }

    /// As `clone_from`, which has more to do where one address of IPv4 takes another's place.
    #[inline(always)] // for each sender of a batch
    pub(crate) fn assign(&mut self, other: &NetAddr) {
        match other {
            NetAddr::Inet(SocketAddr::V4(inet)) => self.assign_v4(*inet),
            _ => self.assign_another(other.clone()),
        }
    }

    #[inline(always)]
    pub(crate) fn assign_v4(&mut self, inet: SocketAddrV4) {
        match self {
            NetAddr::Inet(SocketAddr::V4(own)) => *own = inet,
            _ => self.assign_another(NetAddr::Inet(SocketAddr::V4(inet))),
        }
    }

    #[cold]
    fn assign_another(&mut self, other: NetAddr) {
        *self = other;
    }
}

impl From<SocketAddr> for NetAddr {
    fn from(inet: SocketAddr) -> NetAddr {
        NetAddr::Inet(inet)
    }
}

/// `127.0.0.1:7000`, `/run/x.sock`, `@name`, or `unnamed`.
impl fmt::Display for NetAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetAddr::Inet(inet) => inet.fmt(f),
            // A client chooses the name of its own socket.
            NetAddr::Path(path) => write!(f, "{}", Escaped(path.display())),
            NetAddr::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            NetAddr::Unnamed => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_parses_and_shows_as_it_was_written() {
        for text in ["127.0.0.1:7000", "[::1]:0", "localhost:80", "unix:/run/x.sock", "unix:@mill"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn the_name_of_a_peer_forges_no_line_of_a_log() {
        let peer = NetAddr::Path(Path::new("/tmp/x\nroot logged in").into());
        assert_eq!(peer.to_string(), r"/tmp/x\nroot logged in");
    }

    #[test]
    fn the_same_is_what_is_equal() {
        let named = |text: &str| NetAddr::Inet(text.parse().unwrap());
        let path = NetAddr::Path(Path::new("/run/x.sock").into());
        let all = ["10.0.0.1:7", "10.0.0.1:8", "10.0.0.2:7", "[::1]:7"].map(named);
        let all = [&all[0], &all[1], &all[2], &all[3], &path, &NetAddr::Unnamed];
        for (one, other) in all.iter().flat_map(|one| all.map(|other| (*one, other))) {
            assert_eq!(one.is_same(other), one == other, "{one} and {other}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(wrong("localhost"), AddressError::NoPort);
        assert_eq!(wrong("localhost:http"), AddressError::BadPort);
        assert_eq!(wrong("127.0.0.1:65536"), AddressError::BadPort);
        assert_eq!(wrong(":80"), AddressError::BadHost);
        assert_eq!(wrong("::1:80"), AddressError::BadHost);
        assert_eq!(wrong("a b:80"), AddressError::BadHost);
        assert_eq!(wrong("unix:"), AddressError::EmptyPath);
        assert_eq!(wrong("unix:@"), AddressError::EmptyPath);
        // RFC 1035, section 2.3.4: a name has no more than 255 bytes, as it is sent.
        let host = |len| format!("{}:80", "h".repeat(len));
        assert_eq!(wrong(&host(254)), AddressError::BadHost);
        assert!(host(253).parse::<Address>().is_ok());
    }
}
