//! Scenes of one connection.

use super::far::{Far, FarListener, Stage};
use super::{Near, STREAM, Transport};
use crate::base::address::Address;
use crate::sys::{Platform, Readiness, StreamOptions};

const READABLE: Readiness = Readiness::READABLE;
const WRITABLE: Readiness = Readiness::WRITABLE;

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
            closing_with_unread_input
            closing_with_unread_input_behind_our_end
            aborting
            the_peer_closes_with_unread_input
            the_peer_resets
            the_peer_resets_behind_data
            the_peer_resets_behind_its_end
            the_peer_resets_behind_its_end_that_was_read
            the_peer_resets_behind_our_end
            reading_after_the_peer_has_closed
            connecting_and_talking
            connecting_and_closing_at_once;
        [Inet]:
            urgent_data_between_data
            urgent_data_alone
            writing_after_the_peer_has_closed
            writing_after_a_reset
            connecting_where_nobody_listens;
        [Unix]:
            writing_to_a_unix_peer_that_has_closed
            writing_to_a_unix_peer_that_closed_with_unread_input
            connecting_to_a_path_that_is_not_there
            connecting_to_an_abstract_name_that_is_not_there;
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
    assert!(near.edges(STREAM).has(WRITABLE));
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

fn closing_with_unread_input<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.write(&mut stream, b"reply");
    far.send(b"unread");
    near.edges(STREAM);
    near.close(stream);
    near.see("far end", far.end());
}

fn closing_with_unread_input_behind_our_end<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.write(&mut stream, b"reply");
    near.finish(&mut stream);
    near.see("far received", far.receive(5));
    far.send(b"unread");
    near.edges(STREAM);
    near.close(stream);
    near.see("far end", far.end());
}

fn aborting<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.write(&mut stream, b"reply");
    near.see("far received", far.receive(5));
    near.stage.platform().abort(stream);
    near.see("far end", far.end());
}

fn the_peer_closes_with_unread_input<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.write(&mut stream, b"unread");
    near.write(&mut stream, b"at least the first");
    near.see("far received", far.receive(1));
    far.send(b"rude");
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    drop(far);
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
}

fn the_peer_resets<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.reset();
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
    near.finish(&mut stream);
}

fn the_peer_resets_behind_data<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"last");
    far.reset();
    near.edges(STREAM);
    near.read_at_most(&mut stream, 2);
    near.read(&mut stream);
    near.read(&mut stream);
    near.read(&mut stream);
}

fn the_peer_resets_behind_its_end<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"last");
    far.finish();
    far.reset();
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
    near.read(&mut stream);
    near.write(&mut stream, b"x");
}

fn the_peer_resets_behind_its_end_that_was_read<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.finish();
    near.edges(STREAM);
    near.read(&mut stream);
    near.fill(&mut stream);
    far.reset();
    near.edges(STREAM);
    near.write(&mut stream, b"x");
    near.write(&mut stream, b"x");
    near.read(&mut stream);
}

fn the_peer_resets_behind_our_end<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.finish(&mut stream);
    near.see("far end", far.end());
    far.reset();
    near.edges(STREAM);
    near.read(&mut stream);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
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

fn connecting_and_talking<S: Stage>(near: &mut Near<S>) {
    let listener = near.stage.listen(near.transport);
    let to = super::as_address(&listener.address());
    let platform = near.stage.platform();
    let mut stream = platform.connect(&to, &StreamOptions::default()).unwrap();
    near.register(&mut stream);
    assert!(near.edges(STREAM).has(WRITABLE));
    near.connected(&mut stream, &listener.address());
    near.connected(&mut stream, &listener.address());
    near.read(&mut stream);
    let far = listener.accept();
    near.write(&mut stream, b"hello");
    near.see("far received", far.receive(5));
    far.send(b"hi");
    assert!(near.edges(STREAM).has(READABLE));
    near.read(&mut stream);
    near.close(stream);
    near.see("far end", far.end());
}

fn connecting_and_closing_at_once<S: Stage>(near: &mut Near<S>) {
    let listener = near.stage.listen(near.transport);
    let to = super::as_address(&listener.address());
    let platform = near.stage.platform();
    let mut stream = platform.connect(&to, &StreamOptions::default()).unwrap();
    near.register(&mut stream);
    near.edges(STREAM);
    near.connected(&mut stream, &listener.address());
    near.close(stream);
    near.see("far end", listener.accept().end());
}

fn connecting_where_nobody_listens<S: Stage>(near: &mut Near<S>) {
    let listener = near.stage.listen(Transport::Inet);
    let nobody = listener.address();
    let to = super::as_address(&nobody);
    drop(listener);
    let platform = near.stage.platform();
    let mut stream = platform.connect(&to, &StreamOptions::default()).unwrap();
    near.register(&mut stream);
    assert!(near.edges(STREAM).has(WRITABLE));
    near.connected(&mut stream, &nobody);
    near.read(&mut stream);
    near.write(&mut stream, b"x");
    near.close(stream);
}

fn connecting_to_a_path_that_is_not_there<S: Stage>(near: &mut Near<S>) {
    let (listener, address) = near.listen();
    let options = StreamOptions::default();
    near.stage.platform().close_listener(listener);
    let _ = near.ask("connect", |platform| platform.connect(&address, &options).map(drop));
}

fn connecting_to_an_abstract_name_that_is_not_there<S: Stage>(near: &mut Near<S>) {
    let nobody = Address::Abstract(format!("tidemill-nobody-{}", std::process::id()).into());
    let options = StreamOptions::default();
    let _ = near.ask("connect", |platform| platform.connect(&nobody, &options).map(drop));
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

fn writing_after_the_peer_has_closed<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"bye");
    drop(far);
    near.edges(STREAM);
    near.write(&mut stream, b"x");
    near.edges(STREAM);
    near.write(&mut stream, b"x");
    near.write(&mut stream, b"x");
    near.read(&mut stream);
    near.read(&mut stream);
}

fn writing_after_a_reset<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.reset();
    near.edges(STREAM);
    near.write(&mut stream, b"x");
    near.write(&mut stream, b"x");
    near.read(&mut stream);
}

fn writing_to_a_unix_peer_that_has_closed<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    far.send(b"bye");
    drop(far);
    near.edges(STREAM);
    near.write(&mut stream, b"x");
    near.read(&mut stream);
    near.read(&mut stream);
    near.finish(&mut stream);
}

fn writing_to_a_unix_peer_that_closed_with_unread_input<S: Stage>(near: &mut Near<S>) {
    let (mut stream, far) = near.connection();
    near.read(&mut stream);
    near.write(&mut stream, b"unread");
    drop(far);
    near.edges(STREAM);
    near.write(&mut stream, b"x");
    near.read(&mut stream);
    near.read(&mut stream);
}
