//! Work that one process at a time does.

use contract::{
    Activity, UserId,
    activity::{Admission, Entry, EntryRule},
    record::Record,
    stock::Term,
    topic,
};
use domain::{LeaseName, LeaseRow, LeaseStore as _, SaleStore as _, conformance::activity};
use foundation::{Clock as _, SystemClock};

use super::{Fixture, Place};
use crate::{AddedSale, NewSale, Store};

cases! {
    a_lease_moves_from_the_row_that_was_seen => moves,
    a_fence_without_the_lease_draws_no_term => draws,
    a_relay_without_the_lease_forgets_nothing => forgets,
    the_newest_rows_are_sent_once_more => repeats,
}

fn held_by(holder: i64, fencing_number: u64, renewals: u64) -> LeaseRow {
    LeaseRow { holder, fencing_number, renewals, late_writes: 0 }
}

async fn moves(place: &Place) {
    let store = place.open().await;
    for name in LeaseName::ALL {
        assert_eq!(store.lease(name).await.unwrap(), LeaseRow::default(), "{name:?} has a row from the beginning");
    }
    // Of many that see it free, one takes it.
    let mut running = tokio::task::JoinSet::new();
    for holder in 1..=8 {
        let store = store.clone();
        running.spawn(async move {
            store.move_lease(LeaseName::Fence, LeaseRow::default(), held_by(holder, 1, 0)).await.unwrap()
        });
    }
    assert_eq!(running.join_all().await.into_iter().filter(|is_moved| *is_moved).count(), 1);
    let now = store.lease(LeaseName::Fence).await.unwrap();
    assert_eq!(now.fencing_number, 1);
    let renewed = LeaseRow { renewals: 1, ..now };
    assert!(store.move_lease(LeaseName::Fence, now, renewed).await.unwrap());
    assert!(!store.move_lease(LeaseName::Fence, now, held_by(9, 2, 0)).await.unwrap(), "it was renewed meanwhile");
    assert_eq!(store.lease(LeaseName::Fence).await.unwrap(), renewed);
    assert_eq!(store.lease(LeaseName::Sweeper).await.unwrap(), LeaseRow::default());
}

async fn draws(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.sales().next_term(Term(0), None).await.unwrap(), Term(1));
    assert!(store.move_lease(LeaseName::Fence, LeaseRow::default(), held_by(1, 1, 0)).await.unwrap());
    assert_eq!(store.sales().next_term(Term(0), Some(1)).await.unwrap(), Term(2));
    assert!(store.move_lease(LeaseName::Fence, held_by(1, 1, 0), held_by(2, 2, 0)).await.unwrap());
    let refused = store.sales().next_term(Term(0), Some(1)).await.unwrap_err();
    assert!(refused.to_string().contains("has passed on"), "{refused}");
    assert_eq!(store.sales().next_term(Term(0), Some(2)).await.unwrap(), Term(3));
}

async fn sale(store: &Store) -> Activity {
    let like = activity(1, 100);
    let (sku, price, rules) = (like.sku, like.price, like.rules);
    let new = NewSale {
        title: "秒杀".to_owned(),
        sku,
        price,
        stock: 4,
        rules,
        admission: Admission::default(),
        pay_within_ms: None,
        is_draft: false,
    };
    let AddedSale::Added(sale) = store.sales().add_sale(new, 1).await.unwrap() else { panic!("not added") };
    sale.activity
}

/// The ids of rows of a topic that wait for the log, and their records.
async fn waiting<R: Record>(store: &Store, topic: &str) -> (Vec<i64>, Vec<R>) {
    let rows = store.outbox(1000).await.unwrap();
    let rows = rows.iter().filter(|row| row.topic == topic);
    rows.map(|row| (row.id, R::decode(&row.value).unwrap())).unzip()
}

async fn forgets(place: &Place) {
    let store = place.fresh().await;
    sale(&store).await;
    let (ids, _) = waiting::<Activity>(&store, topic::ACTIVITIES).await;
    assert!(store.move_lease(LeaseName::OutboxRelay, LeaseRow::default(), held_by(1, 1, 0)).await.unwrap());
    assert!(store.move_lease(LeaseName::OutboxRelay, held_by(1, 1, 0), held_by(2, 2, 0)).await.unwrap());
    assert!(!store.outbox_sent_by(&ids, 1).await.unwrap());
    assert_eq!(waiting::<Activity>(&store, topic::ACTIVITIES).await.0, ids, "nothing is forgotten");
    assert_eq!(store.lease(LeaseName::OutboxRelay).await.unwrap().late_writes, 1);
    assert!(store.outbox_sent_by(&ids, 2).await.unwrap());
    assert!(waiting::<Activity>(&store, topic::ACTIVITIES).await.0.is_empty());
}

async fn repeats(place: &Place) {
    let store = place.fresh().await;
    let before_ms = SystemClock.now_ms();
    let sale = sale(&store).await;
    let user = |id| UserId::from_i64(id).unwrap();
    store.sales().say_entry(sale.id, &[user(1), user(2)], Entry::Allowed).await.unwrap();
    store.sales().say_entry(sale.id, &[user(2)], Entry::Blocked).await.unwrap();
    store.sales().pause_sale(sale.id, true, 1).await.unwrap();
    store.outbox_sent(&store.outbox(1000).await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>()).await.unwrap();

    store.repeat_latest(SystemClock.now_ms() + 60_000).await.unwrap();
    assert_eq!(store.outbox(1000).await.unwrap(), [], "it was not changed since");
    store.repeat_latest(before_ms).await.unwrap();
    let (_, sales) = waiting::<Activity>(&store, topic::ACTIVITIES).await;
    assert_eq!(sales.iter().map(|sale| (sale.version, sale.admission.paused)).collect::<Vec<_>>(), [(2, true)]);
    let (_, rules) = waiting::<EntryRule>(&store, topic::ENTRY_RULES).await;
    let rule = |id, version, entry| EntryRule { activity: sale.id, user: user(id), version, entry };
    assert_eq!(rules, [rule(1, 1, Entry::Allowed), rule(2, 2, Entry::Blocked)]);
}
