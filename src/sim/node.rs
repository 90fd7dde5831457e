//! A host: the simulated [`Platform`].

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::agenda::Event;
use super::call::Measured;
use super::faults::Call;
use super::mishap::Mishap;
use super::net::{Errno, Fate, Net, Owner, net_addr};
use super::trace::Happening;
use super::watch::Direction;
use super::{State, World};
use crate::base::address::{Address, NetAddr};
use crate::base::id::ConnId;
use crate::base::time::{Time, Timeout};
use crate::sys::{
    DatagramOptions, Edge, ListenOptions, Platform, Readiness, Received, Socket, StreamOptions,
    Token, Wake,
};

/// A host in a [`World`], to run a reactor on. See the [module](super) for how its `wait` behaves.
///
/// Of the options it heeds `backlog` and `bind_to`; two sockets never share an address, whatever
/// `reuse_port` says. It has no descriptors to hand out or to adopt.
///
/// Dropping it closes what it still has open, as the end of a process does. A socket that was
/// registered elsewhere belongs to that node.
pub struct Node {
    world: World,
    id: usize,
    alarm: Arc<Alarm>,
    /// Look-ups under way, and when their answers come.
    looking_up: Vec<(Time, Answer)>,
    looked_up: VecDeque<Answer>,
    /// Tokens of closed sockets that the next wait still names.
    ghosts: Vec<Token>,
    /// What the last wait has found.
    edges: Vec<Edge>,
    /// Whether a waker ended it.
    is_woken: bool,
}

/// A simulated stream of bytes: a name for what the world owns.
#[derive(Debug)]
pub struct Stream {
    id: usize,
    local: NetAddr,
}

/// A simulated listener: a name for what the world owns.
#[derive(Debug)]
pub struct Listener {
    id: usize,
    local: NetAddr,
}

/// A simulated datagram socket: a name for what the world owns.
#[derive(Debug)]
pub struct Datagram {
    id: usize,
    local: NetAddr,
}

type Answer = (ConnId, io::Result<Vec<SocketAddr>>);

#[derive(Default)]
pub(super) struct Alarm {
    is_set: AtomicBool,
}

impl Alarm {
    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }
}

impl Node {
    pub(super) fn new(world: World) -> Node {
        let alarm = Arc::<Alarm>::default();
        let id = world.with(|state| {
            state.net.news.push(VecDeque::new());
            state.net.alarms.push(Arc::clone(&alarm));
            state.net.news.len() - 1
        });
        Node {
            world,
            id,
            alarm,
            looking_up: Vec::new(),
            looked_up: VecDeque::new(),
            ghosts: Vec::new(),
            edges: Vec::new(),
            is_woken: false,
        }
    }

    /// Which of its world's nodes it is, counted from 0.
    pub fn number(&self) -> usize {
        self.id
    }

    fn owner(&self) -> Owner {
        Owner::Node(self.id)
    }

    fn register(&mut self, id: usize, token: Token) -> io::Result<()> {
        let node = self.id;
        self.world.call(node, id, Call::Register, |state| {
            let is_stream = matches!(token, Token::Connection(_));
            for (mishap, errno) in REGISTER {
                if is_stream && state.deals(mishap) {
                    state.net.stain(id, mishap);
                    return Err(errno);
                }
            }
            state.net.register(id, token, node)
        })
    }

    fn close_by(&mut self, act: fn(&mut Net, usize), id: usize) {
        self.world.with(|state| {
            if !state.net.sockets.contains(id) {
                return; // it was handed over by a node that has ended since, and had it closed
            }
            let token = state.net.token(id);
            act(&mut state.net, id);
            if token.is_some() && state.deals(Mishap::StaleEdge) {
                self.ghosts.extend(token);
            }
        });
    }

    /// Collects what is due. Answers whether anything is.
    fn look(&mut self) -> bool {
        let now = self.world.with(|state| {
            let State { net, whims, .. } = state;
            net.gather(self.id, &mut self.edges, || whims.deals(Mishap::LateEdge));
            net.agenda.now
        });
        self.is_woken = self.alarm.is_set.swap(false, Ordering::AcqRel);
        if self.is_woken && self.world.deals(Mishap::DoubledWake) {
            self.alarm.wake();
        }
        let mut index = 0;
        while index < self.looking_up.len() {
            if self.looking_up[index].0 <= now {
                self.looked_up.push_back(self.looking_up.remove(index).1);
            } else {
                index += 1;
            }
        }
        self.is_woken || !self.edges.is_empty() || !self.looked_up.is_empty()
    }

    /// Adds the edges that nobody is owed.
    fn embellish(&mut self) {
        let edges = &mut self.edges;
        let both = Readiness::READABLE.with(Readiness::WRITABLE);
        self.world.with(|state| {
            for index in 0..edges.len() {
                let Edge { token, ready } = edges[index];
                if state.deals(Mishap::DoubledEdge) {
                    edges.push(edges[index]);
                }
                if ready.has(Readiness::READABLE)
                    && ready.has(Readiness::WRITABLE)
                    && state.deals(Mishap::SplitEdge)
                {
                    edges[index].ready = ready.without(Readiness::WRITABLE);
                    edges.push(Edge { token, ready: Readiness::WRITABLE });
                }
            }
            edges.extend(self.ghosts.drain(..).map(|token| Edge { token, ready: both }));
            if state.deals(Mishap::StrayEdge) {
                edges.extend(state.somebody(self.id).map(|token| Edge { token, ready: both }));
            }
            for &edge in &*edges {
                state.happened(Happening::Told { node: self.id, edge });
            }
        });
    }
}

impl Platform for Node {
    type Stream = Stream;
    type Listener = Listener;
    type Datagram = Datagram;

    fn now(&self) -> Time {
        self.world.now()
    }

    fn wait(&mut self, timeout: Timeout) -> io::Result<usize> {
        self.edges.clear();
        let (until, is_idle) = self.world.with(|state| {
            state.waits += 1;
            if state.deals(Mishap::ClockJumps) {
                let jump = state.net.agenda.span_below(JUMP_MOST);
                state.jumped += jump;
                state.net.advance(state.now() + jump);
            }
            state.net.advance(state.now());
            (timeout.span().map(|span| state.now() + span), state.deals(Mishap::IdleWake))
        });
        while !self.look() && !is_idle {
            let next = self.world.next_event().filter(|&at| until.is_none_or(|until| at <= until));
            if let Some(next) = next {
                self.world.with(|state| state.net.advance(next));
                continue;
            }
            let Some(until) = until else {
                self.world.with(|state| state.stalled_waits += 1);
                return Ok(0);
            };
            self.embellish();
            let has_stray = !self.edges.is_empty();
            self.world.with(|state| state.pass_time(until, has_stray));
            return Ok(self.edges.len());
        }
        self.embellish();
        if std::mem::take(&mut self.is_woken) {
            self.edges.push(Edge { token: Token::NOBODY, ready: Readiness::READABLE });
        }
        Ok(self.edges.len())
    }

    fn edge(&self, index: usize) -> Edge {
        self.edges[index]
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.alarm.clone()
    }

    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let (owner, backlog) = (self.owner(), options.backlog as usize);
        let (id, local) = self.world.call(self.id, NO_SOCKET, Call::Listen, |state| {
            state.net.listen(address, backlog, owner)
        })?;
        Ok(Listener { id, local })
    }

    fn bind_datagram(
        &mut self,
        address: &Address,
        _options: &DatagramOptions,
    ) -> io::Result<Datagram> {
        let owner = self.owner();
        let (id, local) = self
            .world
            .call(self.id, NO_SOCKET, Call::Bind, |state| state.net.bind(address, owner))?;
        Ok(Datagram { id, local })
    }

    fn connect(&mut self, address: &Address, options: &StreamOptions) -> io::Result<Stream> {
        let owner = self.owner();
        let (id, local) = self.world.call(self.id, NO_SOCKET, Call::Connect, |state| {
            let to = net_addr(address).ok_or(libc::EINVAL)?;
            state.net.refusal(&to)?;
            let broken = [Mishap::ConnectRefused, Mishap::ConnectSilent];
            let mishap = broken.into_iter().find(|&mishap| state.deals(mishap));
            let fate = mishap.map_or(Fate::Common, Fate::Broken);
            let from = options.bind_to.filter(|_| to.inet().is_some()).map(NetAddr::Inet);
            Ok(state.net.connect(to, from, owner, fate))
        })?;
        Ok(Stream { id, local })
    }

    fn adopt_stream(&mut self, _fd: OwnedFd) -> io::Result<Stream> {
        Err(no_descriptors())
    }

    fn adopt_listener(&mut self, _fd: OwnedFd) -> io::Result<Listener> {
        Err(no_descriptors())
    }

    fn adopt_datagram(&mut self, _fd: OwnedFd) -> io::Result<Datagram> {
        Err(no_descriptors())
    }

    fn register_stream(&mut self, stream: &mut Stream, token: Token) -> io::Result<()> {
        self.register(stream.id, token)
    }

    fn register_listener(&mut self, listener: &mut Listener, token: Token) -> io::Result<()> {
        self.register(listener.id, token)
    }

    fn register_datagram(&mut self, socket: &mut Datagram, token: Token) -> io::Result<()> {
        self.register(socket.id, token)
    }

    fn accept(&mut self, listener: &mut Listener, peer: &mut NetAddr) -> io::Result<Stream> {
        let (listener, owner) = (listener.id, self.owner());
        self.call_on(listener, Call::Accept, Direction::Read, |state| {
            let id = state.net.accept(listener, owner)?;
            for (mishap, errno) in ACCEPT {
                if state.deals(mishap) {
                    state.net.stain(id, mishap);
                    state.net.abort(id);
                    return Err(errno);
                }
            }
            if state.deals(Mishap::ResetBeforeAccept) {
                state.net.break_stream(id, Mishap::ResetBeforeAccept);
            }
            let end = state.net.stream(id);
            *peer = end.remote.clone();
            Ok(Stream { id, local: end.local.clone() })
        })
    }

    fn connected(&mut self, stream: &mut Stream) -> io::Result<NetAddr> {
        let id = stream.id;
        self.call_on(id, Call::Connected, Direction::Write, |state| state.net.connected(id))
    }

    fn read(&mut self, stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
        assert!(!into.is_empty(), "reading nothing looks like the end");
        let id = stream.id;
        let may_skip_would_block = self.short_read_drains(stream);
        self.call_on(id, Call::Read, Direction::Read, |state| {
            if state.net.stream(id).mate.is_some() && state.deals(Mishap::ResetReading) {
                state.net.break_stream(id, Mishap::ResetReading);
                return Err(libc::ECONNRESET);
            }
            let possible_bytes = state.net.stream(id).inbox.len().min(into.len());
            let limit = state.shorten(possible_bytes, Mishap::ShortRead);
            // The end and errors are read with an empty inbox.
            let limit = if limit == 0 { into.len() } else { limit };
            let read_bytes = state.net.read(id, &mut into[..limit])?;
            let inbox = &state.net.stream(id).inbox;
            let is_drained = inbox.len() == 0 && !inbox.is_finished();
            let is_short = 0 < read_bytes && read_bytes < into.len();
            if may_skip_would_block && is_short && is_drained {
                state.net.arm(id, Direction::Read);
            }
            Ok(read_bytes)
        })
    }

    fn short_read_drains(&self, stream: &Stream) -> bool {
        let is_inet = stream.local.inet().is_some();
        is_inet && self.world.with(|state| state.whims.plan.short_read_drains)
    }

    fn write(&mut self, stream: &mut Stream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let id = stream.id;
        let offered_bytes = bytes.iter().map(|chunk| chunk.len()).sum::<usize>();
        self.call_on(id, Call::Write, Direction::Write, |state| {
            if state.net.stream(id).mate.is_some() && state.deals(Mishap::ResetWriting) {
                state.net.break_stream(id, Mishap::ResetWriting);
                return Err(libc::EPIPE);
            }
            let possible_bytes = state.net.room(id).min(offered_bytes);
            let limit = state.shorten(possible_bytes, Mishap::ShortWrite);
            let limit = if limit == 0 { offered_bytes } else { limit };
            state.net.write(id, bytes, limit)
        })
    }

    fn finish(&mut self, stream: &mut Stream) -> io::Result<()> {
        let id = stream.id;
        self.world.call(self.id, id, Call::Finish, |state| state.net.finish(id))
    }

    fn close(&mut self, stream: Stream) {
        self.close_by(Net::close, stream.id);
    }

    fn abort(&mut self, stream: Stream) {
        self.close_by(Net::abort, stream.id);
    }

    fn close_listener(&mut self, listener: Listener) {
        self.close_by(Net::close, listener.id);
    }

    fn close_datagram(&mut self, socket: Datagram) {
        self.close_by(Net::close, socket.id);
    }

    fn receive(&mut self, socket: &mut Datagram, into: &mut [u8]) -> io::Result<Received> {
        let id = socket.id;
        self.call_on(id, Call::Receive, Direction::Read, |state| {
            let (from, payload) = state.net.receive(id)?;
            let is_halved = payload.len() > 1 && state.deals(Mishap::DatagramTruncated);
            let most = if is_halved { payload.len() / 2 } else { into.len() };
            let len = payload.len().min(most);
            into[..len].copy_from_slice(&payload[..len]);
            Ok(Received { len, from, truncated: len < payload.len() })
        })
    }

    fn send(&mut self, socket: &mut Datagram, payload: &[u8], to: &NetAddr) -> io::Result<()> {
        let id = socket.id;
        self.call_on(id, Call::Send, Direction::Write, |state| state.carry(id, payload, to))
    }

    fn look_up(&mut self, id: ConnId, name: &str, port: u16) -> io::Result<()> {
        let node = self.id;
        let (known, at) = self.world.call(node, NO_SOCKET, Call::LookUp, |state| {
            let is_lost = state.deals(Mishap::LookUpFails);
            let known = if is_lost { None } else { state.names.get(name).cloned() };
            let at = state.net.agenda.arrival();
            if at > state.now() {
                state.net.agenda.add(at, Event::Wake(node));
            } else {
                state.net.alarms[node].wake(); // the answer ends a wait
            }
            Ok((known, at))
        })?;
        let answer = known
            .map(|inets| inets.into_iter().map(|inet| SocketAddr::new(inet.ip(), port)).collect());
        // The words of std for getaddrinfo(3)'s EAI_NONAME, which has no errno.
        let unknown =
            || io::Error::other("failed to lookup address information: Name or service not known");
        self.looking_up.push((at, (id, answer.ok_or_else(unknown))));
        Ok(())
    }

    fn next_look_up(&mut self) -> Option<Answer> {
        self.looked_up.pop_front()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.world.with(|state| state.net.close_all_of(self.id));
    }
}

impl Socket for Stream {
    fn local_addr(&self) -> io::Result<NetAddr> {
        Ok(self.local.clone())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Socket for Listener {
    fn local_addr(&self) -> io::Result<NetAddr> {
        Ok(self.local.clone())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Socket for Datagram {
    fn local_addr(&self) -> io::Result<NetAddr> {
        Ok(self.local.clone())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Wake for Alarm {
    fn wake(&self) {
        self.is_set.store(true, Ordering::Release);
    }
}

impl Node {
    /// A call that may answer `WouldBlock`: the only place where that makes an edge owed.
    fn call_on<T: Measured>(
        &self,
        id: usize,
        call: Call,
        direction: Direction,
        act: impl FnOnce(&mut State) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let outcome = self.world.call(self.id, id, call, act);
        if matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.world.with(|state| state.net.arm(id, direction));
        }
        outcome
    }
}

fn no_descriptors() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSYS)
}

/// Accepting fails, and the connection is lost.
const ACCEPT: [(Mishap, Errno); 2] =
    [(Mishap::AcceptAborted, libc::ECONNABORTED), (Mishap::AcceptProto, libc::EPROTO)];

const REGISTER: [(Mishap, Errno); 2] =
    [(Mishap::RegisterEnospc, libc::ENOSPC), (Mishap::RegisterEnomem, libc::ENOMEM)];

/// In the trace: a call that is about no socket yet.
const NO_SOCKET: usize = 0;
const JUMP_MOST: Duration = Duration::from_secs(10);
