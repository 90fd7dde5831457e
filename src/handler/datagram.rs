//! The handler of one datagram socket.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::Desk;
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::hub::agenda::Timers;
use crate::sys::SendQueue;

/// What one datagram socket does.
///
/// No callback has an error to answer: one peer's nonsense must not close everybody's socket.
pub trait DatagramHandler<M: 'static = ()>: 'static {
    /// A datagram came, whole. (One that was truncated is dropped and counted.)
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, M>, from: &NetAddr, payload: &[u8]);

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
    desk: &'a mut Desk<M>,
    timers: &'a mut Timers,
    queue: &'a mut SendQueue,
    id: EndpointId,
    request: Option<Request<'a>>,
}

/// The datagram at hand.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) from: &'a NetAddr,
    /// Which of our addresses it was sent to, where that is not obvious.
    pub(crate) to: Option<IpAddr>,
    pub(crate) len: usize,
}

impl<'a, M: 'static> DatagramContext<'a, M> {
    pub(crate) fn new(
        desk: &'a mut Desk<M>,
        timers: &'a mut Timers,
        queue: &'a mut SendQueue,
        id: EndpointId,
        request: Option<Request<'a>>,
    ) -> Self {
        DatagramContext { desk, timers, queue, id, request }
    }

    /// The socket's name.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Which of our addresses the datagram at hand was sent to, where the socket is bound to all
    /// of them (`0.0.0.0`, `[::]`) and the system tells, as Linux does.
    pub fn asked(&self) -> Option<IpAddr> {
        self.request?.to
    }

    /// Answers the datagram at hand, with at most as many bytes as it had: a server that
    /// answers with more can be turned against whoever a forged sender's address names
    /// (RFC 8085, section 6). Where that cannot be, use
    /// [`send_to`](DatagramContext::send_to).
    ///
    /// # Errors
    /// The reply is larger than the request, or there is no datagram at hand; nothing is sent.
    pub fn reply(&mut self, payload: &[u8]) -> Result<(), ReplyTooLarge> {
        match self.request {
            Some(Request { from, to, len }) if payload.len() <= len => {
                self.queue.push(from, to, payload);
                Ok(())
            }
            _ => Err(ReplyTooLarge),
        }
    }

    /// Sends a datagram of any size to anyone. It is sent soon after the callback, together with
    /// what else is to be sent; where the system does not take it then, it waits among at most
    /// [`datagram_queue_bytes`](crate::Limits::datagram_queue_bytes), or is dropped and counted.
    ///
    /// To whom sent the datagram at hand it goes, as a reply does, from the address that was
    /// asked; to others from one of the system's choice.
    pub fn send_to(&mut self, to: &NetAddr, payload: &[u8]) {
        let asked = self.request.filter(|request| request.from == to);
        self.queue.push(to, asked.and_then(|request| request.to), payload);
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
