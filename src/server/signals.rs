//! SIGINT and SIGTERM as a shutdown, where the user of the library asked for that.
//!
//! `signal-hook` does not give a signal back once it has been handled. So what it did by default
//! is done by us, while nobody is left to be shut down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, process};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::{Handle as Signal, Signals};

use crate::handler::Handle;
use crate::sys::is_signal_default;

/// Listens for signals as long as it lives.
pub(super) struct Watch {
    signals: Signal,
    thread: Option<JoinHandle<()>>,
    _place: Place,
}

/// How long everything may take once a signal has come.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) patience: Duration,
    pub(super) grace: Duration,
}

/// Has the first signal start the end of a server, and the second end the process.
pub(super) fn stop_on<M: Send + 'static>(
    handle: Handle<M>,
    end: End,
    tells_manager: bool,
) -> io::Result<Watch> {
    let place = Place::take()?;
    let mut signals = Signals::new(SIGNALS)?;
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
            if tells_manager {
                super::tell_manager("STOPPING=1");
            }
            if end.patience.is_zero() {
                handle.shutdown(end.grace);
            } else {
                handle.wind_down(end.patience, end.grace);
            }
        }
    };
    let thread = thread::Builder::new().name("tidemill-signals".to_owned()).spawn(listen)?;
    Ok(Watch { signals: watch, thread: Some(thread), _place: place })
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to tell
        }
    }
}

/// One of those who wait for signals, in the whole process.
struct Place;

impl Place {
    fn take() -> io::Result<Place> {
        let mut watches = lock();
        if !watches.are_defaults_kept {
            for signal in SIGNALS {
                // A handler of somebody else's is called all along, and who ignored it still does.
                if is_signal_default(signal)? {
                    register_conditional_default(signal, &IS_OVER)?;
                }
            }
            watches.are_defaults_kept = true;
        }
        watches.count += 1;
        IS_OVER.store(false, Ordering::SeqCst);
        Ok(Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut watches = lock();
        watches.count -= 1;
        IS_OVER.store(watches.count == 0, Ordering::SeqCst);
    }
}

struct Watches {
    count: usize,
    /// Defaults come back once nobody waits any more.
    are_defaults_kept: bool,
}

fn lock() -> std::sync::MutexGuard<'static, Watches> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

static WATCHES: Mutex<Watches> = Mutex::new(Watches { count: 0, are_defaults_kept: false });

/// There were servers to be shut down, and none is left.
static IS_OVER: AtomicBool = AtomicBool::new(false);

const SIGNALS: [i32; 2] = [SIGINT, SIGTERM];
