//! Every bound of a reactor, in one place, each with its default and the reason for it.

use std::io;
use std::time::Duration;

/// The bounds of a reactor. None is zero, and all are on by default but for those that depend on
/// who the clients are: `connections_per_client`, `accepts_per_second` and `datagrams_per_peer`.
///
/// Times that should never run out are `Duration::MAX`. What is counted over all connections
/// (`connections`, `buffered_bytes`) is meant for the whole process: a
/// [`Server`](crate::Server) shares it among its reactors.
///
/// ```
/// use std::time::Duration;
/// use tidemill::Limits;
/// let limits = Limits { idle: Duration::from_secs(30), ..Limits::default() };
/// limits.check()?;
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections open at once. At the limit a listener stops accepting until a sixty-fourth of
    /// them has closed (of fewer, one), and clients wait in the system's queue, unless
    /// `when_full` says otherwise. Default: the soft limit on descriptors less 256,
    /// which stay for listeners, files and look-ups.
    pub connections: usize,
    /// What is done about a client that comes when there are as many. Default: it waits.
    pub when_full: WhenFull,
    /// Connections that one client may have open at once, by the listeners of all reactors: one
    /// IPv4 address, or one /64 of IPv6, is a client. One more is reset. Default `usize::MAX`,
    /// which counts nothing: behind a proxy or a translator of addresses, everybody is one.
    pub connections_per_client: usize,
    /// Connections accepted in a second, by listeners of one server (where each reactor has its
    /// own, of [`Placement::ReusePort`](crate::Placement::ReusePort), each has its share), with
    /// bursts of a tenth of a second's worth. Clients wait in the system's queue meanwhile.
    /// Default `u32::MAX`, which is no limit: what a connection costs only the handlers know.
    pub accepts_per_second: u32,

    /// A connection's outbox has drained when it falls to this: input flows again, and
    /// [`on_drain`](crate::StreamHandler::on_drain) is called. Default 64 KiB: a full socket
    /// buffer still hides the time it takes to write more.
    pub outbox_low_bytes: usize,
    /// A connection whose own answers raise its outbox above this is not read until it has
    /// drained; and then [`on_drain`](crate::StreamHandler::on_drain) is called, whoever wrote.
    /// Default 256 KiB: a few round trips' worth for one fast client.
    pub outbox_high_bytes: usize,
    /// A connection whose outbox would hold more than this ends, with
    /// [`CloseReason::OutputLimit`](crate::CloseReason). Default 16 MiB: a handler that ignores
    /// `on_drain` is stopped before it hurts the others.
    pub outbox_max_bytes: usize,
    /// Bytes that all outboxes and unfinished messages of a reactor may hold together before it
    /// reads from one connection at a time, until its message is whole, so that what it holds
    /// comes free. No ceiling: each such message may still be answered, and what handlers write
    /// of their own accord (on a timer, a message, to a neighbour) is held back by nothing. All
    /// that bounds the sum is `connections` times `outbox_max_bytes` and `rest_bytes`. Default
    /// 256 MiB: it fits a small machine.
    pub buffered_bytes: usize,
    /// How long the reactor may stay above `buffered_bytes` without a byte leaving, before the
    /// connection that holds most ends with [`CloseReason::Overload`](crate::CloseReason).
    /// Default 5 s.
    pub overload: Duration,
    /// Input that a handler without a codec may leave untaken; a codec has a limit of its own.
    /// Default 1 MiB, as for frames.
    pub rest_bytes: usize,

    /// Until an accepted connection has sent its first byte. Default 120 s: long enough for a
    /// person at a terminal, short enough that silent connections do not pile up.
    pub first_byte: Duration,
    /// Without a byte in either direction. Default 300 s, which outlives the usual keep-alive
    /// pings of clients and proxies.
    pub idle: Duration,
    /// From the first byte of a message to its last; more bytes do not push it back, but it
    /// stands still while we are the ones not reading. Default 30 s, against clients that send a
    /// byte now and then to stay.
    pub message: Duration,
    /// Without the peer taking a byte of what waits for it. Default 60 s: longer than the
    /// retransmissions of a bad but living link.
    pub write_progress: Duration,
    /// From the start of an outgoing connection, look-up included, to its being made.
    /// Default 10 s.
    pub connect: Duration,
    /// To deliver what is queued after a close. Default 60 s, as `write_progress`.
    pub flush: Duration,
    /// To wait for the peer's end after ours was sent, discarding what still comes, since
    /// closing earlier would make the system reset and lose the last answer. Default 5 s.
    pub linger: Duration,
    /// What is discarded in that time at the most. Default 1 MiB.
    pub linger_bytes: usize,

    /// Bytes read from one connection before the next has its turn. Default 64 KiB: one read
    /// of the reactor's buffer.
    pub read_budget_bytes: usize,
    /// Connections accepted from one listener before others have their turn. Default 256.
    pub accept_budget: usize,
    /// Datagrams received from one socket before others have their turn. Default 256.
    pub datagram_budget: usize,
    /// Datagrams of one peer that a socket's handler is shown in a turn: one IPv4 address, or one
    /// /64 of IPv6, is a peer, as for `connections_per_client`. More are dropped and counted.
    /// Default `usize::MAX`, which counts nothing: behind a proxy or a translator of addresses,
    /// everybody is one.
    pub datagrams_per_peer: usize,
    /// Bytes of datagrams that wait for one socket to take them; more are dropped and counted.
    /// Default 1 MiB.
    pub datagram_queue_bytes: usize,
    /// Letters from other threads that wait for one reactor. Default 65,536: a burst from every
    /// connection of a large reactor.
    pub mailbox: usize,
    /// Timers that one connection or one endpoint may have set at once. Default 16.
    pub timers: usize,
    /// Groups that one connection may be in. Default 64.
    pub groups: usize,
    /// How long a listener rests after the system ran out of descriptors or memory, before it
    /// tries again; it also tries whenever a connection closes. As long waits who connects to a
    /// Unix listener whose queue is full. Default 50 ms: short to a person, long to a processor.
    pub accept_retry: Duration,
    /// How long a turn may take before a line of the log says which callback held it up, as it
    /// kept everybody else waiting. Default 250 ms: callbacks should take less than one, but a
    /// busy machine may well interrupt them for tens.
    pub stall: Duration,
}

/// What is done about a client that comes when there are
/// [`Limits::connections`](Limits::connections).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WhenFull {
    /// It waits in the system's queue until others have left, and does not know: it is connected,
    /// and may already send. Once the queue is full as well
    /// ([`ListenOptions::backlog`](crate::sys::ListenOptions::backlog)), connecting takes long
    /// and may time out.
    #[default]
    Wait,
    /// It is let in and told so, if the service knows how
    /// ([`Service::farewell`](crate::Service::farewell)), and the connection ends; otherwise it is
    /// reset. A balancer then turns to another server at once.
    Refuse,
}

impl Default for Limits {
    fn default() -> Limits {
        let descriptors = crate::sys::descriptor_limit();
        let connections = usize::try_from(descriptors).unwrap_or(usize::MAX);
        Limits {
            connections: connections.saturating_sub(256).clamp(16, 1 << 24),
            when_full: WhenFull::default(),
            connections_per_client: usize::MAX,
            accepts_per_second: u32::MAX,
            outbox_low_bytes: 64 * KIB,
            outbox_high_bytes: 256 * KIB,
            outbox_max_bytes: 16 * MIB,
            buffered_bytes: 256 * MIB,
            overload: Duration::from_secs(5),
            rest_bytes: MIB,
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(300),
            message: Duration::from_secs(30),
            write_progress: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            flush: Duration::from_secs(60),
            linger: Duration::from_secs(5),
            linger_bytes: MIB,
            read_budget_bytes: 64 * KIB,
            accept_budget: 256,
            datagram_budget: 256,
            datagrams_per_peer: usize::MAX,
            datagram_queue_bytes: MIB,
            mailbox: 65_536,
            timers: 16,
            groups: 64,
            accept_retry: Duration::from_millis(50),
            stall: Duration::from_millis(250),
        }
    }
}

impl Limits {
    /// Once listeners stopped at the limit on connections, they go on when there are no more than
    /// this: or at the limit every end of a connection would wake all of them.
    pub(crate) fn connections_low(&self) -> usize {
        self.connections - (self.connections / 64).max(1)
    }

    /// Whether there is a limit on connections of one client.
    #[inline]
    pub(crate) fn counts_clients(&self) -> bool {
        self.connections_per_client < usize::MAX
    }

    /// Sets the field of this name by what a command line or a file says: counts and bytes as
    /// whole numbers, times in seconds with or without a fraction, `when_full` as `wait` or
    /// `refuse`. What is set is looked at by [`check`](Limits::check), as everything is.
    ///
    /// ```
    /// # use tidemill::Limits;
    /// let mut limits = Limits::default();
    /// limits.set("idle", "1.5")?;
    /// limits.set("connections_per_client", "20")?;
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// One line: there is no limit of this name, or the value is not of its kind.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = |wanted| format!("limit {name}: {wanted}");
        match self.field(name).ok_or_else(|| no_limit(name))? {
            Field::Count(count) => {
                *count = value.parse().map_err(|_| wrong("not a whole number"))?;
            }
            Field::Rate(rate) => *rate = value.parse().map_err(|_| wrong("not a whole number"))?,
            Field::Span(span) => {
                let seconds = value.parse().ok();
                let parsed = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
                *span = parsed.ok_or_else(|| wrong("not a number of seconds"))?;
            }
            Field::WhenFull(when_full) => {
                *when_full = match value {
                    "wait" => WhenFull::Wait,
                    "refuse" => WhenFull::Refuse,
                    _ => return Err(wrong("not wait or refuse")),
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Option<Field<'_>> {
        Some(match name {
            "connections" => Field::Count(&mut self.connections),
            "when_full" => Field::WhenFull(&mut self.when_full),
            "connections_per_client" => Field::Count(&mut self.connections_per_client),
            "accepts_per_second" => Field::Rate(&mut self.accepts_per_second),
            "outbox_low_bytes" => Field::Count(&mut self.outbox_low_bytes),
            "outbox_high_bytes" => Field::Count(&mut self.outbox_high_bytes),
            "outbox_max_bytes" => Field::Count(&mut self.outbox_max_bytes),
            "buffered_bytes" => Field::Count(&mut self.buffered_bytes),
            "overload" => Field::Span(&mut self.overload),
            "rest_bytes" => Field::Count(&mut self.rest_bytes),
            "first_byte" => Field::Span(&mut self.first_byte),
            "idle" => Field::Span(&mut self.idle),
            "message" => Field::Span(&mut self.message),
            "write_progress" => Field::Span(&mut self.write_progress),
            "connect" => Field::Span(&mut self.connect),
            "flush" => Field::Span(&mut self.flush),
            "linger" => Field::Span(&mut self.linger),
            "linger_bytes" => Field::Count(&mut self.linger_bytes),
            "read_budget_bytes" => Field::Count(&mut self.read_budget_bytes),
            "accept_budget" => Field::Count(&mut self.accept_budget),
            "datagram_budget" => Field::Count(&mut self.datagram_budget),
            "datagrams_per_peer" => Field::Count(&mut self.datagrams_per_peer),
            "datagram_queue_bytes" => Field::Count(&mut self.datagram_queue_bytes),
            "mailbox" => Field::Count(&mut self.mailbox),
            "timers" => Field::Count(&mut self.timers),
            "groups" => Field::Count(&mut self.groups),
            "accept_retry" => Field::Span(&mut self.accept_retry),
            "stall" => Field::Span(&mut self.stall),
            _ => return None,
        })
    }

    /// As [`check`](Limits::check), for whoever answers errors of the system.
    pub(crate) fn checked(self) -> io::Result<Limits> {
        match self.check() {
            Ok(()) => Ok(self),
            Err(wrong) => Err(io::Error::new(io::ErrorKind::InvalidInput, wrong)),
        }
    }

    /// Looks for values that contradict each other.
    ///
    /// # Errors
    /// One line that names the field.
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("connections", self.connections),
            ("connections_per_client", self.connections_per_client),
            ("accepts_per_second", self.accepts_per_second as usize),
            ("outbox_low_bytes", self.outbox_low_bytes),
            ("outbox_high_bytes", self.outbox_high_bytes),
            ("outbox_max_bytes", self.outbox_max_bytes),
            ("buffered_bytes", self.buffered_bytes),
            ("rest_bytes", self.rest_bytes),
            ("linger_bytes", self.linger_bytes),
            ("read_budget_bytes", self.read_budget_bytes),
            ("accept_budget", self.accept_budget),
            ("datagram_budget", self.datagram_budget),
            ("datagrams_per_peer", self.datagrams_per_peer),
            ("datagram_queue_bytes", self.datagram_queue_bytes),
            ("mailbox", self.mailbox),
            ("timers", self.timers),
            ("groups", self.groups),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("limit {name} is zero"));
        }
        let times = [
            ("overload", self.overload),
            ("first_byte", self.first_byte),
            ("idle", self.idle),
            ("message", self.message),
            ("write_progress", self.write_progress),
            ("connect", self.connect),
            ("flush", self.flush),
            ("linger", self.linger),
            ("accept_retry", self.accept_retry),
            ("stall", self.stall),
        ];
        if let Some((name, _)) = times.iter().find(|(_, span)| span.is_zero()) {
            return Err(format!("limit {name} is zero (Duration::MAX means never)"));
        }
        if self.connections > 1 << 24 {
            return Err("limit connections is above 16,777,216".to_owned());
        }
        if self.outbox_low_bytes > self.outbox_high_bytes {
            return Err("limit outbox_low_bytes is above outbox_high_bytes".to_owned());
        }
        if self.outbox_high_bytes > self.outbox_max_bytes {
            return Err("limit outbox_high_bytes is above outbox_max_bytes".to_owned());
        }
        Ok(())
    }
}

/// There is none of this name: says which there are, as the fields are called.
fn no_limit(name: &str) -> String {
    let fields = format!("{:#?}", Limits::default());
    let names = fields.lines().filter_map(|line| Some(line.split_once(": ")?.0.trim()));
    format!("no limit is called {name}, but {}", names.collect::<Vec<_>>().join(", "))
}

/// A limit by its kind.
enum Field<'a> {
    Count(&'a mut usize),
    Rate(&'a mut u32),
    Span(&'a mut Duration),
    WhenFull(&'a mut WhenFull),
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_together() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    /// The names are those of the fields, of which none is left out.
    #[test]
    fn every_limit_can_be_set_by_its_name() {
        let shown = format!("{:#?}", Limits::default());
        let names = shown.lines().filter_map(|line| line.trim().split_once(": "));
        let mut count = 0;
        for (name, _) in names {
            let mut limits = Limits::default();
            let value = if name == "when_full" { "refuse" } else { "77" };
            limits.set(name, value).unwrap();
            assert_ne!(limits, Limits::default(), "{name}");
            count += 1;
        }
        assert!(count > 25, "{shown}");
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        let wrong = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().err()
        };
        assert_eq!(wrong(|it| it.groups = 0).unwrap(), "limit groups is zero");
        let told = wrong(|it| it.linger = Duration::ZERO).unwrap();
        assert_eq!(told, "limit linger is zero (Duration::MAX means never)");
        let told = wrong(|it| it.connections = (1 << 24) + 1).unwrap();
        assert_eq!(told, "limit connections is above 16,777,216");
        assert_eq!(wrong(|it| it.connections = 1 << 24), None);
        let told = wrong(|it| it.outbox_low_bytes = it.outbox_high_bytes + 1).unwrap();
        assert_eq!(told, "limit outbox_low_bytes is above outbox_high_bytes");
        let told = wrong(|it| it.outbox_high_bytes = it.outbox_max_bytes + 1).unwrap();
        assert_eq!(told, "limit outbox_high_bytes is above outbox_max_bytes");
        let equal = wrong(|it| {
            (it.outbox_low_bytes, it.outbox_max_bytes) =
                (it.outbox_high_bytes, it.outbox_high_bytes);
        });
        assert_eq!(equal, None, "marks may be one");
    }

    #[test]
    fn what_was_set_can_be_set_back() {
        let mut limits = Limits::default();
        for (value, wanted) in [("refuse", WhenFull::Refuse), ("wait", WhenFull::Wait)] {
            limits.set("when_full", value).unwrap();
            assert_eq!(limits.when_full, wanted);
        }
    }

    #[test]
    fn what_cannot_be_set_is_named() {
        let wrong = |name, value| Limits::default().set(name, value).unwrap_err();
        let unknown = wrong("idel", "1");
        assert!(unknown.starts_with("no limit is called idel, but connections, "), "{unknown}");
        assert!(unknown.contains(", idle, ") && unknown.ends_with(", stall"), "{unknown}");
        assert_eq!(wrong("timers", "-1"), "limit timers: not a whole number");
        assert_eq!(wrong("idle", "-1"), "limit idle: not a number of seconds");
        assert_eq!(wrong("idle", "NaN"), "limit idle: not a number of seconds");
        assert_eq!(wrong("when_full", "weep"), "limit when_full: not wait or refuse");
    }

    #[test]
    fn a_contradiction_is_named() {
        let wrong = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.check().unwrap_err()
        };
        assert_eq!(wrong(|l| l.mailbox = 0), "limit mailbox is zero");
        assert!(wrong(|l| l.idle = Duration::ZERO).contains("idle"));
        assert!(wrong(|l| l.outbox_low_bytes = MIB).contains("outbox_low_bytes"));
        assert!(wrong(|l| l.outbox_high_bytes = 17 * MIB).contains("outbox_high_bytes"));
        assert!(wrong(|l| l.connections = (1 << 24) + 1).contains("connections"));
    }
}
