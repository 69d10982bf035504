//! One sale from its making to its audit.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use contract::ActivityId;
use foundation::{
    Clock, Secret, SystemClock,
    data_dir::{ADMIN_PASSWORD_FILE, SHOPPER_SECRET_FILE, read_secret},
};

use crate::{
    audit::{self, Audit, Check, Seen},
    buyers::{BuyRequest, Buyers},
    cpu::{self, Times},
    crowd::Crowd,
    load::{self, Ran, Settings},
    mall::{LedgerCounts, Mall},
    options::{Access, Options},
    progress::note,
    records::Faults,
};

const AUDIT_EVERY: Duration = Duration::from_millis(20);
/// Orders that are read back; of more, so many at equal distances.
const SAMPLE_MAX: usize = 2000;

/// Everything that a run has to tell.
pub(crate) struct Outcome<'a> {
    pub activity: ActivityId,
    pub ran: Ran,
    pub crowd: Crowd<'a>,
    /// From the first request until the database had every order.
    pub durable_after: Option<Duration>,
    /// What the gateway's counters grew by.
    pub ledger: Option<LedgerCounts>,
    /// From the first request until the database had every order.
    pub cpu: Times,
    pub audit: Audit,
    pub checks: Vec<Check>,
}

/// What the database watcher and the load client tell each other.
#[derive(Default)]
struct Signals {
    /// Orders accepted when every unit was taken; 0 until then.
    all_taken: AtomicU64,
    ended: AtomicBool,
}

/// Runs the sale and hands what happened to `report`. An error is one line: the sale could not be run.
pub(crate) fn run<T>(options: &Options, report: impl FnOnce(&Outcome<'_>) -> T) -> Result<T, String> {
    let (secret, secret_source) = find_secret(&options.access, options.access.shopper_secret.as_ref(), &SHOPPER)?;
    let (password, password_source) = find_secret(&options.access, options.access.admin_password.as_ref(), &ADMIN)?;
    let addresses = options.gateways.iter().map(|gateway| resolve(gateway)).collect::<Result<_, _>>()?;
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
    let host = options.gateways.first().map_or("", |gateway| gateway.trim_start_matches("http://"));
    let request = BuyRequest::new(host, activity);
    let crowd = Crowd::new(&buyers, request, options.model, options.repeats, options.stock, &signals.all_taken);
    let mut crowd = crowd.map_err(|error| error.to_string())?;
    let requests_per_connection = options.requests_per_connection;
    let settings = Settings { requests_per_connection, ..Settings::new(addresses, options.connections) };
    let cpu_before = cpu::times(&options.cpu)?;
    let (ran, caught_up) = rush(settings, &mut crowd, options.settle, || mall.audit(activity), &signals);
    let ran = ran.map_err(|error| format!("gateway {error}"))?;
    if crowd.hopeless {
        return Err(format!(
            "gateway {}: it refuses tokens signed with the secret from {secret_source}",
            options.gateways.join(", ")
        ));
    }
    let cpu = cpu::between(&cpu_before, &cpu::times(&options.cpu)?);
    let after = mall.ledger_counts()?;
    let ledger = before.zip(after).map(|(before, after)| LedgerCounts {
        commits: after.commits - before.commits,
        reservations: after.reservations - before.reservations,
    });
    let durable_after = caught_up?.zip(ran.began).map(|(at, began)| at.duration_since(began));
    let ended = ran.began.map(|began| began + ran.wall);
    let rest_by = ended.unwrap_or_else(Instant::now) + options.settle;
    let (audit, checks) = examine(options, &mall, activity, &crowd, &buyers, rest_by)?;
    Ok(report(&Outcome { activity, ran, crowd, durable_after, ledger, cpu, audit, checks }))
}

/// The load on this thread; on another one, from the moment that all is taken, the wait for the database.
fn rush(
    settings: Settings,
    crowd: &mut Crowd<'_>,
    settle: Duration,
    audit: impl Fn() -> Result<Audit, String> + Send,
    signals: &Signals,
) -> (Result<Ran, String>, Result<Option<Instant>, String>) {
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(audit, settle, signals));
        let ran = load::run(settings, crowd);
        if signals.all_taken.load(Ordering::Acquire) == 0 {
            signals.all_taken.store(crowd.records.accepted(), Ordering::Release);
        }
        signals.ended.store(true, Ordering::Release);
        let caught_up = watcher.join().unwrap_or_else(|_| Err("the database's watcher failed".to_owned()));
        (ran, caught_up)
    })
}

/// When the database had every order that was accepted; `None` where it took too long or there was none.
fn watch(
    audit: impl Fn() -> Result<Audit, String>,
    settle: Duration,
    signals: &Signals,
) -> Result<Option<Instant>, String> {
    while signals.all_taken.load(Ordering::Acquire) == 0 && !signals.ended.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let accepted = i64::try_from(signals.all_taken.load(Ordering::Acquire)).unwrap_or(i64::MAX);
    let mut ended = None;
    while accepted > 0 && ended.is_none_or(|ended: Instant| ended.elapsed() < settle) {
        if audit()?.database.orders() >= accepted {
            return Ok(Some(Instant::now()));
        }
        if ended.is_none() && signals.ended.load(Ordering::Acquire) {
            ended = Some(Instant::now());
        }
        std::thread::sleep(AUDIT_EVERY);
    }
    Ok(None)
}

/// Reads orders back as their owners, and audits until all is well or the time for it is over.
fn examine(
    options: &Options,
    mall: &Mall,
    activity: ActivityId,
    crowd: &Crowd<'_>,
    buyers: &Buyers,
    rest_by: Instant,
) -> Result<(Audit, Vec<Check>), String> {
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
    let mut unreadable = Faults::default();
    for (order, user) in orders.iter().step_by(step) {
        seen.sampled += 1;
        if let Some(fault) = mall.order_fault(buyers.token(*user), *order)? {
            unreadable.add(fault);
        }
    }
    seen.unreadable = &unreadable;
    let (audit, mut checks) = until_quiet(mall, activity, rest_by, |audit| audit::judge(&seen, audit))?;
    let Some(pay_within) = options.pay_within else { return Ok((audit, checks)) };
    note(&format!("waiting {} s for the unpaid orders to close", pay_within.as_secs_f64()));
    let closed_by = Instant::now() + pay_within + options.settle;
    let (audit, returned) = until_quiet(mall, activity, closed_by, |audit| vec![audit::returned(&seen, audit)])?;
    checks.extend(returned);
    Ok((audit, checks))
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

/// A secret's names.
pub(crate) struct Names {
    what: &'static str,
    option: &'static str,
    variable: &'static str,
    file: &'static str,
}

pub(crate) const SHOPPER: Names = Names {
    what: "key of the shoppers' tokens",
    option: "--shopper-secret",
    variable: "MALL_AUTH__SHOPPER_SECRET",
    file: SHOPPER_SECRET_FILE,
};

pub(crate) const ADMIN: Names = Names {
    what: "password of the user admin",
    option: "--admin-password",
    variable: "MALL_ADMIN_PASSWORD",
    file: ADMIN_PASSWORD_FILE,
};

/// The secret that was given, or the one that the mall keeps in its data directory; and where it is from.
pub(crate) fn find_secret(access: &Access, given: Option<&String>, names: &Names) -> Result<(Secret, String), String> {
    let Names { what, option, variable, file } = names;
    // An empty variable counts as absent.
    if let Some(text) = given.filter(|text| !text.is_empty()) {
        return Ok((Secret::new(text.clone()), format!("{option} or {variable}")));
    }
    let dir: &Path = if access.data_dir.as_os_str().is_empty() { Path::new("data") } else { &access.data_dir };
    let path = dir.join(file).display().to_string();
    match read_secret(dir, file) {
        Ok(Some(secret)) => Ok((secret, path)),
        Ok(None) => {
            Err(format!("no {what}: there is no {path}; give {option}, set {variable}, or name the mall's --data-dir"))
        }
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn resolve(gateway: &str) -> Result<SocketAddr, String> {
    let authority = gateway.trim_start_matches("http://");
    let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let mut found = with_port.to_socket_addrs().map_err(|error| format!("gateway {gateway}: {error}"))?;
    found.next().ok_or_else(|| format!("gateway {gateway}: the name has no address"))
}

/// Tells this run's users and goods from every other run's.
pub(crate) fn random_run() -> Result<u32, String> {
    let hex = foundation::data_dir::random_hex(4).map_err(|error| error.to_string())?;
    u32::from_str_radix(&hex, 16).map_err(|error| error.to_string())
}
