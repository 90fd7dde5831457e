//! From bytes to frames: a decoder and a handler of frames make a handler of bytes.

use super::{Context, StreamHandler};
use crate::codec::Decoder;
use crate::hub::reason::{CloseReason, Fault};

/// What one connection does, where its bytes are cut into frames by a [`Decoder`].
///
/// Frames are borrowed from the input, typed by the decoder, and handed over by a plain inlined
/// call. All other callbacks are those of [`StreamHandler`], under the same rules.
///
/// ```
/// use tidemill::codec::{Line, Lines};
/// use tidemill::{Context, Fault, FrameHandler, Framed, NetAddr};
///
/// struct Shout;
///
/// impl<M: 'static> FrameHandler<Lines, M> for Shout {
///     fn on_frame(&mut self, cx: &mut Context<'_, M>, line: Line<'_>) -> Result<(), Fault> {
///         cx.write(&line.text().to_ascii_uppercase());
///         cx.write(b"\r\n");
///         Ok(())
///     }
/// }
///
/// let mut reactor: tidemill::Reactor = tidemill::Reactor::new()?;
/// let service = |_peer: &NetAddr| Framed::new(Lines::default(), Shout);
/// reactor.listen(&"127.0.0.1:0".parse()?, service)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait FrameHandler<D: Decoder, M: 'static = ()>: 'static {
    /// A whole frame came.
    ///
    /// # Errors
    /// Any end the connection, after what was written has been delivered.
    fn on_frame(&mut self, cx: &mut Context<'_, M>, frame: D::Frame<'_>) -> Result<(), Fault>;

    /// As [`StreamHandler::on_open`].
    ///
    /// # Errors
    /// As for `on_frame`.
    fn on_open(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// As [`StreamHandler::on_eof`], after the decoder made what it could of the last bytes.
    ///
    /// # Errors
    /// As for `on_frame`.
    fn on_eof(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        cx.close();
        Ok(())
    }

    /// As [`StreamHandler::on_drain`].
    ///
    /// # Errors
    /// As for `on_frame`.
    fn on_drain(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        let _ = cx;
        Ok(())
    }

    /// As [`StreamHandler::on_timer`].
    ///
    /// # Errors
    /// As for `on_frame`.
    fn on_timer(&mut self, cx: &mut Context<'_, M>, tag: u32) -> Result<(), Fault> {
        let _ = (cx, tag);
        Ok(())
    }

    /// As [`StreamHandler::on_message`].
    ///
    /// # Errors
    /// As for `on_frame`.
    fn on_message(&mut self, cx: &mut Context<'_, M>, message: M) -> Result<(), Fault> {
        let _ = (cx, message);
        Ok(())
    }

    /// As [`StreamHandler::on_shutdown`].
    ///
    /// # Errors
    /// As for `on_frame`.
    fn on_shutdown(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        cx.close();
        Ok(())
    }

    /// As [`StreamHandler::on_close`].
    fn on_close(&mut self, cx: &mut Context<'_, M>, why: &CloseReason) {
        let _ = (cx, why);
    }
}

/// A [`Decoder`] and a [`FrameHandler`] as a [`StreamHandler`].
#[derive(Clone, Debug, Default)]
pub struct Framed<D, H> {
    decoder: D,
    handler: H,
}

impl<D, H> Framed<D, H> {
    /// Shows `handler` the frames that `decoder` finds.
    pub fn new(decoder: D, handler: H) -> Framed<D, H> {
        Framed { decoder, handler }
    }
}

impl<D, H, M> StreamHandler<M> for Framed<D, H>
where
    D: Decoder,
    H: FrameHandler<D, M>,
    M: 'static,
{
    fn on_open(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        self.handler.on_open(cx)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, M>, input: &[u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while taken < input.len() {
            let Some((frame, len)) = self.decoder.decode(&input[taken..])? else { break };
            debug_assert!(len > 0 && len <= input.len() - taken, "the decoder takes what it used");
            taken += len;
            self.handler.on_frame(cx, frame)?;
            if !cx.wants_input() {
                break;
            }
        }
        Ok(taken)
    }

    fn on_eof(&mut self, cx: &mut Context<'_, M>, rest: &[u8]) -> Result<(), Fault> {
        if let Some(frame) = self.decoder.decode_eof(rest)? {
            self.handler.on_frame(cx, frame)?;
        }
        self.handler.on_eof(cx)
    }

    fn on_drain(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        self.handler.on_drain(cx)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, M>, tag: u32) -> Result<(), Fault> {
        self.handler.on_timer(cx, tag)
    }

    fn on_message(&mut self, cx: &mut Context<'_, M>, message: M) -> Result<(), Fault> {
        self.handler.on_message(cx, message)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, M>) -> Result<(), Fault> {
        self.handler.on_shutdown(cx)
    }

    fn on_close(&mut self, cx: &mut Context<'_, M>, why: &CloseReason) {
        self.handler.on_close(cx, why);
    }

    fn max_rest_bytes(&self) -> Option<usize> {
        Some(self.decoder.max_bytes())
    }
}
