//! Ordering, and what an owner may do with an order afterwards.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use contract::{AddressId, Cents, OrderId, SkuId, openapi::whole};
use domain::order_state::{Happening, OrderState};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{AddressSet, CART_UNITS_MAX, Goods, Moved, NewOrder, ORDER_LINES_MAX, Placed};
use utoipa::ToSchema;
use web::{Json, Path, Problem, Raw, idempotency_key, json_from, meaning, openapi::IdempotencyKey};

use super::{Api, Shopper, failed, location, no_store, orders::OrderBody};
use crate::CartOrder;

/// Either `items` or `"from_cart": true`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrder, example = json!({ "address_id": "7331425023410176", "from_cart": true, "expected_total_cents": 399_900 }))]
struct Asked {
    /// One of your addresses.
    address_id: AddressId,
    /// Lines of the same SKU are added up, to 999 at most.
    #[schema(min_items = 1, max_items = 100)]
    items: Option<Vec<Item>>,
    #[serde(default)]
    from_cart: bool,
    /// The total that the buyer has seen. If it has changed, the order is refused with `price_changed`.
    #[schema(value_type = Option<i64>, minimum = 0)]
    expected_total_cents: Option<Cents>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrderAddress {
    /// One of your addresses.
    address_id: AddressId,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrderLine)]
struct Item {
    sku_id: SkuId,
    #[schema(schema_with = whole::<1, { CART_UNITS_MAX as i64 }>)]
    quantity: u32,
}

/// Order the named SKUs, or the contents of the cart.
///
/// Stock, order, lines and cart are one transaction; the price is the shop's. A cart becomes one order: of concurrent
/// requests one orders it, and the others are refused with `cart_empty`, unless they have the same `Idempotency-Key`
/// and so the same answer. If an order is refused, its lines stay in the cart.
#[utoipa::path(
    post, path = "/api/v1/orders", tag = "orders", operation_id = "place_order",
    params(IdempotencyKey),
    request_body = Asked,
    responses(
        (status = 201, description = "Ordered; it waits for payment until `expires_at`.", body = OrderBody,
            headers(("Location" = String, description = "Its path."))),
        (status = 409, description = "`cart_empty`: the cart is empty, or another request has just ordered it; \
            `cart_changed`: the cart kept changing while it was being ordered, and nothing is ordered; or \
            `insufficient_stock` with `items: [{sku_id, stock}]`; or `price_changed` with the new `total_cents`; \
            or `too_many_unpaid`: pay or cancel another order first, or wait until free ones are sent."),
        (status = 422, description = "`invalid_body`, `invalid_idempotency_key`, `idempotency_key_reused`, \
            `unknown_address`, or `unknown_sku` with `sku_ids`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn place(
    State(api): State<Api>,
    Shopper(user): Shopper,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<impl IntoResponse, Problem> {
    let asked: Asked = json_from(&headers, &body)?;
    let request = idempotency_key(&headers)?.map(|key| (key.to_owned(), Sha256::digest(meaning(&body)).into()));
    let (address, expected_total, now_ms) = (asked.address_id, asked.expected_total_cents, api.now_ms());
    let order = match (asked.items, asked.from_cart) {
        (Some(items), false) => {
            let goods = Goods::Items(lines(items.iter().map(|item| (item.sku_id, item.quantity)))?);
            api.store.place_order(&NewOrder { user, address, goods, request, expected_total }, now_ms).await
        }
        (None, true) => api.carts.order(&CartOrder { user, address, request, expected_total }, now_ms).await,
        (Some(_), true) | (None, false) => {
            return Err(Problem::invalid_body("expected either items or \"from_cart\": true"));
        }
    };
    let order = placed(order.map_err(failed)?)?;
    let at = location(&format!("/api/v1/orders/{}", order.id));
    Ok((StatusCode::CREATED, at, Json(OrderBody::from(order))))
}

fn lines(items: impl Iterator<Item = (SkuId, u32)>) -> Result<BTreeMap<SkuId, u32>, Problem> {
    let mut lines = BTreeMap::<SkuId, u32>::new();
    for (sku, quantity) in items {
        let units = lines.entry(sku).or_default();
        *units = units.saturating_add(quantity);
        if quantity == 0 || *units > CART_UNITS_MAX {
            return Err(Problem::invalid_body(format!("quantity is 1 to {CART_UNITS_MAX} of each sku_id")));
        }
    }
    if !(1..=ORDER_LINES_MAX).contains(&lines.len()) {
        return Err(Problem::invalid_body(format!("items is 1 to {ORDER_LINES_MAX} different sku_ids")));
    }
    Ok(lines)
}

fn placed(placed: Placed) -> Result<store::Order, Problem> {
    let refused = |status, code, detail: &str| Problem::new(status, code, detail);
    match placed {
        Placed::Placed(order) | Placed::Again(order) => Ok(order),
        Placed::CartEmpty | Placed::ClaimOrdered => {
            Err(refused(StatusCode::CONFLICT, "cart_empty", "there is nothing in your cart"))
        }
        Placed::CartChanged | Placed::ClaimVoid => {
            let detail = "your cart was changed while it was being ordered; look at it and order again";
            Err(refused(StatusCode::CONFLICT, "cart_changed", detail))
        }
        Placed::KeyReused => {
            let detail = "the first request under this Idempotency-Key had another body";
            Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail))
        }
        Placed::UnknownAddress => {
            Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "unknown_address", "address_id is not one of your addresses"))
        }
        Placed::UnknownSkus(skus) => {
            let problem =
                refused(StatusCode::UNPROCESSABLE_ENTITY, "unknown_sku", "the shop does not sell all of these");
            Err(problem.with("sku_ids", json!(skus)))
        }
        Placed::InsufficientStock(left) => {
            let left: Vec<_> = left.iter().map(|(sku, stock)| json!({ "sku_id": sku, "stock": stock })).collect();
            let problem = refused(StatusCode::CONFLICT, "insufficient_stock", "there is not enough stock");
            Err(problem.with("items", json!(left)))
        }
        Placed::PriceChanged(total) => {
            let problem = refused(StatusCode::CONFLICT, "price_changed", "the total is another one now");
            Err(problem.with("total_cents", json!(total)))
        }
        Placed::TooManyUnpaid(max) => {
            let detail = format!("you have {max} orders that are not paid, or cost nothing and are not sent yet");
            Err(refused(StatusCode::CONFLICT, "too_many_unpaid", &detail))
        }
        Placed::TooManyUnpaidUnits(max) => {
            let detail = format!(
                "orders that are not paid, or cost nothing and are not sent yet, have at most {max} units in all"
            );
            Err(refused(StatusCode::CONFLICT, "too_many_unpaid", &detail))
        }
        Placed::TooDear => Err(Problem::invalid_body("the sum is more than can be paid")),
    }
}

/// Cancel an order that is not paid.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/cancel", tag = "orders", operation_id = "cancel_order",
    params(("order_id" = OrderId, Path)),
    responses(
        (status = 200, description = "The order is closed.", body = OrderBody),
        (status = 409, description = "`invalid_transition`, with the `order_status`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    moved(&api, (user, order), Happening::Close).await
}

/// Confirm that the goods have arrived.
#[utoipa::path(
    post, path = "/api/v1/orders/{order_id}/receipt", tag = "orders", operation_id = "confirm_receipt",
    params(("order_id" = OrderId, Path)),
    responses(
        (status = 200, description = "The order is completed.", body = OrderBody),
        (status = 409, description = "`invalid_transition`, with the `order_status`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn receipt(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
) -> Result<impl IntoResponse, Problem> {
    moved(&api, (user, order), Happening::Receive).await
}

/// Have an order sent to another of your addresses. Possible until it is sent.
#[utoipa::path(
    put, path = "/api/v1/orders/{order_id}/address", tag = "orders", operation_id = "set_order_address",
    params(("order_id" = OrderId, Path)),
    request_body = NewOrderAddress,
    responses(
        (status = 200, description = "The order goes there.", body = OrderBody),
        (status = 409, description = "`invalid_transition`, with the `order_status`."),
        (status = 422, description = "`invalid_body`, or `unknown_address`."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn set_address(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(order): Path<OrderId>,
    Json(asked): Json<NewOrderAddress>,
) -> Result<impl IntoResponse, Problem> {
    let unknown = || Problem::not_found("you have no such order");
    match api.store.set_order_address((user, order), asked.address_id).await.map_err(failed)? {
        AddressSet::Done => {}
        AddressSet::Unknown => return Err(unknown()),
        AddressSet::UnknownAddress => {
            let detail = "address_id is not one of your addresses";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_address", detail));
        }
        AddressSet::Refused(state) => {
            let detail = format!("an order that is {} can't change its address", state.as_str());
            let problem = Problem::new(StatusCode::CONFLICT, "invalid_transition", detail);
            return Err(problem.with("order_status", json!(state.as_str())));
        }
    }
    let order = api.store.order(user, order).await.map_err(failed)?;
    Ok((no_store(), Json(OrderBody::from(order.ok_or_else(unknown)?))))
}

async fn moved(
    api: &Api,
    (user, order): (contract::UserId, OrderId),
    what: Happening,
) -> Result<impl IntoResponse + use<>, Problem> {
    let unknown = || Problem::not_found("you have no such order");
    match api.store.move_order(order, Some(user), what, api.now_ms()).await.map_err(failed)? {
        Moved::To(_) => {}
        Moved::Unknown | Moved::NoAddress | Moved::OtherRefund(_) => return Err(unknown()),
        Moved::Refused(state) => return Err(invalid_transition(state, what)),
    }
    let order = api.store.order(user, order).await.map_err(failed)?;
    Ok((no_store(), Json(OrderBody::from(order.ok_or_else(unknown)?))))
}

pub(super) fn invalid_transition(state: OrderState, what: Happening) -> Problem {
    let verb = match what {
        Happening::Pay => "be paid",
        Happening::Close => "be cancelled",
        Happening::Ship => "be sent",
        Happening::Receive => "be received",
        Happening::AskRefund => "be refunded",
        Happening::Refund | Happening::RefundPart | Happening::RefuseRefund => "have its refund decided",
    };
    let detail = format!("an order that is {} can't {verb}", state.as_str());
    Problem::new(StatusCode::CONFLICT, "invalid_transition", detail).with("order_status", json!(state.as_str()))
}
