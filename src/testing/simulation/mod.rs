//! A handler, the real loop around it, and a world that does its worst: from one seed.
//!
//! A [`Simulation`] is a [`World`](crate::sim::World) with one to three reactors that share their
//! listeners (one of them a Unix socket), clients that come, speak, misbehave and go, and a
//! [`Plan`] of what goes wrong meanwhile. Beside the handlers that come with it there is an echo of
//! datagrams and those who ask it, and connections that the reactors begin themselves, by name or
//! address, to an echo on another host. It looks on at every turn, and fails where a promise is
//! broken:
//!
//! | what | looked at |
//! |---|---|
//! | answers are right, whole and in order | at every byte that a client hears |
//! | whoever ends in order has got everything; whoever does not, has a reason | at every end |
//! | what a handler has taken is answered before its connection closes in order, in a shutdown too | at every end |
//! | callbacks come in the order that is allowed, `on_open` first and `on_close` last, once each; input only where it is wanted, and what was left is shown again; `on_drain` below the low mark | at every callback |
//! | an id means one connection, and never another; a letter to one that has ended reaches nobody | at every callback |
//! | deadlines and timers are never early, a message's not counting the time in which it was not wanted; timers at most a tick late | at each of them |
//! | nobody waits: when the world is still, whoever reads has its answers, and could say everything; whoever has come is accepted, and whoever has gone forgotten | whenever nothing has happened for 2 s |
//! | no letter waits for a reactor that nobody wakes | whenever nothing more happens at a moment |
//! | whoever is ready, wants input and does not wait for the byte budget is read within **two turns** of its reactor | at every step of a client |
//! | no connection is read beyond the budget of a turn, and above the byte budget only the one with the permit; no listener accepts more than its own, or faster than it may | at every turn |
//! | nobody is shown to a service who is to be denied, or whose host has as many connections as it may; as many are turned away as were refused | at every connection |
//! | above the byte budget something moves, or somebody ends | at every turn |
//! | a shutdown ends in its time | then |
//! | connections and every outbox stay within their limits | at every turn, every callback |
//! | every datagram is shown whole, answered once, and neither lost nor doubled but by a mishap: sums agree | at each, and at the end |
//! | [`Reactor::check`](crate::Reactor::check): the books agree | now and then; in debug builds at every turn |
//! | after a while faults stop, and everything comes to its end within ten minutes | at the end |
//! | no connection, no byte, no socket is left, and no handler has panicked | at the end |
//!
//! An end needs an excuse that is its own: the mishap that met *this* connection
//! ([`Peer::mishap`](crate::sim::Peer::mishap)), its client's behaviour, a deadline for which time
//! enough was lost by its hosts, or the end of the one that it is paired with. That something went
//! wrong elsewhere excuses nobody.
//!
//! What is *not* promised, and so not looked at: that `buffered_bytes` is a ceiling (above it
//! reactors read one connection at a time).
//!
//! Your own handler, in ten lines:
//!
//! ```
//! use tidemill::codec::{Line, Lines};
//! use tidemill::testing::simulation::{Script, Simulation};
//! use tidemill::{Context, Fault, FrameHandler, Framed, NetAddr};
//!
//! struct Shout;
//!
//! impl FrameHandler<Lines> for Shout {
//!     fn on_frame(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Fault> {
//!         cx.write(&line.whole().to_ascii_uppercase());
//!         Ok(())
//!     }
//! }
//!
//! for seed in 0..20 {
//!     let outcome = Simulation::new(seed)
//!         .serve(|_: &NetAddr| Framed::new(Lines::default(), Shout))
//!         .client(|rng| {
//!             let count = rng.below(9) as usize;
//!             Script::exchange("hello\n".repeat(count), "HELLO\n".repeat(count))
//!         })
//!         .run();
//!     outcome.unwrap_or_else(|failure| panic!("{failure}"));
//! }
//! ```

mod book;
mod cast;
mod client;
mod datagrams;
mod ends;
mod errands;
mod places;
mod run;
mod script;
mod seat;
mod shrink;
mod summary;
#[cfg(test)]
mod tests;
mod watched;

use std::rc::Rc;
use std::time::Duration;

pub use script::{Judge, Script};
pub use shrink::Failure;
pub use summary::Summary;

use crate::base::address::NetAddr;
use crate::base::rng::Rng;
use crate::handler::StreamHandler;
use crate::hub::limits::Limits;
use crate::sim::Plan;
use book::Book;

/// A world to be run; see the [module](self).
#[derive(Clone)]
pub struct Simulation {
    seed: u64,
    plan: Plan,
    kind: Kind,
    clients: Option<usize>,
    reactors: Option<usize>,
    limits: Option<Limits>,
    spread: Option<Duration>,
    /// Lines of the timeline that are kept for a failure.
    timeline: usize,
}

/// What is served, and who asks for it.
#[derive(Clone)]
enum Kind {
    Builtin(Builtin),
    Own { make: MakeHandler, script: MakeScript },
}

/// A handler that comes with the simulation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Builtin {
    /// [`protocols::Echo`](crate::protocols::Echo), which pauses now and then.
    Echo,
    /// [`protocols::LineEcho`](crate::protocols::LineEcho), which pauses now and then.
    Line,
    /// One room for everybody, over all reactors: what one says the others hear, in order.
    Chat,
    /// Passes everything on to an echo on another host, whose name it looks up.
    Proxy,
}

/// From the peer's address and the connection's row in the book.
type MakeHandler = Rc<dyn Fn(&NetAddr, usize) -> Box<dyn StreamHandler>>;
type MakeScript = Rc<dyn Fn(&mut Rng) -> Script>;

impl Simulation {
    /// A world in which everything follows `seed`, the [`Plan`] too ([`Plan::swarm`]). Until told
    /// otherwise it serves an echo.
    pub fn new(seed: u64) -> Simulation {
        Simulation {
            seed,
            plan: Plan::swarm(seed),
            kind: Kind::Builtin(Builtin::Echo),
            clients: None,
            reactors: None,
            limits: None,
            spread: None,
            timeline: 0,
        }
    }

    /// As a fuzzer's bytes say: the first two are the seed, the next the handler, the rest the
    /// plan ([`Plan::from_bytes`]).
    pub fn from_bytes(bytes: &[u8]) -> Simulation {
        let byte = |index: usize| bytes.get(index).copied().unwrap_or(0);
        let seed = u64::from(u16::from_le_bytes([byte(0), byte(1)]));
        let builtin = Builtin::ALL[usize::from(byte(2)) % Builtin::ALL.len()];
        let plan = Plan::from_bytes(bytes.get(3..).unwrap_or(&[]));
        // Few, so that a fuzzer sees many worlds.
        Simulation::new(seed).builtin(builtin).plan(plan).clients(1 + seed as usize % 12)
    }

    /// Sets what goes wrong how often.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Simulation {
        self.plan = plan;
        self
    }

    /// Serves one of the handlers that come with the simulation.
    #[must_use]
    pub fn builtin(mut self, builtin: Builtin) -> Simulation {
        self.kind = Kind::Builtin(builtin);
        self
    }

    /// Serves a handler of your own. It must not panic, and what it answers may depend on
    /// nothing but what it is shown.
    #[must_use]
    pub fn serve<H: StreamHandler>(mut self, make: impl Fn(&NetAddr) -> H + 'static) -> Simulation {
        let make: MakeHandler = Rc::new(move |peer, _| Box::new(make(peer)));
        let script = match self.kind {
            Kind::Own { script, .. } => script,
            Kind::Builtin(_) => Rc::new(cast::echo_script),
        };
        self.kind = Kind::Own { make, script };
        self
    }

    /// What each of the clients says and must hear, with chance to choose by. Comes after
    /// [`serve`](Simulation::serve).
    ///
    /// # Panics
    /// No handler is served yet.
    #[must_use]
    pub fn client(mut self, script: impl Fn(&mut Rng) -> Script + 'static) -> Simulation {
        let Kind::Own { make, .. } = self.kind else { panic!("say first what is served") };
        self.kind = Kind::Own { make, script: Rc::new(script) };
        self
    }

    /// How many clients come. By default that is up to chance, at most 60.
    #[must_use]
    pub fn clients(mut self, count: usize) -> Simulation {
        self.clients = Some(count);
        self
    }

    /// Within which time the clients come. By default that is up to chance, at most 2 s.
    #[must_use]
    pub fn arriving_within(mut self, span: Duration) -> Simulation {
        self.spread = Some(span);
        self
    }

    /// How many reactors serve them. By default that is up to chance, at most 3.
    #[must_use]
    pub fn reactors(mut self, count: usize) -> Simulation {
        self.reactors = Some(count.max(1));
        self
    }

    /// Sets the limits. By default they are up to chance, and small, so that they are met.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Simulation {
        self.limits = Some(limits);
        self
    }

    /// Runs the world to its end, or to the first promise that is broken.
    ///
    /// # Errors
    /// One was: with what of the plan was needed for it, and the last that happened before.
    pub fn run(&self) -> Result<Summary, Box<Failure>> {
        self.outcome().map_err(|what| Box::new(self.explain(what)))
    }

    /// Runs it, and answers the last of its timeline.
    pub fn trace(&self, lines_max: usize) -> (Result<Summary, String>, Vec<String>) {
        let mut traced = self.clone();
        traced.timeline = lines_max;
        run::run(&traced)
    }

    fn outcome(&self) -> Result<Summary, String> {
        run::run(self).0
    }

    fn handler(&self, book: &Book, seed: u64) -> MakeHandler {
        use crate::protocols::{Echo, LineEcho};
        let Kind::Builtin(builtin) = &self.kind else {
            let Kind::Own { make, .. } = &self.kind else { unreachable!("there are two kinds") };
            return make.clone();
        };
        let (book, rng) = (book.clone(), std::cell::RefCell::new(Rng::new(seed)));
        let builtin = *builtin;
        Rc::new(move |_, row| {
            let rng = Rng::new(rng.borrow_mut().next_u64());
            let book = book.clone();
            match builtin {
                Builtin::Echo => Box::new(cast::Dozing::new(Echo, rng, book)),
                Builtin::Line => Box::new(cast::Dozing::new(LineEcho::framed(), rng, book)),
                Builtin::Chat => Box::new(cast::Chat::framed()),
                Builtin::Proxy => {
                    let target = places::far_by_name();
                    Box::new(cast::Side::Accepted { target, book, row })
                }
            }
        })
    }

    fn script(&self, rng: &mut Rng) -> Script {
        match &self.kind {
            Kind::Builtin(Builtin::Line) => cast::line_script(rng),
            Kind::Builtin(Builtin::Chat) => cast::chat_script(rng),
            Kind::Builtin(Builtin::Echo) => cast::echo_script(rng),
            Kind::Builtin(Builtin::Proxy) => cast::proxy_script(rng),
            Kind::Own { script, .. } => script(rng),
        }
    }

    /// Whether it serves a handler of somebody else's, and nothing beside.
    fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own { .. })
    }

    fn builtin_kind(&self) -> Option<Builtin> {
        match self.kind {
            Kind::Builtin(builtin) => Some(builtin),
            Kind::Own { .. } => None,
        }
    }
}

impl Builtin {
    /// All of them.
    pub const ALL: [Builtin; 4] = [Builtin::Echo, Builtin::Line, Builtin::Chat, Builtin::Proxy];

    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Builtin::Echo => "echo",
            Builtin::Line => "line",
            Builtin::Chat => "chat",
            Builtin::Proxy => "proxy",
        }
    }
}
