use std::collections::BTreeMap;

use super::*;
use support::{document, hostile};

#[tokio::test]
async fn the_document_is_what_is_served() {
    let app = TestApp::new().await;
    document::is_whole(&app.router).await;
    document::has_every_route(&app.router).await;
    let admin = TokenKey::new(SECRET, Audience::Admin);
    let foreign = admin.sign(UserId::from_i64(1).unwrap(), Some("admin"), START_MS / 1000, 60);
    document::tells_who_may(&app.router, &[foreign], &[]).await;
}

async fn bears_what_is_hostile(app: TestApp) {
    let shop = mall::Shopping::at(app).await;
    let product = shop.get("/products").await["items"][0].clone();
    let detail = shop.get(&format!("/products/{}", product["product_id"].as_str().unwrap())).await;
    let address = shop.address().await;
    let (status, order) = shop.ask("POST", "/orders", Some(shop.order(&address, 1))).await;
    assert_eq!(status, StatusCode::CREATED, "{order}");
    let known = BTreeMap::from([
        ("address_id", json!(address)),
        ("category_id", product["category_id"].clone()),
        ("method", json!("mock")),
        ("order_id", order["order_id"].clone()),
        ("product_id", product["product_id"].clone()),
        ("sku_id", detail["skus"][0]["sku_id"].clone()),
    ]);
    let intact = hostile::is_borne(&shop.app.router, &shop.token, &known).await;
    assert!(intact > 50, "{intact}");
    assert_eq!(shop.get("/products").await["items"][0], product);
    let found = shop.get(&format!("/orders/{}", order["order_id"].as_str().unwrap())).await;
    assert_eq!(found["items"], order["items"]);
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
