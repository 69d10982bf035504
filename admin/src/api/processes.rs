//! The processes of the mall.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::State;
use contract::{
    openapi,
    record::{LATENCY_BOUNDS_US, ProcessReport},
};
use foundation::Clock;
use ledger::LedgerClient;
use serde::Serialize;
use store::Listed;
use utoipa::ToSchema;
use web::{Json, Query};

use super::{
    Api,
    refused::Refused,
    request::{ListBody, PageQuery},
};
use crate::{actions::Staff, processes::is_alive};

#[derive(Serialize, ToSchema)]
#[schema(as = Process)]
struct ProcessBody {
    /// A new id after each start.
    process_id: String,
    /// `gateway`, `order-core` or `admin`.
    role: &'static str,
    host: String,
    #[schema(example = "0.1.0")]
    version: String,
    /// The worker ids with which it makes ids.
    worker_ids: Vec<u16>,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    started_at: u64,
    /// When it reported this, by its clock.
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    reported_at: u64,
    /// Whether it has reported in the last five seconds.
    is_alive: bool,
    /// Requests that it answered since its start.
    answers: u64,
    /// Of a gateway the reservations that it confirmed, else the answers below 400.
    accepted: u64,
    /// How often it refused, by reason.
    refusals: BTreeMap<String, u64>,
    latency: LatencyBody,
}

/// Of a gateway how long ledgers took to answer batches, else how long requests took; since the start of the process.
#[derive(Serialize, ToSchema)]
#[schema(as = Latency)]
struct LatencyBody {
    count: u64,
    sum_us: u64,
    /// Half of them took at most this; null if nothing was measured, or if it is above every bound.
    p50_us: Option<u64>,
    /// 99 of 100 took at most this.
    p99_us: Option<u64>,
    /// How many took at most as long as each bound, and longer than the bound before it. Those of several processes can
    /// be added.
    buckets: Vec<BucketBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LatencyBucket)]
struct BucketBody {
    /// Null for what took longer than every bound.
    at_most_us: Option<u64>,
    count: u64,
}

impl ProcessBody {
    fn new(report: &ProcessReport, now_ms: u64) -> Self {
        let ProcessReport { latency, .. } = report;
        let bounds = LATENCY_BOUNDS_US.into_iter().map(Some).chain([None]);
        let bucket = |(at_most_us, count): (Option<u64>, &u64)| BucketBody { at_most_us, count: *count };
        Self {
            process_id: report.process.to_string(),
            role: report.role.as_str(),
            host: report.host.clone(),
            version: report.version.clone(),
            worker_ids: report.workers.clone(),
            started_at: report.started_at_ms,
            reported_at: report.at_ms,
            is_alive: is_alive(report, now_ms),
            answers: report.answers,
            accepted: report.accepted,
            refusals: report.refusals.iter().map(|refusals| (refusals.reason.clone(), refusals.count)).collect(),
            latency: LatencyBody {
                count: latency.count(),
                sum_us: latency.sum_us,
                p50_us: latency.quantile_us(500),
                p99_us: latency.quantile_us(990),
                buckets: bounds.zip(&latency.counts).map(bucket).collect(),
            },
        }
    }
}

/// Processes that reported in the last hour, a page at a time. Each start of a process has a number of its own.
#[utoipa::path(
    get, path = "/processes", tag = "processes",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<ProcessBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list_processes<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    let page = query.page()?;
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut items = api.processes.page(page.before, limit.saturating_add(1));
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).map(|last| last.process);
    let now_ms = api.clock.now_ms();
    Ok(ListBody::of(Listed { items, next }, |report: Arc<ProcessReport>| ProcessBody::new(&report, now_ms)))
}
