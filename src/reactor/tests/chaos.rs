//! Handlers that do anything at any time, to themselves and to others, while the system fails.
//! What they say to each other means nothing; the promises and the books must hold all the same.

use super::*;
use crate::base::rng::Rng;
use crate::handler::{DatagramContext, Desk};
use crate::hub::groups::{Broadcast, Group, Slow};
use crate::sim::PeerListener;

/// What all handlers of one run share.
#[derive(Clone)]
struct Asylum(Rc<RefCell<Ward>>);

struct Ward {
    rng: Rng,
    /// By handler: callbacks of opening and of closing.
    tally: Vec<[u32; 2]>,
    /// Every id there ever was.
    ids: Vec<ConnId>,
    /// No more connections are dialled.
    is_closing: bool,
}

struct Mad {
    ward: Asylum,
    number: usize,
    has_panicked: bool,
    /// Its last call to `on_bytes`: what was left, and whether `close` was called since.
    rest: Vec<u8>,
    has_closed: bool,
}

impl Asylum {
    fn new(seed: u64) -> Asylum {
        let rng = Rng::new(seed);
        let ward = Ward { rng, tally: Vec::new(), ids: Vec::new(), is_closing: false };
        Asylum(Rc::new(RefCell::new(ward)))
    }

    fn handler(&self) -> Mad {
        let tally = &mut self.0.borrow_mut().tally;
        tally.push([0, 0]);
        let number = tally.len() - 1;
        Mad { ward: self.clone(), number, has_panicked: false, rest: Vec::new(), has_closed: false }
    }

    fn below(&self, bound: usize) -> usize {
        self.0.borrow_mut().rng.below(bound as u64) as usize
    }

    fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn anybody(&self) -> Option<ConnId> {
        let len = self.0.borrow().ids.len();
        (len > 0).then(|| {
            let at = self.below(len);
            self.0.borrow().ids[at]
        })
    }

    /// Something about another, or about nobody in particular.
    fn act(&self, desk: &mut Desk<u32>) {
        let Some(id) = self.anybody() else { return };
        let size = self.below(3000);
        let handle = desk.handle().clone();
        match self.below(16) {
            0..4 => drop(desk.write_to(id, &vec![b'w'; size])),
            4 => drop(desk.write_shared_to(id, vec![b's'; size].into())),
            5 => drop(desk.close_other(id)),
            6 if self.chance(30) => drop(desk.abort_other(id)),
            7 => drop(desk.finish_other(id)),
            8 => drop(desk.pause_other(id)),
            9 | 10 => drop(desk.resume_other(id)),
            11 => drop(handle.send(id, size as u32)),
            12 if self.chance(30) => drop(handle.close(id)),
            13 => {
                let slow = [Slow::Skip, Slow::Close, Slow::Queue][self.below(3)];
                let group = Group(self.below(3) as u64);
                let told = Broadcast::new(group, vec![b'b'; size]).slow(slow).except(id);
                desk.broadcast(&told);
            }
            14 => self.dial(desk),
            _ => {}
        }
    }

    fn dial(&self, desk: &mut Desk<u32>) {
        if self.0.borrow().is_closing {
            return;
        }
        let to = ["10.0.0.1:7", "10.0.0.9:9", "10.0.0.8:1", "some.where:9", "no.where:9"];
        let to: Address = to[self.below(5)].parse().unwrap();
        let handler = self.handler();
        let number = handler.number;
        match desk.connect(to, handler) {
            Ok(id) => {
                self.0.borrow_mut().ids.push(id);
                let _ = desk.write_to(id, b"hello");
            }
            Err(_) => self.0.borrow_mut().tally[number] = [1, 1], // given back, never called
        }
    }
}

impl Mad {
    fn opened(&mut self) {
        let tally = &mut self.ward.0.borrow_mut().tally[self.number];
        assert_eq!(*tally, [0, 0]);
        tally[0] = 1;
    }

    fn run_wild(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        assert_eq!(self.ward.0.borrow().tally[self.number], [1, 0], "open, and not closed");
        assert!(!self.has_panicked, "nobody is called after a panic");
        for _ in 0..self.ward.below(3) {
            self.act(cx)?;
            self.ward.act(cx);
        }
        Ok(())
    }

    fn act(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        let size = self.ward.below(2000);
        match self.ward.below(32) {
            0..8 => cx.write(&vec![b'.'; size]),
            8 => cx.write_shared(vec![b':'; size].into()),
            9 | 10 => cx.pause(),
            11..14 => cx.resume(),
            14 => {
                cx.close();
                self.has_closed = true;
            }
            15 if self.ward.chance(30) => cx.abort(),
            16 => cx.finish(),
            17..20 => drop(cx.set_timer(size as u32 % 4, ms(size as u64 % 50))),
            20 => drop(cx.cancel_timer(size as u32 % 4)),
            21 => cx.expect_within(ms(500 + size as u64)),
            22 => cx.expect_within(None),
            23 => drop(cx.join(Group(size as u64 % 3))),
            24 => drop(cx.leave(Group(size as u64 % 3))),
            25 if self.ward.chance(30) => return Err(Fault::new("mad")),
            26 if self.ward.chance(30) => {
                self.has_panicked = true;
                std::panic::resume_unwind(Box::new("boom")); // without a word on stderr
            }
            _ => {}
        }
        Ok(())
    }
}

impl StreamHandler<u32> for Mad {
    fn on_open(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.opened();
        self.ward.0.borrow_mut().ids.push(cx.id());
        self.run_wild(cx)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, u32>, input: &[u8]) -> Result<usize, Fault> {
        assert!(input.starts_with(&self.rest), "what was left is shown again");
        assert!(!self.has_closed, "no input after closing");
        self.run_wild(cx)?;
        let taken = match self.ward.below(4) {
            0 => self.ward.below(input.len() + 1),
            _ => input.len(),
        };
        self.rest = input[taken..].to_vec();
        Ok(taken)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, u32>, rest: &[u8]) -> Result<(), Fault> {
        assert!(cx.wants_input() && !self.has_closed);
        assert_eq!(rest, self.rest);
        if self.ward.chance(70) {
            cx.close();
        }
        self.run_wild(cx)
    }

    fn on_drain(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.run_wild(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, u32>, _: u32) -> Result<(), Fault> {
        self.run_wild(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_, u32>, _: u32) -> Result<(), Fault> {
        self.run_wild(cx)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        if self.ward.chance(50) {
            cx.close();
        }
        self.run_wild(cx)
    }

    fn on_close(&mut self, cx: &mut Context<'_, u32>, _: &CloseReason) {
        assert!(!self.has_panicked, "nobody is called after a panic");
        self.ward.0.borrow_mut().tally[self.number][1] += 1;
        self.ward.act(cx);
        let _ = self.act(cx);
        self.has_panicked = false; // the last call it was
    }
}

impl Drop for Mad {
    fn drop(&mut self) {
        if self.has_panicked {
            let tally = &mut self.ward.0.borrow_mut().tally[self.number];
            *tally = [1, 1]; // it was not told, unless that was what it could not bear
        }
    }
}

fn unhappy(world: &World, rng: &mut Rng) {
    let (call, errno) = match rng.below(10) {
        0 => (Call::Accept, libc::EMFILE),
        1 => (Call::Accept, libc::ECONNABORTED),
        2 => (Call::Register, libc::ENOSPC),
        3 => (Call::Read, libc::EIO),
        4 => (Call::Write, libc::EPIPE),
        5 => (Call::Finish, libc::ENOTCONN),
        6 => (Call::Connected, libc::ETIMEDOUT),
        7 => (Call::Connect, libc::ENETUNREACH),
        8 => (Call::LookUp, libc::EAGAIN),
        _ => (Call::Send, libc::ENOBUFS),
    };
    world.fail_next(call, errno);
}

fn step(peer: &Peer, rng: &mut Rng) {
    match rng.below(8) {
        0..3 => drop(peer.send(&vec![b'p'; rng.below(3000) as usize])),
        3..6 => drop(peer.receive_at_most(rng.below(5000) as usize)),
        6 if rng.chance(1, 10) => peer.finish(),
        _ => {}
    }
}

fn run(seed: u64) -> Vec<u64> {
    let mut rng = Rng::new(seed);
    let world = World::new(seed);
    world.set_manners(match rng.below(3) {
        0 => Manners::default(),
        1 => Manners { short_read_drains: true, stale_edges: 50, ..Manners::default() },
        _ => Manners::chatty(),
    });
    world.set_capacity(100 + rng.below(5000) as usize);
    world.name("some.where", vec!["10.0.0.8:0".parse().unwrap(), "10.0.0.9:0".parse().unwrap()]);
    let limits = Limits {
        connections: 2 + rng.below(30) as usize,
        outbox_low_bytes: 100,
        outbox_high_bytes: 2000,
        outbox_max_bytes: 10_000,
        buffered_bytes: if rng.chance(1, 2) { 5000 } else { 1 << 20 },
        rest_bytes: 2000,
        read_budget_bytes: 500,
        linger_bytes: 3000,
        timers: 3,
        groups: 2,
        mailbox: 20,
        ..Limits::default()
    };
    let ward = Asylum::new(rng.next_u64());
    let mut reactor: Reactor<u32, Node> = Reactor::with_platform(world.node(), limits).unwrap();
    let service = ward.clone();
    reactor.listen(&at(), move |_: &NetAddr| service.handler()).unwrap();
    let talker = ward.clone();
    let on_datagram = move |cx: &mut DatagramContext<'_, u32>, _: &NetAddr, payload: &[u8]| {
        let _ = cx.reply(payload);
        talker.act(cx);
    };
    let (_, udp) = reactor.bind_datagram(&at(), &DatagramOptions::default(), on_datagram).unwrap();
    let far: PeerListener = world.listen("10.0.0.9:9".parse::<Address>().unwrap());
    let caller = world.bind_datagram("10.0.0.3:5000".parse::<Address>().unwrap());

    let mut peers: Vec<Peer> = Vec::new();
    let mut trace = Vec::new();
    for _ in 0..300 {
        if rng.chance(1, 4) && peers.len() < 30 {
            peers.push(world.connect(at()));
        }
        peers.extend(far.accept());
        for peer in &peers {
            step(peer, &mut rng);
        }
        if !peers.is_empty() && rng.chance(1, 10) {
            let peer = peers.swap_remove(rng.below(peers.len() as u64) as usize);
            if rng.chance(1, 2) {
                peer.reset();
            }
        }
        if rng.chance(1, 5) {
            caller.send_to(b"act", &udp);
        }
        if rng.chance(1, 10) {
            unhappy(&world, &mut rng);
        }
        if rng.chance(1, 5) {
            ward.act(reactor.desk());
        }
        let wait = if rng.chance(1, 50) { secs(rng.below(40)) } else { ms(rng.below(10)) };
        let turn = reactor.turn(Some(wait)).unwrap();
        trace.extend([turn.edges as u64, world.now().as_nanos()]);
    }
    ward.0.borrow_mut().is_closing = true;
    reactor.shutdown(secs(rng.below(3)));
    for _ in 0..20 {
        reactor.turn(Some(ms(1))).unwrap();
        peers.iter().for_each(|peer| step(peer, &mut rng));
    }
    let report =
        if reactor.shutdown.is_stopped() { reactor.report() } else { reactor.run().unwrap() };
    trace.extend([report.finished, report.aborted, report.undelivered_bytes]);
    reactor.check();
    assert_eq!((reactor.connection_count(), reactor.buffered_bytes()), (0, 0));
    assert_eq!(reactor.handle().connection_count(), 0);
    assert_eq!((world.open_sockets(), world.stalled_waits()), (0, 0));
    drop(reactor);
    for counts in &ward.0.borrow().tally {
        assert!(*counts == [1, 1] || counts[0] == 0, "opened once, and then closed once");
    }
    trace
}

#[test]
fn whatever_handlers_do_the_promises_and_the_books_hold() {
    for seed in 0..80 {
        let run = std::panic::catch_unwind(|| run(seed));
        assert!(run.is_ok(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_chaos() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
