//! The refresh token in a cookie, pages of other origins, and the shop's own pages.

use super::*;

const HOST: &str = "127.0.0.1:8081";
const OWN: &str = "http://127.0.0.1:8081";

struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn cookie(&self) -> &str {
        self.header(header::SET_COOKIE).split(';').next().unwrap()
    }
}

async fn send(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(header::HeaderName, &str)],
    body: Option<Value>,
) -> Seen {
    let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1)));
    let mut request = Request::builder().method(method).uri(path).extension(peer).header(header::HOST, HOST);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let request = match body {
        Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap().to_vec();
    Seen { status: parts.status, headers: parts.headers, body }
}

#[tokio::test]
async fn a_browser_keeps_its_refresh_token_in_a_cookie_that_only_the_shop_can_use() {
    let app = TestApp::new().await;
    let ada = json!({ "username": "ada", "password": "correct-horse" });
    assert_eq!(app.post("/api/v1/users", ada.clone()).await.0, StatusCode::CREATED);
    let mut with_cookie = ada.clone();
    with_cookie["cookie"] = json!(true);
    let sign_in = async |origin: &str| {
        send(&app.router, "POST", "/api/v1/sessions", &[(header::ORIGIN, origin)], Some(with_cookie.clone())).await
    };
    let foreign = sign_in("http://127.0.0.1:9999").await;
    assert_eq!((foreign.status, foreign.json()["code"].as_str()), (StatusCode::FORBIDDEN, Some("wrong_origin")));

    let first = sign_in(OWN).await;
    assert_eq!((first.status, first.json().get("refresh_token")), (StatusCode::OK, None));
    let set = first.header(header::SET_COOKIE);
    assert!(set.starts_with("mall_shop_refresh="), "{set}");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api/v1/sessions", "Max-Age=2592000"] {
        assert!(set.split("; ").any(|part| part == attribute), "{attribute}: {set}");
    }

    let refresh = async |origin: Option<&str>, cookie: &str| {
        let mut headers = vec![(header::COOKIE, cookie)];
        headers.extend(origin.map(|origin| (header::ORIGIN, origin)));
        send(&app.router, "POST", "/api/v1/sessions/refresh", &headers, Some(json!({}))).await
    };
    assert_eq!(refresh(Some("https://evil.example"), first.cookie()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(refresh(None, first.cookie()).await.status, StatusCode::FORBIDDEN);
    let second = refresh(Some(OWN), &format!("theme=dark; {}", first.cookie())).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_ne!(second.cookie(), first.cookie());
    assert_eq!(refresh(Some(OWN), "theme=dark").await.status, StatusCode::UNAUTHORIZED);

    let bearer = format!("Bearer {}", second.json()["access_token"].as_str().unwrap());
    let out = send(&app.router, "DELETE", "/api/v1/sessions/current", &[(header::AUTHORIZATION, &bearer)], None).await;
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(refresh(Some(OWN), second.cookie()).await.status, StatusCode::UNAUTHORIZED);

    // An app's form stays: no origin, no cookie, the token in the body.
    let app_session = send(&app.router, "POST", "/api/v1/sessions", &[], Some(ada)).await;
    assert!(app_session.json()["refresh_token"].is_string() && app_session.header(header::SET_COOKIE).is_empty());
}

#[tokio::test]
async fn a_sku_leads_to_its_product() {
    let app = TestApp::new().await;
    app.orders().await;
    let sku = app.store.catalogue().skus(None, Page { before: i64::MAX, limit: 1 }).await.unwrap().items.remove(0);
    let path = format!("/api/v1/skus/{}", sku.sku_id);
    assert_eq!(app.send("GET", &path, None, None).await.0, StatusCode::NOT_FOUND, "it is not on the shelf");
    app.store.catalogue().shelve(sku.product_id, true).await.unwrap();
    app.shelf.changed(sku.product_id).await.unwrap();
    let (status, product) = app.send("GET", &path, None, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(product["product_id"], sku.product_id.to_string());
    assert_eq!(product["skus"][0]["sku_id"], sku.sku_id.to_string());
    assert_eq!(app.send("GET", "/api/v1/skus/1", None, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_pages_are_served_with_their_headers() {
    let gateway_url = "http://127.0.0.1:8080".to_owned();
    let pages = crate::ShopPages { gateway_url: gateway_url.clone(), pictures: OWN.to_owned() };
    let router = crate::pages::router(&pages);
    for path in ["/", "/product/7", "/sale/7", "/orders/7", "/pay/return", "/sign-in"] {
        let page = send(&router, "GET", path, &[], None).await;
        assert_eq!((page.status, page.body), (StatusCode::OK, shop::page(&gateway_url).into_bytes()), "{path}");
        let policy = page.headers.get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.contains("connect-src 'self' http://127.0.0.1:8080;"), "{policy}");
        assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
    for asset in &shop::ASSETS {
        let path = format!("/assets/{}/{}", shop::HASH, asset.path);
        let plain = send(&router, "GET", &path, &[], None).await;
        assert_eq!(plain.body, asset.plain, "{path}");
        assert_eq!(plain.header(header::CACHE_CONTROL), "public, max-age=31536000, immutable");
        let gzip = send(&router, "GET", &path, &[(header::ACCEPT_ENCODING, "gzip, br")], None).await;
        assert_eq!((gzip.header(header::CONTENT_ENCODING), gzip.body.as_slice()), ("gzip", asset.gzip));
        let etag = gzip.header(header::ETAG);
        let again = send(&router, "GET", &path, &[(header::IF_NONE_MATCH, etag)], None).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    }
    let stale = format!("/assets/0000000000000000/{}", shop::ASSETS[0].path);
    assert_eq!(send(&router, "GET", &stale, &[], None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(send(&router, "GET", "/assets/x/../../Cargo.toml", &[], None).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_of_named_origins_may_call() {
    use axum::middleware;
    use web::{Origins, cors};

    let app = TestApp::new().await;
    let shop = "https://shop.example";
    let origins = Origins::new(vec![shop.to_owned()]);
    let router = app.router.clone().layer(middleware::from_fn_with_state(origins, cors));
    let asks = [(header::ORIGIN, shop), (header::ACCESS_CONTROL_REQUEST_METHOD, "POST")];
    let preflight = send(&router, "OPTIONS", "/api/v1/orders", &asks, None).await;
    assert_eq!(
        (preflight.status, preflight.header(header::ACCESS_CONTROL_ALLOW_ORIGIN)),
        (StatusCode::NO_CONTENT, shop)
    );
    assert!(preflight.header(header::ACCESS_CONTROL_ALLOW_HEADERS).contains("idempotency-key"));
    assert!(preflight.headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    let refused = send(&router, "GET", "/api/v1/cart", &asks[..1], None).await;
    assert_eq!((refused.status, refused.header(header::ACCESS_CONTROL_ALLOW_ORIGIN)), (StatusCode::UNAUTHORIZED, shop));
    let other = send(&router, "GET", "/api/v1/cart", &[(header::ORIGIN, "https://evil.example")], None).await;
    assert_eq!(other.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "");
}
