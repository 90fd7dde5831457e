//! Work whose cost can be counted exactly: the same from run to run, and on every machine.
//!
//! ```text
//! counted list            the names of what there is
//! counted NAME            does it, and tells: units allocations
//! counted serve           an echo server, for counting system calls
//! counted serve-datagrams the same of datagrams
//! ```
//!
//! What belongs to the count happens within the function `measured`, where `benches/guard` has
//! callgrind collect; whatever comes before has warmed the buffers up. Allocations are counted
//! there, too. The reactor is counted over the simulated world, which gives the same readiness
//! every time; what the world costs in the reactor's calls is counted with it.

mod codecs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use codecs::{Visitor, decode_all};
use tidemill::codec::{Decoder, Encoder};
use tidemill::protocols::{DatagramEcho, Echo, LineEcho};
use tidemill::server::Builder;
use tidemill::sim::{Manners, Node, Peer, World};
use tidemill::{
    Address, ConnId, Context, Fault, Limits, NetAddr, Reactor, Server, Service, StreamHandler,
};

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "serve" => serve("tcp", Server::builder().listen(any(), |_: &NetAddr| Echo)),
        "serve-datagrams" => serve("udp", Server::builder().datagram(any(), DatagramEcho)),
        "list" => visit(&mut |name, _| println!("{name}")),
        _ => {
            let mut found = false;
            visit(&mut |each, work| {
                if each == name {
                    found = true;
                    let units = work();
                    println!("{units} {}", ALLOCATIONS.get());
                }
            });
            if !found {
                eprintln!("counted: there is no {name:?}; see `counted list`");
                std::process::exit(2);
            }
        }
    }
}

/// Shows each work with its name. It answers how many units it did.
fn visit(show: &mut dyn FnMut(&str, &mut dyn FnMut() -> usize)) {
    show("echo turn, 64 connections", &mut || {
        let mut rig = Rig::new(64, |_: &NetAddr| Echo);
        rig.exchange_often(&[b'x'; 64], 64)
    });
    show("echo turn, 1 connection", &mut || {
        let mut rig = Rig::new(1, |_: &NetAddr| Echo);
        rig.exchange_often(&[b'x'; 64], 1)
    });
    show("echo turn, 64 of 1000 connections", &mut || {
        let mut rig = Rig::new(1000, |_: &NetAddr| Echo);
        rig.active_count = 64;
        rig.exchange_often(&[b'x'; 64], 64)
    });
    let mut lines = [b'x'; 1024];
    lines.iter_mut().skip(63).step_by(64).for_each(|byte| *byte = b'\n');
    show("lines, 16 a turn, 64 connections", &mut || {
        let mut rig = Rig::new(64, |_: &NetAddr| LineEcho::framed());
        16 * rig.exchange_often(&lines, 64)
    });
    show("timers set and cancelled, 64 connections", &mut || {
        let mut rig = Rig::new(64, |_: &NetAddr| Timer);
        rig.exchange_often(b"!", 64)
    });
    show("connections made and closed", &mut connections);
    show("datagrams, 64 a turn", &mut datagrams);
    show("letters, 64 a turn", &mut letters);
    codecs::visit(&mut Codecs { show }, 64);
}

/// A reactor in a simulated world, with clients that are connected.
struct Rig {
    world: World,
    at: Address,
    reactor: Reactor<u8, Node>,
    peers: Vec<Peer>,
    /// How many of them send.
    active_count: usize,
}

impl Rig {
    fn new(peer_count: usize, service: impl Service<u8>) -> Rig {
        let world = World::new(1);
        // As epoll and TCP are.
        world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
        let mut reactor = Reactor::with_platform(world.node(), Limits::default()).unwrap();
        let at: Address = "10.0.0.1:7".parse().unwrap();
        reactor.listen(&at, service).unwrap();
        let peers = (0..peer_count).map(|_| world.connect(at.clone())).collect();
        let mut rig = Rig { world, at, reactor, peers, active_count: peer_count };
        while rig.reactor.connection_count() < peer_count {
            rig.turn();
        }
        rig.turn();
        rig
    }

    fn turn(&mut self) {
        self.reactor.turn(Some(Duration::ZERO)).unwrap();
    }

    fn send(&self, message: &[u8]) {
        for peer in &self.peers[..self.active_count] {
            assert_eq!(peer.send(message), message.len());
        }
    }

    fn receive(&self, message: &[u8]) {
        for peer in &self.peers[..self.active_count] {
            assert_eq!(peer.receive(), message);
        }
    }

    /// Each client sends a message, the reactor takes one turn, and each receives the answer.
    fn exchange_often(&mut self, message: &[u8], each: usize) -> usize {
        for _ in 0..WARM_UP {
            self.send(message);
            self.turn();
            self.receive(message);
        }
        for _ in 0..TURNS {
            self.send(message);
            measured(|| self.turn());
            self.receive(message);
        }
        TURNS * each
    }
}

/// Sets a timer on every byte, takes it back, and answers.
struct Timer;

impl StreamHandler<u8> for Timer {
    fn on_bytes(&mut self, cx: &mut Context<'_, u8>, input: &[u8]) -> Result<usize, Fault> {
        cx.set_timer(0, Duration::from_secs(60));
        cx.cancel_timer(0);
        cx.write(input);
        Ok(input.len())
    }
}

fn connections() -> usize {
    let mut rig = Rig::new(0, |_: &NetAddr| Echo);
    let mut round = |is_counted: bool| {
        let peers: Vec<Peer> = (0..64).map(|_| rig.world.connect(rig.at.clone())).collect();
        let mut turn = || if is_counted { measured(|| rig.turn()) } else { rig.turn() };
        turn();
        peers.iter().for_each(|peer| assert_eq!(peer.send(b"x"), 1));
        turn();
        peers.iter().for_each(|peer| assert_eq!(peer.receive(), b"x"));
        peers.iter().for_each(Peer::finish);
        turn();
        turn();
        assert_eq!(rig.reactor.connection_count(), 0);
    };
    (0..WARM_UP).for_each(|_| round(false));
    (0..TURNS).for_each(|_| round(true));
    64 * TURNS
}

fn datagrams() -> usize {
    let world = World::new(1);
    let mut reactor: Reactor<(), Node> =
        Reactor::with_platform(world.node(), Limits::default()).unwrap();
    let at = "10.0.0.1:2007".parse().unwrap();
    let (_, bound) = reactor.bind_datagram(&at, &Default::default(), DatagramEcho).unwrap();
    let peer = world.bind_datagram("10.0.0.2:2008".parse::<Address>().unwrap());
    let mut round = |is_counted: bool| {
        (0..64).for_each(|_| peer.send_to(&[b'x'; 64], &bound));
        let mut turn = || {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        };
        if is_counted {
            measured(&mut turn)
        } else {
            turn()
        }
        (0..64).for_each(|_| assert_eq!(peer.receive().unwrap().0, [b'x'; 64]));
    };
    (0..WARM_UP).for_each(|_| round(false));
    (0..TURNS).for_each(|_| round(true));
    64 * TURNS
}

/// Says by a byte that it was told something.
struct Told;

impl StreamHandler<u8> for Told {
    fn on_open(&mut self, cx: &mut Context<'_, u8>) -> Result<(), Fault> {
        IDS.with_borrow_mut(|ids| ids.push(cx.id()));
        Ok(())
    }

    fn on_bytes(&mut self, _cx: &mut Context<'_, u8>, input: &[u8]) -> Result<usize, Fault> {
        Ok(input.len())
    }

    fn on_message(&mut self, cx: &mut Context<'_, u8>, message: u8) -> Result<(), Fault> {
        cx.write(&[message]);
        Ok(())
    }
}

thread_local! {
    static IDS: std::cell::RefCell<Vec<ConnId>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn letters() -> usize {
    let mut rig = Rig::new(64, |_: &NetAddr| Told);
    let ids = IDS.take();
    assert_eq!(ids.len(), 64);
    let handle = rig.reactor.handle().clone();
    let mut round = |is_counted: bool| {
        let post = || ids.iter().for_each(|id| handle.send(*id, 7).unwrap());
        let mut post_and_turn = || {
            post();
            rig.turn();
        };
        if is_counted {
            measured(&mut post_and_turn)
        } else {
            post_and_turn()
        }
        rig.receive(&[7]);
    };
    (0..WARM_UP).for_each(|_| round(false));
    (0..TURNS).for_each(|_| round(true));
    64 * TURNS
}

struct Codecs<'a> {
    show: &'a mut dyn FnMut(&str, &mut dyn FnMut() -> usize),
}

impl Visitor for Codecs<'_> {
    fn decode<D: Decoder>(
        &mut self,
        name: &str,
        make: impl Fn() -> D,
        input: &[u8],
        look: impl for<'a> Fn(D::Frame<'a>),
    ) {
        (self.show)(&format!("decode: {name}"), &mut || {
            let mut decoder = make();
            measured(|| decode_all(&mut decoder, black_box(input), &look))
        });
    }

    fn encode<E: for<'a> Encoder<Item<'a> = &'a [u8]>>(
        &mut self,
        name: &str,
        make: impl Fn() -> E,
        item: &[u8],
        count: usize,
    ) {
        (self.show)(&format!("encode: {name}"), &mut || {
            let (mut encoder, mut out) = (make(), Vec::with_capacity(2 * count * item.len()));
            measured(|| {
                for _ in 0..count {
                    assert!(encoder.encode(black_box(item), &mut out).is_ok());
                }
            });
            black_box(out);
            count
        });
    }
}

fn serve(transport: &str, builder: Builder) {
    let server = builder.bind().unwrap();
    println!("listening echo {transport} {}", server.bound()[0].address);
    std::io::stdout().flush().unwrap();
    server.run().unwrap();
}

fn any() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// What is counted.
#[inline(never)]
fn measured<R>(work: impl FnOnce() -> R) -> R {
    IS_COUNTED.set(true);
    let answer = black_box(work());
    IS_COUNTED.set(false);
    answer
}

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what is asked of it within `measured`.
struct Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + u64::from(IS_COUNTED.get()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + u64::from(IS_COUNTED.get()));
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Turns before counting, in which buffers find their sizes.
const WARM_UP: usize = 20;
const TURNS: usize = 50;
