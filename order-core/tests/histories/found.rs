//! Money of which no notice comes, one case at a time.

use store::Order;

use super::*;

/// The platform makes no trade of some of the visits to its page.
const VISITS: u32 = 40;

impl Shop {
    /// An order with a trade at the platform that waits for its buyer.
    async fn order_with_trade(&self) -> Order {
        self.platform().begin(1, Faults::SOME);
        self.platform().recovers();
        let goods = Goods::Items([(self.sku, 1)].into());
        let new = NewOrder { user: self.user, address: self.address, goods, request: None, expected_total: None };
        let placed = self.store.orders().place_order(&new, self.clock.now_ms()).await.unwrap();
        let Placed::Placed(order) = placed else { panic!("{placed:?}") };
        for _ in 0..VISITS {
            self.opens_page(order.id, MOCK).await;
        }
        order
    }

    /// An order whose buyer has paid. The notice is lost.
    async fn order_with_lost_notice(&self) -> Order {
        let order = self.order_with_trade().await;
        self.buyer_pays_unheard();
        assert_eq!(self.platform().totals(), (order.total.get(), 0));
        assert_eq!(self.state(order.id).await, OrderState::PendingPayment);
        order
    }

    fn buyer_pays_unheard(&self) {
        let now_ms = self.clock.now_ms();
        self.platform().buyer_pays(now_ms);
        while self.platform().next_notice().is_some() {}
    }

    async fn state(&self, order: OrderId) -> OrderState {
        self.store.orders().order(self.user, order).await.unwrap().unwrap().state
    }
}

const PAID: OrderState = OrderState::Bought(domain::order_state::Fulfilment::Paid);

async fn shop() -> (tempfile::TempDir, Shop) {
    let directory = tempfile::tempdir().unwrap();
    let keys = [(); 2].map(|()| Signer::generate().unwrap());
    let shop = Shop::new(directory.path(), &keys).await;
    (directory, shop)
}

#[tokio::test]
async fn an_order_that_is_paid_at_the_platform_is_not_closed() {
    let (_directory, shop) = shop().await;
    let order = shop.order_with_lost_notice().await;
    shop.clock.advance(order.expires_at_ms - shop.clock.now_ms());
    shop.deadline(order.id).await;
    assert_eq!(shop.state(order.id).await, PAID);
}

#[tokio::test]
async fn money_is_found_long_before_the_deadline() {
    let (_directory, shop) = shop().await;
    let order = shop.order_with_lost_notice().await;
    shop.clock.advance(store::FIRST_QUERY_MS - 1);
    assert!(!shop.watch.look().await.unwrap(), "the notice may still come");
    shop.clock.advance(1);
    assert!(shop.watch.look().await.unwrap());
    assert_eq!(shop.state(order.id).await, PAID);
}

#[tokio::test]
async fn nobody_can_pay_an_order_that_was_cancelled() {
    let (_directory, shop) = shop().await;
    let order = shop.order_with_trade().await;
    shop.store.orders().move_order(order.id, Some(shop.user), Happening::Close, shop.clock.now_ms()).await.unwrap();
    assert!(shop.watch.look().await.unwrap(), "the trade is closed at once");
    shop.buyer_pays_unheard();
    assert_eq!(shop.platform().totals(), (0, 0));
    assert_eq!(shop.store.money().open_payments(&[order.id], 10).await.unwrap(), []);
}

/// The buyer pays after the question and before the trade is closed.
#[tokio::test]
async fn money_that_comes_while_its_trade_is_being_closed_goes_back() {
    let (_directory, mut shop) = shop().await;
    let order = shop.order_with_trade().await;
    shop.store.orders().move_order(order.id, Some(shop.user), Happening::Close, shop.clock.now_ms()).await.unwrap();
    shop.platform().pays_before_close();
    assert!(shop.watch.look().await.unwrap());
    assert_eq!(shop.platform().totals(), (order.total.get(), 0));
    shop.sends_refunds().await;
    assert_eq!(shop.platform().totals(), (order.total.get(), order.total.get()));
    assert_eq!(shop.state(order.id).await, OrderState::Closed);
}

#[tokio::test]
async fn a_trade_of_an_order_that_timed_out_is_closed_once_the_platform_answers() {
    let (_directory, shop) = shop().await;
    let order = shop.order_with_trade().await;
    shop.clock.advance(order.expires_at_ms - shop.clock.now_ms());
    shop.platform().begin(1, Faults::SILENT);
    shop.deadline(order.id).await;
    assert_eq!(shop.state(order.id).await, OrderState::Closed, "a platform that is silent holds up nothing");
    assert_eq!(shop.store.money().open_payments(&[order.id], 10).await.unwrap().len(), 1);
    shop.platform().recovers();
    assert!(shop.watch.look().await.unwrap(), "it is asked again at once");
    assert_eq!(shop.store.money().open_payments(&[order.id], 10).await.unwrap(), []);
}
