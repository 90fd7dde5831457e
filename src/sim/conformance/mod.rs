//! The same scenes on the simulation and on the kernel's loopback: what is answered, and which
//! edges come. So the simulation cannot drift from what it stands for.
//!
//! Each scene is written once, over a [`Stage`]: a [`Platform`] and the far ends of its sockets.
//! It is played in the simulation first, under [three manners](MANNERS), and then on the kernel.
//!
//! **What must agree.** Every answer is the same everywhere: bytes, counts, error numbers. Of
//! edges, at each place where a scene gathers them: whatever any of the simulations tells, the
//! kernel tells as well. It may tell more (epoll reports the whole state on every change), and a
//! reactor may not lean on that; strict manners see to it, and give no edge that is not owed.
//!
//! **Waiting.** The simulation's record is the kernel's script. An answer of `WouldBlock` where
//! the script has another, or an edge that is still missing, may only be early: the kernel is
//! then polled until it comes, or [the patience](PATIENCE) ends. Nothing is waited for otherwise.
//!
//! Where the two differ knowingly, and no scene looks:
//!
//! - how many bytes a connection or a queue holds, and how many a cut write takes;
//! - what a reset does to bytes that were sent before it and not yet read. The kernel loses those
//!   that are still on the sender's side. In the simulation, whose pipe is both sides and the
//!   wire, all are lost, but under [`Manners::reset_delivers`](super::Manners::reset_delivers),
//!   which is what is compared here;
//! - the path of a Unix listener that was closed by its process' end stays behind on a real disk.

mod breaks;
mod connecting;
mod datagrams;
mod far;
mod listeners;
mod streams;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::time::Duration;

use far::{Far, Real, Simulated, Stage};

use super::Manners;
use crate::base::address::{Address, NetAddr};
use crate::sys::{Edge, ListenOptions, Platform, Readiness, Socket, Token};

type Listener<S> = <<S as Stage>::Platform as Platform>::Listener;
type Stream<S> = <<S as Stage>::Platform as Platform>::Stream;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    /// TCP, or UDP.
    Inet,
    Unix,
}

/// What a scene saw in one step.
#[derive(Clone, PartialEq, Debug)]
struct Observation {
    step: &'static str,
    answer: String,
    /// Where edges were gathered: what they said together.
    told: Readiness,
}

/// The near side of a scene: calls the platform, and keeps the record.
struct Near<S: Stage> {
    stage: S,
    transport: Transport,
    record: Vec<Observation>,
    /// What the others saw; empty for the first.
    script: Vec<Observation>,
    /// Edges that came and were not gathered yet.
    edges: Vec<Edge>,
}

impl<S: Stage> Near<S> {
    fn new(stage: S, transport: Transport, script: Vec<Observation>) -> Near<S> {
        Near { stage, transport, record: Vec::new(), script, edges: Vec::new() }
    }

    /// Calls the platform, and notes the answer. The kernel is asked again while it would block
    /// and the script says that it will not.
    fn ask<T: Debug>(
        &mut self,
        step: &'static str,
        mut call: impl FnMut(&mut S::Platform) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let outcome = call(self.stage.platform());
            let answer = match &outcome {
                Ok(value) => format!("{value:?}"),
                Err(error) => format!("{:?} {:?}", error.kind(), error.raw_os_error()),
            };
            let is_blocked =
                matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            let is_early = is_blocked && self.expected().is_some_and(|seen| seen.answer != answer);
            if is_early && self.await_news() {
                continue;
            }
            self.note(Observation { step, answer, told: Readiness::default() });
            return outcome;
        }
    }

    /// Notes what a far end, or the scene itself, has to say.
    fn see(&mut self, step: &'static str, what: impl Debug) {
        let answer = format!("{what:?}");
        self.note(Observation { step, answer, told: Readiness::default() });
    }

    /// Gathers the edges of a token that are due: all that the script tells of, and on the kernel
    /// perhaps more.
    fn edges(&mut self, token: Token) -> Readiness {
        let wanted = self.expected().map_or(Readiness::default(), |seen| seen.told);
        let mut told = Readiness::default();
        loop {
            self.wait(Duration::ZERO);
            told = self.edges.iter().filter(|edge| edge.token == token).fold(told, with_edge);
            self.edges.retain(|edge| edge.token != token);
            if includes(told, wanted) || !self.await_news() {
                break;
            }
        }
        self.note(Observation { step: "edges", answer: String::new(), told });
        told
    }

    /// Asserts that no edge is there.
    fn no_edges(&mut self, token: Token) {
        assert_eq!(self.edges(token), Readiness::default(), "nothing has happened");
    }

    /// Polls until something comes; `false` if nothing will.
    fn await_news(&mut self) -> bool {
        let count = self.edges.len();
        if S::TAKES_TIME {
            self.wait(PATIENCE);
        }
        self.edges.len() > count
    }

    fn wait(&mut self, patience: Duration) {
        let platform = self.stage.platform();
        let found = platform.wait(Some(patience).into()).unwrap();
        self.edges.extend((0..found).map(|index| platform.edge(index)));
    }

    fn expected(&self) -> Option<&Observation> {
        self.script.get(self.record.len())
    }

    fn note(&mut self, seen: Observation) {
        if let Some(expected) = self.expected() {
            let (number, world) = (self.record.len(), S::NAME);
            let is_same = (expected.step, &expected.answer) == (seen.step, &seen.answer);
            assert!(is_same, "step {number}: {world} gives {seen:?}, instead of {expected:?}");
            // The simulations may tell more than each other.
            let is_told = !S::TAKES_TIME || includes(seen.told, expected.told);
            assert!(is_told, "step {number}: {world} tells {seen:?}, which lacks {expected:?}");
        }
        self.record.push(seen);
    }
}

/// What scenes do again and again.
impl<S: Stage> Near<S> {
    /// A registered listener at an address of its own.
    fn listen(&mut self) -> (Listener<S>, Address) {
        let wanted = self.stage.address(self.transport);
        let platform = self.stage.platform();
        let mut listener = platform.listen(&wanted, &ListenOptions::default()).unwrap();
        platform.register_listener(&mut listener, LISTENER).unwrap();
        let address = as_address(&listener.local_addr().unwrap());
        (listener, address)
    }

    fn accept(&mut self, listener: &mut Listener<S>, far: &S::Far) -> io::Result<Stream<S>> {
        let mut stream = None;
        let from = far.address();
        self.ask("accept", |platform| {
            let mut peer = NetAddr::Unnamed;
            stream = Some(platform.accept(listener, &mut peer)?);
            Ok(peer == from)
        })?;
        Ok(stream.expect("it was accepted"))
    }

    fn register(&mut self, stream: &mut Stream<S>) {
        self.ask("register", |platform| platform.register_stream(stream, STREAM)).unwrap();
    }

    /// A connection that was accepted and registered, its first edges gathered.
    fn connection(&mut self) -> (Stream<S>, S::Far) {
        let (mut listener, address) = self.listen();
        let far = self.stage.connect(&address);
        let mut stream = self.accept(&mut listener, &far).unwrap();
        self.stage.platform().close_listener(listener);
        self.register(&mut stream);
        assert!(self.edges(STREAM).has(Readiness::WRITABLE));
        self.edges(LISTENER);
        (stream, far)
    }

    fn read(&mut self, stream: &mut Stream<S>) {
        self.read_at_most(stream, 64);
    }

    fn read_at_most(&mut self, stream: &mut Stream<S>, bytes_max: usize) {
        let _ = self.ask("read", |platform| {
            let mut buffer = vec![0; bytes_max];
            let len = platform.read(stream, &mut buffer)?;
            Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
        });
    }

    fn write(&mut self, stream: &mut Stream<S>, bytes: &[u8]) {
        let _ = self.ask("write", |platform| platform.write(stream, &[IoSlice::new(bytes)]));
    }

    /// Writes until that would block, and answers how much went.
    fn fill(&mut self, stream: &mut Stream<S>) -> usize {
        let chunk = vec![b'.'; 64 * 1024];
        let mut total = 0;
        let _ = self.ask("fill", |platform| -> io::Result<()> {
            loop {
                total += platform.write(stream, &[IoSlice::new(&chunk)])?;
            }
        });
        total
    }

    fn finish(&mut self, stream: &mut Stream<S>) {
        let _ = self.ask("finish", |platform| platform.finish(stream));
    }

    fn connected(&mut self, stream: &mut Stream<S>, to: &NetAddr) {
        let _ = self.ask("connected", |platform| Ok(platform.connected(stream)? == *to));
    }

    fn close(&mut self, stream: Stream<S>) {
        self.stage.platform().close(stream);
    }
}

/// Plays a scene everywhere.
fn compare(transport: Transport, simulated: fn(&mut Near<Simulated>), real: fn(&mut Near<Real>)) {
    let mut script: Vec<Observation> = Vec::new();
    for manners in MANNERS {
        let mut near = Near::new(Simulated::new(&manners), transport, script.clone());
        simulated(&mut near);
        assert!(script.is_empty() || near.record.len() == script.len());
        for (index, seen) in near.record.into_iter().enumerate() {
            match script.get_mut(index) {
                Some(known) => known.told = known.told.with(seen.told),
                None => script.push(seen),
            }
        }
    }
    assert!(!script.is_empty(), "a scene in which nothing was seen");
    let count = script.len();
    let mut near = Near::new(Real::new(), transport, script);
    real(&mut near);
    assert_eq!(near.record.len(), count, "the kernel's scene ended early");
}

/// A test for each scene, over the transports that know it.
macro_rules! scenes {
    ($($transports:tt: $($scene:ident)+;)+) => {
        $($(
            #[test]
            fn $scene() {
                use crate::sim::conformance::Transport::*;
                use crate::sim::conformance::{Real, Simulated, compare};
                for transport in $transports {
                    compare(transport, super::$scene::<Simulated>, super::$scene::<Real>);
                }
            }
        )+)+
    };
}
use scenes;

fn includes(all: Readiness, some: Readiness) -> bool {
    all.with(some) == all
}

fn with_edge(all: Readiness, edge: &Edge) -> Readiness {
    all.with(edge.ready)
}

fn as_address(bound: &NetAddr) -> Address {
    match bound {
        NetAddr::Inet(inet) => Address::Inet(*inet),
        NetAddr::Path(path) => Address::Path(path.to_path_buf()),
        other => panic!("nobody can connect to {other}"),
    }
}

/// Strict; as epoll tells; and as Linux reads TCP.
const MANNERS: [Manners; 3] = [STRICT, HINTS, DRAINS];
const STRICT: Manners = Manners {
    short_reads: 0,
    short_writes: 0,
    would_block: 0,
    interrupted: 0,
    stray_edges: 0,
    doubled_edges: 0,
    stale_edges: 0,
    hints: false,
    short_read_drains: false,
    reset_delivers: true,
};
const HINTS: Manners = Manners { hints: true, ..STRICT };
const DRAINS: Manners = Manners { short_read_drains: true, ..STRICT };

const LISTENER: Token = Token::Endpoint(0);
const STREAM: Token = Token::Connection(0);
const DATAGRAM: Token = Token::Endpoint(1);

/// Far longer than loopback ever takes; a scene that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(10);
