//! The scripts on a real Redis do what the rules in Rust do, and a Redis that lost its memory sells nothing.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use std::{
    collections::HashMap,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use contract::{
    ActivityId, OperationId, OrderId, UserId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{
        BatchReply, Command, Counters, Entry, Event, Ledger, Outcome, RequestKey, Reservation, Snapshot, Term, Window,
    },
};
use ledger::{
    LedgerClient, LedgerUnavailable,
    conformance::{Fixture, open_in_redis, suite},
    redis::{
        RedisLedger,
        wire::{Caller, Holds},
    },
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

fn connect(redis: &Redis) -> RedisLedger {
    RedisLedger::new(&redis.url()).unwrap()
}

async fn open(ledgers: &RedisLedger, activity: ActivityId, stock: u64, rules: Rules) -> Entry {
    open_in_redis(ledgers, Term(1), (activity, stock, rules)).await.unwrap()
}

/// Writes `snapshot` over the ledger and opens it, as a recovery does.
async fn replace(ledgers: &RedisLedger, snapshot: &Snapshot) -> Result<(), LedgerUnavailable> {
    ledgers.close(snapshot.activity, snapshot.term).await?;
    ledgers.rebuild(snapshot).await?;
    ledgers.open_in(snapshot.activity, snapshot.term).await
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
    let (mut model, _) = Ledger::open_in(Term(1), activity, stock, rules, now_ms);
    model.set_window(window);
    let mut journal = Vec::new();
    open(ledgers, activity, stock, rules).await;
    assert_eq!(ledgers.counters(activity).await, Ok(Some(model.counters())));
    for step in steps {
        match step {
            Step::Reserve(asked) => {
                let mut apply = |asked: &Reservation| model.apply(Command::Reserve(*asked), now_ms, &mut journal);
                let expected: Vec<Outcome> = asked.iter().map(&mut apply).collect();
                let caller = Caller {
                    run: "",
                    term: Some(model.counters().term),
                    now_ms: Some(now_ms),
                    window,
                    holds: Holds::New,
                    trace: None,
                };
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
                let Counters { term: Term(term), .. } = model.counters();
                model.start_term(Term(term + 1));
                replace(ledgers, &model.snapshot()).await.unwrap();
                assert_eq!(ledgers.outbox(activity).await, Ok(Vec::new()));
                model = Ledger::restore(&model.snapshot()).unwrap();
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
    set.arg(format!("mall:{{{activity}.0}}:ledger")).arg("run").arg("another");
    let _: u64 = set.query_async(&mut ledgers.connection()).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn scripts_and_rules_agree(start in start(), steps in proptest::collection::vec(step(), 1..50)) {
        let Some(redis) = &*REDIS else { return Ok(()) };
        runtime().block_on(async { same(&connect(redis), start, steps).await });
    }
}

/// A connection to a Redis, and the first entries of the ledgers that were opened there.
struct Home<'a> {
    redis: &'a Redis,
    opened: Mutex<HashMap<ActivityId, Entry>>,
}

/// The suite's client: it opens ledgers itself, as the fence does.
#[derive(Clone)]
struct Opener(RedisLedger);

impl LedgerClient for Opener {
    async fn open(&self, activity: ActivityId, stock: u64, rules: Rules) -> Result<Counters, LedgerUnavailable> {
        if self.0.counters(activity).await?.is_none() {
            open_in_redis(&self.0, Term::FIRST, (activity, stock, rules)).await?;
        }
        self.0.counters(activity).await.map(Option::unwrap)
    }

    async fn act(&self, commands: Vec<LedgerCommand>) -> Result<Vec<Outcome>, LedgerUnavailable> {
        self.0.act(commands).await
    }

    async fn counters(&self, activity: ActivityId) -> Result<Option<Counters>, LedgerUnavailable> {
        self.0.counters(activity).await
    }
}

impl Fixture for Home<'_> {
    type Client = Opener;

    async fn client(&self) -> Opener {
        Opener(connect(self.redis))
    }

    fn activity(&self) -> ActivityId {
        activity()
    }

    async fn ask(
        &self,
        Opener(ledgers): &Opener,
        activity: ActivityId,
        reservations: Vec<Reservation>,
        repeats_only: bool,
    ) -> Result<BatchReply, LedgerUnavailable> {
        let holds = if repeats_only { Holds::RepeatsOnly } else { Holds::New };
        ledgers.reserve(Caller { holds, ..BY_THE_SERVER }, activity, &reservations).await
    }

    async fn journal(&self, Opener(ledgers): &Opener, activity: ActivityId) -> Vec<Entry> {
        let found = ledgers.snapshot(activity).await.unwrap().unwrap();
        let outbox = ledgers.outbox(activity).await.unwrap();
        let delta = |entry: &Entry| if let Event::Restocked { delta, .. } = entry.event { delta } else { 0 };
        let stock = found.total.checked_add_signed(-outbox.iter().map(delta).sum::<i64>()).unwrap();
        let (_, opened) = Ledger::open_in(found.term, activity, stock, found.rules, 0);
        let mut opened = self.opened.lock().unwrap().entry(activity).or_insert(opened).to_owned();
        if let Event::Opened { rules, .. } = &mut opened.event {
            rules.ends_at_ms = rules.ends_at_ms.max(found.rules.ends_at_ms);
        }
        std::iter::once(opened).chain(outbox).collect()
    }
}

#[tokio::test]
async fn conforms() {
    let Some(redis) = Redis::start_with("no") else { return };
    suite(&Home { redis: &redis, opened: Mutex::default() }).await;
}

const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: 0, ends_at_ms: u64::MAX };
const BY_THE_SERVER: Caller<'static> = Caller {
    run: "",
    term: None,
    now_ms: None,
    window: Window { max: 0, within_ms: 0 },
    holds: Holds::New,
    trace: None,
};

#[tokio::test]
async fn a_script_that_is_not_known_is_sent() {
    let Some(redis) = Redis::start_with("no") else { return };
    let ledgers = connect(&redis);
    let activity = activity();
    open(&ledgers, activity, 10, RULES).await;
    for id in 0..3 {
        let _: () = cmd("SCRIPT").arg("FLUSH").query_async(&mut ledgers.connection()).await.unwrap();
        let reply = ledgers.reserve(BY_THE_SERVER, activity, &[asks(id, id, None, 1)]).await.unwrap();
        assert_eq!(reply.outcomes, [Outcome::Held { order: order(id), repeated: false }]);
        let settle = LedgerCommand { activity, action: Action::Settle(order(id)) };
        assert_eq!(ledgers.act(vec![settle]).await, Ok(vec![Outcome::Done]));
    }
}

#[tokio::test]
async fn a_restart_freezes_until_a_new_term_opens() {
    let Some(mut redis) = Redis::start() else { return };
    let ledgers = connect(&redis);
    let activity = activity();
    open(&ledgers, activity, 10, RULES).await;
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

    let mut ledger = Ledger::restore(&ledgers.snapshot(activity).await.unwrap().unwrap()).unwrap();
    ledger.start_term(Term(5));
    replace(&ledgers, &ledger.snapshot()).await.unwrap();
    let reply = ledgers.reserve(BY_THE_SERVER, activity, &[asks(2, 2, None, 1)]).await.unwrap();
    assert_eq!((reply.counters.term, reply.counters.epoch, reply.counters.held), (Term(5), before.epoch + 1, 2));
}

/// Who knows the ledger in another term is refused, and nothing happens.
#[tokio::test]
async fn a_batch_names_the_term() {
    let Some(redis) = &*REDIS else { return };
    let (ledgers, activity) = (connect(redis), activity());
    open(&ledgers, activity, 10, RULES).await;
    for term in [Term(0), Term(2)] {
        let caller = Caller { term: Some(term), ..BY_THE_SERVER };
        let error = ledgers.reserve(caller, activity, &[asks(1, 1, None, 1)]).await.unwrap_err();
        assert!(error.0.contains("TERM"), "{error}");
    }
    let caller = Caller { term: Some(Term(1)), ..BY_THE_SERVER };
    let reply = ledgers.reserve(caller, activity, &[asks(1, 1, None, 1)]).await.unwrap();
    assert_eq!((reply.counters.term, reply.counters.held), (Term(1), 1));
}

/// A promise is kept whatever the time is; the window is not asked.
#[tokio::test]
async fn a_promise_is_held_outside_the_time_of_the_sale() {
    let Some(redis) = &*REDIS else { return };
    let ledgers = connect(redis);
    for (starts_at_ms, ends_at_ms) in [(0, 1), (NEVER_MS - 1, NEVER_MS)] {
        let activity = activity();
        open(&ledgers, activity, 1, Rules { per_user_limit: 1, starts_at_ms, ends_at_ms }).await;
        let caller = Caller { holds: Holds::Promised, ..BY_THE_SERVER };
        let reply = ledgers.reserve(caller, activity, &[asks(1, 1, None, 1), asks(2, 2, None, 1)]).await.unwrap();
        assert_eq!(reply.outcomes, [Outcome::Held { order: order(1), repeated: false }, Outcome::SoldOut]);
        let at_ms = ledgers.outbox(activity).await.unwrap()[0].at_ms;
        assert!((1_700_000_000_000..NEVER_MS - 1).contains(&at_ms), "the server's clock: {at_ms}");
    }
}

#[tokio::test]
async fn an_empty_redis_knows_nothing_and_says_so() {
    let Some(redis) = Redis::start_with("no") else { return };
    let ledgers = connect(&redis);
    let activity = activity();
    let unknown = LedgerCommand { activity, action: Action::Release(order(1)) };
    assert_eq!(ledgers.act(vec![unknown]).await, Ok(vec![Outcome::UnknownOrder]));
    open(&ledgers, activity, 10, RULES).await;
    let _: () = cmd("FLUSHALL").query_async(&mut ledgers.connection()).await.unwrap();
    let error = ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.unwrap_err();
    assert!(error.0.contains("UNOPENED"), "{error}");
    assert_eq!(ledgers.counters(activity).await, Ok(None));
}

/// Two recoveries at once: the lower term is refused at each step, whatever the server has forgotten meanwhile.
#[tokio::test]
async fn the_higher_term_shuts_others_out() {
    let Some(redis) = &*REDIS else { return };
    let ledgers = connect(redis);
    let activity = activity();
    let (mut model, _) = Ledger::open_in(Term(2), activity, 2_000, RULES, 0);
    for id in 0..1_500 {
        model.apply(Command::Reserve(asks(id, id, Some(u8::try_from(id % 256).unwrap()), 1)), 1, &mut Vec::new());
    }
    let lower = model.snapshot();
    ledgers.close(activity, Term(2)).await.unwrap();
    ledgers.rebuild(&lower).await.unwrap();
    let refused = |done: Result<(), LedgerUnavailable>| done.is_err_and(|error| error.0.contains("TERM"));
    assert!(refused(ledgers.close(activity, Term(2)).await) && refused(ledgers.close(activity, Term(1)).await));
    ledgers.close(activity, Term(3)).await.unwrap();
    assert!(refused(ledgers.open_in(activity, Term(2)).await) && refused(ledgers.rebuild(&lower).await));
    assert!(refused(ledgers.open_in(activity, Term(3)).await), "it is not rebuilt yet");
    model.start_term(Term(3));
    ledgers.rebuild(&model.snapshot()).await.unwrap();
    let error = ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.unwrap_err();
    assert!(error.0.contains("FROZEN"), "it sells before it is opened: {error}");
    ledgers.open_in(activity, Term(3)).await.unwrap();
    assert_eq!(ledgers.snapshot(activity).await, Ok(Some(model.snapshot())));
    assert!(refused(ledgers.rebuild(&model.snapshot()).await), "it is open");
    freeze(&ledgers, activity).await;
    let error = ledgers.reserve(BY_THE_SERVER, activity, &[asks(1, 1, None, 1)]).await.unwrap_err();
    assert!(error.0.contains("FROZEN"), "{error}");
}

#[tokio::test]
async fn a_redis_that_hangs_is_unavailable_and_comes_back() {
    let Some(redis) = Redis::start_with("no") else { return };
    let ledgers = connect(&redis);
    let activity = activity();
    open(&ledgers, activity, 10, RULES).await;
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
