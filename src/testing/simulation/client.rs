//! The peers: how badly they behave, and whom they hold to account.

use std::time::Duration;

use super::book::{Book, Row, Why};
use super::places;
use super::script::Script;
use super::seat::{LARGE_OUTBOX, Seat};
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::hub::limits::Limits;
use crate::sim::{Mishap, Peer, World};

/// How a client behaves, as chance would have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Behaviour {
    /// Says all, hears all, ends.
    Patient,
    HalfCloses,
    FinWithData,
    Drips,
    NeverReads,
    /// Resets or leaves once so many bytes are said.
    Resets(usize),
    Leaves(usize),
}

pub(super) struct Client {
    number: usize,
    peer: Peer,
    is_unix: bool,
    script: Script,
    behaviour: Behaviour,
    rng: Rng,
    said: usize,
    is_finished: bool,
    started: Time,
    /// It has been ready to be read, and was not, since then.
    waits_since: Option<Wait>,
    saw_end: Option<Time>,
    is_refused: bool,
    was_slow: bool,
}

/// What there had been of each when a client began to wait.
#[derive(Clone, Copy)]
struct Wait {
    calls: u64,
    delays: u64,
    turns: u64,
}

/// What a client's step came to.
pub(super) enum Step {
    /// It wants to go on then.
    At(Time),
    /// Its life is over.
    Over,
}

/// What clients must know about the run they are in.
pub(super) struct Scene<'a> {
    pub(super) world: &'a World,
    pub(super) book: &'a Book,
    pub(super) seats: &'a [Seat],
    pub(super) limits: &'a Limits,
    pub(super) is_stopping: bool,
    /// Whether edges tell of errors.
    pub(super) has_hints: bool,
}

impl Client {
    pub(super) fn new(
        number: usize,
        is_unix: bool,
        script: Script,
        world: &World,
        seed: u64,
    ) -> Client {
        let mut rng = Rng::new(seed);
        let middle = rng.below(script.says.len() as u64 + 1) as usize;
        let dealt = [
            (Mishap::PeerResets, Behaviour::Resets(middle)),
            (Mishap::PeerLeaves, Behaviour::Leaves(middle)),
            (Mishap::PeerNeverReads, Behaviour::NeverReads),
            (Mishap::PeerDrips, Behaviour::Drips),
            (Mishap::PeerFinWithData, Behaviour::FinWithData),
            (Mishap::PeerHalfCloses, Behaviour::HalfCloses),
        ];
        let dealt = dealt.into_iter().find(|(mishap, _)| world.deals(*mishap));
        let behaviour = dealt.map_or(Behaviour::Patient, |(_, behaviour)| behaviour);
        let peer = match is_unix {
            true => world.connect_from(places::client_unix(number), places::unix()),
            false => world.connect_from(places::client_inet(number), places::inet()),
        };
        world.note(|| {
            format!("client {number}  connects: {behaviour:?}, {} bytes", script.says.len())
        });
        let started = world.now();
        Client {
            number,
            peer,
            is_unix,
            script,
            behaviour,
            rng,
            said: 0,
            is_finished: false,
            started,
            waits_since: None,
            saw_end: None,
            is_refused: false,
            was_slow: false,
        }
    }

    /// Says something, hears something.
    ///
    /// # Errors
    /// A promise was broken.
    pub(super) fn step(&mut self, scene: &Scene<'_>) -> Result<Step, String> {
        let now = scene.world.now();
        if now >= self.started + DRIPS_FOR && self.behaviour == Behaviour::Drips {
            self.behaviour = Behaviour::Patient;
            self.was_slow = true;
        }
        if self.is_slow() {
            scene.book.note_slow(self.number);
        }
        self.speak(scene.world);
        if self.behaviour != Behaviour::NeverReads {
            self.listen(scene)?;
        }
        self.check_fairness(scene);
        if self.is_over(scene)? {
            return Ok(Step::Over);
        }
        Ok(Step::At(now + self.pause()))
    }

    /// Its life is over.
    pub(super) fn leave(self, scene: &Scene<'_>) {
        if let Behaviour::Resets(_) = self.behaviour {
            if scene.has_hints && !self.is_unix && self.peer.is_connected() {
                scene.book.note_reset(self.number);
            }
            self.peer.reset();
        }
    }

    /// When nothing has moved for long: nobody may be waiting for anything.
    pub(super) fn check_still(&self, scene: &Scene<'_>) {
        let row = scene.book.row_of(self.number);
        let is_queued = row.is_none() && self.peer.is_connected() && !self.peer.has_ended();
        let is_due = is_queued && scene.has_room();
        scene.book.check(!is_due, || format!("client {}: never accepted", self.number));
        let Some(row) = row.filter(|row| row.id.is_some() && row.why.is_none()) else { return };
        let is_all = self.said == self.script.says.len() && self.script.judge.is_content();
        let is_going = self.is_slow() || row.is_told || self.peer.has_ended();
        let is_owed = !is_all && !is_going && self.peer.is_connected();
        let is_owed = is_owed && !scene.is_held_up(&row);
        let (said, of) = (self.said, self.script.says.len());
        scene.book.check(!is_owed, || {
            format!("client {}: never answered, {said} of {of} bytes said", self.number)
        });
    }

    fn speak(&mut self, world: &World) {
        let left = self.script.says.len() - self.said;
        if left > 0 && self.peer.is_connected() {
            let most = if self.behaviour == Behaviour::Drips { 4 } else { CHUNK_MOST };
            let most = 1 + self.rng.below(most) as usize;
            let end = self.said + most.min(left);
            self.said += self.peer.send(&self.script.says[self.said..end]);
            if !self.is_unix && world.deals(Mishap::PeerUrgent) {
                self.peer.send_urgent();
            }
        }
        let is_all = self.said == self.script.says.len() && self.peer.is_connected();
        let ends = match self.behaviour {
            Behaviour::FinWithData => is_all,
            Behaviour::HalfCloses => is_all && self.rng.chance(1, 2),
            Behaviour::Patient | Behaviour::Drips => is_all && self.script.judge.is_content(),
            _ => false,
        };
        if ends && !self.is_finished {
            self.is_finished = true;
            self.peer.finish();
            world.note(|| format!("client {}  finishes", self.number));
        }
    }

    fn listen(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let most = match self.behaviour {
            Behaviour::Drips => 1 + self.rng.below(64) as usize,
            _ if self.rng.chance(1, 4) => 1 + self.rng.below(CHUNK_MOST) as usize,
            _ => usize::MAX,
        };
        let bytes = self.peer.receive_at_most(most);
        if !bytes.is_empty() {
            let judged = self.script.judge.hear(&bytes);
            let number = self.number;
            scene.book.check(judged.is_ok(), || format!("client {number}: {judged:?}"));
        }
        Ok(())
    }

    /// Whoever is ready is read within a number of its reactor's turns. A wait counts anew from
    /// whatever mishap has made it longer.
    fn check_fairness(&mut self, scene: &Scene<'_>) {
        let row = scene.book.row_of(self.number).filter(|row| row.why.is_none());
        let is_ready = self.peer.unread_bytes() > 0 && !self.peer.is_delayed();
        let ready = row.filter(|_| is_ready).and_then(|row| Some((row.id?, row.calls)));
        let seat = ready.map(|(id, calls)| (id, calls, &scene.seats[id.reactor()]));
        let Some((_, calls, seat)) = seat.filter(|(id, _, seat)| seat.reactor.would_read(*id))
        else {
            self.waits_since = None;
            return;
        };
        let (delays, turns) = (self.peer.delays(), seat.turns);
        match self.waits_since {
            Some(wait) if wait.calls == calls && wait.delays == delays => {
                let waited = turns - wait.turns;
                scene.book.check(waited <= FAIR_TURNS, || {
                    format!("client {}: ready, and not read for {waited} turns", self.number)
                });
            }
            _ => self.waits_since = Some(Wait { calls, delays, turns }),
        }
    }

    /// Whether its life is over; where it ended too soon, somebody must have had a reason.
    fn is_over(&mut self, scene: &Scene<'_>) -> Result<bool, String> {
        let now = scene.world.now();
        match self.behaviour {
            Behaviour::Resets(at) | Behaviour::Leaves(at) if self.said >= at => {
                return Ok(self.peer.is_connected() || self.peer.was_reset());
            }
            Behaviour::NeverReads if now >= self.started + NEVER_READS_FOR => return Ok(true),
            _ => {}
        }
        if !self.peer.has_ended() && !self.peer.was_reset() {
            return Ok(false);
        }
        let row = scene.book.row_of(self.number);
        let is_known = row.as_ref().is_none_or(|row| row.why.is_some());
        let is_all = self.said == self.script.says.len() && self.script.judge.is_content();
        let is_right = is_all || self.is_excused(scene, row.as_ref());
        // Its connection, or whose fault it is, may linger; the handler is told in the end.
        if !(is_right && is_known) && now < *self.saw_end.get_or_insert(now) + REASON_WITHIN {
            return Ok(false);
        }
        if !is_right {
            return Err(self.told("without all answers", row.as_ref()));
        }
        if row.as_ref().is_some_and(|row| self.has_lost(scene, row)) {
            return Err(self.told("without the answers to what was taken", row.as_ref()));
        }
        Ok(true)
    }

    /// Whether something that was acknowledged did not come, though the connection ended well.
    fn has_lost(&self, scene: &Scene<'_>, row: &Row) -> bool {
        let is_well = row.why == Some(Why::Closed) && self.peer.mishap().is_none();
        if !is_well || self.is_slow() || self.script.judge.has_answers(row.taken_bytes) {
            return false;
        }
        // Where time was lost, lingering may have ended before all was read.
        let lost = scene.book.with(|pages| pages.lost()).saturating_sub(row.lost_before);
        self.peer.has_ended() || lost + Duration::from_secs(1) < scene.limits.linger
    }

    /// An end is excused by what happened to this very connection only.
    fn is_excused(&mut self, scene: &Scene<'_>, row: Option<&Row>) -> bool {
        if self.peer.mishap().is_some() {
            return true;
        }
        // Nobody took it in any more, or its like.
        let Some(row) = row else {
            self.is_refused = self.is_refused || scene.book.may_be_refused();
            return scene.is_stopping || self.is_refused;
        };
        let is_slow = self.is_slow();
        row.is_told
            || scene.book.with(|pages| pages.is_pairs(row))
            || match row.why {
                Some(Why::TimedOut(deadline)) => {
                    is_slow || scene.book.with(|pages| pages.may_strike(row, deadline))
                }
                Some(Why::Limit) => is_slow || scene.limits.outbox_max_bytes < LARGE_OUTBOX,
                Some(Why::Overload) => scene.was_tight(row),
                // Its time had run out: one that was closing already is not told before.
                Some(Why::Shutdown) => true,
                // A proxy that cannot begin its other half gives up, which only a shutdown does.
                Some(Why::Aborted) => is_slow || scene.is_stopping && row.other.is_none(),
                _ => false,
            }
    }

    fn told(&self, what: &str, row: Option<&Row>) -> String {
        let how = if self.peer.was_reset() { "was reset" } else { "saw the end" };
        let (number, said, of) = (self.number, self.said, self.script.says.len());
        format!("client {number}: {how} after {said} of {of} bytes, {what}; its handler: {row:?}")
    }

    fn is_slow(&self) -> bool {
        self.was_slow || matches!(self.behaviour, Behaviour::Drips | Behaviour::NeverReads)
    }

    fn pause(&mut self) -> Duration {
        let most = match self.behaviour {
            Behaviour::Drips => 200_000,
            Behaviour::NeverReads if self.said == self.script.says.len() => 60_000_000,
            _ => 5_000,
        };
        // In steps, so that several come at once.
        Duration::from_micros((1 + self.rng.below(most) / STEP) * STEP)
    }
}

impl Scene<'_> {
    /// Whether the byte budget of a connection's reactor was ever passed.
    fn was_tight(&self, row: &Row) -> bool {
        self.seats[self.book.with(|pages| pages.host_of(row))].was_tight(self.limits)
    }

    /// Whether one more would be accepted, if it came.
    fn has_room(&self) -> bool {
        let count = self.seats[0].reactor.handle().connection_count();
        !self.is_stopping && count <= self.limits.connections_low()
    }

    /// Whether a connection may wait for others, which hold too many bytes, or for its other
    /// half, which is not made yet or comes to its end.
    fn is_held_up(&self, row: &Row) -> bool {
        let other = row.other.map(|other| self.book.row(other));
        let is_alone = other.is_some_and(|other| other.id.is_none() || other.why.is_some());
        is_alone || self.is_over_budget()
    }

    /// Whether any reactor holds so many bytes that it does not read from everybody.
    pub(super) fn is_over_budget(&self) -> bool {
        let is_over = |seat: &Seat| seat.reactor.buffered_bytes() > self.limits.buffered_bytes;
        self.seats.iter().any(is_over)
    }
}

/// As many turns of its reactor may pass while a connection is ready and is not read: one in which
/// the edge comes, and one in which those go first that were there before.
const FAIR_TURNS: u64 = 2;
const CHUNK_MOST: u64 = 3000;
/// Microseconds.
const STEP: u64 = 250;
const NEVER_READS_FOR: Duration = Duration::from_secs(60);
const DRIPS_FOR: Duration = Duration::from_secs(60);
/// Lingering, and what chance adds to it.
const REASON_WITHIN: Duration = Duration::from_secs(20);
