//! Floor 5: several reactors as threads, with their listeners.

mod builder;
mod handover;
mod ready;
mod running;
#[cfg(feature = "signals")]
mod signals;
mod watchdog;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

pub use self::builder::{BindError, Builder};
use self::builder::{ListingKind, Rank, SendDatagram, SendService};
pub use self::handover::Handover;
use self::ready::{Ready, Tell};
pub use self::running::Running;
use self::running::{Alarm, Job};
pub use self::watchdog::Watchdog;
use crate::base::address::{Address, NetAddr};
use crate::base::id::EndpointId;
use crate::handler::Handle;
use crate::hub::counters::Report;
use crate::hub::limits::Limits;
use crate::reactor::{Neighbours, Placement, Reactor, Spread};
use crate::sys::{
    DatagramOptions, ListenOptions, Os, OsDatagram, OsListener, OsStream, Platform, Socket, notify,
};

/// Sockets that are bound, and reactors that are about to serve them.
pub struct Server<M: 'static = ()> {
    handle: Handle<M>,
    seats: Vec<Seat<M>>,
    limits: Limits,
    placement: Placement,
    watchdog: Option<Duration>,
    bound: Vec<Bound>,
    on_ready: Vec<Tell>,
    #[cfg(feature = "signals")]
    signals: Option<signals::Watch>,
}

/// What one reactor will be made of, in its own thread.
struct Seat<M: 'static> {
    platform: Os,
    listeners: Vec<(EndpointId, Option<OsListener>, SendService<M>, Spread)>,
    datagrams: Vec<(EndpointId, OsDatagram, SendDatagram<M>)>,
}

impl<M: 'static> Seat<M> {
    fn new(platform: Os) -> Seat<M> {
        Seat { platform, listeners: Vec::new(), datagrams: Vec::new() }
    }
}

/// One socket that is bound.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Bound {
    /// Which call of the builder asked for it, counted from 0. A host name gives several.
    pub listing: usize,
    /// Its name.
    pub endpoint: EndpointId,
    /// Where it is bound.
    pub address: NetAddr,
}

impl Server {
    /// Starts to say what is to be served. For a server whose handlers get messages, write
    /// `Server::builder_for::<M>()`.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// As [`builder`](Server::builder), for handlers that get messages of type `M`.
    pub fn builder_for<M: Send + 'static>() -> Builder<M> {
        Builder::new()
    }
}

impl<M: Send + 'static> Server<M> {
    fn bind(&mut self, listing: usize, address: &Address, kind: &ListingKind<M>) -> io::Result<()> {
        let endpoint = self.handle.next_endpoint();
        let is_inet = matches!(address, Address::Inet(_));
        let is_shared = self.placement == Placement::ReusePort && is_inet && self.seats.len() > 1;
        let mut address = address.clone();
        let mut local = NetAddr::Unnamed;
        for (index, seat) in self.seats.iter_mut().enumerate() {
            let binds = index == 0 || is_shared;
            match kind {
                ListingKind::Stream(options, make) => {
                    let reuse_port = options.reuse_port || is_shared;
                    let options = ListenOptions { reuse_port, ..options.clone() };
                    let listener = match binds {
                        true => Some(seat.platform.listen(&address, &options)?),
                        false => None,
                    };
                    if let Some(listener) = &listener {
                        local = listener.local_addr()?;
                    }
                    let spread = if is_shared { Spread::Here } else { Spread::Over };
                    seat.listeners.push((endpoint, listener, make(), spread));
                }
                ListingKind::Datagram(options, make) if binds => {
                    let reuse_port = options.reuse_port || is_shared;
                    let options = DatagramOptions { reuse_port, ..options.clone() };
                    let socket = seat.platform.bind_datagram(&address, &options)?;
                    local = socket.local_addr()?;
                    seat.datagrams.push((endpoint, socket, make()));
                }
                ListingKind::Datagram(..) => {}
            }
            // The others bind the port that was chosen for the first.
            if let NetAddr::Inet(inet) = local {
                address = Address::Inet(inet);
            }
        }
        self.bound.push(Bound { listing, endpoint, address: local });
        Ok(())
    }

    /// Has a reactor serve a socket that is there already: the first, or of several at one address
    /// each another. The others are given of what it accepts, unless each has its own.
    fn adopt(
        &mut self,
        listing: usize,
        fd: OwnedFd,
        kind: &ListingKind<M>,
        rank: Rank,
    ) -> io::Result<()> {
        let endpoint = self.handle.next_endpoint();
        let count = self.seats.len();
        let is_shared = self.placement == Placement::ReusePort && count > 1 && rank.of >= count;
        let server = rank.place % count;
        let address = match kind {
            ListingKind::Stream(_, make) => {
                let listener = self.seats[server].platform.adopt_listener(fd)?;
                let address = listener.local_addr()?;
                let spread = if is_shared { Spread::Here } else { Spread::Over };
                let mut listener = Some(listener);
                for (index, seat) in self.seats.iter_mut().enumerate() {
                    let own = if index == server { listener.take() } else { None };
                    if own.is_some() || !is_shared {
                        seat.listeners.push((endpoint, own, make(), spread));
                    }
                }
                address
            }
            ListingKind::Datagram(_, make) => {
                let seat = &mut self.seats[server];
                let socket = seat.platform.adopt_datagram(fd)?;
                let address = socket.local_addr()?;
                seat.datagrams.push((endpoint, socket, make()));
                address
            }
        };
        self.bound.push(Bound { listing, endpoint, address });
        Ok(())
    }

    /// Where everything is bound, in the order of the builder's calls.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What reaches the reactors from elsewhere.
    pub fn handle(&self) -> &Handle<M> {
        &self.handle
    }

    /// Has something done, in the thread of one of them, once all reactors watch their sockets and
    /// are about to serve: only then may whoever served before be told to end. It is not done
    /// where one of them cannot. The reactor waits for it.
    pub fn on_ready(&mut self, tell: impl FnOnce() + Send + 'static) {
        self.on_ready.push(Box::new(tell));
    }

    /// Serves until a shutdown has come to its end: the first reactor in this thread, the others
    /// in threads of their own.
    ///
    /// # Errors
    /// As for [`Running::join`] and [`start`](Server::start).
    pub fn run(self) -> io::Result<Report> {
        let (mut running, mut jobs) = self.prepare()?;
        let first = jobs.next().expect("there is at least one reactor");
        running.spawn(jobs)?;
        let first = (first.serve)();
        Ok(running.wait()?.and(first?))
    }

    /// Serves in threads of its own.
    ///
    /// # Errors
    /// A thread cannot be had; those already started are stopped.
    pub fn start(self) -> io::Result<Running<M>> {
        let (mut running, jobs) = self.prepare()?;
        running.spawn(jobs)?;
        Ok(running)
    }

    fn prepare(self) -> io::Result<(Running<M>, impl Iterator<Item = Job>)> {
        let count = self.seats.len();
        let limits = Limits {
            buffered_bytes: (self.limits.buffered_bytes / count).max(1),
            accepts_per_second: self.placement.share(self.limits.accepts_per_second, count),
            ..self.limits.clone()
        };
        let circle = match count {
            1 => Vec::new(),
            _ => Neighbours::circle(count, self.placement, limits.mailbox),
        };
        let running = Running {
            #[cfg(feature = "signals")]
            _signals: self.signals,
            _watchdog: self.watchdog.map(|it| Watchdog::start(&self.handle, it)).transpose()?,
            handle: self.handle.clone(),
            bound: self.bound.into(),
            threads: Vec::new(),
        };
        let ready = Arc::new(Ready::new(count, self.on_ready));
        let mut circle = circle.into_iter();
        let jobs = self.seats.into_iter().enumerate().map(move |(index, seat)| {
            let (handle, limits, neighbours) = (self.handle.clone(), limits.clone(), circle.next());
            let ready = ready.clone();
            let serve = move || {
                let mut alarm = Alarm(Some(handle.clone()));
                let mut reactor = assemble(seat, limits, &handle, index as u32, neighbours)?;
                ready.count();
                let report = reactor.run()?;
                alarm.0 = None;
                Ok(report)
            };
            Job { name: format!("tidemill-{index}"), serve: Box::new(serve) }
        });
        Ok((running, jobs))
    }
}

/// Makes a reactor of its parts.
fn assemble<M: 'static>(
    seat: Seat<M>,
    limits: Limits,
    handle: &Handle<M>,
    index: u32,
    neighbours: Option<Neighbours<OsStream>>,
) -> io::Result<Reactor<M>> {
    let mut reactor = Reactor::assemble(seat.platform, limits, handle.clone(), index, neighbours)?;
    for (endpoint, listener, service, spread) in seat.listeners {
        reactor.add_listener(endpoint, listener, service, spread)?;
    }
    for (endpoint, socket, handler) in seat.datagrams {
        reactor.add_datagram(endpoint, socket, handler)?;
    }
    Ok(reactor)
}

fn tell_manager(state: &str) {
    if let Err(error) = notify(state) {
        log::warn!("the service manager could not be told {state}: {error}");
    }
}
