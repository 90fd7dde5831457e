//! Who is shown to the handler of a datagram socket.

use super::Desk;
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::hub::limits::Limits;
use crate::hub::shares::Shares;
use crate::sys::Arrived;

/// Looks at who has sent what to one socket, and counts it.
pub(crate) struct Screen {
    local: NetAddr,
    /// What peers have had of this turn.
    shares: Shares,
}

impl Screen {
    /// Of a socket with this address.
    pub(crate) fn new(local: NetAddr) -> Screen {
        Screen { local, shares: Shares::default() }
    }

    /// Another turn begins.
    pub(crate) fn begin(&mut self, limits: &Limits) {
        if limits.datagrams_per_peer < usize::MAX {
            self.shares.begin();
        }
    }

    /// How many of so many datagrams the handler is to see, the first ones. They have to be whole,
    /// their sender must be allowed, and is not to be the socket itself, which would be answered
    /// for ever.
    #[inline]
    pub(crate) fn pass<M>(
        &mut self,
        arrived: &Arrived,
        count: usize,
        desk: &Desk<M>,
        id: EndpointId,
    ) -> usize {
        if arrived.truncated || self.is_own(arrived) || !desk.handle.allows(&arrived.from) {
            return refuse(arrived, count, desk, id);
        }
        let shown = match desk.hub.limits.datagrams_per_peer {
            usize::MAX => count,
            per_peer => self.share(arrived, count, per_peer, desk),
        };
        desk.hub.counters.datagrams_in.add(shown as u64);
        shown
    }

    #[inline(never)]
    fn share<M>(&mut self, arrived: &Arrived, count: usize, max: usize, desk: &Desk<M>) -> usize {
        let shown = self.shares.take(&arrived.from, count, max);
        desk.hub.counters.datagrams_over_share.add((count - shown) as u64);
        shown
    }

    /// Whether a datagram claims to come from the very socket that received it. One that is bound
    /// to all interfaces knows itself by the address that was asked, and on the loopback by any;
    /// what claims to come from another interface of ours, but from outside, systems drop as
    /// martian (RFC 1812, section 5.3.7).
    #[inline]
    fn is_own(&self, arrived: &Arrived) -> bool {
        arrived.from.port() == self.local.port() && self.is_own_address(arrived)
    }

    #[inline(never)] // few have our port
    fn is_own_address(&self, arrived: &Arrived) -> bool {
        let Arrived { from, to, .. } = arrived;
        match (from, &self.local) {
            (NetAddr::Inet(from), NetAddr::Inet(local)) if local.ip().is_unspecified() => {
                from.ip().to_canonical().is_loopback() || *to == Some(from.ip())
            }
            (from, local) => from == local,
        }
    }
}

#[cold]
fn refuse<M>(arrived: &Arrived, count: usize, desk: &Desk<M>, id: EndpointId) -> usize {
    log::trace!("{id}: dropped {count} from {}", arrived.from);
    desk.hub.counters.datagrams_dropped.add(count as u64);
    0
}
