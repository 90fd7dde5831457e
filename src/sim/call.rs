//! A node's calls of its system: counted, told to the trace, and spoilt by chance.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::faults::Call;
use super::mishap::Mishap;
use super::net::Errno;
use super::node::Stream;
use super::trace::Happening;
use super::{State, World};
use crate::base::address::NetAddr;
use crate::base::time::Time;
use crate::sys::{Received, Token};

impl World {
    /// One call by a node: counted, and let through unless it is to fail.
    pub(super) fn call<T: Measured>(
        &self,
        node: usize,
        socket: usize,
        call: Call,
        act: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let outcome = self.with(|state| {
            let outcome = match state.whims.enter(call) {
                Ok(()) => act(state),
                Err(errno) => {
                    state.net.note_delay(socket, state.now());
                    Err(errno)
                }
            };
            let told = outcome.as_ref().map(Measured::measure).map_err(|errno| *errno);
            state.happened(Happening::Called { node, call, socket, outcome: told });
            outcome
        });
        outcome.map_err(io::Error::from_raw_os_error)
    }
}

impl State {
    /// How many of `possible_bytes` a call moves.
    pub(super) fn shorten(&mut self, possible_bytes: usize, mishap: Mishap) -> usize {
        self.whims.shorten(possible_bytes, mishap)
    }

    /// Somebody whom a node watches, by chance; nobody where chance points at no such place.
    pub(super) fn somebody(&mut self, node: usize) -> Option<Token> {
        let places = self.net.sockets.capacity() as u64;
        (0..TRIES).find_map(|_| {
            let index = self.whims.below(places.max(1)) as usize;
            self.net.watched_at(index, node)
        })
    }

    /// Sends a datagram through a network that loses, doubles and reorders.
    pub(super) fn carry(&mut self, id: usize, payload: &[u8], to: &NetAddr) -> Result<(), Errno> {
        if self.deals(Mishap::DatagramLost) {
            return Ok(());
        }
        let is_late = self.deals(Mishap::DatagramReordered);
        let delay =
            if is_late { self.net.agenda.span_below(OVERTAKEN_MOST) } else { Duration::ZERO };
        if self.deals(Mishap::DatagramDoubled) {
            self.net.send(id, payload, to, delay)?;
        }
        self.net.send(id, payload, to, delay)
    }
}

/// What the trace says of a call's success.
pub(super) trait Measured {
    fn measure(&self) -> u64 {
        0
    }
}

impl Measured for () {}
impl Measured for NetAddr {}
impl Measured for Stream {}
impl Measured for (usize, NetAddr) {}
impl Measured for (Option<Vec<SocketAddr>>, Time) {}

impl Measured for usize {
    fn measure(&self) -> u64 {
        *self as u64
    }
}

impl Measured for Received {
    fn measure(&self) -> u64 {
        self.len as u64
    }
}

const OVERTAKEN_MOST: Duration = Duration::from_millis(50);
/// How often chance points somewhere.
const TRIES: usize = 8;
