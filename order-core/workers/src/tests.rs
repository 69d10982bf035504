use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use contract::{
    OrderId, UserId,
    record::{Action, OrderEvents, Record as _},
    stock::{Outcome, Reservation},
};
use domain::{
    SaleStore,
    conformance::{PAY_WITHIN_MS, activity},
    model::ModelStore,
    order_state::{Fulfilment, OrderState},
};

use ledger::LedgerClient;

mod parked;
mod refunds;

use super::*;
use support::{HandClock, MemoryLedgers, MemoryLog};

/// Polls `future` until it waits; no runtime.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

struct Mall {
    log: MemoryLog,
    clock: HandClock,
    ledgers: MemoryLedgers,
    store: ModelStore,
    journal: Journal<MemoryLog, ModelStore, HandClock>,
    relay: Relay<MemoryLog, ModelStore, HandClock>,
    timeouts: Timeouts<MemoryLog, ModelStore, HandClock>,
    keeper: Keeper<MemoryLog, ModelStore, MemoryLedgers, HandClock>,
}

const STOCK: u64 = 10;

impl Mall {
    fn new() -> Self {
        let clock = HandClock::new();
        let log = now(MemoryLog::with_topics(PAY_WITHIN_MS)).unwrap();
        let ledgers = MemoryLedgers::new(log.clone(), clock.clone());
        let store = ModelStore::new(PAY_WITHIN_MS);
        let sale = activity(1, 999);
        store.put_activity(&sale);
        now(ledgers.open(sale.id, STOCK, sale.rules)).unwrap().unwrap();
        let workers = Self::workers(&log, &clock, &ledgers, &store);
        let (journal, relay, timeouts, keeper) = workers;
        Self { log, clock, ledgers, store, journal, relay, timeouts, keeper }
    }

    #[expect(clippy::type_complexity, reason = "the four workers of one test mall")]
    fn workers(
        log: &MemoryLog,
        clock: &HandClock,
        ledgers: &MemoryLedgers,
        store: &ModelStore,
    ) -> (
        Journal<MemoryLog, ModelStore, HandClock>,
        Relay<MemoryLog, ModelStore, HandClock>,
        Timeouts<MemoryLog, ModelStore, HandClock>,
        Keeper<MemoryLog, ModelStore, MemoryLedgers, HandClock>,
    ) {
        (
            now(Journal::join(log.clone(), store.clone(), clock.clone())).unwrap().unwrap(),
            Relay::new(log.clone(), store.clone(), clock.clone()),
            now(Timeouts::join(log.clone(), store.clone(), clock.clone())).unwrap().unwrap(),
            now(Keeper::join(log.clone(), store.clone(), ledgers.clone(), clock.clone())).unwrap().unwrap(),
        )
    }

    /// Every worker is killed and started again.
    fn restart(&mut self) {
        (self.journal, self.relay, self.timeouts, self.keeper) =
            Self::workers(&self.log, &self.clock, &self.ledgers, &self.store);
    }

    fn buy(&self, id: i64) -> Outcome {
        let asked = Reservation { order: order(id), user: UserId::from_i64(id).unwrap(), request: None, quantity: 1 };
        now(self.ledgers.reserve(activity(1, 999).id, asked)).unwrap()
    }

    /// Steps each worker until all wait for something.
    fn settle_down(&mut self) {
        loop {
            let busy = [
                now(self.journal.step()).is_some(),
                now(self.relay.step()).is_some(),
                now(self.timeouts.step()).is_some(),
                now(self.keeper.step()).is_some(),
            ];
            if busy == [false; 4] {
                return;
            }
        }
    }

    fn dead_letters(&self) -> Vec<DeadLetter> {
        let records = self.log.records(topic::DEAD_LETTERS);
        records.iter().map(|record| DeadLetter::decode(&record.value).unwrap()).collect()
    }

    fn append(&self, topic: &str, key: &[u8], value: Vec<u8>) {
        now(self.log.append(vec![NewRecord { topic: topic.into(), key: key.to_vec(), value }])).unwrap().unwrap();
    }
}

fn order(id: i64) -> OrderId {
    OrderId::from_i64(id).unwrap()
}

#[test]
fn a_hold_becomes_an_order_and_goes_back_unpaid() {
    let mut mall = Mall::new();
    for id in 1..=3 {
        assert!(matches!(mall.buy(id), Outcome::Held { .. }));
    }
    mall.settle_down();
    assert_eq!(mall.store.order_states(), [1, 2, 3].map(|id| (order(id), OrderState::PendingPayment)));

    now(mall.store.mark_paid(order(2), mall.clock.now_ms())).unwrap().unwrap();
    mall.clock.advance(PAY_WITHIN_MS - 1);
    mall.settle_down();
    assert_eq!(mall.store.order_state(order(1)), Some(OrderState::PendingPayment));
    mall.clock.advance(1);
    mall.restart();
    mall.settle_down();
    assert_eq!(mall.store.order_state(order(1)), Some(OrderState::Closed));
    assert_eq!(mall.store.order_state(order(2)), Some(OrderState::Bought(Fulfilment::Paid)));

    let counters = now(mall.ledgers.counters(activity(1, 999).id)).unwrap().unwrap().unwrap();
    assert_eq!((counters.available, counters.held, counters.sold), (STOCK - 1, 0, 1));
    let counts = now(mall.store.audit_counts(activity(1, 999).id)).unwrap().unwrap().unwrap();
    assert_eq!((counts.stock_left, counts.by_hold.sold, counts.seq), (STOCK - 1, 1, counters.seq));
    assert!(mall.dead_letters().is_empty());
    for (group, topic) in [("order-core", topic::ORDERS), ("order-core.keeper", topic::COMMANDS)] {
        assert_eq!(mall.log.lag(group, topic), 0);
    }
}

#[test]
fn a_worker_that_is_killed_anywhere_loses_nothing_and_repeats_nothing() {
    let mut mall = Mall::new();
    for id in 1..=5 {
        mall.buy(id);
    }
    // Dropped after the database's commit and before the log's: a new worker reads it all again.
    let entries = mall.log.journal();
    now(mall.store.take_in(&domain::Line::in_order(&entries), mall.clock.now_ms())).unwrap().unwrap();
    mall.restart();
    // The relay dies after its append: the log has every record twice.
    let rows = now(mall.store.outbox(1000)).unwrap().unwrap();
    for row in rows {
        mall.append(&row.topic, &row.key, row.value);
    }
    mall.settle_down();
    mall.clock.advance(PAY_WITHIN_MS);
    mall.settle_down();
    assert!(mall.store.order_states().iter().all(|(_, state)| *state == OrderState::Closed));
    let counters = now(mall.ledgers.counters(activity(1, 999).id)).unwrap().unwrap().unwrap();
    assert_eq!((counters.available, counters.held, counters.sold), (STOCK, 0, 0));
    assert!(mall.dead_letters().is_empty());
}

#[test]
fn what_cannot_be_read_is_buried_and_the_rest_goes_on() {
    let mut mall = Mall::new();
    let timeouts = topic::timeouts(PAY_WITHIN_MS).name;
    for topic in [topic::ORDERS, topic::COMMANDS, &timeouts] {
        mall.append(topic, b"key", b"\x01\xff nonsense".to_vec());
        mall.append(topic, b"key", Vec::new());
    }
    mall.buy(1);
    mall.settle_down();
    assert_eq!(mall.store.order_state(order(1)), Some(OrderState::PendingPayment));
    let letters = mall.dead_letters();
    assert_eq!(letters.len(), 6);
    assert!(letters.iter().any(|letter| letter.group == "order-core.timeouts" && letter.value.is_empty()));
}

#[test]
fn what_the_ledger_does_not_know_is_tried_thrice_and_buried() {
    let Mall { mut keeper, log, clock, .. } = Mall::new();
    let command = contract::record::LedgerCommand { activity: activity(1, 9).id, action: Action::Release(order(77)) };
    let record = NewRecord { topic: topic::COMMANDS.into(), key: b"key".to_vec(), value: command.to_bytes() };
    now(log.append(vec![record])).unwrap().unwrap();
    {
        let mut step = pin!(keeper.step());
        let mut context = Context::from_waker(Waker::noop());
        for _ in 1..topic::POISON_TRIES {
            assert!(step.as_mut().poll(&mut context).is_pending());
            clock.advance(1_000);
        }
        assert!(step.as_mut().poll(&mut context).is_ready());
    }
    assert_eq!(log.records(topic::DEAD_LETTERS).len(), 1);
    assert_eq!(log.lag("order-core.keeper", topic::COMMANDS), 0);
}

/// Its key was deleted, say: what the database has decided waits until the ledger is rebuilt.
#[test]
fn commands_wait_for_a_ledger_that_is_lost() {
    let mut mall = Mall::new();
    mall.buy(1);
    mall.settle_down();
    let lost = mall.ledgers.lose(activity(1, 999).id);
    now(mall.store.mark_paid(order(1), mall.clock.now_ms())).unwrap().unwrap();
    now(mall.relay.step()).unwrap().unwrap();
    for _ in 0..2 * topic::POISON_TRIES {
        assert!(matches!(now(mall.keeper.step()), Some(Err(WorkerError::Ledger(_)))));
    }
    assert!(mall.dead_letters().is_empty());
    mall.ledgers.find(lost);
    mall.settle_down();
    let counters = now(mall.ledgers.counters(activity(1, 999).id)).unwrap().unwrap().unwrap();
    assert_eq!((counters.held, counters.sold), (0, 1));
}

#[test]
fn a_crowd_decided_at_once_is_taken_in_by_several_transactions() {
    let mut mall = Mall::new();
    let sale = activity(2, 999);
    mall.store.put_activity(&sale);
    let crowd = i64::try_from(domain::TAKE_IN_MAX).unwrap() + 100;
    let (mut ledger, opened) = contract::stock::Ledger::open(sale.id, 5_000, sale.rules, 0);
    let mut journal = vec![opened];
    for id in 1..=crowd {
        let asked = Reservation { order: order(id), user: UserId::from_i64(id).unwrap(), request: None, quantity: 1 };
        ledger.apply(contract::stock::Command::Reserve(asked), mall.clock.now_ms(), &mut journal);
    }
    let records = ledger::journal::records(&journal);
    assert!(records.len() < 10, "{} records", records.len());
    for record in records {
        mall.append(topic::ORDERS, &record.key, record.value);
    }
    mall.settle_down();
    let counts = now(mall.store.audit_counts(sale.id)).unwrap().unwrap().unwrap();
    assert_eq!((counts.seq, counts.by_hold.held), (ledger.counters().seq, crowd.unsigned_abs()));
    assert!(mall.dead_letters().is_empty());
}

#[test]
fn events_travel_together_and_each_in_its_partition() {
    let mut mall = Mall::new();
    for id in 1..=9 {
        mall.buy(id);
    }
    mall.settle_down();
    let records = mall.log.records(topic::ORDER_EVENTS);
    assert!(records.len() <= 4, "{} records", records.len());
    let mut told = Vec::new();
    for record in &records {
        for event in OrderEvents::decode(&record.value).unwrap().into_vec() {
            let partition = topic::partition_of(&contract::record::order_key(event.order), 4);
            assert_eq!(record.partition.index, partition, "{event:?}");
            told.push(event.order);
        }
    }
    told.sort_unstable();
    assert_eq!(told, (1..=9).map(order).collect::<Vec<_>>());
}
