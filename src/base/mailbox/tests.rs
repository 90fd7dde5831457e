use std::sync::Condvar;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use super::model::Twins;
use super::*;
use crate::base::rng::Rng;

fn collected<T>(mailbox: &Mailbox<T>) -> Vec<T> {
    let mut letters = Vec::new();
    mailbox.collect(&mut letters);
    mailbox.check();
    letters
}

#[test]
fn agrees_with_a_queue() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut twins = Twins::new(1 + rng.below(3000) as usize);
        (0..100).for_each(|_| twins.step(&mut |bound| rng.below(bound)));
    }
}

#[test]
fn a_burst_wakes_once_and_arrives_in_order() {
    let mailbox = Mailbox::new(10);
    for burst in 0..3 {
        assert!(!mailbox.is_pending());
        assert_eq!(mailbox.post(burst), Ok(Posted::Wake));
        assert_eq!(mailbox.post(burst + 1), Ok(Posted::Quiet));
        assert_eq!(mailbox.post(burst + 2), Ok(Posted::Quiet));
        assert_eq!((mailbox.is_pending(), mailbox.len()), (true, 3));
        assert_eq!(collected(&mailbox), [burst, burst + 1, burst + 2]);
    }
    assert_eq!(collected(&mailbox), []);
}

#[test]
fn a_full_mailbox_gives_the_letter_back_until_it_was_read() {
    let mailbox = Mailbox::new(2);
    assert_eq!(mailbox.post('a'), Ok(Posted::Wake));
    assert_eq!(mailbox.post('b'), Ok(Posted::Quiet));
    assert_eq!(mailbox.post('c'), Err(Refused::Full('c')));
    assert_eq!(collected(&mailbox), ['a', 'b']);
    assert_eq!(mailbox.post('c'), Ok(Posted::Wake));
}

#[test]
fn closing_answers_what_was_left_and_refuses_the_rest() {
    let mailbox = Mailbox::new(1);
    assert_eq!(mailbox.post('a'), Ok(Posted::Wake));
    assert_eq!(mailbox.close(), ['a']);
    assert_eq!(mailbox.post('b'), Err(Refused::Closed('b')), "closed comes before full");
    assert_eq!(collected(&mailbox), []);
    assert_eq!(mailbox.close(), []);
}

#[test]
fn memory_of_a_large_burst_is_given_back_on_both_sides() {
    let burst = 8 * KEPT_COUNT_MAX;
    let mailbox = Mailbox::new(burst);
    let mut letters = Vec::new();
    for _ in 0..2 {
        for letter in 0..burst {
            assert!(mailbox.post(letter).is_ok());
        }
        mailbox.collect(&mut letters);
        assert_eq!(letters.len(), burst);
        letters.clear();
    }
    mailbox.collect(&mut letters);
    assert!(letters.capacity() <= KEPT_COUNT_MAX);
    assert!(mailbox.lock().letters.capacity() <= KEPT_COUNT_MAX);
}

#[test]
fn survives_a_thread_that_panics_with_the_lock_held() {
    let mailbox = Mailbox::new(2);
    assert_eq!(mailbox.post(1), Ok(Posted::Wake));
    thread::scope(|scope| {
        let dies = scope.spawn(|| {
            let _guard = mailbox.lock();
            std::panic::resume_unwind(Box::new("as planned"));
        });
        assert!(dies.join().is_err());
    });
    assert!(mailbox.state.is_poisoned());
    assert_eq!(mailbox.post(2), Ok(Posted::Quiet));
    assert_eq!(collected(&mailbox), [1, 2]);
}

/// What a poller's waker is to a reactor.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Waits for a ring; the patience is only there to fail rather than to hang.
    fn wait(&self) {
        let rung = self.rung.lock().unwrap();
        let patience = Duration::from_secs(60);
        let (mut rung, waited) =
            self.changed.wait_timeout_while(rung, patience, |rung| !*rung).unwrap();
        assert!(!waited.timed_out(), "letters wait, and nobody woke the reader");
        *rung = false;
    }
}

#[test]
fn no_letter_is_lost_between_threads_and_the_wake_ups_suffice() {
    const WRITERS: usize = 4;
    const LETTERS: usize = 20_000;
    let mailbox = Mailbox::new(64);
    let bell = Bell::default();
    let wake_count = AtomicUsize::new(0);
    let write = |writer: usize| {
        for number in 0..LETTERS {
            let mut letter = (writer, number);
            loop {
                match mailbox.post(letter) {
                    Ok(Posted::Quiet) => break,
                    Ok(Posted::Wake) => {
                        wake_count.fetch_add(1, Ordering::Relaxed);
                        bell.ring();
                        break;
                    }
                    Err(Refused::Full(back)) => letter = back,
                    Err(Refused::Closed(_)) => panic!("closed too early"),
                }
                thread::yield_now();
            }
        }
    };
    let mut burst_count = 0;
    thread::scope(|scope| {
        let write = &write;
        (0..WRITERS).for_each(|writer| {
            scope.spawn(move || write(writer));
        });
        let mut next = [0; WRITERS];
        let mut letters = Vec::new();
        while next != [LETTERS; WRITERS] {
            mailbox.collect(&mut letters);
            if letters.is_empty() {
                bell.wait();
                continue;
            }
            burst_count += 1;
            for (writer, number) in letters.drain(..) {
                assert_eq!(number, next[writer], "each writer's letters keep their order");
                next[writer] += 1;
            }
        }
    });
    mailbox.check();
    assert_eq!(wake_count.into_inner(), burst_count, "one wake-up for each burst");
}
