//! The options of `sale` and `fight`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};

use crate::{
    arrivals::{Arrivals, Model},
    cpu::Watched,
    crowd::Repeats,
    options::{Access, base_url, duration, watched},
    thresholds::Threshold,
};

/// User ids leave 24 bits for the number of a user within a run.
const USERS_MAX: i64 = 1 << 24;
const STOCK_MAX: i64 = 100_000_000;
const CONNECTIONS_MAX: i64 = 60_000;
/// Connections of a fight where none are given: two for each user, up to this many.
const FIGHT_CONNECTIONS_MAX: u32 = 400;

/// A sale or a fight.
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
    /// Where the buyers ask, if not at the gateways.
    pub front: Option<String>,
    pub access: Access,
    pub pay_within: Option<Duration>,
    pub settle: Duration,
    /// How long a request for the audit is retried.
    pub audit_retry: Duration,
    pub note: Option<String>,
    pub fail_if: Vec<Threshold>,
    pub json: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub hgrm: Option<PathBuf>,
    pub history: Option<PathBuf>,
    pub cpu: Vec<Watched>,
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
    pub load: LoadArgs,
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
    pub load: LoadArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModelName {
    /// A connection asks again when it is answered
    Closed,
    /// Requests arrive at --rate, whatever the server does
    Open,
}

#[derive(Debug, PartialEq, Args)]
pub(crate) struct LoadArgs {
    /// Close a connection after this many requests; 0: never
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(..=1_000_000_000))]
    requests_per_connection: u32,
    /// When requests are made
    #[arg(long, value_enum, default_value_t = ModelName::Closed, requires_if("open", "rate"))]
    model: ModelName,
    /// Requests a second of the open model: 2000; steps 500:10s,1000:10s,2000; a ramp 100-5000:30s; a spike 500:5s,20000:500ms,500
    #[arg(long, value_name = "RATE[:TIME],...", value_parser = arrivals)]
    rate: Option<Arrivals>,
    /// Base URLs of the gateways; connections take turns
    #[arg(long = "gateway", value_name = "URL", value_delimiter = ',', value_parser = base_url,
        default_value = "http://127.0.0.1:8080")]
    gateways: Vec<String>,
    /// Base URL of a proxy in front of the gateways; buyers ask there
    #[arg(long, value_name = "URL", value_parser = base_url)]
    front: Option<String>,
    #[command(flatten)]
    access: Access,
    /// The mall's time to pay: wait for the unpaid orders to close and audit that their stock came back
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pay_within: Option<Duration>,
    /// How long after the last answer the mall may take to come to rest
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    settle: Duration,
    /// How long a request to the mall's admin, order-core or metrics is retried where it fails; then the report says what is missing
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    audit_retry: Duration,
    /// Report the processor time that these processes took
    #[arg(long, value_name = "NAME=PID", value_delimiter = ',', value_parser = watched)]
    cpu: Vec<Watched>,
    /// A remark for the record, such as how the mall was built
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Exit with 1 if this holds, such as 'p99>5ms' or 'reservations/s<1000'; can be given several times
    #[arg(long, value_name = "CONDITION", value_parser = Threshold::parse)]
    fail_if: Vec<Threshold>,
    /// Write the whole record to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the corrected latencies to this file, in the text format of HdrHistogram
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write every call to this file, for `bench judge`
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
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

fn arrivals(text: &str) -> Result<Arrivals, String> {
    Arrivals::parse(text, duration)
}

impl LoadArgs {
    /// What clap can't say about these options.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        if self.rate.is_some() && self.model == ModelName::Closed {
            let fault = clap::error::ErrorKind::ArgumentConflict;
            return Err(clap::Error::raw(fault, "--rate needs --model open\n"));
        }
        Ok(())
    }

    fn options(self, command: &'static str, (stock, users, connections): (u32, u32, u32), repeats: Repeats) -> Options {
        let model = match (self.model, self.rate) {
            (ModelName::Open, Some(arrivals)) => Model::Open(arrivals),
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
            front: self.front,
            access: self.access,
            pay_within: self.pay_within,
            settle: self.settle,
            audit_retry: self.audit_retry,
            note: self.note,
            fail_if: self.fail_if,
            json: self.json,
            html: self.html,
            hgrm: self.hgrm,
            history: self.history,
            cpu: self.cpu,
        }
    }
}
