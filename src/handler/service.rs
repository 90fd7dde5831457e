//! What belongs to a listener rather than to one connection.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::{Desk, StreamHandler};
use crate::base::address::NetAddr;
use crate::base::id::{ConnId, EndpointId};
use crate::hub::admission::Refusal;
use crate::hub::agenda::Timers;

/// Makes the handler of each connection that a listener accepts.
///
/// A closure from the peer's address to a handler is a service:
///
/// ```
/// use tidemill::{NetAddr, protocols::Echo};
/// let mut reactor: tidemill::Reactor = tidemill::Reactor::new()?;
/// reactor.listen(&"127.0.0.1:0".parse()?, |_peer: &NetAddr| Echo)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Service<M: 'static = ()>: 'static {
    /// A connection was accepted. `None` refuses it: it is closed at once.
    fn accept(&mut self, peer: &NetAddr) -> Option<Box<dyn StreamHandler<M>>>;

    /// A client is refused before [`accept`](Service::accept) is asked: what it is told before its
    /// connection closes, such as an error in the protocol's words. By default nothing, and the
    /// connection is reset. Only what the system takes at once is sent; and a client that has
    /// already sent something itself may see a reset instead (RFC 1122, section 4.2.2.13).
    fn farewell(&mut self, why: Refusal) -> &[u8] {
        let _ = why;
        &[]
    }

    /// The listener has joined the reactor. Comes first, once.
    fn on_start(&mut self, cx: &mut ServiceContext<'_, M>) {
        let _ = cx;
    }

    /// A timer set with [`ServiceContext::set_timer`] is due.
    fn on_timer(&mut self, cx: &mut ServiceContext<'_, M>, tag: u32) {
        let _ = (cx, tag);
    }

    /// A message sent to this endpoint with [`Handle::notify`](crate::Handle::notify).
    fn on_message(&mut self, cx: &mut ServiceContext<'_, M>, message: M) {
        let _ = (cx, message);
    }

    /// A handler that this service made has panicked. Its connection ends.
    fn on_handler_panic(&mut self, id: ConnId, message: &str) {
        let _ = (id, message);
    }
}

impl<F, H, M> Service<M> for F
where
    F: FnMut(&NetAddr) -> H + 'static,
    H: StreamHandler<M>,
    M: 'static,
{
    fn accept(&mut self, peer: &NetAddr) -> Option<Box<dyn StreamHandler<M>>> {
        Some(Box::new(self(peer)))
    }
}

/// What a [`Service`] may do while it is called, besides what the [`Desk`] offers.
pub struct ServiceContext<'a, M: 'static = ()> {
    desk: &'a mut Desk<M>,
    timers: &'a mut Timers,
    id: EndpointId,
}

impl<'a, M: 'static> ServiceContext<'a, M> {
    pub(crate) fn new(desk: &'a mut Desk<M>, timers: &'a mut Timers, id: EndpointId) -> Self {
        ServiceContext { desk, timers, id }
    }

    /// The listener's name.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Has [`Service::on_timer`] called with `tag` after this time, once; a timer of the same
    /// tag is moved. Answers false where [`Limits::timers`](crate::Limits::timers) are set.
    pub fn set_timer(&mut self, tag: u32, after: Duration) -> bool {
        self.desk.hub.set_in(self.timers, tag, after)
    }

    /// Takes a timer back; false where it was not set.
    pub fn cancel_timer(&mut self, tag: u32) -> bool {
        self.timers.cancel(tag)
    }
}

impl<M: 'static> Deref for ServiceContext<'_, M> {
    type Target = Desk<M>;

    fn deref(&self) -> &Desk<M> {
        self.desk
    }
}

impl<M: 'static> DerefMut for ServiceContext<'_, M> {
    fn deref_mut(&mut self) -> &mut Desk<M> {
        self.desk
    }
}
