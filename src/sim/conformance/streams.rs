//! Scenes of one connection that goes well.

use super::far::{Far, Stage};
use super::{Near, STREAM};
use crate::sys::Readiness;

mod tests {
    crate::sim::conformance::scenes! {
        [Inet, Unix]:
            bytes_arrive_and_are_answered
            data_then_fin
            fin_alone
            data_and_fin_before_the_registration
            an_edge_comes_for_each_arrival_after_would_block
            a_short_read_and_more_data
            small_reads_need_no_edge
            our_end_does_not_stop_the_peers
            finishing_twice
            the_peers_end_does_not_stop_ours
            both_ends_are_finished
            a_full_pipe_is_drained
            finishing_behind_a_full_pipe
            closing_behind_a_full_pipe
            closing_with_nothing_unread
            reading_after_the_peer_has_closed;
        [Inet]:
            urgent_data_between_data
            urgent_data_alone;
    }
}

fn bytes_arrive_and_are_answered<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.no_edges(STREAM);
    far.send(b"question");
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"answer");
    near.see("far received", far.receive(6));
    near.close(stream);
    near.see("far end", far.end());
}

fn data_then_fin<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"last words");
    far.finish();
    near.edges(STREAM);
    near.read_at_most(&mut stream, 4);
    near.read(&mut stream);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"heard");
    near.finish(&mut stream);
    near.see("far end", far.end());
}

fn fin_alone<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.finish();
    near.edges(STREAM);
    near.read(&mut stream);
}

fn data_and_fin_before_the_registration<S: Stage>(near: &mut Near<S>) {
    let (mut listener, address) = near.listen();
    let far = near.stage.connect(&address);
    far.send(b"early");
    far.finish();
    let mut stream = near.accept(&mut listener, &far).unwrap();
    near.register(&mut stream);
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
}

fn an_edge_comes_for_each_arrival_after_would_block<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    for _ in 0..3 {
        near.read(&mut stream);
        near.no_edges(STREAM);
        far.send(b"x");
        near.edges(STREAM);
        near.no_edges(STREAM);
        near.read(&mut stream);
    }
}

/// Only where short reads drain does a reactor stop here; elsewhere no edge is promised.
fn a_short_read_and_more_data<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"one");
    near.edges(STREAM);
    near.read(&mut stream);
    far.send(b"two");
    near.edges(STREAM);
    near.read(&mut stream);
    far.finish();
    near.edges(STREAM);
    near.read(&mut stream);
}

fn small_reads_need_no_edge<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"abc");
    near.edges(STREAM);
    for _ in 0..4 {
        near.read_at_most(&mut stream, 1);
        near.no_edges(STREAM);
    }
}

fn our_end_does_not_stop_the_peers<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.finish(&mut stream);
    near.see("far end", far.end());
    near.write(&mut stream, b"x");
    near.read(&mut stream);
    far.send(b"still here");
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
}

fn finishing_twice<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.finish(&mut stream);
    near.finish(&mut stream);
    near.see("far end", far.end());
}

fn the_peers_end_does_not_stop_ours<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.finish();
    near.edges(STREAM);
    near.read(&mut stream);
    near.write(&mut stream, b"one");
    near.see("far received", far.receive(3));
    near.write(&mut stream, b"two");
    near.close(stream);
    near.see("far end", far.end());
}

fn both_ends_are_finished<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.finish(&mut stream);
    near.see("far end", far.end());
    far.finish();
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
    near.finish(&mut stream);
    drop(far);
    near.read(&mut stream);
}

fn a_full_pipe_is_drained<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    let total = near.fill(&mut stream);
    near.edges(STREAM); // the kernel's buffers may still have been growing
    let total = total + near.fill(&mut stream);
    assert_eq!(far.receive(total).len(), total);
    assert!(near.edges(STREAM).has(Readiness::WRITABLE));
    near.write(&mut stream, b"x");
    near.see("far received", far.receive(1));
}

fn finishing_behind_a_full_pipe<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    let total = near.fill(&mut stream);
    near.finish(&mut stream);
    near.write(&mut stream, b"x");
    let (bytes, end) = far.end();
    near.see("far end", (bytes.len() == total, end));
}

fn closing_behind_a_full_pipe<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    let total = near.fill(&mut stream);
    near.close(stream);
    let (bytes, end) = far.end();
    near.see("far end", (bytes.len() == total, end));
}

fn closing_with_nothing_unread<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    far.send(b"read");
    near.edges(STREAM);
    near.read(&mut stream);
    near.write(&mut stream, b"reply");
    near.close(stream);
    near.see("far end", far.end());
}

fn reading_after_the_peer_has_closed<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"bye");
    drop(far);
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.read(&mut stream);
}

fn urgent_data_between_data<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"before");
    far.send_urgent();
    far.send(b"after");
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.read(&mut stream);
    far.send(b"more");
    near.edges(STREAM);
    near.read(&mut stream);
}

fn urgent_data_alone<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send_urgent();
    near.edges(STREAM);
    near.read(&mut stream);
    far.send(b"after");
    far.finish();
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
}
