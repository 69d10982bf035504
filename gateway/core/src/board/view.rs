//! Sales as the API shows them.

use contract::{Activity, activity::Door};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Sale;

/// The last instant that RFC 3339 can write, epoch milliseconds: the end of the year 9999.
const RFC3339_MAX_MS: u64 = 253_402_300_799_999;

#[derive(Serialize)]
struct View<'a> {
    activity_id: contract::ActivityId,
    title: &'a str,
    sku_id: contract::SkuId,
    price_cents: contract::Cents,
    original_price_cents: contract::Cents,
    per_user_limit: u32,
    starts_at: String,
    ends_at: String,
    state: &'static str,
    stock_left_band: &'static str,
    requires_ticket: bool,
}

/// Appends one activity as JSON.
pub(crate) fn detail(activity: &Activity, sale: &Sale, wall_ms: u64, out: &mut Vec<u8>) {
    let terms = &activity.terms;
    let view = View {
        activity_id: activity.id,
        title: &activity.title,
        sku_id: activity.sku,
        price_cents: activity.price,
        original_price_cents: activity.original_price,
        per_user_limit: terms.per_user_limit,
        starts_at: rfc3339(terms.starts_at_ms),
        ends_at: rfc3339(terms.ends_at_ms),
        state: state(activity, sale, wall_ms),
        stock_left_band: band(sale.stock()),
        requires_ticket: activity.admission.door != Door::Open,
    };
    if let Err(error) = serde_json::to_writer(out, &view) {
        unreachable!("strings and numbers serialize: {error}");
    }
}

fn state(activity: &Activity, sale: &Sale, wall_ms: u64) -> &'static str {
    if wall_ms < activity.terms.starts_at_ms {
        "scheduled"
    } else if wall_ms >= activity.terms.ends_at_ms {
        "ended"
    } else if activity.admission.paused {
        "paused"
    } else if sale.stock().is_some_and(|(available, _)| available == 0) {
        "sold_out"
    } else {
        "open"
    }
}

/// `none`: no unit; `low`: up to a tenth of the total; `some`: up to a half; `plenty`: more, or not
/// yet under the ledger.
fn band(stock: Option<(u64, u64)>) -> &'static str {
    match stock {
        None => "plenty",
        Some((0, _)) => "none",
        Some((available, total)) if available <= total / 10 => "low",
        Some((available, total)) if available <= total / 2 => "some",
        Some(_) => "plenty",
    }
}

/// `ms` of epoch time as RFC 3339 in UTC.
pub(crate) fn rfc3339(ms: u64) -> String {
    let nanos = i128::from(ms.min(RFC3339_MAX_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Begins a list.
pub(crate) fn list_start(out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"items":["#);
}

/// Makes ready for an item of a list.
pub(crate) fn list_item(out: &mut Vec<u8>) {
    if out.last() != Some(&b'[') {
        out.push(b',');
    }
}

/// Ends a list. `next_cursor` is a word without anything to escape.
pub(crate) fn list_end(out: &mut Vec<u8>, next_cursor: Option<&str>) {
    match next_cursor {
        Some(cursor) => out.extend_from_slice(format!(r#"],"next_cursor":"{cursor}"}}"#).as_bytes()),
        None => out.extend_from_slice(br#"],"next_cursor":null}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands() {
        for (available, total, expect) in
            [(0, 0, "none"), (0, 50, "none"), (1, 50, "low"), (5, 50, "low"), (6, 50, "some"), (26, 50, "plenty")]
        {
            assert_eq!(band(Some((available, total))), expect, "{available} of {total}");
        }
        assert_eq!(band(Some((1, 1))), "plenty");
    }

    #[test]
    fn times() {
        assert_eq!(rfc3339(1_796_000_000_123), "2026-11-30T00:53:20.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
