//! Side: what helps to test, for this crate and for its users. It may use every other floor, and
//! none uses it.
//!
//! | to test | take |
//! |---|---|
//! | a codec | [`assert_cuts_do_not_matter`]: a stream reads the same however it is cut |
//! | a handler | a [`Reactor`](crate::Reactor) in a simulated world, see [`crate::sim`] |
//! | with a fuzzer | [`targets`]: functions from bytes to a panic, or to nothing |
//!
//! Whatever is here fails by a panic, as a test does, and none of it looks at the clock, at the
//! network or at chance: the same bytes always come to the same end.

mod choices;
mod naive;
mod reading;
mod scene;
pub mod targets;

pub use choices::Choices;
pub use reading::{Reading, assert_cuts_do_not_matter, read_pieces};
