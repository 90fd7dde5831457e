//! What a handler is promised (see `handler`).

use super::*;
use crate::hub::reason::Gone;

#[test]
fn open_comes_first_and_close_last_once_each() {
    let (mut rig, peer) = Rig::serving(echo);
    rig.send(&peer, b"one");
    rig.send(&peer, b"two");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes one", "bytes two", "eof", "closed"]);
    assert_eq!(peer.receive(), b"onetwo");
    rig.assert_empty();
}

#[test]
fn no_callback_runs_inside_another() {
    // Everything a callback can do to others and to itself, all at once; `Recorder` asserts.
    let ids = Rc::new(RefCell::new(Vec::new()));
    let mut rig = Rig::with(|limits| {
        limits.outbox_low_bytes = 1;
        limits.outbox_high_bytes = 2;
    });
    let shared = ids.clone();
    rig.serve(move |cx, event| {
        if *event == Event::Open {
            shared.borrow_mut().push(cx.id());
        }
        let others: Vec<ConnId> =
            shared.borrow().iter().copied().filter(|&id| id != cx.id()).collect();
        if let Event::Bytes(b"everything") = event {
            for (index, &other) in others.iter().enumerate() {
                let _ = cx.write_to(other, b"more than the high mark");
                let _ = cx.pause_other(other);
                let _ = cx.resume_other(other);
                let _ = match index % 3 {
                    0 => cx.close_other(other),
                    1 => cx.abort_other(other),
                    _ => cx.finish_other(other),
                };
            }
            cx.write(b"more than the high mark");
            let me = cx.id();
            cx.write_to(me, b"more").unwrap();
            cx.handle().send(me, 5).unwrap();
            cx.set_timer(1, Duration::ZERO);
        }
        plain(cx, event)
    });
    let peers: Vec<Peer> = (0..4).map(|_| rig.connect()).collect();
    peers[0].send(b"everything");
    peers[3].send(b"x");
    rig.settle();
    assert_eq!(
        rig.log.of(0)[..],
        ["open", "bytes everything", "message(5)", "timer(1)", "drain"].map(str::to_owned)
    );
    assert_eq!(rig.log.of(1).last().unwrap(), "open", "it lingers");
    assert_eq!(rig.log.of(2), ["open", "aborted"]);
    assert!(peers[2].was_reset());
    assert_eq!(rig.log.of(3), ["open", "bytes x", "drain"]);
}

#[test]
fn no_input_comes_after_closing_in_ones_own_callback() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(b"bye");
            cx.close();
            assert!(!cx.wants_input());
            cx.write(b"never sent");
            return Ok(1);
        }
        plain(cx, event)
    });
    peer.send(b"abc");
    rig.settle();
    peer.send(b"def");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes abc", "closed"]);
    assert_eq!(peer.receive(), b"bye");
    assert!(ended_well(&peer));
    rig.assert_empty();
}

#[test]
fn closing_in_on_open_sends_what_was_written_and_shows_nothing() {
    let mut rig = Rig::new();
    rig.serve(|cx, event| {
        if *event == Event::Open {
            cx.write(b"full");
            cx.close();
        }
        plain(cx, event)
    });
    let peer = rig.world.connect(at());
    peer.send(b"hello");
    rig.settle();
    assert_eq!(peer.receive(), b"full");
    assert!(ended_well(&peer));
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "closed"]);
    rig.assert_empty();
}

#[test]
fn an_id_never_means_the_next_owner_of_its_place() {
    let (mut rig, first) = Rig::serving(plain);
    let old = rig.log.id(0);
    first.finish();
    rig.settle();
    let second = rig.connect();
    let new = rig.log.id(1);
    assert_eq!(old.slot(), new.slot(), "the place is taken again");
    assert_ne!(old, new);
    let desk = rig.reactor.desk();
    assert_eq!(desk.write_to(old, b"wrong"), Err(Gone));
    assert_eq!(desk.write_shared_to(old, Arc::from(*b"wrong")), Err(Gone));
    assert_eq!(desk.close_other(old), Err(Gone));
    assert_eq!(desk.abort_other(old), Err(Gone));
    assert_eq!(desk.finish_other(old), Err(Gone));
    assert_eq!(desk.pause_other(old), Err(Gone));
    assert_eq!(desk.resume_other(old), Err(Gone));
    assert_eq!(desk.backlog_of(old), Err(Gone));
    rig.reactor.handle().send(old, 1).unwrap();
    rig.reactor.handle().close(old).unwrap();
    rig.settle();
    assert_eq!(rig.log.of(1), ["open"]);
    assert_eq!(rig.reactor.desk().write_to(new, b"right"), Ok(()));
    rig.settle();
    assert_eq!(second.receive(), b"right");
}

#[test]
fn a_late_edge_does_not_disturb_the_next_owner_of_a_place() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { stale_edges: 100, ..Manners::default() });
    rig.serve(echo);
    for round in 0..20 {
        let peer = rig.connect();
        rig.send(&peer, b"x");
        assert_eq!(peer.receive(), b"x");
        peer.finish();
        rig.settle();
        assert_eq!(rig.log.of(round), ["open", "bytes x", "eof", "closed"]);
    }
    rig.assert_empty();
}

#[test]
fn writing_to_one_that_closes_or_has_ended_answers_gone() {
    let (mut rig, peer) = Rig::serving(plain);
    let id = rig.log.id(0);
    let desk = rig.reactor.desk();
    desk.close_other(id).unwrap();
    assert_eq!(desk.write_to(id, b"x"), Err(Gone), "it flushes");
    rig.settle();
    assert_eq!(rig.reactor.desk().write_to(id, b"x"), Err(Gone), "it lingers");
    peer.finish();
    rig.settle();
    assert_eq!(rig.reactor.desk().write_to(id, b"x"), Err(Gone), "it is gone");
    let elsewhere = ConnId::new(7, id.slot(), id.serial());
    assert_eq!(rig.reactor.desk().write_to(elsewhere, b"x"), Err(Gone));
    assert_eq!(rig.log.of(0), ["open", "closed"]);
}

#[test]
fn writing_to_oneself_in_on_close_answers_gone() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Close(_) = event {
            let me = cx.id();
            assert_eq!(cx.write_to(me, b"x"), Err(Gone));
            assert!(!cx.set_timer(1, ms(1)));
            cx.write(b"x");
            cx.close();
            cx.abort();
            cx.resume();
        }
        plain(cx, event)
    });
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "eof", "closed"]);
    assert_eq!(peer.receive(), b"");
    assert!(ended_well(&peer));
    rig.assert_empty();
}

#[test]
fn time_stands_still_within_a_turn() {
    let times = Rc::new(RefCell::new(Vec::new()));
    let (noted, mut rig) = (times.clone(), Rig::new());
    let world = rig.world.clone();
    rig.serve(move |cx, event| {
        noted.borrow_mut().push(cx.now());
        world.advance(ms(3)); // a slow callback
        plain(cx, event)
    });
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    times.borrow_mut().clear();
    for peer in &peers {
        peer.send(b"x");
    }
    rig.turn();
    let times = times.borrow();
    assert_eq!(times.len(), 3);
    assert!(times.iter().all(|&time| time == times[0]), "{times:?}");
}

#[test]
fn a_timer_fires_once_and_a_cancelled_one_not_at_all() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Open => {
                assert!(cx.set_timer(1, ms(10)) && cx.set_timer(2, ms(10)));
                assert!(cx.set_timer(3, ms(20)));
            }
            // The other one is due at the same moment.
            Event::Timer(1) => assert!(cx.cancel_timer(2)),
            Event::Bytes(_) => assert!(cx.cancel_timer(3) && !cx.cancel_timer(3)),
            _ => {}
        }
        plain(cx, event)
    });
    rig.pass_ms(15);
    assert_eq!(rig.log.of(0), ["open", "timer(1)"]);
    rig.send(&peer, b"x");
    rig.pass_ms(100);
    assert_eq!(rig.log.of(0), ["open", "timer(1)", "bytes x"]);
}

#[test]
fn a_timer_does_not_fire_once_its_connection_closes() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Open => drop(cx.set_timer(1, ms(10)) && cx.set_timer(2, ms(10))),
            Event::Timer(1) => cx.close(),
            _ => {}
        }
        plain(cx, event)
    });
    rig.pass_ms(50);
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "timer(1)", "closed"]);
}

#[test]
fn a_timer_of_no_duration_comes_in_the_next_turn() {
    let (mut rig, _peer) = Rig::serving(|cx, event| {
        if let Event::Open | Event::Timer(_) = event {
            cx.set_timer(1, Duration::ZERO);
        }
        plain(cx, event)
    });
    let before = rig.log.of(0).len();
    for _ in 0..5 {
        rig.turn();
    }
    let fired = rig.log.of(0).len() - before;
    assert_eq!(fired, 5, "once a turn");
}

#[test]
fn err_flushes_the_answers_queued_before_and_then_closes() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(b"500 no\r\n");
            return Err(Fault::new("nonsense"));
        }
        plain(cx, event)
    });
    rig.send(&peer, b"???");
    assert_eq!(peer.receive(), b"500 no\r\n");
    assert!(ended_well(&peer));
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes ???", "fault: nonsense"]);
    rig.assert_empty();
}

#[test]
fn taking_more_than_was_shown_is_a_fault() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) => Ok(bytes.len() + 1),
        _ => plain(cx, event),
    });
    rig.send(&peer, b"x");
    peer.finish();
    rig.settle();
    assert!(rig.log.of(0)[2].starts_with("fault: "), "{:?}", rig.log.of(0));
    rig.assert_empty();
}

#[test]
fn what_a_neighbour_wrote_keeps_its_order_with_ones_own() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(b"2");
            let me = cx.id();
            cx.write_to(me, b"3").unwrap();
            cx.write_shared(Arc::from(*b"4"));
            cx.write(b"5");
        }
        plain(cx, event)
    });
    let id = rig.log.id(0);
    rig.reactor.desk().write_to(id, b"1").unwrap();
    peer.send(b"x");
    rig.settle();
    assert_eq!(peer.receive(), b"12345");
}
