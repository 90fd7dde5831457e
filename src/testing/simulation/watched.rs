//! Handlers under watch: what each is shown is held against what it was promised.

use std::time::Duration;

use super::MakeHandler;
use super::book::{Book, Pages, Role, Row, Why};
use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::time::Time;
use crate::handler::{Context, Service, StreamHandler};
use crate::hub::admission::Refusal;
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
            row.note_willing(now, wants_input);
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
        let (id, now) = (cx.id(), cx.now());
        let (wants_input, backlog) = (cx.wants_input(), cx.backlog());
        self.book.with(|pages| {
            pages.rows[self.row].note_willing(now, wants_input);
            let most = pages.limits.outbox_max_bytes;
            pages.check(backlog <= most, || format!("{id}: {backlog} bytes in its outbox"));
        });
    }

    /// Input is the rest and what was read; nobody is read beyond the budget of a turn, and above
    /// that of bytes only the one who has the permit.
    fn note_input(&self, cx: &Context<'_>, len: usize) {
        let (id, now, budget) = (cx.id(), cx.now(), &cx.hub.budget);
        let may_read = !budget.is_over() || budget.has_permit(id.slot());
        self.book.with(|pages| {
            let (most, turn) = (pages.limits.read_budget_bytes, pages.turn);
            let row = &mut pages.rows[self.row];
            let is_first = std::mem::replace(&mut row.input_turn, turn) != turn;
            let fresh = len.checked_sub(row.rest_bytes);
            row.turn_bytes += fresh.unwrap_or(0);
            row.heard = if fresh == Some(0) { row.heard } else { Some(now) };
            let (rest, in_turn) = (row.rest_bytes, row.turn_bytes);
            let may_read = may_read || !is_first || fresh == Some(0);
            pages.check(fresh.is_some(), || format!("{id}: shown {len}, with {rest} left before"));
            pages.check(may_read, || format!("{id}: read above the budget, without the permit"));
            pages.check(in_turn <= most, || format!("{id}: {in_turn} bytes read in a turn"));
        });
    }

    fn note_taken(&self, now: Time, len: usize, taken: usize) {
        self.book.with(|pages| {
            let row = &mut pages.rows[self.row];
            pages.rests_taken += if row.rest_bytes > 0 { taken as u64 } else { 0 };
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
            let due = pages.shutdown_due;
            let is_early = matches!(reason, CloseReason::Shutdown) && now < due;
            let is_right = !is_early || pages.rows[self.row].id.is_none();
            pages.check(is_right, || format!("{id}: ended at {now}, and has until {due}"));
            let row = &mut pages.rows[self.row];
            let role = row.role;
            row.why = Some(Why::of(reason));
            // What failed has no socket any more, as often as not.
            if row.role == Role::Outgoing && local.is_some() {
                row.address = local;
            }
            if role != Role::Far {
                pages.note_former(id);
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
    /// Where edges tell of errors, whoever was reset has ended, even one that wants no input.
    fn check_reset(&mut self, row: usize, id: ConnId, now: Time) {
        let row = &self.rows[row];
        let lost = self.lost().saturating_sub(row.lost_before);
        let since = row.reset.map(|since| since + RESET_WITHIN + lost);
        self.check(since.is_none_or(|since| now <= since), || format!("{id}: reset, and is kept"));
    }

    /// Deadlines are never early; of those that the book can know.
    fn check_deadline(&mut self, row: usize, id: ConnId, now: Time, deadline: Deadline) {
        let span = self.span_of(deadline);
        let row = &self.rows[row];
        let since = match deadline {
            Deadline::Connect => Some(row.made),
            Deadline::FirstByte if row.heard.is_none() => Some(row.opened),
            Deadline::FirstByte => None,
            Deadline::Idle => Some(row.heard.unwrap_or(row.opened)),
            Deadline::Message => row.message_since(now),
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
        self.note_input(cx, input.len());
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
        let (id, backlog) = (cx.id(), cx.backlog());
        let low = self.book.with(|pages| pages.limits.outbox_low_bytes);
        self.book.check(backlog <= low, || format!("{id}: drained, with {backlog} bytes left"));
        let answer = self.handler.on_drain(cx);
        self.leave(cx);
        answer
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, tag: u32) -> Result<(), Fault> {
        self.enter(cx, Call::Timer);
        self.book.with(|pages| pages.check_reset(self.row, cx.id(), cx.now()));
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

/// The way of a reset, late edges, and calls that are to be repeated.
const RESET_WITHIN: Duration = Duration::from_millis(300);

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
        if let Some(inet) = peer.inet() {
            self.book.with(|pages| pages.check_admitted(row, inet.ip()));
        }
        let handler = (self.make)(peer, row);
        Some(Box::new(Watched { book: self.book.clone(), row, handler }))
    }

    fn farewell(&mut self, _why: Refusal) -> &[u8] {
        self.book.with(|pages| pages.refused += 1);
        &[]
    }

    fn on_handler_panic(&mut self, id: ConnId, message: &str) {
        self.book.complain(format!("{id}: the handler panicked: {message}"));
    }
}
