//! Categories, products and SKUs.

use axum::{extract::State, http::HeaderMap, http::StatusCode, response::Response};
use contract::{ActivityId, CategoryId, Cents, ProductId, SkuId, openapi};
use foundation::Clock;
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{
    ATTRIBUTES_MAX, Attributes, Category, CategoryPatch, DESCRIPTION_CHARS_MAX, IMAGES_MAX, NAME_CHARS_MAX,
    NewCategory, NewProduct, NewSku, PRICE_CENTS_MAX, Product, ProductPatch, Sku, SkuPatch, Store, TITLE_CHARS_MAX,
};
use utoipa::{
    ToSchema,
    openapi::{ArrayBuilder, RefOr, Schema},
};
use web::{
    Json, Path, Query, Raw, idempotency_key, json_from,
    openapi::{IdempotencyKey, IfMatch},
};

use super::{
    Api,
    refused::{Refused, not_found},
    request::{ListBody, PageQuery, if_match, make_once, repeat_once, tagged},
};
use crate::actions::{
    Staff,
    catalogue::{self as actions, STOCK_REASON_CHARS_MAX},
    fields::STOCK_MAX,
    sales::operation_under,
};

type Answer = Result<Response, Refused>;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCategory)]
struct CategoryBody {
    #[schema(schema_with = openapi::name::<NAME_CHARS_MAX>)]
    name: String,
    parent_id: Option<CategoryId>,
    /// Categories with smaller numbers come first.
    #[serde(default)]
    sort_order: i64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewProduct)]
struct ProductBody {
    #[schema(schema_with = openapi::name::<TITLE_CHARS_MAX>)]
    title: String,
    #[serde(default)]
    #[schema(schema_with = openapi::text::<TITLE_CHARS_MAX>)]
    subtitle: String,
    #[serde(default)]
    #[schema(schema_with = openapi::text::<DESCRIPTION_CHARS_MAX>)]
    description: String,
    category_id: CategoryId,
    #[serde(default)]
    #[schema(schema_with = image_ids)]
    image_ids: Vec<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSku)]
struct SkuBody {
    #[schema(schema_with = openapi::names::<ATTRIBUTES_MAX, NAME_CHARS_MAX>)]
    attributes: Attributes,
    #[schema(schema_with = openapi::whole::<0, PRICE_CENTS_MAX>)]
    price_cents: Cents,
    #[schema(schema_with = openapi::whole::<0, { STOCK_MAX as i64 }>)]
    stock: u64,
}

fn image_ids() -> Schema {
    ArrayBuilder::new().items(RefOr::T(openapi::name::<NAME_CHARS_MAX>())).max_items(Some(IMAGES_MAX)).build().into()
}

fn ok(version: u64, body: impl Serialize) -> Answer {
    Ok(tagged(StatusCode::OK, version, body))
}

/// Make a category.
#[utoipa::path(
    post, path = "/categories", tag = "catalogue",
    params(IdempotencyKey),
    request_body = CategoryBody,
    responses(
        (status = 201, description = "Created. `Idempotent-Replayed: true` if this key created it before.", body = Category,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`request_running`: the first request with this Idempotency-Key is still being processed."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn add_category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Answer {
    let asked: CategoryBody = json_from(&headers, &body)?;
    let make = async |staff| {
        let new = NewCategory { parent: asked.parent_id, name: asked.name, sort_order: asked.sort_order };
        Ok(actions::add_category(&api, &staff, new).await?)
    };
    let read = async |store: Store, id| match CategoryId::from_i64(id) {
        Some(id) => store.catalogue().category(id).await,
        None => Ok(None),
    };
    make_once(&api, (&headers, &staff, "categories"), &body, make, read).await
}

/// Categories, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/categories", tag = "catalogue", operation_id = "list_categories",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<Category>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn categories<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.catalogue().categories(query.page()?).await?, |category| category))
}

/// A category.
#[utoipa::path(
    get, path = "/categories/{id}", tag = "catalogue", operation_id = "get_category",
    params(("id" = CategoryId, Path)),
    responses((status = 200, description = "The category.", body = Category, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<CategoryId>,
) -> Answer {
    let found = api.store.catalogue().category(id).await?.ok_or_else(|| not_found("category"))?;
    ok(found.version, found)
}

/// Change a category; what is absent stays.
#[utoipa::path(
    patch, path = "/categories/{id}", tag = "catalogue", operation_id = "change_category",
    params(("id" = CategoryId, Path), IfMatch),
    request_body = CategoryChanges,
    responses(
        (status = 200, description = "After the change.", body = Category, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn patch_category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<CategoryId>,
    headers: HeaderMap,
    Json(changes): Json<CategoryChanges>,
) -> Answer {
    let CategoryChanges { name, sort_order, parent_id } = changes;
    let patch = CategoryPatch { name, sort_order };
    let change = |version| actions::move_category(&api, &staff, (id, version), (patch.clone(), parent_id));
    let row = if_match(&headers)?.apply(change).await?;
    ok(row.version, row)
}

/// Changes of a category; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CategoryPatch)]
pub(super) struct CategoryChanges {
    /// Its name.
    #[schema(schema_with = openapi::name_or_null::<NAME_CHARS_MAX>)]
    name: Option<String>,
    /// Categories with smaller numbers come first.
    sort_order: Option<i64>,
    /// The parent category, or null. It can be neither the category itself nor one below it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<CategoryId>)]
    parent_id: Option<Option<CategoryId>>,
}

/// Tells a field that is null from one that is absent.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Make a product. It starts off the shelf.
#[utoipa::path(
    post, path = "/products", tag = "catalogue",
    params(IdempotencyKey),
    request_body = ProductBody,
    responses(
        (status = 201, description = "Created. `Idempotent-Replayed: true` if this key created it before.", body = Product,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`request_running`: the first request with this Idempotency-Key is still being processed."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn add_product<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Answer {
    let asked: ProductBody = json_from(&headers, &body)?;
    let make = async |staff| {
        let ProductBody { title, subtitle, description, category_id: category, image_ids } = asked;
        let new = NewProduct { category, title, subtitle, description, image_ids };
        Ok(actions::add_product(&api, &staff, new).await?)
    };
    let read = async |store: Store, id| match ProductId::from_i64(id) {
        Some(id) => store.catalogue().product(id).await,
        None => Ok(None),
    };
    make_once(&api, (&headers, &staff, "products"), &body, make, read).await
}

/// Products, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/products", tag = "catalogue", operation_id = "list_products",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<Product>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn products<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.catalogue().products(query.page()?).await?, |product| product))
}

/// A product.
#[utoipa::path(
    get, path = "/products/{id}", tag = "catalogue", operation_id = "get_product",
    params(("id" = ProductId, Path)),
    responses((status = 200, description = "The product.", body = Product, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn product<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ProductId>,
) -> Answer {
    let found = api.store.catalogue().product(id).await?.ok_or_else(|| not_found("product"))?;
    ok(found.version, found)
}

/// Change a product; what is absent stays.
#[utoipa::path(
    patch, path = "/products/{id}", tag = "catalogue", operation_id = "change_product",
    params(("id" = ProductId, Path), IfMatch),
    request_body = ProductPatch,
    responses(
        (status = 200, description = "After the change.", body = Product, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn patch_product<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ProductId>,
    headers: HeaderMap,
    Json(patch): Json<ProductPatch>,
) -> Answer {
    let change = |version| actions::patch_product(&api, &staff, (id, version), patch.clone());
    let row = if_match(&headers)?.apply(change).await?;
    ok(row.version, row)
}

/// Put a product on the shelf.
#[utoipa::path(
    post, path = "/products/{id}/shelve", tag = "catalogue", operation_id = "shelve_product",
    params(("id" = ProductId, Path)),
    responses((status = 200, description = "The product is on the shelf.", body = Product, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["operator"])),
)]
pub(super) async fn shelve<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ProductId>,
) -> Answer {
    let product = actions::shelve(&api, &staff, id, true).await?;
    ok(product.version, product)
}

#[derive(Serialize, ToSchema)]
struct Unshelved {
    #[serde(flatten)]
    product: Product,
    /// Flash sales of the product that go on although it is off the shelf. `POST /activities/{id}/pause` pauses one.
    running_activities: Vec<ActivityId>,
}

/// Take a product off the shelf. Its flash sales go on; the answer names those that run.
#[utoipa::path(
    post, path = "/products/{id}/unshelve", tag = "catalogue", operation_id = "unshelve_product",
    params(("id" = ProductId, Path)),
    responses((status = 200, description = "The product is off the shelf.", body = Unshelved, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["operator"])),
)]
pub(super) async fn unshelve<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<ProductId>,
) -> Answer {
    let product = actions::shelve(&api, &staff, id, false).await?;
    let running_activities = api.store.sales().running_sales_of(id, api.clock.now_ms()).await?;
    ok(product.version, Unshelved { product, running_activities })
}

/// Make a SKU of a product.
#[utoipa::path(
    post, path = "/products/{id}/skus", tag = "catalogue",
    params(("id" = ProductId, Path), IdempotencyKey),
    request_body = SkuBody,
    responses(
        (status = 201, description = "Created. `Idempotent-Replayed: true` if this key created it before.", body = Sku,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`request_running`: the first request with this Idempotency-Key is still being processed."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn add_sku<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(product): Path<ProductId>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Answer {
    let asked: SkuBody = json_from(&headers, &body)?;
    let make = async |staff| {
        let SkuBody { attributes, price_cents: price, stock } = asked;
        let new = NewSku { product, attributes, price, stock };
        Ok(actions::add_sku(&api, &staff, new).await?)
    };
    let read = async |store: Store, id| match SkuId::from_i64(id) {
        Some(id) => store.catalogue().sku(id).await,
        None => Ok(None),
    };
    make_once(&api, (&headers, &staff, &format!("products/{product}/skus")), &body, make, read).await
}

/// SKUs, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/skus", tag = "catalogue", operation_id = "list_skus",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<Sku>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn skus<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.catalogue().skus(None, query.page()?).await?, |sku| sku))
}

/// The SKUs of a product, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/products/{id}/skus", tag = "catalogue", operation_id = "list_product_skus",
    params(("id" = ProductId, Path), PageQuery),
    responses((status = 200, description = "One page; empty if there is no such product.", body = ListBody<Sku>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn skus_of<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(product): Path<ProductId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.catalogue().skus(Some(product), query.page()?).await?, |sku| sku))
}

/// A SKU.
#[utoipa::path(
    get, path = "/skus/{id}", tag = "catalogue", operation_id = "get_sku",
    params(("id" = SkuId, Path)),
    responses((status = 200, description = "The SKU.", body = Sku, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn sku<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<SkuId>,
) -> Answer {
    let found = api.store.catalogue().sku(id).await?.ok_or_else(|| not_found("SKU"))?;
    ok(found.version, found)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StockChange)]
struct StockBody {
    /// Units to add, or to take where it is below zero; not 0.
    #[schema(schema_with = openapi::whole::<{ -(STOCK_MAX as i64) }, { STOCK_MAX as i64 }>)]
    delta: i64,
    /// For the audit log.
    #[schema(schema_with = openapi::line::<STOCK_REASON_CHARS_MAX>)]
    reason: String,
}

/// Add units to the stock of a SKU, or take some.
#[utoipa::path(
    post, path = "/skus/{id}/stock", tag = "catalogue",
    params(("id" = SkuId, Path), IdempotencyKey),
    request_body = StockBody,
    responses(
        (status = 201, description = "After the change. `Idempotent-Replayed: true` if this key was used before.", body = Sku,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`insufficient_stock` with the `stock`, or `request_running`."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn change_stock<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<SkuId>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Answer {
    let StockBody { delta, reason } = json_from(&headers, &body)?;
    let key = idempotency_key(&headers)?;
    let operation = operation_under(&api, &staff, ("stock", id.as_i64(), delta), key)?;
    let make = async { Ok(actions::change_stock(&api, &staff, (id, operation), (delta, &reason)).await?) };
    repeat_once(&api, (&headers, &staff, &format!("skus/{id}/stock")), &body, make).await
}

/// Change a SKU; what is absent stays. `POST /skus/{id}/stock` changes its stock.
#[utoipa::path(
    patch, path = "/skus/{id}", tag = "catalogue", operation_id = "change_sku",
    params(("id" = SkuId, Path), IfMatch),
    request_body = SkuPatch,
    responses(
        (status = 200, description = "After the change.", body = Sku, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn patch_sku<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    Path(id): Path<SkuId>,
    headers: HeaderMap,
    Json(patch): Json<SkuPatch>,
) -> Answer {
    let change = |version| actions::patch_sku(&api, &staff, (id, version), patch.clone());
    let row = if_match(&headers)?.apply(change).await?;
    ok(row.version, row)
}
