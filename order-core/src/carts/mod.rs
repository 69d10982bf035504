//! Where carts are kept: in the database, or in Redis.

mod redis;
#[cfg(test)]
mod tests;

use contract::{AddressId, SkuId, UserId};
use store::{CartChange, CartLine, Goods, NewOrder, Placed, Store, StoreError};

pub use self::redis::RedisCarts;

/// Shoppers' carts. Clones are the same carts.
#[derive(Debug, Clone)]
pub enum Carts {
    /// Orders empty them in their own transaction.
    Database(Store),
    /// Orders take their lines under a claim, see [`RedisCarts`].
    Redis(RedisCarts),
}

/// A request to order everything in a cart.
#[derive(Debug, Clone)]
pub struct CartOrder {
    /// Owner of the cart.
    pub user: UserId,
    /// Where it goes.
    pub address: AddressId,
    /// As [`NewOrder::request`].
    pub request: Option<(String, [u8; 32])>,
}

impl CartOrder {
    fn of(&self, goods: Goods) -> NewOrder {
        NewOrder { user: self.user, address: self.address, goods, request: self.request.clone() }
    }
}

impl Carts {
    /// The lines of `user`'s cart, by SKU.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn lines(&self, user: UserId) -> Result<Vec<CartLine>, StoreError> {
        match self {
            Self::Database(store) => store.cart(user).await,
            Self::Redis(carts) => carts.lines(user).await,
        }
    }

    /// Puts `line.quantity` more of a SKU into `user`'s cart.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn add(&self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        match self {
            Self::Database(store) => store.add_to_cart(user, line, now_ms).await,
            Self::Redis(carts) => carts.add(user, line).await,
        }
    }

    /// Says how many of a SKU are in `user`'s cart.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn set(&self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        match self {
            Self::Database(store) => store.set_in_cart(user, line, now_ms).await,
            Self::Redis(carts) => carts.set(user, line).await,
        }
    }

    /// Takes SKUs out of `user`'s cart; all of them where none are named.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn take(&self, user: UserId, skus: Option<&[SkuId]>) -> Result<(), StoreError> {
        match self {
            Self::Database(store) => store.take_from_cart(user, skus).await,
            Self::Redis(carts) => carts.take(user, skus).await,
        }
    }

    /// Orders everything in a cart. One cart becomes one order, also with concurrent requests. Lines that are added in the
    /// meantime stay in the cart, and all lines stay there where the order is refused.
    ///
    /// # Errors
    /// Where the carts or the database fail. The order may have been written then.
    pub async fn order(&self, order: &CartOrder, now_ms: u64) -> Result<Placed, StoreError> {
        match self {
            Self::Database(store) => store.place_order(&order.of(Goods::Cart), now_ms).await,
            Self::Redis(carts) => carts.order(order, now_ms).await,
        }
    }
}
