//! The cart: what a shopper has chosen, priced as of now.

use std::collections::BTreeMap;

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use contract::{Cents, ProductId, SkuId, UserId};
use foundation::web::{Json, Path, Problem};
use serde::{Deserialize, Serialize};
use store::{Attributes, CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartLine, Offered};

use super::{Api, Shopper, failed, no_store};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Addition {
    sku_id: SkuId,
    quantity: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quantity {
    quantity: u32,
}

#[derive(Serialize)]
struct CartBody {
    items: Vec<LineBody>,
    /// Of the lines that can be ordered.
    total_cents: Cents,
}

#[derive(Serialize)]
struct LineBody {
    sku_id: SkuId,
    quantity: u32,
    /// `ok`, `price_changed`, `insufficient_stock` or `gone`.
    state: &'static str,
    /// When it was put there.
    price_was_cents: Cents,
    #[serde(flatten)]
    now: Option<NowBody>,
}

#[derive(Serialize)]
struct NowBody {
    product_id: ProductId,
    title: String,
    attributes: Attributes,
    price_cents: Cents,
    stock: u64,
}

pub(super) async fn show(State(api): State<Api>, Shopper(user): Shopper) -> Result<impl IntoResponse, Problem> {
    Ok((no_store(), Json(body(&api, user).await?)))
}

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

pub(super) async fn remove(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(sku): Path<SkuId>,
) -> Result<StatusCode, Problem> {
    api.carts.take(user, Some(&[sku])).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

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
        let now = now.map(|now| NowBody {
            product_id: now.product,
            title: now.title,
            attributes: now.attributes,
            price_cents: now.price,
            stock: now.stock,
        });
        items.push(LineBody { sku_id: sku, quantity, state, price_was_cents: price, now });
    }
    let total_cents = total.unwrap_or(Cents::new(i64::MAX));
    Ok(CartBody { items, total_cents })
}
