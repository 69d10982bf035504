//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;

use crate::{
    catalogue::CatalogueOptions,
    cost::CostOptions,
    cpu::Watched,
    evalsha::EvalshaOptions,
    options::{Access, Model, Options, Repeats, base_url, duration, rate, watched},
    search::SearchOptions,
};

/// User ids leave 24 bits for the number of a user within a run.
const USERS_MAX: i64 = 1 << 24;
const STOCK_MAX: i64 = 100_000_000;
const CONNECTIONS_MAX: i64 = 60_000;
/// Connections of a fight where none are given: two for each user, up to this many.
const FIGHT_CONNECTIONS_MAX: u32 = 400;

/// Proves speed and correctness of a sale from outside.
///
/// Exit status: 0 all checks passed, 1 a check failed, 2 the command could not be run.
#[derive(Debug, PartialEq, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, PartialEq, Subcommand)]
pub(crate) enum Command {
    /// Sell out a flash sale of one SKU and audit it
    Sale(SaleArgs),
    /// Let every user ask twice at once for a handful of units, and audit it
    Fight(FightArgs),
    /// Measure what each kind of answer costs on the processor, next to nginx and a bare hyper (set up by bench/cost.sh)
    Cost(Box<CostOptions>),
    /// Send one EVALSHA for each reservation straight to Redis, as a figure to compare with
    Evalsha(EvalshaOptions),
    /// Fill the database of a mall that does not run with generated products
    Catalogue(CatalogueOptions),
    /// Search at a constant rate and report latencies, numbers of results and errors
    ///
    /// Latencies count from when a search was due, so that a mall that stands still makes all that were due meanwhile slow. Exit
    /// status: 0 every search was answered with a page, 1 some were not, 2 the command could not be run.
    Search(SearchOptions),
    /// Serve the bare hyper that `cost` compares with
    Hello {
        /// Address to listen on
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, PartialEq, Args)]
pub(crate) struct SaleArgs {
    /// Units on sale
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=STOCK_MAX))]
    stock: u32,
    /// Buyers; each asks for one unit
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=USERS_MAX))]
    users: u32,
    /// Connections that are kept alive
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    connections: u32,
    /// One user in N asks a second time with the same key; 0: none does
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(..=USERS_MAX))]
    repeat_every: u32,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, PartialEq, Args)]
pub(crate) struct FightArgs {
    /// Units on sale
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = value_parser!(u32).range(1..=STOCK_MAX))]
    units: u32,
    /// Buyers; each asks for one unit
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=USERS_MAX))]
    users: u32,
    /// Connections that are kept alive [default: two for each user, 400 at most]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    connections: Option<u32>,
    /// One user in N asks a second time with the same key; 0: none does
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(..=USERS_MAX))]
    repeat_every: u32,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModelName {
    /// A connection asks again when it is answered
    Closed,
    /// Requests arrive at --rate, whatever the server does
    Open,
}

#[derive(Debug, PartialEq, Args)]
struct LoadArgs {
    /// Close a connection after this many requests; 0: never
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(..=1_000_000_000))]
    requests_per_connection: u32,
    /// When requests are made
    #[arg(long, value_enum, default_value_t = ModelName::Closed, requires_if("open", "rate"))]
    model: ModelName,
    /// Requests a second of the open model
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Base URLs of the gateways; connections take turns
    #[arg(long = "gateway", value_name = "URL", value_delimiter = ',', value_parser = base_url,
        default_value = "http://127.0.0.1:8080")]
    gateways: Vec<String>,
    #[command(flatten)]
    access: Access,
    /// The mall's time to pay: wait for the unpaid orders to close and audit that their stock came back
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pay_within: Option<Duration>,
    /// How long after the last answer the mall may take to come to rest
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    settle: Duration,
    /// Report the processor time that these processes took
    #[arg(long, value_name = "NAME=PID", value_delimiter = ',', value_parser = watched)]
    cpu: Vec<Watched>,
    /// Write the whole record to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl From<SaleArgs> for Options {
    fn from(SaleArgs { stock, users, connections, repeat_every, load }: SaleArgs) -> Self {
        let repeats = Repeats { every: every(repeat_every), distance: 500 };
        load.options("sale", (stock, users, connections), repeats)
    }
}

impl From<FightArgs> for Options {
    fn from(FightArgs { units, users, connections, repeat_every, load }: FightArgs) -> Self {
        let connections = connections.unwrap_or(users.saturating_mul(2).min(FIGHT_CONNECTIONS_MAX));
        let repeats = Repeats { every: every(repeat_every), distance: 0 };
        load.options("fight", (units, users, connections), repeats)
    }
}

/// Nobody repeats: no run has this many users.
const fn every(repeat_every: u32) -> u32 {
    if repeat_every == 0 { u32::MAX } else { repeat_every }
}

impl LoadArgs {
    fn options(self, command: &'static str, (stock, users, connections): (u32, u32, u32), repeats: Repeats) -> Options {
        let model = match (self.model, self.rate) {
            (ModelName::Open, Some(rate_per_s)) => Model::Open { rate_per_s },
            (ModelName::Open | ModelName::Closed, _) => Model::Closed,
        };
        Options {
            command,
            stock,
            users,
            repeats,
            connections: usize::try_from(connections).unwrap_or(usize::MAX),
            requests_per_connection: self.requests_per_connection,
            model,
            gateways: self.gateways,
            access: self.access,
            pay_within: self.pay_within,
            settle: self.settle,
            json: self.json,
            cpu: self.cpu,
        }
    }
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// The text to show: a fault, or the help that was asked for.
pub(crate) fn parse<T: Into<std::ffi::OsString> + Clone>(
    args: impl IntoIterator<Item = T>,
) -> Result<Command, clap::Error> {
    let Cli { command } = Cli::try_parse_from(args)?;
    let load = match &command {
        Command::Sale(args) => &args.load,
        Command::Fight(args) => &args.load,
        Command::Cost(_)
        | Command::Evalsha(_)
        | Command::Catalogue(_)
        | Command::Search(_)
        | Command::Hello { .. }
        | Command::Completions { .. } => {
            return Ok(command);
        }
    };
    if load.rate.is_some() && load.model == ModelName::Closed {
        let fault = clap::error::ErrorKind::ArgumentConflict;
        return Err(clap::Error::raw(fault, "--rate needs --model open\n"));
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        parse(std::iter::once("bench").chain(line.split_whitespace()))
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Command::Sale(args)) => args.into(),
            Ok(Command::Fight(args)) => args.into(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let sale = options("sale");
        assert_eq!((sale.stock, sale.users, sale.connections, sale.model), (1000, 20_000, 64, Model::Closed));
        assert_eq!(sale.gateways, ["http://127.0.0.1:8080"]);
        assert_eq!((sale.settle, sale.repeats.every), (Duration::from_secs(30), 10));
        let fight = options("fight --units 5 --users 20");
        assert_eq!((fight.stock, fight.users, fight.connections), (5, 20, 40));
        assert_eq!(fight.repeats, Repeats { every: 1, distance: 0 });
        assert_eq!(options("sale --repeat-every 0").repeats.every, u32::MAX);
    }

    #[test]
    fn both_spellings() {
        let sale = options("sale --stock=7 --model open --rate 1.5 --gateway=http://h:1/,http://h:2 --pay-within 2s");
        assert_eq!((sale.stock, sale.model), (7, Model::Open { rate_per_s: 1.5 }));
        assert_eq!((sale.gateways.len(), sale.pay_within), (2, Some(Duration::from_secs(2))));
        assert_eq!(options("sale --admin-password given").access.admin_password.as_deref(), Some("given"));
        let cpu = options("sale --cpu mall=7,redis=8").cpu;
        assert_eq!(cpu, [("mall", 7), ("redis", 8)].map(|(name, pid)| Watched { name: name.to_owned(), pid }));
        let Ok(Command::Cost(cost)) = parsed(COST) else { panic!("{COST}") };
        assert_eq!((cost.gateways[0].url.as_str(), cost.floors[0].pid, cost.rounds), ("http://h:1", 2, 3));
    }

    const COST: &str = "cost --gateways m=http://h:1=1 --floors n=http://h:2=2 --redis-pid 3 --only accepted,slow";

    #[test]
    fn faults_exit_with_2_and_name_what_is_wrong() {
        let cost = format!("{COST} --only a");
        for (line, named) in [
            ("", "Usage: bench <COMMAND>"),
            ("sell", "sell"),
            ("sale now", "now"),
            ("sale --units 3", "--units"),
            ("sale --stock", "--stock"),
            ("sale --stock 1 --stock 2", "--stock"),
            ("sale --stock many", "many"),
            ("sale --stock 0", "1..=100000000"),
            ("sale --users 0", "1..=16777216"),
            ("sale --model open", "--rate"),
            ("sale --rate 5", "--model open"),
            ("sale --model open --rate 0", "requests a second"),
            ("sale --model half", "half"),
            ("sale --gateway https://h", "http://host:port"),
            ("sale --gateway http://h/x", "http://host:port"),
            ("sale --cpu mall", "name=process-id"),
            ("cost --gateways m=http://h:1", "name=http://host:port=process-id"),
            (&cost, "--only"),
            ("hello", "--listen"),
            ("search --rate 0", "requests a second"),
            ("search --order-core https://h", "http://host:port"),
            ("search --suggest --facets", "--facets"),
            ("search words", "words"),
            ("catalogue --products 0", "1..=1000000"),
            ("sale --pay-within 5", "such as 1500ms"),
        ] {
            let fault = parsed(line).unwrap_err();
            assert_eq!(fault.exit_code(), 2, "{line}");
            assert!(fault.to_string().contains(named), "{line}: {fault}");
        }
        assert_eq!(parsed("sale --stock 1 --help").unwrap_err().exit_code(), 0);
    }
}
