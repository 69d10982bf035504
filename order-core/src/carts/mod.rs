//! Where carts are kept: in the database, or in Redis.

#[cfg(feature = "redis")]
mod redis;
#[cfg(test)]
mod tests;

use contract::{AddressId, Cents, SkuId, UserId};
use store::{CartChange, CartLine, Goods, NewOrder, Placed, Store, StoreError};

#[cfg(feature = "redis")]
pub use self::redis::RedisCarts;

/// Shoppers' carts. Clones are the same carts.
#[derive(Debug, Clone)]
pub enum Carts {
    /// Orders empty them in their own transaction.
    Database(Store),
    /// An order takes their lines under a claim.
    #[cfg(feature = "redis")]
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
    /// As [`NewOrder::expected_total`].
    pub expected_total: Option<Cents>,
}

impl CartOrder {
    fn of(&self, goods: Goods) -> NewOrder {
        let (user, address, expected_total) = (self.user, self.address, self.expected_total);
        NewOrder { user, address, goods, request: self.request.clone(), expected_total }
    }
}

impl Carts {
    /// The lines of `user`'s cart, by SKU.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn lines(&self, user: UserId) -> Result<Vec<CartLine>, StoreError> {
        match self {
            Self::Database(store) => store.orders().cart(user).await,
            #[cfg(feature = "redis")]
            Self::Redis(carts) => carts.lines(user).await,
        }
    }

    /// Puts `line.quantity` more of a SKU into `user`'s cart.
    ///
    /// # Errors
    /// If it can't be written.
    pub async fn add(&self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        match self {
            Self::Database(store) => store.orders().add_to_cart(user, line, now_ms).await,
            #[cfg(feature = "redis")]
            Self::Redis(carts) => carts.add(user, line).await,
        }
    }

    /// Says how many of a SKU are in `user`'s cart.
    ///
    /// # Errors
    /// If it can't be written.
    pub async fn set(&self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        match self {
            Self::Database(store) => store.orders().set_in_cart(user, line, now_ms).await,
            #[cfg(feature = "redis")]
            Self::Redis(carts) => carts.set(user, line).await,
        }
    }

    /// Takes SKUs out of `user`'s cart; all of them where none are named.
    ///
    /// # Errors
    /// If it can't be written.
    pub async fn take(&self, user: UserId, skus: Option<&[SkuId]>) -> Result<(), StoreError> {
        match self {
            Self::Database(store) => store.orders().take_from_cart(user, skus).await,
            #[cfg(feature = "redis")]
            Self::Redis(carts) => carts.take(user, skus).await,
        }
    }

    /// Orders everything in a cart. One cart becomes one order, also with concurrent requests. Lines that are added in the
    /// meantime stay in the cart, and all lines stay there where the order is refused.
    ///
    /// # Errors
    /// If the carts or the database fail. The order may have been written then.
    pub async fn order(&self, order: &CartOrder, now_ms: u64) -> Result<Placed, StoreError> {
        match self {
            Self::Database(store) => store.orders().place_order(&order.of(Goods::Cart), now_ms).await,
            #[cfg(feature = "redis")]
            Self::Redis(carts) => carts.order(order, now_ms).await,
        }
    }
}
