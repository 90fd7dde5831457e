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

    /// Comes right after `on_frame`, before the next frame is looked for: the moment to tell the
    /// decoder what comes next, where that depends on what the handler knows. What has arrived
    /// already is read as the decoder then says.
    fn steer(&mut self, decoder: &mut D) {
        let _ = decoder;
    }

    /// The decoder cannot read on. What is written here is still delivered; then the connection
    /// ends with the error as its [`Fault`].
    fn on_decode_error(&mut self, cx: &mut Context<'_, M>, error: &D::Error) {
        let _ = (cx, error);
    }

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
    /// With less input than this the decoder would only answer "not yet" once more. After an error,
    /// when nothing is shown any more, it means nothing.
    wanted_bytes: usize,
}

impl<D, H> Framed<D, H> {
    /// Shows `handler` the frames that `decoder` finds.
    pub fn new(decoder: D, handler: H) -> Framed<D, H> {
        Framed { decoder, handler, wanted_bytes: 0 }
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
        if input.len() < self.wanted_bytes {
            return Ok(0);
        }
        let mut rest = input;
        loop {
            let Some((frame, len)) =
                caught::<D, _, _, _>(&mut self.handler, cx, self.decoder.decode(rest))?
            else {
                rest = &rest[self.decoder.skip()..];
                self.wanted_bytes = rest.len().saturating_add(self.decoder.needs());
                break;
            };
            // A decoder that answers frames of nothing would have us here for ever.
            assert!(len > 0, "a frame takes a byte at least");
            rest = rest.get(len..).expect("a frame takes what has come at most");
            self.handler.on_frame(cx, frame)?;
            self.handler.steer(&mut self.decoder);
            if cx.is_disturbed() && !cx.wants_input() {
                self.wanted_bytes = 0;
                break;
            }
        }
        Ok(input.len() - rest.len())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, M>, rest: &[u8]) -> Result<(), Fault> {
        if let Some(frame) =
            caught::<D, _, _, _>(&mut self.handler, cx, self.decoder.decode_eof(rest))?
        {
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

/// Tells the handler of a decoder's error on its way out.
#[inline]
fn caught<D, H, M, F>(
    handler: &mut H,
    cx: &mut Context<'_, M>,
    decoded: Result<F, D::Error>,
) -> Result<F, Fault>
where
    D: Decoder,
    H: FrameHandler<D, M>,
    M: 'static,
{
    decoded.map_err(|error| {
        handler.on_decode_error(cx, &error);
        Fault::from(error)
    })
}
