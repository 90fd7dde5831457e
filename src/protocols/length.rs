//! Frames behind their length, each answered by itself.

use crate::codec::{ByteOrder, LengthPrefixed, Width};
use crate::handler::{Context, FrameHandler, Framed};
use crate::hub::reason::Fault;

/// Answers each frame with the same frame: a length of four bytes in network order, and so many
/// bytes. One of more than [`LengthPrefixed::DEFAULT_LIMIT_BYTES`] ends the connection, and so does
/// an end of the stream within a frame.
///
/// ```
/// use tidemill::{NetAddr, Reactor, protocols::LengthEcho};
/// let mut reactor: Reactor = Reactor::new()?;
/// reactor.listen(&"127.0.0.1:0".parse()?, |_: &NetAddr| LengthEcho::framed())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LengthEcho;

impl LengthEcho {
    /// The handler with its decoder, ready to be served.
    pub fn framed() -> Framed<LengthPrefixed, LengthEcho> {
        let frames = LengthPrefixed::new(Width::Four, ByteOrder::Big).keep_prefix();
        Framed::new(frames, LengthEcho)
    }
}

impl<M: 'static> FrameHandler<LengthPrefixed, M> for LengthEcho {
    #[inline]
    fn on_frame(&mut self, cx: &mut Context<'_, M>, frame: &[u8]) -> Result<(), Fault> {
        cx.write(frame);
        Ok(())
    }
}
