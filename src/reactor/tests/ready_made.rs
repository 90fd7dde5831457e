//! The handlers of `protocols`, on a reactor.

use super::*;
use crate::codec::{Next, Part, Text, TextError, decimal};
use crate::handler::{FrameHandler, Framed};
use crate::protocols::{DatagramEcho, LengthEcho, LineEcho};

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
fn length_echo_answers_frame_by_frame_and_ends_one_who_announces_too_much() {
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), |_: &NetAddr| LengthEcho::framed()).unwrap();
    let peer = rig.connect();
    for piece in [&b"\0\0\0\0\0\0\0"[..], b"\x03on", b"e\0"] {
        rig.send(&peer, piece);
    }
    assert_eq!(peer.receive(), b"\0\0\0\0\0\0\0\x03one", "the start of a third waits");

    let rude = rig.connect();
    rig.send(&rude, b"\0\0\0\x01!\0\x10\0\x01");
    assert_eq!(rude.receive(), b"\0\0\0\x01!");
    assert!(ended_well(&rude));
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
    assert_eq!(rig.reactor.counters().datagram_replies_refused, 1);
}

/// Takes a number, then as many bytes as it says; complains of what is no number.
struct Counted {
    wanted: Option<u64>,
}

impl FrameHandler<Text, u32> for Counted {
    fn on_frame(&mut self, cx: &mut Context<'_, u32>, part: Part<'_>) -> Result<(), Fault> {
        match part {
            Part::Line(line) => self.wanted = decimal(line),
            Part::Block(block) => cx.write(&[b"<", block, b">"].concat()),
            _ => {}
        }
        Ok(())
    }

    fn steer(&mut self, decoder: &mut Text) {
        if let Some(count) = self.wanted.take() {
            decoder.expect(Next::Block(count));
        }
    }

    fn on_decode_error(&mut self, cx: &mut Context<'_, u32>, error: &TextError) {
        cx.write(format!("sorry: {error}").as_bytes());
    }
}

#[test]
fn a_handler_of_frames_steers_its_decoder_and_hears_of_its_errors() {
    let mut rig = Rig::new();
    let service = |_: &NetAddr| Framed::new(Text::new(), Counted { wanted: None });
    rig.reactor.listen(&at(), service).unwrap();
    let peer = rig.connect();
    // The block arrives together with the line that announces it.
    rig.send(&peer, b"5\r\nab\ncd\r\n2\r\nx");
    assert_eq!(peer.receive(), b"<ab\ncd>");
    rig.send(&peer, b"y\r\n");
    assert_eq!(peer.receive(), b"<xy>");
    rig.send(&peer, b"bare\n");
    let sorry = String::from_utf8(peer.receive()).unwrap();
    assert!(sorry.starts_with("sorry: "), "{sorry}");
    assert!(ended_well(&peer));
}
