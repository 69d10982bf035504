//! Every write of the store ends right, whatever becomes of its transaction: on MariaDB, with a proxy that loses
//! connections and with transactions that the server gives up.
#![cfg(feature = "mysql")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod proxy;
mod steps;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contract::{
    record::{ProductChanged, Record as _},
    topic,
};
use domain::Outlook;
use proxy::{Fault, Proxy};
use sqlx::{AnyConnection, Connection as _, Row as _, any::AnyRow};
use steps::STEPS;
use store::{CategoryPatch, Changed, NewCategory, Realm, Settings, Store, StoreError, Write};
use story::Story;

/// How long a write may take until it commits.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// Rows of the transaction that a write is given up for; more than any write changes.
const RIVAL_ROWS: u32 = 2_000;

#[test]
fn the_story_has_every_write() {
    let told: BTreeSet<Write> = STEPS.iter().map(|(write, _)| *write).collect();
    assert_eq!(told, Write::ALL.iter().copied().collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_given_up_at_its_first_statement_is_written_once() {
    compare(Fault::DeadlockAtFirst).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_given_up_at_commit_is_written_once() {
    compare(Fault::DeadlockAtLast).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_a_lock_for_too_long_is_written_once() {
    compare(Fault::LockWait).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_connection_is_lost_before_commit_is_written_once() {
    compare(Fault::CutBeforeCommit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_commit_is_not_answered_is_written_once() {
    compare(Fault::CutAfterCommit).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_commit_is_still_under_way_is_written_once() {
    compare(Fault::CutDuringCommit).await;
}

/// Neither the COMMIT nor the look-up is answered: nobody knows whether the write counts, and the error says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_cannot_be_looked_up_reports_it() {
    let Some(server) = services::MariaDb::start() else { return };
    let proxy = Proxy::start(&server.database());
    let settings = Settings { acquire_timeout_ms: 500, ..Settings::new(1_000) };
    let store = Story::begin_with(&proxy.url(), settings).await.store;
    for (write, fault) in [
        (Write::AddUser, Fault::CutAfterCommit),
        (Write::AddUser, Fault::CutBeforeCommit),
        (Write::SetAdminPassword, Fault::CutAfterCommit),
    ] {
        proxy.arm_and_hold(write, fault);
        let error = if write == Write::AddUser {
            store.accounts().add_user(&format!("{fault:?}"), "hash", None, 1).await.map(drop).unwrap_err()
        } else {
            store.accounts().set_admin_password("root", "hash", 1).await.map(drop).unwrap_err()
        };
        assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{write:?} {fault:?}: {error}");
        assert_eq!((error.outlook(), proxy.problems()), (Outlook::WillPass, Vec::new()));
        proxy.release();
    }
    assert!(store.accounts().credentials(Realm::Shoppers, "CutAfterCommit").await.unwrap().is_some());
    assert!(store.accounts().credentials(Realm::Shoppers, "CutBeforeCommit").await.unwrap().is_none());
}

/// A later write has hidden what a look-up could find: the write is neither repeated nor reported as done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_later_writes_hide_reports_it() {
    let Some(server) = services::MariaDb::start() else { return };
    let url = server.database();
    let proxy = Proxy::start(&url);
    let store = Story::begin(&proxy.url()).await.store;
    let others = Story::begin(&url).await;
    others.count_ids_from(1_000);
    let new = NewCategory { parent: None, name: "phones".to_owned(), sort_order: 0 };
    let category = store.catalogue().add_category(new, 1).await.unwrap().unwrap().category_id;
    let sort_at = |place| CategoryPatch { name: None, sort_order: Some(place) };
    proxy.arm_and_hold(Write::PatchCategory, Fault::CutAfterCommit);
    let patching = tokio::spawn({
        let store = store.clone();
        async move { store.catalogue().patch_category(category, 1, sort_at(2)).await }
    });
    let held = async {
        while !proxy.is_held() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(COMMIT_MAX, held).await.unwrap();
    // This waits for the transaction that is being committed.
    let later = others.store.catalogue().patch_category(category, 2, sort_at(3)).await.unwrap();
    assert!(matches!(later, Changed::Done(_)), "{later:?}");
    proxy.release();
    let error = patching.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::OutcomeUnknown(_)), "{error}");
    let mut direct = AnyConnection::connect(&url).await.unwrap();
    let row = sqlx::query("SELECT version FROM categories").fetch_one(&mut direct).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 3, "each change is made once");
}

/// What is there after a step.
#[derive(Debug)]
struct Seen {
    answer: String,
    /// Each table's rows.
    rows: BTreeMap<String, Vec<String>>,
}

/// Tells the story twice, with `fault` in every step and without; both must look the same after each step.
async fn compare(fault: Fault) {
    let Some(server) = services::MariaDb::start() else { return };
    // Nobody ends this server between a COMMIT and its sync, and the story has hundreds of them.
    server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 0");
    let (expected, seen) = (tell(&server, None).await, tell(&server, Some(fault)).await);
    let mut wrong = Vec::new();
    for (((write, way), mut expected), mut seen) in STEPS.iter().zip(expected).zip(seen) {
        if matches!(write, Write::RepeatCommands | Write::RepeatLatest | Write::ProbeWrites) {
            // Their records may be sent twice, because their readers ignore what they know. The last write of all finds them there.
            for rows in [&mut expected.rows, &mut seen.rows] {
                rows.get_mut("outbox").unwrap().dedup();
            }
        }
        if expected.answer != seen.answer {
            wrong.push(format!("{write:?} {way:?} answers {} and not {}", seen.answer, expected.answer));
        }
        for (table, rows) in &expected.rows {
            if *rows != seen.rows[table] {
                wrong.push(format!("{write:?} {way:?}: {table} is {:#?} and not {rows:#?}", seen.rows[table]));
            }
        }
    }
    assert!(wrong.is_empty(), "{fault:?}: {} differences:\n{}", wrong.len(), wrong.join("\n"));
}

async fn tell(server: &services::MariaDb, fault: Option<Fault>) -> Vec<Seen> {
    let url = server.database();
    sqlx::any::install_default_drivers();
    let mut direct = AnyConnection::connect(&url).await.unwrap();
    let proxy = Proxy::start(&url);
    let mut story = Story::begin(&proxy.url()).await;
    for sql in [
        "CREATE TABLE rivals (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)".to_owned(),
        format!("INSERT INTO rivals SELECT seq, 0 FROM seq_1_to_{RIVAL_ROWS}"),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut direct).await.unwrap();
    }
    let tables = tables(&story.store).await;
    let mut seen = Vec::with_capacity(STEPS.len());
    for (number, (write, way)) in (1_i64..).zip(STEPS) {
        story.count_ids_from(1000 * number);
        if let Some(fault) = fault {
            proxy.arm(*write, fault);
        }
        let answer = story.step(*write, *way).await;
        assert_eq!(proxy.problems(), [""; 0], "{fault:?} {write:?} {way:?}");
        let rows = rows(&mut direct, &tables).await;
        seen.push(Seen { answer, rows });
    }
    story.store.close().await;
    seen
}

/// Each table's columns and their types, without the ids that differ from try to try and that no row refers to.
async fn tables(store: &Store) -> BTreeMap<String, Vec<(String, String)>> {
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for (table, column, kind) in store.columns().await.unwrap() {
        let differs = matches!(
            (&*table, &*column),
            ("outbox" | "parked_entries" | "audit_log", "id") | ("activities" | "entry_rules", "changed_at_ms")
        );
        if table != "rivals" && !differs {
            tables.entry(table).or_default().push((column, kind));
        }
    }
    tables
}

async fn rows(
    direct: &mut AnyConnection,
    tables: &BTreeMap<String, Vec<(String, String)>>,
) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeMap::new();
    for (table, columns) in tables {
        let names: Vec<&str> = columns.iter().map(|(name, _)| &**name).collect();
        let sql = format!("SELECT {} FROM {table}", names.join(", "));
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *direct).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(|row| written(row, columns)).collect();
        rows.sort();
        seen.insert(table.clone(), rows);
    }
    seen
}

fn written(row: &AnyRow, columns: &[(String, String)]) -> String {
    let value = |(name, kind): &(String, String)| {
        let value = match &**kind {
            "bigint" => row.try_get::<Option<i64>, _>(&**name).unwrap().map(|number| number.to_string()),
            "blob" => row
                .try_get::<Option<Vec<u8>>, _>(&**name)
                .unwrap()
                .map(|bytes| format!("{:?}", timeless(row, name, bytes))),
            _ => row.try_get::<Option<String>, _>(&**name).unwrap(),
        };
        format!("{name}={}", value.as_deref().unwrap_or("NULL"))
    };
    columns.iter().map(value).collect::<Vec<_>>().join(" ")
}

/// The bytes in a column. The record of a product's change without the time at which it was written.
fn timeless(row: &AnyRow, column: &str, bytes: Vec<u8>) -> Vec<u8> {
    if column != "record" || row.try_get::<&str, _>("topic").unwrap() != topic::CATALOGUE {
        return bytes;
    }
    ProductChanged { at_ms: 0, ..ProductChanged::decode(&bytes).unwrap() }.to_bytes()
}
