//! Gives the spans of the cores to the exporter.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use foundation::spans::{self, FinishedSpan, SpanKind};
use gateway_core::{CoreSpan, Spanned};

static SERVICE: LazyLock<Arc<str>> = LazyLock::new(|| "gateway".into());

/// Never waits: where the exporter's queue is full, the span is dropped and counted. `now` is [`gateway_core::Now::mono`].
pub(crate) fn export(span: CoreSpan, now: Duration) {
    let CoreSpan { of, activity, context, parent, links, began, outcome, is_error } = span;
    let mut attributes = vec![("mall.activity", activity.to_string().into()), ("mall.outcome", outcome.into())];
    let (name, kind) = match of {
        Spanned::Request(order) => {
            attributes.push(("mall.order", order.to_string().into()));
            ("reserve", SpanKind::Server)
        }
        Spanned::Batch => ("ledger batch", SpanKind::Client),
    };
    let ago = (now.saturating_sub(began), Duration::ZERO);
    let service = SERVICE.clone();
    spans::export(FinishedSpan { service, name, kind, context, parent, ago, attributes, links, is_error });
}
