//! Counters, gauges and histograms of one process, and their text for Prometheus.
//!
//! A name may carry labels: `mall_http_requests_total{class="2xx"}`. Samples of one name share help and type.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use contract::record::{LATENCY_BOUNDS_US, Latency};

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

    /// Its value.
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

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Help of the metric that [`stage`] names.
pub const STAGE_HELP: &str = "How long one run of a stage on the way of an order took.";

/// The histogram of one stage on the way of an order; all of them are one metric.
pub fn stage(name: &str) -> String {
    format!("mall_stage_seconds{{stage=\"{name}\"}}")
}

/// Upper bounds of the buckets of every histogram, in seconds: those of [`LATENCY_BOUNDS_US`].
const BOUNDS_S: [f64; 14] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const _: () = assert!(BOUNDS_S.len() == LATENCY_BOUNDS_US.len(), "one bound for each bucket");

/// How long something took, in buckets.
#[derive(Debug, Clone, Default)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// One for each of [`BOUNDS_S`], and one for what is longer.
    counts: [AtomicU64; BOUNDS_S.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Adds a duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = BOUNDS_S.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_S.len());
        self.0.counts[at].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Its buckets, which can be added to those of other histograms.
    pub fn latency(&self) -> Latency {
        let mut latency = Latency { sum_us: self.0.sum_us.load(Ordering::Relaxed), ..Latency::default() };
        for (count, bucket) in latency.counts.iter_mut().zip(&self.0.counts) {
            *count = bucket.load(Ordering::Relaxed);
        }
        latency
    }

    /// The lines of the histogram `name`, which may carry labels.
    fn render(&self, text: &mut String, name: &str) {
        let (family, labels) = name
            .split_once('{')
            .map_or((name, ""), |(family, labels)| (family, labels.strip_suffix('}').unwrap_or(labels)));
        let (before_le, of_all) = if labels.is_empty() {
            (String::new(), String::new())
        } else {
            (format!("{labels},"), format!("{{{labels}}}"))
        };
        let mut count = 0;
        for (at, bucket) in self.0.counts.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_S.get(at).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            line(text, format_args!("{family}_bucket{{{before_le}le=\"{bound}\"}} {count}"));
        }
        let sum_s = self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        line(text, format_args!("{family}_sum{of_all} {sum_s}"));
        line(text, format_args!("{family}_count{of_all} {count}"));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Reads a sample at the moment it is asked for.
type Read = Box<dyn Fn() -> f64 + Send + Sync>;

enum Sample {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
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
    /// If the name is that of another kind of metric.
    pub fn counter(&self, name: &str, help: &'static str) -> Counter {
        self.sample(
            name,
            help,
            Kind::Counter,
            || Sample::Counter(Counter::default()),
            |sample| match sample {
                Sample::Counter(counter) => Some(counter.clone()),
                Sample::Gauge(_) | Sample::Histogram(_) | Sample::Read(_) => None,
            },
        )
    }

    /// The gauge of that name; the same one again where it is there.
    ///
    /// # Panics
    /// If the name is that of another kind of metric.
    pub fn gauge(&self, name: &str, help: &'static str) -> Gauge {
        self.sample(
            name,
            help,
            Kind::Gauge,
            || Sample::Gauge(Gauge::default()),
            |sample| match sample {
                Sample::Gauge(gauge) => Some(gauge.clone()),
                Sample::Counter(_) | Sample::Histogram(_) | Sample::Read(_) => None,
            },
        )
    }

    /// The histogram of that name; the same one again where it is there.
    ///
    /// # Panics
    /// If the name is that of another kind of metric.
    pub fn histogram(&self, name: &str, help: &'static str) -> Histogram {
        self.sample(
            name,
            help,
            Kind::Histogram,
            || Sample::Histogram(Histogram::default()),
            |sample| match sample {
                Sample::Histogram(histogram) => Some(histogram.clone()),
                Sample::Counter(_) | Sample::Gauge(_) | Sample::Read(_) => None,
            },
        )
    }

    /// A counter that is kept elsewhere and read when asked for, such as a sum over cores.
    ///
    /// # Panics
    /// If the name is that of another kind of metric.
    pub fn read_counter(&self, name: &str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.sample(name, help, Kind::Counter, || Sample::Read(Box::new(read)), |_| Some(()));
    }

    /// A gauge that is kept elsewhere and read when asked for.
    ///
    /// # Panics
    /// If the name is that of another kind of metric.
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

    /// The counters and gauges of a family by their names with labels, and their values.
    pub fn values(&self, family: &str) -> Vec<(String, f64)> {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(family) = families.get(family) else { return Vec::new() };
        let value = |(name, sample): (&String, &Sample)| {
            let value = match sample {
                Sample::Counter(counter) => counter.get() as f64,
                Sample::Gauge(gauge) => gauge.get() as f64,
                Sample::Read(read) => read(),
                Sample::Histogram(_) => return None,
            };
            Some((name.clone(), value))
        };
        family.samples.iter().filter_map(value).collect()
    }

    /// The buckets of a histogram: upper bound in seconds and number of durations; empty if there is no such histogram.
    pub fn buckets(&self, name: &str) -> Vec<(f64, u64)> {
        let family = name.split_once('{').map_or(name, |(family, _)| family);
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        match families.get(family).and_then(|family| family.samples.get(name)) {
            Some(Sample::Histogram(Histogram(buckets))) => {
                let bounds = BOUNDS_S.into_iter().chain([f64::INFINITY]);
                bounds.zip(&buckets.counts).map(|(bound, count)| (bound, count.load(Ordering::Relaxed))).collect()
            }
            Some(Sample::Counter(_) | Sample::Gauge(_) | Sample::Read(_)) | None => Vec::new(),
        }
    }

    /// The sum of the histograms of `family` that have `label`, such as `service="shop"`.
    pub fn latency(&self, family: &str, label: &str) -> Latency {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Latency::default();
        for (name, sample) in families.get(family).into_iter().flat_map(|family| &family.samples) {
            match sample {
                Sample::Histogram(histogram) if name.contains(label) => sum.merge(&histogram.latency()),
                Sample::Histogram(_) | Sample::Counter(_) | Sample::Gauge(_) | Sample::Read(_) => {}
            }
        }
        sum
    }

    /// All of them in Prometheus' text format, sorted by name.
    pub fn render(&self) -> String {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, family) in &*families {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            line(&mut text, format_args!("# HELP {name} {}", family.help));
            line(&mut text, format_args!("# TYPE {name} {kind}"));
            for (name, sample) in &family.samples {
                match sample {
                    Sample::Counter(counter) => line(&mut text, format_args!("{name} {}", counter.get())),
                    Sample::Gauge(gauge) => line(&mut text, format_args!("{name} {}", gauge.get())),
                    Sample::Histogram(histogram) => histogram.render(&mut text, name),
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
        let values = registry.values("mall_requests_total");
        let names: Vec<(&str, f64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(names, [("mall_requests_total{class=\"2xx\"}", 5.0), ("mall_requests_total{class=\"5xx\"}", 1.0)]);
        assert!(registry.values("mall_nothing").is_empty());
    }

    #[test]
    fn durations_fall_into_buckets() {
        let registry = Registry::default();
        let stage = registry.histogram("mall_stage_seconds{stage=\"log\"}", "Stages.");
        for ms in [1, 2, 700, 11_000] {
            stage.observe(Duration::from_millis(ms));
        }
        registry.histogram("mall_plain_seconds", "Plain.").observe(Duration::from_micros(1_500));
        let buckets = registry.buckets("mall_stage_seconds{stage=\"log\"}");
        assert_eq!(buckets.iter().filter(|(_, count)| *count > 0).count(), 4);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 1)));
        assert!(registry.buckets("mall_stage_seconds{stage=\"none\"}").is_empty());
        registry.histogram("mall_stage_seconds{stage=\"log\",of=\"b\"}", "Stages.").observe(Duration::from_millis(2));
        registry.histogram("mall_stage_seconds{stage=\"other\"}", "Stages.").observe(Duration::from_millis(2));
        let sum = registry.latency("mall_stage_seconds", "stage=\"log\"");
        assert_eq!((sum.count(), sum.counts[1], sum.counts[2], sum.sum_us), (5, 1, 2, 11_705_000));
        assert!(BOUNDS_S.iter().zip(LATENCY_BOUNDS_US).all(|(s, us)| (s * 1e6 - us as f64).abs() < 1e-6));
        let text = registry.render();
        for expect in [
            "# TYPE mall_stage_seconds histogram\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"0.0005\"} 0\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"0.001\"} 1\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"0.0025\"} 2\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"0.5\"} 2\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"1\"} 3\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"10\"} 3\n",
            "mall_stage_seconds_bucket{stage=\"log\",le=\"+Inf\"} 4\n",
            "mall_stage_seconds_sum{stage=\"log\"} 11.703\n",
            "mall_stage_seconds_count{stage=\"log\"} 4\n",
            "mall_plain_seconds_bucket{le=\"0.0025\"} 1\n",
            "mall_plain_seconds_sum 0.0015\nmall_plain_seconds_count 1\n",
        ] {
            assert!(text.contains(expect), "{expect} in {text}");
        }
    }
}
