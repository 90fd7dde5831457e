//! Whether all is well.

use std::fmt;

use crate::book::Page;
use crate::target::State;

pub(crate) struct Verdict {
    /// The first round, which counts for what was wrong, and for nothing else.
    pub(crate) warm_up: Page,
    pub(crate) main: Page,
    /// The process before the first client, after the first round, and at the end.
    pub(crate) fresh: State,
    pub(crate) baseline: State,
    pub(crate) end: State,
    /// What the server said.
    pub(crate) log: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.checks().iter().all(|check| check.is_good)
    }

    fn checks(&self) -> Vec<Check> {
        let both = |count: fn(&Page) -> u64| count(&self.warm_up) + count(&self.main);
        let mut checks = vec![
            Check::zero("bytes that were wrong", both(|page| page.wrong_bytes)),
            Check::zero("clients that were not served", both(|page| page.unserved)),
            Check::zero("clients that no limit ended in time", both(|page| page.overdue)),
        ];
        if let Some(count) = self.end.connections {
            checks.push(Check::zero("connections left at the end", count));
        }
        if let Some(count) = self.end.panics {
            checks.push(Check::zero("handlers that panicked", count));
        }
        if let Some((before, after)) = self.baseline.descriptors.zip(self.end.descriptors) {
            let what = format!("descriptors: {before} at the baseline, {after} at the end");
            checks.push(Check { what, is_good: after <= before });
        }
        if let Some((before, after)) = self.baseline.resident_bytes.zip(self.end.resident_bytes) {
            let mib = |bytes: u64| bytes as f64 / 1048576.0;
            let fresh = self.fresh.resident_bytes.map_or(0.0, mib);
            let what = format!(
                "resident memory: {:.1} MiB at the baseline, {:.1} MiB at the end \
                 ({fresh:.1} MiB before the first client)",
                mib(before),
                mib(after),
            );
            let most = before + (before / 10).max(RESIDENT_SLACK);
            checks.push(Check { what, is_good: after <= most });
        }
        checks
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = &self.main;
        writeln!(
            f,
            "{} connections, {} exchanges, {:.1} MB came back",
            page.connections(),
            page.exchanges,
            page.bytes as f64 / 1e6
        )?;
        let lives: Vec<String> =
            page.lives().map(|(kind, count)| format!("{} {count}", kind.name())).collect();
        writeln!(f, "clients by kind: {}", lives.join(", "))?;
        let (sent, answered) = (page.datagrams_sent, page.datagrams_answered);
        writeln!(f, "datagrams: {sent} sent, {answered} answered (too many at once are lost)")?;
        writeln!(
            f,
            "quiet connections beside a hot one: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, \
             worst {:.1} ms",
            page.quiet_ms(50.0),
            page.quiet_ms(99.0),
            page.quiet_ms(99.9),
            page.quiet_ms(100.0),
        )?;
        for check in self.checks() {
            writeln!(f, "{} {}", if check.is_good { "ok    " } else { "FAILED" }, check.what)?;
        }
        for complaint in self.warm_up.complaints.iter().chain(&page.complaints) {
            writeln!(f, "  {complaint}")?;
        }
        if !self.log.is_empty() {
            writeln!(f, "the server's log ({} lines, the first of them):", self.log.len())?;
            for line in self.log.iter().take(LOG_LINES_SHOWN) {
                writeln!(f, "  {line}")?;
            }
        }
        f.write_str(if self.is_good() { "all is well" } else { "all is NOT well" })
    }
}

struct Check {
    what: String,
    is_good: bool,
}

impl Check {
    fn zero(what: &str, count: u64) -> Check {
        Check { what: format!("{what}: {count}"), is_good: count == 0 }
    }
}

/// Of memory that moves by a page here and there.
const RESIDENT_SLACK: u64 = 2 << 20;
const LOG_LINES_SHOWN: usize = 20;
