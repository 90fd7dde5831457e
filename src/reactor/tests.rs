//! The reactor in a simulated world.

use super::*;
use crate::protocols::Echo;
use crate::sim::World;

#[test]
fn echo_answers_in_the_simulated_world() {
    let world = World::new(1);
    let mut reactor: Reactor<(), _> =
        Reactor::with_platform(world.node(), Limits::default()).unwrap();
    let at: Address = "10.0.0.1:7".parse().unwrap();
    let (_, local) = reactor.listen(&at, |_: &NetAddr| Echo).unwrap();
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
