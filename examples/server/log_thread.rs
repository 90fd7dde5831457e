//! A log that never holds anybody up.
//!
//! Lines are formatted where they are logged and written to standard error by a thread of their
//! own. Where nobody reads that (a full pipe, a stopped terminal), lines wait up to a bound, and
//! then are dropped and counted; where it is closed, they are nobody's loss.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

/// The way to the thread that writes.
pub(crate) struct LogThread(SyncSender<Item>);

enum Item {
    Line(Vec<u8>),
    /// Everything before this has been written once it is dropped.
    Mark(Sender<()>),
}

impl LogThread {
    /// Has the `log` crate write by such a thread, at the level that `RUST_LOG` says.
    pub(crate) fn start() -> LogThread {
        let (sender, items) = mpsc::sync_channel(QUEUED);
        let dropped = Arc::new(AtomicU64::new(0));
        let queue = Queue { sender: sender.clone(), dropped: dropped.clone() };
        let environment = env_logger::Env::default().default_filter_or("info");
        env_logger::Builder::from_env(environment)
            .target(env_logger::Target::Pipe(Box::new(queue)))
            .init();
        let writer = thread::Builder::new().name("log".to_owned());
        // Without a thread there is no log, and still a server.
        let _ = writer.spawn(move || write_all(&items, &dropped));
        LogThread(sender)
    }

    /// Waits until everything logged before is written, but not for long.
    pub(crate) fn finish(self) {
        let (mark, marked) = mpsc::channel();
        if self.0.try_send(Item::Mark(mark)).is_ok() {
            let _ = marked.recv_timeout(Duration::from_secs(1)); // it ends by being dropped
        }
    }
}

/// Where `env_logger` writes each line to, in one piece.
struct Queue {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Item::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(items: &Receiver<Item>, dropped: &AtomicU64) {
    let mut stderr = io::stderr();
    for item in items {
        match item {
            Item::Line(line) => drop(stderr.write_all(&line)), // it may be closed
            Item::Mark(mark) => mem::drop(mark),
        }
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(stderr, "({dropped} lines of the log were dropped here)");
        }
    }
}

/// Lines that wait to be written; at a hundred bytes or so each, a megabyte or two.
const QUEUED: usize = 16 * 1024;
