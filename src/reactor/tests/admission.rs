//! Who is let in: by number, by client, by rate, by address.

use super::*;
use crate::hub::admission::{Access, Refusal};
use crate::hub::limits::WhenFull;

/// Makes handlers that echo, and has a word for those who are refused.
struct Polite {
    log: Log,
    farewell: fn(Refusal) -> &'static [u8],
}

impl Service<u32> for Polite {
    fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
        Some(Box::new(self.log.handler(&script(echo))))
    }

    fn farewell(&mut self, why: Refusal) -> &[u8] {
        (self.farewell)(why)
    }
}

impl Rig {
    fn serve_politely(&mut self, farewell: fn(Refusal) -> &'static [u8]) {
        let log = self.log.clone();
        self.reactor.listen(&at(), Polite { log, farewell }).unwrap();
    }

    /// Serves an echo at a second address; in this world, clients of it have that address too.
    fn serve_elsewhere(&mut self) -> Address {
        let other: Address = "10.0.0.2:7".parse().unwrap();
        let (log, script) = (self.log.clone(), script(echo));
        self.reactor.listen(&other, move |_: &NetAddr| log.handler(&script)).unwrap();
        other
    }

    fn is_served(&mut self, peer: &Peer) -> bool {
        peer.send(b"x");
        self.settle();
        peer.receive() == b"x"
    }
}

#[test]
fn at_the_limit_clients_are_refused_where_that_is_asked_for() {
    let mut rig = Rig::with(|limits| {
        limits.connections = 2;
        limits.when_full = WhenFull::Refuse;
    });
    rig.serve_politely(|why| match why {
        Refusal::Full => b"come back later\n",
        _ => b"",
    });
    let inside = [rig.connect(), rig.connect()];
    for _ in 0..3 {
        let refused = rig.connect();
        assert_eq!(refused.receive(), b"come back later\n");
        assert!(ended_well(&refused));
    }
    assert_eq!(rig.reactor.counters().refused_full, 3);
    assert_eq!(rig.reactor.counters().accept_holds, 0);
    assert!(inside.iter().all(|peer| rig.is_served(peer)));
    inside[0].finish();
    rig.settle();
    let next = rig.connect();
    assert!(rig.is_served(&next));
    assert_eq!(rig.log.count(), 3, "no service was asked for those who were refused");
}

#[test]
fn who_has_no_word_for_it_resets() {
    let mut rig = Rig::with(|limits| {
        limits.connections = 1;
        limits.when_full = WhenFull::Refuse;
    });
    rig.serve(echo);
    let inside = rig.connect();
    assert!(rig.connect().was_reset());
    assert!(rig.is_served(&inside));
    drop(inside);
    rig.assert_empty();
}

#[test]
fn a_service_that_panics_over_a_farewell_harms_nobody() {
    let mut rig = Rig::with(|limits| {
        limits.connections = 1;
        limits.when_full = WhenFull::Refuse;
    });
    rig.serve_politely(|_| panic!("no words"));
    let inside = rig.connect();
    assert!(rig.connect().was_reset());
    assert_eq!(rig.reactor.counters().panics, 1);
    assert!(rig.is_served(&inside));
}

#[test]
fn from_the_limit_on_a_listener_waits_until_there_is_some_room() {
    let mut rig = Rig::with(|limits| limits.connections = 192);
    rig.serve(echo);
    let mut peers: Vec<Peer> = (0..200).map(|_| rig.connect()).collect();
    assert_eq!(rig.log.count(), 192);
    let mut leave = |rig: &mut Rig| {
        peers.remove(0).finish();
        rig.settle();
        rig.log.count()
    };
    assert_eq!(leave(&mut rig), 192, "192 less a 64th of them is 189");
    assert_eq!(leave(&mut rig), 192);
    assert_eq!(leave(&mut rig), 195);
    assert_eq!(rig.reactor.counters().accept_holds, 2, "it was full twice");
    assert_eq!(leave(&mut rig), 195);
}

#[test]
fn one_client_gets_no_more_than_its_share() {
    let mut rig = Rig::with(|limits| limits.connections_per_client = 2);
    rig.serve(echo);
    let other = rig.serve_elsewhere();
    let (first, second) = (rig.connect(), rig.connect());
    for _ in 0..5 {
        assert!(rig.connect().was_reset());
    }
    assert_eq!(rig.reactor.counters().refused_client_full, 5);
    let stranger = rig.world.connect(other);
    rig.settle();
    assert!(rig.is_served(&stranger) && rig.is_served(&first) && rig.is_served(&second));
    // In whatever way one ends, another may come.
    first.reset();
    rig.settle();
    let next = rig.connect();
    assert!(rig.is_served(&next));
    assert!(rig.connect().was_reset());
    for peer in [&second, &next, &stranger] {
        peer.finish();
    }
    rig.assert_empty();
    assert_eq!(rig.reactor.desk.handle.client_count(), 0);
}

#[test]
fn who_never_gets_a_handler_is_not_counted() {
    let mut rig = Rig::with(|limits| limits.connections_per_client = 1);
    let refusing: Rc<Cell<bool>> = Rc::new(Cell::new(true));
    let (log, refuses) = (rig.log.clone(), refusing.clone());
    struct Moody(Log, Rc<Cell<bool>>);
    impl Service<u32> for Moody {
        fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
            (!self.1.get()).then(|| Box::new(self.0.handler(&script(echo))) as _)
        }
    }
    rig.reactor.listen(&at(), Moody(log, refuses)).unwrap();
    for _ in 0..3 {
        rig.connect();
    }
    assert_eq!(rig.reactor.counters().refused, 3);
    refusing.set(false);
    rig.world.fail_next(Call::Register, libc::ENOSPC);
    rig.connect();
    let peer = rig.connect();
    assert!(rig.is_served(&peer));
    assert_eq!(rig.reactor.counters().refused_client_full, 0);
}

#[test]
fn a_reactor_that_is_dropped_gives_back_what_it_counted() {
    let mut rig = Rig::with(|limits| limits.connections_per_client = 10);
    rig.serve(echo);
    let _peers = [rig.connect(), rig.connect()];
    let handle = rig.reactor.handle().clone();
    assert_eq!(handle.client_count(), 1);
    drop(rig);
    assert_eq!(handle.client_count(), 0);
}

#[test]
fn accepting_keeps_to_its_rate() {
    let mut rig = Rig::with(|limits| limits.accepts_per_second = 10);
    rig.serve(echo);
    let peers: Vec<Peer> = (0..100).map(|_| rig.world.connect(at())).collect();
    rig.settle();
    assert_eq!(rig.log.count(), 2, "a burst of a tenth of a second");
    let waits = rig.world.waits();
    rig.pass(secs(1));
    assert!((11..=13).contains(&rig.log.count()), "{}", rig.log.count());
    assert!(rig.world.waits() - waits < 60, "it does not spin");
    let first: Vec<bool> = peers[..11].iter().map(|peer| rig.is_served(peer)).collect();
    assert_eq!(first, [true; 11], "first come, first served");
    // Ends of others do not hurry it.
    for peer in &peers[..10] {
        peer.finish();
    }
    rig.settle();
    assert!(rig.log.count() <= 14);
    rig.pass(secs(10));
    assert_eq!(rig.log.count(), 100);
    assert!(rig.reactor.counters().accept_waits > 50);
}

#[test]
fn addresses_are_allowed_and_denied_while_it_runs() {
    let mut rig = Rig::new();
    rig.serve(echo);
    let other = rig.serve_elsewhere();
    let early = rig.connect();
    let prefix = |text: &str| text.parse().unwrap();
    rig.reactor.handle().set_access(Access::allow_all().deny(prefix("10.0.0.1")));
    assert!(rig.connect().was_reset());
    let stranger = rig.world.connect(other.clone());
    rig.settle();
    assert!(rig.is_served(&stranger));
    assert!(rig.is_served(&early), "who is inside stays");
    rig.reactor.handle().set_access(Access::deny_all().allow(prefix("10.0.0.1")));
    let refused = rig.world.connect(other);
    rig.settle();
    assert!(refused.was_reset());
    let welcome = rig.connect();
    assert!(rig.is_served(&welcome));
    assert_eq!(rig.reactor.counters().refused_denied, 2);
    assert_eq!(rig.reactor.counters().accepted, 5);
}

#[test]
fn at_the_rate_a_flood_of_one_listener_leaves_another_its_turn() {
    let mut rig = Rig::with(|limits| limits.accepts_per_second = 10);
    rig.serve(echo);
    let other = rig.serve_elsewhere();
    let _flood: Vec<Peer> = (0..100).map(|_| rig.world.connect(at())).collect();
    rig.settle();
    let stranger = rig.world.connect(other);
    rig.pass(secs(1));
    assert!(rig.is_served(&stranger));
}

#[test]
fn at_the_limit_a_flood_of_one_listener_leaves_another_its_turn() {
    let mut rig = Rig::with(|limits| limits.connections = 2);
    rig.serve(echo);
    let other = rig.serve_elsewhere();
    let flood: Vec<Peer> = (0..10).map(|_| rig.world.connect(at())).collect();
    let stranger = rig.world.connect(other);
    rig.settle();
    for peer in &flood[..2] {
        peer.finish();
        rig.settle();
    }
    assert!(rig.is_served(&stranger));
}

#[test]
fn a_service_that_panics_as_it_is_dropped_costs_no_count() {
    struct Sore(Log);
    impl Service<u32> for Sore {
        fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
            Some(Box::new(self.0.handler(&script(echo))))
        }
    }
    impl Drop for Sore {
        fn drop(&mut self) {
            panic!("as it is dropped");
        }
    }
    let mut rig = Rig::with(|limits| limits.connections_per_client = 10);
    rig.reactor.listen(&at(), Sore(rig.log.clone())).unwrap();
    let _peer = rig.connect();
    let handle = rig.reactor.handle().clone();
    assert_eq!((handle.client_count(), handle.connection_count()), (1, 1));
    drop(rig);
    assert_eq!((handle.client_count(), handle.connection_count()), (0, 0));
    assert_eq!(logged("as it is dropped"), 1);
}
