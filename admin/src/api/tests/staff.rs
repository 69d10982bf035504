//! Accounts of staff, what each role may do, and the audit log.

use super::*;

fn bearer(role: &str) -> String {
    format!("Bearer {}", token(role))
}

async fn as_role(app: &TestApp, role: &str, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    app.send(method, path, &[("authorization", &bearer(role))], &body).await
}

/// Signs in; what a request with the new token sends.
async fn sign_in(app: &TestApp, username: &str, password: &str) -> (StatusCode, String) {
    let body = json!({ "username": username, "password": password }).to_string();
    let (status, session) = app.send("POST", "/sessions", &[], &body).await;
    (status, format!("Bearer {}", session["access_token"].as_str().unwrap_or_default()))
}

#[tokio::test]
async fn accounts_are_created_changed_and_disabled() {
    let app = TestApp::new().await;
    let new = json!({ "username": "Eve", "password": "long enough", "role": "operator" });
    for role in ["viewer", "operator"] {
        assert_eq!(as_role(&app, role, "POST", "/admins", new.clone()).await.0, StatusCode::FORBIDDEN, "{role}");
        assert_eq!(as_role(&app, role, "GET", "/admins", Value::Null).await.0, StatusCode::FORBIDDEN, "{role}");
        assert_eq!(as_role(&app, role, "GET", "/audit-log", Value::Null).await.0, StatusCode::FORBIDDEN, "{role}");
    }
    for bad in [
        json!({ "username": "eve", "password": "short", "role": "viewer" }),
        json!({ "username": " ", "password": "long enough", "role": "viewer" }),
        json!({ "username": "eve", "password": "x".repeat(73), "role": "viewer" }),
        json!({ "username": "eve", "password": "long enough", "role": "emperor" }),
    ] {
        assert_eq!(as_role(&app, "admin", "POST", "/admins", bad).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let (status, eve) = as_role(&app, "admin", "POST", "/admins", new.clone()).await;
    assert_eq!((status, &eve["username"], &eve["role"]), (StatusCode::CREATED, &json!("eve"), &json!("operator")));
    let (status, taken) = as_role(&app, "admin", "POST", "/admins", new).await;
    assert_eq!((status, &taken["code"]), (StatusCode::CONFLICT, &json!("username_taken")));

    let (status, hers) = sign_in(&app, "EVE", "long enough").await;
    assert_eq!(status, StatusCode::OK);
    let hers = [("authorization", hers.as_str())];
    let category = json!({ "name": "茶" }).to_string();
    assert_eq!(app.send("POST", "/categories", &hers, &category).await.0, StatusCode::CREATED);

    // What she may do is what her account says now, whatever her token says.
    let path = format!("/admins/{}", eve["admin_id"].as_str().unwrap());
    let change = async |version: &str, body: Value| {
        let admin = bearer("admin");
        app.send("PATCH", &path, &[("authorization", &admin), ("if-match", version)], &body.to_string()).await
    };
    assert_eq!(change("9", json!({ "role": "viewer" })).await.0, StatusCode::PRECONDITION_FAILED);
    app.clock.advance(1_000);
    let (status, changed) = change("1", json!({ "role": "viewer" })).await;
    assert_eq!((status, &changed["role"], &changed["version"]), (StatusCode::OK, &json!("viewer"), &json!(2)));
    let (status, refused) = app.send("GET", "/categories", &hers, "").await;
    assert_eq!((status, &refused["code"]), (StatusCode::UNAUTHORIZED, &json!("invalid_token")));

    let (_, hers) = sign_in(&app, "eve", "long enough").await;
    let hers = [("authorization", hers.as_str())];
    assert_eq!(app.send("GET", "/categories", &hers, "").await.0, StatusCode::OK);
    assert_eq!(app.send("POST", "/categories", &hers, &category).await.0, StatusCode::FORBIDDEN);
    app.clock.advance(1_000);
    assert_eq!(change("2", json!({ "disabled": true })).await.0, StatusCode::OK);
    assert_eq!(app.send("GET", "/categories", &hers, "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(sign_in(&app, "eve", "long enough").await.0, StatusCode::FORBIDDEN);
    assert_eq!(change("3", json!({ "disabled": false, "password": "another one" })).await.0, StatusCode::OK);
    assert_eq!(sign_in(&app, "eve", "another one").await.0, StatusCode::OK);

    let root = [("authorization", &*bearer("admin")), ("if-match", "1")].map(|(name, value)| (name, value.to_owned()));
    let root: Vec<(&str, &str)> = root.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, last) = app.send("PATCH", "/admins/1", &root, r#"{"disabled":true}"#).await;
    assert_eq!((status, &last["code"]), (StatusCode::CONFLICT, &json!("invalid_transition")));
}

/// Another process changed the account: what this one remembers of it is at most five seconds old.
#[tokio::test]
async fn an_account_that_is_disabled_elsewhere_is_refused_soon() {
    let app = TestApp::new().await;
    app.store.accounts().add_admin("eve", "hash", "admin", START_MS).await.unwrap().unwrap();
    assert_eq!(app.get("/categories").await.0, StatusCode::OK);
    let patch = store::StaffPatch { disabled: Some(true), ..store::StaffPatch::default() };
    app.store.accounts().patch_admin(UserId::from_i64(1).unwrap(), 1, patch, START_MS + 1).await.unwrap();
    app.clock.advance(5_000);
    assert_eq!(app.get("/categories").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_audit_log_has_who_what_and_whence() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let sale = app.make("/activities", app.activity(&sku, 5, 2 * HOUR_MS)).await;
    let id = sale["activity_id"].as_str().unwrap();
    app.clock.advance(60_000);
    assert_eq!(app.send("POST", &format!("/activities/{id}/pause"), &[], "").await.0, StatusCode::OK);

    let (_, listed) = app.get(&format!("/audit-log?subject=activity&subject_id={id}")).await;
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{listed}");
    assert_eq!(items[0]["action"], "pause_sale");
    assert_eq!((&items[0]["username"], &items[0]["address"]), (&json!("admin"), &json!("192.0.2.1")));
    assert_eq!(items[0]["at"], rfc3339::format(START_MS + 60_000));
    assert_eq!((&items[0]["before"], &items[0]["after"]), (&json!({ "paused": false }), &json!({ "paused": true })));
    assert_eq!((&items[1]["before"], &items[1]["after"]["stock"]), (&Value::Null, &json!(5)));

    let (_, first) = app.get("/audit-log?limit=3").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let (_, second) = app.get(&format!("/audit-log?limit=3&cursor={cursor}")).await;
    let actions: Vec<_> = [first, second].iter().flat_map(|page| page["items"].as_array().unwrap().clone()).collect();
    let actions: Vec<_> = actions.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["pause_sale", "add_sale", "add_sku", "add_product", "add_category"]);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(app.send(method, "/audit-log", &[], "{}").await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn viewers_see_masked_people() {
    let app = TestApp::new().await;
    let (user, order) = paid_order(&app).await;
    app.store.accounts().set_phone(user, Some("13800138000")).await.unwrap();
    for (role, phone, recipient) in [("viewer", "138****8000", "王**"), ("operator", "13800138000", "王小明")] {
        let (_, users) = as_role(&app, role, "GET", "/users", Value::Null).await;
        assert_eq!(users["items"][0]["phone"], phone, "{role}");
        let (_, shown) = as_role(&app, role, "GET", &format!("/orders/{order}"), Value::Null).await;
        assert_eq!(shown["address"]["recipient"], recipient, "{role}");
        let (_, orders) = as_role(&app, role, "GET", "/orders", Value::Null).await;
        assert_eq!(orders["items"][0]["address"]["recipient"], recipient, "{role}");
    }
    for path in [format!("/users/{user}/block"), format!("/orders/{order}/refunds/approve?refund_id=1")] {
        assert_eq!(as_role(&app, "operator", "POST", &path, Value::Null).await.0, StatusCode::FORBIDDEN, "{path}");
    }
}

/// The setting counts for the first start alone; a leaked password that was replaced there would go on.
#[tokio::test]
async fn another_configured_password_is_noticed() {
    let app = TestApp::new().await;
    let passwords = Passwords::new(4).unwrap();
    for (configured, differs) in [(PASSWORD, false), ("another password", true)] {
        let found = crate::service::warn_of_other_password(&app.store, &passwords, configured).await.unwrap();
        assert_eq!(found, differs, "{configured}");
    }
}
