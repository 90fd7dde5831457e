//! The test's side of connections. It calls without delay, faults or counting.

use std::time::Duration;

use super::World;
use super::mishap::Mishap;
use super::net::Owner;
use super::stream::StreamState;
use crate::base::address::NetAddr;

/// The far end of a connection with a [`Node`](super::Node). Dropping it closes it as close(2)
/// does: by a FIN, or by a reset where something was left unread.
pub struct Peer {
    world: World,
    id: usize,
    address: NetAddr,
    is_gone: bool,
}

impl Peer {
    pub(super) fn new(world: World, id: usize) -> Peer {
        let address = world.with(|state| state.net.stream(id).local.clone());
        Peer { world, id, address, is_gone: false }
    }

    /// Its own address: to the node, the peer's.
    pub fn address(&self) -> &NetAddr {
        &self.address
    }

    /// The address that it is, or tries to be, connected to: the node's end.
    pub fn remote(&self) -> NetAddr {
        self.world.with(|state| state.net.stream(self.id).remote.clone())
    }

    /// Whether the connection is made: it waits in the listener's queue, or was accepted.
    pub fn is_connected(&self) -> bool {
        self.state() == StreamState::Open
    }

    /// Sends, and answers how many of the bytes fitted; none where the connection is not made or
    /// can't carry any more.
    pub fn send(&self, bytes: &[u8]) -> usize {
        let write = |state: &mut super::State| state.net.write(self.id, &[bytes], bytes.len());
        self.world.with(write).unwrap_or(0)
    }

    /// Sends an urgent byte (MSG_OOB). The node does not read it with the others, but a read stops
    /// where it was; with [`hints`](super::Manners::hints) the edge tells.
    pub fn send_urgent(&self) {
        self.world.with(|state| state.net.send_urgent(self.id));
    }

    /// Receives all that has arrived, and by that makes room for more.
    pub fn receive(&self) -> Vec<u8> {
        self.receive_at_most(usize::MAX)
    }

    /// Receives up to so many of the bytes that have arrived.
    pub fn receive_at_most(&self, bytes_max: usize) -> Vec<u8> {
        self.world.with(|state| {
            let len = state.net.stream(self.id).inbox.len().min(bytes_max);
            let mut bytes = vec![0; len];
            if len > 0 {
                let taken = state.net.read(self.id, &mut bytes);
                assert_eq!(taken, Ok(len), "the inbox was counted");
            }
            bytes
        })
    }

    /// Sends a FIN: nothing can be sent any more, but received.
    pub fn finish(&self) {
        // Where the connection has already failed there is nothing to finish.
        let _ = self.world.with(|state| state.net.finish(self.id));
    }

    /// Closes by a reset: the node loses what it has not read yet, unless the manners
    /// [deliver](super::Manners::reset_delivers) that.
    pub fn reset(mut self) {
        self.world.with(|state| state.net.abort(self.id));
        self.is_gone = true;
    }

    /// Whether the node ended its direction (FIN) and everything before that was received.
    pub fn has_ended(&self) -> bool {
        let inbox_of = |state: &mut super::State| {
            let inbox = &state.net.stream(self.id).inbox;
            inbox.is_finished() && inbox.len() == 0
        };
        self.world.with(inbox_of)
    }

    /// Whether the connection failed: it was reset, or refused.
    pub fn was_reset(&self) -> bool {
        self.state() == StreamState::Dead
    }

    /// What broke the connection, where it was neither end's doing.
    pub fn mishap(&self) -> Option<Mishap> {
        self.world.with(|state| state.net.stream(self.id).mishap)
    }

    /// How often a mishap (`WouldBlock` out of season, an interruption, a late edge) has kept the
    /// node's end waiting.
    pub fn delays(&self) -> u64 {
        self.world.with(|state| {
            let mate = state.net.stream(self.id).mate;
            mate.map_or(0, |mate| state.net.stream(mate).delays)
        })
    }

    /// Whether a late edge to the node's end is on its way.
    pub fn is_delayed(&self) -> bool {
        self.world.with(|state| {
            let mate = state.net.stream(self.id).mate;
            mate.is_some_and(|mate| state.net.stream(mate).late_until > state.now())
        })
    }

    /// How many bytes have arrived at the node's end and were not read there.
    pub fn unread_bytes(&self) -> usize {
        self.world.with(|state| {
            let mate = state.net.stream(self.id).mate;
            mate.map_or(0, |mate| state.net.stream(mate).inbox.len())
        })
    }

    fn state(&self) -> StreamState {
        self.world.with(|state| state.net.stream(self.id).state)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if !self.is_gone {
            self.world.with(|state| state.net.close(self.id));
        }
    }
}

/// A listener of the test's, for nodes to connect to. Dropping it closes it.
pub struct PeerListener {
    world: World,
    id: usize,
    address: NetAddr,
}

impl PeerListener {
    pub(super) fn new(world: World, id: usize, address: NetAddr) -> PeerListener {
        PeerListener { world, id, address }
    }

    /// Where it listens.
    pub fn address(&self) -> &NetAddr {
        &self.address
    }

    /// The oldest connection that waits.
    pub fn accept(&self) -> Option<Peer> {
        let accepted = self.world.with(|state| state.net.accept(self.id, Owner::Peer));
        Some(Peer::new(self.world.clone(), accepted.ok()?))
    }
}

impl Drop for PeerListener {
    fn drop(&mut self) {
        self.world.with(|state| state.net.close(self.id));
    }
}

/// A datagram socket of the test's. Dropping it closes it.
pub struct DatagramPeer {
    world: World,
    id: usize,
    address: NetAddr,
}

impl DatagramPeer {
    pub(super) fn new(world: World, id: usize, address: NetAddr) -> DatagramPeer {
        DatagramPeer { world, id, address }
    }

    /// Where it is bound.
    pub fn address(&self) -> &NetAddr {
        &self.address
    }

    /// Sends a datagram; it is lost where nobody is bound, or that socket's queue is full.
    ///
    /// # Panics
    /// It is longer than a datagram can be: 65,507 bytes, or 212,992 to a Unix socket.
    pub fn send_to(&self, payload: &[u8], to: &NetAddr) {
        let outcome = self.world.with(|state| state.net.send(self.id, payload, to, Duration::ZERO));
        assert_ne!(outcome, Err(libc::EMSGSIZE), "{} bytes", payload.len());
    }

    /// The oldest datagram that has arrived, and its sender.
    pub fn receive(&self) -> Option<(Vec<u8>, NetAddr)> {
        let (from, payload) = self.world.with(|state| state.net.receive(self.id)).ok()?;
        Some((payload, from))
    }
}

impl Drop for DatagramPeer {
    fn drop(&mut self) {
        self.world.with(|state| state.net.close(self.id));
    }
}
