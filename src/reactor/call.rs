//! How a handler is called: with a context, guarded, and judged.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::Level;

use super::Reactor;
use super::side::{Inbound, Side};
use crate::base::escaped::Escaped;
use crate::handler::{Context, Desk, StreamHandler};
use crate::hub::notices::Notice;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::hub::reason::{CloseReason, Fault};
use crate::sys::{Platform, Socket};

/// What became of a callback.
pub(super) type Outcome<R> = Result<R, Failure>;

/// What a panic said. (Such a one comes back in two registers, where a `String` takes memory, and
/// with it whatever else might have been the answer.)
pub(super) type Said = Box<str>;

/// A callback failed.
pub(super) enum Failure {
    Fault(Fault),
    Panic(Said),
}

/// Whether what a callback writes to its own peer leaves right after it, or in step 8 together
/// with what others wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    AtOnce,
    Later,
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Calls the handler of a connection, for everything but input. Answers whether it was
    /// called and did not fail.
    pub(super) fn call(
        &mut self,
        slot: u32,
        kind: Callback,
        answers: Answers,
        callback: impl FnOnce(&mut dyn StreamHandler<M>, &mut Context<'_, M>) -> Result<(), Fault>,
    ) -> bool {
        if self.desk.hub.row(slot).flags.has(Flags::SILENCED) {
            return false;
        }
        if answers == Answers::AtOnce {
            self.desk.hub.open_stage(slot, &[]);
        }
        self.note_callback(kind, slot);
        let Side { source, inbound } = &mut self.sides[slot as usize];
        let inbound = inbound.as_mut().expect("whoever is called exists");
        let outcome = called(inbound, source.as_ref(), &mut self.desk, slot, callback);
        let is_ok = self.judge_called(slot, kind, outcome);
        if answers == Answers::AtOnce {
            self.send_staged(slot);
        }
        is_ok
    }

    /// Shows input to the handler of a connection: the bytes that were just read, or joined to
    /// those left before. Answers how many bytes it took of how many.
    pub(super) fn call_on_bytes(&mut self, slot: u32, fresh: usize) -> Option<(usize, usize)> {
        self.note_callback(Callback::Bytes, slot);
        let read = &self.scratch[..fresh];
        self.desk.hub.open_stage(slot, read);
        self.desk.hub.is_disturbed = false;
        let Side { source, inbound } = &mut self.sides[slot as usize];
        let Inbound { handler, rest } = inbound.as_mut().expect("whoever is read exists");
        let input = match rest {
            None => read,
            Some(rest) => {
                rest.append(read);
                rest.bytes()
            }
        };
        self.desk.hub.counters.pulse.note_bytes(input.len());
        let source = source.as_ref().map(|source| source as &dyn Socket);
        let outcome =
            unwound(|| handler.on_bytes(&mut Context::new(&mut self.desk, source, slot), input));
        let shown = input.len();
        self.note_return(Callback::Bytes, slot);
        Some((self.judge_taken(slot, shown, told(outcome))?, shown))
    }

    /// How many bytes a handler took of those it was shown, unless it failed.
    pub(super) fn judge_taken(
        &mut self,
        slot: u32,
        shown: usize,
        outcome: Outcome<usize>,
    ) -> Option<usize> {
        let failure = match outcome {
            Ok(taken) if taken <= shown => return Some(taken),
            Ok(_) => Failure::Fault(Fault::new(TOOK_TOO_MUCH)),
            Err(failure) => failure,
        };
        self.judge_failure(slot, failure);
        None
    }

    #[cold]
    pub(super) fn judge_failure(&mut self, slot: u32, failure: Failure) {
        let hub = &mut self.desk.hub;
        match failure {
            Failure::Fault(fault) => {
                log::debug!("{}: {}", hub.id(slot), Escaped(&fault));
                hub.close_for(slot, CloseReason::Fault(fault));
            }
            Failure::Panic(message) => {
                let id = hub.id(slot);
                hub.counters.panics.add(1);
                hub.row(slot).flags.set(Flags::SILENCED);
                let endpoint = hub.row(slot).endpoint;
                hub.abort(slot, CloseReason::Panicked);
                let what = format_args!("{id}: the handler panicked: {message}");
                hub.log(Notice::HandlerPanicked, Level::Error, what);
                self.tell_of_panic(endpoint, id, &message);
            }
        }
    }

    /// A callback that was guarded has come to an end. Answers whether it did not fail.
    #[inline(always)] // on the way of every connection
    pub(super) fn judge_called(
        &mut self,
        slot: u32,
        kind: Callback,
        outcome: Result<Result<(), Fault>, Said>,
    ) -> bool {
        let failure = match outcome {
            Ok(Ok(())) => {
                self.note_return(kind, slot);
                return true;
            }
            Ok(Err(fault)) => Failure::Fault(fault),
            Err(message) => Failure::Panic(message),
        };
        self.note_return(kind, slot);
        self.judge_failure(slot, failure);
        false
    }
}

const TOOK_TOO_MUCH: &str = "the handler took more than it was shown";

/// Calls a handler so that a panic ends no more than its connection, and comes back as its message.
#[inline(always)] // on the way of every connection
pub(super) fn called<M: 'static, S: Socket, R>(
    inbound: &mut Inbound<M>,
    source: Option<&S>,
    desk: &mut Desk<M>,
    slot: u32,
    callback: impl FnOnce(&mut dyn StreamHandler<M>, &mut Context<'_, M>) -> R,
) -> Result<R, Said> {
    let source = source.map(|source| source as &dyn Socket);
    // The handler is dropped after a panic without being called again, and of the desk every
    // change is whole by itself; so nothing half-done is seen.
    unwound(|| callback(&mut *inbound.handler, &mut Context::new(desk, source, slot)))
}

/// What became of a callback that was guarded.
#[inline]
fn told<R>(unwound: Result<Result<R, Fault>, Said>) -> Outcome<R> {
    unwound.map_err(Failure::Panic)?.map_err(Failure::Fault)
}

/// Runs code that is not ours; a panic comes back as its message.
#[inline]
pub(super) fn unwound<R>(foreign: impl FnOnce() -> R) -> Result<R, Said> {
    catch_unwind(AssertUnwindSafe(foreign)).map_err(message_of)
}

/// What a panic said, escaped and cut, as it may quote what a peer sent.
#[cold]
pub(super) fn message_of(payload: Box<dyn Any + Send>) -> Said {
    let message = escaped_text(&*payload);
    // Even what was thrown may panic while it is dropped; what that throws is let be.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
    message
}

fn escaped_text(payload: &(dyn Any + Send)) -> Said {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    Escaped(text).to_string().into()
}
