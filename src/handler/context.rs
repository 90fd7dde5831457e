//! What a running callback may reach.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use std::{error, fmt};

use super::{Handle, StreamHandler};
use crate::base::address::{Address, NetAddr};
use crate::base::id::ConnId;
use crate::base::time::Time;
use crate::codec::Encoder;
use crate::hub::groups::{Broadcast, Group, Receipt};
use crate::hub::outbound::{Flags, NO_ENDPOINT};
use crate::hub::reason::{CloseReason, Gone};
use crate::hub::{self, Hub, Phase};
use crate::sys::{Socket, StreamOptions};

/// What every callback finds before it, whatever it is about: the time, the other connections of
/// this reactor, and the way out of the thread. [`Context`], [`ServiceContext`] and
/// [`DatagramContext`] lend it by `Deref`.
///
/// [`ServiceContext`]: crate::ServiceContext
/// [`DatagramContext`]: crate::DatagramContext
pub struct Desk<M: 'static = ()> {
    pub(crate) hub: Hub,
    /// Connections that callbacks asked for; they are started between callbacks.
    pub(crate) outgoing: Vec<Outgoing<M>>,
    /// The reactor is shutting down: nothing new begins.
    pub(crate) is_closing: bool,
    pub(crate) handle: Handle<M>,
}

/// An outgoing connection that was asked for.
pub(crate) struct Outgoing<M: 'static> {
    pub(crate) id: ConnId,
    pub(crate) to: Connect,
    pub(crate) handler: Box<dyn StreamHandler<M>>,
}

impl<M: 'static> Desk<M> {
    pub(crate) fn new(hub: Hub, handle: Handle<M>) -> Desk<M> {
        Desk { hub, outgoing: Vec::new(), is_closing: false, handle }
    }

    /// This turn's moment. Time stands still within a turn.
    pub fn now(&self) -> Time {
        self.hub.now
    }

    /// How many connections this reactor has, in whatever phase.
    pub fn connection_count(&self) -> usize {
        self.hub.rows.len()
    }

    /// Starts an outgoing connection. Its handler's `on_open` comes once it is made; where it
    /// cannot be made, its `on_close` alone. What is written to it in between is kept.
    ///
    /// ```
    /// # use tidemill::{protocols::Echo, Context};
    /// fn dial(cx: &mut Context<'_>) -> Result<(), Box<dyn std::error::Error>> {
    ///     let id = cx.connect("localhost:7000".parse::<tidemill::Address>()?, Echo)?;
    ///     cx.write_to(id, b"hello")?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// The reactor has as many connections as it may; or it is shutting down, and starts none.
    pub fn connect(
        &mut self,
        to: impl Into<Connect>,
        handler: impl StreamHandler<M>,
    ) -> Result<ConnId, AtLimit> {
        self.admit()?;
        Ok(self.connect_boxed(to.into(), Box::new(handler)))
    }

    /// As [`connect`](Desk::connect), for whoever has asked whether it may be.
    pub(crate) fn connect_boxed(
        &mut self,
        to: Connect,
        handler: Box<dyn StreamHandler<M>>,
    ) -> ConnId {
        self.handle.count_opened(&self.hub.counters);
        let slot = self.hub.insert(Phase::Connecting, &NetAddr::Unnamed, NO_ENDPOINT);
        let id = self.hub.id(slot);
        let row = self.hub.row(slot);
        if to.within.is_some() {
            row.extras().connect_within = to.within;
        }
        let within = to.within.unwrap_or(self.hub.limits.connect);
        let deadline = self.hub.now + within;
        self.hub.agenda.by(slot, deadline);
        self.outgoing.push(Outgoing { id, to, handler });
        self.hub.wants_work = true;
        id
    }

    /// Whether one more connection may begin.
    pub(crate) fn admit(&self) -> Result<(), AtLimit> {
        let is_full = self.is_closing || self.handle.is_full(&self.hub.limits);
        if is_full { Err(AtLimit) } else { Ok(()) }
    }

    /// Writes to another connection of this reactor.
    ///
    /// # Errors
    /// It has ended, is closing, or lives on another reactor.
    pub fn write_to(&mut self, id: ConnId, bytes: &[u8]) -> Result<(), Gone> {
        let slot = self.hub.resolve(id)?;
        self.hub.write(slot, bytes).map_err(|_| Gone)
    }

    /// As [`write_to`](Desk::write_to), without copying the bytes.
    ///
    /// # Errors
    /// As for `write_to`.
    pub fn write_shared_to(&mut self, id: ConnId, bytes: Arc<[u8]>) -> Result<(), Gone> {
        let slot = self.hub.resolve(id)?;
        self.hub.write_shared(slot, hub::shared(bytes)).map_err(|_| Gone)
    }

    /// Closes another connection of this reactor, delivering first what was written to it.
    ///
    /// # Errors
    /// It has ended already, or lives on another reactor.
    pub fn close_other(&mut self, id: ConnId) -> Result<(), Gone> {
        let slot = self.live(id)?;
        self.hub.close(slot);
        Ok(())
    }

    /// Ends our direction of another connection; see [`Context::finish`].
    ///
    /// # Errors
    /// As for [`close_other`](Desk::close_other).
    pub fn finish_other(&mut self, id: ConnId) -> Result<(), Gone> {
        let slot = self.live(id)?;
        self.hub.finish(slot);
        Ok(())
    }

    /// Ends another connection at once; see [`Context::abort`].
    ///
    /// # Errors
    /// As for [`close_other`](Desk::close_other).
    pub fn abort_other(&mut self, id: ConnId) -> Result<(), Gone> {
        let slot = self.live(id)?;
        self.hub.abort(slot, CloseReason::Aborted);
        Ok(())
    }

    /// Stops the input of another connection; see [`Context::pause`].
    ///
    /// # Errors
    /// As for [`close_other`](Desk::close_other).
    pub fn pause_other(&mut self, id: ConnId) -> Result<(), Gone> {
        let slot = self.live(id)?;
        self.hub.pause(slot);
        Ok(())
    }

    /// Lets the input of another connection flow again.
    ///
    /// # Errors
    /// As for [`close_other`](Desk::close_other).
    pub fn resume_other(&mut self, id: ConnId) -> Result<(), Gone> {
        let slot = self.live(id)?;
        self.hub.resume(slot);
        Ok(())
    }

    /// Bytes written to another connection that the system has not taken.
    ///
    /// # Errors
    /// As for [`close_other`](Desk::close_other).
    pub fn backlog_of(&self, id: ConnId) -> Result<usize, Gone> {
        Ok(self.hub.backlog(self.live(id)?))
    }

    /// Whether whoever writes to another connection should stop: its backlog is above the high
    /// mark, and its own [`on_drain`](crate::StreamHandler::on_drain) will be called once it has
    /// drained. A relay pauses its input until then.
    ///
    /// # Errors
    /// As for [`close_other`](Desk::close_other).
    pub fn is_other_full(&self, id: ConnId) -> Result<bool, Gone> {
        let slot = self.live(id)?;
        Ok(self.hub.rows[slot as usize].flags.has(Flags::ABOVE_HIGH))
    }

    fn live(&self, id: ConnId) -> Result<u32, Gone> {
        let slot = self.hub.resolve(id)?;
        if self.hub.rows[slot as usize].phase() == Phase::Closed { Err(Gone) } else { Ok(slot) }
    }

    /// Sends bytes to every member of a group on *this* reactor, and says what became of it.
    /// [`Handle::broadcast`] reaches all reactors.
    pub fn broadcast(&mut self, broadcast: &Broadcast) -> Receipt {
        self.hub.broadcast(broadcast)
    }

    /// How many connections of this reactor are in a group.
    pub fn group_len(&self, group: Group) -> usize {
        self.hub.members(group)
    }

    /// What may leave the thread, to send messages back from elsewhere.
    pub fn handle(&self) -> &Handle<M> {
        &self.handle
    }
}

/// What a callback of one connection may do. It also lends the [`Desk`], for what is not about
/// this connection alone.
///
/// Writing never blocks and never fails: what the system does not take at once waits in the
/// connection's outbox, and trouble arrives as
/// [`on_close`](crate::StreamHandler::on_close).
pub struct Context<'a, M: 'static = ()> {
    desk: &'a mut Desk<M>,
    socket: Option<&'a dyn Socket>,
    slot: u32,
}

impl<'a, M: 'static> Context<'a, M> {
    #[inline]
    pub(crate) fn new(
        desk: &'a mut Desk<M>,
        socket: Option<&'a dyn Socket>,
        slot: u32,
    ) -> Context<'a, M> {
        Context { desk, socket, slot }
    }

    // Who.

    /// This connection's name, for others to write to it.
    pub fn id(&self) -> ConnId {
        self.hub.id(self.slot)
    }

    /// The peer's address (getpeername).
    pub fn peer(&self) -> NetAddr {
        self.hub.rows[self.slot as usize].peer.address()
    }

    /// Our own end's address (getsockname).
    ///
    /// # Errors
    /// Those of the system; `NotConnected` where there is no socket (any more).
    pub fn local(&self) -> io::Result<NetAddr> {
        self.socket.ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// The socket, for options that have no method here (setsockopt, getsockopt); none in a
    /// simulation. Reading, writing or closing it behind the reactor's back breaks what the
    /// handler was promised.
    pub fn socket(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.socket.and_then(Socket::fd)
    }

    // Writing.

    /// Sends bytes. Those that were just read are not copied.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        self.desk.hub.answer(self.slot, bytes);
    }

    /// Sends bytes without copying them.
    pub fn write_shared(&mut self, bytes: Arc<[u8]>) {
        self.desk.hub.answer_shared(self.slot, hub::shared(bytes));
    }

    /// Sends one item by way of an encoder, which writes it straight into the outgoing bytes.
    ///
    /// # Errors
    /// The encoder refused it; nothing is sent.
    pub fn encode<E: Encoder>(
        &mut self,
        encoder: &mut E,
        item: E::Item<'_>,
    ) -> Result<(), E::Error> {
        self.desk.hub.answer_with(self.slot, |out| encoder.encode(item, out))
    }

    /// Bytes written that the system has not taken.
    pub fn backlog(&self) -> usize {
        self.hub.backlog(self.slot)
    }

    /// Whether a producer should stop: the backlog is above the high mark, and
    /// [`on_drain`](crate::StreamHandler::on_drain) will be called once it has drained.
    pub fn is_full(&self) -> bool {
        self.hub.rows[self.slot as usize].flags.has(Flags::ABOVE_HIGH)
    }

    // Reading.

    /// Whether input comes: the connection is open, not paused, and what its own handler wrote
    /// has not risen above the high mark.
    #[inline]
    pub fn wants_input(&self) -> bool {
        self.hub.rows[self.slot as usize].wants_input()
    }

    /// False as long as nothing has happened that `wants_input` could tell.
    #[inline]
    pub(crate) fn is_disturbed(&self) -> bool {
        self.hub.is_disturbed
    }

    /// Stops input until [`resume`](Context::resume). The peer is held back by the network.
    pub fn pause(&mut self) {
        self.desk.hub.pause(self.slot);
    }

    /// Lets input flow again.
    pub fn resume(&mut self) {
        self.desk.hub.resume(self.slot);
    }

    // Ending.

    /// Ends our direction once everything is written (half-close); later writes are ignored. The
    /// peer may go on sending. Once both directions have ended, the connection closes.
    pub fn finish(&mut self) {
        self.desk.hub.finish(self.slot);
    }

    /// Closes: no more input comes, what was written is delivered, and then
    /// [`on_close`](crate::StreamHandler::on_close) is called.
    pub fn close(&mut self) {
        self.desk.hub.close(self.slot);
    }

    /// Ends the connection at once; what was written and not yet taken is lost, and the peer sees
    /// a reset.
    pub fn abort(&mut self) {
        self.desk.hub.abort(self.slot, CloseReason::Aborted);
    }

    // Time.

    /// Has [`on_timer`](crate::StreamHandler::on_timer) called with `tag` after this time, once;
    /// a timer of the same tag is moved. Never early, and at most a millisecond and the rest of a
    /// turn late. Answers false where [`Limits::timers`](crate::Limits::timers) are set already.
    pub fn set_timer(&mut self, tag: u32, after: Duration) -> bool {
        self.desk.hub.set_timer(self.slot, tag, after)
    }

    /// Takes a timer back; false where it was not set.
    pub fn cancel_timer(&mut self, tag: u32) -> bool {
        self.desk.hub.cancel_timer(self.slot, tag)
    }

    /// Ends the connection with [`Deadline::Expect`](crate::Deadline) unless this is called
    /// again within `span`, or called with `None`. Handlers that take all input at once, so that
    /// the deadline for a whole message does not see where theirs end, use it in its place.
    pub fn expect_within(&mut self, span: impl Into<Option<Duration>>) {
        self.desk.hub.expect_within(self.slot, span.into());
    }

    // Groups.

    /// Joins a group. Answers false where the connection is in as many as
    /// [`Limits::groups`](crate::Limits::groups) allows.
    pub fn join(&mut self, group: Group) -> bool {
        self.desk.hub.join(self.slot, group)
    }

    /// Leaves a group; false where the connection was not in it.
    pub fn leave(&mut self, group: Group) -> bool {
        self.desk.hub.leave(self.slot, group)
    }
}

impl<M: 'static> Deref for Context<'_, M> {
    type Target = Desk<M>;

    #[inline]
    fn deref(&self) -> &Desk<M> {
        self.desk
    }
}

impl<M: 'static> DerefMut for Context<'_, M> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Desk<M> {
        self.desk
    }
}

/// Where to connect to, and how. An [`Address`] alone will often do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    /// Where to. The addresses of a host name are tried one after the other.
    pub to: Address,
    /// The socket's options.
    pub options: StreamOptions,
    /// The time it may take, look-up included; [`Limits::connect`](crate::Limits::connect)
    /// where it is `None`.
    pub within: Option<Duration>,
}

impl From<Address> for Connect {
    fn from(to: Address) -> Connect {
        Connect { to, options: StreamOptions::default(), within: None }
    }
}

impl From<std::net::SocketAddr> for Connect {
    fn from(to: std::net::SocketAddr) -> Connect {
        Address::Inet(to).into()
    }
}

/// There are as many connections as [`Limits::connections`](crate::Limits::connections) allows,
/// or the reactor is shutting down and allows no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtLimit;

impl fmt::Display for AtLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no more connections are allowed")
    }
}

impl error::Error for AtLimit {}
