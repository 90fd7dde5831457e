//! The reactor over loopback, with its clients in the same thread: what one thread of a machine
//! does for both ends together. It needs a machine that does nothing else; to compare servers with
//! each other there is `benches/compare`.
//!
//! `cargo bench --bench loopback` takes about 20 seconds.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidemill::protocols::Echo;
use tidemill::sys::DatagramOptions;
use tidemill::{DatagramContext, DatagramHandler, NetAddr, Reactor};

fn any() -> tidemill::Address {
    "127.0.0.1:0".parse().unwrap()
}

fn echo_server() -> (Reactor, SocketAddr) {
    let mut reactor: Reactor = Reactor::new().unwrap();
    let (_, local) = reactor.listen(&any(), |_: &NetAddr| Echo).unwrap();
    (reactor, local.inet().unwrap())
}

/// Reads it all, with turns in between.
fn receive(reactor: &mut Reactor, client: &mut TcpStream, mut into: &mut [u8]) {
    while !into.is_empty() {
        match client.read(into) {
            Ok(0) => panic!("the server ended a connection"),
            Ok(count) => into = &mut into[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                reactor.turn(Some(PATIENCE)).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn connections(c: &mut Criterion) {
    let (mut reactor, local) = echo_server();
    let mut group = c.benchmark_group("loopback");
    for at_once in [1, 64] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(BenchmarkId::new("connect, echo, close", at_once), |b| {
            b.iter(|| {
                let connect = |_| {
                    let mut client = TcpStream::connect(local).unwrap();
                    client.set_nonblocking(true).unwrap();
                    client.write_all(b"x").unwrap();
                    client
                };
                let mut clients: Vec<TcpStream> = (0..at_once).map(connect).collect();
                for client in &mut clients {
                    receive(&mut reactor, client, &mut [0]);
                }
                drop(clients);
                while reactor.connection_count() > 0 {
                    reactor.turn(Some(PATIENCE)).unwrap();
                }
            });
        });
    }
    group.finish();
}

fn echo(c: &mut Criterion) {
    let mut group = c.benchmark_group("loopback echo: connections, depth, size");
    for (connections, depth, size) in [
        (1, 1, 64),
        (64, 1, 64),
        (1000, 1, 64),
        (1, 16, 64),
        (64, 16, 64),
        (64, 1, 4096),
        (64, 4, 4096),
        (1, 1, 65_536),
    ] {
        let bytes = (connections * depth * size) as u64;
        let elements = (connections * depth) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        group.bench_function(format!("{connections} × {depth} × {size}"), |b| {
            let (mut reactor, local) = echo_server();
            let connect = |_| {
                let client = TcpStream::connect(local).unwrap();
                client.set_nodelay(true).unwrap();
                client.set_nonblocking(true).unwrap();
                client
            };
            let mut clients: Vec<TcpStream> = (0..connections).map(connect).collect();
            let message = vec![b'x'; size];
            let mut answers = vec![0; size * depth];
            b.iter(|| {
                for client in &mut clients {
                    for _ in 0..depth {
                        client.write_all(&message).unwrap();
                    }
                }
                for client in &mut clients {
                    receive(&mut reactor, client, &mut answers);
                }
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

fn datagrams(c: &mut Criterion) {
    let mut group = c.benchmark_group("loopback datagrams");
    for burst in [1, 64] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(burst.to_string(), |b| {
            let mut reactor: Reactor = Reactor::new().unwrap();
            let options = DatagramOptions::default();
            let (_, bound) = reactor.bind_datagram(&any(), &options, Answer).unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect(bound.inet().unwrap()).unwrap();
            client.set_nonblocking(true).unwrap();
            b.iter(|| {
                for _ in 0..burst {
                    client.send(&[b'x'; 64]).unwrap();
                }
                // Loopback loses nothing that fits in the queues, as so little does.
                let mut answered = 0;
                while answered < burst {
                    match client.recv(&mut [0; 100]) {
                        Ok(_) => answered += 1,
                        Err(_) => drop(reactor.turn(Some(PATIENCE))),
                    }
                }
            });
        });
    }
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

criterion_group! { name = benches; config = short(); targets = connections, echo, datagrams }
criterion_main!(benches);
