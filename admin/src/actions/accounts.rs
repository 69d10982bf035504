//! Accounts of staff as each request needs them, read from the database once in a while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contract::UserId;
use store::{StaffAccount, Store, StoreError};

/// For how long an account that was read counts, in milliseconds: a token is refused so much after its account was
/// disabled by another process, at the latest.
const FRESH_MS: u64 = 5_000;
/// Accounts that are remembered at most.
const REMEMBERED_MAX: usize = 1_000;

/// When an account was read, and its state then; `None` if there is no such account.
type Read = (u64, Option<StaffAccount>);

/// The accounts that were read last. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts(Arc<Mutex<HashMap<UserId, Read>>>);

impl Accounts {
    /// An account, at most [`FRESH_MS`] old.
    pub(crate) async fn find(
        &self,
        store: &Store,
        id: UserId,
        now_ms: u64,
    ) -> Result<Option<StaffAccount>, StoreError> {
        if let Some((read_at_ms, account)) = self.read().get(&id)
            && now_ms < read_at_ms + FRESH_MS
        {
            return Ok(account.clone());
        }
        let account = store.accounts().admin(id).await?;
        let mut read = self.read();
        if read.len() >= REMEMBERED_MAX {
            read.clear();
        }
        read.insert(id, (now_ms, account.clone()));
        Ok(account)
    }

    /// Forgets an account that was changed.
    pub(crate) fn forget(&self, id: UserId) {
        self.read().remove(&id);
    }

    fn read(&self) -> MutexGuard<'_, HashMap<UserId, Read>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
