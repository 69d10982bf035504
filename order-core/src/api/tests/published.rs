//! What clients of order-core may rely on.

use support::document::{Published, publishes};

use super::*;

const PUBLISHED: &[Published] = &[
    ("POST", "/api/v1/users", &["username", "password", "phone"], &["user_id"]),
    ("POST", "/api/v1/sessions", &["username", "password"], &["access_token", "expires_in", "refresh_token"]),
    ("POST", "/api/v1/sessions/refresh", &["refresh_token"], &["access_token", "expires_in", "refresh_token"]),
    ("DELETE", "/api/v1/sessions/current", &[], &[]),
    ("GET", "/api/v1/users/me", &[], &["user_id", "username", "phone"]),
    ("PATCH", "/api/v1/users/me", &["phone"], &["phone"]),
    ("POST", "/api/v1/users/me/password", &["old_password", "new_password"], &[]),
    ("GET", "/api/v1/addresses", &[], &["items"]),
    ("POST", "/api/v1/addresses", &["recipient", "phone", "region", "detail"], &["address_id"]),
    ("GET", "/api/v1/addresses/{address_id}", &[], &["address_id"]),
    ("PUT", "/api/v1/addresses/{address_id}", &["recipient", "phone", "region", "detail"], &["address_id"]),
    ("DELETE", "/api/v1/addresses/{address_id}", &[], &[]),
    ("GET", "/api/v1/categories", &[], &["items"]),
    ("GET", "/api/v1/products", &[], &["items", "next_cursor"]),
    ("GET", "/api/v1/products/{product_id}", &[], &["product_id", "skus"]),
    ("GET", "/api/v1/search", &[], &["items", "next_cursor"]),
    ("GET", "/api/v1/search/suggest", &[], &["items"]),
    ("GET", "/api/v1/cart", &[], &["items", "total_cents"]),
    ("DELETE", "/api/v1/cart", &[], &[]),
    ("POST", "/api/v1/cart/items", &["sku_id", "quantity"], &["items"]),
    ("PUT", "/api/v1/cart/items/{sku_id}", &["quantity"], &["items"]),
    ("DELETE", "/api/v1/cart/items/{sku_id}", &[], &[]),
    (
        "POST",
        "/api/v1/orders",
        &["address_id", "items", "from_cart", "expected_total_cents"],
        &["order_id", "status", "total_cents", "expires_at", "items"],
    ),
    ("GET", "/api/v1/orders", &[], &["items", "next_cursor"]),
    ("GET", "/api/v1/orders/{order_id}", &[], &["order_id", "status", "total_cents", "expires_at", "items", "address"]),
    ("POST", "/api/v1/orders/{order_id}/cancel", &[], &["status"]),
    ("POST", "/api/v1/orders/{order_id}/receipt", &[], &["status"]),
    ("PUT", "/api/v1/orders/{order_id}/address", &["address_id"], &["address"]),
    ("POST", "/api/v1/orders/{order_id}/refunds", &["reason", "lines", "amount_cents"], &["refund_id"]),
    ("POST", "/api/v1/orders/{order_id}/payments", &["method"], &["payment_id", "pay_url"]),
    ("POST", "/api/v1/payments/{method}/notify", &[], &[]),
];

#[tokio::test]
async fn everything_that_is_published_is_there() {
    publishes(&TestApp::new().await.router, PUBLISHED).await;
}
