//! The table of phases, row by row.

use super::*;

/// Writes so much that it waits, and closes.
fn flood_and_close(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    if let Event::Bytes(_) = event {
        cx.write(&vec![b'.'; 200 * 1024]);
        cx.close();
    }
    plain(cx, event)
}

#[test]
fn flushing_delivers_everything_then_ends_and_awaits_the_peers_end() {
    let (mut rig, peer) = Rig::serving(flood_and_close);
    rig.send(&peer, b"go");
    assert_eq!(rig.world.calls(Call::Finish), 0);
    assert_eq!(rig.drain(&peer).len(), 200 * 1024);
    assert!(ended_well(&peer));
    assert_eq!(rig.world.calls(Call::Finish), 1);
    assert_eq!(rig.log.of(0), ["open", "bytes go"], "it lingers");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes go", "closed"]);
    rig.assert_empty();
}

#[test]
fn flushing_after_the_peers_end_closes_without_ending_first() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Eof(_) = event {
            cx.write(&vec![b'.'; 200 * 1024]);
        }
        plain(cx, event)
    });
    peer.send(b"go");
    peer.finish();
    assert_eq!(rig.drain(&peer).len(), 200 * 1024);
    assert!(ended_well(&peer));
    assert_eq!(rig.world.calls(Call::Finish), 0);
    assert_eq!(rig.log.of(0), ["open", "bytes go", "eof", "closed"]);
    rig.assert_empty();
}

#[test]
fn flushing_has_a_deadline() {
    let (mut rig, peer) = Rig::serving(flood_and_close);
    rig.send(&peer, b"go");
    rig.pass(secs(59));
    peer.receive();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes go"]);
    rig.pass(secs(2));
    assert_eq!(rig.log.of(0), ["open", "bytes go", "timed out: flushing"]);
    assert!(peer.was_reset(), "what it got must not look whole");
    rig.assert_empty();
}

#[test]
fn flushing_ends_by_a_reset() {
    let (mut rig, peer) = Rig::serving(flood_and_close);
    rig.send(&peer, b"go");
    peer.reset();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes go", "reset by the peer"]);
    rig.assert_empty();
}

#[test]
fn the_rest_of_the_input_is_let_go_when_closing_begins() {
    let (mut rig, peer) = Rig::serving(lazy);
    rig.send(&peer, &[0; 1000]);
    assert_eq!(rig.reactor.buffered_bytes(), 1000);
    let id = rig.log.id(0);
    rig.reactor.desk().close_other(id).unwrap();
    rig.settle();
    assert_eq!(rig.reactor.connection_count(), 1, "it lingers");
    assert_eq!(rig.reactor.buffered_bytes(), 0);
}

/// A connection that lingers.
fn lingering(limits: impl FnOnce(&mut Limits)) -> (Rig, Peer) {
    let mut rig = Rig::with(limits);
    rig.serve(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(b"bye");
            cx.close();
        }
        plain(cx, event)
    });
    let peer = rig.connect();
    rig.send(&peer, b"go");
    assert!(rig.log.of(0).len() == 2 && rig.reactor.connection_count() == 1);
    (rig, peer)
}

#[test]
fn lingering_ends_by_the_peers_end() {
    let (mut rig, peer) = lingering(|_| {});
    rig.send(&peer, &[0; 60_000]);
    assert_eq!(rig.reactor.connection_count(), 1);
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0).last().unwrap(), "closed");
    rig.assert_empty();
}

#[test]
fn lingering_ends_by_its_deadline_and_is_still_a_clean_end() {
    let (mut rig, peer) = lingering(|_| {});
    rig.pass(secs(4));
    rig.send(&peer, &[0; 100]);
    assert_eq!(rig.reactor.connection_count(), 1);
    rig.pass(secs(2));
    assert_eq!(rig.log.of(0).last().unwrap(), "closed");
    assert_eq!(peer.receive(), b"bye");
    rig.assert_empty();
}

#[test]
fn lingering_discards_so_many_bytes_and_no_more() {
    let (mut rig, peer) = lingering(|limits| limits.linger_bytes = 100_000);
    rig.send(&peer, &[0; 60_000]);
    rig.send(&peer, &[0; 40_000]);
    assert_eq!(rig.reactor.connection_count(), 1);
    rig.send(&peer, &[0; 1]);
    assert_eq!(rig.log.of(0).last().unwrap(), "closed");
    rig.assert_empty();
}

#[test]
fn closing_with_unread_input_loses_no_reply() {
    for manners in [Manners::default(), Manners { hints: true, ..Manners::default() }] {
        let mut rig = Rig::with(|limits| limits.read_budget_bytes = 10);
        rig.world.set_manners(manners);
        rig.serve(flood_and_close);
        let peer = rig.connect();
        peer.send(&[b'x'; 50_000]);
        let mut got = Vec::new();
        for _ in 0..10_000 {
            rig.turn();
            got.extend(peer.receive());
            peer.send(&[b'y'; 100]);
            if peer.has_ended() {
                break;
            }
        }
        assert_eq!(got.len(), 200 * 1024);
        assert!(ended_well(&peer));
        peer.finish();
        rig.settle();
        rig.assert_empty();
    }
}

#[test]
fn our_half_can_be_closed_while_the_peers_goes_on() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Open => {
                cx.write(&vec![b'.'; 100 * 1024]);
                cx.finish();
                cx.write(b"too late");
            }
            Event::Bytes(_) => cx.write(b"too late"),
            Event::Eof(_) => return Ok(0), // both ends: it closes by itself
            _ => {}
        }
        plain(cx, event)
    });
    rig.send(&peer, b"a");
    assert_eq!(rig.world.calls(Call::Finish), 0, "not before all is written");
    assert_eq!(rig.drain(&peer).len(), 100 * 1024);
    assert!(ended_well(&peer));
    rig.send(&peer, b"b");
    assert_eq!(rig.log.of(0), ["open", "bytes a", "bytes b"]);
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes a", "bytes b", "eof", "closed"]);
    assert_eq!(rig.world.calls(Call::Finish), 1);
    rig.assert_empty();
}

#[test]
fn the_peers_half_can_be_closed_while_ours_goes_on() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Eof(_) => Ok(0),
        Event::Message(1) => {
            cx.write(b"more");
            Ok(0)
        }
        Event::Message(2) => {
            cx.finish();
            Ok(0)
        }
        _ => plain(cx, event),
    });
    let id = rig.log.id(0);
    peer.finish();
    rig.settle();
    for _ in 0..2 {
        rig.reactor.handle().send(id, 1).unwrap();
        rig.settle();
    }
    assert_eq!(peer.receive(), b"moremore");
    assert_eq!(rig.log.of(0).last().unwrap(), "message(1)");
    rig.reactor.handle().send(id, 2).unwrap();
    rig.settle();
    assert!(ended_well(&peer));
    assert_eq!(rig.log.of(0).last().unwrap(), "closed");
    rig.assert_empty();
}

#[test]
fn closing_after_a_half_close_does_not_end_twice() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Open => cx.finish(),
            Event::Bytes(_) => cx.close(),
            _ => {}
        }
        plain(cx, event)
    });
    rig.send(&peer, b"x");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes x", "closed"]);
    assert_eq!(rig.world.calls(Call::Finish), 1);
    rig.assert_empty();
}

#[test]
fn aborting_tells_the_peer_by_a_reset() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.write(b"never sent");
            cx.abort();
        }
        plain(cx, event)
    });
    rig.send(&peer, b"x");
    assert_eq!(rig.log.of(0), ["open", "bytes x", "aborted"]);
    assert!(peer.was_reset());
    assert_eq!(peer.receive(), b"");
    rig.assert_empty();
}

#[test]
fn the_first_reason_stays() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(_) => {
            cx.write(&vec![b'.'; 200 * 1024]);
            Err(Fault::new("first"))
        }
        _ => plain(cx, event),
    });
    rig.send(&peer, b"x");
    let id = rig.log.id(0);
    rig.reactor.handle().abort(id).unwrap();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes x", "fault: first"]);
    assert!(peer.was_reset());
    rig.assert_empty();
}

#[test]
fn an_error_of_the_system_ends_that_connection() {
    for call in [Call::Read, Call::Write, Call::Finish] {
        let mut rig = Rig::new();
        rig.serve(|cx, event| {
            if let Event::Bytes(_) = event {
                cx.write(b"answer");
                cx.finish();
            }
            plain(cx, event)
        });
        let (bad, good) = (rig.connect(), rig.connect());
        rig.world.fail_next(call, libc::EIO);
        rig.send(&bad, b"x");
        rig.send(&good, b"x");
        assert!(rig.log.of(0).last().unwrap().starts_with("failed: "), "{:?}", rig.log.of(0));
        assert_eq!(good.receive(), b"answer");
        good.finish();
        rig.settle();
        assert_eq!(rig.log.of(1).last().unwrap(), "closed");
        rig.assert_empty();
    }
}
