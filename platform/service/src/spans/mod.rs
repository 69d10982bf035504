//! Spans of distributed traces: what a process did for one request, and for how long.
//!
//! Nothing is measured and no id is drawn before `otlp::start` has run, which needs the feature `trace` and the setting
//! `tracing.otlp_url`. A span has no personal data: names, routes, statuses and ids of the mall, never values of a request.

#[cfg(feature = "trace")]
pub mod otlp;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock, mpsc::SyncSender},
    time::{SystemTime, UNIX_EPOCH},
};

use contract::trace::TraceContext;

use crate::metrics::Counter;

/// What a rate is out of.
const MILLION: u128 = 1_000_000;

static SINK: OnceLock<Sink> = OnceLock::new();

tokio::task_local! {
    static CURRENT: Option<Current>;
}

/// Where the spans of this process go.
#[cfg_attr(not(feature = "trace"), allow(dead_code, reason = "only the exporter makes one"))]
#[derive(Debug, Clone)]
struct Sink {
    queue: SyncSender<Span>,
    sampled_per_million: u32,
    dropped: Counter,
}

/// The span that the running task works for.
#[derive(Debug, Clone)]
struct Current {
    service: Arc<str>,
    context: TraceContext,
}

/// The role of a span between its parent and its children, as OpenTelemetry numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work within the process.
    Internal = 1,
    /// A request is answered.
    Server = 2,
    /// Another server is asked.
    Client = 3,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

/// A span that has ended.
#[derive(Debug, Clone)]
struct Span {
    service: Arc<str>,
    name: Cow<'static, str>,
    kind: SpanKind,
    context: TraceContext,
    parent: Option<u64>,
    /// Epoch nanoseconds.
    began_ns: u64,
    /// Epoch nanoseconds.
    ended_ns: u64,
    attributes: Vec<(&'static str, AttributeValue)>,
    is_error: bool,
}

/// A span that is exported when it is dropped, or nothing where the request is not sampled.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct ActiveSpan(Option<(&'static Sink, Box<Span>)>);

/// Whether spans are exported at all.
pub fn is_on() -> bool {
    SINK.get().is_some()
}

/// The span of a request that `service` answers. `incoming` is what the client sent; without it, `trace_id` is the id of
/// the new trace. A request that its sender records is always traced, others at the rate of the setting.
pub fn server(
    service: &Arc<str>,
    incoming: Option<TraceContext>,
    trace_id: impl FnOnce() -> Option<u128>,
) -> ActiveSpan {
    let Some(sink) = SINK.get() else { return ActiveSpan(None) };
    let recorded = incoming.filter(|context| context.is_sampled());
    let Some(trace_id) = incoming.map(TraceContext::trace_id).or_else(trace_id) else { return ActiveSpan(None) };
    if recorded.is_none() && !is_sampled(trace_id, sink.sampled_per_million) {
        return ActiveSpan(None);
    }
    // A sender that has not recorded its span is no parent that a collector could show.
    let parent = recorded.map(TraceContext::span_id);
    ActiveSpan::start(sink, service.clone(), SpanKind::Server, (trace_id, parent))
}

/// A child of the span that the running task works for; nothing where there is none.
pub fn child(name: &'static str, kind: SpanKind) -> ActiveSpan {
    let Some(sink) = SINK.get() else { return ActiveSpan(None) };
    let Some(Current { service, context }) = CURRENT.try_with(Clone::clone).ok().flatten() else {
        return ActiveSpan(None);
    };
    ActiveSpan::start(sink, service, kind, (context.trace_id(), Some(context.span_id()))).named(name)
}

/// Runs `work`, whose [`child`] spans are children of `span`.
pub fn within<F: Future>(span: &ActiveSpan, work: F) -> impl Future<Output = F::Output> {
    let current = span.0.as_ref().map(|(_, span)| Current { service: span.service.clone(), context: span.context });
    CURRENT.scope(current, work)
}

/// Whether a trace that nobody has decided on is exported. The id decides, so every service decides the same.
fn is_sampled(trace_id: u128, per_million: u32) -> bool {
    trace_id % MILLION < u128::from(per_million)
}

impl Sink {
    /// Never waits: where the queue is full, the span is dropped and counted.
    fn export(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.add(1);
        }
    }
}

impl ActiveSpan {
    /// Without randomness there is no span.
    fn start(sink: &'static Sink, service: Arc<str>, kind: SpanKind, (trace_id, parent): (u128, Option<u64>)) -> Self {
        let context = getrandom::u64().ok().and_then(|span_id| TraceContext::new(trace_id, span_id, true));
        let Some(context) = context else { return Self(None) };
        let (name, began_ns) = (Cow::Borrowed(""), epoch_ns());
        let attributes = Vec::new();
        let span =
            Span { service, name, kind, context, parent, began_ns, ended_ns: began_ns, attributes, is_error: false };
        Self(Some((sink, Box::new(span))))
    }

    /// The span with a name.
    pub fn named(mut self, name: &'static str) -> Self {
        self.rename(|| Cow::Borrowed(name));
        self
    }

    /// Names the span; `name` is not called where there is none.
    pub fn rename(&mut self, name: impl FnOnce() -> Cow<'static, str>) {
        if let Some((_, span)) = &mut self.0 {
            span.name = name();
        }
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<AttributeValue>) {
        if let Some((_, span)) = &mut self.0 {
            span.attributes.push((name, value.into()));
        }
    }

    /// Marks the span as failed.
    pub const fn fail(&mut self) {
        if let Some((_, span)) = &mut self.0 {
            span.is_error = true;
        }
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if let Some((sink, mut span)) = self.0.take() {
            span.ended_ns = epoch_ns();
            sink.export(*span);
        }
    }
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// Spans have wall-clock times, because those of several processes are shown together.
fn epoch_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::is_sampled;

    #[test]
    fn a_rate_is_the_share_of_all_trace_ids() {
        let sampled = |per_million| (0..2_000_000).filter(|id| is_sampled(*id, per_million)).count();
        assert_eq!([sampled(0), sampled(10_000), sampled(1_000_000)], [0, 20_000, 2_000_000]);
    }
}
