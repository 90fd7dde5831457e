//! Who is where.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::base::address::{Address, NetAddr};

/// Where the server listens, for streams and for datagrams.
pub(super) fn inet() -> Address {
    Address::Inet(([10, 0, 0, 1], 7).into())
}

/// Where it listens as well, for streams.
pub(super) fn unix() -> Address {
    Address::Abstract(b"mill".to_vec())
}

/// The same for datagrams.
pub(super) fn unix_datagrams() -> Address {
    Address::Abstract(b"mill-datagrams".to_vec())
}

/// What outgoing connections lead to.
pub(super) fn far() -> Address {
    Address::Inet(([10, 0, 0, 2], 7).into())
}

/// Where they lead as well.
pub(super) fn far_unix() -> Address {
    Address::Abstract(b"far".to_vec())
}

/// The first, by its name.
pub(super) fn far_by_name() -> Address {
    Address::Host { name: FAR_NAME.into(), port: 7 }
}

pub(super) const FAR_NAME: &str = "far.sim";

/// Every client has an address of its own, from which its number can be told.
pub(super) fn client_inet(number: usize) -> NetAddr {
    let host = client_host(number);
    NetAddr::Inet(SocketAddr::new(host, (FIRST_PORT + number / HOSTS) as u16))
}

/// Clients share a few hosts.
pub(super) fn client_host(number: usize) -> IpAddr {
    Ipv4Addr::from((number % HOSTS) as u32 + FIRST_HOST).into()
}

pub(super) fn client_unix(number: usize) -> NetAddr {
    NetAddr::Abstract(format!("{CLIENT}{number}").into_bytes().into())
}

/// Which client comes from an address, if one does.
pub(super) fn client_at(peer: &NetAddr) -> Option<usize> {
    match peer {
        NetAddr::Inet(SocketAddr::V4(inet)) => {
            let host = u32::from(*inet.ip()).checked_sub(FIRST_HOST)?;
            let port = usize::from(inet.port()).checked_sub(FIRST_PORT)?;
            Some(port * HOSTS + host as usize)
        }
        NetAddr::Abstract(name) => {
            std::str::from_utf8(name).ok()?.strip_prefix(CLIENT)?.parse().ok()
        }
        _ => None,
    }
}

const CLIENT: &str = "client-";
/// 172.16.0.0
const FIRST_HOST: u32 = 0xac10_0000;
const FIRST_PORT: usize = 1024;
/// So few that a client's share of the connections is met with; enough for a million clients.
const HOSTS: usize = 16;
