//! Scenes of connections that the near side starts.

use super::far::{Far, FarListener, Stage};
use super::{Near, STREAM, Transport};
use crate::base::address::Address;
use crate::sys::{Platform, Readiness, StreamOptions};

mod tests {
    crate::sim::conformance::scenes! {
        [Inet, Unix]:
            connecting_and_talking
            connecting_and_closing_at_once;
        [Inet]:
            connecting_where_nobody_listens;
        [Unix]:
            connecting_to_a_path_that_is_not_there
            connecting_to_an_abstract_name_that_is_not_there;
    }
}

fn connecting_and_talking<S: Stage>(near: &mut Near<S>) {
    let listener = near.stage.listen(near.transport);
    let to = super::as_address(&listener.address());
    let platform = near.stage.platform();
    let mut stream = platform.connect(&to, &StreamOptions::default()).unwrap();
    near.register(&mut stream);
    assert!(near.edges(STREAM).has(Readiness::WRITABLE));
    near.connected(&mut stream, &listener.address());
    near.connected(&mut stream, &listener.address());
    near.read(&mut stream);
    let far = listener.accept();
    near.write(&mut stream, b"hello");
    near.see("far received", far.receive(5));
    far.send(b"hi");
    assert!(near.edges(STREAM).has(Readiness::READABLE));
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
    assert!(near.edges(STREAM).has(Readiness::WRITABLE));
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
