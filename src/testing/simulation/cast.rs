//! Handlers that come with the simulation, with the clients that suit them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{Book, Role};
use super::script::{Judge, Script};
use super::watched::Watched;
use crate::base::address::Address;
use crate::base::id::ConnId;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::codec::{Ending, Line, Lines};
use crate::handler::{Context, FrameHandler, Framed, StreamHandler};
use crate::hub::groups::{Broadcast, Group, Slow};
use crate::hub::reason::{CloseReason, Fault};

/// Pauses now and then, until a timer or a letter to itself wakes it.
pub(super) struct Dozing<H> {
    handler: H,
    rng: Rng,
    book: Book,
    doze: Option<Doze>,
    /// When another timer is due, about which nothing is to be done.
    idle_timer: Option<Time>,
}

/// What it waits for.
#[derive(Clone, Copy)]
enum Doze {
    /// Due then; and what its host had lost when it was set.
    Timer(Time, Duration),
    Letter,
}

impl<H> Dozing<H> {
    pub(super) fn new(handler: H, rng: Rng, book: Book) -> Dozing<H> {
        Dozing { handler, rng, book, doze: None, idle_timer: None }
    }

    fn doze(&mut self, cx: &mut Context<'_>) {
        cx.pause();
        if self.rng.chance(1, 2) && cx.handle().send(cx.id(), ()).is_ok() {
            self.doze = Some(Doze::Letter);
            return;
        }
        let longest = if self.rng.chance(1, 8) { LONG_DOZE } else { 20_000 };
        let span = Duration::from_micros(self.rng.below(longest));
        self.doze = Some(Doze::Timer(cx.now() + span, self.book.lost_by(cx.id().reactor())));
        cx.set_timer(WAKE, span);
        cx.set_timer(NEVER, span);
        cx.cancel_timer(NEVER);
        cx.set_timer(TWIN, span);
        cx.set_timer(IDLE, span + BEHIND);
        self.idle_timer = Some(cx.now() + span + BEHIND);
    }
}

impl<H: StreamHandler> StreamHandler for Dozing<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        // Whoever sat here before has a name that reaches nobody.
        if let Some(former) = self.book.former(cx.id()) {
            let is_gone = cx.write_to(former, b"?").is_err();
            self.book.check(is_gone, || format!("{former} has gone, and takes a write"));
            let _ = cx.handle().send(former, ());
        }
        self.handler.on_open(cx)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        let taken = self.handler.on_bytes(cx, input)?;
        // A shutdown wakes everybody.
        if self.doze.is_none() && self.rng.chance(1, 8) {
            self.doze(cx);
        }
        Ok(taken)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Result<(), Fault> {
        self.handler.on_eof(cx, rest)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, tag: u32) -> Result<(), Fault> {
        let now = cx.now();
        if tag == IDLE {
            let is_due = self.idle_timer.take().is_some_and(|due| now >= due);
            self.book.check(is_due, || format!("{}: a timer too early, or again", cx.id()));
            return Ok(());
        }
        self.book.check(tag == WAKE, || format!("{}: a timer that was cancelled", cx.id()));
        cx.cancel_timer(TWIN);
        let doze = self.doze.take();
        let Some(Doze::Timer(until, lost)) = doze else {
            self.book.complain(format!("{}: a timer that nobody set", cx.id()));
            return Ok(());
        };
        self.book.check(now >= until, || format!("a timer for {until} came at {now}, early"));
        let latest = until + TICK + (self.book.lost_by(cx.id().reactor()) - lost);
        self.book.check(now <= latest, || format!("a timer for {until} came at {now}, late"));
        cx.resume();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, (): ()) -> Result<(), Fault> {
        let is_own = matches!(self.doze.take(), Some(Doze::Letter));
        self.book.check(is_own, || format!("{}: a letter that is not for it", cx.id()));
        cx.resume();
        Ok(())
    }

    fn max_rest_bytes(&self) -> Option<usize> {
        self.handler.max_rest_bytes()
    }
}

/// Microseconds.
const LONG_DOZE: u64 = 1_000_000;
const WAKE: u32 = 1;
const NEVER: u32 = 2;
/// Due with `WAKE`, which cancels it.
const TWIN: u32 = 3;
const IDLE: u32 = 4;
const BEHIND: Duration = Duration::from_millis(20);
/// Of the wheel.
const TICK: Duration = Duration::from_millis(1);

/// Bytes of any kind, which come back as they are.
pub(super) fn echo_script(rng: &mut Rng) -> Script {
    let longest = if rng.chance(1, 10) { 20_000 } else { 300 };
    let len = rng.below(longest) as usize;
    Script::echo(rng.bytes(len))
}

/// Lines, which come back one by one.
pub(super) fn line_script(rng: &mut Rng) -> Script {
    let mut bytes = Vec::new();
    for _ in 0..rng.below(20) {
        let longest = if rng.chance(1, 10) { 4000 } else { 50 };
        let len = rng.below(longest) as usize;
        bytes.extend(rng.bytes(len).iter().map(|byte| b'a' + byte % 26));
        bytes.extend_from_slice(if rng.chance(1, 2) { b"\n" } else { b"\r\n" });
    }
    Script::echo(bytes)
}

/// What is passed on by the one comes back by another.
pub(super) fn proxy_script(rng: &mut Rng) -> Script {
    let len = rng.below(3000) as usize;
    let bytes = rng.bytes(len);
    Script::exchange(bytes.clone(), bytes)
}

/// A room in which everybody hears everybody, over all reactors.
pub(super) struct Chat {
    has_drained: bool,
}

impl Chat {
    pub(super) fn framed() -> Framed<Lines, Chat> {
        // Half a line of somebody who left is nothing to pass on.
        Framed::new(Lines::new(Ending::Lf).require_ending(), Chat { has_drained: false })
    }
}

impl FrameHandler<Lines> for Chat {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        cx.join(ROOM);
        Ok(())
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
        let told = Broadcast::new(ROOM, line.whole().to_vec()).except(cx.id()).slow(Slow::Queue);
        cx.handle().broadcast(told)?;
        cx.write(b"ok\n");
        Ok(())
    }

    /// Once, all others get something to be written: some of them have drained as well.
    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if !std::mem::replace(&mut self.has_drained, true) {
            let told = Broadcast::new(ROOM, SIGH.to_vec()).except(cx.id());
            cx.broadcast(&told.slow(Slow::Queue));
        }
        Ok(())
    }
}

/// Longer than what an outbox has drained at.
const SIGH: &[u8] = &{
    let mut sigh = [b'~'; 200];
    sigh[199] = b'\n';
    sigh
};
const ROOM: Group = Group(1);

/// Somebody with a number, who counts what is said.
pub(super) fn chat_script(rng: &mut Rng) -> Script {
    let (speaker, count) = (rng.next_u64(), rng.below(12));
    let says: String =
        (0..count).map(|number| format!("{speaker} {number}{}\n", pad(speaker, number))).collect();
    Script::judged(says, Listener { missing: count, next: BTreeMap::new(), rest: Vec::new() })
}

fn pad(speaker: u64, number: u64) -> String {
    // Some are too long to be copied for each who hears them.
    let longest = if speaker % 4 == 0 { 400 } else { 40 };
    ".".repeat(((speaker ^ number) % longest) as usize)
}

struct Listener {
    /// So many of its own lines are not acknowledged yet.
    missing: u64,
    /// By speaker: the number of what it must say next.
    next: BTreeMap<u64, u64>,
    rest: Vec<u8>,
}

impl Judge for Listener {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.hear_line(&String::from_utf8_lossy(&line))?;
        }
        Ok(())
    }

    fn is_content(&self) -> bool {
        self.missing == 0
    }
}

impl Listener {
    fn hear_line(&mut self, line: &str) -> Result<(), String> {
        if line.as_bytes() == SIGH {
            return Ok(());
        }
        if line == "ok\n" {
            self.missing = self.missing.checked_sub(1).ok_or("one answer too many")?;
            return Ok(());
        }
        let wrong = || format!("heard {line:?}");
        let (speaker, said) = line.split_once(' ').ok_or_else(wrong)?;
        let speaker: u64 = speaker.parse().map_err(|_| wrong())?;
        let number: u64 = said.trim_end_matches(['.', '\n']).parse().map_err(|_| wrong())?;
        let due = self.next.insert(speaker, number + 1).unwrap_or(number);
        let is_right = number == due && said == format!("{number}{}\n", pad(speaker, number));
        if is_right { Ok(()) } else { Err(format!("{}, not number {due}", wrong())) }
    }
}

/// One of the two connections of a proxied pair, as in `examples/proxy.rs`.
pub(super) enum Side {
    Accepted { target: Address, book: Book, row: usize },
    Paired { other: ConnId },
}

impl StreamHandler for Side {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if let Side::Accepted { target, book, row } = self {
            let side = Side::Paired { other: cx.id() };
            let upstream = Watched::new(book, Role::Outgoing, side);
            let upstream_row = upstream.row;
            let Ok(other) = cx.connect(target.clone(), upstream) else {
                cx.abort();
                return Ok(());
            };
            book.pair(*row, upstream_row);
            *self = Side::Paired { other };
        }
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        let Side::Paired { other } = *self else { return Ok(input.len()) };
        if cx.write_to(other, input).is_err() {
            cx.abort();
        } else if cx.is_other_full(other)? {
            cx.pause();
        }
        Ok(input.len())
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        if let Side::Paired { other } = *self {
            let _ = cx.resume_other(other);
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, _rest: &[u8]) -> Result<(), Fault> {
        if let Side::Paired { other } = *self {
            let _ = cx.finish_other(other);
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
        if let Side::Paired { other } = *self {
            if !why.is_clean() {
                let _ = cx.abort_other(other);
            }
        }
    }
}
