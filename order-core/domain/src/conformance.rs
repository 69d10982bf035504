//! The suite that every [`SaleStore`] passes. It needs no runtime of its own.

mod histories;
mod parked;
mod terms;

use std::future::Future;

use contract::{
    Activity, ActivityId, Cents, OrderId, SkuId, UserId,
    activity::{Admission, Rules},
    record::{Action, LedgerCommand, OrderEvent, OrderEvents, OrderStatus, PaymentDeadline, Record},
    stock::{Command, Entry, Event, HoldState, Ledger, RequestKey, Reservation},
    topic,
};

pub use histories::histories;

use crate::{
    DatabaseCounts, HoldUnits, Line, OutboxRow, PaidOutcome, REPEAT_ROWS_MAX, SaleError, SaleStore, StatusUnits,
    TAKE_IN_MAX, TakenIn,
    order_state::{Fulfilment, OrderState},
};

/// How long orders wait for their payment in every store of the suite.
pub const PAY_WITHIN_MS: u64 = 60_000;

/// A backend under test.
pub trait Fixture {
    /// The backend.
    type Store: SaleStore;

    /// An empty database whose orders wait [`PAY_WITHIN_MS`].
    fn fresh(&self) -> impl Future<Output = Self::Store>;

    /// Writes an activity (and whatever it refers to).
    fn put_activity(&self, store: &Self::Store, activity: &Activity) -> impl Future<Output = ()>;
}

/// Runs every case but the random [`histories`].
///
/// # Panics
/// If the backend differs from what [`SaleStore`] says.
pub async fn suite<F: Fixture>(fixture: &F) {
    a_sale_becomes_orders(fixture).await;
    what_was_taken_in_changes_nothing(fixture).await;
    what_cannot_be_an_order_is_compensated(fixture).await;
    payment_and_deadline_race_for_one_row(fixture).await;
    what_was_decided_is_sent_again_until_the_mirror_has_it(fixture).await;
    the_outbox_forgets_only_what_was_sent(fixture).await;
    what_contradicts_itself_is_refused(fixture).await;
    parked::cases(fixture).await;
    terms::cases(fixture).await;
}

/// The time at which the suite's ledgers decide, epoch milliseconds.
pub const NOW_MS: u64 = 1_800_000_000_000;
const RULES: Rules = Rules { per_user_limit: 3, starts_at_ms: NOW_MS - 1000, ends_at_ms: NOW_MS + 1_000_000_000 };

/// The activity `id` as the suite has it: one SKU at `price_cents`.
pub fn activity(id: i64, price_cents: i64) -> Activity {
    Activity {
        id: ActivityId::from_i64(id).expect("an id"),
        version: 1,
        title: "限量 🎁".to_owned(),
        sku: SkuId::from_i64(7).expect("an id"),
        price: Cents::new(price_cents),
        original_price: Cents::new(price_cents),
        rules: RULES,
        admission: Admission::default(),
    }
}

fn order(id: i64) -> OrderId {
    OrderId::from_i64(id).expect("an id")
}

/// A ledger and its journal, as the log has it.
struct Sale {
    ledger: Ledger,
    journal: Vec<Entry>,
}

impl Sale {
    fn open(id: i64, stock: u64) -> Self {
        let (ledger, opened) = Ledger::open(ActivityId::from_i64(id).expect("an id"), stock, RULES, NOW_MS);
        Self { ledger, journal: vec![opened] }
    }

    fn hold(&mut self, order_id: i64, user: i64, quantity: u32) -> &mut Self {
        let user = UserId::from_i64(user).expect("an id");
        let request = (order_id % 2 == 0).then(|| RequestKey([u8::try_from(order_id % 251).unwrap_or(0); 16]));
        self.apply(Command::Reserve(Reservation { order: order(order_id), user, request, quantity }))
    }

    fn apply(&mut self, command: Command) -> &mut Self {
        self.ledger.apply(command, NOW_MS + 5, &mut self.journal);
        self
    }
}

async fn take<S: SaleStore>(store: &S, entries: &[Entry]) -> TakenIn {
    store.take_in(&Line::in_order(entries), NOW_MS + 9).await.expect("entries are taken in")
}

async fn counts<S: SaleStore>(store: &S, activity: ActivityId) -> DatabaseCounts {
    store.audit_counts(activity).await.expect("counts").expect("the ledger is mirrored")
}

async fn outbox<S: SaleStore>(store: &S) -> Vec<OutboxRow> {
    store.outbox(10_000).await.expect("the outbox")
}

fn order_events(rows: &[OutboxRow]) -> Vec<OrderEvent> {
    of_topic(rows, topic::ORDER_EVENTS).into_iter().flat_map(OrderEvents::into_vec).collect()
}

fn of_topic<R: Record>(rows: &[OutboxRow], topic: &str) -> Vec<R> {
    let read = |row: &OutboxRow| R::decode(&row.value).expect("a record of its topic");
    rows.iter().filter(|row| row.topic == topic).map(read).collect()
}

async fn a_sale_becomes_orders<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let activity = activity(1, 1999);
    fixture.put_activity(&store, &activity).await;
    assert!(store.audit_counts(activity.id).await.expect("counts").is_none());
    let mut sale = Sale::open(1, 10);
    sale.hold(101, 1, 2).hold(102, 2, 3);

    let taken = take(&store, &sale.journal).await;
    assert_eq!(taken, TakenIn { applied: 3, skipped: 0, failed: 0, set_aside: 0 });
    let expect = DatabaseCounts {
        epoch: 1,
        seq: 3,
        total: 10,
        stock_left: 5,
        by_status: StatusUnits { pending_payment: 5, ..StatusUnits::default() },
        by_hold: HoldUnits { held: 5, ..HoldUnits::default() },
        orders: 2,
    };
    assert_eq!(counts(&store, activity.id).await, expect);

    let rows = outbox(&store).await;
    let deadlines: Vec<PaymentDeadline> = of_topic(&rows, &topic::timeouts(PAY_WITHIN_MS).name);
    let due_at_ms = NOW_MS + 5 + PAY_WITHIN_MS;
    assert_eq!(deadlines, [101, 102].map(|id| PaymentDeadline { order: order(id), due_at_ms }));
    let events = order_events(&rows);
    assert_eq!(events.iter().map(|event| event.status).collect::<Vec<_>>(), [OrderStatus::Created; 2]);
    assert_eq!(rows.len(), 4);
    assert!(rows.is_sorted_by_key(|row| row.id), "the oldest comes first");
}

async fn what_was_taken_in_changes_nothing<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let (one, two) = (activity(1, 100), activity(2, 250));
    fixture.put_activity(&store, &one).await;
    fixture.put_activity(&store, &two).await;
    let (mut first, mut second) = (Sale::open(1, 4), Sale::open(2, 4));
    first.hold(101, 1, 1).hold(102, 2, 2).apply(Command::Settle(order(101))).apply(Command::Release(order(102)));
    second.hold(201, 1, 1);
    let mut mixed: Vec<Entry> = Vec::new();
    for at in 0..first.journal.len() {
        mixed.extend(first.journal.get(at));
        mixed.extend(second.journal.get(at));
    }
    take(&store, &mixed).await;
    let before = (counts(&store, one.id).await, counts(&store, two.id).await, outbox(&store).await);
    assert_eq!(before.0.by_hold, HoldUnits { held: 0, sold: 1, released: 2 });
    assert_eq!((before.0.stock_left, before.0.epoch), (3, 2));

    let taken = take(&store, &mixed).await;
    assert_eq!(taken, TakenIn { applied: 0, skipped: mixed.len(), failed: 0, set_aside: 0 });
    assert_eq!((counts(&store, one.id).await, counts(&store, two.id).await, outbox(&store).await), before);

    second.hold(202, 2, 1).hold(203, 3, 1);
    let gap = store.take_in(&Line::in_order(&second.journal[3..]), NOW_MS).await;
    let gap = gap.map_err(Into::into);
    assert!(matches!(gap, Err(SaleError::Gap { last: 2, found: 4, .. })), "{gap:?}");
    let half = [mixed[0], second.journal[3]];
    assert!(store.take_in(&Line::in_order(&half), NOW_MS).await.is_err());
    assert_eq!((counts(&store, one.id).await, counts(&store, two.id).await, outbox(&store).await), before);
    assert_eq!(take(&store, &second.journal).await, TakenIn { applied: 2, skipped: 2, failed: 0, set_aside: 0 });
}

async fn what_cannot_be_an_order_is_compensated<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    fixture.put_activity(&store, &activity(2, i64::MAX)).await;
    fixture.put_activity(&store, &activity(3, 100)).await;
    let failed_alike = async |sale: &mut Sale, failed: i64, stock_left: u64| {
        let taken = take(&store, &sale.journal).await;
        assert_eq!(taken.failed, 1);
        let rows = outbox(&store).await;
        let activity = sale.ledger.activity();
        let releases: Vec<LedgerCommand> = of_topic(&rows, topic::COMMANDS);
        assert_eq!(releases.last(), Some(&LedgerCommand { activity, action: Action::Release(order(failed)) }));
        let events = order_events(&rows);
        assert_eq!(events.last().map(|event| (event.order, event.status)), Some((order(failed), OrderStatus::Failed)));
        let before = counts(&store, activity).await;
        assert!(before.by_status.failed > 0 && before.by_status.missing == 0);
        assert_eq!(store.mark_paid(order(failed), NOW_MS).await.ok(), Some(PaidOutcome::Refused(OrderState::Failed)));
        assert_eq!(store.close_unpaid(&[order(failed)], u64::MAX >> 1).await.ok(), Some(0));

        sale.apply(Command::Release(order(failed)));
        take(&store, &sale.journal).await;
        let after = counts(&store, activity).await;
        assert_eq!((after.stock_left, after.by_status), (stock_left, before.by_status));
    };
    failed_alike(Sale::open(1, 5).hold(101, 1, 2), 101, 5).await;
    failed_alike(Sale::open(2, 5).hold(201, 1, 2), 201, 5).await;

    // A ledger that sold more than it had: the mirror does not follow it below zero.
    let mut oversold = Sale::open(3, 9);
    oversold.hold(301, 1, 2).hold(302, 2, 1);
    if let Event::Opened { stock, .. } = &mut oversold.journal[0].event {
        *stock = 2;
    }
    failed_alike(&mut oversold, 302, 0).await;
}

async fn payment_and_deadline_race_for_one_row<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let activity = activity(1, 100);
    fixture.put_activity(&store, &activity).await;
    let mut sale = Sale::open(1, 5);
    sale.hold(101, 1, 1).hold(102, 2, 1).hold(103, 3, 1);
    take(&store, &sale.journal).await;
    let due = NOW_MS + 5 + PAY_WITHIN_MS;
    let all = [order(101), order(102), order(103), order(999)];

    assert_eq!(store.close_unpaid(&all, due - 1).await.ok(), Some(0));
    assert_eq!(store.mark_paid(order(101), due).await.ok(), Some(PaidOutcome::Paid));
    let again = PaidOutcome::Refused(OrderState::Bought(Fulfilment::Paid));
    assert_eq!(store.mark_paid(order(101), due).await.ok(), Some(again));
    assert_eq!(store.mark_paid(order(999), due).await.ok(), Some(PaidOutcome::UnknownOrder));
    assert_eq!(store.close_unpaid(&all, due).await.ok(), Some(2));
    assert_eq!(store.close_unpaid(&all, due).await.ok(), Some(0));
    assert_eq!(store.mark_paid(order(102), due).await.ok(), Some(PaidOutcome::Refused(OrderState::Closed)));

    let rows = outbox(&store).await;
    let commands: Vec<Action> = of_topic(&rows, topic::COMMANDS).iter().map(|it: &LedgerCommand| it.action).collect();
    assert_eq!(commands.len(), 3);
    assert!(commands.contains(&Action::Settle(order(101))));
    assert!(commands.contains(&Action::Release(order(102))) && commands.contains(&Action::Release(order(103))));
    let by_status = counts(&store, activity.id).await.by_status;
    assert_eq!(by_status, StatusUnits { paid: 1, closed: 2, ..StatusUnits::default() });
    for action in commands {
        sale.apply(action.into());
    }
    take(&store, &sale.journal).await;
    let after = counts(&store, activity.id).await;
    assert_eq!((after.by_hold, after.stock_left), (HoldUnits { held: 0, sold: 1, released: 2 }, 4));
}

async fn what_was_decided_is_sent_again_until_the_mirror_has_it<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let activity = activity(1, 100);
    fixture.put_activity(&store, &activity).await;
    assert_eq!(store.repeat_commands(None).await.ok(), Some(None));
    let many = i64::try_from(REPEAT_ROWS_MAX).unwrap_or(i64::MAX) + 1;
    let (mut sale, mut lost) = (Sale::open(1, 5_000), Sale::open(2, 9));
    // Odd ids have no request key.
    let odd = |at: i64| order(2 * at + 1);
    for at in 1..=many {
        sale.hold(2 * at + 1, at, 1);
    }
    lost.hold(2 * many + 3, 1, 1);
    for entries in sale.journal.chunks(TAKE_IN_MAX).chain([&lost.journal[..]]) {
        take(&store, entries).await;
    }
    let (paid, settled, closed) = (odd(2), odd(3), odd(many));
    for order in [paid, settled] {
        assert_eq!(store.mark_paid(order, NOW_MS).await.ok(), Some(PaidOutcome::Paid));
    }
    let due_ms = NOW_MS + 5 + PAY_WITHIN_MS;
    assert_eq!(store.close_unpaid(&[closed], due_ms).await.ok(), Some(1));
    let known = sale.journal.len();
    take(&store, &sale.apply(Command::Settle(settled)).journal[known..]).await;
    let sent = async || -> Vec<Action> {
        let mut commands: Vec<LedgerCommand> = Vec::new();
        loop {
            let rows = outbox(&store).await;
            if rows.is_empty() {
                return commands.iter().map(|command| command.action).collect();
            }
            store.outbox_sent(&rows.iter().map(|row| row.id).collect::<Vec<_>>()).await.expect("forgotten");
            commands.extend(of_topic::<LedgerCommand>(&rows, topic::COMMANDS));
        }
    };
    assert_eq!(sent().await.len(), 4);

    let first = store.repeat_commands(None).await.expect("a page");
    assert_eq!(first, Some(odd(many - 1)));
    assert_eq!(sent().await, [Action::Settle(paid)]);
    assert_eq!(store.repeat_commands(first).await.expect("a page"), Some(odd(many + 1)));
    // The sale that nobody knows had its order failed.
    assert_eq!(sent().await, [Action::Release(closed), Action::Release(odd(many + 1))]);
    assert_eq!(store.repeat_commands(Some(odd(many + 1))).await.expect("no page"), None);
    assert_eq!(sent().await, []);
}

async fn the_outbox_forgets_only_what_was_sent<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    fixture.put_activity(&store, &activity(1, 100)).await;
    let mut sale = Sale::open(1, 5);
    sale.hold(101, 1, 1).hold(102, 2, 1);
    take(&store, &sale.journal).await;
    store.outbox_filled().await;
    let rows = outbox(&store).await;
    assert_eq!(store.outbox(3).await.expect("the outbox"), rows[..3]);
    let sent: Vec<i64> = rows[..2].iter().map(|row| row.id).collect();
    store.outbox_sent(&sent).await.expect("forgotten");
    store.outbox_sent(&sent).await.expect("forgotten");
    assert_eq!(outbox(&store).await, rows[2..]);
    store.outbox_sent(&[]).await.expect("nothing is forgotten");
}

async fn what_contradicts_itself_is_refused<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    let activity = activity(1, 100);
    fixture.put_activity(&store, &activity).await;
    let mut sale = Sale::open(1, 5);
    sale.hold(101, 1, 1);
    take(&store, &sale.journal).await;
    let before = counts(&store, activity.id).await;
    let held = sale.journal[1].event;
    let contradictions = [
        held,
        sale.journal[0].event,
        Event::Settled { order: order(999), quantity: 1 },
        Event::Released { order: order(101), quantity: 2 },
    ];
    for event in contradictions {
        let entry = Entry { seq: 3, event, ..sale.journal[1] };
        assert!(store.take_in(&Line::in_order(&[entry]), NOW_MS).await.is_err(), "{event:?}");
    }
    assert_eq!(counts(&store, activity.id).await, before);
    assert_eq!(store.snapshots().await.expect("snapshots")[0].holds[0].state, HoldState::Held);
}
