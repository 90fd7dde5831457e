//! Deadlines and timers: when they run, when they stand still, and what waiting for them costs.

use super::*;

fn closed_within(rig: &mut Rig, number: usize, from: u64, to: u64) -> String {
    rig.pass_ms(from);
    assert!(!rig.log.of(number).last().unwrap().starts_with("timed out"), "too early");
    rig.pass_ms(to - from);
    // What closes in good order lingers for the peer's end.
    rig.pass(secs(5));
    rig.log.of(number).last().unwrap().clone()
}

#[test]
fn the_first_byte_has_a_deadline() {
    let (mut rig, _silent) = Rig::serving(plain);
    let heard = rig.connect();
    rig.send(&heard, b"x");
    assert_eq!(closed_within(&mut rig, 0, 119_990, 120_010), "timed out: no first byte");
    assert_eq!(rig.log.of(1), ["open", "bytes x"]);
}

#[test]
fn silence_in_both_directions_has_a_deadline_that_any_byte_pushes_back() {
    let (mut rig, peer) = Rig::serving(plain);
    rig.send(&peer, b"x");
    rig.pass(secs(200));
    rig.send(&peer, b"x");
    rig.pass(secs(200));
    let id = rig.log.id(0);
    rig.reactor.desk().write_to(id, b"out").unwrap();
    rig.settle();
    assert_eq!(closed_within(&mut rig, 0, 299_990, 300_010), "timed out: idle");
}

#[test]
fn an_idle_deadline_costs_no_wait_per_request() {
    let (mut rig, peer) = Rig::serving(echo);
    let before = rig.world.waits();
    for _ in 0..100 {
        peer.send(b"x");
        rig.reactor.turn(None).unwrap();
        rig.world.advance(ms(10));
    }
    assert_eq!(rig.world.waits() - before, 100);
    assert_eq!(rig.log.of(0).len(), 101);
    // And then: at 120 s for the first byte, at 300 s and again at 301 s for the idle one.
    let before = rig.world.waits();
    while rig.reactor.connection_count() > 0 {
        rig.reactor.turn(None).unwrap();
    }
    assert!(rig.world.waits() - before <= 8, "{}", rig.world.waits() - before);
    assert_eq!(rig.world.stalled_waits(), 0);
}

#[test]
fn nothing_wakes_where_nothing_is_due() {
    let mut rig = Rig::with(|limits| {
        limits.idle = Duration::MAX;
        limits.first_byte = Duration::MAX;
    });
    rig.serve(|cx, event| {
        if *event == Event::Open {
            cx.set_timer(1, ms(10));
        }
        plain(cx, event)
    });
    let _peer = rig.connect();
    rig.reactor.turn(None).unwrap();
    assert_eq!(rig.log.of(0), ["open", "timer(1)"]);
    assert_eq!(rig.reactor.next_deadline(), None);
    let before = rig.world.waits();
    rig.reactor.turn(None).unwrap();
    assert_eq!(rig.world.waits() - before, 1);
    assert_eq!(rig.world.stalled_waits(), 1, "it sleeps for ever");
}

#[test]
fn the_deadlines_of_whoever_has_gone_cost_next_to_nothing() {
    let (mut rig, peer) = Rig::serving(plain);
    let lag = |rig: &Rig| rig.reactor.handle().metrics().timer_lag.sum();
    let end = |rig: &mut Rig, peer: Peer| {
        peer.finish();
        rig.settle();
        rig.assert_no_connections();
        assert_eq!(rig.reactor.next_deadline(), None, "nobody is left to be woken");
    };
    end(&mut rig, peer);
    rig.pass(secs(200)); // past the first byte's deadline
    let peer = rig.connect();
    assert_eq!(lag(&rig), Duration::ZERO, "what was due is nobody's");
    end(&mut rig, peer);

    // Many in one place: what is there for the first serves them all.
    let stays = rig.connect();
    for _ in 0..50 {
        let peer = rig.connect();
        rig.pass(secs(1));
        drop(peer);
        rig.settle();
    }
    rig.send(&stays, b"x");
    let before = rig.world.waits();
    while rig.reactor.connection_count() > 0 {
        rig.reactor.turn(None).unwrap();
    }
    assert!(rig.world.waits() - before <= 8, "{}", rig.world.waits() - before);
    assert!(lag(&rig) <= ms(10), "{:?}", lag(&rig));
}

#[test]
fn timers_have_a_resolution_of_a_millisecond_and_are_never_early() {
    let fired = Rc::new(RefCell::new(Vec::new()));
    let noted = fired.clone();
    let spans: Vec<Duration> =
        (1..=15).map(|step| Duration::from_micros(step * step * 777)).collect();
    let mut rig = Rig::new();
    rig.world.advance(Duration::from_nanos(123_457));
    let set = spans.clone();
    rig.serve(move |cx, event| {
        match event {
            Event::Open => {
                for (tag, &span) in set.iter().enumerate() {
                    assert!(cx.set_timer(tag as u32, span));
                }
            }
            Event::Timer(tag) => noted.borrow_mut().push((*tag, cx.now())),
            _ => {}
        }
        plain(cx, event)
    });
    let start = rig.world.now();
    let _peer = rig.connect();
    let waits = rig.world.waits();
    while fired.borrow().len() < spans.len() {
        rig.reactor.turn(None).unwrap();
    }
    assert!(rig.world.waits() - waits <= spans.len() as u64);
    for (tag, &(fired_tag, now)) in fired.borrow().iter().enumerate() {
        assert_eq!(tag as u32, fired_tag);
        let late = now.since(start + spans[tag]);
        assert!(now >= start + spans[tag] && late <= ms(1), "{tag}: {late:?}");
    }
}

#[test]
fn a_connection_has_as_many_timers_as_the_limit_allows() {
    let mut rig = Rig::with(|limits| limits.timers = 2);
    rig.serve(|cx, event| {
        if *event == Event::Open {
            assert!(cx.set_timer(1, ms(5)) && cx.set_timer(2, ms(5)));
            assert!(!cx.set_timer(3, ms(5)));
            assert!(cx.set_timer(1, ms(6)), "moving one is no more");
        }
        plain(cx, event)
    });
    let _peer = rig.connect();
    rig.pass_ms(10);
    assert_eq!(rig.log.of(0), ["open", "timer(2)", "timer(1)"]);
}

// The whole-message clock.

#[test]
fn a_message_that_does_not_end_has_a_deadline_that_bytes_do_not_push_back() {
    let (mut rig, peer) = Rig::serving(lazy);
    rig.pass(secs(7));
    rig.send(&peer, b"a");
    for _ in 0..29 {
        rig.pass(secs(1));
        rig.send(&peer, b"b");
    }
    assert_eq!(closed_within(&mut rig, 0, 990, 1_010), "timed out: unfinished message");
    rig.assert_empty();
}

#[test]
fn the_message_clock_restarts_where_a_call_takes_bytes_and_leaves_some() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) => Ok(bytes.len() / 2),
        _ => plain(cx, event),
    });
    rig.send(&peer, b"abcd");
    rig.pass(secs(20));
    rig.send(&peer, b"efgh");
    assert_eq!(closed_within(&mut rig, 0, 29_990, 30_010), "timed out: unfinished message");
}

#[test]
fn the_message_clock_stops_once_nothing_is_left() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) if !bytes.ends_with(b".") => Ok(0),
        _ => plain(cx, event),
    });
    rig.send(&peer, b"a");
    rig.pass(secs(29));
    rig.send(&peer, b".");
    rig.pass(secs(100));
    assert_eq!(rig.log.of(0), ["open", "bytes a", "bytes a."]);
    rig.send(&peer, b"b");
    assert_eq!(closed_within(&mut rig, 0, 29_990, 30_010), "timed out: unfinished message");
}

#[test]
fn the_message_clock_stands_still_while_paused() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Message(1) => cx.resume(),
            Event::Message(2) => cx.pause(),
            _ => {}
        }
        lazy(cx, event)
    });
    let id = rig.log.id(0);
    rig.send(&peer, b"a");
    rig.pass(secs(20));
    rig.reactor.handle().send(id, 2).unwrap();
    rig.pass(secs(100));
    rig.reactor.handle().send(id, 1).unwrap();
    assert_eq!(closed_within(&mut rig, 0, 9_990, 10_010), "timed out: unfinished message");
}

#[test]
fn the_message_clock_stands_still_while_the_outbox_is_above_high() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Message(_) = event {
            cx.write(&[0; 400 * 1024]);
        }
        lazy(cx, event)
    });
    let id = rig.log.id(0);
    rig.send(&peer, b"a");
    rig.pass(secs(20));
    rig.reactor.handle().send(id, 1).unwrap();
    rig.pass(secs(50));
    assert_eq!(rig.drain(&peer).len(), 400 * 1024);
    assert_eq!(rig.log.of(0), ["open", "bytes a", "message(1)", "drain"]);
    assert_eq!(closed_within(&mut rig, 0, 9_990, 10_010), "timed out: unfinished message");
}

#[test]
fn a_clock_that_starts_paused_counts_from_the_resume() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Bytes(b"a") => {
                cx.pause();
                cx.set_timer(1, secs(100));
            }
            Event::Timer(_) => cx.resume(),
            _ => {}
        }
        lazy(cx, event)
    });
    rig.send(&peer, b"a");
    // It is offered again at the resume, and pauses once more for as long.
    rig.pass(secs(99));
    assert_eq!(rig.log.of(0), ["open", "bytes a"]);
    rig.pass(secs(2));
    assert_eq!(rig.log.of(0), ["open", "bytes a", "timer(1)", "bytes a"]);
}

#[test]
fn expect_within_ends_the_connection_unless_it_is_met_or_taken_back() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Open | Event::Bytes(b"more") => cx.expect_within(secs(10)),
            Event::Bytes(b"enough") => cx.expect_within(None),
            _ => {}
        }
        plain(cx, event)
    });
    rig.pass(secs(9));
    rig.send(&peer, b"more");
    rig.pass(secs(9));
    rig.send(&peer, b"enough");
    rig.pass(secs(100));
    rig.send(&peer, b"more");
    let why = closed_within(&mut rig, 0, 9_990, 10_010);
    assert_eq!(why, "timed out: the handler's own deadline");
}

#[test]
fn a_write_that_makes_no_progress_has_a_deadline() {
    let (mut rig, peer) = Rig::serving(plain);
    let id = rig.log.id(0);
    rig.send(&peer, b"x");
    rig.reactor.desk().write_to(id, &[0; 200 * 1024]).unwrap();
    rig.pass(secs(50));
    assert_eq!(peer.receive_at_most(70 * 1024).len(), 64 * 1024);
    rig.pass(secs(59));
    assert_eq!(rig.log.of(0), ["open", "bytes x"]);
    rig.pass(secs(2));
    assert_eq!(rig.log.of(0)[2..], ["timed out: the peer does not read"]);
    assert!(peer.was_reset());
    rig.assert_empty();
}

#[test]
fn what_is_asked_for_between_turns_is_dated_by_the_clock_and_not_by_the_last_turn() {
    let mut rig = Rig::new();
    rig.world.hold_connects(at());
    rig.settle();
    rig.world.advance(secs(3600)); // the host was busy
    rig.dial(at(), plain);
    rig.settle();
    assert_eq!(rig.log.of(0), [""; 0], "its ten seconds begin now");
    rig.pass(secs(9));
    assert_eq!(rig.log.of(0), [""; 0]);
    rig.pass(secs(2));
    assert_eq!(rig.log.of(0), ["timed out: connecting"]);
}
