//! Clients of three echoes in a simulated world, played as a fuzzer's bytes say.

use std::time::Duration;

use super::Choices;
use super::naive;
use crate::base::address::{Address, NetAddr};
use crate::codec::{Ending, Lines};
use crate::handler::Framed;
use crate::hub::limits::Limits;
use crate::protocols::{DatagramEcho, Echo, LineEcho};
use crate::reactor::{Reactor, Turn};
use crate::sim::{Call, DatagramPeer, Manners, Node, Peer, World};
use crate::sys::DatagramOptions;

pub(super) struct Scene {
    world: World,
    reactor: Reactor<(), Node>,
    clients: Vec<Client>,
    callers: Vec<Caller>,
    datagrams_at: NetAddr,
    /// Nobody gives up and nothing fails for good: every answer must come in full.
    is_patient: bool,
    /// The most bytes that a client sends at once: no more than a few dozen reads can take.
    bulk_bytes_max: usize,
}

/// Who speaks to one of the two echoes over streams.
struct Client {
    peer: Peer,
    kind: Kind,
    sent: Vec<u8>,
    /// `received_bytes <= answer_bytes <= sent.len()`: an echo answers with a start of `sent`.
    received_bytes: usize,
    /// How much of what was sent is to be answered, were it followed by a FIN.
    answer_bytes: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes,
    Lines,
}

/// Who speaks to the echo over datagrams.
struct Caller {
    peer: DatagramPeer,
    sent: Vec<Vec<u8>>,
    /// So many of those sent were answered, or are lost.
    answered_count: usize,
    received_count: usize,
}

impl Scene {
    pub(super) fn new(choices: &mut Choices<'_>) -> Scene {
        let is_patient = choices.flag();
        let world = World::new(u64::from(choices.byte()));
        world.set_manners(match choices.below(3) {
            0 => Manners::default(),
            1 => Manners { short_read_drains: true, stale_edges: 50, ..Manners::default() },
            _ => Manners::chatty(),
        });
        let capacity = 1 + choices.below(5000);
        world.set_capacity(capacity);
        let limits = limits(is_patient, choices);
        let bulk_bytes_max = 8192.min(BULK_READS_MAX * capacity.min(limits.read_budget_bytes));
        let mut reactor: Reactor<(), Node> =
            Reactor::with_platform(world.node(), limits).expect("the limits agree");
        reactor.listen(&at(Kind::Bytes), |_: &NetAddr| Echo).expect("the port is free");
        let lines = || Lines::new(Ending::Any).with_limit(LINE_BYTES_MAX);
        reactor
            .listen(&at(Kind::Lines), move |_: &NetAddr| Framed::new(lines(), LineEcho))
            .expect("the port is free");
        let options = DatagramOptions::default();
        let (_, datagrams_at) = reactor
            .bind_datagram(&at(Kind::Bytes), &options, DatagramEcho)
            .expect("the port is free");
        let (clients, callers) = (Vec::new(), Vec::new());
        Scene { world, reactor, clients, callers, datagrams_at, is_patient, bulk_bytes_max }
    }

    /// One thing that somebody does.
    pub(super) fn act(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => self.connect(Kind::Bytes),
            1 => self.connect(Kind::Lines),
            2..6 => {
                let len = choices.below(64);
                self.send(choices, |choices| choices.bytes(len).to_vec());
            }
            6 => {
                let len = choices.below(self.bulk_bytes_max);
                self.send(choices, |_| bulk(len));
            }
            7 | 8 => {
                if let Some(client) = chosen(&mut self.clients, choices) {
                    client.receive(choices.below(4096));
                }
            }
            9 => {
                if let Some(client) = chosen(&mut self.clients, choices) {
                    client.peer.finish();
                }
            }
            10 => self.leave(choices),
            11 => self.call(choices),
            12 => self.fail(choices),
            13 => drop(self.turn(Duration::from_millis(choices.byte().into()))),
            _ => drop(self.turn(Duration::ZERO)),
        }
    }

    /// All clients finish and take their answers.
    pub(super) fn play_out(&mut self) {
        self.clients.iter().for_each(|client| client.peer.finish());
        let (mut progress, mut vain_turns) = (self.progress(), 0);
        while !self.is_over() {
            let turn = self.turn(Duration::ZERO);
            self.receive_all();
            if turn.edges == 0 && !turn.has_work {
                self.turn(Duration::from_millis(100)); // a listener may rest
            }
            vain_turns = if self.progress() == progress { vain_turns + 1 } else { 0 };
            progress = self.progress();
            assert!(vain_turns < VAIN_TURNS_MAX, "somebody is never answered");
        }
        if self.is_patient {
            self.clients.iter().for_each(Client::assert_answered);
            for caller in &self.callers {
                assert_eq!(caller.received_count, caller.sent.len(), "every datagram is answered");
            }
        }
    }

    /// Stops the reactor, and sees to it that nothing is left.
    pub(super) fn end(mut self) {
        self.reactor.shutdown(Duration::from_secs(1));
        self.reactor.run().expect("a simulated wait does not fail");
        self.receive_all();
        self.reactor.check();
        assert_eq!((self.reactor.connection_count(), self.reactor.buffered_bytes()), (0, 0));
        assert_eq!(self.reactor.handle().connection_count(), 0);
        assert_eq!(self.reactor.counters().panics, 0);
        assert_eq!((self.world.open_sockets(), self.world.stalled_waits()), (0, 0));
    }

    fn connect(&mut self, kind: Kind) {
        if self.clients.len() < CLIENTS_MAX {
            let peer = self.world.connect(at(kind));
            let sent = Vec::new();
            self.clients.push(Client { peer, kind, sent, received_bytes: 0, answer_bytes: 0 });
        }
    }

    fn send(&mut self, choices: &mut Choices<'_>, what: impl Fn(&mut Choices<'_>) -> Vec<u8>) {
        if let Some(client) = chosen(&mut self.clients, choices) {
            client.send(&what(choices));
        }
    }

    /// Goes without a word, or with a bad one.
    fn leave(&mut self, choices: &mut Choices<'_>) {
        if !self.clients.is_empty() {
            let client = self.clients.swap_remove(choices.below(self.clients.len()));
            if choices.flag() {
                client.peer.reset();
            }
        }
    }

    fn call(&mut self, choices: &mut Choices<'_>) {
        let index = choices.below(2);
        while self.callers.len() <= index {
            let port = 5000 + self.callers.len() as u16;
            let peer = self.world.bind_datagram(Address::Inet(([10, 0, 0, 3], port).into()));
            let sent = Vec::new();
            self.callers.push(Caller { peer, sent, answered_count: 0, received_count: 0 });
        }
        let caller = &mut self.callers[index];
        if caller.sent.len() < DATAGRAMS_MAX {
            let len = choices.below(64);
            let payload = choices.bytes(len);
            caller.peer.send_to(payload, &self.datagrams_at);
            caller.sent.push(payload.to_vec());
        }
    }

    fn fail(&mut self, choices: &mut Choices<'_>) {
        // The first four are got over, so that nobody notices.
        let (call, errno) = match choices.below(if self.is_patient { 4 } else { 10 }) {
            0 => (Call::Accept, libc::EMFILE),
            1 => (Call::Accept, libc::ECONNABORTED),
            2 => (Call::Read, libc::EINTR),
            3 => (Call::Write, libc::EAGAIN),
            4 => (Call::Read, libc::EIO),
            5 => (Call::Write, libc::EPIPE),
            6 => (Call::Finish, libc::ENOTCONN),
            7 => (Call::Register, libc::ENOSPC),
            8 => (Call::Send, libc::ENOBUFS),
            _ => (Call::Receive, libc::ECONNREFUSED),
        };
        self.world.fail_next(call, errno);
    }

    fn turn(&mut self, wait: Duration) -> Turn {
        // With debug assertions, which fuzzers and tests have, it ends with `Reactor::check`.
        self.reactor.turn(Some(wait)).expect("a simulated wait does not fail")
    }

    fn receive_all(&mut self) {
        self.clients.iter_mut().for_each(|client| client.receive(usize::MAX));
        for caller in &mut self.callers {
            while let Some((payload, from)) = caller.peer.receive() {
                assert_eq!(from, self.datagrams_at);
                // Some may be lost, but none is made up.
                let mut sent = caller.sent[caller.answered_count..].iter();
                let index = sent.position(|sent| *sent == payload);
                caller.answered_count += 1 + index.expect("an answer to what was sent");
                caller.received_count += 1;
            }
        }
    }

    /// What changes as long as anything happens.
    fn progress(&self) -> [u64; 6] {
        let it = self.reactor.counters();
        [it.accepted, it.read_bytes, it.written_bytes, it.closed, it.datagrams_in, it.datagrams_out]
    }

    /// Whether nobody has anything more to expect.
    fn is_over(&self) -> bool {
        let is_over = |client: &Client| client.peer.has_ended() || client.peer.was_reset();
        let is_heard =
            |caller: &Caller| !self.is_patient || caller.received_count == caller.sent.len();
        self.clients.iter().all(is_over)
            && self.callers.iter().all(is_heard)
            && self.reactor.connection_count() == 0
    }
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        let count = self.peer.send(bytes);
        self.sent.extend_from_slice(&bytes[..count]);
        self.answer_bytes = match self.kind {
            Kind::Bytes => self.sent.len(),
            Kind::Lines => self.good_lines_end(),
        };
    }

    /// The end of the last line that is good. Those that were good are looked at once: but for the
    /// last, which may be the start of what is a line now.
    fn good_lines_end(&mut self) -> usize {
        let whole = behind_last_lf(&self.sent[..self.answer_bytes]);
        let (lines, _) = naive::lines(Ending::Any, false, LINE_BYTES_MAX, &self.sent[whole..]);
        lines.last().map_or(whole, |(end, _)| whole + *end)
    }

    fn receive(&mut self, bytes_max: usize) {
        let bytes = self.peer.receive_at_most(bytes_max);
        let missing = &self.sent[self.received_bytes..self.answer_bytes];
        assert!(missing.starts_with(&bytes), "{bytes:?} is no answer to {missing:?}");
        self.received_bytes += bytes.len();
    }

    fn assert_answered(&self) {
        assert!(!self.peer.was_reset(), "nobody had a reason to reset");
        let missing = &self.sent[self.received_bytes..self.answer_bytes];
        assert!(missing.is_empty(), "{missing:?} was not answered");
    }
}

/// Small ones, so that they are met.
fn limits(is_patient: bool, choices: &mut Choices<'_>) -> Limits {
    let high = 1 + choices.below(3000);
    let span = |millis: u64| if is_patient { Duration::MAX } else { Duration::from_millis(millis) };
    Limits {
        connections: 1 + choices.below(CLIENTS_MAX),
        outbox_low_bytes: 1 + choices.below(high),
        outbox_high_bytes: high,
        outbox_max_bytes: high + 100_000,
        buffered_bytes: 1 + choices.below(10_000),
        read_budget_bytes: 1 + choices.below(1000),
        accept_budget: 1 + choices.below(3),
        datagram_budget: 1 + choices.below(3),
        linger_bytes: if is_patient { usize::MAX } else { 1000 },
        overload: span(500),
        first_byte: span(700),
        idle: span(900),
        message: span(300),
        write_progress: span(600),
        flush: span(800),
        linger: span(400),
        ..Limits::default()
    }
}

fn chosen<'c, T>(among: &'c mut [T], choices: &mut Choices<'_>) -> Option<&'c mut T> {
    if among.is_empty() { None } else { Some(&mut among[choices.below(among.len())]) }
}

/// Lines of all lengths up to the longest.
fn bulk(len: usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity(len + LINE_BYTES_MAX);
    for line in (0..LINE_BYTES_MAX).cycle() {
        if lines.len() >= len {
            break;
        }
        lines.resize(lines.len() + line, b'x');
        lines.push(b'\n');
    }
    lines.truncate(len);
    lines
}

/// Behind the last LF.
fn behind_last_lf(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1)
}

fn at(kind: Kind) -> Address {
    let port = if kind == Kind::Bytes { 7 } else { 8 };
    Address::Inet(([10, 0, 0, 1], port).into())
}

const CLIENTS_MAX: usize = 8;
/// Of one act of sending: more of them make a scene longer, and tell nothing new.
const BULK_READS_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 40;
/// By each caller: fewer than a socket's queue holds in the simulated world.
const DATAGRAMS_MAX: usize = 100;
/// Far more than an unkind world can make of one that does something.
const VAIN_TURNS_MAX: usize = 2000;
