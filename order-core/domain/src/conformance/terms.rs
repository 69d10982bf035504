//! Cases of a ledger that gets a new term: which entries count, and how promises that don't count fail.

use contract::{
    ActivityId,
    record::{Action, LedgerCommand, OrderStatus},
    stock::{Command, Entry, Event, FailedReason, Reservation, Term},
    topic,
};

use super::{Fixture, NOW_MS, Sale, activity, counts, of_topic, order, outbox, take};
use crate::{HoldUnits, Line, Retried, SaleStore, TakenIn, order_state::OrderState};

pub(super) async fn cases<F: Fixture>(fixture: &F) {
    what_comes_behind_a_start_waits_for_the_opening(fixture).await;
    a_promise_fails_once(fixture).await;
    an_order_that_failed_and_is_held_again_gives_its_units_back(fixture).await;
    a_parked_sale_keeps_the_order_of_the_journal(fixture).await;
}

/// A sale whose journal was lost in part: two entries that count, the start of term 5, and two more of the old term.
struct Lost {
    sale: Sale,
    /// The journal up to and with the two late entries.
    journal: Vec<Entry>,
    late: [Reservation; 2],
}

impl Lost {
    fn new(id: i64) -> Self {
        let mut sale = Sale::open(id, 5);
        sale.hold(100 * id + 1, 1, 1);
        let mut old = Sale { ledger: sale.ledger.clone(), journal: sale.journal.clone() };
        old.hold(100 * id + 2, 2, 1).hold(100 * id + 3, 3, 1);
        let mut journal = sale.journal.clone();
        sale.ledger.start_term(Term(5));
        journal.push(Self::mark(&sale, Event::TermStarted { nonce: 1 }));
        journal.extend(&old.journal[2..]);
        sale.journal.clear();
        let late = [3, 4].map(|at: usize| {
            let Event::Held(reservation) = journal[at].event else { unreachable!("it is a hold") };
            reservation
        });
        Self { sale, journal, late }
    }

    fn mark(sale: &Sale, event: Event) -> Entry {
        let counters = sale.ledger.counters();
        let seq = if matches!(event, Event::TermStarted { .. }) { 0 } else { counters.seq };
        let (activity, term, epoch) = (sale.ledger.activity(), counters.term, counters.epoch);
        Entry { activity, term, epoch, seq, at_ms: NOW_MS + 6, event }
    }

    /// The recovery adopts one of the late reservations.
    fn keep(&mut self, late: usize) -> &mut Self {
        self.sale.ledger.adopt(self.late[late], NOW_MS + 5, &mut self.sale.journal).expect("there are units");
        self
    }

    fn open(&mut self) -> &mut Self {
        self.sale.journal.push(Self::mark(&self.sale, Event::TermOpened(self.sale.ledger.term_counts())));
        self
    }

    /// The whole journal.
    fn all(&self) -> Vec<Entry> {
        [&self.journal[..], &self.sale.journal[..]].concat()
    }
}

async fn what_comes_behind_a_start_waits_for_the_opening<F: Fixture>(fixture: &F) {
    for together in [true, false] {
        let store = fixture.fresh().await;
        fixture.put_activity(&store, &activity(1, 100)).await;
        let mut lost = Lost::new(1);
        let waiting = take(&store, &lost.journal).await;
        assert_eq!(waiting, TakenIn { applied: 5, skipped: 0, failed: 0, set_aside: 0 });
        let before = counts(&store, lost.sale.ledger.activity()).await;
        assert_eq!((before.seq, before.orders, before.by_hold.held), (2, 1, 1), "none of them counts");
        let snapshot = store.snapshots().await.expect("snapshots").remove(0);
        assert_eq!((snapshot.term, snapshot.is_open), (Term(5), false));

        lost.keep(0).open();
        if together {
            take(&store, &lost.all()).await;
        } else {
            for entry in lost.all() {
                take(&store, &[entry]).await;
            }
        }
        let after = counts(&store, lost.sale.ledger.activity()).await;
        assert_eq!((after.seq, after.by_hold), (3, HoldUnits { held: 2, sold: 0, released: 0 }));
        assert_eq!((after.by_status.pending_payment, after.by_status.missing), (2, 0));
        assert_eq!(store.snapshots().await.expect("snapshots"), [lost.sale.ledger.snapshot()]);
        assert_eq!(state(&store, 102).await, Some(OrderState::PendingPayment), "it was kept");
        assert_eq!(state(&store, 103).await, Some(OrderState::Failed), "it was not");

        // One that comes later still, and everything once more.
        let mut late = Sale { ledger: Sale::open(1, 5).ledger, journal: Vec::new() };
        late.hold(109, 9, 1);
        assert_eq!(take(&store, &late.journal).await.failed, 1);
        assert_eq!(state(&store, 109).await, Some(OrderState::Failed));
        let rows = outbox(&store).await;
        let again = take(&store, &[lost.all(), late.journal].concat()).await;
        assert_eq!((again.applied, again.failed), (0, 0), "the second time");
        assert_eq!(outbox(&store).await, rows);
    }
}

async fn a_promise_fails_once<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    fixture.put_activity(&store, &activity(1, 100)).await;
    let mut lost = Lost::new(1);
    let fails = |reservation| Event::PromiseFailed { reservation, reason: FailedReason::SoldOut };
    let unheard = Reservation { order: order(150), ..lost.late[0] };
    let known = Reservation { order: order(101), ..lost.late[0] };
    for reservation in [lost.late[1], unheard, known] {
        let mark = Lost::mark(&lost.sale, fails(reservation));
        lost.sale.journal.push(mark);
    }
    lost.keep(0).open();
    let taken = take(&store, &lost.all()).await;
    assert_eq!(taken.failed, 2);
    for (id, expect) in [
        (101, OrderState::PendingPayment),
        (102, OrderState::PendingPayment),
        (103, OrderState::Failed),
        (150, OrderState::Failed),
    ] {
        assert_eq!(state(&store, id).await, Some(expect), "order {id}");
    }
    assert_eq!(take(&store, &lost.all()).await.applied, 0);
}

async fn an_order_that_failed_and_is_held_again_gives_its_units_back<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    fixture.put_activity(&store, &activity(1, 100)).await;
    let mut lost = Lost::new(1);
    lost.open();
    take(&store, &lost.all()).await;
    assert_eq!(state(&store, 102).await, Some(OrderState::Failed));
    let commands = of_topic::<LedgerCommand>(&outbox(&store).await, topic::COMMANDS).len();
    lost.keep(0);
    take(&store, &lost.all()).await;
    assert_eq!(state(&store, 102).await, Some(OrderState::Failed), "it is not brought back");
    let sent: Vec<LedgerCommand> = of_topic(&outbox(&store).await, topic::COMMANDS);
    let release = LedgerCommand { activity: id(1), action: Action::Release(order(102)) };
    assert_eq!(sent[commands..], [release]);
    let counted = counts(&store, id(1)).await;
    assert_eq!((counted.by_status.failed, counted.by_status.missing, counted.by_hold.held), (1, 0, 2));
    lost.sale.apply(Command::Release(order(102)));
    take(&store, &lost.all()).await;
    assert_eq!(store.snapshots().await.expect("snapshots"), [lost.sale.ledger.snapshot()]);
}

/// What was stale when it came is stale when the sale is no longer parked, whatever its number is.
async fn a_parked_sale_keeps_the_order_of_the_journal<F: Fixture>(fixture: &F) {
    let store = fixture.fresh().await;
    fixture.put_activity(&store, &activity(1, 100)).await;
    let mut lost = Lost::new(1);
    lost.keep(1).open();
    let journal = lost.all();
    let lines: Vec<Line> = (0_u64..).zip(&journal).map(|(offset, entry)| Line { offset, entry: *entry }).collect();
    store.take_in(&lines[..1], NOW_MS).await.expect("the opening");
    store.park(id(1), "refused", &lines[2..3], (NOW_MS, NOW_MS)).await.expect("it is parked");
    for line in lines.iter().skip(1).rev() {
        store.take_in(std::slice::from_ref(line), NOW_MS).await.expect("it is kept");
    }
    let expect = lost.sale.ledger.snapshot();
    assert_eq!(
        store.snapshots().await.expect("snapshots"),
        std::slice::from_ref(&expect),
        "a ledger goes on from these"
    );
    assert_eq!(store.retry_parked(id(1), 3, NOW_MS).await.ok(), Some(Retried::More));
    assert_eq!(store.retry_parked(id(1), 500, NOW_MS).await.ok(), Some(Retried::Done));
    assert_eq!(store.snapshots().await.expect("snapshots"), [expect]);
    assert_eq!(state(&store, 102).await, Some(OrderState::Failed));
    assert_eq!(state(&store, 103).await, Some(OrderState::PendingPayment));
}

fn id(number: i64) -> ActivityId {
    ActivityId::from_i64(number).expect("an id")
}

/// By its last event.
async fn state<S: SaleStore>(store: &S, number: i64) -> Option<OrderState> {
    let events = super::order_events(&outbox(store).await);
    let last = events.iter().rfind(|event| event.order == order(number))?;
    Some(if last.status == OrderStatus::Failed { OrderState::Failed } else { OrderState::PendingPayment })
}
