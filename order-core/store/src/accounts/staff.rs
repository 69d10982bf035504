//! Accounts of staff, and the sessions of the admin pages.

use contract::{UserId, topic::CUT_LEEWAY_MS};
use serde_json::{Value, json};
use sqlx::Row;

use crate::{
    StoreError,
    accounts::{
        audit_log::Change,
        users::{LOCK_ADMIN, username_key},
    },
    areas::Accounts,
    db::{DbRow, Tx, big, count, id, is_taken, lock_row},
    page::{Changed, Listed, Page, find_change},
    tx::{Ending, NewRow, Repeat, Write, look_up},
};

/// The role that may change accounts. One enabled account always has it.
const ADMIN: &str = "admin";

/// An account of staff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffAccount {
    /// Its id.
    pub id: UserId,
    /// Its name, in lower case.
    pub username: String,
    /// What it may do.
    pub role: String,
    /// It can't sign in, and its sessions have ended.
    pub disabled: bool,
    /// Somebody else chose its password.
    pub must_change_password: bool,
    /// Access tokens issued before this are refused, epoch milliseconds.
    pub tokens_from_ms: u64,
    /// The version, which grows with every change.
    pub version: u64,
    /// When it was created, epoch milliseconds.
    pub created_at_ms: u64,
}

/// Changes of an account of staff; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct StaffPatch {
    /// What it may do.
    pub role: Option<String>,
    /// Whether it is disabled.
    pub disabled: Option<bool>,
    /// Replaces the password.
    pub password_hash: Option<String>,
    /// Whether the new password is to be changed by its owner. Without a new password it has no effect.
    pub must_change_password: bool,
}

/// A session of the admin pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffSession {
    /// Its id.
    pub id: i64,
    /// Whose it is.
    pub admin: UserId,
    /// The address of the sign-in.
    pub address: String,
    /// When it began, epoch milliseconds.
    pub created_at_ms: u64,
    /// When it ends, epoch milliseconds.
    pub expires_at_ms: u64,
}

impl Accounts<'_> {
    /// Creates an account of staff, whose owner must change the password; `None` where the name is taken.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_admin(
        self,
        username: &str,
        password_hash: &str,
        role: &str,
        now_ms: u64,
    ) -> Result<Option<StaffAccount>, StoreError> {
        let number = self.store.next_id()?;
        let id = UserId::from_i64(number).ok_or_else(|| StoreError::Ids(number.to_string()))?;
        let created_at_ms = big(now_ms)?;
        self.store
            .write(Write::AddAdmin, NewRow { lock: LOCK_ADMIN, id: number }, |tx| async {
                let mut tx = tx;
                let username = username_key(username);
                let inserted = sqlx::query(
                    "INSERT INTO admins (id, username, password_hash, role, failed_sign_ins, locked_until_ms, \
                 created_at_ms, disabled, tokens_from_ms, version, must_change_password) \
                 VALUES (?, ?, ?, ?, 0, 0, ?, 0, 0, 1, 1)",
                )
                .bind(number)
                .bind(&username)
                .bind(password_hash)
                .bind(role)
                .bind(created_at_ms)
                .execute(&mut *tx)
                .await;
                match inserted {
                    Err(error) if is_taken(&error) => return Ok(Ending::RollBack(None)),
                    inserted => inserted?,
                };
                let account = StaffAccount {
                    id,
                    username,
                    role: role.to_owned(),
                    disabled: false,
                    must_change_password: true,
                    tokens_from_ms: 0,
                    version: 1,
                    created_at_ms: now_ms,
                };
                tx.note(Change::new("admin", number, Value::Null, shown(&account)));
                Ok(Ending::Commit(tx, Some(account)))
            })
            .await
    }

    /// Changes an account of staff that has `version`, and ends its sessions and tokens. The last enabled account of
    /// role `admin` can neither be disabled nor lose the role: [`Changed::TooLate`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn patch_admin(
        self,
        admin: UserId,
        version: u64,
        patch: StaffPatch,
        now_ms: u64,
    ) -> Result<Changed<StaffAccount>, StoreError> {
        let after_lost_commit = look_up(|mut tx: Tx, changed: Changed<StaffAccount>| async move {
            let now = locked(&mut tx, admin).await?;
            Ok(find_change(&changed, version, now, |row| row.version, StaffAccount::eq))
        });
        let patch = &patch;
        self.store
            .write(Write::PatchAdmin, after_lost_commit, |tx| async {
                let mut tx = tx;
                // One row of all admins is locked first, so that two who disable each other can't both succeed.
                lock_row(&mut tx, "UPDATE admins SET role = role WHERE id > ?", 0).await?;
                let Some(before) = locked(&mut tx, admin).await? else { return Ok(Ending::RollBack(Changed::Unknown)) };
                if before.version != version {
                    return Ok(Ending::RollBack(Changed::VersionIs(before.version)));
                }
                let account = StaffAccount {
                    role: patch.role.clone().unwrap_or_else(|| before.role.clone()),
                    disabled: patch.disabled.unwrap_or(before.disabled),
                    must_change_password: match patch.password_hash {
                        Some(_) => patch.must_change_password,
                        None => before.must_change_password,
                    },
                    tokens_from_ms: now_ms,
                    version: version + 1,
                    ..before.clone()
                };
                let governs = |account: &StaffAccount| account.role == ADMIN && !account.disabled;
                if governs(&before) && !governs(&account) && !others_govern(&mut tx, admin).await? {
                    return Ok(Ending::RollBack(Changed::TooLate));
                }
                sqlx::query("UPDATE admins SET role = ?, disabled = ?, tokens_from_ms = ?, version = ? WHERE id = ?")
                    .bind(&account.role)
                    .bind(i64::from(account.disabled))
                    .bind(big(now_ms)?)
                    .bind(big(account.version)?)
                    .bind(admin.as_i64())
                    .execute(&mut *tx)
                    .await?;
                if let Some(hash) = &patch.password_hash {
                    sqlx::query(
                        "UPDATE admins SET password_hash = ?, failed_sign_ins = 0, locked_until_ms = 0, \
                     must_change_password = ? WHERE id = ?",
                    )
                    .bind(hash)
                    .bind(i64::from(account.must_change_password))
                    .bind(admin.as_i64())
                    .execute(&mut *tx)
                    .await?;
                }
                let end = sqlx::query("DELETE FROM admin_sessions WHERE admin_id = ?").bind(admin.as_i64());
                end.execute(&mut *tx).await?;
                let mut after = shown(&account);
                if patch.password_hash.is_some() {
                    after["password"] = json!("changed");
                }
                tx.note(Change::new("admin", admin.as_i64(), shown(&before), after));
                Ok(Ending::Commit(tx, Changed::Done(account)))
            })
            .await
    }

    /// An account of staff.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admin(self, admin: UserId) -> Result<Option<StaffAccount>, StoreError> {
        let row = sqlx::query("SELECT * FROM admins WHERE id = ?").bind(admin.as_i64());
        row.fetch_optional(self.store.readers()).await?.as_ref().map(account).transpose()
    }

    /// Accounts of staff, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admins(self, page: Page) -> Result<Listed<StaffAccount>, StoreError> {
        let query = sqlx::query("SELECT * FROM admins WHERE id < ? ORDER BY id DESC LIMIT ?");
        let rows = query.bind(page.before).bind(page.rows()).fetch_all(self.store.readers()).await?;
        let items = rows.iter().map(account).collect::<Result<_, _>>()?;
        Ok(page.cut(items, |account: &StaffAccount| account.id.as_i64()))
    }

    /// Whether a sign-in that matched the hash `proof` may get an access token that is issued at `now_ms`: the account is
    /// enabled and has no other password by now.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admit_admin(self, admin: UserId, proof: &str, now_ms: u64) -> Result<bool, StoreError> {
        self.store
            .write(Write::AdmitAdmin, Repeat("it sets a value"), |tx| async {
                let mut tx = tx;
                let is_admitted = is_admitted(&mut tx, admin, proof, now_ms).await?;
                Ok(if is_admitted { Ending::Commit(tx, true) } else { Ending::RollBack(false) })
            })
            .await
    }

    /// Begins a session of the pages; the account's expired ones are removed. `false` where [`Accounts::admit_admin`] would
    /// refuse the sign-in.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_admin_session(
        self,
        admin: UserId,
        (token_hash, address): (&str, &str),
        (proof, expires_at_ms): (&str, u64),
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let session = self.store.next_id()?;
        let (expires_at_ms, at_ms) = (big(expires_at_ms)?, big(now_ms)?);
        let lock = "UPDATE admin_sessions SET expires_at_ms = expires_at_ms WHERE id = ?";
        self.store
            .write(Write::AddAdminSession, NewRow { lock, id: session }, |tx| async {
                let mut tx = tx;
                if !is_admitted(&mut tx, admin, proof, now_ms).await? {
                    return Ok(Ending::RollBack(false));
                }
                let expired = sqlx::query("DELETE FROM admin_sessions WHERE admin_id = ? AND expires_at_ms <= ?");
                expired.bind(admin.as_i64()).bind(at_ms).execute(&mut *tx).await?;
                sqlx::query(
                    "INSERT INTO admin_sessions (id, admin_id, token_hash, address, created_at_ms, expires_at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?)",
                )
                .bind(session)
                .bind(admin.as_i64())
                .bind(token_hash)
                .bind(address)
                .bind(at_ms)
                .bind(expires_at_ms)
                .execute(&mut *tx)
                .await?;
                Ok(Ending::Commit(tx, true))
            })
            .await
    }

    /// The session whose token has this hash, unless it has expired.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admin_session(self, token_hash: &str, now_ms: u64) -> Result<Option<StaffSession>, StoreError> {
        let row = sqlx::query("SELECT * FROM admin_sessions WHERE token_hash = ? AND expires_at_ms > ?")
            .bind(token_hash)
            .bind(big(now_ms)?);
        row.fetch_optional(self.store.readers()).await?.as_ref().map(session).transpose()
    }

    /// Sessions of an account, the newest first, at most `limit`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn admin_sessions(self, admin: UserId, limit: u32, now_ms: u64) -> Result<Vec<StaffSession>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM admin_sessions WHERE admin_id = ? AND expires_at_ms > ? ORDER BY id DESC LIMIT ?",
        );
        let query = query.bind(admin.as_i64()).bind(big(now_ms)?).bind(i64::from(limit));
        query.fetch_all(self.store.readers()).await?.iter().map(session).collect()
    }

    /// Ends a session of an account.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn end_admin_session(self, admin: UserId, session: i64) -> Result<(), StoreError> {
        self.store
            .write(Write::EndAdminSession, Repeat("a session ends once"), |tx| async {
                let mut tx = tx;
                let query = sqlx::query("DELETE FROM admin_sessions WHERE id = ? AND admin_id = ?");
                query.bind(session).bind(admin.as_i64()).execute(&mut *tx).await?;
                tx.note(Change::new("admin", admin.as_i64(), json!({ "session": session.to_string() }), Value::Null));
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }
}

/// An account and its row's lock.
async fn locked(tx: &mut Tx, admin: UserId) -> Result<Option<StaffAccount>, StoreError> {
    lock_row(tx, LOCK_ADMIN, admin.as_i64()).await?;
    let row = sqlx::query("SELECT * FROM admins WHERE id = ?").bind(admin.as_i64());
    row.fetch_optional(&mut **tx).await?.as_ref().map(account).transpose()
}

/// Whether a sign-in that matched `proof` counts. While the password was being hashed, somebody may have changed it or
/// disabled the account. The account's row is this transaction's own.
async fn is_admitted(tx: &mut Tx, admin: UserId, proof: &str, now_ms: u64) -> Result<bool, StoreError> {
    lock_row(tx, LOCK_ADMIN, admin.as_i64()).await?;
    let row = sqlx::query("SELECT password_hash, disabled, tokens_from_ms FROM admins WHERE id = ?");
    let Some(row) = row.bind(admin.as_i64()).fetch_optional(&mut **tx).await? else { return Ok(false) };
    if count(&row, "disabled")? != 0 || row.try_get::<&str, _>("password_hash")? != proof {
        return Ok(false);
    }
    // A clock that was far ahead has cut the tokens of hours to come. Tokens have whole seconds.
    if count(&row, "tokens_from_ms")? > now_ms.saturating_add(CUT_LEEWAY_MS) {
        let query = sqlx::query("UPDATE admins SET tokens_from_ms = ? WHERE id = ?");
        query.bind(big(now_ms / 1000 * 1000)?).bind(admin.as_i64()).execute(&mut **tx).await?;
    }
    Ok(true)
}

async fn others_govern(tx: &mut Tx, admin: UserId) -> Result<bool, StoreError> {
    let others = sqlx::query("SELECT 1 FROM admins WHERE id <> ? AND role = ? AND disabled = 0 LIMIT 1");
    Ok(others.bind(admin.as_i64()).bind(ADMIN).fetch_optional(&mut **tx).await?.is_some())
}

/// What the audit log shows of an account.
fn shown(account: &StaffAccount) -> Value {
    json!({ "username": account.username, "role": account.role, "disabled": account.disabled })
}

fn account(row: &DbRow) -> Result<StaffAccount, StoreError> {
    Ok(StaffAccount {
        id: id(row, "id", UserId::from_i64)?,
        username: row.try_get("username")?,
        role: row.try_get("role")?,
        disabled: count(row, "disabled")? != 0,
        must_change_password: count(row, "must_change_password")? != 0,
        tokens_from_ms: count(row, "tokens_from_ms")?,
        version: count(row, "version")?,
        created_at_ms: count(row, "created_at_ms")?,
    })
}

fn session(row: &DbRow) -> Result<StaffSession, StoreError> {
    Ok(StaffSession {
        id: row.try_get("id")?,
        admin: id(row, "admin_id", UserId::from_i64)?,
        address: row.try_get("address")?,
        created_at_ms: count(row, "created_at_ms")?,
        expires_at_ms: count(row, "expires_at_ms")?,
    })
}
