//! A thread that tells of a callback while it still holds its reactor up.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use crate::handler::Handle;
use crate::hub::counters::Ledger;
use crate::hub::pulse::{Beat, Callback};

/// Looks at the reactors of a server, and logs a warning about a callback that has not returned
/// for some time, once, and again when it has. A reactor reports by itself
/// ([`Limits::stall`](crate::Limits::stall)), but only after it went on.
///
/// Dropping it ends its thread. See also [`Builder::watchdog`](super::Builder::watchdog).
#[must_use = "it looks as long as it lives"]
pub struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches for callbacks that take longer than this (four milliseconds at the least), which it
    /// notices up to a quarter later.
    ///
    /// # Errors
    /// A thread cannot be had.
    pub fn start<M: 'static>(handle: &Handle<M>, threshold: Duration) -> io::Result<Watchdog> {
        let ledgers: Vec<Arc<Ledger>> = (0..handle.reactor_count())
            .map(|reactor| handle.ledger(reactor as u32).clone())
            .collect();
        let period = (threshold / LOOKS).max(Duration::from_millis(1));
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut gazes = vec![Gaze::default(); ledgers.len()];
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                for (reactor, gaze) in gazes.iter_mut().enumerate() {
                    if let Some(news) = gaze.look(ledgers[reactor].pulse.look()) {
                        log::warn!("{}", Line { news, reactor, period });
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("tidemill-watch".to_owned()).spawn(watch)?;
        Ok(Watchdog { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to tell
        }
    }
}

/// What was seen of one reactor. Time is counted in looks, so that a process that was stopped
/// or a machine that slept is not mistaken for a callback.
#[derive(Clone, Default)]
struct Gaze {
    last: Option<Beat>,
    /// How often it looked the same.
    looks: u32,
}

#[derive(PartialEq, Eq, Debug)]
enum News {
    Stuck(Beat, u32),
    WentOn(Beat, u32),
}

impl Gaze {
    fn look(&mut self, beat: Beat) -> Option<News> {
        let is_same =
            |last: &Beat| last.turn != 0 && (last.turn, last.calls) == (beat.turn, beat.calls);
        if self.last.as_ref().is_some_and(is_same) {
            self.looks = self.looks.saturating_add(1);
            return (self.looks == LOOKS).then_some(News::Stuck(beat, self.looks));
        }
        let looks = std::mem::take(&mut self.looks);
        let before = self.last.replace(beat)?;
        (looks >= LOOKS).then_some(News::WentOn(before, looks))
    }
}

/// How often a callback is looked at before it is told of.
const LOOKS: u32 = 4;

/// What is logged.
struct Line {
    news: News,
    reactor: usize,
    period: Duration,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (News::Stuck(beat, looks) | News::WentOn(beat, looks)) = &self.news;
        let reactor = self.reactor;
        match beat.last {
            None => write!(f, "reactor {reactor}, before any callback,")?,
            Some((callback @ (Callback::Service | Callback::Datagram), _)) => {
                write!(f, "reactor {reactor}, in {callback},")?;
            }
            Some((callback, slot)) => write!(f, "{callback} of {reactor}/{slot}")?,
        }
        if let Some((Callback::Bytes, _)) = beat.last {
            write!(f, " with {} bytes", beat.bytes)?;
        }
        let span = self.period * *looks;
        match self.news {
            News::Stuck(..) => write!(f, " has held the loop up for {span:?}, and still does"),
            News::WentOn(..) => write!(f, " went on after about {span:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(turn: u64, calls: u64) -> Beat {
        Beat { turn, calls, last: Some((Callback::Bytes, 5)), bytes: 64 }
    }

    #[test]
    fn one_that_stands_still_is_told_of_once_and_when_it_goes_on() {
        let mut gaze = Gaze::default();
        let stuck = beat(3, 1);
        for _ in 0..LOOKS {
            assert_eq!(gaze.look(stuck), None);
        }
        let news = gaze.look(stuck).unwrap();
        let line = Line { news, reactor: 2, period: Duration::from_millis(5) }.to_string();
        let wanted = "on_bytes of 2/5 with 64 bytes has held the loop up for 20ms, and still does";
        assert_eq!(line, wanted);
        assert_eq!(gaze.look(stuck), None);
        let news = gaze.look(beat(4, 1)).unwrap();
        assert_eq!(news, News::WentOn(stuck, LOOKS + 1));
        assert_eq!(gaze.look(beat(5, 1)), None);
    }

    #[test]
    fn neither_a_busy_reactor_nor_one_that_waits_is_stuck() {
        let mut gaze = Gaze::default();
        for _ in 0..100 {
            assert_eq!(gaze.look(beat(0, 7)), None, "it waits");
        }
        for index in 0..100 {
            assert_eq!(gaze.look(beat(1, index)), None, "a long turn of many callbacks");
        }
    }
}
