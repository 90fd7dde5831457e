//! The outcome as a page of its own: no scripts, and nothing that is loaded from elsewhere.

use std::fmt::Write;

use crate::options::Extent;
use crate::report;
use crate::tally::{INTERVAL, Tally};
use crate::team::Outcome;

pub(crate) fn page(outcome: &Outcome) -> String {
    let what = escape(&outcome.what());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{what}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{what}</h1>\n"
    );
    let addresses: Vec<String> =
        outcome.options.addresses.iter().map(ToString::to_string).collect();
    let _ = writeln!(out, "<p>{}</p>", escape(&addresses.join(", ")));
    table(&mut out, outcome);
    latencies(&mut out, &outcome.tally);
    throughput(&mut out, outcome);
    let _ = writeln!(
        out,
        "<h2>As JSON</h2>\n<pre>{}</pre>\n</body></html>",
        escape(&report::json(outcome))
    );
    out
}

fn table(out: &mut String, outcome: &Outcome) {
    let tally = &outcome.tally;
    let mut rows = vec![
        (outcome.options.mode.unit().to_owned(), tally.count.to_string()),
        ("a second".to_owned(), format!("{:.0}", outcome.per_second())),
    ];
    for (name, count) in [("failed", tally.failed_count), ("lost", tally.lost_count)] {
        if count > 0 {
            rows.push((name.to_owned(), count.to_string()));
        }
    }
    for percent in report::PERCENTILES {
        let name = if percent == 100.0 { "longest".to_owned() } else { format!("{percent} %") };
        rows.push((format!("latency, {name}"), report::nanos(tally.percentile(percent))));
    }
    if let Some(server) = &outcome.server {
        let each = server.cpu.as_nanos() / u128::from(tally.count.max(1));
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        rows.extend([
            ("server: processor time".to_owned(), format!("{:.3} s", server.cpu.as_secs_f64())),
            ("the same, each".to_owned(), report::nanos(each as u64)),
            ("voluntary context switches".to_owned(), server.voluntary_switches.to_string()),
            ("involuntary context switches".to_owned(), server.involuntary_switches.to_string()),
            ("resident memory before".to_owned(), mib(server.resident_before)),
            ("resident memory after".to_owned(), mib(server.resident_after)),
        ]);
    }
    out.push_str("<table>\n");
    for (name, value) in rows {
        let _ = writeln!(out, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    out.push_str("</table>\n");
}

/// Latency by percentile; each step to the right is a tenth of the messages that are left.
fn latencies(out: &mut String, tally: &Tally) {
    if tally.latencies.is_empty() {
        return;
    }
    let nines = (tally.latencies.len() as f64).log10().clamp(1.0, 6.0);
    let points: Vec<(f64, f64)> = (0..=200)
        .map(|step| {
            let x = nines * f64::from(step) / 200.0;
            (x, tally.percentile(100.0 - 100.0 / 10_f64.powf(x)) as f64)
        })
        .collect();
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %"];
    let ticks: Vec<(f64, String)> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (at as f64, (*name).to_owned()))
        .filter(|(x, _)| *x <= nines)
        .collect();
    let y = |value: f64| report::nanos(value as u64);
    out.push_str("<h2>Latency by percentile</h2>\n");
    plot(out, &points, &ticks, y);
}

/// Answers a second over time; the warm-up is what comes before the line.
fn throughput(out: &mut String, outcome: &Outcome) {
    let interval = INTERVAL as f64 / 1e9;
    let series = &outcome.tally.series;
    // The last interval is cut short by the end of the run.
    let whole = if series.len() > 1 { &series[..series.len() - 1] } else { &series[..] };
    let points: Vec<(f64, f64)> = whole
        .iter()
        .enumerate()
        .map(|(at, count)| ((at as f64 + 0.5) * interval, *count as f64 / interval))
        .collect();
    let Some(last) = points.last() else { return };
    let step = nice(last.0 / 6.0);
    let mut ticks: Vec<(f64, String)> = (0..)
        .map(|at| f64::from(at) * step)
        .take_while(|x| *x <= last.0)
        .map(|x| (x, format!("{} s", (x * 100.0).round() / 100.0)))
        .collect();
    if let Extent::Time { warm_up, .. } = outcome.options.extent {
        if !warm_up.is_zero() {
            ticks.push((warm_up.as_secs_f64(), "measured from here".to_owned()));
        }
    }
    let _ = writeln!(out, "<h2>{} a second, over time</h2>", outcome.options.mode.unit());
    plot(out, &points, &ticks, |value| format!("{value:.0}"));
}

/// One line over two axes, from zero up.
fn plot(
    out: &mut String,
    points: &[(f64, f64)],
    ticks: &[(f64, String)],
    name: impl Fn(f64) -> String,
) {
    let x_most = points.iter().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
    let y_most = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let step = nice(y_most / 4.0);
    let y_most = (y_most / step).ceil() * step;
    let x = |value: f64| LEFT + value / x_most * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_most * (HEIGHT - BOTTOM - TOP);
    let _ = writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
    for at in 0..=(y_most / step).round() as u32 {
        let value = f64::from(at) * step;
        let (at, name) = (y(value), name(value));
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" class=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
        );
    }
    for (value, name) in ticks {
        let (at, top) = (x(*value), if name.ends_with("here") { TOP } else { HEIGHT - BOTTOM });
        let height = if name.ends_with("here") { TOP - 4.0 } else { HEIGHT - BOTTOM + 18.0 };
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{at:.1} {top:.1}V{:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{height:.1}\" class=\"middle\">{name}</text>",
            HEIGHT - BOTTOM + 5.0,
        );
    }
    let line: Vec<String> =
        points.iter().map(|point| format!("{:.1} {:.1}", x(point.0), y(point.1))).collect();
    let _ = writeln!(out, "<path class=\"line\" d=\"M{}\"/>\n</svg>", line.join("L"));
}

/// The next of 1, 2, 5, 10, 20 and so on.
fn nice(value: f64) -> f64 {
    let ten = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * ten)
        .into_iter()
        .find(|it| *it >= value)
        .unwrap_or(10.0 * ten)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 36.0;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --grid: #ccc; --line: #0b62a8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #161616; --grid: #444; --line: #6cb6ff }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 900px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.25em } h2 { font-size: 1.05em; margin-top: 2em }
table { border-collapse: collapse } th { font-weight: normal; text-align: left; padding-right: 2em }
td { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto } text { fill: var(--ink); font-size: 12px }
.end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: var(--grid); fill: none } .line { stroke: var(--line); stroke-width: 1.8; fill: none }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px }
";
