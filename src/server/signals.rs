//! SIGINT and SIGTERM as a shutdown, where the user of the library asked for that.

use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, process};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as Signal, Signals};

use crate::handler::Handle;

/// Listens for signals as long as it lives.
pub(super) struct Watch {
    signals: Signal,
    thread: Option<JoinHandle<()>>,
}

/// Has the first signal start a shutdown, and the second end the process.
pub(super) fn stop_on<M: Send + 'static>(handle: Handle<M>, grace: Duration) -> io::Result<Watch> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let watch = signals.handle();
    let listen = move || {
        let mut has_begun = false;
        for signal in &mut signals {
            if has_begun {
                log::warn!("signal {signal} again: ending at once");
                process::exit(128 + signal); // as a shell would tell of it
            }
            log::info!("signal {signal}: shutting down");
            has_begun = true;
            handle.shutdown(grace);
        }
    };
    let thread = thread::Builder::new().name("tidemill-signals".to_owned()).spawn(listen)?;
    Ok(Watch { signals: watch, thread: Some(thread) })
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to tell
        }
    }
}
