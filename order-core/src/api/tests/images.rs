use axum::{body::Bytes, http::HeaderMap};

use super::*;

const GIF: &[u8] = b"GIF89a\x02\0\x02\0\0\0\0\x3b";

impl TestApp {
    async fn picture(&self, method: &str, id: &str, none_match: &str) -> (u16, HeaderMap, Bytes) {
        let request = Request::builder().method(method).uri(format!("/images/{id}"));
        let request = request.header(header::IF_NONE_MATCH, none_match).body(Body::empty()).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        (parts.status.as_u16(), parts.headers, to_bytes(body, 1 << 24).await.unwrap())
    }
}

#[tokio::test]
async fn pictures_are_shown_and_kept_for_good() {
    let app = TestApp::new().await;
    let pixels = [&[255][..], &[7; 255]].concat().repeat(4_000);
    let long = [&GIF[..13], b"\x2c\0\0\0\0\x02\0\x02\0\0\x02", &pixels, b"\0\x3b"].concat();
    let id = app.images.room().unwrap().add(long.clone()).await.unwrap().to_string();
    let (status, headers, body) = app.picture("GET", &id, "").await;
    assert_eq!((status, body.len(), &body[..]), (200, long.len(), &long[..]));
    for (name, value) in [
        ("content-type", "image/gif"),
        ("content-length", &long.len().to_string()),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("etag", &format!("\"{id}\"")),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let (status, headers, body) = app.picture("HEAD", &id, "").await;
    assert_eq!((status, body.len(), &headers["content-length"]), (200, 0, &long.len().to_string().parse().unwrap()));
    for known in [format!("\"{id}\""), format!("\"x\", W/\"{id}\""), "*".to_owned()] {
        let (status, headers, body) = app.picture("GET", &id, &known).await;
        assert_eq!((status, body.len()), (304, 0), "{known}");
        assert_eq!(headers["etag"], format!("\"{id}\""));
    }
    let other = "0123456789abcdef0123456789abcdef.gif";
    for unknown in [
        other,
        "..%2fmall.db",
        "%2e%2e%2fmall.db",
        "..",
        "mall.db",
        ".partial",
        "%00",
        "%ff",
        &id.replace("gif", "png"),
    ] {
        assert_eq!(app.picture("GET", unknown, "*").await.0, 404, "{unknown}");
    }
}

#[tokio::test]
async fn products_have_the_addresses_of_their_pictures() {
    let app = TestApp::new().await;
    let id = app.images.room().unwrap().add(GIF.to_vec()).await.unwrap().to_string();
    let new = NewCategory { parent: None, name: "数码".into(), sort_order: 0 };
    let category = app.store.catalogue().add_category(new, 0).await.unwrap().unwrap().category_id;
    let new = NewProduct {
        category,
        title: "手机".into(),
        subtitle: String::new(),
        description: String::new(),
        image_ids: vec![id.clone(), "of another time".into()],
    };
    let product = app.store.catalogue().add_product(new, 0).await.unwrap().unwrap().product_id;
    let new = NewSku { product, attributes: Attributes::new(), price: contract::Cents::new(500), stock: 10 };
    app.store.catalogue().add_sku(new, 0).await.unwrap().unwrap();
    app.store.catalogue().shelve(product, true).await.unwrap().unwrap();
    let urls = json!([format!("http://shop/images/{id}")]);
    let (_, listed) = app.send("GET", "/api/v1/products", None, None).await;
    assert_eq!((&listed["items"][0]["image_urls"], &listed["items"][0]["title"]), (&urls, &json!("手机")));
    app.shelf.changed(product).await.unwrap();
    let (_, detail) = app.send("GET", &format!("/api/v1/products/{product}"), None, None).await;
    assert_eq!((&detail["image_urls"], &detail["image_ids"][0]), (&urls, &json!(id)));
}
