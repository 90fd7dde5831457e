//! Marks and limits of what waits to be written, and who is served when.

use super::*;

const KIB: usize = 1024;

/// Answers a message with as many bytes as it says.
fn by_size(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    if let Event::Message(size) = event {
        cx.write(&vec![0; *size as usize]);
    }
    plain(cx, event)
}

#[test]
fn above_the_high_mark_input_stops_and_below_the_low_one_it_flows_again() {
    let mut rig = Rig::with(|limits| {
        limits.outbox_low_bytes = 10 * KIB;
        limits.outbox_high_bytes = 20 * KIB;
    });
    rig.world.set_capacity(KIB);
    rig.serve(by_size);
    let peer = rig.connect();
    let id = rig.log.id(0);
    for size in [20 * KIB, KIB] {
        rig.reactor.handle().send(id, size as u32).unwrap();
        rig.settle();
    }
    rig.send(&peer, b"read");
    assert_eq!(rig.log.of(0).last().unwrap(), "bytes read", "20 KiB wait: not above the mark");
    rig.reactor.handle().send(id, 1).unwrap();
    rig.settle();
    rig.send(&peer, b"more");
    let held = rig.log.of(0);
    assert_eq!(held.last().unwrap(), "message(1)");
    assert_eq!(rig.reactor.desk().is_other_full(id), Ok(true));
    while rig.reactor.desk().backlog_of(id).unwrap() > 10 * KIB {
        assert_eq!(rig.log.of(0), held, "above the low mark");
        peer.receive_at_most(KIB);
        rig.settle();
    }
    assert_eq!(rig.log.of(0)[held.len()..], ["drain", "bytes more"].map(str::to_owned));
}

#[test]
fn what_neighbours_write_does_not_hold_input_but_drains_all_the_same() {
    // Or a relay whose peers both send before they read would stand still for ever.
    let (mut rig, peer) = Rig::serving(plain);
    let id = rig.log.id(0);
    rig.reactor.desk().write_to(id, &[0; 400 * KIB]).unwrap();
    rig.send(&peer, b"read");
    assert_eq!(rig.reactor.desk().is_other_full(id), Ok(true));
    assert_eq!(rig.log.of(0), ["open", "bytes read"]);
    assert_eq!(rig.drain(&peer).len(), 400 * KIB);
    assert_eq!(rig.log.of(0), ["open", "bytes read", "drain"]);
    assert_eq!(rig.reactor.desk().is_other_full(id), Ok(false));
}

#[test]
fn far_too_much_output_ends_the_connection() {
    let mut rig = Rig::with(|limits| limits.outbox_max_bytes = 300 * KIB);
    rig.serve(plain);
    let peer = rig.connect();
    let id = rig.log.id(0);
    rig.reactor.desk().write_to(id, &[0; 300 * KIB]).unwrap();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open"]);
    assert!(rig.reactor.desk().write_to(id, &[0; 64 * KIB + 1]).is_err());
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "too much output for a slow reader"]);
    assert!(peer.was_reset(), "what it got must not look whole");
    rig.assert_empty();
}

#[test]
fn a_handler_that_writes_far_too_much_in_one_call_is_ended() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            for _ in 0..17 * 16 {
                cx.write(&[0; 64 * KIB]);
            }
            assert_eq!(cx.backlog(), 0);
        }
        plain(cx, event)
    });
    rig.send(&peer, b"x");
    assert_eq!(rig.log.of(0), ["open", "bytes x", "too much output for a slow reader"]);
    rig.assert_empty();
}

#[test]
fn a_handler_can_tell_what_it_has_written_and_who_else_is_there() {
    let (mut rig, first) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            let before = cx.backlog();
            cx.write(b"four");
            assert_eq!((cx.backlog() - before, cx.connection_count()), (4, 2));
        }
        plain(cx, event)
    });
    rig.world.set_capacity(1);
    let second = rig.connect();
    for peer in [&first, &second, &second] {
        rig.send(peer, b"x");
    }
    assert_eq!(rig.reactor.buffered_bytes(), 3 + 4, "the pipe of the first is as large as it was");
    assert_eq!(rig.reactor.counters().panics, 0);
}

#[test]
fn an_outbox_that_the_system_takes_at_once_holds_nobody() {
    let mut rig = Rig::new();
    rig.world.set_capacity(4096 * KIB);
    rig.serve(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(&vec![0; 300 * KIB]);
        }
        plain(cx, event)
    });
    let peer = rig.connect();
    for _ in 0..3 {
        rig.send(&peer, b"x");
    }
    let round = ["bytes x", "drain"];
    assert_eq!(rig.log.of(0)[1..], [round, round, round].concat());
}

#[test]
fn a_producer_that_heeds_on_drain_sends_all_of_it_in_order() {
    let sent = Rc::new(Cell::new(0_u32));
    let (mut rig, peer) = Rig::serving(move |cx, event| {
        if let Event::Bytes(_) | Event::Drain = event {
            while sent.get() < 300_000 && !cx.is_full() {
                cx.write(&sent.get().to_be_bytes());
                sent.set(sent.get() + 1);
            }
            if sent.get() == 300_000 {
                cx.close();
            }
        }
        plain(cx, event)
    });
    rig.send(&peer, b"go");
    let all = rig.drain(&peer);
    assert!(all.chunks(4).enumerate().all(|(at, it)| it == (at as u32).to_be_bytes()));
    assert_eq!(all.len(), 1_200_000);
    assert!(ended_well(&peer));
}

#[test]
fn a_drained_outbox_that_was_filled_again_before_it_was_told_stays_held() {
    let mut rig = Rig::with(|limits| {
        limits.outbox_low_bytes = KIB;
        limits.outbox_high_bytes = 2 * KIB;
    });
    rig.world.set_capacity(4 * KIB);
    let neighbour = Rc::new(Cell::new(None));
    let other = neighbour.clone();
    rig.serve(move |cx, event| {
        match (event, other.get()) {
            (Event::Open, None) => other.set(Some(cx.id())),
            (Event::Drain, Some(other)) if other != cx.id() => {
                cx.write_to(other, &[0; 16 * KIB]).unwrap();
            }
            _ => {}
        }
        by_size(cx, event)
    });
    let (victim, actor) = (rig.connect(), rig.connect());
    // Both drain in one turn, the actor first.
    let (victim_id, actor_id) = (rig.log.id(0), rig.log.id(1));
    for id in [actor_id, victim_id] {
        rig.reactor.handle().send(id, 3 * KIB as u32).unwrap();
    }
    rig.settle();
    victim.send(b"x");
    rig.settle();
    assert_eq!(rig.log.of(1), ["open", "message(3072)", "drain"]);
    assert_eq!(rig.log.of(0), ["open", "message(3072)"], "16 KiB wait for it");
    rig.drain(&victim);
    assert_eq!(rig.log.of(0), ["open", "message(3072)", "drain", "bytes x"]);
    drop(actor);
}

#[test]
fn a_hot_connection_does_not_starve_the_others() {
    let mut rig = Rig::with(|limits| limits.read_budget_bytes = 100);
    rig.serve(plain);
    let (hot, calm) = (rig.connect(), rig.connect());
    hot.send(&[b'h'; 60_000]);
    rig.turn();
    for round in 0..20 {
        calm.send(b"c");
        rig.turn();
        rig.turn();
        assert_eq!(rig.log.of(1).len(), round + 2, "served at once");
    }
    let hot_bytes: usize = rig.log.of(0)[1..].iter().map(|line| line.len() - 6).sum();
    assert_eq!(hot_bytes, 41 * 100, "a hundred a turn");
    rig.settle();
    let hot_bytes: usize = rig.log.of(0)[1..].iter().map(|line| line.len() - 6).sum();
    assert_eq!(hot_bytes, 60_000);
}

#[test]
fn a_large_outbox_is_written_within_a_budget_too() {
    let mut rig = Rig::new();
    rig.world.set_capacity(16 << 20);
    rig.serve(echo);
    let (large, small) = (rig.connect(), rig.connect());
    let id = rig.log.id(0);
    rig.reactor.desk().write_to(id, &vec![0; 15 << 20]).unwrap();
    small.send(b"x");
    rig.turn();
    assert!(large.receive().len() <= 4 << 20);
    assert_eq!(small.receive(), b"x");
    rig.settle();
}

#[test]
fn an_unsent_answer_keeps_its_place_before_later_ones_however_short_the_writes() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut rig = Rig::in_world(World::new(seed), |_| {});
        rig.world.set_capacity(7);
        rig.world.set_manners(Manners {
            short_writes: 50,
            would_block: 30,
            interrupted: 30,
            ..Manners::default()
        });
        rig.serve(|cx, event| {
            if let Event::Bytes(bytes) = event {
                for byte in *bytes {
                    cx.write(&[*byte]);
                    cx.write_shared(Arc::from([*byte, b'-']));
                }
            }
            plain(cx, event)
        });
        let peer = rig.connect();
        let mut got = Vec::new();
        for byte in b'a'..=b'z' {
            while peer.send(&[byte]) == 0 {
                rig.turn();
            }
            got.extend(peer.receive());
            rig.turn();
        }
        got.extend(rig.drain(&peer));
        let wanted: Vec<u8> = (b'a'..=b'z').flat_map(|it| [it, it, b'-']).collect();
        assert_eq!(got, wanted);
    }
}

#[test]
fn a_system_that_takes_nothing_without_an_error_is_not_asked_for_ever() {
    // No socket does that (send(2)); a device behind an adopted descriptor might.
    let (mut rig, _peer) = Rig::serving(plain);
    let slot = rig.log.id(0).slot();
    assert_eq!(rig.reactor.judge_write(slot, 5, Ok(0)), 0);
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "failed: write zero"]);
    rig.assert_empty();
}

/// One call takes 16 pieces. What it was not given, it did not refuse.
#[test]
fn many_pieces_are_no_short_write() {
    let mut rig = Rig::new();
    rig.world.set_capacity(1 << 20);
    rig.serve(|cx, event| {
        if let Event::Bytes(_) = event {
            (0..40).for_each(|piece| cx.write_shared(Arc::from([piece; 5000])));
        }
        plain(cx, event)
    });
    let peer = rig.connect();
    rig.send(&peer, b"x");
    let expected: Vec<u8> = (0..40).flat_map(|piece| [piece; 5000]).collect();
    assert!(rig.drain(&peer) == expected);
    assert_eq!(rig.reactor.counters().short_writes, 0);
}
