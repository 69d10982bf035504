//! The platform's bill of a day, compared with the shop's books.

use foundation::Clock;
use store::{Billed, Compared};

use super::{Api, Refusal, Staff};

/// Bytes of a bill at most.
pub(crate) const BILL_BYTES_MAX: usize = 32 * 1024 * 1024;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// When the day `date` of a bill, such as `2026-11-27`, begins in China, epoch milliseconds.
pub(crate) fn day_of_bill(date: &str) -> Option<u64> {
    foundation::rfc3339::parse(&format!("{date}T00:00:00+08:00"))
}

/// Compares the bill `file` of the payment method for the day that begins at `from_ms`. The same bill may be compared
/// again.
pub(crate) async fn compare_bill<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (method, from_ms): (&str, u64),
    file: &[u8],
) -> Result<Compared, Refusal> {
    let rows = pay::read_bill(file).map_err(|error| Refusal::invalid("file", error.to_string()))?;
    let billed = |row: pay::BillRow| Billed {
        trade_no: row.trade_no,
        payment: row.payment,
        amount: row.amount,
        refund: row.refund.map(|refund| refund.id),
    };
    let rows: Vec<Billed> = rows.into_iter().map(billed).collect();
    let times_ms = (from_ms, from_ms.saturating_add(DAY_MS));
    Ok(api.store_of(staff).money().compare_bill(method, &rows, times_ms, api.clock.now_ms()).await?)
}
