//! Two reactors of one server, and how connections are spread over them.

use super::*;

/// Two reactors, of which the first accepts.
fn pair(world: &World, placement: Placement, change: impl Fn(&mut Limits)) -> [Rig; 2] {
    let nodes = [world.node(), world.node()];
    let mut limits = Limits { connections: 1000, ..Limits::default() };
    change(&mut limits);
    let handle = Handle::new(nodes.iter().map(Platform::waker).collect(), limits.mailbox);
    let circle = Neighbours::circle(2, placement, limits.mailbox);
    let id = handle.next_endpoint();
    let mut rigs = Vec::new();
    for (index, (node, neighbours)) in nodes.into_iter().zip(circle).enumerate() {
        let (handle, limits) = (handle.clone(), limits.clone());
        let reactor =
            Reactor::assemble(node, limits, handle, index as u32, Some(neighbours)).unwrap();
        let mut rig = Rig { world: world.clone(), reactor, log: Log::default() };
        let options = ListenOptions::default();
        let listener = (index == 0).then(|| rig.reactor.platform.listen(&at(), &options).unwrap());
        let (log, echoing) = (rig.log.clone(), script(echo));
        let service = Box::new(move |_: &NetAddr| log.handler(&echoing));
        rig.reactor.add_listener(id, listener, service, Spread::Over).unwrap();
        rigs.push(rig);
    }
    rigs.try_into().unwrap_or_else(|_| unreachable!("there are two"))
}

fn settle(rigs: &mut [Rig; 2]) {
    for _ in 0..3 {
        rigs.iter_mut().for_each(Rig::settle);
    }
}

#[test]
fn connections_are_handed_out_in_turn_and_served_there() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |_| {});
    let peers: Vec<Peer> = (0..6).map(|_| world.connect(at())).collect();
    peers.iter().for_each(|peer| assert_eq!(peer.send(b"x"), 1));
    settle(&mut rigs);
    assert_eq!([rigs[0].log.count(), rigs[1].log.count()], [3, 3]);
    assert!(peers.iter().all(|peer| peer.receive() == b"x"));
    peers.iter().for_each(Peer::finish);
    settle(&mut rigs);
    rigs[0].assert_no_connections();
    rigs[1].assert_no_connections();
}

#[test]
fn the_least_loaded_reactor_gets_the_next() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::LeastLoaded, |_| {});
    let mut peers: Vec<Peer> = (0..4).map(|_| world.connect(at())).collect();
    settle(&mut rigs);
    assert_eq!(rigs.each_ref().map(|rig| rig.reactor.connection_count()), [2, 2]);
    // Two of one reactor's leave: it gets the next two.
    peers.swap_remove(2).finish();
    peers.swap_remove(0).finish();
    settle(&mut rigs);
    let more: Vec<Peer> = (0..2).map(|_| world.connect(at())).collect();
    settle(&mut rigs);
    assert_eq!(rigs.each_ref().map(|rig| rig.reactor.connection_count()), [2, 2]);
    drop(more);
}

#[test]
fn a_neighbour_that_takes_no_more_leaves_connections_where_they_were_accepted() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |limits| limits.mailbox = 1);
    let peers: Vec<Peer> = (0..6).map(|_| world.connect(at())).collect();
    rigs[0].settle(); // the neighbour is busy
    settle(&mut rigs);
    assert_eq!([rigs[0].log.count(), rigs[1].log.count()], [5, 1]);
    drop(peers);
}

#[test]
fn the_limit_is_shared_and_a_close_anywhere_lets_the_listener_go_on() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |limits| limits.connections = 2);
    let peers: Vec<Peer> = (0..3).map(|_| world.connect(at())).collect();
    settle(&mut rigs);
    assert_eq!([rigs[0].log.count(), rigs[1].log.count()], [1, 1]);
    peers[1].finish();
    settle(&mut rigs);
    assert_eq!([rigs[0].log.count(), rigs[1].log.count()], [2, 1], "the other's has closed");
    drop(peers);
}

#[test]
fn what_was_handed_over_before_a_shutdown_is_still_told() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |_| {});
    let peers: Vec<Peer> = (0..2).map(|_| world.connect(at())).collect();
    rigs[0].turn();
    rigs[0].turn();
    rigs[0].reactor.handle().shutdown(secs(10));
    settle(&mut rigs);
    peers.iter().for_each(Peer::finish);
    settle(&mut rigs);
    for rig in &mut rigs {
        assert_eq!(rig.log.of(0), ["open", "shutdown", "closed"]);
        assert!(rig.turn().is_stopped);
    }
    assert_eq!(world.open_sockets(), 0);
}

#[test]
fn a_broadcast_reaches_the_members_on_all_reactors() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |_| {});
    let peers: Vec<Peer> = (0..2).map(|_| world.connect(at())).collect();
    settle(&mut rigs);
    let group = crate::Group(5);
    for rig in &mut rigs {
        let slot = rig.log.id(0).slot();
        rig.reactor.desk().hub.join(slot, group);
    }
    let ticket = rigs[0].reactor.handle().broadcast(crate::Broadcast::new(group, *b"hi")).unwrap();
    rigs[0].settle();
    assert_eq!(ticket.receipt(), None, "one has not answered");
    assert_eq!(ticket.wait(Duration::ZERO), None);
    rigs[1].settle();
    assert_eq!(ticket.receipt().map(|it| it.sent), Some(2));
    assert_eq!(ticket.wait(Duration::ZERO), ticket.receipt());
    assert!(peers.iter().all(|peer| peer.receive() == b"hi"));
}

#[test]
fn a_listener_that_was_woken_in_vain_is_woken_again() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |limits| limits.connections = 2);
    let peers: Vec<Peer> = (0..3).map(|_| world.connect(at())).collect();
    settle(&mut rigs);
    // What becomes free is taken by an outgoing connection before the listener's turn comes.
    peers[1].finish();
    rigs[1].settle();
    let far: Address = "10.0.0.9:9".parse().unwrap();
    world.hold_connects(far.clone());
    let id = rigs[1].dial(far, plain);
    rigs[1].settle();
    rigs[0].settle();
    assert_eq!(rigs[0].log.count(), 1, "full again");
    rigs[1].reactor.desk().abort_other(id).unwrap();
    rigs[1].settle();
    let before = world.now();
    rigs[0].reactor.turn(Some(secs(100))).unwrap();
    assert_eq!(world.now(), before, "woken at once");
    settle(&mut rigs);
    assert_eq!(rigs[0].log.count(), 2);
    drop(peers);
}

/// The first reactor accepts, within a turn that began before it could know of a shutdown.
fn accept_amid_a_turn(rigs: &mut [Rig; 2]) {
    rigs[0].reactor.note_endpoint(0);
    rigs[0].reactor.admit();
}

#[test]
fn what_is_handed_over_to_one_that_is_about_to_stop_is_served() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |_| {});
    settle(&mut rigs);
    let peers: Vec<Peer> = (0..2).map(|_| world.connect(at())).collect();
    rigs[0].reactor.handle().shutdown(secs(10));
    rigs[1].reactor.heed_shutdown();
    accept_amid_a_turn(&mut rigs);
    rigs[1].reactor.note_stopped();
    assert_eq!(rigs[1].log.of(0), ["open", "shutdown"]);
    settle(&mut rigs);
    assert!(peers.iter().all(ended_well));
    drop(peers);
    settle(&mut rigs);
    assert!(rigs.iter_mut().all(|rig| rig.turn().is_stopped));
    assert_eq!(world.open_sockets(), 0);
}

#[test]
fn whoever_would_hand_over_to_one_that_has_stopped_keeps_it() {
    let world = World::new(1);
    let mut rigs = pair(&world, Placement::RoundRobin, |_| {});
    settle(&mut rigs);
    let peers: Vec<Peer> = (0..2).map(|_| world.connect(at())).collect();
    rigs[0].reactor.handle().shutdown(secs(10));
    assert!(rigs[1].turn().is_stopped);
    accept_amid_a_turn(&mut rigs);
    settle(&mut rigs);
    for number in 0..2 {
        assert_eq!(rigs[0].log.of(number), ["open", "shutdown"]);
    }
    assert!(peers.iter().all(ended_well));
}
