//! Listeners and datagram sockets: what is not a connection.

use std::io;

use log::Level;

use super::Reactor;
use super::accept::Listening;
use super::call::unwound;
use super::datagram::Socketed;
use super::place::Spread;
use super::rest::Rest;
use crate::base::address::NetAddr;
use crate::base::id::{ConnId, EndpointId};
use crate::handler::{DatagramHandler, Service, ServiceContext};
use crate::hub::agenda::Timers;
use crate::hub::notices::Notice;
use crate::hub::pulse::Callback;
use crate::sys::{Platform, Socket, Token};

pub(super) struct Endpoint<M: 'static, P: Platform> {
    pub(super) id: EndpointId,
    pub(super) timers: Timers,
    pub(super) kind: Kind<M, P>,
    /// Whether it is on the list of those to be looked at.
    pub(super) is_ready: bool,
}

pub(super) enum Kind<M: 'static, P: Platform> {
    Listener(Listening<M, P>),
    Datagram(Socketed<M, P>),
}

impl<M: 'static, P: Platform> Endpoint<M, P> {
    pub(super) fn local_addr(&self) -> Option<NetAddr> {
        match &self.kind {
            Kind::Listener(listening) => listening.socket.as_ref()?.local_addr().ok(),
            Kind::Datagram(socketed) => socketed.socket.local_addr().ok(),
        }
    }

    /// Its rest, where it is a listener that has one.
    pub(super) fn rest(&self) -> Option<Rest> {
        match &self.kind {
            Kind::Listener(listening) => listening.rest,
            Kind::Datagram(_) => None,
        }
    }

    pub(super) fn close(self, platform: &mut P) {
        match self.kind {
            Kind::Listener(listening) => {
                if let Some(listener) = listening.socket {
                    platform.close_listener(listener);
                }
            }
            Kind::Datagram(socketed) => platform.close_datagram(socketed.socket),
        }
    }
}

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Adds a listener; or, without a socket of its own, the service for connections that other
    /// reactors accept and hand over.
    pub(crate) fn add_listener(
        &mut self,
        id: EndpointId,
        listener: Option<P::Listener>,
        service: Box<dyn Service<M>>,
        spread: Spread,
    ) -> io::Result<NetAddr> {
        // Without neighbours there is nobody to ask about, for each connection.
        let spread = if self.neighbours.is_some() { spread } else { Spread::Here };
        let listening = Listening { socket: listener, service, spread, rest: None };
        let slot = self.add_endpoint(id, Kind::Listener(listening))?;
        self.call_service(slot, |service, cx| service.on_start(cx));
        Ok(self.endpoints[slot as usize].local_addr().unwrap_or(NetAddr::Unnamed))
    }

    pub(crate) fn add_datagram(
        &mut self,
        id: EndpointId,
        socket: P::Datagram,
        handler: Box<dyn DatagramHandler<M>>,
    ) -> io::Result<NetAddr> {
        let local = socket.local_addr()?;
        let socketed = Socketed::new(socket, handler, local.clone(), &self.desk.hub.limits);
        let slot = self.add_endpoint(id, Kind::Datagram(socketed))?;
        self.call_datagram(slot, |handler, cx| handler.on_start(cx));
        Ok(local)
    }

    fn add_endpoint(&mut self, id: EndpointId, kind: Kind<M, P>) -> io::Result<u32> {
        let endpoint = Endpoint { id, timers: Timers::default(), kind, is_ready: false };
        if self.is_ending() {
            endpoint.close(&mut self.platform);
            return Err(io::Error::other("no socket is served any more: shutting down"));
        }
        let slot = self.endpoints.insert(endpoint) as u32;
        let token = Token::Endpoint(slot);
        let registered = match &mut self.endpoints[slot as usize].kind {
            Kind::Listener(Listening { socket: Some(listener), .. }) => {
                self.platform.register_listener(listener, token)
            }
            Kind::Listener(_) => Ok(()),
            Kind::Datagram(socketed) => {
                self.platform.register_datagram(&mut socketed.socket, token)
            }
        };
        if let Err(error) = registered {
            self.close_endpoint(id);
            return Err(error);
        }
        Ok(slot)
    }

    pub(super) fn close_endpoint(&mut self, id: EndpointId) -> bool {
        let Some(slot) = self.endpoint_slot(id) else { return false };
        self.endpoint_agenda.forget(slot);
        let endpoint = self.endpoints.remove(slot as usize);
        if endpoint.is_ready {
            self.ready_endpoints.retain(|&ready| ready != slot);
        }
        // Its handler is dropped there, which is code that is not ours.
        let platform = &mut self.platform;
        if let Err(message) = unwound(|| endpoint.close(platform)) {
            self.desk.hub.counters.panics.add(1);
            let what = format_args!("{id}: the handler panicked while it was dropped: {message}");
            self.desk.hub.log(Notice::DropPanicked, Level::Error, what);
        }
        true
    }

    /// Closes all endpoints, with what [`close_endpoints`](Reactor::close_endpoints) left.
    pub(super) fn remove_endpoints(&mut self) {
        let ids: Vec<EndpointId> = self.endpoints.iter().map(|(_, endpoint)| endpoint.id).collect();
        for id in ids {
            self.close_endpoint(id);
        }
    }

    /// Closes all endpoints; datagram handlers are told first.
    pub(super) fn close_endpoints(&mut self) {
        let ids: Vec<EndpointId> = self.endpoints.iter().map(|(_, endpoint)| endpoint.id).collect();
        for id in ids {
            let Some(slot) = self.endpoint_slot(id) else { continue };
            if matches!(self.endpoints[slot as usize].kind, Kind::Datagram(_)) {
                self.call_datagram(slot, |handler, cx| handler.on_shutdown(cx));
                self.close_endpoint(id);
            } else if let Kind::Listener(listening) = &mut self.endpoints[slot as usize].kind {
                // The service stays: others may yet hand over what they have accepted.
                listening.rest = None;
                if let Some(listener) = listening.socket.take() {
                    self.platform.close_listener(listener);
                }
            }
        }
    }

    pub(super) fn endpoint_slot(&self, id: EndpointId) -> Option<u32> {
        let found = self.endpoints.iter().find(|(_, endpoint)| endpoint.id == id);
        found.map(|(slot, _)| slot as u32)
    }

    /// Something may be waiting at an endpoint.
    pub(super) fn note_endpoint(&mut self, slot: u32) {
        if let Some(endpoint) = self.endpoints.get_mut(slot as usize) {
            if !endpoint.is_ready {
                endpoint.is_ready = true;
                self.ready_endpoints.push(slot);
                self.desk.hub.wants_work = true;
            }
        }
    }

    /// Gives every endpoint on the list its turn; of listeners that have rested, the one that did
    /// for longest has the first.
    pub(super) fn work_ready_endpoints(&mut self) {
        if self.ready_endpoints.is_empty() {
            return;
        }
        std::mem::swap(&mut self.slots, &mut self.ready_endpoints);
        let mut slots = std::mem::take(&mut self.slots);
        if slots.len() > 1 {
            let rest = |&slot: &u32| self.endpoints.get(slot as usize).and_then(Endpoint::rest);
            slots.sort_by_key(|slot| rest(slot).map_or(u64::MAX, |rest| rest.since));
        }
        for slot in slots.drain(..) {
            let Some(endpoint) = self.endpoints.get_mut(slot as usize) else { continue };
            endpoint.is_ready = false;
            match endpoint.kind {
                Kind::Listener(_) => self.accept(slot),
                Kind::Datagram(_) => self.watch_datagrams(slot, |it| it.exchange_datagrams(slot)),
            }
        }
        self.slots = slots;
    }

    /// A deadline of an endpoint has come.
    pub(super) fn fire_endpoint(&mut self, slot: u32) {
        let now = self.desk.hub.now;
        let due_count = self.endpoints.get(slot as usize).map_or(0, |it| it.timers.count_due(now));
        for _ in 0..due_count {
            let Some(endpoint) = self.endpoints.get_mut(slot as usize) else { return };
            let Some(tag) = endpoint.timers.pop_due(now) else { break };
            self.desk.hub.counters.timers_fired.add(1);
            match endpoint.kind {
                Kind::Listener(_) => self.call_service(slot, |it, cx| it.on_timer(cx, tag)),
                Kind::Datagram(_) => self.watch_datagrams(slot, |reactor| {
                    reactor.call_datagram(slot, |it, cx| it.on_timer(cx, tag));
                }),
            }
        }
        self.end_rest(slot);
        self.note_endpoint_deadline(slot);
    }

    pub(super) fn note_endpoint_deadline(&mut self, slot: u32) {
        let Some(endpoint) = self.endpoints.get(slot as usize) else { return };
        if let Some(next) = endpoint.timers.next() {
            self.endpoint_agenda.by(slot, next);
        }
        // What is looked at anyway needs no waking.
        let rest = endpoint.rest().filter(|_| !endpoint.is_ready);
        if let Some(next) = rest.and_then(Rest::until) {
            self.endpoint_agenda.by(slot, next);
        }
    }

    /// Calls a service; a panic is logged and has no further consequence.
    pub(super) fn call_service(
        &mut self,
        slot: u32,
        callback: impl FnOnce(&mut dyn Service<M>, &mut ServiceContext<'_, M>),
    ) {
        self.note_callback(Callback::Service, slot);
        let Some(Endpoint { id, timers, kind: Kind::Listener(listening), .. }) =
            self.endpoints.get_mut(slot as usize)
        else {
            return;
        };
        let id = *id;
        let mut cx = ServiceContext::new(&mut self.desk, timers, id);
        let called = unwound(|| callback(&mut *listening.service, &mut cx));
        self.note_return(Callback::Service, slot);
        if let Err(message) = called {
            self.desk.hub.counters.panics.add(1);
            let what = format_args!("{id}: the service panicked: {message}");
            self.desk.hub.log(Notice::ServicePanicked, Level::Error, what);
        }
        self.note_endpoint_deadline(slot);
    }

    /// Tells the service that made a handler of its panic.
    pub(super) fn tell_of_panic(&mut self, endpoint: u32, id: ConnId, message: &str) {
        if let Some(slot) = self.endpoint_slot(EndpointId::new(endpoint)) {
            self.call_service(slot, |service, _| service.on_handler_panic(id, message));
        }
    }
}
