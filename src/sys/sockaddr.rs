//! Linux: addresses as the system writes and reads them, in memory that is there already
//! (sockaddr(3type)).
//!
//! Each unsafe block meets these obligations:
//!
//! 1. *Any bytes will do*: a `sockaddr_storage` is initialized, as large and as aligned as every
//!    type of address, and none of them has invalid values.
//! 2. *Memory is ours*: what is written to is exclusively borrowed.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

use libc::{c_int, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use socket2::{SockAddr, SockAddrStorage};

use super::socket;
use crate::base::address::NetAddr;

/// Room for an address, with none in it.
#[inline]
pub(super) fn none() -> sockaddr_storage {
    // SAFETY: any bytes will do (1).
    unsafe { std::mem::zeroed() }
}

/// Family, port and address of IPv4 as one number, which is the same where they are; of other
/// families it does not say all.
#[inline]
pub(super) fn number(name: &sockaddr_storage) -> u64 {
    // SAFETY: any bytes will do (1), wherever they are: it is read unaligned.
    unsafe { ptr::from_ref(name).cast::<u64>().read_unaligned() }
}

/// Whether this is of IPv4, if the system wrote anything.
#[inline]
pub(super) fn is_v4(name: &sockaddr_storage) -> bool {
    c_int::from(name.ss_family) == libc::AF_INET
}

/// Whether two addresses of the internet, which have the same [`number`], are the same.
pub(super) fn is_same_inet(one: &sockaddr_storage, two: &sockaddr_storage) -> bool {
    if is_v4(one) {
        return true;
    }
    // SAFETY: any bytes will do (1).
    let [one, two] = [one, two].map(|name| unsafe { &*ptr::from_ref(name).cast::<sockaddr_in6>() });
    one.sin6_addr.s6_addr == two.sin6_addr.s6_addr && one.sin6_scope_id == two.sin6_scope_id
}

/// An address of IPv4 as the system wrote it, where it wrote one.
#[inline]
pub(super) fn read_v4(name: &sockaddr_storage, len: socklen_t) -> Option<SocketAddrV4> {
    if len == 0 || !is_v4(name) {
        return None;
    }
    // SAFETY: any bytes will do (1).
    let inet = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in>() };
    let ip = Ipv4Addr::from(inet.sin_addr.s_addr.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_be(inet.sin_port)))
}

/// An address as the system wrote it; without a length it wrote none.
#[inline]
pub(super) fn read(name: &sockaddr_storage, len: socklen_t) -> NetAddr {
    if let Some(inet) = read_v4(name, len) {
        return NetAddr::Inet(SocketAddr::V4(inet));
    }
    read_other(name, len)
}

/// As [`read`], in place of another address.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))] // where `accept` asks
#[inline(always)] // on the way of every connection
pub(super) fn read_into(address: &mut NetAddr, name: &sockaddr_storage, len: socklen_t) {
    match read_v4(name, len) {
        Some(inet) => address.assign_v4(inet),
        None => *address = read_other(name, len),
    }
}

#[inline(never)]
fn read_other(name: &sockaddr_storage, len: socklen_t) -> NetAddr {
    let family = if len == 0 { libc::AF_UNSPEC } else { c_int::from(name.ss_family) };
    let at = ptr::from_ref(name);
    match family {
        libc::AF_INET6 => {
            // SAFETY: any bytes will do (1).
            let inet = unsafe { &*at.cast::<sockaddr_in6>() };
            NetAddr::Inet(SocketAddr::V6(SocketAddrV6::new(
                Ipv6Addr::from(inet.sin6_addr.s6_addr),
                u16::from_be(inet.sin6_port),
                inet.sin6_flowinfo,
                inet.sin6_scope_id,
            )))
        }
        libc::AF_UNIX => {
            let mut storage = SockAddrStorage::zeroed();
            // SAFETY: both are a `sockaddr_storage` by another name, and any bytes will do (1).
            let address = unsafe {
                *storage.view_as::<sockaddr_storage>() = *at;
                SockAddr::new(storage, len)
            };
            socket::net_addr(&address)
        }
        _ => NetAddr::Unnamed,
    }
}

/// Writes an address of IPv4, and answers its length.
#[inline]
pub(super) fn write_v4(name: &mut sockaddr_storage, to: &SocketAddrV4) -> socklen_t {
    // SAFETY: memory is ours (2), and any bytes will do (1).
    let inet = unsafe { &mut *ptr::from_mut(name).cast::<sockaddr_in>() };
    inet.sin_family = libc::AF_INET as libc::sa_family_t;
    inet.sin_port = to.port().to_be();
    inet.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
    size_of::<sockaddr_in>() as socklen_t
}

/// Writes an address, and answers its length; 0 is the peer that the socket is connected to.
pub(super) fn write(name: &mut sockaddr_storage, to: &NetAddr) -> io::Result<socklen_t> {
    let len = match to {
        NetAddr::Inet(SocketAddr::V4(inet)) => write_v4(name, inet),
        NetAddr::Inet(SocketAddr::V6(inet)) => {
            // SAFETY: memory is ours (2), and any bytes will do (1).
            let to = unsafe { &mut *ptr::from_mut(name).cast::<sockaddr_in6>() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_port = inet.port().to_be();
            to.sin6_flowinfo = inet.flowinfo();
            to.sin6_addr.s6_addr = inet.ip().octets();
            to.sin6_scope_id = inet.scope_id();
            size_of::<sockaddr_in6>() as socklen_t
        }
        NetAddr::Path(path) => write_unix(name, &SockAddr::unix(path)?),
        NetAddr::Abstract(abstract_name) => {
            write_unix(name, &socket::abstract_address(abstract_name)?)
        }
        NetAddr::Unnamed => 0,
    };
    Ok(len)
}

fn write_unix(name: &mut sockaddr_storage, address: &SockAddr) -> socklen_t {
    // SAFETY: memory is ours (2), and no longer than a `sockaddr_storage` is what is copied.
    unsafe {
        ptr::copy_nonoverlapping(
            address.as_ptr().cast::<u8>(),
            ptr::from_mut(name).cast::<u8>(),
            address.len() as usize,
        );
    }
    address.len()
}
