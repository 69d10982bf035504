//! One sale from its making to its audit.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use contract::ActivityId;
use foundation::{Clock, SystemClock};

use crate::{
    audit::{self, Audit, Check, Seen},
    buyers::{BuyRequest, Buyers, random_run},
    cpu::{self, Times},
    crowd::Crowd,
    history,
    judge::format::{Header, Line, State},
    load::{self, Ran, Settings},
    mall::{LedgerCounts, Mall, OrderAnswer},
    options::resolve,
    progress::note,
    record::{Host, Record},
    records::Faults,
    secrets::{ADMIN, SHOPPER, find_secret},
    series::{Look, Looks},
};

mod args;
mod summary;

pub(crate) use args::{FightArgs, Options, SaleArgs};

const AUDIT_EVERY: Duration = Duration::from_millis(20);
/// Looks that are kept until the end of a run; later ones are not shown.
const LOOKS_MAX: usize = 100_000;
/// What a client of one address can do about that.
const CAPS: &str = "a gateway takes gateway.connections_per_client_max (256) of one client, and connections_max of all; use \
                    fewer --connections, or start the mall with MALL_GATEWAY__CONNECTIONS_PER_CLIENT_MAX=20000";
/// How often stock and orders are looked at while requests are made.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Orders that are read back; of more orders, this many at equal distances.
const SAMPLE_MAX: usize = 2000;
/// Users of a sale whose calls are written down: all calls are kept in memory until the end.
const HISTORY_USERS_MAX: u32 = 4_000_000;

/// What a run found.
struct Outcome<'a> {
    started_ms: u64,
    host: Host,
    run: u32,
    activity: ActivityId,
    ran: Ran,
    crowd: Crowd<'a>,
    looks: Vec<Look>,
    /// From the first request until the database had every order.
    durable_after: Option<Duration>,
    /// What the gateway's counters grew by.
    ledger: Option<LedgerCounts>,
    /// From the first request until the database had every order.
    cpu: Times,
    audit: Audit,
    checks: Vec<Check>,
}

/// Clients and the database at the end of a run.
struct Examined {
    audit: Audit,
    checks: Vec<Check>,
    /// Orders that were read back.
    reads: Vec<Line>,
}

/// What the watcher of the database found.
#[derive(Default)]
struct Watched {
    /// When the database had every order.
    caught_up: Option<Instant>,
    looks: Vec<(Instant, Audit)>,
}

/// What the database watcher and the load client tell each other.
#[derive(Default)]
struct Signals {
    /// Orders accepted when every unit was taken; 0 until then.
    all_taken: AtomicU64,
    ended: AtomicBool,
}

/// Runs the sale. An error is one line: the sale could not be run.
pub(crate) fn run(options: &Options) -> Result<Record, String> {
    if options.history.is_some() && options.users > HISTORY_USERS_MAX {
        return Err(format!("--history: at most {HISTORY_USERS_MAX} users"));
    }
    let (started_ms, host_info) = (SystemClock.now_ms(), Host::this());
    let (secret, secret_source) = find_secret(&options.access, options.access.shopper_secret.as_ref(), &SHOPPER)?;
    let (password, password_source) = find_secret(&options.access, options.access.admin_password.as_ref(), &ADMIN)?;
    let asked = options.front.as_ref().map_or(&options.gateways[..], std::slice::from_ref);
    let addresses = asked.iter().map(|place| resolve(place)).collect::<Result<_, _>>()?;
    let mut mall = Mall::new(&options.gateways, &options.access.order_core, &options.access.admin);
    mall.wait_ready()?;
    mall.sign_in(password.expose(), &password_source)?;
    let run = random_run()?;
    let activity = mall.create_sale(run, options.stock)?;
    mall.wait_open(activity)?;
    note(&format!("activity {activity} is open; signing {} tokens", options.users));
    let buyers = Buyers::new(run, options.users, secret.expose(), SystemClock.now_ms() / 1000);

    let before = mall.ledger_counts()?;
    let signals = Signals::default();
    let host = asked.first().map_or("", |gateway| gateway.trim_start_matches("http://"));
    let request = BuyRequest::new(host, activity);
    let crowd = Crowd::new(&buyers, request, options.model.clone(), options.repeats, options.stock, &signals.all_taken);
    let mut crowd = crowd.map_err(|error| error.to_string())?;
    crowd.calls = options.history.as_ref().map(|_| Vec::new());
    let requests_per_connection = options.requests_per_connection;
    let settings = Settings { requests_per_connection, ..Settings::new(addresses, options.connections) };
    let cpu_before = cpu::times(&options.cpu)?;
    let (ran, watched) = rush(settings, &mut crowd, options.settle, || mall.audit(activity), &signals);
    let ran = ran.map_err(|error| format!("gateway {error}"))?;
    if ran.refused > 0 {
        note(&format!("{} connections were closed before anything was answered: {CAPS}", ran.refused));
    }
    if crowd.hopeless {
        return Err(format!(
            "gateway {}: it refuses tokens signed with the secret from {secret_source}",
            asked.join(", ")
        ));
    }
    let cpu = cpu::between(&cpu_before, &cpu::times(&options.cpu)?);
    let after = mall.ledger_counts()?;
    let ledger = before.zip(after).map(|(before, after)| LedgerCounts {
        commits: after.commits - before.commits,
        reservations: after.reservations - before.reservations,
    });
    let watched = watched?;
    let durable_after = watched.caught_up.zip(ran.began).map(|(at, began)| at.duration_since(began));
    let ended = ran.began.map(|began| began + ran.wall);
    let rest_by = ended.unwrap_or_else(Instant::now) + options.settle;
    let began = ran.began.unwrap_or_else(Instant::now);
    let Examined { audit, checks, reads } = examine(options, &mall, activity, &crowd, &buyers, (began, rest_by))?;
    if let (Some(path), Some(calls)) = (&options.history, &crowd.calls) {
        let mut header = Header::new(format!("mall at {}", options.gateways.join(", ")), options.stock.into(), 1);
        header.may_close = options.pay_within.is_some();
        history::write(path, &header, &buyers, calls, &reads)?;
    }
    let looks = looks(&watched.looks, began);
    let host = host_info;
    Ok(Outcome { started_ms, host, run, activity, ran, crowd, looks, durable_after, ledger, cpu, audit, checks }
        .record(options))
}

/// The load on this thread; on another one, from the moment that all is taken, the wait for the database.
fn rush(
    settings: Settings,
    crowd: &mut Crowd<'_>,
    settle: Duration,
    audit: impl Fn() -> Result<Audit, String> + Send,
    signals: &Signals,
) -> (Result<Ran, String>, Result<Watched, String>) {
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(audit, settle, signals));
        let ran = load::run(settings, crowd);
        if signals.all_taken.load(Ordering::Acquire) == 0 {
            signals.all_taken.store(crowd.records.accepted(), Ordering::Release);
        }
        signals.ended.store(true, Ordering::Release);
        let watched = watcher.join().unwrap_or_else(|_| Err("the database's watcher failed".to_owned()));
        (ran, watched)
    })
}

/// Looks at stock and orders until the database has every order that was accepted, or it takes too long.
fn watch(audit: impl Fn() -> Result<Audit, String>, settle: Duration, signals: &Signals) -> Result<Watched, String> {
    let mut watched = Watched::default();
    let mut looked: Option<Instant> = None;
    while signals.all_taken.load(Ordering::Acquire) == 0 && !signals.ended.load(Ordering::Acquire) {
        if looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            looked = Some(Instant::now());
            watched.look(audit()?);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let accepted = i64::try_from(signals.all_taken.load(Ordering::Acquire)).unwrap_or(i64::MAX);
    let mut ended = None;
    while accepted > 0 && ended.is_none_or(|ended: Instant| ended.elapsed() < settle) {
        let found = audit()?;
        let orders = found.database.orders();
        watched.look(found);
        if orders >= accepted {
            watched.caught_up = Some(Instant::now());
            break;
        }
        if ended.is_none() && signals.ended.load(Ordering::Acquire) {
            ended = Some(Instant::now());
        }
        std::thread::sleep(AUDIT_EVERY);
    }
    Ok(watched)
}

impl Watched {
    fn look(&mut self, audit: Audit) {
        if self.looks.len() < LOOKS_MAX {
            self.looks.push((Instant::now(), audit));
        }
    }
}

fn looks(found: &[(Instant, Audit)], began: Instant) -> Vec<Look> {
    let mut looks = Looks::default();
    for (at, audit) in found {
        let Some(after) = at.checked_duration_since(began) else { continue };
        let at_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        looks.add(Look { at_ns, available: audit.available, durable_orders: audit.database.orders() });
    }
    looks.into_vec()
}

/// Reads orders back as their owners, and audits until all is well or the time for it is over.
fn examine(
    options: &Options,
    mall: &Mall,
    activity: ActivityId,
    crowd: &Crowd<'_>,
    buyers: &Buyers,
    (began, rest_by): (Instant, Instant),
) -> Result<Examined, String> {
    let records = &crowd.records;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut seen = Seen {
        stock: i64::from(options.stock),
        decided: number(records.decided()),
        accepted: number(records.accepted()),
        repeats_same: records.repeats_same,
        twins: &records.twins,
        repeats_differ: &records.repeats_differ,
        unexpected: &records.unexpected,
        undecided: crowd.gave_up,
        unreadable: &Faults::default(),
        sampled: 0,
    };
    until_quiet(mall, activity, rest_by, |audit| audit::judge(&seen, audit))?;

    let orders = records.orders();
    let step = orders.len().div_ceil(SAMPLE_MAX).max(1);
    let (mut unreadable, mut reads) = (Faults::default(), Vec::new());
    for (order, user) in orders.iter().step_by(step) {
        seen.sampled += 1;
        let sent = began.elapsed();
        let OrderAnswer { fault, status } = mall.order(buyers.token(*user), *order)?;
        reads.push(Line::Read {
            user: buyers.id(*user).to_string(),
            order: order.to_string(),
            sent_ns: nanos(sent),
            answered_ns: nanos(began.elapsed()),
            found: fault.is_none(),
            owner: None,
            quantity: None,
            state: state(&status),
        });
        if let Some(fault) = fault {
            unreadable.add(fault);
        }
    }
    seen.unreadable = &unreadable;
    let (audit, mut checks) = until_quiet(mall, activity, rest_by, |audit| audit::judge(&seen, audit))?;
    let Some(pay_within) = options.pay_within else { return Ok(Examined { audit, checks, reads }) };
    note(&format!("waiting {} s for the unpaid orders to close", pay_within.as_secs_f64()));
    let closed_by = Instant::now() + pay_within + options.settle;
    let (audit, returned) = until_quiet(mall, activity, closed_by, |audit| vec![audit::returned(&seen, audit)])?;
    checks.extend(returned);
    Ok(Examined { audit, checks, reads })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of an order by its status, if the judge has a word for it.
fn state(status: &str) -> Option<State> {
    match status {
        "queued" => Some(State::Queued),
        "pending_payment" => Some(State::Pending),
        "paid" | "shipped" | "completed" | "refunding" | "refunded" => Some(State::Paid),
        "closed" | "failed" => Some(State::Closed),
        _ => None,
    }
}

/// The first audit that passes, or the first one after `by`.
fn until_quiet(
    mall: &Mall,
    activity: ActivityId,
    by: Instant,
    judge: impl Fn(&Audit) -> Vec<Check>,
) -> Result<(Audit, Vec<Check>), String> {
    loop {
        let audit = mall.audit(activity)?;
        let checks = judge(&audit);
        if checks.iter().all(|check| check.ok) || Instant::now() >= by {
            return Ok((audit, checks));
        }
        std::thread::sleep(AUDIT_EVERY);
    }
}
