//! What there is to buy.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use contract::{CategoryId, Cents, ProductId, SkuId};
use images::Images;
use serde::{Deserialize, Serialize};
use store::{Attributes, Category, Detail, Displayed, ShelfPage, Sort};
use utoipa::{IntoParams, ToSchema};
use web::{Json, Path, Problem, Query};

use super::{Api, failed, failed_shared, limit};

/// A category within another one within … no deeper than this is followed.
const DEPTH_MAX: usize = 16;
/// How long caches may keep a list.
const LISTS_FRESH: &str = "public, max-age=5";
/// How long caches may keep a product.
const DETAIL_FRESH: &str = "public, max-age=1";

#[derive(Serialize, ToSchema)]
#[schema(as = CategoryTree)]
struct Tree {
    items: Vec<Branch>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CategoryBranch)]
struct Branch {
    category_id: CategoryId,
    name: String,
    sort_order: i64,
    #[schema(value_type = Vec<Branch>, no_recursion)]
    children: Vec<Self>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only what is in this category or below it.
    category_id: Option<CategoryId>,
    /// What comes first; `newest` by default.
    #[param(pattern = "^(newest|price_asc|price_desc)$")]
    sort: Option<String>,
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(pattern = r"^(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})$", example = "399900.7331425023410176")]
    cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProductPage)]
struct ProductsBody {
    items: Vec<ListedBody>,
    /// Null on the last page.
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DisplayedProduct)]
struct ListedBody {
    #[serde(flatten)]
    product: Displayed,
    /// The URLs of its pictures.
    image_urls: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ProductDetail)]
struct DetailBody<'a> {
    product_id: ProductId,
    category_id: CategoryId,
    title: &'a str,
    subtitle: &'a str,
    description: &'a str,
    image_ids: &'a [String],
    image_urls: Vec<String>,
    /// What each picture of `image_urls` shows; empty where nobody has said it.
    #[schema(value_type = Vec<String>, example = json!(["The phone from the back, in black"]))]
    image_alts: Vec<&'a str>,
    skus: Vec<SkuBody<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OfferedSku)]
struct SkuBody<'a> {
    sku_id: SkuId,
    #[schema(value_type = BTreeMap<String, String>)]
    attributes: &'a Attributes,
    price_cents: Cents,
    stock: u64,
}

/// All categories, as a tree.
#[utoipa::path(
    get, path = "/api/v1/categories", tag = "catalogue", operation_id = "list_categories",
    responses((status = 200, description = "The tree.", body = Tree)),
)]
pub(super) async fn categories(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let all = api.store.catalogue().all_categories().await.map_err(failed)?;
    let mut children: BTreeMap<Option<CategoryId>, Vec<Category>> = BTreeMap::new();
    for category in all {
        children.entry(category.parent_id).or_default().push(category);
    }
    let items = branches(None, &mut children, DEPTH_MAX);
    Ok(([(header::CACHE_CONTROL, LISTS_FRESH)], Json(Tree { items })))
}

fn branches(
    parent: Option<CategoryId>,
    children: &mut BTreeMap<Option<CategoryId>, Vec<Category>>,
    depth: usize,
) -> Vec<Branch> {
    if depth == 0 {
        return Vec::new();
    }
    let here = children.remove(&parent).unwrap_or_default();
    let branch = |category: Category| Branch {
        category_id: category.category_id,
        name: category.name,
        sort_order: category.sort_order,
        children: branches(Some(category.category_id), children, depth - 1),
    };
    here.into_iter().map(branch).collect()
}

/// Products on the shelf, a page at a time.
#[utoipa::path(
    get, path = "/api/v1/products", tag = "catalogue", operation_id = "list_products",
    params(ListQuery),
    responses((status = 200, description = "One page.", body = ProductsBody)),
)]
pub(super) async fn products(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<impl IntoResponse, Problem> {
    let sort = match query.sort.as_deref() {
        None | Some("newest") => Sort::Newest,
        Some("price_asc") => Sort::PriceUp,
        Some("price_desc") => Sort::PriceDown,
        Some(_) => return Err(invalid_query("sort is newest, price_asc or price_desc")),
    };
    let limit = limit(query.limit)?;
    let after = query.cursor.as_deref().map(cursor).transpose()?;
    let categories = match query.category_id {
        Some(category) => Some(with_descendants(&api, category).await?),
        None => None,
    };
    // One row more than the page shows whether another page follows.
    let page = ShelfPage { categories, sort, after, limit: limit + 1 };
    let mut items = api.store.catalogue().shelf(&page).await.map_err(failed)?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor =
        items.last().filter(|_| more).map(|last| format!("{}.{}", last.price_cents.get(), last.product_id));
    let listed = |product: Displayed| ListedBody { image_urls: api.images.urls(&product.image_ids), product };
    let items = items.into_iter().map(listed).collect();
    Ok(([(header::CACHE_CONTROL, LISTS_FRESH)], Json(ProductsBody { items, next_cursor })))
}

fn invalid_query(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail)
}

/// `price.product`, of the last one of the page before.
fn cursor(text: &str) -> Result<(Cents, ProductId), Problem> {
    let number = store::cursor_number;
    let parts = text.split_once('.').and_then(|(price, id)| Some((number(price)?, ProductId::from_i64(number(id)?)?)));
    let (price, product) = parts.ok_or_else(|| invalid_query("cursor must be the next_cursor of a page"))?;
    Ok((Cents::new(price), product))
}

/// The category and all below it; empty where there is no such category.
async fn with_descendants(api: &Api, root: CategoryId) -> Result<Vec<CategoryId>, Problem> {
    let all = api.store.catalogue().all_categories().await.map_err(failed)?;
    let mut found: Vec<CategoryId> =
        all.iter().map(|category| category.category_id).filter(|category| *category == root).collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let below = all.iter().filter(|category| category.parent_id == Some(parent)).map(|below| below.category_id);
        let new: Vec<CategoryId> = below.filter(|below| !found.contains(below)).collect();
        found.extend(new);
        at += 1;
    }
    Ok(found)
}

/// A product with its SKUs.
#[utoipa::path(
    get, path = "/api/v1/products/{product_id}", tag = "catalogue", operation_id = "get_product",
    params(("product_id" = ProductId, Path)),
    responses((status = 200, description = "The product.", body = DetailBody<'static>)),
)]
pub(super) async fn product(
    State(api): State<Api>,
    Path(product): Path<ProductId>,
) -> Result<impl IntoResponse, Problem> {
    let detail = api.shelf.detail(product).await.map_err(|error| failed_shared(&error))?;
    let detail = detail.ok_or_else(|| Problem::not_found("there is no such product in the shop"))?;
    Ok(([(header::CACHE_CONTROL, DETAIL_FRESH)], Json(DetailBody::of(&detail, &api.images)).into_response()))
}

/// The product that a SKU belongs to, with all of its SKUs.
///
/// A flash sale names its SKU; this is how its page finds the product.
#[utoipa::path(
    get, path = "/api/v1/skus/{sku_id}", tag = "catalogue", operation_id = "get_product_of_sku",
    params(("sku_id" = SkuId, Path)),
    responses((status = 200, description = "The product.", body = DetailBody<'static>)),
)]
pub(super) async fn product_of_sku(
    State(api): State<Api>,
    Path(sku): Path<SkuId>,
) -> Result<impl IntoResponse, Problem> {
    let missing = || Problem::not_found("there is no such SKU in the shop");
    let found = api.shelf.product_of(sku).await.map_err(|error| failed_shared(&error))?;
    let detail = api.shelf.detail(found.ok_or_else(missing)?).await.map_err(|error| failed_shared(&error))?;
    let detail = detail.ok_or_else(missing)?;
    Ok(([(header::CACHE_CONTROL, DETAIL_FRESH)], Json(DetailBody::of(&detail, &api.images)).into_response()))
}

impl<'a> DetailBody<'a> {
    fn of(Detail { product, skus }: &'a Detail, images: &Images) -> Self {
        let sku = |sku: &'a store::Sku| SkuBody {
            sku_id: sku.sku_id,
            attributes: &sku.attributes,
            price_cents: sku.price_cents,
            stock: sku.stock,
        };
        let alt = |id: &String| product.image_alts.get(id).map_or("", String::as_str);
        Self {
            product_id: product.product_id,
            category_id: product.category_id,
            title: &product.title,
            subtitle: &product.subtitle,
            description: &product.description,
            image_ids: &product.image_ids,
            image_urls: images.urls(&product.image_ids),
            image_alts: images.ids(&product.image_ids).map(alt).collect(),
            skus: skus.iter().map(sku).collect(),
        }
    }
}
