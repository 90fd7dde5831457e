//! Names of connections and endpoints that never come to mean another one.

use std::fmt;

/// The name of one connection, among all that its server, or its reactor where that stands alone,
/// ever has.
///
/// It holds a place in its reactor's table and a serial that the reactor gives out only once, so
/// an id that has outlived its connection answers [`Gone`](crate::Gone) and never reaches the
/// next one that sits in the same place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    serial: u64,
    slot: u32,
    reactor: u32,
}

impl ConnId {
    pub(crate) const fn new(reactor: u32, slot: u32, serial: u64) -> ConnId {
        ConnId { serial, slot, reactor }
    }

    /// Which reactor of the server the connection lives on.
    pub const fn reactor(self) -> usize {
        self.reactor as usize
    }

    /// How many connections that reactor had opened before this one.
    pub const fn serial(self) -> u64 {
        self.serial
    }

    pub(crate) const fn slot(self) -> u32 {
        self.slot
    }
}

/// `0/5#42`: reactor 0, place 5, serial 42.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#{}", self.reactor, self.slot, self.serial)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// The name of a listener or a datagram socket.
///
/// It is given out once in the life of a [`Handle`](crate::Handle) and means the same endpoint on
/// every reactor that serves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u32);

impl EndpointId {
    pub(crate) const fn new(number: u32) -> EndpointId {
        EndpointId(number)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({self})")
    }
}
