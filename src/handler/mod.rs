//! Floor 2: what you write to serve a protocol, and what it may reach.
//!
//! | you have | you implement | it is wrapped in |
//! |---|---|---|
//! | bytes | [`StreamHandler`] | nothing |
//! | frames | [`FrameHandler`] and a [`Decoder`](crate::codec::Decoder) | [`Framed`] |
//! | datagrams | [`DatagramHandler`] | nothing |
//! | one handler for each accepted connection | [`Service`], or a closure | nothing |
//!
//! Handlers know bytes, frames and time. They cannot name the reactor, so they run as well in a
//! simulation, a test harness or a fuzzer.
//!
//! # What a handler is promised
//!
//! - No callback runs inside another.
//! - [`on_open`](StreamHandler::on_open) comes first and [`on_close`](StreamHandler::on_close)
//!   last, once each. A connection that could not be made gets `on_close` alone.
//! - After [`close`](Context::close) in one's own callback no more input comes.
//! - An id never means another connection; writing to one that is gone answers [`Gone`].
//! - Time stands still within a turn.
//! - A timer that was cancelled does not fire.
//! - A panic in a handler ends that connection only: the handler gets no further call, and the
//!   [`Service`] is told.

mod context;
mod datagram;
mod framed;
pub(crate) mod handle;
mod screen;
mod service;
mod stream;
mod ticket;

pub(crate) use context::Outgoing;
pub use context::{AtLimit, Connect, Context, Desk};
pub use datagram::{DatagramContext, DatagramHandler, ReplyTooLarge};
pub use framed::{FrameHandler, Framed};
pub use handle::{Handle, Refused};
pub(crate) use screen::Screen;
pub use service::{Service, ServiceContext};
pub use stream::StreamHandler;
pub use ticket::Ticket;

#[cfg(doc)]
use crate::hub::reason::Gone;
