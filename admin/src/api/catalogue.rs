//! Categories, products and SKUs.

use axum::{extract::State, http::HeaderMap, http::StatusCode, response::Response};
use contract::{CategoryId, Cents, ProductId, SkuId, openapi};
use foundation::{
    Clock,
    web::{
        Json, Path, Query, Raw, json_from,
        openapi::{IdempotencyKey, IfMatch},
    },
};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use store::{
    ATTRIBUTES_MAX, Attributes, Category, CategoryPatch, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, NewCategory,
    NewProduct, NewSku, PRICE_CENTS_MAX, Product, ProductPatch, Sku, SkuPatch, TITLE_CHARS_MAX,
};
use utoipa::{
    ToSchema,
    openapi::{ArrayBuilder, RefOr, Schema},
};

use super::{
    Api, images,
    refused::{Refused, changed, invalid, not_found},
    request::{ListBody, PageQuery, Staff, if_match, once, tagged},
};

const IMAGES_MAX: usize = 20;
/// The most units of one SKU or sale.
pub(super) const STOCK_MAX: u64 = 1_000_000_000;

type Answer = Result<Response, Refused>;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCategory)]
struct CategoryBody {
    #[schema(schema_with = openapi::name::<NAME_CHARS_MAX>)]
    name: String,
    parent_id: Option<CategoryId>,
    /// Smaller comes first.
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

pub(super) fn named(text: &str, chars_max: usize, field: &str) -> Result<(), Refused> {
    if text.trim().is_empty() {
        return Err(invalid(&format!("{field} is empty")));
    }
    short(text, chars_max, field)
}

fn short(text: &str, chars_max: usize, field: &str) -> Result<(), Refused> {
    let told = |char: char| !char.is_control() || char == '\n' || char == '\t';
    if text.chars().count() > chars_max || !text.chars().all(told) {
        return Err(invalid(&format!("{field} is at most {chars_max} characters, none of them a control character")));
    }
    Ok(())
}

pub(super) fn priced(price: Cents) -> Result<(), Refused> {
    if (0..=PRICE_CENTS_MAX).contains(&price.get()) {
        return Ok(());
    }
    Err(invalid("price_cents is 0 to 1000000000000"))
}

fn attributed(attributes: &Attributes) -> Result<(), Refused> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(invalid("attributes are at most 10"));
    }
    for (name, value) in attributes {
        named(name, NAME_CHARS_MAX, "an attribute's name")?;
        named(value, NAME_CHARS_MAX, "an attribute's value")?;
    }
    Ok(())
}

async fn pictured<K: LedgerClient, C: Clock>(api: &Api<K, C>, image_ids: &[String]) -> Result<(), Refused> {
    if image_ids.len() > IMAGES_MAX {
        return Err(invalid("image_ids are at most 20"));
    }
    images::exist(api, image_ids).await
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
    let make = async {
        named(&asked.name, NAME_CHARS_MAX, "name")?;
        let new = NewCategory { parent: asked.parent_id, name: asked.name, sort_order: asked.sort_order };
        api.store.add_category(new, api.clock.now_ms()).await?.ok_or_else(|| invalid("parent_id does not exist"))
    };
    once(&api, (&headers, &staff, "categories"), &body, make).await
}

/// Categories, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/categories", tag = "catalogue",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<Category>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn categories<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.categories(query.page()?).await?, |category| category))
}

/// A category.
#[utoipa::path(
    get, path = "/categories/{id}", tag = "catalogue",
    params(("id" = CategoryId, Path)),
    responses((status = 200, description = "The category.", body = Category, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<CategoryId>,
) -> Answer {
    let found = api.store.category(id).await?.ok_or_else(|| not_found("category"))?;
    ok(found.version, found)
}

/// Change a category; what is absent stays.
#[utoipa::path(
    patch, path = "/categories/{id}", tag = "catalogue",
    params(("id" = CategoryId, Path), IfMatch),
    request_body = CategoryPatch,
    responses(
        (status = 200, description = "After the change.", body = Category, headers(("ETag" = String, description = "The version, for `If-Match`."))),
        (status = 412, description = "`version_mismatch`, with the current `version`: it was changed by somebody else."),
        (status = 428, description = "`precondition_required`: the If-Match header is missing."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn patch_category<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<CategoryId>,
    headers: HeaderMap,
    Json(patch): Json<CategoryPatch>,
) -> Answer {
    patch.name.as_deref().map_or(Ok(()), |name| named(name, NAME_CHARS_MAX, "name"))?;
    let row = changed(api.store.patch_category(id, if_match(&headers)?, patch).await?, "category")?;
    ok(row.version, row)
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
    let make = async {
        named(&asked.title, TITLE_CHARS_MAX, "title")?;
        short(&asked.subtitle, TITLE_CHARS_MAX, "subtitle")?;
        short(&asked.description, DESCRIPTION_CHARS_MAX, "description")?;
        pictured(&api, &asked.image_ids).await?;
        let ProductBody { title, subtitle, description, category_id: category, image_ids } = asked;
        let new = NewProduct { category, title, subtitle, description, image_ids };
        api.store.add_product(new, api.clock.now_ms()).await?.ok_or_else(|| invalid("category_id does not exist"))
    };
    once(&api, (&headers, &staff, "products"), &body, make).await
}

/// Products, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/products", tag = "catalogue",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<Product>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn products<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.products(query.page()?).await?, |product| product))
}

/// A product.
#[utoipa::path(
    get, path = "/products/{id}", tag = "catalogue",
    params(("id" = ProductId, Path)),
    responses((status = 200, description = "The product.", body = Product, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn product<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ProductId>,
) -> Answer {
    let found = api.store.product(id).await?.ok_or_else(|| not_found("product"))?;
    ok(found.version, found)
}

/// Change a product; what is absent stays.
#[utoipa::path(
    patch, path = "/products/{id}", tag = "catalogue",
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
    _: Staff,
    Path(id): Path<ProductId>,
    headers: HeaderMap,
    Json(patch): Json<ProductPatch>,
) -> Answer {
    patch.title.as_deref().map_or(Ok(()), |title| named(title, TITLE_CHARS_MAX, "title"))?;
    patch.subtitle.as_deref().map_or(Ok(()), |text| short(text, TITLE_CHARS_MAX, "subtitle"))?;
    patch.description.as_deref().map_or(Ok(()), |text| short(text, DESCRIPTION_CHARS_MAX, "description"))?;
    pictured(&api, patch.image_ids.as_deref().unwrap_or_default()).await?;
    let row = changed(api.store.patch_product(id, if_match(&headers)?, patch).await?, "product")?;
    ok(row.version, row)
}

/// Put a product on the shelf.
#[utoipa::path(
    post, path = "/products/{id}/shelve", tag = "catalogue",
    params(("id" = ProductId, Path)),
    responses((status = 200, description = "The product is on the shelf.", body = Product, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["operator"])),
)]
pub(super) async fn shelve<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ProductId>,
) -> Answer {
    shelved(api.store.shelve(id, true).await?)
}

/// Take a product off the shelf.
#[utoipa::path(
    post, path = "/products/{id}/unshelve", tag = "catalogue",
    params(("id" = ProductId, Path)),
    responses((status = 200, description = "The product is off the shelf.", body = Product, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["operator"])),
)]
pub(super) async fn unshelve<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<ProductId>,
) -> Answer {
    shelved(api.store.shelve(id, false).await?)
}

fn shelved(product: Option<Product>) -> Answer {
    let product = product.ok_or_else(|| not_found("product"))?;
    ok(product.version, product)
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
    let make = async {
        attributed(&asked.attributes)?;
        priced(asked.price_cents)?;
        if asked.stock > STOCK_MAX {
            return Err(invalid("stock is 0 to 1000000000"));
        }
        let SkuBody { attributes, price_cents: price, stock } = asked;
        let new = NewSku { product, attributes, price, stock };
        api.store.add_sku(new, api.clock.now_ms()).await?.ok_or_else(|| not_found("product"))
    };
    once(&api, (&headers, &staff, &format!("products/{product}/skus")), &body, make).await
}

/// SKUs, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/skus", tag = "catalogue",
    params(PageQuery),
    responses((status = 200, description = "One page.", body = ListBody<Sku>)),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn skus<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Query(query): Query<PageQuery>,
) -> Result<Json<impl Serialize>, Refused> {
    Ok(ListBody::of(api.store.skus(None, query.page()?).await?, |sku| sku))
}

/// The SKUs of a product, the newest first, a page at a time.
#[utoipa::path(
    get, path = "/products/{id}/skus", tag = "catalogue",
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
    Ok(ListBody::of(api.store.skus(Some(product), query.page()?).await?, |sku| sku))
}

/// A SKU.
#[utoipa::path(
    get, path = "/skus/{id}", tag = "catalogue",
    params(("id" = SkuId, Path)),
    responses((status = 200, description = "The SKU.", body = Sku, headers(("ETag" = String, description = "The version, for `If-Match`.")))),
    security(("admin" = ["viewer"])),
)]
pub(super) async fn sku<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    _: Staff,
    Path(id): Path<SkuId>,
) -> Answer {
    let found = api.store.sku(id).await?.ok_or_else(|| not_found("SKU"))?;
    ok(found.version, found)
}

/// Change a SKU; what is absent stays. Stock does not change like this.
#[utoipa::path(
    patch, path = "/skus/{id}", tag = "catalogue",
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
    _: Staff,
    Path(id): Path<SkuId>,
    headers: HeaderMap,
    Json(patch): Json<SkuPatch>,
) -> Answer {
    patch.attributes.as_ref().map_or(Ok(()), attributed)?;
    patch.price_cents.map_or(Ok(()), priced)?;
    let row = changed(api.store.patch_sku(id, if_match(&headers)?, patch).await?, "SKU")?;
    ok(row.version, row)
}
