//! The command line.

#[cfg(feature = "figures")]
use std::net::SocketAddr;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

#[cfg(feature = "figures")]
use crate::cost::{CostOptions, evalsha::EvalshaOptions};
#[cfg(feature = "versus")]
use crate::versus::VersusOptions;
#[cfg(feature = "search")]
use crate::{catalogue::CatalogueOptions, search::SearchOptions};
use crate::{
    compare::CompareOptions,
    judge::JudgeOptions,
    prepare::PrepareOptions,
    report::ReportOptions,
    sale::{FightArgs, SaleArgs},
};

/// Proves speed and correctness of a sale from outside.
///
/// Exit status: 0 all checks passed, 1 a check failed, 2 the command could not be run or not be finished, 130 a sale was ended by Ctrl-C.
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
    #[cfg(feature = "figures")]
    /// Measure what each kind of answer costs on the processor, next to nginx and a bare hyper (set up by bench/cost.sh)
    Cost(Box<CostOptions>),
    #[cfg(feature = "figures")]
    /// Send one EVALSHA for each reservation straight to Redis, as a figure to compare with
    Evalsha(EvalshaOptions),
    #[cfg(feature = "search")]
    /// Fill the database of a mall that does not run with generated products
    Catalogue(CatalogueOptions),
    #[cfg(feature = "search")]
    /// Search at a constant rate and report latencies, numbers of results and errors
    ///
    /// Latencies count from when a search was due, so that a mall that stops for a while makes all searches slow that were due meanwhile. Exit
    /// status: 0 every search was answered with a page, 1 some were not, 2 the command could not be run.
    Search(SearchOptions),
    #[cfg(feature = "figures")]
    /// Serve the bare hyper that `cost` compares with
    Hello {
        /// Address to listen on
        #[arg(long, value_name = "ADDRESS")]
        listen: SocketAddr,
    },
    /// Check the answers of a sale, on any system, from its clients' records alone
    ///
    /// Exit status: 0 no fault, 1 a fault, 2 a file can't be read.
    Judge(JudgeOptions),
    /// Show the record of a run again, also as HTML or Markdown
    Report(ReportOptions),
    /// Compare two sets of runs, pair by pair
    ///
    /// Exit status: 0 nothing is worse, 1 a figure of B is worse, 2 the records can't be compared.
    Compare(CompareOptions),
    #[cfg(feature = "versus")]
    /// Measure this mall next to other ways to sell, and kill each of them in the middle of a sale (see `make compare`)
    ///
    /// Exit status: 0 this mall lost nothing, 1 it did, 2 the comparison could not be run.
    Versus(Box<VersusOptions>),
    /// Make a sale and its users' tokens for another load generator, such as k6 or JMeter
    Prepare(PrepareOptions),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// The text to show: a fault, or the help that was asked for.
pub(crate) fn parse<T: Into<std::ffi::OsString> + Clone>(
    args: impl IntoIterator<Item = T>,
) -> Result<Command, clap::Error> {
    let Cli { command } = Cli::try_parse_from(args)?;
    if let Command::Sale(SaleArgs { load, .. }) | Command::Fight(FightArgs { load, .. }) = &command {
        load.check()?;
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use std::time::Duration;

    use super::*;
    use crate::{
        arrivals::{Arrivals, Model},
        cpu::Watched,
        crowd::Repeats,
        options::duration,
        sale::Options,
    };

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
        assert_eq!((sale.stock, sale.model), (7, Model::Open(Arrivals::parse("1.5", duration).unwrap())));
        assert_eq!((sale.gateways.len(), sale.pay_within), (2, Some(Duration::from_secs(2))));
        assert_eq!(options("sale --admin-password given").access.admin_password.as_deref(), Some("given"));
        let cpu = options("sale --cpu mall=7,redis=8").cpu;
        assert_eq!(cpu, [("mall", 7), ("redis", 8)].map(|(name, pid)| Watched { name: name.to_owned(), pid }));
    }

    #[cfg(feature = "figures")]
    #[test]
    fn targets_of_cost() {
        let Ok(Command::Cost(cost)) = parsed(COST) else { panic!("{COST}") };
        assert_eq!((cost.gateways[0].url.as_str(), cost.floors[0].pid, cost.rounds), ("http://h:1", 2, 3));
    }

    #[cfg(feature = "figures")]
    const COST: &str = "cost --gateways m=http://h:1=1 --floors n=http://h:2=2 --redis-pid 3 --only accepted,slow";

    #[test]
    fn faults_exit_with_2_and_name_what_is_wrong() {
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
            ("sale --pay-within 5", "such as 1500ms"),
        ] {
            check_fault(line, named);
        }
        assert_eq!(parsed("sale --stock 1 --help").unwrap_err().exit_code(), 0);
    }

    fn check_fault(line: &str, named: &str) {
        let fault = parsed(line).unwrap_err();
        assert_eq!(fault.exit_code(), 2, "{line}");
        assert!(fault.to_string().contains(named), "{line}: {fault}");
    }

    #[cfg(feature = "figures")]
    #[test]
    fn faults_of_figures() {
        let cost = format!("{COST} --only a");
        for (line, named) in [
            ("cost --gateways m=http://h:1", "name=http://host:port=process-id"),
            (&cost, "--only"),
            ("hello", "--listen"),
        ] {
            check_fault(line, named);
        }
    }

    #[cfg(feature = "search")]
    #[test]
    fn faults_of_search() {
        for (line, named) in [
            ("search --rate 0", "requests a second"),
            ("search --order-core https://h", "http://host:port"),
            ("search --suggest --facets", "--facets"),
            ("search words", "words"),
            ("catalogue --products 0", "1..=1000000"),
        ] {
            check_fault(line, named);
        }
    }
}
