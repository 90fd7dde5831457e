//! Lines, each answered by itself.

use crate::codec::{Ending, Line, Lines};
use crate::handler::{Context, FrameHandler, Framed};
use crate::hub::reason::Fault;

/// Answers each line with the same line, ended as it came, by LF or CRLF. A line of more than
/// [`Lines::DEFAULT_LIMIT_BYTES`] ends the connection; a last line without an ending is answered
/// as it is.
///
/// ```
/// use tidemill::{NetAddr, Reactor, protocols::LineEcho};
/// let mut reactor: Reactor = Reactor::new()?;
/// reactor.listen(&"127.0.0.1:0".parse()?, |_: &NetAddr| LineEcho::framed())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LineEcho;

impl LineEcho {
    /// The handler with its decoder, ready to be served.
    pub fn framed() -> Framed<Lines, LineEcho> {
        Framed::new(Lines::new(Ending::Any), LineEcho)
    }
}

impl<M: 'static> FrameHandler<Lines, M> for LineEcho {
    #[inline]
    fn on_frame(&mut self, cx: &mut Context<'_, M>, line: Line<'_>) -> Result<(), Fault> {
        cx.write(line.whole());
        Ok(())
    }
}
