//! What the tests over real sockets share: a server in threads of its own, clients that block, and
//! the example server as a process.
//!
//! Nothing here sleeps. Whoever waits does so in a read, an accept, a join or a receive, for at
//! most [`PATIENCE`]: a time far beyond what anything takes, which only ends a test that fails.

#![allow(dead_code)] // each file of tests is a crate of its own, and uses a part of this

pub(crate) mod process;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use tidemill::server::Builder;
use tidemill::{Address, ConnId, NetAddr, Report, Running};

/// How long anything may take before its test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Any port of the IPv4 loopback.
pub(crate) fn any() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// Binds and starts.
pub(crate) fn start<M: Send + 'static>(builder: Builder<M>) -> Running<M> {
    builder.bind().unwrap().start().unwrap()
}

/// Where a server listens on the internet, by the number of the builder's call.
pub(crate) fn inet<M: 'static>(running: &Running<M>, listing: usize) -> SocketAddr {
    let bound = running.bound().iter().find(|bound| bound.listing == listing).unwrap();
    bound.address.inet().unwrap()
}

/// Stops a server in good order.
pub(crate) fn stop<M: Send + 'static>(running: Running<M>) -> Report {
    running.handle().shutdown(PATIENCE);
    join(running)
}

/// Waits for the end of a server.
pub(crate) fn join<M: Send + 'static>(running: Running<M>) -> Report {
    in_time("the end of the server", move || running.join()).unwrap()
}

/// Does in a thread what has no time limit of its own.
pub(crate) fn in_time<R: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (done, waiting) = mpsc::channel();
    let worker = thread::spawn(move || done.send(work()));
    match waiting.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("waited too long for {what}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(worker.join().unwrap_err())
        }
    }
}

/// Waits for something that no descriptor or channel tells, such as a count going down.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited too long: {what}");
        thread::yield_now();
    }
}

/// The next thing that a handler told its test.
pub(crate) fn told<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).expect("a handler tells of it")
}

/// A client whose calls block, but not for ever.
pub(crate) trait Client: Read + Write {
    fn set_patience(&self);
    fn set_blocking(&self, is_blocking: bool);
}

impl Client for TcpStream {
    fn set_patience(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    fn set_blocking(&self, is_blocking: bool) {
        self.set_nonblocking(!is_blocking).unwrap();
    }
}

impl Client for std::os::unix::net::UnixStream {
    fn set_patience(&self) {
        self.set_read_timeout(Some(PATIENCE)).unwrap();
        self.set_write_timeout(Some(PATIENCE)).unwrap();
    }

    fn set_blocking(&self, is_blocking: bool) {
        self.set_nonblocking(!is_blocking).unwrap();
    }
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_patience();
    stream
}

/// Repeats a call that a signal came into: those with a time limit are not restarted by the system.
pub(crate) fn again<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Reads exactly so many bytes.
pub(crate) fn read(client: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads up to the peer's end.
pub(crate) fn read_to_end(client: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads up to the peer's end, orderly or not.
pub(crate) fn read_to_any_end(client: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => bytes,
    }
}

/// Sends bytes to an echo, and gets them back.
pub(crate) fn exchange(client: &mut (impl Read + Write), bytes: &[u8]) {
    client.write_all(bytes).unwrap();
    assert_eq!(read(client, bytes.len()), bytes);
}

/// Whether there is nothing to be read at this moment, not even an end.
pub(crate) fn is_silent(client: &mut impl Client) -> bool {
    client.set_blocking(false);
    let answer = client.read(&mut [0]);
    client.set_blocking(true);
    matches!(answer, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Whether nobody listens there.
pub(crate) fn is_refused(to: SocketAddr) -> bool {
    let answer = TcpStream::connect_timeout(&to, PATIENCE);
    matches!(answer, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

/// `[::1]`, where the machine has it.
pub(crate) fn ipv6() -> Option<Address> {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => Some("[::1]:0".parse().unwrap()),
        Err(error) => {
            eprintln!("skipped: [::1] cannot be bound: {error}");
            None
        }
    }
}

/// A pipe whose ends block: to read from, and to write to.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    let (writer, reader) = mio::unix::pipe::new().unwrap();
    writer.set_nonblocking(false).unwrap();
    reader.set_nonblocking(false).unwrap();
    (reader.into(), writer.into())
}

/// A stream of bytes without a short period, to be compared piece by piece.
pub(crate) struct Pattern {
    block: Vec<u8>,
    at: usize,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Pattern {
        let mut rng = tidemill::Rng::new(seed);
        let block = (0..PATTERN_PERIOD).map(|_| rng.below(256) as u8).collect();
        Pattern { block, at: 0 }
    }

    /// The next bytes: at most so many, at least one.
    pub(crate) fn next(&mut self, at_most: usize) -> &[u8] {
        let start = self.at;
        let end = self.block.len().min(start + at_most);
        self.at = end % self.block.len();
        &self.block[start..end]
    }

    /// Asserts that these bytes are the next ones.
    pub(crate) fn check(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.next(bytes.len());
            let (head, tail) = bytes.split_at(expected.len());
            assert!(head == expected, "bytes are lost, doubled or changed");
            bytes = tail;
        }
    }
}

/// Prime, so that no buffer's size hides a shift.
const PATTERN_PERIOD: usize = 65_521;

/// A directory of one test, removed with all that is in it when dropped.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tidemill-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        TempDir(dir)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// As an address, as a person writes it.
    pub(crate) fn unix(&self, name: &str) -> String {
        format!("unix:{}", self.path(name).display())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A name in the abstract namespace that nobody else uses, without the `@`.
pub(crate) fn abstract_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("tidemill-test-{}-{number}", std::process::id())
}

/// Connects to a name in the abstract namespace.
pub(crate) fn connect_abstract(name: &str) -> io::Result<std::os::unix::net::UnixStream> {
    let address = socket2::SockAddr::unix(format!("\0{name}"))?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.connect(&address)?;
    let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(socket));
    stream.set_patience();
    Ok(stream)
}

/// What a handler of a test tells it.
#[derive(Debug)]
pub(crate) enum Event {
    Opened(ConnId, NetAddr),
    /// Why, in words.
    Closed(ConnId, String),
}
