//! What one client does from its connecting to its end, by its kind.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::clients::{Client, Kind, PATIENCE, PIECE_BYTES};

/// One life. Answers whether another makes sense.
pub(crate) fn live(client: &mut Client) -> bool {
    let outcome = match client.kind {
        Kind::Good => good(client),
        Kind::HalfCloses => half_closes(client),
        Kind::Stalls => stalls(client),
        Kind::Urgent => urgent(client),
        Kind::Hot => hot(client),
        Kind::Quiet => quiet(client),
        Kind::Resets => resets(client),
        Kind::NeverReads => never_reads(client),
        Kind::Drips => drips(client),
        Kind::EndlessLine => endless_line(client),
        Kind::Silent => silent(client),
        Kind::Connects => connects(client),
        Kind::Datagrams => datagrams(client),
    };
    match outcome {
        Ok(Life::Lived) => {}
        Ok(Life::Impossible) => return false,
        Ok(Life::Overdue(why)) => client.book.overdue(client.kind, why),
        Err(error) => client.book.unserved(client.kind, error.to_string()),
    }
    true
}

/// How a life went. An error is for those that should have been served.
enum Life {
    Lived,
    /// The server has nothing of what is needed.
    Impossible,
    /// A limit did not end it.
    Overdue(String),
}

type Outcome = io::Result<Life>;

/// One who says something and reads what comes back.
struct Talk {
    stream: TcpStream,
    /// Where in the pattern what is sent next stands, and what comes next.
    sent: u64,
    read: u64,
}

impl Talk {
    fn start(client: &mut Client) -> io::Result<Talk> {
        let at = client.rng.below(1 << 30);
        Ok(Talk { stream: client.echo()?, sent: at, read: at })
    }

    fn send(&mut self, client: &Client, len: usize) -> io::Result<()> {
        let mut left = len;
        while left > 0 {
            let piece = client.pattern.piece(self.sent, left);
            self.stream.write_all(piece)?;
            self.sent += piece.len() as u64;
            left -= piece.len();
        }
        Ok(())
    }

    /// Reads all that was sent and has not come back.
    fn receive(&mut self, client: &Client) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_BYTES.min((self.sent - self.read) as usize)];
        while self.read < self.sent {
            let most = buffer.len().min((self.sent - self.read) as usize);
            self.stream.read_exact(&mut buffer[..most])?;
            self.take(client, &buffer[..most]);
        }
        Ok(())
    }

    fn take(&mut self, client: &Client, bytes: &[u8]) {
        client.book.answered(bytes.len(), client.pattern.wrong_count(self.read, bytes));
        self.read += bytes.len() as u64;
    }

    /// Ends in good order: not a byte more comes, but an end does.
    fn end(mut self) -> Outcome {
        self.stream.shutdown(Shutdown::Write)?;
        self.hear_end()
    }

    fn hear_end(&mut self) -> Outcome {
        match self.stream.read(&mut [0])? {
            0 => Ok(Life::Lived),
            _ => Err(io::Error::new(ErrorKind::InvalidData, "more came than was sent")),
        }
    }
}

fn good(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    for _ in 0..1 + client.rng.below(30) {
        if client.is_over() {
            break;
        }
        let most = if client.rng.chance(1, 4) { PIECE_BYTES } else { 500 };
        let len = 1 + client.rng.below(most as u64) as usize;
        talk.send(client, len)?;
        talk.receive(client)?;
        client.dawdle(3);
    }
    talk.end()
}

fn half_closes(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    let len = client.rng.below(200_000) as usize;
    talk.send(client, len)?;
    talk.stream.shutdown(Shutdown::Write)?;
    talk.receive(client)?;
    let outcome = talk.hear_end();
    client.dawdle(10);
    outcome
}

/// Fills everything up to the brim, and reads on before the server loses its patience.
fn stalls(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    for _ in 0..1 + client.rng.below(3) {
        if client.is_over() {
            break;
        }
        talk.stream.set_write_timeout(Some(Duration::from_millis(50)))?;
        while talk.sent - talk.read < STALLED_BYTES && !client.is_over() {
            match talk.stream.write(client.pattern.piece(talk.sent, PIECE_BYTES)) {
                Ok(count) => talk.sent += count as u64,
                Err(error) if is_timeout(&error) => break,
                Err(error) => return Err(error),
            }
        }
        client.dawdle(1000);
        talk.receive(client)?;
    }
    talk.end()
}

fn urgent(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    for _ in 0..50 {
        if client.is_over() {
            break;
        }
        let len = 1 + client.rng.below(100) as usize;
        talk.send(client, len)?;
        SockRef::from(&talk.stream).send_out_of_band(b"!")?;
        talk.send(client, len)?;
        // One at a time: a second one would turn the first into common data (tcp(7)).
        talk.receive(client)?;
        client.dawdle(5);
    }
    talk.end()
}

fn hot(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    talk.send(client, PIECE_BYTES)?;
    for _ in 0..100_000 {
        if client.is_over() {
            break;
        }
        talk.send(client, PIECE_BYTES)?;
        let mut buffer = [0; PIECE_BYTES];
        talk.stream.read_exact(&mut buffer)?;
        talk.take(client, &buffer);
    }
    talk.receive(client)?;
    talk.end()
}

fn quiet(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    for _ in 0..1000 {
        if client.is_over() {
            break;
        }
        let start = Instant::now();
        talk.send(client, 64)?;
        talk.receive(client)?;
        client.book.quiet(start.elapsed());
        thread::sleep(Duration::from_millis(10));
    }
    talk.end()
}

fn resets(client: &mut Client) -> Outcome {
    let mut talk = Talk::start(client)?;
    for _ in 0..client.rng.below(5) {
        talk.send(client, 300)?;
        talk.receive(client)?;
    }
    if client.rng.chance(1, 2) {
        let len = client.rng.below(100_000) as usize;
        talk.send(client, len)?;
    }
    SockRef::from(&talk.stream).set_linger(Some(Duration::ZERO))?;
    client.dawdle(5);
    Ok(Life::Lived)
}

fn never_reads(client: &mut Client) -> Outcome {
    let Some(most) = client.target.limits.map(|limits| limits.write_progress) else {
        return Ok(Life::Impossible);
    };
    let address = client.target.there.echo.expect("there is always one");
    let mut stream = client.connect(address, Some(4096))?;
    stream.set_write_timeout(Some(Duration::from_millis(100)))?;
    let bytes = client.pattern.clone();
    outlives(client, most, || match stream.write(bytes.piece(0, PIECE_BYTES)) {
        Ok(_) => false,
        Err(error) => !is_timeout(&error),
    })
}

fn drips(client: &mut Client) -> Outcome {
    let known = client.target.limits.zip(client.target.there.line);
    let Some((limits, address)) = known else { return Ok(Life::Impossible) };
    let mut stream = client.connect(address, None)?;
    let pace = 1 + client.rng.below(200);
    stream.set_read_timeout(Some(Duration::from_millis(pace)))?;
    outlives(client, limits.message, || stream.write_all(b"x").is_err() || has_ended(&mut stream))
}

fn endless_line(client: &mut Client) -> Outcome {
    let known = client.target.limits.zip(client.target.there.line);
    let Some((limits, address)) = known else { return Ok(Life::Impossible) };
    let mut stream = client.connect(address, None)?;
    let outcome = outlives(client, limits.message, || stream.write_all(&[b'x'; 10_000]).is_err());
    client.dawdle(100);
    outcome
}

fn silent(client: &mut Client) -> Outcome {
    let Some(limits) = client.target.limits else { return Ok(Life::Impossible) };
    let mut stream = client.echo()?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    outlives(client, limits.first_byte, || has_ended(&mut stream))
}

/// Repeats something until it tells of the connection's end, which a limit has to bring about.
fn outlives(client: &Client, limit: Duration, mut ends: impl FnMut() -> bool) -> Outcome {
    let start = Instant::now();
    while !ends() {
        if client.is_over() {
            break; // it leaves by itself
        }
        if start.elapsed() > limit + SLACK {
            let so_long = start.elapsed();
            return Ok(Life::Overdue(format!("was not ended after {so_long:?}")));
        }
    }
    Ok(Life::Lived)
}

fn connects(client: &mut Client) -> Outcome {
    let count = 20 + client.rng.below(200);
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = client.echo()?;
        if client.rng.chance(1, 2) {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        if client.rng.chance(1, 4) {
            let _ = SockRef::from(&stream).send(b"and gone"); // what comes back is not awaited
        }
        streams.push(stream);
    }
    client.book.connected_more(count - 1);
    client.dawdle(100);
    Ok(Life::Lived)
}

/// More at once than a receive buffer holds: some are lost, but none comes back changed.
fn datagrams(client: &mut Client) -> Outcome {
    let Some(to) = client.target.there.udp else { return Ok(Life::Impossible) };
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    for _ in 0..20 {
        if client.is_over() {
            break;
        }
        let mut sent = Vec::new();
        for _ in 0..1 + client.rng.below(500) {
            let (at, len) = (client.rng.below(1 << 20), 8 + client.rng.below(1400) as usize);
            let payload = [&at.to_le_bytes(), client.pattern.piece(at, len)].concat();
            if socket.send(&payload).is_ok() {
                sent.push(payload.len());
            }
        }
        let mut answered = 0;
        let mut buffer = [0; 2048];
        let start = Instant::now();
        while answered < sent.len() {
            let Ok(len) = socket.recv(&mut buffer) else {
                // The rest is lost. Not all of it should be: on a busy machine, more patience helps.
                if answered > 0 || client.is_over() {
                    break;
                }
                if start.elapsed() > PATIENCE {
                    let why = format!("none of {} came back", sent.len());
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                let at = client.rng.below(1 << 20);
                let payload = [&at.to_le_bytes(), client.pattern.piece(at, 100)].concat();
                if socket.send(&payload).is_ok() {
                    sent.push(payload.len());
                }
                continue;
            };
            let (head, came) = buffer[..len].split_at(len.min(8));
            let at = head.try_into().map_or(0, u64::from_le_bytes);
            client.book.answered(came.len(), client.pattern.wrong_count(at, came));
            answered += 1;
        }
        client.book.datagrams(sent.len() as u64, answered as u64);
        client.dawdle(20);
    }
    Ok(Life::Lived)
}

/// An end, whatever its kind; `false` if there is nothing for as long as a read waits.
fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 4096]) {
        Ok(count) => count == 0,
        Err(error) => !is_timeout(&error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// More than what the buffers between hold, so that the server has to stop as well.
const STALLED_BYTES: u64 = 8 << 20;
/// On a busy machine a limit may be late by so much.
const SLACK: Duration = Duration::from_secs(15);
