//! Step 4: new connections, from listeners and from the neighbours that accepted them.

use std::io::{self, IoSlice};

use log::Level;

use super::Reactor;
use super::call::{Answers, Said, called, unwound};
use super::endpoint::{Endpoint, Kind};
use super::place::{Arrival, Neighbours, Spread};
use super::rest::{Rest, Why};
use super::side::Side;
use super::stall::note_callback;
use crate::base::address::NetAddr;
use crate::base::id::EndpointId;
use crate::base::time::Time;
use crate::handler::{Service, StreamHandler};
use crate::hub::admission::Refusal;
use crate::hub::notices::Notice;
use crate::hub::outbound::Flags;
use crate::hub::pulse::Callback;
use crate::hub::{Hub, Phase};
use crate::sys::errors::AcceptError;
use crate::sys::{Platform, Token};

/// A listener and its service.
pub(super) struct Listening<M: 'static, P: Platform> {
    /// None where others accept for us, and once it was closed.
    pub(super) socket: Option<P::Listener>,
    pub(super) service: Box<dyn Service<M>>,
    pub(super) spread: Spread,
    pub(super) rest: Option<Rest>,
}

/// What a service has answered for a new connection, or what it said as it panicked.
type Asked<M> = Result<Option<Box<dyn StreamHandler<M>>>, Said>;

impl<M: 'static, P: Platform> Listening<M, P> {
    /// Asks the service of a listener in this place for the handler of a new connection; a panic
    /// comes back as its message.
    #[inline(always)] // on the way of every connection
    fn ask(&mut self, hub: &mut Hub, platform: &P, slot: u32, peer: &NetAddr) -> Asked<M> {
        note_callback(hub, platform, Callback::Service, slot);
        unwound(|| self.service.accept(peer))
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Everything that brings new connections.
    pub(super) fn admit(&mut self) {
        self.retry_held();
        self.work_ready_endpoints();
        self.take_arrivals();
        self.start_outgoing();
        self.take_look_ups();
    }

    /// Accepts from one listener, within its budget.
    pub(super) fn accept(&mut self, slot: u32) {
        if self.accept_up_to(slot, self.desk.hub.limits.accept_budget) {
            self.note_endpoint(slot); // the others first
        }
    }

    /// Takes so many connections off a listener's queue, and answers whether there may be more.
    fn accept_up_to(&mut self, slot: u32, most: usize) -> bool {
        let had_rest = self.endpoints.get(slot as usize).and_then(Endpoint::rest).is_some();
        if had_rest && self.must_rest(slot) {
            return false;
        }
        let first_look = self.first_look();
        let mut peer = NetAddr::Unnamed; // one place for all of them
        (0..most).all(|_| {
            let is_held = self.is_limited() && self.must_rest(slot);
            !is_held && self.accept_one(slot, &mut peer, first_look)
        })
    }

    /// When to look at a connection that is made now: of all its deadlines, these run.
    fn first_look(&self) -> Time {
        let hub = &self.desk.hub;
        hub.now + hub.limits.first_byte.min(hub.limits.idle)
    }

    /// Takes one connection off a listener's queue. Answers whether there may be more.
    #[inline(always)] // on the way of every connection
    fn accept_one(&mut self, slot: u32, peer: &mut NetAddr, first_look: Time) -> bool {
        let hub = &mut self.desk.hub;
        let Some(endpoint) = self.endpoints.get_mut(slot as usize) else { return false };
        let id = endpoint.id;
        let Kind::Listener(listening) = &mut endpoint.kind else { return false };
        let Some(listener) = &mut listening.socket else { return false };
        let stream = match self.platform.accept(listener, peer) {
            Ok(stream) => stream,
            Err(error) => return self.has_more_after(slot, error),
        };
        listening.rest = None;
        hub.counters.accepted.add(1);
        self.accept_rate.note(hub.now);
        let is_spread = listening.spread == Spread::Over;
        match self.desk.handle.enter(peer, &hub.limits) {
            Ok(()) if is_spread => self.place(Arrival { stream, peer: peer.clone(), endpoint: id }),
            Ok(()) => {
                self.desk.handle.count_opened(&hub.counters);
                let asked = listening.ask(hub, &self.platform, slot, peer);
                self.welcome(slot, id, stream, peer, asked, first_look);
            }
            Err(why) => self.refuse(slot, stream, peer, why),
        }
        true
    }

    /// Nothing was accepted. Answers whether there may be more all the same.
    #[cold]
    fn has_more_after(&mut self, slot: u32, error: io::Error) -> bool {
        let hub = &mut self.desk.hub;
        let endpoint = &mut self.endpoints[slot as usize];
        let id = endpoint.id;
        let Kind::Listener(listening) = &mut endpoint.kind else { return false };
        match AcceptError::of(&error) {
            AcceptError::Empty => listening.rest = None,
            AcceptError::Retry => return true,
            AcceptError::Exhausted => {
                let until = hub.now + hub.limits.accept_retry;
                let was_exhausted = |rest: Rest| matches!(rest.why, Why::Exhausted(_));
                if !listening.rest.is_some_and(was_exhausted) {
                    let what = format_args!("{id}: cannot accept, will try again: {error}");
                    hub.log(Notice::AcceptFailed, Level::Warn, what);
                }
                hub.counters.accept_rests.add(1);
                self.rest(slot, Why::Exhausted(until));
            }
            AcceptError::Broken => {
                log::error!("{id}: the listener is broken and will be closed: {error}");
                self.close_endpoint(id);
            }
        }
        false
    }

    /// Closes a connection that may not be, with what its service has to say about that.
    #[cold]
    fn refuse(&mut self, slot: u32, mut stream: P::Stream, peer: &NetAddr, why: Refusal) {
        let counters = &self.desk.hub.counters;
        match why {
            Refusal::Full => counters.refused_full.add(1),
            Refusal::ClientFull => counters.refused_client_full.add(1),
            Refusal::Denied => counters.refused_denied.add(1),
        }
        log::debug!("{peer} is refused: {why}");
        self.note_callback(Callback::Service, slot);
        let Kind::Listener(listening) = &mut self.endpoints[slot as usize].kind else { return };
        let platform = &mut self.platform;
        let told = unwound(|| match listening.service.farewell(why) {
            [] => false,
            words => platform.write(&mut stream, &[IoSlice::new(words)]).is_ok(),
        });
        self.note_return(Callback::Service, slot);
        match told {
            Ok(true) => self.platform.close(stream),
            Ok(false) => self.platform.abort(stream),
            Err(message) => {
                self.platform.abort(stream);
                self.desk.hub.counters.panics.add(1);
                let what =
                    format_args!("the service panicked while it refused a client: {message}");
                self.desk.hub.log(Notice::ServicePanicked, Level::Error, what);
            }
        }
    }

    /// Shutting down: takes the connections that have come by now, as far as the limit allows.
    pub(super) fn accept_the_last(&mut self) {
        let listeners: Vec<u32> = self.endpoints.iter().map(|(slot, _)| slot as u32).collect();
        for slot in listeners {
            // The queue has a bound, but clients can fill it as fast as it empties.
            self.accept_up_to(slot, ACCEPTED_LAST);
        }
    }

    /// Gives a new connection to the reactor whose it shall be.
    #[inline(never)] // most stay where they are accepted
    fn place(&mut self, arrival: Arrival<P::Stream>) {
        let handle = &self.desk.handle;
        let me = self.desk.hub.reactor;
        if let Some(neighbours) = self.neighbours.as_mut().filter(|_| self.shutdown.is_running()) {
            let to = neighbours.choose(handle);
            if to != me {
                handle.count_opened(handle.ledger(to));
                let Err(back) = neighbours.hand_over(to, arrival, handle) else { return };
                handle.count_opened(&self.desk.hub.counters);
                handle.count_closed(handle.ledger(to));
                return self.open_arrival(back);
            }
        }
        handle.count_opened(&self.desk.hub.counters);
        self.open_arrival(arrival);
    }

    fn take_arrivals(&mut self) {
        let Some(neighbours) = &self.neighbours else { return };
        if !neighbours.has_arrivals() {
            return;
        }
        let mut arrivals = Vec::new();
        neighbours.collect(&mut arrivals);
        for arrival in arrivals {
            self.open_arrival(arrival);
        }
    }

    /// Takes what others have handed over by now; from now on they keep what they accept.
    pub(super) fn take_last_arrivals(&mut self) {
        let last = self.neighbours.as_ref().map_or_else(Vec::new, Neighbours::close);
        for arrival in last {
            self.open_arrival(arrival);
        }
    }

    /// Makes a connection of what was handed over.
    fn open_arrival(&mut self, arrival: Arrival<P::Stream>) {
        let Arrival { stream, peer, endpoint: id } = arrival;
        let slot = self.endpoint_slot(id);
        let endpoint = slot.and_then(|slot| self.endpoints.get_mut(slot as usize));
        let (Some(slot), Some(Endpoint { kind: Kind::Listener(listening), .. })) = (slot, endpoint)
        else {
            return self.turn_away(stream, &peer);
        };
        let asked = listening.ask(&mut self.desk.hub, &self.platform, slot, &peer);
        self.welcome(slot, id, stream, &peer, asked, self.first_look());
    }

    /// Nobody serves a stream that was accepted and counted.
    fn turn_away(&mut self, stream: P::Stream, peer: &NetAddr) {
        self.platform.close(stream);
        self.desk.handle.leave(peer, &self.desk.hub.limits);
        self.desk.handle.count_closed(&self.desk.hub.counters);
    }

    /// Makes a connection of a stream that was accepted and counted, at the listener in this place,
    /// as its service has answered. Whatever fails on the way, the socket is closed here.
    #[inline(always)] // on the way of every connection
    fn welcome(
        &mut self,
        listener: u32,
        id: EndpointId,
        stream: P::Stream,
        peer: &NetAddr,
        asked: Asked<M>,
        first_look: Time,
    ) {
        let handler = match asked {
            Ok(Some(handler)) => handler,
            Ok(None) => return self.turn_away_refused(listener, stream, peer),
            Err(message) => return self.turn_away_unasked(listener, stream, peer, &message),
        };
        self.note_return(Callback::Service, listener);
        let hub = &mut self.desk.hub;
        let slot = hub.insert(Phase::Open, peer, id.number());
        let Side { source: Some(source), inbound: Some(inbound) } =
            Side::put(&mut self.sides, slot, Some(stream), handler)
        else {
            unreachable!("it has just been put there");
        };
        if let Err(error) = self.platform.register_stream(source, Token::Connection(slot)) {
            return self.free_unwatched(slot, &error);
        }
        hub.agenda.by(slot, first_look);
        hub.counters.opened.add(1);
        hub.stage.open_unread(slot);
        note_callback(hub, &self.platform, Callback::Open, slot);
        let opened =
            called(inbound, Some(source), &mut self.desk, slot, |handler, cx| handler.on_open(cx));
        self.judge_called(slot, Callback::Open, opened);
        self.send_staged(slot);
        if !self.shutdown.is_running() {
            self.retire(slot);
        }
    }

    /// The service does not want this client.
    #[inline(never)] // it wants most of them
    fn turn_away_refused(&mut self, listener: u32, stream: P::Stream, peer: &NetAddr) {
        self.note_return(Callback::Service, listener);
        self.desk.hub.counters.refused.add(1);
        self.turn_away(stream, peer);
    }

    /// The service has panicked.
    #[cold]
    fn turn_away_unasked(
        &mut self,
        listener: u32,
        stream: P::Stream,
        peer: &NetAddr,
        message: &str,
    ) {
        self.note_return(Callback::Service, listener);
        let id = self.endpoints[listener as usize].id;
        self.desk.hub.counters.panics.add(1);
        let what = format_args!("{id}: the service panicked, a client is refused: {message}");
        self.desk.hub.log(Notice::ServicePanicked, Level::Error, what);
        self.turn_away(stream, peer);
    }

    /// The socket cannot be watched: the client never comes to be one.
    #[cold]
    fn free_unwatched(&mut self, slot: u32, error: &io::Error) {
        let hub = &mut self.desk.hub;
        let what = format_args!("{}: cannot watch it, closed: {error}", hub.id(slot));
        hub.log(Notice::AcceptFailed, Level::Warn, what);
        self.free(slot);
    }

    /// Watches the socket of a connection.
    pub(super) fn register(&mut self, slot: u32) -> io::Result<()> {
        let source = self.sides[slot as usize].source.as_mut().expect("it was put there");
        self.platform.register_stream(source, Token::Connection(slot))
    }

    /// A connection is made and watched, and may have been written to: its handler's life begins.
    pub(super) fn open(&mut self, slot: u32) {
        let hub = &mut self.desk.hub;
        hub.counters.opened.add(1);
        hub.row(slot).flags.set(Flags::WRITABLE);
        self.call(slot, Callback::Open, Answers::AtOnce, |handler, cx| handler.on_open(cx));
    }
}

/// Connections taken from one listener at a shutdown, at the most.
const ACCEPTED_LAST: usize = 65_536;
