//! The peers: what they say, how badly they behave, and what they must hear.

use std::net::SocketAddr;
use std::time::Duration;

use super::book::{Book, Why};
use crate::base::address::{Address, NetAddr};
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::sim::{Mishap, Peer, World};

/// What one client says, and what it must hear.
pub struct Script {
    pub(super) says: Vec<u8>,
    pub(super) judge: Box<dyn Judge>,
}

/// What a client makes of what it hears.
pub trait Judge {
    /// More bytes came.
    ///
    /// # Errors
    /// They are wrong; says how.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Whether everything has come that is due to somebody who has said everything.
    fn is_content(&self) -> bool;
}

impl Script {
    /// Says the one, and must hear exactly the other. Whoever has said only a part must hear
    /// nothing but a start of it.
    pub fn exchange(says: impl Into<Vec<u8>>, hears: impl Into<Vec<u8>>) -> Script {
        Script::judged(says, Exchange { hears: hears.into(), heard: 0 })
    }

    /// Says something, and judges what it hears as it comes.
    pub fn judged(says: impl Into<Vec<u8>>, judge: impl Judge + 'static) -> Script {
        Script { says: says.into(), judge: Box::new(judge) }
    }
}

struct Exchange {
    hears: Vec<u8>,
    heard: usize,
}

impl Judge for Exchange {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        let due = &self.hears[self.heard..];
        self.heard += bytes.len();
        if due.starts_with(bytes) {
            return Ok(());
        }
        let same = due.iter().zip(bytes).take_while(|(due, byte)| due == byte).count();
        Err(format!("byte {} of the answer is wrong", self.heard - bytes.len() + same))
    }

    fn is_content(&self) -> bool {
        self.heard == self.hears.len()
    }
}

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
    script: Script,
    behaviour: Behaviour,
    rng: Rng,
    said: usize,
    is_finished: bool,
    started: Time,
    /// It has waited to be read since its handler had been called so often, at that turn.
    waits_since: Option<(u64, u64)>,
    saw_end: Option<Time>,
    was_slow: bool,
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
    /// Whether time was lost, so that deadlines may strike whoever is innocent.
    pub(super) is_time_lost: bool,
    /// Whether something went wrong that a handler may answer by a reset of its own.
    pub(super) may_abort: bool,
    pub(super) is_stopping: bool,
    /// Whether whoever holds most may have to go, as others do not read.
    pub(super) is_tight: bool,
    /// Turns of all reactors together.
    pub(super) turns: u64,
    /// Within how many of these whoever is ready is read.
    pub(super) fair_turns: u64,
}

impl Client {
    pub(super) fn new(
        number: usize,
        to: &Address,
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
        let peer = world.connect_from(address_of(number), to.clone());
        world.note(|| {
            format!("client {number}  connects: {behaviour:?}, {} bytes", script.says.len())
        });
        let started = world.now();
        Client {
            number,
            peer,
            script,
            behaviour,
            rng,
            said: 0,
            is_finished: false,
            started,
            waits_since: None,
            saw_end: None,
            was_slow: false,
        }
    }

    /// Says something, hears something.
    ///
    /// # Errors
    /// A promise was broken.
    pub(super) fn step(&mut self, scene: &Scene<'_>) -> Result<Step, String> {
        if scene.world.now() >= self.started + DRIPS_FOR && self.behaviour == Behaviour::Drips {
            self.behaviour = Behaviour::Patient;
            self.was_slow = true;
        }
        self.speak(scene.world);
        let heard_bytes =
            if self.behaviour == Behaviour::NeverReads { 0 } else { self.listen(scene)? };
        self.check_fairness(scene, heard_bytes)?;
        if self.is_over(scene)? {
            return Ok(Step::Over);
        }
        let now = scene.world.now();
        Ok(Step::At(now + self.pause()))
    }

    pub(super) fn leave(self) {
        if let Behaviour::Resets(_) = self.behaviour {
            self.peer.reset();
        }
    }

    /// When nothing has moved for long: nobody may be waiting for anything.
    ///
    /// # Errors
    /// It is owed an answer.
    pub(super) fn check_still(&self, scene: &Scene<'_>) -> Result<(), String> {
        let is_read = self.said == self.script.says.len() && self.peer.is_connected();
        let is_served = scene.book.row_of(self.number).is_some_and(|row| row.why.is_none());
        let reads = !self.is_slow();
        let is_owed = is_read && is_served && reads && !self.script.judge.is_content();
        let is_owed = is_owed && !scene.is_stopping && !self.peer.has_ended();
        scene.book.check(!is_owed, || format!("client {}: is never answered", self.number));
        Ok(())
    }

    fn speak(&mut self, world: &World) {
        let left = self.script.says.len() - self.said;
        if left > 0 && self.peer.is_connected() {
            let most = if self.behaviour == Behaviour::Drips { 4 } else { CHUNK_MOST };
            let most = 1 + self.rng.below(most) as usize;
            let end = self.said + most.min(left);
            self.said += self.peer.send(&self.script.says[self.said..end]);
            if world.deals(Mishap::PeerUrgent) {
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

    fn listen(&mut self, scene: &Scene<'_>) -> Result<usize, String> {
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
        Ok(bytes.len())
    }

    /// Whoever is ready is read within a number of turns.
    fn check_fairness(&mut self, scene: &Scene<'_>, heard_bytes: usize) -> Result<(), String> {
        let row = scene.book.row_of(self.number);
        let row = row.filter(|row| row.wants_input && row.why.is_none() && heard_bytes == 0);
        // Where a deadline or a shutdown may have closed it, what still comes is not wanted.
        let is_settled = !self.is_slow() && !scene.is_time_lost && !scene.is_stopping;
        let Some(row) = row.filter(|_| is_settled && self.peer.unread_bytes() > 0) else {
            self.waits_since = None;
            return Ok(());
        };
        match self.waits_since {
            Some((calls, since)) if calls == row.calls => {
                let waited = scene.turns - since;
                let is_fair = waited <= scene.fair_turns;
                scene.book.check(is_fair, || {
                    format!("client {}: ready, and not read for {waited} turns", self.number)
                });
            }
            _ => self.waits_since = Some((row.calls, scene.turns)),
        }
        Ok(())
    }

    /// Whether its life is over; where it ended too soon, somebody must have had a reason.
    fn is_over(&mut self, scene: &Scene<'_>) -> Result<bool, String> {
        match self.behaviour {
            Behaviour::Resets(at) | Behaviour::Leaves(at) if self.said >= at => {
                return Ok(self.peer.is_connected() || self.peer.was_reset());
            }
            Behaviour::NeverReads if scene.world.now() >= self.started + NEVER_READS_FOR => {
                return Ok(true);
            }
            _ => {}
        }
        if !self.peer.has_ended() && !self.peer.was_reset() {
            return Ok(false);
        }
        let is_all = self.said == self.script.says.len() && self.script.judge.is_content();
        let row = scene.book.row_of(self.number);
        let is_known = row.is_none_or(|row| row.why.is_some());
        if !is_all
            && !is_known
            && scene.world.now() < *self.saw_end.get_or_insert(scene.world.now()) + REASON_WITHIN
        {
            return Ok(false); // the connection lingers, and its handler is told in the end
        }
        let is_excused = is_all || self.excuse(scene);
        if !is_excused {
            let how = if self.peer.was_reset() { "was reset" } else { "saw the end" };
            let why = scene.book.row_of(self.number).map(|row| row.why);
            return Err(format!(
                "client {}: {how} after {} of {} bytes, without all answers; its handler's end: {why:?}",
                self.number,
                self.said,
                self.script.says.len(),
            ));
        }
        Ok(true)
    }

    fn excuse(&self, scene: &Scene<'_>) -> bool {
        let is_slow = self.is_slow();
        let why = scene.book.row_of(self.number).and_then(|row| row.why);
        self.peer.mishap().is_some()
            || scene.is_stopping
            || scene.may_abort
            || match why {
                Some(Why::TimedOut) => is_slow || scene.is_time_lost,
                Some(Why::Limit) => is_slow || scene.is_tight,
                Some(Why::Aborted) => is_slow,
                _ => false,
            }
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

/// Every client has an address of its own, from which its number can be told.
fn address_of(number: usize) -> SocketAddr {
    let (host, port) = (number / PORTS, number % PORTS);
    let host = host as u32 + FIRST_HOST;
    SocketAddr::new(std::net::Ipv4Addr::from(host).into(), (FIRST_PORT + port) as u16)
}

/// Which client comes from an address, if one does.
pub(super) fn client_at(peer: &NetAddr) -> Option<usize> {
    let SocketAddr::V4(inet) = peer.inet()? else { return None };
    let host = u32::from(*inet.ip()).checked_sub(FIRST_HOST)?;
    let port = usize::from(inet.port()).checked_sub(FIRST_PORT)?;
    Some(host as usize * PORTS + port)
}

/// 172.16.0.0
const FIRST_HOST: u32 = 0xac10_0000;
const FIRST_PORT: usize = 1024;
const PORTS: usize = 60_000;
const CHUNK_MOST: u64 = 3000;
/// Microseconds.
const STEP: u64 = 250;
const NEVER_READS_FOR: Duration = Duration::from_secs(60);
const DRIPS_FOR: Duration = Duration::from_secs(60);
/// Lingering, and what chance adds to it.
const REASON_WITHIN: Duration = Duration::from_secs(20);
