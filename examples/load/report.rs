//! The outcome as text and as JSON.

use std::fmt::Write;
use std::time::Duration;

use crate::options::{Extent, Mode};
use crate::tally::INTERVAL;
use crate::team::Outcome;

/// The percentiles that are told.
pub(crate) const PERCENTILES: [f64; 6] = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0];

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.tally.count as f64 / self.took.as_secs_f64()
    }

    /// `echo of 64 bytes: 64 connections, 1 in flight each, closed loop, for 5 s`
    pub(crate) fn what(&self) -> String {
        let options = &self.options;
        let many = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        let mut text = format!(
            "{} of {}: {}",
            options.mode,
            many(options.size, "byte"),
            many(options.connections, "connection"),
        );
        if !matches!(options.mode, Mode::Connect | Mode::Idle) && options.rate.is_none() {
            let _ = write!(text, ", {} in flight each", options.depth);
        }
        match (options.rate, options.extent) {
            _ if options.mode == Mode::Idle => {}
            (Some(rate), _) => {
                let _ = write!(text, ", open loop at {rate} a second");
            }
            (None, Extent::Rounds(rounds)) => {
                let _ = write!(text, ", {rounds} rounds");
            }
            (None, Extent::Time { .. }) => text.push_str(", closed loop"),
        }
        if let Extent::Time { measured, .. } = options.extent {
            let _ = write!(text, ", for {} s", measured.as_secs_f64());
        }
        text
    }
}

pub(crate) fn text(outcome: &Outcome) -> String {
    let (options, tally) = (&outcome.options, &outcome.tally);
    let mut out = format!("{}\n", outcome.what());
    let (unit, took) = (options.mode.unit(), outcome.took.as_secs_f64());
    let _ = write!(
        out,
        "  {} {unit} in {took:.3} s: {:.0} a second",
        tally.count,
        outcome.per_second()
    );
    if tally.failed_count > 0 {
        let _ = write!(out, "; {} failed", tally.failed_count);
    }
    if tally.lost_count > 0 {
        let _ = write!(out, "; {} lost", tally.lost_count);
    }
    out.push_str("\n  latency");
    if tally.latencies.is_empty() {
        out.push_str("  none: nothing was answered");
    }
    for percent in PERCENTILES.into_iter().filter(|_| !tally.latencies.is_empty()) {
        let latency = nanos(tally.percentile(percent));
        let _ = match percent {
            100.0 => write!(out, "  max {latency}"),
            _ => write!(out, "  p{percent} {latency}"),
        };
    }
    out.push('\n');
    if let Some(server) = &outcome.server {
        let cpu = server.cpu.as_secs_f64();
        let each = nanos((server.cpu.as_nanos() / u128::from(tally.count.max(1))) as u64);
        let _ = writeln!(
            out,
            "  server  {cpu:.3} s of processor time ({:.0} %), {each} each; context switches: {} \
             voluntary, {} not",
            100.0 * cpu / took,
            server.voluntary_switches,
            server.involuntary_switches
        );
        let grown = server.resident_after as f64 - server.resident_before as f64;
        let _ = write!(out, "  memory  {} bytes resident, {grown} more", server.resident_after);
        if options.mode == Mode::Idle {
            let _ = write!(out, ", {:.1} for each connection", grown / tally.count.max(1) as f64);
        }
        out.push('\n');
    }
    out
}

/// One object, on one line. Latencies are in nanoseconds.
pub(crate) fn json(outcome: &Outcome) -> String {
    let (options, tally) = (&outcome.options, &outcome.tally);
    let addresses: Vec<String> =
        options.addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let mut out = format!(
        "{{\"mode\":\"{}\",\"addresses\":[{}],\"connections\":{},\"size\":{},\"depth\":{},\
         \"rate\":{},\"seconds\":{},\"count\":{},\"per_second\":{:.3},\"failed\":{},\"lost\":{}",
        options.mode,
        addresses.join(","),
        options.connections,
        options.size,
        options.depth,
        options.rate.map_or("null".to_owned(), |rate| rate.to_string()),
        outcome.took.as_secs_f64(),
        tally.count,
        outcome.per_second(),
        tally.failed_count,
        tally.lost_count,
    );
    let _ = write!(
        out,
        ",\"latency_ns\":{{\"min\":{},\"mean\":{:.0}",
        tally.latencies.min(),
        tally.latencies.mean()
    );
    for percent in PERCENTILES {
        let latency = tally.percentile(percent);
        let _ = match percent {
            100.0 => write!(out, ",\"max\":{latency}}}"),
            _ => write!(out, ",\"p{percent}\":{latency}"),
        };
    }
    let series: Vec<String> = tally.series.iter().map(u64::to_string).collect();
    let _ = write!(
        out,
        ",\"series\":{{\"interval_seconds\":{},\"counts\":[{}]}}",
        Duration::from_nanos(INTERVAL).as_secs_f64(),
        series.join(",")
    );
    match &outcome.server {
        None => out.push_str(",\"server\":null}"),
        Some(server) => {
            let _ = write!(
                out,
                ",\"server\":{{\"cpu_seconds\":{},\"cpu_ns_each\":{},\"voluntary_switches\":{},\
                 \"involuntary_switches\":{},\"resident_before_bytes\":{},\
                 \"resident_after_bytes\":{}}}}}",
                server.cpu.as_secs_f64(),
                server.cpu.as_nanos() / u128::from(tally.count.max(1)),
                server.voluntary_switches,
                server.involuntary_switches,
                server.resident_before,
                server.resident_after
            );
        }
    }
    out
}

/// `640 ns`, `12.3 µs`, `4.56 ms`, `1.20 s`
pub(crate) fn nanos(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} ms", value / 1e6),
        _ => format!("{:.2} s", value / 1e9),
    }
}
