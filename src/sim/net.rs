//! The network: a table of every socket, who is bound where, and how connections come about.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::agenda::{Agenda, Event};
use super::mishap::Mishap;
use super::node::Alarm;
use super::stream::{StreamEnd, StreamState};
use super::watch::Watch;
use crate::base::address::{Address, NetAddr};
use crate::base::time::Time;
use crate::sys::{Token, Wake};

/// The system's number of an error.
pub(super) type Errno = i32;

pub(super) struct Net {
    pub(super) sockets: Slab<Socket>,
    listeners: BTreeMap<NetAddr, usize>,
    datagrams: BTreeMap<NetAddr, usize>,
    /// Addresses that never answer, and who knocks there, the oldest first.
    held: BTreeMap<NetAddr, VecDeque<Knock>>,
    /// Connections that chance broke, by the address of whoever began them.
    pub(super) broken: BTreeMap<NetAddr, Mishap>,
    next_knock: u64,
    pub(super) agenda: Agenda,
    /// What ends each node's waits.
    pub(super) alarms: Vec<Arc<Alarm>>,
    /// For each node, the sockets that may be due an edge.
    pub(super) news: Vec<VecDeque<usize>>,
    next_port: u16,
    /// For connections to come.
    pub(super) pipe_bytes: usize,
    /// The most that listeners to come may ask for (net.core.somaxconn).
    pub(super) backlog_max: usize,
    pub(super) has_hints: bool,
    pub(super) reset_delivers: bool,
}

pub(super) struct Socket {
    pub(super) owner: Owner,
    pub(super) watch: Option<Watch>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Node(usize),
    /// The test.
    Peer,
    /// A listener in whose queue the stream waits.
    Queue,
}

pub(super) enum Kind {
    Stream(StreamEnd),
    Listener(ListenerEnd),
    Datagram(DatagramEnd),
}

pub(super) struct ListenerEnd {
    local: NetAddr,
    /// `queue.len() <= backlog_max`
    pub(super) queue: VecDeque<usize>,
    backlog_max: usize,
    /// Who waits for a place in the queue, the oldest first; those that gave up included.
    waiting: VecDeque<Knock>,
}

/// A stream that wants to connect, and the number of its try.
type Knock = (usize, u64);

/// What a try to connect meets with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Common,
    Broken(Mishap),
}

pub(super) struct DatagramEnd {
    local: NetAddr,
    /// Up to `DATAGRAMS_MAX`, with their senders.
    pub(super) queue: VecDeque<(NetAddr, Vec<u8>)>,
}

impl Net {
    pub(super) fn new(seed: u64) -> Net {
        Net {
            sockets: Slab::new(),
            listeners: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            held: BTreeMap::new(),
            broken: BTreeMap::new(),
            next_knock: 0,
            agenda: Agenda::new(seed),
            alarms: Vec::new(),
            news: Vec::new(),
            next_port: FIRST_PORT,
            pipe_bytes: PIPE_BYTES,
            backlog_max: BACKLOG_MAX,
            has_hints: false,
            reset_delivers: false,
        }
    }

    pub(super) fn listen(
        &mut self,
        address: &Address,
        backlog: usize,
        owner: Owner,
    ) -> Result<(usize, NetAddr), Errno> {
        let local = self.claim(address, |net| &net.listeners)?;
        let backlog_max = backlog.clamp(1, self.backlog_max);
        let end = ListenerEnd {
            local: local.clone(),
            queue: VecDeque::new(),
            backlog_max,
            waiting: VecDeque::new(),
        };
        let id = self.insert(Kind::Listener(end), owner);
        self.listeners.insert(local.clone(), id);
        Ok((id, local))
    }

    pub(super) fn bind(
        &mut self,
        address: &Address,
        owner: Owner,
    ) -> Result<(usize, NetAddr), Errno> {
        let local = self.claim(address, |net| &net.datagrams)?;
        let end = DatagramEnd { local: local.clone(), queue: VecDeque::new() };
        let id = self.insert(Kind::Datagram(end), owner);
        self.datagrams.insert(local.clone(), id);
        Ok((id, local))
    }

    /// A stream that tries to connect, or has already failed to.
    pub(super) fn connect(
        &mut self,
        to: NetAddr,
        from: Option<NetAddr>,
        owner: Owner,
        fate: Fate,
    ) -> (usize, NetAddr) {
        let local = match (to.inet(), from) {
            (Some(_), Some(NetAddr::Inet(from))) if from.port() == 0 => {
                self.ephemeral(from.ip(), |net| &net.listeners)
            }
            (_, Some(from)) => from,
            (Some(to), None) => self.ephemeral(to.ip(), |net| &net.listeners),
            (None, None) => NetAddr::Unnamed,
        };
        let mut end = StreamEnd::new(local.clone(), to, self.pipe_bytes);
        self.next_knock += 1;
        end.knock = self.next_knock;
        let id = self.insert(Kind::Stream(end), owner);
        let at = self.agenda.arrival();
        match fate {
            Fate::Broken(mishap) => {
                self.stain(id, mishap);
                if mishap == Mishap::ConnectRefused {
                    self.stream_mut(id).die(libc::ECONNREFUSED);
                }
            }
            Fate::Common if at > self.agenda.now => {
                self.agenda.add(at, Event::Knock(id, self.next_knock));
            }
            Fate::Common => self.try_connect(id),
        }
        (id, local)
    }

    /// What a Unix socket's connect(2) answers at once, where it can't connect.
    pub(super) fn refusal(&self, to: &NetAddr) -> Result<(), Errno> {
        match (to, self.listener_at(to)) {
            (NetAddr::Inet(_), _) => Ok(()),
            (NetAddr::Unnamed, _) => Err(libc::EINVAL),
            _ if self.held.contains_key(to) => Err(libc::EAGAIN),
            (_, Some(listener)) if self.listener(listener).is_full() => Err(libc::EAGAIN),
            (_, Some(_)) => Ok(()),
            (NetAddr::Path(_), None) => Err(libc::ENOENT),
            (NetAddr::Abstract(_), None) => Err(libc::ECONNREFUSED),
        }
    }

    pub(super) fn hold(&mut self, address: NetAddr) {
        self.held.entry(address).or_default();
    }

    pub(super) fn release(&mut self, address: &NetAddr) {
        for knock in self.held.remove(address).unwrap_or_default() {
            self.knock(knock);
        }
    }

    /// A try to connect goes on, unless it was given up.
    fn knock(&mut self, (id, number): Knock) {
        let Some(Socket { kind: Kind::Stream(stream), .. }) = self.sockets.get(id) else { return };
        if stream.knock == number && stream.state == StreamState::Connecting {
            self.try_connect(id);
        }
    }

    /// The clock moves on, and what is due by then happens on the way.
    pub(super) fn advance(&mut self, to: Time) {
        while let Some(event) = self.agenda.pop(to) {
            match event {
                Event::Arrival(id) => self.land(id),
                Event::Knock(id, number) => self.knock((id, number)),
                Event::Datagram { from, to, payload } => self.deliver(from, &to, payload),
                Event::Edge(id) => self.touch(id),
                Event::Wake(node) => self.alarms[node].wake(),
            }
        }
        self.agenda.now = self.agenda.now.max(to);
    }

    /// Whether a wait of that node would not last.
    pub(super) fn has_news(&self, node: usize) -> bool {
        !self.news[node].is_empty() || self.alarms[node].is_set()
    }

    /// The oldest connection in the queue becomes `owner`'s.
    pub(super) fn accept(&mut self, id: usize, owner: Owner) -> Result<usize, Errno> {
        let accepted = self.listener_mut(id).queue.pop_front().ok_or(libc::EAGAIN)?;
        self.sockets[accepted].owner = owner;
        while !self.listener(id).is_full() {
            let Some(knock) = self.listener_mut(id).waiting.pop_front() else { break };
            self.knock(knock);
        }
        Ok(accepted)
    }

    pub(super) fn register(&mut self, id: usize, token: Token, node: usize) -> Result<(), Errno> {
        let socket = &mut self.sockets[id];
        if socket.watch.is_some() {
            return Err(libc::EEXIST);
        }
        socket.owner = Owner::Node(node);
        socket.watch = Some(Watch::new(node, token));
        self.touch(id);
        Ok(())
    }

    /// Sends a datagram, which is on its way for so long more than others are.
    pub(super) fn send(
        &mut self,
        id: usize,
        payload: &[u8],
        to: &NetAddr,
        delay: Duration,
    ) -> Result<(), Errno> {
        let bytes_max = if to.inet().is_some() { DATAGRAM_BYTES_MAX } else { UNIX_BYTES_MAX };
        if payload.len() > bytes_max {
            return Err(libc::EMSGSIZE);
        }
        let from = seen_from(&self.datagram_mut(id).local, to);
        if to.inet().is_none() {
            self.check_unix_receiver(to)?;
        }
        let at = self.agenda.arrival() + delay;
        if at > self.agenda.now {
            let event = Event::Datagram { from, to: to.clone(), payload: payload.to_vec() };
            self.agenda.add(at, event);
        } else {
            self.deliver(from, to, payload.to_vec());
        }
        Ok(())
    }

    /// Who sends to a Unix socket learns at once that nobody is there, or has no room.
    fn check_unix_receiver(&self, to: &NetAddr) -> Result<(), Errno> {
        let Some(&target) = self.datagrams.get(to) else {
            let is_path = matches!(to, NetAddr::Path(_));
            return Err(if is_path { libc::ENOENT } else { libc::ECONNREFUSED });
        };
        // The kernel would have us wait, without an edge to end that; `sys` makes it this error.
        let is_full = matches!(&self.sockets[target].kind, Kind::Datagram(end) if end.queue.len() >= DATAGRAMS_MAX);
        if is_full { Err(libc::ENOBUFS) } else { Ok(()) }
    }

    /// A datagram arrives, where somebody is bound and has room for it.
    fn deliver(&mut self, from: NetAddr, to: &NetAddr, payload: Vec<u8>) {
        let target = self.datagrams.get(to).or_else(|| self.datagrams.get(&any_ip(to)?));
        let Some(&target) = target else { return };
        let end = self.datagram_mut(target);
        if end.queue.len() < DATAGRAMS_MAX {
            end.queue.push_back((from, payload));
            self.touch(target);
        }
    }

    pub(super) fn receive(&mut self, id: usize) -> Result<(NetAddr, Vec<u8>), Errno> {
        self.datagram_mut(id).queue.pop_front().ok_or(libc::EAGAIN)
    }

    /// Notes on both ends of a connection what broke it.
    pub(super) fn stain(&mut self, id: usize, mishap: Mishap) {
        let stream = self.stream_mut(id);
        stream.mishap = Some(mishap);
        // One of the two is where it was begun; nobody asks about a listener's.
        let (local, remote, mate) = (stream.local.clone(), stream.remote.clone(), stream.mate);
        self.broken.extend([(local, mishap), (remote, mishap)]);
        if let Some(mate) = mate {
            self.stream_mut(mate).mishap = Some(mishap);
        }
    }

    /// A mishap keeps a stream waiting until then.
    pub(super) fn note_delay(&mut self, id: usize, until: Time) {
        if let Some(Socket { kind: Kind::Stream(stream), .. }) = self.sockets.get_mut(id) {
            stream.delays += 1;
            stream.late_until = stream.late_until.max(until);
        }
    }

    /// Closes a socket of any kind as the system does when nobody holds it any more.
    pub(super) fn close(&mut self, id: usize) {
        match &self.sockets[id].kind {
            Kind::Stream(_) => self.close_stream(id),
            Kind::Listener(_) => self.close_listener(id),
            Kind::Datagram(end) => {
                self.datagrams.remove(&end.local);
                self.remove(id);
            }
        }
    }

    /// Closes what a node has open: its process has ended.
    pub(super) fn close_all_of(&mut self, node: usize) {
        let is_its = |socket: &Socket| socket.owner == Owner::Node(node);
        let ids: Vec<usize> =
            self.sockets.iter().filter(|(_, socket)| is_its(socket)).map(|(id, _)| id).collect();
        for id in ids {
            self.close(id);
        }
    }

    pub(super) fn remove(&mut self, id: usize) {
        self.sockets.remove(id);
    }

    pub(super) fn count_on_nodes(&self) -> usize {
        self.sockets.iter().filter(|(_, socket)| matches!(socket.owner, Owner::Node(_))).count()
    }

    fn insert(&mut self, kind: Kind, owner: Owner) -> usize {
        self.sockets.insert(Socket { owner, watch: None, kind })
    }

    /// Connections that nobody accepted are reset.
    fn close_listener(&mut self, id: usize) {
        let end = self.listener_mut(id);
        let (local, queue) = (end.local.clone(), std::mem::take(&mut end.queue));
        let waiting = std::mem::take(&mut end.waiting);
        self.listeners.remove(&local);
        self.remove(id);
        for stream in queue {
            self.turn_away(stream);
        }
        for knock in waiting {
            self.knock(knock);
        }
    }

    /// The next step of a stream in state `Connecting`: waiting on, refused, or open.
    fn try_connect(&mut self, id: usize) {
        assert_eq!(self.stream(id).state, StreamState::Connecting);
        let (to, number) = (self.stream(id).remote.clone(), self.stream(id).knock);
        if let Some(waiting) = self.held.get_mut(&to) {
            return waiting.push_back((id, number));
        }
        let Some(listener) = self.listener_at(&to) else {
            self.stream_mut(id).die(libc::ECONNREFUSED);
            return self.touch_for_end(id);
        };
        if self.listener(listener).is_full() {
            return self.listener_mut(listener).waiting.push_back((id, number));
        }
        let mut end = StreamEnd::new(to, self.stream(id).local.clone(), self.pipe_bytes);
        end.open(id);
        let accepted = self.insert(Kind::Stream(end), Owner::Queue);
        self.stream_mut(id).open(accepted);
        self.touch(id);
        self.listener_mut(listener).queue.push_back(accepted);
        self.touch(listener);
    }

    fn listener_at(&self, to: &NetAddr) -> Option<usize> {
        self.listeners.get(to).or_else(|| self.listeners.get(&any_ip(to)?)).copied()
    }

    /// The address to bind: with a port, and not taken.
    fn claim(
        &mut self,
        address: &Address,
        table: fn(&Net) -> &BTreeMap<NetAddr, usize>,
    ) -> Result<NetAddr, Errno> {
        let wanted = net_addr(address).ok_or(libc::EINVAL)?;
        match wanted {
            NetAddr::Inet(inet) if inet.port() == 0 => Ok(self.ephemeral(inet.ip(), table)),
            taken if table(self).contains_key(&taken) => Err(libc::EADDRINUSE),
            free => Ok(free),
        }
    }

    fn ephemeral(&mut self, ip: IpAddr, table: fn(&Net) -> &BTreeMap<NetAddr, usize>) -> NetAddr {
        for _ in FIRST_PORT..=u16::MAX {
            let candidate = NetAddr::Inet(SocketAddr::new(ip, self.next_port));
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            if !table(self).contains_key(&candidate) {
                return candidate;
            }
        }
        panic!("every port of {ip} is taken");
    }

    fn listener(&self, id: usize) -> &ListenerEnd {
        match &self.sockets[id].kind {
            Kind::Listener(end) => end,
            _ => panic!("socket {id} is not a listener"),
        }
    }

    fn listener_mut(&mut self, id: usize) -> &mut ListenerEnd {
        match &mut self.sockets[id].kind {
            Kind::Listener(end) => end,
            _ => panic!("socket {id} is not a listener"),
        }
    }

    fn datagram_mut(&mut self, id: usize) -> &mut DatagramEnd {
        match &mut self.sockets[id].kind {
            Kind::Datagram(end) => end,
            _ => panic!("socket {id} does not carry datagrams"),
        }
    }
}

impl ListenerEnd {
    fn is_full(&self) -> bool {
        self.queue.len() >= self.backlog_max
    }
}

/// `None` for a host name.
pub(super) fn net_addr(address: &Address) -> Option<NetAddr> {
    match address {
        Address::Inet(inet) => Some(NetAddr::Inet(*inet)),
        Address::Host { .. } => None,
        Address::Path(path) => Some(NetAddr::Path(path.as_path().into())),
        Address::Abstract(name) => Some(NetAddr::Abstract(name.as_slice().into())),
    }
}

/// The address of a socket that is bound to this port on every interface.
fn any_ip(address: &NetAddr) -> Option<NetAddr> {
    let inet = address.inet()?;
    let ip = match inet.ip() {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    Some(NetAddr::Inet(SocketAddr::new(ip, inet.port())))
}

/// What `to` sees as the sender; everything is on one host, so that interfaces agree.
fn seen_from(local: &NetAddr, to: &NetAddr) -> NetAddr {
    match (local.inet(), to.inet()) {
        (Some(local), Some(to)) if local.ip().is_unspecified() => {
            NetAddr::Inet(SocketAddr::new(to.ip(), local.port()))
        }
        _ => local.clone(),
    }
}

/// Where ephemeral ports begin (RFC 6335, section 6).
const FIRST_PORT: u16 = 49152;
const PIPE_BYTES: usize = 64 * 1024;
const BACKLOG_MAX: usize = 4096;
/// A few turns' worth; what comes on top is lost, as with a full socket buffer.
const DATAGRAMS_MAX: usize = 256;
/// What fits behind an IPv4 and a UDP header: 65535 - 20 - 8.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// What fits into a Unix socket's send buffer (net.core.wmem_default).
const UNIX_BYTES_MAX: usize = 212_992;
