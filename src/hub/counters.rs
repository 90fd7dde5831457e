//! What a reactor counts as it goes.

use std::fmt;

/// Counts since the reactor was made. They only grow.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Turns of the loop.
    pub turns: u64,
    /// Edges that the platform told of.
    pub edges: u64,
    /// Connections taken from listeners of this reactor, those handed to others included.
    pub accepted: u64,
    /// Connections that a [`Service`](crate::Service) refused.
    pub refused: u64,
    /// Times a listener had to rest for want of descriptors or memory.
    pub accept_rests: u64,
    /// Connections that were opened here, in either direction.
    pub opened: u64,
    /// Connections that have ended here, those never made included.
    pub closed: u64,
    /// Reads that brought bytes.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes that took bytes.
    pub writes: u64,
    /// Bytes that the system took.
    pub written_bytes: u64,
    /// Reads and writes that answered `WouldBlock`.
    pub would_block: u64,
    /// Datagrams received and shown to a handler.
    pub datagrams_in: u64,
    /// Datagrams that the system took.
    pub datagrams_out: u64,
    /// Datagrams received and not shown to a handler: truncated, or from ourselves.
    pub datagrams_dropped: u64,
    /// Datagrams that the system lost for want of room in a socket's receive buffer, where it
    /// tells (Linux: SO_RXQ_OVFL, which comes with the next datagram).
    pub datagrams_overflowed: u64,
    /// Datagrams that were not sent: the queue was full, or the system refused them.
    pub datagrams_unsent: u64,
    /// Errors told by a receive, which come of what was sent before (ICMP).
    pub datagram_errors: u64,
    /// Handlers and services that panicked.
    pub panics: u64,
}

/// How a shutdown went, or, while there was none, how connections have ended so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Connections that ended after the shutdown began, with everything delivered.
    pub finished: u64,
    /// Connections that ended after the shutdown began in any other way.
    pub aborted: u64,
    /// Bytes that were queued for those, and that the system did not take.
    pub undelivered_bytes: u64,
}

impl Report {
    /// The report of several reactors together.
    #[must_use]
    pub fn and(self, other: Report) -> Report {
        Report {
            finished: self.finished + other.finished,
            aborted: self.aborted + other.aborted,
            undelivered_bytes: self.undelivered_bytes + other.undelivered_bytes,
        }
    }
}

/// `3 finished, 1 aborted, 512 bytes undelivered`
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { finished, aborted, undelivered_bytes } = self;
        write!(f, "{finished} finished, {aborted} aborted, {undelivered_bytes} bytes undelivered")
    }
}
