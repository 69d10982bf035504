//! Idempotency keys of processes that end between making something and answering.

use contract::{Cents, activity::Rules};
use store::{AddedSale, Attributes, NewCategory, NewProduct, NewSale, NewSku, RequestClaim, StoreError};
use web::meaning;

use super::*;

const KEY: [(&str, &str); 1] = [("idempotency-key", "k")];

/// Makes something as the request would, and never answers; its id.
async fn leave<R: Future<Output = i64>>(app: &TestApp, path: &str, body: &Value, make: impl FnOnce(Store) -> R) -> i64 {
    let (sender, made) = tokio::sync::oneshot::channel();
    let carry_out = async |claim: RequestClaim| {
        sender.send(make(app.store.making(claim)).await).unwrap();
        std::future::pending::<Result<(u16, String), StoreError>>().await
    };
    let nothing_made = async |made: i64| panic!("{made} was made before");
    let (scope, body) = (format!("admin:1:{}", path.trim_start_matches('/')), body.to_string());
    let body = meaning(body.as_bytes());
    let unanswered = app.store.once((&scope, "k"), &body, app.clock.now_ms(), carry_out, nothing_made);
    tokio::select! {
        _ = unanswered => unreachable!("the request is not answered"),
        made = made => made.unwrap(),
    }
}

/// What the next requests under the key are answered, at once and after an hour.
async fn next(app: &TestApp, path: &str, body: &Value) -> Value {
    let (status, first) = app.send("POST", path, &KEY, &body.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    app.clock.advance(HOUR_MS);
    let (bearer, text) = (format!("Bearer {}", token("admin")), body.to_string());
    let again = app.raw("POST", path, &[("authorization", &bearer), KEY[0]], &text).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(app.send("POST", path, &KEY, &body.to_string()).await, (status, first.clone()));
    first
}

#[tokio::test]
async fn what_was_made_and_not_answered_is_answered_and_not_made_again() {
    let app = TestApp::new().await;
    let now_ms = app.clock.now_ms();

    let body = json!({ "name": "手机" });
    let category = leave(&app, "/categories", &body, async |store| {
        let new = NewCategory { parent: None, name: "手机".to_owned(), sort_order: 0 };
        store.catalogue().add_category(new, now_ms).await.unwrap().unwrap().category_id.as_i64()
    });
    let category = category.await;
    let answer = next(&app, "/categories", &body).await;
    assert_eq!((&answer["category_id"], &answer["name"]), (&json!(category.to_string()), &json!("手机")));
    assert_eq!(app.get("/categories").await.1["items"].as_array().unwrap().len(), 1);

    let body = json!({ "title": "旗舰", "category_id": category.to_string() });
    let product = leave(&app, "/products", &body, async |store| {
        let category = contract::CategoryId::from_i64(category).unwrap();
        let (title, subtitle, description) = ("旗舰".to_owned(), String::new(), String::new());
        let new = NewProduct { category, title, subtitle, description, image_ids: Vec::new() };
        store.catalogue().add_product(new, now_ms).await.unwrap().unwrap().product_id.as_i64()
    });
    let product = product.await;
    assert_eq!(next(&app, "/products", &body).await["product_id"], product.to_string());

    let body = json!({ "attributes": {}, "price_cents": 500, "stock": 100 });
    let path = format!("/products/{product}/skus");
    let sku = leave(&app, &path, &body, async |store| {
        let product = contract::ProductId::from_i64(product).unwrap();
        let new = NewSku { product, attributes: Attributes::default(), price: Cents::new(500), stock: 100 };
        store.catalogue().add_sku(new, now_ms).await.unwrap().unwrap().sku_id.as_i64()
    });
    let sku = sku.await;
    assert_eq!(next(&app, &path, &body).await["sku_id"], sku.to_string());

    let body = app.activity(&sku.to_string(), 40, 48 * HOUR_MS);
    let now_ms = app.clock.now_ms();
    let starts_at_ms = now_ms + 48 * HOUR_MS;
    let rules = Rules { per_user_limit: 2, starts_at_ms, ends_at_ms: starts_at_ms + HOUR_MS };
    let sale = leave(&app, "/activities", &body, async |store| {
        let (title, sku) = ("一元秒杀".to_owned(), contract::SkuId::from_i64(sku).unwrap());
        let (admission, price) = (contract::activity::Admission::default(), Cents::new(100));
        let new = NewSale { title, sku, price, stock: 40, rules, admission, pay_within_ms: None, is_draft: false };
        let AddedSale::Added(sale) = store.sales().add_sale(new, now_ms).await.unwrap() else { panic!("no sale") };
        sale.activity.id.as_i64()
    });
    let sale = sale.await;
    let answer = next(&app, "/activities", &body).await;
    assert_eq!((&answer["activity_id"], &answer["stock"]), (&json!(sale.to_string()), &json!(40)));
    let left = app.get(&format!("/skus/{sku}")).await.1["stock"].clone();
    assert_eq!(left, 60, "the units are carved out of the SKU's stock once");
}
