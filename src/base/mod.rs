//! Floor 0: the data structures. They know nothing of sockets, handlers or each other's users.

pub mod address;
pub(crate) mod carry;
pub mod id;
pub(crate) mod mailbox;
pub(crate) mod outbox;
pub mod rng;
pub mod time;
pub(crate) mod wheel;
