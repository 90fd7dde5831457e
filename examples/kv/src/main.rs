//! The server: `cargo run`, and then `nc 127.0.0.1 7700`.

use std::error::Error;
use std::time::Duration;

use kv::{Store, session};
use tidemill::{Limits, NetAddr, Reactor};

fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits { idle: Duration::from_secs(60), ..Limits::default() };
    let mut reactor: Reactor = Reactor::with_limits(limits)?;
    let store = Store::default();
    let service = move |_: &NetAddr| session(store.clone());
    let (_, address) = reactor.listen(&"127.0.0.1:7700".parse()?, service)?;
    println!("listening on {address}");
    reactor.run()?;
    Ok(())
}
