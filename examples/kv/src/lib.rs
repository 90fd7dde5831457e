//! Keys and values over TCP: a small protocol of one's own, and how it is tested.
//!
//! | request | answer |
//! |---|---|
//! | `SET key 5␍␊hello␍␊` | `OK␍␊`, or `FULL␍␊` |
//! | `GET key␍␊` | `VALUE 5␍␊hello␍␊`, or `NONE␍␊` |
//! | `DEL key␍␊` | `OK␍␊`, or `NONE␍␊` |
//! | `QUIT␍␊` | the end |
//!
//! What is none of these is answered by `ERROR`, a reason, and the end. [`Requests`] finds the
//! requests in a stream, [`Session`] answers them, and neither knows a socket: `tests/` and `fuzz/`
//! drive the same code as `main.rs`.

mod request;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tidemill::{Context, Fault, FrameHandler, Framed};

pub use request::{Request, RequestError, Requests};

/// What all connections of one reactor share.
pub type Store = Rc<RefCell<BTreeMap<Vec<u8>, Vec<u8>>>>;

/// One connection.
pub struct Session {
    store: Store,
}

/// The handler of a new connection.
pub fn session(store: Store) -> Framed<Requests, Session> {
    Framed::new(Requests::default(), Session { store })
}

impl FrameHandler<Requests> for Session {
    fn on_frame(&mut self, cx: &mut Context<'_>, request: Request<'_>) -> Result<(), Fault> {
        let mut store = self.store.borrow_mut();
        match request {
            Request::Get { key } => match store.get(key) {
                Some(value) => {
                    cx.write(format!("VALUE {}\r\n", value.len()).as_bytes());
                    cx.write(value);
                    cx.write(b"\r\n");
                }
                None => cx.write(b"NONE\r\n"),
            },
            Request::Set { key, .. } if store.len() == KEYS_MAX && !store.contains_key(key) => {
                cx.write(b"FULL\r\n");
            }
            Request::Set { key, value } => {
                store.insert(key.to_vec(), value.to_vec());
                cx.write(b"OK\r\n");
            }
            Request::Del { key } => {
                let is_known = store.remove(key).is_some();
                cx.write(if is_known { b"OK\r\n" } else { b"NONE\r\n" });
            }
            Request::Quit => cx.close(),
        }
        Ok(())
    }

    fn on_decode_error(&mut self, cx: &mut Context<'_>, error: &RequestError) {
        cx.write(format!("ERROR {error}\r\n").as_bytes());
    }
}

/// In the store: with keys and values as long as they may be, a little over a megabyte.
pub const KEYS_MAX: usize = 1000;
