//! Where carts are kept: in the database, or in Redis (a hash of SKU to quantity for each user).

use std::{collections::BTreeMap, sync::LazyLock};

use contract::{Cents, SkuId, UserId};
use foundation::redis::Connection;
use redis::{RedisError, Script};
use store::{CART_LINES_MAX, CART_UNITS_MAX, CartChange, CartLine, Store, StoreError};

/// A cart that nobody touches is forgotten after so long.
const KEPT_S: i64 = 90 * 24 * 3600;

/// KEYS quantities, prices; ARGV sku, quantity, price, "add" or "set", lines at most, units at most, seconds kept.
static CHANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local there = tonumber(redis.call('HGET', KEYS[1], ARGV[1]))
local units = tonumber(ARGV[2])
if ARGV[4] == 'set' then
    if not there then return 'no_line' end
elseif there then
    units = units + there
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
    return 'too_many_lines'
end
if units > tonumber(ARGV[6]) then return 'too_many_units' end
redis.call('HSET', KEYS[1], ARGV[1], units)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 'done'",
    )
});

/// Shoppers' carts. Clones are the same carts.
#[derive(Clone)]
pub enum Carts {
    /// Orders empty them in their own transaction.
    Database(Store),
    /// Orders empty them afterwards.
    Redis(Connection),
}

impl std::fmt::Debug for Carts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Database(_) => "Carts::Database",
            Self::Redis(_) => "Carts::Redis",
        })
    }
}

/// Puts more into a line, or says how much it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Add,
    Set,
}

impl Carts {
    /// The lines of `user`'s cart, by SKU.
    ///
    /// # Errors
    /// Where it can't be read.
    pub async fn lines(&self, user: UserId) -> Result<Vec<CartLine>, StoreError> {
        match self {
            Self::Database(store) => store.cart(user).await,
            Self::Redis(connection) => lines(connection.clone(), user).await.map_err(|error| unavailable(&error)),
        }
    }

    /// Puts `line.quantity` more of a SKU into `user`'s cart.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn add(&self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        match self {
            Self::Database(store) => store.add_to_cart(user, line, now_ms).await,
            Self::Redis(connection) => change(connection.clone(), user, line, How::Add).await,
        }
    }

    /// Says how many of a SKU are in `user`'s cart.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn set(&self, user: UserId, line: CartLine, now_ms: u64) -> Result<CartChange, StoreError> {
        match self {
            Self::Database(store) => store.set_in_cart(user, line, now_ms).await,
            Self::Redis(connection) => change(connection.clone(), user, line, How::Set).await,
        }
    }

    /// Takes SKUs out of `user`'s cart; all of them where none are named.
    ///
    /// # Errors
    /// Where it can't be written.
    pub async fn take(&self, user: UserId, skus: Option<&[SkuId]>) -> Result<(), StoreError> {
        match self {
            Self::Database(store) => store.take_from_cart(user, skus).await,
            Self::Redis(connection) => take(connection.clone(), user, skus).await.map_err(|error| unavailable(&error)),
        }
    }

    /// Whether an order's own transaction empties them.
    pub fn in_database(&self) -> bool {
        matches!(self, Self::Database(_))
    }
}

fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(format!("the carts in Redis: {error}"))
}

fn keys(user: UserId) -> [String; 2] {
    [format!("mall:cart:{{{user}}}"), format!("mall:cart:{{{user}}}:prices")]
}

async fn lines(mut connection: Connection, user: UserId) -> Result<Vec<CartLine>, RedisError> {
    let [quantities, prices] = keys(user);
    let mut ask = redis::pipe();
    ask.hgetall(quantities).hgetall(prices);
    let found: (BTreeMap<String, u32>, BTreeMap<String, i64>) = ask.query_async(&mut connection).await?;
    let (quantities, prices) = found;
    let mut lines: Vec<CartLine> = quantities
        .iter()
        .filter_map(|(sku, quantity)| {
            let price = Cents::new(prices.get(sku).copied().unwrap_or_default());
            Some(CartLine { sku: sku.parse().ok()?, quantity: *quantity, price })
        })
        .collect();
    lines.sort_by_key(|line| line.sku);
    Ok(lines)
}

async fn change(mut connection: Connection, user: UserId, line: CartLine, how: How) -> Result<CartChange, StoreError> {
    let [quantities, prices] = keys(user);
    let mut call = CHANGE.key(quantities);
    call.key(prices).arg(line.sku.as_i64()).arg(line.quantity).arg(line.price.get());
    call.arg(if how == How::Add { "add" } else { "set" }).arg(CART_LINES_MAX).arg(CART_UNITS_MAX).arg(KEPT_S);
    let answer: String = call.invoke_async(&mut connection).await.map_err(|error| unavailable(&error))?;
    match answer.as_str() {
        "done" => Ok(CartChange::Done),
        "no_line" => Ok(CartChange::NoLine),
        "too_many_lines" => Ok(CartChange::TooManyLines),
        "too_many_units" => Ok(CartChange::TooManyUnits),
        _ => Err(StoreError::Contradiction(format!("the carts' script answers {answer:?}"))),
    }
}

async fn take(mut connection: Connection, user: UserId, skus: Option<&[SkuId]>) -> Result<(), RedisError> {
    let [quantities, prices] = keys(user);
    let mut ask = redis::pipe();
    match skus {
        None => ask.del(quantities).del(prices),
        Some([]) => return Ok(()),
        Some(skus) => {
            let fields: Vec<i64> = skus.iter().map(|sku| sku.as_i64()).collect();
            ask.hdel(quantities, &fields).hdel(prices, &fields)
        }
    };
    ask.ignore().query_async(&mut connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: i64, quantity: u32, price: i64) -> CartLine {
        CartLine { sku: SkuId::from_i64(sku).unwrap(), quantity, price: Cents::new(price) }
    }

    /// What the database's carts do is tested there; these are the same.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn carts_in_redis_have_the_same_limits() {
        let Some(redis) = services::Redis::start() else { return };
        let connection = Connection::new(redis.url()).unwrap();
        let (carts, ada, bob) = (Carts::Redis(connection), UserId::from_i64(1).unwrap(), UserId::from_i64(12).unwrap());
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let carts = carts.clone();
            running.spawn(async move { carts.add(ada, line(7, 2, 100), 5).await.unwrap() });
        }
        assert!(running.join_all().await.iter().all(|change| *change == CartChange::Done));
        let beyond = (1 << 53) + 1;
        carts.add(ada, line(beyond, 1, i64::MAX), 5).await.unwrap();
        assert_eq!(carts.lines(ada).await.unwrap(), [line(7, 40, 100), line(beyond, 1, i64::MAX)]);
        assert_eq!(carts.lines(bob).await.unwrap(), []);
        assert_eq!(carts.add(ada, line(7, CART_UNITS_MAX - 39, 100), 5).await.unwrap(), CartChange::TooManyUnits);
        assert_eq!(carts.set(ada, line(7, 3, 90), 5).await.unwrap(), CartChange::Done);
        assert_eq!(carts.set(ada, line(8, 3, 90), 5).await.unwrap(), CartChange::NoLine);
        carts.take(ada, Some(&[SkuId::from_i64(beyond).unwrap()])).await.unwrap();
        carts.take(ada, Some(&[])).await.unwrap();
        assert_eq!(carts.lines(ada).await.unwrap(), [line(7, 3, 90)]);
        for sku in 100..100 + i64::try_from(CART_LINES_MAX).unwrap() {
            let expected = if sku < 199 { CartChange::Done } else { CartChange::TooManyLines };
            assert_eq!(carts.add(ada, line(sku, 1, 1), 5).await.unwrap(), expected, "{sku}");
        }
        carts.take(ada, None).await.unwrap();
        assert_eq!(carts.lines(ada).await.unwrap(), []);
    }

    /// The address leads to the new master, and connections to the old one stay open.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn carts_in_redis_follow_a_failover() {
        let (Some(old), Some(new)) = (services::Redis::start_with("no"), services::Redis::start_with("no")) else {
            return;
        };
        new.follow(&old);
        let address = services::Forwarder::start(old.port());
        let carts = Carts::Redis(Connection::new(address.redis_url()).unwrap());
        let ada = UserId::from_i64(1).unwrap();
        carts.add(ada, line(7, 1, 100), 5).await.unwrap();
        new.fail_over_from(&old);
        address.point_to(new.port());
        let mut tries = 0;
        while carts.add(ada, line(7, 1, 100), 5).await.is_err() {
            tries += 1;
            assert!(tries < 100, "the cart stays with the demoted server");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(carts.lines(ada).await.unwrap(), [line(7, 2, 100)]);
        assert!(new.ask(&["KEYS", "*"]).contains("mall:cart"));
    }
}
