//! Outgoing connections.

use super::*;
use crate::sim::PeerListener;

fn far() -> Address {
    "10.0.0.9:9".parse().unwrap()
}

fn named() -> Address {
    "db.example:9".parse().unwrap()
}

fn dialling() -> (Rig, PeerListener) {
    let rig = Rig::new();
    let listener = rig.world.listen(far());
    (rig, listener)
}

#[test]
fn what_is_written_before_a_connection_is_made_is_kept_for_it() {
    let (mut rig, listener) = dialling();
    let id = rig.dial(far(), |cx, event| {
        if *event == Event::Open {
            cx.write(b" second");
            assert_eq!(cx.peer().inet(), Some("10.0.0.9:9".parse().unwrap()));
            assert!(cx.local().is_ok());
        }
        plain(cx, event)
    });
    rig.reactor.desk().write_to(id, b"first").unwrap();
    rig.settle();
    let peer = listener.accept().unwrap();
    assert_eq!(peer.receive(), b"first second");
    rig.send(&peer, b"answer");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes answer", "eof", "closed"]);
    rig.assert_empty();
}

#[test]
fn a_callback_may_dial_write_and_close_in_one_go() {
    for closes in [false, true] {
        let (mut rig, listener) = dialling();
        let log = rig.log.clone();
        rig.serve(move |cx, event| {
            if let Event::Bytes(_) = event {
                let id = cx.connect(far(), log.handler(&script(plain))).unwrap();
                cx.write_to(id, b"hello").unwrap();
                cx.finish_other(id).unwrap();
                if closes {
                    cx.close_other(id).unwrap();
                    assert!(cx.write_to(id, b"x").is_err());
                }
            }
            plain(cx, event)
        });
        let near = rig.connect();
        rig.send(&near, b"x");
        if closes {
            assert!(listener.accept().is_none());
            assert_eq!(rig.log.of(1), ["closed"], "its handler learns of it");
        } else {
            let peer = listener.accept().unwrap();
            assert_eq!(peer.receive(), b"hello");
            assert!(ended_well(&peer));
            assert_eq!(rig.log.of(1), ["open"]);
            peer.finish();
            rig.settle();
            assert_eq!(rig.log.of(1), ["open", "eof", "closed"]);
        }
        near.finish();
        rig.assert_empty();
    }
}

#[test]
fn a_refused_connection_gets_on_close_alone() {
    for manners in [Manners::default(), Manners { hints: true, ..Manners::default() }] {
        let mut rig = Rig::new();
        rig.world.set_manners(manners);
        let id = rig.dial(far(), plain);
        rig.reactor.desk().write_to(id, b"lost").unwrap();
        rig.settle();
        assert_eq!(rig.log.of(0), ["connecting failed: Connection refused (os error 111)"]);
        rig.assert_empty();
    }
}

#[test]
fn the_addresses_of_a_name_are_tried_one_after_the_other() {
    for hints in [false, true] {
        let mut rig = Rig::new();
        rig.world.set_manners(Manners { hints, ..Manners::default() });
        let addresses = ["10.0.0.7:0", "10.0.0.8:0", "10.0.0.9:0", "10.0.0.10:0"];
        rig.world.name("db.example", addresses.map(|it| it.parse().unwrap()).to_vec());
        let listener = rig.world.listen(far());
        let id = rig.dial(named(), echo);
        rig.reactor.desk().write_to(id, b"hello").unwrap();
        rig.settle();
        let peer = listener.accept().expect("the third address");
        assert_eq!(peer.receive(), b"hello");
        rig.send(&peer, b"x");
        assert_eq!(peer.receive(), b"x");
        assert_eq!(rig.log.of(0), ["open", "bytes x"]);
        assert_eq!(rig.world.open_sockets(), 1, "those that failed are closed");
    }
}

#[test]
fn where_every_address_fails_the_last_error_is_told() {
    let mut rig = Rig::new();
    let addresses = ["10.0.0.7:0", "10.0.0.8:0"];
    rig.world.name("db.example", addresses.map(|it| it.parse().unwrap()).to_vec());
    rig.dial(named(), plain);
    rig.world.fail_next(Call::Connect, libc::ENETUNREACH);
    rig.settle();
    assert_eq!(rig.log.of(0), ["connecting failed: Connection refused (os error 111)"]);
    rig.world.name("db.example", Vec::new());
    rig.dial(named(), plain);
    rig.settle();
    assert!(rig.log.of(1)[0].starts_with("connecting failed: "));
    rig.assert_empty();
}

#[test]
fn a_name_that_nobody_knows_is_told_and_a_look_up_may_be_refused() {
    let mut rig = Rig::new();
    rig.dial(named(), plain);
    rig.settle();
    assert!(rig.log.of(0)[0].contains("Name or service not known"));
    rig.world.fail_next(Call::LookUp, libc::EAGAIN);
    rig.dial(named(), plain);
    rig.settle();
    assert!(rig.log.of(1)[0].starts_with("connecting failed: "));
    rig.assert_empty();
}

#[test]
fn connecting_has_a_deadline_of_the_limits_or_its_own() {
    let mut rig = Rig::with(|limits| limits.connect = secs(3));
    rig.world.hold_connects(far());
    rig.dial(far(), plain);
    rig.dial(Connect { within: Some(secs(8)), ..far().into() }, plain);
    rig.pass_ms(2_990);
    assert_eq!(rig.log.of(0), [""; 0]);
    rig.pass_ms(20);
    assert_eq!(rig.log.of(0), ["timed out: connecting"]);
    rig.pass_ms(4_980);
    assert_eq!(rig.log.of(1), [""; 0]);
    rig.pass_ms(20);
    assert_eq!(rig.log.of(1), ["timed out: connecting"]);
    rig.assert_empty();
}

#[test]
fn closing_while_connecting_ends_at_once() {
    let mut rig = Rig::new();
    rig.world.hold_connects(far());
    rig.world.name("db.example", vec!["10.0.0.9:0".parse().unwrap()]);
    for to in [far(), named()] {
        let number = rig.log.count();
        let id = rig.dial(to, plain);
        rig.turn();
        rig.reactor.handle().close(id).unwrap();
        rig.settle();
        assert_eq!(rig.log.of(number), ["closed"]);
        rig.assert_empty();
    }
    // Before it has begun.
    let id = rig.dial(far(), plain);
    rig.reactor.desk().abort_other(id).unwrap();
    rig.settle();
    assert_eq!(rig.log.of(2), ["aborted"]);
    rig.assert_empty();
}

#[test]
fn a_message_to_one_that_is_not_made_yet_comes_after_on_open() {
    let (mut rig, listener) = dialling();
    rig.world.hold_connects(far());
    let (one, two) = (rig.dial(far(), plain), rig.dial(far(), plain));
    rig.turn();
    for (id, message) in [(one, 1), (two, 2), (one, 3)] {
        rig.reactor.handle().send(id, message).unwrap();
    }
    rig.settle();
    rig.reactor.handle().close(two).unwrap();
    rig.settle();
    assert_eq!(rig.reactor.early_letters.len(), 2, "what was for two is let go");
    rig.world.release_connects(far());
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "message(1)", "message(3)"]);
    assert_eq!(rig.log.of(1), ["closed"]);
    drop(listener);
}

#[test]
fn messages_to_those_that_are_not_made_yet_are_bounded() {
    let (mut rig, _listener) = dialling();
    let mailbox = 4;
    rig.reactor = Reactor::with_platform(
        rig.world.node(),
        Limits { mailbox, connections: 10, ..Limits::default() },
    )
    .unwrap();
    rig.world.hold_connects(far());
    let id = rig.dial(far(), plain);
    rig.turn();
    for message in 0..10 {
        rig.reactor.handle().send(id, message).unwrap();
        rig.settle();
    }
    rig.world.release_connects(far());
    rig.settle();
    assert_eq!(rig.log.of(0).len(), 1 + 4);
}

#[test]
fn where_watching_an_outgoing_connection_fails_its_socket_is_closed() {
    let (mut rig, listener) = dialling();
    rig.world.fail_next(Call::Register, libc::ENOSPC);
    rig.dial(far(), plain);
    rig.settle();
    assert!(rig.log.of(0)[0].starts_with("connecting failed: "));
    assert!(listener.accept().unwrap().has_ended());
    rig.assert_empty();
}

#[test]
fn asking_whether_it_is_made_may_be_interrupted_or_too_early() {
    for errno in [libc::EINTR, libc::EAGAIN] {
        let (mut rig, listener) = dialling();
        rig.world.fail_next(Call::Connected, errno);
        rig.world.fail_next(Call::Connected, errno);
        rig.dial(far(), echo);
        rig.settle();
        assert_eq!(rig.log.of(0), ["open"]);
        let peer = listener.accept().unwrap();
        rig.send(&peer, b"x");
        assert_eq!(peer.receive(), b"x");
    }
}

#[test]
fn a_unix_listener_whose_queue_is_full_is_tried_again() {
    let mut rig = Rig::new();
    let path: Address = "unix:/run/app.sock".parse().unwrap();
    let listener = rig.world.listen(path.clone());
    rig.world.hold_connects(path.clone());
    rig.dial(path.clone(), plain);
    rig.pass_ms(500);
    assert_eq!(rig.log.of(0), [""; 0]);
    rig.world.release_connects(path.clone());
    rig.pass_ms(100);
    assert_eq!(rig.log.of(0), ["open"]);
    drop(listener.accept());
    rig.settle();
    rig.world.hold_connects(path.clone());
    rig.dial(path, plain);
    rig.pass_ms(10_100);
    assert_eq!(rig.log.of(1), ["timed out: connecting"]);
    rig.assert_empty();
}

#[test]
fn a_place_that_is_reused_takes_no_answer_meant_for_the_former() {
    let mut rig = Rig::new();
    rig.world.name("db.example", vec!["10.0.0.9:0".parse().unwrap()]);
    let id = rig.dial(named(), plain);
    rig.turn(); // the look-up is under way
    rig.reactor.desk().abort_other(id).unwrap();
    rig.turn();
    rig.world.hold_connects(far());
    let next = rig.dial(far(), plain);
    assert_eq!(next.slot(), id.slot());
    rig.settle();
    assert_eq!(rig.log.of(0), ["aborted"]);
    assert_eq!(rig.log.of(1), [""; 0]);
    assert_eq!(rig.world.calls(Call::Connect), 1);
}

#[test]
fn an_outgoing_connection_has_no_deadline_for_the_first_byte() {
    let (mut rig, listener) = dialling();
    rig.dial(far(), plain);
    rig.settle();
    let _peer = listener.accept();
    rig.pass(secs(299));
    assert_eq!(rig.log.of(0), ["open"]);
}

#[test]
fn two_reactors_in_one_world_talk_to_each_other() {
    let world = World::new(3);
    let mut server = Rig::in_world(world.clone(), |_| {});
    server.serve(echo);
    let mut client = Rig::in_world(world, |_| {});
    client.dial(at(), |cx, event| {
        match event {
            Event::Open => cx.write(&vec![b'x'; 500_000]),
            Event::Bytes(_) if cx.backlog() == 0 => cx.finish(),
            _ => {}
        }
        plain(cx, event)
    });
    for _ in 0..1000 {
        server.turn();
        client.turn();
    }
    let lines = client.log.of(0);
    let got: usize =
        lines[1..].iter().filter_map(|it| it.strip_prefix("bytes ")).map(str::len).sum();
    assert_eq!(got, 500_000);
    assert_eq!(lines.last().unwrap(), "closed");
    assert_eq!(server.log.of(0).last().unwrap(), "closed");
    client.assert_no_connections();
    server.assert_no_connections();
}

#[test]
fn what_has_come_by_the_time_a_connection_is_made_is_read() {
    let (mut rig, listener) = dialling();
    rig.dial(far(), plain);
    rig.turn();
    let peer = listener.accept().unwrap();
    peer.send(b"hello"); // in the same edge as the news that it is made
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes hello", "eof", "closed"]);
}

#[test]
fn deadlines_of_an_open_connection_begin_when_it_is_made() {
    let mut rig = Rig::with(|limits| {
        limits.idle = secs(5);
        limits.write_progress = secs(5);
    });
    let listener = rig.world.listen(far());
    rig.world.hold_connects(far());
    rig.dial(far(), plain);
    let blocked = rig.dial(far(), plain);
    rig.reactor.desk().write_to(blocked, &[0; 100_000]).unwrap();
    rig.pass(secs(8));
    rig.world.release_connects(far());
    let peers = [listener.accept(), listener.accept()];
    rig.pass_ms(4_990);
    assert_eq!([rig.log.of(0), rig.log.of(1)], [["open"], ["open"]]);
    rig.pass(secs(6));
    assert_eq!(rig.log.of(0)[1..], ["timed out: idle"]);
    assert_eq!(rig.log.of(1)[1..], ["timed out: the peer does not read"]);
    drop(peers);
}

#[test]
fn however_many_addresses_of_a_name_fail_at_once_they_need_no_stack() {
    const COUNT: u32 = 4096; // as many as fit into an answer over TCP (RFC 1035, section 4.2.2)
    let mut rig = Rig::new();
    let address = |number: u32| (std::net::Ipv4Addr::from(0x0a00_0000 + number), 0).into();
    rig.world.name("db.example", (0..COUNT).map(address).collect());
    (0..COUNT).for_each(|_| rig.world.fail_next(Call::Connect, libc::ENETUNREACH));
    rig.dial(named(), plain);
    rig.settle();
    assert_eq!(rig.world.calls(Call::Connect), u64::from(COUNT));
    assert!(rig.log.of(0)[0].contains("unreachable"));
    rig.assert_empty();
}
