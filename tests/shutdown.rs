//! The orderly end of a server, and the disorderly one.

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use common::*;
use tidemill::protocols::{DatagramEcho, Echo};
use tidemill::{CloseReason, Context, Fault, NetAddr, Server, StreamHandler};

/// An echo that tells, at its end, how many bytes it was shown.
struct Counted {
    peer: SocketAddr,
    taken: usize,
    ended: Sender<(SocketAddr, usize, String)>,
}

impl StreamHandler for Counted {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.taken += input.len();
        cx.write(input);
        Ok(input.len())
    }

    fn on_close(&mut self, _: &mut Context<'_>, why: &CloseReason) {
        let _ = self.ended.send((self.peer, self.taken, why.to_string()));
    }
}

/// What a client sends at once before it has its answer: less than is discarded after the end.
const WINDOW: usize = 4;
const PIECE: usize = 32 * 1024;

/// A client that sends for ever, a few pieces ahead of what comes back, until the server ends.
/// Answers how many bytes came back.
fn pump(address: SocketAddr, is_amid: &Sender<()>) -> (SocketAddr, usize) {
    let mut receiving = connect(address);
    let mut sending = receiving.try_clone().unwrap();
    let local = receiving.local_addr().unwrap();
    let (credit, credits) = mpsc::sync_channel(WINDOW);
    for _ in 0..WINDOW {
        credit.send(()).unwrap();
    }
    let sender = thread::spawn(move || {
        let mut pattern = Pattern::new(3);
        while credits.recv().is_ok() {
            let mut left = PIECE;
            while left > 0 {
                let piece = pattern.next(left);
                if sending.write_all(piece).is_err() {
                    return;
                }
                left -= piece.len();
            }
        }
    });
    let mut pattern = Pattern::new(3);
    let mut buffer = vec![0; PIECE];
    let mut received = 0;
    loop {
        let count = again(|| receiving.read(&mut buffer)).unwrap(); // and no reset
        if count == 0 {
            break;
        }
        pattern.check(&buffer[..count]);
        for _ in 0..(received % PIECE + count) / PIECE {
            let _ = credit.send(());
        }
        received += count;
        if received >= 4 * PIECE && received - count < 4 * PIECE {
            is_amid.send(()).unwrap();
        }
    }
    drop(credit);
    drop(receiving);
    sender.join().unwrap();
    (local, received)
}

#[test]
fn every_byte_taken_before_the_stop_is_answered() {
    const CLIENTS: usize = 100;
    for threads in [1, 2] {
        let (ended, ends) = mpsc::channel();
        let service = move |peer: &NetAddr| Counted {
            peer: peer.inet().unwrap(),
            taken: 0,
            ended: ended.clone(),
        };
        let server = start(Server::builder().threads(threads).listen(any(), service));
        let address = inet(&server, 0);
        let (is_amid, are_amid) = mpsc::channel();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let is_amid = is_amid.clone();
                thread::spawn(move || pump(address, &is_amid))
            })
            .collect();
        for _ in 0..CLIENTS {
            told(&are_amid);
        }
        let report = stop(server);
        assert_eq!((report.finished, report.aborted), (CLIENTS as u64, 0));
        assert_eq!(report.undelivered_bytes, 0);
        let received: HashMap<SocketAddr, usize> =
            clients.into_iter().map(|client| client.join().unwrap()).collect();
        for _ in 0..CLIENTS {
            let (peer, taken, why) = told(&ends);
            assert_eq!(why, "closed");
            assert_eq!(received[&peer], taken, "taken and not answered, or more");
        }
    }
}

#[test]
fn the_report_counts_those_that_were_there() {
    let server = start(
        Server::builder()
            .threads(2)
            .listen(any(), |_: &NetAddr| Echo)
            .datagram(any(), DatagramEcho),
    );
    let address = inet(&server, 0);
    let mut gone = connect(address);
    exchange(&mut gone, b"not there any more");
    drop(gone);
    until("it is noticed", || server.handle().connection_count() == 0);
    let mut clients: Vec<TcpStream> = (0..7).map(|_| connect(address)).collect();
    for client in &mut clients {
        exchange(client, b"there");
    }
    server.handle().shutdown(PATIENCE);
    for client in clients {
        assert!(read_to_end(&mut &client).is_empty());
    }
    let report = join(server);
    assert_eq!(report.to_string(), "7 finished, 0 aborted, 0 bytes undelivered");
    assert!(is_refused(address));
}

#[test]
fn clients_that_were_queued_at_the_stop_are_still_answered() {
    let server = Server::builder().listen(any(), |_: &NetAddr| Echo).bind().unwrap();
    let address = server.bound()[0].address.inet().unwrap();
    // Connected, and nobody has accepted them yet.
    let clients: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
    server.handle().shutdown(PATIENCE);
    let running = server.start().unwrap();
    for client in clients {
        assert!(read_to_end(&mut &client).is_empty(), "an end, and no reset");
    }
    assert_eq!(join(running).finished, 20);
}

/// Writes so much when it opens, and stays at a shutdown, as if it still owed something.
struct Stubborn(usize);

impl StreamHandler for Stubborn {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.write(&vec![7; self.0]);
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        cx.write(input);
        Ok(input.len())
    }

    fn on_shutdown(&mut self, _: &mut Context<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

#[test]
fn what_has_not_ended_after_the_grace_is_aborted() {
    let server = start(
        Server::builder()
            .listen(any(), |_: &NetAddr| Stubborn(5))
            .listen(any(), |_: &NetAddr| Echo),
    );
    let mut stubborn = connect(inet(&server, 0));
    assert_eq!(read(&mut stubborn, 5), [7; 5]);
    let mut docile = connect(inet(&server, 1));
    exchange(&mut docile, b"hello");
    server.handle().shutdown(Duration::from_millis(300));
    assert!(read_to_end(&mut docile).is_empty());
    drop(docile);
    let report = join(server);
    assert_eq!((report.finished, report.aborted), (1, 1));
    assert_eq!(report.undelivered_bytes, 0);
    let error = again(|| stubborn.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn what_nobody_took_is_counted_as_undelivered() {
    const WRITTEN: usize = 12 * 1024 * 1024;
    let server = start(Server::builder().listen(any(), |_: &NetAddr| Stubborn(WRITTEN)));
    let mut client = connect(inet(&server, 0));
    assert_eq!(read(&mut client, 1), [7]); // the writing has begun
    server.handle().shutdown(Duration::from_millis(300));
    let report = join(server);
    assert_eq!((report.finished, report.aborted), (0, 1));
    let received = 1 + read_to_any_end(&mut client).len();
    let undelivered = report.undelivered_bytes as usize;
    assert!(undelivered > 0);
    assert!(received + undelivered <= WRITTEN, "{received} and {undelivered}");
}

#[test]
fn a_second_request_only_shortens_the_grace() {
    let server = start(
        Server::builder()
            .listen(any(), |_: &NetAddr| Stubborn(1))
            .listen(any(), |_: &NetAddr| Echo),
    );
    let mut stubborn = connect(inet(&server, 0));
    assert_eq!(read(&mut stubborn, 1), [7]);
    let mut docile = connect(inet(&server, 1));
    exchange(&mut docile, b"hello");
    server.handle().shutdown(Duration::from_secs(100_000));
    assert!(read_to_end(&mut docile).is_empty()); // it has begun
    drop(docile);
    assert!(is_silent(&mut stubborn));
    server.handle().shutdown(Duration::from_millis(50));
    server.handle().shutdown(Duration::from_secs(100_000));
    assert_eq!(join(server).aborted, 1);
}

#[test]
fn dropping_a_server_stops_it() {
    let server = start(Server::builder().threads(2).listen(any(), |_: &NetAddr| Echo));
    let address = inet(&server, 0);
    let handle = server.handle().clone();
    let mut clients: Vec<TcpStream> = (0..10).map(|_| connect(address)).collect();
    for client in &mut clients {
        exchange(client, b"hello");
    }
    in_time("the drop", move || drop(server));
    for client in &mut clients {
        assert!(read_to_any_end(client).is_empty());
    }
    assert!(is_refused(address));
    assert_eq!(handle.connection_count(), 0);
    let (told_to, _told) = mpsc::channel();
    let late = Counted { peer: address, taken: 0, ended: told_to };
    assert!(handle.connect(0, address, late).is_err(), "nobody is there to do it");
}

#[test]
fn a_server_that_was_never_started_lets_go_of_its_sockets() {
    let dir = TempDir::new();
    let server = Server::builder()
        .listen(any(), |_: &NetAddr| Echo)
        .listen(dir.unix("socket").parse().unwrap(), |_: &NetAddr| Echo)
        .bind()
        .unwrap();
    let address = server.bound()[0].address.inet().unwrap();
    assert!(dir.path("socket").exists());
    drop(server);
    assert!(is_refused(address));
    assert!(!dir.path("socket").exists());
}

#[test]
fn a_request_under_way_at_the_stop_is_taken_as_far_as_it_was_read() {
    let server = start(Server::builder().listen(any(), |_: &NetAddr| Echo));
    let mut client = connect(inet(&server, 0));
    exchange(&mut client, b"read and answered");
    server.handle().shutdown(PATIENCE);
    assert!(read_to_end(&mut client).is_empty());
    // Nobody hears this any more, and nobody minds.
    let _ = client.write_all(b"too late");
    let _ = client.shutdown(Shutdown::Write);
    drop(client);
    assert_eq!(join(server).finished, 1);
}

/// Runs itself as a child that serves and stops, twice over, and then asks for a signal.
#[cfg(feature = "signals")]
#[test]
fn signals_do_what_they_did_before_once_the_last_server_has_ended() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    const CHILD: &str = "TIDEMILL_TEST_SIGNALS";
    const NAME: &str = "signals_do_what_they_did_before_once_the_last_server_has_ended";
    // To the thread that asks: it has been dealt with when this returns.
    let ask_for_signal = || signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
    if std::env::var_os(CHILD).is_some() {
        let start = || {
            let builder = Server::builder().stop_on_signals(Duration::ZERO);
            builder.bind().unwrap().start().unwrap()
        };
        for _ in 0..2 {
            let servers = [start(), start()];
            let [first, second] = servers;
            first.handle().shutdown(Duration::ZERO);
            first.join().unwrap();
            ask_for_signal(); // not the last
            second.join().unwrap();
        }
        ask_for_signal();
        std::process::exit(5);
    }
    for (before, wanted) in [("-", (Some(15), None)), ("''", (None, Some(5)))] {
        let run = format!("trap {before} TERM; exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &run, "sh"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", NAME]).env(CHILD, "1").stdout(Stdio::null());
        let status = in_time("the child's end", move || command.status()).unwrap();
        assert_eq!((status.signal(), status.code()), wanted, "trap {before}");
    }
}
