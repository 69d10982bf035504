//! What a batch of journal entries changes. Pure: the SQL store and the model read what a plan needs,
//! make it, and write what it says.

use std::collections::BTreeMap;

use contract::{
    ActivityId, Cents, OperationId, OrderId, SkuId, UserId,
    activity::Rules,
    record::Action,
    stock::{Entry, Event, Hold, HoldState, Reservation},
};

use crate::{SaleError, TakenIn, big, order_state::OrderState, outgoing::Outgoing};

/// The mirror of one ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    pub rules: Rules,
    pub epoch: u64,
    pub seq: u64,
    pub total: u64,
    pub stock_left: u64,
    pub opened_at_ms: u64,
}

/// What an activity's buyers buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub sku: SkuId,
    pub title: String,
    pub price: Cents,
}

/// The mirror of one hold. `stock_taken` is false where the mirror had no stock left for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    pub activity: ActivityId,
    pub hold: Hold,
    pub seq: u64,
    pub stock_taken: bool,
}

/// A new order of one line; `offer` is `None` where the activity is unknown.
#[derive(Debug, Clone)]
pub struct OrderRow {
    pub id: OrderId,
    pub user: UserId,
    pub activity: ActivityId,
    pub state: OrderState,
    pub quantity: u32,
    pub total: Cents,
    pub created_at_ms: u64,
    pub expires_at_ms: u64,
    pub offer: Option<Offer>,
}

/// What is written already of all that a batch mentions.
#[derive(Debug, Default)]
pub struct Known {
    pub ledgers: BTreeMap<ActivityId, LedgerRow>,
    pub offers: BTreeMap<ActivityId, Offer>,
    pub holds: BTreeMap<OrderId, HoldRow>,
}

/// What is to be written, all of it or nothing.
#[derive(Debug, Default)]
pub struct Plan {
    /// Ledgers as they are after the batch, and their `seq` before it: `None` where they are new.
    pub ledgers: BTreeMap<ActivityId, (Option<u64>, LedgerRow)>,
    pub orders: Vec<OrderRow>,
    pub holds: BTreeMap<OrderId, HoldRow>,
    /// Holds that were written before and leave [`HoldState::Held`] now.
    pub turned: BTreeMap<OrderId, HoldState>,
    pub restocks: Vec<(ActivityId, OperationId, i64)>,
    pub outgoing: Vec<Outgoing>,
    pub taken: TakenIn,
}

impl Plan {
    pub fn new(known: &Known, entries: &[Entry], pay_within_ms: u64, now_ms: u64) -> Result<Self, SaleError> {
        let mut plan = Self::default();
        for entry in entries {
            plan.take(known, entry, pay_within_ms, now_ms)?;
        }
        Ok(plan)
    }

    fn take(&mut self, known: &Known, entry: &Entry, pay_within_ms: u64, now_ms: u64) -> Result<(), SaleError> {
        let activity = entry.activity;
        let before = known.ledgers.get(&activity);
        let mut row = self.ledgers.get(&activity).map(|(_, row)| row).or(before).cloned();
        let last = row.as_ref().map_or(0, |row| row.seq);
        if entry.seq <= last {
            self.taken.skipped += 1;
            return Ok(());
        }
        if entry.seq != last.saturating_add(1) {
            return Err(SaleError::Gap { activity, last, found: entry.seq });
        }
        fits(entry, pay_within_ms)?;
        let after = match (entry.event, row.take()) {
            (Event::Opened { stock, rules }, None) => {
                let opened_at_ms = entry.at_ms;
                LedgerRow { rules, epoch: entry.epoch, seq: 1, total: stock, stock_left: stock, opened_at_ms }
            }
            (event, Some(mut row)) => {
                row.seq = entry.seq;
                row.epoch = entry.epoch;
                match event {
                    Event::Held(asked) => self.hold(known, entry, asked, &mut row, (pay_within_ms, now_ms))?,
                    Event::Settled { order, quantity } => {
                        self.turn(known, (activity, order, quantity), HoldState::Sold)?;
                    }
                    Event::Released { order, quantity } => {
                        let had_stock = self.turn(known, (activity, order, quantity), HoldState::Released)?;
                        let back = if had_stock { u64::from(quantity) } else { 0 };
                        row.stock_left = row.stock_left.checked_add(back).ok_or_else(|| {
                            contradiction(format!("activity {activity} gets more units back than there are"))
                        })?;
                    }
                    Event::Restocked { operation, delta } => self.restock(activity, operation, delta, &mut row)?,
                    Event::Ended { ends_at_ms } => row.rules = row.rules.ended_at(ends_at_ms),
                    Event::Opened { .. } => {
                        return Err(contradiction(format!("activity {activity} was opened twice")));
                    }
                }
                row
            }
            (_, None) => return Err(contradiction(format!("activity {activity} does not begin with its opening"))),
        };
        self.ledgers.insert(activity, (before.map(|row| row.seq), after));
        self.taken.applied += 1;
        Ok(())
    }

    fn hold(
        &mut self,
        known: &Known,
        entry: &Entry,
        asked: Reservation,
        row: &mut LedgerRow,
        (pay_within_ms, now_ms): (u64, u64),
    ) -> Result<(), SaleError> {
        let (activity, order, units) = (entry.activity, asked.order, u64::from(asked.quantity));
        let offer = known.offers.get(&activity).cloned();
        let total = offer.as_ref().and_then(|offer| offer.price.times(asked.quantity)).filter(|total| total.get() >= 0);
        let left = row.stock_left.checked_sub(units);
        row.stock_left = left.unwrap_or(row.stock_left);
        let expires_at_ms = entry.at_ms.saturating_add(pay_within_ms);
        let state = match (total, left) {
            (Some(_), Some(_)) => {
                self.outgoing.push(Outgoing::deadline(pay_within_ms, order, expires_at_ms));
                self.outgoing.push(Outgoing::event(order, asked.user, OrderState::PendingPayment, entry.at_ms));
                OrderState::PendingPayment
            }
            (None, _) | (_, None) => {
                self.outgoing.push(Outgoing::command(activity, Action::Release(order)));
                self.outgoing.push(Outgoing::event(order, asked.user, OrderState::Failed, now_ms));
                self.taken.failed += 1;
                OrderState::Failed
            }
        };
        self.orders.push(OrderRow {
            id: order,
            user: asked.user,
            activity,
            state,
            quantity: asked.quantity,
            total: total.unwrap_or_default(),
            created_at_ms: entry.at_ms,
            expires_at_ms,
            offer,
        });
        let hold = Hold { reservation: asked, state: HoldState::Held };
        let row = HoldRow { activity, hold, seq: entry.seq, stock_taken: left.is_some() };
        match self.holds.insert(order, row) {
            None if asked.quantity > 0 && !known.holds.contains_key(&order) => Ok(()),
            _ => Err(contradiction(format!("order {order} is held twice, or holds nothing"))),
        }
    }

    /// Moves a hold on; whether it had taken stock of the mirror.
    fn turn(
        &mut self,
        known: &Known,
        (activity, order, quantity): (ActivityId, OrderId, u32),
        to: HoldState,
    ) -> Result<bool, SaleError> {
        let written = !self.holds.contains_key(&order);
        let Some(row) = self.holds.get(&order).or_else(|| known.holds.get(&order)) else {
            return Err(contradiction(format!("order {order} is not in the mirror")));
        };
        let state = self.turned.get(&order).copied().unwrap_or(row.hold.state);
        let fits = row.activity == activity && row.hold.reservation.quantity == quantity;
        if !fits || state != HoldState::Held {
            return Err(contradiction(format!("order {order} is {state:?} and can't become {to:?}")));
        }
        let stock_taken = row.stock_taken;
        if written {
            self.turned.insert(order, to);
        } else if let Some(row) = self.holds.get_mut(&order) {
            row.hold.state = to;
        }
        Ok(stock_taken)
    }

    fn restock(
        &mut self,
        activity: ActivityId,
        operation: OperationId,
        delta: i64,
        row: &mut LedgerRow,
    ) -> Result<(), SaleError> {
        let moved = row.total.checked_add_signed(delta).zip(row.stock_left.checked_add_signed(delta));
        let Some((total, stock_left)) = moved.filter(|(total, _)| big(*total).is_ok()) else {
            return Err(contradiction(format!("restock {operation} of {delta} units does not fit")));
        };
        (row.total, row.stock_left) = (total, stock_left);
        self.restocks.push((activity, operation, delta));
        Ok(())
    }
}

/// Numbers of the journal are unsigned, those of the database are not.
fn fits(entry: &Entry, pay_within_ms: u64) -> Result<(), SaleError> {
    let mut greatest = entry.seq.max(entry.epoch).max(entry.at_ms.saturating_add(pay_within_ms));
    if let Event::Opened { stock, rules } = entry.event {
        greatest = greatest.max(stock).max(rules.starts_at_ms).max(rules.ends_at_ms);
    }
    big(greatest).map(drop)
}

/// The orders that a plan for `entries` must know the holds of.
pub fn turned_orders(entries: &[Entry]) -> Vec<OrderId> {
    let turned = |entry: &Entry| match entry.event {
        Event::Settled { order, .. } | Event::Released { order, .. } => Some(order),
        Event::Opened { .. } | Event::Held(_) | Event::Restocked { .. } | Event::Ended { .. } => None,
    };
    entries.iter().filter_map(turned).collect()
}

fn contradiction(what: String) -> SaleError {
    SaleError::Contradiction(what)
}
