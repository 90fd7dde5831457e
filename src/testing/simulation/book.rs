//! What handlers were shown: every one is watched, and what must not be is noted as a complaint.
//! (A panic would not do: the reactor takes it for the handler's and goes on.)

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::MakeHandler;
use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::time::Time;
use crate::handler::{Context, Service, StreamHandler};
use crate::hub::limits::Limits;
use crate::hub::reason::{CloseReason, Deadline, Fault};

/// A book that all who take part write into.
#[derive(Clone)]
pub(super) struct Book(Rc<RefCell<Pages>>);

struct Pages {
    rows: Vec<Row>,
    /// By client: its row, once it was accepted.
    by_client: Vec<Option<usize>>,
    complaint: Option<String>,
    checks: u64,
    limits: Limits,
    /// In which hosts did nothing, or clocks jumped.
    lost_time: Duration,
}

/// One handler.
#[derive(Clone, Default)]
pub(super) struct Row {
    id: Option<ConnId>,
    is_closed: bool,
    /// Whether it was told of the end of input.
    is_ended: bool,
    opened: Time,
    /// When a byte last came to it.
    heard: Time,
    pub(super) calls: u64,
    pub(super) wants_input: bool,
    pub(super) why: Option<Why>,
}

/// Why a connection ended, as far as its client must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    Closed,
    Aborted,
    TimedOut,
    /// A limit on what is kept for it.
    Limit,
    Reset,
    Shutdown,
    Fault,
}

impl Book {
    pub(super) fn new(clients: usize, limits: Limits) -> Book {
        let by_client = vec![None; clients];
        Book(Rc::new(RefCell::new(Pages {
            rows: Vec::new(),
            by_client,
            complaint: None,
            checks: 0,
            limits,
            lost_time: Duration::ZERO,
        })))
    }

    /// A handler under watch.
    pub(super) fn watch<H: StreamHandler>(&self, client: Option<usize>, handler: H) -> Watched<H> {
        let mut pages = self.0.borrow_mut();
        let row = pages.rows.len();
        pages.rows.push(Row::default());
        if let Some(place) = client.and_then(|client| pages.by_client.get_mut(client)) {
            *place = Some(row);
        }
        Watched { book: self.clone(), row, handler }
    }

    /// Notes that something is wrong; the first of such notes counts.
    pub(super) fn complain(&self, what: String) {
        self.0.borrow_mut().complaint.get_or_insert(what);
    }

    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        self.0.borrow_mut().checks += 1;
        if !holds {
            self.complain(what());
        }
    }

    pub(super) fn complaint(&self) -> Option<String> {
        self.0.borrow().complaint.clone()
    }

    pub(super) fn checks(&self) -> u64 {
        self.0.borrow().checks
    }

    pub(super) fn row_of(&self, client: usize) -> Option<Row> {
        let pages = self.0.borrow();
        pages.by_client[client].map(|row| pages.rows[row].clone())
    }

    /// By how much timers may be late for no fault of the reactor's.
    pub(super) fn lost_time(&self) -> Duration {
        self.0.borrow().lost_time
    }

    pub(super) fn note_lost_time(&self, in_all: Duration) {
        self.0.borrow_mut().lost_time = in_all;
    }

    /// How many handlers there were.
    pub(super) fn handlers(&self) -> u64 {
        self.0.borrow().rows.len() as u64
    }

    /// At the end: everybody who was opened was closed.
    pub(super) fn check_all_closed(&self) {
        let open =
            self.0.borrow().rows.iter().filter(|row| row.id.is_some() && !row.is_closed).count();
        self.check(open == 0, || format!("{open} handlers were opened and never closed"));
    }
}

/// A handler, and what it was shown.
pub(super) struct Watched<H> {
    book: Book,
    row: usize,
    handler: H,
}

impl<H: StreamHandler> Watched<H> {
    /// Notes a callback.
    fn enter(&self, cx: &Context<'_>, what: &str) {
        let (id, now) = (cx.id(), cx.now());
        let mut complaint = None;
        {
            let mut pages = self.book.0.borrow_mut();
            pages.checks += 1;
            let row = &mut pages.rows[self.row];
            let is_opening = what == "on_open";
            if row.is_closed {
                complaint = Some(format!("{id}: {what} after on_close"));
            } else if is_opening != row.id.is_none() && what != "on_close" {
                complaint = Some(format!("{id}: {what}, out of order"));
            } else if row.id.is_some_and(|own| own != id) {
                complaint = Some(format!("{id}: {what} of {:?}", row.id));
            } else if matches!(what, "on_bytes" | "on_eof") && (row.is_ended || !cx.wants_input()) {
                complaint =
                    Some(format!("{id}: {what} though its input has ended or is not wanted"));
            }
            row.calls += 1;
            match what {
                "on_open" => (row.id, row.opened, row.heard) = (Some(id), now, now),
                "on_bytes" => row.heard = now,
                "on_eof" => row.is_ended = true,
                "on_close" => row.is_closed = true,
                _ => {}
            }
        }
        if let Some(complaint) = complaint {
            self.book.complain(complaint);
        }
    }

    fn leave(&self, cx: &Context<'_>) {
        self.book.0.borrow_mut().rows[self.row].wants_input = cx.wants_input();
    }

    /// Deadlines are never early; of those that the book can know.
    fn check_deadline(&self, now: Time, deadline: Deadline) {
        let mut pages = self.book.0.borrow_mut();
        let (row, limits) = (&pages.rows[self.row], &pages.limits);
        let earliest = match deadline {
            Deadline::FirstByte => row.opened + limits.first_byte,
            Deadline::Idle => row.heard + limits.idle,
            Deadline::WriteProgress => row.opened + limits.write_progress,
            Deadline::Message => row.opened + limits.message,
            _ => Time::ZERO,
        };
        pages.checks += 1;
        if now < earliest {
            pages.complaint.get_or_insert(format!("{deadline} at {now}, before {earliest}"));
        }
    }
}

impl<H: StreamHandler> StreamHandler for Watched<H> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.enter(cx, "on_open");
        let answer = self.handler.on_open(cx);
        self.leave(cx);
        answer
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.enter(cx, "on_bytes");
        let answer = self.handler.on_bytes(cx, input);
        self.leave(cx);
        answer
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Result<(), Fault> {
        self.enter(cx, "on_eof");
        let answer = self.handler.on_eof(cx, rest);
        self.leave(cx);
        answer
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.enter(cx, "on_drain");
        let answer = self.handler.on_drain(cx);
        self.leave(cx);
        answer
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, tag: u32) -> Result<(), Fault> {
        self.enter(cx, "on_timer");
        let answer = self.handler.on_timer(cx, tag);
        self.leave(cx);
        answer
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: ()) -> Result<(), Fault> {
        self.enter(cx, "on_message");
        let answer = self.handler.on_message(cx, message);
        self.leave(cx);
        answer
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.enter(cx, "on_shutdown");
        let answer = self.handler.on_shutdown(cx);
        self.leave(cx);
        answer
    }

    fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
        self.enter(cx, "on_close");
        if let CloseReason::TimedOut(deadline) = why {
            self.check_deadline(cx.now(), *deadline);
        }
        self.handler.on_close(cx, why);
        let mut pages = self.book.0.borrow_mut();
        pages.rows[self.row].why = Some(match why {
            CloseReason::Closed => Why::Closed,
            CloseReason::Aborted => Why::Aborted,
            CloseReason::TimedOut(_) => Why::TimedOut,
            CloseReason::OutputLimit | CloseReason::InputLimit | CloseReason::Overload => {
                Why::Limit
            }
            CloseReason::Shutdown => Why::Shutdown,
            CloseReason::Fault(_) | CloseReason::Panicked => Why::Fault,
            _ => Why::Reset,
        });
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
        let handler = (self.make)(peer);
        Some(Box::new(self.book.watch((self.client_at)(peer), handler)))
    }

    fn on_handler_panic(&mut self, id: ConnId, message: &str) {
        self.book.complain(format!("{id}: the handler panicked: {message}"));
    }
}
