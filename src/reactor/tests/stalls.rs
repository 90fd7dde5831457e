//! Callbacks that hold the loop up, and logs that stay short all the same.

use super::*;
use crate::handler::DatagramContext;
use crate::sys::Platform;

/// Time goes on, in the middle of a callback.
fn dawdle(world: &World, span: Duration) {
    let before = world.now();
    world.node().wait(Some(span).into()).unwrap();
    assert_eq!(world.now() - before, span);
}

/// A reactor whose handlers take so long over a byte `s`, and one connection.
fn slow(span: Duration) -> (Rig, Peer) {
    let mut rig = Rig::with(|limits| limits.stall = ms(100));
    let world = rig.world.clone();
    rig.serve(move |cx, event| {
        if matches!(event, Event::Bytes(bytes) if bytes[0] == b's') {
            dawdle(&world, span);
        }
        echo(cx, event)
    });
    let peer = rig.connect();
    (rig, peer)
}

#[test]
fn the_only_callback_of_a_turn_is_named_at_once() {
    let (mut rig, peer) = slow(ms(300));
    rig.send(&peer, b"slow");
    let id = rig.log.id(0);
    assert_eq!(logged(&format!("on_bytes of {id} with 4 bytes held the loop up for 300")), 1);
    assert_eq!(rig.reactor.counters().stalls, 1);
    let metrics = rig.reactor.handle().metrics();
    assert!(metrics.turn_time.sum() >= ms(300));
    assert_eq!(metrics.turn_time.count(), metrics.counters.turns);
}

#[test]
fn what_takes_no_longer_than_it_may_is_not_told_of() {
    let (mut rig, peer) = slow(ms(100));
    rig.send(&peer, b"slow");
    assert_eq!(rig.reactor.counters().stalls, 0);
    assert_eq!(logged("held"), 0);
}

#[test]
fn among_many_callbacks_the_one_that_held_is_named_the_next_time() {
    let (mut rig, culprit) = slow(ms(300));
    let others: Vec<Peer> = (0..5).map(|_| rig.connect()).collect();
    let round = |rig: &mut Rig| {
        culprit.send(b"slow");
        for peer in &others {
            peer.send(b"quick");
        }
        rig.settle();
    };
    round(&mut rig);
    assert_eq!(logged("a turn took 300.0ms with 6 callbacks"), 1);
    round(&mut rig);
    let id = rig.log.id(0);
    assert_eq!(logged(&format!("on_bytes of {id} with 4 bytes held the loop up for 300")), 1);
    // Timing callbacks has an end.
    for _ in 0..1100 {
        rig.turn();
    }
    round(&mut rig);
    assert_eq!(logged("a turn took 300.0ms with 6 callbacks"), 2);
}

/// Two connections that come and go together.
fn two_at_once(rig: &mut Rig) {
    let peers = [rig.world.connect(at()), rig.world.connect(at())];
    rig.settle();
    drop(peers);
}

#[test]
fn services_are_timed_as_well() {
    let mut rig = Rig::with(|limits| limits.stall = ms(100));
    let (world, log) = (rig.world.clone(), rig.log.clone());
    let id = rig.reactor.listen(&at(), move |_: &NetAddr| {
        dawdle(&world, ms(200));
        log.handler(&script(echo))
    });
    let id = id.unwrap().0;
    two_at_once(&mut rig);
    assert_eq!(logged("the next turns will be timed"), 1);
    two_at_once(&mut rig);
    assert_eq!(logged(&format!("a service of {id} held the loop up for 200")), 1);
}

#[test]
fn datagram_handlers_are_timed_as_well() {
    let mut rig = Rig::with(|limits| limits.stall = ms(100));
    let world = rig.world.clone();
    let options = DatagramOptions::default();
    let handler = move |_: &mut DatagramContext<'_, u32>, _: &NetAddr, _: &[u8]| {
        dawdle(&world, ms(200));
    };
    let (id, local) = rig.reactor.bind_datagram(&at(), &options, handler).unwrap();
    let peer = rig.world.bind_datagram("10.0.0.2:5000".parse::<Address>().unwrap());
    let mut two_at_once = || {
        peer.send_to(b"1", &local);
        peer.send_to(b"2", &local);
        rig.settle();
    };
    two_at_once();
    assert_eq!(logged("the next turns will be timed"), 1);
    two_at_once();
    assert_eq!(logged(&format!("a datagram handler of {id} held the loop up for")), 1);
}

#[test]
fn timers_that_are_late_are_seen_to_be() {
    let mut rig = Rig::new();
    let world = rig.world.clone();
    rig.serve(move |cx, event| {
        match event {
            Event::Open => drop(cx.set_timer(1, ms(10))),
            Event::Bytes(_) => dawdle(&world, ms(500)),
            _ => {}
        }
        plain(cx, event)
    });
    let peer = rig.connect();
    rig.send(&peer, b"x");
    rig.pass_ms(20);
    let metrics = rig.reactor.handle().metrics();
    assert_eq!(metrics.counters.timers_fired, 1);
    assert!(metrics.timer_lag.sum() >= ms(480), "{:?}", metrics.timer_lag.sum());
}

#[test]
fn a_flood_of_panics_is_a_few_lines_and_a_count() {
    let mut rig = Rig::new();
    rig.serve(|_, event| match event {
        Event::Bytes(_) => panic!("as asked"),
        _ => Ok(0),
    });
    for _ in 0..100 {
        let peer = rig.connect();
        rig.send(&peer, b"x");
    }
    let shown = logged("the handler panicked: as asked");
    assert!(shown < 30, "{shown} lines");
    let counters = rig.reactor.counters();
    assert_eq!(counters.panics, 100);
    assert_eq!(shown as u64 + counters.log_suppressed, 100);
    rig.pass(secs(2));
    let peer = rig.connect();
    rig.send(&peer, b"x");
    assert_eq!(logged("like it were not logged"), 1);
}
