use std::sync::LazyLock;

use contract::{Cents, PaymentId, RefundId};
use proptest::prelude::*;

use super::*;

static KEYS: LazyLock<[String; 2]> = LazyLock::new(|| [Signer::generate().unwrap(), Signer::generate().unwrap()]);

fn own() -> Signer {
    Signer::read(&KEYS[0]).unwrap()
}

fn platform() -> Signer {
    Signer::read(&KEYS[1]).unwrap()
}

fn app() -> App {
    App {
        app_id: "2021".to_owned(),
        seller_id: "2088".to_owned(),
        gateway: "https://openapi.example/gateway.do".to_owned(),
        signer: own(),
        platform: platform().verifier().unwrap(),
    }
}

fn notice() -> Form {
    let mut form = Form::default();
    for (name, value) in [
        ("app_id", "2021"),
        ("seller_id", "2088"),
        ("out_trade_no", "7"),
        ("trade_no", "20261124"),
        ("total_amount", "19.90"),
        ("trade_status", "TRADE_SUCCESS"),
        ("subject", "手机 & a=b +%"),
        ("notify_type", "trade_status_sync"),
    ] {
        form.set(name, value);
    }
    form
}

fn read(form: Form) -> Result<Told, NotTrusted> {
    app().read_notice(form.notice(&platform()).unwrap().as_bytes())
}

fn with(name: &str, value: &str) -> Result<Told, NotTrusted> {
    let mut form = notice();
    form.set(name, value);
    read(form)
}

#[test]
fn a_notice_is_read() {
    let paid =
        Paid { payment: PaymentId::from_i64(7).unwrap(), trade_no: "20261124".to_owned(), amount: Cents::new(1990) };
    assert_eq!(read(notice()), Ok(Told::Paid(paid.clone())));
    assert_eq!(with("total_amount", "19.9"), Ok(Told::Paid(paid.clone())));
    assert_eq!(with("trade_status", "TRADE_FINISHED"), Ok(Told::Paid(paid)));
}

#[test]
fn a_notice_in_gbk_is_read() {
    // 茶 in GBK is B2 E8, which is no UTF-8.
    let mut form = notice();
    form.set("subject", "replaced");
    let body = form.notice_in_gbk(&platform(), b"\xb2\xe8").unwrap();
    assert!(body.contains("subject=%B2%E8&") && body.contains("charset=GBK&"), "{body}");
    assert!(matches!(app().read_notice(body.as_bytes()), Ok(Told::Paid(_))));
    let forged = body.replace("%B2%E8", "%B2%E9");
    assert_eq!(app().read_notice(forged.as_bytes()), Err(NotTrusted::Signature));
}

#[test]
fn what_is_written_as_a_bill_is_read_as_the_same() {
    let row = |payment, amount, refund: Option<i64>| BillRow {
        trade_no: format!("T{payment}"),
        payment: PaymentId::from_i64(payment),
        amount: Cents::new(amount),
        refund: refund.map(|id| BilledRefund { id: RefundId::from_i64(id) }),
    };
    let rows = [row(7, 1990, None), row(7, 90, Some(9)), row(8, 1, None)];
    assert_eq!(read_bill(write_bill(&rows).as_bytes()).unwrap(), rows);
    assert_eq!(read_bill(write_bill(&[]).as_bytes()).unwrap(), []);
}

#[test]
fn what_is_no_payment_changes_nothing() {
    for status in ["WAIT_BUYER_PAY", "TRADE_CLOSED", "", "trade_success"] {
        assert_eq!(with("trade_status", status), Ok(Told::Nothing), "{status}");
    }
    // After a refund of all the money the platform repeats the state of the trade.
    assert!(matches!(with("refund_fee", "5.00"), Ok(Told::Paid(_))), "the notice of the payment may have been lost");
    assert!(matches!(with("gmt_refund", "2026-11-24 10:00:00"), Ok(Told::Paid(_))));
}

#[test]
fn what_is_not_for_this_shop_counts_for_nothing() {
    for (name, value) in [("app_id", "2022"), ("app_id", ""), ("seller_id", "2089"), ("seller_id", "")] {
        assert_eq!(with(name, value), Err(NotTrusted::AnotherShop), "{name}={value}");
    }
    for amount in ["1e2", "19.900", "+19.90", "-19.90", "19,90", "19.", ".9", "", " 19.90", "0x13", "99999999999999.00"]
    {
        assert_eq!(with("total_amount", amount), Err(NotTrusted::Unreadable("total_amount")), "{amount}");
    }
    for id in ["", "-7", "07", "7 ", "7'", "9223372036854775808"] {
        assert_eq!(with("out_trade_no", id), Err(NotTrusted::Unreadable("out_trade_no")), "{id}");
    }
    assert_eq!(with("trade_no", ""), Err(NotTrusted::Unreadable("trade_no")));
}

#[test]
fn only_the_platforms_signature_counts() {
    let signed = notice().notice(&platform()).unwrap();
    let read = |body: &str| app().read_notice(body.as_bytes());
    assert!(read(&signed).is_ok());
    let forged = notice().notice(&own()).unwrap();
    let bad = [
        String::new(),
        forged,
        notice().encoded(),
        signed.replace("total_amount=19.90", "total_amount=19.91"),
        signed.replace("sign_type=RSA2", "sign_type=RSA"),
        signed.replace("sign_type=RSA2", ""),
        format!("{signed}&extra=1"),
        signed.replace("&subject=", "&subjec="),
    ];
    for body in bad {
        assert_eq!(read(&body), Err(NotTrusted::Signature), "{body}");
    }
    for name in ["total_amount", "sign", "out_trade_no"] {
        let twice = format!("{signed}&{name}=19.90");
        let long = "\u{202e}".repeat(43_000);
        let error = Form::parse(format!("{long}=1&{long}=1").as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 1024, "an error of {} bytes", error.len());
        assert_eq!(read(&twice), Err(NotTrusted::Twice(Twice(name.to_owned()))));
    }
}

#[test]
fn requests_are_signed_and_answers_checked() {
    let app = app();
    let request = PageRequest {
        payment: PaymentId::from_i64(7).unwrap(),
        amount: Cents::new(5),
        subject: "手机 & 壳",
        notify_url: "http://mall/notify?a=b",
        return_url: "http://mall/",
        timestamp: "2026-11-24 10:00:00",
        time_expire: "2026-11-24 10:30:00",
    };
    let url = app.page_url(&request).unwrap();
    let (gateway, query) = url.split_once('?').unwrap();
    assert_eq!(gateway, app.gateway);
    let form = Form::parse(query.as_bytes()).unwrap();
    assert!(form.is_request_of(&own().verifier().unwrap()) && !form.is_request_of(&app.platform));
    assert!(form.get("biz_content").contains(r#""total_amount":"0.05""#), "{}", form.get("biz_content"));
    assert!(form.get("biz_content").contains(r#""time_expire":"2026-11-24 10:30:00""#), "{}", form.get("biz_content"));
    let body = app
        .refund_body(&RefundRequest {
            refund: RefundId::from_i64(9).unwrap(),
            payment: request.payment,
            amount: request.amount,
            timestamp: request.timestamp,
        })
        .unwrap();
    assert!(Form::parse(body.as_bytes()).unwrap().is_request_of(&own().verifier().unwrap()));

    let answer = |response: &str, signer: &Signer| {
        let sign = signer.sign(response).unwrap();
        app.refund_answer(&format!(r#"{{"alipay_trade_refund_response":{response},"sign":"{sign}"}}"#))
    };
    for (response, expected) in [
        (r#"{"code":"10000", "msg":"Success","fund_change":"Y","refund_fee":"0.05"}"#, RefundAnswer::Moved),
        (r#"{"code":"10000", "msg":"Success","fund_change":"N","refund_fee":"0.05"}"#, RefundAnswer::NotByThis),
        (r#"{"code":"10000", "msg":"Success"}"#, RefundAnswer::NotByThis),
        (r#"{"code":"10000", "msg":"Success","refund_status":"REFUND_SUCCESS"}"#, RefundAnswer::Moved),
    ] {
        assert_eq!(answer(response, &platform()), Ok(expected), "{response}");
    }
    let query = format!(
        r#"{{"alipay_trade_fastpay_refund_query_response":{{"code":"10000","refund_status":"REFUND_SUCCESS"}},"sign":"{}"}}"#,
        platform().sign(r#"{"code":"10000","refund_status":"REFUND_SUCCESS"}"#).unwrap()
    );
    assert_eq!(app.refund_query_answer(&query), Ok(RefundAnswer::Moved));
    assert!(matches!(app.refund_answer(&query), Err(NoAnswer::NotTrusted(_))), "it answers another request");
    let refused = answer(r#"{"code":"40004","msg":"Business Failed","sub_msg":"no"}"#, &platform());
    assert_eq!(refused, Err(NoAnswer::Refused("40004 Business Failed  no".to_owned())));
    assert!(matches!(answer(r#"{"code":"10000"}"#, &own()), Err(NoAnswer::NotTrusted(_))));
    for body in ["", "<html>", "{}", r#"{"alipay_trade_refund_response":{"code":"10000"}}"#] {
        assert!(matches!(app.refund_answer(body), Err(NoAnswer::NotTrusted(_))), "{body}");
    }
}

#[test]
fn a_trade_is_what_the_platform_says() {
    let (app, payment) = (app(), PaymentId::from_i64(7).unwrap());
    let form = Form::parse(app.trade_query_body(payment, "2026-11-24 10:00:00").unwrap().as_bytes()).unwrap();
    assert!(form.is_request_of(&own().verifier().unwrap()));
    assert_eq!((form.get("method"), form.get("biz_content")), ("alipay.trade.query", r#"{"out_trade_no":"7"}"#));
    let answer = |method: &str, response: serde_json::Value| platform_answer(&platform(), method, &response).unwrap();
    let trade = |status: &str, amount: &str, payment: &str| {
        let response = serde_json::json!({ "code": "10000", "msg": "Success", "out_trade_no": payment, "trade_no": "T1",
            "trade_status": status, "total_amount": amount });
        app.trade_answer(PaymentId::from_i64(7).unwrap(), &answer("alipay.trade.query", response))
    };
    let paid = Paid { payment, trade_no: "T1".to_owned(), amount: Cents::new(1990) };
    assert_eq!(trade("TRADE_SUCCESS", "19.90", "7"), Ok(TradeAnswer::Paid(paid.clone())));
    assert_eq!(trade("TRADE_FINISHED", "19.90", "7"), Ok(TradeAnswer::Paid(paid)));
    assert_eq!(trade("WAIT_BUYER_PAY", "19.90", "7"), Ok(TradeAnswer::Waiting));
    assert_eq!(trade("TRADE_CLOSED", "19.90", "7"), Ok(TradeAnswer::Closed));
    for (status, amount, payment) in
        [("TRADE_SUCCESS", "1e3", "7"), ("TRADE_SUCCESS", "19.90", "8"), ("PAID", "1", "7")]
    {
        assert!(matches!(trade(status, amount, payment), Err(NoAnswer::NotTrusted(_))), "{status} {amount} {payment}");
    }
    let refusal =
        |sub_code: &str| serde_json::json!({ "code": "40004", "msg": "Business Failed", "sub_code": sub_code });
    let none = answer("alipay.trade.query", refusal("ACQ.TRADE_NOT_EXIST"));
    assert_eq!(app.trade_answer(payment, &none), Ok(TradeAnswer::NotExist));
    assert!(matches!(app.trade_answer(payment, &none.replace("NOT_EXIST", "NOT_PAID")), Err(NoAnswer::NotTrusted(_))));
    assert!(matches!(app.close_answer(&none), Err(NoAnswer::NotTrusted(_))), "it answers another request");
    let close = |sub_code| app.close_answer(&answer("alipay.trade.close", refusal(sub_code)));
    assert_eq!(close("ACQ.TRADE_NOT_EXIST"), Ok(CloseAnswer::NotExist));
    assert_eq!(close("ACQ.TRADE_STATUS_ERROR"), Ok(CloseAnswer::NotNow));
    assert!(matches!(close("ACQ.SYSTEM_ERROR"), Err(NoAnswer::Refused(_))));
    let closed = answer("alipay.trade.close", serde_json::json!({ "code": "10000", "msg": "Success" }));
    assert_eq!(app.close_answer(&closed), Ok(CloseAnswer::Closed));
}

/// The signature is over the bytes as they were sent. B2 E8 is 茶 in GBK, and no UTF-8.
#[test]
fn a_notice_in_gbk_pays() {
    let mut pairs = [("app_id", "app"), ("charset", "GBK"), ("out_trade_no", "7"), ("seller_id", "seller")];
    let app = app();
    (pairs[0].1, pairs[3].1) = (&app.app_id, &app.seller_id);
    let mut content: Vec<u8> =
        pairs.iter().map(|(name, value)| format!("{name}={value}&")).collect::<String>().into_bytes();
    content.extend_from_slice(b"subject=\xb2\xe8&total_amount=19.90&trade_no=T1&trade_status=TRADE_SUCCESS");
    let sign = platform().sign(&content).unwrap().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let rest = "subject=%B2%E8&total_amount=19.90&trade_no=T1&trade_status=TRADE_SUCCESS&sign_type=RSA2";
    let pairs: String = pairs.iter().map(|(name, value)| format!("{name}={value}&")).collect();
    let body = format!("{pairs}{rest}&sign={sign}");
    let payment = PaymentId::from_i64(7).unwrap();
    let paid = Paid { payment, trade_no: "T1".to_owned(), amount: Cents::new(1990) };
    assert_eq!(app.read_notice(body.as_bytes()), Ok(Told::Paid(paid)));
    assert_eq!(app.read_notice(body.replace("%B2%E8", "%B2%E9").as_bytes()), Err(NotTrusted::Signature));
}

#[test]
fn keys_that_are_none_are_refused() {
    for text in ["", "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        assert!(Signer::read(text).is_err(), "{text}");
    }
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", KEYS[0]);
    let signature = Signer::read(&pem).unwrap().sign("x").unwrap();
    assert!(own().verifier().unwrap().accepts("x", &signature));
    assert!(!own().verifier().unwrap().accepts("y", &signature));
    assert!(!Verifier::read("AAAA").unwrap().accepts("x", &signature));
}

proptest! {
    #[test]
    fn amounts_are_read_as_they_are_written(amount in 0..100_000_000_000_000_i64) {
        prop_assert_eq!(cents(&yuan(Cents::new(amount))), Some(Cents::new(amount)));
    }

    #[test]
    fn whatever_comes_is_no_payment(body in "\\PC{0,200}") {
        prop_assert!(app().read_notice(body.as_bytes()).is_err());
    }
}
