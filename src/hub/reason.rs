//! Why connections end, and whose doing it was.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fmt, io, mem};

/// What a handler answers when it cannot go on: any error, or a line of text.
///
/// The `?` operator makes one from any error:
///
/// ```
/// use tidemill::Fault;
/// fn parse(input: &[u8]) -> Result<u32, Fault> {
///     Ok(std::str::from_utf8(input)?.parse()?)
/// }
/// assert_eq!(parse(b"x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct Fault(Box<Foreign>); // boxed twice: a row of the table keeps it

/// An error of somebody else's making. Where it panics while it is dropped, which may be in the
/// middle of the loop, that has no further consequence, and is not counted.
struct Foreign(Option<Box<dyn Error + Send + Sync>>);

impl Fault {
    /// A fault that says this.
    pub fn new(what: impl Into<Box<dyn Error + Send + Sync>>) -> Fault {
        Fault(Box::new(Foreign(Some(what.into()))))
    }

    /// The error inside.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.0.as_deref().expect("it is taken out where it is dropped")
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let error = self.0.take();
        let thrown = catch_unwind(AssertUnwindSafe(|| drop(error))).err();
        // Even what was thrown may panic while it is dropped; what that throws is let be.
        mem::forget(catch_unwind(AssertUnwindSafe(|| drop(thrown))));
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Fault {
    fn from(error: E) -> Fault {
        Fault::new(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

/// Why a connection ended. A handler is told once, in
/// [`on_close`](crate::StreamHandler::on_close).
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed, and the system took every byte that was queued.
    Closed,
    /// [`abort`](crate::Context::abort) was called.
    Aborted,
    /// The handler or its decoder answered with an error.
    Fault(Fault),
    /// The handler panicked. It is dropped without being told.
    Panicked,
    /// The peer reset the connection, or stopped taking what was still being sent.
    Reset,
    /// The system failed this connection.
    Failed(io::Error),
    /// An outgoing connection could not be made.
    ConnectFailed(io::Error),
    /// A deadline passed.
    TimedOut(Deadline),
    /// More was written than [`outbox_max_bytes`](crate::Limits::outbox_max_bytes) allows, or a
    /// broadcast met a full outbox and was told to close it.
    OutputLimit,
    /// The handler left more input untaken than its codec, or
    /// [`rest_bytes`](crate::Limits::rest_bytes), allows.
    InputLimit,
    /// The reactor held too many bytes, and this connection most of them.
    Overload,
    /// The reactor was shut down, and the time to finish ran out.
    Shutdown,
}

impl CloseReason {
    /// Whether everything that was written has been taken by the system, and we ended it.
    pub fn is_clean(&self) -> bool {
        matches!(self, CloseReason::Closed)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Closed => f.write_str("closed"),
            CloseReason::Aborted => f.write_str("aborted"),
            CloseReason::Fault(fault) => write!(f, "fault: {fault}"),
            CloseReason::Panicked => f.write_str("the handler panicked"),
            CloseReason::Reset => f.write_str("reset by the peer"),
            CloseReason::Failed(error) => write!(f, "failed: {error}"),
            CloseReason::ConnectFailed(error) => write!(f, "connecting failed: {error}"),
            CloseReason::TimedOut(deadline) => write!(f, "timed out: {deadline}"),
            CloseReason::OutputLimit => f.write_str("too much output for a slow reader"),
            CloseReason::InputLimit => f.write_str("too much input without an end"),
            CloseReason::Overload => f.write_str("the reactor held too many bytes"),
            CloseReason::Shutdown => f.write_str("shut down before it had finished"),
        }
    }
}

/// Which deadline passed; the fields of the same names in [`Limits`](crate::Limits) set them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Deadline {
    /// An outgoing connection was not made in time.
    Connect,
    /// Nothing came after the connection was accepted.
    FirstByte,
    /// No byte went in either direction.
    Idle,
    /// A message began, but did not end.
    Message,
    /// The peer did not take what was waiting for it.
    WriteProgress,
    /// What was queued at the close was not taken.
    Flush,
    /// What the handler asked for with [`expect_within`](crate::Context::expect_within).
    Expect,
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Deadline::Connect => "connecting",
            Deadline::FirstByte => "no first byte",
            Deadline::Idle => "idle",
            Deadline::Message => "unfinished message",
            Deadline::WriteProgress => "the peer does not read",
            Deadline::Flush => "flushing",
            Deadline::Expect => "the handler's own deadline",
        })
    }
}

/// The connection that an id named has ended, or no longer takes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is gone")
    }
}

impl Error for Gone {}

const _: () = assert!(size_of::<Option<CloseReason>>() <= 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_the_error_that_it_is_made_of() {
        let fault = Fault::new("no such verb");
        assert_eq!(
            (format!("{fault}"), format!("{fault:?}")),
            ("no such verb".into(), "\"no such verb\"".into())
        );
    }
}
