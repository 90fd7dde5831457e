//! The far ends of a scene's sockets: the simulation's peers, and real ones that block.

use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};

use super::{PATIENCE, Transport};
use crate::base::address::{Address, NetAddr};
use crate::sim::{DatagramPeer, Manners, Node, Peer, PeerListener, World};
use crate::sys::temp_dir::TempDir;
use crate::sys::{Os, Platform};

/// A platform and whoever is at the other end. What the far side does has arrived when the call
/// returns in the simulation, and soon after on the kernel.
pub(super) trait Stage: Sized {
    type Platform: Platform;
    type Far: Far;
    type FarListener: FarListener<Far = Self::Far>;
    type FarDatagram: FarDatagram;

    const NAME: &str;
    /// Whether news may be under way.
    const TAKES_TIME: bool;

    fn platform(&mut self) -> &mut Self::Platform;
    /// Where nobody is bound; an internet one has port 0.
    fn address(&mut self, transport: Transport) -> Address;
    fn connect(&mut self, to: &Address) -> Self::Far;
    fn listen(&mut self, transport: Transport) -> Self::FarListener;
    fn bind(&mut self, transport: Transport) -> Self::FarDatagram;
}

/// Dropping it closes, as close(2) does.
pub(super) trait Far {
    fn address(&self) -> NetAddr;
    /// Sends all of it.
    fn send(&self, bytes: &[u8]);
    fn send_urgent(&self);
    fn finish(&self);
    /// Closes by a reset, where the transport has one.
    fn reset(self);
    /// Receives exactly so many bytes.
    fn receive(&self, count: usize) -> Vec<u8>;
    /// Receives to the end of the near side's direction.
    fn end(&self) -> (Vec<u8>, End);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Fin,
    Reset,
}

pub(super) trait FarListener {
    type Far: Far;
    fn address(&self) -> NetAddr;
    fn accept(&self) -> Self::Far;
}

pub(super) trait FarDatagram {
    fn address(&self) -> NetAddr;
    fn send(&self, payload: &[u8], to: &NetAddr);
    fn receive(&self) -> (Vec<u8>, NetAddr);
}

pub(super) struct Simulated {
    world: World,
    node: Node,
    address_count: usize,
}

impl Simulated {
    pub(super) fn new(manners: &Manners) -> Simulated {
        let world = World::new(1);
        world.set_manners(manners.clone());
        Simulated { node: world.node(), world, address_count: 0 }
    }
}

impl Stage for Simulated {
    type Platform = Node;
    type Far = Peer;
    type FarListener = PeerListener;
    type FarDatagram = DatagramPeer;

    const NAME: &str = "the simulation";
    const TAKES_TIME: bool = false;

    fn platform(&mut self) -> &mut Node {
        &mut self.node
    }

    fn address(&mut self, transport: Transport) -> Address {
        self.address_count += 1;
        match transport {
            Transport::Inet => any_port().into(),
            Transport::Unix => Address::Path(format!("/run/{}", self.address_count).into()),
        }
    }

    fn connect(&mut self, to: &Address) -> Peer {
        self.world.connect(to.clone())
    }

    fn listen(&mut self, transport: Transport) -> PeerListener {
        let at = self.address(transport);
        self.world.listen(at)
    }

    fn bind(&mut self, transport: Transport) -> DatagramPeer {
        let at = self.address(transport);
        self.world.bind_datagram(at)
    }
}

impl Far for Peer {
    fn address(&self) -> NetAddr {
        self.address().clone()
    }

    fn send(&self, bytes: &[u8]) {
        assert_eq!(self.send(bytes), bytes.len());
    }

    fn send_urgent(&self) {
        self.send_urgent();
    }

    fn finish(&self) {
        self.finish();
    }

    fn reset(self) {
        self.reset();
    }

    fn receive(&self, count: usize) -> Vec<u8> {
        let bytes = self.receive_at_most(count);
        assert_eq!(bytes.len(), count);
        bytes
    }

    fn end(&self) -> (Vec<u8>, End) {
        let bytes = self.receive();
        assert!(self.has_ended() || self.was_reset(), "it goes on");
        // Behind a FIN, a reset is nothing to a reader: but on a Unix socket, where it comes first.
        let is_unix = self.remote().inet().is_none();
        let is_reset = self.was_reset() && (is_unix || !self.has_ended());
        (bytes, if is_reset { End::Reset } else { End::Fin })
    }
}

impl FarListener for PeerListener {
    type Far = Peer;

    fn address(&self) -> NetAddr {
        self.address().clone()
    }

    fn accept(&self) -> Peer {
        self.accept().expect("somebody has connected")
    }
}

impl FarDatagram for DatagramPeer {
    fn address(&self) -> NetAddr {
        self.address().clone()
    }

    fn send(&self, payload: &[u8], to: &NetAddr) {
        self.send_to(payload, to);
    }

    fn receive(&self) -> (Vec<u8>, NetAddr) {
        self.receive().expect("something was sent")
    }
}

pub(super) struct Real {
    os: Os,
    dir: TempDir,
    address_count: usize,
}

/// A socket that blocks, but not for ever.
pub(super) struct RealFar(socket2::Socket);

impl Real {
    pub(super) fn new() -> Real {
        Real { os: Os::new().unwrap(), dir: TempDir::new(), address_count: 0 }
    }

    fn bound(&mut self, transport: Transport, kind: Type) -> RealFar {
        let at = sock_addr(&self.address(transport));
        let socket = RealFar::new(&at, kind);
        socket.0.bind(&at).unwrap();
        socket
    }
}

impl Stage for Real {
    type Platform = Os;
    type Far = RealFar;
    type FarListener = RealFar;
    type FarDatagram = RealFar;

    const NAME: &str = "the kernel";
    const TAKES_TIME: bool = true;

    fn platform(&mut self) -> &mut Os {
        &mut self.os
    }

    fn address(&mut self, transport: Transport) -> Address {
        self.address_count += 1;
        match transport {
            Transport::Inet => any_port().into(),
            Transport::Unix => Address::Path(self.dir.path(&self.address_count.to_string())),
        }
    }

    fn connect(&mut self, to: &Address) -> RealFar {
        let to = sock_addr(to);
        let far = RealFar::new(&to, Type::STREAM);
        far.0.connect(&to).unwrap();
        far
    }

    fn listen(&mut self, transport: Transport) -> RealFar {
        let listener = self.bound(transport, Type::STREAM);
        listener.0.listen(16).unwrap();
        listener
    }

    fn bind(&mut self, transport: Transport) -> RealFar {
        self.bound(transport, Type::DGRAM)
    }
}

impl RealFar {
    fn new(address: &SockAddr, kind: Type) -> RealFar {
        let domain = Domain::from(i32::from(address.family()));
        RealFar::patient(socket2::Socket::new(domain, kind, None).unwrap())
    }

    fn patient(socket: socket2::Socket) -> RealFar {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        RealFar(socket)
    }

    fn local(&self) -> NetAddr {
        net_addr(&self.0.local_addr().unwrap())
    }
}

impl Far for RealFar {
    fn address(&self) -> NetAddr {
        self.local()
    }

    fn send(&self, bytes: &[u8]) {
        assert_eq!(self.0.send(bytes).unwrap(), bytes.len());
    }

    fn send_urgent(&self) {
        assert_eq!(self.0.send_out_of_band(b"!").unwrap(), 1);
    }

    fn finish(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO)).unwrap();
    }

    fn receive(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        (&self.0).read_exact(&mut bytes).unwrap();
        bytes
    }

    fn end(&self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = match (&self.0).read_to_end(&mut bytes).map_err(|error| error.raw_os_error()) {
            Ok(_) => End::Fin,
            Err(Some(libc::ECONNRESET)) => End::Reset,
            Err(errno) => panic!("{errno:?} after {bytes:?}"),
        };
        (bytes, end)
    }
}

impl FarListener for RealFar {
    type Far = RealFar;

    fn address(&self) -> NetAddr {
        self.local()
    }

    fn accept(&self) -> RealFar {
        RealFar::patient(self.0.accept().unwrap().0)
    }
}

impl FarDatagram for RealFar {
    fn address(&self) -> NetAddr {
        self.local()
    }

    fn send(&self, payload: &[u8], to: &NetAddr) {
        let to = sock_addr(&super::as_address(to));
        assert_eq!(self.0.send_to(payload, &to).unwrap(), payload.len());
    }

    fn receive(&self) -> (Vec<u8>, NetAddr) {
        let from = self.0.peek_sender().unwrap();
        let mut payload = vec![0; 64];
        let len = (&self.0).read(&mut payload).unwrap();
        payload.truncate(len);
        (payload, net_addr(&from))
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn sock_addr(address: &Address) -> SockAddr {
    match address {
        Address::Inet(inet) => (*inet).into(),
        Address::Path(path) => SockAddr::unix(path).unwrap(),
        other => panic!("{other} is for no scene"),
    }
}

fn net_addr(address: &SockAddr) -> NetAddr {
    match (address.as_socket(), address.as_pathname()) {
        (Some(inet), _) => NetAddr::Inet(inet),
        (None, Some(path)) => NetAddr::Path(path.into()),
        (None, None) => NetAddr::Unnamed,
    }
}
