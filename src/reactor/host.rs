//! What whoever owns a reactor may do between turns: listen, adopt, connect, look.

use std::io;
use std::os::fd::OwnedFd;

use super::{Reactor, Spread};
use crate::base::address::{Address, NetAddr};
use crate::base::id::{ConnId, EndpointId};
use crate::handler::{AtLimit, Connect, DatagramHandler, Desk, Handle, Service, StreamHandler};
use crate::hub::counters::{Counters, Report};
use crate::hub::outbound::NO_ENDPOINT;
use crate::sys::{DatagramOptions, ListenOptions, Platform};

impl<M: 'static, P: Platform> Reactor<M, P> {
    /// Listens for streams, and answers where: port 0 asks the system to choose one.
    ///
    /// # Errors
    /// Those of the system, such as `AddrInUse`. A host name must be looked up before, with
    /// [`resolve`](crate::sys::net::resolve). While it winds down or shuts down, a reactor takes no
    /// more sockets.
    pub fn listen(
        &mut self,
        address: &Address,
        service: impl Service<M>,
    ) -> io::Result<(EndpointId, NetAddr)> {
        self.listen_with(address, &ListenOptions::default(), service)
    }

    /// As [`listen`](Reactor::listen), with options.
    ///
    /// # Errors
    /// As for `listen`.
    pub fn listen_with(
        &mut self,
        address: &Address,
        options: &ListenOptions,
        service: impl Service<M>,
    ) -> io::Result<(EndpointId, NetAddr)> {
        let listener = self.platform.listen(address, options)?;
        let id = self.desk.handle.next_endpoint();
        let local = self.add_listener(id, Some(listener), Box::new(service), Spread::Here)?;
        Ok((id, local))
    }

    /// Binds a socket for datagrams, and answers where.
    ///
    /// # Errors
    /// As for [`listen`](Reactor::listen).
    pub fn bind_datagram(
        &mut self,
        address: &Address,
        options: &DatagramOptions,
        handler: impl DatagramHandler<M>,
    ) -> io::Result<(EndpointId, NetAddr)> {
        let socket = self.platform.bind_datagram(address, options)?;
        let id = self.desk.handle.next_endpoint();
        let local = self.add_datagram(id, socket, Box::new(handler))?;
        Ok((id, local))
    }

    /// Takes over a listening socket: a `std::net::TcpListener`, a Unix one, or a descriptor that
    /// was inherited.
    ///
    /// # Errors
    /// It is no listening socket, the system cannot watch it, or the reactor winds down or shuts
    /// down.
    pub fn adopt_listener(
        &mut self,
        socket: impl Into<OwnedFd>,
        service: impl Service<M>,
    ) -> io::Result<EndpointId> {
        let listener = self.platform.adopt_listener(socket.into())?;
        let id = self.desk.handle.next_endpoint();
        self.add_listener(id, Some(listener), Box::new(service), Spread::Here)?;
        Ok(id)
    }

    /// Takes over a bound datagram socket.
    ///
    /// # Errors
    /// It is no datagram socket, the system cannot watch it, or the reactor winds down or shuts
    /// down.
    pub fn adopt_datagram(
        &mut self,
        socket: impl Into<OwnedFd>,
        handler: impl DatagramHandler<M>,
    ) -> io::Result<EndpointId> {
        let socket = self.platform.adopt_datagram(socket.into())?;
        let id = self.desk.handle.next_endpoint();
        self.add_datagram(id, socket, Box::new(handler))?;
        Ok(id)
    }

    /// Takes over a connected stream, or another descriptor that can be polled: a pipe, a
    /// terminal, a serial line.
    ///
    /// # Errors
    /// The system cannot watch it (it is a regular file, for one), or [`AtLimit`].
    pub fn adopt_stream(
        &mut self,
        fd: impl Into<OwnedFd>,
        handler: impl StreamHandler<M>,
    ) -> io::Result<ConnId> {
        self.desk(); // what may be long ago is brought up to date
        self.adopt_boxed(fd.into(), Box::new(handler))
    }

    pub(super) fn adopt_boxed(
        &mut self,
        fd: OwnedFd,
        handler: Box<dyn StreamHandler<M>>,
    ) -> io::Result<ConnId> {
        let at_limit = |error| io::Error::new(io::ErrorKind::QuotaExceeded, error);
        let admitted = self.desk.admit().map_err(at_limit);
        let stream = match admitted.and_then(|()| self.platform.adopt_stream(fd)) {
            Ok(stream) => stream,
            Err(error) => {
                self.let_go("a handler", handler);
                return Err(error);
            }
        };
        self.desk.handle.count_opened(&self.desk.hub.counters);
        let slot = self.insert(stream, handler, &NetAddr::Unnamed, NO_ENDPOINT);
        if let Err(error) = self.register(slot) {
            self.free(slot);
            return Err(error);
        }
        let stream = self.sides[slot as usize].source.as_mut().expect("it was inserted");
        if let Ok(peer) = self.platform.connected(stream) {
            self.desk.hub.row(slot).peer = crate::hub::outbound::Peer::new(&peer);
        }
        let id = self.desk.hub.id(slot);
        self.note_deadline(slot);
        self.open(slot);
        Ok(id)
    }

    /// Starts an outgoing connection; see [`Desk::connect`].
    ///
    /// # Errors
    /// As for [`Desk::connect`].
    pub fn connect(
        &mut self,
        to: impl Into<Connect>,
        handler: impl StreamHandler<M>,
    ) -> Result<ConnId, AtLimit> {
        self.desk().connect(to, handler)
    }

    /// Closes a listener or a datagram socket; false where there is none of that name.
    /// Connections that it accepted stay.
    pub fn remove_endpoint(&mut self, id: EndpointId) -> bool {
        self.close_endpoint(id)
    }

    /// Where a listener or a datagram socket is bound.
    pub fn endpoint_addr(&self, id: EndpointId) -> Option<NetAddr> {
        self.endpoints.iter().find(|(_, endpoint)| endpoint.id == id)?.1.local_addr()
    }

    /// What callbacks find before them, for use between turns: writing to connections, groups,
    /// timers' moment. Its effects begin with the next turn.
    pub fn desk(&mut self) -> &mut Desk<M> {
        self.desk.hub.now = self.platform.now(); // the last turn may be long ago
        &mut self.desk
    }

    /// What may leave the thread, to reach this reactor from elsewhere.
    pub fn handle(&self) -> &Handle<M> {
        &self.desk.handle
    }

    /// What has been counted so far.
    pub fn counters(&self) -> Counters {
        self.desk.hub.counters.counters()
    }

    /// Connections in whatever phase.
    pub fn connection_count(&self) -> usize {
        self.desk.hub.rows.len()
    }

    /// Bytes that outboxes and unfinished messages hold.
    pub fn buffered_bytes(&self) -> usize {
        self.desk.hub.budget.used()
    }

    /// For whoever looks on: whether a connection would be read now if there were something, as it
    /// wants input and need not wait for others.
    pub(crate) fn would_read(&self, id: ConnId) -> bool {
        let hub = &self.desk.hub;
        hub.resolve(id)
            .is_ok_and(|slot| hub.rows[slot as usize].wants_input() && !hub.budget.is_starved(slot))
    }

    /// For whoever looks on: whether a shutdown is under way.
    pub(crate) fn is_draining(&self) -> bool {
        !self.shutdown.is_running()
    }

    /// How the shutdown has gone so far.
    pub fn report(&self) -> Report {
        self.report
    }
}
