//! Other ways to sell a limited stock, each with the API of the mall's gateway: `make compare` measures them next to it.
#![forbid(unsafe_code)]

mod decr_queue;
mod evalsha;
mod mysql;
mod server;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// A server that sells a limited stock in one of the usual ways.
#[derive(Parser)]
#[command(name = "baseline")]
struct Cli {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Key of the shoppers' tokens
    #[arg(long, env = "BASELINE_SECRET", hide_env_values = true)]
    secret: String,
    #[command(subcommand)]
    way: Way,
}

#[derive(Subcommand)]
enum Way {
    /// One EVALSHA a request decides and writes the order down, all in Redis
    Evalsha {
        #[arg(long, value_name = "URL")]
        redis: String,
    },
    /// DECR in Redis, then the order goes to a queue, from which a worker writes it to MySQL
    DecrQueue {
        #[arg(long, value_name = "URL")]
        redis: String,
        #[arg(long, value_name = "URL")]
        database: String,
    },
    /// One transaction a request: UPDATE ... WHERE stock > 0, then INSERT
    Mysql {
        #[arg(long, value_name = "URL")]
        database: String,
    },
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let Cli { listen, secret, way } = Cli::parse();
    match way {
        Way::Evalsha { redis } => server::serve(listen, &secret, evalsha::Shop::open(&redis).await?).await,
        Way::DecrQueue { redis, database } => {
            server::serve(listen, &secret, decr_queue::Shop::open(&redis, &database).await?).await
        }
        Way::Mysql { database } => server::serve(listen, &secret, mysql::Shop::open(&database).await?).await,
    }
}
