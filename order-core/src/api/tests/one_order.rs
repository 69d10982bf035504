//! One cart becomes one order, also with concurrent requests, with carts in the database and in Redis.

use std::sync::Arc;

use contract::SkuId;
use foundation::redis::Connection;
use tokio::task::JoinSet;

use super::{mall::Shopping, *};

/// Concurrent requests for the same cart.
const AT_ONCE: usize = 8;
/// Units of the line that is in the cart.
const UNITS: u64 = 3;
/// Units of another line, added one by one while the cart is being ordered.
const ADDED: u64 = 3;
/// Stock of each SKU of [`Shopping`].
const STOCK: u64 = 10;

/// The Idempotency-Keys of the requests.
#[derive(Clone, Copy, Debug)]
enum Keys {
    None,
    Own,
    Same,
}

/// An app on SQLite or MariaDB, with carts in that database or in Redis.
async fn app(mariadb: Option<&services::MariaDb>, redis: Option<&services::Redis>) -> TestApp {
    let directory = tempfile::tempdir().unwrap();
    let store = match mariadb {
        Some(server) => Store::connect(&server.database(), ids(), Settings::new(60_000)).await.unwrap(),
        None => Store::open(&directory.path().join("mall.db"), ids(), Settings::new(60_000)).await.unwrap(),
    };
    let carts = match redis {
        Some(server) => {
            server.ask(&["FLUSHALL"]);
            Carts::Redis(crate::RedisCarts::new(Connection::new(server.url()).unwrap(), store.clone()))
        }
        None => Carts::Database(store.clone()),
    };
    TestApp::with((store, carts, providers(Offers::Mock)), directory).await
}

/// Runs `check` on every combination of database and cart store that is installed.
async fn everywhere<F: Future<Output = ()>>(check: impl Fn(Arc<Shopping>) -> F) {
    let (mariadb, redis) = (services::MariaDb::start(), services::Redis::start_with("no"));
    for database in [None, mariadb.as_ref()] {
        for carts in [None, redis.as_ref()] {
            check(Arc::new(Shopping::at(app(database, carts).await).await)).await;
        }
    }
}

impl Shopping {
    async fn put_into_cart(&self, sku: SkuId, quantity: u64) {
        let (status, cart) =
            self.ask("POST", "/cart/items", Some(json!({ "sku_id": sku, "quantity": quantity }))).await;
        assert_eq!(status, StatusCode::OK, "{cart}");
    }

    async fn order_cart(&self, address: &str, key: Option<&str>) -> (StatusCode, Value) {
        let body = json!({ "address_id": address, "from_cart": true });
        match key {
            Some(key) => self.keyed(&body, key).await,
            None => self.ask("POST", "/orders", Some(body)).await,
        }
    }

    /// Units of `sku` in the cart.
    async fn in_cart(&self, sku: SkuId) -> u64 {
        units(&self.get("/cart").await["items"], sku)
    }

    async fn stock(&self, sku: SkuId) -> u64 {
        self.app.store.catalogue().sku(sku).await.unwrap().unwrap().stock
    }
}

/// Units of `sku` in `items` of an order or a cart.
fn units(items: &Value, sku: SkuId) -> u64 {
    let of_sku = items.as_array().unwrap().iter().filter(|item| item["sku_id"] == json!(sku));
    of_sku.map(|item| item["quantity"].as_u64().unwrap()).sum()
}

async fn ordered_at_once(shop: Arc<Shopping>, keys: Keys) {
    let address = Arc::new(shop.address().await);
    let (black, white) = (shop.black.sku_id, shop.white.sku_id);
    shop.put_into_cart(black, UNITS).await;
    let mut asking = JoinSet::new();
    for at in 0..AT_ONCE {
        let (shop, address) = (shop.clone(), address.clone());
        asking.spawn(async move {
            let own = format!("key-{at}");
            let key = match keys {
                Keys::None => None,
                Keys::Own => Some(own.as_str()),
                Keys::Same => Some("same"),
            };
            shop.order_cart(&address, key).await
        });
    }
    let adding = {
        let shop = shop.clone();
        tokio::spawn(async move {
            for _ in 0..ADDED {
                shop.put_into_cart(white, 1).await;
            }
        })
    };
    let answers = asking.join_all().await;
    adding.await.unwrap();

    let orders = shop.get("/orders").await["items"].as_array().unwrap().clone();
    let of_black: Vec<&Value> = orders.iter().filter(|order| units(&order["items"], black) > 0).collect();
    assert_eq!(of_black.len(), 1, "{keys:?}: {orders:?}");
    assert_eq!(units(&of_black[0]["items"], black), UNITS);
    assert_eq!((shop.stock(black).await, shop.in_cart(black).await), (STOCK - UNITS, 0), "{keys:?}");
    let ordered: u64 = orders.iter().map(|order| units(&order["items"], white)).sum();
    assert_eq!(ordered + shop.in_cart(white).await, ADDED, "{keys:?}: added lines are lost");
    assert_eq!(shop.stock(white).await, STOCK - ordered);
    for (status, answer) in &answers {
        match keys {
            Keys::Same => assert_eq!((*status, answer), (StatusCode::CREATED, of_black[0]), "{answer}"),
            Keys::None | Keys::Own if *status == StatusCode::CREATED => assert!(orders.contains(answer), "{answer}"),
            Keys::None | Keys::Own => {
                assert_eq!((*status, &answer["code"]), (StatusCode::CONFLICT, &json!("cart_empty")), "{answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cart_is_ordered_once_without_keys() {
    everywhere(|shop| ordered_at_once(shop, Keys::None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cart_is_ordered_once_under_different_keys() {
    everywhere(|shop| ordered_at_once(shop, Keys::Own)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cart_is_ordered_once_under_one_key() {
    everywhere(|shop| ordered_at_once(shop, Keys::Same)).await;
}

/// A refused order leaves the cart unchanged, also with concurrent refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_order_leaves_the_cart() {
    everywhere(async |shop| {
        let address = Arc::new(shop.address().await);
        let (black, white) = (shop.black.sku_id, shop.white.sku_id);
        shop.put_into_cart(black, STOCK + 1).await;
        shop.put_into_cart(white, 1).await;
        let before = shop.get("/cart").await;
        let mut asking = JoinSet::new();
        for at in 0..AT_ONCE {
            let (shop, address) = (shop.clone(), address.clone());
            asking.spawn(async move { shop.order_cart(&address, (at % 2 == 0).then_some("k")).await });
        }
        for (status, problem) in asking.join_all().await {
            assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("insufficient_stock")));
        }
        assert_eq!(shop.get("/cart").await, before);
        assert_eq!((shop.stock(black).await, shop.stock(white).await), (STOCK, STOCK));
        let (status, problem) = shop.order_cart("9", None).await;
        assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("unknown_address")));
        assert_eq!(shop.get("/cart").await, before);

        let fewer = Some(json!({ "quantity": STOCK }));
        assert_eq!(shop.ask("PUT", &format!("/cart/items/{black}"), fewer).await.0, StatusCode::OK);
        let (status, order) = shop.order_cart(&address, Some("k")).await;
        assert_eq!(status, StatusCode::CREATED, "{order}");
        assert_eq!(shop.get("/cart").await["items"], json!([]));
        assert_eq!(shop.order_cart(&address, Some("k")).await, (StatusCode::CREATED, order));
    })
    .await;
}

/// Concurrent duplicates of a request get the same answer, also where the first one takes the last units.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn duplicates_get_the_answer_of_the_request_that_took_the_last_units() {
    everywhere(async |shop| {
        let address = shop.address().await;
        let body = Arc::new(shop.order(&address, u32::try_from(STOCK).unwrap()));
        let mut asking = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (shop, body) = (shop.clone(), body.clone());
            asking.spawn(async move { shop.keyed(&body, "k").await });
        }
        let answers = asking.join_all().await;
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == StatusCode::CREATED), "{answers:?}");
        assert_eq!(shop.stock(shop.black.sku_id).await, 0);
    })
    .await;
}
