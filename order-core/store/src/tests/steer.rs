//! What an admin does to a sale that runs.

use contract::{
    ActivityId, OperationId, UserId,
    activity::{Admission, Entry, EntryRule},
    ledger::{Command, Ledger, Outcome},
    record::{Action, LedgerCommand, Record},
    topic,
};

use super::{Fixture, Place};
use crate::{AddedSale, NewSale, Page, Restocked, SaleStore, Steered, Store, conformance::activity};

cases! {
    a_pause_is_told_once => pauses,
    an_end_before_the_ledger_gives_everything_back => ends,
    units_move_between_sku_and_ledger_and_none_is_lost => restocks,
    the_last_word_on_a_user_counts => lists,
}

const NOW_MS: u64 = crate::conformance::NOW_MS;

/// A sale of 40 of the SKU's 100 units, with its ledger where that is open.
async fn sale(store: &Store, open: bool) -> (ActivityId, Option<Ledger>) {
    let like = activity(1, 100);
    let (sku, price, terms) = (like.sku, like.price, like.terms);
    let new = NewSale { title: "秒杀".to_owned(), sku, price, stock: 40, terms, admission: Admission::default() };
    let AddedSale::Added(sale) = store.add_sale(new, NOW_MS).await.unwrap() else { panic!("not added") };
    let id = sale.activity.id;
    if !open {
        return (id, None);
    }
    let (ledger, opened) = Ledger::open(id, 40, terms, NOW_MS);
    store.take_in(&[opened], NOW_MS).await.unwrap();
    (id, Some(ledger))
}

async fn units(store: &Store, id: ActivityId) -> (u64, u64) {
    let sku = store.sku(activity(1, 100).sku).await.unwrap().unwrap().stock;
    (sku, store.sale(id).await.unwrap().unwrap().stock)
}

/// The records of one topic that wait for the log.
async fn told<R: Record>(store: &Store, topic: &str) -> Vec<R> {
    let rows = store.outbox(1000).await.unwrap();
    rows.iter().filter(|row| row.topic == topic).map(|row| R::decode(&row.value).unwrap()).collect()
}

async fn pauses(place: &Place) {
    let store = place.fresh().await;
    let (id, _) = sale(&store, true).await;
    for (paused, version) in [(true, 2), (true, 2), (false, 3)] {
        let Steered::Done(sale) = store.pause_sale(id, paused, NOW_MS).await.unwrap() else { panic!("not done") };
        assert_eq!((sale.activity.admission.paused, sale.activity.version), (paused, version));
    }
    let told = told::<contract::Activity>(&store, topic::ACTIVITIES).await;
    assert_eq!(told.iter().map(|it| it.admission.paused).collect::<Vec<_>>(), [false, true, false]);
    let end = activity(1, 100).terms.ends_at_ms;
    assert_eq!(store.pause_sale(id, true, end).await.unwrap(), Steered::Over);
    let unknown = ActivityId::from_i64(77).unwrap();
    assert_eq!(store.pause_sale(unknown, true, NOW_MS).await.unwrap(), Steered::Unknown);
}

async fn ends(place: &Place) {
    let store = place.fresh().await;
    for open in [false, true] {
        let (id, _) = sale(&store, open).await;
        let before = units(&store, id).await;
        for _ in 0..2 {
            let Steered::Done(sale) = store.end_sale(id, NOW_MS).await.unwrap() else { panic!("not done") };
            assert_eq!((sale.activity.terms.ends_at_ms, sale.activity.version), (NOW_MS, 2));
        }
        let after = if open { before } else { (before.0 + 40, 0) };
        assert_eq!(units(&store, id).await, after, "open: {open}");
        let operation = OperationId::from_i64(9).unwrap();
        assert_eq!(store.restock_sale(id, operation, 1, NOW_MS).await.unwrap(), Restocked::Over);
        assert_eq!(store.sales_to_clear(NOW_MS + 1).await.unwrap(), if open { vec![id] } else { vec![] });
    }
}

async fn restocks(place: &Place) {
    let store = place.fresh().await;
    let (id, Some(mut ledger)) = sale(&store, true).await else { panic!("it was to be open") };
    let operation = |id| OperationId::from_i64(id).unwrap();
    for _ in 0..2 {
        assert_eq!(store.restock_sale(id, operation(1), 60, NOW_MS).await.unwrap(), Restocked::Sent);
        assert_eq!(units(&store, id).await, (0, 100), "asked twice, moved once");
    }
    assert_eq!(store.restock_sale(id, operation(2), 1, NOW_MS).await.unwrap(), Restocked::InsufficientStock(0));
    let commands = told::<LedgerCommand>(&store, topic::COMMANDS).await;
    let command = LedgerCommand { activity: id, action: Action::Restock { operation: operation(1), delta: 60 } };
    assert_eq!(commands, [command]);

    let mut journal = Vec::new();
    for (number, delta) in [(1, 60), (3, -70), (3, -70)] {
        let command = Command::Restock { operation: operation(number), delta };
        assert_eq!(ledger.apply(command, NOW_MS, &mut journal), Outcome::Done);
    }
    assert!(!store.is_restocked(id, operation(1)).await.unwrap());
    for _ in 0..2 {
        store.take_in(&journal, NOW_MS).await.unwrap();
        assert_eq!(units(&store, id).await, (70, 30), "taken in twice, given back once");
    }
    assert!(store.is_restocked(id, operation(1)).await.unwrap());
    let counts = store.audit_counts(id).await.unwrap().unwrap();
    assert_eq!((counts.total, counts.stock_left), (30, 30));
}

async fn lists(place: &Place) {
    let store = place.fresh().await;
    let (id, _) = sale(&store, false).await;
    let users: Vec<UserId> = (1..=3).map(|id| UserId::from_i64(id).unwrap()).collect();
    for (users, entry) in [
        (&users[..], Entry::Allowed),
        (&users[1..2], Entry::Blocked),
        (&users[1..2], Entry::Blocked),
        (&users[..1], Entry::Unlisted),
    ] {
        assert!(store.say_entry(id, users, entry).await.unwrap());
    }
    let page = Page { before: i64::MAX, limit: 10 };
    for (entry, expect) in
        [(Entry::Allowed, &users[2..]), (Entry::Blocked, &users[1..2]), (Entry::Unlisted, &users[..1])]
    {
        assert_eq!(store.entry_list(id, entry, page).await.unwrap().items, expect);
    }
    let told = told::<EntryRule>(&store, topic::ENTRY_RULES).await;
    let of_second = told.iter().filter(|rule| rule.user == users[1]).map(|rule| (rule.version, rule.entry));
    assert_eq!(of_second.collect::<Vec<_>>(), [(1, Entry::Allowed), (2, Entry::Blocked)]);
    assert_eq!(told.len(), 5);
    assert!(!store.say_entry(ActivityId::from_i64(77).unwrap(), &users, Entry::Allowed).await.unwrap());
}
