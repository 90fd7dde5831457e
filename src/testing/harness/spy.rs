//! What stands between the reactor and a handler, and asserts what they promise each other.

use std::cell::RefCell;
use std::rc::Rc;

use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::time::Time;
use crate::handler::{Context, Service, StreamHandler};
use crate::hub::Phase;
use crate::hub::reason::{CloseReason, Fault};

/// What the spy has seen. The harness reads it between turns.
#[derive(Default)]
pub(super) struct Notes {
    /// Counted by the harness.
    pub(super) turn: u64,
    /// All that the peer has sent: what the handler must be shown. Filled by the harness.
    pub(super) sent: Vec<u8>,
    pub(super) id: Option<ConnId>,
    pub(super) close_reason: Option<String>,
    /// The first promise that was broken.
    pub(super) broken: Option<String>,

    /// `taken <= shown <= sent.len()`
    taken: usize,
    shown: usize,
    /// The turn of the last callback, and its time.
    moment: (u64, Time),
    is_inside: bool,
    /// Why no more input may come.
    deaf: Option<&'static str>,
    /// It closes, and so no timer may fire.
    is_closing: bool,
    /// The last call left a rest as it made input unwanted: it comes again by itself.
    is_rest_held: bool,
}

impl Notes {
    /// Notes what went wrong, to be told once the turn is over: a panic in here would be taken
    /// for one of the handler's.
    fn hold(&mut self, holds: bool, broken: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(broken());
        }
    }

    fn promise(&mut self, is_kept: bool, promise: &str, callback: Callback) {
        self.hold(is_kept, || format!("the reactor broke a promise, in {callback:?}: {promise}"));
    }

    fn enter<M: 'static>(&mut self, cx: &Context<'_, M>, callback: Callback) {
        let (id, now) = (cx.id(), cx.now());
        self.promise(!self.is_inside, "no callback runs inside another", callback);
        self.is_inside = true;
        let is_first = self.id.is_none();
        let is_open = callback == Callback::Open;
        self.promise(is_first == is_open, "on_open comes first, once", callback);
        self.promise(self.close_reason.is_none(), "on_close comes last, once", callback);
        let is_same = *self.id.get_or_insert(id) == id;
        self.promise(is_same, "an id stays the same", callback);
        let (turn, before) = self.moment;
        let is_still = if turn == self.turn { now == before } else { now >= before };
        self.promise(is_still, "time stands still within a turn", callback);
        self.moment = (self.turn, now);
        match callback {
            Callback::Bytes | Callback::Eof => {
                let deaf = self.deaf.unwrap_or_default();
                self.promise(deaf.is_empty(), deaf, callback);
                self.promise(cx.wants_input(), "input comes only while it is wanted", callback);
            }
            Callback::Timer => {
                self.promise(!self.is_closing, "no timer fires after a close", callback);
            }
            Callback::Drain => {
                let is_low = cx.backlog() <= cx.hub.limits.outbox_low_bytes;
                self.promise(is_low, "on_drain comes at the low mark", callback);
            }
            _ => {}
        }
    }

    fn leave<M: 'static>(&mut self, cx: &Context<'_, M>, callback: Callback, is_ok: bool) {
        self.is_inside = false;
        if callback == Callback::Eof {
            self.deaf = Some("no input comes after its end");
        }
        self.is_closing |= !is_ok || cx.hub.rows[cx.id().slot() as usize].phase() > Phase::Open;
        if self.is_closing {
            self.deaf = Some("no input comes after a close");
        }
    }

    /// What is shown starts with what was left, and goes on with what came.
    pub(super) fn show(&mut self, input: &[u8]) {
        let callback = Callback::Bytes;
        let sent = &self.sent[self.taken..];
        let (is_right, rest) = (sent.starts_with(input), self.shown - self.taken);
        let is_new = input.len() > rest || (input.len() == rest && self.is_rest_held);
        self.promise(is_right, "input comes in order, nothing lost or twice", callback);
        self.promise(!input.is_empty() && is_new, "a rest comes with more behind it", callback);
        self.shown = self.taken + input.len();
    }

    pub(super) fn take(&mut self, taken: usize, shown: usize, wants_input: bool) {
        self.hold(taken <= shown, || {
            format!("the handler took {taken} bytes, and was shown {shown}")
        });
        self.taken += taken.min(shown);
        self.is_rest_held = !wants_input;
    }

    pub(super) fn show_end(&mut self, rest: &[u8]) {
        let is_right = self.sent[self.taken..] == *rest;
        self.promise(is_right, "all input comes before the end", Callback::Eof);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Callback {
    Open,
    Bytes,
    Eof,
    Drain,
    Timer,
    Message,
    Shutdown,
    Close,
}

/// Serves one handler, to whoever comes first.
pub(super) struct Once<M: 'static> {
    handler: Option<Box<dyn StreamHandler<M>>>,
    notes: Rc<RefCell<Notes>>,
}

impl<M: 'static> Once<M> {
    pub(super) fn new(handler: impl StreamHandler<M>, notes: Rc<RefCell<Notes>>) -> Once<M> {
        let spy = Spy { handler: Box::new(handler), notes: notes.clone() };
        Once { handler: Some(Box::new(spy)), notes }
    }
}

impl<M: 'static> Service<M> for Once<M> {
    fn accept(&mut self, _: &NetAddr) -> Option<Box<dyn StreamHandler<M>>> {
        self.handler.take()
    }

    fn on_handler_panic(&mut self, _: ConnId, message: &str) {
        self.notes.borrow_mut().hold(false, || format!("the handler panicked: {message}"));
    }
}

struct Spy<M: 'static> {
    handler: Box<dyn StreamHandler<M>>,
    notes: Rc<RefCell<Notes>>,
}

impl<M: 'static> Spy<M> {
    fn call<R>(
        &mut self,
        cx: &mut Context<'_, M>,
        callback: Callback,
        call: impl FnOnce(&mut dyn StreamHandler<M>, &mut Context<'_, M>) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        self.notes.borrow_mut().enter(cx, callback);
        let answer = call(&mut *self.handler, cx);
        self.notes.borrow_mut().leave(cx, callback, answer.is_ok());
        answer
    }
}

impl<M: 'static> StreamHandler<M> for Spy<M> {
    fn on_open(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        self.call(cx, Callback::Open, |handler, cx| handler.on_open(cx))
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, M>, input: &[u8]) -> Result<usize, Fault> {
        self.notes.borrow_mut().show(input);
        let taken = self.call(cx, Callback::Bytes, |handler, cx| handler.on_bytes(cx, input))?;
        self.notes.borrow_mut().take(taken, input.len(), cx.wants_input());
        Ok(taken)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, M>, rest: &[u8]) -> Result<(), Fault> {
        self.notes.borrow_mut().show_end(rest);
        self.call(cx, Callback::Eof, |handler, cx| handler.on_eof(cx, rest))
    }

    fn on_drain(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        self.call(cx, Callback::Drain, |handler, cx| handler.on_drain(cx))
    }

    fn on_timer(&mut self, cx: &mut Context<'_, M>, tag: u32) -> Result<(), Fault> {
        self.call(cx, Callback::Timer, |handler, cx| handler.on_timer(cx, tag))
    }

    fn on_message(&mut self, cx: &mut Context<'_, M>, message: M) -> Result<(), Fault> {
        self.call(cx, Callback::Message, |handler, cx| handler.on_message(cx, message))
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        self.call(cx, Callback::Shutdown, |handler, cx| handler.on_shutdown(cx))
    }

    fn on_close(&mut self, cx: &mut Context<'_, M>, why: &CloseReason) {
        let _ = self.call(cx, Callback::Close, |handler, cx| {
            handler.on_close(cx, why);
            Ok(())
        });
        self.notes.borrow_mut().close_reason = Some(why.to_string());
    }

    fn max_rest_bytes(&self) -> Option<usize> {
        self.handler.max_rest_bytes()
    }
}
