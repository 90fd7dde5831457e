//! Scenes of datagrams.

use super::far::{FarDatagram, Stage};
use super::{DATAGRAM, Near};
use crate::base::address::NetAddr;
use crate::sys::{DatagramOptions, Platform, Readiness, Socket};

type Datagram<S> = <<S as Stage>::Platform as Platform>::Datagram;

mod tests {
    crate::sim::conformance::scenes! {
        [Inet, Unix]:
            one_edge_for_several_datagrams
            empty_cut_and_whole
            an_edge_for_each_after_would_block
            answering_the_sender
            too_large_is_an_error_of_that_one
            sending_to_nobody;
        [Unix]:
            a_full_unix_receiver;
    }
}

impl<S: Stage> Near<S> {
    /// A registered socket, its first edges gathered, and its address.
    fn datagram(&mut self) -> (Datagram<S>, NetAddr) {
        let wanted = self.stage.address(self.transport);
        let platform = self.stage.platform();
        let mut socket = platform.bind_datagram(&wanted, &DatagramOptions::default()).unwrap();
        platform.register_datagram(&mut socket, DATAGRAM).unwrap();
        let here = socket.local_addr().unwrap();
        assert!(self.edges(DATAGRAM).has(Readiness::WRITABLE));
        (socket, here)
    }

    /// Notes the payload, whether it was cut, and whether it came from there.
    fn receive(&mut self, socket: &mut Datagram<S>, from: &NetAddr) {
        let _ = self.ask("receive", |platform| {
            let mut buffer = [0; 8];
            let received = platform.receive(socket, &mut buffer)?;
            let payload = String::from_utf8_lossy(&buffer[..received.len]).into_owned();
            Ok((payload, received.truncated, received.from == *from))
        });
    }

    fn send(&mut self, socket: &mut Datagram<S>, payload: &[u8], to: &NetAddr) {
        let _ = self.ask("send", |platform| platform.send(socket, payload, to));
    }
}

fn one_edge_for_several_datagrams<S: Stage>(near: &mut Near<S>) {
    let (mut socket, here) = near.datagram();
    let far = near.stage.bind(near.transport);
    for payload in [b"1", b"2", b"3"] {
        far.send(payload, &here);
    }
    near.edges(DATAGRAM);
    for _ in 0..3 {
        near.receive(&mut socket, &far.address());
    }
    near.receive(&mut socket, &far.address());
    near.no_edges(DATAGRAM);
}

fn empty_cut_and_whole<S: Stage>(near: &mut Near<S>) {
    let (mut socket, here) = near.datagram();
    let far = near.stage.bind(near.transport);
    for payload in [&b""[..], b"12345678", b"123456789", b"", b"end"] {
        far.send(payload, &here);
    }
    near.edges(DATAGRAM);
    for _ in 0..5 {
        near.receive(&mut socket, &far.address());
    }
    near.receive(&mut socket, &far.address());
}

fn an_edge_for_each_after_would_block<S: Stage>(near: &mut Near<S>) {
    let (mut socket, here) = near.datagram();
    let far = near.stage.bind(near.transport);
    for _ in 0..3 {
        near.receive(&mut socket, &far.address());
        near.no_edges(DATAGRAM);
        far.send(b"x", &here);
        near.edges(DATAGRAM);
        near.receive(&mut socket, &far.address());
    }
}

fn answering_the_sender<S: Stage>(near: &mut Near<S>) {
    let (mut socket, here) = near.datagram();
    let far = near.stage.bind(near.transport);
    for payload in [&b"pong"[..], b"", b"again"] {
        near.send(&mut socket, payload, &far.address());
        let (received, from) = far.receive();
        near.see("far received", (received, from == here));
    }
    near.receive(&mut socket, &far.address());
}

fn too_large_is_an_error_of_that_one<S: Stage>(near: &mut Near<S>) {
    let (mut socket, _) = near.datagram();
    let far = near.stage.bind(near.transport);
    let payload = vec![0; 8 << 20];
    near.send(&mut socket, &payload, &far.address());
    near.send(&mut socket, &payload[..65_508], &far.address());
    near.send(&mut socket, b"small", &far.address());
}

/// Nobody tells an unconnected UDP socket; a Unix socket knows.
fn sending_to_nobody<S: Stage>(near: &mut Near<S>) {
    let (mut socket, _) = near.datagram();
    let (gone, there) = near.datagram();
    near.stage.platform().close_datagram(gone);
    near.send(&mut socket, b"anybody?", &there);
    near.send(&mut socket, b"anybody?", &there);
    near.receive(&mut socket, &there);
}

fn a_full_unix_receiver<S: Stage>(near: &mut Near<S>) {
    let (mut socket, _) = near.datagram();
    let far = near.stage.bind(near.transport);
    let to = far.address();
    let _ = near.ask("fill", |platform| -> std::io::Result<()> {
        for _ in 0..100_000 {
            platform.send(&mut socket, b"x", &to)?;
        }
        Ok(())
    });
    far.receive();
    near.send(&mut socket, b"x", &to);
}
