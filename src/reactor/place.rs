//! Which reactor of a server gets a new connection.

use std::sync::Arc;

use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::base::mailbox::{Mailbox, Posted, Refused};
use crate::handler::Handle;

/// How new connections are spread over the reactors of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Placement {
    /// The first reactor accepts, and hands connections out in turn. The spread is even, however
    /// clients come.
    #[default]
    RoundRobin,
    /// The first reactor accepts, and hands each connection to the reactor that has fewest open.
    /// Better than in turn where some connections stay much longer than others.
    LeastLoaded,
    /// Every reactor has a listener of its own on the same port (SO_REUSEPORT), and the system
    /// chooses by a hash of the addresses: the fastest for many short connections, since none is
    /// handed over; but few clients may spread unevenly, and any process of the same user can
    /// join in. For internet addresses; Unix sockets are handed out in turn.
    ReusePort,
}

impl Placement {
    /// How many connections a second each of so many reactors may accept, of which `u32::MAX` is
    /// as many as come.
    pub(crate) fn share(self, accepts_per_second: u32, reactors: usize) -> u32 {
        match self {
            Placement::ReusePort if accepts_per_second < u32::MAX => {
                (accepts_per_second / reactors as u32).max(1)
            }
            _ => accepts_per_second,
        }
    }
}

/// Whether the connections of one listener are spread over the reactors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spread {
    /// They stay with the reactor that accepts them.
    Here,
    /// They are handed out by the server's [`Placement`].
    Over,
}

/// A connection on its way from the reactor that accepted it to its own.
pub(crate) struct Arrival<S> {
    pub(crate) stream: S,
    pub(crate) peer: NetAddr,
    pub(crate) endpoint: EndpointId,
}

/// The reactors of a server as one of them sees them.
pub(crate) struct Neighbours<S> {
    arrivals: Arc<[Mailbox<Arrival<S>>]>,
    placement: Placement,
    me: usize,
    next: u32,
}

impl<S> Neighbours<S> {
    /// One for each of `count` reactors.
    pub(crate) fn circle(count: usize, placement: Placement, mailbox: usize) -> Vec<Neighbours<S>> {
        let arrivals: Arc<[_]> = (0..count).map(|_| Mailbox::new(mailbox)).collect();
        (0..count)
            .map(|me| Neighbours { arrivals: arrivals.clone(), placement, me, next: me as u32 })
            .collect()
    }

    /// Whose the next connection is.
    pub(super) fn choose<M>(&mut self, handle: &Handle<M>) -> u32 {
        let count = self.arrivals.len() as u32;
        match self.placement {
            Placement::RoundRobin | Placement::ReusePort => {
                let chosen = self.next;
                self.next = (chosen + 1) % count;
                chosen
            }
            Placement::LeastLoaded => {
                let load = |&reactor: &u32| handle.load(reactor as usize);
                (0..count).min_by_key(load).expect("there is at least one reactor")
            }
        }
    }

    /// Hands a connection over. It is given back where the other cannot take it.
    pub(super) fn hand_over<M>(
        &self,
        to: u32,
        arrival: Arrival<S>,
        handle: &Handle<M>,
    ) -> Result<(), Arrival<S>> {
        match self.arrivals[to as usize].post(arrival) {
            Ok(Posted::Wake) => handle.wake(to as usize),
            Ok(Posted::Quiet) => {}
            Err(Refused::Full(arrival) | Refused::Closed(arrival)) => return Err(arrival),
        }
        Ok(())
    }

    pub(super) fn has_arrivals(&self) -> bool {
        self.arrivals[self.me].is_pending()
    }

    pub(super) fn collect(&self, into: &mut Vec<Arrival<S>>) {
        self.arrivals[self.me].collect(into);
    }

    /// Refuses what comes from now on: whoever hands over keeps it. Answers what had come.
    pub(super) fn close(&self) -> Vec<Arrival<S>> {
        self.arrivals[self.me].close()
    }
}
