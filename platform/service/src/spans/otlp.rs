//! Sends spans to a collector: OTLP over HTTP, as JSON.
//!
//! Source of the format: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread::{Builder, JoinHandle, sleep},
    time::{Duration, Instant},
};

use contract::trace::TraceContext;
use serde_json::{Value, json};
use ureq::Agent;

use super::{AttributeValue, SINK, Sink, Span};
use crate::{
    config::TracingConfig,
    logs::FailureStreak,
    metrics::{Counter, Registry},
};

/// Spans that wait for the exporter's thread. Further ones are dropped and counted.
const QUEUE_MAX: usize = 8_192;
/// Spans of one request to the collector.
const BATCH_MAX: usize = 512;
/// How long a span waits for others.
const BATCH_WAIT: Duration = Duration::from_millis(200);
/// A collector that has not answered by then does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The first pause after a failure; doubled after each further one.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a pausing thread looks for the end of the process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the end of the process waits for the spans that are queued.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// The thread that sends spans. Dropping this sends what is queued, for at most three seconds.
#[derive(Debug)]
#[must_use = "dropping it ends the export"]
pub struct Exporter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Exports the spans of this process from now on.
///
/// # Errors
/// If the thread can't be started, or spans are exported already.
pub fn start(config: &TracingConfig, metrics: &Registry) -> io::Result<Exporter> {
    let (sink, exporter) = open(config, metrics)?;
    SINK.set(sink).map_err(|_| io::Error::other("spans are exported already"))?;
    Ok(exporter)
}

fn open(config: &TracingConfig, metrics: &Registry) -> io::Result<(Sink, Exporter)> {
    let (queue, spans) = sync_channel(QUEUE_MAX);
    let dropped = metrics.counter("mall_spans_dropped_total", "Spans that were not exported.");
    let exported = metrics.counter("mall_spans_exported_total", "Spans that the collector has taken.");
    let stop = Arc::new(AtomicBool::new(false));
    let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_MAX)).max_redirects(0);
    let url = format!("{}/v1/traces", config.otlp_url.expose().trim_end_matches('/'));
    let (agent, stopping) = (agent.build().new_agent(), stop.clone());
    let worker = ExportThread { agent, url, spans, stop: stopping, exported, dropped: dropped.clone() };
    let thread = Builder::new().name("spans".to_owned()).spawn(move || worker.run())?;
    let sink = Sink { queue, sampled_per_million: config.sampled_per_million, dropped };
    Ok((sink, Exporter { stop, thread: Some(thread) }))
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        let begun = Instant::now();
        while !thread.is_finished() {
            if begun.elapsed() >= FLUSH_MAX {
                tracing::warn!("tracing.otlp_url: the collector did not take the last spans in time");
                return;
            }
            sleep(LOOK_EVERY);
        }
    }
}

/// Why a batch was not taken.
enum Failure {
    /// It may be taken later.
    Passing(String),
    /// It will never be.
    Final(String),
}

struct ExportThread {
    agent: Agent,
    url: String,
    spans: Receiver<Span>,
    stop: Arc<AtomicBool>,
    exported: Counter,
    dropped: Counter,
}

impl ExportThread {
    fn run(self) {
        let (mut pause, mut failures) = (PAUSE, FailureStreak::default());
        let mut batch = Vec::new();
        loop {
            // Read first: a span that was queued before the stop is then in the queue.
            let is_stopping = self.is_stopping();
            let is_open = self.fill(&mut batch, is_stopping);
            if batch.is_empty() {
                if is_stopping || !is_open {
                    return;
                }
                continue;
            }
            let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            match self.post(&batch) {
                Ok(()) => {
                    self.exported.add(spans);
                    batch.clear();
                    pause = PAUSE;
                    failures.end();
                }
                Err(Failure::Final(reason)) => {
                    tracing::warn!(reason, spans, "tracing.otlp_url: the collector refused spans; they are dropped");
                    self.dropped.add(spans);
                    batch.clear();
                }
                Err(Failure::Passing(reason)) => {
                    if failures.count() {
                        tracing::warn!(reason, "tracing.otlp_url: spans can't be exported; this is tried again");
                    }
                    if is_stopping {
                        let queued = u64::try_from(self.spans.try_iter().count()).unwrap_or(u64::MAX);
                        self.dropped.add(spans.saturating_add(queued));
                        return;
                    }
                    self.pause(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Fills the batch from the queue; whether more can come. While the process stops, nothing is waited for.
    fn fill(&self, batch: &mut Vec<Span>, is_stopping: bool) -> bool {
        let until = Instant::now() + if is_stopping { Duration::ZERO } else { BATCH_WAIT };
        while batch.len() < BATCH_MAX {
            match self.spans.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(span) => batch.push(span),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    fn post(&self, batch: &[Span]) -> Result<(), Failure> {
        let body = request(batch).to_string();
        let sent = self.agent.post(&self.url).header("Content-Type", "application/json").send(body);
        let status = sent.map_err(|error| Failure::Passing(error.to_string()))?.status();
        match status.as_u16() {
            200..=299 => Ok(()),
            408 | 429 | 500..=599 => Err(Failure::Passing(format!("status {status}"))),
            _ => Err(Failure::Final(format!("status {status}"))),
        }
    }

    fn pause(&self, pause: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < pause && !self.is_stopping() {
            sleep(LOOK_EVERY);
        }
    }
}

/// An `ExportTraceServiceRequest`.
fn request(batch: &[Span]) -> Value {
    let mut services: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for span in batch {
        services.entry(&span.service).or_default().push(span_json(span));
    }
    let of_service = |(service, spans): (&str, Vec<Value>)| {
        json!({
            "resource": { "attributes": [attribute("service.name", &AttributeValue::from(service.to_owned()))] },
            "scopeSpans": [{ "scope": { "name": "mall" }, "spans": spans }],
        })
    };
    json!({ "resourceSpans": services.into_iter().map(of_service).collect::<Vec<_>>() })
}

fn span_json(span: &Span) -> Value {
    let attributes: Vec<Value> = span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let link = |link: &TraceContext| json!({ "traceId": hex_trace(*link), "spanId": hex_span(link.span_id()) });
    let links: Vec<Value> = span.links.iter().map(link).collect();
    json!({
        "traceId": hex_trace(span.context),
        "spanId": hex_span(span.context.span_id()),
        "parentSpanId": span.parent.map_or_else(String::new, hex_span),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.began_ns.to_string(),
        "endTimeUnixNano": span.ended_ns.to_string(),
        "attributes": attributes,
        "links": links,
        "status": if span.is_error { json!({ "code": 2 }) } else { json!({}) },
    })
}

fn hex_trace(context: TraceContext) -> String {
    format!("{:032x}", context.trace_id())
}

fn hex_span(id: u64) -> String {
    format!("{id:016x}")
}

fn attribute(name: &str, value: &AttributeValue) -> Value {
    let value = match value {
        AttributeValue::Text(text) => json!({ "stringValue": text }),
        // 64-bit integers are text in JSON.
        AttributeValue::Number(number) => json!({ "intValue": number.to_string() }),
    };
    json!({ "key": name, "value": value })
}

#[cfg(test)]
mod tests;
