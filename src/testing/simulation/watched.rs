//! Handlers under watch: what each is shown is held against what it was promised.

use super::MakeHandler;
use super::book::{Book, Pages, Role, Row, Why};
use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::time::Time;
use crate::handler::{Context, Service, StreamHandler};
use crate::hub::reason::{CloseReason, Deadline, Fault};

/// A handler, and its row in the book.
pub(super) struct Watched<H> {
    book: Book,
    pub(super) row: usize,
    pub(super) handler: H,
}

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    Open,
    Bytes,
    Eof,
    Drain,
    Timer,
    Message,
    Shutdown,
    Close,
}

impl<H: StreamHandler> Watched<H> {
    pub(super) fn new(book: &Book, role: Role, handler: H) -> Watched<H> {
        Watched { book: book.clone(), row: book.begin(role), handler }
    }

    /// Notes a callback.
    fn enter(&self, cx: &Context<'_>, call: Call) {
        let (id, now, wants_input) = (cx.id(), cx.now(), cx.wants_input());
        self.book.with(|pages| {
            let turn = pages.turn;
            let row = &mut pages.rows[self.row];
            let wrong = row.objection(id, call, wants_input);
            row.calls += 1;
            row.reactor = id.reactor();
            if row.turn != turn {
                (row.turn, row.turn_bytes) = (turn, 0);
            }
            match call {
                Call::Open => (row.id, row.opened) = (Some(id), now),
                Call::Eof => row.is_ended = true,
                Call::Shutdown => row.is_told = true,
                Call::Close => row.is_closed = true,
                _ => {}
            }
            let name = (row.role == Role::Far, id);
            pages.check(wrong.is_none(), || format!("{id}: {call:?}, {}", wrong.unwrap_or("")));
            if call == Call::Open {
                let is_new = pages.ids.insert(name);
                pages.check(is_new, || format!("{id} has been somebody else's name"));
            }
        });
    }

    fn leave(&self, cx: &Context<'_>) {
        let (id, wants_input, backlog) = (cx.id(), cx.wants_input(), cx.backlog());
        self.book.with(|pages| {
            pages.rows[self.row].wants_input = wants_input;
            let most = pages.limits.outbox_max_bytes;
            pages.check(backlog <= most, || format!("{id}: {backlog} bytes in its outbox"));
        });
    }

    /// Input is the rest and what was read; nobody is read beyond the budget of a turn.
    fn note_input(&self, id: ConnId, now: Time, len: usize) {
        self.book.with(|pages| {
            let most = pages.limits.read_budget_bytes;
            let row = &mut pages.rows[self.row];
            let fresh = len.checked_sub(row.rest_bytes);
            row.turn_bytes += fresh.unwrap_or(0);
            row.heard = if fresh == Some(0) { row.heard } else { Some(now) };
            let (rest, in_turn) = (row.rest_bytes, row.turn_bytes);
            pages.check(fresh.is_some(), || format!("{id}: shown {len}, with {rest} left before"));
            pages.check(in_turn <= most, || format!("{id}: {in_turn} bytes read in a turn"));
        });
    }

    fn note_taken(&self, now: Time, len: usize, taken: usize) {
        self.book.with(|pages| {
            let row = &mut pages.rows[self.row];
            row.taken_bytes += taken as u64;
            row.rest_bytes = len - taken;
            if row.rest_bytes == 0 {
                row.rest_since = None;
            } else if taken > 0 || row.rest_since.is_none() {
                row.rest_since = Some(now);
            }
        });
    }

    fn note_end(&self, cx: &Context<'_>, reason: &CloseReason) {
        let (id, now) = (cx.id(), cx.now());
        let local = cx.local().ok();
        self.book.with(|pages| {
            if let CloseReason::TimedOut(deadline) = reason {
                pages.check_deadline(self.row, id, now, *deadline);
            }
            let row = &mut pages.rows[self.row];
            row.why = Some(Why::of(reason));
            // What failed has no socket any more, as often as not.
            if row.role == Role::Outgoing && local.is_some() {
                row.address = local;
            }
        });
    }
}

impl Row {
    /// What is wrong about a call, if something is.
    fn objection(&self, id: ConnId, call: Call, wants_input: bool) -> Option<&'static str> {
        let is_input = matches!(call, Call::Bytes | Call::Eof);
        if self.is_closed {
            return Some("after its end");
        }
        // What was never made, ends without having begun.
        if (call == Call::Open) != self.id.is_none() && call != Call::Close {
            return Some("out of order");
        }
        if self.id.is_some_and(|own| own != id) {
            return Some("under another's name");
        }
        if is_input && self.is_ended {
            return Some("after the end of its input");
        }
        if is_input && !wants_input {
            return Some("which it does not want");
        }
        (call == Call::Shutdown && self.is_told).then_some("twice")
    }
}

impl Pages {
    /// Deadlines are never early; of those that the book can know.
    fn check_deadline(&mut self, row: usize, id: ConnId, now: Time, deadline: Deadline) {
        let span = self.span_of(deadline);
        let row = &self.rows[row];
        let since = match deadline {
            Deadline::Connect => Some(row.made),
            Deadline::FirstByte if row.heard.is_none() => Some(row.opened),
            Deadline::FirstByte => None,
            Deadline::Idle => Some(row.heard.unwrap_or(row.opened)),
            Deadline::Message => row.rest_since,
            _ => Some(row.opened),
        };
        let is_due = since.is_some_and(|since| now >= since + span);
        self.check(is_due, || format!("{id}: {deadline} at {now}, counted from {since:?}"));
    }
}

impl<H: StreamHandler> StreamHandler for Watched<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.enter(cx, Call::Open);
        let local = cx.local().ok();
        self.book.with(|pages| {
            let row = &mut pages.rows[self.row];
            row.address = row.address.take().or(local.filter(|_| row.role == Role::Outgoing));
        });
        let answer = self.handler.on_open(cx);
        self.leave(cx);
        answer
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.enter(cx, Call::Bytes);
        self.note_input(cx.id(), cx.now(), input.len());
        let answer = self.handler.on_bytes(cx, input);
        if let Ok(taken) = answer {
            self.note_taken(cx.now(), input.len(), taken);
        }
        self.leave(cx);
        answer
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Result<(), Fault> {
        self.enter(cx, Call::Eof);
        let answer = self.handler.on_eof(cx, rest);
        self.leave(cx);
        answer
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.enter(cx, Call::Drain);
        let answer = self.handler.on_drain(cx);
        self.leave(cx);
        answer
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, tag: u32) -> Result<(), Fault> {
        self.enter(cx, Call::Timer);
        let answer = self.handler.on_timer(cx, tag);
        self.leave(cx);
        answer
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: ()) -> Result<(), Fault> {
        self.enter(cx, Call::Message);
        let answer = self.handler.on_message(cx, message);
        self.leave(cx);
        answer
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.enter(cx, Call::Shutdown);
        let answer = self.handler.on_shutdown(cx);
        self.leave(cx);
        answer
    }

    fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
        self.enter(cx, Call::Close);
        self.note_end(cx, why);
        self.handler.on_close(cx, why);
    }

    fn max_rest_bytes(&self) -> Option<usize> {
        self.handler.max_rest_bytes()
    }
}

/// Makes watched handlers, and hears of their panics.
pub(super) struct Doorman {
    pub(super) book: Book,
    pub(super) make: MakeHandler,
    /// Which client comes from an address.
    pub(super) client_at: fn(&NetAddr) -> Option<usize>,
}

impl Service for Doorman {
    fn accept(&mut self, peer: &NetAddr) -> Option<Box<dyn StreamHandler>> {
        let client = (self.client_at)(peer);
        let row = self.book.begin(Role::Accepted { client });
        let handler = (self.make)(peer, row);
        Some(Box::new(Watched { book: self.book.clone(), row, handler }))
    }

    fn on_handler_panic(&mut self, id: ConnId, message: &str) {
        self.book.complain(format!("{id}: the handler panicked: {message}"));
    }
}
