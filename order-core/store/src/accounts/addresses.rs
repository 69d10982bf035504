//! Where shoppers have things sent.

use std::collections::{BTreeMap, BTreeSet};

use contract::{AddressId, UserId, openapi};
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Row};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    StoreError,
    accounts::LOCK_USER,
    areas::Accounts,
    catalogue::products::to_json,
    db::{Db, DbRow, Tx, big, count, id, lock_row, push_in},
    tx::{Ending, Found, NewRow, Repeat, Write, look_up},
};

/// Addresses of one shopper at most.
pub const ADDRESSES_MAX: usize = 20;

/// Characters of [`AddressFields::recipient`].
pub const RECIPIENT_CHARS_MAX: usize = 64;
/// Characters of [`AddressFields::phone`].
pub const PHONE_CHARS_MAX: usize = 32;
/// Characters of [`AddressFields::region`].
pub const REGION_CHARS_MAX: usize = 128;
/// Characters of [`AddressFields::detail`].
pub const DETAIL_CHARS_MAX: usize = 255;

/// An address as its owner enters it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressFields {
    /// Who receives.
    #[schema(schema_with = openapi::line::<RECIPIENT_CHARS_MAX>)]
    pub recipient: String,
    /// How to reach them.
    #[schema(schema_with = openapi::line::<PHONE_CHARS_MAX>)]
    pub phone: String,
    /// Province, city, district.
    #[schema(schema_with = openapi::line::<REGION_CHARS_MAX>)]
    pub region: String,
    /// Street and number.
    #[schema(schema_with = openapi::line::<DETAIL_CHARS_MAX>)]
    pub detail: String,
    /// Whether this is the default address; there is one at most.
    #[serde(default)]
    pub is_default: bool,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Address {
    /// Its id.
    pub address_id: AddressId,
    /// What it says.
    #[serde(flatten)]
    pub fields: AddressFields,
    /// When it was written, epoch milliseconds.
    #[serde(with = "foundation::rfc3339")]
    pub created_at: u64,
}

impl PartialSchema for Address {
    /// The fields are members of the address itself, and not the only ones.
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut object)) = AddressFields::schema() else { unreachable!("a struct") };
        object.additional_properties = None;
        object.description = Some("An address.".to_owned());
        for (name, schema) in [("address_id", AddressId::schema()), ("created_at", openapi::time().into())] {
            object.properties.insert(name.to_owned(), schema);
            object.required.push(name.to_owned());
        }
        object.into()
    }
}

impl ToSchema for Address {}

/// What became of a new address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedAddress {
    /// It is written.
    Added(Address),
    /// The user is not registered.
    UnknownUser,
    /// There are [`ADDRESSES_MAX`] already.
    TooMany,
}

impl Accounts<'_> {
    /// Writes an address of `user`.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn add_address(
        self,
        user: UserId,
        fields: &AddressFields,
        now_ms: u64,
    ) -> Result<AddedAddress, StoreError> {
        let new = self.store.next_id()?;
        let address_id = AddressId::from_i64(new).ok_or_else(|| StoreError::Ids(new.to_string()))?;
        self.store
            .write(Write::AddAddress, NewRow { lock: LOCK, id: new }, |tx| async {
                let mut tx = tx;
                if !lock_user(&mut tx, user).await? {
                    return Ok(Ending::RollBack(AddedAddress::UnknownUser));
                }
                let row = sqlx::query("SELECT COUNT(*) AS addresses FROM addresses WHERE user_id = ?");
                let row = row.bind(user.as_i64()).fetch_one(&mut *tx).await?;
                if count(&row, "addresses")? >= ADDRESSES_MAX as u64 {
                    return Ok(Ending::RollBack(AddedAddress::TooMany));
                }
                if fields.is_default {
                    unset_default(&mut tx, user).await?;
                }
                sqlx::query(
                    "INSERT INTO addresses (id, user_id, recipient, phone, region, detail, is_default, created_at_ms) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(new)
                .bind(user.as_i64())
                .bind(&fields.recipient)
                .bind(&fields.phone)
                .bind(&fields.region)
                .bind(&fields.detail)
                .bind(i64::from(fields.is_default))
                .bind(big(now_ms)?)
                .execute(&mut *tx)
                .await?;
                let fields = fields.clone();
                Ok(Ending::Commit(tx, AddedAddress::Added(Address { address_id, fields, created_at: now_ms })))
            })
            .await
    }

    /// The addresses of `user`, the default first, then the newest.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn addresses(self, user: UserId) -> Result<Vec<Address>, StoreError> {
        let rows = sqlx::query("SELECT * FROM addresses WHERE user_id = ? ORDER BY is_default DESC, id DESC")
            .bind(user.as_i64())
            .fetch_all(self.store.readers())
            .await?;
        rows.iter().map(address_of).collect()
    }

    /// An address of `user`; `None` where it is somebody else's.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn address(self, user: UserId, address: AddressId) -> Result<Option<Address>, StoreError> {
        let query = sqlx::query("SELECT * FROM addresses WHERE id = ? AND user_id = ?");
        let row = query.bind(address.as_i64()).bind(user.as_i64()).fetch_optional(self.store.readers()).await?;
        row.as_ref().map(address_of).transpose()
    }

    /// Replaces an address of `user`; `None` if it belongs to somebody else. Orders keep what it was.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn put_address(
        self,
        user: UserId,
        address: AddressId,
        fields: &AddressFields,
    ) -> Result<Option<Address>, StoreError> {
        self.store
            .write(Write::PutAddress, Repeat("it sets values"), |tx| async {
                let mut tx = tx;
                lock_user(&mut tx, user).await?;
                if fields.is_default {
                    unset_default(&mut tx, user).await?;
                }
                let put = sqlx::query(
                    "UPDATE addresses SET recipient = ?, phone = ?, region = ?, detail = ?, is_default = ? \
                 WHERE id = ? AND user_id = ?",
                )
                .bind(&fields.recipient)
                .bind(&fields.phone)
                .bind(&fields.region)
                .bind(&fields.detail)
                .bind(i64::from(fields.is_default))
                .bind(address.as_i64())
                .bind(user.as_i64())
                .execute(&mut *tx)
                .await?;
                Ok(if put.rows_affected() == 1 { Ending::Commit(tx, ()) } else { Ending::RollBack(()) })
            })
            .await?;
        self.address(user, address).await
    }

    /// Deletes an address of `user`; whether it was one.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn delete_address(self, user: UserId, address: AddressId) -> Result<bool, StoreError> {
        // An id is used once, so an address that is gone was deleted.
        let after_lost_commit =
            look_up(
                |mut tx: Tx, _: bool| async move { Ok(Found::from(!lock_row(&mut tx, LOCK, address.as_i64()).await?)) },
            );
        self.store
            .write(Write::DeleteAddress, after_lost_commit, |tx| async {
                let mut tx = tx;
                let query = sqlx::query("DELETE FROM addresses WHERE id = ? AND user_id = ?");
                let deleted = query.bind(address.as_i64()).bind(user.as_i64()).execute(&mut *tx).await?;
                Ok(if deleted.rows_affected() == 1 { Ending::Commit(tx, true) } else { Ending::RollBack(false) })
            })
            .await
    }
}

/// Makes an address's row this transaction's own.
const LOCK: &str = "UPDATE addresses SET is_default = is_default WHERE id = ?";

/// Makes the transaction the only one that changes the user's addresses or decides about a claim on the user's cart;
/// whether there is such a user.
pub(crate) async fn lock_user(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    lock_row(tx, LOCK_USER, user.as_i64()).await
}

async fn unset_default(tx: &mut Tx, user: UserId) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE addresses SET is_default = 0 WHERE user_id = ? AND is_default <> 0");
    query.bind(user.as_i64()).execute(&mut **tx).await?;
    Ok(())
}

/// The default addresses of `users`, as orders keep them; nothing for users without one.
pub(crate) async fn default_addresses(
    tx: &mut Tx,
    users: impl Iterator<Item = UserId>,
) -> Result<BTreeMap<UserId, String>, StoreError> {
    let users: BTreeSet<i64> = users.map(UserId::as_i64).collect();
    let mut addresses = BTreeMap::new();
    if users.is_empty() {
        return Ok(addresses);
    }
    let mut query = QueryBuilder::<Db>::new("SELECT * FROM addresses WHERE is_default = 1 AND user_id");
    push_in(&mut query, users);
    for row in query.build().fetch_all(&mut **tx).await? {
        addresses.insert(id(&row, "user_id", UserId::from_i64)?, to_json(&address_of(&row)?.fields)?);
    }
    Ok(addresses)
}

/// What the write of an order of each of `users` reads of their addresses; how many have one.
///
/// # Errors
/// If the database fails.
#[cfg(feature = "testing")]
pub async fn read_default_addresses(store: &crate::Store, users: &[UserId]) -> Result<usize, StoreError> {
    let mut tx = Tx::begin_read(store.pools()).await?;
    default_addresses(&mut tx, users.iter().copied()).await.map(|addresses| addresses.len())
}

pub(crate) fn address_of(row: &DbRow) -> Result<Address, StoreError> {
    Ok(Address {
        address_id: id(row, "id", AddressId::from_i64)?,
        fields: AddressFields {
            recipient: row.try_get("recipient")?,
            phone: row.try_get("phone")?,
            region: row.try_get("region")?,
            detail: row.try_get("detail")?,
            is_default: count(row, "is_default")? != 0,
        },
        created_at: count(row, "created_at_ms")?,
    })
}
