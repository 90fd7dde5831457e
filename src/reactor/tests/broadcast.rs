//! Groups, and what is said to all of their members.

use super::*;
use crate::hub::groups::{Broadcast, Group, Receipt, Slow};

const ROOM: Group = Group(1);

fn joining() -> Rig {
    let mut rig = Rig::with(|limits| {
        limits.outbox_low_bytes = 100;
        limits.outbox_high_bytes = 1000;
        limits.outbox_max_bytes = 3000;
        limits.groups = 3;
    });
    rig.world.set_capacity(10);
    rig.serve(|cx, event| {
        if *event == Event::Open {
            assert!(cx.join(ROOM) && cx.join(ROOM), "twice is once");
        }
        plain(cx, event)
    });
    rig
}

fn receipt(sent: usize, skipped: usize, closed: usize) -> Receipt {
    Receipt { sent, skipped, closed }
}

/// Three members; the second has 1,200 bytes waiting.
fn with_a_slow_one() -> (Rig, Vec<Peer>) {
    let mut rig = joining();
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let id = rig.log.id(1);
    rig.reactor.desk().write_to(id, &[0; 1210]).unwrap();
    rig.settle();
    (rig, peers)
}

#[test]
fn a_broadcast_reaches_every_member_but_the_speaker() {
    let mut rig = joining();
    let peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let speaker = rig.log.id(2);
    let told = Broadcast::new(ROOM, *b"hi").except(speaker);
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(2, 0, 0));
    rig.settle();
    let got = peers.iter().map(Peer::receive).collect::<Vec<_>>();
    assert_eq!(got, [&b"hi"[..], b"hi", b""]);
    assert_eq!(rig.reactor.desk().group_len(ROOM), 3);
    let nobody = Broadcast::new(Group(9), *b"hi");
    assert_eq!(rig.reactor.desk().broadcast(&nobody), receipt(0, 0, 0));
}

#[test]
fn a_slow_member_misses_it_by_default() {
    let (mut rig, peers) = with_a_slow_one();
    let told = Broadcast::new(ROOM, *b"hi");
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(2, 1, 0));
    assert_eq!(rig.drain(&peers[1]).len(), 1210);
}

#[test]
fn a_slow_member_is_closed_where_that_is_asked_for() {
    let (mut rig, peers) = with_a_slow_one();
    let told = Broadcast::new(ROOM, *b"hi").slow(Slow::Close);
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(2, 0, 1));
    rig.settle();
    assert_eq!(rig.log.of(1), ["open", "too much output for a slow reader"]);
    assert!(peers[1].was_reset());
    assert_eq!(rig.reactor.desk().group_len(ROOM), 2);
}

#[test]
fn a_slow_member_is_sent_more_up_to_the_limit() {
    let (mut rig, peers) = with_a_slow_one();
    let told = Broadcast::new(ROOM, [0; 900]).slow(Slow::Queue);
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(3, 0, 0));
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(3, 0, 0));
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(2, 0, 1), "3,900 bytes");
    assert_eq!(rig.drain(&peers[0]).len(), 2700);
    assert_eq!(rig.log.of(1)[1..], ["too much output for a slow reader"]);
}

#[test]
fn one_who_closes_is_skipped_and_one_who_is_gone_is_no_member() {
    let mut rig = joining();
    let peers: Vec<Peer> = (0..2).map(|_| rig.connect()).collect();
    let id = rig.log.id(0);
    rig.reactor.desk().close_other(id).unwrap();
    let told = Broadcast::new(ROOM, *b"hi");
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(1, 1, 0));
    peers[0].finish();
    rig.settle();
    assert_eq!(rig.reactor.desk().broadcast(&told), receipt(1, 0, 0));
}

#[test]
fn a_ticket_tells_what_became_of_a_broadcast_from_elsewhere() {
    let mut rig = joining();
    let _peers: Vec<Peer> = (0..3).map(|_| rig.connect()).collect();
    let closing = rig.log.id(0);
    rig.reactor.desk().close_other(closing).unwrap();
    let ticket = rig.reactor.handle().broadcast(Broadcast::new(ROOM, *b"hi")).unwrap();
    assert_eq!(ticket.receipt(), None);
    rig.settle();
    assert_eq!(ticket.receipt(), Some(receipt(2, 1, 0)));
}

#[test]
fn a_connection_is_in_so_many_groups_and_leaves_them_all_at_its_end() {
    let mut rig = Rig::with(|limits| limits.groups = 3);
    rig.serve(|cx, event| {
        if *event == Event::Open {
            for group in 0..5 {
                assert_eq!(cx.join(Group(group)), group < 3);
            }
            assert!(cx.leave(Group(1)) && !cx.leave(Group(1)));
            assert!(cx.join(Group(4)));
        }
        plain(cx, event)
    });
    let peers: Vec<Peer> = (0..4).map(|_| rig.connect()).collect();
    let lens = |rig: &mut Rig| [0, 1, 2, 4].map(|it| rig.reactor.desk().group_len(Group(it)));
    assert_eq!(lens(&mut rig), [4, 0, 4, 4]);
    peers[1].finish();
    rig.settle();
    assert_eq!(lens(&mut rig), [3, 0, 3, 3]);
    for peer in peers {
        peer.finish();
    }
    rig.settle();
    assert_eq!(lens(&mut rig), [0; 4]);
}
