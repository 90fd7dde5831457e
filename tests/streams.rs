//! Streams of bytes over real TCP: what clients of every temper send is answered, whole and in
//! order, however it comes in pieces and however it ends.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use common::*;
use socket2::SockRef;
use tidemill::protocols::{Echo, LineEcho};
use tidemill::sys::{ListenOptions, StreamOptions};
use tidemill::{
    CloseReason, Context, Deadline, Fault, Limits, NetAddr, Running, Server, StreamHandler,
};

fn echo() -> Running {
    start(Server::builder().listen(any(), |_: &NetAddr| Echo))
}

#[test]
fn a_client_that_reads_16_bytes_at_a_time_gets_every_byte() {
    const TOTAL: usize = 512 * 1024;
    let server = echo();
    let mut client = connect(inet(&server, 0));
    let mut sending = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let mut pattern = Pattern::new(1);
        let mut left = TOTAL;
        while left > 0 {
            let piece = pattern.next(left);
            sending.write_all(piece).unwrap();
            left -= piece.len();
        }
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let mut pattern = Pattern::new(1);
    let mut total = 0;
    loop {
        let mut piece = [0; 16];
        let count = again(|| client.read(&mut piece)).unwrap();
        if count == 0 {
            break;
        }
        pattern.check(&piece[..count]);
        total += count;
    }
    assert_eq!(total, TOTAL);
    sender.join().unwrap();
    assert_eq!(stop(server).aborted, 0);
}

#[test]
fn a_client_that_sends_byte_by_byte_is_answered_line_by_line() {
    let server = start(Server::builder().listen(any(), |_: &NetAddr| LineEcho::framed()));
    let mut client = connect(inet(&server, 0));
    for line in [&b"one\n"[..], b"two\r\n", b"\n", b"a lone \r is data\n"] {
        for byte in line {
            client.write_all(&[*byte]).unwrap();
        }
        assert_eq!(read(&mut client, line.len()), line);
    }
    client.write_all(b"without an end").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"without an end");
}

#[test]
fn two_hundred_blocking_clients_are_served_at_once() {
    const CLIENTS: usize = 200;
    let server = echo();
    let address = inet(&server, 0);
    let together = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let together = Arc::clone(&together);
            thread::spawn(move || {
                let mut client = connect(address);
                together.wait(); // all are connected before the first is served
                for round in 0..20 {
                    exchange(&mut client, format!("client {number}, round {round}").as_bytes());
                }
                together.wait(); // and none leaves before the last
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let report = stop(server);
    assert_eq!((report.aborted, report.undelivered_bytes), (0, 0));
}

#[test]
fn five_hundred_connections_that_end_their_direction_still_get_their_answer() {
    let server = echo();
    let address = inet(&server, 0);
    let mut clients: Vec<TcpStream> = (0..500).map(|_| connect(address)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let request = format!("{number:06}").repeat(number + 1);
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let expected = format!("{number:06}").repeat(number + 1);
        assert!(read_to_end(client) == expected.as_bytes(), "client {number}");
    }
}

#[test]
fn a_transfer_of_100_mib_is_exact_and_others_stay_served() {
    const TOTAL: usize = 100 * 1024 * 1024;
    let server = echo();
    let address = inet(&server, 0);
    let others_are_done = Arc::new(AtomicBool::new(false));

    // It goes on until it has sent all of that, and the others have been served beside it.
    let mut receiving = connect(address);
    let mut sending = receiving.try_clone().unwrap();
    let are_done = Arc::clone(&others_are_done);
    let sender = thread::spawn(move || {
        let mut pattern = Pattern::new(2);
        let mut sent = 0;
        while sent < TOTAL || !are_done.load(Ordering::Acquire) {
            let piece = pattern.next(usize::MAX);
            sending.write_all(piece).unwrap();
            sent += piece.len();
        }
        sending.shutdown(Shutdown::Write).unwrap();
        sent
    });
    let (under_way, is_under_way) = mpsc::channel();
    let receiver = thread::spawn(move || {
        let mut pattern = Pattern::new(2);
        let mut buffer = vec![0; 256 * 1024];
        let mut received = 0;
        loop {
            let count = again(|| receiving.read(&mut buffer)).unwrap();
            if count == 0 {
                return received;
            }
            pattern.check(&buffer[..count]);
            received += count;
            let _ = under_way.send(()); // once is enough
        }
    });

    told(&is_under_way);
    drop(is_under_way);
    let mut others: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
    for round in 0..20 {
        for other in &mut others {
            exchange(other, format!("round {round}").as_bytes());
        }
    }
    others_are_done.store(true, Ordering::Release);
    let sent = sender.join().unwrap();
    assert_eq!(receiver.join().unwrap(), sent);
    assert!(sent >= TOTAL);
}

#[test]
fn urgent_data_holds_nothing_back() {
    let server = echo();
    let mut client = connect(inet(&server, 0));
    for round in 0..50 {
        let before = format!("before {round}");
        let behind = format!("behind {round}");
        client.write_all(before.as_bytes()).unwrap();
        SockRef::from(&client).send_out_of_band(b"!").unwrap();
        client.write_all(behind.as_bytes()).unwrap();
        let expected = before + &behind;
        assert_eq!(read(&mut client, expected.len()), expected.as_bytes());
    }
    client.write_all(b"last").unwrap();
    SockRef::from(&client).send_out_of_band(b"!").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client), b"last");
}

#[test]
fn data_and_end_in_one_segment_are_both_seen() {
    let server = echo();
    let address = inet(&server, 0);
    for round in 0..50 {
        let mut client = connect(address);
        if round % 2 == 0 {
            // In use before, so that the edge is not the one of its registration.
            exchange(&mut client, b"first");
        }
        hold_back(&client, b"data and end");
        client.shutdown(Shutdown::Write).unwrap(); // lets both go
        assert_eq!(read_to_end(&mut client), b"data and end");
    }
}

/// Writes what the system is to send only together with more, or with the end.
fn hold_back(client: &TcpStream, bytes: &[u8]) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = libc::MSG_MORE;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = 0;
    let sent = SockRef::from(client).send_with_flags(bytes, flags).unwrap();
    assert_eq!(sent, bytes.len());
}

/// Answers the first bytes with a long reply, and closes without having read the rest.
struct Curt;

const REPLY_BYTES: usize = 4_000_000;

impl StreamHandler for Curt {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        cx.write(&vec![b'r'; REPLY_BYTES]);
        cx.close();
        Ok(input.len())
    }
}

#[test]
fn closing_with_unread_input_loses_nothing_of_the_reply() {
    // More than one read takes, less than what is discarded after the close.
    const REQUEST_BYTES: usize = 900_000;
    let server = start(Server::builder().listen(any(), |_: &NetAddr| Curt));
    for _ in 0..10 {
        let mut client = connect(inet(&server, 0));
        let mut sending = client.try_clone().unwrap();
        let sender = thread::spawn(move || {
            sending.write_all(&vec![b'q'; REQUEST_BYTES]).unwrap();
        });
        let reply = read_to_end(&mut client); // an end, and no reset before it
        assert_eq!(reply.len(), REPLY_BYTES);
        sender.join().unwrap();
        // Still open on the client's side: its own end lets the server go.
    }
    let report = stop(server);
    assert_eq!((report.aborted, report.undelivered_bytes), (0, 0));
}

/// An echo that tells how full its outbox has ever been, and how it ended.
struct Watched {
    most_backlog: Arc<AtomicUsize>,
    ended: Sender<CloseReason>,
}

impl StreamHandler for Watched {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.most_backlog.fetch_max(cx.backlog(), Ordering::Relaxed);
        cx.write(input);
        Ok(input.len())
    }

    fn on_close(&mut self, _: &mut Context<'_>, why: &CloseReason) {
        let copy = match why {
            CloseReason::TimedOut(deadline) => CloseReason::TimedOut(*deadline),
            _ => CloseReason::Closed,
        };
        let _ = self.ended.send(copy);
    }
}

#[test]
fn a_reader_that_never_reads_costs_bounded_memory_and_ends_by_a_deadline() {
    let limits = Limits {
        outbox_low_bytes: 32 * 1024,
        outbox_high_bytes: 64 * 1024,
        write_progress: Duration::from_millis(500),
        ..Limits::default()
    };
    let most_backlog = Arc::new(AtomicUsize::new(0));
    let (ended, ends) = mpsc::channel();
    let most = Arc::clone(&most_backlog);
    let watched =
        move |_: &NetAddr| Watched { most_backlog: Arc::clone(&most), ended: ended.clone() };
    let buffers = StreamOptions {
        receive_buffer: Some(64 * 1024),
        send_buffer: Some(64 * 1024),
        ..StreamOptions::default()
    };
    let options = ListenOptions { stream: buffers, ..ListenOptions::default() };
    let server = start(
        Server::builder()
            .limits(limits)
            .listen_with(any(), options, watched)
            .listen(any(), |_: &NetAddr| Echo),
    );

    let mut deaf = connect(inet(&server, 0));
    let flood = thread::spawn(move || {
        let chunk = [0; 16 * 1024];
        let mut sent = 0;
        while let Ok(count) = again(|| deaf.write(&chunk)) {
            sent += count;
        }
        sent // all the while `deaf` was open, and nobody read from it
    });
    let mut other = connect(inet(&server, 1));
    let why = loop {
        exchange(&mut other, b"still served");
        if let Ok(why) = ends.try_recv() {
            break why;
        }
    };
    assert!(matches!(why, CloseReason::TimedOut(Deadline::WriteProgress)), "{why}");
    let sent = flood.join().unwrap();
    // Both sockets' buffers, whose sizes the system doubles and then adapts on the client's
    // side, and what the server itself keeps.
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes were taken");
    // One read more than the high mark.
    let most = most_backlog.load(Ordering::Relaxed);
    assert!(most <= 64 * 1024, "read on with {most} bytes in the outbox");
    exchange(&mut other, b"after it");
}

#[test]
fn an_abort_is_seen_as_a_reset_and_harms_no_neighbour() {
    struct Abrupt;
    impl StreamHandler for Abrupt {
        fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
            cx.abort();
            Ok(input.len())
        }
    }
    let server = start(
        Server::builder().listen(any(), |_: &NetAddr| Abrupt).listen(any(), |_: &NetAddr| Echo),
    );
    let mut neighbour = connect(inet(&server, 1));
    let mut client = connect(inet(&server, 0));
    client.write_all(b"x").unwrap();
    let error = again(|| client.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    exchange(&mut neighbour, b"unharmed");
}

#[test]
fn a_client_that_resets_ends_alone() {
    let server = echo();
    let address = inet(&server, 0);
    let mut neighbour = connect(address);
    for _ in 0..20 {
        let mut client = connect(address);
        exchange(&mut client, b"hello");
        client.write_all(&[0; 100_000]).unwrap();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        exchange(&mut neighbour, b"unharmed");
    }
    until("resets are noticed", || server.handle().connection_count() == 1);
}

#[test]
fn a_panicking_handler_ends_its_own_connection_only() {
    struct Panics;
    impl StreamHandler for Panics {
        fn on_bytes(&mut self, _: &mut Context<'_>, _: &[u8]) -> Result<usize, Fault> {
            std::panic::resume_unwind(Box::new("on purpose")) // without a message on the screen
        }
    }
    let server = start(
        Server::builder().listen(any(), |_: &NetAddr| Panics).listen(any(), |_: &NetAddr| Echo),
    );
    let mut neighbour = connect(inet(&server, 1));
    for _ in 0..3 {
        let mut client = connect(inet(&server, 0));
        client.write_all(b"x").unwrap();
        assert!(read_to_any_end(&mut client).is_empty());
        exchange(&mut neighbour, b"unharmed");
    }
}

#[test]
fn a_handler_that_never_takes_its_input_ends_at_the_limit() {
    struct Refuses(Sender<String>);
    impl StreamHandler for Refuses {
        fn on_bytes(&mut self, _: &mut Context<'_>, _: &[u8]) -> Result<usize, Fault> {
            Ok(0)
        }
        fn on_close(&mut self, _: &mut Context<'_>, why: &CloseReason) {
            let _ = self.0.send(why.to_string());
        }
    }
    let (ended, ends) = mpsc::channel();
    let limits = Limits { rest_bytes: 10_000, ..Limits::default() };
    let service = move |_: &NetAddr| Refuses(ended.clone());
    let server = start(Server::builder().limits(limits).listen(any(), service));
    let mut client = connect(inet(&server, 0));
    client.write_all(&[0; 10_001]).unwrap();
    assert!(read_to_any_end(&mut client).is_empty());
    drop(client);
    assert_eq!(told(&ends), CloseReason::InputLimit.to_string());
}

#[test]
fn an_idle_client_is_let_go_and_a_busy_one_stays() {
    let limits = Limits { idle: Duration::from_millis(400), ..Limits::default() };
    let server = start(Server::builder().limits(limits).listen(any(), |_: &NetAddr| Echo));
    let address = inet(&server, 0);
    let mut idle = connect(address);
    exchange(&mut idle, b"the last word");
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let busy = thread::spawn(move || {
        let mut client = connect(address);
        while !over.load(Ordering::Acquire) {
            exchange(&mut client, b"still here");
        }
        exchange(&mut client, b"to the end");
    });
    assert!(read_to_end(&mut idle).is_empty());
    is_over.store(true, Ordering::Release);
    busy.join().unwrap();
}
