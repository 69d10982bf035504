//! Claims on carts that are kept outside of the database. A claim holds the lines of a cart under the id of the order
//! that they are about to become. The database decides whether they become it.
//!
//! Writing the order and voiding the claim exclude each other by a lock on the user's row. After a claim was voided,
//! no transaction of any process writes its order, however late that transaction begins.

use std::collections::BTreeMap;

use contract::{OrderId, SkuId, UserId};

use crate::{
    StoreError,
    accounts::addresses::lock_user,
    areas::Orders,
    db::{Tx, count},
    tx::{Ending, Repeat, Write},
};

/// Lines of a cart that are to become one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartClaim {
    /// The id of that order.
    pub order: OrderId,
    /// [`Orders::cart_epoch`], read before the lines were taken.
    pub epoch: u64,
    /// As [`crate::Goods::Items`].
    pub lines: BTreeMap<SkuId, u32>,
}

/// The state of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimState {
    /// Its order may be written.
    Open,
    /// Its order is written.
    Ordered,
    /// It was voided: its lines go back into the cart.
    Void,
}

impl Orders<'_> {
    /// The epoch of the next claim on `user`'s cart. Voiding a claim ends its epoch.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn cart_epoch(self, user: UserId) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT cart_epoch FROM users WHERE id = ?").bind(user.as_i64());
        let row = row.fetch_optional(self.store.readers()).await?;
        // A valid token is enough to have a cart; its user may have no row.
        row.map_or(Ok(0), |row| count(&row, "cart_epoch"))
    }

    /// Whether the order `order` is written.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn has_order(self, order: OrderId) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT id FROM orders WHERE id = ?").bind(order.as_i64());
        Ok(row.fetch_optional(self.store.readers()).await?.is_some())
    }

    /// Voids a claim unless its order is written. The state after that is never [`ClaimState::Open`].
    ///
    /// # Errors
    /// If the database fails.
    pub async fn void_claim(self, user: UserId, order: OrderId, epoch: u64) -> Result<ClaimState, StoreError> {
        let repeat = Repeat("a claim whose epoch has ended is void already");
        self.store
            .write(Write::VoidClaim, repeat, |tx| async {
                let mut tx = tx;
                let state = locked_state(&mut tx, user, order, epoch).await?;
                if state != ClaimState::Open {
                    return Ok(Ending::RollBack(state));
                }
                // A user without a row has no address, so the claim's order can't be written at all.
                let query = sqlx::query("UPDATE users SET cart_epoch = cart_epoch + 1 WHERE id = ?");
                query.bind(user.as_i64()).execute(&mut *tx).await?;
                Ok(Ending::Commit(tx, ClaimState::Void))
            })
            .await
    }
}

/// The state of `claim`, which does not change until the transaction ends.
pub(crate) async fn claim_state(tx: &mut Tx, user: UserId, claim: &CartClaim) -> Result<ClaimState, StoreError> {
    locked_state(tx, user, claim.order, claim.epoch).await
}

async fn locked_state(tx: &mut Tx, user: UserId, order: OrderId, epoch: u64) -> Result<ClaimState, StoreError> {
    lock_user(tx, user).await?;
    let written = sqlx::query("SELECT id FROM orders WHERE id = ?").bind(order.as_i64());
    if written.fetch_optional(&mut **tx).await?.is_some() {
        return Ok(ClaimState::Ordered);
    }
    let row = sqlx::query("SELECT cart_epoch FROM users WHERE id = ?").bind(user.as_i64());
    let row = row.fetch_optional(&mut **tx).await?;
    let now = row.map_or(Ok(epoch), |row| count(&row, "cart_epoch"))?;
    Ok(if now == epoch { ClaimState::Open } else { ClaimState::Void })
}
