//! The bill of a day, as the mock platform has it.

use axum::{
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use foundation::rfc3339;
use pay::{BillRow, Form, write_bill};
use serde::Deserialize;
use serde_json::{Value, json};
use web::Problem;

use super::Shop;

/// The method that tells where a bill is.
pub(super) const BILL_URL: &str = "alipay.data.dataservice.bill.downloadurl.query";

#[derive(Deserialize)]
struct BillBiz {
    /// `yyyy-MM-dd` in China.
    bill_date: String,
}

#[derive(Deserialize)]
pub(super) struct BillQuery {
    bill_date: String,
    sign: String,
}

/// The time of a bill: its first millisecond, and the first one after it.
fn day(bill_date: &str) -> Option<(u64, u64)> {
    let from_ms = rfc3339::parse(&format!("{bill_date}T00:00:00+08:00"))?;
    Some((from_ms, from_ms + 24 * 3_600_000))
}

/// Where the bill of a day is. Alipay's address ends after 30 s and leads to an archive; this one leads to the file in it.
pub(super) fn bill_url(shop: &Shop, headers: &HeaderMap, content: &str) -> Result<Value, Problem> {
    let biz: BillBiz = serde_json::from_str(content).map_err(|error| Problem::invalid_body(error.to_string()))?;
    day(&biz.bill_date).ok_or_else(|| Problem::invalid_body("bill_date"))?;
    let sign = shop.platform.0.platform.sign(&biz.bill_date).map_err(|error| Problem::internal(&error))?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut query = Form::default();
    query.set("bill_date", &biz.bill_date).set("sign", sign);
    let url = format!("http://{host}/mock-pay/bill?{}", query.encoded());
    Ok(json!({ "code": "10000", "msg": "Success", "bill_download_url": url }))
}

/// The bill of a day.
pub(super) async fn bill(State(shop): State<Shop>, Query(query): Query<BillQuery>) -> Result<Response, Problem> {
    let refused = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", "no bill has this address");
    let verifier = shop.platform.0.platform.verifier().map_err(|error| Problem::internal(&error))?;
    let day = day(&query.bill_date).filter(|_| verifier.accepts(&query.bill_date, &query.sign));
    let day = day.ok_or_else(refused)?;
    let prefix = query.bill_date.replace('-', "");
    let moved = shop.store.mock_bill(&prefix, day).await.map_err(|error| Problem::unavailable(&error, 1))?;
    let row = |moved: store::Billed| {
        let refund = moved.refund.map(|id| pay::BilledRefund { id });
        BillRow { trade_no: moved.trade_no, payment: moved.payment, amount: moved.amount, refund }
    };
    let rows: Vec<BillRow> = moved.into_iter().map(row).collect();
    let file = format!("attachment; filename=\"{prefix}.csv\"");
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, file)];
    Ok((headers, write_bill(&rows)).into_response())
}
