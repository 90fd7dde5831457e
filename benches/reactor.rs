//! The reactor over the simulated world: steady numbers, without a kernel, which include what the
//! world costs. Over loopback: `benches/loopback.rs`.
//!
//! `cargo bench --bench reactor` takes about 20 seconds.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemill::protocols::{Echo, LineEcho};
use tidemill::sim::{Manners, Node, Peer, World};
use tidemill::sys::DatagramOptions;
use tidemill::{
    Address, ConnId, Context, DatagramContext, DatagramHandler, Fault, Limits, NetAddr, Reactor,
    Service, StreamHandler,
};

/// A reactor in a simulated world, with clients that are connected.
struct Rig {
    reactor: Reactor<(), Node>,
    peers: Vec<Peer>,
}

impl Rig {
    fn new(peer_count: usize, service: impl Service) -> Rig {
        let world = World::new(1);
        // As epoll and TCP are.
        world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
        let mut reactor = Reactor::with_platform(world.node(), Limits::default()).unwrap();
        let at: Address = "10.0.0.1:7".parse().unwrap();
        reactor.listen(&at, service).unwrap();
        let peers = (0..peer_count).map(|_| world.connect(at.clone())).collect();
        let mut rig = Rig { reactor, peers };
        while rig.reactor.connection_count() < peer_count {
            rig.turn();
        }
        rig.turn();
        rig
    }

    fn turn(&mut self) {
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }

    /// Each client sends a message, the reactor takes one turn, and each receives the answer.
    fn exchange(&mut self, message: &[u8]) {
        for peer in &self.peers {
            assert_eq!(peer.send(message), message.len());
        }
        self.turn();
        for peer in &self.peers {
            assert_eq!(peer.receive().len(), message.len());
        }
    }
}

fn echo_turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulated");
    let mut message = [b'x'; 64];
    message[63] = b'\n';
    for peer_count in [1, 64] {
        group.throughput(Throughput::Elements(peer_count as u64));
        group.bench_function(BenchmarkId::new("echo turn", peer_count), |b| {
            let mut rig = Rig::new(peer_count, |_: &NetAddr| Echo);
            b.iter(|| rig.exchange(&message));
        });
        group.bench_function(BenchmarkId::new("line turn", peer_count), |b| {
            let mut rig = Rig::new(peer_count, |_: &NetAddr| LineEcho::framed());
            b.iter(|| rig.exchange(&message));
        });
        // What of the above is the world's and the clients', and not the reactor's.
        group.bench_function(BenchmarkId::new("world alone", peer_count), |b| {
            let world = World::new(1);
            let far = world.listen("10.0.0.1:7".parse::<Address>().unwrap());
            let near: Vec<Peer> =
                (0..peer_count).map(|_| world.connect(far.address().inet().unwrap())).collect();
            let ends: Vec<(Peer, Peer)> =
                near.into_iter().map(|near| (near, far.accept().unwrap())).collect();
            b.iter(|| {
                for (near, far) in &ends {
                    near.send(&message);
                    far.send(&far.receive());
                    assert_eq!(near.receive().len(), message.len());
                }
            });
        });
    }
    group.finish();
}

/// Sets timers on a byte above 127 and takes them back on others: as many as the byte says.
struct Timers;

impl StreamHandler for Timers {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        for &byte in input {
            for tag in 0..u32::from(byte & 127) {
                if byte > 127 {
                    cx.set_timer(tag, Duration::from_secs(60 + u64::from(tag)));
                } else {
                    cx.cancel_timer(tag);
                }
            }
        }
        cx.write(input);
        Ok(input.len())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _tag: u32) -> Result<(), Fault> {
        cx.write(b"!");
        Ok(())
    }
}

fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers");
    for timer_count in [0_u8, 1, 16] {
        group.throughput(Throughput::Elements(64));
        group.bench_function(BenchmarkId::new("64 set and cancel", timer_count), |b| {
            let mut rig = Rig::new(64, |_: &NetAddr| Timers);
            b.iter(|| rig.exchange(&[128 | timer_count, timer_count]));
        });
    }
    group.bench_function("64 fire", |b| {
        let make = || {
            let mut rig = Rig::new(64, |_: &NetAddr| Timers);
            rig.exchange(&[128 | 1]);
            rig
        };
        let fire = |mut rig: Rig| {
            let mut fired_count = 0;
            while fired_count < rig.peers.len() {
                rig.reactor.turn(Some(Duration::from_secs(60))).unwrap(); // lets the time pass
                fired_count += rig.peers.iter().map(|peer| peer.receive().len()).sum::<usize>();
            }
            rig
        };
        b.iter_batched(make, fire, BatchSize::SmallInput);
    });
    group.finish();
}

/// What connections cost that do nothing, while one is served.
fn idle_table(c: &mut Criterion) {
    let mut group = c.benchmark_group("one served beside idle ones");
    for idle_count in [0, 1_000, 10_000] {
        group.bench_function(idle_count.to_string(), |b| {
            let mut rig = Rig::new(1 + idle_count, |_: &NetAddr| Echo);
            let _idle = rig.peers.split_off(1);
            b.iter(|| rig.exchange(&[b'x'; 64]));
        });
    }
    group.finish();
}

fn datagrams(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulated datagrams");
    for burst in [1, 64] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(burst.to_string(), |b| {
            let world = World::new(1);
            let mut reactor: Reactor<(), Node> =
                Reactor::with_platform(world.node(), Limits::default()).unwrap();
            let at = "10.0.0.1:7".parse().unwrap();
            let options = DatagramOptions::default();
            let (_, bound) = reactor.bind_datagram(&at, &options, Answer).unwrap();
            let peer = world.bind_datagram("10.0.0.2:2000".parse::<Address>().unwrap());
            b.iter(|| {
                (0..burst).for_each(|_| peer.send_to(&[b'x'; 64], &bound));
                reactor.turn(Some(Duration::ZERO)).unwrap();
                (0..burst).for_each(|_| assert!(peer.receive().is_some()));
            });
        });
    }
    group.finish();
}

struct Answer;

impl DatagramHandler for Answer {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, _: &NetAddr, payload: &[u8]) {
        cx.reply(payload).expect("as long as the request");
    }
}

/// Takes letters, and keeps what they bring.
struct Told(Rc<Cell<u64>>, Rc<Cell<Option<ConnId>>>);

impl StreamHandler<u64> for Told {
    fn on_open(&mut self, cx: &mut Context<'_, u64>) -> Result<(), Fault> {
        self.1.set(Some(cx.id()));
        Ok(())
    }

    fn on_bytes(&mut self, _: &mut Context<'_, u64>, input: &[u8]) -> Result<usize, Fault> {
        Ok(input.len())
    }

    fn on_message(&mut self, _: &mut Context<'_, u64>, message: u64) -> Result<(), Fault> {
        self.0.set(self.0.get() + message);
        Ok(())
    }
}

/// Letters posted in the reactor's own thread, so that only the mailbox is measured.
fn mailbox(c: &mut Criterion) {
    let mut group = c.benchmark_group("letters");
    for burst in [1, 64, 4096] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(burst.to_string(), |b| {
            let world = World::new(1);
            let mut reactor: Reactor<u64, Node> =
                Reactor::with_platform(world.node(), Limits::default()).unwrap();
            let at: Address = "10.0.0.1:7".parse().unwrap();
            let (sum, id) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
            let handler = (sum.clone(), id.clone());
            let service = move |_: &NetAddr| Told(handler.0.clone(), handler.1.clone());
            reactor.listen(&at, service).unwrap();
            let _peer = world.connect(at);
            while id.get().is_none() {
                reactor.turn(Some(Duration::ZERO)).unwrap();
            }
            let (id, handle) = (id.get().unwrap(), reactor.handle().clone());
            b.iter(|| {
                sum.set(0);
                (0..burst).for_each(|_| handle.send(id, 1).unwrap());
                while sum.get() < burst {
                    reactor.turn(Some(Duration::ZERO)).unwrap();
                }
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .without_plots()
}

criterion_group! { name = benches; config = short(); targets = echo_turn, idle_table, timers, datagrams, mailbox }
criterion_main!(benches);
