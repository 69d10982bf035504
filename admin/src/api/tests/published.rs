//! What clients of the admin API may rely on.

use support::document::{Published, publishes};

use super::*;

const ACTIVITY: &[&str] = &[
    "title",
    "sku_id",
    "price_cents",
    "stock",
    "per_user_limit",
    "starts_at",
    "ends_at",
    "requires_ticket",
    "captcha",
    "draft",
    "registered_before",
    "pay_within_ms",
];
const CHANGES: &[&str] = &["title", "stock", "draft", "registered_before", "pay_within_ms"];
const AUDIT: &[&str] = &[
    "activity_id",
    "at",
    "term",
    "epoch",
    "seq",
    "total",
    "available",
    "held",
    "sold",
    "log",
    "database",
    "checks",
    "ok",
];

const PUBLISHED: &[Published] = &[
    ("POST", "/sessions", &["username", "password"], &["access_token", "expires_in"]),
    ("GET", "/categories", &[], &["items", "next_cursor"]),
    ("POST", "/categories", &["name", "parent_id", "sort_order"], &["category_id"]),
    ("GET", "/categories/{id}", &[], &["category_id"]),
    ("PATCH", "/categories/{id}", &["name", "parent_id", "sort_order"], &["category_id"]),
    ("GET", "/products", &[], &["items", "next_cursor"]),
    ("POST", "/products", &["title", "subtitle", "description", "category_id", "image_ids"], &["product_id"]),
    ("GET", "/products/{id}", &[], &["product_id"]),
    ("PATCH", "/products/{id}", &["title", "category_id", "image_ids"], &["product_id"]),
    ("POST", "/products/{id}/shelve", &[], &["on_shelf"]),
    ("POST", "/products/{id}/unshelve", &[], &["on_shelf"]),
    ("POST", "/products/{id}/skus", &["attributes", "price_cents", "stock"], &["sku_id"]),
    ("GET", "/skus/{id}", &[], &["sku_id"]),
    ("PATCH", "/skus/{id}", &["attributes", "price_cents"], &["sku_id"]),
    ("POST", "/skus/{id}/stock", &["delta", "reason"], &["stock"]),
    ("POST", "/images", &[], &["image_id", "url"]),
    ("GET", "/activities", &[], &["items", "next_cursor"]),
    ("POST", "/activities", ACTIVITY, ACTIVITY),
    ("GET", "/activities/{id}", &[], ACTIVITY),
    ("PATCH", "/activities/{id}", CHANGES, ACTIVITY),
    ("POST", "/activities/{id}/warm", &[], &["total"]),
    ("POST", "/activities/{id}/pause", &[], &["paused"]),
    ("POST", "/activities/{id}/resume", &[], &["paused"]),
    ("POST", "/activities/{id}/end", &[], &["ends_at"]),
    ("POST", "/activities/{id}/restock", &["delta"], &["delta"]),
    ("GET", "/activities/{id}/audit", &[], AUDIT),
    ("GET", "/activities/{id}/live", &[], &[]),
    ("GET", "/orders", &[], &["items", "next_cursor"]),
    ("GET", "/orders/{id}", &[], &["order_id"]),
    ("POST", "/orders/{id}/shipment", &["carrier", "tracking_no"], &["status"]),
    ("POST", "/orders/{id}/refunds/approve", &[], &["status"]),
    ("POST", "/orders/{id}/refunds/refuse", &[], &["status"]),
    ("GET", "/users", &[], &["items", "next_cursor"]),
    ("POST", "/users/{id}/block", &[], &[]),
    ("POST", "/users/{id}/unblock", &[], &[]),
    ("POST", "/users/{id}/reset-link", &[], &["token"]),
    ("GET", "/admins", &[], &["items", "next_cursor"]),
    ("POST", "/admins", &["username", "password", "role"], &["role"]),
    ("PATCH", "/admins/{id}", &["role", "disabled"], &["role", "disabled"]),
    ("GET", "/dead-letters", &[], &["items", "next_cursor"]),
    ("POST", "/dead-letters/{id}/replay", &[], &["decision"]),
    ("POST", "/dead-letters/{id}/drop", &["reason"], &["decision"]),
    ("GET", "/parked", &[], &["items"]),
    ("POST", "/parked/{id}/retry", &[], &[]),
    ("POST", "/parked/{id}/drop", &["reason"], &[]),
    ("GET", "/audit-log", &[], &["items", "next_cursor"]),
];

#[tokio::test]
async fn everything_that_is_published_is_there() {
    let base = |(method, path, asked, answered): &Published| {
        let path: &'static str = Box::leak(format!("/admin/api/v1{path}").into_boxed_str());
        (*method, path, *asked, *answered)
    };
    let published: Vec<Published> = PUBLISHED.iter().map(base).collect();
    publishes(&TestApp::new().await.router, &published).await;
}
