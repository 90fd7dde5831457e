//! Our side of a connection: the socket and the handler. What others may write to is the hub's row,
//! with which this comes and goes.

use super::Reactor;
use crate::base::address::NetAddr;
use crate::base::carry::Carry;
use crate::handler::{Desk, StreamHandler};
use crate::hub::Phase;
use crate::hub::outbound::Flags;
use crate::sys::Platform;

pub(super) struct Side<M: 'static, P: Platform> {
    /// Not there before it is connected, or where that failed.
    pub(super) source: Option<P::Stream>,
    pub(super) inbound: Option<Inbound<M>>,
}

/// The half of a connection that its handler owns.
pub(super) struct Inbound<M: 'static> {
    pub(super) handler: Box<dyn StreamHandler<M>>,
    /// Input that was not taken. Never there and empty.
    pub(super) rest: Option<Box<Carry>>,
}

impl<M: 'static, P: Platform> Default for Side<M, P> {
    /// Nobody's.
    #[inline]
    fn default() -> Self {
        Side { source: None, inbound: None }
    }
}

impl<M: 'static, P: Platform> Side<M, P> {
    /// Puts one in its place, where nobody may be.
    #[inline(always)] // on the way of every connection
    pub(super) fn put(
        sides: &mut Vec<Side<M, P>>,
        slot: u32,
        source: Option<P::Stream>,
        handler: Box<dyn StreamHandler<M>>,
    ) -> &mut Side<M, P> {
        let index = slot as usize;
        let side =
            if index < sides.len() { &mut sides[index] } else { Side::make_room(sides, index) };
        let inbound = Some(Inbound { handler, rest: None });
        let former = std::mem::replace(side, Side { source, inbound });
        debug_assert!(former.source.is_none() && former.inbound.is_none(), "somebody else's place");
        std::mem::forget(former); // nothing is dropped, which would take a call to find out
        side
    }

    #[inline(never)] // most places have been somebody's
    fn make_room(sides: &mut Vec<Side<M, P>>, index: usize) -> &mut Side<M, P> {
        sides.resize_with(index + 1, Side::default);
        &mut sides[index]
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Adds a connection.
    pub(super) fn insert(
        &mut self,
        stream: P::Stream,
        handler: Box<dyn StreamHandler<M>>,
        peer: &NetAddr,
        endpoint: u32,
    ) -> u32 {
        let slot = self.desk.hub.insert(Phase::Open, peer, endpoint);
        Side::put(&mut self.sides, slot, Some(stream), handler);
        slot
    }

    /// Gives a row that is in the hub already its side.
    pub(super) fn fill(&mut self, slot: u32, handler: Box<dyn StreamHandler<M>>) {
        Side::put(&mut self.sides, slot, None, handler);
    }

    /// Takes a connection out of the tables, and its socket out of the world.
    #[inline(always)] // on the way of every connection
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<dyn StreamHandler<M>>> {
        let Desk { hub, handle, .. } = &mut self.desk;
        if hub.limits.counts_clients() {
            let row = hub.row(slot);
            if row.is_accepted() {
                handle.leave(&row.peer.address(), &hub.limits);
            }
        }
        let flags = hub.remove(slot);
        let Side { source, inbound } = &mut self.sides[slot as usize];
        if let Some(stream) = source.take() {
            if flags.has(Flags::RESET) {
                self.platform.abort(stream);
            } else {
                self.platform.close(stream);
            }
        }
        handle.count_closed(&hub.counters);
        let Inbound { handler, rest } = inbound.take()?;
        if let Some(rest) = rest {
            self.recycle(rest);
        }
        Some(handler)
    }

    /// Once all connections of a burst have gone, gives back the tables that they needed.
    pub(super) fn shrink(&mut self) {
        if self.desk.hub.rows.is_empty() && self.sides.len() > TABLE_KEPT {
            self.desk.hub.shrink();
            self.sides = Vec::new();
        }
    }
}

/// A table of connections that is not larger than this is kept when it is empty.
const TABLE_KEPT: usize = 1024;
