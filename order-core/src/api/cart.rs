//! The cart: what a shopper has chosen, priced as of now.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use contract::{Cents, ProductId, SkuId, UserId, openapi::whole};
use serde::{Deserialize, Serialize};
use store::{Attributes, CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartLine, Offered};
use utoipa::ToSchema;
use web::{Json, Path, Problem};

use super::{Api, Shopper, failed, no_store};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CartAddition)]
pub(super) struct Addition {
    sku_id: SkuId,
    #[schema(schema_with = whole::<1, { CART_UNITS_MAX as i64 }>)]
    quantity: u32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CartQuantity)]
pub(super) struct Quantity {
    #[schema(schema_with = whole::<1, { CART_UNITS_MAX as i64 }>)]
    quantity: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Cart)]
struct CartBody {
    items: Vec<LineBody>,
    /// The total of the lines that can be ordered.
    total_cents: Cents,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CartLine)]
struct LineBody {
    sku_id: SkuId,
    quantity: u32,
    #[schema(pattern = "^(ok|price_changed|insufficient_stock|gone)$")]
    state: &'static str,
    /// The price when it was added.
    price_was_cents: Cents,
    /// Absent, like the members after it, if the SKU no longer exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    product_id: Option<ProductId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, String>>, nullable = false)]
    attributes: Option<Attributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    price_cents: Option<Cents>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    stock: Option<u64>,
}

/// Your cart, priced as of now.
#[utoipa::path(
    get, path = "/api/v1/cart", tag = "cart", operation_id = "get_cart",
    responses((status = 200, description = "The cart.", body = CartBody)),
    security(("shopper" = [])),
)]
pub(super) async fn show(State(api): State<Api>, Shopper(user): Shopper) -> Result<impl IntoResponse, Problem> {
    Ok((no_store(), Json(body(&api, user).await?)))
}

/// Add units of a SKU to the cart.
#[utoipa::path(
    post, path = "/api/v1/cart/items", tag = "cart", operation_id = "add_cart_item",
    request_body = Addition,
    responses(
        (status = 200, description = "The updated cart.", body = CartBody),
        (status = 404, description = "`not_found`: the shop does not sell this."),
        (status = 409, description = "`cart_full` or `too_many_units`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn add(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Json(asked): Json<Addition>,
) -> Result<impl IntoResponse, Problem> {
    let line = priced(&api, asked.sku_id, asked.quantity).await?;
    let change = api.carts.add(user, line, api.now_ms()).await.map_err(failed)?;
    told(change)?;
    Ok((no_store(), Json(body(&api, user).await?)))
}

/// Set the number of units of a SKU in the cart.
#[utoipa::path(
    put, path = "/api/v1/cart/items/{sku_id}", tag = "cart", operation_id = "set_cart_item",
    params(("sku_id" = SkuId, Path)),
    request_body = Quantity,
    responses(
        (status = 200, description = "The updated cart.", body = CartBody),
        (status = 404, description = "`not_found`: it is not in the cart, or the shop does not sell it."),
        (status = 409, description = "`cart_full` or `too_many_units`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn set(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(sku): Path<SkuId>,
    Json(asked): Json<Quantity>,
) -> Result<impl IntoResponse, Problem> {
    let line = priced(&api, sku, asked.quantity).await?;
    let change = api.carts.set(user, line, api.now_ms()).await.map_err(failed)?;
    told(change)?;
    Ok((no_store(), Json(body(&api, user).await?)))
}

/// Remove a SKU from the cart.
#[utoipa::path(
    delete, path = "/api/v1/cart/items/{sku_id}", tag = "cart", operation_id = "remove_cart_item",
    params(("sku_id" = SkuId, Path)),
    responses((status = 204, description = "It is not in the cart.")),
    security(("shopper" = [])),
)]
pub(super) async fn remove(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(sku): Path<SkuId>,
) -> Result<StatusCode, Problem> {
    api.carts.take(user, Some(&[sku])).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Empty the cart.
#[utoipa::path(
    delete, path = "/api/v1/cart", tag = "cart", operation_id = "clear_cart",
    responses((status = 204, description = "The cart is empty.")),
    security(("shopper" = [])),
)]
pub(super) async fn clear(State(api): State<Api>, Shopper(user): Shopper) -> Result<StatusCode, Problem> {
    api.carts.take(user, None).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

fn told(change: CartChange) -> Result<(), Problem> {
    let (status, code, detail) = match change {
        CartChange::Done => return Ok(()),
        CartChange::TooManyLines => {
            (StatusCode::CONFLICT, "cart_full", format!("a cart has room for {CART_LINES_MAX} different things"))
        }
        CartChange::TooManyUnits => {
            (StatusCode::CONFLICT, "too_many_units", format!("a cart has room for {CART_UNITS_MAX} of one thing"))
        }
        CartChange::NoLine => (StatusCode::NOT_FOUND, "not_found", "it is not in your cart".to_owned()),
    };
    Err(Problem::new(status, code, detail))
}

/// A line at today's price.
async fn priced(api: &Api, sku: SkuId, quantity: u32) -> Result<CartLine, Problem> {
    if !(1..=CART_UNITS_MAX).contains(&quantity) {
        return Err(Problem::invalid_body(format!("quantity is 1 to {CART_UNITS_MAX}")));
    }
    let offered = api.store.offered(&[sku]).await.map_err(failed)?;
    let offered = offered.first().filter(|offered| offered.on_shelf);
    let offered = offered.ok_or_else(|| Problem::not_found("the shop does not sell this"))?;
    Ok(CartLine { sku, quantity, price: offered.price })
}

async fn body(api: &Api, user: UserId) -> Result<CartBody, Problem> {
    let lines = api.carts.lines(user).await.map_err(failed)?;
    let skus: Vec<SkuId> = lines.iter().map(|line| line.sku).collect();
    let offered = api.store.offered(&skus).await.map_err(failed)?;
    let mut offered: BTreeMap<SkuId, Offered> = offered.into_iter().map(|offered| (offered.sku, offered)).collect();
    let mut total = Some(Cents::default());
    let mut items = Vec::with_capacity(lines.len());
    for CartLine { sku, quantity, price } in lines {
        let now = offered.remove(&sku);
        let state = match &now {
            Some(now) if !now.on_shelf => "gone",
            Some(now) if now.stock < u64::from(quantity) => "insufficient_stock",
            Some(now) if now.price != price => "price_changed",
            Some(_) => "ok",
            None => "gone",
        };
        if let Some(now) = now.as_ref().filter(|_| matches!(state, "ok" | "price_changed")) {
            total = total.zip(now.price.times(quantity)).and_then(|(total, more)| total.plus(more));
        }
        let now = now.as_ref();
        let line = LineBody {
            sku_id: sku,
            quantity,
            state,
            price_was_cents: price,
            product_id: now.map(|now| now.product),
            title: now.map(|now| now.title.clone()),
            attributes: now.map(|now| now.attributes.clone()),
            price_cents: now.map(|now| now.price),
            stock: now.map(|now| now.stock),
        };
        items.push(line);
    }
    let total_cents = total.unwrap_or(Cents::new(i64::MAX));
    Ok(CartBody { items, total_cents })
}
