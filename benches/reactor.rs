//! The reactor: over the simulated world, which is steady and includes what the world costs, and
//! over loopback, which needs a machine that does nothing else.
//!
//! `cargo bench --bench reactor` takes about 10 seconds.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemill::protocols::{Echo, LineEcho};
use tidemill::sim::{Manners, Node, Peer, World};
use tidemill::{Address, Context, Fault, Limits, NetAddr, Reactor, Service, StreamHandler};

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

fn loopback(c: &mut Criterion) {
    let mut reactor: Reactor = Reactor::new().unwrap();
    let (_, local) = reactor.listen(&"127.0.0.1:0".parse().unwrap(), |_: &NetAddr| Echo).unwrap();
    let local = local.inet().unwrap();
    let mut turn = |wait| reactor.turn(Some(wait)).unwrap();
    let mut group = c.benchmark_group("loopback");
    group.bench_function("connect, echo, close", |b| {
        b.iter(|| {
            let mut client = TcpStream::connect(local).unwrap();
            client.write_all(b"x").unwrap();
            let mut answer = [0];
            client.set_nonblocking(true).unwrap();
            while client.read(&mut answer).is_err() {
                turn(PATIENCE);
            }
            drop(client);
            turn(PATIENCE);
        });
    });
    group.bench_function("echo", |b| {
        let mut client = TcpStream::connect(local).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut message = [b'x'; 64];
        b.iter(|| {
            client.write_all(&message).unwrap();
            while client.read(&mut message).is_err() {
                turn(PATIENCE);
            }
        });
    });
    group.finish();
}

/// Far more than an edge takes to arrive on loopback.
const PATIENCE: Duration = Duration::from_secs(1);

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
        .without_plots()
}

criterion_group! { name = benches; config = short(); targets = echo_turn, timers, loopback }
criterion_main!(benches);
