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
//! What goes wrong has names: each [`Mishap`] happens by the odds that a [`Plan`] gives it, and is
//! counted. Things take their time where [`World::set_latency`] says so.
//!
//! **Time** moves in two ways: by [`World::advance`], and in a node's `wait`. That delivers what
//! is due, and returns; where nothing is, it moves the clock to what happens next, within its
//! timeout. Without a timeout, and with nothing on its way, it returns with nothing, for nobody
//! else could end it: with several nodes that means "let others go on", with one it is a hang.
//! [`World::stalled_waits`] counts them.
//!
//! ```
//! use tidemill::sim::World;
//! use tidemill::sys::{ListenOptions, Platform};
//! use tidemill::{Address, NetAddr};
//!
//! let world = World::new(1);
//! let mut node = world.node();
//! let address: Address = "10.0.0.1:7".parse()?;
//! let mut listener = node.listen(&address, &ListenOptions::default())?;
//!
//! let peer = world.connect(address);
//! assert_eq!(peer.send(b"tick"), 4);
//!
//! let mut stream = node.accept(&mut listener, &mut NetAddr::Unnamed)?;
//! let mut buffer = [0; 16];
//! assert_eq!(node.read(&mut stream, &mut buffer)?, 4);
//! node.close(stream);
//! assert!(peer.has_ended());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A reactor runs in it as on any platform. To put a handler of your own through thousands of
//! worlds, with clients, faults and checks, see [`testing::simulation`](crate::testing::simulation);
//! by hand it is this:
//!
//! ```
//! use std::time::Duration;
//! use tidemill::sim::{Mishap, Plan, World};
//! use tidemill::{Address, Limits, NetAddr, Reactor, protocols::Echo};
//!
//! let world = World::new(1);
//! world.set_plan(Plan::default().with(Mishap::ShortRead, 5000).with(Mishap::ShortWrite, 5000));
//! let address: Address = "10.0.0.1:7".parse()?;
//! let mut reactor: Reactor<(), _> = Reactor::with_platform(world.node(), Limits::default())?;
//! reactor.listen(&address, |_: &NetAddr| Echo)?;
//!
//! let peer = world.connect(address);
//! peer.send(b"as if it were one");
//! for _ in 0..20 {
//!     reactor.turn(Some(Duration::from_millis(1)))?;
//! }
//! assert_eq!(peer.receive(), b"as if it were one");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agenda;
mod call;
#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod conformance;
mod faults;
mod mishap;
mod net;
mod node;
mod peer;
mod pipe;
mod plan;
mod stream;
#[cfg(test)]
mod tests;
mod trace;
mod watch;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub use faults::{Call, Manners};
pub use mishap::Mishap;
pub use node::{Datagram, Listener, Node, Stream};
pub use peer::{DatagramPeer, Peer, PeerListener};
pub use plan::Plan;

use crate::base::address::{Address, NetAddr};
use crate::base::time::Time;
use faults::Whims;
use net::{Errno, Fate, Net, Owner, net_addr};
use trace::{Happening, Trace};

/// A simulated network and its clock. Clones are the same world.
#[derive(Clone)]
pub struct World {
    // Nodes and peers are values of their own, in the hands of reactors and tests that know
    // nothing of each other, and all of them act on this. It is never borrowed across a call out.
    state: Rc<RefCell<State>>,
}

struct State {
    net: Net,
    whims: Whims,
    names: BTreeMap<String, Vec<SocketAddr>>,
    waits: u64,
    stalled_waits: u64,
    /// By how much the clock has jumped.
    jumped: Duration,
    trace: Trace,
}

/// Setting it up.
impl World {
    /// An empty world, at [`Time::ZERO`], in which everything left to chance follows `seed`.
    pub fn new(seed: u64) -> World {
        let state = State {
            net: Net::new(seed),
            whims: Whims::new(seed),
            names: BTreeMap::new(),
            waits: 0,
            stalled_waits: 0,
            jumped: Duration::ZERO,
            trace: Trace::new(),
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
        self.set_plan(manners.into());
    }

    /// Sets what goes wrong how often from now on, in place of the manners that were set.
    ///
    /// # Panics
    /// [`Mishap::ShortRead`] and `short_read_drains` contradict each other.
    pub fn set_plan(&self, plan: Plan) {
        plan.check();
        self.with(|state| {
            state.net.has_hints = plan.hints || plan.short_read_drains;
            state.net.reset_delivers = plan.reset_delivers;
            state.whims.plan = plan;
        });
    }

    /// From now on nothing goes wrong any more. How much edges tell stays as it was.
    pub fn calm(&self) {
        self.with(|state| state.whims.plan = state.whims.plan.clone().only(&[]));
    }

    /// Sets how long anything is on its way, for what is sent from now on: evenly between the
    /// two. Zero, as by default, is at once. Within a stream nothing overtakes; datagrams may.
    ///
    /// # Panics
    /// The longest is shorter than the shortest.
    pub fn set_latency(&self, shortest: Duration, longest: Duration) {
        assert!(shortest <= longest, "from {shortest:?} to {longest:?}");
        self.with(|state| state.net.agenda.latency = (shortest, longest));
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
        self.fail_nth(call, 1, errno);
    }

    /// As [`fail_next`](World::fail_next), for the `nth` call of that kind from now; 1 is the next.
    /// To run something again and again, with another call failing each time, counts how many
    /// there are ([`calls`](World::calls)) and comes upon every way in which it may break.
    ///
    /// # Panics
    /// `nth` is zero.
    pub fn fail_nth(&self, call: Call, nth: u64, errno: i32) {
        assert!(nth > 0, "calls are counted from 1");
        self.with(|state| state.whims.appoint(call, nth, errno));
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
        let (id, _) = self.with(|state| state.net.connect(to, None, Owner::Peer, Fate::Common));
        Peer::new(self.clone(), id)
    }

    /// As [`connect`](World::connect), from an address of the peer's choice: of the same kind.
    ///
    /// # Panics
    /// The address is a host name.
    pub fn connect_from(&self, from: impl Into<NetAddr>, address: impl Into<Address>) -> Peer {
        let (to, fate, from) = (resolved(&address.into()), Fate::Common, from.into());
        let (id, _) = self.with(|state| state.net.connect(to, Some(from), Owner::Peer, fate));
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
        self.with(|state| state.net.agenda.now)
    }

    /// Lets time pass, and what is due in it happen.
    pub fn advance(&self, span: Duration) {
        self.with(|state| state.net.advance(state.net.agenda.now + span));
    }

    /// When something that is on its way arrives next.
    pub fn next_event(&self) -> Option<Time> {
        self.with(|state| state.net.agenda.next())
    }

    /// Whether a wait of the node with that [number](Node::number) would return at once.
    pub fn has_news(&self, node: usize) -> bool {
        self.with(|state| state.net.has_news(node))
    }

    /// Whether a mishap happens now, by the odds of the [`Plan`]: for those that are up to the
    /// peers, and for a test's own.
    pub fn deals(&self, mishap: Mishap) -> bool {
        self.with(|state| state.deals(mishap))
    }

    /// How often a mishap has happened.
    pub fn dealt(&self, mishap: Mishap) -> u64 {
        self.with(|state| state.whims.dealt(mishap))
    }

    /// What broke a connection that was begun at this address, where it was neither end's doing.
    /// (Where several were begun at it, any of them.)
    pub fn mishap_at(&self, address: &NetAddr) -> Option<Mishap> {
        self.with(|state| state.net.broken.get(address).copied())
    }

    /// By how much the clock has [jumped](Mishap::ClockJumps) in all.
    pub fn jumped(&self) -> Duration {
        self.with(|state| state.jumped)
    }

    /// A hash of everything that has happened: every call of a node and its outcome, every edge
    /// and every mishap, with the time. The same history has the same hash,
    /// on every machine.
    pub fn trace_hash(&self) -> u64 {
        self.with(|state| state.trace.hash())
    }

    /// From now on remembers the last so many things that happened, for
    /// [`timeline`](World::timeline).
    pub fn keep_timeline(&self, lines_max: usize) {
        self.with(|state| state.trace.keep(lines_max));
    }

    /// What has happened of late, one line each, in seconds since the world began.
    pub fn timeline(&self) -> Vec<String> {
        self.with(|state| state.trace.lines())
    }

    /// Writes a line into the timeline, where there is one.
    pub fn note(&self, text: impl FnOnce() -> String) {
        self.with(|state| {
            if state.trace.is_kept() {
                state.happened(Happening::Noted(text()));
            }
        });
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
    fn now(&self) -> Time {
        self.net.agenda.now
    }

    /// A wait in which nothing was due ends when its time is over, or on the way there by a
    /// stray.
    fn pass_time(&mut self, until: Time, has_stray: bool) {
        let nanos = until.as_nanos().saturating_sub(self.now().as_nanos());
        let passed =
            if has_stray { self.whims.below(nanos.saturating_add(1).max(1)) } else { nanos };
        self.net.advance(self.now() + Duration::from_nanos(passed));
    }

    fn deals(&mut self, mishap: Mishap) -> bool {
        let is_dealt = self.whims.deals(mishap);
        if is_dealt {
            self.happened(Happening::Dealt(mishap));
        }
        is_dealt
    }

    fn happened(&mut self, what: Happening) {
        self.trace.add(self.net.agenda.now, what);
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
