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
    ActivityId, AddressId, CategoryId, Cents, OperationId, OrderId, PaymentId, ProductId, RefundId, SessionId, SkuId,
    UserId,
    activity::{Admission, Entry as EntryWord, Rules},
    stock::{Command, Entry, Event, FailedReason, Ledger, Reservation, Term},
};
use domain::{
    LeaseName, LeaseRow, LeaseStore as _, Line, Outgoing, RefundStore as _, SaleStore as _, order_state::Happening,
};
use store::{
    Actor, AddedAddress, AddedSale, AddressFields, Begun, Billed, CartLine, CategoryPatch, Ends, Found, Goods, Ids,
    Mismatch, MockTrade, NewCategory, NewOrder, NewProduct, NewSale, NewSku, Notice, Page, Placed, ProductPatch, Realm,
    SESSION_MS, SalePatch, Settings, SkuPatch, StaffPatch, Store, StoreError, Write,
};

use crate::steps::Way;

/// How long an order waits for its payment.
const PAY_WITHIN_MS: u64 = 60_000;
/// The time of the story, epoch milliseconds.
const NOW_MS: u64 = 1_000_000;
const RULES: Rules = Rules { per_user_limit: 3, starts_at_ms: NOW_MS + 100_000, ends_at_ms: NOW_MS + 900_000 };
/// The latest writes, and the failures among them, are forgotten after this time, so that a probe is due.
const QUIET: Duration = Duration::from_millis(3_100);

/// The store, and the rows of earlier steps.
pub(crate) struct Story {
    pub(crate) store: Store,
    ids: Arc<AtomicI64>,
    user: UserId,
    session: SessionId,
    admin: UserId,
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
        // In somebody's name, so that every write also adds its entry to the audit log.
        let (admin, address) = (id(UserId::from_i64, 9), "192.0.2.1".to_owned());
        let actor = Actor { admin, username: "root".to_owned(), address, at_ms: NOW_MS };
        let store = Store::connect(url, make, settings).await.unwrap().acting(actor);
        Self {
            store,
            ids,
            user: id(UserId::from_i64, 1),
            session: id(SessionId::from_i64, 1),
            admin: id(UserId::from_i64, 1),
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
            | Write::RememberClient
            | Write::AddSession
            | Write::RotateSession
            | Write::EndSession
            | Write::EndSessions
            | Write::ChangePassword
            | Write::AddResetLink
            | Write::ResetPassword
            | Write::RemoveEnded
            | Write::AddAddress
            | Write::PutAddress
            | Write::DeleteAddress => self.account(write, way).await,
            Write::AddAdmin
            | Write::PatchAdmin
            | Write::AdmitAdmin
            | Write::AddAdminSession
            | Write::EndAdminSession
            | Write::NoteAction
            | Write::DropLetter
            | Write::ReplayLetter => self.staff(write).await,
            Write::AddCategory
            | Write::PatchCategory
            | Write::AddProduct
            | Write::PatchProduct
            | Write::Shelve
            | Write::AddSku
            | Write::PatchSku
            | Write::ChangeStock => self.catalogue(write).await,
            Write::BeginRequest | Write::KeepAnswer | Write::ForgetRequest => self.request(write).await,
            Write::AddToCart
            | Write::SetInCart
            | Write::TakeFromCart
            | Write::VoidClaim
            | Write::PlaceOrder
            | Write::MoveOrder
            | Write::Ship
            | Write::SetOrderAddress
            | Write::CloseUnpaid => self.order(write, way).await,
            Write::BeginPayment
            | Write::TakePayment
            | Write::QueryLater
            | Write::TradeClosed
            | Write::AskSoon
            | Write::NoteUnmatched
            | Write::ResolveUnmatched
            | Write::OpenMockTrade
            | Write::CloseMockTrade
            | Write::AskRefund
            | Write::DecideRefund
            | Write::RefundDone
            | Write::RefundFailed
            | Write::RetryRefund
            | Write::AddMockTrade
            | Write::MockTradeTold
            | Write::RefundMockTrade => self.money(write, way).await,
            Write::AddSale
            | Write::PatchSale
            | Write::PauseSale
            | Write::EndSale
            | Write::RestockSale
            | Write::SayEntry
            | Write::PublishAudit
            | Write::DecideOpening => self.sale(write, way).await,
            Write::TakeIn
            | Write::Park
            | Write::RetryParked
            | Write::NoteFailedTry
            | Write::RetrySoon
            | Write::DropParked
            | Write::RepeatCommands
            | Write::OutboxSent
            | Write::DrawTerm
            | Write::MoveLease
            | Write::OutboxSentBy
            | Write::RepeatLatest => self.journal(write, way).await,
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
                let added = store.accounts().add_user("Ada", "hash", Some("1"), NOW_MS).await.unwrap().unwrap();
                self.user = added.id;
                format!("{added:?}")
            }
            Write::SetPhone => debug(store.accounts().set_phone(user, Some("2")).await),
            Write::BlockUser => {
                store
                    .accounts()
                    .add_session(store.accounts().next_session().unwrap(), user, ("ends", "hash"), NOW_MS)
                    .await
                    .unwrap();
                debug(store.accounts().block_user(user, true, NOW_MS + 1).await)
            }
            Write::EnsureAdmin => debug(store.accounts().ensure_admin("root", ("hash", false), "owner", NOW_MS).await),
            Write::SetAdminPassword => debug(store.accounts().set_admin_password("root", "other", NOW_MS).await),
            Write::RememberClient => {
                let client = std::net::Ipv4Addr::LOCALHOST.into();
                debug(store.accounts().remember_client(Realm::Shoppers, user, client, NOW_MS).await)
            }
            Write::AddSession => {
                self.session = store.accounts().next_session().unwrap();
                debug(store.accounts().add_session(self.session, user, ("first", "hash"), NOW_MS).await)
            }
            Write::RotateSession if way == Way::First => {
                debug(store.accounts().rotate_session(self.session, ("first", "second"), NOW_MS).await)
            }
            // A token that was replaced earlier ends the session.
            Write::RotateSession => {
                debug(store.accounts().rotate_session(self.session, ("zero", "third"), NOW_MS).await)
            }
            Write::EndSession => {
                let session = store.accounts().next_session().unwrap();
                store.accounts().add_session(session, user, ("one", "hash"), NOW_MS).await.unwrap();
                debug(store.accounts().end_session(user, session, NOW_MS).await)
            }
            Write::EndSessions => {
                store
                    .accounts()
                    .add_session(store.accounts().next_session().unwrap(), user, ("other", "hash"), NOW_MS)
                    .await
                    .unwrap();
                debug(store.accounts().end_sessions(user, NOW_MS).await)
            }
            Write::ChangePassword => {
                let stays = store.accounts().next_session().unwrap();
                store.accounts().add_session(stays, user, ("stays", "hash"), NOW_MS).await.unwrap();
                store
                    .accounts()
                    .add_session(store.accounts().next_session().unwrap(), user, ("goes", "hash"), NOW_MS)
                    .await
                    .unwrap();
                debug(store.accounts().change_password(user, ("hash", "changed"), Some(stays), NOW_MS).await)
            }
            Write::AddResetLink => debug(store.accounts().add_reset_link(user, "link", NOW_MS).await),
            Write::ResetPassword => debug(store.accounts().reset_password(user, ("link", "reset"), NOW_MS).await),
            Write::RemoveEnded if way == Way::First => {
                store
                    .accounts()
                    .add_session(store.accounts().next_session().unwrap(), user, ("ended", "reset"), NOW_MS)
                    .await
                    .unwrap();
                debug(store.remove_ended(Ends::Sessions, NOW_MS + SESSION_MS).await)
            }
            Write::RemoveEnded => debug(store.remove_ended(Ends::KnownClients, NOW_MS + SESSION_MS).await),
            Write::AddAddress => {
                let added = store.accounts().add_address(user, &fields("Ada", false), NOW_MS).await.unwrap();
                let AddedAddress::Added(address) = &added else { panic!("{added:?}") };
                self.address = address.address_id;
                format!("{added:?}")
            }
            Write::PutAddress => debug(store.accounts().put_address(user, self.address, &fields("Eva", true)).await),
            _ => {
                let added = store.accounts().add_address(user, &fields("Bob", false), NOW_MS).await.unwrap();
                let AddedAddress::Added(address) = added else { panic!("{added:?}") };
                debug(store.accounts().delete_address(user, address.address_id).await)
            }
        }
    }

    async fn staff(&mut self, write: Write) -> String {
        let (store, admin) = (&self.store, self.admin);
        match write {
            Write::AddAdmin => {
                let added = store.accounts().add_admin("Eve", "hash", "operator", NOW_MS).await.unwrap().unwrap();
                self.admin = added.id;
                format!("{added:?}")
            }
            Write::AdmitAdmin => {
                // Tokens of hours to come are refused.
                let patch = StaffPatch::default();
                store.accounts().patch_admin(admin, 1, patch, NOW_MS + 9_000_000).await.unwrap();
                debug(store.accounts().admit_admin(admin, "hash", NOW_MS).await)
            }
            Write::AddAdminSession => debug(
                store.accounts().add_admin_session(admin, ("token", "::1"), ("hash", NOW_MS + 10_000), NOW_MS).await,
            ),
            Write::EndAdminSession => {
                let sessions = store.accounts().admin_sessions(admin, 1, NOW_MS).await.unwrap();
                debug(store.accounts().end_admin_session(admin, sessions[0].id).await)
            }
            Write::PatchAdmin => {
                let patch = StaffPatch { disabled: Some(true), ..StaffPatch::default() };
                debug(store.accounts().patch_admin(admin, 2, patch, NOW_MS + 1).await)
            }
            Write::NoteAction => {
                let state = |units: u64| serde_json::json!({ "units": units });
                debug(store.accounts().note_action(("activity", 1), state(2), state(1)).await)
            }
            Write::DropLetter => debug(store.sales().drop_letter(3, "broken", NOW_MS).await),
            _ => {
                let record = Outgoing { topic: "t".to_owned(), key: b"k".to_vec(), value: b"v".to_vec() };
                debug(store.sales().replay_letter(3, record, NOW_MS).await)
            }
        }
    }

    async fn catalogue(&mut self, write: Write) -> String {
        let store = &self.store;
        match write {
            Write::AddCategory => {
                let new = NewCategory { parent: None, name: "c".to_owned(), sort_order: 0 };
                let added = store.catalogue().add_category(new, NOW_MS).await.unwrap().unwrap();
                self.category = added.category_id;
                format!("{added:?}")
            }
            Write::PatchCategory => {
                let patch = CategoryPatch { name: Some("d".to_owned()), sort_order: Some(2) };
                debug(store.catalogue().patch_category(self.category, 1, patch).await)
            }
            Write::AddProduct => {
                let [title, subtitle, description] = ["p", "s", "d"].map(str::to_owned);
                let new = NewProduct { category: self.category, title, subtitle, description, image_ids: Vec::new() };
                let added = store.catalogue().add_product(new, NOW_MS).await.unwrap().unwrap();
                self.product = added.product_id;
                format!("{added:?}")
            }
            Write::PatchProduct => {
                let patch = ProductPatch { title: Some("q".to_owned()), ..ProductPatch::default() };
                debug(store.catalogue().patch_product(self.product, 1, patch).await)
            }
            Write::Shelve => debug(store.catalogue().shelve(self.product, true).await),
            Write::AddSku => {
                let attributes = [("颜色".to_owned(), "黑".to_owned())].into();
                let new = NewSku { product: self.product, attributes, price: Cents::new(500), stock: 100 };
                let added = store.catalogue().add_sku(new, NOW_MS).await.unwrap().unwrap();
                self.sku = added.sku_id;
                format!("{added:?}")
            }
            Write::ChangeStock => {
                let operation = id(OperationId::from_i64, 56);
                debug(store.catalogue().change_stock(self.sku, operation, (-3, "broken"), NOW_MS).await)
            }
            _ => {
                let patch = SkuPatch { price_cents: Some(Cents::new(600)), ..SkuPatch::default() };
                debug(store.catalogue().patch_sku(self.sku, 1, patch).await)
            }
        }
    }

    async fn request(&mut self, write: Write) -> String {
        let status = if write == Write::ForgetRequest { 500 } else { 200 };
        let answer = async |_| Ok::<_, StoreError>((status, "answer".to_owned()));
        let read = async |made: i64| Ok((200, made.to_string()));
        debug(self.store.once(("story", write.name()), b"body", NOW_MS, answer, read).await)
    }

    /// An order of two units.
    fn asked(&self, key: &str) -> NewOrder {
        let goods = Goods::Items([(self.sku, 2)].into());
        let request = Some((key.to_owned(), [7; 32]));
        NewOrder { user: self.user, address: self.address, goods, request, expected_total: None }
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
            Write::SetOrderAddress => {
                let order = self.placed("addressed").await;
                debug(store.set_order_address((user, order), self.address).await)
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
                store.close_unpaid(&[order], NOW_MS + PAY_WITHIN_MS).await.unwrap();
                debug(store.payment_arrived(&Self::notice(payment), NOW_MS + PAY_WITHIN_MS + 3).await)
            }
            Write::QueryLater | Write::TradeClosed => {
                let (order, _) = self.begun(write.name()).await;
                let open = self.store.open_payments(&[order], 1).await.unwrap().remove(0);
                if write == Write::TradeClosed {
                    return debug(self.store.trade_closed(open.payment).await);
                }
                debug(self.store.query_later(&open, Some(NOW_MS + 9)).await)
            }
            Write::AskSoon => {
                let (_, payment) = self.begun("billed").await;
                let row =
                    Billed { trade_no: "b".to_owned(), payment: Some(payment), amount: Cents::new(1200), refund: None };
                debug(store.compare_bill("mock", &[row], (0, 0), NOW_MS + 9).await)
            }
            Write::NoteUnmatched => {
                let (method, trade_no) = ("mock".to_owned(), "lost".to_owned());
                let (mismatch, amount) = (Mismatch::UnknownPayment, Cents::new(5));
                debug(
                    store.note_unmatched(&Found { method, trade_no, mismatch, subject_id: None, amount }, NOW_MS).await,
                )
            }
            Write::ResolveUnmatched => {
                let listed = store.unmatched(None, Page { before: i64::MAX, limit: 1 }).await.unwrap();
                debug(store.resolve_unmatched(listed.items[0].id, "found", NOW_MS).await)
            }
            Write::OpenMockTrade | Write::CloseMockTrade => {
                let [trade_no, notify_url] = ["open", "http://localhost"].map(str::to_owned);
                let payment = id(PaymentId::from_i64, 7_777);
                let trade = MockTrade { payment, trade_no, amount: Cents::new(1), notify_url, tries: 0 };
                if write == Write::OpenMockTrade {
                    return debug(store.open_mock_trade(&trade).await);
                }
                debug(store.close_mock_trade(payment).await)
            }
            Write::AskRefund => debug(store.ask_refund((user, order), "broken", NOW_MS + 3).await),
            Write::DecideRefund if way == Way::First => debug(store.decide_refund(order, true, NOW_MS + 4).await),
            Write::DecideRefund => {
                let order = self.paid("kept").await;
                store.ask_refund((user, order), "late", NOW_MS + 3).await.unwrap();
                debug(store.decide_refund(order, false, NOW_MS + 4).await)
            }
            Write::RefundFailed => {
                let due = store.due_refunds(&["mock"], 10).await.unwrap();
                debug(store.refund_failed(&due[0], "refused", Some(NOW_MS + 5)).await)
            }
            Write::RetryRefund => {
                let due = store.due_refunds(&["mock"], 10).await.unwrap();
                debug(store.retry_refund(due[0].refund, NOW_MS + 5).await)
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
        let new = NewSale {
            title,
            sku: self.sku,
            price: Cents::new(100),
            stock: 10,
            rules: RULES,
            admission,
            pay_within_ms: None,
            is_draft: false,
        };
        let added = self.store.sales().add_sale(new, NOW_MS).await.unwrap();
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
                debug(store.sales().patch_sale(activity, 1, patch, NOW_MS).await)
            }
            Write::PauseSale => debug(store.sales().pause_sale(activity, true, NOW_MS).await),
            Write::EndSale if way == Way::First => {
                debug(store.sales().end_sale(activity, RULES.starts_at_ms + 50).await)
            }
            // One whose ledger was never opened.
            Write::EndSale => {
                let activity = self.added_sale("second").await;
                debug(store.sales().end_sale(activity, NOW_MS + 50).await)
            }
            Write::RestockSale => {
                let operation = id(OperationId::from_i64, 55);
                debug(store.sales().restock_sale(activity, operation, 5, RULES.starts_at_ms).await)
            }
            Write::PublishAudit => debug(store.sales().publish_audit(activity, true).await),
            Write::SayEntry => debug(store.sales().say_entry(activity, &[self.user], EntryWord::Blocked).await),
            _ => debug(store.sales().decide_opening(activity, NOW_MS).await),
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

    /// The start of a second term behind `entries`.
    fn started(entries: &[Entry]) -> Line {
        let entry = Entry { term: Term(2), event: Event::TermStarted { nonce: 1 }, ..entries[2] };
        Line { offset: 4, entry }
    }

    async fn journal(&mut self, write: Write, way: Way) -> String {
        let now_ms = RULES.starts_at_ms + 10;
        let (store, user) = (&self.store, self.user);
        let entries = Self::entries(self.activity, user);
        let lines = Line::in_order(&entries);
        let parked = id(ActivityId::from_i64, 7_000);
        let waiting = Line::in_order(&Self::entries(parked, user));
        match (write, way) {
            (Write::TakeIn, Way::First) => debug(store.take_in(&lines[..2], now_ms).await),
            (Write::TakeIn, Way::Second) => debug(store.take_in(&lines[2..], now_ms).await),
            // A new term of the ledger, which has not recovered yet.
            (Write::TakeIn, Way::Mark) => debug(store.take_in(&[Self::started(&entries)], now_ms).await),
            // An order of the old term, which waits until the new one has recovered.
            (Write::TakeIn, Way::Promise) => {
                let Event::Held(reservation) = entries[1].event else { panic!("{entries:?}") };
                let reservation = Reservation { order: id(OrderId::from_i64, 910_001), ..reservation };
                let lost = Entry { seq: 4, event: Event::Held(reservation), ..entries[2] };
                debug(store.take_in(&[Line { offset: 5, entry: lost }], now_ms).await)
            }
            // An order of the old term that the new one could not hold again.
            (Write::TakeIn, Way::FailedPromise) => {
                let Event::Held(reservation) = entries[1].event else { panic!("{entries:?}") };
                let reservation = Reservation { order: id(OrderId::from_i64, 910_002), ..reservation };
                let event = Event::PromiseFailed { reservation, reason: FailedReason::SoldOut };
                let failed = Entry { event, ..Self::started(&entries).entry };
                debug(store.take_in(&[Line { offset: 6, entry: failed }], now_ms).await)
            }
            // Of a sale that is parked.
            (Write::TakeIn, _) => {
                store.take_in(&waiting[1..], now_ms).await.unwrap();
                String::new()
            }
            (Write::DrawTerm, _) => debug(store.sales().next_term(Term(7), Some(0)).await),
            (Write::MoveLease, _) => {
                let to = LeaseRow { holder: 5, fencing_number: 1, ..LeaseRow::default() };
                debug(store.move_lease(LeaseName::Refunder, LeaseRow::default(), to).await.map_err(StoreError::Sale))
            }
            (Write::OutboxSentBy, _) => debug(store.outbox_sent_by(&[1, 2, 3], 0).await.map_err(StoreError::Sale)),
            (Write::RepeatLatest, _) => {
                let repeated = debug(store.repeat_latest(0).await.map_err(StoreError::Sale));
                // The repetition does not wait for a COMMIT that is still under way.
                tokio::time::sleep(Duration::from_secs(1)).await;
                repeated
            }
            (Write::Park, _) => debug(store.park(parked, "refused", &waiting[..1], (now_ms, now_ms + 5)).await),
            (Write::NoteFailedTry, _) => debug(store.note_failed_try(parked, "again", now_ms + 9).await),
            (Write::RetrySoon, _) => debug(store.sales().retry_soon(parked, now_ms).await),
            (Write::DropParked, _) => debug(store.sales().drop_parked(parked, "broken").await),
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
