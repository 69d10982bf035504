//! Flash sales.

use std::time::Duration;

use contract::{
    ActivityId, Cents, OperationId, SkuId,
    activity::{Admission, AnswerAfter, Door, Rules},
    record::{Action, LedgerCommand},
    stock::{Counters, Outcome},
};
use foundation::Clock;
use ledger::LedgerClient;
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{AddedSale, NewSale, Restocked, Sale, SalePatch, Steered, TITLE_CHARS_MAX};

use super::{
    Api, Refusal, Staff,
    fields::{STOCK_MAX, named, priced},
    refusal::changed,
};
use crate::{
    opening::{self, OpenOutcome},
    warmer::{LEAD_MS, is_due},
};

pub(crate) const PER_USER_LIMIT_MAX: u32 = 1_000_000;
/// The bounds of `pay_within_ms`, which are those of `orders.pay_within_ms` in the configuration.
pub(crate) const PAY_WITHIN_MS_MIN: u64 = 100;
pub(crate) const PAY_WITHIN_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// How long a restock waits until the journal shows it; it takes place all the same.
const RESTOCK_WAIT: Duration = Duration::from_secs(2);
/// The pause between two reads of it.
const RESTOCK_LOOK: Duration = Duration::from_millis(20);

/// A flash sale as somebody enters it.
#[derive(Debug, Clone)]
pub(crate) struct SaleFields {
    pub(crate) title: String,
    pub(crate) sku: SkuId,
    pub(crate) price: Cents,
    pub(crate) stock: u64,
    pub(crate) per_user_limit: u32,
    pub(crate) starts_at_ms: u64,
    pub(crate) ends_at_ms: u64,
    pub(crate) requires_ticket: Option<bool>,
    pub(crate) captcha: Option<bool>,
    pub(crate) invited_only: bool,
    /// Without it, as the configuration says.
    pub(crate) answer_after: Option<AnswerAfter>,
    pub(crate) registered_before_ms: Option<u64>,
    pub(crate) is_draft: bool,
    pub(crate) pay_within_ms: Option<u64>,
}

/// Changes of a flash sale; what is absent stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct SaleChanges {
    pub(crate) title: Option<String>,
    pub(crate) price: Option<Cents>,
    pub(crate) stock: Option<u64>,
    pub(crate) per_user_limit: Option<u32>,
    pub(crate) starts_at_ms: Option<u64>,
    pub(crate) ends_at_ms: Option<u64>,
    pub(crate) requires_ticket: Option<bool>,
    pub(crate) captcha: Option<bool>,
    pub(crate) invited_only: Option<bool>,
    pub(crate) answer_after: Option<AnswerAfter>,
    /// `Some(None)`: all users.
    pub(crate) registered_before_ms: Option<Option<u64>>,
    pub(crate) is_draft: Option<bool>,
    /// `Some(None)`: as long as all other orders.
    pub(crate) pay_within_ms: Option<Option<u64>>,
}

fn limited(limit: u32) -> Result<(), Refusal> {
    if (1..=PER_USER_LIMIT_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Refusal::invalid("per_user_limit", "per_user_limit is 1 to 1000000"))
}

fn timed(pay_within_ms: u64) -> Result<(), Refusal> {
    if (PAY_WITHIN_MS_MIN..=PAY_WITHIN_MS_MAX).contains(&pay_within_ms) {
        return Ok(());
    }
    Err(Refusal::invalid("pay_within_ms", "pay_within_ms is 100 to 2592000000"))
}

fn stocked(stock: u64) -> Result<(), Refusal> {
    if (1..=STOCK_MAX).contains(&stock) {
        return Ok(());
    }
    Err(Refusal::invalid("stock", "stock is 1 to 1000000000"))
}

/// The door after a change of one that was `before`. A captcha is part of getting a ticket.
fn door(before: Door, requires_ticket: Option<bool>, captcha: Option<bool>) -> Result<Door, Refusal> {
    match (requires_ticket, captcha) {
        (Some(false), Some(true)) => Err(Refusal::invalid("captcha", "captcha needs requires_ticket")),
        (_, Some(true)) => Ok(Door::Captcha),
        (Some(false), _) => Ok(Door::Open),
        (Some(true), Some(false)) => Ok(Door::Ticket),
        (Some(true), None) => Ok(if before == Door::Open { Door::Ticket } else { before }),
        (None, Some(false)) => Ok(if before == Door::Captcha { Door::Ticket } else { before }),
        (None, None) => Ok(before),
    }
}

fn check(asked: SaleFields, answer_after: AnswerAfter, now_ms: u64) -> Result<NewSale, Refusal> {
    named(&asked.title, TITLE_CHARS_MAX, "title")?;
    priced(asked.price)?;
    stocked(asked.stock)?;
    limited(asked.per_user_limit)?;
    asked.pay_within_ms.map_or(Ok(()), timed)?;
    if asked.price.times(asked.per_user_limit).is_none() {
        return Err(Refusal::invalid("price_cents", "price_cents times per_user_limit does not fit"));
    }
    if asked.ends_at_ms <= asked.starts_at_ms || asked.ends_at_ms <= now_ms {
        return Err(Refusal::invalid("ends_at", "ends_at must be after starts_at and in the future"));
    }
    let door = door(Door::Open, asked.requires_ticket, asked.captcha)?;
    let SaleFields { invited_only, registered_before_ms, .. } = asked;
    let answer_after = asked.answer_after.unwrap_or(answer_after);
    let admission = Admission { paused: false, invited_only, door, registered_before_ms, answer_after };
    let SaleFields { title, sku, price, stock, per_user_limit, starts_at_ms, ends_at_ms, .. } = asked;
    let rules = Rules { per_user_limit, starts_at_ms, ends_at_ms };
    let (pay_within_ms, is_draft) = (asked.pay_within_ms, asked.is_draft);
    Ok(NewSale { title, sku, price, stock, rules, admission, pay_within_ms, is_draft })
}

/// Creates a sale, and opens its ledger where it is due.
pub(crate) async fn create<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    asked: SaleFields,
) -> Result<Sale, Refusal> {
    let now_ms = api.clock.now_ms();
    let new = check(asked, api.answer_after, now_ms)?;
    let mut sale = match api.store_of(staff).sales().add_sale(new, now_ms).await? {
        AddedSale::Added(sale) => sale,
        AddedSale::UnknownSku => return Err(Refusal::invalid("sku_id", "sku_id does not exist")),
        AddedSale::InsufficientStock(left) => return Err(Refusal::sku_has(left)),
        AddedSale::AboveShopPrice(price) => {
            let detail = format!("price_cents is at most the SKU's own price, which is {}", price.get());
            return Err(Refusal::invalid("price_cents", detail));
        }
    };
    open_if_due(api, &mut sale, now_ms).await;
    Ok(sale)
}

async fn open_if_due<K: LedgerClient, C: Clock>(api: &Api<K, C>, sale: &mut Sale, now_ms: u64) {
    if !is_due(sale, now_ms) {
        return;
    }
    match opening::open(&api.store, &api.ledgers, sale.activity.id, now_ms).await {
        Ok(opened) => sale.ledger_open = matches!(opened, OpenOutcome::Open(_)),
        // It is written; the warmer opens it as soon as the ledger answers.
        Err(error) => tracing::warn!(activity = %sale.activity.id, %error, "not opened yet"),
    }
}

/// Checks what does not depend on the sale.
pub(crate) fn check_changes(asked: &SaleChanges) -> Result<(), Refusal> {
    asked.title.as_deref().map_or(Ok(()), |title| named(title, TITLE_CHARS_MAX, "title"))?;
    asked.price.map_or(Ok(()), priced)?;
    asked.stock.map_or(Ok(()), stocked)?;
    asked.pay_within_ms.flatten().map_or(Ok(()), timed)?;
    asked.per_user_limit.map_or(Ok(()), limited)
}

/// Changes a sale that has `version` and whose ledger is not open. A draft that is published is opened where that is due.
pub(crate) async fn patch<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, version): (ActivityId, u64),
    asked: SaleChanges,
) -> Result<Sale, Refusal> {
    check_changes(&asked)?;
    let before = api.store.sales().sale(id).await?.ok_or(Refusal::Unknown("activity"))?;
    let door = Some(door(before.activity.admission.door, asked.requires_ticket, asked.captcha)?);
    let SaleChanges { title, price, stock, per_user_limit, starts_at_ms, ends_at_ms, .. } = asked;
    let SaleChanges { invited_only, registered_before_ms, pay_within_ms, is_draft, answer_after, .. } = asked;
    let now_ms = api.clock.now_ms();
    let ends_after_ms = ends_at_ms.unwrap_or(before.activity.rules.ends_at_ms);
    if before.is_draft && is_draft == Some(false) && ends_after_ms <= now_ms {
        return Err(Refusal::invalid("ends_at", "a draft is published before its end"));
    }
    let patch = SalePatch {
        title,
        price,
        stock,
        per_user_limit,
        starts_at_ms,
        ends_at_ms,
        invited_only,
        door,
        answer_after,
        registered_before_ms,
        pay_within_ms,
        is_draft,
    };
    let patched = api.store_of(staff).sales().patch_sale(id, version, patch, now_ms + LEAD_MS).await?;
    let mut sale = changed(patched, "activity")?;
    if before.is_draft {
        open_if_due(api, &mut sale, now_ms).await;
    }
    Ok(sale)
}

/// Opens the ledger of a sale ahead of time.
pub(crate) async fn warm<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ActivityId,
) -> Result<Counters, Refusal> {
    match opening::open(&api.store_of(staff), &api.ledgers, id, api.clock.now_ms()).await? {
        OpenOutcome::Open(counters) => Ok(counters),
        OpenOutcome::Unknown => Err(Refusal::Unknown("activity")),
        OpenOutcome::Over => Err(Refusal::conflict("the sale is over")),
        OpenOutcome::Draft => Err(Refusal::conflict("the sale is a draft; publish it first")),
    }
}

/// Pauses a sale, or resumes it.
pub(crate) async fn pause<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ActivityId,
    paused: bool,
) -> Result<Sale, Refusal> {
    steered(api.store_of(staff).sales().pause_sale(id, paused, api.clock.now_ms()).await?)
}

/// Ends a sale now; one that is over stays as it is.
pub(crate) async fn end<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ActivityId,
) -> Result<Sale, Refusal> {
    let ended = api.store_of(staff).sales().end_sale(id, api.clock.now_ms()).await?;
    if let Steered::Done(sale) = &ended
        && let Err(error) = opening::end(&api.ledgers, sale).await
    {
        // The command on the log ends it as soon as the ledger answers.
        tracing::warn!(activity = %id, %error, "the ledger has yet to learn that its sale is over");
    }
    steered(ended)
}

fn steered(steered: Steered) -> Result<Sale, Refusal> {
    match steered {
        Steered::Done(sale) => Ok(sale),
        Steered::Unknown => Err(Refusal::Unknown("activity")),
        Steered::Over => Err(Refusal::conflict("the sale is over")),
    }
}

/// Checks what does not depend on the sale.
pub(crate) fn check_delta(delta: i64) -> Result<(), Refusal> {
    if delta == 0 || delta.unsigned_abs() > STOCK_MAX {
        return Err(Refusal::invalid("delta", "delta is -1000000000 to 1000000000 and not 0"));
    }
    Ok(())
}

/// The operation of a restock that is requested under `key`, or a new one. It is the same for every try of it, so that
/// none counts twice even where the first answer was lost.
pub(crate) fn operation_of<K, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (activity, delta): (ActivityId, i64),
    key: Option<&str>,
) -> Result<OperationId, Refusal> {
    operation_under(api, staff, ("restock", activity.as_i64(), delta), key)
}

/// The operation `what` by `delta` on a row. Under the same key it is the same operation.
pub(crate) fn operation_under<K, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (what, row, delta): (&str, i64, i64),
    key: Option<&str>,
) -> Result<OperationId, Refusal> {
    let Some(key) = key else { return Ok(api.store.sales().new_operation()?) };
    let digest = Sha256::new()
        .chain_update(format!("mall {what} v2\0"))
        .chain_update(staff.id.as_i64().to_be_bytes())
        .chain_update(row.to_be_bytes())
        // After a 503 the key may come with another delta. It must not be taken for the first one.
        .chain_update(delta.to_be_bytes())
        .chain_update(key)
        .finalize();
    let id = digest.iter().take(8).fold(0, |id: i64, byte| id << 8 | i64::from(*byte)) & i64::MAX;
    OperationId::from_i64(id)
        .ok_or_else(|| Refusal::invalid("key", "this Idempotency-Key can't be used; send another one"))
}

/// Moves units between the SKU and a sale whose ledger is open. Whether the ledger has them already, and its counters.
pub(crate) async fn restock<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ActivityId,
    (operation, delta): (OperationId, i64),
) -> Result<(bool, Counters), Refusal> {
    check_delta(delta)?;
    if api.ledgers.counters(id).await?.is_none() {
        api.store.sales().sale(id).await?.ok_or(Refusal::Unknown("activity"))?;
        return Err(Refusal::conflict("its ledger is not open yet; change its stock instead"));
    }
    let is_done = match u64::try_from(delta) {
        Ok(units) => add(api, staff, id, (operation, units)).await?,
        Err(_) => take(api, staff, id, (operation, delta)).await?,
    };
    let counters = api.ledgers.counters(id).await?.ok_or(Refusal::Unknown("ledger"))?;
    Ok((is_done, counters))
}

/// Takes units out of the SKU; they reach the ledger by the log. Whether they have.
async fn add<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ActivityId,
    (operation, units): (OperationId, u64),
) -> Result<bool, Refusal> {
    match api.store_of(staff).sales().restock_sale(id, operation, units, api.clock.now_ms()).await? {
        Restocked::Sent => {}
        Restocked::Unknown => return Err(Refusal::Unknown("activity")),
        Restocked::Over => return Err(Refusal::conflict("the sale is over")),
        Restocked::InsufficientStock(left) => return Err(Refusal::sku_has(left)),
    }
    let shown = async {
        while !api.store.sales().is_restocked(id, operation).await? {
            tokio::time::sleep(RESTOCK_LOOK).await;
        }
        Ok(())
    };
    match tokio::time::timeout(RESTOCK_WAIT, shown).await {
        Ok(shown) => shown.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// Takes units out of the ledger, which alone knows how many are available; they are the SKU's again once the journal
/// shows it. The audit log has the request before the ledger has it: no unit moves without an entry.
async fn take<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ActivityId,
    (operation, delta): (OperationId, i64),
) -> Result<bool, Refusal> {
    let asked = json!({ "restock": delta, "operation_id": operation });
    api.store_of(staff).accounts().note_action(("activity", id.as_i64()), serde_json::Value::Null, asked).await?;
    let command = LedgerCommand { activity: id, action: Action::Restock { operation, delta } };
    match api.ledgers.act(vec![command]).await?.first() {
        Some(Outcome::Done) => Ok(true),
        _ => {
            let left = api.ledgers.counters(id).await?.map_or(0, |counters| counters.available);
            let detail = format!("the sale has {left} units that nobody has");
            Err(Refusal::InsufficientStock { left, detail })
        }
    }
}
