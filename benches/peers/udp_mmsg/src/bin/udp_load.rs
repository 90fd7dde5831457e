//! A load for UDP echo servers: 16 peers with 8 datagrams of 64 bytes in flight each, sent and
//! received one by one, all of them checked.
//!
//! ```text
//! udp_load ADDR DATAGRAMS [PEERS IN_FLIGHT]        # sends so many, and stops
//! udp_load compare ADDR PID ADDR PID [PEERS IN_FLIGHT]
//! ```
//!
//! `compare` gives two servers that run beside each other the load in turn, in slices, and tells
//! the first one's processor time a datagram (of its main thread, user and system) and its rate,
//! each over the second one's in the slice next to it: the median and the quartiles.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use std::{env, fs};

const SIZE: usize = 64;
const SLICES: usize = 40;
const SLICE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(60);

struct Load {
    peers: Vec<Peer>,
    in_flight: u64,
}

struct Peer {
    socket: UdpSocket,
    sent: u64,
    came: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |it| it.parse());
    let address = |at: usize| {
        arguments
            .get(at)
            .ok_or("an address is missing")?
            .parse()
            .map_err(Box::<dyn std::error::Error>::from)
    };
    if arguments.first().is_some_and(|it| it == "compare") {
        let (peers, in_flight) = (number(5, 16)?, number(6, 8)?);
        let mut first = (Load::new(address(1)?, peers, in_flight)?, number(2, 0)?);
        let mut second = (Load::new(address(3)?, peers, in_flight)?, number(4, 0)?);
        compare(&mut first, &mut second)?;
    } else {
        let mut load = Load::new(address(0)?, number(2, 16)?, number(3, 8)?)?;
        let (datagrams, start) = (number(1, 100_000)?, Instant::now());
        load.run(datagrams, None)?;
        println!("{:.0} a second", datagrams as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn compare(first: &mut (Load, u64), second: &mut (Load, u64)) -> io::Result<()> {
    let (mut costs, mut rates, mut absolute) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLICES {
        let one = slice(&mut first.0, first.1)?;
        let two = slice(&mut second.0, second.1)?;
        costs.push(one.0 / two.0);
        rates.push(one.1 / two.1);
        absolute.push(one.0);
    }
    let tell = |what: &str, values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        println!("{what}: {:.3} (quartiles {:.3} to {:.3})", at(2), at(1), at(3));
    };
    tell("CPU a datagram, first over second", &mut costs);
    tell("rate, first over second", &mut rates);
    tell("ns of CPU a datagram, first", &mut absolute);
    Ok(())
}

/// The server's processor time a datagram, in ns, and datagrams a second.
fn slice(load: &mut Load, pid: u64) -> io::Result<(f64, f64)> {
    let (before, start) = (processor_ns(pid)?, Instant::now());
    let count = load.run(u64::MAX, Some(start + SLICE))? as f64;
    Ok(((processor_ns(pid)? - before) / count, count / start.elapsed().as_secs_f64()))
}

/// Documentation/scheduler/sched-stats.rst: the first number is the time spent on the processor.
fn processor_ns(pid: u64) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    text.split(' ').next().and_then(|it| it.parse().ok()).ok_or(ErrorKind::InvalidData.into())
}

impl Load {
    fn new(address: SocketAddr, peers: u64, in_flight: u64) -> io::Result<Load> {
        let peer = |_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(Peer { socket, sent: 0, came: 0 })
        };
        Ok(Load { peers: (0..peers).map(peer).collect::<io::Result<_>>()?, in_flight })
    }

    /// Sends so many datagrams, or as many as go until then, and waits for all answers.
    fn run(&mut self, datagrams: u64, until: Option<Instant>) -> io::Result<u64> {
        let (mut left, mut count, mut last) = (datagrams, 0, Instant::now());
        while left > 0 || self.peers.iter().any(|peer| peer.came < peer.sent) {
            if until.is_some_and(|until| Instant::now() >= until) {
                left = 0;
            }
            let before = count;
            for peer in &mut self.peers {
                while peer.receive()? {
                    count += 1;
                }
                while left > 0 && peer.sent - peer.came < self.in_flight {
                    peer.send()?;
                    left -= 1;
                }
            }
            if count > before {
                last = Instant::now();
            } else if last.elapsed() > PATIENCE {
                return Err(io::Error::other("a datagram was lost"));
            }
        }
        Ok(count)
    }
}

impl Peer {
    fn send(&mut self) -> io::Result<()> {
        let mut payload = [b'x'; SIZE];
        payload[..8].copy_from_slice(&self.sent.to_le_bytes());
        self.sent += 1;
        self.socket.send(&payload).map(|_| ())
    }

    fn receive(&mut self) -> io::Result<bool> {
        let mut payload = [0; SIZE + 1];
        match self.socket.recv(&mut payload) {
            Ok(SIZE) if payload[..8] == self.came.to_le_bytes() && payload[8] == b'x' => {
                self.came += 1;
                Ok(true)
            }
            Ok(_) => Err(io::Error::other("what came back is not what was sent")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}
