//! One EVALSHA a reservation, straight to Redis: what the gateways' batches are measured beside. The script
//! is the ledger's own; only the batches differ, each has one reservation.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Instant,
};

use clap::value_parser;
use contract::{
    ActivityId, OrderId, UserId,
    activity::Rules,
    stock::{Reservation, Term, Window},
};
use foundation::{Clock, SystemClock};
use ledger::{
    LedgerUnavailable,
    conformance::open_in_redis,
    redis::{
        RedisLedger,
        wire::{Caller, Holds, Script, pack_reserve},
    },
};

use crate::{
    cpu::{self, Watched},
    options::watched,
};

/// How Redis is asked without any gateway.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct EvalshaOptions {
    /// Address of the Redis server
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:16379")]
    pub redis: String,
    /// Reservations
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub requests: u32,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Commands in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1_000))]
    pub pipeline: u32,
    /// Report the processor time that these processes took
    #[arg(long, value_name = "NAME=PID", value_delimiter = ',', value_parser = watched)]
    pub cpu: Vec<Watched>,
}

/// Each user may have one unit.
const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: 0, ends_at_ms: u64::MAX >> 12 };

/// Opens a ledger, asks for one unit at a time on every connection, and reports the time it took.
pub(crate) fn run(options: &EvalshaOptions) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let id = i64::try_from(SystemClock.now_ms()).ok().and_then(ActivityId::from_i64);
    let activity = id.ok_or("the clock is wrong")?;
    let _entered = runtime.enter();
    let ledgers = RedisLedger::new(&options.redis).map_err(|error| error.to_string())?;
    let run = runtime.block_on(open(&ledgers, activity, options)).map_err(|error| error.to_string())?;
    let report = rush(options, activity, &run);
    runtime.block_on(remove(&ledgers, activity)).map_err(|error| error.to_string())?;
    report
}

/// Opens the ledger and has it asked once, which makes the script known; the server's run id.
async fn open(
    ledgers: &RedisLedger,
    activity: ActivityId,
    options: &EvalshaOptions,
) -> Result<String, LedgerUnavailable> {
    let rounded_up = options.connections * options.pipeline;
    let stock = u64::from(options.requests) + u64::from(rounded_up) + 1;
    open_in_redis(ledgers, Term::FIRST, (activity, stock, RULES)).await?;
    let run = ledgers.run_id().await?;
    let caller = Caller {
        run: &run,
        term: Some(Term::FIRST),
        now_ms: None,
        window: Window::default(),
        holds: Holds::New,
        trace: None,
    };
    ledgers.reserve(caller, activity, &[asks(0)]).await?;
    Ok(run)
}

/// No other part of the mall knows this ledger.
async fn remove(ledgers: &RedisLedger, activity: ActivityId) -> redis::RedisResult<()> {
    let mut connection = ledgers.connection();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("mall:{{{activity}.0}}:*")).query_async(&mut connection).await?;
    redis::cmd("UNLINK").arg(&keys).query_async(&mut connection).await
}

fn rush(options: &EvalshaOptions, activity: ActivityId, run: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", options.redis);
    let host = options.redis.trim_start_matches("redis://");
    let address = host.to_socket_addrs().map_err(failed)?.next().ok_or("no address")?;
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        let socket = TcpStream::connect(address).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        connections.push(socket);
    }
    let (mut out, mut input) = (Vec::new(), vec![0; 64 * 1024]);
    let mut next = 1_i64;
    let before = cpu::times(&options.cpu)?;
    let began = Instant::now();
    while next <= i64::from(options.requests) {
        for connection in &mut connections {
            out.clear();
            for _ in 0..options.pipeline {
                let caller = Caller {
                    run,
                    term: Some(Term::FIRST),
                    now_ms: None,
                    window: Window::default(),
                    holds: Holds::New,
                    trace: None,
                };
                pack_reserve(&mut out, Script::Known, caller, activity, &[asks(next)]);
                next += 1;
            }
            connection.write_all(&out).map_err(failed)?;
        }
        for connection in &mut connections {
            read(connection, options.pipeline, &mut input)?;
        }
    }
    let wall = began.elapsed();
    let taken = cpu::between(&before, &cpu::times(&options.cpu)?);
    let requests = u64::try_from(next - 1).unwrap_or(0);
    let rate = requests as f64 / wall.as_secs_f64();
    let (connections, pipeline) = (options.connections, options.pipeline);
    let head = format!("evalsha: {requests} reservations, {connections} connections, {pipeline} at once on each");
    let mut lines = vec![head, format!("reservations/s    {rate:>10.0}")];
    lines.extend(cpu::lines(&taken, requests, "reservation"));
    Ok(lines.join("\n") + "\n")
}

fn asks(number: i64) -> Reservation {
    let (order, user) = (OrderId::from_i64(number), UserId::from_i64(number));
    let (Some(order), Some(user)) = (order, user) else { unreachable!("{number} is not negative") };
    Reservation { order, user, request: None, quantity: 1 }
}

/// Reads `count` replies: each is a bulk string of one line.
fn read(connection: &mut TcpStream, count: u32, input: &mut [u8]) -> Result<(), String> {
    let mut lines = 0;
    while lines < 2 * count {
        let length = connection.read(input).map_err(|error| error.to_string())?;
        let bytes = &input[..length];
        if length == 0 || bytes.contains(&b'-') {
            return Err(format!("Redis answers {:?}", String::from_utf8_lossy(bytes)));
        }
        lines += bytes.iter().fold(0, |lines, byte| lines + u32::from(*byte == b'\n'));
    }
    Ok(())
}
