//! Flash sales as their admins write them.

use contract::{
    Activity, ActivityId, Cents, SkuId,
    activity::{Admission, AnswerAfter, Door, Rules},
};
use foundation::{Clock as _, SystemClock};
use serde_json::{Value, json};
use sqlx::Row;

use crate::{
    StoreError,
    accounts::audit_log::Change,
    areas::Sales,
    catalogue::search::stock_moved,
    db::{DbRow, Tx, big, count, count_or_none, id, lock_row, quantity},
    page::{Changed, Listed, Page, find_change},
    tx::{Ending, NewRow, Write, look_up},
};
use domain::Outgoing;

/// A flash sale and its stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// What the gateways know.
    pub activity: Activity,
    /// Units that were carved out of the SKU's stock for it.
    pub stock: u64,
    /// When it was written, epoch milliseconds.
    pub created_at_ms: u64,
    /// Its ledger is open or about to be: from here on its units are the ledger's.
    pub opening: bool,
    /// Its ledger has been opened, as far as the journal was taken in.
    pub ledger_open: bool,
    /// How long its orders wait for their payment, in milliseconds; `None`: as long as all other orders.
    pub pay_within_ms: Option<u64>,
    /// Nobody but admins knows of it yet.
    pub is_draft: bool,
}

/// A new flash sale, checked: price not below zero, an end after the start, a limit of at least 1.
#[derive(Debug, Clone)]
pub struct NewSale {
    /// Shown to shoppers.
    pub title: String,
    /// What is sold.
    pub sku: SkuId,
    /// Price of one unit.
    pub price: Cents,
    /// Units to carve out of the SKU's stock.
    pub stock: u64,
    /// When, and how much one user may buy.
    pub rules: Rules,
    /// Who may ask, and with what.
    pub admission: Admission,
    /// How long its orders wait for their payment, in milliseconds; `None`: as long as all other orders.
    pub pay_within_ms: Option<u64>,
    /// Nobody but admins is to know of it yet.
    pub is_draft: bool,
}

/// What became of a new flash sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedSale {
    /// It is written, and the gateways will hear of it.
    Added(Sale),
    /// There is no such SKU.
    UnknownSku,
    /// The SKU has only so much.
    InsufficientStock(u64),
    /// The shop's own price is this, and lower than that of the sale.
    AboveShopPrice(Cents),
}

/// Changes of a flash sale that has not begun; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct SalePatch {
    /// Shown to shoppers.
    pub title: Option<String>,
    /// Price of one unit.
    pub price: Option<Cents>,
    /// Units; the difference moves between the sale and its SKU.
    pub stock: Option<u64>,
    /// Units one user may have.
    pub per_user_limit: Option<u32>,
    /// First instant.
    pub starts_at_ms: Option<u64>,
    /// First instant after it.
    pub ends_at_ms: Option<u64>,
    /// Whether only listed users may ask.
    pub invited_only: Option<bool>,
    /// What is to be shown.
    pub door: Option<Door>,
    /// When a yes is answered.
    pub answer_after: Option<AnswerAfter>,
    /// Only users who registered before this instant, in epoch milliseconds; `Some(None)`: all users.
    pub registered_before_ms: Option<Option<u64>>,
    /// How long its orders wait for their payment, in milliseconds; `Some(None)`: as long as all other orders.
    pub pay_within_ms: Option<Option<u64>>,
    /// `Some(false)` publishes a draft. A sale that is published does not become a draft again.
    pub is_draft: Option<bool>,
}

pub(crate) const SELECT: &str = "SELECT a.*, CASE WHEN l.activity_id IS NULL THEN 0 ELSE 1 END AS ledger_open \
     FROM activities a LEFT JOIN ledgers l ON l.activity_id = a.id WHERE a.id = ?";

impl Sales<'_> {
    /// Writes a flash sale and carves its stock out of the SKU's, in one transaction.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn add_sale(self, new: NewSale, now_ms: u64) -> Result<AddedSale, StoreError> {
        let number = self.store.next_id()?;
        let id = ActivityId::from_i64(number).ok_or_else(|| StoreError::Ids(number.to_string()))?;
        let new = &new;
        self.store
            .write(Write::AddSale, NewRow { lock: LOCK, id: number }, |tx| async {
                let mut tx = tx;
                let left = move_stock(&mut tx, new.sku, new.stock, 0).await?;
                let row = sqlx::query("SELECT price_cents, stock FROM skus WHERE id = ?").bind(new.sku.as_i64());
                let Some(row) = row.fetch_optional(&mut *tx).await? else {
                    return Ok(Ending::RollBack(AddedSale::UnknownSku));
                };
                if !left {
                    return Ok(Ending::RollBack(AddedSale::InsufficientStock(count(&row, "stock")?)));
                }
                let shop_price = Cents::new(row.try_get("price_cents")?);
                if new.price > shop_price {
                    return Ok(Ending::RollBack(AddedSale::AboveShopPrice(shop_price)));
                }
                let activity = Activity {
                    id,
                    version: 1,
                    title: new.title.clone(),
                    sku: new.sku,
                    price: new.price,
                    original_price: shop_price,
                    rules: new.rules,
                    admission: new.admission,
                };
                sqlx::query(
                    "INSERT INTO activities (id, version, title, sku_id, price_cents, original_price_cents, stock, \
                 per_user_limit, starts_at_ms, ends_at_ms, created_at_ms, paused, invited_only, door, answer_after, \
                 changed_at_ms, pay_within_ms, registered_before_ms, draft) \
                 VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(number)
                .bind(&activity.title)
                .bind(activity.sku.as_i64())
                .bind(activity.price.get())
                .bind(activity.original_price.get())
                .bind(big(new.stock)?)
                .bind(i64::from(new.rules.per_user_limit))
                .bind(big(new.rules.starts_at_ms)?)
                .bind(big(new.rules.ends_at_ms)?)
                .bind(big(now_ms)?)
                .bind(i64::from(new.admission.paused))
                .bind(i64::from(new.admission.invited_only))
                .bind(door_word(new.admission.door))
                .bind(new.admission.answer_after.as_str())
                .bind(big(SystemClock.now_ms())?)
                .bind(new.pay_within_ms.map(big).transpose()?)
                .bind(new.admission.registered_before_ms.map(big).transpose()?)
                .bind(i64::from(new.is_draft))
                .execute(&mut *tx)
                .await?;
                let (stock, pay_within_ms, is_draft) = (new.stock, new.pay_within_ms, new.is_draft);
                let (opening, ledger_open, created_at_ms) = (false, false, now_ms);
                let sale = Sale { activity, stock, created_at_ms, opening, ledger_open, pay_within_ms, is_draft };
                announce(&mut tx, &sale);
                tx.note(Change::new("activity", number, Value::Null, shown(&sale)));
                Ok(Ending::Commit(tx, AddedSale::Added(sale)))
            })
            .await
    }

    /// A flash sale.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn sale(self, activity: ActivityId) -> Result<Option<Sale>, StoreError> {
        let row = sqlx::query(SELECT).bind(activity.as_i64()).fetch_optional(self.store.readers()).await?;
        row.as_ref().map(sale_of).transpose()
    }

    /// Flash sales, the newest first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn all(self, page: Page) -> Result<Listed<Sale>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.*, CASE WHEN l.activity_id IS NULL THEN 0 ELSE 1 END AS ledger_open \
             FROM activities a LEFT JOIN ledgers l ON l.activity_id = a.id WHERE a.id < ? ORDER BY a.id DESC LIMIT ?",
        )
        .bind(page.before)
        .bind(page.rows())
        .fetch_all(self.store.readers())
        .await?;
        let rows = rows.iter().map(sale_of).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |sale: &Sale| sale.activity.id.as_i64()))
    }

    /// Changes a sale that has `version`, unless its ledger is open or about to be, or it is published and starts before
    /// `changeable_until_ms`.
    ///
    /// # Errors
    /// Where the database fails, or the patched sale would break the rules of [`NewSale`].
    pub async fn patch_sale(
        self,
        activity: ActivityId,
        version: u64,
        patch: SalePatch,
        changeable_until_ms: u64,
    ) -> Result<Changed<Sale>, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, changed: Changed<Sale>| async move {
            let now = locked(&mut tx, activity).await?;
            // Its ledger may have been opened since.
            let same = |row: &Sale, now: &Sale| row.activity == now.activity;
            Ok(find_change(&changed, version, now, |row| row.activity.version, same))
        });
        let patch = &patch;
        self.store
            .write(Write::PatchSale, after_lost_commit, |tx| async {
                let mut tx = tx;
                let sale = locked(&mut tx, activity).await?;
                let Some(mut sale) = sale else { return Ok(Ending::RollBack(Changed::Unknown)) };
                if sale.activity.version != version {
                    return Ok(Ending::RollBack(Changed::VersionIs(sale.activity.version)));
                }
                let is_too_late = !sale.is_draft && sale.activity.rules.starts_at_ms <= changeable_until_ms;
                if sale.opening || is_too_late {
                    return Ok(Ending::RollBack(Changed::TooLate));
                }
                let stock = patch.stock.unwrap_or(sale.stock);
                if !move_stock(&mut tx, sale.activity.sku, stock, sale.stock).await? {
                    let row = sqlx::query("SELECT stock FROM skus WHERE id = ?").bind(sale.activity.sku.as_i64());
                    return Ok(Ending::RollBack(Changed::InsufficientStock(count(
                        &row.fetch_one(&mut *tx).await?,
                        "stock",
                    )?)));
                }
                let before = shown(&sale);
                if let Err(field) = apply(&mut sale, patch, stock) {
                    return Ok(Ending::RollBack(Changed::Invalid(field)));
                }
                rewrite_sale(&mut tx, &sale).await?;
                tx.note(Change::new("activity", activity.as_i64(), before, shown(&sale)));
                Ok(Ending::Commit(tx, Changed::Done(sale)))
            })
            .await
    }
}

/// Changes a sale in memory; the error is the field that does not fit.
fn apply(sale: &mut Sale, patch: &SalePatch, stock: u64) -> Result<(), &'static str> {
    let row = &mut sale.activity;
    row.version += 1;
    row.title = patch.title.clone().unwrap_or_else(|| std::mem::take(&mut row.title));
    row.price = patch.price.unwrap_or(row.price);
    row.rules = Rules {
        per_user_limit: patch.per_user_limit.unwrap_or(row.rules.per_user_limit),
        starts_at_ms: patch.starts_at_ms.unwrap_or(row.rules.starts_at_ms),
        ends_at_ms: patch.ends_at_ms.unwrap_or(row.rules.ends_at_ms),
    };
    let admission = &mut row.admission;
    admission.invited_only = patch.invited_only.unwrap_or(admission.invited_only);
    admission.door = patch.door.unwrap_or(admission.door);
    admission.answer_after = patch.answer_after.unwrap_or(admission.answer_after);
    admission.registered_before_ms = patch.registered_before_ms.unwrap_or(admission.registered_before_ms);
    sale.stock = stock;
    sale.pay_within_ms = patch.pay_within_ms.unwrap_or(sale.pay_within_ms);
    let was_draft = sale.is_draft;
    sale.is_draft = patch.is_draft.unwrap_or(was_draft);
    if patch.price.is_some() && sale.activity.price > sale.activity.original_price {
        return Err("price_cents");
    }
    if sale.activity.rules.ends_at_ms <= sale.activity.rules.starts_at_ms {
        return Err("ends_at");
    }
    if sale.is_draft && !was_draft {
        return Err("draft");
    }
    // A draft whose end has passed has given its units back.
    if was_draft && !sale.is_draft && stock == 0 {
        return Err("stock");
    }
    Ok(())
}

/// What the audit log shows of a sale.
pub(crate) fn shown(sale: &Sale) -> Value {
    let Activity { version, title, sku, price, rules, admission, .. } = &sale.activity;
    json!({
        "version": version, "title": title, "sku_id": sku, "price_cents": price, "stock": sale.stock,
        "per_user_limit": rules.per_user_limit, "starts_at_ms": rules.starts_at_ms, "ends_at_ms": rules.ends_at_ms,
        "paused": admission.paused, "invited_only": admission.invited_only, "door": door_word(admission.door),
        "answer_after": admission.answer_after.as_str(), "opening": sale.opening, "pay_within_ms": sale.pay_within_ms,
        "registered_before_ms": admission.registered_before_ms, "draft": sale.is_draft,
    })
}

/// Sends a sale to the gateways, unless it is a draft.
pub(crate) fn announce(tx: &mut Tx, sale: &Sale) {
    if !sale.is_draft {
        tx.send([Outgoing::activity(&sale.activity)]);
    }
}

/// Writes a sale that was changed under its lock and sends it to the gateways.
pub(crate) async fn rewrite_sale(tx: &mut Tx, sale: &Sale) -> Result<(), StoreError> {
    let Activity { id, version, title, price, rules, admission, .. } = &sale.activity;
    sqlx::query(
        "UPDATE activities SET version = ?, title = ?, price_cents = ?, stock = ?, per_user_limit = ?, \
         starts_at_ms = ?, ends_at_ms = ?, paused = ?, invited_only = ?, door = ?, answer_after = ?, \
         changed_at_ms = ?, pay_within_ms = ?, registered_before_ms = ?, draft = ? WHERE id = ?",
    )
    .bind(big(*version)?)
    .bind(title)
    .bind(price.get())
    .bind(big(sale.stock)?)
    .bind(i64::from(rules.per_user_limit))
    .bind(big(rules.starts_at_ms)?)
    .bind(big(rules.ends_at_ms)?)
    .bind(i64::from(admission.paused))
    .bind(i64::from(admission.invited_only))
    .bind(door_word(admission.door))
    .bind(admission.answer_after.as_str())
    .bind(big(SystemClock.now_ms())?)
    .bind(sale.pay_within_ms.map(big).transpose()?)
    .bind(admission.registered_before_ms.map(big).transpose()?)
    .bind(i64::from(sale.is_draft))
    .bind(id.as_i64())
    .execute(&mut **tx)
    .await?;
    announce(tx, sale);
    Ok(())
}

/// Takes `wanted` units out of the SKU's stock and puts `given` back; `false` where it has not that much.
pub(crate) async fn move_stock(tx: &mut Tx, sku: SkuId, wanted: u64, given: u64) -> Result<bool, StoreError> {
    let moved = sqlx::query("UPDATE skus SET stock = stock + ? - ? WHERE id = ? AND stock >= ? - ?")
        .bind(big(given)?)
        .bind(big(wanted)?)
        .bind(sku.as_i64())
        .bind(big(wanted)?)
        .bind(big(given)?)
        .execute(&mut **tx)
        .await?;
    let is_moved = moved.rows_affected() == 1;
    if is_moved {
        stock_moved(tx, sku.as_i64(), big(given)? - big(wanted)?).await?;
    }
    Ok(is_moved)
}

const fn door_word(door: Door) -> &'static str {
    match door {
        Door::Open => "open",
        Door::Ticket => "ticket",
        Door::Captcha => "captcha",
    }
}

pub(crate) fn sale_of(row: &DbRow) -> Result<Sale, StoreError> {
    let door: &str = row.try_get("door")?;
    let door = [Door::Open, Door::Ticket, Door::Captcha].into_iter().find(|known| door_word(*known) == door);
    let answer_after: &str = row.try_get("answer_after")?;
    let answer_after = AnswerAfter::from_word(answer_after);
    let unknown = |what: &str| StoreError::contradiction(format!("an activity's {what} has an unknown word"));
    let admission = Admission {
        paused: count(row, "paused")? != 0,
        invited_only: count(row, "invited_only")? != 0,
        door: door.ok_or_else(|| unknown("door"))?,
        answer_after: answer_after.ok_or_else(|| unknown("answer_after"))?,
        registered_before_ms: count_or_none(row, "registered_before_ms")?,
    };
    let activity = Activity {
        id: id(row, "id", ActivityId::from_i64)?,
        version: count(row, "version")?,
        title: row.try_get("title")?,
        sku: id(row, "sku_id", SkuId::from_i64)?,
        price: Cents::new(row.try_get("price_cents")?),
        original_price: Cents::new(row.try_get("original_price_cents")?),
        rules: Rules {
            per_user_limit: quantity(row, "per_user_limit")?,
            starts_at_ms: count(row, "starts_at_ms")?,
            ends_at_ms: count(row, "ends_at_ms")?,
        },
        admission,
    };
    let ledger_open = count(row, "ledger_open")? != 0;
    Ok(Sale {
        activity,
        stock: count(row, "stock")?,
        created_at_ms: count(row, "created_at_ms")?,
        opening: ledger_open || count(row, "opening")? != 0,
        ledger_open,
        pay_within_ms: count_or_none(row, "pay_within_ms")?,
        is_draft: count(row, "draft")? != 0,
    })
}

/// Makes a sale's row this transaction's own.
const LOCK: &str = "UPDATE activities SET version = version WHERE id = ?";

/// A sale and its row's lock.
pub(crate) async fn locked(tx: &mut Tx, activity: ActivityId) -> Result<Option<Sale>, StoreError> {
    if !lock_row(tx, LOCK, activity.as_i64()).await? {
        return Ok(None);
    }
    let row = sqlx::query(SELECT).bind(activity.as_i64()).fetch_one(&mut **tx).await?;
    sale_of(&row).map(Some)
}
