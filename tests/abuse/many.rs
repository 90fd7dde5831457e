//! More connections than there usually are: at once, and one after another.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::common::process::{Process, server};
use super::common::*;
use super::{Held, LISTENERS, assert_settled};

/// Connects from one of the many addresses of the loopback: the ports of one would not do.
fn connect_from(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = Ipv4Addr::new(127, 1, (number / 250 % 250) as u8, 1 + (number % 250) as u8);
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_patience();
    stream
}

#[test]
#[ignore = "long"]
fn after_a_burst_of_ten_thousand_connections_their_memory_is_back() {
    const BURST: usize = 10_000;
    if tidemill::sys::descriptor_limit() < BURST as u64 + 300 {
        eprintln!("skipped: this takes {BURST} descriptors and some");
        return;
    }
    let process = Process::serve(&mut server(&LISTENERS), 4);
    let before = Held::by(&process);
    let mut clients: Vec<_> =
        (0..BURST).map(|number| connect_from(number, process.inet(0))).collect();
    for client in &mut clients {
        client.write_all(&[7; 1000]).unwrap();
    }
    for client in &mut clients {
        assert_eq!(read(client, 1000), [7; 1000]);
    }
    let amid = Held::by(&process);
    assert!(amid.descriptors >= before.descriptors + BURST);
    drop(clients);
    until("all are gone", || process.metric("tidemill_connections") == 0);
    let after = Held::by(&process);
    eprintln!("before {before:?}, amid {amid:?}, after {after:?}");
    assert_settled(&process, before);
}

/// `ABUSE_CHURN` says how many connections; 40,000 by default.
#[test]
#[ignore = "long"]
fn connections_that_come_and_go_leave_nothing() {
    let count = std::env::var("ABUSE_CHURN").map_or(40_000, |text| text.parse().unwrap());
    let process = Process::serve(&mut server(&LISTENERS), 4);
    let to = process.inet(0);
    let churn = |count: usize| {
        let life = |number: usize| {
            let mut client = connect_from(number, to);
            exchange(&mut client, b"hello");
            // Half of them in good order, half by a reset.
            if number % 2 == 0 {
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            }
        };
        thread::scope(|scope| {
            for first in 0..4 {
                scope.spawn(move || (first..count).step_by(4).for_each(life));
            }
        });
        until("all are gone", || process.metric("tidemill_connections") == 0);
    };
    let before = Held::by(&process);
    churn(1000);
    let start = Instant::now();
    churn(count);
    let after = Held::by(&process);
    eprintln!("{count} connections in {:?}: before {before:?}, after {after:?}", start.elapsed());
    assert_eq!(process.metric("tidemill_panics_total"), 0);
    assert_settled(&process, before);
}
