//! Floor 2: a world in memory, with its own clock.
//!
//! A [`World`] holds a network and a clock; a [`Node`] is a host in it, and a
//! [`Platform`](crate::sys::Platform) like any other, so the reactor that runs on it is the very
//! one that serves real sockets. The test holds the far ends: [`Peer`], [`PeerListener`],
//! [`DatagramPeer`]. There are no threads and no real time, and chance comes from a seed: the
//! same seed and the same calls give the same history, everywhere.
//!
//! How much the world gives beyond what is promised is a matter of its [`Manners`]. By default
//! that is nothing: an edge comes only where one is owed.
//!
//! **Time** moves in two ways: by [`World::advance`], and in a node's `wait`. That delivers what
//! is due, and returns; where nothing is, it moves the clock by its whole timeout. Without a
//! timeout it returns with nothing, for nobody else could end it: with several nodes that means
//! "let others go on", with one it is a hang. [`World::stalled_waits`] counts them.
//!
//! ```
//! use tidemill::Address;
//! use tidemill::sim::World;
//! use tidemill::sys::{ListenOptions, Platform};
//!
//! let world = World::new(1);
//! let mut node = world.node();
//! let address: Address = "10.0.0.1:7".parse()?;
//! let mut listener = node.listen(&address, &ListenOptions::default())?;
//!
//! let peer = world.connect(address);
//! assert_eq!(peer.send(b"tick"), 4);
//!
//! let (mut stream, _) = node.accept(&mut listener)?;
//! let mut buffer = [0; 16];
//! assert_eq!(node.read(&mut stream, &mut buffer)?, 4);
//! node.close(stream);
//! assert!(peer.has_ended());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod faults;
mod net;
mod node;
mod peer;
mod pipe;
mod stream;
#[cfg(test)]
mod tests;
mod watch;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub use faults::{Call, Manners};
pub use node::{Datagram, Listener, Node, Stream};
pub use peer::{DatagramPeer, Peer, PeerListener};

use crate::base::address::{Address, NetAddr};
use crate::base::time::Time;
use faults::Whims;
use net::{Errno, Net, Owner, net_addr};

/// A simulated network and its clock. Clones are the same world.
#[derive(Clone)]
pub struct World {
    // Nodes and peers are values of their own, in the hands of reactors and tests that know
    // nothing of each other, and all of them act on this. It is never borrowed across a call out.
    state: Rc<RefCell<State>>,
}

struct State {
    now: Time,
    net: Net,
    whims: Whims,
    names: BTreeMap<String, Vec<SocketAddr>>,
    waits: u64,
    stalled_waits: u64,
}

/// Setting it up.
impl World {
    /// An empty world, at [`Time::ZERO`], in which everything left to chance follows `seed`.
    pub fn new(seed: u64) -> World {
        let state = State {
            now: Time::ZERO,
            net: Net::new(),
            whims: Whims::new(seed),
            names: BTreeMap::new(),
            waits: 0,
            stalled_waits: 0,
        };
        World { state: Rc::new(RefCell::new(state)) }
    }

    /// A new host. All hosts share the clock and one network: a port is taken for all of them.
    pub fn node(&self) -> Node {
        Node::new(self.clone())
    }

    /// Sets how kind the world is from now on.
    ///
    /// # Panics
    /// Short reads and `short_read_drains` contradict each other.
    pub fn set_manners(&self, manners: Manners) {
        let is_coherent = !(manners.short_read_drains && manners.short_reads > 0);
        assert!(is_coherent, "a short read can't both drain and leave something behind");
        self.with(|state| {
            state.net.has_hints = manners.hints || manners.short_read_drains;
            state.whims.manners = manners;
        });
    }

    /// Sets how many bytes one direction of a connection holds, for connections to come: 64 KiB
    /// by default.
    ///
    /// # Panics
    /// `bytes` is zero.
    pub fn set_capacity(&self, bytes: usize) {
        assert!(bytes > 0, "nothing would ever pass");
        self.with(|state| state.net.pipe_bytes = bytes);
    }

    /// Sets how many connections may wait in a listener's queue whatever it asked for, for
    /// listeners to come: 4096 by default. What does not fit goes on connecting until there is
    /// room.
    ///
    /// # Panics
    /// `backlog_max` is zero.
    pub fn set_backlog(&self, backlog_max: usize) {
        assert!(backlog_max > 0, "nobody could ever connect");
        self.with(|state| state.net.backlog_max = backlog_max);
    }

    /// Makes a host name known to look-ups, at these addresses (their ports don't count).
    pub fn name(&self, host: impl Into<String>, addresses: Vec<SocketAddr>) {
        self.with(|state| state.names.insert(host.into(), addresses));
    }

    /// Makes the next call of that kind, by any node, fail with a number such as `libc::EMFILE`,
    /// and do nothing else. What was asked for before comes first. `EAGAIN` is `WouldBlock`
    /// out of season, and an edge follows.
    pub fn fail_next(&self, call: Call, errno: i32) {
        self.with(|state| state.whims.appoint(call, errno));
    }
}

/// The far ends.
impl World {
    /// Connects to a listener. The connection waits in its queue; where that is full, or the
    /// address is held, until that changes; where nobody listens the peer
    /// [`was_reset`](Peer::was_reset).
    ///
    /// # Panics
    /// The address is a host name.
    pub fn connect(&self, address: impl Into<Address>) -> Peer {
        let to = resolved(&address.into());
        let (id, _) = self.with(|state| state.net.connect(to, None, Owner::Peer));
        Peer::new(self.clone(), id)
    }

    /// Listens, for nodes to connect to.
    ///
    /// # Panics
    /// The address is taken, or a host name.
    pub fn listen(&self, address: impl Into<Address>) -> PeerListener {
        let address = address.into();
        let outcome = self.with(|state| state.net.listen(&address, usize::MAX, Owner::Peer));
        let (id, local) = bound(&address, outcome);
        PeerListener::new(self.clone(), id, local)
    }

    /// Binds a datagram socket.
    ///
    /// # Panics
    /// The address is taken, or a host name.
    pub fn bind_datagram(&self, address: impl Into<Address>) -> DatagramPeer {
        let address = address.into();
        let outcome = self.with(|state| state.net.bind(&address, Owner::Peer));
        let (id, local) = bound(&address, outcome);
        DatagramPeer::new(self.clone(), id, local)
    }

    /// From now on the address does not answer: connecting to it, whether or not somebody
    /// listens, goes on without end. (On a Unix socket a node is told `WouldBlock`.)
    ///
    /// # Panics
    /// The address is a host name.
    pub fn hold_connects(&self, address: impl Into<Address>) {
        let held = resolved(&address.into());
        self.with(|state| state.net.hold(held));
    }

    /// The address answers again, those who were kept waiting first.
    ///
    /// # Panics
    /// The address is a host name.
    pub fn release_connects(&self, address: impl Into<Address>) {
        let held = resolved(&address.into());
        self.with(|state| state.net.release(&held));
    }
}

/// Time, and looking on.
impl World {
    /// What all clocks show.
    pub fn now(&self) -> Time {
        self.with(|state| state.now)
    }

    /// Lets time pass.
    pub fn advance(&self, span: Duration) {
        self.with(|state| state.now = state.now + span);
    }

    /// How many calls of that kind all nodes have made, those that failed included.
    pub fn calls(&self, call: Call) -> u64 {
        self.with(|state| state.whims.count(call))
    }

    /// How often nodes have waited.
    pub fn waits(&self) -> u64 {
        self.with(|state| state.waits)
    }

    /// How many of the waits would never have ended: no timeout, and nothing due.
    pub fn stalled_waits(&self) -> u64 {
        self.with(|state| state.stalled_waits)
    }

    /// How many sockets nodes have open, for finding those that were forgotten. Peers' do not
    /// count, nor do connections that nobody accepted yet.
    pub fn open_sockets(&self) -> usize {
        self.with(|state| state.net.count_on_nodes())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.borrow_mut())
    }
}

impl State {
    /// A wait in which nothing was due ends after its timeout, or on the way there by a stray.
    fn pass_time(&mut self, timeout: Duration, has_stray: bool) {
        if !has_stray {
            self.now = self.now + timeout;
            return;
        }
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX - 1);
        self.now = self.now + Duration::from_nanos(self.whims.below(nanos.saturating_add(1)));
    }
}

fn resolved(address: &Address) -> NetAddr {
    net_addr(address).unwrap_or_else(|| panic!("{address} is a host name: look it up first"))
}

fn bound(address: &Address, outcome: Result<(usize, NetAddr), Errno>) -> (usize, NetAddr) {
    outcome.unwrap_or_else(|errno| {
        panic!("cannot bind {address}: {}", std::io::Error::from_raw_os_error(errno))
    })
}
