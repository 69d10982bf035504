//! The live board of a sale as server-sent events.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use contract::ActivityId;
use foundation::Clock;
use futures_util::{StreamExt as _, stream};
use ledger::LedgerClient;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;
use web::{Path, Problem};

use super::{
    Api,
    refused::{Refused, not_found},
};
use crate::{
    actions::{
        Staff,
        boards::{TICK_MS, Tick, watch},
        traffic::Traffic,
    },
    pages,
};

/// Has nginx pass each tick on at once.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");
/// How long a stream lasts, in ticks; then the browser asks for another one and shows that it may.
const TICKS_MAX: u32 = 300;

/// Somebody of the staff, by a bearer token, or by the cookie of the pages: an `EventSource` sends no header.
pub(super) struct Watcher;

impl<K: LedgerClient, C: Clock> FromRequestParts<Api<K, C>> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api<K, C>) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::AUTHORIZATION)
            && let Ok(Some((account, _))) = pages::session(&parts.headers, api).await
            && !account.must_change_password
        {
            return Ok(Self);
        }
        Staff::from_request_parts(parts, api).await.map(|_| Self)
    }
}

/// Each event: the first has the ticks of the last ten minutes, later ones have one. The traffic is that of the last second.
#[derive(Serialize, ToSchema)]
struct Ticks {
    ticks: Vec<Tick>,
    traffic: Traffic,
}

struct Stream<K, C> {
    api: Api<K, C>,
    id: ActivityId,
    /// When the last tick that was sent was taken.
    sent_ms: Option<u64>,
    left: u32,
    _room: OwnedSemaphorePermit,
}

/// Watch a sale: server-sent events named `ticks`, one a second, of ledger, log and database compared.
#[utoipa::path(
    get, path = "/activities/{id}/live", tag = "activities", operation_id = "watch_activity",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "A stream that ends after five minutes.", body = Ticks, content_type = "text/event-stream"),
        (status = 503, description = "`busy`: too many boards are open."),
    ),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn live<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Watcher,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    api.store.sales().sale(id).await?.ok_or_else(|| not_found("activity"))?;
    let room = api.boards.stream().ok_or_else(|| {
        let detail = "too many boards are open; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after_s(5)
    })?;
    let begun = Stream { api, id, sent_ms: None, left: TICKS_MAX, _room: room };
    let events = stream::unfold(begun, next).map(Ok::<_, Infallible>);
    Ok(([(header::CACHE_CONTROL, "no-store"), UNBUFFERED], Sse::new(events)).into_response())
}

/// Waits for a tick that was not sent; the end of the stream when the process stops, which would otherwise wait for it.
/// A look that fails is a comment, which browsers ignore.
async fn next<K: LedgerClient, C: Clock>(mut stream: Stream<K, C>) -> Option<(Event, Stream<K, C>)> {
    stream.left = stream.left.checked_sub(1)?;
    if let Some(sent_ms) = stream.sent_ms {
        tokio::select! {
            biased;
            () = stream.api.stop.cancelled() => return None,
            () = stream.api.clock.sleep_until(sent_ms + TICK_MS) => {}
        }
    }
    let event = match watch(&stream.api, stream.id).await {
        Ok(mut ticks) => {
            if let Some(sent_ms) = stream.sent_ms {
                ticks.retain(|tick| tick.at > sent_ms);
            }
            stream.sent_ms = ticks.last().map(|tick| tick.at).or(stream.sent_ms);
            let ticks = ticks.iter().map(|tick| Tick::clone(tick)).collect();
            Event::default().event("ticks").json_data(Ticks { ticks, traffic: stream.api.traffic() }).ok()
        }
        Err(refusal) => {
            tracing::warn!(activity = %stream.id, ?refusal, "a board can't be read");
            stream.sent_ms = Some(stream.api.clock.now_ms());
            None
        }
    };
    Some((event.unwrap_or_else(|| Event::default().comment("no data")), stream))
}
