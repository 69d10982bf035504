//! Pages of the back office: one's own account, money that fits nothing, and the texts of pictures.

use super::{
    pages::{Browser, location, settled_account},
    *,
};

const NEW: &str = "a password of her own";

async fn account(app: &TestApp, role: &str) -> String {
    let new = json!({ "username": "eve", "password": "chosen by another", "role": role }).to_string();
    let (status, made) = app.send("POST", "/admins", &[], &new).await;
    assert_eq!((status, &made["must_change_password"]), (StatusCode::CREATED, &json!(true)));
    made["admin_id"].as_str().unwrap().to_owned()
}

async fn csrf_of(browser: &Browser<'_>, path: &str) -> String {
    let page = browser.ask("GET", path, &[]).await.body;
    page.split(r#"name="csrf" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_first_password_is_changed_before_anything_else() {
    let app = TestApp::new().await;
    let id = account(&app, "viewer").await;
    let mut browser = Browser::new(&app);
    browser.sign_in("eve", "chosen by another").await;
    for path in ["/admin/", "/admin/sales", "/admin/orders?status=paid"] {
        assert_eq!(location(&browser.ask("GET", path, &[]).await), "/admin/account", "{path}");
    }
    let csrf = csrf_of(&browser, "/admin/account").await;
    let change = async |browser: &Browser<'_>, old: &str, new: &str, again: &str, csrf: &str| {
        let form = [("csrf", csrf), ("old_password", old), ("password", new), ("again", again)];
        browser.ask("POST", "/admin/account/password", &form).await
    };
    for (old, new, again, csrf, status) in [
        ("chosen by another", NEW, NEW, "forged", StatusCode::FORBIDDEN),
        ("a guess of mine", NEW, NEW, &csrf, StatusCode::UNAUTHORIZED),
        ("chosen by another", NEW, "something else", &csrf, StatusCode::UNPROCESSABLE_ENTITY),
        ("chosen by another", "chosen by another", "chosen by another", &csrf, StatusCode::UNPROCESSABLE_ENTITY),
        ("chosen by another", "short", "short", &csrf, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let page = change(&browser, old, new, again, csrf).await;
        assert_eq!(page.status, status, "{old} {new}: {}", page.body);
        assert!(!page.body.contains(old) || old == new, "no page shows a password: {}", page.body);
    }
    app.clock.advance(1_000);
    let page = change(&browser, "chosen by another", NEW, NEW, &csrf).await;
    assert_eq!((page.status, location(&page)), (StatusCode::SEE_OTHER, "/admin/"));
    assert_eq!(browser.ask("GET", "/admin/", &[]).await.status, StatusCode::SEE_OTHER, "the old session has ended");
    browser.take_cookie(&page);
    assert_eq!(browser.ask("GET", "/admin/", &[]).await.status, StatusCode::OK);
    assert_eq!(app.get(&format!("/admins/{id}")).await.1["must_change_password"], false);

    // An admin who sets another password makes it a first password again.
    let reset = r#"{"password":"chosen once more"}"#;
    let (status, made) = app.send("PATCH", &format!("/admins/{id}"), &[("if-match", "2")], reset).await;
    assert_eq!((status, &made["must_change_password"]), (StatusCode::OK, &json!(true)), "{made}");
    let role = app.send("PATCH", &format!("/admins/{id}"), &[("if-match", "3")], r#"{"role":"operator"}"#).await.1;
    assert_eq!(role["must_change_password"], true, "another change does not lift it");
    browser.sign_in("eve", "chosen once more").await;
    let page = browser.ask("POST", "/admin/categories", &[("csrf", &csrf), ("name", "x")]).await;
    assert_eq!(location(&page), "/admin/account", "forms are refused, too");
}

#[tokio::test]
async fn staff_end_single_sessions() {
    let app = TestApp::new().await;
    let admins = app.get("/admins").await.1;
    let admin = admins["items"][0]["admin_id"].as_str().unwrap().to_owned();
    let (mut desk, mut phone) = (Browser::new(&app), Browser::new(&app));
    desk.sign_in("admin", PASSWORD).await;
    phone.sign_in("admin", PASSWORD).await;
    let csrf = desk.csrf().await;
    let paths = async |page: &str| {
        let page = desk.ask("GET", page, &[]).await.body;
        let actions = page.split(r#"action=""#).filter_map(|part| part.split('"').next());
        actions.filter(|action| action.ends_with("/end")).map(str::to_owned).collect::<Vec<_>>()
    };
    let listed = paths("/admin/account").await;
    assert_eq!((listed.len(), paths(&format!("/admin/staff/{admin}")).await.len()), (2, 2));
    // The newest session is listed first: the phone's.
    assert_eq!(desk.ask("POST", &listed[0], &[("csrf", "forged")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(phone.ask("GET", "/admin/", &[]).await.status, StatusCode::OK);
    assert_eq!(location(&desk.ask("POST", &listed[0], &[("csrf", &csrf)]).await), "/admin/account");
    assert_eq!(phone.ask("GET", "/admin/", &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(desk.ask("GET", "/admin/", &[]).await.status, StatusCode::OK);
    // Nobody ends a session of another account by its number.
    account(&app, "operator").await;
    let mut eve = Browser::new(&app);
    eve.sign_in("eve", "chosen by another").await;
    let hers = csrf_of(&eve, "/admin/account").await;
    eve.ask("POST", &listed[1], &[("csrf", &hers)]).await;
    assert_eq!(desk.ask("GET", "/admin/", &[]).await.status, StatusCode::OK);
    // An admin ends those of others.
    let eves = app.get("/admins").await.1["items"][0]["admin_id"].as_str().unwrap().to_owned();
    let listed = paths(&format!("/admin/staff/{eves}")).await;
    assert_eq!(location(&desk.ask("POST", &listed[0], &[("csrf", &csrf)]).await), format!("/admin/staff/{eves}"));
    assert!(location(&eve.ask("GET", "/admin/account", &[]).await).starts_with("/admin/sign-in"));
}

/// A form with a file, as browsers send it.
fn multipart(fields: &[(&str, &str)], file: &[u8]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--frontier\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(
        b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bill.csv\"\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--frontier--\r\n");
    ("multipart/form-data; boundary=frontier".to_owned(), body)
}

#[tokio::test]
async fn a_bill_is_compared_and_its_unmatched_money_resolved() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let row = "U\t,12345\t,x,a,2027-01-15 16:00:00,2027-01-15 16:00:01,,,,,a,1.00,1.00,0,0,0,0,0,,0,0,,0,0,\r\n";
    let bill = format!("#支付宝业务明细查询\r\n支付宝交易号,商户订单号,业务类型\r\n{row}#end\r\n");
    let send = async |csrf: &str, date: &str, file: &[u8]| {
        let (kind, body) = multipart(&[("csrf", csrf), ("method", "mock"), ("date", date)], file);
        browser.send("POST", "/admin/money/bill", &[("content-type", &kind)], Body::from(body)).await
    };
    assert_eq!(send("forged", "2027-01-15", bill.as_bytes()).await.status, StatusCode::FORBIDDEN);
    let page = send(&csrf, "someday", bill.as_bytes()).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.body.contains("Enter a day.") && page.body.contains(r#"value="someday""#), "{}", page.body);
    let page = send(&csrf, "2027-01-15", b"id,amount\r\n").await;
    assert!(page.status == StatusCode::UNPROCESSABLE_ENTITY && page.body.contains("field-error"), "{}", page.body);
    assert_eq!(send(&csrf, "2027-01-15", b"").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    for _ in 0..2 {
        let page = send(&csrf, "2027-01-15", bill.as_bytes()).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.body);
        assert!(page.body.contains(r#"<dd id="bill-unmatched">1</dd>"#), "{}", page.body);
        assert_eq!(page.body.matches("The shop has no such payment.").count(), 1, "each once");
    }

    let listed = browser.ask("GET", "/admin/money", &[]).await.body;
    let path = listed.split('"').find(|part| part.starts_with("/admin/money/") && part.ends_with("/resolve")).unwrap();
    let empty = browser.ask("POST", path, &[("csrf", &csrf), ("resolution", " ")]).await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
    let form = [("csrf", &*csrf), ("resolution", "sent back <b>by hand</b>")];
    assert_eq!(location(&browser.ask("POST", path, &form).await), "/admin/money");
    assert!(!browser.ask("GET", "/admin/money", &[]).await.body.contains("The shop has no such payment."));
    let resolved = browser.ask("GET", "/admin/money?resolved=yes", &[]).await.body;
    assert!(resolved.contains("sent back &lt;b&gt;by hand"), "{resolved}");

    settled_account(&app, "eve", NEW, "operator").await;
    let mut operator = Browser::new(&app);
    assert_eq!(location(&operator.sign_in("eve", NEW).await), "/admin/");
    let page = operator.ask("GET", "/admin/money?resolved=all", &[]).await;
    assert!(page.status == StatusCode::OK && !page.body.contains("/admin/money/bill"), "she looks, and that is all");
    let hers = operator.csrf().await;
    assert_eq!(operator.ask("POST", path, &[("csrf", &hers), ("resolution", "x")]).await.status, StatusCode::FORBIDDEN);
    let (kind, body) = multipart(&[("csrf", &hers)], b"");
    let page = operator.send("POST", "/admin/money/bill", &[("content-type", &kind)], Body::from(body)).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn pictures_have_texts() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let gif =
        b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    let image = app.api.images.room().unwrap().add(gif.to_vec()).await.unwrap().to_string();
    let category = app.make("/categories", json!({ "name": "数码" })).await["category_id"].clone();
    let product =
        app.make("/products", json!({ "title": "手机", "category_id": category, "image_ids": [image] })).await;
    let id = product["product_id"].as_str().unwrap();
    assert_eq!(product["image_alts"], json!({}));
    let path = format!("/admin/products/{id}");
    let describe = async |version: &str, image: &str, alt: &str| {
        let form = [("csrf", &*csrf), ("version", version), ("image", image), ("alt", alt)];
        browser.ask("POST", &format!("{path}/pictures/describe"), &form).await
    };
    assert_eq!(location(&describe("1", &image, " 背面，<黑色> ").await), path);
    assert!(browser.ask("GET", &path, &[]).await.body.contains(r#"alt="背面，&lt;黑色&gt;""#));
    assert_eq!(describe("1", &image, "late").await.status, StatusCode::CONFLICT, "somebody else was faster");
    assert_eq!(describe("2", "other.png", "x").await.status, StatusCode::NOT_FOUND);
    let page = describe("2", &image, &"x".repeat(201)).await;
    assert!(
        page.status == StatusCode::UNPROCESSABLE_ENTITY && page.body.contains("1 to 200 characters"),
        "{}",
        page.body
    );

    let patch = async |version: &str, body: Value| {
        app.send("PATCH", &format!("/products/{id}"), &[("if-match", version)], &body.to_string()).await
    };
    let foreign = json!({ &image: "front", "other.png": "x" });
    for bad in
        [foreign, json!({ &image: "" }), json!({ &image: "x".repeat(201) }), json!({ &image: 7 }), json!({ "": "x" })]
    {
        assert_eq!(patch("2", json!({ "image_alts": bad })).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let (_, kept) = patch("2", json!({ "title": "手机 2" })).await;
    assert_eq!(kept["image_alts"], json!({ &image: "背面，<黑色>" }));
    let (_, replaced) = patch("3", json!({ "image_alts": { &image: "front" } })).await;
    assert_eq!(replaced["image_alts"], json!({ &image: "front" }));
    let (_, removed) = patch("4", json!({ "image_ids": [] })).await;
    assert_eq!(removed["image_alts"], json!({}), "a text goes with its picture");
    assert_eq!(app.get(&format!("/products/{id}")).await.1, removed);
}

#[tokio::test]
async fn a_board_shows_each_gateway_that_is_alive() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let sale = app.make("/activities", app.activity(&sku, 5, 2 * HOUR_MS)).await;
    let now_ms = app.clock.now_ms();
    for (number, host, from_ms) in [(1, "shop-a", 0), (2, "shop-b", 0), (3, "silent", 60_000)] {
        for (back_ms, answers) in [(1_000, 10), (0, 1_260)] {
            let role = contract::record::ProcessRole::Gateway;
            let mut report = foundation::process::describe(role, Vec::new(), 0).unwrap();
            (report.process, report.answers, report.accepted) = (number, answers, answers / 10);
            (report.host, report.at_ms) = (host.to_owned(), now_ms - from_ms - back_ms);
            app.processes.add(report);
        }
    }
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let page = browser.ask("GET", &format!("/admin/sales/{}", sale["activity_id"].as_str().unwrap()), &[]).await.body;
    for host in ["shop-a", "shop-b"] {
        let row = page.split("<tr>").find(|row| row.contains(host)).unwrap_or_default();
        assert!(row.contains(r#"<td class="right">1,250</td><td class="right">125</td>"#), "{row}");
    }
    assert!(!page.contains("silent"));
    assert!(page.contains(r#"id="tile-answers">2,500<"#), "{page}");
}

#[tokio::test]
async fn a_draft_with_its_own_rules_is_made_changed_and_published() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let local = |in_ms: u64| rfc3339::format(START_MS + 8 * HOUR_MS + in_ms)[..19].to_owned();
    let (starts, ends, registered) = (local(2 * HOUR_MS), local(3 * HOUR_MS), local(0));
    let send = async |path: &str, more: &[(&str, &str)]| {
        let form = [("csrf", &*csrf), ("title", "茶"), ("sku_id", &*sku), ("price_cents", "9.90"), ("stock", "5")];
        let times = [("per_user_limit", "1"), ("starts_at", &*starts), ("ends_at", &*ends), ("door", "open")];
        browser.ask("POST", path, &[&form[..], &times, more].concat()).await
    };
    let page = send("/admin/sales", &[("pay_within_ms", "soon"), ("registered_before", "once"), ("draft", "on")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    for text in ["Enter seconds such as 900", "or leave it empty.", r#"value="soon""#, r#"name="draft" checked"#] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    let rules = [("pay_within_ms", "90.5"), ("registered_before", &*registered), ("draft", "on")];
    let page = send("/admin/sales", &rules).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
    let path = location(&page).to_owned();
    let id = path.rsplit('/').next().unwrap().to_owned();
    let sale = async || app.get(&format!("/activities/{id}")).await.1;
    let made = sale().await;
    assert_eq!((&made["draft"], &made["pay_within_ms"]), (&json!(true), &json!(90_500)), "{made}");
    assert_eq!(made["registered_before"], rfc3339::format(START_MS));
    let edit = browser.ask("GET", &format!("{path}/edit"), &[]).await.body;
    assert!(edit.contains(r#"value="90.5""#) && edit.contains(&format!(r#"value="{registered}""#)), "{edit}");
    // Emptied fields are emptied in the sale, and it stays a draft while the box is ticked.
    assert_eq!(location(&send(&format!("{path}/edit"), &[("version", "1"), ("draft", "on")]).await), path);
    let changed = sale().await;
    assert_eq!((&changed["draft"], &changed["pay_within_ms"]), (&json!(true), &Value::Null), "{changed}");

    let board = browser.ask("GET", &path, &[]).await.body;
    assert!(board.contains("/do/publish") && !board.contains("/do/warm"), "{board}");
    for _ in 0..2 {
        let page = browser.ask("POST", &format!("{path}/do/publish"), &[("csrf", &csrf)]).await;
        assert_eq!(location(&page), path, "sent twice, it is published once");
    }
    let published = sale().await;
    assert_eq!((&published["draft"], &published["version"]), (&json!(false), &json!(3)), "{published}");
    let board = browser.ask("GET", &path, &[]).await.body;
    assert!(!board.contains("/do/publish") && board.contains("/do/warm"), "{board}");
    assert!(!browser.ask("GET", &format!("{path}/edit"), &[]).await.body.contains("name=\"draft\""));
}

/// The form of a SKU's stock, sent twice as by an impatient hand, and with what can't be.
#[tokio::test]
async fn stock_is_changed_on_the_products_page_with_a_reason() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let product = app.get(&format!("/skus/{sku}")).await.1["product_id"].as_str().unwrap().to_owned();
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let (page, csrf) = (format!("/admin/products/{product}"), browser.csrf().await);
    let shown = browser.ask("GET", &page, &[]).await.body;
    let form = format!("action=\"/admin/skus/{sku}/stock\"");
    let key = shown.split(&form).nth(1).unwrap().split("name=\"key\" value=\"").nth(1).unwrap();
    let key = key.split('"').next().unwrap();
    let path = format!("/admin/skus/{sku}/stock");
    for (delta, reason, status, stock) in [
        ("-3", "broken", StatusCode::SEE_OTHER, 97),
        ("-3", "broken", StatusCode::SEE_OTHER, 97),
        ("three", "broken", StatusCode::UNPROCESSABLE_ENTITY, 97),
        ("+5", " ", StatusCode::UNPROCESSABLE_ENTITY, 97),
        ("-98", "counted", StatusCode::CONFLICT, 97),
        ("+5", "<b>found</b>", StatusCode::SEE_OTHER, 102),
    ] {
        let fields = [("csrf", &*csrf), ("key", key), ("delta", delta), ("reason", reason)];
        let answer = browser.ask("POST", &path, &fields).await;
        assert_eq!(answer.status, status, "{delta} {reason}: {}", answer.body);
        assert_eq!(app.get(&format!("/skus/{sku}")).await.1["stock"], stock, "{delta} {reason}");
        if status != StatusCode::SEE_OTHER {
            assert!(answer.body.contains(&format!("value=\"{delta}\"")), "what was entered is kept: {}", answer.body);
        }
    }
    let log = browser.ask("GET", "/admin/audit-log", &[]).await.body;
    assert!(log.contains("&lt;b&gt;found") && !log.contains("<b>found"), "{log}");
}

#[tokio::test]
async fn a_telephone_number_is_no_filter_for_a_viewer() {
    let app = TestApp::new().await;
    let asked = async |role: &str, query: &str| {
        let bearer = format!("Bearer {}", token(role));
        app.send("GET", &format!("/orders?{query}"), &[("authorization", &bearer)], "").await
    };
    assert_eq!(
        asked("operator", "phone=13800138000").await,
        (StatusCode::OK, json!({ "items": [], "next_cursor": null }))
    );
    assert_eq!(asked("viewer", "phone=13800138000").await.0, StatusCode::FORBIDDEN);
    assert_eq!(asked("viewer", "activity_id=7&since=2026-01-01T00:00:00Z").await.0, StatusCode::OK);
    for bad in ["phone=", "phone=1%C2%9B", "since=yesterday", "activity_id=x", "until=1"] {
        assert_eq!(asked("admin", bad).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    settled_account(&app, "eve", "a long password", "viewer").await;
    let mut browser = Browser::new(&app);
    browser.sign_in("eve", "a long password").await;
    let page = browser.ask("GET", "/admin/orders?sale=7&since=2026-01-01T08:00&until=soon", &[]).await.body;
    assert!(!page.contains("name=\"phone\"") && page.contains("Enter a date and a time."), "{page}");
}

#[tokio::test]
async fn a_category_is_moved_on_its_page() {
    let app = TestApp::new().await;
    let mut ids = Vec::new();
    for name in ["root", "child", "other"] {
        ids.push(app.make("/categories", json!({ "name": name })).await["category_id"].as_str().unwrap().to_owned());
    }
    let [root, child, other] = &ids[..] else { unreachable!("three were made") };
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let page = browser.ask("GET", &format!("/admin/categories/{child}"), &[]).await.body;
    assert!(page.contains(&format!("<option value=\"{root}\"")), "{page}");
    assert!(!page.contains(&format!("<option value=\"{child}\"")), "no category is below itself: {page}");
    let parent_of = async |id: &str| app.get(&format!("/categories/{id}")).await.1["parent_id"].clone();
    for (id, version, parent, status) in [
        (child, "1", Some(root), StatusCode::SEE_OTHER),
        (root, "1", Some(child), StatusCode::UNPROCESSABLE_ENTITY),
        (child, "1", Some(other), StatusCode::CONFLICT),
        (child, "2", None, StatusCode::SEE_OTHER),
        (child, "3", Some(other), StatusCode::SEE_OTHER),
    ] {
        let mut form = vec![("csrf", &*csrf), ("name", "n"), ("sort_order", "3"), ("version", version)];
        form.extend(parent.map(|parent| ("parent_id", parent.as_str())));
        let answer = browser.ask("POST", &format!("/admin/categories/{id}"), &form).await;
        assert_eq!(answer.status, status, "{version} {parent:?}: {}", answer.body);
    }
    assert_eq!((parent_of(child).await, parent_of(root).await), (json!(other), Value::Null));
    let top = [("csrf", &*csrf), ("name", "n"), ("sort_order", "3"), ("version", "4"), ("parent_id", "")];
    assert_eq!(browser.ask("POST", &format!("/admin/categories/{child}"), &top).await.status, StatusCode::SEE_OTHER);
    assert_eq!(parent_of(child).await, Value::Null);
}
