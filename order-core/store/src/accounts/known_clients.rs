//! Addresses from which accounts have signed in. They are kept as digests, because they only have to be recognized.

use std::net::IpAddr;

use contract::{UserId, client_address::limit_key, device::DEVICE_MS};
use sha2::{Digest, Sha256};
use sqlx::Row;

use crate::{
    StoreError,
    accounts::users::Realm,
    areas::Accounts,
    db::{big, count, is_taken},
    tx::{Ending, Repeat, Write},
};

/// How long an address is known, in milliseconds: as long as a device.
pub(crate) const KNOWN_MS: u64 = DEVICE_MS;
/// An address that was seen more recently than this is not written again, in milliseconds.
const FRESH_MS: u64 = 24 * 3600 * 1000;
/// Addresses of one account; the one that was seen longest ago gives way.
const OF_ACCOUNT_MAX: usize = 20;

impl Realm {
    /// As the database names it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Shoppers => "shopper",
            Self::Admins => "admin",
        }
    }
}

fn digest(account: UserId, client: IpAddr) -> String {
    let hash = Sha256::new().chain_update(account.as_i64().to_be_bytes()).chain_update(limit_key(client).to_be_bytes());
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl Accounts<'_> {
    /// Whether `account` has signed in from the address of `client` lately.
    pub(crate) async fn is_known_client(
        self,
        realm: Realm,
        account: UserId,
        client: IpAddr,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM known_clients WHERE realm = ? AND account_id = ? AND client = ? AND seen_at_ms > ?";
        let query = sqlx::query(sql).bind(realm.as_str()).bind(account.as_i64()).bind(digest(account, client));
        let row = query.bind(big(now_ms.saturating_sub(KNOWN_MS))?).fetch_optional(self.store.readers()).await?;
        Ok(row.is_some())
    }

    /// Remembers that `account` has signed in from the address of `client`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn remember_client(
        self,
        realm: Realm,
        account: UserId,
        client: IpAddr,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let client = digest(account, client);
        let sql = "SELECT client, seen_at_ms FROM known_clients WHERE realm = ? AND account_id = ? \
                   ORDER BY seen_at_ms DESC, client";
        let rows = sqlx::query(sql).bind(realm.as_str()).bind(account.as_i64()).fetch_all(self.store.readers()).await?;
        let mut kept = 0;
        let mut goes = vec![client.clone()];
        for row in rows {
            let (other, seen_at_ms): (String, u64) = (row.try_get("client")?, count(&row, "seen_at_ms")?);
            if other == client && seen_at_ms.saturating_add(FRESH_MS) > now_ms {
                return Ok(());
            }
            kept += usize::from(other != client);
            if kept >= OF_ACCOUNT_MAX && other != client {
                goes.push(other);
            }
        }
        self.store
            .write(Write::RememberClient, Repeat("an address that is known already is left alone"), |tx| async {
                let mut tx = tx;
                for client in &goes {
                    let sql = "DELETE FROM known_clients WHERE realm = ? AND account_id = ? AND client = ?";
                    let query = sqlx::query(sql).bind(realm.as_str()).bind(account.as_i64()).bind(client);
                    query.execute(&mut *tx).await?;
                }
                let sql = "INSERT INTO known_clients (realm, account_id, client, seen_at_ms) VALUES (?, ?, ?, ?)";
                let query =
                    sqlx::query(sql).bind(realm.as_str()).bind(account.as_i64()).bind(&client).bind(big(now_ms)?);
                match query.execute(&mut *tx).await {
                    // Another sign-in from there was quicker.
                    Err(error) if is_taken(&error) => Ok(Ending::RollBack(())),
                    inserted => {
                        inserted?;
                        Ok(Ending::Commit(tx, ()))
                    }
                }
            })
            .await
    }
}
