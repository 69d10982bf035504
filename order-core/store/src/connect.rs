//! What differs between the databases: how they are reached, and how their transactions begin.

use std::{future::ready, path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AnyConnection, ConnectOptions, Pool, Row, SqlSafeStr,
    any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers},
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

use crate::{
    StoreError,
    db::{Db, Settings},
    server::Server,
};

/// SQLite has one writer: callers queue for its connection in order instead of polling the file's lock.
const SQLITE_WRITERS_MAX: u32 = 1;
/// How long a writer of SQLite waits for another process, in milliseconds.
const SQLITE_BUSY_TIMEOUT_MS: u32 = 10_000;
/// Connections that write to a MySQL; rows of one sale are one ledger's, more would only wait for each other.
const MYSQL_WRITERS_MAX: u32 = 8;
/// How long a statement waits for another transaction's row, in seconds.
const MYSQL_LOCK_WAIT_S: u32 = 10;
/// How long the server works on one statement, in seconds.
const MYSQL_STATEMENT_MAX_S: u32 = 30;
/// Byte by byte without padding, in the words of MySQL 8 and of MariaDB.
const BINARY_COLLATIONS: [&str; 2] = ["utf8mb4_0900_bin", "utf8mb4_nopad_bin"];

/// Every step of the schema, oldest first. A step that was released never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "mall", include_str!("../migrations/0001_mall.sql")),
    (2, "shop", include_str!("../migrations/0002_shop.sql")),
    (3, "payments", include_str!("../migrations/0003_payments.sql")),
    (5, "admission", include_str!("../migrations/0005_admission.sql")),
    (202_611_270_640, "opening", include_str!("../migrations/20261127_0640_opening.sql")),
    (202_611_270_650, "paid by", include_str!("../migrations/20261127_0650_paid_by.sql")),
    (202_611_270_651, "replaced by", include_str!("../migrations/20261127_0651_replaced_by.sql")),
    (202_611_270_652, "cart epoch", include_str!("../migrations/20261127_0652_cart_epoch.sql")),
    (202_611_270_653, "mock refund", include_str!("../migrations/20261127_0653_mock_refund.sql")),
    (202_611_270_700, "write probe", include_str!("../migrations/20261127_0700_write_probe.sql")),
    (202_611_270_730, "parked", include_str!("../migrations/20261127_0730_parked.sql")),
    (202_611_271_155, "search version", include_str!("../migrations/20261127_1155_search_version.sql")),
    (202_611_271_156, "orders by time", include_str!("../migrations/20261127_1156_orders_by_time.sql")),
    (202_611_271_530, "terms", include_str!("../migrations/20261127_1530_terms.sql")),
    (202_611_271_531, "parked place", include_str!("../migrations/20261127_1531_parked_place.sql")),
    (202_611_271_532, "restock delta", include_str!("../migrations/20261127_1532_restock_delta.sql")),
    (202_611_271_910, "refund tries", include_str!("../migrations/20261127_1910_refund_tries.sql")),
    (202_611_271_911, "timed out", include_str!("../migrations/20261127_1911_timed_out.sql")),
    (202_611_271_912, "partial refunds", include_str!("../migrations/20261127_1912_partial_refunds.sql")),
    (202_611_271_920, "known clients", include_str!("../migrations/20261127_1920_known_clients.sql")),
    (202_611_271_921, "session tokens", include_str!("../migrations/20261127_1921_session_tokens.sql")),
    (202_611_271_922, "tokens cut", include_str!("../migrations/20261127_1922_tokens_cut.sql")),
    (202_611_271_923, "reset links", include_str!("../migrations/20261127_1923_reset_links.sql")),
    (202_611_271_924, "removal", include_str!("../migrations/20261127_1924_removal.sql")),
    (202_611_271_930, "staff", include_str!("../migrations/20261127_1930_staff.sql")),
    (202_611_271_931, "audit log", include_str!("../migrations/20261127_1931_audit_log.sql")),
    (202_611_271_932, "decided letters", include_str!("../migrations/20261127_1932_decided_letters.sql")),
    (202_611_271_933, "public audits", include_str!("../migrations/20261127_1933_public_audits.sql")),
    (202_611_272_330, "leases", include_str!("../migrations/20261127_2330_leases.sql")),
    (202_611_272_331, "changed at", include_str!("../migrations/20261127_2331_changed_at.sql")),
    (202_611_272_340, "orders by status", include_str!("../migrations/20261127_2340_orders_by_status.sql")),
    (202_611_272_341, "payment queries", include_str!("../migrations/20261127_2341_payment_queries.sql")),
    (202_611_272_342, "unmatched money", include_str!("../migrations/20261127_2342_unmatched_money.sql")),
    (202_611_280_320, "answer after", include_str!("../migrations/20261128_0320_answer_after.sql")),
    (202_611_280_330, "pay within", include_str!("../migrations/20261128_0330_pay_within.sql")),
    (202_611_280_331, "orders by deadline", include_str!("../migrations/20261128_0331_orders_by_deadline.sql")),
    (202_611_280_332, "registered before", include_str!("../migrations/20261128_0332_registered_before.sql")),
    (202_611_280_333, "draft", include_str!("../migrations/20261128_0333_draft.sql")),
    (202_611_280_340, "first password", include_str!("../migrations/20261128_0340_first_password.sql")),
    (202_611_280_341, "image alts", include_str!("../migrations/20261128_0341_image_alts.sql")),
    (202_611_280_700, "made under key", include_str!("../migrations/20261128_0700_made_under_key.sql")),
    (202_611_280_740, "users by phone", include_str!("../migrations/20261128_0740_users_by_phone.sql")),
];

/// The databases that the SQL is checked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// A file of this process.
    Sqlite,
    /// MySQL 8 or MariaDB.
    MySql,
}

/// The connections to one database.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    pub(crate) backend: Backend,
    pub(crate) readers: Pool<Db>,
    pub(crate) writers: Pool<Db>,
    pub(crate) server: Arc<Server>,
}

/// The address of the SQLite file at `path`.
pub(crate) fn sqlite_url(path: &Path) -> String {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).to_url_lossy().into()
}

/// Connects and brings the schema up to date.
pub(crate) async fn connect(url: &str, settings: &Settings) -> Result<Pools, StoreError> {
    install_default_drivers();
    let (backend, writers_max) = match url.split_once(':') {
        Some(("sqlite", _)) => (Backend::Sqlite, SQLITE_WRITERS_MAX),
        Some(("mysql", _)) if cfg!(feature = "mysql") => (Backend::MySql, MYSQL_WRITERS_MAX),
        Some(("mysql", _)) => {
            return Err(StoreError::Unsuitable(
                "this build can't reach MySQL; build it with --features kafka".to_owned(),
            ));
        }
        _ => return Err(StoreError::Unsuitable("its address begins with neither sqlite:// nor mysql://".to_owned())),
    };
    let options = AnyConnectOptions::from_str(url)?;
    let server = Arc::new(Server::new());
    let pool = |connections, is_writer| {
        let (taken, given_back) = (server.clone(), server.clone());
        AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
            .after_connect(move |connection, _| Box::pin(prepare(connection, backend, is_writer)))
            .before_acquire(move |_, meta| Box::pin(ready(Ok(taken.may_use(meta.age)))))
            .after_release(move |_, meta| Box::pin(ready(Ok(given_back.may_use(meta.age)))))
    };
    let writers = pool(writers_max, true).connect_with(options.clone()).await?;
    // One connection for both: another one would make tables with the collation that it began with.
    let mut connection = writers.acquire().await?;
    if backend == Backend::MySql {
        settle_collation(&mut connection).await?;
    }
    let migrations = migrations();
    if !is_up_to_date(&mut connection, &migrations).await {
        migrations.run(&mut *connection).await?;
    }
    drop(connection);
    let readers = pool(settings.read_connections, false).connect_with(options).await?;
    Ok(Pools { backend, readers, writers, server })
}

/// Settings of every new connection.
async fn prepare(connection: &mut AnyConnection, backend: Backend, is_writer: bool) -> Result<(), sqlx::Error> {
    let set = async |connection: &mut AnyConnection, statement: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(connection).await.map(drop)
    };
    match backend {
        Backend::Sqlite => {
            set(connection, format!("PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")).await?;
            // A commit is on the disk when it answers: offsets are committed on the strength of it.
            set(connection, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON".to_owned())
                .await
        }
        Backend::MySql => {
            let version: String = sqlx::query("SELECT VERSION()").fetch_one(&mut *connection).await?.try_get(0)?;
            let statement_max = if is_mariadb(&version) {
                format!("max_statement_time = {MYSQL_STATEMENT_MAX_S}")
            } else {
                format!("max_execution_time = {}", 1000 * MYSQL_STATEMENT_MAX_S)
            };
            set(connection, format!("SET SESSION innodb_lock_wait_timeout = {MYSQL_LOCK_WAIT_S}, {statement_max}"))
                .await?;
            // Writers guard every row they change, and need no locks on the gaps between rows. Readers see one instant.
            let level = if is_writer { "READ COMMITTED" } else { "REPEATABLE READ" };
            set(connection, format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}")).await
        }
    }
}

/// Keys are compared byte by byte: `a`, `A` and `a ` are three names. An empty database is made so.
async fn settle_collation(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let sql = "SELECT CAST(@@collation_database AS CHAR), CAST(VERSION() AS CHAR), (SELECT COUNT(*) \
               FROM information_schema.tables WHERE table_schema = DATABASE())";
    let row = sqlx::query(sql).fetch_one(&mut *connection).await?;
    let (collation, version, tables): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let [mysql, mariadb] = BINARY_COLLATIONS;
    if [mysql, mariadb].contains(&collation.as_str()) {
        return Ok(());
    }
    let fit = if is_mariadb(&version) { mariadb } else { mysql };
    if tables > 0 {
        return Err(StoreError::Unsuitable(format!("it has tables, and its collation is {collation} and not {fit}")));
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER DATABASE CHARACTER SET utf8mb4 COLLATE {fit}")))
        .execute(connection)
        .await?;
    Ok(())
}

fn is_mariadb(version: &str) -> bool {
    version.contains("MariaDB")
}

impl Backend {
    /// Begins a transaction whose reads all see one instant.
    pub(crate) fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        }
    }

    /// Every table's columns: table, column, type.
    pub(crate) fn columns(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT t.name, c.name, c.type FROM sqlite_master t JOIN pragma_table_info(t.name) c \
                 WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite%' \
                 ORDER BY t.name, c.cid"
            }
            Self::MySql => {
                "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(data_type AS CHAR) \
                 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name NOT LIKE '\\_sqlx%' \
                 ORDER BY table_name, ordinal_position"
            }
        }
    }
}

/// Whether every step was taken. The migrator itself begins by making its table, and a user who may not change the schema
/// could not run a database that lacks nothing.
async fn is_up_to_date(connection: &mut AnyConnection, migrations: &Migrator) -> bool {
    let taken = sqlx::query("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version");
    // There is no such table before the first step.
    let Ok(rows) = taken.fetch_all(connection).await else { return false };
    let taken: Result<Vec<(i64, Vec<u8>)>, sqlx::Error> =
        rows.iter().map(|row| Ok((row.try_get("version")?, row.try_get("checksum")?))).collect();
    let known = migrations.iter().map(|step| (step.version, step.checksum.to_vec()));
    taken.is_ok_and(|taken| taken.into_iter().eq(known))
}

fn migrations() -> Migrator {
    let step = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().copied().map(step).collect::<Vec<_>>())
}
