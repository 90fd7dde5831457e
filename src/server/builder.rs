//! What is to be served, and how: said before any socket is bound.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use std::{error, fmt, io};

#[cfg(feature = "signals")]
use super::signals;
use super::{Seat, Server, tell_manager};
use crate::base::address::{Address, NetAddr};
use crate::handler::{DatagramHandler, Handle, Service};
use crate::hub::limits::Limits;
use crate::reactor::Placement;
use crate::sys::net::{describe, resolve};
use crate::sys::{DatagramOptions, ListenOptions, Os, Platform, local_addr};

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
pub(super) enum ListingKind<M: 'static> {
    Stream(ListenOptions, Box<dyn Fn() -> SendService<M>>),
    Datagram(DatagramOptions, Box<dyn Fn() -> SendDatagram<M>>),
}

pub(super) type SendService<M> = Box<dyn Service<M> + Send>;
pub(super) type SendDatagram<M> = Box<dyn DatagramHandler<M> + Send>;

impl<M: Send + 'static> Builder<M> {
    pub(super) fn new() -> Builder<M> {
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
    /// while they still do; see [`Watchdog`](super::Watchdog).
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
    /// [`placement`](Builder::placement); the others get their share. Of several sockets at one
    /// address, as [`Placement::ReusePort`] makes and [hands over](Server::handover), each reactor
    /// has one in turn; and where there is one for each, that placement is gone on with.
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

    /// Serves datagrams of a socket that is bound already. The first reactor does; of several
    /// sockets at one address, each reactor has one in turn.
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

    /// Tells the service manager, if there is one ([`notify`](crate::sys::notify)): `READY=1`
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
        let adopted = Adopted::among(&self.listings);
        for (index, Listing { place, kind }) in self.listings.into_iter().enumerate() {
            let address = match place {
                Place::Address(address) => address,
                Place::Socket(fd) => {
                    server.adopt(index, fd, &kind, adopted.rank(index)).map_err(whole)?;
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

/// Sockets that are there already, by their addresses: several may have the same (SO_REUSEPORT).
struct Adopted(Vec<Option<(bool, NetAddr)>>);

/// Which of several sockets at one address it is.
#[derive(Clone, Copy)]
pub(super) struct Rank {
    /// How many are before it.
    pub(super) place: usize,
    /// How many there are.
    pub(super) of: usize,
}

impl Adopted {
    fn among<M>(listings: &[Listing<M>]) -> Adopted {
        let key = |listing: &Listing<M>| match &listing.place {
            Place::Address(_) => None,
            Place::Socket(fd) => {
                let address = local_addr(fd.as_fd()).ok().filter(|it| it.inet().is_some())?;
                Some((matches!(listing.kind, ListingKind::Stream(..)), address))
            }
        };
        Adopted(listings.iter().map(key).collect())
    }

    fn rank(&self, index: usize) -> Rank {
        if self.0[index].is_none() {
            return Rank { place: 0, of: 1 };
        }
        let count = |keys: &[_]| keys.iter().filter(|key| **key == self.0[index]).count();
        Rank { place: count(&self.0[..index]), of: count(&self.0) }
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
