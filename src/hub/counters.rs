//! What a reactor counts as it goes.
//!
//! One table says it all: the name of a count, what it means, and how Prometheus calls it. The
//! reactor's thread adds to a [`Ledger`], which any thread may look at: that costs it nothing more
//! than numbers of its own would. One number is everybody's: the [`Load`].

use std::fmt;
use std::sync::atomic::AtomicUsize;

use super::pulse::Pulse;
use super::reason::{CloseReason, Deadline};
use crate::base::count::Count;
use crate::base::histogram::Histograph;

/// Connections open in the reactor, by which new ones are placed. Whoever hands one over counts it:
/// so it has a line of the cache to itself, as the others are written all the time.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Load(pub(crate) AtomicUsize);

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident => $metric:literal,)+) => {
        /// Counts since the reactor was made. They only grow.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counters {
            /// The counts of several reactors together.
            #[must_use]
            pub fn and(self, other: Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)+ }
            }

            /// Each count with the name that Prometheus knows it by, and what it means.
            pub(super) fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($metric, concat!($($doc),+), self.$name),)+].into_iter()
            }
        }

        /// What a reactor measures while others look on.
        #[derive(Default)]
        pub(crate) struct Ledger {
            $(pub(crate) $name: Count,)+
            pub(crate) load: Load,
            pub(crate) buffered_bytes: Count,
            pub(crate) buffered_bytes_most: Count,
            pub(crate) turn_time: Histograph,
            pub(crate) timer_lag: Histograph,
            pub(crate) pulse: Pulse,
        }

        impl Ledger {
            pub(crate) fn counters(&self) -> Counters {
                Counters { $($name: self.$name.get(),)+ }
            }
        }
    };
}

// A doc is the help text as well; where the name has a label, as far as its colon.
counters! {
    /// Turns of the loop.
    turns => "turns_total",
    /// Edges that the platform told of.
    edges => "edges_total",
    /// Connections taken from listeners of this reactor, those handed to others included.
    accepted => "connections_accepted_total",
    /// Connections refused: by a service.
    refused => "connections_refused_total{by=\"service\"}",
    /// Connections refused: there were as many as may be.
    refused_full => "connections_refused_total{by=\"connections\"}",
    /// Connections refused: the client had as many as it may.
    refused_client_full => "connections_refused_total{by=\"connections_per_client\"}",
    /// Connections refused: the address is not allowed.
    refused_denied => "connections_refused_total{by=\"access\"}",
    /// Times a listener had to rest for want of descriptors or memory.
    accept_rests => "accept_rests_total",
    /// Times a listener stopped at the limit on connections.
    accept_holds => "accept_holds_total",
    /// Times a listener waited for the next moment that the rate of accepting allows.
    accept_waits => "accept_waits_total",
    /// Connections that were opened here, in either direction.
    opened => "connections_opened_total",
    /// Connections that have ended here, those never made included.
    closed => "connections_closed_total",
    /// Connections that have ended, by reason: we closed, and everything was delivered.
    closed_well => "connections_closed_by_reason_total{reason=\"closed\"}",
    /// Connections that have ended, by reason: the handler, or a handle, aborted.
    closed_aborted => "connections_closed_by_reason_total{reason=\"aborted\"}",
    /// Connections that have ended, by reason: the handler or its decoder answered an error.
    closed_fault => "connections_closed_by_reason_total{reason=\"fault\"}",
    /// Connections that have ended, by reason: the handler panicked.
    closed_panicked => "connections_closed_by_reason_total{reason=\"panicked\"}",
    /// Connections that have ended, by reason: reset by the peer.
    closed_reset => "connections_closed_by_reason_total{reason=\"reset\"}",
    /// Connections that have ended, by reason: the system failed them.
    closed_failed => "connections_closed_by_reason_total{reason=\"failed\"}",
    /// Connections that have ended, by reason: they could not be made.
    closed_connect_failed => "connections_closed_by_reason_total{reason=\"connect_failed\"}",
    /// Connections that have ended, by reason: not made in time.
    closed_connect => "connections_closed_by_reason_total{reason=\"connect\"}",
    /// Connections that have ended, by reason: no first byte came.
    closed_first_byte => "connections_closed_by_reason_total{reason=\"first_byte\"}",
    /// Connections that have ended, by reason: idle.
    closed_idle => "connections_closed_by_reason_total{reason=\"idle\"}",
    /// Connections that have ended, by reason: a message had no end.
    closed_message => "connections_closed_by_reason_total{reason=\"message\"}",
    /// Connections that have ended, by reason: the peer did not read.
    closed_write_progress => "connections_closed_by_reason_total{reason=\"write_progress\"}",
    /// Connections that have ended, by reason: what was queued at the close was not taken.
    closed_flush => "connections_closed_by_reason_total{reason=\"flush\"}",
    /// Connections that have ended, by reason: a deadline of the handler's own.
    closed_expect => "connections_closed_by_reason_total{reason=\"expect\"}",
    /// Connections that have ended, by reason: too much output for a slow reader.
    closed_output_limit => "connections_closed_by_reason_total{reason=\"output_limit\"}",
    /// Connections that have ended, by reason: too much input without an end.
    closed_input_limit => "connections_closed_by_reason_total{reason=\"input_limit\"}",
    /// Connections that have ended, by reason: they held most when too much was buffered.
    closed_overload => "connections_closed_by_reason_total{reason=\"overload\"}",
    /// Connections that have ended, by reason: a shutdown ran out of time.
    closed_shutdown => "connections_closed_by_reason_total{reason=\"shutdown\"}",
    /// Reads that brought bytes.
    reads => "reads_total",
    /// Bytes read.
    read_bytes => "read_bytes_total",
    /// Bytes read that no handler was shown, as they came after we had ended the connection.
    discarded_bytes => "discarded_bytes_total",
    /// Writes that took bytes.
    writes => "writes_total",
    /// Bytes that the system took.
    written_bytes => "written_bytes_total",
    /// Writes of which the system took a part only.
    short_writes => "short_writes_total",
    /// Reads and writes that answered `WouldBlock`.
    would_block => "would_block_total",
    /// Timers that were set or moved.
    timers_set => "timers_set_total",
    /// Timers that have fired.
    timers_fired => "timers_fired_total",
    /// Timers that were one more than a connection or an endpoint may have.
    timers_refused => "timers_refused_total",
    /// Letters from other threads that were worked off.
    letters => "letters_total",
    /// Datagrams received and shown to a handler.
    datagrams_in => "datagrams_in_total",
    /// Datagrams that the system took.
    datagrams_out => "datagrams_out_total",
    /// Datagrams received and not shown to a handler: truncated, from the socket's own address, or
    /// from one that is not allowed.
    datagrams_dropped => "datagrams_dropped_total",
    /// Datagrams received and not shown to a handler, as it had been shown in that turn as many of
    /// their peer's as it may.
    datagrams_over_share => "datagrams_over_share_total",
    /// Datagrams that the system lost for want of room in a socket's receive buffer, where it
    /// tells (Linux: SO_RXQ_OVFL, socket(7)). It does with the next datagram that it keeps, by a
    /// count of 32 bits that goes round: only what was lost since the one before is added. What
    /// an adopted socket lost before its time here is not.
    datagrams_overflowed => "datagrams_overflowed_total",
    /// Datagrams that were not sent: the queue was full, or the system refused them.
    datagrams_unsent => "datagrams_unsent_total",
    /// Replies that were refused: larger than their request, or by an echo to a port below 1024.
    datagram_replies_refused => "datagram_replies_refused_total",
    /// Errors told by a receive, which come of what was sent before (ICMP).
    datagram_errors => "datagram_errors_total",
    /// Lines of the log that were one too many of their kind in a second.
    log_suppressed => "log_suppressed_total",
    /// Turns that took longer than `Limits::stall`.
    stalls => "stalls_total",
    /// Handlers and services that panicked.
    panics => "panics_total",
}

impl Ledger {
    /// A connection has ended.
    pub(crate) fn count_end(&self, reason: &CloseReason) {
        self.closed.add(1);
        let by_reason = match reason {
            CloseReason::Closed => &self.closed_well,
            CloseReason::Aborted => &self.closed_aborted,
            CloseReason::Fault(_) => &self.closed_fault,
            CloseReason::Panicked => &self.closed_panicked,
            CloseReason::Reset => &self.closed_reset,
            CloseReason::Failed(_) => &self.closed_failed,
            CloseReason::ConnectFailed(_) => &self.closed_connect_failed,
            CloseReason::TimedOut(Deadline::Connect) => &self.closed_connect,
            CloseReason::TimedOut(Deadline::FirstByte) => &self.closed_first_byte,
            CloseReason::TimedOut(Deadline::Idle) => &self.closed_idle,
            CloseReason::TimedOut(Deadline::Message) => &self.closed_message,
            CloseReason::TimedOut(Deadline::WriteProgress) => &self.closed_write_progress,
            CloseReason::TimedOut(Deadline::Flush) => &self.closed_flush,
            CloseReason::TimedOut(Deadline::Expect) => &self.closed_expect,
            CloseReason::OutputLimit => &self.closed_output_limit,
            CloseReason::InputLimit => &self.closed_input_limit,
            CloseReason::Overload => &self.closed_overload,
            CloseReason::Shutdown => &self.closed_shutdown,
        };
        by_reason.add(1);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up() {
        let one = Report { finished: 1, aborted: 2, undelivered_bytes: 3 };
        let other = Report { finished: 10, aborted: 20, undelivered_bytes: 30 };
        let sum = Report { finished: 11, aborted: 22, undelivered_bytes: 33 };
        assert_eq!(one.and(other), sum);
        assert_eq!(sum.to_string(), "11 finished, 22 aborted, 33 bytes undelivered");
    }
}
