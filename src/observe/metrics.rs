//! Counters, gauges and histograms in Prometheus's format. Labels take their values from closed sets only.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use super::names::{self, Named, Source, SourceKind};
use crate::error::{Error, Result};

/// Seconds, from a prepared `SELECT 1` to a long load.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 3600.0];

/// The way that COPY's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDirection {
    /// Into a table.
    From,
    /// Out of a table or query.
    To,
}

/// Rules with series of their own.
const EXPECTATIONS_MAX: usize = 5_000;
/// The table and rule of all others.
const OTHER: &str = "(other)";

/// Rows of one check.
#[derive(Debug, Clone, Copy)]
pub struct ExpectationCounts {
    pub checked: u64,
    pub failed: u64,
}

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    started: Instant,
    statements: IntCounterVec,
    statement_seconds: HistogramVec,
    rows_sent: IntCounter,
    copy_rows: IntCounterVec,
    expectation_checks: IntCounterVec,
    expectation_rows_checked: IntCounterVec,
    expectation_rows_failed: IntCounterVec,
    /// Tables and rules that have series of their own.
    expectations: Mutex<HashSet<(String, String)>>,
    store_requests: IntCounterVec,
    uptime: Gauge,
    polled: Mutex<Vec<Polled>>,
    stores: Mutex<Option<AskStores>>,
}

/// Operation, outcome (both from closed sets), requests.
pub type StoreRequests = (&'static str, &'static str, u64);

type AskStores = Box<dyn Fn() -> Vec<StoreRequests> + Send + Sync>;

/// A figure that is asked for.
struct Polled {
    shown: Shown,
    ask: Box<dyn Fn() -> u64 + Send + Sync>,
}

enum Shown {
    Counter(IntCounter),
    Gauge(IntGauge),
}

impl Metrics {
    pub fn new() -> Result<Arc<Self>> {
        let registry = Registry::new();
        let build = IntGauge::with_opts(opts(names::BUILD).const_label("version", env!("CARGO_PKG_VERSION")));
        register(&registry, build)?.set(1);
        let seconds = HistogramOpts::from(opts(names::STATEMENT_SECONDS)).buckets(SECONDS_BUCKETS.to_vec());
        Ok(Arc::new(Self {
            started: Instant::now(),
            statements: register(&registry, IntCounterVec::new(opts(names::STATEMENTS), &["kind", "sqlstate"]))?,
            statement_seconds: register(&registry, HistogramVec::new(seconds, &["kind"]))?,
            rows_sent: register(&registry, IntCounter::with_opts(opts(names::ROWS_SENT)))?,
            copy_rows: register(&registry, IntCounterVec::new(opts(names::COPY_ROWS), &["direction"]))?,
            expectation_checks: register(
                &registry,
                IntCounterVec::new(opts(names::EXPECTATION_CHECKS), &["table", "rule", "status"]),
            )?,
            expectation_rows_checked: register(
                &registry,
                IntCounterVec::new(opts(names::EXPECTATION_ROWS_CHECKED), &["table", "rule"]),
            )?,
            expectation_rows_failed: register(
                &registry,
                IntCounterVec::new(opts(names::EXPECTATION_ROWS_FAILED), &["table", "rule"]),
            )?,
            expectations: Mutex::default(),
            store_requests: register(
                &registry,
                IntCounterVec::new(opts(names::STORE_REQUESTS), &["operation", "outcome"]),
            )?,
            uptime: register(&registry, Gauge::with_opts(opts(names::UPTIME)))?,
            registry,
            polled: Mutex::default(),
            stores: Mutex::default(),
        }))
    }

    /// A statement ended. `kind` is `Statement::kind`, `sqlstate` a code of ours (`00000` for success).
    pub fn statement(&self, kind: &'static str, sqlstate: &'static str, elapsed: Duration) {
        self.statements.with_label_values(&[kind, sqlstate]).inc();
        self.statement_seconds.with_label_values(&[kind]).observe(elapsed.as_secs_f64());
    }

    /// Rows went to a client; counted by batch.
    pub fn rows_sent(&self, rows: u64) {
        self.rows_sent.inc_by(rows);
    }

    /// Rows went through COPY.
    pub fn copy_rows(&self, direction: CopyDirection, rows: u64) {
        let direction = match direction {
            CopyDirection::From => "from",
            CopyDirection::To => "to",
        };
        self.copy_rows.with_label_values(&[direction]).inc_by(rows);
    }

    /// A rule, of a table, was checked. Only so many have series of their own; the others share one.
    pub fn expectation(&self, (table, rule): (&str, &str), status: &str, counts: ExpectationCounts) {
        let mut known = self.expectations.lock();
        let key = (table.to_owned(), rule.to_owned());
        let own = known.contains(&key) || known.len() < EXPECTATIONS_MAX && known.insert(key);
        let (table, rule) = if own { (table, rule) } else { (OTHER, OTHER) };
        self.expectation_checks.with_label_values(&[table, rule, status]).inc();
        self.expectation_rows_checked.with_label_values(&[table, rule]).inc_by(counts.checked);
        self.expectation_rows_failed.with_label_values(&[table, rule]).inc_by(counts.failed);
    }

    /// Names who is asked for the requests to object stores at each scrape: operation, outcome and their number so far.
    pub fn poll_store(&self, ask: impl Fn() -> Vec<StoreRequests> + Send + Sync + 'static) {
        *self.stores.lock() = Some(Box::new(ask));
    }

    fn refresh_store(&self) {
        let stores = self.stores.lock();
        let Some(ask) = stores.as_ref() else { return };
        for (operation, outcome, requests) in ask() {
            let counter = self.store_requests.with_label_values(&[operation, outcome]);
            counter.inc_by(requests.saturating_sub(counter.get()));
        }
    }

    /// Names who is asked for a figure at each scrape; the answer must come at once. A second asker for the same figure
    /// is an error.
    pub fn poll(&self, source: Source, ask: impl Fn() -> u64 + Send + Sync + 'static) -> Result<()> {
        let opts = opts(source.named());
        let shown = match source.kind() {
            SourceKind::Counter => Shown::Counter(register(&self.registry, IntCounter::with_opts(opts))?),
            SourceKind::Gauge => Shown::Gauge(register(&self.registry, IntGauge::with_opts(opts))?),
        };
        self.polled.lock().push(Polled { shown, ask: Box::new(ask) });
        Ok(())
    }

    /// Everything in Prometheus's text format.
    pub fn text(&self) -> Result<String> {
        self.uptime.set(self.started.elapsed().as_secs_f64());
        self.refresh_store();
        // The lock is held over the gathering, so that no other scrape sees a counter between its reset and its value.
        let polled = self.polled.lock();
        for figure in polled.iter() {
            figure.refresh();
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).map_err(fault)
    }
}

impl Polled {
    fn refresh(&self) {
        let value = (self.ask)();
        match &self.shown {
            Shown::Counter(counter) => {
                counter.reset();
                counter.inc_by(value);
            }
            Shown::Gauge(gauge) => gauge.set(i64::try_from(value).unwrap_or(i64::MAX)),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("started", &self.started).finish_non_exhaustive()
    }
}

fn opts((name, help): Named) -> Opts {
    Opts::new(name, help)
}

fn fault(error: prometheus::Error) -> Error {
    Error::internal(format!("metrics: {error}")).with_source(error)
}

fn register<C>(registry: &Registry, collector: prometheus::Result<C>) -> Result<C>
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = collector.map_err(fault)?;
    registry.register(Box::new(collector.clone())).map_err(fault)?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::config::page;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new().unwrap();
        metrics.statement("select", "00000", Duration::from_millis(2));
        metrics.statement("select", "42P01", Duration::from_millis(2));
        metrics.rows_sent(5);
        metrics.copy_rows(CopyDirection::From, 7);
        metrics.poll_store(|| vec![("get", "ok", 1)]);
        let text = metrics.text().unwrap();
        for line in [
            "lakegate_statements_total{kind=\"select\",sqlstate=\"42P01\"} 1",
            "lakegate_statement_seconds_count{kind=\"select\"} 2",
            "lakegate_rows_sent_total 5",
            "lakegate_copy_rows_total{direction=\"from\"} 7",
            "lakegate_store_requests_total{operation=\"get\",outcome=\"ok\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn sources_are_asked_at_each_scrape() {
        let metrics = Metrics::new().unwrap();
        let total = Arc::new(AtomicU64::new(3));
        let asked = Arc::clone(&total);
        metrics.poll(Source::ConnectionsTotal, move || asked.load(Ordering::Relaxed)).unwrap();
        assert!(metrics.text().unwrap().contains("lakegate_connections_total 3"));
        total.store(9, Ordering::Relaxed);
        assert!(metrics.text().unwrap().contains("lakegate_connections_total 9"));
        assert!(metrics.poll(Source::ConnectionsTotal, || 0).is_err());
    }

    #[test]
    fn names_follow_prometheus_conventions() {
        for source in Source::ALL {
            let (name, help) = source.named();
            assert!(name.starts_with("lakegate_") && help.ends_with('.'));
            assert_eq!(name.ends_with("_total"), source.kind() == SourceKind::Counter, "{name}");
        }
    }

    /// Every metric with a value, so that all of them are in the text.
    fn full() -> Arc<Metrics> {
        let metrics = Metrics::new().unwrap();
        metrics.statement("select", "00000", Duration::from_millis(1));
        metrics.copy_rows(CopyDirection::From, 1);
        metrics.poll_store(|| vec![("get", "ok", 1)]);
        for source in Source::ALL {
            metrics.poll(*source, || 0).unwrap();
        }
        metrics
    }

    #[test]
    fn page_lists_every_metric() {
        let metrics = full();
        metrics.text().unwrap();
        let families = metrics.registry.gather();
        let rows = families.iter().map(|family| {
            let labels = family.get_metric().first().map(prometheus::proto::Metric::get_label).unwrap_or_default();
            let labels: Vec<&str> = labels.iter().map(prometheus::proto::LabelPair::name).collect();
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            vec![page::code(family.name()), kind, labels.join(", "), family.help().to_owned()]
        });
        page::check("operation.md", &page::table(&["Name", "Type", "Labels", "Meaning"], rows));
    }
}
