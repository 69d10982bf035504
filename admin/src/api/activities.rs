//! Flash sales.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::{
    ActivityId, Cents, SkuId,
    activity::{Admission, Door, Rules},
    openapi,
    stock::Counters,
};
use foundation::{
    Clock,
    web::{
        Json, Path, Problem, Query, Raw, json_from,
        openapi::{IdempotencyKey, IfMatch},
    },
};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{AddedSale, NewSale, PRICE_CENTS_MAX, Sale, SalePatch, TITLE_CHARS_MAX};
use utoipa::ToSchema;

use super::{
    Api,
    catalogue::{STOCK_MAX, named, priced},
    refused::{Refused, changed, insufficient_stock, invalid, not_found},
    request::{ListBody, PageQuery, Staff, if_match, once, tagged},
};
use crate::{
    audit::{Audit, audit as run_audit},
    opening::{self, OpenOutcome},
    warmer::{LEAD_MS, is_due},
};

const PER_USER_LIMIT_MAX: u32 = 1_000_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewActivity)]
struct NewBody {
    #[schema(schema_with = openapi::name::<TITLE_CHARS_MAX>)]
    title: String,
    sku_id: SkuId,
    #[schema(schema_with = openapi::whole::<0, PRICE_CENTS_MAX>)]
    price_cents: Cents,
    #[schema(schema_with = openapi::whole::<1, { STOCK_MAX as i64 }>)]
    stock: u64,
    #[schema(schema_with = openapi::whole::<1, { PER_USER_LIMIT_MAX as i64 }>)]
    per_user_limit: u32,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    starts_at: u64,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    ends_at: u64,
    requires_ticket: Option<bool>,
    captcha: Option<bool>,
    #[serde(default)]
    invited_only: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ActivityPatch)]
pub(super) struct PatchBody {
    #[schema(schema_with = openapi::name_or_null::<TITLE_CHARS_MAX>)]
    title: Option<String>,
    #[schema(schema_with = openapi::whole_or_null::<0, PRICE_CENTS_MAX>)]
    price_cents: Option<Cents>,
    #[schema(schema_with = openapi::whole_or_null::<1, { STOCK_MAX as i64 }>)]
    stock: Option<u64>,
    #[schema(schema_with = openapi::whole_or_null::<1, { PER_USER_LIMIT_MAX as i64 }>)]
    per_user_limit: Option<u32>,
    #[serde(default, with = "foundation::rfc3339::option")]
    #[schema(schema_with = openapi::time_or_null)]
    starts_at: Option<u64>,
    #[serde(default, with = "foundation::rfc3339::option")]
    #[schema(schema_with = openapi::time_or_null)]
    ends_at: Option<u64>,
    requires_ticket: Option<bool>,
    captcha: Option<bool>,
    invited_only: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Activity)]
pub(super) struct ActivityBody {
    activity_id: ActivityId,
    title: String,
    sku_id: SkuId,
    price_cents: Cents,
    original_price_cents: Cents,
    stock: u64,
    per_user_limit: u32,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    starts_at: u64,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    ends_at: u64,
    requires_ticket: bool,
    captcha: bool,
    invited_only: bool,
    paused: bool,
    ledger_open: bool,
    version: u64,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
}

impl From<Sale> for ActivityBody {
    fn from(Sale { activity, stock, created_at_ms, ledger_open, opening: _ }: Sale) -> Self {
        Self {
            activity_id: activity.id,
            title: activity.title,
            sku_id: activity.sku,
            price_cents: activity.price,
            original_price_cents: activity.original_price,
            stock,
            per_user_limit: activity.rules.per_user_limit,
            starts_at: activity.rules.starts_at_ms,
            ends_at: activity.rules.ends_at_ms,
            requires_ticket: activity.admission.door != Door::Open,
            captcha: activity.admission.door == Door::Captcha,
            invited_only: activity.admission.invited_only,
            paused: activity.admission.paused,
            ledger_open,
            version: activity.version,
            created_at: created_at_ms,
        }
    }
}

/// A ledger's counters, in units.
#[derive(Serialize, ToSchema)]
#[schema(as = Counters)]
pub(super) struct CountersBody {
    activity_id: ActivityId,
    term: u64,
    epoch: u64,
    seq: u64,
    total: u64,
    available: u64,
    held: u64,
    sold: u64,
}

impl CountersBody {
    pub(super) fn of(activity_id: ActivityId, counters: Counters) -> Self {
        let Counters { total, available, held, sold, term, epoch, seq } = counters;
        Self { activity_id, term: term.0, epoch, seq, total, available, held, sold }
    }
}

fn limited(limit: u32) -> Result<(), Refused> {
    if (1..=PER_USER_LIMIT_MAX).contains(&limit) { Ok(()) } else { Err(invalid("per_user_limit is 1 to 1000000")) }
}

fn stocked(stock: u64) -> Result<(), Refused> {
    if (1..=STOCK_MAX).contains(&stock) { Ok(()) } else { Err(invalid("stock is 1 to 1000000000")) }
}

/// The door that was asked for, where it was `before`. A captcha is asked for before a ticket is given.
fn door(before: Door, requires_ticket: Option<bool>, captcha: Option<bool>) -> Result<Door, Refused> {
    match (requires_ticket, captcha) {
        (Some(false), Some(true)) => Err(invalid("captcha needs requires_ticket")),
        (_, Some(true)) => Ok(Door::Captcha),
        (Some(false), _) => Ok(Door::Open),
        (Some(true), Some(false)) => Ok(Door::Ticket),
        (Some(true), None) => Ok(if before == Door::Open { Door::Ticket } else { before }),
        (None, Some(false)) => Ok(if before == Door::Captcha { Door::Ticket } else { before }),
        (None, None) => Ok(before),
    }
}

fn check(asked: NewBody, now_ms: u64) -> Result<NewSale, Refused> {
    named(&asked.title, TITLE_CHARS_MAX, "title")?;
    priced(asked.price_cents)?;
    stocked(asked.stock)?;
    limited(asked.per_user_limit)?;
    if asked.price_cents.times(asked.per_user_limit).is_none() {
        return Err(invalid("price_cents times per_user_limit does not fit"));
    }
    if asked.ends_at <= asked.starts_at || asked.ends_at <= now_ms {
        return Err(invalid("ends_at must be after starts_at and in the future"));
    }
    let door = door(Door::Open, asked.requires_ticket, asked.captcha)?;
    let admission = Admission { paused: false, invited_only: asked.invited_only, door };
    let NewBody { title, sku_id: sku, price_cents: price, stock, per_user_limit, starts_at, ends_at, .. } = asked;
    let rules = Rules { per_user_limit, starts_at_ms: starts_at, ends_at_ms: ends_at };
    Ok(NewSale { title, sku, price, stock, rules, admission })
}

/// Make a flash sale. Its units leave the SKU's stock.
#[utoipa::path(
    post, path = "/activities", tag = "activities",
    params(IdempotencyKey),
    request_body = NewBody,
    responses(
        (status = 201, description = "Created. `Idempotent-Replayed: true` if this key created it before.", body = ActivityBody,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`insufficient_stock` with the `stock`, or `request_running`."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn create<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Refused> {
    let asked: NewBody = json_from(&headers, &body)?;
    let make = async {
        let now_ms = api.clock.now_ms();
        let mut sale = match api.store.add_sale(check(asked, now_ms)?, now_ms).await? {
            AddedSale::Added(sale) => sale,
            AddedSale::UnknownSku => return Err(invalid("sku_id does not exist")),
            AddedSale::InsufficientStock(left) => return Err(insufficient_stock(left)),
        };
        if is_due(&sale, now_ms) {
            match opening::open(&api.store, &api.ledgers, sale.activity.id, now_ms).await {
                Ok(opened) => sale.ledger_open = matches!(opened, OpenOutcome::Open(_)),
                // It is written; the warmer opens it as soon as the ledger answers.
                Err(error) => tracing::warn!(activity = %sale.activity.id, %error, "not opened yet"),
            }
        }
        Ok(ActivityBody::from(sale))
    };
    once(&api, (&headers, &staff, "activities"), &body, make).await
}

/// Flash sales, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/activities", tag = "activities",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<ActivityBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.sales(query.page()?).await?, ActivityBody::from))
}

/// A flash sale.
#[utoipa::path(
    get, path = "/activities/{id}", tag = "activities",
    params(("id" = ActivityId, Path)),
    responses((status = 200, description = "The sale.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    let sale = api.store.sale(id).await?.ok_or_else(|| not_found("activity"))?;
    Ok(tagged(StatusCode::OK, sale.activity.version, ActivityBody::from(sale)))
}

/// Change a flash sale whose ledger is not open yet; what is absent stays.
#[utoipa::path(
    patch, path = "/activities/{id}", tag = "activities",
    params(("id" = ActivityId, Path), IfMatch),
    request_body = PatchBody,
    responses(
        (status = 200, description = "After the change.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: its ledger is open or about to be; or `insufficient_stock` with the `stock`."),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn patch<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
    headers: HeaderMap,
    Json(asked): Json<PatchBody>,
) -> Result<Response, Refused> {
    asked.title.as_deref().map_or(Ok(()), |title| named(title, TITLE_CHARS_MAX, "title"))?;
    asked.price_cents.map_or(Ok(()), priced)?;
    asked.stock.map_or(Ok(()), stocked)?;
    asked.per_user_limit.map_or(Ok(()), limited)?;
    let version = if_match(&headers)?;
    let before = api.store.sale(id).await?.ok_or_else(|| not_found("activity"))?;
    let door = Some(door(before.activity.admission.door, asked.requires_ticket, asked.captcha)?);
    let PatchBody { title, price_cents: price, stock, per_user_limit, starts_at, ends_at, invited_only, .. } = asked;
    let (starts_at_ms, ends_at_ms) = (starts_at, ends_at);
    let patch = SalePatch { title, price, stock, per_user_limit, starts_at_ms, ends_at_ms, invited_only, door };
    let changeable_until_ms = api.clock.now_ms() + LEAD_MS;
    let sale = changed(api.store.patch_sale(id, version, patch, changeable_until_ms).await?, "activity")?;
    Ok(tagged(StatusCode::OK, sale.activity.version, ActivityBody::from(sale)))
}

/// Open a flash sale's ledger ahead of time.
#[utoipa::path(
    post, path = "/activities/{id}/warm", tag = "activities",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The ledger is open.", body = CountersBody),
        (status = 409, description = "`invalid_transition`: the sale is over."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn warm<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Json<impl Serialize>, Refused> {
    match opening::open(&api.store, &api.ledgers, id, api.clock.now_ms()).await? {
        OpenOutcome::Open(counters) => Ok(Json(CountersBody::of(id, counters))),
        OpenOutcome::Unknown => Err(not_found("activity")),
        OpenOutcome::Over => Err(Problem::new(StatusCode::CONFLICT, "invalid_transition", "the sale is over").into()),
    }
}

/// Audit a flash sale: ledger, log and database held against each other.
///
/// A side that lags is waited for, for five seconds at most.
#[utoipa::path(
    get, path = "/activities/{id}/audit", tag = "activities",
    params(("id" = ActivityId, Path)),
    responses((status = 200, description = "The result of every check.", body = Audit)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn audit<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    api.store.sale(id).await?.ok_or_else(|| not_found("activity"))?;
    let audit = run_audit(id, (&api.store, &api.ledgers, &api.book, &api.clock)).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(audit)).into_response())
}
