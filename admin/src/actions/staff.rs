//! Accounts of staff.

use contract::UserId;
use foundation::Clock;
use store::{Changed, PASSWORD_BYTES_MAX, StaffAccount, StaffPatch};

use super::{Api, Refusal, Role, Staff, fields::line};

/// Characters of a password of staff.
pub(crate) const PASSWORD_CHARS_MIN: usize = 10;
/// Characters of an account's name.
pub(crate) const USERNAME_CHARS_MAX: usize = 64;

/// Changes of an account; what is absent stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccountChanges {
    pub(crate) role: Option<Role>,
    pub(crate) disabled: Option<bool>,
    pub(crate) password: Option<String>,
}

/// Creates an account.
pub(crate) async fn add<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (username, password): (&str, &str),
    role: Role,
) -> Result<StaffAccount, Refusal> {
    line(username, USERNAME_CHARS_MAX, "username")?;
    let hash = hash(api, password).await?;
    let added =
        api.store_of(staff).accounts().add_admin(username.trim(), &hash, role.as_str(), api.clock.now_ms()).await?;
    added.ok_or(Refusal::NameTaken)
}

/// Changes an account that has `version`, and ends its sessions.
pub(crate) async fn patch<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, version): (UserId, u64),
    asked: AccountChanges,
) -> Result<StaffAccount, Refusal> {
    let password_hash = match &asked.password {
        Some(password) => Some(hash(api, password).await?),
        None => None,
    };
    let role = asked.role.map(|role| role.as_str().to_owned());
    let must_change_password = staff.id != id;
    let patch = StaffPatch { role, disabled: asked.disabled, password_hash, must_change_password };
    let changed = api.store_of(staff).accounts().patch_admin(id, version, patch, api.clock.now_ms()).await?;
    api.accounts.forget(id);
    match changed {
        Changed::Done(account) => Ok(account),
        Changed::VersionIs(version) => Err(Refusal::Changed { what: "account", version }),
        Changed::TooLate => Err(Refusal::conflict("it is the last account that can change accounts")),
        Changed::Unknown | Changed::Invalid(_) | Changed::InsufficientStock(_) => Err(Refusal::Unknown("account")),
    }
}

async fn hash<K, C: Clock>(api: &Api<K, C>, password: &str) -> Result<String, Refusal> {
    if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err(Refusal::invalid("password", "password is at least 10 characters and at most 72 bytes"));
    }
    api.passwords.hash(password).await?.ok_or(Refusal::Busy)
}
