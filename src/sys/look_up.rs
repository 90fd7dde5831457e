//! Looking up host names without blocking: a few threads that call the system's resolver, which
//! knows no other way (getaddrinfo(3)).
//!
//! The threads start with the first look-up and end when there has been nothing to do for a while.
//! They are never waited for: one that hangs in the resolver when its owner is dropped finds that
//! out whenever it comes back, and ends.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::base::id::ConnId;
use crate::sys::Wake;

/// What blocks; a parameter for the tests' sake.
pub(super) type Resolver = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The look-ups of one platform.
pub(super) struct LookUps {
    shared: Arc<Shared>,
    /// Those begun and not yet handed out; at most [`LOOK_UPS_MAX`].
    open_count: usize,
}

struct Shared {
    state: Mutex<State>,
    /// Something waits, or the owner has gone.
    changed: Condvar,
    resolver: Resolver,
    waker: Arc<dyn Wake>,
}

/// `idle_count <= thread_count <= THREADS_MAX`
#[derive(Default)]
struct State {
    waiting: VecDeque<Question>,
    answers: VecDeque<Answer>,
    thread_count: usize,
    idle_count: usize,
    is_closed: bool,
}

struct Question {
    id: ConnId,
    name: String,
    port: u16,
}

type Answer = (ConnId, io::Result<Vec<SocketAddr>>);

impl LookUps {
    pub(super) fn new(resolver: Resolver, waker: Arc<dyn Wake>) -> LookUps {
        let state = Mutex::default();
        let shared = Shared { state, changed: Condvar::new(), resolver, waker };
        LookUps { shared: Arc::new(shared), open_count: 0 }
    }

    /// Starts to look up a name.
    pub(super) fn start(&mut self, id: ConnId, name: &str, port: u16) -> io::Result<()> {
        if self.open_count == LOOK_UPS_MAX {
            let wrong = "too many host names are being looked up";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, wrong));
        }
        let mut state = self.shared.lock();
        if state.idle_count <= state.waiting.len() && state.thread_count < THREADS_MAX {
            match spawn(&self.shared) {
                Ok(()) => state.thread_count += 1,
                Err(error) if state.thread_count == 0 => return Err(error),
                Err(_) => {} // the others will come to it
            }
        }
        state.waiting.push_back(Question { id, name: name.to_owned(), port });
        self.open_count += 1;
        self.shared.changed.notify_one();
        Ok(())
    }

    /// One that has come to an end. Costs nothing while none is under way.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Answer> {
        if self.open_count == 0 { None } else { self.next_of_open() }
    }

    #[inline(never)]
    fn next_of_open(&mut self) -> Option<Answer> {
        let answer = self.shared.lock().answers.pop_front()?;
        self.open_count -= 1;
        Some(answer)
    }
}

impl Drop for LookUps {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        state.waiting.clear();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// One thread's life.
    fn work(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            if let Some(question) = state.waiting.pop_front() {
                drop(state);
                let found = (self.resolver)(&question.name, question.port);
                state = self.lock();
                state.answers.push_back((question.id, found));
                self.waker.wake();
                continue;
            }
            state.idle_count += 1;
            let (woken, patience) =
                self.changed.wait_timeout(state, IDLE_MAX).expect("as for `lock`");
            state = woken;
            state.idle_count -= 1;
            if patience.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
        state.thread_count -= 1;
    }
}

fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let name = "tidemill-look-up".to_owned();
    thread::Builder::new().name(name).spawn(move || shared.work()).map(drop)
}

/// One name server that does not answer must not hold up all the rest; more threads than this
/// would only wait for the same one.
const THREADS_MAX: usize = 4;

/// A queue that is longer than this would not be worked off before its connections give up.
const LOOK_UPS_MAX: usize = 1024;

/// How long a thread stays without work.
const IDLE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{OnceLock, PoisonError};

    use super::*;

    /// Counts as a wake what is sent here.
    struct Bell(Mutex<Sender<()>>);

    impl Wake for Bell {
        fn wake(&self) {
            let _ = self.0.lock().unwrap().send(());
        }
    }

    fn look_ups(resolver: Resolver) -> (LookUps, Receiver<()>) {
        let (sender, receiver) = channel();
        (LookUps::new(resolver, Arc::new(Bell(Mutex::new(sender)))), receiver)
    }

    fn id(serial: u64) -> ConnId {
        ConnId::new(0, 0, serial)
    }

    /// A resolver that hangs until the test ends.
    fn hang(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        static NEVER: OnceLock<Mutex<Receiver<()>>> = OnceLock::new();
        let never = NEVER.get_or_init(|| {
            let (sender, receiver) = channel();
            std::mem::forget(sender);
            Mutex::new(receiver)
        });
        let _ = never.lock().unwrap_or_else(PoisonError::into_inner).recv();
        unreachable!("the sender is never dropped");
    }

    fn echo_port(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![([127, 0, 0, 1], port).into()])
    }

    #[test]
    fn every_question_is_answered_once() {
        let (mut look_ups, bell) = look_ups(echo_port);
        let mut open: HashSet<ConnId> = (0..100).map(id).collect();
        for serial in 0..100 {
            look_ups.start(id(serial), "any", serial as u16).unwrap();
        }
        while !open.is_empty() {
            bell.recv().unwrap();
            while let Some((id, found)) = look_ups.next() {
                assert!(open.remove(&id));
                assert_eq!(u64::from(found.unwrap()[0].port()), id.serial());
            }
        }
        assert!(look_ups.shared.lock().thread_count <= THREADS_MAX);
    }

    #[test]
    fn too_many_are_refused() {
        let (mut look_ups, _bell) = look_ups(hang);
        for serial in 0..LOOK_UPS_MAX as u64 {
            look_ups.start(id(serial), "any", 0).unwrap();
        }
        assert!(look_ups.start(id(0), "any", 0).is_err());
        assert_eq!(look_ups.shared.lock().thread_count, THREADS_MAX);
    }

    #[test]
    fn dropping_does_not_wait_for_a_hanging_resolver() {
        let (mut look_ups, _bell) = look_ups(hang);
        look_ups.start(id(0), "any", 0).unwrap();
        drop(look_ups);
    }

    #[test]
    fn idle_threads_end_with_their_owner() {
        let (mut look_ups, bell) = look_ups(echo_port);
        look_ups.start(id(0), "any", 0).unwrap();
        bell.recv().unwrap();
        drop(look_ups);
        // The last thread drops the waker, and with it the sender.
        assert!(bell.recv().is_err());
    }
}
