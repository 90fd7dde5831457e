//! Groups of connections, and what is said to all of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Hub;
use super::reason::{CloseReason, Gone};
use crate::base::id::ConnId;
use crate::base::outbox::Shared;

/// The name of a group: a number of your choosing, such as that of a chat room.
///
/// Connections of every reactor of a server can be in one group. A connection leaves its groups
/// when it ends; a group without members costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Group(pub u64);

/// What becomes of a member that does not read fast enough: one whose outbox is above
/// [`outbox_high_bytes`](crate::Limits::outbox_high_bytes).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Slow {
    /// It misses this one.
    #[default]
    Skip,
    /// It ends, with [`CloseReason::OutputLimit`].
    Close,
    /// It is sent more, up to [`outbox_max_bytes`](crate::Limits::outbox_max_bytes).
    Queue,
}

/// Bytes for every member of a group. They are kept once, however many members there are.
#[derive(Clone, Debug)]
pub struct Broadcast {
    pub(crate) group: Group,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) slow: Slow,
    pub(crate) except: Option<ConnId>,
}

impl Broadcast {
    /// These bytes, to everybody in `group`.
    pub fn new(group: Group, bytes: impl Into<Arc<[u8]>>) -> Broadcast {
        Broadcast { group, bytes: bytes.into(), slow: Slow::Skip, except: None }
    }

    /// Leaves out one member: the speaker, usually.
    #[must_use]
    pub fn except(mut self, id: ConnId) -> Broadcast {
        self.except = Some(id);
        self
    }

    /// What to do with members that do not read fast enough.
    #[must_use]
    pub fn slow(mut self, slow: Slow) -> Broadcast {
        self.slow = slow;
        self
    }
}

/// What became of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Receipt {
    /// Members that it was queued for.
    pub sent: usize,
    /// Members that missed it: slow ones, and those already closing.
    pub skipped: usize,
    /// Members that were closed because of it.
    pub closed: usize,
}

/// A connection's place in one group.
pub(crate) struct Membership {
    group: Group,
    /// Where it stands in the group's list.
    index: usize,
}

/// Members by group, in order of joining until one leaves and the last takes its place.
#[derive(Default)]
pub(crate) struct Groups(HashMap<Group, Vec<u32>>);

impl Hub {
    /// Puts a connection into a group; false where it is in as many as it may be.
    pub(crate) fn join(&mut self, slot: u32, group: Group) -> bool {
        let most = self.limits.groups;
        let groups = &mut self.rows[slot as usize].extras().groups;
        if groups.iter().any(|membership| membership.group == group) {
            return true;
        }
        if groups.len() >= most {
            return false;
        }
        let members = self.groups.0.entry(group).or_default();
        groups.push(Membership { group, index: members.len() });
        members.push(slot);
        true
    }

    /// Takes a connection out of a group; false where it was not in it.
    pub(crate) fn leave(&mut self, slot: u32, group: Group) -> bool {
        let Some(extras) = &mut self.rows[slot as usize].extras else { return false };
        let Some(at) = extras.groups.iter().position(|m| m.group == group) else { return false };
        let index = extras.groups.swap_remove(at).index;
        self.take_out(group, index);
        true
    }

    /// Takes a connection that has gone out of the groups it was in.
    pub(super) fn leave_all(&mut self, memberships: Vec<Membership>) {
        for Membership { group, index } in memberships {
            self.take_out(group, index);
        }
    }

    /// Closes the gap at `index` with the last member, who is told of its new place.
    fn take_out(&mut self, group: Group, index: usize) {
        let members = self.groups.0.get_mut(&group).expect("a member's group exists");
        members.swap_remove(index);
        if let Some(&moved) = members.get(index) {
            let extras = self.rows[moved as usize].extras();
            let membership = extras.groups.iter_mut().find(|m| m.group == group);
            membership.expect("a listed member knows its group").index = index;
        } else if members.is_empty() {
            self.groups.0.remove(&group);
        }
    }

    /// How many connections of this reactor are in a group.
    pub(crate) fn members(&self, group: Group) -> usize {
        self.groups.0.get(&group).map_or(0, Vec::len)
    }

    /// Queues bytes for every member on this reactor.
    pub(crate) fn broadcast(&mut self, broadcast: &Broadcast) -> Receipt {
        let mut receipt = Receipt::default();
        let except = broadcast.except.and_then(|id| self.resolve(id).ok());
        let shared = Shared::new(broadcast.bytes.clone());
        // Taken out while it is worked through: nothing that happens here joins or leaves.
        let Some(members) = self.groups.0.get_mut(&broadcast.group).map(std::mem::take) else {
            return receipt;
        };
        for &slot in members.iter().filter(|&&slot| Some(slot) != except) {
            let row = &self.rows[slot as usize];
            let is_slow = self.backlog(slot) > self.limits.outbox_high_bytes;
            if !row.takes_writes() || (is_slow && broadcast.slow == Slow::Skip) {
                receipt.skipped += 1;
            } else if is_slow && broadcast.slow == Slow::Close {
                self.abort(slot, CloseReason::OutputLimit);
                receipt.closed += 1;
            } else if self.write_shared(slot, shared.clone()).is_ok() {
                receipt.sent += 1;
            } else {
                receipt.closed += 1;
            }
        }
        self.groups.0.insert(broadcast.group, members);
        receipt
    }

    pub(super) fn check_groups(&self) {
        for (group, members) in &self.groups.0 {
            assert!(!members.is_empty(), "an empty group is forgotten");
            for (index, &slot) in members.iter().enumerate() {
                let extras = self.rows[slot as usize].extras.as_ref().expect("a member has extras");
                let knows = |m: &Membership| m.group == *group && m.index == index;
                assert!(extras.groups.iter().any(knows), "a member knows where it stands");
            }
        }
    }
}

impl Hub {
    /// The place of the connection that an id names, while it takes part in anything.
    pub(crate) fn resolve(&self, id: ConnId) -> Result<u32, Gone> {
        let row = self.rows.get(id.slot() as usize).ok_or(Gone)?;
        let is_named = id.reactor() == self.reactor as usize && row.serial == id.serial();
        if is_named { Ok(id.slot()) } else { Err(Gone) }
    }
}
