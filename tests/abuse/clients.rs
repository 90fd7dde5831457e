//! Clients that ask again where nothing comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::ANY;
use super::common::process::Process;
use super::common::*;

/// Clients in each case, ten at a time.
const CLIENTS: usize = 60;

/// Many clients of each kind. Answers how many were not served. Where the server may not hear of
/// their ends, it may end them by its idle deadline.
pub(super) fn crowd(process: &Process, may_be_deaf: bool) -> usize {
    let mut lost = 0;
    for _ in 0..CLIENTS / 10 {
        let clients: Vec<_> = (0..10).map(|_| Patient::connect(process.inet(0))).collect();
        let ask = |client: Patient| thread::spawn(move || client.ask(may_be_deaf));
        let asked: Vec<_> = clients.into_iter().map(ask).collect();
        lost += asked.into_iter().filter_map(|asked| asked.join().unwrap().err()).count();
    }
    let udp = UdpSocket::bind(ANY).unwrap();
    udp.connect(process.inet(2)).unwrap();
    udp.set_read_timeout(Some(NUDGE)).unwrap();
    for number in 0..CLIENTS as u8 {
        lost += usize::from(!is_answered(&udp, number));
    }
    lost
}

/// Asks for the metrics, whose server ends first.
pub(super) fn scrape(process: &Process) -> io::Result<()> {
    let mut stream = process.connect(3);
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.contains("\ntidemill_turn_seconds_count ") {
        true => Ok(()),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether a datagram is answered. As with streams, a receive that only seemed to find nothing is
/// made up for by the next: so others follow until one of them is answered.
fn is_answered(udp: &UdpSocket, number: u8) -> bool {
    let start = Instant::now();
    let mut buffer = [0; 16];
    udp.send(&[number]).unwrap();
    while start.elapsed() < PATIENCE {
        match again(|| udp.recv(&mut buffer)) {
            Ok(1) if buffer[0] == number => return true,
            // Those before it are answered in their order.
            Ok(1) if buffer[0] == number + NUDGING => return false,
            Ok(1) => {}
            Ok(other) => panic!("a datagram of one byte came back as one of {other}"),
            Err(_) => drop(udp.send(&[number + NUDGING]).unwrap()),
        }
    }
    panic!("no datagram is answered any more");
}

/// What is added to a number to ask anew.
const NUDGING: u8 = 100;

/// A client that asks again where nothing comes: the edge that an injected EAGAIN lacks comes with
/// the next bytes.
struct Patient {
    stream: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Patient {
    fn connect(to: SocketAddr) -> Patient {
        let stream = connect(to);
        stream.set_read_timeout(Some(NUDGE)).unwrap();
        Patient { stream, sent: Vec::new(), received: Vec::new() }
    }

    /// An error is a connection that was lost.
    fn ask(mut self, may_be_reset: bool) -> io::Result<()> {
        let mut pattern = Pattern::new(7);
        for _ in 0..3 {
            self.send(pattern.next(1000))?;
            let start = Instant::now();
            while self.received.len() < self.sent.len() && start.elapsed() < PATIENCE {
                if !self.receive()? {
                    self.send(b".")?;
                }
            }
        }
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        match self.stream.read_to_end(&mut self.received) {
            Err(error) if !may_be_reset || error.kind() != ErrorKind::ConnectionReset => {
                return Err(error);
            }
            _ => {}
        }
        match self.received == self.sent {
            true => Ok(()),
            // It ended before its time; what came until then is right.
            false if self.sent.starts_with(&self.received) => Err(ErrorKind::UnexpectedEof.into()),
            false => panic!("wrong bytes"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.sent.extend(bytes);
        Ok(())
    }

    /// Answers whether anything came in time.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match again(|| self.stream.read(&mut buffer)) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.received.extend(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Long for an answer on this machine.
const NUDGE: Duration = Duration::from_millis(50);
