//! Every call of the platform that can fail, failing once: each scenario is run without a fault,
//! its calls are counted, and it is run again for every one of them and every error that fits.
//!
//! Whatever fails, the loop goes on, at most one client is worse off, nothing is left behind, and
//! the next client is served.

use super::super::endpoint::Kind;
use super::*;
use crate::handler::DatagramContext;
use crate::hub::limits::WhenFull;
use crate::protocols::LineEcho;

/// Something that goes through a reactor's whole life. Answers how many were not served.
type Scenario = fn(&mut Rig) -> usize;

const SCENARIOS: [(&str, Scenario); 8] = [
    ("echo", echoes),
    ("lines cut anywhere", lines),
    ("answers larger than what the system takes", large_answers),
    ("a server that ends first", ends_first),
    ("more clients than places", full_house),
    ("outgoing connections", outgoing),
    ("datagrams", datagrams),
    ("a shutdown amid everything", shutdown),
];

/// What each kind of call may answer (their pages in section 2 of the manual).
fn errors(call: Call) -> &'static [i32] {
    use libc::*;
    match call {
        Call::Listen | Call::Bind => &[EADDRINUSE, EADDRNOTAVAIL, EACCES, EMFILE, ENFILE, ENOBUFS],
        Call::Connect => &[EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, EMFILE, ENOMEM, EACCES],
        Call::Register => &[ENOSPC, ENOMEM],
        Call::Accept => {
            &[EINTR, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPROTO, EPERM, ENETDOWN]
        }
        Call::Connected => &[EINTR, EAGAIN, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET],
        Call::Read => &[EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM, EIO],
        Call::Write => &[EINTR, EAGAIN, EPIPE, ECONNRESET, ETIMEDOUT, ENOBUFS, ENOMEM, EIO],
        Call::Finish => &[ENOTCONN, ECONNRESET, EIO],
        Call::Receive => &[EINTR, EAGAIN, ECONNREFUSED, EHOSTUNREACH, ENOMEM, ENOBUFS],
        Call::Send => &[EINTR, EAGAIN, EMSGSIZE, ECONNREFUSED, ENOBUFS, EPERM, ENETUNREACH],
        Call::LookUp => &[EAGAIN, ENOMEM],
    }
}

/// Whether a failure is nobody's loss: it is to be repeated, waited out, or was about nobody.
fn is_harmless(call: Call, errno: i32) -> bool {
    let is_passing = matches!(errno, libc::EINTR | libc::EAGAIN);
    // Scenarios try again where they are told that they cannot listen.
    matches!(call, Call::Listen | Call::Bind | Call::Accept | Call::Receive)
        || (is_passing && call != Call::LookUp)
}

const CALLS: [Call; 12] = [
    Call::Listen,
    Call::Bind,
    Call::Connect,
    Call::Register,
    Call::Accept,
    Call::Connected,
    Call::Read,
    Call::Write,
    Call::Finish,
    Call::Receive,
    Call::Send,
    Call::LookUp,
];

#[test]
fn whichever_call_fails_one_is_worse_off_at_most_and_nothing_is_left() {
    let mut called = [0; CALLS.len()];
    for (name, scenario) in SCENARIOS {
        let mut rig = rig();
        assert_eq!(scenario(&mut rig), 0, "{name}: without a fault all are served");
        let counts = CALLS.map(|call| rig.world.calls(call));
        settle_and_serve_another(rig);
        for (index, call) in CALLS.into_iter().enumerate() {
            called[index] += counts[index];
            for nth in 1..=counts[index] {
                for &errno in errors(call) {
                    let run = || run(scenario, call, nth, errno);
                    let outcome = std::panic::catch_unwind(run);
                    assert!(outcome.is_ok(), "{name}: {call:?} {nth} answers {errno}");
                }
            }
        }
    }
    assert!(called.iter().all(|&count| count > 0), "not all are reached: {CALLS:?}, {called:?}");
}

fn run(scenario: Scenario, call: Call, nth: u64, errno: i32) {
    let mut rig = rig();
    rig.world.fail_nth(call, nth, errno);
    let lost = scenario(&mut rig);
    assert!(lost <= usize::from(!is_harmless(call, errno)), "{lost} were not served");
    settle_and_serve_another(rig);
}

fn rig() -> Rig {
    Rig::with(|limits| limits.connections = 4)
}

/// What has to be so after each run.
fn settle_and_serve_another(mut rig: Rig) {
    rig.reactor.restart();
    rig.pass(secs(100)); // lingering and flushing have ended
    rig.reactor.check();
    rig.assert_empty();
    let mut sides = rig.reactor.sides.iter();
    assert!(sides.all(|side| side.source.is_none() && side.inbound.is_none()), "somebody is left");
    assert_eq!(rig.reactor.counters().panics, 0);
    let is_served = rig.reactor.endpoints.iter().any(|it| matches!(it.1.kind, Kind::Listener(_)));
    if !is_served {
        listen(&mut rig, echo);
    }
    let peer = rig.connect();
    rig.send(&peer, b"fresh\n");
    assert!(rig.drain(&peer) == b"fresh\n", "the next client is not served");
    peer.finish();
    rig.settle();
    assert!(ended_well(&peer));
    drop(peer);
    rig.assert_empty();
    assert_eq!(rig.world.stalled_waits(), 0);
}

/// As someone who embeds it: where it cannot listen now, it tries once more.
fn listen(
    rig: &mut Rig,
    act: impl Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault> + 'static,
) {
    let script = script(act);
    let attempt = |rig: &mut Rig| {
        let (log, script) = (rig.log.clone(), script.clone());
        rig.reactor.listen(&at(), move |_: &NetAddr| log.handler(&script))
    };
    if attempt(rig).is_err() {
        attempt(rig).unwrap();
    }
}

/// How many of these do not have this for their answer, and an end in good order.
fn unserved(peers: &[Peer], answer: &[u8]) -> usize {
    let is_served = |peer: &&Peer| peer.receive() == answer && ended_well(peer);
    peers.len() - peers.iter().filter(is_served).count()
}

fn connect(rig: &mut Rig, count: usize) -> Vec<Peer> {
    let peers = (0..count).map(|_| rig.world.connect(at())).collect();
    rig.pass(secs(1)); // who cannot be accepted now is then
    peers
}

fn echoes(rig: &mut Rig) -> usize {
    listen(rig, echo);
    let peers = connect(rig, 3);
    peers.iter().for_each(|peer| assert!(peer.send(b"hello") <= 5));
    rig.settle();
    peers.iter().for_each(|peer| assert!(peer.send(b", again") <= 7));
    peers.iter().for_each(Peer::finish);
    rig.settle();
    unserved(&peers, b"hello, again")
}

fn lines(rig: &mut Rig) -> usize {
    let attempt = |rig: &mut Rig| rig.reactor.listen(&at(), |_: &NetAddr| LineEcho::framed());
    if attempt(rig).is_err() {
        attempt(rig).unwrap();
    }
    let peers = connect(rig, 2);
    for piece in [&b"one\ntw"[..], b"o\nthree\n", b"fo", b"ur\n"] {
        peers.iter().for_each(|peer| assert!(peer.send(piece) <= piece.len()));
        rig.settle();
    }
    peers.iter().for_each(Peer::finish);
    rig.settle();
    unserved(&peers, b"one\ntwo\nthree\nfour\n")
}

fn large_answers(rig: &mut Rig) -> usize {
    const LARGE: usize = 20_000;
    rig.world.set_capacity(3000);
    listen(rig, |cx, event| {
        if *event == Event::Bytes(b"?") {
            cx.write(&[7; LARGE]);
            return Ok(1);
        }
        echo(cx, event)
    });
    let peers = connect(rig, 2);
    peers.iter().for_each(|peer| assert!(peer.send(b"?") <= 1));
    let mut received = vec![0; peers.len()];
    for _ in 0..2 * LARGE / 3000 {
        rig.settle();
        for (peer, received) in peers.iter().zip(&mut received) {
            *received += peer.receive().iter().filter(|byte| **byte == 7).count();
        }
    }
    peers.iter().for_each(Peer::finish);
    rig.settle();
    let is_served = |(peer, count): (&Peer, &usize)| *count == LARGE && ended_well(peer);
    peers.len() - peers.iter().zip(&received).filter(|it| is_served(*it)).count()
}

/// It lingers until its clients have heard that, although they go on sending.
fn ends_first(rig: &mut Rig) -> usize {
    listen(rig, |cx, event| {
        if let Event::Bytes(bytes) = event {
            cx.write(bytes);
            if bytes.ends_with(b"bye") {
                cx.close();
            }
            return Ok(bytes.len());
        }
        plain(cx, event)
    });
    let peers = connect(rig, 2);
    peers.iter().for_each(|peer| assert!(peer.send(b"good bye") <= 8));
    rig.settle();
    peers.iter().for_each(|peer| assert!(peer.send(b" and more") <= 9));
    rig.settle();
    peers.iter().for_each(Peer::finish);
    rig.settle();
    unserved(&peers, b"good bye")
}

/// Some wait in the queue; then the others are refused, which is what they are to be.
fn full_house(rig: &mut Rig) -> usize {
    listen(rig, echo);
    let inside = connect(rig, 4);
    let waiting = connect(rig, 2);
    inside.iter().chain(&waiting).for_each(|peer| assert!(peer.send(b"hello") <= 5));
    rig.settle();
    inside.iter().for_each(Peer::finish);
    rig.pass(secs(6)); // one that is lost may linger
    waiting.iter().for_each(Peer::finish);
    rig.settle();
    let lost = unserved(&inside, b"hello") + unserved(&waiting, b"hello");
    drop((inside, waiting));
    rig.settle();

    rig.reactor.desk.hub.limits.when_full = WhenFull::Refuse;
    let inside = connect(rig, 4);
    let refused = connect(rig, 1);
    inside.iter().for_each(|peer| assert!(peer.send(b"hello") <= 5));
    inside.iter().for_each(Peer::finish);
    rig.settle();
    rig.reactor.desk.hub.limits.when_full = WhenFull::Wait;
    let lost_then = unserved(&inside, b"hello");
    // Where one inside was lost, there was a place.
    assert!(refused[0].was_reset() || lost_then > 0);
    lost + lost_then
}

fn outgoing(rig: &mut Rig) -> usize {
    let far: Address = "10.0.0.9:9".parse().unwrap();
    let listener = rig.world.listen(far.clone());
    rig.world.name("db.example", vec!["10.0.0.9:9".parse().unwrap()]);
    let ask = |cx: &mut Context<'_, u32>, event: &Event<'_>| {
        if *event == Event::Open {
            cx.write(b"question");
            cx.finish();
        }
        plain(cx, event)
    };
    let name: Address = "db.example:9".parse().unwrap();
    for to in [far.clone(), name, far] {
        rig.dial(to, ask);
        rig.settle();
    }
    rig.pass(secs(20)); // beyond the deadline of connecting
    while let Some(peer) = listener.accept() {
        assert!(peer.receive().len() <= 8);
        peer.send(b"answer");
        peer.finish();
        rig.settle();
    }
    let served = ["open", "bytes answer", "eof", "closed"];
    (0..3).filter(|number| rig.log.of(*number) != served).count()
}

fn datagrams(rig: &mut Rig) -> usize {
    let reply = |cx: &mut DatagramContext<'_, u32>, _: &NetAddr, payload: &[u8]| {
        let _ = cx.reply(payload); // a queue that is full is one more way to be lost
    };
    let attempt =
        |rig: &mut Rig| rig.reactor.bind_datagram(&at(), &DatagramOptions::default(), reply);
    let (id, local) = match attempt(rig) {
        Ok(bound) => bound,
        Err(_) => attempt(rig).unwrap(),
    };
    let peer = rig.world.bind_datagram("10.0.0.2:5000".parse::<Address>().unwrap());
    let mut lost = 0;
    for number in 0..5_u8 {
        peer.send_to(&[number], &local);
        peer.send_to(&[number + 100], &local);
        rig.settle();
        let answers: Vec<_> = std::iter::from_fn(|| peer.receive()).map(|it| it.0).collect();
        let is_lost = |sent: &u8| !answers.contains(&vec![*sent]);
        lost += [number, number + 100].iter().filter(|sent| is_lost(sent)).count();
    }
    rig.reactor.close_endpoint(id);
    rig.settle();
    lost
}

fn shutdown(rig: &mut Rig) -> usize {
    listen(rig, echo);
    let peers = connect(rig, 2);
    peers.iter().for_each(|peer| assert!(peer.send(b"taken") <= 5));
    rig.settle();
    let late = rig.world.connect(at());
    rig.reactor.shutdown(secs(3));
    for _ in 0..100 {
        rig.turn();
    }
    peers.iter().for_each(Peer::finish);
    late.finish();
    rig.reactor.run().unwrap();
    // Who has come so late may be accepted, or find that nobody is there.
    unserved(&peers, b"taken")
}
