//! Listeners: the limit, budgets, and running out of everything.

use super::*;

#[test]
fn at_the_limit_accepting_stops_and_goes_on_when_one_closes() {
    let mut rig = Rig::with(|limits| limits.connections = 2);
    rig.serve(echo);
    let peers: Vec<Peer> = (0..4).map(|_| rig.connect()).collect();
    assert_eq!(rig.log.count(), 2);
    assert_eq!(rig.reactor.connection_count(), 2);
    let waits = rig.world.waits();
    rig.pass(secs(1));
    assert!(rig.world.waits() - waits <= 7, "it neither polls nor spins");
    peers[0].finish();
    rig.settle();
    assert_eq!(rig.log.count(), 3);
    for peer in &peers[1..3] {
        peer.finish();
    }
    rig.settle();
    rig.send(&peers[3], b"at last");
    assert_eq!(peers[3].receive(), b"at last");
    assert_eq!(rig.reactor.handle().connection_count(), 1);
    assert_eq!(logged("cannot accept"), 0);
}

#[test]
fn at_the_limit_nothing_is_dialled() {
    let mut rig = Rig::with(|limits| limits.connections = 1);
    rig.serve(|cx, event| {
        if *event == Event::Open {
            assert!(cx.connect(at(), Echo).is_err());
        }
        plain(cx, event)
    });
    let _peer = rig.connect();
    assert_eq!(rig.log.of(0), ["open"]);
    assert_eq!(rig.reactor.connect(at(), Echo), Err(AtLimit));
    assert_eq!(rig.reactor.connection_count(), 1);
}

#[test]
fn running_out_of_descriptors_or_memory_is_survived() {
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        println!("errno {errno}");
        let mut rig = Rig::new();
        rig.serve(echo);
        for _ in 0..4 {
            rig.world.fail_next(Call::Accept, errno);
        }
        let first = rig.connect();
        let second = rig.connect();
        assert_eq!(rig.log.count(), 0);
        let waits = rig.world.waits();
        rig.pass_ms(199);
        assert!(rig.world.waits() - waits < 20, "it does not spin");
        assert_eq!(rig.log.count(), 0);
        rig.pass_ms(60);
        assert_eq!(rig.log.count(), 2, "served later, without an edge");
        for peer in [&first, &second] {
            rig.send(peer, b"x");
            assert_eq!(peer.receive(), b"x");
        }
        assert_eq!(logged("cannot accept"), 1);
        assert_eq!(rig.reactor.counters().accept_rests, 4);
        // And again: another time is another line.
        rig.world.fail_next(Call::Accept, errno);
        let _third = rig.connect();
        rig.pass_ms(60);
        assert_eq!(rig.log.count(), 3);
        assert_eq!(logged("cannot accept"), 2);
    }
}

#[test]
fn running_out_is_told_of_also_where_the_listener_had_waited_for_something_else() {
    let mut rig = Rig::with(|limits| limits.connections = 1);
    rig.serve(echo);
    let first = rig.connect();
    let _second = rig.connect();
    rig.world.fail_next(Call::Accept, libc::EMFILE);
    first.finish();
    rig.settle();
    assert_eq!(rig.reactor.counters().accept_rests, 1);
    assert_eq!(logged("cannot accept"), 1);
}

#[test]
fn a_listener_that_rests_tries_again_when_a_connection_closes() {
    let mut rig = Rig::with(|limits| limits.accept_retry = secs(1000));
    rig.serve(plain);
    let first = rig.connect();
    rig.world.fail_next(Call::Accept, libc::EMFILE);
    let _second = rig.connect();
    assert_eq!(rig.log.count(), 1);
    first.finish();
    rig.settle();
    assert_eq!(rig.log.count(), 2);
}

#[test]
fn what_was_lost_in_the_queue_does_not_stop_the_next() {
    let mut rig = Rig::new();
    rig.serve(plain);
    for errno in [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::EPERM] {
        rig.world.fail_next(Call::Accept, errno);
    }
    let _peer = rig.connect();
    assert_eq!(rig.log.count(), 1);
}

#[test]
fn a_broken_listener_is_closed_and_its_connections_stay() {
    let mut rig = Rig::new();
    rig.serve(echo);
    let peer = rig.connect();
    rig.world.fail_next(Call::Accept, libc::EBADF);
    let refused = rig.connect();
    assert!(refused.was_reset());
    rig.send(&peer, b"x");
    assert_eq!(peer.receive(), b"x");
    assert_eq!(logged("broken"), 1);
}

#[test]
fn a_flood_of_clients_does_not_starve_connections_or_other_listeners() {
    let mut rig = Rig::with(|limits| limits.accept_budget = 3);
    rig.serve(echo);
    let calm = rig.connect();
    let log = rig.log.clone();
    let other: Address = "10.0.0.1:8".parse().unwrap();
    let echoing = script(echo);
    rig.reactor.listen(&other, move |_: &NetAddr| log.handler(&echoing)).unwrap();
    rig.settle();
    let flood: Vec<Peer> = (0..20).map(|_| rig.world.connect(at())).collect();
    let _one = rig.world.connect(other);
    calm.send(b"x");
    rig.turn();
    assert_eq!(rig.log.count(), 1 + 3 + 1);
    assert_eq!(calm.receive(), b"x");
    rig.turn();
    assert_eq!(rig.log.count(), 1 + 6 + 1);
    rig.settle();
    assert_eq!(rig.log.count(), 22);
    drop(flood);
}

#[test]
fn where_watching_fails_the_socket_is_closed() {
    let mut rig = Rig::new();
    rig.serve(echo);
    rig.world.fail_next(Call::Register, libc::ENOSPC);
    let failed = rig.connect();
    assert!(failed.has_ended());
    assert_eq!(rig.log.of(0), [""; 0], "it was never opened");
    rig.assert_empty();
    let peer = rig.connect();
    rig.send(&peer, b"x");
    assert_eq!(peer.receive(), b"x");

    rig.world.fail_next(Call::Register, libc::ENOSPC);
    let other: Address = "10.0.0.1:8".parse().unwrap();
    assert!(rig.reactor.listen(&other, |_: &NetAddr| Echo).is_err());
    assert!(rig.reactor.listen(&other, |_: &NetAddr| Echo).is_ok(), "the address is free");
}

#[test]
fn a_listener_that_is_removed_leaves_its_connections() {
    let mut rig = Rig::new();
    let id = rig.serve(echo);
    let peer = rig.connect();
    rig.reactor.handle().remove(id).unwrap();
    rig.settle();
    assert!(rig.connect().was_reset());
    rig.send(&peer, b"x");
    assert_eq!(peer.receive(), b"x");
    assert!(!rig.reactor.remove_endpoint(id));
}

// The mailbox.

#[test]
fn a_full_mailbox_gives_the_message_back() {
    let mut rig = Rig::with(|limits| limits.mailbox = 2);
    rig.serve(plain);
    let _peer = rig.connect();
    let (id, handle) = (rig.log.id(0), rig.reactor.handle().clone());
    assert!(handle.send(id, 1).is_ok() && handle.send(id, 2).is_ok());
    assert_eq!(handle.send(id, 3), Err(crate::Refused::Full(3)));
    assert_eq!(handle.close(id), Err(crate::Refused::Full(())));
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "message(1)", "message(2)"]);
    assert!(handle.send(id, 3).is_ok());
    drop(rig);
    assert_eq!(handle.send(id, 4), Err(crate::Refused::Closed(4)));
}

#[test]
fn a_letter_sent_from_a_callback_comes_in_a_later_turn() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        match event {
            Event::Bytes(_) | Event::Message(1) => {
                let (handle, id) = (cx.handle().clone(), cx.id());
                handle.send(id, 1).unwrap();
            }
            _ => {}
        }
        plain(cx, event)
    });
    peer.send(b"x");
    for _ in 0..5 {
        rig.turn();
    }
    assert_eq!(rig.log.of(0)[2..], vec!["message(1)"; 4], "one a turn, from the next one on");
}

#[test]
fn limits_that_contradict_each_other_are_an_error() {
    for change in
        [|limits: &mut Limits| limits.mailbox = 0, |limits: &mut Limits| limits.timers = 0]
    {
        let mut limits = Limits::default();
        change(&mut limits);
        let wanted = limits.check().unwrap_err();
        let made = Reactor::<u32, _>::with_platform(World::new(1).node(), limits);
        assert_eq!(made.err().unwrap().to_string(), wanted);
    }
}
