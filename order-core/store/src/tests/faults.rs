//! A database that can't write for a while.

use domain::*;
use std::{collections::BTreeSet, time::Duration};

use sqlx::Row as _;

use super::*;

cases! {
    errors_tell_whether_the_next_try_can_succeed => classifies,
}

async fn classifies(place: &Place) {
    let store = place.fresh().await;
    let refused = async |sql: &str| -> StoreError {
        let mut tx = store.begin_test().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await.unwrap_err().into()
    };
    let mut rows = vec![
        "INSERT INTO categories VALUES (1, NULL, 'twice', 0, 1, 0)",
        "INSERT INTO products (id, category_id, title, subtitle, description, image_ids, on_shelf, version, created_at_ms) VALUES (2, 404, 'without a category', '', '', '[]', 1, 1, 0)",
        "INSERT INTO categories VALUES (2, NULL, NULL, 0, 1, 0)",
        "UPDATE skus SET stock = stock - 101 WHERE id = 7",
    ];
    if matches!(place, Place::MariaDb(_)) {
        rows.push("INSERT INTO categories VALUES (9223372036854775808, NULL, 'out of range', 0, 1, 0)");
        rows.push("INSERT INTO categories VALUES (2, NULL, REPEAT('long', 17), 0, 1, 0)");
    }
    for sql in rows {
        let error = refused(sql).await;
        assert_eq!((error.outlook(), error.is_transient()), (Outlook::WillNotPass, false), "{sql}: {error}");
    }
    let error = refused("UPDATE nothing SET here = 1").await;
    assert_eq!((error.outlook(), error.is_transient()), (Outlook::Unknown, false), "{error}");

    if matches!(place, Place::MariaDb(_)) {
        let mut first = store.begin_test().await.unwrap();
        let update = "UPDATE skus SET version = version WHERE id = 7";
        sqlx::query(update).execute(&mut *first).await.unwrap();
        let mut second = store.begin_test().await.unwrap();
        sqlx::query("SET SESSION innodb_lock_wait_timeout = 1").execute(&mut *second).await.unwrap();
        let error: StoreError = sqlx::query(update).execute(&mut *second).await.unwrap_err().into();
        assert_eq!((error.outlook(), error.is_transient()), (Outlook::WillPass, true), "{error}");
    }
}

/// What is left of a transaction whose COMMIT failed goes with its connection. (InnoDB defers no check to COMMIT.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_commit_failed_is_closed() {
    let place = Place::files();
    let store = place.fresh().await;
    let mut tx = store.begin_test().await.unwrap();
    for sql in [
        "CREATE TEMPORARY TABLE of_this_connection (id BIGINT)",
        "PRAGMA defer_foreign_keys = 1",
        "INSERT INTO order_lines (order_id, line_no, sku_id, title, price_cents, quantity) VALUES (404, 1, 7, 'without an order', 1, 1)",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    let refused = tx.commit().await.unwrap_err();
    assert_eq!(refused.outlook(), Outlook::WillNotPass, "{refused}");
    let mut tx = store.begin_test().await.unwrap();
    assert!(sqlx::query("SELECT id FROM of_this_connection").fetch_optional(&mut *tx).await.is_err());
    tx.commit().await.unwrap();
}

/// The disk is full in the middle of a transaction. SQLite has ended the transaction by itself then, and what is
/// left of it on the connection must not stop later writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_once_there_is_room() {
    let place = Place::files();
    let store = place.fresh().await;
    limit_pages(&store, 1).await;
    let mut written = 0;
    while written < 10_000 && store.accounts().add_user(&format!("user-{written}"), "hash", None, 5).await.is_ok() {
        written += 1;
    }
    assert!(written < 10_000, "the database never filled up");
    limit_pages(&store, 1_000_000).await;
    store.accounts().add_user("late", "hash", None, 5).await.unwrap().unwrap();
}

/// Gives the file room for `pages`, but at least for those that it has.
async fn limit_pages(store: &Store, pages: u32) {
    let sql = format!("PRAGMA max_page_count = {pages}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(store.writers()).await.unwrap();
}

/// Readiness follows: it reports the reason while writes fail, and only as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_until_there_is_room() {
    let place = Place::files();
    let store = place.fresh().await;
    assert_eq!(store.check_writable(1).await, Ok(()));
    limit_pages(&store, 1).await;
    while store.accounts().add_user(&format!("user-{}", store.next_id().unwrap()), "hash", None, 5).await.is_ok() {}
    let full = store.check_writable(2).await.unwrap_err();
    assert!(full.contains("full"), "{full}");
    // The connection that had no room is closed, and the next one has room again.
    until_writable(&store).await;
}

/// A SQLite that takes no writes is found out without anybody having tried to write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_file_is_reported() {
    let place = Place::files();
    let store = place.fresh().await;
    sqlx::query("PRAGMA query_only = 1").execute(store.writers()).await.unwrap();
    // The last second's writes count as an answer until they are old.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let refused = store.check_writable(1).await.unwrap_err();
    assert!(refused.contains("readonly"), "{refused}");
    until_writable(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_reported_while_it_is() {
    let Some(server) = services::MariaDb::start() else { return };
    let store = Store::connect(&server.database(), counting_ids(), Settings::new(PAY_WITHIN_MS)).await.unwrap();
    assert_eq!(store.check_writable(1).await, Ok(()));
    server.sql("SET GLOBAL read_only = 1");
    for second in 1..=6 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let refused = store.check_writable(second).await;
        assert!(refused.as_ref().is_err_and(|reason| reason.contains("read-only")), "{second} s: {refused:?}");
    }
    server.sql("SET GLOBAL read_only = 0");
    until_writable(&store).await;
    let (mut server, began) = (server, std::time::Instant::now());
    server.kill();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let away = store.check_writable(9).await;
    assert!(away.is_err() && began.elapsed() < Duration::from_secs(10), "{away:?}");
}

async fn until_writable(store: &Store) {
    let began = std::time::Instant::now();
    while let Err(reason) = store.check_writable(3).await {
        assert!(began.elapsed() < Duration::from_secs(10), "{reason}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    store.accounts().add_user(&format!("user-{}", store.next_id().unwrap()), "hash", None, 5).await.unwrap().unwrap();
}

/// A server that turned read-only after a failover keeps the connections it has. They must not be used any more:
/// behind the same name there may be a server that takes writes by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_that_turned_read_only_are_replaced() {
    let Some(server) = services::MariaDb::start() else { return };
    let place = Place::MariaDb(server);
    let store = place.fresh().await;
    let Place::MariaDb(server) = place else { unreachable!("it was made above") };
    let user = store.accounts().add_user("ada", "hash", None, 5).await.unwrap().unwrap();
    let before = connections(&store).await;
    assert!(before.len() >= 2, "a reader and a writer");

    server.sql("SET GLOBAL read_only = 1");
    let refused = store.accounts().add_user("bob", "hash", None, 5).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    let after = replaced(&store, &before).await;

    // The same for a statement outside a transaction.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let refused = store.accounts().set_phone(user.id, Some("1")).await.unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    replaced(&store, &after).await;

    server.sql("SET GLOBAL read_only = 0");
    store.accounts().add_user("bob", "hash", None, 5).await.unwrap().unwrap();
}

/// Waits until none of `before` is there any more; those that are there then.
async fn replaced(store: &Store, before: &BTreeSet<i64>) -> BTreeSet<i64> {
    let mut now = connections(store).await;
    for _ in 0..100 {
        if now.is_disjoint(before) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        now = connections(store).await;
    }
    panic!("of {before:?} there still are {now:?}");
}

/// The server's ids of this store's connections.
async fn connections(store: &Store) -> BTreeSet<i64> {
    let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE command <> 'Daemon'";
    let rows = sqlx::query(sql).fetch_all(store.readers()).await.unwrap();
    rows.iter().map(|row| row.try_get(0).unwrap()).collect()
}
