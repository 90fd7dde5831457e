//! Connections that the reactors begin themselves: by name or address, with something to say that
//! must come back.

use std::time::Duration;

use super::book::{Book, Role};
use super::places;
use super::seat::Seat;
use super::watched::Watched;
use crate::base::address::Address;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::handler::{Context, StreamHandler};
use crate::hub::reason::{CloseReason, Fault};
use crate::sim::World;

pub(super) struct Errands {
    rng: Rng,
    /// When they begin, the last one first.
    due: Vec<Time>,
    /// The rows of those that have begun.
    rows: Vec<usize>,
    /// The first goes by a Unix socket: it alone has no name there, and can be told by that.
    is_unix_next: bool,
    /// Until then the far end's Unix socket answers nobody.
    held_until: Option<Time>,
}

impl Errands {
    pub(super) fn new(count: u64, within: Duration, seed: u64) -> Errands {
        let mut rng = Rng::new(seed);
        let micros = within.as_micros() as u64 + 1;
        let moment = |_| Time::ZERO + Duration::from_micros(rng.below(micros));
        let mut due: Vec<Time> = (0..count).map(moment).collect();
        due.sort_unstable_by(|a, b| b.cmp(a));
        let is_unix_next = rng.chance(1, 2);
        Errands { rng, due, rows: Vec::new(), is_unix_next, held_until: None }
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.due.last().copied().into_iter().chain(self.held_until).min()
    }

    pub(super) fn is_over(&self, book: &Book) -> bool {
        let is_ended = |&row: &usize| book.with(|pages| pages.rows[row].why.is_some());
        self.due.is_empty() && self.rows.iter().all(is_ended)
    }

    /// No more begin.
    pub(super) fn give_up(&mut self) {
        self.due.clear();
    }

    /// Begins those that are due. Answers whether any was.
    pub(super) fn step(&mut self, world: &World, book: &Book, seats: &mut [Seat]) -> bool {
        let mut has_begun = false;
        if self.held_until.is_some_and(|until| until <= world.now()) {
            self.held_until = None;
            world.release_connects(places::far_unix());
        }
        while self.due.last().is_some_and(|at| *at <= world.now()) {
            self.due.pop();
            has_begun = true;
            let seat = self.rng.below(seats.len() as u64) as usize;
            let len = self.rng.below(2000) as usize;
            let says = self.rng.bytes(len);
            let errand = Errand { says, said: 0, heard: 0, book: book.clone(), row: 0 };
            let mut watched = Watched::new(book, Role::Outgoing, errand);
            watched.handler.row = watched.row;
            let row = watched.row;
            let to = self.choose(world);
            // There may be as many connections as there may.
            if seats[seat].connect(to, watched).is_ok() {
                self.rows.push(row);
            }
        }
        has_begun
    }

    /// Where the next one leads.
    fn choose(&mut self, world: &World) -> Address {
        if std::mem::take(&mut self.is_unix_next) {
            if self.rng.chance(1, 2) {
                let span = Duration::from_micros(self.rng.below(HELD_MOST));
                self.held_until = Some(world.now() + span);
                world.hold_connects(places::far_unix());
            }
            return places::far_unix();
        }
        if self.rng.chance(1, 2) { places::far() } else { places::far_by_name() }
    }
}

/// Says little at a time: whoever writes more than an outbox should hold is not read until it has
/// drained, and an echo that is not heard does not listen either.
struct Errand {
    says: Vec<u8>,
    said: usize,
    heard: usize,
    book: Book,
    row: usize,
}

impl Errand {
    fn go_on(&mut self, cx: &mut Context<'_>) {
        let until = self.says.len().min(self.heard + WINDOW);
        cx.write(&self.says[self.said..until]);
        self.said = until;
        if self.heard == self.says.len() {
            cx.close();
        }
    }
}

const WINDOW: usize = 100;
/// Microseconds.
const HELD_MOST: u64 = 300_000;

impl StreamHandler for Errand {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Fault> {
        self.go_on(cx);
        Ok(())
    }

    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        let is_right = self.says[self.heard..].starts_with(input);
        self.book.check(is_right, || format!("{}: a wrong answer to its errand", cx.id()));
        self.heard = (self.heard + input.len()).min(self.says.len());
        self.go_on(cx);
        Ok(input.len())
    }

    fn on_close(&mut self, _cx: &mut Context<'_>, _why: &CloseReason) {
        self.book.note_owed(self.row, self.heard < self.says.len());
    }
}
