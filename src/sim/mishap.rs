//! Everything that may go wrong, by name.

macro_rules! mishaps {
    ($($(#[doc = $what:literal])+ $name:ident = $word:literal, $usual:literal;)+) => {
        /// Something that goes wrong by chance. What a kernel or a network deals, the world deals
        /// where a [`Plan`](super::Plan) gives it odds; what a *peer* does wrong (the names that
        /// start so) is up to whoever plays the peers, who asks
        /// [`World::deals`](super::World::deals).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Mishap {
            $($(#[doc = $what])+ $name,)+
        }

        impl Mishap {
            /// All of them.
            pub const ALL: &'static [Mishap] = &[$(Mishap::$name,)+];

            /// Its name in reports and on command lines.
            pub const fn name(self) -> &'static str {
                match self { $(Mishap::$name => $word,)+ }
            }

            /// Times in ten thousand: odds at which it is met in a run, and the run goes on.
            pub(super) const fn usual_odds(self) -> u16 {
                match self { $(Mishap::$name => $usual,)+ }
            }
        }
    };
}

mishaps! {
    /// A read gives fewer bytes than there are.
    ShortRead = "short-read", 1000;
    /// A write takes fewer bytes than there is room for.
    ShortWrite = "short-write", 1000;
    /// A call answers `WouldBlock` though it need not; an edge follows.
    WouldBlock = "would-block", 500;
    /// A call answers `Interrupted`; it is to be repeated at once.
    Interrupted = "interrupted", 500;

    /// A wait brings an edge to a socket that is owed none.
    StrayEdge = "stray-edge", 500;
    /// A wait brings an edge twice.
    DoubledEdge = "doubled-edge", 1000;
    /// A wait brings what is one edge as two, one for each direction.
    SplitEdge = "split-edge", 1000;
    /// An edge comes up to 20 ms after it was due.
    LateEdge = "late-edge", 300;
    /// After a registered socket was closed, the next wait still brings an edge for its token.
    StaleEdge = "stale-edge", 2000;
    /// A wait returns with nothing, as after a wake-up that somebody else has seen to.
    IdleWake = "idle-wake", 300;
    /// A wake-up counts for two waits.
    DoubledWake = "doubled-wake", 1000;

    /// A read finds that the connection was reset.
    ResetReading = "reset-reading", 20;
    /// A write finds that the connection was reset.
    ResetWriting = "reset-writing", 20;
    /// A connection is reset while it waits to be accepted; accept(2) hands it out all the same.
    ResetBeforeAccept = "reset-before-accept", 50;
    /// Accepting fails with ECONNABORTED: the connection in question is lost.
    AcceptAborted = "accept-econnaborted", 50;
    /// Accepting fails with EPROTO: the connection in question is lost.
    AcceptProto = "accept-eproto", 50;
    /// Accepting fails with EMFILE, and the queue stays.
    AcceptEmfile = "accept-emfile", 50;
    /// Accepting fails with ENFILE, and the queue stays.
    AcceptEnfile = "accept-enfile", 50;
    /// Accepting fails with ENOBUFS, and the queue stays.
    AcceptEnobufs = "accept-enobufs", 50;
    /// Accepting fails with ENOMEM, and the queue stays.
    AcceptEnomem = "accept-enomem", 50;
    /// Registering a stream fails with ENOSPC (fs.epoll.max_user_watches).
    RegisterEnospc = "register-enospc", 50;
    /// Registering a stream fails with ENOMEM.
    RegisterEnomem = "register-enomem", 50;

    /// An outgoing connection is refused though somebody listens.
    ConnectRefused = "connect-refused", 300;
    /// An outgoing connection is never answered.
    ConnectSilent = "connect-silent", 200;
    /// A look-up of a host name fails.
    LookUpFails = "look-up-fails", 1000;

    /// A datagram is lost.
    DatagramLost = "datagram-lost", 300;
    /// A datagram arrives twice.
    DatagramDoubled = "datagram-doubled", 300;
    /// A datagram is overtaken by others.
    DatagramReordered = "datagram-reordered", 300;
    /// Only the first half of a datagram fits where it is received.
    DatagramTruncated = "datagram-truncated", 200;
    /// Sending a datagram fails with EMSGSIZE.
    SendTooLarge = "send-emsgsize", 100;
    /// Sending a datagram fails with ECONNREFUSED, the answer to an earlier one.
    SendRefused = "send-econnrefused", 100;
    /// Sending a datagram fails with ENOBUFS.
    SendEnobufs = "send-enobufs", 100;

    /// A host does nothing for up to five seconds.
    HostStalls = "host-stalls", 10;
    /// The clock jumps ahead by up to ten seconds, as after a suspension.
    ClockJumps = "clock-jumps", 5;

    /// A peer resets in the middle.
    PeerResets = "peer-resets", 500;
    /// A peer closes in the middle.
    PeerLeaves = "peer-leaves", 500;
    /// A peer ends its direction as soon as it has said all, and goes on listening.
    PeerHalfCloses = "peer-half-closes", 3000;
    /// A peer sends its end right behind its last bytes, in one flight.
    PeerFinWithData = "peer-fin-with-data", 2000;
    /// A peer sends urgent data.
    PeerUrgent = "peer-urgent", 300;
    /// A peer never reads, and leaves after a minute.
    PeerNeverReads = "peer-never-reads", 200;
    /// A peer says and hears a few bytes at a time.
    PeerDrips = "peer-drips", 200;

    /// Receiving a datagram fails with ECONNREFUSED, the answer to one that was sent.
    ReceiveRefused = "receive-econnrefused", 100;
}

impl Mishap {
    /// How many there are.
    pub const COUNT: usize = Mishap::ALL.len();

    /// The one of that name.
    pub fn named(name: &str) -> Option<Mishap> {
        Mishap::ALL.iter().copied().find(|mishap| mishap.name() == name)
    }

    /// Whether it is about edges beyond those that are promised, which a strict world never has.
    pub(super) fn is_about_edges(self) -> bool {
        use Mishap::{DoubledEdge, LateEdge, SplitEdge, StaleEdge, StrayEdge};
        matches!(self, StrayEdge | DoubledEdge | SplitEdge | LateEdge | StaleEdge)
    }
}
