//! A MySQL user who may read and write rows, and change nothing of the schema.
#![cfg(feature = "mysql")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use services::MariaDb;
use store::{Ids, Settings, Store, StoreError};

async fn connect(url: &str) -> Result<Store, StoreError> {
    Store::connect(url, Ids::new(|| Ok::<_, String>(1)), Settings::new(1_000)).await
}

#[tokio::test]
async fn a_schema_that_is_up_to_date_needs_no_rights_to_change_it() {
    let Some(server) = MariaDb::start() else { return };
    let owner = server.database();
    server.sql(
        "CREATE USER clerk@'127.0.0.1' IDENTIFIED BY 'clerk'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON mall_0.* TO clerk@'127.0.0.1'",
    );
    let clerk = owner.replace("mall_0:mall_0@", "clerk:clerk@");
    let denied = connect(&clerk).await.err().unwrap().to_string();
    assert!(denied.contains("denied"), "{denied}");
    connect(&owner).await.unwrap().close().await;
    let store = connect(&clerk).await.unwrap();
    store.check_writable(1).await.unwrap();
}
