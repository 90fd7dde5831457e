//! What is known of every connection of a run: handlers write it down as they are called, and
//! what must not be is noted as a complaint. (A panic would not do: the reactor takes it for the
//! handler's and goes on.)

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::base::address::NetAddr;
use crate::base::id::ConnId;
use crate::base::time::Time;
use crate::hub::limits::Limits;
use crate::hub::reason::{CloseReason, Deadline};
use crate::sim::World;

/// A book that all who take part write into.
#[derive(Clone)]
pub(super) struct Book(Rc<RefCell<Pages>>);

pub(super) struct Pages {
    pub(super) world: World,
    pub(super) limits: Limits,
    pub(super) rows: Vec<Row>,
    /// Names that were given out, by the host's kind.
    pub(super) ids: BTreeSet<(bool, ConnId)>,
    /// By client: its row, once it was accepted.
    by_client: Vec<Option<usize>>,
    /// Rows of the far end, by the address of whoever connected.
    by_address: BTreeMap<NetAddr, usize>,
    /// By host: for how long it has done nothing.
    stalled: Vec<Duration>,
    /// Turns of all reactors together.
    pub(super) turn: u64,
    complaint: Option<String>,
    pub(super) checks: u64,
    /// Connections that listeners have brought.
    pub(super) accepted: u64,
    /// By reactor and place: whose it was last.
    former: BTreeMap<(usize, u32), ConnId>,
    /// A host of clients that may not connect.
    pub(super) denied: Option<IpAddr>,
    /// How many were refused before a service was asked, and how many clients have met with that.
    pub(super) refused: u64,
    turned_away: u64,
    /// Bytes that were taken where some had been left before.
    pub(super) rests_taken: u64,
    /// When the time that the shutdown of the server leaves runs out.
    pub(super) shutdown_due: Time,
}

/// What a connection is to the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A client's, or a stranger's.
    Accepted { client: Option<usize> },
    /// Begun by a reactor that is looked at.
    Outgoing,
    /// The far end of those.
    Far,
}

/// One handler.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) role: Role,
    /// Of its server, once it was called.
    pub(super) reactor: usize,
    /// Once it was opened.
    pub(super) id: Option<ConnId>,
    /// Where an outgoing connection, or the one that a far end accepted, was begun.
    pub(super) address: Option<NetAddr>,
    /// Where a client that came by the internet is.
    host: Option<IpAddr>,
    pub(super) is_closed: bool,
    /// Whether it was told of the end of input.
    pub(super) is_ended: bool,
    /// Whether it was told of the shutdown.
    pub(super) is_told: bool,
    pub(super) made: Time,
    pub(super) opened: Time,
    /// When a byte last came to it.
    pub(super) heard: Option<Time>,
    /// What it last left untaken, and since when it has been leaving that.
    pub(super) rest_bytes: usize,
    pub(super) rest_since: Option<Time>,
    /// Since when it has not wanted input.
    unwilling_since: Option<Time>,
    pub(super) taken_bytes: u64,
    pub(super) calls: u64,
    /// What was read for it in the turn in which it was last called.
    pub(super) turn: u64,
    pub(super) turn_bytes: usize,
    /// In which it was last shown input.
    pub(super) input_turn: u64,
    /// Whether its peer reads or speaks so slowly that a deadline may be meant for it.
    pub(super) is_slow: bool,
    /// Whether it has not got all that it asked for.
    pub(super) is_owed: bool,
    /// The other connection of a proxied pair.
    pub(super) other: Option<usize>,
    /// Of all hosts, up to when it was made.
    pub(super) lost_before: Duration,
    pub(super) why: Option<Why>,
    /// When its client has reset it.
    pub(super) reset: Option<Time>,
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    Closed,
    Aborted,
    TimedOut(Deadline),
    /// A limit on what is kept for it.
    Limit,
    Overload,
    /// It could not be made, or broke.
    Broken,
    Shutdown,
    Fault,
}

impl Why {
    pub(super) fn of(reason: &CloseReason) -> Why {
        match reason {
            CloseReason::Closed => Why::Closed,
            CloseReason::Aborted => Why::Aborted,
            CloseReason::TimedOut(deadline) => Why::TimedOut(*deadline),
            CloseReason::OutputLimit | CloseReason::InputLimit => Why::Limit,
            CloseReason::Overload => Why::Overload,
            CloseReason::Shutdown => Why::Shutdown,
            CloseReason::Fault(_) | CloseReason::Panicked => Why::Fault,
            CloseReason::Reset | CloseReason::Failed(_) | CloseReason::ConnectFailed(_) => {
                Why::Broken
            }
        }
    }
}

impl Book {
    /// For a run with so many clients and hosts.
    pub(super) fn new(world: World, clients: usize, hosts: usize, limits: Limits) -> Book {
        Book(Rc::new(RefCell::new(Pages {
            world,
            limits,
            rows: Vec::new(),
            ids: BTreeSet::new(),
            by_client: vec![None; clients],
            by_address: BTreeMap::new(),
            stalled: vec![Duration::ZERO; hosts],
            turn: 0,
            complaint: None,
            checks: 0,
            accepted: 0,
            former: BTreeMap::new(),
            denied: None,
            refused: 0,
            turned_away: 0,
            rests_taken: 0,
            shutdown_due: Time::MAX,
        })))
    }

    /// Opens a row, and answers its number.
    pub(super) fn begin(&self, role: Role) -> usize {
        self.with(|pages| {
            let number = pages.rows.len();
            let row = Row::new(role, pages.world.now(), pages.lost());
            pages.rows.push(row);
            if let Role::Accepted { client } = role {
                pages.accepted += 1;
                let place = client.and_then(|client| pages.by_client.get_mut(client));
                place.into_iter().for_each(|place| *place = Some(number));
            }
            number
        })
    }

    /// Notes where the connection that a far end has accepted was begun.
    pub(super) fn note_address(&self, row: usize, address: NetAddr) {
        self.with(|pages| {
            if pages.rows[row].role == Role::Far {
                pages.by_address.insert(address.clone(), row);
            }
            pages.rows[row].address = Some(address);
        });
    }

    pub(super) fn note_owed(&self, row: usize, is_owed: bool) {
        self.with(|pages| pages.rows[row].is_owed = is_owed);
    }

    /// Two connections are a proxied pair.
    pub(super) fn pair(&self, one: usize, other: usize) {
        self.with(|pages| {
            pages.rows[one].other = Some(other);
            pages.rows[other].other = Some(one);
        });
    }

    /// Whoever that client is, it is slow.
    pub(super) fn note_slow(&self, client: usize) {
        self.with(|pages| {
            if let Some(row) = pages.by_client[client] {
                pages.rows[row].is_slow = true;
            }
        });
    }

    /// That client resets its connection.
    pub(super) fn note_reset(&self, client: usize) {
        self.with(|pages| {
            if let Some(row) = pages.by_client[client] {
                pages.rows[row].reset = Some(pages.world.now());
            }
        });
    }

    /// Notes that something is wrong; the first of such notes counts.
    pub(super) fn complain(&self, what: String) {
        self.with(|pages| pages.complain(what));
    }

    pub(super) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        self.with(|pages| pages.check(holds, what));
    }

    pub(super) fn complaint(&self) -> Option<String> {
        self.with(|pages| pages.complaint.clone())
    }

    pub(super) fn checks(&self) -> u64 {
        self.with(|pages| pages.checks)
    }

    pub(super) fn row_of(&self, client: usize) -> Option<Row> {
        self.with(|pages| pages.by_client[client].map(|row| pages.rows[row].clone()))
    }

    pub(super) fn row(&self, number: usize) -> Row {
        self.with(|pages| pages.rows[number].clone())
    }

    /// How many handlers there were.
    pub(super) fn handlers(&self) -> u64 {
        self.with(|pages| pages.rows.len() as u64)
    }

    /// How many connections listeners have brought.
    pub(super) fn accepted(&self) -> u64 {
        self.with(|pages| pages.accepted)
    }

    /// Whose a connection's place was before.
    pub(super) fn former(&self, id: ConnId) -> Option<ConnId> {
        self.with(|pages| pages.former.get(&(id.reactor(), id.slot())).copied())
    }

    /// Whether a client that no service has seen may be one of those who were refused.
    pub(super) fn may_be_refused(&self) -> bool {
        self.with(|pages| {
            let is_one = pages.turned_away < pages.refused;
            pages.turned_away += u64::from(is_one);
            is_one
        })
    }

    pub(super) fn begin_turn(&self) {
        self.with(|pages| pages.turn += 1);
    }

    /// A host does nothing for a while.
    pub(super) fn note_stall(&self, host: usize, span: Duration) {
        self.with(|pages| pages.stalled[host] += span);
    }

    /// For how long a host has done nothing, and by how much the clock has jumped: as much later
    /// may its timers be.
    pub(super) fn lost_by(&self, host: usize) -> Duration {
        self.with(|pages| pages.stalled[host] + pages.world.jumped())
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Pages) -> T) -> T {
        act(&mut self.0.borrow_mut())
    }
}

impl Pages {
    pub(super) fn complain(&mut self, what: String) {
        self.complaint.get_or_insert(what);
    }

    pub(super) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            self.complain(what());
        }
    }

    /// Notes whose a place was.
    pub(super) fn note_former(&mut self, id: ConnId) {
        self.former.insert((id.reactor(), id.slot()), id);
    }

    /// Looks at somebody who comes by the internet: it must be one who may.
    pub(super) fn check_admitted(&mut self, row: usize, host: IpAddr) {
        self.check(self.denied != Some(host), || format!("{host} was to be denied"));
        let most = self.limits.connections_per_client;
        if most < usize::MAX {
            let is_beside = |row: &&Row| row.host == Some(host) && row.is_open();
            let count = self.rows.iter().filter(is_beside).count();
            self.check(count < most, || format!("{host} has {count} connections, and one more"));
        }
        self.rows[row].host = Some(host);
    }

    /// The row of whoever accepted what was begun there.
    pub(super) fn far_row(&self, address: &NetAddr) -> Option<&Row> {
        self.by_address.get(address).map(|row| &self.rows[*row])
    }

    /// The row of whoever began what a far end has accepted.
    pub(super) fn near_row(&self, address: &NetAddr) -> Option<&Row> {
        self.rows
            .iter()
            .rev()
            .find(|row| row.role == Role::Outgoing && row.address.as_ref() == Some(address))
    }

    /// Of the hosts the far end is the last, and the others are reactors of one server.
    pub(super) fn host_of(&self, row: &Row) -> usize {
        match row.role {
            Role::Far => self.stalled.len() - 1,
            _ => row.reactor,
        }
    }

    /// Time that hosts have lost in all.
    pub(super) fn lost(&self) -> Duration {
        self.stalled.iter().sum::<Duration>() + self.world.jumped()
    }

    /// Whether enough time was lost in a connection's life for that deadline to strike whoever
    /// is quick.
    pub(super) fn may_strike(&self, row: &Row, deadline: Deadline) -> bool {
        let lost = self.lost().saturating_sub(row.lost_before) + BY_CHANCE;
        lost >= self.span_of(deadline)
    }

    pub(super) fn span_of(&self, deadline: Deadline) -> Duration {
        let limits = &self.limits;
        match deadline {
            Deadline::Connect => limits.connect,
            Deadline::FirstByte => limits.first_byte,
            Deadline::Idle => limits.idle,
            Deadline::Message => limits.message,
            Deadline::WriteProgress => limits.write_progress,
            Deadline::Flush => limits.flush,
            Deadline::Expect => Duration::ZERO,
        }
    }
}

impl Row {
    fn new(role: Role, made: Time, lost_before: Duration) -> Row {
        Row {
            role,
            reactor: 0,
            id: None,
            address: None,
            host: None,
            is_closed: false,
            is_ended: false,
            is_told: false,
            made,
            opened: made,
            heard: None,
            rest_bytes: 0,
            rest_since: None,
            unwilling_since: None,
            taken_bytes: 0,
            calls: 0,
            turn: 0,
            turn_bytes: 0,
            input_turn: 0,
            is_slow: false,
            is_owed: false,
            other: None,
            lost_before,
            why: None,
            reset: None,
        }
    }

    /// Whether it is between `on_open` and `on_close`.
    pub(super) fn is_open(&self) -> bool {
        self.id.is_some() && !self.is_closed
    }

    /// Notes whether it wants input at this moment. The clock of a message stands still while it
    /// does not.
    pub(super) fn note_willing(&mut self, now: Time, wants_input: bool) {
        if !wants_input {
            self.unwilling_since.get_or_insert(now);
        } else if let Some(since) = self.unwilling_since.take() {
            self.rest_since = self.rest_since.map(|rest| rest + now.since(since.max(rest)));
        }
    }

    /// When the message under way began, were it not for the times in which it was not wanted.
    pub(super) fn message_since(&self, now: Time) -> Option<Time> {
        let rest = self.rest_since?;
        let unwilling = self.unwilling_since.map(|since| now.since(since.max(rest)));
        Some(rest + unwilling.unwrap_or_default())
    }

    /// Whether it ended in another way than it should.
    pub(super) fn is_unclean(&self) -> bool {
        self.why.is_some_and(|why| why != Why::Closed)
    }
}

/// What latency, full queues and a stall that began before may take of a deadline.
const BY_CHANCE: Duration = Duration::from_secs(9);
