//! Every order in which threads can meet in a mailbox, by loom.
//!
//! What hangs is a deadlock, which loom reports with the steps that led there.

use loom::sync::{Arc, Condvar};
use loom::thread;

use super::*;

/// What a poller's waker is to a reactor: a ring is kept until it was heard.
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn new() -> Bell {
        Bell { rung: Mutex::new(false), changed: Condvar::new() }
    }

    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

struct Shared {
    mailbox: Mailbox<u32>,
    bell: Bell,
}

impl Shared {
    fn new(capacity: usize) -> Arc<Shared> {
        Arc::new(Shared { mailbox: Mailbox::new(capacity), bell: Bell::new() })
    }

    /// Posts as a handle does.
    fn post(&self, letter: u32) -> Result<(), Refused<u32>> {
        if self.mailbox.post(letter)? == Posted::Wake {
            self.bell.ring();
        }
        Ok(())
    }

    /// Reads as a reactor does, until so many letters have come.
    fn read(&self, count: usize) -> Vec<u32> {
        let (mut all, mut burst) = (Vec::new(), Vec::new());
        loop {
            self.mailbox.collect(&mut burst);
            let is_empty = burst.is_empty();
            all.append(&mut burst);
            if all.len() == count {
                return all;
            }
            if is_empty {
                self.bell.wait();
            }
        }
    }
}

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn every_letter_wakes_a_reader_that_sleeps() {
    explore(|| {
        let shared = Shared::new(8);
        let writers = [[10, 11], [20, 21]].map(|letters| {
            let shared = shared.clone();
            thread::spawn(move || letters.map(|letter| shared.post(letter).unwrap()))
        });
        let all = shared.read(4);
        for first in [10, 20] {
            let of_one: Vec<u32> = all.iter().copied().filter(|at| at / 10 == first / 10).collect();
            assert_eq!(of_one, [first, first + 1], "each writer's letters keep their order");
        }
        writers.into_iter().for_each(|writer| assert!(writer.join().is_ok()));
        shared.mailbox.check();
    });
}

#[test]
fn what_was_written_before_posting_is_there_for_the_reader() {
    explore(|| {
        let shared = Shared::new(8);
        let said = Arc::new(AtomicBool::new(false));
        let writer = {
            let (shared, said) = (shared.clone(), said.clone());
            thread::spawn(move || {
                said.store(true, Ordering::Relaxed);
                shared.post(1).unwrap();
            })
        };
        if shared.mailbox.is_pending() {
            assert!(said.load(Ordering::Relaxed), "the mark came before the letter");
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_letter_is_refused_or_left_or_read_and_never_lost() {
    explore(|| {
        let shared = Shared::new(8);
        let writers = [1, 2].map(|letter| {
            let shared = shared.clone();
            thread::spawn(move || shared.post(letter).is_err())
        });
        let mut read = Vec::new();
        shared.mailbox.collect(&mut read);
        let left = shared.mailbox.close();
        let refused = writers.into_iter().map(|writer| writer.join().unwrap());
        let refused_count = refused.filter(|is_refused| *is_refused).count();
        assert_eq!(read.len() + left.len() + refused_count, 2);
        shared.mailbox.check();
    });
}

#[test]
fn who_finds_it_full_gets_the_letter_back() {
    explore(|| {
        let shared = Shared::new(1);
        let writers = [1, 2].map(|letter| {
            let shared = shared.clone();
            thread::spawn(move || match shared.post(letter) {
                Ok(()) => 0,
                Err(Refused::Full(back)) => {
                    assert_eq!(back, letter);
                    1
                }
                Err(Refused::Closed(_)) => panic!("nobody closed it"),
            })
        });
        let first = shared.read(1);
        let refused: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let rest = shared.read(1 - refused);
        assert_eq!(first.len() + rest.len() + refused, 2);
        shared.mailbox.check();
    });
}
