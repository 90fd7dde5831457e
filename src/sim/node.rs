//! A host: the simulated [`Platform`].

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::World;
use super::faults::Call;
use super::net::{Errno, Net, Owner, net_addr};
use super::watch::Direction;
use crate::base::address::{Address, NetAddr};
use crate::base::id::ConnId;
use crate::base::time::Time;
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
    looking_up: Vec<Answer>,
    looked_up: VecDeque<Answer>,
    /// Tokens of closed sockets that the next wait still names.
    ghosts: Vec<Token>,
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
struct Alarm {
    is_set: AtomicBool,
}

impl Node {
    pub(super) fn new(world: World) -> Node {
        let id = world.with(|state| {
            state.net.news.push(VecDeque::new());
            state.net.news.len() - 1
        });
        Node {
            world,
            id,
            alarm: Arc::default(),
            looking_up: Vec::new(),
            looked_up: VecDeque::new(),
            ghosts: Vec::new(),
        }
    }

    fn owner(&self) -> Owner {
        Owner::Node(self.id)
    }

    fn register(&mut self, id: usize, token: Token) -> io::Result<()> {
        let node = self.id;
        self.world.call(Call::Register, |state| state.net.register(id, token, node))
    }

    fn close_by(&mut self, act: fn(&mut Net, usize), id: usize) {
        self.world.with(|state| {
            let token = state.net.token(id);
            act(&mut state.net, id);
            if state.whims.chance(state.whims.manners.stale_edges) {
                self.ghosts.extend(token);
            }
        });
    }

    /// Adds the edges that nobody is owed; `due_index` is where this wait's own begin.
    fn embellish(&mut self, due_index: usize, edges: &mut Vec<Edge>) {
        let ready = Readiness::READABLE.with(Readiness::WRITABLE);
        self.world.with(|state| {
            for index in due_index..edges.len() {
                if state.whims.chance(state.whims.manners.doubled_edges) {
                    edges.push(edges[index]);
                }
            }
            edges.extend(self.ghosts.drain(..).map(|token| Edge { token, ready }));
            if state.whims.chance(state.whims.manners.stray_edges) {
                let watched = state.net.watched_by(self.id);
                if !watched.is_empty() {
                    let token = watched[state.whims.below(watched.len() as u64) as usize];
                    edges.push(Edge { token, ready });
                }
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

    fn wait(&mut self, timeout: Option<Duration>, edges: &mut Vec<Edge>) -> io::Result<()> {
        let due_index = edges.len();
        self.world.with(|state| {
            state.waits += 1;
            state.net.gather(self.id, edges);
        });
        let is_woken = self.alarm.is_set.swap(false, Ordering::AcqRel);
        let has_news = is_woken || edges.len() > due_index || !self.looking_up.is_empty();
        self.looked_up.extend(self.looking_up.drain(..));
        if has_news {
            self.embellish(due_index, edges);
            return Ok(());
        }
        let Some(timeout) = timeout else {
            self.world.with(|state| state.stalled_waits += 1);
            return Ok(());
        };
        self.embellish(due_index, edges);
        let has_stray = edges.len() > due_index;
        self.world.with(|state| state.pass_time(timeout, has_stray));
        Ok(())
    }

    fn waker(&self) -> Arc<dyn Wake> {
        self.alarm.clone()
    }

    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        let (owner, backlog) = (self.owner(), options.backlog as usize);
        let (id, local) =
            self.world.call(Call::Listen, |state| state.net.listen(address, backlog, owner))?;
        Ok(Listener { id, local })
    }

    fn bind_datagram(
        &mut self,
        address: &Address,
        _options: &DatagramOptions,
    ) -> io::Result<Datagram> {
        let owner = self.owner();
        let (id, local) = self.world.call(Call::Bind, |state| state.net.bind(address, owner))?;
        Ok(Datagram { id, local })
    }

    fn connect(&mut self, address: &Address, options: &StreamOptions) -> io::Result<Stream> {
        let owner = self.owner();
        let (id, local) = self.world.call(Call::Connect, |state| {
            let to = net_addr(address).ok_or(libc::EINVAL)?;
            state.net.refusal(&to)?;
            Ok(state.net.connect(to, options.bind_to, owner))
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

    fn accept(&mut self, listener: &mut Listener) -> io::Result<(Stream, NetAddr)> {
        let (id, owner) = (listener.id, self.owner());
        self.world.call_on(id, Call::Accept, Direction::Read, |state| {
            let id = state.net.accept(id, owner)?;
            let end = state.net.stream(id);
            Ok((Stream { id, local: end.local.clone() }, end.remote.clone()))
        })
    }

    fn connected(&mut self, stream: &mut Stream) -> io::Result<NetAddr> {
        let id = stream.id;
        self.world.call_on(id, Call::Connected, Direction::Write, |state| state.net.connected(id))
    }

    fn read(&mut self, stream: &mut Stream, into: &mut [u8]) -> io::Result<usize> {
        assert!(!into.is_empty(), "reading nothing looks like the end");
        let id = stream.id;
        let may_skip_would_block = self.short_read_drains(stream);
        self.world.call_on(id, Call::Read, Direction::Read, |state| {
            let possible_bytes = state.net.stream(id).inbox.len().min(into.len());
            let limit = state.whims.shorten(possible_bytes, state.whims.manners.short_reads);
            // The end and errors are read with an empty inbox.
            let limit = if limit == 0 { into.len() } else { limit };
            let read_bytes = state.net.read(id, &mut into[..limit])?;
            let inbox = &state.net.stream(id).inbox;
            let is_drained = inbox.len() == 0 && !inbox.is_finished();
            if may_skip_would_block && read_bytes < into.len() && is_drained {
                state.net.arm(id, Direction::Read);
            }
            Ok(read_bytes)
        })
    }

    fn short_read_drains(&self, stream: &Stream) -> bool {
        let is_inet = stream.local.inet().is_some();
        is_inet && self.world.with(|state| state.whims.manners.short_read_drains)
    }

    fn write(&mut self, stream: &mut Stream, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let id = stream.id;
        let offered_bytes = bytes.iter().map(|chunk| chunk.len()).sum::<usize>();
        self.world.call_on(id, Call::Write, Direction::Write, |state| {
            let possible_bytes = state.net.room(id).min(offered_bytes);
            let limit = state.whims.shorten(possible_bytes, state.whims.manners.short_writes);
            let limit = if limit == 0 { offered_bytes } else { limit };
            state.net.write(id, bytes, limit)
        })
    }

    fn finish(&mut self, stream: &mut Stream) -> io::Result<()> {
        let id = stream.id;
        self.world.call(Call::Finish, |state| state.net.finish(id))
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
        let (from, payload) = self
            .world
            .call_on(id, Call::Receive, Direction::Read, |state| state.net.receive(id))?;
        let len = payload.len().min(into.len());
        into[..len].copy_from_slice(&payload[..len]);
        Ok(Received { len, from, truncated: len < payload.len() })
    }

    fn send(&mut self, socket: &mut Datagram, payload: &[u8], to: &NetAddr) -> io::Result<()> {
        let id = socket.id;
        self.world
            .call_on(id, Call::Send, Direction::Write, |state| state.net.send(id, payload, to))
    }

    fn look_up(&mut self, id: ConnId, name: &str, port: u16) -> io::Result<()> {
        let known = self.world.call(Call::LookUp, |state| Ok(state.names.get(name).cloned()))?;
        let answer = known
            .map(|inets| inets.into_iter().map(|inet| SocketAddr::new(inet.ip(), port)).collect());
        // The words of std for getaddrinfo(3)'s EAI_NONAME, which has no errno.
        let unknown =
            || io::Error::other("failed to lookup address information: Name or service not known");
        self.looking_up.push((id, answer.ok_or_else(unknown)));
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

impl World {
    /// One call by a node: counted, and let through unless it is to fail.
    fn call<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut super::State) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let outcome = self.with(|state| state.whims.enter(call).and_then(|()| act(state)));
        outcome.map_err(io::Error::from_raw_os_error)
    }

    /// A call that may answer `WouldBlock`: the only place where that makes an edge owed.
    fn call_on<T>(
        &self,
        id: usize,
        call: Call,
        direction: Direction,
        act: impl FnOnce(&mut super::State) -> Result<T, Errno>,
    ) -> io::Result<T> {
        let outcome = self.call(call, act);
        if matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.with(|state| state.net.arm(id, direction));
        }
        outcome
    }
}

fn no_descriptors() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSYS)
}
