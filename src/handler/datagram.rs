//! The handler of one datagram socket.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::Desk;
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::hub::agenda::Timers;
use crate::sys::{Arrived, Payloads, SendQueue};

/// What one datagram socket does.
///
/// No callback has an error to answer: one peer's nonsense must not close everybody's socket.
pub trait DatagramHandler<M: 'static = ()>: 'static {
    /// A datagram came, whole. (One that was truncated is dropped and counted.)
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, M>, from: &NetAddr, payload: &[u8]);

    /// Shows what came from one sender, one by one. It is not meant to be written anew: it is here
    /// so that one virtual call serves for all of them.
    #[doc(hidden)]
    fn on_datagrams(&mut self, cx: &mut DatagramContext<'_, M>) {
        while let Some((from, payload)) = cx.next_datagram() {
            self.on_datagram(cx, from, payload);
        }
    }

    /// The socket has joined the reactor. Comes first, once.
    fn on_start(&mut self, cx: &mut DatagramContext<'_, M>) {
        let _ = cx;
    }

    /// A timer set with [`DatagramContext::set_timer`] is due.
    fn on_timer(&mut self, cx: &mut DatagramContext<'_, M>, tag: u32) {
        let _ = (cx, tag);
    }

    /// A message sent to this endpoint with [`Handle::notify`](crate::Handle::notify).
    fn on_message(&mut self, cx: &mut DatagramContext<'_, M>, message: M) {
        let _ = (cx, message);
    }

    /// The reactor is shutting down; what is sent now is still sent.
    fn on_shutdown(&mut self, cx: &mut DatagramContext<'_, M>) {
        let _ = cx;
    }
}

/// A closure is a handler: `|cx, from, payload| { … }`.
impl<F, M> DatagramHandler<M> for F
where
    F: FnMut(&mut DatagramContext<'_, M>, &NetAddr, &[u8]) + 'static,
    M: 'static,
{
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, M>, from: &NetAddr, payload: &[u8]) {
        self(cx, from, payload);
    }
}

/// What a [`DatagramHandler`] may do while it is called, besides what the [`Desk`] offers.
pub struct DatagramContext<'a, M: 'static = ()> {
    pub(crate) desk: &'a mut Desk<M>,
    timers: &'a mut Timers,
    pub(crate) queue: &'a mut SendQueue,
    id: EndpointId,
    request: Option<Request<'a>>,
}

/// The datagram at hand, and those from the same sender that come behind it.
struct Request<'a> {
    arrived: &'a Arrived,
    payloads: Payloads<'a>,
    /// How long the one at hand is.
    len: usize,
    /// Whether the newest datagram in the queue answers this sender.
    is_answered: bool,
    /// With more than this in the queue, the next has to wait until some is sent.
    queue_max_bytes: usize,
}

impl<'a, M: 'static> DatagramContext<'a, M> {
    pub(crate) fn new(
        desk: &'a mut Desk<M>,
        timers: &'a mut Timers,
        queue: &'a mut SendQueue,
        id: EndpointId,
    ) -> Self {
        DatagramContext { desk, timers, queue, id, request: None }
    }

    /// Lays out what has come from one sender.
    #[inline]
    pub(crate) fn lay_out(&mut self, arrived: &'a Arrived, payloads: Payloads<'a>) {
        let request =
            Request { arrived, payloads, len: 0, is_answered: false, queue_max_bytes: usize::MAX };
        self.request = Some(request);
    }

    /// Has the next datagram wait while there is more than this in the queue.
    #[inline]
    pub(crate) fn set_queue_max(&mut self, bytes: usize) {
        if let Some(request) = &mut self.request {
            request.queue_max_bytes = bytes;
            request.is_answered = false;
        }
    }

    /// Whether datagrams that were laid out have not been shown.
    #[inline]
    pub(crate) fn has_datagrams(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.payloads.len() > 0)
    }

    /// The datagram to be shown now, which is then the one at hand.
    #[inline]
    fn next_datagram(&mut self) -> Option<(&'a NetAddr, &'a [u8])> {
        let request = self.request.as_mut()?;
        if self.queue.len_bytes() > request.queue_max_bytes {
            return None;
        }
        let payload = request.payloads.next()?;
        request.len = payload.len();
        log::trace!("{}: received {} from {}", self.id, payload.len(), request.arrived.from);
        Some((&request.arrived.from, payload))
    }

    /// The socket's name.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Which of our addresses the datagram at hand was sent to, where the socket is bound to all
    /// of them (`0.0.0.0`, `[::]`) and the system tells, as Linux does.
    pub fn asked(&self) -> Option<IpAddr> {
        self.request.as_ref()?.arrived.to
    }

    /// Answers the datagram at hand, with at most as many bytes as it had: a server that
    /// answers with more can be turned against whoever a forged sender's address names
    /// (RFC 8085, section 6). Where that cannot be, use
    /// [`send_to`](DatagramContext::send_to).
    ///
    /// # Errors
    /// The reply is larger than the request, or there is no datagram at hand; nothing is sent, and
    /// [`datagram_replies_refused`](crate::Counters::datagram_replies_refused) counts it.
    #[inline]
    pub fn reply(&mut self, payload: &[u8]) -> Result<(), ReplyTooLarge> {
        match &mut self.request {
            Some(request) if payload.len() <= request.len => {
                if !request.is_answered || !self.queue.push_alike(payload) {
                    let Arrived { from, to, .. } = request.arrived;
                    request.is_answered = self.queue.push(from, *to, payload);
                }
                Ok(())
            }
            _ => {
                self.count_refused_reply();
                Err(ReplyTooLarge)
            }
        }
    }

    #[cold]
    pub(crate) fn count_refused_reply(&self) {
        self.desk.hub.counters.datagram_replies_refused.add(1);
    }

    /// Sends a datagram of any size to anyone. It is sent soon after the callback, together with
    /// what else is to be sent; where the system does not take it then, it waits among at most
    /// [`datagram_queue_bytes`](crate::Limits::datagram_queue_bytes), or is dropped and counted.
    ///
    /// To whom sent the datagram at hand it goes, as a reply does, from the address that was
    /// asked; to others from one of the system's choice.
    pub fn send_to(&mut self, to: &NetAddr, payload: &[u8]) {
        let mut asked = None;
        if let Some(request) = &mut self.request {
            request.is_answered = false;
            asked = request.arrived.to.filter(|_| request.arrived.from == *to);
        }
        self.queue.push(to, asked, payload);
    }

    /// Has [`DatagramHandler::on_timer`] called with `tag` after this time, once; a timer of the
    /// same tag is moved. Answers false where [`Limits::timers`](crate::Limits::timers) are set.
    pub fn set_timer(&mut self, tag: u32, after: Duration) -> bool {
        self.desk.hub.set_in(self.timers, tag, after)
    }

    /// Takes a timer back; false where it was not set.
    pub fn cancel_timer(&mut self, tag: u32) -> bool {
        self.timers.cancel(tag)
    }
}

impl<M: 'static> Deref for DatagramContext<'_, M> {
    type Target = Desk<M>;

    fn deref(&self) -> &Desk<M> {
        self.desk
    }
}

impl<M: 'static> DerefMut for DatagramContext<'_, M> {
    fn deref_mut(&mut self) -> &mut Desk<M> {
        self.desk
    }
}

/// A reply would have been larger than its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyTooLarge;

impl fmt::Display for ReplyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply is larger than the request")
    }
}

impl std::error::Error for ReplyTooLarge {}
