//! The suite that every home of the ledgers passes: the same answers, the same journal.

use std::{collections::BTreeMap, future::Future};

use contract::{
    ActivityId, OperationId, OrderId, UserId,
    activity::Rules,
    record::{Action, LedgerCommand},
    stock::{BatchReply, Command, Counters, Entry, Ledger, Outcome, RequestKey, Reservation, Term},
};

#[cfg(feature = "redis")]
use crate::redis::RedisLedger;
use crate::{LedgerClient, LedgerUnavailable};

/// Opens the ledger of an activity in Redis in `term`, as a recovery does; its first entry.
///
/// # Errors
/// If Redis does not answer, or the ledger is in this term or a higher one.
#[cfg(feature = "redis")]
pub async fn open_in_redis(
    ledgers: &RedisLedger,
    term: Term,
    (activity, stock, rules): (ActivityId, u64, Rules),
) -> Result<Entry, LedgerUnavailable> {
    let (ledger, opened) = Ledger::open_in(term, activity, stock, rules, 0);
    ledgers.close(activity, term).await?;
    ledgers.rebuild(&ledger.snapshot()).await?;
    ledgers.open_in(activity, term).await?;
    ledgers.reopened(activity).await?;
    Ok(opened)
}

/// What the suite needs of a backend. Its clock is the real one, and no user's tries are counted.
pub trait Fixture: Sync {
    /// The backend.
    type Client: LedgerClient;

    /// Where no activity of the suite was ever opened, or the same place as before.
    fn client(&self) -> impl Future<Output = Self::Client> + Send;

    /// An activity that was never opened there.
    fn activity(&self) -> ActivityId;

    /// The way of the gateways; `repeats_only` asks for first answers alone.
    fn ask(
        &self,
        client: &Self::Client,
        activity: ActivityId,
        reservations: Vec<Reservation>,
        repeats_only: bool,
    ) -> impl Future<Output = Result<BatchReply, LedgerUnavailable>> + Send;

    /// [`Fixture::ask`] while the sale runs.
    fn reserve(
        &self,
        client: &Self::Client,
        activity: ActivityId,
        reservations: Vec<Reservation>,
    ) -> impl Future<Output = Result<BatchReply, LedgerUnavailable>> + Send {
        self.ask(client, activity, reservations, false)
    }

    /// What the ledger of `activity` has decided since it was opened, as the log has it or will have it.
    fn journal(&self, client: &Self::Client, activity: ActivityId) -> impl Future<Output = Vec<Entry>> + Send;
}

/// Runs every case.
///
/// # Panics
/// If the backend differs.
pub async fn suite<F: Fixture>(fixture: &F) {
    a_ledger_is_opened_once(fixture).await;
    each_asker_is_told_its_own(fixture).await;
    commands_bear_being_repeated(fixture).await;
    what_is_not_open_sells_nothing(fixture).await;
    a_sale_outside_its_time_sells_nothing(fixture).await;
    a_sale_that_was_ended_sells_no_more(fixture).await;
    who_asks_for_repeats_only_gets_nothing_new(fixture).await;
    a_fight_has_as_many_winners_as_units(fixture).await;
    for seed in 1..=20 {
        any_history_is_the_models(fixture, seed).await;
    }
}

const RULES: Rules = Rules { per_user_limit: 2, starts_at_ms: 0, ends_at_ms: u64::MAX >> 12 };

/// Beyond the integers that a double represents exactly: no backend may treat ids as such.
const BEYOND: i64 = (1 << 53) + 1;

fn order(id: i64) -> OrderId {
    OrderId::from_i64(BEYOND + id).expect("an id")
}

fn asks(id: i64, user: i64, key: Option<u8>, quantity: u32) -> Reservation {
    let user = UserId::from_i64(BEYOND + user).expect("an id");
    Reservation { order: order(id), user, request: key.map(|byte| RequestKey([byte; 16])), quantity }
}

fn held(id: i64, repeated: bool) -> Outcome {
    Outcome::Held { order: order(id), repeated }
}

async fn act<F: Fixture>(client: &F::Client, activity: ActivityId, actions: &[Action]) -> Vec<Outcome> {
    let commands = actions.iter().map(|action| LedgerCommand { activity, action: *action }).collect();
    client.act(commands).await.expect("answers")
}

/// The counters, after the journal was found to lead to them.
async fn proven<F: Fixture>(fixture: &F, client: &F::Client, activity: ActivityId) -> Counters {
    let journal = fixture.journal(client, activity).await;
    let ledger = Ledger::from_journal(&journal).expect("a journal without holes").expect("it was opened");
    let counters = client.counters(activity).await.expect("answers").expect("it is open");
    assert_eq!(counters.total, counters.available + counters.held + counters.sold, "{counters:?}");
    assert_eq!(ledger.counters(), counters, "what the journal leads to");
    counters
}

async fn a_ledger_is_opened_once<F: Fixture>(fixture: &F) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    assert_eq!(client.counters(activity).await, Ok(None));
    let counters = client.open(activity, 7, RULES).await.expect("opens");
    assert_eq!((counters.total, counters.available, counters.seq), (7, 7, 1));
    let other = Rules { per_user_limit: 9, ..RULES };
    assert_eq!(client.open(activity, 99, other).await, Ok(counters), "the first opening counts");
    assert_eq!(fixture.client().await.counters(activity).await, Ok(Some(counters)), "every client sees the same");
    assert_eq!(proven(fixture, &client, activity).await, counters);
}

async fn each_asker_is_told_its_own<F: Fixture>(fixture: &F) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    client.open(activity, 5, RULES).await.expect("opens");
    let batch = vec![
        asks(1, 1, Some(11), 1),
        asks(2, 1, Some(11), 1), // the same request under another order's id
        asks(1, 1, Some(12), 1), // the same order under another request's key
        asks(3, 2, Some(11), 1), // somebody else's key
        asks(4, 1, None, 2),     // one more than the limit
        asks(5, 1, None, 1),
        asks(6, 3, None, 2),
        asks(7, 4, None, 2), // only one is left
        asks(8, 4, None, 1),
        asks(9, 5, None, 1),
        asks(10, 1, Some(11), 1), // sold out, and still its first answer
    ];
    let mut model = Ledger::open(activity, 5, RULES, 1).0;
    let expected: Vec<Outcome> =
        batch.iter().map(|asked| model.apply(Command::Reserve(*asked), 1, &mut Vec::new())).collect();
    assert_eq!(expected.first(), Some(&held(1, false)));
    assert_eq!(expected.last(), Some(&held(1, true)));
    let reply = fixture.reserve(&client, activity, batch).await.expect("answers");
    assert_eq!((reply.outcomes, reply.counters), (expected, model.counters()));
    assert_eq!(proven(fixture, &client, activity).await, model.counters());
}

async fn commands_bear_being_repeated<F: Fixture>(fixture: &F) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    client.open(activity, 5, RULES).await.expect("opens");
    let batch = vec![asks(1, 1, None, 2), asks(2, 2, Some(2), 1)];
    fixture.reserve(&client, activity, batch).await.expect("answers");
    let operation = OperationId::from_i64(BEYOND).expect("an id");
    let (settle, release) = (Action::Settle(order(1)), Action::Release(order(2)));
    let restock = Action::Restock { operation, delta: 3 };
    let first = act::<F>(&client, activity, &[settle, release, restock, Action::Settle(order(3))]).await;
    assert_eq!(first, [Outcome::Done, Outcome::Done, Outcome::Done, Outcome::UnknownOrder]);
    let after = proven(fixture, &client, activity).await;
    assert_eq!((after.total, after.available, after.held, after.sold), (8, 6, 0, 2));
    let again = act::<F>(&client, activity, &[settle, release, restock]).await;
    assert_eq!(again, [Outcome::Done; 3]);
    assert_eq!(act::<F>(&client, activity, &[Action::Release(order(1))]).await, [Outcome::Conflict], "it is sold");
    let too_much = Action::Restock { operation: OperationId::from_i64(1).expect("an id"), delta: -7 };
    assert_eq!(act::<F>(&client, activity, &[too_much]).await, [Outcome::Refused], "only six are available");
    assert_eq!(proven(fixture, &client, activity).await, after);
}

async fn what_is_not_open_sells_nothing<F: Fixture>(fixture: &F) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    assert!(fixture.reserve(&client, activity, vec![asks(1, 1, None, 1)]).await.is_err());
    assert_eq!(act::<F>(&client, activity, &[Action::Settle(order(1))]).await, [Outcome::UnknownOrder]);
    assert_eq!(client.act(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(client.counters(activity).await, Ok(None));
}

async fn a_sale_outside_its_time_sells_nothing<F: Fixture>(fixture: &F) {
    let client = fixture.client().await;
    let early = Rules { starts_at_ms: RULES.ends_at_ms - 1, ..RULES };
    let over = Rules { ends_at_ms: 1, ..RULES };
    for (rules, outcome) in [(early, Outcome::NotStarted), (over, Outcome::Ended)] {
        let activity = fixture.activity();
        client.open(activity, 5, rules).await.expect("opens");
        let reply = fixture.reserve(&client, activity, vec![asks(1, 1, None, 1)]).await.expect("answers");
        assert_eq!(reply.outcomes, [outcome]);
        assert_eq!(proven(fixture, &client, activity).await.available, 5);
    }
}

/// Buyers keep their units and get the first answer again; units that come back are not sold.
async fn a_sale_that_was_ended_sells_no_more<F: Fixture>(fixture: &F) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    client.open(activity, 5, RULES).await.expect("opens");
    let first = vec![asks(1, 1, Some(1), 1), asks(2, 2, None, 1)];
    fixture.reserve(&client, activity, first.clone()).await.expect("answers");
    let end = Action::End { ends_at_ms: 1 };
    for _ in 0..2 {
        assert_eq!(act::<F>(&client, activity, &[end]).await, [Outcome::Done]);
    }
    assert_eq!(
        act::<F>(&client, activity, &[Action::Release(order(2)), Action::Settle(order(1))]).await,
        [Outcome::Done, Outcome::Done]
    );
    let again = vec![first[0], asks(3, 3, None, 1), asks(4, 2, None, 1)];
    let reply = fixture.reserve(&client, activity, again).await.expect("answers");
    assert_eq!(reply.outcomes, [held(1, true), Outcome::Ended, Outcome::Ended]);
    let after = proven(fixture, &client, activity).await;
    assert_eq!((after.available, after.held, after.sold, after.seq), (4, 0, 1, 6));
    let unopened = fixture.activity();
    assert_eq!(act::<F>(&client, unopened, &[end]).await, [Outcome::UnknownOrder]);
}

async fn who_asks_for_repeats_only_gets_nothing_new<F: Fixture>(fixture: &F) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    client.open(activity, 5, Rules { per_user_limit: 1, ..RULES }).await.expect("opens");
    let first = vec![asks(1, 1, Some(1), 1), asks(2, 2, None, 1)];
    fixture.reserve(&client, activity, first.clone()).await.expect("answers");
    let before = proven(fixture, &client, activity).await;
    let again = vec![asks(3, 1, Some(1), 1), asks(4, 2, None, 1), asks(5, 3, None, 1), asks(6, 1, Some(1), 2)];
    let reply = fixture.ask(&client, activity, again, true).await.expect("answers");
    assert_eq!(reply.outcomes, [held(1, true), held(2, true), Outcome::Ended, Outcome::KeyReused]);
    assert_eq!((reply.counters, proven(fixture, &client, activity).await), (before, before));
}

/// Many ask at once, each user in several batches.
async fn a_fight_has_as_many_winners_as_units<F: Fixture>(fixture: &F) {
    const STOCK: usize = 60;
    let (client, activity) = (fixture.client().await, fixture.activity());
    client.open(activity, STOCK as u64, RULES).await.expect("opens");
    let batch = |number: i64| {
        let batch = (0..10).map(|at| asks(100 * number + at, (number + at) % 45, None, 1)).collect();
        fixture.reserve(&client, activity, batch)
    };
    let replies = futures_util::future::join_all((0..40).map(batch)).await;
    let mut won = BTreeMap::<i64, u32>::new();
    for (number, reply) in (0..).zip(replies) {
        for (at, outcome) in (0..).zip(reply.expect("answers").outcomes) {
            if outcome == held(100 * number + at, false) {
                *won.entry((number + at) % 45).or_default() += 1;
            } else {
                assert!(matches!(outcome, Outcome::SoldOut | Outcome::LimitReached), "{outcome:?}");
            }
        }
    }
    assert_eq!(won.values().sum::<u32>() as usize, STOCK);
    assert!(won.values().all(|units| *units <= RULES.per_user_limit), "{won:?}");
    let counters = proven(fixture, &client, activity).await;
    assert_eq!((counters.available, counters.held), (0, STOCK as u64));
}

/// Numbers from a seed (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from(self.0 % u64::from(end)).unwrap_or(0)
    }

    fn asks(&mut self) -> Reservation {
        let user = self.below(6);
        let key = (self.below(2) == 0).then(|| 10 * user + self.below(4));
        asks(self.below(80).into(), user.into(), key, self.below(4).into())
    }

    fn action(&mut self) -> Action {
        let order = order(self.below(80).into());
        match self.below(31) {
            0..10 => Action::Settle(order),
            10..20 => Action::Release(order),
            20 => Action::End { ends_at_ms: 1 },
            _ => Action::Restock {
                operation: OperationId::from_i64(self.below(9).into()).expect("an id"),
                delta: i64::from(self.below(9)) - 4,
            },
        }
    }
}

async fn any_history_is_the_models<F: Fixture>(fixture: &F, seed: u64) {
    let (client, activity) = (fixture.client().await, fixture.activity());
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let stock = dice.below(25).into();
    let mut model = Ledger::open(activity, stock, RULES, 1).0;
    client.open(activity, stock, RULES).await.expect("opens");
    for _ in 0..30 {
        let mut journal = Vec::new();
        if dice.below(3) == 0 {
            let actions: Vec<Action> = (0..=dice.below(5)).map(|_| dice.action()).collect();
            let expected: Vec<Outcome> =
                actions.iter().map(|action| model.apply((*action).into(), 1, &mut journal)).collect();
            assert_eq!(act::<F>(&client, activity, &actions).await, expected, "seed {seed}: {actions:?}");
        } else {
            let batch: Vec<Reservation> = (0..=dice.below(9)).map(|_| dice.asks()).collect();
            let expected: Vec<Outcome> =
                batch.iter().map(|asked| model.apply(Command::Reserve(*asked), 1, &mut journal)).collect();
            let reply = fixture.reserve(&client, activity, batch.clone()).await.expect("answers");
            assert_eq!((reply.outcomes, reply.counters), (expected, model.counters()), "seed {seed}: {batch:?}");
        }
    }
    assert_eq!(proven(fixture, &client, activity).await, model.counters(), "seed {seed}");
}
