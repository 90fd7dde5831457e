//! The crowd: which kinds of clients there are, how many of each, and what they have at hand.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tidemill::Rng;

use crate::book::Book;
use crate::lives;
use crate::target::Target;

/// How a client behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Asks, waits for the answer, and ends in good order.
    Good,
    /// Says all, ends its direction, and reads all.
    HalfCloses,
    /// Stops reading in the middle of a large answer, for as long as is allowed.
    Stalls,
    /// Sends urgent data in between.
    Urgent,
    /// As much as there can be on one connection.
    Hot,
    /// Little, at regular times: its latencies are what others suffer.
    Quiet,
    /// Leaves by a reset, answers on the way.
    Resets,
    /// Sends and never reads.
    NeverReads,
    /// A line that comes byte by byte, and never whole.
    Drips,
    /// A line without an end.
    EndlessLine,
    /// Connects and says nothing.
    Silent,
    /// Many connections that are given up at once.
    Connects,
    /// Many datagrams at once.
    Datagrams,
}

impl Kind {
    pub(crate) const ALL: &'static [Kind] = &[
        Kind::Good,
        Kind::HalfCloses,
        Kind::Stalls,
        Kind::Urgent,
        Kind::Hot,
        Kind::Quiet,
        Kind::Resets,
        Kind::NeverReads,
        Kind::Drips,
        Kind::EndlessLine,
        Kind::Silent,
        Kind::Connects,
        Kind::Datagrams,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Good => "good",
            Kind::HalfCloses => "half-closes",
            Kind::Stalls => "stalls",
            Kind::Urgent => "urgent data",
            Kind::Hot => "hot",
            Kind::Quiet => "quiet",
            Kind::Resets => "resets",
            Kind::NeverReads => "never reads",
            Kind::Drips => "drips",
            Kind::EndlessLine => "endless line",
            Kind::Silent => "silent",
            Kind::Connects => "connects",
            Kind::Datagrams => "datagrams",
        }
    }

    /// How many there are at a time.
    fn count(self) -> usize {
        match self {
            Kind::Quiet => 8,
            Kind::Good => 4,
            Kind::HalfCloses | Kind::Stalls | Kind::Resets => 2,
            Kind::NeverReads | Kind::Drips | Kind::Silent => 2,
            Kind::Urgent | Kind::Hot | Kind::EndlessLine | Kind::Connects | Kind::Datagrams => 1,
        }
    }
}

/// All clients at work.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crowd {
    pub(crate) fn start(target: &Arc<Target>, book: &Arc<Book>, seed: u64) -> io::Result<Crowd> {
        let mut crowd = Crowd { is_over: Arc::default(), threads: Vec::new() };
        let bytes = Arc::new(Pattern::new(seed));
        let mut seeds = Rng::new(seed);
        for &kind in Kind::ALL {
            for _ in 0..kind.count() {
                let mut client = Client {
                    kind,
                    target: target.clone(),
                    book: book.clone(),
                    rng: Rng::new(seeds.next_u64()),
                    pattern: bytes.clone(),
                    is_over: crowd.is_over.clone(),
                };
                let thread = thread::Builder::new().name(kind.name().to_owned());
                crowd.threads.push(thread.spawn(move || client.live())?);
            }
        }
        Ok(crowd)
    }

    /// Has all leave, as soon as they may.
    pub(crate) fn leave(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// One place in the crowd: one client after another of its kind.
pub(crate) struct Client {
    pub(crate) kind: Kind,
    pub(crate) target: Arc<Target>,
    pub(crate) book: Arc<Book>,
    pub(crate) rng: Rng,
    pub(crate) pattern: Arc<Pattern>,
    is_over: Arc<AtomicBool>,
}

impl Client {
    fn live(&mut self) {
        while !self.is_over() {
            if !lives::live(self) {
                return; // there is nothing of what it needs
            }
            self.book.lived(self.kind);
        }
    }

    /// Whether it is time to leave.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Does nothing for a while, up to so many milliseconds.
    pub(crate) fn dawdle(&mut self, millis: u64) {
        thread::sleep(Duration::from_micros(self.rng.below(millis * 1000)));
    }

    pub(crate) fn echo(&mut self) -> io::Result<TcpStream> {
        let address = self.target.there.echo.expect("there is always one");
        self.connect(address, None)
    }

    /// Connects; within the loopback from one of its many addresses, as the ports of one are soon
    /// all in TIME_WAIT.
    pub(crate) fn connect(
        &mut self,
        to: SocketAddr,
        receive_buffer: Option<usize>,
    ) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(size) = receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        if matches!(to.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            let [a, b, c] = [0; 3].map(|_| 1 + self.rng.below(250) as u8);
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, a, b, c), 0)).into())?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// Bytes without a short period, so that those which are lost, doubled, changed or somebody
/// else's are noticed.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    fn new(seed: u64) -> Pattern {
        let mut bytes = Rng::new(seed).bytes(PERIOD);
        bytes.extend_from_within(..PIECE_BYTES);
        Pattern(bytes)
    }

    /// So many bytes from a place on, at most [`PIECE_BYTES`].
    pub(crate) fn piece(&self, from: u64, len: usize) -> &[u8] {
        let from = (from % PERIOD as u64) as usize;
        &self.0[from..from + len.min(PIECE_BYTES)]
    }

    /// How many of these bytes are not those that stand there.
    pub(crate) fn wrong_count(&self, from: u64, came: &[u8]) -> usize {
        let mut wrong = 0;
        for (index, came) in came.chunks(PIECE_BYTES).enumerate() {
            let right = self.piece(from + (index * PIECE_BYTES) as u64, came.len());
            if right != came {
                wrong += right.iter().zip(came).filter(|(right, came)| right != came).count();
            }
        }
        wrong
    }
}

/// Prime, so that no buffer's size hides a shift.
const PERIOD: usize = 1_048_573;
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// How long a client that behaves waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
