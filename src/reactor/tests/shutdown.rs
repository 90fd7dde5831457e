//! An orderly end of everything.

use super::*;
use crate::sim::DatagramPeer;
use crate::{DatagramContext, DatagramHandler};

fn report(finished: u64, aborted: u64, undelivered_bytes: u64) -> Report {
    Report { finished, aborted, undelivered_bytes }
}

#[test]
fn a_shutdown_tells_everybody_flushes_ends_and_stops() {
    let (mut rig, first) = Rig::serving(|cx, event| {
        if *event == Event::Shutdown {
            cx.write(b"goodbye");
        }
        plain(cx, event)
    });
    let second = rig.connect();
    rig.reactor.shutdown(secs(10));
    rig.settle();
    assert!(rig.connect().was_reset(), "nobody listens");
    for peer in [&first, &second] {
        assert_eq!(peer.receive(), b"goodbye");
        assert!(ended_well(peer));
    }
    assert!(!rig.turn().is_stopped, "they linger");
    first.finish();
    second.finish();
    rig.settle();
    assert!(rig.turn().is_stopped);
    assert_eq!(rig.log.of(0), ["open", "shutdown", "closed"]);
    assert_eq!(rig.reactor.report(), report(2, 0, 0));
    rig.assert_empty();
}

#[test]
fn who_has_connected_by_then_is_accepted_once_more_and_told_once() {
    let mut rig = Rig::new();
    rig.serve(|cx, event| {
        match event {
            Event::Open => cx.write(b"hello"),
            Event::Shutdown => cx.write(b" and goodbye"),
            _ => {}
        }
        plain(cx, event)
    });
    rig.settle();
    let peers: Vec<Peer> = (0..3).map(|_| rig.world.connect(at())).collect();
    rig.reactor.shutdown(secs(10));
    rig.settle();
    for (number, peer) in peers.iter().enumerate() {
        assert_eq!(peer.receive(), b"hello and goodbye");
        assert!(ended_well(peer));
        peer.finish();
        rig.settle();
        assert_eq!(rig.log.of(number), ["open", "shutdown", "closed"]);
    }
    assert!(rig.turn().is_stopped);
}

/// Nothing is left to be waited for, so it ends at once.
#[test]
fn who_had_ended_its_direction_before_is_in_the_report_as_well() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Eof(_) => Ok(0),
        _ => plain(cx, event),
    });
    peer.finish();
    rig.settle();
    rig.reactor.shutdown(secs(10));
    rig.settle();
    assert!(ended_well(&peer));
    assert_eq!(rig.log.of(0), ["open", "eof", "shutdown", "closed"]);
    assert_eq!(rig.reactor.report(), report(1, 0, 0));
    rig.assert_empty();
}

/// They are connected, and no more will come.
#[test]
fn who_has_connected_by_then_does_not_wait_for_the_rate_of_accepting() {
    let mut rig = Rig::with(|limits| limits.accepts_per_second = 10);
    rig.serve(echo);
    let peers: Vec<Peer> = (0..50).map(|_| rig.world.connect(at())).collect();
    rig.settle();
    assert!(rig.log.count() < 5);
    rig.reactor.shutdown(secs(10));
    rig.settle();
    assert_eq!(rig.log.count(), 50);
    assert!(peers.iter().all(ended_well));
}

#[test]
fn a_handler_that_stays_is_told_of_the_shutdown_once() {
    let mut rig = Rig::new();
    rig.serve(|cx, event| match event {
        Event::Shutdown => Ok(0),
        _ => plain(cx, event),
    });
    rig.settle();
    let _queued = rig.world.connect(at());
    rig.reactor.shutdown(secs(10));
    rig.settle();
    rig.reactor.shutdown(secs(5));
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "shutdown"]);
    rig.pass(secs(5));
    assert_eq!(rig.log.of(0)[2..], ["shut down before it had finished"]);
    assert_eq!(rig.reactor.report(), report(0, 1, 0));
    assert!(rig.turn().is_stopped);
}

#[test]
fn what_was_already_read_is_offered_until_it_is_taken_or_declined() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) => {
            cx.pause();
            cx.write(&bytes[..1]);
            Ok(if bytes == b"declined" { 0 } else { bytes.len().min(3) })
        }
        _ => plain(cx, event),
    });
    rig.send(&peer, b"onetwodeclined");
    assert_eq!(rig.log.of(0), ["open", "bytes onetwodeclined"]);
    rig.send(&peer, b"never read");
    rig.reactor.shutdown(secs(10));
    rig.settle();
    let seen = ["open", "bytes onetwodeclined", "bytes twodeclined", "bytes declined", "shutdown"];
    assert_eq!(rig.log.of(0)[..5], seen);
    assert_eq!(rig.drain(&peer), b"otd");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0)[5..], ["closed"]);
    rig.assert_empty();
}

#[test]
fn no_more_is_read_once_shutting_down() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Shutdown => Ok(0),
        Event::Timer(_) => {
            cx.close();
            Ok(0)
        }
        Event::Message(_) => {
            cx.pause();
            cx.resume();
            assert!(!cx.wants_input());
            cx.set_timer(1, ms(10));
            Ok(0)
        }
        _ => plain(cx, event),
    });
    let id = rig.log.id(0);
    rig.reactor.shutdown(secs(60));
    rig.settle();
    rig.send(&peer, b"late");
    peer.finish();
    rig.reactor.handle().send(id, 1).unwrap();
    rig.pass_ms(20);
    assert_eq!(rig.log.of(0), ["open", "shutdown", "message(1)", "timer(1)", "closed"]);
    assert_eq!(rig.reactor.report(), report(1, 0, 0));
}

#[test]
fn what_is_not_delivered_when_the_grace_runs_out_is_reported() {
    let mut rig = Rig::new();
    rig.serve(echo);
    let (slow, quick, lingering) = (rig.connect(), rig.connect(), rig.connect());
    let id = rig.log.id(0);
    rig.reactor.desk().write_to(id, &[0; 100 * 1024]).unwrap();
    rig.send(&quick, b"x");
    rig.reactor.shutdown(secs(3));
    rig.settle();
    quick.finish();
    rig.pass_ms(2_900);
    assert_eq!(rig.log.of(0), ["open", "shutdown"]);
    assert_eq!(rig.reactor.report(), report(1, 0, 0));
    rig.pass_ms(200);
    assert_eq!(rig.log.of(0)[2..], ["shut down before it had finished"]);
    assert_eq!(rig.log.of(2), ["open", "shutdown", "closed"], "all of its bytes were taken");
    assert_eq!(rig.reactor.report(), report(2, 1, 36 * 1024));
    assert!(slow.was_reset());
    assert!(ended_well(&lingering));
    assert!(rig.turn().is_stopped);
    rig.assert_empty();
}

#[test]
fn run_waits_for_the_grace_and_no_longer() {
    let (mut rig, _peer) = Rig::serving(|cx, event| match event {
        Event::Shutdown => Ok(0),
        _ => plain(cx, event),
    });
    let start = rig.world.now();
    rig.reactor.shutdown(secs(7));
    assert_eq!(rig.reactor.run().unwrap(), report(0, 1, 0));
    assert_eq!(rig.world.now().since(start), secs(7));
    assert_eq!(rig.world.stalled_waits(), 0);
}

#[test]
fn a_reactor_that_has_stopped_serves_again() {
    let dropped = Rc::new(());
    let mut rig = Rig::new();
    let (log, held, echoing) = (rig.log.clone(), dropped.clone(), script(echo));
    let service = move |_: &NetAddr| {
        let _ = &held;
        log.handler(&echoing)
    };
    rig.reactor.listen(&at(), service).unwrap();
    rig.reactor.shutdown(secs(1));
    rig.reactor.run().unwrap();
    assert_eq!(Rc::strong_count(&dropped), 1, "its service is let go");
    rig.serve(echo);
    let peer = rig.world.connect(at());
    peer.send(b"x");
    peer.finish();
    rig.reactor.restart();
    rig.settle();
    assert_eq!(peer.receive(), b"x");
    rig.reactor.shutdown(secs(1));
    rig.reactor.run().unwrap();
    rig.assert_empty();
}

#[test]
fn what_connects_meanwhile_ends_with_the_shutdown_and_nothing_new_begins() {
    let mut rig = Rig::new();
    rig.world.hold_connects(elsewhere());
    rig.dial(elsewhere(), plain);
    rig.settle();
    rig.serve(|cx, event| {
        if *event == Event::Shutdown {
            assert_eq!(cx.connect(elsewhere(), Echo), Err(AtLimit), "nothing new begins");
        }
        plain(cx, event)
    });
    let peer = rig.connect();
    rig.reactor.shutdown(secs(60));
    rig.settle();
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["shut down before it had finished"]);
    assert!(rig.turn().is_stopped);
    rig.assert_empty();
}

#[test]
fn a_datagram_handler_says_goodbye() {
    struct Polite(NetAddr);
    impl DatagramHandler<u32> for Polite {
        fn on_datagram(&mut self, _: &mut DatagramContext<'_, u32>, _: &NetAddr, _: &[u8]) {}
        fn on_shutdown(&mut self, cx: &mut DatagramContext<'_, u32>) {
            cx.send_to(&self.0.clone(), b"goodbye");
        }
    }
    let mut rig = Rig::new();
    let peer: DatagramPeer = rig.world.bind_datagram("10.0.0.2:5000".parse::<Address>().unwrap());
    let handler = Polite(peer.address().clone());
    rig.reactor.bind_datagram(&at(), &Default::default(), handler).unwrap();
    rig.reactor.shutdown(secs(1));
    rig.reactor.run().unwrap();
    assert_eq!(peer.receive().unwrap().0, b"goodbye");
    assert_eq!(rig.world.open_sockets(), 0);
}

#[test]
fn a_listener_that_rests_does_not_keep_a_shutdown_busy() {
    let (mut rig, _peer) = Rig::serving(|cx, event| match event {
        Event::Shutdown => Ok(0),
        _ => plain(cx, event),
    });
    rig.world.fail_next(Call::Accept, libc::EMFILE);
    let _second = rig.connect();
    rig.world.fail_next(Call::Accept, libc::EMFILE);
    rig.reactor.shutdown(secs(10));
    rig.settle();
    let waits = rig.world.waits();
    rig.reactor.run().unwrap();
    assert!(rig.world.waits() - waits < 5);
}

#[test]
fn a_shutdown_arrives_though_the_mailbox_is_full() {
    let mut rig = Rig::with(|limits| limits.mailbox = 1);
    rig.serve(plain);
    let _peer = rig.connect();
    let id = rig.log.id(0);
    rig.reactor.handle().send(id, 1).unwrap();
    rig.reactor.shutdown(Duration::ZERO);
    rig.settle();
    assert!(rig.turn().is_stopped);
    assert_eq!(rig.log.of(0).last().unwrap(), "shut down before it had finished");
}

#[test]
fn answers_to_what_was_read_wait_for_a_slow_reader_rather_than_overflow() {
    // Each request is answered by more than the high mark; many are left untaken.
    let mut rig = Rig::with(|limits| {
        limits.outbox_low_bytes = 100;
        limits.outbox_high_bytes = 1000;
        limits.outbox_max_bytes = 5000;
    });
    rig.world.set_capacity(1000);
    rig.serve(|cx, event| match event {
        Event::Bytes(bytes) => {
            let mut taken = 0;
            while taken < bytes.len() && cx.wants_input() {
                cx.write(&[bytes[taken]; 1001]);
                taken += 1;
            }
            Ok(taken)
        }
        _ => plain(cx, event),
    });
    let peer = rig.connect();
    peer.send(b"abcdefghijklmnop");
    rig.settle();
    rig.reactor.shutdown(secs(60));
    let all = rig.drain(&peer);
    peer.finish();
    rig.settle();
    let wanted: Vec<u8> = (b'a'..=b'p').flat_map(|byte| [byte; 1001]).collect();
    assert_eq!(all.len(), wanted.len());
    assert_eq!(all, wanted);
    assert_eq!(rig.log.of(0).last().unwrap(), "closed");
    assert_eq!(rig.reactor.report(), report(1, 0, 0));
}

/// Connects again at its end, as a client does that is to stay connected.
struct Faithful;

impl StreamHandler<u32> for Faithful {
    fn on_bytes(&mut self, _: &mut Context<'_, u32>, input: &[u8]) -> Result<usize, Fault> {
        Ok(input.len())
    }

    fn on_close(&mut self, cx: &mut Context<'_, u32>, _: &CloseReason) {
        let _ = cx.connect(elsewhere(), Faithful);
    }
}

fn elsewhere() -> Address {
    "10.0.0.9:9".parse().unwrap()
}

#[test]
fn a_handler_that_connects_again_at_its_end_does_not_keep_a_shutdown_from_ending() {
    let mut rig = Rig::new();
    let listener = rig.world.listen(elsewhere());
    rig.reactor.connect(elsewhere(), Faithful).unwrap();
    for _ in 0..3 {
        rig.settle();
        drop(listener.accept().expect("it has come again"));
    }
    rig.settle();
    rig.reactor.shutdown(secs(1));
    for _ in 0..10 {
        rig.turn();
    }
    listener.accept().expect("the last").finish();
    rig.settle();
    assert!(rig.turn().is_stopped);
    rig.assert_empty();
    rig.reactor.connect(elsewhere(), Faithful).expect("before it runs again");
}

#[test]
fn what_is_asked_for_from_elsewhere_meanwhile_ends_at_once() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Shutdown => Ok(0), // stays
        _ => plain(cx, event),
    });
    rig.reactor.shutdown(secs(10));
    rig.settle();
    rig.reactor.handle().connect(0, elsewhere(), Echo).unwrap();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    rig.reactor.handle().adopt_listener(0, socket, |_: &NetAddr| Echo).unwrap();
    rig.settle();
    assert_eq!(rig.reactor.report().aborted, 1, "whoever asked for it is told");
    assert_eq!(logged("shutting down, a listener that was handed over is closed"), 1);
    assert_eq!(rig.reactor.connection_count(), 1);
    drop(peer);
}

// Winding down, before a shutdown.

#[test]
fn winding_down_lets_connections_go_on_and_stops_after_the_last() {
    let (mut rig, peer) = Rig::serving(echo);
    let _other = rig.connect();
    rig.reactor.handle().wind_down(secs(100), secs(5));
    rig.settle();
    assert!(rig.connect().was_reset(), "nobody listens any more");
    rig.pass(secs(50));
    rig.send(&peer, b"still there");
    assert_eq!(peer.receive(), b"still there");
    assert_eq!(rig.log.of(0), ["open", "bytes still there"], "nobody is told to go");
    drop(_other);
    peer.finish();
    let report = rig.reactor.run().unwrap();
    assert_eq!((report.finished, report.aborted), (0, 0), "they ended before the shutdown");
    assert!(ended_well(&peer));
    assert_eq!(rig.world.open_sockets(), 0);
}

#[test]
fn winding_down_takes_no_more_sockets() {
    let (mut rig, peer) = Rig::serving(echo);
    rig.reactor.handle().wind_down(secs(100), secs(5));
    rig.settle();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    rig.reactor.handle().adopt_listener(0, socket, |_: &NetAddr| Echo).unwrap();
    rig.settle();
    assert_eq!(logged("a listener that was handed over is closed"), 1);
    let refused = rig.reactor.listen(&elsewhere(), |_: &NetAddr| Echo).unwrap_err();
    assert!(refused.to_string().contains("shutting down"), "{refused}");
    let options = DatagramOptions::default();
    let handler = |_: &mut DatagramContext<'_, u32>, _: &NetAddr, _: &[u8]| {};
    assert!(rig.reactor.bind_datagram(&elsewhere(), &options, handler).is_err());
    peer.finish();
    rig.reactor.run().unwrap();
    assert_eq!(rig.world.open_sockets(), 0);
    rig.reactor.listen(&elsewhere(), |_: &NetAddr| Echo).unwrap(); // for its next run
}

#[test]
fn winding_down_with_nobody_there_is_over_at_once() {
    let mut rig = Rig::new();
    rig.serve(echo);
    rig.reactor.handle().wind_down(secs(100), secs(5));
    let before = rig.world.now();
    rig.reactor.run().unwrap();
    assert_eq!(rig.world.now(), before);
}

#[test]
fn a_shutdown_follows_when_patience_ends_or_when_it_is_asked_for() {
    for is_asked in [false, true] {
        let (mut rig, peer) = Rig::serving(echo);
        rig.reactor.handle().wind_down(secs(100), secs(5));
        rig.reactor.handle().wind_down(secs(200), secs(50)); // cannot lengthen it
        rig.pass(secs(99));
        assert_eq!(rig.log.of(0), ["open"]);
        if is_asked {
            rig.reactor.handle().shutdown(secs(5));
            rig.settle();
        } else {
            rig.pass(secs(2));
        }
        assert_eq!(rig.log.of(0), ["open", "shutdown"]);
        drop(peer);
        assert_eq!(rig.reactor.run().unwrap().finished, 1);
        // A reactor that stopped forgets it.
        rig.reactor.restart();
        rig.serve(echo);
        let peer = rig.connect();
        rig.pass(secs(10));
        rig.send(&peer, b"again");
        assert_eq!(peer.receive(), b"again");
    }
}

#[test]
fn asking_again_while_it_winds_down_can_only_shorten_the_times() {
    let (mut rig, _peer) = Rig::serving(|_, event| match event {
        Event::Bytes(bytes) => Ok(bytes.len()),
        _ => Ok(0), // it has no mind to go
    });
    rig.reactor.handle().wind_down(secs(100), secs(5));
    rig.settle();
    rig.reactor.handle().wind_down(secs(200), secs(50));
    rig.pass(secs(101));
    assert_eq!(rig.log.of(0), ["open", "shutdown"]);
    rig.pass(secs(5));
    assert_eq!(rig.reactor.connection_count(), 0);
}

#[test]
fn a_reactor_that_has_stopped_keeps_what_it_is_given_for_its_next_run() {
    let mut rig = Rig::new();
    rig.reactor.handle().shutdown(secs(5));
    rig.reactor.run().unwrap();
    let id = rig.serve(echo);
    rig.turn();
    assert!(rig.reactor.endpoint_addr(id).is_some());
}
