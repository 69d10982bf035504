//! Refunds that can't be sent hold up no other.

use std::sync::{Arc, Mutex, atomic::AtomicI64};

use contract::{Cents, SkuId};
use domain::{DueRefund, RefundStore as _};
use store::{
    AddedAddress, AddressFields, Arrived, AskedRefund, Begun, Goods, Ids, NewOrder, Notice, Placed, Settings, Store,
};

use support::START_MS;

use super::*;
use crate::{PayBack, Refunder};

/// Refunds that can't be sent. More than the worker sends in one step.
const UNSENDABLE: usize = 25;

/// A platform with a configurable set of refunds that it refuses.
#[derive(Debug, Clone, Default)]
struct Platform {
    refused: Arc<Mutex<Vec<DueRefund>>>,
    sent: Arc<Mutex<Vec<DueRefund>>>,
}

impl PayBack for Platform {
    fn methods(&self) -> Vec<&'static str> {
        vec!["mock"]
    }

    async fn pay_back(&self, due: &DueRefund, _: u64) -> Result<(), String> {
        if due.amount == Cents::new(100) {
            self.refused.lock().unwrap().push(due.clone());
            return Err("the trade is too old".to_owned());
        }
        self.sent.lock().unwrap().push(due.clone());
        Ok(())
    }
}

/// A shop with one SKU at 100 cents, in which orders are paid and their refunds approved.
struct Shop {
    _directory: tempfile::TempDir,
    store: Store,
    user: UserId,
    address: contract::AddressId,
}

impl Shop {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let last = AtomicI64::new(1_000_000);
        let ids = Ids::new(move || Ok::<_, String>(last.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let store = Store::open(&directory.path().join("mall.db"), ids, Settings::new(PAY_WITHIN_MS)).await.unwrap();
        let new = store::NewCategory { parent: None, name: "c".to_owned(), sort_order: 0 };
        let category = store.catalogue().add_category(new, 1).await.unwrap().unwrap().category_id;
        let text = |text: &str| text.to_owned();
        let new = store::NewProduct {
            category,
            title: text("p"),
            subtitle: text(""),
            description: text(""),
            image_ids: Vec::new(),
        };
        let product = store.catalogue().add_product(new, 1).await.unwrap().unwrap().product_id;
        let attributes = store::Attributes::default();
        let new = store::NewSku { product, attributes, price: Cents::new(100), stock: 1000 };
        store.catalogue().add_sku(new, 1).await.unwrap().unwrap();
        store.catalogue().shelve(product, true).await.unwrap();
        let user = store.accounts().add_user("ada", "hash", None, 1).await.unwrap().unwrap().id;
        let fields = AddressFields {
            recipient: text("王小明"),
            phone: text("13800138000"),
            region: text("杭州"),
            detail: text("一号"),
            is_default: true,
        };
        let AddedAddress::Added(address) = store.accounts().add_address(user, &fields, 1).await.unwrap() else {
            panic!("no address");
        };
        Self { _directory: directory, store, user, address: address.address_id }
    }

    /// An order of `units`, whose refund is approved.
    async fn to_be_refunded(&self, units: u32) {
        let (store, user, now_ms) = (&self.store, self.user, START_MS);
        let sku = SkuId::from_i64(1_000_002).unwrap();
        let goods = Goods::Items([(sku, units)].into());
        let new = NewOrder { user, address: self.address, goods, request: None, expected_total: None };
        let placed = store.orders().place_order(&new, now_ms).await.unwrap();
        let Placed::Placed(order) = placed else { panic!("{placed:?}") };
        let begun = store.money().begin_payment((user, order.id), "mock", now_ms).await.unwrap();
        let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
        let trade_no = payment.id.to_string();
        let notice = Notice { method: "mock", payment: payment.id, trade_no, amount: payment.amount };
        assert_eq!(store.money().payment_arrived(&notice, now_ms).await.unwrap(), Arrived::Paid);
        assert!(matches!(store.money().ask_refund((user, order.id), "", now_ms).await.unwrap(), AskedRefund::Asked(_)));
        store.money().decide_refund(order.id, true, now_ms).await.unwrap();
    }
}

#[tokio::test]
async fn refunds_that_cannot_be_sent_hold_up_no_other() {
    let shop = Shop::new().await;
    for _ in 0..UNSENDABLE {
        shop.to_be_refunded(1).await;
    }
    shop.to_be_refunded(3).await;
    let (platform, clock) = (Platform::default(), HandClock::new());
    let mut refunder = Refunder::new(shop.store.clone(), platform.clone(), clock.clone());
    for _ in 0..2 {
        // A step that finds nothing due waits for the clock, which stands still.
        drop(tokio::time::timeout(std::time::Duration::from_secs(30), refunder.step()).await);
    }
    let sent: Vec<Cents> = platform.sent.lock().unwrap().iter().map(|due| due.amount).collect();
    assert_eq!(sent, [Cents::new(300)]);
}

/// A refund that fails is tried again at its time and not before, and is parked after its last try.
#[tokio::test]
async fn a_refund_that_always_fails_waits_longer_each_time_and_is_parked() {
    const TRIES: usize = 20;
    let shop = Shop::new().await;
    shop.to_be_refunded(1).await;
    let (platform, clock) = (Platform::default(), HandClock::new());
    let counted = Arc::new(Mutex::new(Vec::new()));
    let report = counted.clone();
    let refunder = Refunder::new(shop.store.clone(), platform.clone(), clock.clone());
    let mut refunder = refunder.reporting(move |parked| report.lock().unwrap().push(parked));
    let tries = || platform.refused.lock().unwrap().len();
    let mut pause_ms = 0;
    for at in 1..=TRIES {
        refunder.step().await.unwrap();
        assert_eq!(tries(), at);
        let due = shop.store.due_refunds(&["mock"], 10).await.unwrap();
        let Some(due) = due.first() else { break };
        let longer_ms = due.next_try_at_ms - clock.now_ms();
        assert!(longer_ms > pause_ms || longer_ms == 3_600_000, "try {at}: {longer_ms} after {pause_ms}");
        pause_ms = longer_ms;
        // A step that sends another refund a millisecond too early does not try this one.
        clock.advance(pause_ms - 1);
        shop.to_be_refunded(3).await;
        refunder.step().await.unwrap();
        assert_eq!((tries(), platform.sent.lock().unwrap().len()), (at, at));
        clock.advance(1);
    }
    assert_eq!(tries(), TRIES);
    assert_eq!(shop.store.parked_refunds().await.unwrap(), 1);
    clock.advance(3_600_000);
    shop.to_be_refunded(3).await;
    refunder.step().await.unwrap();
    assert_eq!((tries(), counted.lock().unwrap().last().copied()), (TRIES, Some(1)), "an admin decides");
}
