//! What a server can lose.

use contract::{
    ActivityId, OperationId,
    record::Action,
    stock::{Event, Outcome, Snapshot},
};
use ledger::redis::fence::Looked;

use crate::world::{
    BY_THE_SERVER, LOOKS_MAX, PARTS, RECOVERY_MAX_MS, RULES, STOCK, Sale, activity, asks, held, key, order,
};

/// A deletion, or the eviction of a full server.
#[tokio::test]
async fn whatever_is_lost_of_a_ledger_it_sells_on_with_what_was_sold() {
    for part in PARTS {
        let Some(mut sale) = Sale::open().await else { return };
        for id in 1..=4 {
            sale.buy(id).await.unwrap();
        }
        let operation = OperationId::from_i64(5).unwrap();
        sale.act(Action::Settle(order(1))).await.unwrap();
        sale.act(Action::Release(order(2))).await.unwrap();
        sale.act(Action::Restock { operation, delta: 3 }).await.unwrap();
        // The database has the first, the log the second, and the outbox (where it is not what is lost) the third.
        sale.relay().await;
        sale.take_in().await;
        sale.buy(5).await.unwrap();
        sale.relay().await;
        sale.buy(6).await.unwrap();
        let before = sale.snapshot().await;
        sale.redis.ask(&["DEL", &key(part)]);

        if part != "restocks" {
            assert!(sale.buy(9).await.is_err(), "{part} is lost and the ledger sells");
        }
        if part != "ledger" {
            let refused = sale.act(Action::Settle(order(3))).await.unwrap_err();
            assert!(refused.0.contains("FROZEN"), "{part}: {refused}");
        }
        let took_ms = sale.recover().await;
        assert!(took_ms < RECOVERY_MAX_MS / 2, "{part}: {took_ms} ms");
        let after = sale.snapshot().await;
        assert!(after.epoch > before.epoch && after.term > before.term, "{part}");
        assert_eq!(after, Snapshot { epoch: after.epoch, term: after.term, ..before }, "{part}");
        assert_eq!(sale.buy(3).await.unwrap(), held(3, true), "{part}");
        assert_eq!(sale.buy(9).await.unwrap(), held(9, false), "{part}");
        let again = Action::Restock { operation, delta: 3 };
        assert_eq!(sale.act(again).await, Ok(vec![Outcome::Done]), "{part}");
        assert_eq!(sale.counters().await.total, STOCK + 3, "{part}: the restock counts once");
        assert_eq!(sale.act(Action::Settle(order(3))).await, Ok(vec![Outcome::Done]), "{part}");
        assert!(sale.ledgers.closed().await.unwrap().is_empty(), "{part}");
        assert_eq!(sale.check().await, 0, "{part}");
    }
}

/// The log was away, say: what the outbox had is still what the orders of the ledger tell.
#[tokio::test]
async fn an_outbox_that_is_lost_with_entries_is_made_again() {
    let Some(mut sale) = Sale::open().await else { return };
    for id in 1..=4 {
        sale.buy(id).await.unwrap();
    }
    sale.relay().await;
    sale.take_in().await;
    for id in 5..=8 {
        sale.buy(id).await.unwrap();
    }
    for id in [1, 5] {
        sale.act(Action::Settle(order(id))).await.unwrap();
    }
    for id in [2, 6] {
        sale.act(Action::Release(order(id))).await.unwrap();
    }
    let before = sale.snapshot().await;
    sale.redis.ask(&["DEL", &key("outbox")]);
    sale.recover().await;
    let after = sale.snapshot().await;
    assert_eq!(after.holds, before.holds);
    assert_eq!(sale.check().await, 0);
    assert_eq!(sale.buy(7).await.unwrap(), held(7, true));
}

/// FLUSHALL: with orders that the log has, one that only a gateway remembers, and one that nobody does.
#[tokio::test]
async fn when_all_is_lost_the_gateways_are_asked() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.relay().await;
    sale.buy(2).await.unwrap();
    sale.redis.ask(&["FLUSHALL"]);
    // Nothing but the journal knows the sale.
    sale.restart_fence();
    sale.ledgers.note_gateway("ours").await.unwrap();
    sale.until_closed().await;
    let closed_ms = sale.now_ms;
    while sale.now_ms < closed_ms + 2_000 {
        assert_eq!(sale.look().await.unwrap(), Looked::Frozen, "the gateway is waited for");
    }
    sale.remember([2], 1).await;
    let term = sale.ledgers.closed().await.unwrap()[&activity()];
    sale.ledgers.note_report(activity(), "ours", term).await.unwrap();
    assert_eq!(sale.look().await.unwrap(), Looked::Recovered);
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true));
    assert_eq!(sale.buy(2).await.unwrap(), held(2, true));
    assert_eq!((sale.counters().await.held, sale.check().await), (2, 0));
}

/// Redis alone is left. Its ledger sells, but no reader of the new journal could place its entries.
#[tokio::test]
async fn a_ledger_that_redis_alone_knows_is_opened_again_with_its_orders() {
    let Some(mut sale) = Sale::open().await else { return };
    for id in 1..=4 {
        sale.buy(id).await.unwrap();
    }
    sale.act(Action::Settle(order(2))).await.unwrap();
    sale.act(Action::Release(order(3))).await.unwrap();
    sale.relay().await;
    let before = sale.counters().await;
    sale.promised.lock().unwrap().retain(|promised| *promised != order(3));
    sale.lose_log_and_database().await;
    sale.buy(5).await.unwrap();
    sale.until_it_sells().await;
    let after = sale.counters().await;
    assert!(after.term > before.term, "{after:?}");
    assert_eq!((after.held, after.sold, after.available), (4, 0, STOCK - 4), "what was paid for is unknown now");
    for id in [1, 2, 4, 5] {
        assert_eq!(sale.buy(id).await.unwrap(), held(id, true));
    }
    assert_eq!(sale.buy(6).await.unwrap(), held(6, false));
    assert_eq!(sale.check().await, 0);
    for _ in 0..20 {
        sale.look().await.unwrap();
    }
    assert_eq!(sale.counters().await.term, after.term, "it is opened once");
}

/// One that does not answer is not waited for without an end; what it says later is still heard.
#[tokio::test]
async fn a_gateway_that_is_late_is_heard() {
    let Some(mut sale) = Sale::open().await else { return };
    for id in 1..=3 {
        sale.buy(id).await.unwrap();
    }
    sale.redis.ask(&["FLUSHALL"]);
    sale.ledgers.note_gateway("silent").await.unwrap();
    let took_ms = sale.recover().await;
    assert!((3_000..RECOVERY_MAX_MS).contains(&took_ms), "{took_ms} ms");
    assert_eq!(sale.counters().await.held, 0);
    // Its units are sold to others but for two; and the third buyer has bought again under the same key.
    for id in 10..=17 {
        sale.buy(id).await.unwrap();
    }
    let again = contract::stock::Reservation { order: order(30), ..asks(3) };
    sale.ask(&again).await.unwrap();
    sale.remember([1, 2, 3], 1).await;
    sale.until_it_sells().await;
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true), "it had units left");
    assert_eq!(sale.check().await, 2, "one is sold out, one was bought again");
    let failed = |entry: &contract::stock::Entry| matches!(entry.event, Event::PromiseFailed { .. });
    assert_eq!(sale.entries().await.iter().filter(|entry| failed(entry)).count(), 2);
    sale.look().await.unwrap();
    assert_eq!(sale.entries().await.iter().filter(|entry| failed(entry)).count(), 2, "once");
}

/// The time of a sale says nothing about what was promised in it.
#[tokio::test]
async fn a_promise_of_the_first_and_the_last_moment_is_kept() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.buy(2).await.unwrap();
    sale.redis.ask(&["FLUSHALL"]);
    sale.decide(Action::End { ends_at_ms: 900 });
    sale.remember([1], 0).await;
    sale.remember([2], RULES.ends_at_ms + 1).await;
    sale.recover().await;
    assert_eq!((sale.counters().await.held, sale.check().await), (2, 0));
    assert_eq!(sale.buy(3).await.unwrap(), [Outcome::Ended]);
}

/// The unit of a closed order was sold again in the second that Redis lost. The gateway that sold it reports it; only
/// the database knows that the unit was free.
#[tokio::test]
async fn what_the_database_decided_comes_before_what_gateways_remember() {
    let Some(mut sale) = Sale::open().await else { return };
    for id in 1..=i64::try_from(STOCK).unwrap() {
        sale.buy(id).await.unwrap();
    }
    sale.relay().await;
    sale.take_in().await;
    let older = sale.ledgers.snapshot(activity()).await.unwrap().unwrap();
    sale.act(Action::Release(order(1))).await.unwrap();
    sale.act(Action::Settle(order(2))).await.unwrap();
    assert_eq!(sale.buy(20).await.unwrap(), held(20, false));
    // Redis forgets all three.
    sale.redis.ask(&["FLUSHALL"]);
    assert_eq!(older.holds.len(), 10);
    sale.decide(Action::Release(order(1)));
    sale.decide(Action::Settle(order(2)));
    sale.remember([20], 5).await;
    sale.recover().await;
    assert_eq!(sale.check().await, 0);
    let counters = sale.counters().await;
    assert_eq!((counters.available, counters.held, counters.sold), (0, 9, 1));
    assert_eq!(sale.buy(20).await.unwrap(), held(20, true));
}

/// A ledger that can't be recovered keeps no other closed.
#[tokio::test]
async fn a_ledger_that_can_not_be_recovered_stays_closed_alone() {
    let Some(mut sale) = Sale::open().await else { return };
    let other = ActivityId::from_i64(8).unwrap();
    sale.announce(other, RULES);
    sale.recover().await;
    sale.redis.ask(&["XADD", &format!("mall:{{{other}.0}}:outbox"), "*", "no", "entry"]);
    sale.freeze();
    sale.redis.ask(&["HSET", &format!("mall:{{{other}.0}}:ledger"), "run", "another"]);
    sale.recover().await;
    assert_eq!(sale.buy(1).await.unwrap(), held(1, false));
    let reply = sale.ledgers.reserve(BY_THE_SERVER, other, &[asks(2)]).await;
    assert!(reply.unwrap_err().0.contains("FROZEN"));
    let before = *sale.log.appends.lock().unwrap();
    for _ in 0..LOOKS_MAX {
        sale.look().await.unwrap();
    }
    assert_eq!(sale.fence.failed().collect::<Vec<_>>(), [other]);
    assert_ne!(sale.look().await.unwrap(), Looked::Frozen, "it is no reason to be unready");
    let appends = *sale.log.appends.lock().unwrap() - before;
    assert!((2..10).contains(&appends), "it is tried again, less and less often: {appends} times");
    assert_eq!(sale.buy(3).await.unwrap(), held(3, false));
    // Once the element is gone, the ledger is back.
    sale.redis.ask(&["XTRIM", &format!("mall:{{{other}.0}}:outbox"), "MAXLEN", "0"]);
    sale.now_ms += 60_000;
    sale.recover().await;
    assert!(sale.ledgers.reserve(BY_THE_SERVER, other, &[asks(2)]).await.is_ok());
    assert_eq!(sale.fence.failed().len(), 0);
    assert!(sale.folder().exists());
}
