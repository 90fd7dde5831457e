//! The reactor in the simulated world, by subject.
//!
//! A [`Rig`] is a world with one reactor in it. Handlers are scripts: one closure that is shown
//! every callback as an [`Event`]; what it was shown is logged, connection by connection.

mod accepting;
mod admission;
mod broadcast;
mod budget;
mod chaos;
mod clocks;
mod closing;
mod connecting;
mod datagrams;
mod fail_nth;
mod fine_print;
mod outboxes;
mod panics;
mod placing;
mod promises;
mod ready_made;
mod shutdown;
mod stalls;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Once};

use super::*;
use crate::base::address::{Address, NetAddr};
use crate::base::id::{ConnId, EndpointId};
use crate::handler::{AtLimit, Connect, Context, Service, StreamHandler};
use crate::hub::reason::{CloseReason, Fault};
use crate::protocols::Echo;
use crate::sim::{Call, Manners, Node, Peer, World};
use crate::sys::{DatagramOptions, ListenOptions};

/// One callback, with what it was about.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event<'a> {
    Open,
    Bytes(&'a [u8]),
    Eof(&'a [u8]),
    Drain,
    Timer(u32),
    Message(u32),
    Shutdown,
    Close(String),
}

/// Answers how many bytes were taken, which counts for [`Event::Bytes`] only.
type Script = Rc<dyn Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault>>;

/// What handlers were shown, by the number of the connection, counted from 0.
#[derive(Clone, Default)]
struct Log(Rc<LogState>);

#[derive(Default)]
struct LogState {
    lines: RefCell<Vec<Vec<String>>>,
    /// Ids by number, since `Event::Open`.
    ids: RefCell<Vec<Option<ConnId>>>,
    is_inside: Cell<bool>,
}

impl Log {
    /// A handler under the next number.
    fn handler(&self, script: &Script) -> Recorder {
        let mut lines = self.0.lines.borrow_mut();
        lines.push(Vec::new());
        self.0.ids.borrow_mut().push(None);
        Recorder { number: lines.len() - 1, log: self.clone(), script: script.clone() }
    }

    fn of(&self, number: usize) -> Vec<String> {
        self.0.lines.borrow()[number].clone()
    }

    fn count(&self) -> usize {
        self.0.lines.borrow().len()
    }

    fn id(&self, number: usize) -> ConnId {
        self.0.ids.borrow()[number].expect("it was opened")
    }
}

struct Recorder {
    number: usize,
    log: Log,
    script: Script,
}

impl Recorder {
    fn show(&mut self, cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
        let state = &self.log.0;
        assert!(!state.is_inside.replace(true), "a callback inside another");
        let line = match event {
            Event::Bytes(bytes) => format!("bytes {}", bytes.escape_ascii()),
            Event::Eof(rest) => format!("eof {}", rest.escape_ascii()).trim_end().to_owned(),
            Event::Close(why) => why.clone(),
            other => format!("{other:?}").to_lowercase(),
        };
        state.lines.borrow_mut()[self.number].push(line);
        if *event == Event::Open {
            state.ids.borrow_mut()[self.number] = Some(cx.id());
        }
        let answer = unwind_through(&state.is_inside, || (self.script)(cx, event));
        state.is_inside.set(false);
        answer
    }
}

/// Notes that a callback is over also where it panics.
fn unwind_through<R>(is_inside: &Cell<bool>, callback: impl FnOnce() -> R) -> R {
    struct Over<'a>(&'a Cell<bool>);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.set(false);
        }
    }
    let _over = Over(is_inside);
    callback()
}

impl StreamHandler<u32> for Recorder {
    fn on_open(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.show(cx, &Event::Open).map(drop)
    }

    fn on_bytes(&mut self, cx: &mut Context<'_, u32>, input: &[u8]) -> Result<usize, Fault> {
        self.show(cx, &Event::Bytes(input))
    }

    fn on_eof(&mut self, cx: &mut Context<'_, u32>, rest: &[u8]) -> Result<(), Fault> {
        self.show(cx, &Event::Eof(rest)).map(drop)
    }

    fn on_drain(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.show(cx, &Event::Drain).map(drop)
    }

    fn on_timer(&mut self, cx: &mut Context<'_, u32>, tag: u32) -> Result<(), Fault> {
        self.show(cx, &Event::Timer(tag)).map(drop)
    }

    fn on_message(&mut self, cx: &mut Context<'_, u32>, message: u32) -> Result<(), Fault> {
        self.show(cx, &Event::Message(message)).map(drop)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_, u32>) -> Result<(), Fault> {
        self.show(cx, &Event::Shutdown).map(drop)
    }

    fn on_close(&mut self, cx: &mut Context<'_, u32>, why: &CloseReason) {
        let _ = self.show(cx, &Event::Close(why.to_string()));
    }
}

/// A script from a closure.
fn script(
    act: impl Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault> + 'static,
) -> Script {
    Rc::new(act)
}

/// What a script does about everything that it has no mind of its own for: takes all, and closes
/// where a default callback would.
fn plain(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    match event {
        Event::Bytes(bytes) => return Ok(bytes.len()),
        Event::Eof(_) | Event::Shutdown => cx.close(),
        _ => {}
    }
    Ok(0)
}

/// As [`plain`], and says back what comes.
fn echo(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    if let Event::Bytes(bytes) = event {
        cx.write(bytes);
    }
    plain(cx, event)
}

/// Leaves everything untaken.
fn lazy(cx: &mut Context<'_, u32>, event: &Event<'_>) -> Result<usize, Fault> {
    match event {
        Event::Bytes(_) => Ok(0),
        _ => plain(cx, event),
    }
}

struct Rig {
    world: World,
    reactor: Reactor<u32, Node>,
    log: Log,
}

const AT: &str = "10.0.0.1:7";

fn at() -> Address {
    AT.parse().unwrap()
}

impl Rig {
    fn new() -> Rig {
        Rig::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Rig {
        Rig::in_world(World::new(1), change)
    }

    fn in_world(world: World, change: impl FnOnce(&mut Limits)) -> Rig {
        collect_log_lines();
        let mut limits = Limits { connections: 1000, ..Limits::default() };
        change(&mut limits);
        let reactor = Reactor::with_platform(world.node(), limits).unwrap();
        Rig { world, reactor, log: Log::default() }
    }

    /// A reactor that serves a script, and one connection to it.
    fn serving(
        act: impl Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault> + 'static,
    ) -> (Rig, Peer) {
        let mut rig = Rig::new();
        rig.serve(act);
        let peer = rig.connect();
        (rig, peer)
    }

    /// Serves a script at [`AT`].
    fn serve(
        &mut self,
        act: impl Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault> + 'static,
    ) -> EndpointId {
        let (log, script) = (self.log.clone(), script(act));
        self.reactor.listen(&at(), move |_: &NetAddr| log.handler(&script)).unwrap().0
    }

    fn connect(&mut self) -> Peer {
        let peer = self.world.connect(at());
        self.settle();
        peer
    }

    /// Starts an outgoing connection under the next number.
    fn dial(
        &mut self,
        to: impl Into<Connect>,
        act: impl Fn(&mut Context<'_, u32>, &Event<'_>) -> Result<usize, Fault> + 'static,
    ) -> ConnId {
        let handler = self.log.handler(&script(act));
        self.reactor.connect(to, handler).unwrap()
    }

    fn turn(&mut self) -> Turn {
        self.reactor.turn(Some(Duration::ZERO)).unwrap()
    }

    /// Turns until there is nothing to do at this moment.
    fn settle(&mut self) {
        let mut quiet_turns = 0;
        for _ in 0..10_000 {
            let turn = self.turn();
            let is_quiet = turn.edges == 0 && !turn.has_work;
            quiet_turns = if is_quiet { quiet_turns + 1 } else { 0 };
            if quiet_turns == 3 {
                return; // what the first had started (a look-up, a connection) came to nothing
            }
        }
        panic!("it spins");
    }

    /// Turns until so much time has passed.
    fn pass(&mut self, span: Duration) {
        let end = self.world.now() + span;
        self.settle();
        for _ in 0..10_000 {
            let left = end - self.world.now();
            if left.is_zero() {
                return self.settle();
            }
            self.reactor.turn(Some(left)).unwrap();
        }
        panic!("it spins");
    }

    fn pass_ms(&mut self, millis: u64) {
        self.pass(ms(millis));
    }

    /// Sends, and lets the reactor have it.
    fn send(&mut self, peer: &Peer, bytes: &[u8]) {
        assert_eq!(peer.send(bytes), bytes.len(), "it fits");
        self.settle();
    }

    /// All that is on its way to a peer, received as it comes.
    fn drain(&mut self, peer: &Peer) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            self.settle();
            let some = peer.receive();
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    /// Asserts that nothing is left of any connection.
    fn assert_empty(&mut self) {
        self.assert_no_connections();
        let endpoints = self.reactor.endpoints.iter().filter(|it| it.1.local_addr().is_some());
        assert_eq!(self.world.open_sockets(), endpoints.count());
    }

    fn assert_no_connections(&mut self) {
        self.settle();
        assert_eq!(self.reactor.connection_count(), 0);
        assert_eq!(self.reactor.buffered_bytes(), 0);
        assert_eq!(self.reactor.handle().connection_count(), 0);
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// An end that a peer notices as an orderly one.
fn ended_well(peer: &Peer) -> bool {
    peer.has_ended() && !peer.was_reset()
}

// What the crate logs, at the level of warnings and above, by thread.

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

fn collect_log_lines() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if log::set_logger(&Collector).is_ok() {
            log::set_max_level(log::LevelFilter::Warn);
        }
    });
    LINES.with_borrow_mut(Vec::clear);
}

fn logged(part: &str) -> usize {
    LINES.with_borrow(|lines| lines.iter().filter(|line| line.contains(part)).count())
}

#[test]
fn echo_answers_in_the_simulated_world() {
    let world = World::new(1);
    let mut reactor: Reactor<(), _> =
        Reactor::with_platform(world.node(), Limits::default()).unwrap();
    let (_, local) = reactor.listen(&at(), |_: &NetAddr| Echo).unwrap();
    let peer = world.connect(local.inet().unwrap());
    peer.send(b"hello");
    for _ in 0..3 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(peer.receive(), b"hello");
    peer.finish();
    for _ in 0..3 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert!(peer.has_ended());
    assert_eq!(reactor.connection_count(), 0);
}
