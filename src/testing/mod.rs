//! Side: what helps to test, for this crate and for its users. It may use every other floor, and
//! none uses it.
//!
//! | to test | take |
//! |---|---|
//! | a codec | [`decoder`] and the oracles it is made of: [`cuts`], [`bounded`], [`linear`] |
//! | that it finds the right frames | [`round_trip`], and [`agrees_with`] a simple version of it |
//! | without a fuzzer | [`random_input`]: bytes as protocols like them, from a seed |
//! | a handler, step by step | [`Harness`]: without sockets, with a transcript |
//! | a handler, with any bytes | [`handler()`], or [`HandlerChecks`] |
//! | it under load, on a bad network | a [`Simulation`](simulation::Simulation) of the real loop, with clients and faults by chance |
//! | several of them, or a service | a [`Reactor`](crate::Reactor) in a world of your own, see [`crate::sim`] |
//! | with a fuzzer | [`fuzz_decoder!`](crate::fuzz_decoder), [`fuzz_handler!`](crate::fuzz_handler): a target in one line |
//! | with what a fuzzer found | [`replay()`]: a folder of inputs |
//! | this crate | [`targets`]: functions from bytes to a panic, or to nothing |
//!
//! # All of a protocol's tests
//!
//! A protocol is a decoder and a handler of its frames. `examples/kv` is one as a package of its
//! own, with the folder for cargo-fuzz; here is what there is to ask of one, from the bottom up:
//!
//! ```
//! use std::time::Duration;
//! use tidemill::codec::Netstrings;
//! use tidemill::testing::{self, Harness};
//! use tidemill::{Context, Fault, FrameHandler, Framed};
//!
//! fn strings() -> Netstrings {
//!     Netstrings::new().with_limit(80)
//! }
//!
//! struct Lengths;
//!
//! impl FrameHandler<Netstrings> for Lengths {
//!     fn on_frame(&mut self, cx: &mut Context<'_>, payload: &[u8]) -> Result<(), Fault> {
//!         cx.write(format!("{};", payload.len()).as_bytes());
//!         Ok(())
//!     }
//! }
//!
//! // The right frames are found,
//! let reading = testing::cuts(strings, b"3:one,6:twelve,", [], <[u8]>::to_vec);
//! assert_eq!(reading.frames, [(6, b"one".to_vec()), (15, b"twelve".to_vec())]);
//!
//! // the right answers given, at the right moment;
//! let mut harness: Harness = Harness::new(Framed::new(strings(), Lengths));
//! harness.bytes(b"3:one,6:twe").advance(Duration::from_secs(1)).bytes(b"lve,");
//! assert_eq!(harness.written(), b"3;6;");
//! assert_eq!(harness.end(), "closed");
//!
//! // and whatever comes, however it is cut, neither does what none should. Under cargo-fuzz
//! // the two are `fuzz_decoder!(strings())` and `fuzz_handler!(Framed::new(strings(), Lengths))`.
//! for seed in 0..5 {
//!     let input = testing::random_input(seed);
//!     testing::decoder(strings, &input);
//!     testing::handler(|| Framed::new(strings(), Lengths), &input);
//! }
//! ```
//!
//! What a fuzzer has found stays in a folder, and is a test of one line:
//!
//! ```no_run
//! # use tidemill::testing;
//! # use tidemill::codec::Netstrings;
//! testing::replay("fuzz/corpus/strings", |data| testing::decoder(Netstrings::new, data));
//! ```
//!
//! Whatever is here fails by a panic, as a test does, and none of it looks at the clock, at the
//! network or at chance: the same bytes always come to the same end.

mod choices;
mod handler;
mod harness;
mod naive;
mod one_line;
mod oracles;
mod reading;
mod replay;
mod scene;
pub mod simulation;
pub mod targets;

pub use choices::Choices;
pub use handler::{HandlerChecks, Outcome, handler};
pub use harness::Harness;
pub use oracles::{agrees_with, bounded, cuts, decoder, linear, random_input, round_trip};
pub use reading::{Reading, read_pieces};
#[cfg(test)]
pub(crate) use reading::{pieces_at, random_cuts};
pub use replay::replay;
