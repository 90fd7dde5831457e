//! What is taken, what is left, and how ends and errors are told.

use super::*;
use crate::codec::{Ending, Line, Lines};
use crate::handler::{FrameHandler, Framed};

/// Resumes by message 1, pauses by message 2.
fn by_message(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    match event {
        Event::Message(1) => cx.resume(),
        Event::Message(2) => cx.pause(),
        _ => {}
    }
    plain(cx, event)
}

#[test]
fn the_count_holds_if_the_call_paused() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(b"abcdef") => {
            cx.pause();
            Ok(2)
        }
        _ => by_message(cx, event),
    });
    rig.send(&peer, b"abcdef");
    rig.send(&peer, b"gh");
    assert_eq!(rig.log.of(0), ["open", "bytes abcdef"], "paused");
    let reads = rig.world.calls(Call::Read);
    let id = rig.log.id(0);
    rig.reactor.handle().send(id, 1).unwrap();
    rig.settle();
    assert!(rig.world.calls(Call::Read) > reads);
    let seen = ["open", "bytes abcdef", "message(1)", "bytes cdef", "bytes gh"];
    assert_eq!(rig.log.of(0), seen, "first without new bytes, then what came meanwhile");
}

#[test]
fn a_rest_that_was_left_by_pausing_is_offered_on_resume_though_nothing_comes() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) if bytes.len() > 1 => {
            cx.pause();
            Ok(1)
        }
        _ => by_message(cx, event),
    });
    let id = rig.log.id(0);
    rig.send(&peer, b"abc");
    assert_eq!(rig.reactor.buffered_bytes(), 2);
    for _ in 0..2 {
        rig.reactor.handle().send(id, 1).unwrap();
        rig.settle();
    }
    let seen = ["open", "bytes abc", "message(1)", "bytes bc", "message(1)", "bytes c"];
    assert_eq!(rig.log.of(0), seen);
    assert_eq!(rig.reactor.buffered_bytes(), 0);
}

#[test]
fn a_rest_that_was_left_by_an_outbox_above_high_is_offered_once_it_has_drained() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) if bytes.len() > 1 => {
            cx.write(&[b'.'; 300 * 1024]);
            assert!(!cx.wants_input() && cx.is_full());
            Ok(1)
        }
        _ => plain(cx, event),
    });
    rig.send(&peer, b"ab");
    assert_eq!(rig.log.of(0), ["open", "bytes ab"]);
    assert_eq!(rig.drain(&peer).len(), 300 * 1024);
    assert_eq!(rig.log.of(0), ["open", "bytes ab", "drain", "bytes b"]);
}

#[test]
fn a_rest_left_freely_is_shown_again_only_with_more() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Bytes(bytes) if !bytes.ends_with(b".") => Ok(0),
        _ => by_message(cx, event),
    });
    let id = rig.log.id(0);
    rig.send(&peer, b"ab");
    for message in [2, 1] {
        rig.reactor.handle().send(id, message).unwrap();
        rig.settle();
    }
    rig.send(&peer, b"c.");
    let seen = ["open", "bytes ab", "message(2)", "message(1)", "bytes abc."];
    assert_eq!(rig.log.of(0), seen);
}

#[test]
fn pausing_and_resuming_in_one_call_loses_nothing() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.pause();
            cx.resume();
        }
        plain(cx, event)
    });
    rig.send(&peer, b"a");
    rig.send(&peer, b"b");
    assert_eq!(rig.log.of(0), ["open", "bytes a", "bytes b"]);
}

#[test]
fn eof_is_told_only_while_input_is_wanted_and_after_all_input() {
    let (mut rig, peer) = Rig::serving(|cx, event| {
        if *event == Event::Open {
            cx.pause();
        }
        by_message(cx, event)
    });
    peer.send(b"last words");
    peer.finish();
    rig.settle();
    rig.pass(secs(10));
    assert_eq!(rig.log.of(0), ["open"]);
    let id = rig.log.id(0);
    rig.reactor.handle().send(id, 1).unwrap();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "message(1)", "bytes last words", "eof", "closed"]);
    rig.assert_empty();
}

#[test]
fn pausing_at_the_last_bytes_holds_the_end_back_too() {
    for manners in [
        Manners::default(),
        Manners { hints: true, ..Manners::default() },
        Manners { short_read_drains: true, ..Manners::default() },
    ] {
        let mut rig = Rig::new();
        rig.world.set_manners(manners);
        rig.serve(|cx, event| {
            if let Event::Bytes(bytes) = event {
                cx.pause();
                return Ok(bytes.len().min(2));
            }
            by_message(cx, event)
        });
        let peer = rig.connect();
        peer.send(b"abc");
        peer.finish();
        rig.settle();
        let id = rig.log.id(0);
        rig.reactor.handle().send(id, 1).unwrap();
        rig.settle();
        assert_eq!(rig.log.of(0), ["open", "bytes abc", "message(1)", "bytes c"], "paused again");
        rig.reactor.handle().send(id, 1).unwrap();
        rig.settle();
        assert_eq!(rig.log.of(0)[4..], ["message(1)", "eof", "closed"]);
    }
}

#[test]
fn what_was_left_is_shown_to_on_eof() {
    let (mut rig, peer) = Rig::serving(lazy);
    rig.send(&peer, b"ab");
    rig.send(&peer, b"cd");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes ab", "bytes abcd", "eof abcd", "closed"]);
    rig.assert_empty();
}

#[test]
fn a_handler_that_owes_an_answer_overrides_on_eof() {
    let (mut rig, peer) = Rig::serving(|cx, event| match event {
        Event::Eof(_) => {
            cx.set_timer(1, ms(5));
            Ok(0)
        }
        Event::Timer(_) => {
            cx.write(b"the answer");
            cx.close();
            Ok(0)
        }
        _ => plain(cx, event),
    });
    peer.send(b"question");
    peer.finish();
    rig.pass_ms(10);
    assert_eq!(peer.receive(), b"the answer");
    assert!(ended_well(&peer));
    assert_eq!(rig.log.of(0), ["open", "bytes question", "eof", "timer(1)", "closed"]);
    assert_eq!(rig.world.calls(Call::Finish), 0, "closing sends our end");
    rig.assert_empty();
}

#[test]
fn a_reset_ends_even_a_paused_connection() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { hints: true, ..Manners::default() });
    rig.serve(|cx, event| {
        if *event == Event::Open {
            cx.pause();
        }
        plain(cx, event)
    });
    let peer = rig.connect();
    peer.send(b"unread");
    rig.settle();
    peer.reset();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "reset by the peer"]);
    rig.assert_empty();
}

#[test]
fn a_reset_is_noticed_though_asking_is_interrupted() {
    for errno in [libc::EINTR, libc::EAGAIN] {
        let mut rig = Rig::new();
        rig.world.set_manners(Manners { hints: true, ..Manners::default() });
        rig.serve(|cx, event| {
            if *event == Event::Open {
                cx.pause();
            }
            plain(cx, event)
        });
        let peer = rig.connect();
        rig.world.fail_next(Call::Connected, errno);
        peer.reset();
        rig.settle();
        assert_eq!(rig.log.of(0), ["open", "reset by the peer"]);
    }
}

#[test]
fn a_reset_is_told_after_the_bytes_that_came_before_it_were_read() {
    let (mut rig, peer) = Rig::serving(plain);
    rig.send(&peer, b"x");
    peer.reset();
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes x", "reset by the peer"]);
    rig.assert_empty();
}

struct Parrot;

impl FrameHandler<Lines, u32> for Parrot {
    fn on_frame(&mut self, cx: &mut Context<'_, u32>, line: Line<'_>) -> Result<(), Fault> {
        cx.write(line.whole());
        Ok(())
    }
}

#[test]
fn the_codecs_limit_decides_for_frames_and_limits_for_the_rest() {
    let limits = |limits: &mut Limits| limits.rest_bytes = 10;
    let mut rig = Rig::with(limits);
    let service = |_: &NetAddr| Framed::new(Lines::new(Ending::Any).with_limit(100), Parrot);
    rig.reactor.listen(&at(), service).unwrap();
    let peer = rig.connect();
    rig.send(&peer, &[b'x'; 50]);
    rig.send(&peer, &[b'x'; 50]);
    rig.send(&peer, b"\n");
    assert_eq!(peer.receive().len(), 101, "longer than rest_bytes, as long as a line may be");
    rig.send(&peer, &[b'x'; 101]);
    assert!(ended_well(&peer));

    let mut rig = Rig::with(limits);
    rig.serve(lazy);
    let peer = rig.connect();
    rig.send(&peer, &[b'x'; 10]);
    assert_eq!(rig.log.of(0).len(), 2);
    rig.send(&peer, b"x");
    assert_eq!(rig.log.of(0).len(), 3, "ten bytes may be left, so it is shown eleven");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0).last().unwrap(), "too much input without an end");
    rig.assert_empty();
}

#[test]
fn frames_behind_one_that_pauses_wait_in_order() {
    struct Slow;
    impl FrameHandler<Lines, u32> for Slow {
        fn on_frame(&mut self, cx: &mut Context<'_, u32>, line: Line<'_>) -> Result<(), Fault> {
            cx.write(line.whole());
            cx.pause();
            cx.set_timer(1, ms(10));
            Ok(())
        }
        fn on_timer(&mut self, cx: &mut Context<'_, u32>, _: u32) -> Result<(), Fault> {
            cx.resume();
            Ok(())
        }
    }
    let mut rig = Rig::new();
    rig.reactor.listen(&at(), |_: &NetAddr| Framed::new(Lines::default(), Slow)).unwrap();
    let peer = rig.connect();
    // The first comes in two parts: what it wanted more is not what the next one wants.
    rig.send(&peer, b"a longer");
    peer.send(b" one\r\nb\r\nc");
    for answer in ["a longer one\r\n", "b\r\n"] {
        rig.settle();
        assert_eq!(peer.receive(), answer.as_bytes());
        rig.pass_ms(10);
    }
    peer.finish();
    rig.settle();
    assert_eq!(peer.receive(), b"c");
    rig.pass_ms(10);
    assert!(ended_well(&peer));
    rig.assert_empty();
}

#[test]
fn short_reads_that_drain_spare_the_read_that_would_block() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
    rig.serve(echo);
    let peer = rig.connect();
    rig.send(&peer, b"x");
    let before = rig.world.calls(Call::Read);
    for _ in 0..10 {
        rig.send(&peer, b"x");
    }
    assert_eq!(rig.world.calls(Call::Read) - before, 10);
    peer.send(b"last");
    peer.finish();
    rig.settle();
    assert_eq!(rig.log.of(0)[12..], ["bytes last", "eof", "closed"], "FIN and data in one edge");
}

#[test]
fn bytes_behind_an_urgent_one_are_read_though_no_edge_tells() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { short_read_drains: true, ..Manners::default() });
    rig.serve(echo);
    let peer = rig.connect();
    rig.send(&peer, b"x");
    peer.send(b"before");
    peer.send_urgent();
    peer.send(b"after");
    rig.settle();
    assert_eq!(rig.log.of(0), ["open", "bytes x", "bytes before", "bytes after"]);
    let reads = rig.world.calls(Call::Read);
    rig.send(&peer, b"y");
    assert_eq!(rig.world.calls(Call::Read) - reads, 1, "once it has passed, it costs nothing");
}

#[test]
fn a_reset_after_the_peers_end_is_noticed_by_one_who_stays() {
    let mut rig = Rig::new();
    rig.world.set_manners(Manners { hints: true, ..Manners::default() });
    rig.serve(|cx, event| match event {
        Event::Eof(_) => Ok(0), // an answer is still owed
        _ => plain(cx, event),
    });
    let peer = rig.connect();
    rig.send(&peer, b"question");
    peer.finish();
    rig.settle();
    peer.reset();
    rig.settle();
    let seen = ["open", "bytes question", "eof", "reset by the peer"];
    assert_eq!(rig.log.of(0), seen, "rather than after the idle time");
    rig.assert_empty();
}
