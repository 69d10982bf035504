//! What others do while a recovery is under way.

use commit_log::Log as _;
use contract::{
    record::Action,
    stock::{Entry, Event, Term, TermCounts},
};
use ledger::{LedgerClient as _, journal, redis::fence::Looked};

use crate::world::{Fate, Sale, activity, held, key, order};

/// The relay has read an outbox; the ledger gets a new term; then the append lands. The relay must not take away what the
/// recovery needs, and nobody counts the entries twice.
#[tokio::test]
async fn an_append_that_lands_behind_the_start_of_a_term_does_not_count() {
    for trims_late in [true, false] {
        let Some(mut sale) = Sale::open().await else { return };
        sale.buy(1).await.unwrap();
        sale.relay().await;
        sale.buy(2).await.unwrap();
        sale.buy(3).await.unwrap();
        let read = sale.read_outbox().await;
        sale.freeze();
        sale.until_closed().await;
        assert!(!sale.append(&read).await, "an outbox of a closed ledger was trimmed");
        if trims_late {
            sale.recover().await;
            assert!(!sale.ledgers.trim_outbox(&read).await.unwrap(), "and one of another term");
        } else {
            sale.recover().await;
        }
        assert_eq!(sale.buy(2).await.unwrap(), held(2, true));
        assert_eq!(sale.counters().await.held, 3);
        assert_eq!(sale.check().await, 0);
    }
}

/// The same, and Redis has forgotten what the relay had read: only the late append has it. It becomes a failed order, which
/// its buyer can see.
#[tokio::test]
async fn a_late_append_of_what_redis_forgot_becomes_a_failed_order() {
    for is_late in [false, true] {
        let Some(mut sale) = Sale::open().await else { return };
        sale.relay().await;
        sale.buy(1).await.unwrap();
        let read = sale.read_outbox().await;
        sale.redis.ask(&["FLUSHALL"]);
        sale.until_closed().await;
        if is_late {
            sale.recover().await;
        }
        sale.append(&read).await;
        if !is_late {
            // It is on the journal before the recovery reads it.
            sale.recover().await;
        }
        let failed = sale.check().await;
        let kept = usize::try_from(sale.counters().await.held).unwrap();
        assert_eq!((kept, failed), if is_late { (0, 1) } else { (1, 0) });
        // The units of the failed one are for sale.
        for id in 2..=10 {
            assert_eq!(sale.buy(id).await.unwrap(), held(id, false));
        }
        assert_eq!(sale.check().await, failed);
    }
}

/// What a gateway remembers is held again, though the database has already given the order up: the ledger gets its units
/// back, and the order stays failed.
#[tokio::test]
async fn an_order_that_was_given_up_is_not_brought_back() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.relay().await;
    sale.buy(1).await.unwrap();
    let read = sale.read_outbox().await;
    sale.redis.ask(&["FLUSHALL"]);
    sale.recover().await;
    sale.append(&read).await;
    sale.take_in().await;
    assert_eq!(sale.check().await, 1);
    sale.remember([1], 1).await;
    sale.until_it_sells().await;
    assert_eq!(sale.check().await, 1, "it stays failed");
    // As the keeper does with the command that the database has sent.
    sale.act(Action::Release(order(1))).await.unwrap();
    assert_eq!((sale.counters().await.available, sale.check().await), (10, 1));
}

/// Two order-cores: the one that comes second leaves the recovery to the first, and nobody starts a term in vain.
#[tokio::test]
async fn two_fences_do_not_shut_each_other_out() {
    let Some(mut sale) = Sale::open().await else { return };
    let mut other = ledger::redis::fence::Fence::new(sale.ledgers.clone(), sale.log.clone(), sale.database.clone(), 77);
    for round in 0..3 {
        sale.buy(1 + round).await.unwrap();
        sale.freeze();
        let begun_ms = sale.now_ms;
        while sale.buy(1).await.is_err() {
            sale.look().await.unwrap();
            other.look(sale.now_ms + 50).await.unwrap();
            assert!(sale.now_ms < begun_ms + 5_000, "round {round}: they hinder each other");
        }
    }
    let marks = sale.entries().await.iter().filter(|entry| matches!(entry.event, Event::TermStarted { .. })).count();
    assert_eq!(marks, 4, "the opening, and one for each round");
    assert_eq!(sale.check().await, 0);
}

/// A server that comes back older, while another recovery of it had begun.
#[tokio::test]
async fn a_fence_that_was_paused_is_refused() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.freeze();
    sale.until_closed().await;
    let mut other = ledger::redis::fence::Fence::new(sale.ledgers.clone(), sale.log.clone(), sale.database.clone(), 77);
    // The server forgets the closing, as an older copy of it would, and the other fence recovers it.
    sale.redis.ask(&["HSET", &key("ledger"), "term", "1", "run", "another"]);
    let mut looked = Looked::Resting;
    while looked != Looked::Recovered {
        sale.now_ms += 100;
        looked = other.look(sale.now_ms).await.unwrap();
    }
    assert_eq!(sale.buy(2).await.unwrap(), held(2, false));
    let term = sale.counters().await.term;
    sale.until_it_sells().await;
    assert_eq!(sale.counters().await.term, term, "the paused one did nothing");
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true));
    assert_eq!(sale.check().await, 0);
    let marks = sale.entries().await.iter().filter(|entry| matches!(entry.event, Event::TermStarted { .. })).count();
    assert_eq!(marks, 3, "the opening and two recoveries");
}

/// Every append of a recovery may be written or not without anybody knowing; the next try decides again, in a term of
/// its own.
#[tokio::test]
async fn an_append_of_the_recovery_whose_outcome_is_unknown_is_harmless() {
    for fate in [Fate::Unknown, Fate::Lost] {
        for at in 0..3 {
            let Some(mut sale) = Sale::open().await else { return };
            for id in 1..=3 {
                sale.buy(id).await.unwrap();
            }
            sale.relay().await;
            sale.buy(4).await.unwrap();
            sale.freeze();
            sale.remember([5], 1).await;
            sale.promised.lock().unwrap().push(order(5));
            let mut fates = vec![Fate::Written; at];
            fates.push(fate);
            *sale.log.fates.lock().unwrap() = fates;
            sale.until_it_sells().await;
            // Between the tries another gateway reports an older order.
            sale.remember([6], 0).await;
            sale.promised.lock().unwrap().push(order(6));
            sale.until_it_sells().await;
            sale.look().await.unwrap();
            assert_eq!(sale.check().await, 0, "{fate:?} {at}");
            assert_eq!(sale.counters().await.held, 6, "{fate:?} {at}");
            assert_eq!(sale.ledgers.counters(activity()).await.unwrap().unwrap().available, 4);
        }
    }
}

/// The address led to another server for a while, on which the ledger was recovered in a higher term. The first server has
/// its run and the ledger in the older term, so its ledger looks as if it sold.
#[tokio::test]
async fn a_server_that_is_back_with_an_older_term_gets_a_new_one() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.relay().await;
    let before = sale.counters().await;
    let (term, seq, activity) = (Term(before.term.0 + 5), before.seq, activity());
    let counts = TermCounts { total: before.total, held: before.held, sold: before.sold, released: 0 };
    let elsewhere = [Event::TermStarted { nonce: 1 }, Event::TermOpened(counts)];
    let elsewhere = elsewhere.map(|event| Entry { activity, term, epoch: before.epoch, seq, at_ms: 1, event });
    sale.log.log.append(journal::records(&elsewhere)).await.unwrap();
    sale.recover().await;
    assert!(sale.counters().await.term > term);
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true));
    assert_eq!(sale.check().await, 0);
}
