use std::time::Duration;

use super::*;
use crate::handler::Context;
use crate::hub::reason::{CloseReason, Fault};
use crate::protocols::{Echo, LineEcho};
use crate::sim::Manners;

/// A handler from a closure.
struct Script<F>(F);

enum Event<'a> {
    Open,
    Bytes(&'a [u8]),
    Eof,
    Drain,
    Timer(u32),
    Message(u32),
    Shutdown,
}

impl<F> StreamHandler<u32> for Script<F>
where
    F: FnMut(&mut Context<'_, u32>, Event<'_>) -> Result<usize, Fault> + 'static,
{
    fn on_open(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.0(cx, Event::Open).map(drop)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, u32>, input: &[u8]) -> Result<usize, Fault> {
        self.0(cx, Event::Bytes(input))
    }

    fn on_eof(&mut self, cx: &mut Context<'_, u32>, _: &[u8]) -> Result<(), Fault> {
        self.0(cx, Event::Eof).map(drop)
    }

    fn on_drain(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.0(cx, Event::Drain).map(drop)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, u32>, tag: u32) -> Result<(), Fault> {
        self.0(cx, Event::Timer(tag)).map(drop)
    }

    fn on_message(&mut self, cx: &mut Context<'_, u32>, message: u32) -> Result<(), Fault> {
        self.0(cx, Event::Message(message)).map(drop)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.0(cx, Event::Shutdown).map(drop)
    }
}

fn harness(
    act: impl FnMut(&mut Context<'_, u32>, Event<'_>) -> Result<usize, Fault> + 'static,
) -> Harness<u32> {
    Harness::new(Script(act))
}

/// Takes all, and closes where a default callback would.
fn plain(cx: &mut Context<'_, u32>, event: Event<'_>) -> Result<usize, Fault> {
    match event {
        Event::Bytes(input) => return Ok(input.len()),
        Event::Eof | Event::Shutdown => cx.close(),
        _ => {}
    }
    Ok(0)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn every_kind_of_step_is_in_the_transcript() {
    let mut it = harness(|cx, event| {
        match event {
            Event::Open => cx.write(b"hello\r\n"),
            Event::Message(number) => cx.write(format!("{number}\t'\"").as_bytes()),
            Event::Timer(7) => cx.write(b"tick"),
            Event::Bytes(_) => drop(cx.set_timer(7, Duration::from_millis(1500))),
            _ => {}
        }
        plain(cx, event)
    });
    it.bytes(b"a\nb\xff").message(5).block().message(6).unblock().advance(secs(10));
    it.shutdown(secs(3)).eof();
    it.assert_transcript(
        r#"
 0.000 < "hello\r\n"
 0.000 > "a\n"
 0.000 > "b\xff"
 0.000 ! message
 0.000 < "5\t'\""
 0.000 ! the peer stops reading
 0.000 ! message
 0.000 ! the peer reads
 0.000 < "6\t'\""
 1.500 < "tick"
10.000 ! shutdown within 3s
10.000 < eof
10.000 > eof
10.000 = closed
"#,
    );
    assert!(it.is_closed() && it.has_ended());
    assert_eq!(it.now(), secs(10));
}

#[test]
fn a_greeting_and_a_reset_are_seen() {
    let mut it: Harness = Harness::new(Echo);
    it.bytes(b"x").reset().bytes(b"into the void").eof().reset();
    it.assert_transcript(
        "0.000 > \"x\"\n0.000 < \"x\"\n0.000 > reset\n0.000 = reset by the peer\n",
    );
    assert_eq!(it.end(), "reset by the peer");

    let mut it = harness(|cx, event| {
        if let Event::Bytes(_) = event {
            cx.abort();
        }
        plain(cx, event)
    });
    it.bytes(b"x");
    it.assert_transcript("0.000 > \"x\"\n0.000 < reset\n0.000 = aborted\n");
}

#[test]
fn a_peer_that_does_not_read_holds_back_and_then_drains() {
    let drains = Rc::new(RefCell::new(0));
    let noted = drains.clone();
    let act = move |cx: &mut Context<'_, u32>, event: Event<'_>| {
        match event {
            Event::Bytes(input) => cx.write(&[b'x'; 100].repeat(input.len())),
            Event::Drain => *noted.borrow_mut() += 1,
            _ => {}
        }
        plain(cx, event)
    };
    let world = World::new(1);
    world.set_capacity(50);
    let limits = Limits { outbox_low_bytes: 100, outbox_high_bytes: 200, ..Limits::default() };
    let mut it = Harness::in_world(Script(act), limits, world);
    it.block().bytes(&[b'.'; 300]);
    assert_eq!((it.written().len(), *drains.borrow()), (0, 0));
    assert!(!it.unsent.is_empty(), "it does not read on");
    it.unblock();
    assert_eq!((it.written().len(), *drains.borrow() > 0), (30_000, true));
    assert_eq!(it.end(), "closed");
}

#[test]
fn a_deadline_comes_at_its_moment() {
    let mut it: Harness = Harness::new(LineEcho::framed());
    it.bytes(b"unfin").advance(secs(31));
    it.assert_transcript(" 0.000 > \"unfin\"\n30.000 < eof\n");
    assert_eq!(it.end(), "timed out: unfinished message");
}

#[test]
fn in_a_bad_world_the_same_is_written() {
    for seed in 0..20 {
        let world = World::new(seed);
        world.set_manners(Manners::chatty());
        world.set_capacity(3);
        let mut it: Harness = Harness::in_world(LineEcho::framed(), Limits::default(), world);
        it.bytes(b"one\ntwo\r\n").block().bytes(b"three\nfour").unblock();
        assert_eq!(it.end(), "closed", "seed {seed}");
        assert_eq!(it.written(), b"one\ntwo\r\nthree\nfour", "seed {seed}");
    }
}

#[test]
fn a_rest_is_shown_again_after_a_pause() {
    let mut it = harness(|cx, event| match event {
        Event::Bytes(input) => {
            cx.write(&input[..1]);
            cx.pause();
            cx.set_timer(1, secs(1));
            Ok(1)
        }
        Event::Timer(_) => {
            cx.resume();
            Ok(0)
        }
        _ => plain(cx, event),
    });
    it.bytes(b"abc").advance(secs(5));
    it.assert_transcript("0.000 > \"abc\"\n0.000 < \"a\"\n1.000 < \"b\"\n2.000 < \"c\"\n");
}

#[test]
fn a_long_line_is_cut_in_the_transcript_alone() {
    let mut it: Harness = Harness::new(Echo);
    it.bytes(&[b'x'; 1000]);
    assert_eq!(it.take_written(), [b'x'; 1000]);
    let line = format!("\"{}\"... (1000 bytes)", "x".repeat(120));
    it.assert_transcript(&format!("0.000 > {line}\n0.000 < {line}\n"));
}

#[test]
fn what_the_handler_wrote_before_a_fault_is_seen() {
    let mut it = harness(|cx, event| match event {
        Event::Bytes(_) => {
            cx.write(b"no");
            Err(Fault::new("nonsense"))
        }
        _ => plain(cx, event),
    });
    it.bytes(b"?");
    assert_eq!((it.has_ended(), it.is_closed()), (true, false), "it lingers");
    it.eof();
    assert_eq!(it.close_reason(), Some("fault: nonsense"));
}

#[test]
#[should_panic(expected = "another transcript from line 2: it is\n0.000 > \"x\"\n0.000 < \"x\"\n")]
fn a_transcript_that_differs_is_shown() {
    let mut it: Harness = Harness::new(Echo);
    it.bytes(b"x").assert_transcript("0.000 > \"x\"\n0.000 < \"y\"\n");
}

// What a handler must not do.

#[test]
#[should_panic(expected = "the handler took 2 bytes, and was shown 1")]
fn taking_too_much_is_found() {
    harness(|cx, event| match event {
        Event::Bytes(input) => Ok(input.len() + 1),
        _ => plain(cx, event),
    })
    .bytes(b"x");
}

#[test]
#[should_panic(expected = "the handler panicked: index\n0.000 > \"x\"")]
fn a_panic_is_told_with_the_transcript() {
    harness(|cx, event| match event {
        Event::Bytes(_) => panic!("index"),
        _ => plain(cx, event),
    })
    .bytes(b"x");
}

#[test]
#[should_panic(expected = "it has not come to rest")]
fn a_timer_of_no_duration_that_is_set_again_is_found() {
    harness(|cx, event| {
        if let Event::Timer(_) | Event::Open = event {
            cx.set_timer(1, Duration::ZERO);
        }
        plain(cx, event)
    });
}

#[test]
#[should_panic(expected = "it writes more than 67108864 bytes")]
fn output_without_end_is_found() {
    harness(|cx, event| {
        if let Event::Drain | Event::Open = event {
            cx.write(&vec![0; 1 << 20]);
        }
        plain(cx, event)
    });
}

#[test]
#[should_panic(expected = "still open when 1000 deadlines had passed")]
fn staying_after_the_end_for_ever_is_found() {
    harness(|cx, event| match event {
        Event::Open | Event::Timer(_) => {
            cx.write(b".");
            cx.set_timer(1, secs(1));
            Ok(0)
        }
        Event::Eof => Ok(0), // and does not close
        _ => plain(cx, event),
    })
    .bytes(b"x")
    .end();
}

#[test]
fn who_only_forgets_to_close_is_ended_by_the_idle_deadline() {
    let mut it = harness(|cx, event| match event {
        Event::Eof => Ok(0),
        _ => plain(cx, event),
    });
    assert_eq!(it.bytes(b"x").end(), "timed out: idle");
    assert_eq!(it.now(), secs(300));
}

#[test]
#[should_panic(expected = "nothing is due, and it is still open")]
fn without_a_deadline_it_hangs_and_that_is_found() {
    let act = |cx: &mut Context<'_, u32>, event: Event<'_>| match event {
        Event::Bytes(_) => {
            cx.pause();
            Ok(0)
        }
        _ => plain(cx, event),
    };
    let limits = Limits { idle: Duration::MAX, message: Duration::MAX, ..Limits::default() };
    Harness::with_limits(Script(act), limits).bytes(b"x").end();
}

// What a reactor must not do, shown to the spy by itself.

#[test]
fn the_spy_knows_a_broken_promise() {
    use super::spy::Notes;
    let broken = |act: fn(&mut Notes)| {
        let mut notes = Notes::default();
        notes.sent = b"abc".to_vec();
        act(&mut notes);
        notes.broken.unwrap_or_default()
    };
    assert_eq!(broken(|notes| notes.show(b"ab")), "");
    assert!(broken(|notes| notes.show(b"b")).contains("in order"));
    assert!(broken(|notes| notes.show(b"")).contains("more behind it"));
    assert!(broken(|notes| notes.show_end(b"bc")).contains("before the end"));
    fn leaves_a_rest(notes: &mut Notes, wants_input: bool) {
        notes.show(b"ab");
        notes.take(1, 2, wants_input);
        notes.show(b"b");
    }
    assert_eq!(broken(|notes| leaves_a_rest(notes, false)), "");
    assert!(broken(|notes| leaves_a_rest(notes, true)).contains("more behind it"));
}

#[test]
fn all_reasons_are_told_as_they_are() {
    let mut it: Harness = Harness::new(Echo);
    let reason = it.shutdown(secs(1)).end();
    assert_eq!(reason, CloseReason::Closed.to_string());
}
