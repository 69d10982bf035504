//! Every process is stopped in order and started again during a sale, behind nginx as it is deployed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use services::{Listen, Nginx};

use super::{Full, SHOPPERS, TURN, sells};
use crate::{
    assert_sound, front, operations,
    process::{Process, Shop, agent, until},
};

/// How often every process is restarted; `make restarts` sets the variable.
const RESTARTS: usize = 5;
const RESTARTS_VARIABLE: &str = "RESTARTS";
/// More than are sold.
const STOCK: u64 = 1_000_000;
/// A shopper rests so long after an answer.
const PAUSE: Duration = Duration::from_millis(10);
/// A process ends within this time.
const STOP_MAX: Duration = Duration::from_secs(30);
/// A gateway that a balancer no longer chooses keeps serving for this time.
const DRAIN: (&str, &str) = ("MALL_SHUTDOWN__DRAIN_MS", "300");

/// What the shoppers were answered.
#[derive(Default)]
struct Answers {
    orders: Mutex<BTreeMap<i64, String>>,
    /// 503, after which the same request is safe.
    unavailable: AtomicU64,
    /// No answer, or one that nginx made because it had none.
    broken: AtomicU64,
}

/// How many requests for units a gateway has accepted, by its metrics.
fn accepted(metrics: &str) -> f64 {
    let name = "mall_gateway_answers_total{code=\"accepted\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).map_or(0.0, |count| count.parse().unwrap())
}

/// Buys for one user after the other until `enough`; each repeats one key until the answer is yes.
fn shop(shop: &Shop, activity: &str, next_user: &AtomicI64, answers: &Answers, enough: &AtomicBool) {
    let agent = agent();
    while !enough.load(Ordering::Relaxed) {
        let user = next_user.fetch_add(1, Ordering::Relaxed);
        loop {
            match shop.buy(&agent, activity, user, &format!("k{user}")) {
                Some((202, answer)) => {
                    let order = answer["order_id"].as_str().unwrap().to_owned();
                    answers.orders.lock().unwrap().insert(user, order);
                    break;
                }
                Some((503, _)) => answers.unavailable.fetch_add(1, Ordering::Relaxed),
                None | Some((502 | 504, _)) => answers.broken.fetch_add(1, Ordering::Relaxed),
                Some((status, answer)) => panic!("{status} {answer}"),
            };
            std::thread::sleep(PAUSE);
        }
        std::thread::sleep(PAUSE);
    }
}

impl Full {
    /// Stops a process in order and starts another one at the same address.
    fn restart(&self, old: &Process, (role, key, place): (&str, &str, &str)) -> Process {
        let begun = Instant::now();
        old.signal("TERM");
        let ended = old.ended();
        assert!(ended.success() && begun.elapsed() < STOP_MAX, "{role}: {ended} after {:?}", begun.elapsed());
        let stopped = begun.elapsed();
        let (new, [_]) = self.role(role, &[(key, place.trim_start_matches("http://")), DRAIN]);
        eprintln!("{role}: ended after {stopped:?}, replaced after {:?}", begun.elapsed());
        new
    }

    fn restart_all(&mut self) {
        for at in 0..self.gateways.len() {
            let (old, place) = &self.gateways[at];
            let new = self.restart(old, ("gateway", "MALL_GATEWAY__LISTEN", place));
            self.gateways[at].0 = new;
            // nginx does not use a gateway for a while after a refused connection. Until it does, the next one must not stop.
            let place = &self.gateways[at].1;
            until("nginx uses the new gateway", || accepted(&operations::metrics(place)) > 0.0);
        }
        let order_core = self.order_core.take().unwrap();
        let place = ("order-core", "MALL_ORDER_CORE__LISTEN", self.shop.order_core.as_str());
        self.order_core = Some(self.restart(&order_core, place));
        let admin = self.admin.take().unwrap();
        self.admin = Some(self.restart(&admin, ("admin", "MALL_ADMIN__LISTEN", &self.shop.admin)));
    }

    /// nginx in front of all of it.
    pub(super) fn front(&self) -> Option<Nginx> {
        let gateways: Vec<&str> = self.gateways.iter().map(|(_, place)| place.as_str()).collect();
        front::start_before(&gateways, &self.shop, "limits-off.conf", Listen::Plain)
    }
}

#[test]
fn restarts_lose_nothing() {
    let rounds = std::env::var(RESTARTS_VARIABLE).map_or(RESTARTS, |rounds| rounds.parse().unwrap());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut full) = Full::start(2) else { return };
    let Some(front) = full.front() else { return };
    let activity = full.shop.sale(STOCK);
    until("every gateway sells", || full.gateways.iter().all(|(_, place)| sells(place, &activity)));
    let mut place = full.shop.clone();
    place.gateway = format!("http://{}", front.address());
    let (answers, enough, next_user) =
        (Arc::<Answers>::default(), Arc::<AtomicBool>::default(), Arc::new(AtomicI64::new(1)));
    let shoppers: Vec<_> = (0..SHOPPERS)
        .map(|_| {
            let (place, activity, next_user) = (place.clone(), activity.clone(), next_user.clone());
            let (answers, enough) = (answers.clone(), enough.clone());
            std::thread::spawn(move || shop(&place, &activity, &next_user, &answers, &enough))
        })
        .collect();
    let bought = || answers.orders.lock().unwrap().len();
    for round in 0..rounds {
        let before = bought();
        full.restart_all();
        until("the sale goes on", || bought() > before);
        let (unavailable, broken) = (&answers.unavailable, &answers.broken);
        eprintln!("restarts {}: {} accepted, {unavailable:?} unavailable, {broken:?} broken", round + 1, bought());
    }
    enough.store(true, Ordering::Relaxed);
    for shopper in shoppers {
        shopper.join().unwrap();
    }

    let broken = answers.broken.load(Ordering::Relaxed);
    assert_eq!(broken, 0, "requests that nginx could not repeat elsewhere: {}", front.errors());
    let orders = answers.orders.lock().unwrap();
    let count = orders.len() as u64;
    until("every order is written", || {
        let (_, audit) = full.shop.try_audit(&activity);
        audit["ok"] == true && audit["database"]["pending_payment"] == count
    });
    assert_eq!(assert_sound(&full.shop, &activity)["held"], count);
    for (user, order) in orders.iter().step_by(1 + orders.len() / 200) {
        assert_eq!(full.shop.order(order, *user).0, 200, "order {order} of user {user}");
    }
}
