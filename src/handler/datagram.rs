//! The handler of one datagram socket.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::{Desk, Screen};
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::hub::agenda::Timers;
use crate::sys::{Arrivals, Arrived, Payloads, SendQueue};

/// What one datagram socket does.
///
/// No callback has an error to answer: one peer's nonsense must not close everybody's socket.
pub trait DatagramHandler<M: 'static = ()>: 'static {
    /// A datagram came, whole. (One that was truncated is dropped and counted.)
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_, M>, from: &NetAddr, payload: &[u8]);

    /// Shows what came in a batch, one by one. It is not meant to be written anew: it is here so
    /// that one virtual call serves for all of them.
    #[doc(hidden)]
    fn on_datagrams(&mut self, cx: &mut DatagramContext<'_, M>) {
        while let Some(arrived) = cx.next_sender() {
            match cx.unseen(arrived) {
                Payloads::Apart(apart) => show(self, cx, &arrived.from, apart.iter()),
                Payloads::Joined(joined) => show(self, cx, &arrived.from, joined.iter()),
            }
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

/// Shows what came from one sender, until that has all been shown, or the queue is full.
#[inline(always)] // for each sender of a batch
fn show<'a, H, M>(
    handler: &mut H,
    cx: &mut DatagramContext<'_, M>,
    from: &NetAddr,
    payloads: impl Iterator<Item = &'a [u8]>,
) where
    H: DatagramHandler<M> + ?Sized,
    M: 'static,
{
    for payload in payloads {
        cx.left -= 1;
        cx.reply_max = payload.len();
        handler.on_datagram(cx, from, payload);
        if cx.queue.is_full() {
            break;
        }
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
    /// What it takes as being alike is a reply to the sender at hand: where another's comes in
    /// between, it looks anew.
    pub(crate) queue: &'a mut SendQueue,
    id: EndpointId,
    screen: &'a mut Screen,
    /// What came behind the sender at hand.
    arrivals: Arrivals<'a>,
    /// How many datagrams came as far as that sender, shown or not.
    came: usize,
    /// The sender at hand, how many datagrams from there the handler is to see, and how many of
    /// them it has not seen.
    arrived: Option<&'a Arrived>,
    shown: usize,
    left: usize,
    /// How long a reply may be: as long as the datagram at hand.
    reply_max: usize,
}

impl<'a, M: 'static> DatagramContext<'a, M> {
    pub(crate) fn new(
        desk: &'a mut Desk<M>,
        timers: &'a mut Timers,
        queue: &'a mut SendQueue,
        screen: &'a mut Screen,
        id: EndpointId,
    ) -> Self {
        queue.seal();
        DatagramContext {
            desk,
            timers,
            queue,
            id,
            screen,
            arrivals: Arrivals::default(),
            came: 0,
            arrived: None,
            shown: 0,
            left: 0,
            reply_max: 0,
        }
    }

    /// Lays out what has come.
    #[inline]
    pub(crate) fn lay_out(&mut self, arrivals: Arrivals<'a>) {
        self.arrivals = arrivals;
    }

    /// How many of the datagrams that were laid out have been looked at.
    pub(crate) fn came(&self) -> usize {
        self.came
    }

    /// Whether datagrams that were laid out have not been looked at.
    pub(crate) fn has_datagrams(&self) -> bool {
        self.left > 0 || !self.arrivals.is_empty()
    }

    /// The sender who is now at hand: the next one, or the one before, where not all was shown.
    fn next_sender(&mut self) -> Option<&'a Arrived> {
        if self.queue.is_full() {
            return None;
        }
        self.queue.seal();
        while self.left == 0 {
            let arrived = self.arrivals.next()?;
            let count = self.arrivals.count_of_last(arrived);
            let shown = self.screen.pass(arrived, count, self.desk, self.id);
            self.came += count;
            (self.arrived, self.shown, self.left) = (Some(arrived), shown, shown);
        }
        self.arrived
    }

    /// What the handler is to see of the sender at hand.
    #[inline]
    fn unseen(&self, arrived: &Arrived) -> Payloads<'a> {
        self.arrivals.payloads_of_last(arrived, self.shown - self.left..self.shown)
    }

    /// The socket's name.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Which of our addresses the datagram at hand was sent to, where the socket is bound to all
    /// of them (`0.0.0.0`, `[::]`) and the system tells, as Linux does.
    pub fn asked(&self) -> Option<IpAddr> {
        self.arrived?.to
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
        if payload.len() > self.reply_max {
            self.count_refused_reply();
            return Err(ReplyTooLarge);
        }
        if self.queue.push_alike(payload) { Ok(()) } else { self.begin_reply(payload) }
    }

    /// A reply that is not like the one before.
    #[inline(never)]
    fn begin_reply(&mut self, payload: &[u8]) -> Result<(), ReplyTooLarge> {
        let Some(Arrived { from, to, .. }) = self.arrived else {
            self.count_refused_reply(); // to whom?
            return Err(ReplyTooLarge);
        };
        self.queue.push(from, to, payload);
        Ok(())
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
        let of_sender = self.arrived.filter(|arrived| arrived.from == *to);
        self.queue.push(to, &of_sender.and_then(|arrived| arrived.to), payload);
        self.queue.look_anew();
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
