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

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Adds a connection.
    #[inline(always)] // on the way of every connection
    pub(super) fn insert(
        &mut self,
        stream: P::Stream,
        handler: Box<dyn StreamHandler<M>>,
        peer: &NetAddr,
        endpoint: u32,
    ) -> u32 {
        let slot = self.desk.hub.insert(Phase::Open, peer, endpoint).slot();
        self.fill(slot, handler);
        self.sides[slot as usize].source = Some(stream);
        slot
    }

    /// Gives a row that is in the hub already its side.
    #[inline(always)] // on the way of every connection
    pub(super) fn fill(&mut self, slot: u32, handler: Box<dyn StreamHandler<M>>) {
        let index = slot as usize;
        if index >= self.sides.len() {
            self.sides.resize_with(index + 1, || Side { source: None, inbound: None });
        }
        let Side { source, inbound } = &mut self.sides[index];
        debug_assert!(inbound.is_none() && source.is_none());
        *inbound = Some(Inbound { handler, rest: None });
    }

    /// Takes a connection out of the tables, and its socket out of the world.
    #[inline(always)] // on the way of every connection
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<dyn StreamHandler<M>>> {
        let Desk { hub, handle, .. } = &mut self.desk;
        let row = &hub.rows[slot as usize];
        if let Some(stream) = self.sides[slot as usize].source.take() {
            if row.flags.has(Flags::RESET) {
                self.platform.abort(stream);
            } else {
                self.platform.close(stream);
            }
        }
        if row.is_accepted() && hub.limits.counts_clients() {
            handle.leave(&row.peer.address(), &hub.limits);
        }
        handle.count_closed(hub.reactor);
        hub.remove(slot);
        let Inbound { handler, rest } = self.sides[slot as usize].inbound.take()?;
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
