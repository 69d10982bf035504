//! One sale from its making to its audit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use contract::ActivityId;
use foundation::{Clock, SystemClock};

use crate::{
    audit::{Audit, Check},
    buyers::{BuyRequest, Buyers, random_run},
    cpu::{self, Times},
    crowd::Crowd,
    history,
    interrupt::{self, Interrupt},
    judge::format::Header,
    load::{Ran, Settings},
    mall::{LedgerCounts, Mall},
    options::resolve,
    progress::note,
    record::{Host, Record},
    secrets::{ADMIN, SHOPPER, find_secret},
    series::Look,
};

mod args;
mod asking;
mod examine;
mod rush;
mod summary;

pub(crate) use args::{FightArgs, Options, SaleArgs};
use asking::Asking;
use examine::{Examined, examine};
use rush::{Signals, rush};

const AUDIT_EVERY: Duration = Duration::from_millis(20);
/// What a client of one address can do about that.
const CAPS: &str = "a gateway takes gateway.connections_per_client_max (256) of one client, and connections_max of all; use \
                    fewer --connections, or start the mall with MALL_GATEWAY__CONNECTIONS_PER_CLIENT_MAX=20000";
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
    audit: Option<Audit>,
    checks: Vec<Check>,
    interrupted: bool,
    missing: Vec<String>,
}

/// A run with its record.
pub(crate) struct Sold {
    pub record: Record,
    /// Why the history was not written.
    pub fault: Option<String>,
}

impl Sold {
    /// 0: every check passed; 1: a check failed; 2: something is missing; 130: Ctrl-C.
    pub(crate) fn status(&self) -> u8 {
        let Record { interrupted, checks, missing, .. } = &self.record;
        if *interrupted {
            interrupt::STATUS
        } else if checks.iter().any(|check| !check.ok) {
            1
        } else if missing.is_empty() {
            0
        } else {
            2
        }
    }
}

/// Runs the sale. An error is one line: the sale could not be run.
pub(crate) fn run(options: &Options) -> Result<Sold, String> {
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

    let before = mall.ledger_counts(options.audit_retry)?;
    let signals = Signals::default();
    let host = asked.first().map_or("", |gateway| gateway.trim_start_matches("http://"));
    let request = BuyRequest::new(host, activity);
    let crowd = Crowd::new(&buyers, request, options.model.clone(), options.repeats, options.stock, &signals.all_taken);
    let mut crowd = crowd.map_err(|error| error.to_string())?;
    crowd.calls = options.history.as_ref().map(|_| Vec::new());
    let requests_per_connection = options.requests_per_connection;
    let settings = Settings { requests_per_connection, ..Settings::new(addresses, options.connections) };
    let cpu_before = cpu::times(&options.cpu)?;
    let interrupt = Interrupt::listen()?;
    crowd.interrupt = interrupt.clone();
    let asking = Asking { mall: Arc::new(mall), activity, retry: options.audit_retry, interrupt };
    let (ran, watched) = rush(settings, &mut crowd, options.settle, &asking, &signals);
    let (ran, fault) = ran.map_err(|error| format!("gateway {error}"))?;
    if ran.refused > 0 {
        note(&format!("{} connections were closed before anything was answered: {CAPS}", ran.refused));
    }
    if crowd.hopeless {
        return Err(format!(
            "gateway {}: it refuses tokens signed with the secret from {secret_source}",
            asked.join(", ")
        ));
    }
    let mut missing = Vec::from_iter(fault.map(|fault| format!("the rest of the load: {fault}")));
    let cpu = known(cpu::times(&options.cpu), "processor time", &mut missing);
    let cpu = cpu.map(|after| cpu::between(&cpu_before, &after)).unwrap_or_default();
    let after = known(asking.ask(Mall::ledger_counts), "reservations/sync", &mut missing).flatten();
    let ledger = before.zip(after).map(|(before, after)| LedgerCounts {
        commits: after.commits - before.commits,
        reservations: after.reservations - before.reservations,
    });
    missing.extend(watched.fault.as_ref().map(|fault| format!("durable orders/s and stock over time: {fault}")));
    let durable_after = watched.caught_up.zip(ran.began).map(|(at, began)| at.duration_since(began));
    let began = ran.began.unwrap_or_else(Instant::now);
    let looks = watched.since(began);
    let times = (began, began + ran.wall + options.settle);
    let Examined { audit, checks, reads, missing: unexamined } = examine(options, &asking, &crowd, &buyers, times);
    missing.extend(unexamined);
    let mut fault = None;
    if let (Some(path), Some(calls)) = (&options.history, &crowd.calls) {
        let mut header = Header::new(format!("mall at {}", options.gateways.join(", ")), options.stock.into(), 1);
        header.may_close = options.pay_within.is_some();
        fault = history::write(path, &header, &buyers, calls, &reads).err();
    }
    let interrupted = asking.interrupt.came();
    let outcome = Outcome {
        started_ms,
        host: host_info,
        run,
        activity,
        ran,
        crowd,
        looks,
        durable_after,
        ledger,
        cpu,
        audit,
        checks,
        interrupted,
        missing,
    };
    Ok(Sold { record: outcome.record(options), fault })
}

/// What was found; a fault goes to what is missing.
fn known<T>(found: Result<T, String>, what: &str, missing: &mut Vec<String>) -> Option<T> {
    found.map_err(|fault| missing.push(format!("{what}: {fault}"))).ok()
}
