//! Forms that outlive their session, two people who change one thing, and changes of several products at once.

use super::{
    pages::{Browser, Page, location, settled_account},
    *,
};

/// The value of the field `name` in a page.
fn value(page: &Page, name: &str) -> String {
    let field = page.body.split(&format!("name=\"{name}\" value=\"")).nth(1);
    let text = field.unwrap_or_else(|| panic!("no field {name}: {}", page.body)).split('"').next().unwrap();
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[tokio::test]
async fn a_form_whose_session_has_ended_comes_back_filled() {
    let app = TestApp::new().await;
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    app.clock.advance(9 * HOUR_MS);
    let form = [("csrf", &*csrf), ("name", "<Lamps> & \"more\""), ("sort_order", "7")];
    let page = browser.ask("POST", "/admin/categories", &form).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    let kept = value(&page, "kept");
    assert!(!kept.contains("csrf"), "{kept}");
    let credentials =
        |password| [("username", "admin"), ("password", password), ("next", "/admin/categories"), ("kept", &*kept)];
    let wrong = browser.ask("POST", "/admin/sign-in", &credentials("wrong horse")).await;
    assert_eq!((wrong.status, value(&wrong, "kept")), (StatusCode::UNAUTHORIZED, kept.clone()), "nothing is lost");
    let page = browser.ask("POST", "/admin/sign-in", &credentials(PASSWORD)).await;
    assert_eq!(page.status, StatusCode::OK);
    browser.take_cookie(&page);
    assert!(
        page.body.contains("action=\"/admin/categories\"") && page.body.contains("&lt;Lamps&gt; &amp;"),
        "{}",
        page.body
    );
    let csrf = value(&page, "csrf");
    let again = [("name", "<Lamps> & \"more\""), ("sort_order", "7"), ("resumed", "on"), ("csrf", &*csrf)];
    let page = browser.ask("POST", "/admin/categories", &again).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.body.contains("value=\"&lt;Lamps&gt; &amp; &quot;more&quot;\"") && page.body.contains("nothing was saved")
    );
    assert_eq!(app.get("/categories").await.1["items"], json!([]), "a form that comes back does nothing by itself");
    let page = browser.ask("POST", "/admin/categories", &[again[0], again[1], again[3]]).await;
    assert_eq!((page.status, location(&page)), (StatusCode::SEE_OTHER, "/admin/categories"));
}

#[tokio::test]
async fn a_sign_in_page_keeps_no_password_and_no_form_of_another_site() {
    let app = TestApp::new().await;
    let browser = Browser::new(&app);
    let form = [("username", "eve"), ("password", "a secret of eve"), ("csrf", "x")];
    let page = browser.ask("POST", "/admin/staff", &form).await;
    assert!(value(&page, "kept").contains("username=eve") && !page.body.contains("secret"), "{}", page.body);
    let headers = [("sec-fetch-site", "cross-site"), ("content-type", "application/x-www-form-urlencoded")];
    let page = browser.send("POST", "/admin/categories", &headers, Body::from("name=forged")).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(!page.body.contains("kept") && !page.body.contains("forged"), "{}", page.body);
}

#[tokio::test]
async fn the_second_of_two_who_change_a_row_sees_the_difference_and_decides() {
    let app = TestApp::new().await;
    let made = app.make("/categories", json!({ "name": "Once" })).await;
    let id = made["category_id"].as_str().unwrap();
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    app.send("PATCH", &format!("/categories/{id}"), &[("if-match", "1")], r#"{"name":"Twice","sort_order":0}"#).await;
    let path = format!("/admin/categories/{id}");
    let form = [("csrf", &*csrf), ("version", "1"), ("name", "Thrice"), ("sort_order", "0")];
    let page = browser.ask("POST", &path, &form).await;
    assert_eq!((page.status, value(&page, "version")), (StatusCode::CONFLICT, "2".to_owned()));
    assert!(page.body.contains("value=\"Thrice\"") && page.body.contains("⟳ Twice"), "{}", page.body);
    assert_eq!(page.body.matches('⟳').count(), 1, "the other field is the same");
    let form = [("csrf", &*csrf), ("version", "2"), ("name", "Thrice"), ("sort_order", "0")];
    assert_eq!(browser.ask("POST", &path, &form).await.status, StatusCode::SEE_OTHER);
    assert_eq!(app.get(&format!("/categories/{id}")).await.1["name"], "Thrice");
}

#[tokio::test]
async fn a_selection_of_products_is_changed_after_a_preview() {
    let app = TestApp::new().await;
    let (one, two) = (app.sku().await, app.sku().await);
    let sku = async |id: &str| app.get(&format!("/skus/{id}")).await.1;
    let product_of = async |id: &str| sku(id).await["product_id"].as_str().unwrap().to_owned();
    let products = [product_of(&one).await, product_of(&two).await];
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let selected = [("csrf", &*csrf), ("product", &*products[0]), ("product", &*products[1])];
    let preview = async |work: &[(&str, &str)]| {
        browser.ask("POST", "/admin/products/bulk", &[&selected[..], work].concat()).await
    };
    let confirm = async |page: &Page| {
        let changes: Vec<&str> = page.body.split("name=\"change\" value=\"").skip(1).collect();
        let changes = changes.iter().map(|rest| ("change", rest.split('"').next().unwrap()));
        let form: Vec<_> = [("csrf", &*csrf), ("confirmed", "on")].into_iter().chain(changes).collect();
        browser.ask("POST", "/admin/products/bulk", &form).await
    };
    let shelf = preview(&[("work", "shelve")]).await;
    assert_eq!(shelf.status, StatusCode::OK);
    assert_eq!(app.get(&format!("/products/{}", products[0])).await.1["on_shelf"], false, "a preview changes nothing");
    assert_eq!(confirm(&shelf).await.status, StatusCode::OK);
    assert_eq!(app.get(&format!("/products/{}", products[1])).await.1["on_shelf"], true);

    let prices = preview(&[("work", "percent"), ("amount", "-10%")]).await;
    assert!(prices.body.contains("¥3,999.00") && prices.body.contains("¥3,599.10"), "{}", prices.body);
    let path = format!("/skus/{two}");
    app.send("PATCH", &path, &[("if-match", "1")], r#"{"price_cents":5}"#).await;
    let page = confirm(&prices).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "one of them was changed meanwhile");
    assert_eq!((&sku(&one).await["price_cents"], &sku(&two).await["price_cents"]), (&json!(359_910), &json!(5)));
    assert!(confirm(&prices).await.body.contains("id=\"made\">1<"), "the one that is made stays made");
    for wrong in [&[("work", "percent"), ("amount", "x")][..], &[("work", "price")], &[("work", "shelve")], &[]] {
        assert_eq!(preview(wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
    }
    let mut viewer = Browser::new(&app);
    settled_account(&app, "viewer", "long enough", "viewer").await;
    viewer.sign_in("viewer", "long enough").await;
    assert!(!viewer.ask("GET", "/admin/products", &[]).await.body.contains("id=\"bulk\""));
}

#[tokio::test]
async fn staff_ask_for_a_refund_of_a_part_and_see_what_happened() {
    let app = TestApp::new().await;
    let (_, order) = paid_order(&app).await;
    let mut browser = Browser::new(&app);
    browser.sign_in("admin", PASSWORD).await;
    let csrf = browser.csrf().await;
    let path = format!("/admin/orders/{order}");
    let ask = async |form: &[(&str, &str)]| {
        let form = [&[("csrf", &*csrf)], form].concat();
        browser.ask("POST", &format!("{path}/refund-part"), &form).await
    };
    for (form, reason) in [
        (&[("line-1", "1")][..], "reason is 1 to 200 characters"),
        (&[("line-1", "x"), ("reason", "late")], "Enter whole units."),
        (&[("line-1", "3"), ("reason", "late")], "line 1 has 2 units"),
        (&[("amount", "99999999"), ("reason", "late")], "the amount is between"),
    ] {
        let page = ask(form).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{reason}");
        assert!(page.body.contains(reason), "{reason}: {}", page.body);
    }
    assert_eq!(ask(&[("line-1", "1"), ("reason", "a scratch")]).await.status, StatusCode::SEE_OTHER);
    let page = browser.ask("GET", &path, &[]).await.body;
    for part in ["¥3,999.00", "a scratch", "Paid: ¥7,998.00", "Refund: ¥3,999.00 (to be decided)", "decision=approve"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let printed = browser.ask("GET", &format!("{path}/print"), &[]).await.body;
    assert!(printed.contains("王小明") && !printed.contains("<nav"), "{printed}");

    settled_account(&app, "clerk", "long enough", "operator").await;
    let mut clerk = Browser::new(&app);
    clerk.sign_in("clerk", "long enough").await;
    let form = [("csrf", &*clerk.csrf().await), ("reason", "x")];
    assert_eq!(clerk.ask("POST", &format!("{path}/refund-part"), &form).await.status, StatusCode::FORBIDDEN);
    assert!(!clerk.ask("GET", &path, &[]).await.body.contains("refund-part"));
    assert_eq!(clerk.ask("GET", "/admin/settings", &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.ask("GET", "/admin/settings", &[]).await.status, StatusCode::OK);
}
