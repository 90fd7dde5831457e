//! The handler of one datagram socket.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::Desk;
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::hub::agenda::Timers;

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
    queue: &'a mut OutQueue,
    id: EndpointId,
    request: Option<(&'a NetAddr, usize)>,
}

impl<'a, M: 'static> DatagramContext<'a, M> {
    pub(crate) fn new(
        desk: &'a mut Desk<M>,
        timers: &'a mut Timers,
        queue: &'a mut OutQueue,
        id: EndpointId,
        request: Option<(&'a NetAddr, usize)>,
    ) -> Self {
        DatagramContext { desk, timers, queue, id, request }
    }

    /// The socket's name.
    pub fn id(&self) -> EndpointId {
        self.id
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
            Some((from, len)) if payload.len() <= len => {
                self.queue.push(from, payload);
                Ok(())
            }
            _ => Err(ReplyTooLarge),
        }
    }

    /// Sends a datagram of any size to anyone. It is sent right after the callback; where the
    /// system does not take it then, it waits among at most
    /// [`datagram_queue_bytes`](crate::Limits::datagram_queue_bytes), or is dropped and counted.
    pub fn send_to(&mut self, to: &NetAddr, payload: &[u8]) {
        self.queue.push(to, payload);
    }

    /// Has [`DatagramHandler::on_timer`] called with `tag` after this time, once; a timer of the
    /// same tag is moved. Answers false where [`Limits::timers`](crate::Limits::timers) are set.
    pub fn set_timer(&mut self, tag: u32, after: Duration) -> bool {
        let deadline = self.desk.hub.now + after;
        self.timers.set(tag, deadline, self.desk.hub.limits.timers)
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

/// Datagrams that wait for their socket to take them: addresses and lengths in order, and the
/// payloads one behind the other.
pub(crate) struct OutQueue {
    letters: VecDeque<(NetAddr, usize)>,
    /// `payloads[start..]` is what waits.
    payloads: Vec<u8>,
    start: usize,
    max_bytes: usize,
    dropped: u64,
}

impl OutQueue {
    pub(crate) fn new(max_bytes: usize) -> OutQueue {
        OutQueue { letters: VecDeque::new(), payloads: Vec::new(), start: 0, max_bytes, dropped: 0 }
    }

    fn push(&mut self, to: &NetAddr, payload: &[u8]) {
        // An empty datagram counts too, or a flood of them would have no bound.
        let cost = payload.len() + self.letters.len() * size_of::<(NetAddr, usize)>();
        if self.payloads.len() - self.start + cost > self.max_bytes {
            self.dropped += 1;
            return;
        }
        self.letters.push_back((to.clone(), payload.len()));
        self.payloads.extend_from_slice(payload);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub(crate) fn front(&self) -> Option<(&NetAddr, &[u8])> {
        let (to, len) = self.letters.front()?;
        Some((to, &self.payloads[self.start..self.start + len]))
    }

    pub(crate) fn pop(&mut self) {
        let (_, len) = self.letters.pop_front().expect("there was a front");
        self.start += len;
        if self.letters.is_empty() {
            self.payloads.clear();
            self.start = 0;
        } else if self.start > self.payloads.len() / 2 {
            self.payloads.drain(..self.start);
            self.start = 0;
        }
    }

    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_keeps_order_and_drops_what_is_too_much() {
        let mut queue = OutQueue::new(1000);
        let to = NetAddr::Unnamed;
        for byte in 0..5 {
            queue.push(&to, &[byte; 300]);
        }
        assert_eq!(queue.take_dropped(), 2);
        for byte in 0..3 {
            assert_eq!(queue.front(), Some((&to, &[byte; 300][..])));
            queue.pop();
        }
        assert!(queue.is_empty() && queue.payloads.is_empty());
    }

    #[test]
    fn empty_datagrams_are_bounded_too() {
        let mut queue = OutQueue::new(1000);
        for _ in 0..1000 {
            queue.push(&NetAddr::Unnamed, b"");
        }
        assert!(queue.letters.len() < 100);
    }
}
