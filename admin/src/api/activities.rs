//! Flash sales.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::{
    ActivityId, Cents, SkuId,
    activity::{AnswerAfter, Door},
    openapi,
    stock::Counters,
};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{PRICE_CENTS_MAX, Sale, Store, TITLE_CHARS_MAX};
use utoipa::ToSchema;
use web::{
    Json, Path, Query, Raw, json_from,
    openapi::{IdempotencyKey, IfMatch},
};

use super::{
    Api,
    refused::{Refused, not_found},
    request::{ListBody, PageQuery, if_match, make_once, tagged},
};
use crate::{
    actions::{
        Staff,
        fields::STOCK_MAX,
        sales::{self as actions, PAY_WITHIN_MS_MAX, PAY_WITHIN_MS_MIN, PER_USER_LIMIT_MAX, SaleChanges, SaleFields},
    },
    audit::{Audit, audit as run_audit},
};

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
    /// Without it, `ledger.answer_after` of the configuration applies.
    answer_after: Option<AnswerAfterWord>,
    /// Only users who registered before this time may take part, and users on the list.
    #[serde(default, with = "foundation::rfc3339::option")]
    #[schema(schema_with = openapi::time_or_null)]
    registered_before: Option<u64>,
    /// Only admins see a draft. It is published by `draft: false` in a change.
    #[serde(default)]
    draft: bool,
    /// How long an order of this sale waits for its payment. Without it, `orders.pay_within_ms` of the configuration
    /// applies.
    #[schema(schema_with = openapi::whole_or_null::<{ PAY_WITHIN_MS_MIN as i64 }, { PAY_WITHIN_MS_MAX as i64 }>)]
    pay_within_ms: Option<u64>,
}

/// When a buyer is answered that units are held.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AnswerAfter)]
enum AnswerAfterWord {
    /// As soon as the ledger has decided: the order survives the loss of any one server.
    Script,
    /// Once the gateway has read the reservation on the journal: the order survives everything but the loss of the log.
    Log,
}

impl From<AnswerAfterWord> for AnswerAfter {
    fn from(word: AnswerAfterWord) -> Self {
        match word {
            AnswerAfterWord::Script => Self::Script,
            AnswerAfterWord::Log => Self::Log,
        }
    }
}

impl From<AnswerAfter> for AnswerAfterWord {
    fn from(answer_after: AnswerAfter) -> Self {
        match answer_after {
            AnswerAfter::Script => Self::Script,
            AnswerAfter::Log => Self::Log,
        }
    }
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
    answer_after: Option<AnswerAfterWord>,
    /// Only users who registered before this time may take part, and users on the list; null for all users.
    #[serde(default, deserialize_with = "stated_time")]
    #[schema(schema_with = openapi::time_or_null)]
    registered_before: Option<Option<u64>>,
    /// `false` publishes a draft. A sale that is published does not become a draft again.
    draft: Option<bool>,
    /// How long an order of this sale waits for its payment; null for `orders.pay_within_ms` of the configuration.
    #[serde(default, deserialize_with = "stated")]
    #[schema(schema_with = openapi::whole_or_null::<{ PAY_WITHIN_MS_MIN as i64 }, { PAY_WITHIN_MS_MAX as i64 }>)]
    pay_within_ms: Option<Option<u64>>,
}

/// A member that is there, and may be null.
fn stated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The same for a time.
fn stated_time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    foundation::rfc3339::option::deserialize(deserializer).map(Some)
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
    answer_after: AnswerAfterWord,
    paused: bool,
    /// Only users who registered before this time may take part, and users on the list; null where all users may.
    #[serde(with = "foundation::rfc3339::option")]
    #[schema(schema_with = openapi::time_or_null)]
    registered_before: Option<u64>,
    /// Only admins see it. Its units have left the SKU's stock.
    draft: bool,
    /// How long an order of this sale waits for its payment; null where `orders.pay_within_ms` of the configuration applies.
    #[schema(schema_with = openapi::whole_or_null::<{ PAY_WITHIN_MS_MIN as i64 }, { PAY_WITHIN_MS_MAX as i64 }>)]
    pay_within_ms: Option<u64>,
    ledger_open: bool,
    version: u64,
    #[serde(with = "foundation::rfc3339")]
    #[schema(schema_with = openapi::time)]
    created_at: u64,
}

impl From<Sale> for ActivityBody {
    fn from(sale: Sale) -> Self {
        let Sale { activity, stock, created_at_ms, ledger_open, opening: _, pay_within_ms, is_draft } = sale;
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
            answer_after: activity.admission.answer_after.into(),
            paused: activity.admission.paused,
            registered_before: activity.admission.registered_before_ms,
            pay_within_ms,
            draft: is_draft,
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

impl From<NewBody> for SaleFields {
    fn from(body: NewBody) -> Self {
        let NewBody { title, sku_id, price_cents, stock, per_user_limit, starts_at, ends_at, .. } = body;
        let NewBody { requires_ticket, captcha, invited_only, registered_before, pay_within_ms, draft, .. } = body;
        let answer_after = body.answer_after.map(AnswerAfter::from);
        Self {
            title,
            sku: sku_id,
            price: price_cents,
            stock,
            per_user_limit,
            starts_at_ms: starts_at,
            ends_at_ms: ends_at,
            requires_ticket,
            captcha,
            invited_only,
            answer_after,
            registered_before_ms: registered_before,
            is_draft: draft,
            pay_within_ms,
        }
    }
}

impl From<PatchBody> for SaleChanges {
    fn from(body: PatchBody) -> Self {
        let PatchBody { title, price_cents, stock, per_user_limit, starts_at, ends_at, .. } = body;
        let PatchBody { requires_ticket, captcha, invited_only, registered_before, pay_within_ms, draft, .. } = body;
        let answer_after = body.answer_after.map(AnswerAfter::from);
        Self {
            title,
            price: price_cents,
            stock,
            per_user_limit,
            starts_at_ms: starts_at,
            ends_at_ms: ends_at,
            requires_ticket,
            captcha,
            invited_only,
            answer_after,
            registered_before_ms: registered_before,
            is_draft: draft,
            pay_within_ms,
        }
    }
}

/// Make a flash sale. Its units leave the SKU's stock.
#[utoipa::path(
    post, path = "/activities", tag = "activities", operation_id = "create_activity",
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
    let make = async |staff| Ok(ActivityBody::from(actions::create(&api, &staff, asked.into()).await?));
    let read = async |store: Store, id| match ActivityId::from_i64(id) {
        Some(id) => Ok(store.sales().sale(id).await?.map(ActivityBody::from)),
        None => Ok(None),
    };
    make_once(&api, (&headers, &staff, "activities"), &body, make, read).await
}

/// Flash sales, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/activities", tag = "activities", operation_id = "list_activities",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<ActivityBody>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn list<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.sales().all(query.page()?).await?, ActivityBody::from))
}

/// A flash sale.
#[utoipa::path(
    get, path = "/activities/{id}", tag = "activities", operation_id = "get_activity",
    params(("id" = ActivityId, Path)),
    responses((status = 200, description = "The sale.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn one<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    let sale = api.store.sales().sale(id).await?.ok_or_else(|| not_found("activity"))?;
    Ok(tagged(StatusCode::OK, sale.activity.version, ActivityBody::from(sale)))
}

/// Change a flash sale whose ledger is not open yet, or publish a draft; what is absent stays.
#[utoipa::path(
    patch, path = "/activities/{id}", tag = "activities", operation_id = "change_activity",
    params(("id" = ActivityId, Path), IfMatch),
    request_body = PatchBody,
    responses(
        (status = 200, description = "After the change.", body = ActivityBody, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 409, description = "`invalid_transition`: its ledger is open or about to be opened; or `insufficient_stock` with the `stock`."),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn patch<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
    headers: HeaderMap,
    Json(asked): Json<PatchBody>,
) -> Result<Response, Refused> {
    let asked = SaleChanges::from(asked);
    actions::check_changes(&asked)?;
    let change = |version| actions::patch(&api, &staff, (id, version), asked.clone());
    let sale = if_match(&headers)?.apply(change).await?;
    Ok(tagged(StatusCode::OK, sale.activity.version, ActivityBody::from(sale)))
}

/// Open a flash sale's ledger ahead of time.
#[utoipa::path(
    post, path = "/activities/{id}/warm", tag = "activities", operation_id = "warm_activity",
    params(("id" = ActivityId, Path)),
    responses(
        (status = 200, description = "The ledger is open.", body = CountersBody),
        (status = 409, description = "`invalid_transition`: the sale is over, or it is a draft."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn warm<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(Json(CountersBody::of(id, actions::warm(&api, &staff, id).await?)))
}

/// Audit a flash sale: ledger, log and database held against each other.
///
/// A side that lags is waited for, for five seconds at most.
#[utoipa::path(
    get, path = "/activities/{id}/audit", tag = "activities", operation_id = "audit_activity",
    params(("id" = ActivityId, Path)),
    responses((status = 200, description = "The result of every check.", body = Audit)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn audit<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ActivityId>,
) -> Result<Response, Refused> {
    api.store.sales().sale(id).await?.ok_or_else(|| not_found("activity"))?;
    let audit = run_audit(id, (&api.store, &api.ledgers, &api.book, &api.clock)).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(audit)).into_response())
}
