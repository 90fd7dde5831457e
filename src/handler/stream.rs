//! The handler of one stream of bytes.

use super::Context;
use crate::hub::reason::{CloseReason, Fault};

/// What one connection does. The reactor keeps one value of it for each connection.
///
/// `M` is the type of the messages that other threads may send with a
/// [`Handle`](crate::Handle).
///
/// An error from any callback ends the connection with
/// [`CloseReason::Fault`], after what was already written has been delivered.
///
/// ```
/// use tidemill::{Context, Fault, StreamHandler};
///
/// /// Answers every byte with its successor.
/// struct Next;
///
/// impl<M: 'static> StreamHandler<M> for Next {
///     fn on_bytes(&mut self, cx: &mut Context<'_, M>, input: &[u8]) -> Result<usize, Fault> {
///         let answer: Vec<u8> = input.iter().map(|byte| byte.wrapping_add(1)).collect();
///         cx.write(&answer);
///         Ok(input.len())
///     }
/// }
/// ```
pub trait StreamHandler<M: 'static = ()>: 'static {
    /// The connection is made. Comes first, once.
    ///
    /// # Errors
    /// Any end the connection, as in all callbacks.
    fn on_open(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// Input came. Answers how many bytes were taken from its start; the rest is shown again,
    /// with more behind it. The count holds even if the call paused or closed.
    ///
    /// A rest that was left because the call made input unwanted (it paused, or wrote more than
    /// the high mark) is offered again once input is wanted, *without* new bytes. A rest left
    /// otherwise is shown again only when more has come, or at the end to
    /// [`on_eof`](StreamHandler::on_eof); while it lasts, the deadline for a whole message runs.
    ///
    /// # Errors
    /// What was written before is still delivered; then the connection ends.
    fn on_bytes(&mut self, cx: &mut Context<'_, M>, input: &[u8]) -> Result<usize, Fault>;

    /// The peer has ended its direction. Comes once, while input is wanted, and after all input
    /// was offered; `rest` is what was not taken. By default the connection closes, delivering
    /// first what was written; a handler that still owes an answer keeps it open and closes
    /// later.
    ///
    /// # Errors
    /// As for `on_bytes`.
    fn on_eof(&mut self, cx: &mut Context<'_, M>, rest: &[u8]) -> Result<(), Fault> {
        let _ = rest;
        cx.close();
        Ok(())
    }

    /// The outbox rose above the high mark and has now fallen to the low one: the moment for a
    /// producer to write more.
    ///
    /// # Errors
    /// As for `on_bytes`.
    fn on_drain(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// A timer set with [`set_timer`](Context::set_timer) is due. It is set no more.
    ///
    /// # Errors
    /// As for `on_bytes`.
    fn on_timer(&mut self, cx: &mut Context<'_, M>, tag: u32) -> Result<(), Fault> {
        let _ = (cx, tag);
        Ok(())
    }

    /// A message sent to this connection by a [`Handle`](crate::Handle), from any thread.
    ///
    /// # Errors
    /// As for `on_bytes`.
    fn on_message(&mut self, cx: &mut Context<'_, M>, message: M) -> Result<(), Fault> {
        let _ = (cx, message);
        Ok(())
    }

    /// The reactor is shutting down: no more input will come. What was read before has just been
    /// offered, even to a handler that had paused. By default the connection closes,
    /// delivering first what was written. A handler that still owes answers may keep it open
    /// until the time to finish runs out.
    ///
    /// # Errors
    /// As for `on_bytes`.
    fn on_shutdown(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        cx.close();
        Ok(())
    }

    /// The connection has ended. Comes last, once; what is written to it now is not sent.
    fn on_close(&mut self, cx: &mut Context<'_, M>, why: &CloseReason) {
        let _ = (cx, why);
    }

    /// The most input that this handler leaves untaken; more ends the connection with
    /// [`CloseReason::InputLimit`]. `None` leaves it to
    /// [`Limits::rest_bytes`](crate::Limits::rest_bytes). A codec answers with its own limit, so
    /// that there is one owner of it.
    fn max_rest_bytes(&self) -> Option<usize> {
        None
    }
}

impl<M: 'static> StreamHandler<M> for Box<dyn StreamHandler<M>> {
    fn on_open(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        (**self).on_open(cx)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, M>, input: &[u8]) -> Result<usize, Fault> {
        (**self).on_bytes(cx, input)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, M>, rest: &[u8]) -> Result<(), Fault> {
        (**self).on_eof(cx, rest)
    }

    fn on_drain(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        (**self).on_drain(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, M>, tag: u32) -> Result<(), Fault> {
        (**self).on_timer(cx, tag)
    }

    fn on_message(&mut self, cx: &mut Context<'_, M>, message: M) -> Result<(), Fault> {
        (**self).on_message(cx, message)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        (**self).on_shutdown(cx)
    }

    fn on_close(&mut self, cx: &mut Context<'_, M>, why: &CloseReason) {
        (**self).on_close(cx, why);
    }

    fn max_rest_bytes(&self) -> Option<usize> {
        (**self).max_rest_bytes()
    }
}
