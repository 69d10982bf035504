//! People who sign in: shoppers and admins. Passwords come and go as hashes.

use contract::UserId;
use serde_json::json;
use sqlx::Row;

use crate::{
    StoreError,
    accounts::{LOCK_USER, audit_log::Change, sessions::cut_tokens},
    areas::Accounts,
    db::{DbRow, big, count, id, is_taken, lock_row},
    page::{Listed, Page},
    tx::{Ending, NewRow, Repeat, Write},
};

/// Characters of a name. A longer one can't be registered.
pub const USERNAME_CHARS_MAX: usize = 32;

/// Which accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Realm {
    /// The mall's users.
    Shoppers,
    /// Those who run it.
    Admins,
}

/// A shopper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The token's `sub`.
    pub id: UserId,
    /// As it was registered.
    pub username: String,
    /// As it was given.
    pub phone: Option<String>,
    /// When it was registered, epoch milliseconds.
    pub created_at_ms: u64,
}

/// What a sign-in is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose.
    pub id: UserId,
    /// What the password must hash to.
    pub password_hash: String,
    /// An admin's role; shoppers have none.
    pub role: Option<String>,
    /// The shop does not let this one in.
    pub blocked: bool,
}

/// A shopper as the shop sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredUser {
    /// Who.
    pub user: User,
    /// The shop does not let them in.
    pub blocked: bool,
}

pub(crate) fn registered(row: &DbRow) -> Result<RegisteredUser, StoreError> {
    let (id, created_at_ms) = (id(row, "id", UserId::from_i64)?, count(row, "created_at_ms")?);
    let user = User { id, username: row.try_get("username")?, phone: row.try_get("phone")?, created_at_ms };
    Ok(RegisteredUser { user, blocked: count(row, "blocked")? != 0 })
}

/// Two names that differ only in case are one name.
pub(crate) fn username_key(username: &str) -> String {
    username.to_lowercase()
}

impl Accounts<'_> {
    /// Registers a shopper; `None` where the name is taken.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_user(
        self,
        username: &str,
        password_hash: &str,
        phone: Option<&str>,
        now_ms: u64,
    ) -> Result<Option<User>, StoreError> {
        let new = self.store.next_id()?;
        let id = UserId::from_i64(new).ok_or_else(|| StoreError::Ids(format!("{new}")))?;
        let created_at_ms = big(now_ms)?;
        self.store
            .write(Write::AddUser, NewRow { lock: LOCK_USER, id: new }, |tx| async {
                let mut tx = tx;
                let inserted = sqlx::query(
                    "INSERT INTO users (id, username, username_key, password_hash, phone, blocked, failed_sign_ins, \
                 locked_until_ms, version, created_at_ms) VALUES (?, ?, ?, ?, ?, 0, 0, 0, 1, ?)",
                )
                .bind(new)
                .bind(username)
                .bind(username_key(username))
                .bind(password_hash)
                .bind(phone)
                .bind(created_at_ms)
                .execute(&mut *tx)
                .await;
                match inserted {
                    Err(error) if is_taken(&error) => return Ok(Ending::RollBack(None)),
                    inserted => inserted?,
                };
                let (username, phone) = (username.to_owned(), phone.map(str::to_owned));
                Ok(Ending::Commit(tx, Some(User { id, username, phone, created_at_ms: now_ms })))
            })
            .await
    }

    /// A shopper.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn user(self, user: UserId) -> Result<Option<User>, StoreError> {
        let row = sqlx::query("SELECT id, username, phone, created_at_ms FROM users WHERE id = ?")
            .bind(user.as_i64())
            .fetch_optional(self.store.readers())
            .await?;
        let read = |row: DbRow| {
            let (id, created_at_ms) = (id(&row, "id", UserId::from_i64)?, count(&row, "created_at_ms")?);
            Ok(User { id, username: row.try_get("username")?, phone: row.try_get("phone")?, created_at_ms })
        };
        row.map(read).transpose()
    }

    /// Replaces a shopper's phone number, or removes it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_phone(self, user: UserId, phone: Option<&str>) -> Result<(), StoreError> {
        self.store
            .write(Write::SetPhone, Repeat("a phone number that is set already is left alone"), |tx| async {
                let mut tx = tx;
                lock_row(&mut tx, LOCK_USER, user.as_i64()).await?;
                let row = sqlx::query("SELECT phone FROM users WHERE id = ?").bind(user.as_i64());
                let Some(row) = row.fetch_optional(&mut *tx).await? else { return Ok(Ending::RollBack(())) };
                if row.try_get::<Option<&str>, _>("phone")? == phone {
                    return Ok(Ending::RollBack(()));
                }
                let query = sqlx::query("UPDATE users SET phone = ?, version = version + 1 WHERE id = ?");
                query.bind(phone).bind(user.as_i64()).execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, ()))
            })
            .await
    }

    /// Shoppers, the newest first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn users(self, page: Page) -> Result<Listed<RegisteredUser>, StoreError> {
        let query = sqlx::query("SELECT * FROM users WHERE id < ? ORDER BY id DESC LIMIT ?");
        let rows = query.bind(page.before).bind(page.rows()).fetch_all(self.store.readers()).await?;
        let rows = rows.iter().map(registered).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |row: &RegisteredUser| row.user.id.as_i64()))
    }

    /// Keeps a shopper from signing in, or no longer does. A shopper who is kept out is signed out everywhere, and the
    /// access tokens that were given out are good no more. `None` where there is no such shopper.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn block_user(
        self,
        user: UserId,
        blocked: bool,
        now_ms: u64,
    ) -> Result<Option<RegisteredUser>, StoreError> {
        let repeat = Repeat("a user that is blocked or admitted already is left alone, and sessions end once");
        self.store.write(Write::BlockUser, repeat, |tx| async {
            let mut tx = tx;
            lock_row(&mut tx, LOCK_USER, user.as_i64()).await?;
            let row = sqlx::query("SELECT blocked FROM users WHERE id = ?").bind(user.as_i64());
            let Some(before) = row.fetch_optional(&mut *tx).await? else { return Ok(Ending::RollBack(None)) };
            let before = count(&before, "blocked")? != 0;
            let sql = "UPDATE users SET blocked = ?, version = version + 1, tokens_cut_at_ms = CASE WHEN ? = 1 THEN ? \
                       ELSE tokens_cut_at_ms END WHERE id = ? AND blocked <> ?";
            let query = sqlx::query(sql).bind(i64::from(blocked)).bind(i64::from(blocked)).bind(big(now_ms)?);
            let changed = query.bind(user.as_i64()).bind(i64::from(blocked)).execute(&mut *tx).await?;
            if blocked && changed.rows_affected() == 1 {
                cut_tokens(&mut tx, user, None, now_ms).await?;
            }
            let row = sqlx::query("SELECT * FROM users WHERE id = ?").bind(user.as_i64());
            let row = row.fetch_optional(&mut *tx).await?;
            let states = (json!({ "blocked": before }), json!({ "blocked": blocked }));
            tx.note(Change::new("user", user.as_i64(), states.0, states.1));
            Ok(Ending::Commit(tx, row.as_ref().map(registered).transpose()?))
        })
        .await
    }

    /// Makes an admin unless there is one of that name; whether it was made. With `must_change` its owner replaces the
    /// password before the admin pages show anything.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn ensure_admin(
        self,
        username: &str,
        (password_hash, must_change): (&str, bool),
        role: &str,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let id = self.store.next_id()?;
        let now_ms = big(now_ms)?;
        self.store
            .write(Write::EnsureAdmin, NewRow { lock: LOCK_ADMIN, id }, |tx| async {
                let mut tx = tx;
                let inserted = sqlx::query(
                    "INSERT INTO admins (id, username, password_hash, role, failed_sign_ins, locked_until_ms, \
                 created_at_ms, must_change_password) VALUES (?, ?, ?, ?, 0, 0, ?, ?)",
                )
                .bind(id)
                .bind(username_key(username))
                .bind(password_hash)
                .bind(role)
                .bind(now_ms)
                .bind(i64::from(must_change))
                .execute(&mut *tx)
                .await;
                match inserted {
                    Err(error) if is_taken(&error) => Ok(Ending::RollBack(false)),
                    inserted => Ok(Ending::Commit(tx, inserted?.rows_affected() == 1)),
                }
            })
            .await
    }

    /// Sets an admin's password and ends sessions and tokens; `false` where there is no such admin.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn set_admin_password(
        self,
        username: &str,
        password_hash: &str,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE admins SET password_hash = ?, tokens_from_ms = ?, must_change_password = 0 WHERE username = ?";
        let end = "DELETE FROM admin_sessions WHERE admin_id IN (SELECT id FROM admins WHERE username = ?)";
        self.store
            .write(Write::SetAdminPassword, Repeat("it sets values"), |tx| async {
                let mut tx = tx;
                let set = sqlx::query(sql).bind(password_hash).bind(big(now_ms)?);
                let set = set.bind(username_key(username)).execute(&mut *tx).await?;
                sqlx::query(end).bind(username_key(username)).execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, set.rows_affected() == 1))
            })
            .await
    }

    /// What a sign-in as `username` is checked against.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn credentials(self, realm: Realm, username: &str) -> Result<Option<Credentials>, StoreError> {
        let sql = match realm {
            Realm::Shoppers => "SELECT id, password_hash, blocked, NULL AS role FROM users WHERE username_key = ?",
            Realm::Admins => "SELECT id, password_hash, disabled AS blocked, role FROM admins WHERE username = ?",
        };
        let row = sqlx::query(sql).bind(username_key(username)).fetch_optional(self.store.readers()).await?;
        let read = |row: DbRow| {
            Ok(Credentials {
                id: id(&row, "id", UserId::from_i64)?,
                password_hash: row.try_get("password_hash")?,
                role: row.try_get("role")?,
                blocked: count(&row, "blocked")? != 0,
            })
        };
        row.map(read).transpose()
    }
}

/// Makes an admin's row this transaction's own.
pub(crate) const LOCK_ADMIN: &str = "UPDATE admins SET role = role WHERE id = ?";
