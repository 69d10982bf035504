//! The sale's part of the database in memory: for the simulation, and as the measure of the SQL.
//! Its futures are ready at once and need no runtime; ids count from 1.

mod leases;
mod recovery;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use contract::{
    Activity, ActivityId, OperationId, OrderId,
    record::Action,
    stock::{Entry, HoldState, Promise, Snapshot},
};

use crate::{
    LeaseName, LeaseRow, Line, SaleError,
    order_state::{Happening, OrderState},
    outgoing::Outgoing,
    parked::{go_on, next_in_line, shortened},
    plan::{HoldRow, Known, LedgerRow, Lookups, Offer, OrderRow, Plan, TermRow},
    sale::{
        DatabaseCounts, OutboxRow, PARKED_LISTED_MAX, PaidOutcome, Parked, REPEAT_ROWS_MAX, Retried, SaleStore,
        TAKE_IN_MAX, TakenIn,
    },
};

/// The database in memory. Clones are the same database.
#[derive(Debug, Clone)]
pub struct ModelStore {
    tables: Arc<Mutex<Tables>>,
    bell: Arc<Bell>,
    pay_within_ms: u64,
}

/// Wakes those who wait for the outbox, without a runtime.
#[derive(Debug, Default)]
struct Bell(Mutex<Rung>);

#[derive(Debug, Default)]
struct Rung {
    /// Rung since the last wait was over.
    is_rung: bool,
    waiting: Vec<Waker>,
}

impl Bell {
    fn ring(&self) {
        let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rung.is_rung = true;
        rung.waiting.drain(..).for_each(Waker::wake);
    }

    async fn rung(&self) {
        poll_fn(|context| {
            let mut rung = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut rung.is_rung) {
                return Poll::Ready(());
            }
            if !rung.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                rung.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

#[derive(Debug, Default)]
struct Tables {
    offers: BTreeMap<ActivityId, Offer>,
    ledgers: BTreeMap<ActivityId, LedgerRow>,
    terms: BTreeMap<ActivityId, TermRow>,
    promises: BTreeMap<ActivityId, Vec<Promise>>,
    holds: BTreeMap<OrderId, HoldRow>,
    orders: BTreeMap<OrderId, OrderRow>,
    restocks: BTreeSet<(ActivityId, OperationId)>,
    outbox: BTreeMap<i64, OutboxRow>,
    parked: BTreeMap<ActivityId, ParkedRow>,
    refused: BTreeSet<ActivityId>,
    /// Restocks that an admin asked for, with their units.
    asked: BTreeMap<(ActivityId, OperationId), i64>,
    /// Ends that an admin has set before their time.
    ended: BTreeMap<ActivityId, u64>,
    last_id: i64,
    last_term: u64,
    leases: BTreeMap<LeaseName, LeaseRow>,
}

#[derive(Debug)]
struct ParkedRow {
    parked: Parked,
    /// In the order of the journal.
    lines: Vec<Line>,
}

impl ModelStore {
    /// An empty database whose orders wait `pay_within_ms` for their payment.
    pub fn new(pay_within_ms: u64) -> Self {
        Self { tables: Arc::default(), bell: Arc::default(), pay_within_ms }
    }

    /// Writes an activity, so that its holds become orders.
    pub fn put_activity(&self, activity: &Activity) {
        let Activity { sku, price, .. } = *activity;
        self.tables()
            .offers
            .insert(activity.id, Offer { sku, title: activity.title.clone(), price, pay_within_ms: None });
    }

    /// Has every new order of `activity` refused until that is taken back, as by rows that are in their way.
    pub fn refuse(&self, activity: ActivityId, is_refused: bool) {
        let mut tables = self.tables();
        if is_refused {
            tables.refused.insert(activity);
        } else {
            tables.refused.remove(&activity);
        }
    }

    /// The state of `order`.
    pub fn order_state(&self, order: OrderId) -> Option<OrderState> {
        self.tables().orders.get(&order).map(|row| row.state)
    }

    /// The state of every order, by id.
    pub fn order_states(&self) -> Vec<(OrderId, OrderState)> {
        self.tables().orders.iter().map(|(id, row)| (*id, row.state)).collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each call writes only once it can no longer fail, so a panic elsewhere leaves whole tables.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in_now(&self, lines: &[Line], now_ms: u64) -> Result<TakenIn, SaleError> {
        assert!(lines.len() <= TAKE_IN_MAX, "{} entries at once", lines.len());
        let mut tables = self.tables();
        let (aside, lines): (Vec<Line>, Vec<Line>) =
            lines.iter().partition(|line| tables.parked.contains_key(&line.entry.activity));
        let plan = tables.plan(&Line::entries(&lines), self.pay_within_ms, now_ms)?;
        let mut taken = plan.taken;
        tables.write(plan)?;
        taken.set_aside = tables.set_aside(&aside);
        self.ring(&tables);
        Ok(taken)
    }

    fn retry_now(&self, activity: ActivityId, limit: usize, now_ms: u64) -> Result<Retried, SaleError> {
        assert!((1..=TAKE_IN_MAX).contains(&limit), "{limit} entries at once");
        let mut tables = self.tables();
        let position = tables.known().position(activity);
        let Some(row) = tables.parked.get_mut(&activity) else { return Ok(Retried::NotParked) };
        let lines: Vec<Line> = row.lines.iter().take(limit).copied().collect();
        let taken = next_in_line(activity, position, &lines)?;
        let plan = tables.plan(&Line::entries(&lines[..taken]), self.pay_within_ms, now_ms)?;
        tables.write(plan)?;
        self.ring(&tables);
        let Some(row) = tables.parked.get_mut(&activity) else { return Ok(Retried::NotParked) };
        row.lines.drain(..taken);
        if row.lines.is_empty() {
            tables.parked.remove(&activity);
            return Ok(Retried::Done);
        }
        Ok(Retried::More)
    }

    fn close_now(&self, orders: &[OrderId], now_ms: u64) -> usize {
        let mut tables = self.tables();
        let mut closed = 0;
        for order in orders {
            let Some(row) = tables.orders.get_mut(order) else { continue };
            let Ok(next) = row.state.apply(Happening::Close) else { continue };
            if row.expires_at_ms > now_ms {
                continue;
            }
            row.state = next;
            closed += 1;
            let (activity, user) = (row.activity, row.user);
            tables.send(Outgoing::command(activity, Action::Release(*order)));
            tables.send(Outgoing::event(*order, user, next, now_ms));
        }
        self.ring(&tables);
        closed
    }

    fn pay_now(&self, order: OrderId, now_ms: u64) -> PaidOutcome {
        let mut tables = self.tables();
        let Some(row) = tables.orders.get_mut(&order) else { return PaidOutcome::UnknownOrder };
        let Ok(next) = row.state.apply(Happening::Pay) else { return PaidOutcome::Refused(row.state) };
        row.state = next;
        let (activity, user) = (row.activity, row.user);
        tables.send(Outgoing::command(activity, Action::Settle(order)));
        tables.send(Outgoing::event(order, user, next, now_ms));
        self.ring(&tables);
        PaidOutcome::Paid
    }

    fn repeat_now(&self, after: Option<OrderId>) -> Option<OrderId> {
        let mut tables = self.tables();
        let holds = tables.holds.iter().filter(|(order, _)| after.is_none_or(|after| **order > after));
        let page: Vec<(OrderId, HoldState)> =
            holds.map(|(order, row)| (*order, row.hold.state)).take(REPEAT_ROWS_MAX).collect();
        for (order, _) in page.iter().filter(|(_, state)| *state == HoldState::Held) {
            let Some(OrderRow { activity, state, .. }) = tables.orders.get(order) else { continue };
            let Some(record) = state.command(*order).map(|action| Outgoing::command(*activity, action)) else {
                continue;
            };
            tables.send(record);
        }
        self.ring(&tables);
        page.last().map(|(order, _)| *order)
    }

    fn ring(&self, tables: &Tables) {
        if !tables.outbox.is_empty() {
            self.bell.ring();
        }
    }
}

impl Tables {
    fn known(&self) -> Known {
        Known {
            ledgers: self.ledgers.clone(),
            offers: self.offers.clone(),
            terms: self.terms.clone(),
            ..Known::default()
        }
    }

    fn plan(&self, entries: &[Entry], pay_within_ms: u64, now_ms: u64) -> Result<Plan, SaleError> {
        let mut known = self.known();
        let mut lookups = Lookups::new(entries, &self.terms);
        for activity in &lookups.promises {
            known.promises.insert(*activity, self.promises.get(activity).cloned().unwrap_or_default());
        }
        lookups.add_promises(known.promises.values().flatten());
        let hold = |order: &OrderId| self.holds.get(order).map(|row| (*order, row.clone()));
        known.holds = lookups.holds.iter().filter_map(hold).collect();
        let has_failed = |order: &&OrderId| self.orders.contains_key(order) && !self.holds.contains_key(order);
        known.failed = lookups.failed.iter().filter(has_failed).copied().collect();
        Plan::new(&known, entries, pay_within_ms, now_ms)
    }

    /// Keeps what is not kept yet; how many entries that were.
    fn set_aside(&mut self, lines: &[Line]) -> usize {
        let mut kept = 0;
        for line in lines {
            let position = self.known().position(line.entry.activity);
            let Some(row) = self.parked.get_mut(&line.entry.activity) else { continue };
            if position.matters(&line.entry) && !row.lines.contains(line) {
                row.lines.push(*line);
                kept += 1;
            }
        }
        for row in self.parked.values_mut() {
            Line::sort(&mut row.lines);
        }
        kept
    }

    fn write(&mut self, plan: Plan) -> Result<(), SaleError> {
        if let Some(order) = plan.orders.iter().find(|order| self.refused.contains(&order.activity)) {
            return Err(SaleError::contradiction(format!("order {} is refused", order.id)));
        }
        let is_taken = |order: &OrderRow| self.orders.contains_key(&order.id);
        if plan.orders.iter().any(is_taken) || plan.holds.keys().any(|order| self.holds.contains_key(order)) {
            return Err(SaleError::contradiction("an order or a hold is written twice"));
        }
        let restocks: Vec<_> = plan.restocks.iter().map(|(activity, operation, _)| (*activity, *operation)).collect();
        if restocks.iter().any(|restock| self.restocks.contains(restock)) {
            return Err(SaleError::contradiction("a restock is applied twice"));
        }
        self.restocks.extend(restocks);
        self.ledgers.extend(plan.ledgers.into_iter().map(|(activity, (_, row))| (activity, row)));
        self.terms.extend(plan.terms);
        for activity in plan.dealt_with {
            self.promises.remove(&activity);
        }
        for (activity, promise) in plan.set_aside {
            self.promises.entry(activity).or_default().push(promise);
        }
        self.holds.extend(plan.holds);
        for (order, state) in plan.turned {
            if let Some(row) = self.holds.get_mut(&order) {
                row.hold.state = state;
            }
        }
        self.orders.extend(plan.orders.into_iter().map(|row| (row.id, row)));
        plan.outgoing.into_iter().for_each(|record| self.send(record));
        Ok(())
    }

    fn send(&mut self, record: Outgoing) {
        self.last_id += 1;
        let row = OutboxRow { id: self.last_id, topic: record.topic, key: record.key, value: record.value };
        self.outbox.insert(row.id, row);
    }

    fn snapshot(&self, activity: ActivityId, row: &LedgerRow) -> Snapshot {
        let TermRow { term, is_open, .. } = self.terms.get(&activity).copied().unwrap_or_default();
        Snapshot {
            term,
            is_open,
            activity,
            rules: row.rules,
            total: row.total,
            epoch: row.epoch,
            seq: row.seq,
            holds: self.holds.values().filter(|hold| hold.activity == activity).map(|row| row.hold).collect(),
            restocks: self.restocks.iter().filter(|restock| restock.0 == activity).map(|restock| restock.1).collect(),
        }
    }

    fn counts(&self, activity: ActivityId) -> Option<DatabaseCounts> {
        let LedgerRow { epoch, seq, total, stock_left, .. } = *self.ledgers.get(&activity)?;
        let mut counts = DatabaseCounts { epoch, seq, total, stock_left, ..DatabaseCounts::default() };
        for (order, row) in self.holds.iter().filter(|(_, row)| row.activity == activity) {
            let units = u64::from(row.hold.reservation.quantity);
            let state = self.orders.get(order).map(|order| order.state);
            counts.by_status.add(state, units);
            counts.orders += u64::from(state.is_some());
            match row.hold.state {
                HoldState::Held => counts.by_hold.held += units,
                HoldState::Sold => counts.by_hold.sold += units,
                HoldState::Released => counts.by_hold.released += units,
            }
        }
        Some(counts)
    }
}

impl SaleStore for ModelStore {
    type Error = SaleError;

    async fn take_in(&self, lines: &[Line], now_ms: u64) -> Result<TakenIn, SaleError> {
        self.take_in_now(lines, now_ms)
    }

    async fn park(
        &self,
        activity: ActivityId,
        reason: &str,
        lines: &[Line],
        (since_ms, next_try_ms): (u64, u64),
    ) -> Result<(), SaleError> {
        let mut tables = self.tables();
        let reason = shortened(reason);
        let new = Parked { activity, reason, since_ms, tries: 0, next_try_ms, entries: 0, dropped: None };
        tables.parked.entry(activity).or_insert(ParkedRow { parked: new, lines: Vec::new() });
        tables.set_aside(lines);
        Ok(())
    }

    async fn parked(&self) -> Result<Vec<Parked>, SaleError> {
        let tables = self.tables();
        let listed = |row: &ParkedRow| Parked { entries: row.lines.len() as u64, ..row.parked.clone() };
        let mut parked: Vec<Parked> = tables.parked.values().map(listed).collect();
        parked.sort_by_key(|parked| (parked.since_ms, parked.activity));
        parked.truncate(PARKED_LISTED_MAX);
        Ok(parked)
    }

    async fn retry_parked(&self, activity: ActivityId, limit: usize, now_ms: u64) -> Result<Retried, SaleError> {
        self.retry_now(activity, limit, now_ms)
    }

    async fn note_failed_try(&self, activity: ActivityId, reason: &str, next_try_ms: u64) -> Result<(), SaleError> {
        if let Some(ParkedRow { parked, .. }) = self.tables().parked.get_mut(&activity) {
            parked.reason = shortened(reason);
            parked.tries += 1;
            parked.next_try_ms = next_try_ms;
        }
        Ok(())
    }

    async fn close_unpaid(&self, orders: &[OrderId], now_ms: u64) -> Result<usize, SaleError> {
        Ok(self.close_now(orders, now_ms))
    }

    async fn mark_paid(&self, order: OrderId, now_ms: u64) -> Result<PaidOutcome, SaleError> {
        Ok(self.pay_now(order, now_ms))
    }

    async fn repeat_commands(&self, after: Option<OrderId>) -> Result<Option<OrderId>, SaleError> {
        Ok(self.repeat_now(after))
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<OutboxRow>, SaleError> {
        Ok(self.tables().outbox.values().take(limit).cloned().collect())
    }

    async fn outbox_sent(&self, ids: &[i64]) -> Result<(), SaleError> {
        let mut tables = self.tables();
        for id in ids {
            tables.outbox.remove(id);
        }
        Ok(())
    }

    async fn outbox_filled(&self) {
        self.bell.rung().await;
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, SaleError> {
        let tables = self.tables();
        let snapshot = |(activity, row): (&ActivityId, &LedgerRow)| {
            let mut snapshot = tables.snapshot(*activity, row);
            let waiting = tables.parked.get(activity).map(|row| Line::entries(&row.lines)).unwrap_or_default();
            go_on(&mut snapshot, waiting);
            snapshot
        };
        Ok(tables.ledgers.iter().map(snapshot).collect())
    }

    async fn audit_counts(&self, activity: ActivityId) -> Result<Option<DatabaseCounts>, SaleError> {
        Ok(self.tables().counts(activity))
    }
}
