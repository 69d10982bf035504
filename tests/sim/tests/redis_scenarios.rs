//! Sequences that were found by reading, each run step by step on a simulated Redis.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use contract::{
    ActivityId, OrderId, UserId,
    activity::Rules,
    stock::{Command, Ledger, Outcome, Reservation, Snapshot, Term},
};
use foundation::redis::{Connection, Transport};
use ledger::redis::RedisLedger;
use redis::{RedisFuture, Value, parse_redis_value};
use sim::redis::{Planted, Server};

const NOW_MS: u64 = 1_000;
const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: 0, ends_at_ms: 1 << 40 };

/// A server that is replaced by another one, whose client does not notice: the error of the lost connection has gone to
/// somebody else who shares the connection.
#[derive(Clone)]
struct Replaced(Arc<Mutex<State>>);

struct State {
    server: Server,
    commands: usize,
    /// The server that takes over, and before which command.
    next: Option<(usize, Server)>,
}

impl Replaced {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Replaced {
    fn ask(&self, commands: Vec<u8>, _: usize) -> RedisFuture<'_, Vec<Value>> {
        Box::pin(async move {
            let mut state = self.state();
            let sent = state.commands;
            if let Some((_, server)) = state.next.take_if(|(at, _)| *at == sent) {
                state.server = server;
            }
            state.commands += 1;
            let replies = state.server.handle(&commands, NOW_MS);
            replies.iter().map(|reply| parse_redis_value(reply)).collect()
        })
    }

    fn leave(&self) {}
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the server answers at once"),
    }
}

fn activity() -> ActivityId {
    ActivityId::from_i64(7).unwrap()
}

/// A ledger of ten units in term `term`, with orders 1 to `orders`.
fn ledger(term: u64, orders: i64) -> Snapshot {
    let mut ledger = Ledger::open_in(Term(term), activity(), 10, RULES, 1).0;
    for id in 1..=orders {
        let (order, user) = (OrderId::from_i64(id).unwrap(), UserId::from_i64(id).unwrap());
        let asked = Reservation { order, user, request: None, quantity: 1 };
        let outcome = ledger.apply(Command::Reserve(asked), NOW_MS, &mut Vec::new());
        assert_eq!(outcome, Outcome::Held { order, repeated: false });
    }
    ledger.snapshot()
}

/// CE8, within one term: Redis restarts while a ledger is rebuilt, and has lost the first steps of that but not the closing. The
/// rebuild must not go on there, whichever its next step is.
#[test]
fn a_rebuild_does_not_go_on_where_its_first_steps_are_lost() {
    let mut refused = 0;
    // Begin, orders, users, end, open.
    for lost_before in 0..5 {
        let server =
            Replaced(Arc::new(Mutex::new(State { server: Server::new(1, Planted::None), commands: 0, next: None })));
        let ledgers = RedisLedger::over(Connection::over(server.clone()));
        now(ledgers.close(activity(), Term(1))).unwrap();
        now(ledgers.rebuild(&ledger(1, 2))).unwrap();
        now(ledgers.open_in(activity(), Term(1))).unwrap();
        now(ledgers.close(activity(), Term(2))).unwrap();
        {
            let mut state = server.state();
            let after_the_closing = state.server.successor(2, NOW_MS, 0);
            state.next = Some((state.commands + lost_before, after_the_closing));
        }
        let wanted = ledger(2, 5);
        let rebuilt = now(ledgers.rebuild(&wanted));
        let opened = if rebuilt.is_ok() { now(ledgers.open_in(activity(), Term(2))) } else { rebuilt };
        match opened {
            Ok(()) => {
                let found = now(ledgers.snapshot(activity())).unwrap().unwrap();
                assert_eq!(found, wanted, "a server that took over before command {lost_before}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0, "no step was lost");
}
