//! The scripts on a real Redis do what the rules in Rust do, and a Redis that lost its memory sells nothing.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use contract::{
    ActivityId, OperationId, OrderId, UserId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{BatchReply, Command, Entry, Event, Ledger, Outcome, RequestKey, Reservation, Window},
};
use ledger::{
    LedgerClient, LedgerUnavailable,
    conformance::{Fixture, suite},
    redis::{RedisLedger, wire::Caller},
};
use proptest::prelude::*;
use redis::cmd;
use services::Redis;
use tokio::runtime::Runtime;

/// Ids are beyond what a JavaScript or Lua number can tell apart.
const BEYOND: i64 = (1 << 53) + 1;
/// Every history begins here; its clock is its own.
const BEGIN_MS: u64 = 900;
/// The server's clock does not come to it.
const NEVER_MS: u64 = u64::MAX >> 12;

static REDIS: LazyLock<Option<Redis>> = LazyLock::new(|| Redis::start_with("no"));
static NEXT_ACTIVITY: AtomicI64 = AtomicI64::new(BEYOND);

fn activity() -> ActivityId {
    ActivityId::from_i64(NEXT_ACTIVITY.fetch_add(1, Ordering::Relaxed)).unwrap()
}

fn order(id: i64) -> OrderId {
    OrderId::from_i64(BEYOND + id).unwrap()
}

fn asks(id: i64, user: i64, request: Option<u8>, quantity: u32) -> Reservation {
    let request = request.map(|byte| RequestKey([byte; 16]));
    Reservation { order: order(id), user: UserId::from_i64(BEYOND + user).unwrap(), request, quantity }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(redis: &Redis) -> RedisLedger {
    let ledgers = RedisLedger::new(&redis.url()).unwrap();
    let run = ledgers.run_id().await.unwrap();
    ledgers.set_verified(&run).await.unwrap();
    ledgers
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Reserve(Vec<Reservation>),
    Act(Vec<Action>),
    Wait(u64),
    /// Redis lost it, and it was rebuilt.
    Rebuild,
}

fn reservation() -> impl Strategy<Value = Reservation> {
    let quantity = prop_oneof![8 => 1..=1_u32, 4 => 0..=5_u32, 1 => Just(u32::MAX)];
    // A key belongs to a user: it is a digest of both. Now and then two users share one all the same.
    let key = prop_oneof![2 => Just(None), 3 => (0..3_u8).prop_map(Some)];
    (0..60_i64, 0..5_i64, key, quantity).prop_map(|(id, user, key, quantity)| {
        let key = key.map(|key| if key == 2 { 200 } else { 10 * u8::try_from(user).unwrap() + key });
        asks(id, user, key, quantity)
    })
}

fn action() -> impl Strategy<Value = Action> {
    let id = || (0..60_i64).prop_map(order);
    let restock = (0..6_i64, -4..=4_i64).prop_map(|(operation, delta)| Action::Restock {
        operation: OperationId::from_i64(BEYOND + operation).unwrap(),
        delta,
    });
    // Before every instant of a history, so that the server's clock and the model's agree on the end.
    let end = Just(Action::End { ends_at_ms: BEGIN_MS });
    prop_oneof![
        12 => id().prop_map(Action::Settle),
        12 => id().prop_map(Action::Release),
        4 => restock,
        1 => end,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(reservation(), 1..8).prop_map(Step::Reserve),
        4 => proptest::collection::vec(action(), 1..6).prop_map(Step::Act),
        4 => prop_oneof![Just(1), Just(499), Just(500), 0..900_u64].prop_map(Step::Wait),
        1 => Just(Step::Rebuild),
    ]
}

/// What a history begins with.
#[derive(Debug, Clone)]
struct Start {
    stock: u64,
    rules: Rules,
    window: Window,
}

fn start() -> impl Strategy<Value = Start> {
    (0..30_u64, prop_oneof![Just(1), Just(2), Just(5)], 0..4_u32).prop_map(|(stock, per_user_limit, max)| Start {
        stock,
        rules: Rules { per_user_limit, starts_at_ms: 1_000, ends_at_ms: NEVER_MS },
        window: Window { max, within_ms: 500 },
    })
}

/// Instants of what the server's clock decided can't be foretold.
fn timeless(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        if !matches!(entry.event, Event::Held(_)) {
            entry.at_ms = 0;
        }
    }
    entries
}

async fn same(ledgers: &RedisLedger, start: Start, steps: Vec<Step>) {
    let Start { stock, rules, window } = start;
    let (activity, mut now_ms) = (activity(), BEGIN_MS);
    let (mut model, opened) = Ledger::open(activity, stock, rules, now_ms);
    model.set_window(window);
    let mut journal = vec![opened];
    assert_eq!(ledgers.open(activity, stock, rules).await, Ok(model.counters()));
    for step in steps {
        match step {
            Step::Reserve(asked) => {
                let mut apply = |asked: &Reservation| model.apply(Command::Reserve(*asked), now_ms, &mut journal);
                let expected: Vec<Outcome> = asked.iter().map(&mut apply).collect();
                let caller = Caller { run: "", now_ms: Some(now_ms), window, repeats_only: false };
                let reply = ledgers.reserve(caller, activity, &asked).await.unwrap();
                assert_eq!((reply.outcomes, reply.counters), (expected, model.counters()), "{asked:?}");
            }
            Step::Act(actions) => {
                let mut apply = |action: &Action| model.apply((*action).into(), now_ms, &mut journal);
                let expected: Vec<Outcome> = actions.iter().map(&mut apply).collect();
                let commands = actions.iter().map(|action| LedgerCommand { activity, action: *action }).collect();
                assert_eq!(ledgers.act(commands).await, Ok(expected), "{actions:?}");
                assert_eq!(ledgers.counters(activity).await, Ok(Some(model.counters())));
            }
            Step::Wait(ms) => now_ms += ms,
            Step::Rebuild => {
                assert_eq!(timeless(ledgers.outbox(activity).await.unwrap()), timeless(std::mem::take(&mut journal)));
                let mut snapshot = model.snapshot();
                freeze(ledgers, activity).await;
                assert_eq!(ledgers.rebuild(&snapshot, "rebuilding:1").await, Ok(true));
                assert_eq!(ledgers.outbox(activity).await, Ok(Vec::new()));
                snapshot.epoch += 1;
                model = Ledger::restore(&snapshot).unwrap();
                model.set_window(window);
            }
        }
        assert_eq!(ledgers.snapshot(activity).await, Ok(Some(model.snapshot())));
    }
    assert_eq!(timeless(ledgers.outbox(activity).await.unwrap()), timeless(journal));
}

/// As a restart of the server leaves it.
async fn freeze(ledgers: &RedisLedger, activity: ActivityId) {
    let mut set = cmd("HSET");
    set.arg(format!("mall:{{{activity}}}:ledger")).arg("run").arg("another");
    let _: u64 = set.query_async(&mut ledgers.connection()).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn scripts_and_rules_agree(start in start(), steps in proptest::collection::vec(step(), 1..50)) {
        let Some(redis) = &*REDIS else { return Ok(()) };
        runtime().block_on(async { same(&connect(redis).await, start, steps).await });
    }
}

/// A connection to a Redis.
struct Home<'a>(&'a Redis);

impl Fixture for Home<'_> {
    type Client = RedisLedger;

    async fn client(&self) -> RedisLedger {
        connect(self.0).await
    }

    fn activity(&self) -> ActivityId {
        activity()
    }

    async fn ask(
        &self,
        client: &RedisLedger,
        activity: ActivityId,
        reservations: Vec<Reservation>,
        repeats_only: bool,
    ) -> Result<BatchReply, LedgerUnavailable> {
        client.reserve(Caller { repeats_only, ..BY_THE_SERVER }, activity, &reservations).await
    }

    async fn journal(&self, client: &RedisLedger, activity: ActivityId) -> Vec<Entry> {
        client.outbox(activity).await.unwrap()
    }
}

#[tokio::test]
async fn conforms() {
    let Some(redis) = Redis::start_with("no") else { return };
    suite(&Home(&redis)).await;
}

/// A gateway of the version before may have left it: a sale goes on across an upgrade.
#[tokio::test]
async fn what_an_earlier_version_left_is_read() {
    let Some(redis) = &*REDIS else { return };
    let (ledgers, activity) = (connect(redis).await, activity());
    ledgers.open(activity, 5, RULES).await.unwrap();
    let order = OrderId::from_i64(1).unwrap();
    let (user, request) = (UserId::from_i64(2).unwrap(), Some(RequestKey([0xee; 16])));
    let asked = Reservation { order, user, request, quantity: 1 };
    ledgers.reserve(BY_THE_SERVER, activity, &[asked]).await.unwrap();
    let (snapshot, journal) = (ledgers.snapshot(activity).await, ledgers.outbox(activity).await.unwrap());
    let (key, hex) = (|name: &str| format!("mall:{{{activity}}}:{name}"), "ee".repeat(16));
    let (held, first) = (&journal[1], format!("h 1 2 1 {hex}"));
    let mut put = redis::pipe();
    put.cmd("HSET").arg(key("orders")).arg("1").arg("2:1:h").ignore();
    put.cmd("HSET").arg(key("users")).arg("2").arg("1:1").ignore();
    put.cmd("HSET").arg(key("requests")).arg(&hex).arg("1:2:1").ignore();
    put.cmd("XTRIM").arg(key("outbox")).arg("MAXLEN").arg(1).ignore();
    put.cmd("XADD").arg(key("outbox")).arg("*");
    put.arg(&["s", "2", "e", "1", "t", &held.at_ms.to_string(), "x", &first]).ignore();
    let () = put.query_async(&mut ledgers.connection()).await.unwrap();
    assert_eq!(ledgers.snapshot(activity).await, snapshot);
    assert_eq!(ledgers.outbox(activity).await.unwrap().last(), Some(held));
    let again = Reservation { order: OrderId::from_i64(9).unwrap(), ..asked };
    let reply = ledgers.reserve(BY_THE_SERVER, activity, &[again]).await.unwrap();
    assert_eq!(reply.outcomes, [Outcome::Held { order, repeated: true }]);
}

const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: 0, ends_at_ms: u64::MAX };
const BY_THE_SERVER: Caller<'static> =
    Caller { run: "", now_ms: None, window: Window { max: 0, within_ms: 0 }, repeats_only: false };

#[tokio::test]
async fn a_script_that_is_not_known_is_sent() {
    let Some(redis) = Redis::start_with("no") else { return };
    let ledgers = connect(&redis).await;
    let activity = activity();
    for id in 0..3 {
        let _: () = cmd("SCRIPT").arg("FLUSH").query_async(&mut ledgers.connection()).await.unwrap();
        ledgers.open(activity, 10, RULES).await.unwrap();
        let reply = ledgers.reserve(BY_THE_SERVER, activity, &[asks(id, id, None, 1)]).await.unwrap();
        assert_eq!(reply.outcomes, [Outcome::Held { order: order(id), repeated: false }]);
        let settle = LedgerCommand { activity, action: Action::Settle(order(id)) };
        assert_eq!(ledgers.act(vec![settle]).await, Ok(vec![Outcome::Done]));
    }
}

#[tokio::test]
async fn a_restart_freezes_until_thawed() {
    let Some(mut redis) = Redis::start() else { return };
    let ledgers = connect(&redis).await;
    let (activity, missing) = (activity(), activity());
    ledgers.open(activity, 10, RULES).await.unwrap();
    ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.unwrap();
    let before = ledgers.counters(activity).await.unwrap().unwrap();
    redis.kill();
    redis.resume();
    // The first command after a loss may fail; none may sell.
    let refused = async |word: &str| {
        let error = ledgers.reserve(BY_THE_SERVER, activity, &[asks(2, 2, None, 1)]).await.unwrap_err();
        error.0.contains(word)
    };
    assert!(refused("FROZEN").await || refused("FROZEN").await);
    let settle = LedgerCommand { activity, action: Action::Settle(order(1)) };
    assert!(ledgers.act(vec![settle]).await.unwrap_err().0.contains("FROZEN"));
    assert!(ledgers.open(missing, 1, RULES).await.is_err(), "what is missing may have been lost");

    let state = ledgers.states(&[activity]).await.unwrap()[0].clone().unwrap();
    assert_eq!(state.seq, Some(before.seq));
    assert_eq!(ledgers.thaw(activity, &state).await, Ok(true));
    assert_eq!(ledgers.thaw(activity, &state).await, Ok(false), "it is as that state no more");
    let reply = ledgers.reserve(BY_THE_SERVER, activity, &[asks(2, 2, None, 1)]).await.unwrap();
    assert_eq!((reply.counters.epoch, reply.counters.held), (before.epoch + 1, 2));
}

#[tokio::test]
async fn an_empty_redis_knows_nothing_and_says_so() {
    let Some(redis) = Redis::start_with("no") else { return };
    let ledgers = connect(&redis).await;
    let activity = activity();
    let unknown = LedgerCommand { activity, action: Action::Release(order(1)) };
    assert_eq!(ledgers.act(vec![unknown]).await, Ok(vec![Outcome::UnknownOrder]));
    ledgers.open(activity, 10, RULES).await.unwrap();
    let _: () = cmd("FLUSHALL").query_async(&mut ledgers.connection()).await.unwrap();
    let error = ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.unwrap_err();
    assert!(error.0.contains("UNOPENED"), "{error}");
    assert!(ledgers.act(vec![unknown]).await.unwrap_err().0.contains("UNOPENED"));
    assert!(ledgers.open(activity, 10, RULES).await.is_err(), "what was sold would be sold again");
    assert_eq!(ledgers.counters(activity).await, Ok(None));
}

#[tokio::test]
async fn a_rebuild_shuts_others_out() {
    let Some(redis) = &*REDIS else { return };
    let ledgers = connect(redis).await;
    let activity = activity();
    let (mut model, _) = Ledger::open(activity, 2_000, RULES, 0);
    for id in 0..1_500 {
        model.apply(Command::Reserve(asks(id, id, Some(u8::try_from(id % 256).unwrap()), 1)), 1, &mut Vec::new());
    }
    assert_eq!(ledgers.rebuild(&model.snapshot(), "rebuilding:1").await, Ok(true));
    let mut snapshot = model.snapshot();
    snapshot.epoch += 1;
    assert_eq!(ledgers.snapshot(activity).await, Ok(Some(snapshot)));
    assert_eq!(ledgers.rebuild(&model.snapshot(), "rebuilding:2").await, Ok(false), "it is whole on this run");
    freeze(&ledgers, activity).await;
    let error = ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.unwrap_err();
    assert!(error.0.contains("FROZEN"), "{error}");
}

#[tokio::test]
async fn a_redis_that_hangs_is_unavailable_and_comes_back() {
    let Some(redis) = Redis::start_with("no") else { return };
    let ledgers = connect(&redis).await;
    let activity = activity();
    ledgers.open(activity, 10, RULES).await.unwrap();
    redis.freeze();
    assert!(ledgers.counters(activity).await.is_err());
    redis.thaw();
    tokio::time::timeout(Duration::from_secs(30), async {
        while ledgers.counters(activity).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.is_ok());
}
