//! Floor 3: handlers that are ready to use, and short enough to learn from.

mod datagram;
mod echo;
mod length;
mod line;

pub use datagram::DatagramEcho;
pub use echo::Echo;
pub use length::LengthEcho;
pub use line::LineEcho;
