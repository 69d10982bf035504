//! `bench prepare`: a sale and the tokens of its users as files, for other load generators.

use std::{fmt::Write as _, path::PathBuf};

use clap::value_parser;
use foundation::{Clock, SystemClock};
use serde_json::json;

use crate::{
    buyers::{Buyers, random_run},
    judge::format::Header,
    mall::Mall,
    options::{Access, base_url},
    secrets::{ADMIN, SHOPPER, find_secret},
};

/// What is prepared.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct PrepareOptions {
    /// Directory for the files, which is created
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Units on sale
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=1_000_000))]
    stock: u32,
    /// Buyers
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Base URL of the gateway
    #[arg(long, value_name = "URL", value_parser = base_url, default_value = "http://127.0.0.1:8080")]
    gateway: String,
    #[command(flatten)]
    access: Access,
}

/// Creates the sale and writes `sale.json`, `users.csv` (user and token) and `history.jsonl`, which has the header of a history.
pub(crate) fn run(options: &PrepareOptions) -> Result<String, String> {
    let (secret, _) = find_secret(&options.access, options.access.shopper_secret.as_ref(), &SHOPPER)?;
    let (password, source) = find_secret(&options.access, options.access.admin_password.as_ref(), &ADMIN)?;
    let mut mall = Mall::new(std::slice::from_ref(&options.gateway), &options.access.order_core, &options.access.admin);
    mall.wait_ready()?;
    mall.sign_in(password.expose(), &source)?;
    let run = random_run()?;
    let activity = mall.create_sale(run, options.stock)?;
    mall.wait_open(activity)?;
    let buyers = Buyers::new(run, options.users, secret.expose(), SystemClock.now_ms() / 1000);
    let mut users = String::new();
    for user in 0..buyers.count() {
        writeln!(users, "{},{}", buyers.id(user), buyers.token(user)).map_err(|error| error.to_string())?;
    }
    let mut header = Header::new(format!("mall at {}", options.gateway), options.stock.into(), 1);
    header.has_end = false;
    let header = serde_json::to_string(&header).map_err(|error| error.to_string())?;
    let sale =
        json!({ "gateway": options.gateway, "activity_id": activity, "stock": options.stock, "users": options.users });
    std::fs::create_dir_all(&options.dir).map_err(|error| format!("{}: {error}", options.dir.display()))?;
    for (name, text) in
        [("sale.json", format!("{sale}\n")), ("users.csv", users), ("history.jsonl", format!("{header}\n"))]
    {
        let path = options.dir.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let (stock, users, dir) = (options.stock, options.users, options.dir.display());
    Ok(format!("prepare: activity {activity} with {stock} units is open; {users} users are in {dir}\n"))
}
