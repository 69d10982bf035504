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
fn what_is_no_payment_changes_nothing() {
    for status in ["WAIT_BUYER_PAY", "TRADE_CLOSED", "", "trade_success"] {
        assert_eq!(with("trade_status", status), Ok(Told::Nothing), "{status}");
    }
    assert_eq!(with("refund_fee", "19.90"), Ok(Told::Nothing));
    assert_eq!(with("gmt_refund", "2026-11-24 10:00:00"), Ok(Told::Nothing));
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
    };
    let url = app.page_url(&request).unwrap();
    let (gateway, query) = url.split_once('?').unwrap();
    assert_eq!(gateway, app.gateway);
    let form = Form::parse(query.as_bytes()).unwrap();
    assert!(form.is_request_of(&own().verifier().unwrap()) && !form.is_request_of(&app.platform));
    assert!(form.get("biz_content").contains(r#""total_amount":"0.05""#), "{}", form.get("biz_content"));
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
    assert_eq!(answer(r#"{"code":"10000", "msg":"Success","refund_fee":"0.05"}"#, &platform()), Ok(()));
    let refused = answer(r#"{"code":"40004","msg":"Business Failed","sub_msg":"no"}"#, &platform());
    assert_eq!(refused, Err(RefundFailed::Refused("40004 Business Failed no".to_owned())));
    assert!(matches!(answer(r#"{"code":"10000"}"#, &own()), Err(RefundFailed::NotTrusted(_))));
    for body in ["", "<html>", "{}", r#"{"alipay_trade_refund_response":{"code":"10000"}}"#] {
        assert!(matches!(app.refund_answer(body), Err(RefundFailed::NotTrusted(_))), "{body}");
    }
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
