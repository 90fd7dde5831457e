//! The watchdog, over a reactor that is really stuck.
//!
//! In a file of its own: there is one logger for a process.

mod common;

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use tidemill::{Context, Fault, NetAddr, Server, StreamHandler};

/// Passes on what is logged.
struct Tell(Mutex<Sender<String>>);

impl log::Log for Tell {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = self.0.lock().unwrap().send(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Returns only once it is told to.
struct Stuck(Arc<Mutex<Receiver<()>>>);

impl StreamHandler for Stuck {
    fn on_bytes(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Result<usize, Fault> {
        self.0.lock().unwrap().recv_timeout(PATIENCE)?;
        cx.write(input);
        Ok(input.len())
    }
}

#[test]
fn a_callback_is_named_while_it_is_stuck_and_the_metrics_are_there() {
    let (line, lines) = mpsc::channel();
    log::set_boxed_logger(Box::new(Tell(Mutex::new(line)))).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let (release, released) = mpsc::channel();
    let released = Arc::new(Mutex::new(released));
    let service = move |_: &NetAddr| Stuck(released.clone());
    let threshold = Duration::from_millis(20);
    let server = start(Server::builder().watchdog(threshold).listen(any(), service));
    let mut client = connect(inet(&server, 0));
    std::io::Write::write_all(&mut client, b"hello").unwrap();

    let told = told(&lines);
    assert!(told.starts_with("on_bytes of 0/0 with 5 bytes has held the loop up for"), "{told}");
    assert_eq!(server.handle().metrics().counters.read_bytes, 5, "although it is stuck");
    release.send(()).unwrap();
    assert_eq!(read(&mut client, 5), b"hello");
    loop {
        // The reactor's own report may come as well, if it took so long.
        let line = common::told(&lines);
        if line.starts_with("on_bytes of 0/0 with 5 bytes went on after about") {
            break;
        }
        assert!(line.contains("held the loop up for"), "{line}");
    }
    drop(client);
    stop(server);
}
