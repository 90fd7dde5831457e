//! Whole histories: nobody who keeps the contract gets stuck, and a seed stands for one.

use super::*;

/// Echoes on one connection, as a reactor does that leans on nothing but the contract.
struct Echo {
    stream: Stream,
    is_readable: bool,
    is_writable: bool,
    has_ended: bool,
    unsent: Vec<u8>,
}

impl Echo {
    fn work(&mut self, node: &mut Node) {
        while self.is_readable && !self.has_ended {
            let mut buffer = [0; 48];
            match node.read(&mut self.stream, &mut buffer) {
                Ok(0) => self.has_ended = true,
                Ok(len) => self.unsent.extend(&buffer[..len]),
                Err(error) => self.is_readable = error.kind() == ErrorKind::Interrupted,
            }
        }
        while self.is_writable && !self.unsent.is_empty() {
            match node.write(&mut self.stream, &[IoSlice::new(&self.unsent)]) {
                Ok(len) => drop(self.unsent.drain(..len)),
                Err(error) => self.is_writable = error.kind() == ErrorKind::Interrupted,
            }
        }
    }
}

/// Sends 5000 bytes through an echo, and tells everything that could be seen.
fn history(seed: u64, manners: Manners) -> Vec<String> {
    let world = World::new(seed);
    world.set_capacity(100);
    world.set_manners(manners);
    let mut node = world.node();
    let mut listener = node.listen(&address(), &ListenOptions::default()).unwrap();
    let peer = world.connect(address());
    let mut stream = loop {
        match node.accept(&mut listener, &mut NetAddr::Unnamed) {
            Ok(stream) => break stream,
            Err(error) => {
                use ErrorKind::{Interrupted, WouldBlock};
                assert!(matches!(error.kind(), Interrupted | WouldBlock), "{error}");
            }
        }
    };
    node.register_stream(&mut stream, STREAM).unwrap();
    let mut echo = Echo {
        stream,
        is_readable: false,
        is_writable: false,
        has_ended: false,
        unsent: Vec::new(),
    };
    let mut rng = Rng::new(seed);
    let bytes = rng.bytes(5000);
    let (mut sent, mut received) = (0, Vec::new());
    let mut seen = Vec::new();
    for _ in 0..10_000 {
        let chunk = &bytes[sent..bytes.len().min(sent + rng.below(150) as usize)];
        sent += peer.send(chunk);
        if sent == bytes.len() {
            peer.finish();
        }
        let edges = edges_within(&mut node, Some(MILLISECOND));
        for edge in &edges {
            echo.is_readable |= edge.ready.has(READABLE);
            echo.is_writable |= edge.ready.has(WRITABLE);
        }
        echo.work(&mut node);
        received.extend(peer.receive_at_most(rng.below(200) as usize));
        seen.push(format!("{} {edges:?} {sent} {}", world.now(), received.len()));
        if echo.has_ended && received.len() == bytes.len() {
            assert!(received == bytes, "seed {seed}: bytes were changed");
            return seen;
        }
    }
    panic!("seed {seed}: stuck at {sent} sent, {} received", received.len());
}

#[test]
fn who_keeps_the_contract_never_gets_stuck() {
    for seed in 0..200 {
        history(seed, Manners::default());
        history(seed, Manners { hints: true, ..Manners::default() });
        history(seed, Manners::chatty());
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    assert_eq!(history(5, Manners::chatty()), history(5, Manners::chatty()));
    assert_ne!(history(5, Manners::chatty()), history(6, Manners::chatty()));
}

#[test]
fn the_trace_is_the_same_on_every_machine() {
    let world = World::new(7);
    world.set_plan(Plan::swarm(3).with(Mishap::WouldBlock, 2000).with(Mishap::Interrupted, 1000));
    world.set_latency(MILLISECOND, 5 * MILLISECOND);
    let mut node = world.node();
    let mut listener = listen(&mut node, &address());
    let peer = world.connect(address());
    let mut streams = Vec::new();
    for step in 0..200 {
        peer.send(b"tick");
        peer.receive();
        node.wait(Some(MILLISECOND).into()).unwrap();
        if let Ok(mut stream) = node.accept(&mut listener, &mut NetAddr::Unnamed) {
            let _ = node.register_stream(&mut stream, Token::Connection(step));
            streams.push(stream);
        }
        for stream in &mut streams {
            let _ = node.read(stream, &mut [0; 64]);
            let _ = node.write(stream, &[IoSlice::new(b"tock")]);
        }
    }
    // It changes with what the world does, and with nothing else.
    assert_eq!(world.trace_hash(), 2_477_434_563_354_978_299);
}
