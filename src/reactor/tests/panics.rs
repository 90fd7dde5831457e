//! A panic ends one connection only.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::handler::{DatagramContext, ServiceContext};

/// A handler that panics in the callback of this name, and its service.
struct Trap {
    log: Log,
    script: Script,
    told: Rc<RefCell<Vec<(ConnId, String)>>>,
    accepts: Cell<u32>,
}

impl Service<u32> for Trap {
    fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
        self.accepts.set(self.accepts.get() + 1);
        Some(Box::new(self.log.handler(&self.script)))
    }

    fn on_handler_panic(&mut self, id: ConnId, message: &str) {
        self.told.borrow_mut().push((id, message.to_owned()));
    }
}

fn name_of(event: &Event<'_>) -> String {
    format!("{event:?}").split('(').next().unwrap().to_owned()
}

#[test]
fn a_panic_in_any_callback_ends_that_connection_only() {
    let names = ["Open", "Bytes", "Eof", "Drain", "Timer", "Message", "Shutdown", "Close"];
    for name in names {
        println!("in {name}");
        let mut rig = Rig::with(|limits| {
            limits.outbox_low_bytes = 1;
            limits.outbox_high_bytes = 2;
        });
        rig.world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
        let victim = Rc::new(Cell::new(None));
        let chosen = victim.clone();
        let script = script(move |cx, event| {
            if *event == Event::Open {
                if chosen.get().is_none() {
                    chosen.set(Some(cx.id()));
                }
                cx.set_timer(1, ms(10));
            }
            if let Event::Bytes(_) = event {
                cx.write(b"hello");
            }
            if chosen.get() == Some(cx.id()) && name_of(event) == name {
                cx.write(b"lost");
                panic!("in {name}\n");
            }
            plain(cx, event)
        });
        let told = Rc::new(RefCell::new(Vec::new()));
        let log = rig.log.clone();
        let trap = Trap { log, script, told: told.clone(), accepts: Cell::new(0) };
        rig.reactor.listen(&at(), trap).unwrap();
        let (bad, good) = (rig.connect(), rig.connect());
        let (bad_id, good_id) = (victim.get().unwrap(), rig.log.id(1));
        for id in [bad_id, good_id] {
            rig.reactor.handle().send(id, 7).unwrap();
        }
        for peer in [&bad, &good] {
            peer.send(b"x");
        }
        rig.pass_ms(20);
        if name == "Shutdown" {
            rig.reactor.shutdown(secs(60));
        }
        rig.settle();
        assert_eq!(good.receive(), b"hello", "the neighbour goes on");
        let _ = bad.receive();
        bad.finish();
        good.finish();
        rig.settle();

        let was_told = std::mem::take(&mut *told.borrow_mut());
        assert_eq!(was_told, [(bad_id, format!("in {name}\\n"))]);
        assert_eq!(rig.reactor.counters().panics, 1);
        let bad_log = rig.log.of(0);
        assert!(bad_log.last().unwrap().to_lowercase().starts_with(match name {
            "Close" => "closed", // the reason that it was told
            other => &other[..1].to_lowercase().leak()[..],
        }));
        assert_eq!(rig.log.of(1).last().unwrap(), "closed");
        if name != "Close" {
            assert!(bad.was_reset(), "in {name}");
        } else {
            assert!(ended_well(&bad), "all had been delivered");
        }
        rig.assert_empty();
    }
}

#[test]
fn a_panic_while_a_handler_is_dropped_is_contained() {
    struct Grenade;
    impl StreamHandler<u32> for Grenade {
        fn on_bytes(&mut self, _: &mut Context<'_, u32>, input: &[u8]) -> Result<usize, Fault> {
            Ok(input.len())
        }
    }
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), |_: &NetAddr| Grenade).unwrap();
    let peer = rig.connect();
    peer.finish();
    rig.settle();
    assert_eq!(rig.reactor.counters().panics, 1);
    rig.assert_empty();

    rig.world.fail_next(Call::Register, libc::ENOSPC);
    let peer = rig.connect();
    assert!(peer.has_ended() || peer.was_reset());
    assert_eq!(rig.reactor.counters().panics, 2, "also where it was never opened");
    rig.assert_empty();
}

/// Takes nothing, and panics when it is asked how much that may be.
#[test]
fn a_panic_over_the_limit_of_a_rest_ends_that_connection_only() {
    struct Evasive;
    impl StreamHandler<u32> for Evasive {
        fn on_bytes(&mut self, _: &mut Context<'_, u32>, _: &[u8]) -> Result<usize, Fault> {
            Ok(0)
        }

        fn max_rest_bytes(&self) -> Option<usize> {
            panic!("who knows")
        }
    }
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), |_: &NetAddr| Evasive).unwrap();
    let peer = rig.connect();
    peer.send(b"half a message");
    rig.settle();
    assert!(peer.was_reset());
    assert_eq!(rig.reactor.counters().panics, 1);
    rig.assert_empty();
}

#[test]
fn a_fault_that_panics_while_it_is_dropped_has_no_consequence() {
    #[derive(Debug)]
    struct Grenade;
    impl std::fmt::Display for Grenade {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a grenade")
        }
    }
    impl std::error::Error for Grenade {}
    impl Drop for Grenade {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("dropped")); // without a word on stderr
        }
    }
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(_) => Err(Grenade.into()),
        _ => plain(cx, event),
    });
    peer.send(b"x");
    rig.settle();
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0).last().unwrap(), "fault: a grenade");
    assert_eq!(rig.reactor.counters().closed_fault, 1);
    rig.assert_empty();
}

#[test]
fn a_panic_in_accept_refuses_that_client_only() {
    struct Moody(u32, Log);
    impl Service<u32> for Moody {
        fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
            self.0 += 1;
            assert_ne!(self.0, 1, "not you");
            (self.0 != 2).then(|| Box::new(self.1.handler(&script(echo))) as _)
        }
    }
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), Moody(0, rig.log.clone())).unwrap();
    let (panicked, refused, served) = (rig.connect(), rig.connect(), rig.connect());
    rig.send(&served, b"x");
    assert!(panicked.has_ended() && refused.has_ended());
    assert_eq!(served.receive(), b"x");
    assert_eq!((rig.reactor.counters().panics, rig.reactor.counters().refused), (1, 1));
    assert_eq!(rig.reactor.handle().connection_count(), 1);
}

#[test]
fn a_panic_in_a_service_callback_has_no_further_consequence() {
    struct Wild;
    impl Service<u32> for Wild {
        fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
            Some(Box::new(Echo))
        }
        fn on_start(&mut self, cx: &mut ServiceContext<'_, u32>) {
            cx.set_timer(1, ms(5));
            panic!("start");
        }
        fn on_timer(&mut self, cx: &mut ServiceContext<'_, u32>, _: u32) {
            cx.set_timer(1, ms(5));
            panic!("timer");
        }
        fn on_message(&mut self, _: &mut ServiceContext<'_, u32>, _: u32) {
            panic!("message");
        }
    }
    let mut rig = Rig::new();
    let (id, _) = rig.reactor.listen(&at(), Wild).unwrap();
    rig.reactor.handle().notify(0, id, 5).unwrap();
    rig.pass_ms(11);
    assert_eq!(rig.reactor.counters().panics, 4);
    let peer = rig.connect();
    rig.send(&peer, b"still here");
    assert_eq!(peer.receive(), b"still here");
}

#[test]
fn a_panic_in_a_datagram_handler_costs_that_datagram() {
    let mut rig = Rig::new();
    let handler = |cx: &mut DatagramContext<'_, u32>, _: &NetAddr, payload: &[u8]| {
        assert_ne!(payload, b"bad");
        cx.reply(payload).unwrap();
    };
    let (_, local) = rig.reactor.bind_datagram(&at(), &Default::default(), handler).unwrap();
    let peer = rig.world.bind_datagram("10.0.0.2:5000".parse::<Address>().unwrap());
    peer.send_to(b"bad", &local);
    peer.send_to(b"good", &local);
    rig.settle();
    assert_eq!(peer.receive().unwrap().0, b"good");
    assert_eq!(rig.reactor.counters().panics, 1);
}

#[test]
fn a_panic_while_an_endpoint_is_dropped_is_contained() {
    struct Grenade;
    impl Service<u32> for Grenade {
        fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<u32>>> {
            None
        }
    }
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let mut rig = Rig::new();
    let (id, _) = rig.reactor.listen(&at(), Grenade).unwrap();
    assert!(rig.reactor.remove_endpoint(id));
    assert_eq!(rig.reactor.counters().panics, 1);
    assert_eq!(rig.world.open_sockets(), 0);

    rig.world.fail_next(Call::Register, libc::ENOSPC);
    assert!(rig.reactor.listen(&at(), Grenade).is_err());
    assert_eq!(rig.reactor.counters().panics, 2, "also where it could not be watched");
    assert_eq!(rig.world.open_sockets(), 0);
}

#[test]
fn what_a_panic_said_is_escaped_and_cut() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let mut rig = Rig::new();
    let script = script(|_, event| match event {
        Event::Bytes(bytes) => panic!("{}", String::from_utf8_lossy(bytes)),
        _ => Ok(0),
    });
    let trap = Trap { log: rig.log.clone(), script, told: told.clone(), accepts: Cell::new(0) };
    rig.reactor.listen(&at(), trap).unwrap();
    let peer = rig.connect();
    rig.send(&peer, format!("a\nb{}", "x".repeat(1000)).as_bytes());
    let told = told.borrow();
    assert!(told[0].1.starts_with("a\\nbx") && told[0].1.len() < 1000);
    assert_eq!(logged("the handler panicked: a\\nbx"), 1);
}

/// Something that panics when it is dropped.
#[derive(Debug)]
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panic_that_throws_what_panics_in_turn_is_contained() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(_) => std::panic::panic_any(Grenade),
        _ => plain(cx, event),
    });
    rig.send(&peer, b"x");
    assert_eq!(rig.log.of(0), ["open", "bytes x"]);
    assert_eq!(rig.reactor.counters().panics, 1);
    rig.assert_empty();
}

#[test]
fn a_message_or_handler_that_panics_while_it_is_dropped_unused_is_contained() {
    struct Bomb(#[allow(dead_code)] Grenade);
    impl StreamHandler<Grenade> for Bomb {
        fn on_bytes(&mut self, _: &mut Context<'_, Grenade>, _: &[u8]) -> Result<usize, Fault> {
            unreachable!("it is never made")
        }
    }
    let world = World::new(1);
    let far: Address = "10.0.0.9:9".parse().unwrap();
    world.hold_connects(far.clone());
    let limits = Limits { connections: 1, ..Limits::default() };
    let mut reactor: Reactor<Grenade, _> = Reactor::with_platform(world.node(), limits).unwrap();
    let id = reactor.connect(far.clone(), Echo).unwrap();
    let handle = reactor.handle().clone();
    let post = || {
        handle.send(id, Grenade).unwrap(); // to one that is not made, and never will be
        handle.send(id, Grenade).unwrap();
        handle.notify(0, EndpointId::new(5), Grenade).unwrap(); // to nobody
        handle.connect(0, far.clone(), Bomb(Grenade)).unwrap(); // above the limit
    };
    post();
    let turn = |reactor: &mut Reactor<Grenade, _>| reactor.turn(Some(Duration::ZERO)).unwrap();
    turn(&mut reactor);
    turn(&mut reactor);
    assert_eq!(reactor.counters().panics, 2);
    reactor.desk().abort_other(id).unwrap();
    turn(&mut reactor);
    assert_eq!(reactor.counters().panics, 4, "and what had waited for it");
    handle.send(id, Grenade).unwrap();
    turn(&mut reactor);
    assert_eq!(reactor.counters().panics, 5, "it is gone");
    post();
    drop(reactor);
}

#[test]
fn an_encoder_that_takes_away_what_was_written_ends_its_own_connection_only() {
    struct Clears;
    impl crate::codec::Encoder for Clears {
        type Item<'a> = ();
        type Error = std::fmt::Error;
        fn encode(&mut self, (): (), out: &mut Vec<u8>) -> Result<(), Self::Error> {
            out.clear();
            Ok(())
        }
    }
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(b"answer");
            cx.encode(&mut Clears, ())?;
        }
        plain(cx, event)
    });
    rig.send(&peer, b"x");
    assert_eq!(rig.log.of(0), ["open", "bytes x"]);
    assert_eq!(logged("an encoder appends"), 1);
    rig.assert_empty();
}

#[test]
fn a_decoder_that_answers_frames_of_nothing_ends_its_own_connection_only() {
    struct Endless;
    impl crate::codec::Decoder for Endless {
        type Frame<'a> = ();
        type Error = std::fmt::Error;
        fn decode(&mut self, _: &[u8]) -> Result<Option<((), usize)>, Self::Error> {
            Ok(Some(((), 0)))
        }
        fn decode_eof(&mut self, _: &[u8]) -> Result<Option<()>, Self::Error> {
            Ok(None)
        }
        fn max_bytes(&self) -> usize {
            1
        }
    }
    struct Silent;
    impl crate::FrameHandler<Endless, u32> for Silent {
        fn on_frame(&mut self, _: &mut Context<'_, u32>, (): ()) -> Result<(), Fault> {
            Ok(())
        }
    }
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), |_: &NetAddr| crate::Framed::new(Endless, Silent)).unwrap();
    let peer = rig.connect();
    rig.send(&peer, b"x");
    assert_eq!(logged("a frame takes a byte at least"), 1);
    rig.assert_empty();
}

#[test]
fn after_a_panic_the_turn_goes_on_with_the_next_edge() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
    rig.serve(|cx, event| {
        assert_ne!(*event, Event::Bytes(b"bad"), "as it should");
        echo(cx, event)
    });
    let peers: Vec<Peer> = (0..5).map(|_| rig.connect()).collect();
    for (peer, word) in peers.iter().zip(["good", "bad", "good", "bad", "good"]) {
        peer.send(word.as_bytes());
    }
    assert_eq!(rig.turn().edges, 5);
    assert_eq!(rig.reactor.counters().panics, 2);
    let answers: Vec<_> = peers.iter().map(Peer::receive).collect();
    assert_eq!(answers, [&b"good"[..], b"", b"good", b"", b"good"]);
    let was_reset: Vec<_> = peers.iter().map(Peer::was_reset).collect();
    assert_eq!(was_reset, [false, true, false, true, false]);
}

#[test]
fn after_a_panic_a_run_goes_on_with_the_next_edge_and_turn() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
    let peers: Rc<RefCell<Vec<Peer>>> = Rc::default();
    let others = peers.clone();
    // The first has three others served in each of five turns, of whom the second panics.
    rig.serve(move |cx, event| {
        match event {
            Event::Bytes(b"go") => drop(cx.set_timer(0, ms(5))),
            Event::Timer(5) => cx.handle().shutdown(secs(1)),
            Event::Timer(number) => {
                let peers = others.borrow();
                let victim = &peers[3 + *number as usize];
                peers[1].send(b"good");
                match number % 2 {
                    0 => drop(victim.send(b"bad")),
                    _ => victim.finish(),
                }
                peers[2].send(b"good");
                cx.set_timer(number + 1, ms(5));
            }
            Event::Bytes(b"bad") => panic!("as it should"),
            Event::Eof(_) => panic!("as it should, too"),
            Event::Bytes(b"good") => return echo(cx, event),
            _ => {}
        }
        plain(cx, event)
    });
    peers.borrow_mut().extend((0..8).map(|_| rig.connect()));
    peers.borrow()[0].send(b"go");
    rig.reactor.run().unwrap();
    assert_eq!(rig.reactor.counters().panics, 5);
    let peers = peers.borrow();
    assert!(peers[1..3].iter().all(|peer| peer.receive() == b"good".repeat(5)));
    assert!(peers[3..].iter().all(Peer::was_reset));
}

#[test]
fn a_panic_of_our_own_is_no_handlers() {
    let (mut rig, peer) = Rig::serving(echo);
    rig.reactor.desk.hub.limits.read_budget_bytes = 0;
    peer.send(b"hello");
    let thrown = catch_unwind(AssertUnwindSafe(|| rig.turn())).unwrap_err();
    assert_eq!(*thrown.downcast::<&str>().unwrap(), "reading nothing looks like the end");
    assert_eq!(rig.reactor.counters().panics, 0);
}
