//! Counters and gauges of one process, and their text for Prometheus.
//!
//! A name may carry labels: `mall_http_requests_total{class="2xx"}`. Samples of one name share help and type.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// Content type of [`Registry::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `by`, which may be negative.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it stands at.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// Reads a sample at the moment it is asked for.
type Read = Box<dyn Fn() -> f64 + Send + Sync>;

enum Sample {
    Counter(Counter),
    Gauge(Gauge),
    Read(Read),
}

struct Family {
    kind: Kind,
    help: &'static str,
    samples: BTreeMap<String, Sample>,
}

/// Every metric of a process. Clones are the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<BTreeMap<String, Family>>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// The counter of that name; the same one again where it is there.
    ///
    /// # Panics
    /// Where the name is that of another kind of metric.
    pub fn counter(&self, name: &str, help: &'static str) -> Counter {
        self.sample(
            name,
            help,
            Kind::Counter,
            || Sample::Counter(Counter::default()),
            |sample| match sample {
                Sample::Counter(counter) => Some(counter.clone()),
                Sample::Gauge(_) | Sample::Read(_) => None,
            },
        )
    }

    /// The gauge of that name; the same one again where it is there.
    ///
    /// # Panics
    /// Where the name is that of another kind of metric.
    pub fn gauge(&self, name: &str, help: &'static str) -> Gauge {
        self.sample(
            name,
            help,
            Kind::Gauge,
            || Sample::Gauge(Gauge::default()),
            |sample| match sample {
                Sample::Gauge(gauge) => Some(gauge.clone()),
                Sample::Counter(_) | Sample::Read(_) => None,
            },
        )
    }

    /// A counter that is kept elsewhere and read when asked for, such as a sum over cores.
    ///
    /// # Panics
    /// Where the name is that of another kind of metric.
    pub fn read_counter(&self, name: &str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.sample(name, help, Kind::Counter, || Sample::Read(Box::new(read)), |_| Some(()));
    }

    /// A gauge that is kept elsewhere and read when asked for.
    ///
    /// # Panics
    /// Where the name is that of another kind of metric.
    pub fn read_gauge(&self, name: &str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.sample(name, help, Kind::Gauge, || Sample::Read(Box::new(read)), |_| Some(()));
    }

    fn sample<T>(
        &self,
        name: &str,
        help: &'static str,
        kind: Kind,
        new: impl FnOnce() -> Sample,
        take: impl FnOnce(&Sample) -> Option<T>,
    ) -> T {
        let family = name.split_once('{').map_or(name, |(family, _)| family).to_owned();
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(family).or_insert_with(|| Family { kind, help, samples: BTreeMap::new() });
        assert!(family.kind == kind, "{name} is a metric of another kind");
        let sample = family.samples.entry(name.to_owned()).or_insert_with(new);
        match take(sample) {
            Some(taken) => taken,
            None => panic!("{name} is a metric of another kind"),
        }
    }

    /// All of them in Prometheus' text format, sorted by name.
    pub fn render(&self) -> String {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, family) in &*families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            line(&mut text, format_args!("# HELP {name} {}", family.help));
            line(&mut text, format_args!("# TYPE {name} {kind}"));
            for (name, sample) in &family.samples {
                match sample {
                    Sample::Counter(counter) => line(&mut text, format_args!("{name} {}", counter.get())),
                    Sample::Gauge(gauge) => line(&mut text, format_args!("{name} {}", gauge.get())),
                    Sample::Read(read) => line(&mut text, format_args!("{name} {}", read())),
                }
            }
        }
        text
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{line}");
    assert!(written.is_ok(), "a String takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_in_families() {
        let registry = Registry::default();
        registry.counter("mall_requests_total{class=\"5xx\"}", "Answers.").add(1);
        registry.counter("mall_requests_total{class=\"2xx\"}", "Answers.").add(2);
        registry.counter("mall_requests_total{class=\"2xx\"}", "Answers.").add(3);
        registry.gauge("mall_open", "Open.").set(-4);
        registry.read_gauge("mall_lag", "Lag.", || 1.5);
        let expect = "# HELP mall_lag Lag.\n# TYPE mall_lag gauge\nmall_lag 1.5\n\
            # HELP mall_open Open.\n# TYPE mall_open gauge\nmall_open -4\n\
            # HELP mall_requests_total Answers.\n# TYPE mall_requests_total counter\n\
            mall_requests_total{class=\"2xx\"} 5\nmall_requests_total{class=\"5xx\"} 1\n";
        assert_eq!(registry.render(), expect);
    }
}
