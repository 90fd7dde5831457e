//! What may leave the thread: the way to a reactor, or to all of a server, from anywhere.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::ticket::{Posting, Ticket};
use super::{Connect, Service, StreamHandler};
use crate::base::address::NetAddr;
use crate::base::id::{ConnId, EndpointId};
use crate::base::mailbox::{self, Mailbox, Posted};
use crate::hub::admission::{Access, Admission, Refusal};
use crate::hub::counters::Ledger;
use crate::hub::groups::Broadcast;
use crate::hub::limits::{Limits, WhenFull};
use crate::hub::metrics::Metrics;
use crate::sys::Wake;

/// Reaches the reactors of a server, or a single one, from any thread. Cloning is cheap.
///
/// Everything sent is put into the mailbox of the reactor concerned, which is woken once for a
/// burst and works it off in its next turn. A mailbox is bounded: what does not fit is given
/// back.
pub struct Handle<M: 'static = ()> {
    shared: Arc<Shared<M>>,
}

/// What the handles and the reactors of one server share.
struct Shared<M: 'static> {
    posts: Box<[Post<M>]>,
    next_endpoint: AtomicU32,
    /// Connections open in all reactors.
    open: AtomicUsize,
    /// Listeners rest because the limit on connections was reached, and are to be woken once
    /// fewer than this are open; 0 where none does.
    accept_below: AtomicUsize,
    admission: Admission,
}

/// The way to one reactor.
struct Post<M: 'static> {
    mailbox: Mailbox<Letter<M>>,
    waker: Arc<dyn Wake>,
    /// What the reactor counts.
    ledger: Arc<Ledger>,
    /// Letters that the mailbox had no room for.
    letters_refused: AtomicU64,
    /// The time left to finish, in milliseconds, once a shutdown was asked for. It has a place
    /// of its own, since it must arrive even where the mailbox is full.
    shutdown: AtomicU64,
    /// As `shutdown`, the patience of a winding down, and the grace of the shutdown behind it.
    wind_down: [AtomicU64; 2],
}

const NO_SHUTDOWN: u64 = u64::MAX;

/// What a mailbox holds.
pub(crate) enum Letter<M: 'static> {
    Message(ConnId, M),
    Notify(EndpointId, M),
    Close(ConnId),
    Abort(ConnId),
    Broadcast(Arc<Posting>),
    Connect(Box<Connect>, Box<dyn StreamHandler<M> + Send>),
    Listen(EndpointId, OwnedFd, Box<dyn Service<M> + Send>),
    Unlisten(EndpointId),
    Adopt(OwnedFd, Box<dyn StreamHandler<M> + Send>),
}

/// A letter was not taken. It is given back where it can be of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused<T> {
    /// The mailbox holds [`Limits::mailbox`](crate::Limits::mailbox) letters.
    Full(T),
    /// The reactor has ended.
    Closed(T),
}

impl<T> Refused<T> {
    /// What was to be sent.
    pub fn into_inner(self) -> T {
        match self {
            Refused::Full(it) | Refused::Closed(it) => it,
        }
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> Refused<U> {
        match self {
            Refused::Full(it) => Refused::Full(f(it)),
            Refused::Closed(it) => Refused::Closed(f(it)),
        }
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Full(_) => "the reactor's mailbox is full",
            Refused::Closed(_) => "the reactor has ended",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for Refused<T> {}

impl<M: 'static> Handle<M> {
    pub(crate) fn new(wakers: Vec<Arc<dyn Wake>>, mailbox: usize) -> Handle<M> {
        let post = |waker| Post {
            mailbox: Mailbox::new(mailbox),
            waker,
            ledger: Arc::default(),
            letters_refused: AtomicU64::new(0),
            shutdown: AtomicU64::new(NO_SHUTDOWN),
            wind_down: [const { AtomicU64::new(NO_SHUTDOWN) }; 2],
        };
        let shared = Shared {
            posts: wakers.into_iter().map(post).collect(),
            next_endpoint: AtomicU32::new(0),
            open: AtomicUsize::new(0),
            accept_below: AtomicUsize::new(0),
            admission: Admission::default(),
        };
        Handle { shared: Arc::new(shared) }
    }

    // For everybody.

    /// Sends a message to a connection, whose handler gets it as
    /// [`on_message`](crate::StreamHandler::on_message). One that has ended by then drops it.
    ///
    /// # Errors
    /// The mailbox is full or the reactor has ended; the message is given back.
    pub fn send(&self, to: ConnId, message: M) -> Result<(), Refused<M>> {
        self.post(to.reactor(), Letter::Message(to, message)).map_err(|refused| {
            refused.map(|letter| match letter {
                Letter::Message(_, message) => message,
                _ => unreachable!("what was posted is given back"),
            })
        })
    }

    /// Sends a message to a listener or a datagram socket on one reactor of the server.
    ///
    /// # Errors
    /// As for [`send`](Handle::send).
    pub fn notify(&self, reactor: usize, to: EndpointId, message: M) -> Result<(), Refused<M>> {
        self.post(reactor, Letter::Notify(to, message)).map_err(|refused| {
            refused.map(|letter| match letter {
                Letter::Notify(_, message) => message,
                _ => unreachable!("what was posted is given back"),
            })
        })
    }

    /// Closes a connection, delivering first what was written to it.
    ///
    /// # Errors
    /// The mailbox is full or the reactor has ended.
    pub fn close(&self, id: ConnId) -> Result<(), Refused<()>> {
        self.post(id.reactor(), Letter::Close(id)).map_err(|refused| refused.map(drop))
    }

    /// Ends a connection at once.
    ///
    /// # Errors
    /// As for [`close`](Handle::close).
    pub fn abort(&self, id: ConnId) -> Result<(), Refused<()>> {
        self.post(id.reactor(), Letter::Abort(id)).map_err(|refused| refused.map(drop))
    }

    /// Sends bytes to every member of a group, on all reactors. What became of it is told by the
    /// ticket.
    ///
    /// # Errors
    /// A mailbox is full or a reactor has ended. Reactors before it in number have got it.
    pub fn broadcast(&self, broadcast: Broadcast) -> Result<Ticket, Refused<()>> {
        let ticket = Ticket::new(self.shared.posts.len());
        let posting = Arc::new(Posting { broadcast, ticket: ticket.clone() });
        for reactor in 0..self.shared.posts.len() {
            let letter = Letter::Broadcast(posting.clone());
            self.post(reactor, letter).map_err(|refused| refused.map(drop))?;
        }
        Ok(ticket)
    }

    /// Has a reactor start an outgoing connection. What comes of it, the handler learns.
    ///
    /// # Errors
    /// The mailbox is full or the reactor has ended. Where as many connections are open as may
    /// be, the handler is dropped without a callback.
    pub fn connect(
        &self,
        reactor: usize,
        to: impl Into<Connect>,
        handler: impl StreamHandler<M> + Send,
    ) -> Result<(), Refused<()>> {
        let letter = Letter::Connect(Box::new(to.into()), Box::new(handler));
        self.post(reactor, letter).map_err(|refused| refused.map(drop))
    }

    /// Has a reactor take over a listening socket, such as a bound `std::net::TcpListener`. An
    /// error on the way there is logged, and the socket closed.
    ///
    /// # Errors
    /// The mailbox is full or the reactor has ended; the socket is closed.
    pub fn adopt_listener(
        &self,
        reactor: usize,
        socket: impl Into<OwnedFd>,
        service: impl Service<M> + Send,
    ) -> Result<EndpointId, Refused<()>> {
        let id = self.next_endpoint();
        let letter = Letter::Listen(id, socket.into(), Box::new(service));
        self.post(reactor, letter).map_err(|refused| refused.map(drop))?;
        Ok(id)
    }

    /// Has a reactor take over a connected stream or another descriptor that can be polled. An
    /// error on the way there is logged, and the descriptor closed.
    ///
    /// # Errors
    /// The mailbox is full or the reactor has ended; the descriptor is closed.
    pub fn adopt_stream(
        &self,
        reactor: usize,
        fd: impl Into<OwnedFd>,
        handler: impl StreamHandler<M> + Send,
    ) -> Result<(), Refused<()>> {
        let letter = Letter::Adopt(fd.into(), Box::new(handler));
        self.post(reactor, letter).map_err(|refused| refused.map(drop))
    }

    /// Closes a listener or a datagram socket, on all reactors. Connections that it accepted
    /// stay.
    ///
    /// # Errors
    /// A mailbox is full or a reactor has ended.
    pub fn remove(&self, endpoint: EndpointId) -> Result<(), Refused<()>> {
        for reactor in 0..self.shared.posts.len() {
            let letter = Letter::Unlisten(endpoint);
            self.post(reactor, letter).map_err(|refused| refused.map(drop))?;
        }
        Ok(())
    }

    /// Starts the shutdown of all reactors: listeners close, every handler is told, what is
    /// queued is delivered. What has not ended after `grace` is aborted. Asking again can only
    /// shorten the time. Arrives always.
    pub fn shutdown(&self, grace: Duration) {
        for post in &self.shared.posts {
            post.shutdown.fetch_min(millis(grace), Ordering::AcqRel);
            post.waker.wake();
        }
    }

    /// Closes listeners and datagram sockets at once, and lets connections go on as they are, for
    /// another process to take over from this one: clients in the queue of a listener are left
    /// for whoever has that socket as well. Once no connection is left, or `patience` has
    /// passed, a [`shutdown`](Handle::shutdown) with `grace` begins. Asking again can only shorten
    /// the times. Arrives always.
    pub fn wind_down(&self, patience: Duration, grace: Duration) {
        for post in &self.shared.posts {
            post.wind_down[1].fetch_min(millis(grace), Ordering::AcqRel);
            post.wind_down[0].fetch_min(millis(patience), Ordering::AcqRel);
            post.waker.wake();
        }
    }

    /// How many reactors there are; their numbers start at 0.
    pub fn reactor_count(&self) -> usize {
        self.shared.posts.len()
    }

    /// Connections open in all reactors together.
    pub fn connection_count(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Connections open in one reactor.
    ///
    /// # Panics
    /// If there is no reactor of this number.
    pub fn load(&self, reactor: usize) -> usize {
        self.shared.posts[reactor].ledger.load.0.load(Ordering::Relaxed)
    }

    /// Says which addresses may connect from now on, and send datagrams. Connections that are
    /// open stay; those of others are reset as they come. Listeners on all reactors obey, and
    /// Unix sockets never do.
    pub fn set_access(&self, access: Access) {
        self.shared.admission.set_access(access);
    }

    /// How all reactors are doing together. It reads numbers that the reactors keep anyway: they
    /// neither answer nor wait, and one that is stuck is still told of.
    pub fn metrics(&self) -> Metrics {
        let all = (0..self.reactor_count()).map(|reactor| self.metrics_of(reactor));
        all.fold(Metrics::default(), Metrics::and)
    }

    /// How one reactor is doing.
    ///
    /// # Panics
    /// There is none of that number.
    pub fn metrics_of(&self, reactor: usize) -> Metrics {
        let post = &self.shared.posts[reactor];
        let letters_refused = post.letters_refused.load(Ordering::Relaxed);
        Metrics::of(&post.ledger, letters_refused)
    }

    fn post(&self, reactor: usize, letter: Letter<M>) -> Result<(), Refused<Letter<M>>> {
        let Some(post) = self.shared.posts.get(reactor) else {
            return Err(Refused::Closed(letter));
        };
        match post.mailbox.post(letter) {
            Ok(Posted::Wake) => post.waker.wake(),
            Ok(Posted::Quiet) => {}
            Err(mailbox::Refused::Full(letter)) => {
                post.letters_refused.fetch_add(1, Ordering::Relaxed);
                return Err(Refused::Full(letter));
            }
            Err(mailbox::Refused::Closed(letter)) => return Err(Refused::Closed(letter)),
        }
        Ok(())
    }

    // For the reactors.

    pub(crate) fn next_endpoint(&self) -> EndpointId {
        EndpointId::new(self.shared.next_endpoint.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn ledger(&self, reactor: u32) -> &Arc<Ledger> {
        &self.shared.posts[reactor as usize].ledger
    }

    pub(crate) fn wake(&self, reactor: usize) {
        self.shared.posts[reactor].waker.wake();
    }

    pub(crate) fn has_letters(&self, reactor: u32) -> bool {
        self.shared.posts[reactor as usize].mailbox.is_pending()
    }

    pub(crate) fn collect(&self, reactor: u32, into: &mut Vec<Letter<M>>) {
        self.shared.posts[reactor as usize].mailbox.collect(into);
    }

    /// Refuses what comes from now on, and answers what had come.
    pub(crate) fn close_mailbox(&self, reactor: u32) -> Vec<Letter<M>> {
        self.shared.posts[reactor as usize].mailbox.close()
    }

    /// The grace of a shutdown that was asked for since the last call.
    #[inline]
    pub(crate) fn take_shutdown(&self, reactor: u32) -> Option<Duration> {
        let shutdown = &self.shared.posts[reactor as usize].shutdown;
        if shutdown.load(Ordering::Relaxed) == NO_SHUTDOWN {
            return None;
        }
        Some(Duration::from_millis(shutdown.swap(NO_SHUTDOWN, Ordering::AcqRel)))
    }

    /// The patience and the grace of a winding down that was asked for since the last call.
    #[inline]
    pub(crate) fn take_wind_down(&self, reactor: u32) -> Option<(Duration, Duration)> {
        let times = &self.shared.posts[reactor as usize].wind_down;
        if times[0].load(Ordering::Relaxed) == NO_SHUTDOWN {
            return None;
        }
        let [patience, grace] =
            times.each_ref().map(|time| time.swap(NO_SHUTDOWN, Ordering::AcqRel));
        Some((Duration::from_millis(patience), Duration::from_millis(grace)))
    }

    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.connection_count() >= limits.connections
    }

    /// Counts one connection more of the reactor whose ledger this is.
    pub(crate) fn count_opened(&self, ledger: &Ledger) {
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        ledger.load.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one connection less; where a listener anywhere waits for that, all are woken.
    pub(crate) fn count_closed(&self, ledger: &Ledger) {
        ledger.load.0.fetch_sub(1, Ordering::Relaxed);
        let open = self.shared.open.fetch_sub(1, Ordering::SeqCst) - 1;
        if open < self.shared.accept_below.load(Ordering::SeqCst)
            && self.shared.accept_below.swap(0, Ordering::SeqCst) > 0
        {
            for post in &self.shared.posts {
                post.waker.wake();
            }
        }
    }

    /// A listener rests at the limit: it shall be woken once enough connections have closed.
    /// Answers whether it is still to rest; otherwise it is to go on at once.
    pub(crate) fn hold_accept(&self, limits: &Limits) -> bool {
        let low = limits.connections_low();
        self.shared.accept_below.store(low + 1, Ordering::SeqCst);
        self.shared.open.load(Ordering::SeqCst) > low
    }

    /// Whether the address of a peer is allowed.
    pub(crate) fn allows(&self, peer: &NetAddr) -> bool {
        self.shared.admission.allows(peer)
    }

    /// A client was accepted: whether it may stay. Whoever may is let go by
    /// [`leave`](Handle::leave) when its connection ends.
    pub(crate) fn enter(&self, peer: &NetAddr, limits: &Limits) -> Result<(), Refusal> {
        if limits.when_full == WhenFull::Refuse && self.is_full(limits) {
            return Err(Refusal::Full);
        }
        self.shared.admission.enter(peer, limits)
    }

    /// How many clients are counted.
    pub(crate) fn client_count(&self) -> usize {
        self.shared.admission.client_count()
    }

    /// An accepted connection has ended, on whatever way.
    pub(crate) fn leave(&self, peer: &NetAddr, limits: &Limits) {
        self.shared.admission.leave(peer, limits);
    }
}

/// What an atomic holds of a span.
fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(NO_SHUTDOWN - 1)
}

impl<M: 'static> Clone for Handle<M> {
    fn clone(&self) -> Handle<M> {
        Handle { shared: self.shared.clone() }
    }
}

impl<M: 'static> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} reactors)", self.shared.posts.len())
    }
}
