use std::collections::BTreeMap;

use super::*;
use support::{document, hostile};

#[tokio::test]
async fn the_document_is_what_is_served() {
    let app = TestApp::new().await;
    document::is_whole(&app.router).await;
    document::has_every_route(&app.router).await;
    let shopper = TokenKey::new(SECRET, Audience::Shopper);
    let foreign = shopper.sign(UserId::from_i64(1).unwrap(), None, START_MS / 1000, 60);
    let roles = ["admin", "operator", "viewer"].map(|role| (role, token(role)));
    document::tells_who_may(&app.router, &[foreign], &roles).await;
}

async fn bears_what_is_hostile(app: TestApp) {
    let sku = app.sku().await;
    let (_, product) = app.get(&format!("/skus/{sku}")).await;
    let (_, product) = app.get(&format!("/products/{}", product["product_id"].as_str().unwrap())).await;
    let later = app.make("/activities", app.activity(&sku, 5, 2 * HOUR_MS)).await;
    let known = BTreeMap::from([
        ("activities", later["activity_id"].clone()),
        ("categories", product["category_id"].clone()),
        ("products", product["product_id"].clone()),
        ("skus", json!(sku)),
        ("category_id", product["category_id"].clone()),
        ("ends_at", json!("2100-01-02T00:00:00.000Z")),
        ("parent_id", product["category_id"].clone()),
        ("product_id", product["product_id"].clone()),
        ("sku_id", json!(sku)),
        ("starts_at", json!("2100-01-01T00:00:00.000Z")),
    ]);
    let intact = hostile::is_borne(&app.router, &token("operator"), &known).await;
    assert!(intact > 50, "{intact}");
    let (status, found) = app.get(&format!("/skus/{sku}")).await;
    assert_eq!((status, &found["product_id"]), (StatusCode::OK, &product["product_id"]));
}

#[tokio::test]
async fn what_is_hostile_is_refused_or_comes_back_intact() {
    bears_what_is_hostile(TestApp::new().await).await;
}

#[tokio::test]
async fn what_is_hostile_is_borne_on_mariadb_too() {
    let Some(server) = services::MariaDb::start() else { return };
    let store = Store::connect(&server.database(), ids(), Settings::new(60_000)).await.unwrap();
    bears_what_is_hostile(TestApp::over(store, tempfile::tempdir().unwrap()).await).await;
}
