//! Search of products.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::IntoResponse,
};
use contract::{CategoryId, Cents, ProductId};
use search::{Fragment, IndexError, SearchError, SearchRequest, Sort};
use serde::{Deserialize, Serialize};
use store::Displayed;
use utoipa::{IntoParams, ToSchema};
use web::{Json, Problem, Query};

use super::{Api, failed, limit};
use crate::search::SearchFailed;

/// How long caches may keep a page of results.
const FRESH: &str = "public, max-age=1";
/// Suggestions where the query names no number.
const SUGGESTIONS: u32 = 8;
const LAG: HeaderName = HeaderName::from_static("x-index-lag-ms");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchQuery {
    /// Words to look for, Chinese or Latin, in titles, subtitles, categories and attributes. Text without any word finds
    /// nothing.
    #[param(max_length = 256)]
    q: String,
    /// Only products of this category and those below it.
    category_id: Option<CategoryId>,
    /// Only products with a SKU that costs at least this much.
    #[param(minimum = 0)]
    min_price_cents: Option<i64>,
    /// Only products with a SKU that costs at most this much.
    #[param(minimum = 0)]
    max_price_cents: Option<i64>,
    /// Only products that are in stock, or only those that are not.
    in_stock: Option<bool>,
    /// What comes first; `relevance` by default. `sales` counts the units paid in the last 30 days.
    #[param(pattern = "^(relevance|price_asc|price_desc|newest|sales)$")]
    sort: Option<String>,
    /// Whether the answer has facets; false by default.
    facets: Option<bool>,
    /// Rows of the page; 20 by default.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before, with all other parameters as they were.
    #[param(max_length = 128)]
    cursor: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SuggestQuery {
    /// What was typed so far.
    #[param(max_length = 256)]
    q: String,
    /// Suggestions at most; 8 by default.
    #[param(minimum = 1, maximum = 20)]
    limit: Option<u32>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SearchPage)]
struct PageBody {
    items: Vec<HitBody>,
    /// Null on the last page.
    next_cursor: Option<String>,
    /// Products found, on all pages.
    total: u64,
    /// Present if the request asks for them.
    facets: Option<FacetsBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FoundProduct)]
struct HitBody {
    #[serde(flatten)]
    product: Displayed,
    /// The URLs of its pictures.
    image_urls: Vec<String>,
    in_stock: bool,
    /// Units paid in the last 30 days.
    sales: u64,
    highlights: Highlights,
}

/// Texts in pieces; the pieces joined are the text.
#[derive(Serialize, ToSchema)]
struct Highlights {
    title: Vec<Piece>,
    subtitle: Vec<Piece>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HighlightPiece)]
struct Piece {
    text: String,
    /// Whether this piece matches the query.
    matched: bool,
}

/// Counts of the products found. Each kind leaves its own filter out.
#[derive(Serialize, ToSchema)]
#[schema(as = SearchFacets)]
struct FacetsBody {
    categories: Vec<CategoryFacet>,
    in_stock: u64,
    out_of_stock: u64,
    prices: Vec<PriceFacet>,
}

#[derive(Serialize, ToSchema)]
struct CategoryFacet {
    category_id: CategoryId,
    count: u64,
}

#[derive(Serialize, ToSchema)]
struct PriceFacet {
    /// The lowest price of the range; null for 0.
    from_cents: Option<Cents>,
    /// The price that the range ends below; null if it has no end.
    below_cents: Option<Cents>,
    count: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Suggestions)]
struct SuggestionsBody {
    items: Vec<SuggestionBody>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Suggestion)]
struct SuggestionBody {
    /// A product with this title.
    product_id: ProductId,
    text: String,
    /// The text in pieces.
    highlights: Vec<Piece>,
}

/// Bounds between the price bands of facets, in cents.
const PRICE_BOUNDS: [i64; 5] = [10_000, 50_000, 100_000, 300_000, 600_000];

/// Products on the shelf that fit a query.
#[utoipa::path(
    get, path = "/api/v1/search", tag = "catalogue", operation_id = "search_products",
    params(SearchQuery),
    responses((status = 200, description = "One page.", body = PageBody,
        headers(("X-Index-Lag-Ms" = u64,
            description = "How long the oldest change of the catalogue waits to be found, milliseconds.")))),
)]
pub(super) async fn products(
    State(api): State<Api>,
    Query(query): Query<SearchQuery>,
) -> Result<impl IntoResponse, Problem> {
    let cents = |cents: Option<i64>| cents.map(Cents::new);
    let request = SearchRequest {
        q: query.q,
        category_id: query.category_id,
        min_price_cents: cents(query.min_price_cents),
        max_price_cents: cents(query.max_price_cents),
        in_stock: query.in_stock,
        sort: query.sort.as_deref().map_or(Ok(Sort::Relevance), sort)?,
        limit: limit(query.limit)? as usize,
        cursor: query.cursor,
        price_bounds_cents: PRICE_BOUNDS.map(Cents::new).to_vec(),
        facets: query.facets.unwrap_or(false),
    };
    let page = api.search.search(request).await.map_err(problem)?;
    let ids: Vec<ProductId> = page.hits.iter().map(|hit| hit.product.id).collect();
    let displayed = api.store.catalogue().displayed(&ids).await.map_err(failed)?;
    let mut displayed: BTreeMap<ProductId, Displayed> =
        displayed.into_iter().map(|product| (product.product_id, product)).collect();
    // What has left the shelf a moment ago is left out.
    let hit = |hit: search::Hit| {
        let product = displayed.remove(&hit.product.id)?;
        Some(HitBody {
            image_urls: api.images.urls(&product.image_ids),
            product,
            in_stock: hit.product.in_stock(),
            sales: hit.product.sales,
            highlights: Highlights { title: pieces(hit.title), subtitle: pieces(hit.subtitle) },
        })
    };
    let body = PageBody {
        items: page.hits.into_iter().filter_map(hit).collect(),
        next_cursor: page.next_cursor,
        total: page.total,
        facets: page.facets.map(facets),
    };
    Ok((lag(&api), [(header::CACHE_CONTROL, FRESH)], Json(body)))
}

/// Suggest titles of products while a shopper types.
#[utoipa::path(
    get, path = "/api/v1/search/suggest", tag = "catalogue", operation_id = "suggest_products",
    params(SuggestQuery),
    responses((status = 200, description = "Titles of products, the best first.", body = SuggestionsBody,
        headers(("X-Index-Lag-Ms" = u64,
            description = "How long the oldest change of the catalogue waits to be found, milliseconds.")))),
)]
pub(super) async fn suggest(
    State(api): State<Api>,
    Query(query): Query<SuggestQuery>,
) -> Result<impl IntoResponse, Problem> {
    let limit = query.limit.unwrap_or(SUGGESTIONS) as usize;
    let suggestions = api.search.suggest(query.q, limit).await.map_err(problem)?;
    let item = |suggestion: search::Suggestion| SuggestionBody {
        product_id: suggestion.product_id,
        text: suggestion.text,
        highlights: pieces(suggestion.title),
    };
    let items = suggestions.into_iter().map(item).collect();
    Ok((lag(&api), [(header::CACHE_CONTROL, FRESH)], Json(SuggestionsBody { items })))
}

fn lag(api: &Api) -> [(HeaderName, String); 1] {
    [(LAG, api.search.lag_ms(api.now_ms()).to_string())]
}

fn sort(text: &str) -> Result<Sort, Problem> {
    Ok(match text {
        "relevance" => Sort::Relevance,
        "price_asc" => Sort::PriceAsc,
        "price_desc" => Sort::PriceDesc,
        "newest" => Sort::Newest,
        "sales" => Sort::Sales,
        _ => return Err(invalid("sort: expected relevance, price_asc, price_desc, newest or sales")),
    })
}

fn invalid(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", detail)
}

fn problem(error: SearchFailed) -> Problem {
    match error {
        SearchFailed::Search(SearchError::Invalid(error)) => invalid(&error.to_string()),
        SearchFailed::Search(SearchError::Index(IndexError::TooMuch(detail))) => invalid(&detail),
        SearchFailed::Search(SearchError::Index(
            IndexError::NeedsRebuild(_) | IndexError::Busy(_) | IndexError::Moved | IndexError::Unavailable(_),
        ))
        | SearchFailed::Busy => Problem::unavailable(&error, 1),
        SearchFailed::Died(_) => Problem::internal(&error),
    }
}

fn pieces(fragments: Vec<Fragment>) -> Vec<Piece> {
    fragments.into_iter().map(|Fragment { text, matched }| Piece { text, matched }).collect()
}

fn facets(facets: search::Facets) -> FacetsBody {
    let category = |count: search::CategoryCount| CategoryFacet { category_id: count.category_id, count: count.count };
    let price = |count: search::PriceCount| PriceFacet {
        from_cents: count.from_cents,
        below_cents: count.below_cents,
        count: count.count,
    };
    FacetsBody {
        categories: facets.categories.into_iter().map(category).collect(),
        in_stock: facets.in_stock,
        out_of_stock: facets.out_of_stock,
        prices: facets.prices.into_iter().map(price).collect(),
    }
}
