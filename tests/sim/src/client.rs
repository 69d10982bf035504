//! Shoppers: they ask, lose their connections, ask again, pay or do not.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use contract::{ActivityId, OrderId, UserId};
use domain::{PaidOutcome, SaleStore, order_state::OrderState};
use foundation::Clock;
use gateway_core::Keys;

use crate::{gateway::Incarnation, store::SimStore, world::World};

/// How long a client waits for an answer.
const PATIENCE_MS: u64 = 3_000;
/// How often one asks before it gives up.
const ASKS_MAX: usize = 12;

/// A user, and the Idempotency-Key of the request if it had one.
pub(crate) type Asker = (UserId, Option<String>);
/// An order id as a client was given it, with the answer's bytes.
pub(crate) type Accepted = (OrderId, Vec<u8>);

/// The answers that clients got: the run as a black box shows it.
#[derive(Default)]
pub(crate) struct History {
    /// Every order id that was given to a user, with the answer's bytes, by the Idempotency-Key.
    pub(crate) accepted: RefCell<BTreeMap<Asker, Vec<Accepted>>>,
    /// Answers by status and code.
    pub(crate) answers: RefCell<BTreeMap<String, u64>>,
    /// Orders whose payment was accepted.
    pub(crate) paid: RefCell<Vec<OrderId>>,
    /// Clients that are done.
    pub(crate) done: Cell<usize>,
}

/// What every client knows.
pub(crate) struct Mall {
    /// Where everything comes from.
    pub(crate) world: World,
    /// What is for sale.
    pub(crate) activity: ActivityId,
    /// Signs tokens.
    pub(crate) keys: Keys,
    /// The cores that live now.
    pub(crate) cores: RefCell<Vec<Rc<Incarnation>>>,
    /// Takes payments.
    pub(crate) store: SimStore,
    /// What was said.
    pub(crate) history: History,
}

/// One user's visit.
pub(crate) async fn shop(mall: Rc<Mall>, user: UserId) {
    let world = &mall.world;
    world.sleep_until(world.now_ms() + world.below(3_000)).await;
    let key = (!world.one_in(4)).then(|| format!("k{user}"));
    let mut mine = None;
    for _ in 0..1 + world.index(ASKS_MAX) {
        match ask(&mall, user, key.as_deref()).await {
            Some(Told::Accepted(order)) => mine = Some(order),
            Some(Told::SoldOut) => world.sleep_until(world.now_ms() + 500 + world.below(4_000)).await,
            Some(Told::Busy) | None => world.sleep_until(world.now_ms() + world.below(800)).await,
        }
        if mine.is_some() && !world.one_in(3) {
            break;
        }
    }
    if let Some(order) = mine
        && world.one_in(2)
    {
        pay(&mall, order).await;
    }
    mall.history.done.set(mall.history.done.get() + 1);
}

enum Told {
    Accepted(OrderId),
    SoldOut,
    Busy,
}

async fn ask(mall: &Mall, user: UserId, key: Option<&str>) -> Option<Told> {
    let world = &mall.world;
    let core = {
        let cores = mall.cores.borrow();
        if cores.is_empty() {
            return None;
        }
        cores[world.index(cores.len())].clone()
    };
    let wire = core.connect()?;
    let token = mall.keys.tokens.sign(user, None, world.now_ms() / 1000, 3600);
    let body = format!(r#"{{"activity_id":"{}","quantity":1}}"#, mall.activity);
    let named = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let request = format!(
        "POST /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer {token}\r\n{named}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // Some send the same request twice at once.
    let times = if world.one_in(5) { 2 } else { 1 };
    wire.send(request.repeat(times).as_bytes());
    core.ring();
    if world.one_in(10) {
        // The client goes away without an answer; what it asked for may happen.
        world.pause().await;
        wire.close();
        core.ring();
        return None;
    }
    let mut received = Vec::new();
    let mut told = None;
    let until_ms = world.now_ms() + PATIENCE_MS;
    let mut answered = 0;
    while answered < times {
        let piece = tokio::select! {
            biased;
            piece = wire.receive() => piece,
            () = world.sleep_until(until_ms) => None,
        };
        let Some(piece) = piece else { break };
        received.extend_from_slice(&piece);
        while let Some((status, body, used)) = response(&received) {
            answered += 1;
            told = Some(hear(mall, user, key, status, &body));
            received.drain(..used);
        }
    }
    wire.close();
    core.ring();
    told
}

fn hear(mall: &Mall, user: UserId, key: Option<&str>, status: u16, body: &[u8]) -> Told {
    let text = String::from_utf8_lossy(body);
    let word = |name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
        rest.split_once('"').map(|(word, _)| word.to_owned())
    };
    let code = word("code").unwrap_or_default();
    *mall.history.answers.borrow_mut().entry(format!("{status} {code}")).or_default() += 1;
    match (status, &*code) {
        (202, _) => {
            let Some(order) = word("order_id").and_then(|id| id.parse().ok()) else {
                panic!("202 without an order: {text}")
            };
            let mut accepted = mall.history.accepted.borrow_mut();
            accepted.entry((user, key.map(str::to_owned))).or_default().push((order, body.to_vec()));
            Told::Accepted(order)
        }
        (409, "sold_out") | (403, "ended") => Told::SoldOut,
        // The second: this core has not yet heard of the activity.
        (503, _) | (404, "unknown_activity") => Told::Busy,
        _ => panic!("user {user} was told {status} {text}"),
    }
}

/// The first whole response in `bytes`: status, body, length.
fn response(bytes: &[u8]) -> Option<(u16, Vec<u8>, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, _) = text.split_once("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let begin = head.len() + 4;
    let end = begin + length.unwrap_or(0);
    Some((status, bytes.get(begin..end)?.to_vec(), end))
}

/// A notification of the payment provider: repeated until it is answered.
async fn pay(mall: &Mall, order: OrderId) {
    let world = &mall.world;
    world.sleep_until(world.now_ms() + world.below(3_000)).await;
    loop {
        match mall.store.mark_paid(order, world.now_ms()).await {
            Ok(PaidOutcome::Paid | PaidOutcome::Refused(OrderState::Bought(_))) => {
                return mall.history.paid.borrow_mut().push(order);
            }
            Ok(PaidOutcome::Refused(_)) => return,
            Ok(PaidOutcome::UnknownOrder) | Err(_) => world.sleep_until(world.now_ms() + 200).await,
        }
    }
}
