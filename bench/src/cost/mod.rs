//! What a request costs on the processor: the gateways' answers beside two floors, nginx's `return 200` and a bare
//! hyper, in one run. Each round asks every server every question, so that what the machine does meanwhile falls
//! on all of them.

mod distance;
pub(crate) mod evalsha;
pub(crate) mod hello;
mod rush;
mod slow;
mod table;

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use clap::value_parser;
use contract::ActivityId;
use foundation::{Clock, SystemClock};

use crate::{
    buyers::{BuyRequest, Buyers, random_run},
    cpu::{self, Watched},
    load::{self, Settings},
    mall::Mall,
    options::{Access, base_url, resolve},
    progress::note,
    secrets::{ADMIN, SHOPPER, find_secret},
};
use rush::Rush;
use table::Reading;

/// Requests that a pipelining client sends at once.
const PIPELINE: u32 = 16;
/// Honest requests a second beside slow clients, and for how long: longer than a slow client is borne.
const HONEST_PER_S: u32 = 2_000;
const HONEST_S: u32 = 12;
/// What a gateway calls the threads that answer.
const CORE_THREAD: &str = "gateway";
/// A process is at rest once it takes less than this much of the processor in [`REST_LOOK`].
const REST_NS: u64 = 2_000_000;
const REST_LOOK: Duration = Duration::from_millis(100);
const REST_MAX: Duration = Duration::from_secs(20);

/// A server whose cost is measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub name: String,
    pub url: String,
    pub pid: u32,
}

/// Which servers are measured, and how.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct CostOptions {
    /// The gateways that are measured
    #[arg(long, value_name = "NAME=URL=PID", value_delimiter = ',', value_parser = target, required = true)]
    pub gateways: Vec<Target>,
    /// The servers that they are compared with
    #[arg(long, value_name = "NAME=URL=PID", value_delimiter = ',', value_parser = target, required = true)]
    pub floors: Vec<Target>,
    /// Process id of the gateways' Redis
    #[arg(long, value_name = "PID", value_parser = value_parser!(u32).range(1..))]
    pub redis_pid: u32,
    /// Requests of each row
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = value_parser!(u32).range(100..=1 << 24))]
    pub requests: u32,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count_up_to::<10_000>)]
    pub connections: usize,
    /// Rounds; each asks every server every question
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Slow clients
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = count_up_to::<10_000>)]
    pub slow: usize,
    /// Idle connections
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = count_up_to::<60_000>)]
    pub idle: usize,
    /// Rows to measure: accepted, sold-out, sold-out-again, limited, unknown, pipelined, reconnecting, slow, idle [default: all]
    #[arg(long, value_name = "ROW", value_delimiter = ',', value_parser = row)]
    pub only: Vec<Row>,
    #[command(flatten)]
    pub access: Access,
}

impl CostOptions {
    fn wants(&self, row: Row) -> bool {
        self.only.is_empty() || self.only.contains(&row)
    }
}

/// `name=url=pid`.
fn target(text: &str) -> Result<Target, String> {
    let parts: Vec<&str> = text.split('=').collect();
    let fault = || "expected name=http://host:port=process-id".to_owned();
    let [name, url, pid] = parts[..] else { return Err(fault()) };
    Ok(Target { name: name.to_owned(), url: base_url(url)?, pid: pid.parse().map_err(|_| fault())? })
}

fn row(word: &str) -> Result<Row, String> {
    Row::named(word).ok_or_else(|| "there is no such row".to_owned())
}

fn count_up_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=MAX).contains(count));
    count.ok_or_else(|| format!("expected a whole number from 1 to {MAX}"))
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    /// A reservation that is accepted; of a floor, the same bytes.
    Accepted,
    /// One that comes too late, of users whose tokens are new.
    SoldOut,
    /// The same users once more.
    SoldOutAgain,
    /// One user over his limit.
    Limited,
    /// An activity that was never announced.
    Unknown,
    /// As [`Ask::SoldOut`], [`PIPELINE`] at once.
    Pipelined,
    /// As [`Ask::SoldOut`], each on a connection of its own.
    Reconnecting,
}

impl Ask {
    const ALL: [Self; 7] = [
        Self::Accepted,
        Self::SoldOut,
        Self::SoldOutAgain,
        Self::Limited,
        Self::Unknown,
        Self::Pipelined,
        Self::Reconnecting,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoldOut => "sold-out",
            Self::SoldOutAgain => "sold-out-again",
            Self::Limited => "limited",
            Self::Unknown => "unknown",
            Self::Pipelined => "pipelined",
            Self::Reconnecting => "reconnecting",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoldOut => "sold out",
            Self::SoldOutAgain => "sold out, token known",
            Self::Limited => "refused by the limiter",
            Self::Unknown => "refused by the Bloom filter",
            Self::Pipelined => "sold out, 16 at once",
            Self::Reconnecting => "sold out, a connection each",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Accepted => 202,
            Self::SoldOut | Self::SoldOutAgain | Self::Pipelined | Self::Reconnecting => 409,
            Self::Limited => 429,
            Self::Unknown => 404,
        }
    }
}

/// What can be left out of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Ask(Ask),
    /// Honest clients beside slow ones.
    Slow,
    /// Connections that do nothing.
    Idle,
}

impl Row {
    /// The row of that name on the command line.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "slow" => Some(Self::Slow),
            "idle" => Some(Self::Idle),
            _ => Ask::ALL.into_iter().find(|ask| ask.word() == word).map(Self::Ask),
        }
    }
}

/// Everything that one round needs.
struct Round<'a> {
    options: &'a CostOptions,
    mall: Mall,
    buyers: Buyers,
    sold_out: ActivityId,
    unknown: ActivityId,
    run: u32,
}

/// Measures, and returns the figures as tables.
pub(crate) fn run(options: &CostOptions) -> Result<String, String> {
    let (secret, _) = find_secret(&options.access, options.access.shopper_secret.as_ref(), &SHOPPER)?;
    let (password, source) = find_secret(&options.access, options.access.admin_password.as_ref(), &ADMIN)?;
    let urls: Vec<String> = options.gateways.iter().map(|target| target.url.clone()).collect();
    let mut readings = Vec::new();
    let mut distances = Vec::new();
    for number in 1..=options.rounds {
        let mut mall = Mall::new(&urls, &options.access.order_core, &options.access.admin);
        mall.wait_ready()?;
        mall.sign_in(password.expose(), &source)?;
        let run = random_run()?;
        let sold_out = mall.create_sale(run, 1)?;
        mall.wait_open(sold_out)?;
        let buyers = Buyers::new(run, options.requests, secret.expose(), SystemClock.now_ms() / 1000);
        let unknown = ActivityId::from_i64(i64::MAX - i64::from(run)).ok_or("no id")?;
        let round = Round { options, mall, buyers, sold_out, unknown, run };
        for ask in Ask::ALL.into_iter().filter(|ask| options.wants(Row::Ask(*ask))) {
            distances.extend(distance::round_trip_ns());
            // A floor answers all alike; it is asked the same each time, because the machine is not the same.
            for target in options.floors.iter().chain(&options.gateways) {
                let reading = round.measure(ask, target)?;
                note(&format!("round {number}, {}, {}: {reading}", ask.name(), target.name));
                readings.push((target.name.clone(), ask, reading));
            }
        }
        for target in options.gateways.iter().filter(|_| options.wants(Row::Slow)) {
            let slow = round.beside_slow_clients(target)?;
            note(&format!("round {number}, {} slow clients, {}: {slow}", options.slow, target.name));
            readings.push((target.name.clone(), Ask::SoldOut, Reading { slow: Some(slow), ..Reading::default() }));
        }
    }
    let mut text = table::text(options, &readings, &distances);
    for target in options.gateways.iter().filter(|_| options.wants(Row::Idle)) {
        // What one server does not bear takes nothing from what was measured before.
        text.push_str(&idle(options, target).unwrap_or_else(|fault| fault + "\n"));
    }
    Ok(text)
}

impl Round<'_> {
    fn is_floor(&self, target: &Target) -> bool {
        self.options.floors.contains(target)
    }

    /// The processes whose time counts: the server's, and Redis' for what the ledger is asked.
    fn watched(&self, ask: Ask, target: &Target) -> Vec<Watched> {
        let redis = (ask == Ask::Accepted && !self.is_floor(target)).then_some(self.options.redis_pid);
        let pids = std::iter::once(("server", target.pid)).chain(redis.map(|pid| ("redis", pid)));
        pids.map(|(name, pid)| Watched { name: name.to_owned(), pid }).collect()
    }

    fn settings(&self, target: &Target, ask: Ask) -> Result<Settings, String> {
        let settings = Settings::new(vec![resolve(&target.url)?], self.options.connections);
        Ok(match ask {
            Ask::Pipelined => Settings { requests_per_job: PIPELINE, ..settings },
            Ask::Reconnecting => Settings { requests_per_connection: 1, ..settings },
            Ask::Accepted | Ask::SoldOut | Ask::SoldOutAgain | Ask::Limited | Ask::Unknown => settings,
        })
    }

    fn rush(&self, ask: Ask, target: &Target) -> Result<Rush<'_>, String> {
        let activity = match ask {
            Ask::Accepted if !self.is_floor(target) => {
                let run = self.run.wrapping_add(target.pid);
                let activity = self.mall.create_sale(run, self.options.requests)?;
                self.mall.wait_open(activity)?;
                activity
            }
            Ask::Unknown => self.unknown,
            Ask::Accepted | Ask::SoldOut | Ask::SoldOutAgain | Ask::Limited | Ask::Pipelined | Ask::Reconnecting => {
                self.sold_out
            }
        };
        let request = BuyRequest::new(target.url.trim_start_matches("http://"), activity);
        let rush = Rush::new(&self.buyers, request, if ask == Ask::Pipelined { PIPELINE } else { 1 })?;
        Ok(if ask == Ask::Limited { rush.of_one(0) } else { rush })
    }

    fn measure(&self, ask: Ask, target: &Target) -> Result<Reading, String> {
        let watched = self.watched(ask, target);
        if ask == Ask::SoldOut && !self.is_floor(target) {
            // The gateway hears from the ledger that it is so.
            let request = BuyRequest::new(target.url.trim_start_matches("http://"), self.sold_out);
            load::run(Settings::new(vec![resolve(&target.url)?], 1), &mut Rush::new(&self.first_few(), request, 1)?)?;
        }
        let mut rush = self.rush(ask, target)?;
        let settings = self.settings(target, ask)?;
        at_rest(&watched)?;
        let before = cpu::times(&watched)?;
        let ran = load::run(settings, &mut rush)?;
        at_rest(&watched)?;
        let taken = cpu::between(&before, &cpu::times(&watched)?);
        self.check(ask, target, &rush, ran.broken)?;
        let each = |is_of: &dyn Fn(&str, &str) -> bool| {
            let of = taken.iter().filter(|((process, thread), _)| is_of(process, thread));
            of.map(|(_, ns)| *ns).sum::<u64>() as f64 / 1e3 / rush.answers() as f64
        };
        Ok(Reading {
            cpu_us: each(&|_, _| true),
            redis_us: each(&|process, _| process == "redis"),
            core_us: each(&|process, thread| process == "server" && thread == CORE_THREAD),
            rate: rush.answers() as f64 / ran.wall.as_secs_f64(),
            slow: None,
        })
    }

    /// Two users, whose first takes the one unit.
    fn first_few(&self) -> Buyers {
        self.buyers.first(2)
    }

    /// A run in which a connection broke, or that was answered otherwise, is no measurement.
    fn check(&self, ask: Ask, target: &Target, rush: &Rush<'_>, broken: u64) -> Result<(), String> {
        let expect = if self.is_floor(target) { 200 } else { ask.status() };
        let as_expected = rush.told.get(&expect).copied().unwrap_or(0);
        // The limited user's first requests are still within the limit, and the buyer of the one unit is told so again.
        let others_max = if ask == Ask::Limited { rush.answers() / 50 } else { 2 };
        if broken == 0 && rush.answers() - as_expected <= others_max {
            return Ok(());
        }
        let (ask, target, told) = (ask.name(), &target.name, &rush.told);
        Err(format!("{target}, {ask}: expected {expect}, was told {told:?}, {broken} connections broke"))
    }

    /// p99 of honest clients alone and beside slow ones, in microseconds.
    fn beside_slow_clients(&self, target: &Target) -> Result<table::Slow, String> {
        let address = resolve(&target.url)?;
        let alone = self.p99_us(target, address)?;
        let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let (beside, dribbled) = std::thread::scope(|scope| {
            let slow = scope.spawn(|| slow::dribble(address, self.options.slow, &ready, &stop));
            while !ready.load(Ordering::Acquire) && !slow.is_finished() {
                std::thread::sleep(Duration::from_millis(10));
            }
            let beside = self.p99_us(target, address);
            stop.store(true, Ordering::Release);
            (beside, slow.join().unwrap_or_else(|_| Err("the slow clients failed".to_owned())))
        });
        Ok(table::Slow { alone_us: alone, beside_us: beside?, cut: dribbled?.cut })
    }

    fn p99_us(&self, target: &Target, address: SocketAddr) -> Result<f64, String> {
        let request = BuyRequest::new(target.url.trim_start_matches("http://"), self.unknown);
        let buyers = self.buyers.first(HONEST_PER_S * HONEST_S);
        let mut rush = Rush::new(&buyers, request, 1)?.at_rate(HONEST_PER_S);
        load::run(Settings::new(vec![address], self.options.connections), &mut rush)?;
        Ok(rush.latency.value_at_quantile(0.99) as f64 / 1e3)
    }
}

/// Waits until the processes have nothing left to do.
fn at_rest(watched: &[Watched]) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let before = cpu::times(watched)?;
        std::thread::sleep(REST_LOOK);
        let taken: u64 = cpu::between(&before, &cpu::times(watched)?).values().sum();
        if taken < REST_NS {
            return Ok(());
        }
        if begun.elapsed() > REST_MAX {
            return Err(format!("{watched:?} are not at rest after {REST_MAX:?}"));
        }
    }
}

/// What connections cost that have asked once and do nothing now.
fn idle(options: &CostOptions, target: &Target) -> Result<String, String> {
    let address = resolve(&target.url)?;
    let failed = |error: io::Error| format!("{}: an idle connection: {error}", target.name);
    let before = cpu::resident_bytes(target.pid)?;
    let (mut open, mut refused) = (Vec::with_capacity(options.idle), String::new());
    for _ in 0..options.idle {
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: mall\r\n\r\n").map_err(failed)?;
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).map_err(failed)?;
        if !answer[..length].ends_with(b"pong") {
            let said = String::from_utf8_lossy(&answer[..length]);
            refused = format!("; one more was refused: {:?}", said.lines().next().unwrap_or_default());
            break;
        }
        open.push(stream);
    }
    let after = cpu::resident_bytes(target.pid)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "{}: {} idle connections: {:.1} MiB more than without them, {:.1} MiB in all{refused}\n",
        target.name,
        open.len(),
        mib(after.saturating_sub(before)),
        mib(after)
    ))
}
