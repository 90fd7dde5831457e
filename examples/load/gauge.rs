//! What the server's process uses, as proc(5) tells it.

use std::fs;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// A process to look at.
pub(crate) struct Gauge {
    pid: u32,
}

/// What it has used so far.
pub(crate) struct Reading {
    cpu: Duration,
    switches: [u64; 2],
    pub(crate) resident_bytes: u64,
}

/// What it used between two readings.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// On processors, of all its threads.
    pub(crate) cpu: Duration,
    /// Threads that waited, and threads that were made to.
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    pub(crate) resident_before: u64,
    pub(crate) resident_after: u64,
}

impl Gauge {
    /// # Errors
    /// There is no such process.
    pub(crate) fn new(pid: u32) -> io::Result<Gauge> {
        let gauge = Gauge { pid };
        gauge.read()?;
        Ok(gauge)
    }

    pub(crate) fn read(&self) -> io::Result<Reading> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("--pid {}: {error}", self.pid));
        let (mut nanos, mut switches) = (0, [0, 0]);
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).map_err(named)? {
            let path = task?.path();
            let Ok(schedstat) = fs::read_to_string(path.join("schedstat")) else { continue };
            nanos += schedstat.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
            switches[0] += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            switches[1] += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        // Threads that have ended are counted in the whole only, which is told in hundredths of a
        // second (USER_HZ), and cut off.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).map_err(named)?;
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |at| -> Option<u64> { behind_name.split_whitespace().nth(at)?.parse().ok() };
        let whole = ticks(UTIME).zip(ticks(STIME)).map_or(0, |(user, system)| user + system);
        nanos = nanos.max(whole * 10_000_000);
        // VmRSS may lag behind; a roll-up counts pages.
        let exact = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok();
        let resident = match exact.as_deref().and_then(|text| field(text, "Rss:")) {
            Some(kib) => kib,
            None => {
                let status = fs::read_to_string(format!("/proc/{}/status", self.pid));
                field(&status.map_err(named)?, "VmRSS:").ok_or(ErrorKind::InvalidData)?
            }
        };
        let cpu = Duration::from_nanos(nanos);
        Ok(Reading { cpu, switches, resident_bytes: resident * 1024 })
    }
}

impl Reading {
    pub(crate) fn since(&self, earlier: &Reading) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            voluntary_switches: self.switches[0].saturating_sub(earlier.switches[0]),
            involuntary_switches: self.switches[1].saturating_sub(earlier.switches[1]),
            resident_before: earlier.resident_bytes,
            resident_after: self.resident_bytes,
        }
    }
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of `stat`, counted from behind the name, which is the second.
const UTIME: usize = 11;
const STIME: usize = 12;
