use ::search::{Attribute, Category, Change, Embedded, Product, SearchIndex as _};
use contract::{CategoryId, Cents, ProductId};

use super::*;

/// A product of the shop that is also in the index, without the worker.
async fn listed(app: &TestApp, title: &str) -> ProductId {
    let category = NewCategory { parent: None, name: "手机".to_owned(), sort_order: 0 };
    let category = app.store.catalogue().add_category(category, 1).await.unwrap().unwrap().category_id;
    let new = NewProduct {
        category,
        title: title.to_owned(),
        subtitle: String::new(),
        description: String::new(),
        image_ids: Vec::new(),
    };
    let product = app.store.catalogue().add_product(new, 1).await.unwrap().unwrap().product_id;
    let new = NewSku { product, attributes: Attributes::default(), price: Cents::new(500), stock: 1 };
    app.store.catalogue().add_sku(new, 1).await.unwrap().unwrap();
    app.store.catalogue().shelve(product, true).await.unwrap();
    product
}

fn document(id: ProductId, title: &str) -> Change {
    Change::Put(Box::new(Product {
        id,
        version: 1,
        title: title.to_owned(),
        subtitle: String::new(),
        categories: vec![Category { id: CategoryId::from_i64(1).unwrap(), name: "手机".to_owned() }],
        attributes: vec![Attribute { name: "颜色".to_owned(), value: "黑".to_owned() }],
        offers: vec![::search::Offer { price_cents: Cents::new(500), in_stock: true }],
        sales: 3,
        created_at_ms: 1,
    }))
}

/// An app over an index that holds `changes`.
async fn app(changes: &[Change]) -> TestApp {
    let directory = tempfile::tempdir().unwrap();
    let analyzer = ::search::Analyzer::new(::search::Synonyms::default());
    let index = Embedded::open(&directory.path().join("search"), analyzer).unwrap();
    index.rebuild().unwrap().finish(None).unwrap();
    index.apply(changes, None).unwrap();
    drop(index);
    let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
    TestApp::over(store, directory).await
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn products_are_found_with_what_the_shop_says_of_them_now() {
    let ids = [2, 3].map(|id| ProductId::from_i64(id).unwrap());
    let app = app(&ids.map(|id| document(id, "小米旗舰"))).await;
    // The first one is in the shop under another title by now; the second one has left it.
    assert_eq!(listed(&app, "小米旗舰 2").await, ids[0]);
    let (status, page) =
        app.send("GET", &format!("/api/v1/search?q={}&facets=true", encoded("旗舰")), None, None).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{page}");
    assert_eq!(
        (&items[0]["title"], &items[0]["price_cents"], &items[0]["sales"]),
        (&json!("小米旗舰 2"), &json!(500), &json!(3))
    );
    assert_eq!(items[0]["highlights"]["title"][1], json!({ "text": "旗舰", "matched": true }), "{page}");
    assert_eq!((&page["total"], &page["facets"]["in_stock"]), (&json!(2), &json!(2)));

    let (status, typed) = app.send("GET", "/api/v1/search/suggest?q=xiaomi", None, None).await;
    assert_eq!((status, &typed["items"][0]["text"]), (StatusCode::OK, &json!("小米旗舰")), "{typed}");
}

#[tokio::test]
async fn what_is_no_search_is_named_and_never_a_query_language() {
    let app = app(&[document(ProductId::from_i64(2).unwrap(), "旗舰")]).await;
    for q in ["", "   ", "!!!", "\"", "title:*", "(a OR", "*", "\u{0}\u{1b}[31m", "' OR 1=1 --", "/.*/"] {
        let (status, page) = app.send("GET", &format!("/api/v1/search?q={}", encoded(q)), None, None).await;
        assert_eq!((status, &page["items"]), (StatusCode::OK, &json!([])), "{q:?} {page}");
    }
    let long = encoded(&"长".repeat(257));
    for (query, field) in [
        ("".to_owned(), "q"),
        (format!("q={long}"), "q"),
        (format!("q={}", "a".repeat(6_000)), "q"),
        ("q=a&limit=0".to_owned(), "limit"),
        ("q=a&limit=101".to_owned(), "limit"),
        ("q=a&min_price_cents=-1".to_owned(), "min_price_cents"),
        ("q=a&min_price_cents=2&max_price_cents=1".to_owned(), "max_price_cents"),
        ("q=a&max_price_cents=99999999999999999999".to_owned(), "max_price_cents"),
        ("q=a&cursor=foreign".to_owned(), "cursor"),
        ("q=a&sort=cheapest".to_owned(), "sort"),
        ("q=a&in_stock=maybe".to_owned(), "in_stock"),
        ("q=a&category_id=x".to_owned(), "category_id"),
        ("q=a&colour=red".to_owned(), "colour"),
        ("q=%ED%A0%80&limit=0".to_owned(), "limit"),
    ] {
        let (status, problem) = app.send("GET", &format!("/api/v1/search?{query}"), None, None).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        let shown = &query[..query.len().min(60)];
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_query")),
            "{shown} {problem}"
        );
        assert!(detail.contains(field), "{shown}: {detail}");
    }
    let (status, _) = app.send("GET", "/api/v1/search?q=%ED%A0%80", None, None).await;
    assert!(matches!(status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY), "{status}");
}

#[tokio::test]
async fn what_nobody_types_suggests_nothing_or_is_named() {
    let app = app(&[document(ProductId::from_i64(2).unwrap(), "旗舰")]).await;
    for q in
        ["", "   ", "!!!", "\"", "title:*", "(a OR", "*", "\u{0}\u{1b}[31m", "\u{feff}\u{200b}", "' OR 1=1 --", "/.*/"]
    {
        let (status, typed) = app.send("GET", &format!("/api/v1/search/suggest?q={}", encoded(q)), None, None).await;
        assert_eq!((status, &typed["items"]), (StatusCode::OK, &json!([])), "{q:?} {typed}");
    }
    let long = encoded(&"长".repeat(257));
    for (query, field) in [
        ("".to_owned(), "q"),
        (format!("q={long}"), "q"),
        (format!("q={}", "a".repeat(10_240)), "q"),
        (format!("q={}", "%21".repeat(3_000)), "q"),
        ("q=a&limit=0".to_owned(), "limit"),
        ("q=a&limit=21".to_owned(), "limit"),
        ("q=a&limit=-1".to_owned(), "limit"),
        ("q=a&limit=99999999999".to_owned(), "limit"),
        ("q=a&limit=".to_owned(), "limit"),
        ("q=a&cursor=x".to_owned(), "cursor"),
        ("q=a&q=b".to_owned(), "q"),
    ] {
        let (status, problem) = app.send("GET", &format!("/api/v1/search/suggest?{query}"), None, None).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        let shown = &query[..query.len().min(60)];
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_query")),
            "{shown} {problem}"
        );
        assert!(detail.contains(field), "{shown}: {detail}");
    }
    // Halves of a surrogate pair, and bytes that are no UTF-8 at all.
    for q in ["%ED%A0%80", "%ED%B0%80", "%FF", "a%ED%A0%80"] {
        let (status, answer) = app.send("GET", &format!("/api/v1/search/suggest?q={q}"), None, None).await;
        assert!(matches!(status, StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY), "{q}: {status} {answer}");
    }
}

#[tokio::test]
async fn without_an_index_only_search_is_away() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("search")).unwrap();
    let store = Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap();
    let app = TestApp::over(store, directory).await;
    for path in ["/api/v1/search?q=a", "/api/v1/search/suggest?q=a"] {
        let (status, problem) = app.send("GET", path, None, None).await;
        assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")), "{problem}");
    }
    assert_eq!(app.send("GET", "/api/v1/products", None, None).await.0, StatusCode::OK);
}
