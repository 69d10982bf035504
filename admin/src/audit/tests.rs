use contract::{
    OrderId, UserId,
    record::{Action, LedgerCommand},
    stock::{Entry, Event, Reservation},
};
use domain::{
    conformance::{PAY_WITHIN_MS, activity},
    model::ModelStore,
};

use super::*;
use support::{HandClock, MemoryLedgers, MemoryLog};

struct Mall {
    clock: HandClock,
    log: MemoryLog,
    ledgers: MemoryLedgers,
    store: ModelStore,
    book: Book,
}

impl Mall {
    async fn new() -> Self {
        let clock = HandClock::new();
        let log = MemoryLog::with_topics(PAY_WITHIN_MS).await;
        let ledgers = MemoryLedgers::new(log.clone(), clock.clone());
        let store = ModelStore::new(PAY_WITHIN_MS);
        store.put_activity(&activity(1, 100));
        ledgers.open(id(), 5, activity(1, 100).rules).await.unwrap();
        Self { clock, log, ledgers, store, book: Book::default() }
    }

    async fn buy(&self, order: i64, quantity: u32) {
        let (order, user) = (OrderId::from_i64(order).unwrap(), UserId::from_i64(order).unwrap());
        self.ledgers.reserve(id(), Reservation { order, user, request: None, quantity }).await;
    }

    fn journal(&self) -> Vec<Entry> {
        self.log.journal()
    }

    fn read(&self) {
        self.journal().iter().for_each(|entry| self.book.add(entry));
    }

    async fn take_in(&self) {
        self.store.take_in(&domain::Line::in_order(&self.journal()), self.clock.now_ms()).await.unwrap();
    }

    /// The audit, with the clock running while it waits.
    async fn audit(&self) -> Audit {
        let ticks = async {
            loop {
                tokio::task::yield_now().await;
                self.clock.advance(LOOK_EVERY_MS);
            }
        };
        tokio::select! {
            biased;
            audit = audit(id(), (&self.store, &self.ledgers, &self.book, &self.clock)) => audit.unwrap(),
            () = ticks => unreachable!("ticks go on"),
        }
    }
}

fn id() -> ActivityId {
    activity(1, 100).id
}

fn oks(audit: &Audit) -> Vec<bool> {
    audit.checks.iter().map(|check| check.ok).collect()
}

#[tokio::test]
async fn three_sides_at_three_instants_agree() {
    let mall = Mall::new().await;
    mall.buy(1, 2).await;
    mall.buy(2, 1).await;
    mall.read();
    mall.take_in().await;
    let settle = LedgerCommand { activity: id(), action: Action::Settle(OrderId::from_i64(2).unwrap()) };
    let released = LedgerCommand { activity: id(), action: Action::Release(OrderId::from_i64(1).unwrap()) };
    mall.store.mark_paid(OrderId::from_i64(2).unwrap(), 0).await.unwrap();
    mall.ledgers.act(vec![settle, released]).await.unwrap();
    mall.read();
    mall.take_in().await;
    let found = mall.audit().await;
    assert!(found.ok, "{found:#?}");
    assert_eq!((found.total, found.available, found.held, found.sold, found.seq), (5, 4, 0, 1, 5));
    assert_eq!(found.log, LogSide { held: 3, settled: 1, released: 2, head_seq: 5 });
    assert_eq!((found.database.pending_payment, found.database.paid), (2, 1));

    // The database runs ahead of what the ledger had said, and is compared as it is.
    let sides = Sides {
        ledger: Counters { total: 5, available: 2, held: 3, sold: 0, term: Term::FIRST, epoch: 1, seq: 3 },
        log_then: mall.book.at(id(), 3),
        database: mall.store.audit_counts(id()).await.unwrap().unwrap(),
        log_there: mall.book.at(id(), 5),
        floor_seq: 3,
        head_seq: 5,
        waited_ms: 0,
    };
    assert!(report(id(), 0, &sides).ok);
}

#[tokio::test]
async fn a_side_that_lags_is_waited_for_and_named() {
    let mall = Mall::new().await;
    mall.read();
    mall.take_in().await;
    mall.buy(1, 2).await;
    mall.read();
    let found = mall.audit().await;
    assert_eq!(oks(&found), [true, false, false], "{found:#?}");
    assert!(found.checks[1].detail.contains("database is 1 entries behind"), "{}", found.checks[1].detail);
    assert!(found.checks[1].detail.contains("waited 5"), "{}", found.checks[1].detail);
    mall.take_in().await;
    assert!(mall.audit().await.ok);
}

#[tokio::test]
async fn what_is_wrong_is_seen() {
    let mall = Mall::new().await;
    mall.buy(1, 2).await;
    mall.read();
    mall.take_in().await;
    let good = |log_there: Totals| Sides {
        ledger: Counters { total: 5, available: 3, held: 2, sold: 0, term: Term::FIRST, epoch: 1, seq: 2 },
        log_then: mall.book.at(id(), 2),
        database: DatabaseCounts::default(),
        log_there: Some(log_there),
        floor_seq: 2,
        head_seq: 2,
        waited_ms: 0,
    };
    let log = mall.book.at(id(), 2).unwrap();
    let database = mall.store.audit_counts(id()).await.unwrap().unwrap();
    let check = |name: &str, sides: Sides, expect: [bool; 3]| {
        assert_eq!(oks(&report(id(), 0, &sides)), expect, "{name}");
    };
    check("all is well", Sides { database, ..good(log) }, [true; 3]);
    let ledger = Counters { available: 4, held: 1, ..good(log).ledger };
    check("the ledger forgot a hold", Sides { ledger, database, ..good(log) }, [true, true, false]);
    let ledger = Counters { held: 6, available: 0, ..good(log).ledger };
    check("the ledger oversold", Sides { ledger, database, ..good(log) }, [false, true, false]);
    let twin = Totals { held: 4, ..log };
    check("the database lacks an order", Sides { database, ..good(twin) }, [true, false, false]);
    check("the log was not read", Sides { log_then: None, database, ..good(log) }, [false, true, false]);
    let mut lost = database;
    lost.by_status.missing = 2;
    lost.by_status.pending_payment = 0;
    check("a hold has no order", Sides { database: lost, ..good(log) }, [true, false, true]);
}

/// What remains is the sum of nothing, which adds up.
#[tokio::test]
async fn a_ledger_that_is_lost_is_not_sound() {
    let mall = Mall::new().await;
    mall.buy(1, 2).await;
    mall.read();
    mall.take_in().await;
    let lost = mall.ledgers.lose(id());
    let found = mall.audit().await;
    assert_eq!((found.total, found.ok, oks(&found)), (0, false, vec![false; 3]), "{found:#?}");
    assert!(found.checks.iter().all(|check| check.detail.contains("the ledger is lost")), "{found:#?}");

    // Opened a second time with all units, which no service does.
    mall.ledgers.open(id(), 5, activity(1, 100).rules).await.unwrap();
    let found = mall.audit().await;
    assert_eq!((found.total, found.ok, oks(&found)), (5, false, vec![false; 3]), "{found:#?}");
    assert!(found.checks[2].detail.contains("1 entries behind"), "{found:#?}");
    mall.ledgers.find(lost);
    assert!(mall.audit().await.ok);
}

/// It is enough that one of them knows the sale.
#[tokio::test]
async fn a_lost_ledger_is_known_by_the_log_or_by_the_database() {
    let mall = Mall::new().await;
    mall.read();
    mall.ledgers.lose(id());
    assert_eq!(oks(&mall.audit().await), [false; 3], "the database has not taken it in");
    let mall = Mall::new().await;
    mall.take_in().await;
    mall.ledgers.lose(id());
    assert_eq!(oks(&mall.audit().await), [false; 3], "the log is no longer there");
}

/// The rows of the mirror are gone, its counters are not.
#[tokio::test]
async fn a_database_without_the_holds_is_not_sound() {
    let mall = Mall::new().await;
    mall.buy(1, 2).await;
    mall.read();
    mall.take_in().await;
    let mut database = mall.store.audit_counts(id()).await.unwrap().unwrap();
    (database.by_hold.held, database.by_status.pending_payment) = (0, 0);
    let sides = Sides {
        ledger: Counters { total: 5, available: 3, held: 2, sold: 0, term: Term::FIRST, epoch: 1, seq: 2 },
        log_then: mall.book.at(id(), 2),
        database,
        log_there: mall.book.at(id(), 2),
        floor_seq: 2,
        head_seq: 2,
        waited_ms: 0,
    };
    assert_eq!(oks(&report(id(), 0, &sides)), [true, false, false]);
}

#[tokio::test]
async fn the_book_knows_each_entry_once_and_no_hole() {
    let mall = Mall::new().await;
    for order in 1..=3 {
        mall.buy(order, 1).await;
    }
    mall.read();
    mall.read();
    let held = |seq| mall.book.at(id(), seq).map(|totals| totals.held);
    assert_eq!([0, 1, 2, 4, 5].map(held), [Some(0), Some(0), Some(1), Some(3), None]);
    let entry = mall.journal()[1];
    mall.book.add(&Entry { seq: 9, ..entry });
    mall.book.add(&Entry { seq: 10, ..entry });
    assert_eq!([4, 9, 10].map(held), [None; 3]);

    let headless = Book::default();
    headless.add(&Entry {
        seq: 7,
        event: Event::Settled { order: OrderId::from_i64(1).unwrap(), quantity: 1 },
        ..entry
    });
    assert_eq!((headless.at(id(), 7), headless.head_seq(id())), (None, 7));
}
