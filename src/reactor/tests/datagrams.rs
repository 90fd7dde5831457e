//! Datagram sockets.

use super::*;
use crate::handler::{DatagramContext, DatagramHandler};
use crate::sim::DatagramPeer;
use crate::sys::SLOT_BYTES_MAX;

fn bound(
    rig: &mut Rig,
    act: impl FnMut(&mut DatagramContext<'_, u32>, &NetAddr, &[u8]) + 'static,
) -> NetAddr {
    rig.reactor.bind_datagram(&at(), &DatagramOptions::default(), act).unwrap().1
}

fn reply(cx: &mut DatagramContext<'_, u32>, _: &NetAddr, payload: &[u8]) {
    cx.reply(payload).unwrap();
}

fn client(rig: &Rig, at: &str) -> DatagramPeer {
    rig.world.bind_datagram(at.parse::<Address>().unwrap())
}

#[test]
fn datagrams_are_answered_one_by_one() {
    let mut rig = Rig::new();
    let local = bound(&mut rig, reply);
    let (one, two) = (client(&rig, "10.0.0.2:5000"), client(&rig, "10.0.0.3:5000"));
    one.send_to(b"1", &local);
    two.send_to(b"", &local);
    one.send_to(b"3", &local);
    rig.settle();
    assert_eq!(one.receive(), Some((b"1".to_vec(), local.clone())));
    assert_eq!(one.receive(), Some((b"3".to_vec(), local.clone())));
    assert_eq!(two.receive(), Some((b"".to_vec(), local)));
    let counters = rig.reactor.counters();
    assert_eq!((counters.datagrams_in, counters.datagrams_out), (3, 3));
}

#[test]
fn every_reply_goes_to_whoever_asked() {
    let mut rig = Rig::new();
    let local = bound(&mut rig, |cx, _, payload| {
        for _ in 0..3 {
            cx.reply(payload).unwrap();
        }
    });
    let peers = ["10.0.0.2:5000", "10.0.0.3:5000"].map(|at| client(&rig, at));
    peers[0].send_to(b"1", &local);
    peers[1].send_to(b"2", &local);
    rig.settle();
    for (peer, payload) in peers.iter().zip([b"1", b"2"]) {
        for _ in 0..3 {
            assert_eq!(peer.receive().unwrap().0, payload);
        }
        assert_eq!(peer.receive(), None);
    }
    assert_eq!(crate::ReplyTooLarge.to_string(), "the reply is larger than the request");
}

#[test]
fn what_comes_from_ones_own_address_is_dropped() {
    for bound_to in ["10.0.0.1:7", "0.0.0.0:7"] {
        let shown = Rc::new(Cell::new(0));
        let counted = shown.clone();
        let mut rig = Rig::new();
        let handler = move |cx: &mut DatagramContext<'_, u32>, _: &NetAddr, payload: &[u8]| {
            counted.set(counted.get() + 1);
            let me: std::net::SocketAddr = match bound_to {
                "0.0.0.0:7" => "127.0.0.1:7".parse().unwrap(),
                other => other.parse().unwrap(),
            };
            cx.send_to(&NetAddr::Inet(me), payload);
        };
        let options = DatagramOptions::default();
        let address = bound_to.parse().unwrap();
        let (_, local) = rig.reactor.bind_datagram(&address, &options, handler).unwrap();
        let peer = client(&rig, "10.0.0.2:7");
        let to = match bound_to {
            "0.0.0.0:7" => NetAddr::Inet("10.0.0.1:7".parse().unwrap()),
            _ => local,
        };
        peer.send_to(b"loop", &to);
        rig.settle();
        assert_eq!(shown.get(), 1, "{bound_to}");
        assert_eq!(rig.reactor.counters().datagrams_dropped, 1);
    }
}

#[test]
fn a_reply_larger_than_its_request_is_refused() {
    let mut rig = Rig::new();
    let local = bound(&mut rig, |cx, from, payload| {
        let larger = [payload, b"!"].concat();
        assert_eq!(cx.reply(&larger), Err(crate::ReplyTooLarge));
        cx.send_to(from, &larger);
    });
    let peer = client(&rig, "10.0.0.2:5000");
    peer.send_to(b"x", &local);
    rig.settle();
    assert_eq!(peer.receive().unwrap().0, b"x!", "unless it is asked for by name");
    assert_eq!(peer.receive(), None);
    assert_eq!(rig.reactor.counters().datagram_replies_refused, 1);
}

#[test]
fn who_is_not_allowed_is_not_shown() {
    let mut rig = Rig::new();
    let local = bound(&mut rig, reply);
    let (denied, other) = (client(&rig, "10.0.0.2:5000"), client(&rig, "10.0.0.3:5000"));
    let prefix = "10.0.0.2".parse().unwrap();
    rig.reactor.handle().set_access(crate::Access::allow_all().deny(prefix));
    denied.send_to(b"1", &local);
    other.send_to(b"2", &local);
    denied.send_to(b"3", &local);
    rig.settle();
    assert_eq!(denied.receive(), None);
    assert_eq!(other.receive().unwrap().0, b"2");
    let counters = rig.reactor.counters();
    assert_eq!((counters.datagrams_in, counters.datagrams_dropped), (1, 2));
}

#[test]
fn a_truncated_datagram_is_dropped_and_counted() {
    let mut rig = Rig::new();
    let path: Address = "unix:/run/log.sock".parse().unwrap();
    let shown = Rc::new(RefCell::new(Vec::new()));
    let noted = shown.clone();
    let handler = move |_: &mut DatagramContext<'_, u32>, _: &NetAddr, payload: &[u8]| {
        noted.borrow_mut().push(payload.len());
    };
    let (_, local) =
        rig.reactor.bind_datagram(&path, &DatagramOptions::default(), handler).unwrap();
    let peer = client(&rig, "unix:/run/client.sock");
    for len in [100, SLOT_BYTES_MAX + 1, SLOT_BYTES_MAX, 5] {
        peer.send_to(&vec![0; len], &local);
    }
    rig.settle();
    assert_eq!(*shown.borrow(), [100, SLOT_BYTES_MAX, 5]);
    assert_eq!(rig.reactor.counters().datagrams_dropped, 1);
}

#[test]
fn what_the_system_does_not_take_waits_in_order_up_to_the_limit() {
    let mut rig = Rig::with(|limits| limits.datagram_queue_bytes = 1000);
    let local = bound(&mut rig, reply);
    let peer = client(&rig, "10.0.0.2:5000");
    rig.world.fail_next(Call::Send, libc::EINTR);
    rig.world.fail_next(Call::Send, libc::EAGAIN);
    rig.world.fail_next(Call::Send, libc::EAGAIN);
    rig.world.fail_next(Call::Send, libc::EAGAIN);
    rig.world.fail_next(Call::Send, libc::EAGAIN);
    for byte in 0..4 {
        peer.send_to(&[byte; 400], &local);
    }
    rig.settle();
    let got: Vec<u8> = std::iter::from_fn(|| peer.receive()).map(|it| it.0[0]).collect();
    assert_eq!(got, [0, 1]);
    assert_eq!(rig.reactor.counters().datagrams_unsent, 2);
    peer.send_to(&[9; 400], &local);
    rig.settle();
    assert_eq!(peer.receive().unwrap().0, [9; 400]);
}

#[test]
fn errors_cost_one_datagram_and_never_the_socket() {
    let mut rig = Rig::new();
    let local = bound(&mut rig, reply);
    let peer = client(&rig, "10.0.0.2:5000");
    rig.settle();
    rig.world.fail_next(Call::Receive, libc::ECONNREFUSED);
    rig.world.fail_next(Call::Send, libc::EMSGSIZE);
    for payload in [b"1", b"2"] {
        peer.send_to(payload, &local);
    }
    rig.settle();
    assert_eq!(peer.receive().unwrap().0, b"2");
    assert_eq!(peer.receive(), None);
    let counters = rig.reactor.counters();
    assert_eq!((counters.datagram_errors, counters.datagrams_unsent), (1, 1));
}

#[test]
fn a_broken_socket_is_closed() {
    let mut rig = Rig::new();
    bound(&mut rig, reply);
    rig.world.fail_next(Call::Receive, libc::EBADF);
    rig.settle();
    let peer = client(&rig, "10.0.0.2:5000");
    peer.send_to(b"x", &NetAddr::Inet(AT.parse().unwrap()));
    rig.settle();
    assert_eq!(rig.world.open_sockets(), 0);
    assert_eq!(logged("broken"), 1);
}

#[test]
fn a_flood_of_datagrams_does_not_starve_connections() {
    let mut rig = Rig::with(|limits| limits.datagram_budget = 10);
    let other: Address = "10.0.0.1:8".parse().unwrap();
    let options = DatagramOptions::default();
    let (_, local) = rig.reactor.bind_datagram(&other, &options, reply).unwrap();
    rig.serve(echo);
    let calm = rig.connect();
    let flood = client(&rig, "10.0.0.2:5000");
    for _ in 0..100 {
        flood.send_to(b"x", &local);
    }
    calm.send(b"x");
    rig.turn();
    assert_eq!(calm.receive(), b"x");
    assert_eq!(std::iter::from_fn(|| flood.receive()).count(), 10);
    rig.settle();
    assert_eq!(std::iter::from_fn(|| flood.receive()).count(), 90);
}

#[test]
fn timers_messages_and_connections_are_at_hand() {
    struct Ticker(DatagramPeer);
    impl DatagramHandler<u32> for Ticker {
        fn on_start(&mut self, cx: &mut DatagramContext<'_, u32>) {
            assert!(cx.set_timer(1, ms(10)) && cx.set_timer(2, ms(10)));
            assert!(!cx.set_timer(3, ms(10)), "two are allowed");
            assert!(cx.cancel_timer(2));
        }
        fn on_datagram(&mut self, _: &mut DatagramContext<'_, u32>, _: &NetAddr, _: &[u8]) {}
        fn on_timer(&mut self, cx: &mut DatagramContext<'_, u32>, tag: u32) {
            assert_eq!(cx.reply(b""), Err(crate::ReplyTooLarge), "to whom?");
            let to = self.0.address().clone();
            cx.send_to(&to, &[tag as u8]);
            cx.set_timer(tag, ms(10));
        }
        fn on_message(&mut self, cx: &mut DatagramContext<'_, u32>, message: u32) {
            let to = self.0.address().clone();
            cx.send_to(&to, &[message as u8]);
        }
    }
    let mut rig = Rig::with(|limits| limits.timers = 2);
    let (mine, its) = (client(&rig, "10.0.0.2:5000"), client(&rig, "10.0.0.2:5001"));
    drop(its);
    let handler = Ticker(mine);
    let options = DatagramOptions::default();
    let (id, _) = rig.reactor.bind_datagram(&at(), &options, handler).unwrap();
    let sent = |rig: &Rig| rig.reactor.counters().datagrams_out;
    rig.pass_ms(35);
    assert_eq!(sent(&rig), 3);
    rig.reactor.handle().notify(0, id, 9).unwrap();
    rig.settle();
    assert_eq!(sent(&rig), 4);
}

/// Two that are one peer, as they have one address, and one beside them.
#[test]
fn a_peer_is_shown_no_more_of_a_turn_than_its_share() {
    let mut rig = Rig::with(|limits| limits.datagrams_per_peer = 3);
    let local = bound(&mut rig, reply);
    let (flood, more) = (client(&rig, "10.0.0.2:5000"), client(&rig, "10.0.0.2:5001"));
    let calm = client(&rig, "10.0.0.3:5000");
    let got = |peer: &DatagramPeer| std::iter::from_fn(|| peer.receive()).count();
    for turn in 1..=3 {
        for _ in 0..2 {
            flood.send_to(b"x", &local);
            more.send_to(b"x", &local);
        }
        calm.send_to(b"x", &local);
        flood.send_to(b"x", &local);
        rig.settle();
        assert_eq!((got(&flood), got(&more), got(&calm)), (2, 1, 1));
        let counters = rig.reactor.counters();
        assert_eq!((counters.datagrams_in, counters.datagrams_over_share), (4 * turn, 2 * turn));
        assert_eq!(counters.datagrams_dropped, 0);
    }
}

/// What is over counts for the turn: or a flood of it would keep all others waiting.
#[test]
fn what_is_over_a_share_takes_of_the_budget() {
    let mut rig = Rig::with(|limits| {
        (limits.datagrams_per_peer, limits.datagram_budget) = (1, 10);
    });
    let local = bound(&mut rig, reply);
    let flood = client(&rig, "10.0.0.2:5000");
    for _ in 0..25 {
        flood.send_to(b"x", &local);
    }
    rig.turn();
    let counts = |rig: &Rig| {
        let counters = rig.reactor.counters();
        (counters.datagrams_in, counters.datagrams_over_share)
    };
    assert_eq!(counts(&rig), (1, 9));
    rig.settle();
    assert_eq!(counts(&rig), (3, 22), "three turns");
}
