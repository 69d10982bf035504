//! Commands that do one thing and exit.

use std::{
    io::{BufRead, IsTerminal, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use foundation::{Clock as _, Config, DataDir, SystemClock};
use store::{Ids, PASSWORD_BYTES_MAX, Passwords, Settings, Store};

/// Bytes of an admin's password, at least.
const PASSWORD_BYTES_MIN: usize = 12;

/// Opens the database outside of a running mall; nothing is inserted, so no ids are made.
pub(crate) async fn connect(config: &Config) -> Result<Store> {
    let (ids, settings) = (Ids::new(|| Err::<i64, _>("this command makes no ids")), Settings::of(config));
    match &config.database.url {
        Some(url) => Store::connect(url.expose(), ids, settings).await.context("database.url"),
        None => {
            let path = config.data_dir.join("mall.db");
            let opened = Store::open(&path, ids, settings).await;
            opened.with_context(|| format!("the database {} can't be opened", path.display()))
        }
    }
}

/// Brings the schema up to date. An embedded database must not be in use.
pub(crate) async fn migrate(config: &Config) -> Result<()> {
    let _data = match &config.database.url {
        Some(_) => None,
        None => Some(DataDir::open(&config.data_dir)?),
    };
    connect(config).await?.close().await;
    say("the database's schema is up to date")
}

/// Sets the password of the admin `username` to a line of standard input.
pub(crate) async fn admin_password(config: &Config, username: &str) -> Result<()> {
    let is_embedded = config.database.url.is_none();
    let path = config.data_dir.join("mall.db");
    ensure!(!is_embedded || path.is_file(), "there is no database {}; start the mall once first", path.display());
    if std::io::stdin().is_terminal() {
        eprint!("new password of {username}: ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    let length = password.len();
    ensure!(length >= PASSWORD_BYTES_MIN, "the password has {length} bytes; it needs at least {PASSWORD_BYTES_MIN}");
    ensure!(length <= PASSWORD_BYTES_MAX, "the password has {length} bytes; bcrypt reads {PASSWORD_BYTES_MAX} at most");
    let passwords = Passwords::new(config.auth.bcrypt_cost)?;
    let hash = passwords.hash(password).await?.context("the password could not be hashed")?;
    let store = connect(config).await?;
    let is_set = store.accounts().set_admin_password(username, &hash, SystemClock.now_ms()).await?;
    store.close().await;
    ensure!(is_set, "there is no admin {username:?}");
    say(&format!("the password of {username} is set"))
}

pub(crate) fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// Writes the shop's files below `directory`. Its pages call a gateway at their own origin unless `web.gateway_url` is set.
pub(crate) fn shop_assets(config: &Config, directory: &Path) -> Result<()> {
    let gateway = config.web.gateway_url.as_deref().unwrap_or_default();
    shop::write_to(directory, gateway).with_context(|| format!("{} can't be written", directory.display()))
}
