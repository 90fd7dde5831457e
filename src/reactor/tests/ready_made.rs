//! The handlers of `protocols`, on a reactor.

use super::*;
use crate::protocols::{DatagramEcho, LineEcho};

#[test]
fn line_echo_answers_line_by_line_and_ends_one_who_sends_too_long_a_line() {
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), |_: &NetAddr| LineEcho::framed()).unwrap();
    let peer = rig.connect();
    for piece in [&b"on"[..], b"e\ntwo\r", b"\nthr"] {
        rig.send(&peer, piece);
    }
    assert_eq!(peer.receive(), b"one\ntwo\r\n");
    peer.finish();
    rig.settle();
    assert_eq!(peer.receive(), b"thr", "a last line needs no ending");
    assert!(ended_well(&peer));

    let rude = rig.connect();
    rude.send(b"fine\n");
    rude.send(&[b'x'; 9000]);
    rig.settle();
    assert_eq!(rude.receive(), b"fine\n");
    assert!(ended_well(&rude));
    rude.finish();
    rig.assert_empty();
}

#[test]
fn datagram_echo_does_not_answer_other_servers() {
    let mut rig = Rig::new();
    let options = DatagramOptions::default();
    let (_, local) = rig.reactor.bind_datagram(&at(), &options, DatagramEcho).unwrap();
    let client = rig.world.bind_datagram("10.0.0.2:1024".parse::<Address>().unwrap());
    let chargen = rig.world.bind_datagram("10.0.0.2:1023".parse::<Address>().unwrap());
    client.send_to(b"x", &local);
    chargen.send_to(b"x", &local);
    rig.settle();
    assert_eq!(client.receive().unwrap().0, b"x");
    assert_eq!(chargen.receive(), None);
}
