//! A story in which every write of the store happens.
#![allow(clippy::wildcard_enum_match_arm, reason = "`step` names every write; the functions below get their own group")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use contract::{
    ActivityId, AddressId, CategoryId, Cents, OperationId, OrderId, PaymentId, ProductId, RefundId, SkuId, UserId,
    activity::{Admission, Entry as EntryWord, Rules},
    stock::{Command, Entry, Ledger, Reservation},
};
use domain::{Line, RefundStore as _, SaleStore as _, order_state::Happening};
use store::{
    AddedAddress, AddedSale, AddressFields, Begun, CartLine, CategoryPatch, Goods, Ids, MockTrade, NewCategory,
    NewOrder, NewProduct, NewSale, NewSku, Notice, Placed, ProductPatch, Realm, SalePatch, Settings, SkuPatch, Store,
    StoreError, Write,
};

use crate::steps::Way;

/// How long an order waits for its payment.
const PAY_WITHIN_MS: u64 = 60_000;
/// When the story is told, epoch milliseconds.
const NOW_MS: u64 = 1_000_000;
const RULES: Rules = Rules { per_user_limit: 3, starts_at_ms: NOW_MS + 100_000, ends_at_ms: NOW_MS + 900_000 };
/// The latest writes, and the failures among them, are forgotten after this time, so that a probe is due.
const QUIET: Duration = Duration::from_millis(3_100);

/// The store, and the rows of earlier steps.
pub(crate) struct Story {
    pub(crate) store: Store,
    ids: Arc<AtomicI64>,
    user: UserId,
    address: AddressId,
    category: CategoryId,
    product: ProductId,
    sku: SkuId,
    order: OrderId,
    payment: PaymentId,
    activity: ActivityId,
}

/// The id `number`.
fn id<T>(from: impl Fn(i64) -> Option<T>, number: i64) -> T {
    from(number).unwrap()
}

fn debug<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    format!("{:?}", result.unwrap())
}

fn fields(recipient: &str, is_default: bool) -> AddressFields {
    let [phone, region, detail] = ["1", "上海", "1 号"].map(str::to_owned);
    AddressFields { recipient: recipient.to_owned(), phone, region, detail, is_default }
}

impl Story {
    /// A store on the empty database at `url`.
    pub(crate) async fn begin(url: &str) -> Self {
        Self::begin_with(url, Settings::new(PAY_WITHIN_MS)).await
    }

    /// The same with `settings`.
    pub(crate) async fn begin_with(url: &str, settings: Settings) -> Self {
        let ids = Arc::new(AtomicI64::new(0));
        let next = ids.clone();
        let make = Ids::new(move || Ok::<_, String>(next.fetch_add(1, Ordering::Relaxed) + 1));
        let store = Store::connect(url, make, settings).await.unwrap();
        Self {
            store,
            ids,
            user: id(UserId::from_i64, 1),
            address: id(AddressId::from_i64, 1),
            category: id(CategoryId::from_i64, 1),
            product: id(ProductId::from_i64, 1),
            sku: id(SkuId::from_i64, 1),
            order: id(OrderId::from_i64, 1),
            payment: id(PaymentId::from_i64, 1),
            activity: id(ActivityId::from_i64, 1),
        }
    }

    /// Ids count from `number` on. A step has the same ids whatever has happened before.
    pub(crate) fn count_ids_from(&self, number: i64) {
        self.ids.store(number, Ordering::Relaxed);
    }

    /// Carries a step out once; what the store answers. `prepare` has run before.
    pub(crate) async fn step(&mut self, write: Write, way: Way) -> String {
        match write {
            Write::AddUser
            | Write::SetPhone
            | Write::BlockUser
            | Write::EnsureAdmin
            | Write::SetAdminPassword
            | Write::CountTry
            | Write::ForgetTries
            | Write::AddSession
            | Write::RotateSession
            | Write::EndSessions
            | Write::AddAddress
            | Write::PutAddress
            | Write::DeleteAddress => self.account(write, way).await,
            Write::AddCategory
            | Write::PatchCategory
            | Write::AddProduct
            | Write::PatchProduct
            | Write::Shelve
            | Write::AddSku
            | Write::PatchSku => self.catalogue(write).await,
            Write::BeginRequest | Write::KeepAnswer | Write::ForgetRequest => self.request(write).await,
            Write::AddToCart
            | Write::SetInCart
            | Write::TakeFromCart
            | Write::VoidClaim
            | Write::PlaceOrder
            | Write::MoveOrder
            | Write::Ship
            | Write::CloseUnpaid => self.order(write, way).await,
            Write::BeginPayment
            | Write::TakePayment
            | Write::AskRefund
            | Write::DecideRefund
            | Write::RefundDone
            | Write::AddMockTrade
            | Write::MockTradeTold
            | Write::RefundMockTrade => self.money(write, way).await,
            Write::AddSale
            | Write::PatchSale
            | Write::PauseSale
            | Write::EndSale
            | Write::RestockSale
            | Write::SayEntry
            | Write::DecideOpening => self.sale(write, way).await,
            Write::TakeIn
            | Write::Park
            | Write::RetryParked
            | Write::NoteFailedTry
            | Write::RetrySoon
            | Write::DropParked
            | Write::RepeatCommands
            | Write::OutboxSent
            | Write::DrawTerm => self.journal(write, way).await,
            Write::ProbeWrites => {
                tokio::time::sleep(QUIET).await;
                format!("{:?}", self.store.check_writable(NOW_MS + 7).await)
            }
        }
    }

    async fn account(&mut self, write: Write, way: Way) -> String {
        let (store, user) = (&self.store, self.user);
        match write {
            Write::AddUser => {
                let added = store.add_user("Ada", "hash", Some("1"), NOW_MS).await.unwrap().unwrap();
                self.user = added.id;
                format!("{added:?}")
            }
            Write::SetPhone => debug(store.set_phone(user, Some("2")).await),
            Write::BlockUser => {
                store.add_session(user, "ends", NOW_MS + 10_000, NOW_MS).await.unwrap();
                debug(store.block_user(user, true).await)
            }
            Write::EnsureAdmin => debug(store.ensure_admin("root", "hash", "owner", NOW_MS).await),
            Write::SetAdminPassword => debug(store.set_admin_password("root", "other").await),
            Write::CountTry => match way {
                Way::First => debug(store.count_try(Realm::Shoppers, user, NOW_MS).await),
                Way::Second | Way::Third => {
                    let admin = store.credentials(Realm::Admins, "root").await.unwrap().unwrap();
                    debug(store.count_try(Realm::Admins, admin.id, NOW_MS).await)
                }
            },
            Write::ForgetTries => debug(store.forget_tries(Realm::Shoppers, user).await),
            Write::AddSession => debug(store.add_session(user, "first", NOW_MS + 10_000, NOW_MS).await),
            Write::RotateSession => match way {
                Way::First => debug(store.rotate_session("first", "second", NOW_MS + 20_000, NOW_MS).await),
                // A token that was replaced ends the session.
                Way::Second | Way::Third => {
                    debug(store.rotate_session("first", "third", NOW_MS + 20_000, NOW_MS).await)
                }
            },
            Write::EndSessions => {
                store.add_session(user, "other", NOW_MS + 10_000, NOW_MS).await.unwrap();
                debug(store.end_sessions(user).await)
            }
            Write::AddAddress => {
                let added = store.add_address(user, &fields("Ada", false), NOW_MS).await.unwrap();
                let AddedAddress::Added(address) = &added else { panic!("{added:?}") };
                self.address = address.address_id;
                format!("{added:?}")
            }
            Write::PutAddress => debug(store.put_address(user, self.address, &fields("Eva", true)).await),
            _ => {
                let added = store.add_address(user, &fields("Bob", false), NOW_MS).await.unwrap();
                let AddedAddress::Added(address) = added else { panic!("{added:?}") };
                debug(store.delete_address(user, address.address_id).await)
            }
        }
    }

    async fn catalogue(&mut self, write: Write) -> String {
        let store = &self.store;
        match write {
            Write::AddCategory => {
                let new = NewCategory { parent: None, name: "c".to_owned(), sort_order: 0 };
                let added = store.add_category(new, NOW_MS).await.unwrap().unwrap();
                self.category = added.category_id;
                format!("{added:?}")
            }
            Write::PatchCategory => {
                let patch = CategoryPatch { name: Some("d".to_owned()), sort_order: Some(2) };
                debug(store.patch_category(self.category, 1, patch).await)
            }
            Write::AddProduct => {
                let [title, subtitle, description] = ["p", "s", "d"].map(str::to_owned);
                let new = NewProduct { category: self.category, title, subtitle, description, image_ids: Vec::new() };
                let added = store.add_product(new, NOW_MS).await.unwrap().unwrap();
                self.product = added.product_id;
                format!("{added:?}")
            }
            Write::PatchProduct => {
                let patch = ProductPatch { title: Some("q".to_owned()), ..ProductPatch::default() };
                debug(store.patch_product(self.product, 1, patch).await)
            }
            Write::Shelve => debug(store.shelve(self.product, true).await),
            Write::AddSku => {
                let attributes = [("颜色".to_owned(), "黑".to_owned())].into();
                let new = NewSku { product: self.product, attributes, price: Cents::new(500), stock: 100 };
                let added = store.add_sku(new, NOW_MS).await.unwrap().unwrap();
                self.sku = added.sku_id;
                format!("{added:?}")
            }
            _ => {
                let patch = SkuPatch { price_cents: Some(Cents::new(600)), ..SkuPatch::default() };
                debug(store.patch_sku(self.sku, 1, patch).await)
            }
        }
    }

    async fn request(&mut self, write: Write) -> String {
        let status = if write == Write::ForgetRequest { 500 } else { 200 };
        let answer = async { Ok::<_, StoreError>((status, "answer".to_owned())) };
        debug(self.store.once(("story", write.name()), b"body", NOW_MS, answer).await)
    }

    /// An order of two units.
    fn asked(&self, key: &str) -> NewOrder {
        let goods = Goods::Items([(self.sku, 2)].into());
        NewOrder { user: self.user, address: self.address, goods, request: Some((key.to_owned(), [7; 32])) }
    }

    async fn placed(&self, key: &str) -> OrderId {
        let placed = self.store.place_order(&self.asked(key), NOW_MS).await.unwrap();
        let Placed::Placed(order) = placed else { panic!("{placed:?}") };
        order.id
    }

    /// A payment of a new order, which waits for its money.
    async fn begun(&self, key: &str) -> (OrderId, PaymentId) {
        let order = self.placed(key).await;
        let begun = self.store.begin_payment((self.user, order), "mock", NOW_MS + 1).await.unwrap();
        let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
        (order, payment.id)
    }

    fn notice(payment: PaymentId) -> Notice {
        let trade_no = format!("trade-{}", payment.as_i64());
        Notice { method: "mock", payment, trade_no, amount: Cents::new(1200) }
    }

    /// A new order that is paid.
    async fn paid(&self, key: &str) -> OrderId {
        let (order, payment) = self.begun(key).await;
        self.store.payment_arrived(&Self::notice(payment), NOW_MS + 2).await.unwrap();
        order
    }

    async fn order(&mut self, write: Write, way: Way) -> String {
        let (store, user) = (&self.store, self.user);
        let line = CartLine { sku: self.sku, quantity: 2, price: Cents::new(600) };
        match write {
            Write::AddToCart => debug(store.add_to_cart(user, line, NOW_MS + u64::from(way == Way::Second)).await),
            Write::SetInCart => debug(store.set_in_cart(user, CartLine { quantity: 3, ..line }, NOW_MS).await),
            Write::TakeFromCart => {
                store.add_to_cart(user, line, NOW_MS).await.unwrap();
                debug(store.take_from_cart(user, Some(&[self.sku])).await)
            }
            Write::VoidClaim => debug(store.void_claim(user, id(OrderId::from_i64, 99), 0).await),
            Write::PlaceOrder if way == Way::Second => {
                let asked = NewOrder { goods: Goods::Cart, ..self.asked("cart") };
                debug(store.place_order(&asked, NOW_MS).await)
            }
            Write::PlaceOrder => {
                let placed = store.place_order(&self.asked("items"), NOW_MS).await.unwrap();
                let Placed::Placed(order) = &placed else { panic!("{placed:?}") };
                self.order = order.id;
                format!("{placed:?}")
            }
            Write::MoveOrder => {
                let order = self.placed("moved").await;
                debug(store.move_order(order, Some(user), Happening::Close, NOW_MS + 3).await)
            }
            Write::Ship => {
                let order = self.paid("shipped").await;
                debug(store.ship(order, "{}", NOW_MS + 3).await)
            }
            _ => {
                let orders = [self.placed("late").await, self.placed("later").await];
                debug(store.close_unpaid(&orders, NOW_MS + PAY_WITHIN_MS).await)
            }
        }
    }

    async fn money(&mut self, write: Write, way: Way) -> String {
        let (store, user, order) = (&self.store, self.user, self.order);
        match write {
            Write::BeginPayment => {
                let begun = store.begin_payment((user, order), "mock", NOW_MS + 1).await.unwrap();
                let Begun::Begun(payment) = &begun else { panic!("{begun:?}") };
                self.payment = payment.id;
                format!("{begun:?}")
            }
            Write::TakePayment if way == Way::First => {
                debug(store.payment_arrived(&Self::notice(self.payment), NOW_MS + 2).await)
            }
            // The order was closed, and is replaced.
            Write::TakePayment => {
                let (order, payment) = self.begun("closed").await;
                store.move_order(order, None, Happening::Close, NOW_MS + 2).await.unwrap();
                debug(store.payment_arrived(&Self::notice(payment), NOW_MS + 3).await)
            }
            Write::AskRefund => debug(store.ask_refund((user, order), "broken", NOW_MS + 3).await),
            Write::DecideRefund if way == Way::First => debug(store.decide_refund(order, true, NOW_MS + 4).await),
            Write::DecideRefund => {
                let order = self.paid("kept").await;
                store.ask_refund((user, order), "late", NOW_MS + 3).await.unwrap();
                debug(store.decide_refund(order, false, NOW_MS + 4).await)
            }
            Write::RefundDone => {
                let due = store.due_refunds(&["mock"], 10).await.unwrap();
                debug(store.refund_done(&due[0], NOW_MS + 5).await)
            }
            Write::AddMockTrade => {
                let [trade_no, notify_url] = ["m", "http://localhost"].map(str::to_owned);
                let trade =
                    MockTrade { payment: self.payment, trade_no, amount: Cents::new(1200), notify_url, tries: 0 };
                debug(store.add_mock_trade(&trade, NOW_MS).await)
            }
            Write::MockTradeTold => debug(store.mock_trade_told(self.payment, Some(NOW_MS + 9)).await),
            _ => {
                let refund = id(RefundId::from_i64, 77);
                debug(store.refund_mock_trade((self.payment, refund), Cents::new(1200)).await)
            }
        }
    }

    async fn added_sale(&self, title: &str) -> ActivityId {
        let (title, admission) = (title.to_owned(), Admission::default());
        let new = NewSale { title, sku: self.sku, price: Cents::new(100), stock: 10, rules: RULES, admission };
        let added = self.store.add_sale(new, NOW_MS).await.unwrap();
        let AddedSale::Added(sale) = added else { panic!("{added:?}") };
        sale.activity.id
    }

    async fn sale(&mut self, write: Write, way: Way) -> String {
        let (store, activity) = (&self.store, self.activity);
        match write {
            Write::AddSale => {
                let added = self.added_sale("first").await;
                self.activity = added;
                format!("{added:?}")
            }
            Write::PatchSale => {
                let patch = SalePatch { stock: Some(20), ..SalePatch::default() };
                debug(store.patch_sale(activity, 1, patch, NOW_MS).await)
            }
            Write::PauseSale => debug(store.pause_sale(activity, true, NOW_MS).await),
            Write::EndSale if way == Way::First => debug(store.end_sale(activity, RULES.starts_at_ms + 50).await),
            // One whose ledger was never opened.
            Write::EndSale => {
                let activity = self.added_sale("second").await;
                debug(store.end_sale(activity, NOW_MS + 50).await)
            }
            Write::RestockSale => {
                let operation = id(OperationId::from_i64, 55);
                debug(store.restock_sale(activity, operation, 5, RULES.starts_at_ms).await)
            }
            Write::SayEntry => debug(store.say_entry(activity, &[self.user], EntryWord::Blocked).await),
            _ => debug(store.decide_opening(activity, NOW_MS).await),
        }
    }

    /// The journal of a sale: its opening and two orders of one user.
    fn entries(activity: ActivityId, user: UserId) -> Vec<Entry> {
        let (mut ledger, opened) = Ledger::open(activity, 10, RULES, RULES.starts_at_ms);
        let mut journal = vec![opened];
        for number in 0..2 {
            let order = id(OrderId::from_i64, 900_000 + activity.as_i64() * 10 + number);
            let reservation = Reservation { order, user, request: None, quantity: 1 };
            ledger.apply(Command::Reserve(reservation), RULES.starts_at_ms + 1, &mut journal);
        }
        journal
    }

    async fn journal(&mut self, write: Write, way: Way) -> String {
        let now_ms = RULES.starts_at_ms + 10;
        let (store, user) = (&self.store, self.user);
        let entries = Self::entries(self.activity, user);
        let parked = id(ActivityId::from_i64, 7_000);
        let waiting = Self::entries(parked, user);
        match (write, way) {
            (Write::TakeIn, Way::First) => debug(store.take_in(&Line::in_order(&entries[..2]), now_ms).await),
            (Write::TakeIn, Way::Second) => debug(store.take_in(&Line::in_order(&entries[2..]), now_ms).await),
            // Of a sale that is parked.
            (Write::TakeIn, Way::Third) => {
                store.take_in(&Line::in_order(&waiting[1..]), now_ms).await.unwrap();
                String::new()
            }
            (Write::DrawTerm, _) => debug(store.next_term(contract::stock::Term(7)).await),
            (Write::Park, _) => {
                debug(store.park(parked, "refused", &Line::in_order(&waiting[..1]), (now_ms, now_ms + 5)).await)
            }
            (Write::NoteFailedTry, _) => debug(store.note_failed_try(parked, "again", now_ms + 9).await),
            (Write::RetrySoon, _) => debug(store.retry_soon(parked, now_ms).await),
            (Write::DropParked, _) => debug(store.drop_parked(parked, "broken").await),
            (Write::RetryParked, _) => {
                store.retry_parked(parked, 10, now_ms).await.unwrap();
                String::new()
            }
            (Write::RepeatCommands, _) => {
                let order = id(OrderId::from_i64, 900_000 + self.activity.as_i64() * 10);
                store.move_order(order, None, Happening::Close, now_ms).await.unwrap();
                let repeated = debug(store.repeat_commands(None).await);
                // The repetition does not wait for a COMMIT that is still under way.
                tokio::time::sleep(Duration::from_secs(1)).await;
                repeated
            }
            _ => {
                let rows = store.outbox(10_000).await.unwrap();
                let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
                debug(store.outbox_sent(&ids).await)
            }
        }
    }
}
