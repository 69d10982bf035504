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
    let expect = Counters { total: 1, available: 0, held: 0, sold: 1, term: Term::FIRST, epoch: 2, seq: 5 };
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

        let mut replay = Replay::default();
        for entry in &journal {
            prop_assert_eq!(replay.take(entry), Ok(Placed::Next));
            prop_assert_eq!(replay.take(entry), Ok(Placed::Known));
        }
        prop_assert_eq!(replay.ledger().map(Ledger::snapshot), Some(live.snapshot()));
    }

    /// A recovery at any point: entries that come behind the start of its term change nothing, and are promises until it
    /// opens. Reading the journal a second time changes nothing either.
    #[test]
    fn what_comes_behind_a_new_term_does_not_count(
        stock in 0_u64..12, history in history(), cut in 0_usize..60, late in 0_usize..9,
    ) {
        let (mut live, opened) = Ledger::open(activity(), stock, Rules { per_user_limit: 2, ..RULES }, 0);
        let mut journal = vec![opened];
        for (command, now_ms) in history.iter().take(cut) {
            live.apply(*command, *now_ms, &mut journal);
        }
        let (before, mut behind) = (live.clone(), Vec::new());
        for (command, now_ms) in history.iter().skip(cut) {
            live.apply(*command, *now_ms, &mut behind);
        }
        behind.truncate(late);
        let mut after = before.clone();
        after.start_term(Term(7));
        let mark = |event| Entry { event, term: Term(7), seq: after.counters().seq, ..opened };
        journal.push(Entry { seq: 0, ..mark(Event::TermStarted { nonce: 1 }) });
        journal.extend(&behind);
        let mut replay = Replay::default();
        for entry in &journal {
            replay.take(entry).unwrap();
        }
        prop_assert_eq!(replay.ledger().map(Ledger::snapshot), Some(after.snapshot()));
        let promised = behind.iter().filter(|entry| matches!(entry.event, Event::Held(_))).count();
        prop_assert_eq!(replay.clone().into_parts().1.len(), promised);
        for entry in &journal {
            prop_assert_ne!(replay.take(entry).unwrap(), Placed::Next);
        }
        prop_assert_eq!(replay.ledger().map(Ledger::snapshot), Some(after.snapshot()));
        replay.take(&mark(Event::TermOpened(after.term_counts()))).unwrap();
        prop_assert_eq!(replay.into_parts().1, vec![]);
    }
}

#[test]
fn a_promise_is_kept_whatever_the_time_is_unless_its_units_or_its_key_are_gone() {
    let promised = |id, user, key, quantity| {
        let Command::Reserve(reservation) = asks(id, user, key, quantity) else { unreachable!("it is a reservation") };
        reservation
    };
    let mut ledger = ledger(3, 2);
    let mut journal = Vec::new();
    assert_eq!(ledger.adopt(promised(10, 1, Some(1), 1), 1, &mut journal), Ok(()), "before the start");
    assert_eq!(ledger.adopt(promised(10, 1, Some(1), 1), 99_999, &mut journal), Ok(()), "known");
    assert_eq!(journal.len(), 1);
    assert_eq!(ledger.adopt(promised(11, 1, Some(1), 1), 1, &mut journal), Err(FailedReason::AnotherOrder));
    assert_eq!(ledger.adopt(promised(12, 1, None, 2), 1, &mut journal), Err(FailedReason::AnotherOrder));
    assert_eq!(ledger.adopt(promised(13, 2, None, 2), 99_999, &mut journal), Ok(()), "after the end");
    assert_eq!(ledger.adopt(promised(14, 3, None, 1), 1, &mut journal), Err(FailedReason::SoldOut));
    assert_eq!(ledger.adopt(promised(15, 3, None, 0), 1, &mut journal), Err(FailedReason::SoldOut));
    assert_eq!((ledger.counters().held, journal.len()), (3, 2));
}

/// What is on the log may be anything.
#[test]
fn a_journal_that_contradicts_itself_is_an_error_and_no_panic() {
    let (ledger, opened) = Ledger::open(activity(), 2, Rules { per_user_limit: 9, ..RULES }, 0);
    let Command::Reserve(asked) = asks(10, 1, None, 2) else { unreachable!("it is a reservation") };
    let operation = OperationId::from_i64(1).unwrap();
    let next = |seq, event| Entry { seq, event, ..opened };
    let mut held = ledger.clone();
    held.replay(&next(2, Event::Held(asked))).unwrap();
    let mut restocked = ledger.clone();
    restocked.replay(&next(2, Event::Restocked { operation, delta: 1 })).unwrap();
    let cases = [
        (&ledger, opened.event, Broken::OpenedTwice),
        (&held, Event::Held(asked), Broken::HeldTwice),
        (&ledger, Event::Held(Reservation { quantity: 0, ..asked }), Broken::HeldTwice),
        (&ledger, Event::Held(Reservation { quantity: 3, ..asked }), Broken::Units),
        (&held, Event::Held(Reservation { order: order(11), quantity: 1, ..asked }), Broken::Units),
        (&ledger, Event::Settled { order: order(10), quantity: 2 }, Broken::NotHeld),
        (&held, Event::Settled { order: order(10), quantity: 1 }, Broken::NotHeld),
        (&held, Event::Released { order: order(11), quantity: 2 }, Broken::NotHeld),
        (&held, Event::Restocked { operation, delta: -1 }, Broken::Units),
        (&ledger, Event::Restocked { operation, delta: i64::MAX }, Broken::Units),
        (&restocked, Event::Restocked { operation, delta: 1 }, Broken::RestockedTwice),
    ];
    for (ledger, event, reason) in cases {
        let (mut ledger, before) = (ledger.clone(), ledger.snapshot());
        let seq = before.seq + 1;
        let expect = RestoreError::Contradiction { activity: activity(), seq, reason };
        assert_eq!(ledger.replay(&next(seq, event)), Err(expect), "{event:?}");
        assert_eq!(ledger.snapshot(), before);
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
