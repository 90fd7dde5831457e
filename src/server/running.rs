//! A server at work: its threads, and how they end.

use std::io;
use std::sync::Arc;
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::Duration;

#[cfg(feature = "signals")]
use super::signals;
use super::{Bound, Watchdog};
use crate::handler::Handle;
use crate::hub::counters::Report;

/// A server at work. Dropping it stops the server at once; [`join`](Running::join) waits.
pub struct Running<M: 'static = ()> {
    pub(super) handle: Handle<M>,
    pub(super) bound: Arc<[Bound]>,
    pub(super) threads: Vec<JoinHandle<io::Result<Report>>>,
    pub(super) _watchdog: Option<Watchdog>,
    #[cfg(feature = "signals")]
    pub(super) _signals: Option<signals::Watch>,
}

impl<M: 'static> Running<M> {
    /// Where everything is bound, in the order of the builder's calls.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What reaches the reactors from elsewhere.
    pub fn handle(&self) -> &Handle<M> {
        &self.handle
    }

    /// Waits until a [`shutdown`](Handle::shutdown) has come to its end, and tells how it went.
    ///
    /// # Errors
    /// A reactor could not watch its listeners, or could not wait for the system any more; the
    /// others were then stopped.
    ///
    /// # Panics
    /// A reactor panicked, which is a bug of this crate.
    pub fn join(mut self) -> io::Result<Report> {
        self.wait()
    }

    /// Where this fails, dropping `self` stops those that have started.
    pub(super) fn spawn(&mut self, jobs: impl Iterator<Item = Job>) -> io::Result<()> {
        for Job { name, serve } in jobs {
            self.threads.push(ThreadBuilder::new().name(name).spawn(serve)?);
        }
        Ok(())
    }

    pub(super) fn wait(&mut self) -> io::Result<Report> {
        // All have ended before anything is told, even that one of them panicked.
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let mut whole = Ok(Report::default());
        for part in ended {
            let part = part.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            whole = match (whole, part) {
                (Ok(whole), Ok(part)) => Ok(whole.and(part)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        whole
    }
}

impl<M: 'static> Drop for Running<M> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.handle.shutdown(Duration::ZERO);
            for thread in self.threads.drain(..) {
                let _ = thread.join(); // nobody is left to be told
            }
        }
    }
}

/// The life of one reactor, for a thread to live.
pub(super) struct Job {
    pub(super) name: String,
    pub(super) serve: Box<dyn FnOnce() -> io::Result<Report> + Send>,
}

/// None serves without the others: where one fails or panics, this stops all.
pub(super) struct Alarm<M: 'static>(pub(super) Option<Handle<M>>);

impl<M: 'static> Drop for Alarm<M> {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.shutdown(Duration::ZERO);
        }
    }
}
