//! The echo protocol over streams (RFC 862).

use crate::handler::{Context, StreamHandler};
use crate::hub::reason::Fault;

/// Sends back whatever comes, and closes once the peer has ended its direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl<M: 'static> StreamHandler<M> for Echo {
    fn on_bytes(&mut self, cx: &mut Context<'_, M>, input: &[u8]) -> Result<usize, Fault> {
        cx.write(input);
        Ok(input.len())
    }

    fn on_eof(&mut self, cx: &mut Context<'_, M>, rest: &[u8]) -> Result<(), Fault> {
        debug_assert!(rest.is_empty(), "an echo takes all it is shown");
        cx.close();
        Ok(())
    }
}
