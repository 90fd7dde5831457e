//! One run: the clock moves only when nobody has anything to do at this moment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::book::{Book, Doorman};
use super::client::{Client, Scene, Step, client_at};
use super::{Simulation, Summary};
use crate::base::address::{Address, NetAddr};
use crate::base::rng::Rng;
use crate::base::time::Time;
use crate::handler::Handle;
use crate::hub::limits::Limits;
use crate::protocols::Echo;
use crate::reactor::{Neighbours, Placement, Reactor, Spread};
use crate::sim::{Mishap, Node, World};
use crate::sys::{ListenOptions, Platform};

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
    seats: Vec<Seat>,
    handle: Handle,
    limits: Limits,
    rng: Rng,
    to_come: usize,
    born: usize,
    /// By number; those that have come and are not over.
    clients: Vec<Option<Client>>,
    alive: usize,
    /// Who goes on when.
    steps: BinaryHeap<Reverse<(Time, usize)>>,
    arrivals: Vec<Time>,
    shutdown_at: Time,
    calm_at: Time,
    is_calm: bool,
    is_stopping: bool,
    lost_time: Duration,
    turns: u64,
    connections_max: usize,
    /// Since when no reactor has turned, and how many turns there had been.
    quiet: (Time, u64),
}

/// A reactor and what the run knows of it.
struct Seat {
    reactor: Reactor<(), Node>,
    node: usize,
    stalled_until: Time,
    is_stopped: bool,
    /// It is the far end of a proxy, which stops last.
    is_upstream: bool,
    /// It was told to stop.
    is_told: bool,
}

impl<'s> Run<'s> {
    fn new(simulation: &'s Simulation, world: World) -> Result<Run<'s>, String> {
        let mut rng = Rng::new(simulation.seed ^ 0x0052_554e);
        let longest = [0, 1_000, 5_000, 50_000][rng.below(4) as usize];
        world.set_latency(Duration::ZERO, Duration::from_micros(longest));
        let capacity = if rng.chance(1, 2) { 1 << 16 } else { 200 + rng.below(5000) as usize };
        world.set_capacity(capacity);
        let limits = simulation.limits.clone().unwrap_or_else(|| chosen_limits(&mut rng));
        let limits = match simulation.is_proxy() {
            // Every client makes two, and a proxy that cannot make the second has to give up.
            true => Limits { connections: limits.connections.max(1000), ..limits },
            false => limits,
        };
        let to_come = simulation.clients.unwrap_or(1 + rng.below(60) as usize);
        let book = Book::new(to_come, limits.clone());
        let count = simulation.reactors.unwrap_or(1 + rng.below(3) as usize);
        let (mut seats, handle) = seats(simulation, &world, &book, &limits, count, &mut rng)
            .map_err(|error| format!("cannot be set up: {error}"))?;
        if simulation.is_proxy() {
            seats.push(far_end(&world, &book, &limits).map_err(|error| error.to_string())?);
        }
        let spread = simulation.spread.unwrap_or(Duration::from_millis(rng.below(2000)));
        let micros = spread.as_micros() as u64 + 1;
        let mut arrivals: Vec<Time> = (0..to_come)
            .map(|_| Time::ZERO + Duration::from_micros(rng.below(micros) / 250 * 250))
            .collect();
        arrivals.sort_unstable_by(|a, b| b.cmp(a));
        let end = Time::ZERO + spread;
        // Now and then it ends with everybody still there.
        let is_early = simulation.spread.is_none() && rng.chance(1, 5);
        let shutdown_at = if is_early {
            Time::ZERO + Duration::from_micros(rng.below(micros))
        } else {
            Time::MAX
        };
        world.set_plan(simulation.plan.clone());
        Ok(Run {
            simulation,
            world,
            book,
            seats,
            handle,
            limits,
            rng,
            to_come,
            born: 0,
            clients: Vec::new(),
            alive: 0,
            steps: BinaryHeap::new(),
            arrivals,
            shutdown_at,
            calm_at: end + FAULTS_FOR,
            is_calm: false,
            is_stopping: false,
            lost_time: Duration::ZERO,
            turns: 0,
            connections_max: 0,
            quiet: (Time::ZERO, 0),
        })
    }

    /// Until all clients have gone and all reactors have stopped.
    fn play(&mut self) -> Result<(), String> {
        let (mut moment, mut rounds) = (self.world.now(), 0);
        while !self.is_over() {
            let has_acted = self.step_clients()?;
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
                self.pass_time()?;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.alive == 0
            && self.born == self.to_come
            && self.seats.iter().all(|seat| seat.is_stopped)
    }

    /// Whoever comes, and whoever goes on, at this moment.
    fn step_clients(&mut self) -> Result<bool, String> {
        let now = self.world.now();
        let mut has_acted = false;
        while self.arrivals.last().is_some_and(|at| *at <= now) {
            self.arrivals.pop();
            let script = self.simulation.script(&mut self.rng);
            let seed = self.rng.next_u64();
            let client = Client::new(self.born, &at(), script, &self.world, seed);
            self.clients.push(Some(client));
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
                    client.leave();
                    self.alive -= 1;
                }
            }
        }
        Ok(has_acted)
    }

    /// Every reactor whose wait would return turns.
    fn turn(&mut self) -> Result<bool, String> {
        let mut has_turned = false;
        for seat in &mut self.seats {
            let now = self.world.now();
            let is_due = self.world.has_news(seat.node)
                || seat.reactor.next_deadline().is_some_and(|left| left.is_zero());
            if seat.is_stopped || seat.stalled_until > now || !is_due {
                continue;
            }
            if self.world.deals(Mishap::HostStalls) {
                let span = Duration::from_micros(self.rng.below(5_000_000));
                seat.stalled_until = now + span;
                self.lost_time += span;
                self.book.note_lost_time(self.lost_time);
                continue;
            }
            let jumps = self.world.dealt(Mishap::ClockJumps);
            if self.simulation.plan.odds(Mishap::ClockJumps) > 0 {
                self.book.note_lost_time(self.lost_time + JUMP_MOST); // it may come in this turn
            }
            let turn =
                seat.reactor.turn(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            if self.world.dealt(Mishap::ClockJumps) > jumps {
                self.lost_time += self.world.now() - now;
                self.book.note_lost_time(self.lost_time);
            }
            has_turned = true;
            self.turns += 1;
            seat.is_stopped = turn.is_stopped;
            if self.turns % CHECK_EVERY == 0 {
                seat.reactor.check();
            }
        }
        if !has_turned {
            return Ok(false);
        }
        let count = self.handle.connection_count();
        self.connections_max = self.connections_max.max(count);
        self.book.check(count <= self.limits.connections, || format!("{count} connections"));
        Ok(true)
    }

    /// What is to be done at a certain time: the end of faults, and of everything.
    fn heed_time(&mut self) -> Result<(), String> {
        let now = self.world.now();
        if now >= self.calm_at && !self.is_calm {
            self.is_calm = true;
            self.world.note(|| "faults stop".to_owned());
            self.world.calm();
        }
        let is_empty = self.alive == 0 && self.born == self.to_come;
        if !self.is_stopping && (is_empty || now >= self.shutdown_at) {
            self.is_stopping = true;
            self.world.note(|| "shutdown".to_owned());
            self.handle.shutdown(GRACE);
        }
        let is_served = self.seats.iter().any(|seat| !seat.is_stopped && !seat.is_upstream);
        if self.is_stopping && !is_served {
            for seat in self.seats.iter_mut().filter(|seat| seat.is_upstream) {
                if !std::mem::replace(&mut seat.is_told, true) {
                    seat.reactor.handle().shutdown(GRACE);
                }
            }
        }
        if now > self.calm_at + ENDS_WITHIN {
            return Err(format!("{} clients never come to their end", self.alive));
        }
        Ok(())
    }

    /// Nobody has anything to do: on to what happens next.
    fn pass_time(&mut self) -> Result<(), String> {
        let now = self.world.now();
        let mut next = vec![self.calm_at.max(now + STILL * 2)];
        next.extend(self.world.next_event());
        next.extend(self.steps.peek().map(|Reverse((at, _))| *at));
        next.extend(self.arrivals.last());
        if !self.is_stopping {
            next.push(self.shutdown_at);
        }
        for seat in self.seats.iter().filter(|seat| !seat.is_stopped) {
            let deadline = seat.reactor.next_deadline().map(|left| now + left);
            let due = if self.world.has_news(seat.node) { Some(now) } else { deadline };
            next.extend(due.map(|due| due.max(seat.stalled_until)));
        }
        let next = next.into_iter().min().unwrap_or(now);
        self.world.advance(next - now);
        if self.is_quiet() {
            self.check_still()?;
        }
        Ok(())
    }

    /// Whether nothing has been on its way for so long that nobody can be waiting but in vain.
    fn is_quiet(&mut self) -> bool {
        // Clients look again and again, so that silence has to be told from their steps.
        let turns = self.turns;
        let now = self.world.now();
        let is_still = self.quiet.1 == turns;
        if !is_still {
            self.quiet = (now, turns);
        }
        let stalled = self.seats.iter().map(|seat| seat.stalled_until).max().unwrap_or(now);
        is_still && now - self.quiet.0.max(stalled) > STILL
    }

    fn check_still(&mut self) -> Result<(), String> {
        let now = self.world.now();
        self.quiet.0 = now;
        let is_over_budget = self
            .seats
            .iter()
            .any(|seat| seat.reactor.buffered_bytes() > self.limits.buffered_bytes);
        if is_over_budget
            || self.seats.iter().any(|seat| seat.stalled_until > now)
            || self.may_abort()
        {
            return Ok(());
        }
        let scene = self.scene();
        self.clients.iter().flatten().try_for_each(|client| client.check_still(&scene))
    }

    /// Whether something went wrong that a proxy may pass on.
    fn may_abort(&self) -> bool {
        self.simulation.is_proxy() && PASSED_ON.iter().any(|&mishap| self.world.dealt(mishap) > 0)
    }

    fn scene(&self) -> Scene<'_> {
        let late = [Mishap::WouldBlock, Mishap::LateEdge, Mishap::HostStalls, Mishap::Interrupted];
        let is_prompt = late.iter().all(|&mishap| self.simulation.plan.odds(mishap) == 0)
            && self.limits.buffered_bytes >= ROOMY;
        Scene {
            world: &self.world,
            book: &self.book,
            is_time_lost: !self.lost_time.is_zero(),
            may_abort: self.may_abort(),
            is_stopping: self.is_stopping,
            is_tight: self.limits.buffered_bytes < ROOMY,
            turns: self.turns,
            fair_turns: if is_prompt { FAIR_TURNS } else { u64::MAX },
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
        let sockets = self.world.open_sockets();
        self.book.check(sockets == 0, || format!("{sockets} sockets are left open"));
        self.book.check_all_closed();
        if let Some(complaint) = self.book.complaint() {
            return Err(complaint);
        }
        let mut summary = Summary {
            runs: 1,
            turns: self.turns,
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

/// The reactors of one server, of which the first accepts.
fn seats(
    simulation: &Simulation,
    world: &World,
    book: &Book,
    limits: &Limits,
    count: usize,
    rng: &mut Rng,
) -> std::io::Result<(Vec<Seat>, Handle)> {
    world.name("upstream.sim", vec![([10, 0, 0, 2], 0).into()]);
    let nodes: Vec<Node> = (0..count).map(|_| world.node()).collect();
    let handle = Handle::new(nodes.iter().map(Platform::waker).collect(), limits.mailbox);
    let placements = [Placement::RoundRobin, Placement::LeastLoaded];
    let placement = placements[rng.below(2) as usize];
    let mut circle = Neighbours::circle(count, placement, limits.mailbox).into_iter();
    let endpoint = handle.next_endpoint();
    let mut seats = Vec::new();
    for (index, mut platform) in nodes.into_iter().enumerate() {
        let node = platform.number();
        let listener = match index {
            0 => Some(platform.listen(&at(), &ListenOptions::default())?),
            _ => None,
        };
        let neighbours = circle.next().filter(|_| count > 1);
        let mut reactor =
            Reactor::assemble(platform, limits.clone(), handle.clone(), index as u32, neighbours)?;
        let make = simulation.handler(book, rng.next_u64());
        let doorman = Doorman { book: book.clone(), make, client_at };
        let spread = if count > 1 { Spread::Over } else { Spread::Here };
        reactor.add_listener(endpoint, listener, Box::new(doorman), spread)?;
        seats.push(Seat::new(reactor, node, false));
    }
    Ok((seats, handle))
}

/// The echo behind a proxy, on a host of its own.
fn far_end(world: &World, book: &Book, limits: &Limits) -> std::io::Result<Seat> {
    let platform = world.node();
    let node = platform.number();
    let limits = Limits { connections: usize::from(u16::MAX), ..limits.clone() };
    let mut reactor = Reactor::with_platform(platform, limits)?;
    let book = book.clone();
    let address: Address = Address::Inet(([10, 0, 0, 2], 7).into());
    reactor.listen(&address, move |_: &NetAddr| book.watch(None, Echo))?;
    Ok(Seat::new(reactor, node, true))
}

impl Seat {
    fn new(reactor: Reactor<(), Node>, node: usize, is_upstream: bool) -> Seat {
        Seat {
            reactor,
            node,
            stalled_until: Time::ZERO,
            is_stopped: false,
            is_upstream,
            is_told: false,
        }
    }
}

/// Small ones, so that they are met.
fn chosen_limits(rng: &mut Rng) -> Limits {
    let high = 100 + rng.below(20_000) as usize;
    let is_tight = rng.chance(1, 4);
    Limits {
        connections: if rng.chance(1, 3) { 4 + rng.below(12) as usize } else { 1000 },
        outbox_low_bytes: 1 + rng.below(100) as usize,
        outbox_high_bytes: high,
        outbox_max_bytes: 1 << 20,
        buffered_bytes: if is_tight { 4000 } else { ROOMY },
        read_budget_bytes: if rng.chance(1, 2) { 1 << 16 } else { 1 + rng.below(5000) as usize },
        accept_budget: 1 + rng.below(8) as usize,
        ..Limits::default()
    }
}

fn at() -> Address {
    Address::Inet(([10, 0, 0, 1], 7).into())
}

/// What a proxy connects to.
pub(super) fn upstream() -> Address {
    Address::Host { name: "upstream.sim".into(), port: 7 }
}

/// What becomes of one side of a proxy the other side hears of.
const PASSED_ON: [Mishap; 15] = [
    Mishap::ResetReading,
    Mishap::ResetWriting,
    Mishap::ResetBeforeAccept,
    Mishap::AcceptAborted,
    Mishap::AcceptProto,
    Mishap::RegisterEnospc,
    Mishap::RegisterEnomem,
    Mishap::ConnectRefused,
    Mishap::ConnectSilent,
    Mishap::LookUpFails,
    Mishap::HostStalls,
    Mishap::ClockJumps,
    Mishap::PeerNeverReads,
    Mishap::PeerDrips,
    Mishap::PeerResets,
];

const ROOMY: usize = 1 << 26;
const FAIR_TURNS: u64 = 4;
const CHECK_EVERY: u64 = 64;
/// Far more than handlers and clients can do at one moment.
const ROUNDS_MOST: u64 = 100_000;
/// More than anything is on its way, or rests, or dozes.
const STILL: Duration = Duration::from_secs(2);
/// After the last client has come.
const FAULTS_FOR: Duration = Duration::from_secs(100);
const ENDS_WITHIN: Duration = Duration::from_secs(600);
/// Of [`Mishap::ClockJumps`].
const JUMP_MOST: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(100);
