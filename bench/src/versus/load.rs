//! Sales on a system that is compared.

use std::{
    ops::Range,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use contract::ActivityId;
use foundation::{Clock, SystemClock};

use super::{AfterKills, VersusOptions, system::System};
use crate::{
    arrivals::{Arrivals, Model},
    buyers::{BuyRequest, Buyers, random_run},
    cpu,
    crowd::{Crowd, Repeats},
    history,
    judge::{
        self,
        format::{Header, Line, State},
    },
    load::{self, Settings},
    mall::CALL_TIMEOUT,
    options::{duration, resolve},
};

/// Nobody repeats.
const ONCE: Repeats = Repeats { every: u32::MAX, distance: 0 };
/// In a sale with kills every fifth buyer asks twice.
const REPEATS: Repeats = Repeats { every: 5, distance: 50 };
/// When server and store are killed, after the beginning of the sale, which has units until the end.
const KILL_SERVER_AFTER: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];
const KILL_STORE_AFTER: Duration = Duration::from_secs(4);
/// Length of the sale with kills.
const KILLS_S: f64 = 6.0;
/// An order that can't be read so long after the sale is lost.
const FOUND_MAX: Duration = Duration::from_secs(10);
const READ_AGAIN: Duration = Duration::from_millis(100);

/// A sale that is open.
pub(super) struct Sale<'a> {
    system: &'a System,
    activity: ActivityId,
    run: u32,
    secret: String,
}

/// What a load found.
pub(super) struct Found {
    pub answers: u64,
    pub accepted: u64,
    pub per_s: f64,
    pub cpu_ns: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl<'a> Sale<'a> {
    pub(super) fn open(system: &'a System, run: u32, stock: u32) -> Result<Self, String> {
        Ok(Self { system, activity: system.create_sale(run, stock)?, run, secret: system.secret()? })
    }

    /// Each of these users asks for a unit, as fast as answers come.
    pub(super) fn closed(&self, options: &VersusOptions, users: Range<u32>) -> Result<Found, String> {
        // Users of a range are a run of their own.
        let buyers = self.buyers(self.run.wrapping_add(users.start), users.end - users.start);
        self.load(options, &buyers, Model::Closed)
    }

    /// Each of these users asks for a unit, at the rate of the options.
    pub(super) fn open_model(&self, options: &VersusOptions, users: u32) -> Result<Found, String> {
        let arrivals = Arrivals::parse(&options.rate.to_string(), duration)?;
        self.load(options, &self.buyers(self.run, users), Model::Open(arrivals))
    }

    fn buyers(&self, run: u32, users: u32) -> Buyers {
        Buyers::new(run, users, &self.secret, SystemClock.now_ms() / 1000)
    }

    fn load(&self, options: &VersusOptions, buyers: &Buyers, model: Model) -> Result<Found, String> {
        let all_taken = AtomicU64::new(0);
        let request = BuyRequest::new(self.system.gateway.trim_start_matches("http://"), self.activity);
        let crowd = Crowd::new(buyers, request, model, ONCE, u32::MAX, &all_taken);
        let mut crowd = crowd.map_err(|error| error.to_string())?;
        let processes = self.system.processes();
        let before = cpu::times(&processes)?;
        let ran = load::run(settings(options, self.system)?, &mut crowd)?;
        let taken = cpu::between(&before, &cpu::times(&processes)?);
        if crowd.hopeless || crowd.gave_up > 0 {
            return Err(format!("requests were refused: {:?}", crowd.records.kinds()));
        }
        let quantile = |quantile: f64| crowd.latency.value_at_quantile(quantile) as f64 / 1e6;
        Ok(Found {
            answers: crowd.answers,
            accepted: crowd.records.accepted(),
            per_s: crowd.answers as f64 / ran.wall.as_secs_f64(),
            cpu_ns: taken.values().sum(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
        })
    }
}

fn settings(options: &VersusOptions, system: &System) -> Result<Settings, String> {
    let connections = usize::try_from(options.connections).unwrap_or(usize::MAX);
    Ok(Settings::new(vec![resolve(&system.gateway)?], connections))
}

/// A sale in whose middle the server and then its store are killed; the orders are read back, and the judge has the last word.
pub(super) fn sale_with_kills(options: &VersusOptions, system: &mut System) -> Result<AfterKills, String> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate has an upper limit")]
    let users = (options.kill_rate * KILLS_S) as u32;
    // With repeats there are more requests than users: the last unit goes when everything was killed.
    let stock = users / 10 * 9;
    let run = random_run()?;
    let activity = system.create_sale(run, stock)?;
    let buyers = Buyers::new(run, users, &system.secret()?, SystemClock.now_ms() / 1000);
    let all_taken = AtomicU64::new(0);
    let request = BuyRequest::new(system.gateway.trim_start_matches("http://"), activity);
    let model = Model::Open(Arrivals::parse(&options.kill_rate.to_string(), duration)?);
    let crowd = Crowd::new(&buyers, request, model, REPEATS, stock, &all_taken);
    let mut crowd = crowd.map_err(|error| error.to_string())?;
    crowd.calls = Some(Vec::new());
    let settings = settings(options, system)?;
    let began = Instant::now();
    let (ran, killed) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill(system, began));
        let ran = load::run(settings, &mut crowd);
        (ran, killer.join().unwrap_or_else(|_| Err("the thread that kills failed".to_owned())))
    });
    let mut after = AfterKills {
        accepted: crowd.records.accepted(),
        stock: stock.into(),
        unanswered: crowd.lost,
        faults: std::collections::BTreeMap::new(),
        killed: Vec::new(),
        failed: None,
    };
    let ran = match (ran, killed) {
        (Ok(ran), Ok(killed)) => {
            after.killed = killed;
            ran
        }
        (ran, killed) => {
            after.failed = ran.err().or(killed.err());
            return Ok(after);
        }
    };
    let reads = read_back(system, &buyers, &crowd, ran.began.unwrap_or(began))?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let name = system.file_name();
    let path = options.histories.as_deref().unwrap_or(dir.path()).join(format!("{name}.jsonl"));
    let header = Header::new(name, stock.into(), 1);
    history::write(&path, &header, &buyers, crowd.calls.as_deref().unwrap_or_default(), &reads)?;
    after.faults = judge::judge(&path)?.faults;
    Ok(after)
}

fn kill(system: &mut System, began: Instant) -> Result<Vec<&'static str>, String> {
    for after in KILL_SERVER_AFTER {
        std::thread::sleep(after.saturating_sub(began.elapsed()));
        system.restart_server()?;
    }
    std::thread::sleep(KILL_STORE_AFTER.saturating_sub(began.elapsed()));
    let mut killed = vec!["the server 3 times"];
    match system.restart_store() {
        Some(store) => killed.push(store),
        // Everything is in the one process.
        None => {
            system.restart_server()?;
            killed[0] = "the server 4 times";
        }
    }
    Ok(killed)
}

/// Reads every order back as its owner.
fn read_back(system: &System, buyers: &Buyers, crowd: &Crowd<'_>, began: Instant) -> Result<Vec<Line>, String> {
    let mall = system.mall();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let by = Instant::now() + FOUND_MAX;
    let mut reads = Vec::new();
    for (order, user) in crowd.records.orders() {
        let line = loop {
            let sent = began.elapsed();
            let answer = mall.order(buyers.token(user), order, CALL_TIMEOUT)?;
            let found = answer.fault.is_none();
            if !found && Instant::now() < by {
                std::thread::sleep(READ_AGAIN);
                continue;
            }
            let state = found.then_some(if answer.status == "queued" { State::Queued } else { State::Pending });
            break Line::Read {
                user: buyers.id(user).to_string(),
                order: order.to_string(),
                sent_ns: nanos(sent),
                answered_ns: nanos(began.elapsed()),
                found,
                owner: None,
                quantity: None,
                state,
            };
        };
        reads.push(line);
    }
    Ok(reads)
}
