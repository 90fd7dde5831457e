//! From `setblocking` to edges, levels and backpressure: how a readiness loop works, and why this
//! one is as it is.
//!
//! Each page ends where the next begins; who knows epoll may start at [`edges`], and who only
//! looks for a name at [`from_python`]. The examples run as tests, on loopback or in the simulated
//! world. `examples/blocking_model.rs` has the same story as five whole programs, and the log of
//! `RUST_LOG=trace cargo run --example server` shows it happen.
//!
//! | page | question |
//! |---|---|
//! | [`blocking`] | What does a call wait for, and what is `WouldBlock`? |
//! | [`readiness`] | How does one thread wait for many? |
//! | [`edges`] | Why does my epoll program hang, and what does a turn do about it? |
//! | [`backpressure`] | What if the other end does not read? |
//! | [`closing`] | How does a connection end without losing the last answer? |
//! | [`time`] | What if nothing happens? |
//! | [`embedding`] | What if I have a loop already? |
//! | [`simulation`] | How do I test all this? |
//! | [`from_python`] | What is `recv` called here? |

#[doc = include_str!("guide/blocking.md")]
pub mod blocking {}

#[doc = include_str!("guide/readiness.md")]
pub mod readiness {}

#[doc = include_str!("guide/edges.md")]
pub mod edges {}

#[doc = include_str!("guide/backpressure.md")]
pub mod backpressure {}

#[doc = include_str!("guide/closing.md")]
pub mod closing {}

#[doc = include_str!("guide/time.md")]
pub mod time {}

#[doc = include_str!("guide/embedding.md")]
pub mod embedding {}

#[doc = include_str!("guide/simulation.md")]
pub mod simulation {}

#[doc = include_str!("guide/from_python.md")]
pub mod from_python {}
