use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: 1_000, ends_at_ms: 9_000 };
const DURING: u64 = 5_000;

fn activity() -> ActivityId {
    ActivityId::from_i64(1).unwrap()
}

fn order(id: i64) -> OrderId {
    OrderId::from_i64(id).unwrap()
}

fn asks(order_id: i64, user: i64, key: Option<u8>, quantity: u32) -> Command {
    let user = UserId::from_i64(user).unwrap();
    // As the gateway does it, the key is a digest of the user and what the client sent.
    let request = key.map(|key| RequestKey([key ^ user.as_i64().to_be_bytes()[7].rotate_left(4); 16]));
    Command::Reserve(Reservation { order: order(order_id), user, request, quantity })
}

fn held(id: i64, repeated: bool) -> Outcome {
    Outcome::Held { order: order(id), repeated }
}

fn ledger(stock: u64, per_user_limit: u32) -> Ledger {
    Ledger::open(activity(), stock, Rules { per_user_limit, ..RULES }, 0).0
}

/// Runs `script` and compares each answer.
fn check(stock: u64, limit: u32, script: &[(Command, u64, Outcome)]) -> Ledger {
    let mut ledger = ledger(stock, limit);
    let mut journal = Vec::new();
    for (step, (command, now_ms, expect)) in script.iter().enumerate() {
        assert_eq!(ledger.apply(*command, *now_ms, &mut journal), *expect, "step {step}: {command:?}");
    }
    ledger
}

#[test]
fn the_last_unit_is_sold_once() {
    check(
        1,
        1,
        &[
            (asks(10, 1, None, 1), DURING, held(10, false)),
            (asks(11, 2, None, 1), DURING, Outcome::SoldOut),
            (asks(12, 1, None, 1), DURING, held(10, true)),
        ],
    );
}

#[test]
fn the_window_is_half_open_and_a_repeat_outlives_it() {
    check(
        5,
        1,
        &[
            (asks(10, 1, None, 1), 999, Outcome::NotStarted),
            (asks(11, 1, None, 1), 1_000, held(11, false)),
            (asks(12, 2, None, 1), 8_999, held(12, false)),
            (asks(13, 3, None, 1), 9_000, Outcome::Ended),
            (asks(14, 1, None, 1), 9_000, held(11, true)),
        ],
    );
}

#[test]
fn a_named_request_gets_its_first_answer_and_no_other_body() {
    check(
        9,
        4,
        &[
            (asks(10, 1, Some(7), 2), DURING, held(10, false)),
            (asks(11, 1, Some(7), 2), DURING, held(10, true)),
            (asks(12, 1, Some(7), 1), DURING, Outcome::KeyReused),
            (asks(13, 2, Some(7), 2), DURING, held(13, false)),
            (asks(14, 1, Some(8), 2), DURING, held(14, false)),
            (asks(15, 1, Some(9), 1), DURING, Outcome::LimitReached),
        ],
    );
}

#[test]
fn released_units_are_sold_again_and_the_epoch_moves() {
    let ledger = check(
        1,
        1,
        &[
            (asks(10, 1, Some(1), 1), DURING, held(10, false)),
            (Command::Release(order(10)), DURING, Outcome::Done),
            (Command::Release(order(10)), DURING, Outcome::Done),
            (Command::Settle(order(10)), DURING, Outcome::Conflict),
            (asks(11, 1, Some(1), 1), DURING, held(10, true)),
            (asks(12, 1, Some(2), 1), DURING, held(12, false)),
            (Command::Settle(order(12)), DURING, Outcome::Done),
            (Command::Settle(order(12)), DURING, Outcome::Done),
            (Command::Release(order(12)), DURING, Outcome::Conflict),
            (Command::Release(order(99)), DURING, Outcome::UnknownOrder),
        ],
    );
    let expect = Counters { total: 1, available: 0, held: 0, sold: 1, epoch: 2, seq: 5 };
    assert_eq!(ledger.counters(), expect);
}

#[test]
fn a_restock_never_takes_what_somebody_has() {
    let restock = |operation, delta| Command::Restock { operation: OperationId::from_i64(operation).unwrap(), delta };
    let ledger = check(
        3,
        3,
        &[
            (asks(10, 1, None, 2), DURING, held(10, false)),
            (restock(1, -2), DURING, Outcome::Refused),
            (restock(2, -1), DURING, Outcome::Done),
            (restock(2, -1), DURING, Outcome::Done),
            (restock(3, 0), DURING, Outcome::Refused),
            (restock(4, i64::MAX), DURING, Outcome::Refused),
            (restock(5, i64::MIN), DURING, Outcome::Refused),
            (restock(6, 5), DURING, Outcome::Done),
        ],
    );
    assert_eq!(ledger.counters().total, 7);
}

#[test]
fn a_sale_that_was_ended_sells_no_more() {
    let end = |ends_at_ms| Command::End { ends_at_ms };
    let ledger = check(
        3,
        1,
        &[
            (asks(10, 1, Some(1), 1), DURING, held(10, false)),
            (end(DURING), DURING, Outcome::Done),
            (end(DURING - 1), DURING + 1, Outcome::Done),
            (asks(11, 2, None, 1), DURING, Outcome::Ended),
            (asks(12, 1, Some(1), 1), DURING + 1, held(10, true)),
            (Command::Release(order(10)), DURING + 1, Outcome::Done),
            (asks(13, 1, Some(2), 1), DURING + 1, Outcome::Ended),
        ],
    );
    assert_eq!(ledger.rules().ends_at_ms, DURING, "the first end counts");

    let ledger =
        check(3, 1, &[(end(DURING + 5), DURING, Outcome::Done), (asks(10, 1, None, 1), DURING, Outcome::Ended)]);
    assert_eq!(ledger.rules().ends_at_ms, DURING, "an end to come counts as now");

    let ledger = check(3, 1, &[(end(1), 1, Outcome::Done), (asks(10, 1, None, 1), 1, Outcome::Ended)]);
    assert_eq!((ledger.rules().starts_at_ms, ledger.rules().ends_at_ms), (0, 1), "ended before its start");
}

#[test]
fn odd_quantities_hold_nothing() {
    check(
        9,
        4,
        &[
            (asks(10, 1, None, 0), DURING, Outcome::LimitReached),
            (asks(11, 1, None, 5), DURING, Outcome::LimitReached),
            (asks(12, 1, None, u32::MAX), DURING, Outcome::LimitReached),
            (asks(13, 1, None, 4), DURING, held(13, false)),
            (asks(14, 1, None, u32::MAX), DURING, Outcome::LimitReached),
        ],
    );
}

/// One step of a history, with the instant it happens at. Reservations get the order id `at`, so that
/// later settles and releases hit some of them; users and keys are few, so that they repeat.
fn step(at: i64) -> impl Strategy<Value = (Command, u64)> {
    let restock = |(operation, delta)| Command::Restock { operation: OperationId::from_i64(operation).unwrap(), delta };
    let command = prop_oneof![
        6 => (0_i64..8, prop::option::of(0_u8..4), 1_u32..4).prop_map(move |(user, key, units)| asks(at, user, key, units)),
        2 => (0..=at).prop_map(|id| Command::Settle(order(id))),
        2 => (0..=at).prop_map(|id| Command::Release(order(id))),
        1 => (0_i64..6, -4_i64..5).prop_map(restock),
        1 => (0_u64..12_000).prop_map(|ends_at_ms| Command::End { ends_at_ms }),
    ];
    (command, 0_u64..12_000)
}

fn history() -> impl Strategy<Value = Vec<(Command, u64)>> {
    (1_i64..60).prop_flat_map(|steps| (0..steps).map(step).collect::<Vec<_>>())
}

proptest! {
    /// Conservation is asserted by the ledger itself at each step; here: what the entries say adds
    /// up to the counters, no user passes the limit, and a repeat changes nothing.
    #[test]
    fn any_history_conserves(stock in 0_u64..12, limit in 1_u32..4, history in history()) {
        let mut ledger = ledger(stock, limit);
        let mut journal = Vec::new();
        for (command, now_ms) in &history {
            let before = journal.len();
            let first = ledger.apply(*command, *now_ms, &mut journal);
            prop_assert!(journal.len() - before <= 1);
            let (after, seen) = (ledger.counters(), journal.len());
            let again = ledger.apply(*command, *now_ms, &mut journal);
            let named = !matches!(command, Command::Reserve(asked) if asked.request.is_none() && limit > 1);
            if named && matches!(first, Outcome::Held { .. } | Outcome::Done) {
                prop_assert_eq!(journal.len(), seen, "{:?} twice changed something", command);
                prop_assert_eq!(ledger.counters(), after);
                if let Outcome::Held { order, .. } = first {
                    prop_assert_eq!(again, Outcome::Held { order, repeated: true });
                }
            }
        }
        let mut owned: HashMap<UserId, u32> = HashMap::new();
        for hold in ledger.snapshot().holds {
            if hold.state != HoldState::Released {
                *owned.entry(hold.reservation.user).or_default() += hold.reservation.quantity;
            }
        }
        prop_assert!(owned.values().all(|quantity| *quantity <= limit));
    }

    /// A snapshot at any point and the journal from anywhere before it give the ledger back.
    #[test]
    fn the_journal_is_the_ledger(stock in 0_u64..12, limit in 1_u32..4, history in history(), cut in 0_usize..60) {
        let (mut live, opened) = Ledger::open(activity(), stock, Rules { per_user_limit: limit, ..RULES }, 0);
        let mut journal = vec![opened];
        let mut snapshot = live.snapshot();
        for (step, (command, now_ms)) in history.iter().enumerate() {
            live.apply(*command, *now_ms, &mut journal);
            if step == cut {
                snapshot = live.snapshot();
            }
        }
        let mut rebuilt = Ledger::restore(&snapshot).unwrap();
        for entry in &journal {
            rebuilt.replay(entry).unwrap();
        }
        prop_assert_eq!(rebuilt.snapshot(), live.snapshot());
        prop_assert_eq!(rebuilt.counters(), live.counters());

        let mut folded = HashMap::new();
        for entry in &journal {
            prop_assert_eq!(Ledger::fold(&mut folded, entry), Ok(Replayed::Applied));
            prop_assert_eq!(Ledger::fold(&mut folded, entry), Ok(Replayed::Known));
        }
        prop_assert_eq!(folded[&activity()].snapshot(), live.snapshot());
    }
}

#[test]
fn what_contradicts_itself_is_not_restored() {
    let mut ledger = ledger(2, 2);
    let mut journal = Vec::new();
    ledger.apply(asks(10, 1, None, 2), DURING, &mut journal);
    ledger.apply(Command::Release(order(10)), DURING, &mut journal);

    let oversold = Snapshot {
        total: 1,
        holds: vec![Hold {
            reservation: Reservation {
                order: order(10),
                user: UserId::from_i64(1).unwrap(),
                request: None,
                quantity: 2,
            },
            state: HoldState::Sold,
        }],
        ..ledger.snapshot()
    };
    assert_eq!(Ledger::restore(&oversold).err(), Some(RestoreError::Oversold { activity: activity() }));

    let (mut fresh, _) = Ledger::open(activity(), 2, RULES, 0);
    let gap = RestoreError::Gap { activity: activity(), last: 1, found: 3 };
    assert_eq!(fresh.replay(&journal[1]), Err(gap));
}

#[test]
fn a_window_slides_with_each_user() {
    let rules = Rules { per_user_limit: 9, starts_at_ms: 0, ends_at_ms: 10_000 };
    let (mut ledger, _) = Ledger::open(ActivityId::from_i64(1).unwrap(), 100, rules, 0);
    ledger.set_window(Window { max: 2, within_ms: 1_000 });
    let mut order = 0;
    let mut ask = |user: i64, request: Option<u8>, now_ms: u64| {
        order += 1;
        let request = request.map(|byte| RequestKey([byte; 16]));
        let user = UserId::from_i64(user).unwrap();
        let asked = Reservation { order: OrderId::from_i64(order).unwrap(), user, request, quantity: 1 };
        ledger.apply(Command::Reserve(asked), now_ms, &mut Vec::new())
    };
    let held = |outcome| matches!(outcome, Outcome::Held { repeated: false, .. });
    assert!(held(ask(1, Some(7), 100)));
    assert!(held(ask(1, None, 500)));
    assert_eq!(ask(1, None, 1_099), Outcome::RateLimited);
    assert!(matches!(ask(1, Some(7), 1_099), Outcome::Held { repeated: true, .. }), "a repeat is no attempt");
    assert!(held(ask(2, None, 1_099)), "users have windows of their own");
    assert!(held(ask(1, None, 1_100)), "the first attempt has slid out");
    assert_eq!(ask(1, None, 1_100), Outcome::RateLimited);
    assert!(held(ask(1, None, 1_500)));
}
