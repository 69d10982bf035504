//! The simulated Redis answers as a real one with the Lua scripts does, command by command, and has the same keys.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{
    collections::BTreeMap,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use contract::{
    ActivityId, OperationId, OrderId, UserId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{Entry, Ledger, RequestKey, Reservation, Snapshot, Term, Window},
};
use foundation::redis::{Connection, Transport};
use ledger::{
    LedgerClient as _,
    redis::{
        RedisLedger,
        wire::{Caller, Holds},
    },
};
use proptest::prelude::*;
use redis::{RedisFuture, Value, cmd, parse_redis_value};
use services::Redis;
use sim::redis::{Planted, Server};
use tokio::runtime::Runtime;

const NOW_MS: u64 = 1_000;
const PARTS: [&str; 6] = ["ledger", "orders", "requests", "users", "restocks", "outbox"];

static REDIS: LazyLock<Option<Redis>> = LazyLock::new(|| Redis::start_with("no"));
static NEXT_ACTIVITY: AtomicI64 = AtomicI64::new((1 << 53) + 1);

/// A simulated server that answers at once.
struct Direct(Mutex<Server>);

impl Transport for Direct {
    fn ask(&self, commands: Vec<u8>, replies: usize) -> RedisFuture<'_, Vec<Value>> {
        Box::pin(async move {
            let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).handle(&commands, NOW_MS);
            assert_eq!(found.len(), replies);
            found.iter().map(|reply| parse_redis_value(reply)).collect()
        })
    }

    fn leave(&self) {}
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { asked: Vec<Reservation>, term: Option<u64>, holds: Holds, at_ms: u64 },
    Act(Vec<Action>),
    Close(u64),
    Rebuild { forgets: usize },
    Open,
    Reopen,
    Trim,
    Evict(usize),
    Freeze,
}

fn order(id: i64) -> OrderId {
    OrderId::from_i64((1 << 53) + 1 + id).unwrap()
}

fn reservation() -> impl Strategy<Value = Reservation> {
    let quantity = prop_oneof![8 => Just(1_u32), 3 => 0..=4_u32, 1 => Just(u32::MAX)];
    let key = prop_oneof![2 => Just(None), 3 => (0..4_u8).prop_map(Some)];
    (0..40_i64, 0..5_i64, key, quantity).prop_map(|(id, user, key, quantity)| Reservation {
        order: order(id),
        user: UserId::from_i64(1 + user).unwrap(),
        request: key.map(|byte| RequestKey([byte + 10 * u8::try_from(user).unwrap(); 16])),
        quantity,
    })
}

fn action() -> impl Strategy<Value = Action> {
    let id = || (0..40_i64).prop_map(order);
    let restock = (1..5_i64, -3..=3_i64)
        .prop_map(|(operation, delta)| Action::Restock { operation: OperationId::from_i64(operation).unwrap(), delta });
    prop_oneof![
        6 => id().prop_map(Action::Settle),
        6 => id().prop_map(Action::Release),
        3 => restock,
        1 => (0..NOW_MS).prop_map(|ends_at_ms| Action::End { ends_at_ms }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let holds = prop_oneof![8 => Just(Holds::New), 1 => Just(Holds::RepeatsOnly), 1 => Just(Holds::Promised)];
    let term = prop_oneof![3 => Just(None), 3 => Just(Some(0)), 1 => Just(Some(1))];
    let at_ms = prop_oneof![1 => Just(1), 8 => Just(NOW_MS), 1 => Just(1 << 50)];
    prop_oneof![
        20 => (proptest::collection::vec(reservation(), 1..6), term, holds, at_ms)
            .prop_map(|(asked, term, holds, at_ms)| Step::Reserve { asked, term, holds, at_ms }),
        10 => proptest::collection::vec(action(), 1..5).prop_map(Step::Act),
        2 => (0..3_u64).prop_map(Step::Close),
        2 => (0..3_usize).prop_map(|forgets| Step::Rebuild { forgets }),
        2 => Just(Step::Open),
        4 => Just(Step::Reopen),
        2 => Just(Step::Trim),
        1 => (0..PARTS.len()).prop_map(Step::Evict),
        1 => Just(Step::Freeze),
    ]
}

/// One of the two servers.
struct Home {
    ledgers: RedisLedger,
    activity: ActivityId,
    run: String,
    term: u64,
}

type Answer = Result<String, String>;

/// Without the texts of errors behind the code, which differ where a server wraps them.
fn answer<T: std::fmt::Debug>(result: Result<T, impl std::fmt::Display>) -> Answer {
    result.map(|value| format!("{value:?}")).map_err(|error| {
        let text = error.to_string();
        let codes = ["UNOPENED", "FROZEN", "TERM", "BROKEN"];
        codes.iter().find(|code| text.contains(**code)).map_or(text.clone(), |code| (*code).to_owned())
    })
}

impl Home {
    async fn new(ledgers: RedisLedger, activity: ActivityId) -> Self {
        let run = ledgers.run_id().await.unwrap();
        Self { ledgers, activity, run, term: 1 }
    }

    fn key(&self, part: &str) -> String {
        format!("mall:{{{}.0}}:{part}", self.activity)
    }

    async fn reopen(&mut self, ledger: &Snapshot, forgets: usize) -> Vec<Answer> {
        self.term += 1;
        let term = Term(self.term);
        let mut snapshot = Snapshot { term, ..ledger.clone() };
        snapshot.holds.truncate(snapshot.holds.len().saturating_sub(forgets));
        vec![
            answer(self.ledgers.close(self.activity, term).await),
            answer(self.ledgers.rebuild(&snapshot).await),
            answer(self.ledgers.open_in(self.activity, term).await),
        ]
    }

    async fn take(&mut self, step: &Step, opening: &Snapshot) -> Vec<Answer> {
        let (activity, ledgers) = (self.activity, self.ledgers.clone());
        match step {
            Step::Reserve { asked, term, holds, at_ms } => {
                let term = term.map(|behind| Term(self.term.saturating_sub(behind)));
                let window = Window { max: 0, within_ms: 0 };
                let caller = Caller { run: &self.run, term, now_ms: Some(*at_ms), window, holds: *holds, trace: None };
                vec![answer(ledgers.reserve(caller, activity, asked).await)]
            }
            Step::Act(actions) => {
                let commands = actions.iter().map(|action| LedgerCommand { activity, action: *action }).collect();
                vec![answer(ledgers.act(commands).await)]
            }
            Step::Close(above) => {
                let closed = ledgers.close(activity, Term(self.term + above)).await;
                self.term += if closed.is_ok() { *above } else { 0 };
                vec![answer(closed)]
            }
            Step::Rebuild { forgets } => {
                let mut snapshot = Snapshot { term: Term(self.term), ..opening.clone() };
                snapshot.holds.truncate(snapshot.holds.len().saturating_sub(*forgets));
                vec![answer(ledgers.rebuild(&snapshot).await)]
            }
            Step::Open => vec![answer(ledgers.open_in(activity, Term(self.term)).await)],
            Step::Reopen => {
                let found = ledgers.snapshot(activity).await;
                let found = found.ok().flatten().filter(|found| Ledger::restore(found).is_ok());
                self.reopen(found.as_ref().unwrap_or(opening), 0).await
            }
            Step::Trim => {
                let outboxes = ledgers.read_outboxes(&[activity]).await.unwrap();
                let mut answers = Vec::new();
                for outbox in &outboxes {
                    answers.push(answer(ledgers.trim_outbox(outbox).await));
                }
                answers
            }
            Step::Evict(part) => {
                let key = self.key(PARTS[*part]);
                vec![answer(cmd("UNLINK").arg(key).query_async::<u64>(&mut ledgers.connection()).await)]
            }
            Step::Freeze => {
                let mut freeze = cmd("HSET");
                freeze.arg(self.key("ledger")).arg("run").arg("another");
                vec![answer(freeze.query_async::<u64>(&mut ledgers.connection()).await)]
            }
        }
    }

    /// All that is in the keys, but the clock's part of the outbox and what names the server.
    async fn dump(&self) -> (BTreeMap<String, BTreeMap<String, String>>, Vec<String>, Result<Vec<Entry>, String>) {
        let mut connection = self.ledgers.connection();
        let mut hashes = BTreeMap::new();
        for part in ["ledger", "orders", "requests", "users"] {
            let mut hash: BTreeMap<String, String> =
                cmd("HGETALL").arg(self.key(part)).query_async(&mut connection).await.unwrap();
            for run in hash.values_mut().filter(|value| **value == self.run) {
                *run = "this run".to_owned();
            }
            hashes.insert(part.to_owned(), hash);
        }
        let mut restocks: Vec<String> =
            cmd("SMEMBERS").arg(self.key("restocks")).query_async(&mut connection).await.unwrap();
        restocks.sort_unstable();
        let outbox = self.ledgers.outbox(self.activity).await.map_err(|error| error.to_string());
        let timeless = |entry: Entry| Entry { at_ms: 0, ..entry };
        (hashes, restocks, outbox.map(|entries| entries.into_iter().map(timeless).collect()))
    }
}

async fn compare(real: RedisLedger, stock: u64, per_user_limit: u32, steps: Vec<Step>) {
    let activity = ActivityId::from_i64(NEXT_ACTIVITY.fetch_add(1, Ordering::Relaxed)).unwrap();
    let server = Direct(Mutex::new(Server::new(7, Planted::None)));
    let model = RedisLedger::over(Connection::over(server));
    let mut homes = [Home::new(real, activity).await, Home::new(model, activity).await];
    // The end is in no test's past: `act` asks the server's clock, and the two clocks differ.
    let rules = Rules { per_user_limit, starts_at_ms: 500, ends_at_ms: 1 << 49 };
    let opening = Ledger::open_in(Term(1), activity, stock, rules, 1).0.snapshot();
    let [real, model] = &mut homes;
    for (at, step) in std::iter::once(&Step::Reopen).chain(&steps).enumerate() {
        let (expected, found) = (real.take(step, &opening).await, model.take(step, &opening).await);
        assert_eq!(expected, found, "step {at}: {step:?}");
        assert_eq!(real.dump().await, model.dump().await, "step {at}: {step:?}");
        assert_eq!(
            answer(real.ledgers.counters(activity).await),
            answer(model.ledgers.counters(activity).await),
            "step {at}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn the_simulated_redis_is_the_real_one(
        stock in 0..20_u64,
        limit in prop_oneof![Just(1_u32), Just(2), Just(5)],
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let Some(redis) = &*REDIS else { return Ok(()) };
        let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            compare(RedisLedger::new(&redis.url()).unwrap(), stock, limit, steps).await;
        });
    }
}
