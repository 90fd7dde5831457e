//! Floor 0: the data structures. They know nothing of sockets, handlers or each other's users.

pub(crate) mod address;
pub(crate) mod carry;
pub(crate) mod count;
pub(crate) mod escaped;
pub(crate) mod histogram;
pub(crate) mod id;
pub(crate) mod mailbox;
pub(crate) mod outbox;
pub(crate) mod prefix;
pub(crate) mod rate;
pub(crate) mod rng;
mod sync;
pub(crate) mod time;
pub(crate) mod wheel;
