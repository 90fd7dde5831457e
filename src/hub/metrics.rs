//! What may be known of reactors at work, from any thread, and as Prometheus reads it.

use std::fmt::{self, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::counters::{Counters, Ledger};
use crate::base::histogram::Histogram;

/// How reactors are doing: what they have counted, and how they stand now. From
/// [`Handle::metrics`](crate::Handle::metrics).
///
/// Each number is exact, but they are not all of the same moment: a reactor goes on while they
/// are collected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// What was counted since the reactors were made.
    pub counters: Counters,
    /// Letters that a full mailbox did not take.
    pub letters_refused: u64,
    /// Connections now, in whatever phase.
    pub connections: u64,
    /// Bytes that outboxes and unfinished messages hold, as of the last turn.
    pub buffered_bytes: u64,
    /// The most that they held at any time; of several reactors, the sum of what each held at
    /// the most.
    pub buffered_bytes_most: u64,
    /// How long turns took, waiting not included: while one lasts, nobody else is served.
    pub turn_time: Histogram,
    /// How late timers and deadlines were worked off.
    pub timer_lag: Histogram,
}

impl Metrics {
    pub(crate) fn of(ledger: &Ledger, letters_refused: u64) -> Metrics {
        Metrics {
            counters: ledger.counters(),
            letters_refused,
            connections: ledger.load.0.load(Ordering::Relaxed) as u64,
            buffered_bytes: ledger.buffered_bytes.get(),
            buffered_bytes_most: ledger.buffered_bytes_most.get(),
            turn_time: ledger.turn_time.look(),
            timer_lag: ledger.timer_lag.look(),
        }
    }

    /// Those of several reactors or servers together.
    #[must_use]
    pub fn and(self, other: Metrics) -> Metrics {
        Metrics {
            counters: self.counters.and(other.counters),
            letters_refused: self.letters_refused + other.letters_refused,
            connections: self.connections + other.connections,
            buffered_bytes: self.buffered_bytes + other.buffered_bytes,
            buffered_bytes_most: self.buffered_bytes_most + other.buffered_bytes_most,
            turn_time: self.turn_time.and(other.turn_time),
            timer_lag: self.timer_lag.and(other.timer_lag),
        }
    }

    /// As text for Prometheus (its exposition format, version 0.0.4), every name starting with
    /// `tidemill_`. To be served as `text/plain; version=0.0.4`.
    ///
    /// ```
    /// let reactor: tidemill::Reactor = tidemill::Reactor::new()?;
    /// let text = reactor.handle().metrics().to_prometheus();
    /// assert!(text.contains("\n# TYPE tidemill_turns_total counter\ntidemill_turns_total 0\n"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        self.expose(&mut text).expect("a string takes everything");
        text
    }

    /// Hands the numbers as they are to the recorder of the `metrics` crate, under the names and
    /// labels that they have for Prometheus: counters are set, nothing is added. Whoever exports
    /// calls it now and then, from any thread; the reactors know nothing of it.
    ///
    /// That crate's histograms take values one by one, and those are not kept here. So each of
    /// ours goes out as Prometheus has it: counters `…_bucket` with the bound `le`, and `…_count`,
    /// and a gauge `…_sum` in seconds.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        let rows = self.counters.rows().map(|(metric, _, value)| (metric, value));
        for (metric, value) in rows.chain([("letters_refused_total", self.letters_refused)]) {
            let label = metric.split_once('{').and_then(|(_, label)| label.split_once("=\""));
            let label = label.map(|(key, value)| (key, value.trim_end_matches("\"}").to_owned()));
            metrics::counter!(full(name(metric)), &Vec::from_iter(label)).absolute(value);
        }
        for (name, _, value) in self.gauges() {
            metrics::gauge!(full(name)).set(value as f64);
        }
        for (name, _, histogram) in self.histograms() {
            let mut total = 0;
            for (bound, count) in histogram.buckets() {
                total += count;
                let bound = le(bound);
                metrics::counter!(full(name) + "_bucket", "le" => bound).absolute(total);
            }
            metrics::gauge!(full(name) + "_sum").set(histogram.sum().as_secs_f64());
            metrics::counter!(full(name) + "_count").absolute(total);
        }
    }

    fn gauges(&self) -> [(&'static str, &'static str, u64); 3] {
        [
            ("connections", "Connections now.", self.connections),
            ("buffered_bytes", "Bytes in outboxes and unfinished messages.", self.buffered_bytes),
            ("buffered_bytes_most", "The most of these at any time.", self.buffered_bytes_most),
        ]
    }

    fn histograms(&self) -> [(&'static str, &'static str, &Histogram); 2] {
        [
            ("turn_seconds", "How long turns took.", &self.turn_time),
            ("timer_lag_seconds", "How late timers were worked off.", &self.timer_lag),
        ]
    }

    fn expose(&self, out: &mut String) -> fmt::Result {
        let mut family = "";
        // Families of several rows must stand together.
        let mut rows: Vec<_> = self.counters.rows().collect();
        rows.sort_by_key(|(metric, ..)| name(metric));
        for (metric, doc, value) in rows {
            if name(metric) != family {
                family = name(metric);
                let help = if family == metric { doc } else { up_to_colon(doc) };
                head(out, family, help, "counter")?;
            }
            writeln!(out, "tidemill_{metric} {value}")?;
        }
        let letters_refused = "Letters that a full mailbox did not take.";
        head(out, "letters_refused_total", letters_refused, "counter")?;
        writeln!(out, "tidemill_letters_refused_total {}", self.letters_refused)?;
        for (name, help, value) in self.gauges() {
            head(out, name, help, "gauge")?;
            writeln!(out, "tidemill_{name} {value}")?;
        }
        for (name, help, of) in self.histograms() {
            histogram(out, name, help, of)?;
        }
        Ok(())
    }
}

/// The name of a metric without its labels.
fn name(metric: &'static str) -> &'static str {
    metric.split('{').next().unwrap_or(metric)
}

#[cfg(feature = "metrics")]
fn full(name: &str) -> String {
    format!("tidemill_{name}")
}

/// The bound of a bucket in seconds.
fn le(bound: Duration) -> String {
    if bound == Duration::MAX { "+Inf".to_owned() } else { bound.as_secs_f64().to_string() }
}

fn up_to_colon(doc: &str) -> &str {
    doc.split(':').next().unwrap_or(doc)
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) -> fmt::Result {
    writeln!(out, "# HELP tidemill_{name} {}", help.trim())?;
    writeln!(out, "# TYPE tidemill_{name} {kind}")
}

fn histogram(out: &mut String, name: &str, help: &str, of: &Histogram) -> fmt::Result {
    head(out, name, help, "histogram")?;
    let mut total = 0;
    for (bound, count) in of.buckets() {
        total += count;
        writeln!(out, "tidemill_{name}_bucket{{le=\"{}\"}} {total}", le(bound))?;
    }
    writeln!(out, "tidemill_{name}_sum {}", of.sum().as_secs_f64())?;
    writeln!(out, "tidemill_{name}_count {total}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::hub::reason::{CloseReason, Deadline};

    /// What the format asks for: a family's head comes once, before its samples, which stand
    /// together; names and values are of their grammar.
    #[test]
    fn the_text_is_what_prometheus_reads() {
        let ledger = Ledger::default();
        ledger.turns.add(3);
        ledger.count_end(&CloseReason::TimedOut(Deadline::Idle));
        ledger.turn_time.add(1_000_000);
        ledger.turn_time.add(1_000_000_000_000);
        ledger.load.0.store(7, Ordering::Relaxed);
        let text = Metrics::of(&ledger, 0).to_prometheus();
        assert!(text.ends_with('\n'));
        let (mut families, mut family) = (BTreeSet::new(), "");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
                assert!(families.insert(family), "{family} twice");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                assert_eq!(kind.split(' ').next().unwrap(), family);
            } else {
                let (metric, value) = line.rsplit_once(' ').unwrap();
                let name = metric.split('{').next().unwrap();
                assert!(name.starts_with(family), "{line}, in {family}");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "tidemill_turns_total 3",
            "tidemill_connections 7",
            "tidemill_connections_closed_total 1",
            "tidemill_connections_closed_by_reason_total{reason=\"idle\"} 1",
            "# HELP tidemill_connections_refused_total Connections refused",
            "tidemill_turn_seconds_bucket{le=\"0.001048576\"} 1",
            "tidemill_turn_seconds_bucket{le=\"34.359738368\"} 1",
            "tidemill_turn_seconds_bucket{le=\"+Inf\"} 2",
            "tidemill_turn_seconds_sum 1000.001",
            "tidemill_turn_seconds_count 2",
        ] {
            assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn those_of_several_add_up() {
        let ledger = Ledger::default();
        ledger.turns.add(3);
        ledger.buffered_bytes.set(10);
        ledger.buffered_bytes_most.set(100);
        ledger.turn_time.add(1_000_000);
        ledger.timer_lag.add(1_000_000);
        ledger.load.0.store(7, Ordering::Relaxed);
        let one = || Metrics::of(&ledger, 5);
        let both = one().and(one()).and(one());
        assert_eq!((both.counters.turns, both.letters_refused, both.connections), (9, 15, 21));
        assert_eq!((both.buffered_bytes, both.buffered_bytes_most), (30, 300));
        assert_eq!((both.turn_time.count(), both.timer_lag.count()), (3, 3));
    }

    #[test]
    fn every_reason_is_counted_once() {
        use std::io::Error;

        use super::super::reason::Fault;
        let reasons = [
            CloseReason::Closed,
            CloseReason::Aborted,
            CloseReason::Fault(Fault::new("x")),
            CloseReason::Panicked,
            CloseReason::Reset,
            CloseReason::Failed(Error::other("x")),
            CloseReason::ConnectFailed(Error::other("x")),
            CloseReason::TimedOut(Deadline::Connect),
            CloseReason::TimedOut(Deadline::FirstByte),
            CloseReason::TimedOut(Deadline::Idle),
            CloseReason::TimedOut(Deadline::Message),
            CloseReason::TimedOut(Deadline::WriteProgress),
            CloseReason::TimedOut(Deadline::Flush),
            CloseReason::TimedOut(Deadline::Expect),
            CloseReason::OutputLimit,
            CloseReason::InputLimit,
            CloseReason::Overload,
            CloseReason::Shutdown,
        ];
        let ledger = Ledger::default();
        reasons.iter().for_each(|reason| ledger.count_end(reason));
        let counters = ledger.counters();
        assert_eq!(counters.closed, reasons.len() as u64);
        let by_reason =
            counters.rows().filter(|row| name(row.0) == "connections_closed_by_reason_total");
        let counts: Vec<u64> = by_reason.map(|row| row.2).collect();
        assert_eq!(counts, [1; 18]);
    }

    /// Keeps what it is given, by name and labels.
    #[cfg(feature = "metrics")]
    mod published {
        use std::collections::BTreeMap;
        use std::sync::{Arc, Mutex};

        use metrics::{
            Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder,
            SharedString, Unit,
        };

        use super::*;

        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

        struct Number(Kept, String);

        impl Number {
            fn of(kept: &Kept, key: &Key) -> Arc<Number> {
                let labels = key.labels().map(|it| format!("{{{}=\"{}\"}}", it.key(), it.value()));
                let name = key.name().to_owned() + &labels.collect::<String>();
                Arc::new(Number(kept.clone(), name))
            }

            fn keep(&self, value: f64) {
                self.0.0.lock().unwrap().insert(self.1.clone(), value);
            }
        }

        impl CounterFn for Number {
            fn increment(&self, _: u64) {
                panic!("counters are set");
            }

            fn absolute(&self, value: u64) {
                self.keep(value as f64);
            }
        }

        impl GaugeFn for Number {
            fn increment(&self, _: f64) {
                panic!("gauges are set");
            }

            fn decrement(&self, _: f64) {
                panic!("gauges are set");
            }

            fn set(&self, value: f64) {
                self.keep(value);
            }
        }

        impl Recorder for Kept {
            fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
            fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

            fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
                Counter::from_arc(Number::of(self, key))
            }

            fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
                Gauge::from_arc(Number::of(self, key))
            }

            fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
                panic!("there are no single values")
            }
        }

        #[test]
        fn a_recorder_gets_what_prometheus_reads() {
            let ledger = Ledger::default();
            ledger.turns.add(3);
            ledger.count_end(&CloseReason::TimedOut(Deadline::Idle));
            ledger.turn_time.add(1_000_000);
            ledger.load.0.store(7, Ordering::Relaxed);
            let metrics = Metrics::of(&ledger, 2);
            let kept = Kept::default();
            metrics::with_local_recorder(&kept, || metrics.publish());
            let kept = kept.0.lock().unwrap();
            let text = metrics.to_prometheus();
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            let expected: BTreeMap<String, f64> = samples
                .map(|line| line.rsplit_once(' ').unwrap())
                .map(|(metric, value)| (metric.to_owned(), value.parse().unwrap()))
                .collect();
            assert_eq!(*kept, expected);
            assert_eq!(kept["tidemill_connections_closed_by_reason_total{reason=\"idle\"}"], 1.0);
        }
    }
}
