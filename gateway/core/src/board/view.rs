//! Sales as the API shows them.

use std::{fmt, io::Write as _};

use contract::{Activity, ActivityId, OrderId, activity::Door};
use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Sale, Status};

/// The last instant that RFC 3339 can write, epoch milliseconds: the end of the year 9999.
const RFC3339_MAX_MS: u64 = 253_402_300_799_999;

#[derive(Serialize)]
struct View<'a> {
    activity_id: ActivityId,
    title: &'a str,
    sku_id: contract::SkuId,
    price_cents: contract::Cents,
    original_price_cents: contract::Cents,
    per_user_limit: u32,
    starts_at: Rfc3339Ms,
    ends_at: Rfc3339Ms,
    state: &'static str,
    stock_left_band: &'static str,
    requires_ticket: bool,
}

/// An order's status as JSON.
pub(crate) fn status_json(order: OrderId, status: Status) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, r#"{{"order_id":"{order}","status":"{}"}}"#, status.as_str()))
}

/// Appends one activity as JSON.
pub(crate) fn detail(activity: &Activity, sale: &Sale, wall_ms: u64, out: &mut Vec<u8>) {
    let rules = &activity.rules;
    let view = View {
        activity_id: activity.id,
        title: &activity.title,
        sku_id: activity.sku,
        price_cents: activity.price,
        original_price_cents: activity.original_price,
        per_user_limit: rules.per_user_limit,
        starts_at: Rfc3339Ms(rules.starts_at_ms),
        ends_at: Rfc3339Ms(rules.ends_at_ms),
        state: state(activity, sale, wall_ms),
        stock_left_band: band(sale.stock()),
        requires_ticket: activity.admission.door != Door::Open,
    };
    if let Err(error) = serde_json::to_writer(out, &view) {
        unreachable!("strings and numbers serialize: {error}");
    }
}

fn state(activity: &Activity, sale: &Sale, wall_ms: u64) -> &'static str {
    if wall_ms < activity.rules.starts_at_ms {
        "scheduled"
    } else if wall_ms >= activity.rules.ends_at_ms {
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

/// Milliseconds of epoch time, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rfc3339Ms(pub u64);

impl fmt::Display for Rfc3339Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0.min(RFC3339_MAX_MS)) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| fmt::Error)?;
        let mut text = [0; "9999-12-31T23:59:59.999Z".len()];
        let mut rest = &mut text[..];
        at.format_into(&mut rest, &Rfc3339).map_err(|_| fmt::Error)?;
        let left = rest.len();
        f.write_str(str::from_utf8(&text[..text.len() - left]).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Rfc3339Ms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
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

/// Ends a list. `next` is the start and the id of its last item, where others follow it.
pub(crate) fn list_end(out: &mut Vec<u8>, next: Option<(u64, ActivityId)>) {
    let written = match next {
        Some((starts_at_ms, id)) => write!(out, r#"],"next_cursor":"{starts_at_ms}-{id}"}}"#),
        None => out.write_all(br#"],"next_cursor":null}"#),
    };
    if let Err(error) = written {
        unreachable!("a Vec takes what is written: {error}");
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
        assert_eq!(Rfc3339Ms(1_796_000_000_123).to_string(), "2026-11-30T00:53:20.123Z");
        assert_eq!(Rfc3339Ms(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
