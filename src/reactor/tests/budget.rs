//! The bytes of a whole reactor.

use super::*;

const KIB: usize = 1024;

/// Lines: leaves what does not end with a full stop.
fn sentences(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    match event {
        Event::Bytes(bytes) => {
            let end = bytes.iter().rposition(|&byte| byte == b'.').map_or(0, |at| at + 1);
            cx.write(&bytes[..end]);
            Ok(end)
        }
        _ => plain(cx, event),
    }
}

/// A reactor with a budget of 100 KiB.
fn tight(act: impl Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault> + 'static) -> Rig {
    let mut rig = Rig::with(|limits| {
        limits.buffered_bytes = 100 * KIB;
        limits.outbox_low_bytes = 300 * KIB;
        limits.outbox_high_bytes = 300 * KIB;
    });
    rig.serve(act);
    rig
}

/// One who reads nothing, and for whom more waits than the budget has.
fn burden(rig: &mut Rig) -> Peer {
    let peer = rig.connect();
    let id = rig.log.id(rig.log.count() - 1);
    rig.reactor.desk().write_to(id, &[b'.'; 200 * KIB]).unwrap();
    rig.settle();
    assert!(rig.reactor.buffered_bytes() > 100 * KIB);
    peer
}

#[test]
fn above_the_budget_one_at_a_time_reads_on_until_its_message_is_whole() {
    let mut rig = tight(sentences);
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let slow = burden(&mut rig);
    for peer in &peers {
        peer.send(b"half");
    }
    rig.settle();
    let seen = |rig: &Rig| [0, 1, 2].map(|number| rig.log.of(number).len() - 1);
    assert_eq!(seen(&rig), [1, 0, 0], "the first is amid a message");
    rig.send(&peers[1], b" whole.");
    assert_eq!(seen(&rig), [1, 0, 0]);
    rig.send(&peers[0], b" whole.");
    assert_eq!(seen(&rig), [2, 1, 1], "the next has its turn without any edge, then the third");
    rig.send(&peers[2], b" whole.");
    assert_eq!(rig.drain(&peers[0]), b"half whole.");
    assert_eq!(rig.drain(&peers[1]), b"half whole.");
    assert_eq!(rig.drain(&peers[2]), b"half whole.");
    assert_eq!(rig.drain(&slow).len(), 200 * KIB);
    assert_eq!(rig.reactor.buffered_bytes(), 0);
}

#[test]
fn who_waits_is_served_in_order_and_nobody_jumps_the_line() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let noted = order.clone();
    let mut rig = tight(move |cx, event| {
        if let Event::Bytes(_) = event {
            noted.borrow_mut().push(cx.id().serial());
        }
        sentences(cx, event)
    });
    let peers: Vec<Peer> = (0..6).map(|_| rig.connect()).collect();
    let _slow = burden(&mut rig);
    rig.send(&peers[0], b"half");
    for at in [3, 1, 5, 2] {
        rig.send(&peers[at], b"x.");
    }
    assert_eq!(*order.borrow(), [1]);
    peers[0].send(b".");
    peers[4].send(b"x.");
    rig.settle();
    assert_eq!(*order.borrow(), [1, 1, 4, 2, 6, 3, 5], "in order of coming");
}

#[test]
fn everybody_is_served_once_there_is_room_again() {
    let mut rig = tight(sentences);
    let peers: Vec<Peer> = (0..50).map(|_| rig.connect()).collect();
    let slow = burden(&mut rig);
    for peer in &peers {
        peer.send(b"half");
    }
    rig.settle();
    // Nobody finishes, but the slow one reads.
    assert_eq!(rig.drain(&slow).len(), 200 * KIB);
    for number in 0..50 {
        assert_eq!(rig.log.of(number), ["open", "bytes half"]);
    }
}

#[test]
fn without_progress_the_largest_holder_ends() {
    let mut rig = tight(sentences);
    let (small, stuck) = (rig.connect(), rig.connect());
    let slow = burden(&mut rig);
    rig.send(&stuck, b"never ends");
    rig.send(&small, b"hello.");
    rig.pass_ms(4_990);
    assert_eq!(rig.log.of(2), ["open"]);
    rig.pass_ms(20);
    assert_eq!(rig.log.of(2), ["open", "the reactor held too many bytes"]);
    assert!(slow.was_reset());
    assert_eq!(small.receive(), b"hello.", "and the others are served");
    assert_eq!(rig.log.of(1), ["open", "bytes never ends"]);
}

#[test]
fn progress_puts_the_end_off() {
    let mut rig = tight(sentences);
    let slow = burden(&mut rig);
    for _ in 0..20 {
        rig.pass_ms(4_900);
        slow.receive_at_most(KIB);
        rig.settle();
    }
    assert_eq!(rig.log.of(0), ["open"]);
    rig.pass_ms(5_010);
    assert_eq!(rig.log.of(0).len(), 2);
}

#[test]
fn one_holder_after_the_other_ends_until_there_is_room() {
    let mut rig = tight(sentences);
    let hogs: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    for number in 0..3 {
        let id = rig.log.id(number);
        let bytes = vec![b'.'; (200 + number) * KIB];
        rig.reactor.desk().write_to(id, &bytes).unwrap();
    }
    rig.pass_ms(5_010);
    assert_eq!([0, 1, 2].map(|it| rig.log.of(it).len()), [1, 1, 2]);
    rig.pass_ms(5_010);
    assert_eq!([0, 1, 2].map(|it| rig.log.of(it).len()), [1, 2, 2]);
    rig.pass_ms(5_010);
    assert_eq!([0, 1, 2].map(|it| rig.log.of(it).len()), [2, 2, 2]);
    drop(hogs);
    rig.assert_empty();
}

#[test]
fn bytes_written_to_neighbours_count() {
    let mut rig = tight(plain);
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    for number in 0..3 {
        let id = rig.log.id(number);
        rig.reactor.desk().write_to(id, &[0; 100 * KIB]).unwrap();
    }
    rig.settle();
    assert_eq!(rig.reactor.buffered_bytes(), 3 * 36 * KIB);
    drop(peers);
}

#[test]
fn shared_bytes_count_once() {
    let mut rig = tight(|cx, event| {
        if *event == Event::Open {
            cx.join(crate::Group(1));
        }
        plain(cx, event)
    });
    rig.world.set_capacity(1);
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let bytes: Arc<[u8]> = vec![0; 50 * KIB].into();
    rig.reactor.desk().broadcast(&crate::Broadcast::new(crate::Group(1), bytes));
    rig.settle();
    assert_eq!(rig.reactor.buffered_bytes(), 50 * KIB);
    drop(peers);
    rig.settle();
    rig.assert_empty();
}

/// To end one who holds them as others do frees nothing; that must not cost all of them at once.
#[test]
fn holders_of_shared_bytes_end_one_at_a_time() {
    let mut rig = tight(|cx, event| {
        if *event == Event::Open {
            cx.join(crate::Group(1));
        }
        plain(cx, event)
    });
    rig.world.set_capacity(1);
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let bytes: Arc<[u8]> = vec![0; 200 * KIB].into();
    rig.reactor.desk().broadcast(&crate::Broadcast::new(crate::Group(1), bytes));
    rig.settle();
    for left in [2, 1, 0] {
        rig.pass_ms(5_010);
        assert_eq!(rig.reactor.connection_count(), left);
    }
    drop(peers);
}

#[test]
fn a_permit_is_given_on_when_its_holder_pauses_closes_or_ends() {
    for how in 0..4 {
        println!("way {how}");
        let mut rig = tight(sentences);
        let (holder, waiting) = (rig.connect(), rig.connect());
        let _slow = burden(&mut rig);
        rig.send(&holder, b"half");
        rig.send(&waiting, b"x.");
        assert_eq!(rig.log.of(1), ["open"]);
        let id = rig.log.id(0);
        match how {
            0 => rig.reactor.desk().pause_other(id).unwrap(),
            1 => rig.reactor.desk().close_other(id).unwrap(),
            2 => rig.reactor.desk().abort_other(id).unwrap(),
            _ => holder.finish(),
        }
        rig.settle();
        assert_eq!(rig.log.of(1), ["open", "bytes x."]);
    }
}

#[test]
fn one_who_closes_while_it_waits_lingers_like_any_other_and_keeps_nobody_waiting() {
    let mut rig = tight(sentences);
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let _slow = burden(&mut rig);
    rig.send(&peers[0], b"half");
    rig.send(&peers[1], b"x.");
    rig.send(&peers[2], b"y.");
    let id = rig.log.id(1);
    rig.reactor.desk().close_other(id).unwrap();
    rig.settle();
    peers[1].finish();
    rig.settle();
    assert_eq!(rig.log.of(1), ["open", "closed"], "discarding needs no room");
    assert!(ended_well(&peers[1]));
    rig.send(&peers[0], b".");
    assert_eq!(rig.log.of(2), ["open", "bytes y."]);
}

#[test]
fn the_message_clock_stands_still_while_the_budget_keeps_one_waiting() {
    let mut rig = tight(sentences);
    let (patient, holder) = (rig.connect(), rig.connect());
    rig.send(&patient, b"ha");
    let slow = burden(&mut rig);
    rig.send(&holder, b"half");
    rig.send(&patient, b"lf.");
    for _ in 0..7 {
        rig.pass_ms(4_100);
        slow.receive_at_most(1); // progress, of a kind
        rig.settle();
    }
    // The holder's message times out; then the other is read, though 30 s are over.
    rig.pass_ms(4_000);
    assert_eq!(rig.log.of(0), ["open", "bytes ha", "bytes half."]);
}

#[test]
fn shutting_down_above_the_budget_comes_to_an_end() {
    let mut rig = tight(sentences);
    let peers: Vec<Peer> = (0..5).map(|_| rig.connect()).collect();
    let slow = burden(&mut rig);
    for peer in &peers {
        peer.send(b"half");
    }
    rig.settle();
    rig.reactor.shutdown(secs(10));
    rig.settle();
    for peer in peers {
        peer.finish();
    }
    assert_eq!(rig.drain(&slow).len(), 200 * KIB);
    slow.finish();
    rig.settle();
    assert_eq!(rig.reactor.report().finished, 6);
    rig.assert_empty();
}

#[test]
fn a_reset_ends_also_one_who_waits() {
    let mut rig = tight(sentences);
    rig.world.set_manners(Manners { hints: true, ..Manners::default() });
    let (holder, waiting) = (rig.connect(), rig.connect());
    let _slow = burden(&mut rig);
    rig.send(&holder, b"half");
    rig.send(&waiting, b"x.");
    waiting.reset();
    rig.settle();
    assert_eq!(rig.log.of(1), ["open", "reset by the peer"]);
}

/// It slows those down who ask; it does not keep back what they are answered.
#[test]
fn the_budget_is_no_ceiling_and_above_it_one_after_the_other_ends() {
    const ANSWER: usize = 50 * KIB;
    let mut rig = tight(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(&[b'.'; ANSWER]);
        }
        plain(cx, event)
    });
    rig.world.set_capacity(1);
    let peers: Vec<Peer> = (0..20).map(|_| rig.connect()).collect();
    for peer in &peers {
        peer.send(b"?");
    }
    rig.settle();
    assert_eq!(rig.reactor.buffered_bytes(), 20 * (ANSWER - 1), "all were read, in turn");
    for left in (10..20).rev() {
        rig.pass_ms(5_010);
        assert_eq!(rig.reactor.buffered_bytes(), left * (ANSWER - 1));
    }
    assert_eq!(rig.reactor.counters().closed_overload, 10);
}
