//! Fuzz targets: functions that make what they like of any bytes, and panic where a promise is
//! broken.
//!
//! They run twice: under a fuzzer, where `fuzz/fuzz_targets` has a file of three lines for each,
//! and in `cargo test`, over the corpora that are kept in `fuzz/corpus`.
//!
//! | targets | what is asserted |
//! |---|---|
//! | one for each codec | the stream reads the same however it is cut; the promises of [`Decoder`](crate::codec::Decoder) hold; what an encoder wrote, and nobody spoiled, is read again; a simple version, where there is one, agrees |
//! | `wheel`, `outbox`, `carry`, `mailbox` | a data structure does what a naive one does |
//! | `handler_…` | what every handler promises ([`HandlerChecks`](super::HandlerChecks)), and that it writes the right thing |
//! | `reactor_echo` | a whole reactor in a simulated world that misbehaves |
//! | `simulation` | reactors, clients and mishaps as the bytes say, with all checks of a [`Simulation`] |
//!
//! The bytes for a codec say first what it is like (a limit, a width), then where to cut, and
//! then what the stream is: the bytes that are left, or what an encoder writes when those bytes
//! tell it to, spoiled here and there. So there are as many good streams as bad ones.

mod composed;
mod counted;
mod delimited;
mod handlers;
mod lines;
mod stream;
mod structures;

pub use composed::{bytes, chain, switch};
pub use counted::{chunked, fixed, length_prefixed, netstrings, varint_prefixed};
pub use delimited::{cobs, delimited, slip};
pub use handlers::{handler_echo, handler_framed, handler_lines};
pub use lines::{lines, text, utf8_lines};
pub use structures::{carry, mailbox, outbox, wheel};

use super::Choices;
use super::scene::Scene;
use super::simulation::Simulation;

/// A function for a fuzzer to call.
pub type Target = fn(&[u8]);

/// Every target, under the name of its corpus.
pub const TARGETS: [(&str, Target); 23] = [
    ("bytes", bytes),
    ("carry", carry),
    ("chain", chain),
    ("chunked", chunked),
    ("cobs", cobs),
    ("delimited", delimited),
    ("fixed", fixed),
    ("handler_echo", handler_echo),
    ("handler_framed", handler_framed),
    ("handler_lines", handler_lines),
    ("length_prefixed", length_prefixed),
    ("lines", lines),
    ("mailbox", mailbox),
    ("netstrings", netstrings),
    ("outbox", outbox),
    ("reactor_echo", reactor_echo),
    ("simulation", simulation),
    ("slip", slip),
    ("switch", switch),
    ("text", text),
    ("utf8_lines", utf8_lines),
    ("varint_prefixed", varint_prefixed),
    ("wheel", wheel),
];

/// A [`Simulation`] with the handler, the seed and the plan of faults that the bytes say: see
/// [`Simulation::from_bytes`]. All of its checks hold.
pub fn simulation(data: &[u8]) {
    if let Err(failure) = Simulation::from_bytes(data).run() {
        panic!("{failure}");
    }
}

/// A reactor with an echo of bytes, of lines and of datagrams in a simulated world, in which the
/// bytes decide what its clients do and what goes wrong.
///
/// However the world behaves, clients are answered with a start of the right answer; where nobody
/// gives up, with all of it. The reactor's own checks hold (after every turn where there are debug
/// assertions), and at the end no socket, no byte and no connection is left.
pub fn reactor_echo(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut scene = Scene::new(&mut choices);
    let is_cut_short = choices.flag();
    for _ in 0..ACTS_MAX {
        if choices.is_empty() {
            break;
        }
        scene.act(&mut choices);
    }
    if !is_cut_short {
        scene.play_out();
    }
    scene.end();
}

/// Whatever eight clients can come to, they come to in so many; longer scenes are only slower.
const ACTS_MAX: usize = 150;
