//! Waiting: what ends it, the clock, tokens, and both ways that there are.

use super::*;

#[test]
fn waker_ends_a_wait_and_makes_no_edge() {
    let mut os = os();
    let waker = os.waker();
    let other = thread::spawn(move || waker.wake());
    assert_eq!(edges_within(&mut os, None), []);
    other.join().unwrap();
    os.waker().wake();
    os.waker().wake();
    assert_eq!(edges_within(&mut os, None), []);
}

#[test]
fn busy_polling_ends_with_a_waker_an_edge_or_the_timeout() {
    let mut os = os();
    os.set_busy_poll(Duration::from_millis(1));
    let slept = edges_within(&mut os, Some(Duration::from_millis(2)));
    assert_eq!(slept, [], "it slept, and nothing came");
    os.set_busy_poll(Duration::MAX);
    assert_eq!(edges_within(&mut os, Some(Duration::from_millis(1))), []);
    assert_eq!(edges_within(&mut os, Some(Duration::ZERO)), []);
    os.waker().wake();
    assert_eq!(edges_within(&mut os, None), []);
    let mut socket = os.bind_datagram(&any(), &DatagramOptions::default()).unwrap();
    os.register_datagram(&mut socket, SEVEN).unwrap();
    let to = socket.local_addr().unwrap();
    os.send(&mut socket, b"to myself", &to).unwrap();
    assert_eq!(edges_within(&mut os, None)[0].token, SEVEN);
}

#[test]
fn look_up_ends_a_wait() {
    let mut os = os();
    let id = ConnId::new(0, 1, 2);
    assert!(os.next_look_up().is_none());
    os.look_up(id, "localhost", 80).unwrap();
    let (found_id, found) = loop {
        if let Some(answer) = os.next_look_up() {
            break answer;
        }
        os.wait(Timeout::NEVER).unwrap();
    };
    assert_eq!(found_id, id);
    assert!(found.unwrap().iter().all(|found| found.ip().is_loopback() && found.port() == 80));
    assert!(os.next_look_up().is_none());
}

#[test]
fn clock_starts_at_zero_and_does_not_run_backwards() {
    let os = os();
    let first = os.now();
    assert!(first < Time::ZERO + Duration::from_secs(20));
    assert!(os.now() >= first);
}

#[test]
fn wait_without_news_ends_at_its_timeout() {
    let mut os = os();
    let before = os.now();
    assert_eq!(edges_within(&mut os, Some(Duration::from_millis(2))), []);
    assert!(os.now() - before >= Duration::from_millis(2));
}

#[test]
fn tokens_survive_being_packed() {
    for token in [
        Token::Connection(0),
        Token::Connection(i32::MAX as u32 - 1),
        Token::Endpoint(0),
        Token::Endpoint(i32::MAX as u32 - 1),
    ] {
        assert_eq!(unpack(pack(token)), token);
        assert_ne!(pack(token), WAKER);
    }
    assert_eq!(unpack(WAKER), Token::NOBODY);
}

/// The way to wait that other systems have, beside Linux's own.
#[cfg(target_os = "linux")]
#[path = "../events.rs"]
mod by_mio;

#[cfg(target_os = "linux")]
#[test]
fn both_ways_to_wait_tell_the_same() {
    type Step = fn(&mut TcpStream);
    let steps: [(&str, Step); 6] = [
        ("nothing", |_| {}),
        // Once it has ended, some of these cannot be done.
        ("data", |theirs| drop(theirs.write_all(b"data"))),
        ("an end", |theirs| drop(theirs.shutdown(Shutdown::Write))),
        ("urgent data", |theirs| drop(SockRef::from(&*theirs).send_out_of_band(b"!"))),
        ("both ends", |theirs| drop(theirs.shutdown(Shutdown::Both))),
        ("a reset", |theirs| {
            SockRef::from(&*theirs).set_linger(Some(Duration::ZERO)).unwrap(); // comes with the close
        }),
    ];
    for first in &steps {
        for second in &steps {
            for is_finished in [false, true] {
                let listener = TcpListener::bind(ANY).unwrap();
                let mut theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (ours, _) = listener.accept().unwrap();
                if is_finished {
                    ours.shutdown(Shutdown::Write).unwrap();
                }
                first.1(&mut theirs);
                second.1(&mut theirs);
                if second.0 == "a reset" {
                    drop(theirs);
                }
                let (mut poll, mut events) = (Poll::new().unwrap(), Events::new());
                events::register(&poll, ours.as_fd(), pack(SEVEN), TCP).unwrap();
                events.poll(&mut poll, PATIENCE.into()).unwrap();
                let direct = (events.token(0), events.ready(0));
                assert_eq!(events.len(), 1);
                events.clear();
                assert_eq!(events.len(), 0);
                let (mut poll, mut events) = (Poll::new().unwrap(), by_mio::Events::new());
                by_mio::register(&poll, ours.as_fd(), pack(SEVEN), TCP).unwrap();
                events.poll(&mut poll, PATIENCE.into()).unwrap();
                let what = format!("{}, {}, finished: {is_finished}", first.0, second.0);
                assert_eq!(events.len(), 1, "{what}");
                assert_eq!(direct, (events.token(0), events.ready(0)), "{what}");
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn both_ways_to_register_ask_for_the_same() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let asked = |register: fn(&Poll, BorrowedFd<'_>, mio::Token, Interest) -> io::Result<()>| {
        [TCP, BOTH, Interest::READABLE, Interest::WRITABLE].map(|interest| {
            let poll = Poll::new().unwrap();
            register(&poll, ours.as_fd(), pack(SEVEN), interest).unwrap();
            // proc_pid_fdinfo(5) tells of each descriptor: "tfd: 7 events: 80002007 data: 7".
            let told = format!("/proc/self/fdinfo/{}", poll.as_raw_fd());
            let told = std::fs::read_to_string(told).unwrap();
            told[told.find("tfd:").expect("it is registered")..].to_owned()
        })
    };
    assert_eq!(asked(events::register), asked(by_mio::register));
}

#[cfg(target_os = "linux")]
#[test]
fn a_broken_pipe_is_told_alike() {
    let (reader, writer) = pipe();
    drop(reader);
    let (mut poll, mut poll_by_mio) = (Poll::new().unwrap(), Poll::new().unwrap());
    events::register(&poll, writer.as_fd(), pack(SEVEN), Interest::WRITABLE).unwrap();
    by_mio::register(&poll_by_mio, writer.as_fd(), pack(SEVEN), Interest::WRITABLE).unwrap();
    let (mut events, mut by_mio) = (Events::new(), by_mio::Events::new());
    events.poll(&mut poll, PATIENCE.into()).unwrap();
    by_mio.poll(&mut poll_by_mio, PATIENCE.into()).unwrap();
    assert_eq!((events.len(), by_mio.len()), (1, 1));
    assert_eq!((events.token(0), events.ready(0)), (by_mio.token(0), by_mio.ready(0)));
    assert!(events.ready(0).has(Readiness::WRITE_CLOSED));
}
