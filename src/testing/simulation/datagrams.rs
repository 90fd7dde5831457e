//! Datagrams: those who send them, and the echo that is asked. What becomes of each is added up.

use super::book::Book;
use super::places;
use crate::base::address::{Address, NetAddr};
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::handler::{DatagramContext, DatagramHandler};
use crate::hub::counters::Counters;
use crate::protocols::DatagramEcho;
use crate::sim::{DatagramPeer, Mishap, World};
use std::time::Duration;

/// An echo that looks at what it is shown.
pub(super) struct Answerer {
    book: Book,
}

impl Answerer {
    pub(super) fn new(book: Book) -> Answerer {
        Answerer { book }
    }
}

impl DatagramHandler for Answerer {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, from: &NetAddr, payload: &[u8]) {
        let is_whole = Name::of(payload).is_some_and(|name| name.address() == *from);
        self.book.check(is_whole, || format!("a datagram of {from} is not what was sent"));
        DatagramEcho.on_datagram(cx, from, payload);
    }
}

/// Which datagram it is: that is how it begins, and everything behind follows from it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    caller: u8,
    number: u8,
}

impl Name {
    fn of(payload: &[u8]) -> Option<Name> {
        let &[caller, number, ..] = payload else { return None };
        let name = Name { caller, number };
        (name.payload() == payload).then_some(name)
    }

    fn payload(self) -> Vec<u8> {
        let mut rng = Rng::new(u64::from(self.caller) << 8 | u64::from(self.number));
        let longest = if rng.chance(1, 100) { 60_000 } else { 400 };
        let len = rng.below(longest) as usize;
        [vec![self.caller, self.number], rng.bytes(len)].concat()
    }

    /// Where it comes from.
    fn address(self) -> NetAddr {
        match self.caller % 2 {
            0 => NetAddr::Inet(([10, 0, 1, self.caller], 5000).into()),
            _ => NetAddr::Abstract(format!("caller-{}", self.caller).into_bytes().into()),
        }
    }
}

/// Those who send.
pub(super) struct Callers {
    callers: Vec<Caller>,
    rng: Rng,
    next: Option<Time>,
    sent: u64,
    heard: u64,
    /// Since when everything has been answered that was sent.
    settled: Option<Time>,
}

struct Caller {
    peer: DatagramPeer,
    to: NetAddr,
    /// By the datagram's number: how often it came back.
    came_back: Vec<u8>,
    left: u8,
}

impl Callers {
    pub(super) fn new(world: &World, count: u8, seed: u64) -> Callers {
        let mut rng = Rng::new(seed);
        let caller = |caller| {
            let from = match (Name { caller, number: 0 }).address() {
                NetAddr::Inet(inet) => Address::Inet(inet),
                NetAddr::Abstract(name) => Address::Abstract(name.into()),
                other => unreachable!("{other} is no caller's address"),
            };
            let to = if caller % 2 == 0 { places::inet() } else { places::unix_datagrams() };
            let to = match to {
                Address::Inet(inet) => NetAddr::Inet(inet),
                Address::Abstract(name) => NetAddr::Abstract(name.into()),
                other => unreachable!("nobody is called at {other}"),
            };
            let left = rng.below(20) as u8;
            Caller { peer: world.bind_datagram(from), to, came_back: Vec::new(), left }
        };
        let callers: Vec<Caller> = (0..count).map(caller).collect();
        let next = (count > 0).then_some(Time::ZERO);
        Callers { callers, rng, next, sent: 0, heard: 0, settled: None }
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.next
    }

    pub(super) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// Sends some and hears what has come. With `counters` as the server has counted.
    pub(super) fn step(&mut self, world: &World, book: &Book, counters: &Counters) {
        let now = world.now();
        for (number, caller) in self.callers.iter_mut().enumerate() {
            let burst = (self.rng.below(3) as u8).min(caller.left);
            for _ in 0..burst {
                let name = Name { caller: number as u8, number: caller.came_back.len() as u8 };
                caller.peer.send_to(&name.payload(), &caller.to);
                caller.came_back.push(0);
            }
            caller.left -= burst;
            self.sent += u64::from(burst);
            self.heard += caller.hear(number as u8, book);
        }
        self.settle(world, book, counters);
        let pause = Duration::from_micros((1 + self.rng.below(80)) * 250);
        self.next = if self.is_settled(now) { None } else { Some(now + pause) };
        if self.next.is_none() {
            self.check_sum(world, book, counters);
        }
    }

    /// Those who are gone do not wait for answers.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    fn settle(&mut self, world: &World, book: &Book, counters: &Counters) {
        let seen =
            counters.datagrams_in + counters.datagrams_dropped + counters.datagrams_over_share;
        let answered = counters.datagrams_out + counters.datagrams_unsent;
        let sent = self.sent;
        book.check(seen <= sent, || format!("{seen} of {sent} datagrams were shown"));
        let is_all_sent = self.callers.iter().all(|caller| caller.left == 0);
        if is_all_sent && seen == sent && answered == counters.datagrams_in {
            self.settled.get_or_insert(world.now());
        }
    }

    fn is_settled(&self, now: Time) -> bool {
        self.settled.is_some_and(|since| now >= since + ON_ITS_WAY)
    }

    /// Nothing was lost but by a mishap, and nothing doubled.
    fn check_sum(&self, world: &World, book: &Book, counters: &Counters) {
        let dealt = |mishaps: &[Mishap]| -> u64 { mishaps.iter().map(|it| world.dealt(*it)).sum() };
        let truncated = dealt(&[Mishap::DatagramTruncated]);
        book.check(counters.datagrams_dropped == truncated, || {
            format!("{} datagrams dropped, {truncated} truncated", counters.datagrams_dropped)
        });
        let failed = dealt(&[Mishap::SendTooLarge, Mishap::SendRefused, Mishap::SendEnobufs]);
        book.check(counters.datagrams_unsent == failed, || {
            format!("{} answers unsent, {failed} failed", counters.datagrams_unsent)
        });
        let doubled = dealt(&[Mishap::DatagramDoubled]);
        let due = counters.datagrams_out + doubled - dealt(&[Mishap::DatagramLost]);
        let heard = self.heard;
        book.check(heard == due, || format!("{heard} answers to datagrams, of {due}"));
    }
}

impl Caller {
    /// Hears all that has come, and answers how many that were.
    fn hear(&mut self, caller: u8, book: &Book) -> u64 {
        let mut count = 0;
        while let Some((payload, from)) = self.peer.receive() {
            count += 1;
            let name = Name::of(&payload).filter(|name| name.caller == caller);
            let place = name.and_then(|name| self.came_back.get_mut(usize::from(name.number)));
            let times = place.map(|times| {
                *times += 1;
                *times
            });
            // The network doubles one at most once.
            let is_right = from == self.to && times.is_some_and(|times| times <= 2);
            book.check(is_right, || format!("caller {caller}: a wrong answer from {from}"));
        }
        count
    }
}

/// Longer than any datagram is.
const ON_ITS_WAY: Duration = Duration::from_millis(150);
