//! MySQL over TLS: verified servers only.
#![cfg(feature = "mysql")]
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use services::{Authority, MariaDb};
use store::{Ids, Settings, Store, StoreError};

async fn connect(server: &MariaDb, trusted: &Authority) -> Result<Store, StoreError> {
    let url = format!("{}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", server.database(), trusted.ca_file().display());
    Store::connect(&url, Ids::new(|| Ok::<_, String>(1)), Settings::new(1_000)).await
}

#[tokio::test]
async fn a_verified_server_is_used() {
    let Some(authority) = Authority::new() else { return };
    let Some(server) = MariaDb::start_tls(authority.issue("IP:127.0.0.1")) else { return };
    connect(&server, &authority).await.unwrap();
    // It takes no plain connections.
    let plain = format!("{}?ssl-mode=DISABLED", server.database());
    assert!(Store::connect(&plain, Ids::new(|| Ok::<_, String>(1)), Settings::new(1_000)).await.is_err());
}

#[tokio::test]
async fn another_authority_or_another_name_is_refused() {
    let (Some(authority), Some(stranger)) = (Authority::new(), Authority::new()) else { return };
    for (issuer, name, why) in [
        (&stranger, "IP:127.0.0.1", "invalid peer certificate"),
        (&authority, "DNS:database.test", "not valid for name"),
    ] {
        let Some(server) = MariaDb::start_tls(issuer.issue(name)) else { return };
        let error = connect(&server, &authority).await.err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
    }
}
