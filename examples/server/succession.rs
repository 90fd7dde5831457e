//! A restart in which nobody is refused: sockets that are there already, and those that are left
//! to the process that comes next.

use std::env;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;
use tidemill::Handle;
use tidemill::server::Handover;
use tidemill::sys::{Inherited, InheritedKind, inherited, notify, successor};

use crate::options::Kind;

/// What the process was started with, by a service manager or the one before it.
#[derive(Default)]
pub(crate) struct Inheritance {
    pub(crate) sockets: Vec<(Kind, Inherited)>,
    pub(crate) metrics: Vec<Inherited>,
    /// Where the one before it is told that this one serves.
    ready: Option<UnixDatagram>,
}

impl Inheritance {
    /// Takes it, where that is asked for, or where it comes from the process before this one.
    pub(crate) fn take(is_asked_for: bool) -> Result<Inheritance, String> {
        let passed = inherited().map_err(|error| format!("--inherit: {error}"))?;
        let is_successor = passed.iter().any(|it| it.name() == READY);
        if !is_asked_for && !is_successor {
            if !passed.is_empty() {
                log::warn!("{} sockets were passed on in vain, without --inherit", passed.len());
            }
            return Ok(Inheritance::default());
        }
        if passed.is_empty() {
            return Err("--inherit: no socket was passed on (see sd_listen_fds(3))".to_owned());
        }
        let mut all = Inheritance::default();
        for it in passed {
            match (it.name(), it.kind()) {
                ("echo", InheritedKind::Listener) => all.sockets.push((Kind::Echo, it)),
                ("line", InheritedKind::Listener) => all.sockets.push((Kind::Line, it)),
                ("length", InheritedKind::Listener) => all.sockets.push((Kind::Length, it)),
                ("udp", InheritedKind::Datagram) => all.sockets.push((Kind::Udp, it)),
                ("metrics", InheritedKind::Listener) => all.metrics.push(it),
                (READY, InheritedKind::Datagram) => {
                    all.ready = Some(UnixDatagram::from(OwnedFd::from(it)));
                }
                (name, kind) => {
                    let name = name.escape_debug();
                    let known = "echo, line, length, udp or metrics";
                    return Err(format!("--inherit: “{name}” is no name for a {kind:?}: {known}"));
                }
            }
        }
        Ok(all)
    }

    /// Whether this process takes the place of one that was started with the same options.
    pub(crate) fn is_succession(&self) -> bool {
        self.ready.is_some()
    }

    /// Has the one before it end.
    pub(crate) fn tell_ready(&self) {
        let Some(ready) = &self.ready else { return };
        if let Err(error) = ready.send(b"READY=1") {
            log::warn!("the process before this one could not be told: {error}");
        }
    }
}

/// What is left to the next process.
pub(crate) struct Estate {
    pub(crate) program: PathBuf,
    /// By the number of a listing: its name.
    pub(crate) names: Vec<&'static str>,
    pub(crate) sockets: Handover,
    pub(crate) metrics: Option<Handover>,
    /// Those that end once the next one serves, with the time they have.
    pub(crate) handles: Vec<Handle>,
    pub(crate) patience: Duration,
    pub(crate) grace: Duration,
}

impl Estate {
    /// Has SIGUSR2 pass all on. Once this process is to end in another way, nothing is: then
    /// clients should not queue at sockets that nobody serves.
    pub(crate) fn pass_on_at_signal(self) -> io::Result<()> {
        let mut signals = Signals::new([SIGUSR2, SIGINT, SIGTERM])?;
        let wait = move || {
            for signal in &mut signals {
                if signal != SIGUSR2 {
                    return;
                }
                match self.start_next() {
                    Ok(child) => return self.leave_to(&child),
                    Err(error) => log::error!("the next process does not serve: {error}"),
                }
            }
        };
        thread::Builder::new().name("succession".to_owned()).spawn(wait)?;
        Ok(())
    }

    fn start_next(&self) -> Result<Child, Box<dyn Error>> {
        let (ours, theirs) = UnixDatagram::pair()?;
        ours.set_read_timeout(Some(Duration::from_millis(50)))?;
        let sockets = self.sockets.sockets().map(|(listing, fd)| (self.names[listing], fd));
        let metrics = self.metrics.iter().flat_map(Handover::sockets);
        let all =
            sockets.chain(metrics.map(|(_, fd)| ("metrics", fd))).chain([(READY, theirs.as_fd())]);
        let mut child = successor(&self.program, env::args_os().skip(1), all)?.spawn()?;
        let start = Instant::now();
        while ours.recv(&mut [0; 16]).is_err() {
            if let Some(status) = child.try_wait()? {
                return Err(format!("it ended, with {status}").into());
            }
            if start.elapsed() > START_MAX {
                let _ = child.kill(); // it may have ended just now
                child.wait()?;
                return Err(format!("it was not ready after {START_MAX:?}").into());
            }
        }
        Ok(child)
    }

    fn leave_to(self, child: &Child) {
        log::info!("process {} takes over", child.id());
        if let Err(error) = notify(&format!("MAINPID={}", child.id())) {
            log::warn!("the service manager could not be told: {error}");
        }
        self.sockets.conclude();
        self.metrics.into_iter().for_each(Handover::conclude);
        for handle in self.handles {
            handle.wind_down(self.patience, self.grace);
        }
    }
}

/// The name of the socket by which a process tells the one before it that it serves.
const READY: &str = "ready";

const START_MAX: Duration = Duration::from_secs(30);
