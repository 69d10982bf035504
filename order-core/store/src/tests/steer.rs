//! What an admin does to a sale that runs.

use contract::{
    ActivityId, OperationId, UserId,
    activity::{Admission, Entry, EntryRule},
    record::{Action, LedgerCommand, Record},
    stock::{Command, Ledger, Outcome},
    topic,
};

use super::{Fixture, Place};
use crate::{AddedSale, Changed, NewSale, Opening, Page, Restocked, SalePatch, Steered, Store};
use domain::{SaleStore, conformance::activity};

cases! {
    a_pause_is_told_once => pauses,
    an_end_before_the_ledger_gives_everything_back => ends,
    an_end_while_the_ledger_opens_leaves_the_units_to_the_ledger => ends_while_opening,
    an_end_and_an_opening_at_once_agree_on_whose_the_units_are => races,
    a_sale_that_was_never_opened_gives_its_units_back => never_opened,
    units_move_between_sku_and_ledger_and_none_is_lost => restocks,
    the_last_word_on_a_user_counts => lists,
    a_draft_is_known_to_admins_alone => drafts,
}

const NOW_MS: u64 = domain::conformance::NOW_MS;

/// A sale of 40 of the SKU's 100 units, with its ledger where that is open.
async fn sale(store: &Store, open: bool) -> (ActivityId, Option<Ledger>) {
    let like = activity(1, 100);
    let (sku, price, rules) = (like.sku, like.price, like.rules);
    let new = NewSale {
        title: "秒杀".to_owned(),
        sku,
        price,
        stock: 40,
        rules,
        admission: Admission::default(),
        pay_within_ms: None,
        is_draft: false,
    };
    let AddedSale::Added(sale) = store.sales().add_sale(new, NOW_MS).await.unwrap() else { panic!("not added") };
    let id = sale.activity.id;
    if !open {
        return (id, None);
    }
    let (ledger, opened) = Ledger::open(id, 40, rules, NOW_MS);
    store.take_in(&domain::Line::in_order(&[opened]), NOW_MS).await.unwrap();
    (id, Some(ledger))
}

async fn units(store: &Store, id: ActivityId) -> (u64, u64) {
    let sku = store.catalogue().sku(activity(1, 100).sku).await.unwrap().unwrap().stock;
    (sku, store.sales().sale(id).await.unwrap().unwrap().stock)
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
        let Steered::Done(sale) = store.sales().pause_sale(id, paused, NOW_MS).await.unwrap() else {
            panic!("not done")
        };
        assert_eq!((sale.activity.admission.paused, sale.activity.version), (paused, version));
    }
    let told = told::<contract::Activity>(&store, topic::ACTIVITIES).await;
    assert_eq!(told.iter().map(|it| it.admission.paused).collect::<Vec<_>>(), [false, true, false]);
    let end = activity(1, 100).rules.ends_at_ms;
    assert_eq!(store.sales().pause_sale(id, true, end).await.unwrap(), Steered::Over);
    let unknown = ActivityId::from_i64(77).unwrap();
    assert_eq!(store.sales().pause_sale(unknown, true, NOW_MS).await.unwrap(), Steered::Unknown);
}

async fn ends(place: &Place) {
    let store = place.fresh().await;
    for open in [false, true] {
        let (id, _) = sale(&store, open).await;
        let before = units(&store, id).await;
        for _ in 0..2 {
            let Steered::Done(sale) = store.sales().end_sale(id, NOW_MS).await.unwrap() else { panic!("not done") };
            assert_eq!((sale.activity.rules.ends_at_ms, sale.activity.version), (NOW_MS, 2));
        }
        let after = if open { before } else { (before.0 + 40, 0) };
        assert_eq!(units(&store, id).await, after, "open: {open}");
        let operation = OperationId::from_i64(9).unwrap();
        assert_eq!(store.sales().restock_sale(id, operation, 1, NOW_MS).await.unwrap(), Restocked::Over);
        assert_eq!(store.sales().sales_to_clear(NOW_MS + 1).await.unwrap(), if open { vec![id] } else { vec![] });
    }
}

async fn ends_while_opening(place: &Place) {
    let store = place.fresh().await;
    let (id, _) = sale(&store, false).await;
    let Opening::Open(decided) = store.sales().decide_opening(id, NOW_MS).await.unwrap() else {
        panic!("it is not over")
    };
    assert!(decided.opening && !decided.ledger_open);
    let patch = SalePatch { stock: Some(10), ..SalePatch::default() };
    assert_eq!(store.sales().patch_sale(id, 1, patch, 0).await.unwrap(), Changed::TooLate);
    assert_eq!(store.sales().sales_to_open(NOW_MS, 0).await.unwrap(), [id], "until the journal has the opening");

    let Steered::Done(ended) = store.sales().end_sale(id, NOW_MS + 5).await.unwrap() else { panic!("not done") };
    assert_eq!((ended.stock, ended.activity.rules.ends_at_ms), (40, NOW_MS + 5));
    assert_eq!(units(&store, id).await, (60, 40), "the units are the ledger's");
    let end = LedgerCommand { activity: id, action: Action::End { ends_at_ms: NOW_MS + 5 } };
    assert_eq!(told::<LedgerCommand>(&store, topic::COMMANDS).await, [end]);

    let (mut ledger, opened) = Ledger::open(id, decided.stock, decided.activity.rules, NOW_MS);
    let mut journal = vec![opened];
    let operation = OperationId::from_i64(9).unwrap();
    for command in [end.action.into(), Command::Restock { operation, delta: -40 }] {
        assert_eq!(ledger.apply(command, NOW_MS + 9, &mut journal), Outcome::Done);
    }
    for entry in &journal {
        store.take_in(&domain::Line::in_order(&[*entry]), NOW_MS + 9).await.unwrap();
    }
    assert_eq!(units(&store, id).await, (100, 0));
    assert_eq!(store.snapshots().await.unwrap(), [ledger.snapshot()], "the mirror has the earlier end");
    let Opening::Opened(_) = store.sales().decide_opening(id, NOW_MS).await.unwrap() else { panic!("it was opened") };
}

async fn races(place: &Place) {
    let store = place.fresh().await;
    for round in 0..40 {
        let (id, _) = sale(&store, false).await;
        let (opening, ended) =
            tokio::join!(store.sales().decide_opening(id, NOW_MS), store.sales().end_sale(id, NOW_MS));
        ended.unwrap();
        let after = match opening.unwrap() {
            Opening::Open(sale) => {
                assert_eq!(sale.stock, 40, "round {round}");
                (60, 40)
            }
            Opening::Over => (100, 0),
            other @ (Opening::Opened(_) | Opening::Unknown | Opening::Draft) => panic!("{other:?}"),
        };
        assert_eq!(units(&store, id).await, after, "round {round}");
        if after.1 > 0 {
            let (mut ledger, opened) = Ledger::open(id, 40, activity(1, 100).rules, NOW_MS);
            let mut journal = vec![opened];
            let operation = OperationId::from_i64(1).unwrap();
            ledger.apply(Command::Restock { operation, delta: -40 }, NOW_MS, &mut journal);
            store.take_in(&domain::Line::in_order(&journal), NOW_MS).await.unwrap();
        }
        assert_eq!(units(&store, id).await, (100, 0), "round {round}");
    }
}

async fn never_opened(place: &Place) {
    let store = place.fresh().await;
    let (id, _) = sale(&store, false).await;
    let over_ms = activity(1, 100).rules.ends_at_ms;
    assert_eq!(store.sales().sales_to_open(over_ms, 0).await.unwrap(), [id]);
    for _ in 0..2 {
        assert_eq!(store.sales().decide_opening(id, over_ms).await.unwrap(), Opening::Over);
        assert_eq!(units(&store, id).await, (100, 0), "given back once");
    }
    assert_eq!(store.sales().sales_to_open(over_ms, 0).await.unwrap(), []);
    let unknown = ActivityId::from_i64(77).unwrap();
    assert_eq!(store.sales().decide_opening(unknown, NOW_MS).await.unwrap(), Opening::Unknown);
}

async fn restocks(place: &Place) {
    let store = place.fresh().await;
    let (id, Some(mut ledger)) = sale(&store, true).await else { panic!("it was to be open") };
    let operation = |id| OperationId::from_i64(id).unwrap();
    for _ in 0..2 {
        assert_eq!(store.sales().restock_sale(id, operation(1), 60, NOW_MS).await.unwrap(), Restocked::Sent);
        assert_eq!(units(&store, id).await, (0, 100), "asked twice, moved once");
    }
    assert_eq!(store.sales().restock_sale(id, operation(2), 1, NOW_MS).await.unwrap(), Restocked::InsufficientStock(0));
    let commands = told::<LedgerCommand>(&store, topic::COMMANDS).await;
    let command = LedgerCommand { activity: id, action: Action::Restock { operation: operation(1), delta: 60 } };
    assert_eq!(commands, [command]);

    let mut journal = Vec::new();
    for (number, delta) in [(1, 60), (3, -70), (3, -70)] {
        let command = Command::Restock { operation: operation(number), delta };
        assert_eq!(ledger.apply(command, NOW_MS, &mut journal), Outcome::Done);
    }
    assert!(!store.sales().is_restocked(id, operation(1)).await.unwrap());
    for _ in 0..2 {
        store.take_in(&domain::Line::in_order(&journal), NOW_MS).await.unwrap();
        assert_eq!(units(&store, id).await, (70, 30), "taken in twice, given back once");
    }
    assert!(store.sales().is_restocked(id, operation(1)).await.unwrap());
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
        assert!(store.sales().say_entry(id, users, entry).await.unwrap());
    }
    let page = Page { before: i64::MAX, limit: 10 };
    for (entry, expect) in
        [(Entry::Allowed, &users[2..]), (Entry::Blocked, &users[1..2]), (Entry::Unlisted, &users[..1])]
    {
        assert_eq!(store.sales().entry_list(id, entry, page).await.unwrap().items, expect);
    }
    let told = told::<EntryRule>(&store, topic::ENTRY_RULES).await;
    let of_second = told.iter().filter(|rule| rule.user == users[1]).map(|rule| (rule.version, rule.entry));
    assert_eq!(of_second.collect::<Vec<_>>(), [(1, Entry::Allowed), (2, Entry::Blocked)]);
    assert_eq!(told.len(), 5);
    assert!(!store.sales().say_entry(ActivityId::from_i64(77).unwrap(), &users, Entry::Allowed).await.unwrap());
}

async fn drafts(place: &Place) {
    let store = place.fresh().await;
    let like = activity(1, 100);
    let (sku, price, rules, admission) = (like.sku, like.price, like.rules, Admission::default());
    let new = |stock| NewSale {
        title: "秒杀".to_owned(),
        sku,
        price,
        stock,
        rules,
        admission,
        pay_within_ms: None,
        is_draft: true,
    };
    let AddedSale::Added(draft) = store.sales().add_sale(new(40), NOW_MS).await.unwrap() else { panic!("not added") };
    let id = draft.activity.id;
    let announced = async || {
        let told = told::<contract::Activity>(&store, topic::ACTIVITIES).await;
        told.iter().map(|activity| (activity.id, activity.version)).collect::<Vec<_>>()
    };
    let patch = async |version, patch| store.sales().patch_sale(id, version, patch, u64::MAX).await.unwrap();
    let running = async || {
        let page = Page { before: i64::MAX, limit: 10 };
        let found = store.sales().find_sales(Some(crate::SalePhase::Running), NOW_MS, page).await.unwrap();
        found.items.iter().map(|sale| sale.activity.id).collect::<Vec<_>>()
    };
    assert_eq!(running().await, []);
    assert_eq!(units(&store, id).await, (60, 40));
    assert_eq!(store.sales().decide_opening(id, NOW_MS).await.unwrap(), Opening::Draft);
    assert_eq!(store.sales().sales_to_open(NOW_MS, 0).await.unwrap(), []);
    assert_eq!(store.sales().running_sales_of(contract::ProductId::from_i64(1).unwrap(), NOW_MS).await.unwrap(), []);
    let Changed::Done(_) = patch(1, SalePatch { stock: Some(30), ..SalePatch::default() }).await else { panic!() };
    let Steered::Done(_) = store.sales().pause_sale(id, true, NOW_MS).await.unwrap() else { panic!("not paused") };
    let Steered::Done(_) = store.sales().pause_sale(id, false, NOW_MS).await.unwrap() else { panic!("not resumed") };
    domain::LeaseStore::repeat_latest(&store, 0).await.unwrap();
    assert_eq!(announced().await, []);

    let publish = || SalePatch { is_draft: Some(false), ..SalePatch::default() };
    let Changed::Done(sale) = patch(4, publish()).await else { panic!("not published") };
    assert_eq!((sale.is_draft, sale.activity.version, sale.stock), (false, 5, 30));
    assert_eq!(announced().await, [(id, 5)]);
    assert_eq!(running().await, [id]);
    assert_eq!(store.sales().sales_to_open(NOW_MS, 0).await.unwrap(), [id]);
    let back = SalePatch { is_draft: Some(true), ..SalePatch::default() };
    assert_eq!(store.sales().patch_sale(id, 5, back, 0).await.unwrap(), Changed::Invalid("draft"));

    // A draft whose end passes gives its units back, and is published only with units.
    let AddedSale::Added(late) = store.sales().add_sale(new(20), NOW_MS).await.unwrap() else { panic!("not added") };
    let over_ms = rules.ends_at_ms;
    assert!(store.sales().sales_to_open(over_ms, 0).await.unwrap().contains(&late.activity.id));
    assert_eq!(store.sales().decide_opening(late.activity.id, over_ms).await.unwrap(), Opening::Over);
    assert_eq!(units(&store, late.activity.id).await, (70, 0));
    let published = store.sales().patch_sale(late.activity.id, 1, publish(), 0).await.unwrap();
    assert_eq!(published, Changed::Invalid("stock"));
    let again = SalePatch { stock: Some(5), ends_at_ms: Some(over_ms + 1000), ..publish() };
    let Changed::Done(_) = store.sales().patch_sale(late.activity.id, 1, again, 0).await.unwrap() else {
        panic!("refused")
    };
    assert_eq!(units(&store, late.activity.id).await, (65, 5));
}
