//! The comparison with the platform's bill.

use super::*;

/// A row of a bill, with a title in GBK.
fn row(trade_no: &str, order: &str, amount: &str, refund: &str) -> Vec<u8> {
    let start = format!("{trade_no}\t,{order}\t,x,");
    let rest =
        format!(",2027-01-15 16:00:00,2027-01-15 16:00:01,,,,,a,{amount},{amount},0,0,0,0,0,,0,0,{refund},0,0,\r\n");
    [start.as_bytes(), b"\xb2\xe8", rest.as_bytes()].concat()
}

#[tokio::test]
async fn the_bill_finds_money_that_fits_nothing() {
    let app = TestApp::new().await;
    let (user, order) = paid_order(&app).await;
    let (_, shown) = app.get(&format!("/orders/{order}")).await;
    assert_eq!(shown["status"], "paid");
    app.store.money().ask_refund((user, order), "", START_MS).await.unwrap();
    app.store.money().decide_refund(order, true, START_MS).await.unwrap();
    let due = app.store.due_refunds(&["mock"], 9).await.unwrap().remove(0);
    app.store.refund_done(&due, START_MS).await.unwrap();
    let (payment, refund) = (due.payment.to_string(), due.refund.to_string());
    let post = async |date: &str, rows: &[Vec<u8>]| {
        let head = "#支付宝业务明细查询\r\n支付宝交易号,商户订单号,业务类型\r\n".as_bytes().to_vec();
        let body = [vec![head], rows.to_vec(), vec![b"#end\r\n".to_vec()]].concat().concat();
        app.send_bytes("POST", &format!("/payments/bill?method=mock&date={date}"), body).await
    };
    let date = &rfc3339::format(START_MS + 8 * HOUR_MS)[..10];
    let right = [row("T", &payment, "7998.00", ""), row("T", &payment, "-7998.00", &refund)];
    let compared = json!({ "fitting": 2, "waiting": 0, "unmatched": 0 });
    assert_eq!(post(date, &right).await, (StatusCode::OK, compared));

    for no_bill in [&b""[..], b"{}", b"#\r\n", b"id,amount\r\n"] {
        let path = format!("/payments/bill?method=mock&date={date}");
        let (status, problem) = app.send_bytes("POST", &path, no_bill.to_vec()).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body")));
    }
    let wrong = [row("T", &payment, "7998.01", ""), row("U", "12345", "1.00", ""), row("T", &payment, "-1.00", "9")];
    for _ in 0..2 {
        let compared = json!({ "fitting": 0, "waiting": 0, "unmatched": 3 });
        assert_eq!(post(date, &wrong).await, (StatusCode::OK, compared));
    }
    assert_eq!(post(date, &[]).await.1["unmatched"], 1, "the bill lacks a payment");
    let (_, listed) = app.get("/payments/unmatched?resolved=false").await;
    let reasons: Vec<_> = listed["items"].as_array().unwrap().iter().map(|row| row["reason"].clone()).collect();
    assert_eq!(reasons, ["not_in_bill", "unknown_refund", "unknown_payment", "wrong_amount"], "each once");
    assert_eq!((&listed["items"][2]["trade_no"], &listed["items"][2]["amount_cents"]), (&json!("U"), &json!(100)));

    let path = format!("/payments/unmatched/{}/resolve", listed["items"][2]["unmatched_id"].as_str().unwrap());
    let operator = format!("Bearer {}", token("operator"));
    let body = r#"{"resolution":"another shop's, sent back"}"#;
    let refused = app.send("POST", &path, &[("authorization", &operator)], body).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    assert_eq!(app.send("POST", &path, &[], r#"{"resolution":""}"#).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.send("POST", &path, &[], body).await.1["resolution"], "another shop's, sent back");
    assert_eq!(app.get("/payments/unmatched?resolved=false").await.1["items"].as_array().unwrap().len(), 3);
    for (bad, status) in [("2026-13-01", 422), ("today", 422), ("2026-11-27Z", 422)] {
        assert_eq!(post(bad, &[]).await.0.as_u16(), status, "{bad}");
    }
    let (status, problem) = post(date, &[b"T,1,x\r\n".to_vec()]).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid_body")), "{problem}");
}

#[tokio::test]
async fn stock_changes_with_a_reason_and_categories_move() {
    let app = TestApp::new().await;
    let sku = app.sku().await;
    let path = format!("/skus/{sku}/stock");
    let before = app.get(&format!("/skus/{sku}")).await.1["stock"].as_i64().unwrap();
    let change = async |key: &str, body: &str| app.send("POST", &path, &[("idempotency-key", key)], body).await;
    let body = r#"{"delta":-3,"reason":"broken in the warehouse"}"#;
    for _ in 0..2 {
        let (status, changed) = change("a", body).await;
        assert_eq!((status, &changed["stock"]), (StatusCode::CREATED, &json!(before - 3)), "{changed}");
    }
    let (_, log) = app.get(&format!("/audit-log?subject=sku&subject_id={sku}&limit=1")).await;
    assert_eq!(log["items"][0]["after"]["reason"], "broken in the warehouse", "{log}");
    let (status, refused) = change("b", &format!(r#"{{"delta":-{before},"reason":"r"}}"#)).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("insufficient_stock")));
    assert_eq!(refused["stock"], before - 3);
    for bad in [r#"{"delta":0,"reason":"r"}"#, r#"{"delta":1}"#, r#"{"delta":1,"reason":" "}"#] {
        assert_eq!(change("c", bad).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }

    let root = app.make("/categories", json!({ "name": "数码" })).await;
    let root = root["category_id"].as_str().unwrap();
    let child = app.make("/categories", json!({ "name": "手机", "parent_id": root })).await;
    let child = child["category_id"].as_str().unwrap();
    let patch = async |category: &str, version: &str, body: Value| {
        app.send("PATCH", &format!("/categories/{category}"), &[("if-match", version)], &body.to_string()).await
    };
    for parent in [root, child, "9"] {
        let refused = patch(root, "\"1\"", json!({ "parent_id": parent })).await;
        assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY, "{parent}: {refused:?}");
    }
    let (status, renamed) = patch(child, "\"1\"", json!({ "name": "电话" })).await;
    assert_eq!((status, &renamed["parent_id"]), (StatusCode::OK, &json!(root)), "absent is not null");
    let (status, moved) = patch(child, "\"2\"", json!({ "parent_id": null })).await;
    assert_eq!((status, &moved["parent_id"], &moved["name"]), (StatusCode::OK, &Value::Null, &json!("电话")));
}
