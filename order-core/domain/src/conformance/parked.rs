//! Cases of a sale that is parked because its next entry can't be taken in.

use contract::{
    OperationId,
    stock::{Command, Entry, Event, Reservation},
};

use super::{Fixture, NOW_MS, Sale, activity, counts, order, outbox, take};
use crate::{Outlook, PaidOutcome, Parked, Retried, SaleError, SaleStore, TakenIn};

/// Runs the cases of parked sales.
pub(super) async fn cases<F: Fixture>(fixture: &F) {
    entries_wait_in_order_while_other_sales_go_on(fixture).await;
    what_was_missing_comes_in_between(fixture).await;
    any_entry_can_be_kept(fixture).await;
}

async fn parked<S: SaleStore>(store: &S) -> Vec<Parked> {
    store.parked().await.expect("the parked sales")
}

fn five_orders() -> Sale {
    orders(5)
}

/// Sale 2 with `count` orders of one unit: user 1 has order 201, and so on. Its opening is entry 1, order 201 entry 2.
fn orders(count: i64) -> Sale {
    let mut sale = Sale::open(2, 9);
    for id in 1..=count {
        sale.hold(200 + id, id, 1);
    }
    sale
}

async fn entries_wait_in_order_while_other_sales_go_on<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let (one, two) = (activity(1, 100), activity(2, 100));
    for activity in [&one, &two] {
        fixture.put_activity(&store, activity).await;
    }
    let (mut first, second) = (Sale::open(1, 9), five_orders());
    take(&store, &second.journal[..2]).await;
    assert_eq!(parked(&store).await, []);
    let long = "因".repeat(600);
    store
        .park(two.id, &long, &crate::Line::in_order(&second.journal[1..3]), (NOW_MS, NOW_MS + 7))
        .await
        .expect("it is parked");
    let expect = Parked {
        activity: two.id,
        reason: "因".repeat(500),
        since_ms: NOW_MS,
        tries: 0,
        next_try_ms: NOW_MS + 7,
        // The second of them was taken in before.
        entries: 1,
        dropped: None,
    };
    assert_eq!(parked(&store).await, std::slice::from_ref(&expect));
    store
        .park(two.id, "another", &crate::Line::in_order(&second.journal[2..3]), (NOW_MS + 1, NOW_MS + 1))
        .await
        .expect("it is parked");
    assert_eq!(parked(&store).await, [expect], "the first reason stays");

    first.hold(101, 1, 1);
    let mixed: Vec<Entry> = [&first.journal[..], &second.journal[1..5]].concat();
    let taken = take(&store, &mixed).await;
    assert_eq!(taken, TakenIn { applied: 2, skipped: 0, failed: 0, set_aside: 2 });
    assert_eq!(take(&store, &mixed).await, TakenIn { applied: 0, skipped: 2, failed: 0, set_aside: 0 });
    assert_eq!((counts(&store, one.id).await.orders, counts(&store, two.id).await.seq), (1, 2));

    store.note_failed_try(two.id, "still", NOW_MS + 9).await.expect("noted");
    let noted = &parked(&store).await[0];
    assert_eq!((&*noted.reason, noted.tries, noted.next_try_ms, noted.entries), ("still", 1, NOW_MS + 9, 3));

    // The snapshots include the entries that wait, so a ledger restored from them continues after those.
    let snapshots = store.snapshots().await.expect("snapshots");
    assert_eq!(snapshots, [first.ledger.snapshot(), orders(4).ledger.snapshot()]);

    let before = outbox(&store).await.len();
    assert_eq!(store.retry_parked(two.id, 2, NOW_MS).await.ok(), Some(Retried::More));
    assert_eq!(counts(&store, two.id).await.seq, 4);
    assert_eq!(outbox(&store).await.len(), before + 4, "a deadline and an event for each order");
    assert_eq!(take(&store, &second.journal[5..]).await.set_aside, 1, "it comes behind the one that waits");
    assert_eq!(store.retry_parked(two.id, 500, NOW_MS).await.ok(), Some(Retried::Done));
    assert_eq!((counts(&store, two.id).await.seq, counts(&store, two.id).await.orders), (6, 5));
    assert_eq!(parked(&store).await, []);
    assert_eq!(store.retry_parked(two.id, 500, NOW_MS).await.ok(), Some(Retried::NotParked));
    assert_eq!(store.snapshots().await.expect("snapshots")[1], second.ledger.snapshot());
}

async fn what_was_missing_comes_in_between<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let two = activity(2, 100);
    fixture.put_activity(&store, &two).await;
    let sale = five_orders();
    store.park(two.id, "a gap", &crate::Line::in_order(&sale.journal[3..4]), (NOW_MS, 0)).await.expect("it is parked");
    let gap = store.retry_parked(two.id, 500, NOW_MS).await;
    let gap = gap.map_err(Into::into);
    assert!(matches!(gap, Err(SaleError::Gap { last: 0, found: 4, .. })), "{gap:?}");
    assert_eq!(take(&store, &sale.journal[..2]).await.set_aside, 2);
    assert_eq!(store.retry_parked(two.id, 500, NOW_MS).await.ok(), Some(Retried::More));
    let gap = store.retry_parked(two.id, 500, NOW_MS).await;
    let gap = gap.map_err(Into::into);
    assert!(matches!(gap, Err(SaleError::Gap { last: 2, found: 4, .. })), "{gap:?}");
    assert_eq!(take(&store, &sale.journal).await.set_aside, 3, "2 are taken in, 1 waits already");
    assert_eq!(store.retry_parked(two.id, 4, NOW_MS).await.ok(), Some(Retried::Done));
    assert_eq!(store.snapshots().await.expect("snapshots"), [sale.ledger.snapshot()]);
}

/// A parked sale keeps any entry of the journal, and each retry refuses an invalid one without a panic.
async fn any_entry_can_be_kept<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let two = activity(2, 100);
    fixture.put_activity(&store, &two).await;
    let mut sale = five_orders();
    sale.apply(Command::Settle(order(201))).apply(Command::Release(order(202)));
    take(&store, &sale.journal).await;
    let (last, states) = (sale.journal[sale.journal.len() - 1], counts(&store, two.id).await);
    let next = Entry { seq: last.seq + 1, ..last };
    let held = sale.journal[1];
    let Event::Held(asked) = held.event else { unreachable!("the second entry is a hold") };
    let operation = OperationId::from_i64(1).expect("an id");
    let refused = [
        Entry { epoch: u64::MAX, ..next },
        Entry { at_ms: u64::MAX, event: held.event, ..next },
        Entry { event: sale.journal[0].event, ..next },
        Entry { event: held.event, ..next },
        Entry { event: Event::Held(Reservation { order: order(999), quantity: 0, ..asked }), ..next },
        Entry { event: Event::Settled { order: order(998), quantity: 1 }, ..next },
        Entry { event: Event::Released { order: order(203), quantity: u32::MAX }, ..next },
        Entry { event: Event::Restocked { operation, delta: i64::MIN }, ..next },
        Entry { event: Event::Restocked { operation, delta: i64::MAX }, ..next },
        Entry { seq: u64::MAX, ..last },
    ];
    for (at, entry) in refused.into_iter().enumerate() {
        let error: SaleError =
            store.take_in(&crate::Line::in_order(&[entry]), NOW_MS).await.expect_err("it can't be taken in").into();
        assert_eq!(error.outlook(), Outlook::WillNotPass, "{at}: {error}");
    }
    for entry in refused {
        store.park(two.id, "refused", &crate::Line::in_order(&[entry]), (NOW_MS, 0)).await.expect("it is kept");
        assert!(store.retry_parked(two.id, 1, NOW_MS).await.is_err(), "{entry:?}");
    }
    assert_eq!(parked(&store).await[0].entries, 10);
    assert_eq!(counts(&store, two.id).await, states);
    assert_eq!(store.snapshots().await.expect("snapshots"), [sale.ledger.snapshot()]);
    assert_eq!(store.mark_paid(order(203), NOW_MS).await.ok(), Some(PaidOutcome::Paid), "its orders go on");
}
