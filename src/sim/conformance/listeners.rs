//! Scenes of listeners and of those who wait before them.

use super::far::{Far, Stage};
use super::{LISTENER, Near, STREAM};
use crate::base::address::NetAddr;
use crate::sys::{DatagramOptions, ListenOptions, Platform, Readiness, Socket, StreamOptions};

mod tests {
    crate::sim::conformance::scenes! {
        [Inet, Unix]:
            one_edge_for_several_who_connect
            accepting_to_would_block_and_one_more
            a_connection_that_was_closed_before_it_was_accepted
            a_connection_that_was_reset_before_it_was_accepted
            closing_with_a_connection_in_the_queue
            an_address_that_is_taken;
        [Unix]:
            a_full_queue_answers_at_once;
    }
}

/// In the order in which they came; which Unix clients, nameless, tell by what they send.
fn one_edge_for_several_who_connect<S: Stage>(near: &mut Near<S>) {
    let (mut listener, address) = near.listen();
    let fars = [b"1", b"2", b"3"].map(|name| {
        let far = near.stage.connect(&address);
        far.send(name);
        far
    });
    assert!(near.edges(LISTENER).has(Readiness::READABLE));
    for far in &fars {
        let mut stream = near.accept(&mut listener, far).unwrap();
        near.register(&mut stream);
        near.edges(STREAM);
        near.read(&mut stream);
        near.close(stream);
    }
    assert!(near.accept(&mut listener, &fars[0]).is_err());
    near.no_edges(LISTENER);
}

fn accepting_to_would_block_and_one_more<S: Stage>(near: &mut Near<S>) {
    let (mut listener, address) = near.listen();
    for _ in 0..2 {
        let far = near.stage.connect(&address);
        assert!(near.edges(LISTENER).has(Readiness::READABLE));
        near.no_edges(LISTENER);
        let stream = near.accept(&mut listener, &far).unwrap();
        assert!(near.accept(&mut listener, &far).is_err());
        near.close(stream);
        near.see("far end", far.end());
    }
}

fn a_connection_that_was_closed_before_it_was_accepted<S: Stage>(near: &mut Near<S>) {
    let (mut listener, address) = near.listen();
    let far = near.stage.connect(&address);
    far.send(b"gone");
    near.edges(LISTENER);
    let from = far.address();
    drop(far);
    let mut stream = None;
    let _ = near.ask("accept", |platform| {
        let mut peer = NetAddr::Unnamed;
        stream = Some(platform.accept(&mut listener, &mut peer)?);
        Ok(peer == from)
    });
    let mut stream = stream.unwrap();
    near.register(&mut stream);
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
}

fn a_connection_that_was_reset_before_it_was_accepted<S: Stage>(near: &mut Near<S>) {
    let (mut listener, address) = near.listen();
    let far = near.stage.connect(&address);
    near.edges(LISTENER);
    let from = far.address();
    far.reset();
    let mut stream = None;
    let _ = near.ask("accept", |platform| {
        let mut peer = NetAddr::Unnamed;
        stream = Some(platform.accept(&mut listener, &mut peer)?);
        Ok(peer == from)
    });
    let mut stream = stream.unwrap();
    near.register(&mut stream);
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
}

fn closing_with_a_connection_in_the_queue<S: Stage>(near: &mut Near<S>) {
    let (listener, address) = near.listen();
    let far = near.stage.connect(&address);
    near.edges(LISTENER);
    near.stage.platform().close_listener(listener);
    near.see("far end", far.end());
}

fn an_address_that_is_taken<S: Stage>(near: &mut Near<S>) {
    let (_listener, address) = near.listen();
    let options = ListenOptions::default();
    let _ = near.ask("listen", |platform| platform.listen(&address, &options).map(drop));

    let wanted = near.stage.address(near.transport);
    let options = DatagramOptions::default();
    let socket = near.stage.platform().bind_datagram(&wanted, &options).unwrap();
    let taken = super::as_address(&socket.local_addr().unwrap());
    let _ = near.ask("bind", |platform| platform.bind_datagram(&taken, &options).map(drop));
}

/// How many fit differs; the answer to one more does not.
fn a_full_queue_answers_at_once<S: Stage>(near: &mut Near<S>) {
    let wanted = near.stage.address(near.transport);
    let options = ListenOptions { backlog: 2, ..ListenOptions::default() };
    let listener = near.stage.platform().listen(&wanted, &options).unwrap();
    assert!(matches!(listener.local_addr(), Ok(NetAddr::Path(_))));
    let mut streams = Vec::new();
    let _ = near.ask("connect", |platform| -> std::io::Result<()> {
        loop {
            streams.push(platform.connect(&wanted, &StreamOptions::default())?);
            assert!(streams.len() < 16);
        }
    });
}
