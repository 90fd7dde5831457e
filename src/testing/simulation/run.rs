//! One run: the clock moves only when nobody has anything to do at this moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::book::Book;
use super::client::{Client, Scene, Step};
use super::datagrams::Callers;
use super::errands::Errands;
use super::places::client_host;
use super::seat::{Seat, chosen_limits, seats};
use super::{Builtin, Simulation, Summary};
use crate::base::prefix::Prefix;
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::handler::Handle;
use crate::hub::admission::Access;
use crate::hub::limits::Limits;
use crate::sim::{Mishap, World};

pub(super) fn run(simulation: &Simulation) -> (Result<Summary, String>, Vec<String>) {
    let world = World::new(simulation.seed);
    world.keep_timeline(simulation.timeline);
    // The reactor's own assertions panic; the world is not used again but for its timeline.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::new(simulation, world.clone())?;
        run.play()?;
        run.end()
    }));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(text.unwrap_or_else(|| "a panic".to_owned()))
    });
    (outcome, world.timeline())
}

struct Run<'s> {
    simulation: &'s Simulation,
    world: World,
    book: Book,
    /// Reactors of one server, and the far end of outgoing connections.
    seats: Vec<Seat>,
    handle: Handle,
    limits: Limits,
    rng: Rng,
    callers: Callers,
    errands: Errands,
    /// When clients come, the last one first.
    arrivals: Vec<Time>,
    born: usize,
    /// By number; those that have come and are not over.
    clients: Vec<Option<Client>>,
    alive: usize,
    /// Who goes on when.
    steps: BinaryHeap<Reverse<(Time, usize)>>,
    shutdown_at: Time,
    /// How long a shutdown may take.
    grace: Duration,
    /// Since when there is one, and what hosts had lost by then.
    stopping: (Time, Duration),
    calm_at: Time,
    stage: Stage,
    is_calm: bool,
    connections_max: usize,
    /// Since when no reactor has turned and no client left, and how many turns there had been.
    quiet: (Time, u64),
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Serving,
    /// The server was told to stop.
    Stopping,
    /// So was the far end.
    StoppingFar,
}

impl<'s> Run<'s> {
    fn new(simulation: &'s Simulation, world: World) -> Result<Run<'s>, String> {
        let mut rng = Rng::new(simulation.seed ^ 0x0052_554e);
        let longest = [0, 1_000, 5_000, 50_000][rng.below(4) as usize];
        world.set_latency(Duration::ZERO, Duration::from_micros(longest));
        let capacity = if rng.chance(1, 2) { 1 << 16 } else { 50 + rng.below(5000) as usize };
        world.set_capacity(capacity);
        let limits = simulation.limits.clone().unwrap_or_else(|| chosen_limits(&mut rng));
        let limits = suited(simulation, limits);
        let to_come = simulation.clients.unwrap_or(1 + rng.below(60) as usize);
        let count = simulation.reactors.unwrap_or(1 + rng.below(3) as usize);
        let book = Book::new(world.clone(), to_come, count + 1, limits.clone());
        let (seats, handle) = seats(simulation, &world, &book, &limits, count, &mut rng)
            .map_err(|error| format!("cannot be set up: {error}"))?;
        if rng.chance(1, 6) {
            let denied = client_host(rng.below(to_come as u64) as usize);
            book.with(|pages| pages.denied = Some(denied));
            handle.set_access(Access::allow_all().deny(Prefix::from(denied)));
        }
        let spread = simulation.spread.unwrap_or(Duration::from_millis(rng.below(2000)));
        let micros = spread.as_micros() as u64 + 1;
        let moment = |_| Time::ZERO + Duration::from_micros(rng.below(micros) / 250 * 250);
        let mut arrivals: Vec<Time> = (0..to_come).map(moment).collect();
        arrivals.sort_unstable_by(|a, b| b.cmp(a));
        // Now and then it ends with everybody still there.
        let is_early = simulation.spread.is_none() && rng.chance(1, 5);
        let early = Time::ZERO + Duration::from_micros(rng.below(micros));
        let is_brief = is_early && rng.chance(1, 2);
        let grace = if is_brief { Duration::from_millis(rng.below(2000)) } else { GRACE };
        let extras = if simulation.is_own() { 0 } else { 1 };
        let callers = Callers::new(&world, rng.below(4) as u8 * extras as u8, rng.next_u64());
        let errands = Errands::new(rng.below(6) * extras, spread, rng.next_u64());
        world.set_plan(simulation.plan.clone());
        Ok(Run {
            simulation,
            world,
            book,
            seats,
            handle,
            limits,
            rng,
            callers,
            errands,
            arrivals,
            born: 0,
            clients: Vec::new(),
            alive: 0,
            steps: BinaryHeap::new(),
            shutdown_at: if is_early { early } else { Time::MAX },
            grace,
            stopping: (Time::MAX, Duration::ZERO),
            calm_at: Time::ZERO + spread + FAULTS_FOR,
            stage: Stage::Serving,
            is_calm: false,
            connections_max: 0,
            quiet: (Time::ZERO, 0),
        })
    }

    /// Until all clients have gone and all reactors have stopped.
    fn play(&mut self) -> Result<(), String> {
        let (mut moment, mut rounds) = (self.world.now(), 0);
        while !self.is_over() {
            let has_acted = self.step_clients()? | self.step_others();
            let has_turned = self.turn()?;
            self.heed_time()?;
            if let Some(complaint) = self.book.complaint() {
                return Err(complaint);
            }
            if self.world.now() > moment {
                (moment, rounds) = (self.world.now(), 0);
            }
            rounds += 1;
            if rounds > ROUNDS_MOST {
                return Err(format!("it spins at {moment}"));
            }
            if !has_acted && !has_turned {
                self.pass_time();
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.has_no_clients() && self.seats.iter().all(|seat| seat.is_stopped)
    }

    fn has_no_clients(&self) -> bool {
        self.alive == 0 && self.arrivals.is_empty()
    }

    /// Whoever comes, and whoever goes on, at this moment.
    fn step_clients(&mut self) -> Result<bool, String> {
        let now = self.world.now();
        let mut has_acted = false;
        while self.arrivals.last().is_some_and(|at| *at <= now) {
            self.arrivals.pop();
            let script = self.simulation.script(&mut self.rng);
            let is_unix = !self.simulation.is_own() && self.rng.chance(1, 4);
            let seed = self.rng.next_u64();
            self.clients.push(Some(Client::new(self.born, is_unix, script, &self.world, seed)));
            self.steps.push(Reverse((now, self.born)));
            self.born += 1;
            self.alive += 1;
            has_acted = true;
        }
        while let Some(&Reverse((due, number))) = self.steps.peek() {
            if due > now {
                break;
            }
            self.steps.pop();
            has_acted = true;
            let Some(mut client) = self.clients[number].take() else { continue };
            match client.step(&self.scene())? {
                Step::At(next) => {
                    self.steps.push(Reverse((next, number)));
                    self.clients[number] = Some(client);
                }
                Step::Over => {
                    self.world.note(|| format!("client {number}  is over"));
                    client.leave(&self.scene());
                    self.alive -= 1;
                    self.quiet.0 = now; // its end is on its way
                }
            }
        }
        Ok(has_acted)
    }

    /// Datagrams, and connections that the reactors begin.
    fn step_others(&mut self) -> bool {
        let is_due = self.callers.next().is_some_and(|at| at <= self.world.now());
        if is_due {
            let counters = self.seats[0].reactor.counters();
            self.callers.step(&self.world, &self.book, &counters);
        }
        let servers = self.seats.len() - 1;
        self.errands.step(&self.world, &self.book, &mut self.seats[..servers]) || is_due
    }

    /// Every reactor whose wait would return turns.
    fn turn(&mut self) -> Result<bool, String> {
        let mut has_turned = false;
        for seat in &mut self.seats {
            let turned = seat.turn(&self.world, &self.book, &mut self.rng);
            has_turned |= turned.map_err(|error| error.to_string())?;
        }
        if has_turned {
            let count = self.handle.connection_count();
            self.connections_max = self.connections_max.max(count);
            let most = self.limits.connections;
            self.book.check(count <= most, || format!("{count} connections, of {most}"));
        }
        Ok(has_turned)
    }

    /// What is to be done at a certain time: the end of faults, and of everything.
    fn heed_time(&mut self) -> Result<(), String> {
        let now = self.world.now();
        if now >= self.calm_at && !self.is_calm {
            self.is_calm = true;
            self.world.note(|| "faults stop".to_owned());
            self.world.calm();
        }
        let is_done =
            self.has_no_clients() && self.callers.is_over() && self.errands.is_over(&self.book);
        if self.stage == Stage::Serving && (is_done || now >= self.shutdown_at) {
            self.stage = Stage::Stopping;
            self.stopping = (now, self.book.with(|pages| pages.lost()));
            self.world.note(|| "shutdown".to_owned());
            self.callers.give_up();
            self.errands.give_up();
            self.book.with(|pages| pages.shutdown_due = now + self.grace);
            self.handle.shutdown(self.grace);
        }
        if let Some((far, server)) = self.seats.split_last() {
            let is_stopped = server.iter().all(|seat| seat.is_stopped);
            let (since, lost) = self.stopping;
            let lost = self.book.with(|pages| pages.lost()) - lost;
            if self.stage == Stage::Stopping && now > since + self.grace + lost + STALL_MOST {
                self.book.check(is_stopped, || format!("a shutdown since {since} goes on"));
            }
            if self.stage == Stage::Stopping && is_stopped {
                self.stage = Stage::StoppingFar;
                far.reactor.handle().shutdown(GRACE);
            }
        }
        if now > self.calm_at + ENDS_WITHIN {
            let alive = self.alive;
            return Err(format!("it never comes to its end, with {alive} clients left"));
        }
        Ok(())
    }

    /// Nobody has anything to do: on to what happens next.
    fn pass_time(&mut self) {
        let now = self.world.now();
        let is_overslept = self.seats.iter().any(|seat| seat.is_overslept(&self.world));
        self.book.check(!is_overslept, || "letters wait, and nobody is woken".to_owned());
        let mut next = self.calm_at.max(now + STILL * 2);
        let shutdown_at = Some(self.shutdown_at).filter(|_| self.stage == Stage::Serving);
        let others = [
            self.world.next_event(),
            self.steps.peek().map(|Reverse((at, _))| *at),
            self.arrivals.last().copied(),
            self.callers.next(),
            self.errands.next(),
            shutdown_at,
        ];
        let turns = self.seats.iter().map(|seat| seat.next_turn(&self.world));
        next = others.into_iter().chain(turns).flatten().fold(next, Time::min);
        self.world.advance(next - now);
        if self.is_quiet() {
            self.quiet.0 = self.world.now();
            self.check_forgotten();
            let scene = self.scene();
            self.clients.iter().flatten().for_each(|client| client.check_still(&scene));
        }
    }

    /// When nothing has moved for long: whoever has gone is known to nobody.
    fn check_forgotten(&self) {
        let scene = self.scene();
        let has_gone = |&number: &usize| self.clients[number].is_none();
        for number in (0..self.born).filter(has_gone) {
            let row = self.book.row_of(number).filter(|row| row.is_open());
            // The other half of a pair may still be on its way to somewhere.
            let other = row.as_ref().and_then(|row| row.other).map(|other| self.book.row(other));
            let is_waiting = other.is_some_and(|other| other.id.is_none() && other.why.is_none());
            let is_kept = row.is_some() && !is_waiting && !scene.is_over_budget();
            self.book.check(!is_kept, || format!("client {number}: has gone, and is kept"));
        }
        let servers = &self.seats[..self.seats.len() - 1];
        let open: usize = servers.iter().map(|seat| seat.reactor.connection_count()).sum();
        let counted = self.handle.connection_count();
        self.book.check(open == counted, || format!("{counted} are counted, of {open}"));
    }

    /// Whether nothing has been on its way for so long that nobody can be waiting but in vain.
    fn is_quiet(&mut self) -> bool {
        // Clients look again and again, so that silence has to be told from their steps.
        let (now, turns) = (self.world.now(), self.turns());
        if self.quiet.1 != turns {
            self.quiet = (now, turns);
        }
        let stalled = self.seats.iter().map(|seat| seat.stalled_until).max().unwrap_or(now);
        now.since(self.quiet.0.max(stalled)) > STILL
    }

    fn turns(&self) -> u64 {
        self.seats.iter().map(|seat| seat.turns).sum()
    }

    fn scene(&self) -> Scene<'_> {
        Scene {
            world: &self.world,
            book: &self.book,
            seats: &self.seats,
            limits: &self.limits,
            is_stopping: self.stage > Stage::Serving,
            has_hints: self.simulation.plan.hints,
        }
    }

    /// Nothing may be left.
    fn end(self) -> Result<Summary, String> {
        for seat in &self.seats {
            seat.reactor.check();
            let left = (seat.reactor.connection_count(), seat.reactor.buffered_bytes());
            self.book.check(left == (0, 0), || format!("{left:?} connections and bytes are left"));
            let panics = seat.reactor.counters().panics;
            self.book.check(panics == 0, || format!("{panics} panics"));
        }
        let counted = self.handle.connection_count();
        self.book.check(counted == 0, || format!("{counted} connections are counted at the end"));
        let clients = self.handle.client_count();
        self.book.check(clients == 0, || format!("{clients} clients are counted at the end"));
        let sockets = self.world.open_sockets();
        self.book.check(sockets == 0, || format!("{sockets} sockets are left open"));
        let tight: Vec<bool> = self.seats.iter().map(|it| it.was_tight(&self.limits)).collect();
        self.book.check_ends(&tight);
        if let Some(complaint) = self.book.complaint() {
            return Err(complaint);
        }
        let mut summary = Summary {
            runs: 1,
            turns: self.turns(),
            lifetimes: self.born as u64,
            handlers: self.book.handlers(),
            connections_max: self.connections_max,
            virtual_time: self.world.now() - Time::ZERO,
            checks: self.book.checks(),
            trace_hash: self.world.trace_hash(),
            ..Summary::default()
        };
        for (&mishap, dealt) in Mishap::ALL.iter().zip(&mut summary.dealt) {
            *dealt = self.world.dealt(mishap);
        }
        Ok(summary)
    }
}

/// The limits, but for those that would keep what is served from its work.
fn suited(simulation: &Simulation, limits: Limits) -> Limits {
    match simulation.builtin_kind() {
        // Every client makes two, and a proxy that cannot make the second has to give up.
        Some(Builtin::Proxy) => Limits { connections: limits.connections.max(1000), ..limits },
        Some(Builtin::Echo | Builtin::Line) => limits,
        // What is said to everybody must arrive.
        Some(Builtin::Chat) | None => Limits { mailbox: Limits::default().mailbox, ..limits },
    }
}

/// Far more than handlers and clients can do at one moment.
const ROUNDS_MOST: u64 = 100_000;
/// More than anything is on its way, or rests, or dozes.
const STILL: Duration = Duration::from_secs(2);
/// After the last client has come.
const FAULTS_FOR: Duration = Duration::from_secs(100);
const ENDS_WITHIN: Duration = Duration::from_secs(600);
/// More than a host stalls, which it may have begun to do before.
const STALL_MOST: Duration = Duration::from_secs(6);
const GRACE: Duration = Duration::from_secs(100);
