//! Real sockets: that the platform keeps its contract.

mod adopted;
mod datagrams;
mod streams;
mod waits;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;

use socket2::{Domain, SockRef, Type};

use super::*;
use crate::sys::temp_dir::TempDir;
use crate::sys::{Readiness, raw, socket};

const ANY: &str = "127.0.0.1:0";
const SEVEN: Token = Token::Connection(7);
/// Far longer than anything here takes; a test that runs into it fails.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn os() -> Os {
    Os::new().unwrap()
}

fn any() -> Address {
    ANY.parse().unwrap()
}

/// What a wait of so long finds.
fn edges_within(os: &mut Os, wait: Option<Duration>) -> Vec<Edge> {
    let found = os.wait(wait.into()).unwrap();
    let edges = (0..found).map(|index| os.edge(index));
    edges.filter(|edge| edge.token != Token::NOBODY).collect()
}

/// What all edges of one token said together, once they have said all of `wanted`.
fn wait_for(os: &mut Os, token: Token, wanted: &[Readiness]) -> Readiness {
    let mut said = Readiness::default();
    while !wanted.iter().all(|flag| said.has(*flag)) {
        let edges = edges_within(os, PATIENCE);
        assert!(!edges.is_empty(), "waited for {wanted:?}, got {said:?}");
        let ours = edges.iter().filter(|edge| edge.token == token);
        said = ours.fold(said, |all, edge| all.with(edge.ready));
    }
    said
}

fn listen(os: &mut Os, options: &ListenOptions) -> (OsListener, SocketAddr) {
    let mut listener = os.listen(&any(), options).unwrap();
    os.register_listener(&mut listener, Token::Endpoint(0)).unwrap();
    let address = listener.local_addr().unwrap().inet().unwrap();
    (listener, address)
}

/// A registered stream that was accepted, and the other end of it.
fn accepted(os: &mut Os) -> (OsStream, TcpStream) {
    let (mut listener, address) = listen(os, &ListenOptions::default());
    let theirs = TcpStream::connect(address).unwrap();
    wait_for(os, Token::Endpoint(0), &[Readiness::READABLE]);
    let mut peer = NetAddr::Unnamed;
    let mut ours = os.accept(&mut listener, &mut peer).unwrap();
    assert_eq!(peer, NetAddr::Inet(theirs.local_addr().unwrap()));
    os.register_stream(&mut ours, SEVEN).unwrap();
    os.close_listener(listener);
    (ours, theirs)
}

/// A pipe, whose ends block.
fn pipe() -> (File, File) {
    let (writer, reader) = mio::unix::pipe::new().unwrap();
    writer.set_nonblocking(false).unwrap();
    reader.set_nonblocking(false).unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

fn read_error(os: &mut Os, stream: &mut OsStream) -> io::ErrorKind {
    os.read(stream, &mut [0; 64]).unwrap_err().kind()
}
