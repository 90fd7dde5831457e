//! A network that loses, delays, doubles and disorders what is sent.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::process::Command;
use std::thread;

use super::common::process::{Process, server};
use super::common::*;
use super::{Held, LISTENERS, assert_settled};

/// Loopback in a network of its own, where packets are lost, late, doubled and out of order; or, in
/// want of netem, where a queue too short for what is sent drops them.
#[test]
#[ignore = "long"]
fn on_a_bad_network_every_byte_arrives() {
    const NAME: &str = "network::on_a_bad_network_every_byte_arrives";
    const CHILD: &str = "TIDEMILL_TEST_BAD_NETWORK";
    if std::env::var_os(CHILD).is_some() {
        return serve_on_a_bad_network();
    }
    let prepare = "ip link set lo mtu 1500 up && \
        { tc qdisc add dev lo root netem loss 2% delay 2ms 1ms duplicate 1% reorder 20% || \
          tc qdisc add dev lo root tbf rate 40mbit burst 16kb latency 1ms; } 2>/dev/null && \
        tc qdisc show dev lo || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", prepare, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--ignored", "--nocapture"]).env(CHILD, "1");
    match command.output() {
        Ok(output) if output.status.success() => {
            eprint!("{}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(output) if !matches!(output.status.code(), Some(1 | 77)) => panic!("{output:?}"),
        _ => eprintln!("skipped: there is no right to a network of one's own, or no tc"),
    }
}

fn serve_on_a_bad_network() {
    let process = Process::serve(&mut server(&LISTENERS), 4);
    let before = Held::by(&process);
    let to = process.inet(0);
    let talk = move |seed: u64| {
        let mut client = connect(to);
        let (mut sent, mut came) = (Pattern::new(seed), Pattern::new(seed));
        for _ in 0..30 {
            let mut count = 0;
            for _ in 0..3 {
                let piece = sent.next(20_000);
                client.write_all(piece).unwrap();
                count += piece.len();
            }
            came.check(&read(&mut client, count));
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert!(read_to_end(&mut client).is_empty());
    };
    let clients: Vec<_> = (0..10).map(|seed| thread::spawn(move || talk(seed))).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let counts = fs::read_to_string("/proc/net/snmp").unwrap();
    let rows: Vec<_> = counts.lines().filter(|line| line.starts_with("Tcp:")).collect();
    let column = rows[0].split(' ').position(|name| name == "RetransSegs").unwrap();
    let count: u64 = rows[1].split(' ').nth(column).unwrap().parse().unwrap();
    eprintln!("{count} segments were sent again");
    assert!(count > 0, "the network was not that bad");
    until("all are gone", || process.metric("tidemill_connections") == 0);
    assert_eq!(process.metric("tidemill_panics_total"), 0);
    assert_settled(&process, before);
    process.stop();
}
