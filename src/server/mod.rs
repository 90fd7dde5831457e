//! Floor 5: several reactors as threads, with their listeners.

mod handover;
mod ready;
#[cfg(feature = "signals")]
mod signals;
mod watchdog;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::Duration;
use std::{error, fmt, io};

pub use self::handover::Handover;
use self::ready::{Ready, Tell};
pub use self::watchdog::Watchdog;
use crate::base::address::{Address, NetAddr};
use crate::base::id::EndpointId;
use crate::handler::{DatagramHandler, Handle, Service};
use crate::hub::counters::Report;
use crate::hub::limits::Limits;
use crate::reactor::{Neighbours, Placement, Reactor, Spread};
use crate::sys::net::{describe, resolve};
use crate::sys::{
    DatagramOptions, ListenOptions, Os, OsDatagram, OsListener, OsStream, Platform, Socket, notify,
};

/// What is to be served, before any socket is bound.
///
/// ```
/// use std::time::Duration;
/// use tidemill::{NetAddr, Server, protocols::{Echo, LineEcho}};
///
/// let running = Server::builder()
///     .threads(2)
///     .listen("127.0.0.1:0".parse()?, |_: &NetAddr| Echo)
///     .listen("127.0.0.1:0".parse()?, |_: &NetAddr| LineEcho::framed())
///     .bind()?
///     .start()?;
/// for bound in running.bound() {
///     println!("listening on {}", bound.address);
/// }
/// running.handle().shutdown(Duration::from_secs(1));
/// println!("{}", running.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder<M: 'static = ()> {
    threads: usize,
    limits: Limits,
    placement: Placement,
    busy_poll: Duration,
    listings: Vec<Listing<M>>,
    watchdog: Option<Duration>,
    tells_manager: bool,
    #[cfg(feature = "signals")]
    end_on_signal: Option<signals::End>,
}

/// One call of `listen` or `datagram`.
struct Listing<M: 'static> {
    place: Place,
    kind: ListingKind<M>,
}

/// What is listened at.
enum Place {
    Address(Address),
    /// A socket that is bound already.
    Socket(OwnedFd),
}

/// Handlers are made anew for each reactor.
enum ListingKind<M: 'static> {
    Stream(ListenOptions, Box<dyn Fn() -> SendService<M>>),
    Datagram(DatagramOptions, Box<dyn Fn() -> SendDatagram<M>>),
}

type SendService<M> = Box<dyn Service<M> + Send>;
type SendDatagram<M> = Box<dyn DatagramHandler<M> + Send>;

impl<M: Send + 'static> Builder<M> {
    fn new() -> Builder<M> {
        Builder {
            threads: 1,
            limits: Limits::default(),
            placement: Placement::default(),
            busy_poll: Duration::ZERO,
            listings: Vec::new(),
            watchdog: None,
            tells_manager: false,
            #[cfg(feature = "signals")]
            end_on_signal: None,
        }
    }

    /// How many reactors there are, each in a thread of its own; 1 by default.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The bounds of everything. Counts over all connections are shared by the reactors.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long each reactor asks before it sleeps; see
    /// [`Reactor::set_busy_poll`](crate::Reactor::set_busy_poll). Zero, off, by default: it takes
    /// a processor for each.
    #[must_use]
    pub fn busy_poll(mut self, busy_poll: Duration) -> Self {
        self.busy_poll = busy_poll;
        self
    }

    /// How connections are spread over the reactors; in turn by default.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Has a thread look for callbacks that hold a reactor up for longer than this, and log them
    /// while they still do; see [`Watchdog`].
    #[must_use]
    pub fn watchdog(mut self, threshold: Duration) -> Self {
        self.watchdog = Some(threshold);
        self
    }

    /// Serves streams at an address; all addresses of a host name. Each reactor has its own clone
    /// of the service.
    #[must_use]
    pub fn listen(self, address: Address, service: impl Service<M> + Clone + Send) -> Self {
        self.listen_with(address, ListenOptions::default(), service)
    }

    /// As [`listen`](Builder::listen), with options.
    #[must_use]
    pub fn listen_with(
        mut self,
        address: Address,
        options: ListenOptions,
        service: impl Service<M> + Clone + Send,
    ) -> Self {
        let kind = ListingKind::Stream(options, boxed(service));
        self.listings.push(Listing { place: Place::Address(address), kind });
        self
    }

    /// Serves streams of a socket that listens already: one of [`inherited`](crate::sys::inherited),
    /// or a `std::net::TcpListener`. The first reactor accepts, whatever the
    /// [`placement`](Builder::placement); the others get their share.
    #[must_use]
    pub fn listen_on(
        mut self,
        socket: impl Into<OwnedFd>,
        service: impl Service<M> + Clone + Send,
    ) -> Self {
        let kind = ListingKind::Stream(ListenOptions::default(), boxed(service));
        self.listings.push(Listing { place: Place::Socket(socket.into()), kind });
        self
    }

    /// Serves datagrams at an address; all addresses of a host name.
    #[must_use]
    pub fn datagram(
        self,
        address: Address,
        handler: impl DatagramHandler<M> + Clone + Send,
    ) -> Self {
        self.datagram_with(address, DatagramOptions::default(), handler)
    }

    /// As [`datagram`](Builder::datagram), with options.
    #[must_use]
    pub fn datagram_with(
        mut self,
        address: Address,
        options: DatagramOptions,
        handler: impl DatagramHandler<M> + Clone + Send,
    ) -> Self {
        let kind = ListingKind::Datagram(options, boxed_datagram(handler));
        self.listings.push(Listing { place: Place::Address(address), kind });
        self
    }

    /// Serves datagrams of a socket that is bound already. The first reactor does.
    #[must_use]
    pub fn datagram_on(
        mut self,
        socket: impl Into<OwnedFd>,
        handler: impl DatagramHandler<M> + Clone + Send,
    ) -> Self {
        let kind = ListingKind::Datagram(DatagramOptions::default(), boxed_datagram(handler));
        self.listings.push(Listing { place: Place::Socket(socket.into()), kind });
        self
    }

    /// Tells the service manager, if there is one ([`notify`]): `READY=1`
    /// once all reactors are about to serve, and `STOPPING=1` when a signal begins their end. What
    /// goes wrong with that is logged.
    #[must_use]
    pub fn notify_manager(mut self) -> Self {
        self.tells_manager = true;
        self
    }

    /// Has SIGINT and SIGTERM start a shutdown with this much time to finish, from
    /// [`bind`](Builder::bind) on; a second one ends the process at once. Once the last such
    /// server has ended, they do again what they did before the first: by default, end the
    /// process. (That they do even where somebody else has come to handle them by way of
    /// `signal-hook` meanwhile, as it does not tell.) Nothing is done about signals unless this
    /// is called.
    #[cfg(feature = "signals")]
    #[must_use]
    pub fn stop_on_signals(mut self, grace: Duration) -> Self {
        self.end_on_signal = Some(signals::End { patience: Duration::ZERO, grace });
        self
    }

    /// As [`stop_on_signals`](Builder::stop_on_signals), but connections may go on for so long
    /// before the shutdown begins: see [`Handle::wind_down`].
    #[cfg(feature = "signals")]
    #[must_use]
    pub fn wind_down_on_signals(mut self, patience: Duration, grace: Duration) -> Self {
        self.end_on_signal = Some(signals::End { patience, grace });
        self
    }

    /// Binds every socket. Nothing is accepted yet, but clients can queue from now on.
    ///
    /// # Errors
    /// [`Limits::check`] complains; or the first address that cannot be had, with the reason.
    pub fn bind(self) -> Result<Server<M>, BindError> {
        let whole = |error| BindError { address: None, error };
        if self.threads == 0 {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "no threads to serve with");
            return Err(whole(error));
        }
        let limits = self.limits.checked().map_err(whole)?;
        let mut platforms = Vec::new();
        for _ in 0..self.threads {
            let mut platform = Os::new().map_err(whole)?;
            platform.set_busy_poll(self.busy_poll);
            platforms.push(platform);
        }
        let wakers = platforms.iter().map(Platform::waker).collect();
        let mut server = Server {
            handle: Handle::new(wakers, limits.mailbox),
            seats: platforms.into_iter().map(Seat::new).collect(),
            limits,
            placement: self.placement,
            watchdog: self.watchdog,
            bound: Vec::new(),
            on_ready: Vec::new(),
            #[cfg(feature = "signals")]
            signals: None,
        };
        if self.tells_manager {
            server.on_ready(|| tell_manager("READY=1"));
        }
        for (index, Listing { place, kind }) in self.listings.into_iter().enumerate() {
            let address = match place {
                Place::Address(address) => address,
                Place::Socket(fd) => {
                    server.adopt(index, fd, &kind).map_err(whole)?;
                    continue;
                }
            };
            let named = |error| BindError { address: Some(address.clone()), error };
            for address in resolve(&address).map_err(named)? {
                server
                    .bind(index, &address, &kind)
                    .map_err(|error| BindError { address: Some(address.clone()), error })?;
            }
        }
        // From here on: whoever is told where the server is bound may also stop it in good order.
        #[cfg(feature = "signals")]
        if let Some(end) = self.end_on_signal {
            let watch = signals::stop_on(server.handle.clone(), end, self.tells_manager);
            server.signals = Some(watch.map_err(whole)?);
        }
        Ok(server)
    }
}

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

    /// Has the first reactor serve a socket that is there already, and the others be given of it.
    fn adopt(&mut self, listing: usize, fd: OwnedFd, kind: &ListingKind<M>) -> io::Result<()> {
        let endpoint = self.handle.next_endpoint();
        let (first, others) = self.seats.split_first_mut().expect("there is a reactor");
        let address = match kind {
            ListingKind::Stream(_, make) => {
                let listener = first.platform.adopt_listener(fd)?;
                let address = listener.local_addr()?;
                first.listeners.push((endpoint, Some(listener), make(), Spread::Over));
                for seat in others {
                    seat.listeners.push((endpoint, None, make(), Spread::Over));
                }
                address
            }
            ListingKind::Datagram(_, make) => {
                let socket = first.platform.adopt_datagram(fd)?;
                let address = socket.local_addr()?;
                first.datagrams.push((endpoint, socket, make()));
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

/// The life of one reactor, for a thread to live.
struct Job {
    name: String,
    serve: Box<dyn FnOnce() -> io::Result<Report> + Send>,
}

/// None serves without the others: where one fails or panics, this stops all.
struct Alarm<M: 'static>(Option<Handle<M>>);

impl<M: 'static> Drop for Alarm<M> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.shutdown(Duration::ZERO);
        }
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

/// A server at work. Dropping it stops the server at once; [`join`](Running::join) waits.
pub struct Running<M: 'static = ()> {
    handle: Handle<M>,
    bound: Arc<[Bound]>,
    threads: Vec<JoinHandle<io::Result<Report>>>,
    _watchdog: Option<Watchdog>,
    #[cfg(feature = "signals")]
    _signals: Option<signals::Watch>,
}

impl<M: 'static> Running<M> {
    /// Where everything is bound, in the order of the builder's calls.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What reaches the reactors from elsewhere.
    pub fn handle(&self) -> &Handle<M> {
        &self.handle
    }

    /// Waits until a [`shutdown`](Handle::shutdown) has come to its end, and tells how it went.
    ///
    /// # Errors
    /// A reactor could not watch its listeners, or could not wait for the system any more; the
    /// others were then stopped.
    ///
    /// # Panics
    /// A reactor panicked, which is a bug of this crate.
    pub fn join(mut self) -> io::Result<Report> {
        self.wait()
    }

    /// Where this fails, dropping `self` stops those that have started.
    fn spawn(&mut self, jobs: impl Iterator<Item = Job>) -> io::Result<()> {
        for Job { name, serve } in jobs {
            self.threads.push(ThreadBuilder::new().name(name).spawn(serve)?);
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<Report> {
        // All have ended before anything is told, even that one of them panicked.
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let mut whole = Ok(Report::default());
        for part in ended {
            let part = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            whole = match (whole, part) {
                (Ok(whole), Ok(part)) => Ok(whole.and(part)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        whole
    }
}

impl<M: 'static> Drop for Running<M> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.handle.shutdown(Duration::ZERO);
            for thread in self.threads.drain(..) {
                let _ = thread.join(); // nobody is left to be told
            }
        }
    }
}

fn boxed<M: 'static>(service: impl Service<M> + Clone + Send) -> Box<dyn Fn() -> SendService<M>> {
    Box::new(move || Box::new(service.clone()))
}

fn boxed_datagram<M: 'static>(
    handler: impl DatagramHandler<M> + Clone + Send,
) -> Box<dyn Fn() -> SendDatagram<M>> {
    Box::new(move || Box::new(handler.clone()))
}

fn tell_manager(state: &str) {
    if let Err(error) = notify(state) {
        log::warn!("the service manager could not be told {state}: {error}");
    }
}

/// A socket could not be bound: `127.0.0.1:7000: address already in use`.
#[derive(Debug)]
pub struct BindError {
    address: Option<Address>,
    error: io::Error,
}

impl BindError {
    /// The address, unless something else was missing.
    pub fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// What the system said.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{address}: {}", describe(&self.error)),
            None => f.write_str(&describe(&self.error)),
        }
    }
}

impl error::Error for BindError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}
