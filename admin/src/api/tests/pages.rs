//! The pages: sessions, forms that other sites send, and what each role may do.

use super::*;

/// A page that was answered.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: String,
}

/// A browser without scripts.
pub(super) struct Browser<'a> {
    app: &'a TestApp,
    cookie: String,
}

impl<'a> Browser<'a> {
    pub(super) const fn new(app: &'a TestApp) -> Self {
        Self { app, cookie: String::new() }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(method, path, &[], Body::from(body)).await
    }

    pub(super) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Page {
        let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 1)));
        let request = Request::builder().method(method).uri(path).extension(peer).header("accept-language", "en");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.header(header::COOKIE, &self.cookie).body(body).unwrap();
        let response = self.app.pages.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Page { status, headers, body: String::from_utf8(body.into()).unwrap() }
    }

    pub(super) async fn sign_in(&mut self, username: &str, password: &str) -> Page {
        let form = [("username", username), ("password", password), ("next", "//evil.example")];
        let page = self.ask("POST", "/admin/sign-in", &form).await;
        self.take_cookie(&page);
        page
    }

    pub(super) fn take_cookie(&mut self, page: &Page) {
        if let Some(cookie) = page.headers.get(header::SET_COOKIE) {
            cookie.to_str().unwrap().split(';').next().unwrap().clone_into(&mut self.cookie);
        }
    }

    /// The value that the forms of this session carry.
    pub(super) async fn csrf(&self) -> String {
        let page = self.ask("GET", "/admin/", &[]).await.body;
        page.split(r#"name="csrf" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

/// An account whose owner has chosen the password.
pub(super) async fn settled_account(app: &TestApp, username: &str, password: &str, role: &str) {
    let hash = app.api.passwords.hash(password).await.unwrap().unwrap();
    assert!(app.store.accounts().ensure_admin(username, (&hash, false), role, START_MS).await.unwrap());
}

pub(super) fn location(page: &Page) -> &str {
    page.headers[header::LOCATION].to_str().unwrap()
}

#[tokio::test]
async fn pages_need_a_session_and_forms_its_value() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    let page = browser.ask("GET", "/admin/sales?state=running", &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(location(&page), "/admin/sign-in?next=%2Fadmin%2Fsales%3Fstate%3Drunning");
    assert_eq!(browser.sign_in("admin", "wrong horse").await.status, StatusCode::UNAUTHORIZED);
    let page = browser.sign_in("admin", PASSWORD).await;
    assert_eq!((page.status, location(&page)), (StatusCode::SEE_OTHER, "/admin/"), "never to another site");
    let cookie = page.headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["; Path=/admin;", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let page = browser.ask("GET", "/admin/", &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.headers[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'; script-src 'self'")
    );

    let csrf = browser.csrf().await;
    for forged in ["", "x", &csrf[1..]] {
        let page = browser.ask("POST", "/admin/categories", &[("csrf", forged), ("name", "forged")]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{forged}");
    }
    let page = browser.ask("POST", "/admin/categories", &[("csrf", &csrf), ("name", "<b>茶</b>")]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    let page = browser.ask("GET", "/admin/categories", &[]).await.body;
    assert!(page.contains("&lt;b&gt;茶&lt;/b&gt;") && !page.contains("<b>茶"), "{page}");
    assert!(!page.contains("forged"));
    let page = browser.ask("POST", "/admin/categories", &[("csrf", &csrf), ("name", ""), ("sort_order", "7x")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.body.contains(r#"value="7x""#), "what was entered is kept");

    browser.ask("POST", "/admin/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!(browser.ask("GET", "/admin/", &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_page_does_not_show_what_a_role_may_not_do() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let sale = app.make("/activities", app.activity(&sku, 5, 2 * HOUR_MS)).await;
    let sale = format!("/admin/sales/{}", sale["activity_id"].as_str().unwrap());
    for (role, may_pause) in [("viewer", false), ("operator", true)] {
        settled_account(&app, role, "long enough", role).await;
        let mut browser = Browser::new(&app);
        browser.sign_in(role, "long enough").await;
        let csrf = browser.csrf().await;
        let page = browser.ask("GET", &sale, &[]).await;
        assert_eq!((page.status, page.body.contains("/do/pause")), (StatusCode::OK, may_pause), "{role}");
        let page = browser.ask("POST", &format!("{sale}/do/pause"), &[("csrf", &csrf)]).await;
        let expect = if may_pause { StatusCode::SEE_OTHER } else { StatusCode::FORBIDDEN };
        assert_eq!(page.status, expect, "{role}");
        for path in ["/admin/staff", "/admin/audit-log", "/admin/users/9/block?decision=on"] {
            assert_eq!(browser.ask("GET", path, &[]).await.status, StatusCode::FORBIDDEN, "{role} {path}");
        }
        for path in ["/admin/staff", "/admin/users/9/block", "/admin/orders/9/refund"] {
            let page = browser.ask("POST", path, &[("csrf", &csrf), ("decision", "approve")]).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{role} {path}");
        }
    }
    // A session ends with its account.
    let mut browser = Browser::new(&app);
    browser.sign_in("viewer", "long enough").await;
    let (_, admins) = app.get("/admins").await;
    let viewer = admins["items"].as_array().unwrap().iter().find(|account| account["username"] == "viewer").unwrap();
    let path = format!("/admins/{}", viewer["admin_id"].as_str().unwrap());
    app.send("PATCH", &path, &[("if-match", "1")], r#"{"disabled":true}"#).await;
    assert_eq!(browser.ask("GET", "/admin/", &[]).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_audit_is_public_only_where_staff_say_so() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let sale = app.make("/activities", app.activity(&sku, 5, 2 * HOUR_MS)).await;
    let id = sale["activity_id"].as_str().unwrap();
    let (stranger, mut browser) = (Browser::new(&app), Browser::new(&app));
    let path = format!("/audit/{id}");
    assert_eq!(stranger.ask("GET", &path, &[]).await.status, StatusCode::NOT_FOUND);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    for (on, expect) in [("on", StatusCode::OK), ("off", StatusCode::NOT_FOUND)] {
        let form = [("csrf", &*csrf), ("on", on)];
        browser.ask("POST", &format!("/admin/sales/{id}/publish"), &form).await;
        assert_eq!(stranger.ask("GET", &path, &[]).await.status, expect);
    }
    let missing = stranger.ask("GET", "/audit/12345", &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    // nginx passes the path of its style, too.
    let style = missing.body.split('"').find(|part| part.ends_with("admin.css")).unwrap();
    assert!(style.starts_with("/audit/assets/"), "{style}");
    assert_eq!(stranger.ask("GET", style, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refund_is_confirmed_with_its_amount_units_and_reason() {
    let app = TestApp::new().await;
    let (user, order) = paid_order(&app).await;
    let part = store::RefundOf::Lines(std::collections::BTreeMap::from([(1, 1)]), None);
    let ask = async |of| app.store.ask_refund_of((user, order), of, "坏了一台", START_MS).await.unwrap();
    let store::AskedRefund::Asked(first) = ask(&part).await else { panic!("not asked") };
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let path = format!("/admin/orders/{order}");
    let confirm = format!("{path}/refund?refund={first}&decision=approve");
    for page in [&path, &confirm] {
        let body = browser.ask("GET", page, &[]).await.body;
        for text in ["3,999.00", "北辰 X1 × 1", "坏了一台", &first.to_string()] {
            assert!(body.contains(text), "{page}: {text}: {body}");
        }
    }
    app.store.decide_refund(order, false, START_MS).await.unwrap();
    assert!(matches!(ask(&store::RefundOf::Rest).await, store::AskedRefund::Asked(_)));
    assert_eq!(browser.ask("GET", &confirm, &[]).await.status, StatusCode::SEE_OTHER, "it is another request");
    let form = [("csrf", csrf.as_str()), ("decision", "approve"), ("refund", &first.to_string())];
    assert_eq!(browser.ask("POST", &format!("{path}/refund"), &form).await.status, StatusCode::CONFLICT);
    assert_eq!(app.store.due_refunds(&["mock"], 9).await.unwrap(), []);
}
