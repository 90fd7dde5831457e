//! tidemill

#![deny(unsafe_code)]

mod base;
pub mod codec;
mod handler;
mod hub;
pub mod protocols;
mod reactor;
pub mod server;
pub mod sim;
pub mod sys;

pub use base::address::{Address, AddressError, NetAddr};
pub use base::id::{ConnId, EndpointId};
pub use base::rng::Rng;
pub use base::time::Time;
pub use handler::{
    AtLimit, Connect, Context, DatagramContext, DatagramHandler, Desk, FrameHandler, Framed,
    Handle, Refused, ReplyTooLarge, Service, ServiceContext, StreamHandler, Ticket,
};
pub use hub::counters::{Counters, Report};
pub use hub::groups::{Broadcast, Group, Receipt, Slow};
pub use hub::limits::Limits;
pub use hub::reason::{CloseReason, Deadline, Fault, Gone};
pub use reactor::{Placement, Reactor, Turn};
pub use server::{BindError, Running, Server};
