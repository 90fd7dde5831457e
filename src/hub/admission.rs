//! Who may come in: which addresses, and how many connections of one client.
//!
//! It is shared by the reactors of a server, so that what it says holds for all of them together.
//! While nothing is limited, asking costs one atomic load.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use super::limits::Limits;
use crate::base::address::NetAddr;
use crate::base::prefix::{Prefix, PrefixMap};

/// Which addresses may connect, by [`Handle::set_access`](crate::Handle::set_access). Of several
/// prefixes that hold an address the longest decides.
///
/// ```
/// use tidemill::Access;
/// let access = Access::allow_all().deny("10.0.0.0/8".parse()?).allow("10.0.0.7".parse()?);
/// assert!(access.allows("10.0.0.7".parse()?));
/// assert!(!access.allows("10.0.0.8".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Access {
    others: bool,
    prefixes: PrefixMap<bool>,
}

impl Access {
    /// Everybody, but for what is denied.
    #[must_use]
    pub fn allow_all() -> Access {
        Access { others: true, prefixes: PrefixMap::default() }
    }

    /// Nobody, but for what is allowed.
    #[must_use]
    pub fn deny_all() -> Access {
        Access { others: false, prefixes: PrefixMap::default() }
    }

    /// Allows a prefix; what was said of the same one before is forgotten.
    #[must_use]
    pub fn allow(mut self, prefix: Prefix) -> Access {
        self.prefixes.insert(prefix, true);
        self
    }

    /// Denies a prefix; what was said of the same one before is forgotten.
    #[must_use]
    pub fn deny(mut self, prefix: Prefix) -> Access {
        self.prefixes.insert(prefix, false);
        self
    }

    /// Whether an address may connect.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.prefixes.get(address).unwrap_or(self.others)
    }
}

/// Why a client is not let in, before any service has seen it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// There are [`Limits::connections`](crate::Limits::connections), and
    /// [`Limits::when_full`](crate::Limits::when_full) says not to wait.
    Full,
    /// This client has
    /// [`Limits::connections_per_client`](crate::Limits::connections_per_client) already.
    ClientFull,
    /// [`Handle::set_access`](crate::Handle::set_access) does not allow its address.
    Denied,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Full => "as many connections as may be",
            Refusal::ClientFull => "as many connections of one client as may be",
            Refusal::Denied => "the address is not allowed",
        })
    }
}

/// Looks at everybody who comes.
#[derive(Default)]
pub(crate) struct Admission {
    access: RwLock<Option<Access>>,
    /// Whether `access` says anything.
    has_access: AtomicBool,
    /// Connections by client, for those who have any: never more entries than connections.
    clients: Mutex<HashMap<Prefix, usize>>,
}

impl Admission {
    pub(crate) fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Some(access);
        self.has_access.store(true, Ordering::Release);
    }

    /// Whether the address of a peer is allowed; what has none that counts is.
    #[inline]
    pub(crate) fn allows(&self, peer: &NetAddr) -> bool {
        !self.has_access.load(Ordering::Acquire) || self.has_allowed(peer)
    }

    fn has_allowed(&self, peer: &NetAddr) -> bool {
        let Some(inet) = peer.inet() else { return true };
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        access.as_ref().is_none_or(|access| access.allows(inet.ip()))
    }

    /// A client has come. Where it may come in, it is counted until it [leaves](Self::leave).
    #[inline]
    pub(crate) fn enter(&self, peer: &NetAddr, limits: &Limits) -> Result<(), Refusal> {
        if !self.allows(peer) {
            return Err(Refusal::Denied);
        }
        if limits.counts_clients() { self.count(peer, limits) } else { Ok(()) }
    }

    fn count(&self, peer: &NetAddr, limits: &Limits) -> Result<(), Refusal> {
        let Some(client) = counted(peer, limits) else { return Ok(()) };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.entry(client) {
            Entry::Occupied(at) if *at.get() >= limits.connections_per_client => {
                Err(Refusal::ClientFull)
            }
            entry => {
                *entry.or_insert(0) += 1;
                Ok(())
            }
        }
    }

    /// A client that had come in has gone.
    pub(crate) fn leave(&self, peer: &NetAddr, limits: &Limits) {
        let Some(client) = counted(peer, limits) else { return };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut at) = clients.entry(client) {
            *at.get_mut() -= 1;
            if *at.get() == 0 {
                at.remove();
            }
        } else {
            debug_assert!(false, "whoever leaves has entered");
        }
        // After a burst most of the table would stay empty.
        if clients.capacity() > KEPT && clients.len() < clients.capacity() / 8 {
            let wanted = clients.len() * 2;
            clients.shrink_to(wanted.max(KEPT));
        }
    }

    /// How many clients there are.
    pub(crate) fn client_count(&self) -> usize {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What a peer counts as, where clients are counted.
fn counted(peer: &NetAddr, limits: &Limits) -> Option<Prefix> {
    let inet = peer.inet().filter(|_| limits.counts_clients())?;
    Some(Prefix::of_client(inet.ip()))
}

/// Room for so many clients stays.
const KEPT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> NetAddr {
        NetAddr::Inet(text.parse().unwrap())
    }

    #[test]
    fn clients_are_counted_apart_and_forgotten_when_they_have_gone() {
        let admission = Admission::default();
        let limits = Limits { connections_per_client: 2, ..Limits::default() };
        let enter = |text: &str| admission.enter(&peer(text), &limits);
        assert_eq!(enter("10.0.0.1:1"), Ok(()));
        assert_eq!(enter("[::ffff:10.0.0.1]:2"), Ok(()), "it is the same address");
        assert_eq!(enter("10.0.0.1:3"), Err(Refusal::ClientFull));
        assert_eq!(enter("[2001:db8::1]:1"), Ok(()));
        assert_eq!(enter("[2001:db8::2]:1"), Ok(()));
        assert_eq!(enter("[2001:db8::3]:1"), Err(Refusal::ClientFull), "the same network");
        assert_eq!(enter("10.0.0.2:1"), Ok(()));
        assert_eq!(admission.client_count(), 3);
        admission.leave(&peer("10.0.0.1:1"), &limits);
        assert_eq!(enter("10.0.0.1:4"), Ok(()));
        assert_eq!(enter("10.0.0.1:5"), Err(Refusal::ClientFull));
        for gone in ["10.0.0.1:2", "10.0.0.1:4", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1"]
        {
            admission.leave(&peer(gone), &limits);
        }
        assert_eq!(admission.client_count(), 0);
    }

    #[test]
    fn a_burst_of_clients_leaves_no_memory_behind() {
        let admission = Admission::default();
        let limits = Limits { connections_per_client: 2, ..Limits::default() };
        let peers: Vec<NetAddr> =
            (0..100_000_u32).map(|index| NetAddr::Inet((index.to_be_bytes(), 1).into())).collect();
        peers.iter().for_each(|peer| admission.enter(peer, &limits).unwrap());
        peers.iter().for_each(|peer| admission.leave(peer, &limits));
        let capacity = admission.clients.lock().unwrap().capacity();
        assert!(capacity <= 8 * KEPT, "{capacity}");
    }

    #[test]
    fn what_has_no_address_is_neither_denied_nor_counted() {
        let admission = Admission::default();
        admission.set_access(Access::deny_all());
        let limits = Limits { connections_per_client: 1, ..Limits::default() };
        for _ in 0..3 {
            assert_eq!(admission.enter(&NetAddr::Unnamed, &limits), Ok(()));
        }
        assert_eq!(admission.enter(&peer("10.0.0.1:1"), &limits), Err(Refusal::Denied));
        admission.set_access(Access::deny_all().allow("10.0.0.0/8".parse().unwrap()));
        assert_eq!(admission.enter(&peer("10.0.0.1:1"), &limits), Ok(()));
    }
}
