//! Scenes of connections that break: resets, and writing to whoever has left.

use super::far::{Far, Stage};
use super::{Near, STREAM};
use crate::sys::Platform;

mod tests {
    crate::sim::conformance::scenes! {
        [Inet, Unix]:
            closing_with_unread_input
            closing_with_unread_input_behind_our_end
            aborting
            the_peer_closes_with_unread_input
            the_peer_resets
            the_peer_resets_behind_data
            the_peer_resets_behind_its_end
            the_peer_resets_behind_its_end_that_was_read
            the_peer_resets_behind_our_end;
        [Inet]:
            writing_after_the_peer_has_closed
            writing_after_a_reset;
        [Unix]:
            writing_to_a_unix_peer_that_has_closed
            writing_to_a_unix_peer_that_closed_with_unread_input;
    }
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
