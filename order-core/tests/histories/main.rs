//! Histories of payments against a platform that loses, delays, doubles and reorders its notices, answers late or not at
//! all, and closes trades: each order is paid at most once, and no money is lost (I4).

#![expect(clippy::unwrap_used, reason = "a test may end so, its helpers too")]

mod faulty;
mod found;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use contract::{AddressId, Cents, OrderId, SkuId, UserId};
use domain::{
    RefundStore as _, SaleStore as _,
    order_state::{Happening, OrderState},
};
use foundation::Clock as _;
use pay::{App, PageRequest, Signer, Told};
use store::{
    AddedAddress, AddressFields, Attributes, Begun, Decision, Goods, Ids, NewCategory, NewOrder, NewProduct, NewSku,
    Notice, OrderQuery, Page, Placed, Purpose, RefundOf, Settings, Store,
};
use support::HandClock;
use workers::{BeforeClosing as _, Refunder, Worker as _};

use faulty::{Faults, Faulty, Random, Seen};
use order_core::payments::{ALIPAY, MOCK, PaymentWatch, Provider, Providers, Transport, timestamp};

/// Two ways to pay one order, at one platform.
const METHODS: [&str; 2] = [MOCK, ALIPAY];
const HISTORIES: u64 = 1_000;
/// Histories that share a database, so that they are quick.
const OF_ONE_STORE: u64 = 125;
const STEPS: u64 = 24;
const PAY_WITHIN_MS: u64 = 1_800_000;
const MINUTE_MS: u64 = 60_000;
const UNITS: u64 = 1_000_000;

/// A shop with one product, and the platform that it is paid through.
struct Shop {
    store: Store,
    clock: HandClock,
    platform: Arc<Mutex<Faulty>>,
    providers: Providers,
    watch: PaymentWatch<HandClock>,
    refunder: Refunder<Store, Providers, HandClock>,
    address: AddressId,
    sku: SkuId,
    user: UserId,
}

fn app(keys: &[String; 2]) -> App {
    App {
        app_id: "app".to_owned(),
        seller_id: "seller".to_owned(),
        gateway: "http://platform".to_owned(),
        signer: Signer::read(&keys[0]).unwrap(),
        platform: Signer::read(&keys[1]).unwrap().verifier().unwrap(),
    }
}

impl Shop {
    async fn new(directory: &std::path::Path, keys: &[String; 2]) -> Self {
        let last = AtomicI64::new(0);
        let ids = Ids::new(move || Ok::<_, String>(last.fetch_add(1, Ordering::Relaxed) + 1));
        let mut settings = Settings::new(PAY_WITHIN_MS);
        (settings.unpaid_max, settings.unpaid_units_max) = (u32::MAX, u32::MAX);
        let store = Store::open(&directory.join("mall.db"), ids, settings).await.unwrap();
        let clock = HandClock::new();
        let (address, sku, user) = goods(&store).await;
        let platform = Arc::new(Mutex::new(Faulty::new(app(keys), Signer::read(&keys[1]).unwrap())));
        let (asked, now) = (platform.clone(), clock.clone());
        let transport = Transport::new(move |_, body| {
            let answer = asked.lock().unwrap_or_else(PoisonError::into_inner).answer(&body, now.now_ms());
            Box::pin(std::future::ready(answer))
        });
        let provider = |method| {
            let (notify_url, return_url) = (format!("http://shop/{method}"), "http://shop/return".to_owned());
            Provider { method, app: app(keys), notify_url, return_url }
        };
        let providers = Providers::over(METHODS.map(provider).into(), transport);
        let watch = PaymentWatch::new(store.clone(), providers.clone(), clock.clone());
        let refunder = Refunder::new(store.clone(), providers.clone(), clock.clone());
        Self { store, clock, platform, providers, watch, refunder, address, sku, user }
    }

    fn platform(&self) -> std::sync::MutexGuard<'_, Faulty> {
        self.platform.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buyer goes to the platform's page, whose request is signed and read as the platform reads it.
    async fn opens_page(&self, order: OrderId, method: &str) {
        let begun = self.store.money().begin_payment((self.user, order), method, self.clock.now_ms()).await.unwrap();
        let Begun::Begun(payment) = begun else { return };
        let provider = self.providers.get(method).unwrap();
        let request = PageRequest {
            payment: payment.id,
            amount: payment.amount,
            subject: "茶",
            notify_url: &provider.notify_url,
            return_url: &provider.return_url,
            timestamp: &timestamp(self.clock.now_ms()),
            time_expire: &timestamp(payment.expires_at_ms),
        };
        let url = provider.app.page_url(&request).unwrap();
        let url = url.split_once('?').unwrap().1.to_owned();
        self.platform().open_page(&url, payment.expires_at_ms);
    }

    async fn hears(&self, (url, body): (String, Vec<u8>)) {
        let provider = self.providers.get(url.rsplit('/').next().unwrap()).unwrap();
        let method = provider.method;
        match provider.app.read_notice(&body) {
            Ok(Told::Paid(paid)) => {
                let notice = Notice { method, payment: paid.payment, trade_no: paid.trade_no, amount: paid.amount };
                self.store.money().payment_arrived(&notice, self.clock.now_ms()).await.unwrap();
            }
            Ok(Told::Nothing) => {}
            Err(error) => panic!("a notice of the platform is refused: {error}"),
        }
    }

    async fn deadline(&self, order: OrderId) {
        self.watch.before_closing(&[order]).await.unwrap();
        self.store.close_unpaid(&[order], self.clock.now_ms()).await.unwrap();
    }

    async fn sends_refunds(&mut self) {
        for _ in 0..3 {
            let due = self.store.due_refunds(&METHODS, 10).await.unwrap();
            if !due.iter().any(|due| due.next_try_at_ms <= self.clock.now_ms()) {
                return;
            }
            self.refunder.step().await.unwrap();
        }
    }

    async fn one_history(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        self.platform().begin(seed, Faults::SOME);
        let price = Cents::new(100);
        let goods = Goods::Items([(self.sku, u32::try_from(1 + random.below(3)).unwrap())].into());
        let new = NewOrder { user: self.user, address: self.address, goods, request: None, expected_total: None };
        let placed = self.store.orders().place_order(&new, self.clock.now_ms()).await.unwrap();
        let Placed::Placed(order) = placed else { panic!("{placed:?}") };
        let is_due = |clock: &HandClock| clock.now_ms() >= order.expires_at_ms;
        for _ in 0..STEPS {
            match random.below(12) {
                0 | 1 => self.opens_page(order.id, METHODS[usize::from(random.below(2) == 1)]).await,
                2 | 3 => {
                    let now_ms = self.clock.now_ms();
                    self.platform().buyer_pays(now_ms);
                }
                4..=6 => {
                    let notice = self.platform().next_notice();
                    if let Some(notice) = notice {
                        self.hears(notice).await;
                    }
                }
                7 => self.clock.advance(random.below(12 * MINUTE_MS)),
                8 => {
                    self.watch.look().await.unwrap();
                }
                9 if is_due(&self.clock) => self.deadline(order.id).await,
                9 if random.below(8) == 0 => {
                    let close = Happening::Close;
                    self.store
                        .orders()
                        .move_order(order.id, Some(self.user), close, self.clock.now_ms())
                        .await
                        .unwrap();
                }
                10 => {
                    let of = if random.below(2) == 0 { RefundOf::Rest } else { RefundOf::Amount(price) };
                    self.store
                        .money()
                        .ask_refund_of((self.user, order.id), &of, "", self.clock.now_ms())
                        .await
                        .unwrap();
                    let decision = Decision::Approve { restock: true };
                    self.store.money().decide_refund_as((order.id, None), decision, self.clock.now_ms()).await.unwrap();
                }
                _ => self.sends_refunds().await,
            }
        }
        self.settles(order.id, seed).await;
    }

    /// The platform works again, everything that is under way arrives, and the deadline passes.
    async fn settles(&mut self, order: OrderId, seed: u64) {
        self.platform().recovers();
        for _ in 0..8 {
            loop {
                let Some(notice) = self.platform().next_notice() else { break };
                self.hears(notice).await;
            }
            self.deadline(order).await;
            self.watch.look().await.unwrap();
            self.sends_refunds().await;
            if self.is_quiet(order).await {
                break;
            }
            self.clock.advance(61 * MINUTE_MS);
        }
        assert!(self.is_quiet(order).await, "seed {seed}: something is still open");
    }

    async fn is_quiet(&self, order: OrderId) -> bool {
        let open = self.store.money().open_payments(&[order], 10).await.unwrap();
        let order = self.store.orders().order(self.user, order).await.unwrap().unwrap();
        order.state != OrderState::PendingPayment
            && open.is_empty()
            && self.store.due_refunds(&METHODS, 10).await.unwrap().is_empty()
    }

    /// Money in = orders paid + money that went back.
    async fn check(&self, seeds: std::ops::Range<u64>) {
        let (mut orders, mut page) = (Vec::new(), Page { before: i64::MAX, limit: 100 });
        loop {
            let listed = self.store.orders().staff_orders(&OrderQuery::default(), page).await.unwrap();
            orders.extend(listed.items.into_iter().map(|order| order.order));
            let Some(next) = listed.next else { break };
            page.before = next;
        }
        let (mut refunds, mut page) = (Vec::new(), Page { before: i64::MAX, limit: 100 });
        loop {
            let listed = self.store.money().refunds(None, page).await.unwrap();
            refunds.extend(listed.items);
            let Some(next) = listed.next else { break };
            page.before = next;
        }
        let (mut bought, mut gone_back, mut by_itself, mut units) = (0, 0, 0, 0);
        for order in &orders {
            let is_bought = match order.state {
                OrderState::Bought(_) | OrderState::Refunding(_) | OrderState::Refunded => true,
                OrderState::Closed => false,
                OrderState::PendingPayment | OrderState::Failed => panic!("{seeds:?}: {order:?}"),
            };
            bought += if is_bought { order.total.get() } else { 0 };
            let kept = order.lines.iter().map(|line| u64::from(line.quantity - line.refunded)).sum::<u64>();
            units += if is_bought { kept } else { 0 };
        }
        for refund in refunds.iter().filter(|refund| refund.status != "refused") {
            assert_eq!(refund.status, "done", "{seeds:?}: {refund:?}");
            gone_back += refund.amount.get();
            by_itself += if refund.purpose == Purpose::Order { 0 } else { refund.amount.get() };
        }
        let (paid, refunded) = self.platform().totals();
        assert_eq!(paid, bought + by_itself, "{seeds:?}: money in = orders paid + money that goes back by itself");
        assert_eq!(refunded, gone_back, "{seeds:?}: what the platform has sent is what the shop has noted");
        assert_eq!(self.platform().paid_twice(), 0, "{seeds:?}: an order keeps the money of one payment");
        assert_eq!(
            self.store.catalogue().sku(self.sku).await.unwrap().unwrap().stock,
            UNITS - units,
            "{seeds:?}: stock"
        );
    }
}

async fn goods(store: &Store) -> (AddressId, SkuId, UserId) {
    let text = |text: &str| text.to_owned();
    let user = store.accounts().add_user("ada", "hash", None, 1).await.unwrap().unwrap().id;
    let fields = AddressFields {
        recipient: text("王小明"),
        phone: text("13800138000"),
        region: text("杭州"),
        detail: text("一号"),
        is_default: true,
    };
    let AddedAddress::Added(address) = store.accounts().add_address(user, &fields, 1).await.unwrap() else {
        panic!("no address")
    };
    let new = NewCategory { parent: None, name: text("c"), sort_order: 0 };
    let category = store.catalogue().add_category(new, 1).await.unwrap().unwrap().category_id;
    let (title, subtitle, description) = (text("茶"), String::new(), String::new());
    let new = NewProduct { category, title, subtitle, description, image_ids: Vec::new() };
    let product = store.catalogue().add_product(new, 1).await.unwrap().unwrap().product_id;
    store.catalogue().shelve(product, true).await.unwrap();
    let new = NewSku { product, attributes: Attributes::default(), price: Cents::new(100), stock: UNITS };
    let sku = store.catalogue().add_sku(new, 1).await.unwrap().unwrap().sku_id;
    (address.address_id, sku, user)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_money_is_lost_in_a_thousand_histories() {
    let keys = Arc::new([(); 2].map(|()| Signer::generate().unwrap()));
    let mut running = tokio::task::JoinSet::new();
    for first in (0..HISTORIES / OF_ONE_STORE).map(|at| at * OF_ONE_STORE) {
        let keys = keys.clone();
        let runtime = tokio::runtime::Handle::current();
        let history = async move |keys: &[String; 2]| {
            let directory = tempfile::tempdir().unwrap();
            let mut shop = Shop::new(directory.path(), keys).await;
            for seed in first..first + OF_ONE_STORE {
                shop.one_history(seed).await;
            }
            shop.check(first..first + OF_ONE_STORE).await;
            shop.platform().seen
        };
        running.spawn_blocking(move || runtime.block_on(history(&keys)));
    }
    let seen = running.join_all().await;
    let total = |count: fn(&Seen) -> u32| seen.iter().map(count).sum::<u32>();
    for (what, times) in [
        ("paid", total(|seen| seen.paid)),
        ("lost", total(|seen| seen.lost)),
        ("doubled", total(|seen| seen.doubled)),
        ("in GBK", total(|seen| seen.in_gbk)),
        ("silent", total(|seen| seen.silent)),
        ("silent after it was done", total(|seen| seen.silent_after)),
        ("fund_change=N", total(|seen| seen.unmoved)),
        ("closed", total(|seen| seen.closed)),
        ("refunded", total(|seen| seen.refunded)),
    ] {
        assert!(times >= 50, "{what}: only {times} times, the histories test too little");
    }
}
