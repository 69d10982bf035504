//! When a run has settled, and what must be true then.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    OrderId, UserId,
    stock::{Counters, Entry, Event, Hold, HoldState, Placed, Replay, Snapshot},
    topic,
};
use domain::{SaleStore as _, order_state::OrderState};
use foundation::Clock;

use super::{Report, Run};
use crate::{check, check::now_or_never, client::History, run::PAY_WITHIN_MS, world::BEGIN_MS};

impl Run {
    fn lags(&self) -> [u64; 3] {
        [
            self.log.lag("order-core", topic::ORDERS),
            self.log.lag("order-core.keeper", topic::COMMANDS),
            self.log.lag("order-core.timeouts", &topic::timeouts(PAY_WITHIN_MS).name),
        ]
    }

    /// Orders that gateways still remember as promised and not on the journal.
    fn unconfirmed(&self) -> usize {
        let lives = self.lives.borrow();
        lives.iter().flatten().filter_map(|life| life.recent()).map(|recent| recent.unconfirmed()).sum()
    }

    pub(super) fn is_settled(&self) -> bool {
        let is_quiet = check::outbox_is_empty(&self.model) && check::none_is_parked(&self.model);
        let counters = self.redis.counters(self.mall.activity);
        let nothing_held = counters.is_some_and(|counters| counters.held == 0 && counters.total == self.total.get());
        // A fence looks once a second, and may not have seen yet that Redis is behind the journal.
        let term = self.journal().iter().map(|entry| entry.term).max();
        let is_current = term == counters.map(|counters| counters.term);
        self.lags() == [0; 3]
            && is_quiet
            && check::unpaid(&self.model) == 0
            && self.redis.outbox_length(self.mall.activity) == 0
            && self.redis.sells(self.mall.activity)
            && nothing_held
            && is_current
            && self.unconfirmed() == 0
            && !self.log.expects_late()
    }

    pub(super) fn unsettled(&self) -> String {
        let [journal, commands, timeouts] = self.lags();
        let activity = self.mall.activity;
        format!(
            "at {} ms, clients done {}, lag of journal {journal}, commands {commands}, timeouts {timeouts}, outbox \
             empty {}, none parked {}, unpaid orders {}, outbox of the ledger {}, sells {}, {:?}, {} units wanted, \
             unconfirmed {}",
            self.world.now_ms() - BEGIN_MS,
            self.mall.history.done.get(),
            check::outbox_is_empty(&self.model),
            check::none_is_parked(&self.model),
            check::unpaid(&self.model),
            self.redis.outbox_length(activity),
            self.redis.sells(activity),
            self.redis.counters(activity),
            self.total.get(),
            self.unconfirmed(),
        )
    }

    /// I1, I2, I3 and I7 in ledger, journal and database, and that every answer to a client was true.
    pub(super) fn conclude(self, steps: u64) -> Report {
        let entries = self.journal();
        let (mut replay, mut terms, mut read_ms, mut late) = (Replay::default(), 0, None, BTreeSet::new());
        for entry in &entries {
            match (replay.take(entry), &entry.event) {
                (Ok(Placed::Mark), event) => {
                    let opens = matches!(event, Event::TermOpened(_));
                    read_ms = opens.then_some(entry.at_ms);
                    terms += usize::from(opens);
                }
                // What the recovery appends comes after all that it has read.
                (Ok(Placed::Next | Placed::Failed), _) => read_ms = read_ms.or(Some(entry.at_ms)),
                (Ok(Placed::Stale), Event::Held(reservation)) if read_ms.is_some_and(|at_ms| entry.at_ms < at_ms) => {
                    late.insert(reservation.order);
                }
                (Ok(_), _) => {}
                (Err(error), _) => panic!("the journal does not fold: {error}; {:#?}", self.faults),
            }
        }
        let Some(folded) = replay.ledger() else { panic!("the journal never opened the sale") };
        let Ok(mirrors) = now_or_never(self.model.snapshots()) else { panic!("the database has no ledgers") };
        let [mirror] = &mirrors[..] else { panic!("{} ledgers in the database", mirrors.len()) };
        let found = self.redis.snapshot(self.mall.activity);
        let counters = self.redis.counters(self.mall.activity).unwrap_or_else(|| panic!("no ledger in Redis"));
        let why = format!("{:#?}", self.faults);

        // I3: the same orders and counts in ledger, journal and database, at the same entry of the same term.
        let plain = |snapshot: &Snapshot| Snapshot { epoch: 0, is_open: true, ..snapshot.clone() };
        assert_eq!(plain(&folded.snapshot()), plain(mirror), "journal and database differ; {why}");
        assert_eq!(plain(mirror), plain(&found), "database and Redis differ; {why}");
        let Counters { total, available, held, sold, .. } = counters;
        assert_eq!(total, available + held + sold, "{why}");
        let units = |state| units_of(&found.holds, state);
        assert_eq!((total, held, sold), (self.total.get(), units(HoldState::Held), units(HoldState::Sold)), "{why}");
        assert_eq!(held, 0, "everything was paid or closed; {why}");

        // I1 and I2.
        assert!(sold <= total, "{why}");
        let states: BTreeMap<OrderId, OrderState> = self.model.order_states().into_iter().collect();
        for hold in &found.holds {
            let state = states.get(&hold.reservation.order);
            let fits = match hold.state {
                HoldState::Sold => matches!(state, Some(OrderState::Bought(_))),
                HoldState::Released => matches!(state, Some(OrderState::Closed | OrderState::Failed)),
                HoldState::Held => false,
            };
            assert!(fits, "order {} is {:?} in the ledger and {state:?}; {why}", hold.reservation.order, hold.state);
        }
        let bought = states.values().filter(|state| matches!(state, OrderState::Bought(_))).count();
        assert_eq!(bought as u64, sold, "orders that are paid, and units that are sold; {why}");
        told_the_truth(&self.mall.history, &states, &found.holds, &why);
        fails_with_a_reason(&self.mall.history, &states, (&entries, &late), &why);
        let failed = states.values().filter(|state| **state == OrderState::Failed).count();
        let History { accepted, answers, .. } = &self.mall.history;
        Report {
            trace: self.world.trace(),
            steps,
            accepted: accepted.borrow().values().map(Vec::len).sum(),
            failed,
            terms,
            answers: answers.borrow().clone().into_iter().collect(),
            ending: format!("{counters:?}"),
            faults: self.faults,
        }
    }
}

/// What a client was given fails only where a recovery has judged it and written why. Such a run has no more than one failure
/// at a time, so that every promise is before a recovery: in an outbox, on the journal, set aside, or with its gateway. Or it is
/// `late`: it was held before the recovery of a newer term had read the journal, and a relay that was paused has appended it
/// afterwards. The database fails such a hold, at once or when the term opens.
fn fails_with_a_reason(
    history: &History,
    states: &BTreeMap<OrderId, OrderState>,
    (entries, late): (&[Entry], &BTreeSet<OrderId>),
    why: &str,
) {
    let judged = |order: &OrderId| {
        let fails =
            |event: &Event| matches!(event, Event::PromiseFailed { reservation, .. } if reservation.order == *order);
        entries.iter().any(|entry| fails(&entry.event))
    };
    for (order, _) in history.accepted.borrow().values().flatten() {
        let has_failed = states.get(order) == Some(&OrderState::Failed);
        assert!(
            !has_failed || judged(order) || late.contains(order),
            "order {order} was promised and failed without a reason; {why}"
        );
    }
}

fn units_of(holds: &[Hold], state: HoldState) -> u64 {
    holds.iter().filter(|hold| hold.state == state).map(|hold| u64::from(hold.reservation.quantity)).sum()
}

/// A yes is an order, kept or failed; a key that got one order gets no other unless the first has failed;
/// nobody has bought twice.
fn told_the_truth(history: &History, states: &BTreeMap<OrderId, OrderState>, holds: &[Hold], why: &str) {
    let owners: BTreeMap<OrderId, UserId> =
        holds.iter().map(|hold| (hold.reservation.order, hold.reservation.user)).collect();
    for ((user, key), answers) in history.accepted.borrow().iter() {
        for (order, _) in answers {
            let state = states.get(order);
            assert!(state.is_some(), "user {user} was given order {order}, which nobody has; {why}");
            assert!(owners.get(order).is_none_or(|owner| owner == user), "order {order} is a stranger's; {why}");
        }
        let kept = |order: &&OrderId| states.get(order).is_some_and(|state| *state != OrderState::Failed);
        let orders: BTreeSet<&OrderId> = answers.iter().map(|(order, _)| order).filter(kept).collect();
        assert!(key.is_none() || orders.len() <= 1, "user {user} has {orders:?} under one key; {why}");
    }
    for order in history.paid.borrow().iter() {
        let state = states.get(order);
        assert!(matches!(state, Some(OrderState::Bought(_))), "order {order} was paid and is {state:?}; {why}");
    }
    let mut buyers = BTreeSet::new();
    for (order, _) in states.iter().filter(|(_, state)| matches!(state, OrderState::Bought(_))) {
        assert!(buyers.insert(owners.get(order)), "{:?} bought twice; {why}", owners.get(order));
    }
}
