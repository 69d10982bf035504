//! Carts in Redis. A cart is a hash of SKU to quantity, and a hash of SKU to the price when the line was last changed.
//! A third hash, the claim, holds the lines that are about to become an order, and the id of that order:
//!
//! 1. `claim.lua` moves the cart into a claim in one step. A concurrent request for the same cart finds that claim and
//!    tries to write the same order; the order's id lets the database write it once.
//! 2. When the order is written, the claim is dropped. When the order is refused, the claim is voided in the database
//!    (see [`store::ClaimState`]), so that no request writes its order any more, and then put back into the cart.
//!
//! A process that dies leaves the claim behind. The next request for the cart asks the database what became of the
//! claim's order. No step depends on a time limit, and every step may be repeated.

use std::{collections::BTreeMap, sync::LazyLock};

use contract::{Cents, OrderId, SkuId, UserId};
use domain::SaleError;
use foundation::redis::Connection;
use redis::{FromRedisValue, RedisError, Script, ScriptInvocation};
use store::{
    CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartClaim, CartLine, ClaimState, Goods, ORDER_LINES_MAX, Placed, Store,
    StoreError,
};

use super::CartOrder;

/// A cart that nobody touches is forgotten after so long.
const KEPT_S: i64 = 90 * 24 * 3600;
/// Tries to order a cart for one request. A try fails where another request voids the claim, because its own order is
/// refused or because the cart changes.
const ORDER_TRIES_MAX: u32 = 10;
/// Tries to change a line. A try fails where an order claims the cart in the meantime.
const CHANGE_TRIES_MAX: u32 = 10;
/// Fields of a claim beside its lines.
const ORDER: &str = "order";
const EPOCH: &str = "epoch";

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(include_str!(concat!("../../lua/", $file))))
    };
}

static CHANGE: LazyLock<Script> = script!("change.lua");
static REMOVE: LazyLock<Script> = script!("remove.lua");
static CLAIM: LazyLock<Script> = script!("claim.lua");
static RESTORE: LazyLock<Script> = script!("restore.lua");
static DROP: LazyLock<Script> = script!("drop.lua");

type Hash<V> = BTreeMap<String, V>;

/// Carts in one Redis. Clones share its connection.
#[derive(Clone)]
pub struct RedisCarts {
    connection: Connection,
    store: Store,
}

impl std::fmt::Debug for RedisCarts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisCarts").finish_non_exhaustive()
    }
}

/// Adds to a line, or replaces its quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Add,
    Set,
}

/// The claim of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) order: OrderId,
    pub(super) epoch: u64,
    pub(super) lines: Vec<CartLine>,
    /// Whether lines were added to the cart after the claim.
    pub(super) has_more: bool,
}

impl RedisCarts {
    /// Carts in Redis, whose orders are in `store`.
    pub fn new(connection: Connection, store: Store) -> Self {
        Self { connection, store }
    }

    pub(super) async fn lines(&self, user: UserId) -> Result<Vec<CartLine>, StoreError> {
        let [quantities, prices, claim] = keys(user);
        let mut ask = redis::pipe();
        ask.atomic().hgetall(quantities).hgetall(prices).hgetall(claim);
        let (quantities, prices, claim): (Hash<u32>, Hash<i64>, Hash<String>) =
            ask.query_async(&mut self.connection.clone()).await.map_err(unavailable)?;
        let mut lines: BTreeMap<SkuId, CartLine> = BTreeMap::new();
        for (sku, quantity) in quantities {
            let price = Cents::new(prices.get(&sku).copied().unwrap_or_default());
            let Ok(sku) = sku.parse() else { continue };
            lines.insert(sku, CartLine { sku, quantity, price });
        }
        if let Some(claim) = Claim::read(&claim, false)? {
            if self.store.orders().has_order(claim.order).await? {
                self.drop_claim(user, claim.order).await?;
            } else {
                // Until they are ordered, its lines belong to the cart.
                for claimed in claim.lines {
                    let line = lines.entry(claimed.sku).or_insert(CartLine { quantity: 0, ..claimed });
                    line.quantity = line.quantity.saturating_add(claimed.quantity).min(CART_UNITS_MAX);
                }
            }
        }
        Ok(lines.into_values().collect())
    }

    pub(super) async fn add(&self, user: UserId, line: CartLine) -> Result<CartChange, StoreError> {
        self.change(user, line, How::Add).await
    }

    pub(super) async fn set(&self, user: UserId, line: CartLine) -> Result<CartChange, StoreError> {
        self.change(user, line, How::Set).await
    }

    async fn change(&self, user: UserId, line: CartLine, how: How) -> Result<CartChange, StoreError> {
        for _ in 0..CHANGE_TRIES_MAX {
            let mut call = CHANGE.prepare_invoke();
            call.key(&keys(user)[..]).arg(line.sku.as_i64()).arg(line.quantity).arg(line.price.get());
            call.arg(if how == How::Add { "add" } else { "set" }).arg(CART_LINES_MAX).arg(CART_UNITS_MAX).arg(KEPT_S);
            let answer: String = self.run(&call).await?;
            match answer.as_str() {
                "done" => return Ok(CartChange::Done),
                "no_line" => return Ok(CartChange::NoLine),
                "too_many_lines" => return Ok(CartChange::TooManyLines),
                "too_many_units" => return Ok(CartChange::TooManyUnits),
                "claimed" => self.settle(user).await?,
                _ => return Err(contradiction(format!("the carts' script answers {answer:?}"))),
            }
        }
        Err(busy(user))
    }

    pub(super) async fn take(&self, user: UserId, skus: Option<&[SkuId]>) -> Result<(), StoreError> {
        if skus.is_some_and(<[SkuId]>::is_empty) {
            return Ok(());
        }
        for _ in 0..CHANGE_TRIES_MAX {
            let mut call = REMOVE.prepare_invoke();
            call.key(&keys(user)[..]);
            for sku in skus.unwrap_or_default() {
                call.arg(sku.as_i64());
            }
            let is_claimed: bool = self.run(&call).await?;
            if !is_claimed {
                return Ok(());
            }
            self.settle(user).await?;
        }
        Err(busy(user))
    }

    pub(super) async fn order(&self, order: &CartOrder, now_ms: u64) -> Result<Placed, StoreError> {
        let user = order.user;
        for _ in 0..ORDER_TRIES_MAX {
            // A repeated request finds its order by its key, independent of what is in the cart now.
            if let Some(answered) = self.store.orders().placed_before(user, order.request.as_ref()).await? {
                return Ok(answered);
            }
            let Some(claim) = self.claim(user).await? else {
                // A duplicate of this request may have been faster.
                let answered = self.store.orders().placed_before(user, order.request.as_ref()).await?;
                return Ok(answered.unwrap_or(Placed::CartEmpty));
            };
            if claim.has_more {
                // The buyer sees the claimed and the added lines as one cart, so they must become one order.
                self.give_up(user, claim.order, claim.epoch).await?;
                continue;
            }
            let (id, epoch) = (claim.order, claim.epoch);
            let placed = self.store.orders().place_order(&order.of(Goods::Claim(claim.into())), now_ms).await?;
            let cleared = match &placed {
                Placed::Placed(_) | Placed::ClaimOrdered => self.drop_claim(user, id).await,
                Placed::ClaimVoid => self.restore(user, id).await,
                Placed::Again(_)
                | Placed::KeyReused
                | Placed::CartEmpty
                | Placed::CartChanged
                | Placed::UnknownAddress
                | Placed::UnknownSkus(_)
                | Placed::InsufficientStock(_)
                | Placed::PriceChanged(_)
                | Placed::TooManyUnpaid(_)
                | Placed::TooManyUnpaidUnits(_)
                | Placed::TooDear => self.give_up(user, id, epoch).await,
            };
            if let Err(error) = cleared {
                // The next request for this cart does it.
                tracing::warn!(order = %id, %error, "the claim on a cart was not cleared");
            }
            if !matches!(placed, Placed::ClaimOrdered | Placed::ClaimVoid) {
                return Ok(placed);
            }
        }
        Ok(Placed::CartChanged)
    }

    /// Claims everything in the cart, or returns the existing claim; `None` where the cart is empty.
    pub(super) async fn claim(&self, user: UserId) -> Result<Option<Claim>, StoreError> {
        // Read before the cart is moved. If the epoch ends in between, the new claim is void from the start.
        let epoch = self.store.orders().cart_epoch(user).await?;
        let order = self.store.orders().next_order()?;
        let mut call = CLAIM.prepare_invoke();
        call.key(&keys(user)[..]).arg(order.as_i64()).arg(epoch).arg(KEPT_S);
        let (has_more, claim): (bool, Hash<String>) = self.run(&call).await?;
        Claim::read(&claim, has_more)
    }

    /// Ends the claim of any request, if there is one: all lines are in the cart or in an order after that.
    async fn settle(&self, user: UserId) -> Result<(), StoreError> {
        let [.., claim] = keys(user);
        let mut ask = redis::cmd("HGETALL");
        let found: Hash<String> =
            ask.arg(claim).query_async(&mut self.connection.clone()).await.map_err(unavailable)?;
        match Claim::read(&found, false)? {
            Some(claim) => self.give_up(user, claim.order, claim.epoch).await,
            None => Ok(()),
        }
    }

    /// Voids a claim and puts it back into the cart, or drops it if its order is written.
    async fn give_up(&self, user: UserId, order: OrderId, epoch: u64) -> Result<(), StoreError> {
        match self.store.orders().void_claim(user, order, epoch).await? {
            ClaimState::Ordered => self.drop_claim(user, order).await,
            ClaimState::Void | ClaimState::Open => self.restore(user, order).await,
        }
    }

    /// Deletes a claim whose order is written.
    async fn drop_claim(&self, user: UserId, order: OrderId) -> Result<(), StoreError> {
        let [.., claim] = keys(user);
        self.run(DROP.key(claim).arg(order.as_i64())).await
    }

    /// Puts a voided claim back into the cart.
    async fn restore(&self, user: UserId, order: OrderId) -> Result<(), StoreError> {
        let mut call = RESTORE.prepare_invoke();
        call.key(&keys(user)[..]).arg(order.as_i64()).arg(CART_UNITS_MAX).arg(KEPT_S);
        self.run(&call).await
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        call.invoke_async(&mut self.connection.clone()).await.map_err(unavailable)
    }
}

impl Claim {
    /// Parses the hash; `None` where it is empty.
    fn read(hash: &Hash<String>, has_more: bool) -> Result<Option<Self>, StoreError> {
        if hash.is_empty() {
            return Ok(None);
        }
        let unreadable = || contradiction(format!("the claim on a cart can't be parsed: {hash:?}"));
        let number = |name: &str| hash.get(name).ok_or_else(unreadable);
        let order = number(ORDER)?.parse().map_err(|_| unreadable())?;
        let epoch = number(EPOCH)?.parse().map_err(|_| unreadable())?;
        let mut lines = Vec::with_capacity(hash.len());
        for (sku, line) in hash.iter().filter(|(name, _)| ![ORDER, EPOCH].contains(&name.as_str())) {
            let (quantity, price) = line.split_once(' ').ok_or_else(unreadable)?;
            let (Ok(sku), Ok(quantity), Ok(price)) = (sku.parse(), quantity.parse(), price.parse()) else {
                return Err(unreadable());
            };
            if !(1..=CART_UNITS_MAX).contains(&quantity) {
                return Err(unreadable());
            }
            lines.push(CartLine { sku, quantity, price: Cents::new(price) });
        }
        if !(1..=ORDER_LINES_MAX).contains(&lines.len()) {
            return Err(unreadable());
        }
        Ok(Some(Self { order, epoch, lines, has_more }))
    }
}

impl From<Claim> for CartClaim {
    fn from(claim: Claim) -> Self {
        let lines = claim.lines.iter().map(|line| (line.sku, line.quantity)).collect();
        Self { order: claim.order, epoch: claim.epoch, lines }
    }
}

fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(format!("the carts in Redis: {error}"))
}

fn contradiction(what: String) -> StoreError {
    SaleError::Contradiction(what).into()
}

fn busy(user: UserId) -> StoreError {
    StoreError::Unavailable(format!("the cart of user {user} was claimed by orders during {CHANGE_TRIES_MAX} tries"))
}

/// Quantities, prices, claim.
fn keys(user: UserId) -> [String; 3] {
    let cart = format!("mall:cart:{{{user}}}");
    [cart.clone(), format!("{cart}:prices"), format!("{cart}:claim")]
}
