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
