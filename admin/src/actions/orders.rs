//! Shipments, refunds, and users who are blocked.

use contract::{OrderId, RefundId, UserId};
use foundation::{Clock, data_dir::random_hex};
use serde_json::json;
use store::{AskedRefund, Decision, Moved, Refund, RefundOf, RegisteredUser, StaffOrder};

use super::{Api, Refusal, Staff, fields::line};

/// Characters of a carrier's name and of a parcel's number.
pub(crate) const SHIPMENT_CHARS_MAX: usize = 64;

/// Characters of the reason of a refund.
const REFUND_REASON_CHARS_MAX: usize = 200;

/// Marks a paid order as shipped.
pub(crate) async fn ship<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: OrderId,
    (carrier, tracking_no): (&str, &str),
) -> Result<StaffOrder, Refusal> {
    line(carrier, SHIPMENT_CHARS_MAX, "carrier")?;
    line(tracking_no, SHIPMENT_CHARS_MAX, "tracking_no")?;
    let shipment = json!({ "carrier": carrier, "tracking_no": tracking_no }).to_string();
    let moved = api.store_of(staff).ship(id, &shipment, api.clock.now_ms()).await?;
    order_after(api, id, moved, "be sent").await
}

/// Approves or refuses the refund `request` that an order's buyer asks for.
pub(crate) async fn decide_refund<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, request): (OrderId, Option<RefundId>),
    decision: Decision,
) -> Result<StaffOrder, Refusal> {
    let store = api.store_of(staff);
    let moved = store.decide_refund_as((id, request), decision, api.clock.now_ms()).await?;
    let verb = match decision {
        Decision::Approve { .. } => "have its refund approved",
        Decision::Refuse => "have its refund refused",
    };
    order_after(api, id, moved, verb).await
}

/// Asks for money back in a buyer's name: for units of lines, for an amount, or for the rest. It is approved or refused as
/// every request is.
pub(crate) async fn ask_refund<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: OrderId,
    (of, reason): (&RefundOf, &str),
) -> Result<(), Refusal> {
    line(reason, REFUND_REASON_CHARS_MAX, "reason")?;
    let user = api.store.staff_order(id).await?.ok_or(Refusal::Unknown("order"))?.user;
    match api.store_of(staff).ask_refund_of((user, id), of, reason, api.clock.now_ms()).await? {
        AskedRefund::Asked(_) => Ok(()),
        AskedRefund::Unknown => Err(Refusal::Unknown("order")),
        AskedRefund::Refused(state) => {
            Err(Refusal::conflict(format!("an order that is {} can't be refunded", state.as_str())))
        }
        AskedRefund::TooManyUnits { line_no, left } => {
            Err(Refusal::invalid("lines", format!("line {line_no} has {left} units that are not refunded")))
        }
        AskedRefund::TooMuch(most) => {
            let detail = format!("the amount is between 0.01 and {}.{:02}", most.get() / 100, most.get() % 100);
            Err(Refusal::invalid("amount", detail))
        }
    }
}

/// Has a refund that could not be sent tried at once.
pub(crate) async fn retry_refund<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: RefundId,
) -> Result<Refund, Refusal> {
    let refund = api.store_of(staff).retry_refund(id, api.clock.now_ms()).await?.ok_or(Refusal::Unknown("refund"))?;
    if refund.status != "approved" {
        return Err(Refusal::conflict(format!("a refund that is {} can't be tried again", refund.status)));
    }
    Ok(refund)
}

/// The order after a move, or why it can't `verb`.
async fn order_after<K: Sync, C: Clock>(
    api: &Api<K, C>,
    id: OrderId,
    moved: Moved,
    verb: &str,
) -> Result<StaffOrder, Refusal> {
    match moved {
        Moved::To(_) => api.store.staff_order(id).await?.ok_or(Refusal::Unknown("order")),
        Moved::Unknown => Err(Refusal::Unknown("order")),
        Moved::NoAddress => Err(Refusal::NoAddress),
        Moved::OtherRefund(refund) => Err(Refusal::OtherRefund(refund)),
        Moved::Refused(state) => Err(Refusal::conflict(format!("an order that is {} can't {verb}", state.as_str()))),
    }
}

/// Blocks or unblocks a user.
pub(crate) async fn block<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: UserId,
    blocked: bool,
) -> Result<RegisteredUser, Refusal> {
    api.store_of(staff).accounts().block_user(id, blocked, api.clock.now_ms()).await?.ok_or(Refusal::Unknown("user"))
}

/// Random bytes of a link for a new password.
const RESET_TOKEN_BYTES: usize = 32;

/// A token with which a shopper sets a new password, and when it ends, epoch milliseconds.
pub(crate) async fn reset_link<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: UserId,
) -> Result<(String, u64), Refusal> {
    let token = random_hex(RESET_TOKEN_BYTES).map_err(|error| Refusal::Unavailable(error.to_string()))?;
    let now_ms = api.clock.now_ms();
    if !api.store_of(staff).accounts().add_reset_link(id, &store::token_digest(&token), now_ms).await? {
        return Err(Refusal::Unknown("user"));
    }
    Ok((token, now_ms + store::RESET_LINK_MS))
}
