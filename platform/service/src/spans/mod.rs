//! Spans of distributed traces: what a process did for one request, and for how long.
//!
//! Nothing is measured and no id is drawn before `otlp::start` has run, which needs the feature `trace` and the setting
//! `tracing.otlp_url`. A span has no personal data: names, routes, statuses and ids of the mall, never values of a request.

#[cfg(feature = "trace")]
pub mod otlp;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock, mpsc::SyncSender},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use contract::trace::{TraceContext, is_sampled_at};

use crate::metrics::Counter;

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
    /// A message is sent.
    Producer = 4,
    /// A message is processed.
    Consumer = 5,
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
#[cfg_attr(not(feature = "trace"), allow(dead_code, reason = "only the exporter reads it"))]
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
    /// Spans of other traces that it worked for as well.
    links: Vec<TraceContext>,
    is_error: bool,
}

/// A span that was measured elsewhere, such as by a core without clock and runtime.
#[derive(Debug)]
pub struct FinishedSpan {
    /// Who did the work.
    pub service: Arc<str>,
    /// What it did.
    pub name: &'static str,
    /// Its role.
    pub kind: SpanKind,
    /// The span itself.
    pub context: TraceContext,
    /// The id of its parent.
    pub parent: Option<u64>,
    /// How long ago it began and ended.
    pub ago: (Duration, Duration),
    /// Names and values.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Spans of other requests that it worked for as well.
    pub links: Vec<TraceContext>,
    /// It failed.
    pub is_error: bool,
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
    if recorded.is_none() && !is_sampled_at(trace_id, sink.sampled_per_million) {
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

/// A span of `service` that continues a trace which a message has brought; nothing where spans are not exported, or its
/// sender records none.
pub fn continuing(service: &Arc<str>, message: Option<TraceContext>, name: &'static str, kind: SpanKind) -> ActiveSpan {
    let Some((sink, message)) = SINK.get().zip(message.filter(|message| message.is_sampled())) else {
        return ActiveSpan(None);
    };
    ActiveSpan::start(sink, service.clone(), kind, (message.trace_id(), Some(message.span_id()))).named(name)
}

/// Exports a span that has ended. Never waits; nothing happens where spans are not exported.
pub fn export(span: FinishedSpan) {
    let Some(sink) = SINK.get() else { return };
    let FinishedSpan { service, name, kind, context, parent, ago: (began, ended), attributes, links, is_error } = span;
    let now = epoch_ns();
    let instant = |ago: Duration| now.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX));
    let (began_ns, ended_ns, name) = (instant(began), instant(ended), Cow::Borrowed(name));
    sink.export(Span { service, name, kind, context, parent, began_ns, ended_ns, attributes, links, is_error });
}

/// How many of a million traces are recorded that no sender has decided on; `None` where spans are not exported.
pub fn sampled_per_million() -> Option<u32> {
    SINK.get().map(|sink| sink.sampled_per_million)
}

/// Runs `work`, whose [`child`] spans are children of `span`.
pub fn within<F: Future>(span: &ActiveSpan, work: F) -> impl Future<Output = F::Output> {
    let current = span.0.as_ref().map(|(_, span)| Current { service: span.service.clone(), context: span.context });
    CURRENT.scope(current, work)
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
        let (attributes, links) = (Vec::new(), Vec::new());
        let (ended_ns, is_error) = (began_ns, false);
        let span = Span { service, name, kind, context, parent, began_ns, ended_ns, attributes, links, is_error };
        Self(Some((sink, Box::new(span))))
    }

    /// The span's place in its trace, for what it causes; `None` where there is no span.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|(_, span)| span.context)
    }

    /// Adds a span of another trace that this one works for as well.
    pub fn link(&mut self, to: TraceContext) {
        if let Some((_, span)) = &mut self.0 {
            span.links.push(to);
        }
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
