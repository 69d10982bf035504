//! A recovery may end at any step; another process starts over.

use contract::stock::{Event, Term};
use ledger::redis::fence::Looked;

use crate::world::{Fate, Sale, activity, held, key};

/// It died before each of its appends, or after them.
#[tokio::test]
async fn another_fence_goes_on_where_one_died() {
    for fate in [Fate::Unknown, Fate::Lost] {
        for at in 0..3 {
            let Some(mut sale) = Sale::open().await else { return };
            sale.buy(1).await.unwrap();
            sale.relay().await;
            sale.buy(2).await.unwrap();
            sale.redis.ask(&["DEL", &key("users")]);
            let mut fates = vec![Fate::Written; at];
            fates.push(fate);
            *sale.log.fates.lock().unwrap() = fates;
            while !sale.log.fates.lock().unwrap().is_empty() {
                drop(sale.look().await);
            }
            sale.restart_fence();
            sale.until_it_sells().await;
            assert_eq!(sale.buy(2).await.unwrap(), held(2, true), "{fate:?} {at}");
            assert_eq!(sale.buy(3).await.unwrap(), held(3, false), "{fate:?} {at}");
            assert_eq!(sale.check().await, 0, "{fate:?} {at}");
            assert!(sale.ledgers.closed().await.unwrap().is_empty(), "relays would rest for ever");
        }
    }
}

/// It died between the opening on the journal and the one in Redis: gateways believe that it sells, and it does not.
#[tokio::test]
async fn a_term_that_opened_on_the_journal_alone_is_followed_by_another() {
    let Some(mut sale) = Sale::open().await else { return };
    sale.buy(1).await.unwrap();
    sale.freeze();
    sale.recover().await;
    let Term(term) = sale.counters().await.term;
    sale.redis.ask(&["HSET", &key("ledger"), "run", "rebuilt"]);
    sale.restart_fence();
    sale.until_it_sells().await;
    assert_eq!(sale.counters().await.term, Term(term + 1));
    assert_eq!(sale.buy(1).await.unwrap(), held(1, true));
    assert_eq!(sale.check().await, 0);
}

/// A first opening that ends at any of its three appends: the ledger is opened once, with all of its units.
#[tokio::test]
async fn an_opening_may_end_at_any_step() {
    for fate in [Fate::Unknown, Fate::Lost] {
        for at in 0..3 {
            let Some(mut sale) = Sale::open().await else { return };
            let other = contract::ActivityId::from_i64(9).unwrap();
            let mut fates = vec![Fate::Written; at];
            fates.push(fate);
            *sale.log.fates.lock().unwrap() = fates;
            sale.announce(other, crate::world::RULES);
            while !sale.log.fates.lock().unwrap().is_empty() {
                drop(sale.look().await);
            }
            sale.restart_fence();
            sale.until_it_sells().await;
            sale.take_in().await;
            let entries = sale.entries().await;
            let opened = |entry: &&contract::stock::Entry| {
                entry.activity == other && matches!(entry.event, Event::TermOpened(_))
            };
            let last = entries.iter().rfind(opened).unwrap();
            let Event::TermOpened(counts) = last.event else { unreachable!("it is one") };
            assert_eq!((counts.total, counts.held, last.seq), (10, 0, 1), "{fate:?} {at}");
            let reply = sale.ledgers.reserve(crate::world::BY_THE_SERVER, other, &[crate::world::asks(1)]).await;
            assert_eq!(reply.unwrap().counters.held, 1, "{fate:?} {at}");
            assert_eq!(sale.buy(1).await.unwrap(), held(1, false));
        }
    }
}

/// Nothing is asked of the journal or of Redis that could wake a ledger which was never opened.
#[tokio::test]
async fn a_ledger_is_opened_in_a_term_and_known_from_then_on() {
    let Some(mut sale) = Sale::open().await else { return };
    assert_eq!(sale.counters().await.term, Term(1));
    let entries = sale.entries().await;
    assert!(matches!(entries[0].event, Event::TermStarted { .. }));
    assert!(matches!(entries[1].event, Event::Opened { stock: 10, .. }) && entries[1].term == Term(1));
    assert!(matches!(entries[2].event, Event::TermOpened(_)) && entries[2].seq == 1);
    assert_eq!(entries.len(), 3);
    sale.until_it_sells().await;
    sale.restart_fence();
    sale.until_it_sells().await;
    assert_eq!(sale.entries().await.len(), 3, "a fence that starts finds nothing to do");
    assert_eq!(sale.look().await.unwrap(), Looked::Resting);
    assert!(sale.ledgers.closed().await.unwrap().is_empty());
    assert_eq!(activity().as_i64(), 7);
}
