//! The command line.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    cost::Row,
    cpu::{self, Watched},
};

pub(crate) const USAGE: &str = "\
bench sale    a flash sale of one SKU, audited
bench fight   every user asks twice at once for a handful of units
bench cost    what each kind of answer costs on the processor beside nginx and a bare hyper: --gateways and
              --floors NAME=URL=PID[,...], --redis-pid PID, --requests N (30000), --connections N (64),
              --rounds N (3), --slow N (2000) clients, --idle N (10000) connections, --only ROW[,...] of accepted,
              sold-out, sold-out-again, limited, unknown, pipelined, reconnecting, slow, idle; bench/cost.sh sets it up
bench hello   a bare hyper that says hello to everybody: --listen ADDRESS
bench evalsha one EVALSHA a reservation straight to Redis, to compare with: --redis URL, --requests N (100000),
              --connections N (64), --pipeline N (1) at once on each, --cpu

  --stock N                    units on sale (1000); of fight: --units N (50)
  --users N                    buyers, each asks for one unit (20000; of fight: 200)
  --connections N              kept-alive connections (64; of fight: two for each user, at most 400)
  --requests-per-connection N  a connection is closed after so many (0: never)
  --model closed|open          closed: a connection asks again when it is answered (closed);
                               open: requests arrive at --rate whatever the server does
  --rate N                     requests a second of the open model
  --gateway URL[,URL...]       http://127.0.0.1:8080; of several, connections take turns
  --order-core URL             http://127.0.0.1:8081
  --admin URL                  http://127.0.0.1:8082
  --data-dir DIR               the mall's, for its secrets (MALL_DATA_DIR, or data)
  --shopper-secret TEXT        key of the shoppers' tokens (MALL_AUTH__SHOPPER_SECRET, or the data directory's)
  --admin-password TEXT        of the user admin (MALL_ADMIN_PASSWORD, or the data directory's)
  --pay-within TIME            what the mall is set to, such as 5s: waits for the unpaid orders to close and
                               audits that their stock came back
  --settle TIME                how long after the last answer the mall may take to come to rest (30s)
  --repeat-every N             every so many-th user asks a second time (10; of fight: 1; 0: none does)
  --cpu NAME=PID[,NAME=PID]    tells how much time on the processor these processes took
  --json FILE                  writes the whole record there

Exit status: 0 all checks passed, 1 a check failed, 2 the sale could not be run.
";

/// When requests are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Model {
    /// One after the other on each connection.
    Closed,
    /// At a constant rate.
    Open { rate_per_s: f64 },
}

/// Which users ask a second time, with the same idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// Every so many-th user.
    pub every: u32,
    /// After so many requests of others.
    pub distance: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub command: &'static str,
    pub stock: u32,
    pub users: u32,
    pub repeats: Repeats,
    pub connections: usize,
    pub requests_per_connection: u32,
    pub model: Model,
    pub gateways: Vec<String>,
    pub access: Access,
    pub pay_within: Option<Duration>,
    pub settle: Duration,
    pub json: Option<PathBuf>,
    pub cpu: Vec<Watched>,
}

/// Where the mall's services are beside its gateways, and what opens them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Access {
    pub order_core: String,
    pub admin: String,
    pub data_dir: PathBuf,
    pub shopper_secret: Option<String>,
    pub admin_password: Option<String>,
}

/// A server whose cost is measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub name: String,
    pub url: String,
    pub pid: u32,
}

/// What is measured beside what.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CostOptions {
    pub gateways: Vec<Target>,
    pub floors: Vec<Target>,
    pub redis_pid: u32,
    pub requests: u32,
    pub connections: usize,
    pub rounds: u32,
    pub slow: usize,
    pub idle: usize,
    /// Which rows; none names all.
    pub only: Vec<Row>,
    pub access: Access,
}

impl CostOptions {
    pub(crate) fn wants(&self, row: Row) -> bool {
        self.only.is_empty() || self.only.contains(&row)
    }
}

/// How Redis is asked without any gateway.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EvalshaOptions {
    pub redis: String,
    pub requests: u32,
    pub connections: u32,
    pub pipeline: u32,
    pub cpu: Vec<Watched>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Usage,
    Run(Box<Options>),
    Evalsha(EvalshaOptions),
    Cost(Box<CostOptions>),
    Hello(SocketAddr),
}

/// User ids leave 24 bits for the number of a user within a run.
const USERS_MAX: u64 = 1 << 24;

/// What the mall promises: at rest within half a minute.
const SETTLE: Duration = Duration::from_secs(30);

const SHARED: [&str; 16] = [
    "cpu",
    "repeat-every",
    "users",
    "json",
    "settle",
    "connections",
    "requests-per-connection",
    "model",
    "rate",
    "gateway",
    "order-core",
    "admin",
    "data-dir",
    "shopper-secret",
    "admin-password",
    "pay-within",
];

const EVALSHA: [&str; 5] = ["redis", "requests", "connections", "pipeline", "cpu"];

const COST: [&str; 14] = [
    "gateways",
    "floors",
    "redis-pid",
    "requests",
    "connections",
    "rounds",
    "slow",
    "idle",
    "only",
    "order-core",
    "admin",
    "data-dir",
    "shopper-secret",
    "admin-password",
];

/// Reads the arguments after the program's name; `env` looks an environment variable up.
pub(crate) fn parse(args: &[String], env: &dyn Fn(&str) -> Option<String>) -> Result<Command, String> {
    let Some((command, rest)) = args.split_first() else {
        return Err("which one: bench sale or bench fight? bench --help tells more".to_owned());
    };
    let (command, stock_name) = match command.as_str() {
        "evalsha" => return evalsha(rest),
        "cost" => return cost(rest, env),
        "hello" => return hello(rest),
        "--help" | "-h" | "help" => return Ok(Command::Usage),
        "sale" => ("sale", "stock"),
        "fight" => ("fight", "units"),
        other => {
            return Err(format!("{other}: there is no such command; there are sale, fight, cost, hello and evalsha"));
        }
    };
    if rest.iter().any(|arg| arg == "--help" || arg == "-h") {
        return Ok(Command::Usage);
    }
    let mut values = Values::collect(rest, |name| SHARED.contains(&name) || name == stock_name)?;
    let sale = command == "sale";
    let users = values.number("users", if sale { 20_000 } else { 200 }, 1, USERS_MAX)?;
    let connections = values.number("connections", if sale { 64 } else { (2 * users).min(400) }, 1, 60_000)?;
    let usual = if sale { Repeats { every: 10, distance: 500 } } else { Repeats { every: 1, distance: 0 } };
    let every = narrow(values.number("repeat-every", usual.every.into(), 0, USERS_MAX)?);
    let repeats = Repeats { every: if every == 0 { u32::MAX } else { every }, ..usual };
    let options = Options {
        command,
        stock: narrow(values.number(stock_name, if sale { 1000 } else { 50 }, 1, 100_000_000)?),
        users: narrow(users),
        repeats,
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        requests_per_connection: narrow(values.number("requests-per-connection", 0, 0, 1_000_000_000)?),
        model: values.model()?,
        gateways: values.urls("gateway", 8080)?,
        access: values.access(env)?,
        pay_within: values.duration("pay-within")?,
        settle: values.duration("settle")?.unwrap_or(SETTLE),
        json: values.text("json").map(PathBuf::from),
        cpu: values.watched()?,
    };
    Ok(Command::Run(Box::new(options)))
}

fn cost(args: &[String], env: &dyn Fn(&str) -> Option<String>) -> Result<Command, String> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        return Ok(Command::Usage);
    }
    let mut values = Values::collect(args, |name| COST.contains(&name))?;
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(Command::Cost(Box::new(CostOptions {
        gateways: values.targets("gateways")?,
        floors: values.targets("floors")?,
        redis_pid: narrow(values.number("redis-pid", 0, 1, u32::MAX.into())?),
        requests: narrow(values.number("requests", 30_000, 100, USERS_MAX)?),
        connections: count(values.number("connections", 64, 1, 10_000)?),
        rounds: narrow(values.number("rounds", 3, 1, 100)?),
        slow: count(values.number("slow", 2_000, 1, 10_000)?),
        idle: count(values.number("idle", 10_000, 1, 60_000)?),
        only: values.rows("only")?,
        access: values.access(env)?,
    })))
}

fn hello(args: &[String]) -> Result<Command, String> {
    let mut values = Values::collect(args, |name| name == "listen")?;
    let text = values.text("listen").unwrap_or_default();
    let address =
        text.parse().map_err(|_| format!("--listen: expected an address such as 127.0.0.1:8090, found {text:?}"));
    address.map(Command::Hello)
}

fn evalsha(args: &[String]) -> Result<Command, String> {
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        return Ok(Command::Usage);
    }
    let mut values = Values::collect(args, |name| EVALSHA.contains(&name))?;
    Ok(Command::Evalsha(EvalshaOptions {
        redis: values.text("redis").unwrap_or_else(|| "redis://127.0.0.1:16379".to_owned()),
        requests: narrow(values.number("requests", 100_000, 1, 100_000_000)?),
        connections: narrow(values.number("connections", 64, 1, 10_000)?),
        pipeline: narrow(values.number("pipeline", 1, 1, 1_000)?),
        cpu: values.watched()?,
    }))
}

struct Values(BTreeMap<String, String>);

impl Values {
    fn collect(args: &[String], has: impl Fn(&str) -> bool) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(named) = arg.strip_prefix("--") else {
                return Err(format!("{arg}: there is no such argument; bench --help lists them"));
            };
            let (name, value) = match named.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (named, None),
            };
            if !has(name) {
                return Err(format!("--{name}: there is no such option; bench --help lists them"));
            }
            let Some(value) = value.or_else(|| args.next().cloned()) else {
                return Err(format!("--{name}: a value is missing after it"));
            };
            if values.insert(name.to_owned(), value).is_some() {
                return Err(format!("--{name}: it stands there twice"));
            }
        }
        Ok(Self(values))
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn number(&mut self, name: &str, default: u64, min: u64, max: u64) -> Result<u64, String> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse::<u64>()
            .ok()
            .filter(|value| (min..=max).contains(value))
            .ok_or_else(|| format!("--{name}: expected a whole number from {min} to {max}, found {text:?}"))
    }

    fn watched(&mut self) -> Result<Vec<Watched>, String> {
        self.text("cpu").map_or(Ok(Vec::new()), |text| cpu::parse(&text))
    }

    fn access(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<Access, String> {
        let empty_is_none = |text: String| (!text.is_empty()).then_some(text);
        let given_or_env = |given: Option<String>, name: &str| given.or_else(|| env(name).and_then(empty_is_none));
        let data_dir = given_or_env(self.text("data-dir"), "MALL_DATA_DIR").unwrap_or_else(|| "data".to_owned());
        Ok(Access {
            order_core: self.url("order-core", 8081)?,
            admin: self.url("admin", 8082)?,
            data_dir: data_dir.into(),
            shopper_secret: given_or_env(self.text("shopper-secret"), "MALL_AUTH__SHOPPER_SECRET"),
            admin_password: given_or_env(self.text("admin-password"), "MALL_ADMIN_PASSWORD"),
        })
    }

    fn rows(&mut self, name: &str) -> Result<Vec<Row>, String> {
        let Some(text) = self.text(name) else { return Ok(Vec::new()) };
        let row = |word: &str| Row::named(word).ok_or_else(|| format!("--{name}: there is no row {word:?}"));
        text.split(',').map(row).collect()
    }

    /// Reads `name=url=pid,name=url=pid`.
    fn targets(&mut self, name: &str) -> Result<Vec<Target>, String> {
        let text = self.text(name).unwrap_or_default();
        let one = |part: &str| {
            let mut parts = part.split('=');
            let target = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
            let url = base_url(name, target.1).ok()?;
            parts.next().is_none().then_some(Target { name: target.0.to_owned(), url, pid: target.2 })
        };
        let all: Option<Vec<Target>> = text.split(',').map(one).collect();
        all.ok_or_else(|| format!("--{name}: expected name=http://host:port=process-id, found {text:?}"))
    }

    fn model(&mut self) -> Result<Model, String> {
        let rate = match self.text("rate") {
            None => None,
            Some(text) => Some(
                text.parse::<f64>()
                    .ok()
                    .filter(|rate| (0.1..=10_000_000.0).contains(rate))
                    .ok_or_else(|| format!("--rate: expected requests a second, found {text:?}"))?,
            ),
        };
        match (self.text("model").as_deref(), rate) {
            (None | Some("closed"), None) => Ok(Model::Closed),
            (Some("open"), Some(rate_per_s)) => Ok(Model::Open { rate_per_s }),
            (Some("open"), None) => Err("--model open: it needs --rate".to_owned()),
            (None | Some("closed"), Some(_)) => Err("--rate: it needs --model open".to_owned()),
            (Some(other), _) => Err(format!("--model: expected closed or open, found {other:?}")),
        }
    }

    fn duration(&mut self, name: &str) -> Result<Option<Duration>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit_ms = match &text[digits.len()..] {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" => Some(60_000),
            _ => None,
        };
        let count = digits.parse::<u64>().ok();
        let millis = unit_ms.zip(count).and_then(|(unit_ms, count)| count.checked_mul(unit_ms));
        let time = millis.map(Duration::from_millis).map(Some);
        time.ok_or_else(|| format!("--{name}: expected a time such as 1500ms, 5s or 30m, found {text:?}"))
    }

    fn url(&mut self, name: &str, port: u16) -> Result<String, String> {
        let text = self.text(name).unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
        base_url(name, &text)
    }

    fn urls(&mut self, name: &str, port: u16) -> Result<Vec<String>, String> {
        let text = self.text(name).unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
        text.split(',').map(|text| base_url(name, text)).collect()
    }
}

fn base_url(name: &str, text: &str) -> Result<String, String> {
    let base = text.trim_end_matches('/');
    match base.strip_prefix("http://") {
        Some(authority) if !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' ']) => {
            Ok(base.to_owned())
        }
        Some(_) | None => Err(format!("--{name}: expected http://host:port, found {text:?}")),
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args, &|name| (name == "MALL_ADMIN_PASSWORD").then(|| "from env".to_owned()))
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn defaults() {
        let sale = options("sale");
        assert_eq!((sale.stock, sale.users, sale.connections, sale.model), (1000, 20_000, 64, Model::Closed));
        assert_eq!(
            (sale.gateways, sale.access.data_dir),
            (vec!["http://127.0.0.1:8080".to_owned()], PathBuf::from("data"))
        );
        assert_eq!((sale.access.admin_password.as_deref(), sale.access.shopper_secret), (Some("from env"), None));
        let fight = options("fight --units 5 --users 20");
        assert_eq!((fight.stock, fight.users, fight.connections), (5, 20, 40));
        assert_eq!(fight.repeats, Repeats { every: 1, distance: 0 });
    }

    #[test]
    fn both_spellings() {
        let sale = options("sale --stock=7 --model open --rate 1.5 --gateway=http://h:1/ --pay-within 2s --json out");
        assert_eq!((sale.stock, sale.model), (7, Model::Open { rate_per_s: 1.5 }));
        assert_eq!((sale.gateways, sale.pay_within), (vec!["http://h:1".to_owned()], Some(Duration::from_secs(2))));
        assert_eq!(options("sale --admin-password given").access.admin_password.as_deref(), Some("given"));
        assert_eq!(parsed("sale --stock 1 --help"), Ok(Command::Usage));
    }

    #[test]
    fn faults_are_one_clear_line() {
        let check = |line: &str, expect: &str| assert_eq!(parsed(line), Err(expect.to_owned()), "{line}");
        check("", "which one: bench sale or bench fight? bench --help tells more");
        check("sell", "sell: there is no such command; there are sale, fight, cost, hello and evalsha");
        check("sale now", "now: there is no such argument; bench --help lists them");
        check("sale --units 3", "--units: there is no such option; bench --help lists them");
        check("sale --stock", "--stock: a value is missing after it");
        check("sale --stock 1 --stock 2", "--stock: it stands there twice");
        check("sale --stock many", "--stock: expected a whole number from 1 to 100000000, found \"many\"");
        check("sale --users 0", "--users: expected a whole number from 1 to 16777216, found \"0\"");
        check("sale --model open", "--model open: it needs --rate");
        check("sale --rate 5", "--rate: it needs --model open");
        check("sale --model open --rate -5", "--rate: expected requests a second, found \"-5\"");
        check("sale --model half", "--model: expected closed or open, found \"half\"");
        check("sale --gateway https://h", "--gateway: expected http://host:port, found \"https://h\"");
        check("sale --gateway http://h/x", "--gateway: expected http://host:port, found \"http://h/x\"");
        check(
            "cost --gateways m=http://h:1",
            "--gateways: expected name=http://host:port=process-id, found \"m=http://h:1\"",
        );
        check(
            "cost --gateways m=http://h:1=1 --floors m=http://h:1=1 --redis-pid 1 --only a",
            "--only: there is no row \"a\"",
        );
        check("hello", "--listen: expected an address such as 127.0.0.1:8090, found \"\"");
        check("sale --pay-within 5", "--pay-within: expected a time such as 1500ms, 5s or 30m, found \"5\"");
    }
}
