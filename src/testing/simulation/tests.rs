use std::cell::RefCell;

use super::*;
use crate::base::time::Time;
use crate::handler::Context;
use crate::hub::reason::{CloseReason, Fault};
use crate::sim::{Mishap, World};

fn survive(builtin: Builtin, seeds: std::ops::Range<u64>) -> Summary {
    let mut whole = Summary::default();
    for seed in seeds {
        match Simulation::new(seed).builtin(builtin).run() {
            Ok(summary) => whole.add(&summary),
            Err(failure) => panic!("{failure}"),
        }
    }
    whole
}

#[test]
fn an_echo_keeps_its_promises() {
    survive(Builtin::Echo, 0..40);
}

#[test]
fn lines_keep_their_promises() {
    survive(Builtin::Line, 1000..1040);
}

#[test]
fn a_chat_keeps_its_promises() {
    survive(Builtin::Chat, 2000..2040);
}

#[test]
fn a_proxy_keeps_its_promises() {
    survive(Builtin::Proxy, 3000..3030);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for builtin in Builtin::ALL {
        for seed in 0..6 {
            let run = || Simulation::new(seed).builtin(builtin).run().unwrap();
            assert_eq!(run(), run(), "{builtin:?}, seed {seed}");
        }
    }
    let hash = |seed| Simulation::new(seed).run().unwrap().trace_hash;
    assert_ne!(hash(1), hash(2));
}

/// Whoever changes what a run does, or what the reactor asks of its platform, finds it here.
#[test]
fn a_history_is_the_same_on_every_machine() {
    let hashes = Builtin::ALL.map(|it| Simulation::new(7).builtin(it).run().unwrap().trace_hash);
    assert_eq!(hashes, HASHES);
}

const HASHES: [u64; 4] = [
    130_845_614_387_409_268,
    12_269_719_827_501_915_168,
    14_911_255_338_271_722_843,
    7_984_210_604_969_963_225,
];

#[test]
fn a_history_is_the_same_whether_or_not_it_is_told() {
    let simulation = Simulation::new(3).builtin(Builtin::Proxy);
    let (traced, lines) = simulation.trace(usize::MAX);
    assert_eq!(traced.unwrap(), simulation.run().unwrap());
    assert!(lines.len() > 100);
}

/// Not by luck: what is off in one plan is frequent in another.
#[test]
fn every_mishap_is_met_with() {
    for (builtin, first) in [(Builtin::Chat, 5000), (Builtin::Proxy, 6000)] {
        let whole = survive(builtin, first..first + 30);
        let missing: Vec<&str> = Mishap::ALL
            .iter()
            .filter(|mishap| whole.dealt(**mishap) == 0)
            .map(|mishap| mishap.name())
            .collect();
        assert_eq!(missing, [""; 0], "{}", builtin.name());
    }
}

#[test]
fn bytes_are_a_world_too() {
    for bytes in [&b""[..], b"\x01", b"\x02\x00\x01\x03", &[255; 64], &[40; 60]] {
        Simulation::from_bytes(bytes).run().unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Breaks one promise of a handler after the other, as `how` says.
struct Wrong {
    how: How,
    count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    LosesAByte,
    Swaps,
    Forgets,
    Aborts,
    Panics,
    SaysTooMuch,
}

impl StreamHandler for Wrong {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.count += 1;
        let is_due = self.count == 2 && input.len() > 1;
        match self.how {
            How::LosesAByte if is_due => cx.write(&input[1..]),
            How::Swaps if is_due => {
                let mut bytes = input.to_vec();
                bytes.reverse();
                cx.write(&bytes);
            }
            How::Forgets if is_due => {}
            How::Aborts if is_due => cx.abort(),
            How::Panics if is_due => std::panic::resume_unwind(Box::new("planted")),
            How::SaysTooMuch => {
                cx.write(input);
                cx.write(b".");
            }
            _ => cx.write(input),
        }
        Ok(input.len())
    }
}

/// The first of some seeds at which a wrong handler is found out.
fn found_out(how: How) -> Option<Failure> {
    (0..10).find_map(|seed| {
        let simulation = Simulation::new(seed).serve(move |_: &NetAddr| Wrong { how, count: 0 });
        let script = |rng: &mut Rng| {
            let bytes = rng.bytes(3000);
            Script::exchange(bytes.clone(), bytes)
        };
        simulation.client(script).run().err().map(|failure| *failure)
    })
}

#[test]
fn wrong_handlers_are_found_out() {
    let hows =
        [How::LosesAByte, How::Swaps, How::Forgets, How::Aborts, How::Panics, How::SaysTooMuch];
    for how in hows {
        let failure = found_out(how).unwrap_or_else(|| panic!("{how:?} passes"));
        assert!(!failure.what.is_empty() && !failure.timeline.is_empty());
    }
}

#[test]
fn what_is_not_needed_for_a_failure_is_left_out_of_its_plan() {
    let failure = found_out(How::SaysTooMuch).expect("it is wrong without any help");
    assert_eq!(failure.mishaps(), "", "{failure}");
}

/// What handlers are told of their end is the reason that there was.
#[test]
fn deadlines_pass_in_an_instant() {
    #[derive(Clone, Default)]
    struct Ends(Rc<RefCell<Vec<String>>>);
    impl StreamHandler for Ends {
        fn on_bytes(&mut self, _: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
            Ok(input.len())
        }
        fn on_close(&mut self, cx: &mut Context<'_>, why: &CloseReason) {
            self.0.borrow_mut().push(format!("{why} at {}", cx.now()));
        }
    }
    let world = World::new(1);
    world.set_latency(Duration::from_millis(10), Duration::from_millis(10));
    let ends = Ends::default();
    let limits =
        Limits { first_byte: Duration::from_secs(3600), idle: Duration::MAX, ..Limits::default() };
    let mut reactor: crate::reactor::Reactor<(), _> =
        crate::reactor::Reactor::with_platform(world.node(), limits).unwrap();
    let service = ends.clone();
    let at: crate::base::address::Address = "10.0.0.1:7".parse().unwrap();
    reactor.listen(&at, move |_: &NetAddr| service.clone()).unwrap();
    let peer = world.connect(at);
    let mut turns = 0;
    while ends.0.borrow().is_empty() {
        reactor.turn(None).unwrap();
        turns += 1;
        assert!(turns < 20, "waiting moves the clock");
    }
    // 10 ms to get there, an hour, and our end on its way; then the peer's is awaited.
    assert_eq!(*ends.0.borrow(), ["timed out: no first byte at 3605.010000"]);
    assert_eq!(world.now(), Time::from_millis(3_605_010));
    assert!(peer.has_ended());
}
