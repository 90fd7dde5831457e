//! No sockets, no threads, no waiting.

use std::time::Duration;

use kv::{KEYS_MAX, Request, Requests, Store, session};
use tidemill::testing::{self, Harness};

/// What is said, as text. Where that changes on purpose, the failure shows the new one.
#[test]
fn a_session_reads_like_this() {
    let mut harness: Harness = Harness::new(session(Store::default()));
    harness
        .bytes(b"SET color 5\r\ngreen\r\n")
        .bytes(b"GET color\r\nGET size\r\nDEL co")
        .advance(Duration::from_secs(2))
        .bytes(b"lor\r\nGET color\r\nSHOUT\r\nGET color\r\n")
        .eof();
    harness.assert_transcript(include_str!("session.txt"));
}

#[test]
fn half_a_request_ends_after_thirty_seconds() {
    let mut harness: Harness = Harness::new(session(Store::default()));
    harness.bytes(b"SET color 5\r\ngre").advance(Duration::from_secs(30));
    assert!(harness.has_ended());
    assert_eq!(harness.end(), "timed out: unfinished message");
}

#[test]
fn a_full_store_takes_no_further_keys() {
    let mut harness: Harness = Harness::new(session(Store::default()));
    for key in 0..KEYS_MAX {
        harness.bytes(format!("SET {key} 0\r\n\r\n").as_bytes());
    }
    harness.take_written();
    assert_eq!(harness.bytes(b"SET more 0\r\n\r\n").take_written(), b"FULL\r\n");
    assert_eq!(harness.bytes(b"SET 7 1\r\n!\r\n").take_written(), b"OK\r\n");
}

/// What no fuzzer can know: that these are the right ones.
#[test]
fn the_right_requests_are_found() {
    let input = b"SET k 2\r\n\r\n\r\nGET k\r\n";
    let key = |request: Request<'_>| match request {
        Request::Set { key, value } => (key.to_vec(), value.to_vec()),
        Request::Get { key } => (key.to_vec(), Vec::new()),
        other => panic!("{other:?}"),
    };
    let reading = testing::cuts(Requests::default, input, [], key);
    let frames = [(13, (b"k".to_vec(), b"\r\n".to_vec())), (20, (b"k".to_vec(), Vec::new()))];
    assert_eq!(reading.frames, frames);
}

// What fuzzers have found worth keeping, one line for each target.

#[test]
fn corpus_of_requests() {
    testing::replay("fuzz/corpus/requests", |data| testing::decoder(Requests::default, data));
}

#[test]
fn corpus_of_sessions() {
    testing::replay("fuzz/corpus/session", |data| {
        testing::handler(|| session(Store::default()), data)
    });
}
