//! What must be true of a run that has settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use commit_log::Record as LogRecord;
use contract::{
    ActivityId, OrderId,
    activity::Rules,
    record::{Action, Entries, LedgerCommand, Record as _},
    stock::{Counters, Entry, Event, Ledger, Outcome},
};
use domain::{SaleStore, model::ModelStore, order_state::OrderState};
use ledger::{LedgerClient, LedgerUnavailable};

use crate::{client::History, mutant::Mutant, redis::Planted};

/// Everything a run leaves behind.
pub(crate) struct Evidence<'a> {
    /// Units that were for sale.
    pub(crate) stock: u64,
    /// Of what.
    pub(crate) activity: ActivityId,
    /// The ledger's last word.
    pub(crate) counters: Counters,
    /// The log's.
    pub(crate) journal: Vec<LogRecord>,
    /// The database.
    pub(crate) model: &'a ModelStore,
    /// The answers that clients got.
    pub(crate) history: &'a History,
}

/// The model's futures are ready at once.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the model store never waits"),
    }
}

/// No record waits for the log.
pub(crate) fn outbox_is_empty(model: &ModelStore) -> bool {
    now_or_never(model.outbox(1)).is_ok_and(|rows| rows.is_empty())
}

/// No sale is parked.
pub(crate) fn none_is_parked(model: &ModelStore) -> bool {
    now_or_never(model.parked()).is_ok_and(|parked| parked.is_empty())
}

/// Orders that still wait for their payment.
pub(crate) fn unpaid(model: &ModelStore) -> usize {
    model.order_states().iter().filter(|(_, state)| *state == OrderState::PendingPayment).count()
}

/// I1, I2 and I3, and that every answer to a client was true.
pub(crate) fn all(evidence: &Evidence<'_>) {
    let Evidence { stock, activity, counters, model, history, .. } = evidence;
    let entries: Vec<Entry> = evidence
        .journal
        .iter()
        .map(|record| Entries::decode(&record.value).unwrap_or_else(|error| panic!("poison on the journal: {error}")))
        .flat_map(Entries::into_vec)
        .collect();
    let folded = match Ledger::from_journal(&entries) {
        Ok(Some(folded)) => folded,
        Ok(None) => panic!("the journal never opened activity {activity}"),
        Err(error) => panic!("the journal does not fold: {error}"),
    };
    let Ok(Some(database)) = now_or_never(model.audit_counts(*activity)) else { panic!("the database has no counts") };

    // I3: the same count in ledger, log and database, at the same entry.
    assert_eq!(folded.counters(), *counters, "the log and the ledger differ");
    let Counters { total, available, held, sold, seq, .. } = *counters;
    assert_eq!(total, *stock);
    assert_eq!(total, available + held + sold);
    assert_eq!(held, 0, "everything was paid or closed");
    assert_eq!((database.seq, database.total, database.stock_left), (seq, total, available));
    assert_eq!((database.by_hold.held, database.by_hold.sold), (held, sold));
    assert_eq!((database.by_status.paid, database.by_status.pending_payment), (sold, 0));

    // I1, and I2 from the log's side: every hold is one order, every order one hold.
    assert!(sold <= *stock);
    let held_orders: Vec<OrderId> = entries
        .iter()
        .filter_map(|entry| match entry.event {
            Event::Held(asked) => Some(asked.order),
            Event::Opened { .. }
            | Event::Settled { .. }
            | Event::Released { .. }
            | Event::Restocked { .. }
            | Event::Ended { .. }
            | Event::TermStarted { .. }
            | Event::TermOpened(_)
            | Event::PromiseFailed { .. } => None,
        })
        .collect();
    let ended = entries.iter().position(|entry| matches!(entry.event, Event::Ended { .. }));
    let held_later =
        |at: usize| entries[at..].iter().any(|entry| matches!(entry.event, Event::Held(_) | Event::Ended { .. }));
    assert!(!ended.is_some_and(|at| held_later(at + 1)), "a sale that was ended goes on");
    let distinct: BTreeSet<OrderId> = held_orders.iter().copied().collect();
    assert_eq!(distinct.len(), held_orders.len(), "an order is held twice");
    let states: BTreeMap<OrderId, OrderState> = model.order_states().into_iter().collect();
    assert!(states.keys().eq(distinct.iter()), "orders and holds differ");
    assert!(
        !states.values().any(|state| *state == OrderState::Failed),
        "an order failed though nothing was wrong with it"
    );

    told_the_truth(history, &states, &folded);
}

/// I2 from the clients' side: a yes is an order, a repeat is the first answer, nobody has two at once.
fn told_the_truth(history: &History, states: &BTreeMap<OrderId, OrderState>, ledger: &Ledger) {
    for ((user, key), answers) in history.accepted.borrow().iter() {
        for (order, body) in answers {
            assert!(states.contains_key(order), "user {user} was given order {order}, which nobody has");
            let Some(hold) = ledger.hold(*order) else { panic!("order {order} is not in the ledger") };
            assert_eq!(hold.reservation.user, *user, "user {user} was given a stranger's order");
            if key.is_some() {
                assert_eq!(
                    (order, body),
                    (&answers[0].0, &answers[0].1),
                    "user {user}: another answer to the same request"
                );
            }
        }
    }
    for order in history.paid.borrow().iter() {
        assert!(
            matches!(states.get(order), Some(OrderState::Bought(_))),
            "order {order} was paid and is {:?}",
            states.get(order)
        );
    }
    let mut owners = BTreeSet::new();
    for (order, state) in states {
        if matches!(state, OrderState::Bought(_)) {
            let user = ledger.hold(*order).map(|hold| hold.reservation.user);
            assert!(owners.insert(user), "{user:?} bought twice");
        }
    }
}

/// The keeper's way to the ledger, with a bug where the run has one.
#[derive(Clone)]
pub(crate) struct Keeps<K> {
    /// The real way.
    pub(crate) ledger: K,
    /// The bug.
    pub(crate) mutant: Mutant,
}

impl<K> Keeps<K> {
    /// The same bugs, on ledgers in Redis.
    pub(crate) fn new(ledger: K, planted: Planted) -> Self {
        let mutant = if planted == Planted::ForgetsReleases {
            Mutant::ForgetsReleases
        } else if planted == Planted::SettleReleases {
            Mutant::SettleReleases
        } else {
            Mutant::None
        };
        Self { ledger, mutant }
    }
}

impl<K: LedgerClient> LedgerClient for Keeps<K> {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        self.ledger.open(activity, stock, rules).await
    }

    async fn act(&self, mut commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        match self.mutant {
            Mutant::None | Mutant::HastyLog => {}
            Mutant::ForgetsReleases => return Ok(vec![Outcome::Done; commands.len()]),
            Mutant::SettleReleases => {
                for command in &mut commands {
                    if let Action::Settle(order) = command.action {
                        command.action = Action::Release(order);
                    }
                }
            }
        }
        self.ledger.act(commands).await
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        self.ledger.counters(activity).await
    }
}
