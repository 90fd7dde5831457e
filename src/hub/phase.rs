//! The life of a connection as a table.
//!
//! ```text
//!                    close        outbox empty, FIN sent
//!  Connecting ─► Open ─► Flushing ─────────────────────► Lingering ─► Closed ─► (freed)
//!      └──────────┴── abort, fault of the system ──────────────────────▲
//! ```

/// Where a connection stands.
///
/// | phase | reads the socket | offers input | takes writes | left when |
/// |---|---|---|---|---|
/// | Connecting | no | no | yes, kept | ready · deadline |
/// | Open | while wanted | yes | yes | close · fault · peer ended and the handler agrees |
/// | Flushing | no | no | no | outbox empty → FIN; peer's FIN already read → Closed · deadline |
/// | Lingering | yes, discards | no | no | peer's FIN · byte cap · deadline |
/// | Closed | no | no | no | reaped at the end of the turn |
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(i8)]
pub(crate) enum Phase {
    /// An outgoing connection that is not made yet.
    Connecting = -1,
    /// Bytes flow.
    Open = 0,
    /// We are done, but what was queued is still being delivered.
    Flushing = 1,
    /// All is delivered to the system and our end was sent; the peer's is awaited.
    Lingering = 2,
    /// Over. The handler is told, then the place comes free.
    Closed = 3,
}

impl Phase {
    /// Whether what a handler writes is kept for the peer.
    pub(crate) const fn takes_writes(self) -> bool {
        matches!(self, Phase::Connecting | Phase::Open)
    }
}
