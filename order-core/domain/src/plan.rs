//! What a batch of journal entries changes. Pure: the SQL store and the model read what a plan needs,
//! make it, and write what it says.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    ActivityId, Cents, OperationId, OrderId, SkuId, UserId,
    activity::Rules,
    record::Action,
    stock::{Entry, Event, Hold, HoldState, Placed, Position, Promise, Reservation, Term},
};

use crate::{
    SaleError, TakenIn, big,
    order_state::{Fulfilment, OrderState},
    outgoing::Outgoing,
};

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

/// The term of one ledger, as the journal has started it. Ledgers of the first term have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermRow {
    pub term: Term,
    /// Its recovery has ended.
    pub is_open: bool,
    /// At least one promise of an older term became a failed order, which the ledger may hold all the same.
    pub has_failed: bool,
}

impl Default for TermRow {
    fn default() -> Self {
        let Position { term, is_open, .. } = Position::default();
        Self { term, is_open, has_failed: false }
    }
}

/// What an activity's buyers buy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub sku: SkuId,
    pub title: String,
    pub price: Cents,
    /// How long its orders wait for their payment, in milliseconds; `None`: as long as all other orders.
    pub pay_within_ms: Option<u64>,
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
    pub terms: BTreeMap<ActivityId, TermRow>,
    pub holds: BTreeMap<OrderId, HoldRow>,
    /// Orders that failed without a hold.
    pub failed: BTreeSet<OrderId>,
    /// Promises that were set aside until a term opens, of the activities whose term does so in the batch.
    pub promises: BTreeMap<ActivityId, Vec<Promise>>,
}

impl Known {
    /// How far the journal of `activity` is taken in.
    pub fn position(&self, activity: ActivityId) -> Position {
        let TermRow { term, is_open, .. } = self.terms.get(&activity).copied().unwrap_or_default();
        Position { term, is_open, seq: self.ledgers.get(&activity).map_or(0, |row| row.seq) }
    }
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
    /// Terms as they are after the batch.
    pub terms: BTreeMap<ActivityId, TermRow>,
    /// Promises to set aside.
    pub set_aside: Vec<(ActivityId, Promise)>,
    /// Activities whose promises that were set aside before are dealt with.
    pub dealt_with: BTreeSet<ActivityId>,
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
        let position = self.position(known, activity);
        match (position.place(entry), entry.event) {
            (Placed::Gap, _) => return Err(SaleError::Gap { activity, last: position.seq, found: entry.seq }),
            (Placed::Next, _) => return self.take_next(known, entry, pay_within_ms, now_ms),
            (Placed::Mark, Event::TermStarted { .. }) => {
                big(entry.term.0)?;
                let row = self.term(known, activity);
                (row.term, row.is_open) = (entry.term, false);
            }
            (Placed::Mark, _) => {
                self.term(known, activity).is_open = true;
                self.fail_promises(known, activity, now_ms);
            }
            (Placed::Failed, Event::PromiseFailed { reservation, .. }) => {
                let promise = Promise { reservation, at_ms: entry.at_ms };
                if !self.fail(known, activity, promise, now_ms) {
                    self.taken.skipped += 1;
                    return Ok(());
                }
            }
            (Placed::Stale, Event::Held(reservation)) if !self.is_known(known, reservation.order) => {
                let promise = Promise { reservation, at_ms: entry.at_ms };
                if position.is_open {
                    self.fail(known, activity, promise, now_ms);
                } else {
                    self.set_aside.push((activity, promise));
                }
            }
            (Placed::Known | Placed::Stale | Placed::Failed, _) => {
                self.taken.skipped += 1;
                return Ok(());
            }
        }
        self.taken.applied += 1;
        Ok(())
    }

    fn position(&self, known: &Known, activity: ActivityId) -> Position {
        let mut position = known.position(activity);
        if let Some(row) = self.terms.get(&activity) {
            (position.term, position.is_open) = (row.term, row.is_open);
        }
        if let Some((_, row)) = self.ledgers.get(&activity) {
            position.seq = row.seq;
        }
        position
    }

    fn term(&mut self, known: &Known, activity: ActivityId) -> &mut TermRow {
        let before = || known.terms.get(&activity).copied().unwrap_or_default();
        self.terms.entry(activity).or_insert_with(before)
    }

    /// Whether there is an order with this id, or will be.
    fn is_known(&self, known: &Known, order: OrderId) -> bool {
        known.holds.contains_key(&order)
            || known.failed.contains(&order)
            || self.holds.contains_key(&order)
            || self.orders.iter().any(|row| row.id == order)
    }

    /// Writes a promise that nobody keeps as a failed order, unless the order is known. Whether it did.
    fn fail(&mut self, known: &Known, activity: ActivityId, promise: Promise, now_ms: u64) -> bool {
        let Promise { reservation: Reservation { order, user, quantity, .. }, at_ms } = promise;
        if self.is_known(known, order) {
            return false;
        }
        let offer = known.offers.get(&activity).cloned();
        let total = offer.as_ref().and_then(|offer| offer.price.times(quantity)).filter(|total| total.get() >= 0);
        self.orders.push(OrderRow {
            id: order,
            user,
            activity,
            state: OrderState::Failed,
            quantity,
            total: total.unwrap_or_default(),
            created_at_ms: at_ms,
            expires_at_ms: at_ms,
            offer,
        });
        self.outgoing.push(Outgoing::event(order, user, OrderState::Failed, now_ms));
        self.term(known, activity).has_failed = true;
        self.taken.failed += 1;
        true
    }

    /// The term has opened, and what was set aside is not in it.
    fn fail_promises(&mut self, known: &Known, activity: ActivityId, now_ms: u64) {
        let (ours, others) = std::mem::take(&mut self.set_aside).into_iter().partition(|(of, _)| *of == activity);
        self.set_aside = others;
        let ours: Vec<(ActivityId, Promise)> = ours;
        let before = known.promises.get(&activity).into_iter().flatten().copied();
        for promise in before.chain(ours.into_iter().map(|(_, promise)| promise)) {
            self.fail(known, activity, promise, now_ms);
        }
        self.dealt_with.insert(activity);
    }

    fn take_next(&mut self, known: &Known, entry: &Entry, pay_within_ms: u64, now_ms: u64) -> Result<(), SaleError> {
        let activity = entry.activity;
        let before = known.ledgers.get(&activity);
        let mut row = self.ledgers.get(&activity).map(|(_, row)| row).or(before).cloned();
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
                    Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {
                        return Err(contradiction(format!("activity {activity}: a mark has a number")));
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
        let own_ms = offer.as_ref().and_then(|offer| offer.pay_within_ms);
        let expires_at_ms = entry.at_ms.saturating_add(own_ms.unwrap_or(pay_within_ms));
        // The order was given up before the ledger held it again.
        let had_failed = known.failed.contains(&order);
        let state = match (total, left) {
            _ if had_failed => {
                self.outgoing.push(Outgoing::command(activity, Action::Release(order)));
                OrderState::Failed
            }
            (Some(total), Some(_)) if total == Cents::default() => {
                let paid = OrderState::Bought(Fulfilment::Paid);
                self.outgoing.extend(paid.command(order).map(|action| Outgoing::command(activity, action)));
                self.outgoing.push(Outgoing::event(order, asked.user, paid, entry.at_ms));
                paid
            }
            (Some(_), Some(_)) => {
                // All deadlines of a topic have the same delay. Another delay has no topic; such orders are closed by
                // their rows.
                if own_ms.is_none() {
                    self.outgoing.push(Outgoing::deadline(pay_within_ms, order, expires_at_ms));
                }
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
        if !had_failed {
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
        }
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

/// What a plan for some entries must know beside ledgers, offers and terms.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Orders whose holds it must know.
    pub holds: Vec<OrderId>,
    /// Orders of which it must know whether they failed without a hold.
    pub failed: Vec<OrderId>,
    /// Activities whose promises, which were set aside, it must know.
    pub promises: BTreeSet<ActivityId>,
}

impl Lookups {
    /// What a plan for `entries` needs. New holds are looked up only where they may be known: most batches have nothing
    /// to look up for them.
    pub fn new(entries: &[Entry], terms: &BTreeMap<ActivityId, TermRow>) -> Self {
        let starts = |entry: &&Entry| matches!(entry.event, Event::TermStarted { .. });
        let starts: BTreeSet<ActivityId> = entries.iter().filter(starts).map(|entry| entry.activity).collect();
        let mut lookups = Self::default();
        for entry in entries {
            let row = terms.get(&entry.activity).copied().unwrap_or_default();
            let may_be_stale = entry.term < row.term || starts.contains(&entry.activity);
            match entry.event {
                Event::Settled { order, .. } | Event::Released { order, .. } => lookups.holds.push(order),
                Event::Held(Reservation { order, .. }) => {
                    if may_be_stale {
                        lookups.holds.push(order);
                    }
                    if may_be_stale || row.has_failed {
                        lookups.failed.push(order);
                    }
                }
                Event::PromiseFailed { reservation: Reservation { order, .. }, .. } => {
                    lookups.holds.push(order);
                    lookups.failed.push(order);
                }
                Event::TermOpened(_) => drop(lookups.promises.insert(entry.activity)),
                Event::Opened { .. } | Event::Restocked { .. } | Event::Ended { .. } | Event::TermStarted { .. } => {}
            }
        }
        lookups
    }

    /// The promises that were set aside are to be known as orders, too.
    pub fn add_promises<'a>(&mut self, promises: impl IntoIterator<Item = &'a Promise>) {
        for promise in promises {
            self.holds.push(promise.reservation.order);
            self.failed.push(promise.reservation.order);
        }
    }
}

fn contradiction(what: String) -> SaleError {
    SaleError::Contradiction(what)
}
