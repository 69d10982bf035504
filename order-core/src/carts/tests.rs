use std::{
    sync::atomic::{AtomicI64, Ordering},
    task::Poll,
};

use contract::{Cents, OrderId};
use foundation::redis::Connection;
use store::{
    AddedAddress, AddressFields, Attributes, CART_LINES_MAX, CART_UNITS_MAX, Ids, NewCategory, NewProduct, NewSku,
    Order, Page, Settings,
};

use super::*;

const NOW_MS: u64 = 1_800_000_000_000;
/// Units of the SKU that every test orders.
const STOCK: u64 = 1_000_000;
const PRICE: Cents = Cents::new(100);
/// Units in the cart of a request that is interrupted.
const UNITS: u32 = 3;
/// An upper bound for the polls of one request.
const STEPS_MAX: usize = 2000;

fn line(sku: SkuId, quantity: u32) -> CartLine {
    CartLine { sku, quantity, price: PRICE }
}

fn sku(id: i64) -> SkuId {
    SkuId::from_i64(id).unwrap()
}

/// A database with one SKU on the shelf, and carts.
struct World {
    store: Store,
    carts: Carts,
    sku: SkuId,
    users: AtomicI64,
    _directory: tempfile::TempDir,
}

impl World {
    async fn new(mariadb: Option<&services::MariaDb>, redis: Option<&services::Redis>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let last = AtomicI64::new(0);
        let ids = Ids::new(move || Ok::<_, String>(last.fetch_add(1, Ordering::Relaxed) + 1));
        let settings = Settings::new(60_000);
        let store = match mariadb {
            Some(server) => Store::connect(&server.database(), ids, settings).await.unwrap(),
            None => Store::open(&directory.path().join("mall.db"), ids, settings).await.unwrap(),
        };
        let carts = match redis {
            Some(server) => {
                server.ask(&["FLUSHALL"]);
                Carts::Redis(RedisCarts::new(Connection::new(server.url()).unwrap(), store.clone()))
            }
            None => Carts::Database(store.clone()),
        };
        let new = NewCategory { parent: None, name: "c".to_owned(), sort_order: 0 };
        let category = store.catalogue().add_category(new, 0).await.unwrap().unwrap().category_id;
        let (subtitle, description) = (String::new(), String::new());
        let new = NewProduct { category, title: "p".to_owned(), subtitle, description, image_ids: Vec::new() };
        let product = store.catalogue().add_product(new, 0).await.unwrap().unwrap().product_id;
        let new = NewSku { product, attributes: Attributes::new(), price: PRICE, stock: STOCK };
        let sku = store.catalogue().add_sku(new, 0).await.unwrap().unwrap().sku_id;
        store.catalogue().shelve(product, true).await.unwrap();
        Self { store, carts, sku, users: AtomicI64::new(0), _directory: directory }
    }

    /// The same with carts in Redis.
    async fn on_redis(redis: &services::Redis) -> (Self, RedisCarts) {
        let world = Self::new(None, Some(redis)).await;
        let Carts::Redis(carts) = world.carts.clone() else { panic!("carts in the database") };
        (world, carts)
    }

    /// A new user with an address, and a request to order the user's cart.
    async fn buyer(&self, key: Option<&str>) -> CartOrder {
        let name = format!("user-{}", self.users.fetch_add(1, Ordering::Relaxed));
        let user = self.store.accounts().add_user(&name, "hash", None, 0).await.unwrap().unwrap().id;
        let text = |text: &str| text.to_owned();
        let fields = AddressFields {
            recipient: text("王小明"),
            phone: text("1"),
            region: text("杭州"),
            detail: text("一号"),
            is_default: true,
        };
        let AddedAddress::Added(address) = self.store.accounts().add_address(user, &fields, 0).await.unwrap() else {
            panic!("no address");
        };
        CartOrder {
            user,
            address: address.address_id,
            request: key.map(|key| (key.to_owned(), [7; 32])),
            expected_total: None,
        }
    }

    async fn fill(&self, buyer: &CartOrder, units: u32) {
        assert_eq!(self.carts.add(buyer.user, line(self.sku, units), NOW_MS).await.unwrap(), CartChange::Done);
    }

    async fn lines(&self, buyer: &CartOrder) -> Vec<CartLine> {
        self.carts.lines(buyer.user).await.unwrap()
    }

    async fn order(&self, buyer: &CartOrder) -> Placed {
        self.carts.order(buyer, NOW_MS).await.unwrap()
    }

    async fn orders(&self, buyer: &CartOrder) -> Vec<Order> {
        self.store.orders(buyer.user, None, Page { before: i64::MAX, limit: 100 }).await.unwrap().items
    }

    async fn stock(&self) -> u64 {
        self.store.catalogue().sku(self.sku).await.unwrap().unwrap().stock
    }

    /// Waits for the transactions of dropped requests, by taking the locks that they take.
    async fn at_rest(&self, buyer: &CartOrder) {
        let (nobodys, no_epoch) = (OrderId::from_i64(i64::MAX).unwrap(), u64::MAX);
        self.store.void_claim(buyer.user, nobodys, no_epoch).await.unwrap();
        self.store.set_in_cart(buyer.user, line(self.sku, UNITS), NOW_MS).await.unwrap();
    }
}

/// Polls `future` this many times, and drops it if it is not ready by then.
async fn interrupted_after<T>(steps: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut taken = 0;
    std::future::poll_fn(|context| {
        if taken == steps {
            return Poll::Ready(None);
        }
        taken += 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Interrupts a request at each of its awaits in turn, as kill -9 at that point does. The lines are in the cart or in one
/// order then, and in one order after the shopper has tried again. Returns the number of awaits.
async fn interrupted_at_every_step(world: &World, key: Option<&str>) -> usize {
    for steps in 0..STEPS_MAX {
        let buyer = world.buyer(key).await;
        let stock = world.stock().await;
        world.fill(&buyer, UNITS).await;
        let ended = interrupted_after(steps, world.order(&buyer)).await;
        world.at_rest(&buyer).await;
        let (orders, lines) = (world.orders(&buyer).await, world.lines(&buyer).await);
        let expected = if orders.is_empty() { vec![line(world.sku, UNITS)] } else { Vec::new() };
        assert_eq!(lines, expected, "after {steps} steps: {orders:?}");

        let again = world.order(&buyer).await;
        let all = world.orders(&buyer).await;
        assert_eq!(all.len(), 1, "after {steps} steps");
        let expected = match (orders.is_empty(), key) {
            (true, _) => Placed::Placed(all[0].clone()),
            (false, None) => Placed::CartEmpty,
            (false, Some(_)) => Placed::Again(all[0].clone()),
        };
        assert_eq!(again, expected, "after {steps} steps");
        assert_eq!((all[0].lines[0].quantity, world.stock().await), (UNITS, stock - u64::from(UNITS)));
        assert_eq!(world.lines(&buyer).await, []);
        if ended.is_some() {
            return steps;
        }
    }
    panic!("a request has more than {STEPS_MAX} steps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_order_loses_no_cart_and_makes_no_second_order() {
    let (mariadb, redis) = (services::MariaDb::start(), services::Redis::start_with("no"));
    let mut steps = 0;
    for database in [None, mariadb.as_ref()] {
        for carts in [None, redis.as_ref()] {
            let world = World::new(database, carts).await;
            steps += interrupted_at_every_step(&world, None).await;
            steps += interrupted_at_every_step(&world, Some("k")).await;
        }
    }
    // How many there are depends on how fast the servers are.
    assert!(steps > 24, "eight requests of {steps} steps");
}

/// A request was interrupted after its order was written: its lines are no longer in the cart, for every operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_was_ordered_is_dropped_by_every_operation() {
    let Some(redis) = services::Redis::start_with("no") else { return };
    let (world, carts) = World::on_redis(&redis).await;
    let other = sku(1 << 60);
    let left_behind = async |units| {
        let buyer = world.buyer(None).await;
        world.fill(&buyer, units).await;
        let claim = carts.claim(buyer.user).await.unwrap().unwrap();
        let placed = world.store.place_order(&buyer.of(Goods::Claim(claim.into())), NOW_MS).await.unwrap();
        assert!(matches!(placed, Placed::Placed(_)), "{placed:?}");
        buyer
    };
    let buyer = left_behind(3).await;
    assert_eq!(world.lines(&buyer).await, []);
    let buyer = left_behind(3).await;
    assert_eq!(world.order(&buyer).await, Placed::CartEmpty);
    let buyer = left_behind(CART_UNITS_MAX).await;
    assert_eq!(
        carts.add(buyer.user, line(world.sku, 1)).await.unwrap(),
        CartChange::Done,
        "the claim no longer counts"
    );
    assert_eq!(world.lines(&buyer).await, [line(world.sku, 1)]);
    let buyer = left_behind(3).await;
    assert_eq!(carts.set(buyer.user, line(world.sku, 1)).await.unwrap(), CartChange::NoLine);
    let buyer = left_behind(3).await;
    carts.take(buyer.user, None).await.unwrap();
    assert_eq!(world.lines(&buyer).await, []);
    // Lines that were added after the claim are the next order.
    let buyer = left_behind(3).await;
    world.fill(&buyer, 5).await;
    let Placed::Placed(next) = world.order(&buyer).await else { panic!("no order") };
    assert_eq!((next.lines[0].quantity, world.orders(&buyer).await.len()), (5, 2));
    assert_eq!(world.lines(&buyer).await, []);
    let buyer = left_behind(3).await;
    carts.add(buyer.user, line(other, 1)).await.unwrap();
    assert_eq!(world.lines(&buyer).await, [line(other, 1)]);
}

/// A request that is slower than the voiding of its claim writes no order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voided_claim_never_becomes_an_order() {
    let (mariadb, Some(redis)) = (services::MariaDb::start(), services::Redis::start_with("no")) else { return };
    for database in [None, mariadb.as_ref()] {
        let world = World::new(database, Some(&redis)).await;
        let Carts::Redis(carts) = world.carts.clone() else { panic!("carts in the database") };
        let buyer = world.buyer(None).await;
        world.fill(&buyer, 3).await;
        let late = carts.claim(buyer.user).await.unwrap().unwrap();
        assert_eq!(world.lines(&buyer).await, [line(world.sku, 3)], "shown until it is ordered");
        assert_eq!(carts.claim(buyer.user).await.unwrap().unwrap(), late, "there is one claim");
        assert_eq!(carts.set(buyer.user, line(world.sku, 2)).await.unwrap(), CartChange::Done);
        let placing = |claim: &redis::Claim| buyer.of(Goods::Claim(claim.clone().into()));
        assert_eq!(world.store.place_order(&placing(&late), NOW_MS).await.unwrap(), Placed::ClaimVoid);
        assert_eq!(world.lines(&buyer).await, [line(world.sku, 2)]);
        let Placed::Placed(order) = world.order(&buyer).await else { panic!("no order") };
        assert_eq!(order.lines[0].quantity, 2);
        assert_eq!(world.store.place_order(&placing(&late), NOW_MS).await.unwrap(), Placed::ClaimVoid);
        assert_eq!((world.orders(&buyer).await.len(), world.lines(&buyer).await), (1, Vec::new()));

        // A claim is ordered and voided at the same time: one of the two happens.
        for _ in 0..50 {
            let buyer = world.buyer(None).await;
            world.fill(&buyer, 3).await;
            let claim = carts.claim(buyer.user).await.unwrap().unwrap();
            let new = buyer.of(Goods::Claim(claim.clone().into()));
            let writing = world.store.place_order(&new, NOW_MS);
            let voiding = world.store.void_claim(buyer.user, claim.order, claim.epoch);
            let (written, voided) = tokio::join!(writing, voiding);
            match (written.unwrap(), voided.unwrap()) {
                (Placed::Placed(order), store::ClaimState::Ordered) => assert_eq!(order.id, claim.order),
                (Placed::ClaimVoid, store::ClaimState::Void) => {
                    assert_eq!(world.orders(&buyer).await, []);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Claimed lines count towards the limits of the cart, so that there is room when they come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claimed_lines_count_towards_the_limits() {
    let Some(redis) = services::Redis::start_with("no") else { return };
    let (world, carts) = World::on_redis(&redis).await;
    let buyer = world.buyer(None).await;
    world.fill(&buyer, CART_UNITS_MAX - 1).await;
    for other in 1..i64::try_from(CART_LINES_MAX).unwrap() - 1 {
        carts.add(buyer.user, line(sku((1 << 60) + other), 1)).await.unwrap();
    }
    carts.claim(buyer.user).await.unwrap().unwrap();
    let (last, one_too_many) = (line(sku(1 << 61), 1), line(sku((1 << 61) + 1), 1));
    assert_eq!(carts.add(buyer.user, line(world.sku, 1)).await.unwrap(), CartChange::Done);
    assert_eq!(carts.add(buyer.user, line(world.sku, 1)).await.unwrap(), CartChange::TooManyUnits);
    carts.claim(buyer.user).await.unwrap().unwrap();
    assert_eq!(carts.add(buyer.user, last).await.unwrap(), CartChange::Done);
    assert_eq!(carts.add(buyer.user, one_too_many).await.unwrap(), CartChange::TooManyLines);
    let lines = world.lines(&buyer).await;
    assert_eq!((lines.len(), lines[0]), (CART_LINES_MAX, line(world.sku, CART_UNITS_MAX)));
}

/// The limits of carts in the database have tests in `store`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn carts_in_redis_have_the_same_limits() {
    let Some(redis) = services::Redis::start() else { return };
    let (world, carts) = World::on_redis(&redis).await;
    let line = |id: i64, quantity: u32, price: i64| CartLine { sku: sku(id), quantity, price: Cents::new(price) };
    let (ada, bob) = (UserId::from_i64(1).unwrap(), UserId::from_i64(12).unwrap());
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let carts = carts.clone();
        running.spawn(async move { carts.add(ada, line(7, 2, 100)).await.unwrap() });
    }
    assert!(running.join_all().await.iter().all(|change| *change == CartChange::Done));
    let beyond = (1 << 53) + 1;
    carts.add(ada, line(beyond, 1, i64::MAX)).await.unwrap();
    assert_eq!(carts.lines(ada).await.unwrap(), [line(7, 40, 100), line(beyond, 1, i64::MAX)]);
    // The user has no row and so no address: the order is refused, and the lines come back.
    let order = CartOrder { user: ada, address: AddressId::from_i64(1).unwrap(), request: None, expected_total: None };
    assert_eq!(world.order(&order).await, Placed::UnknownAddress);
    assert_eq!(carts.lines(ada).await.unwrap(), [line(7, 40, 100), line(beyond, 1, i64::MAX)]);
    assert_eq!(carts.lines(bob).await.unwrap(), []);
    assert_eq!(carts.add(ada, line(7, CART_UNITS_MAX - 39, 100)).await.unwrap(), CartChange::TooManyUnits);
    assert_eq!(carts.set(ada, line(7, 3, 90)).await.unwrap(), CartChange::Done);
    assert_eq!(carts.set(ada, line(8, 3, 90)).await.unwrap(), CartChange::NoLine);
    carts.take(ada, Some(&[sku(beyond)])).await.unwrap();
    carts.take(ada, Some(&[])).await.unwrap();
    assert_eq!(carts.lines(ada).await.unwrap(), [line(7, 3, 90)]);
    for sku in 100..100 + i64::try_from(CART_LINES_MAX).unwrap() {
        let expected = if sku < 199 { CartChange::Done } else { CartChange::TooManyLines };
        assert_eq!(carts.add(ada, line(sku, 1, 1)).await.unwrap(), expected, "{sku}");
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
    let world = World::new(None, None).await;
    let carts = RedisCarts::new(Connection::new(address.redis_url()).unwrap(), world.store.clone());
    let ada = UserId::from_i64(1).unwrap();
    carts.add(ada, line(sku(7), 1)).await.unwrap();
    new.fail_over_from(&old);
    address.point_to(new.port());
    let mut tries = 0;
    while carts.add(ada, line(sku(7), 1)).await.is_err() {
        tries += 1;
        assert!(tries < 100, "the cart stays with the demoted server");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(carts.lines(ada).await.unwrap(), [line(sku(7), 2)]);
    assert!(new.ask(&["KEYS", "*"]).contains("mall:cart"));
}
