//! Money on a real database: each payment is decided once, in whatever number and order its notices arrive.

use contract::{Cents, OrderId, PaymentId, RefundId, UserId};
use domain::*;
use sqlx::Row;
use tokio::task::JoinSet;

use super::{
    Place,
    shop::{Buyer, asks, buyer, place_one, stock},
};
use crate::*;
use domain::{conformance::Fixture, order_state::*};

/// Pairs of a payment and a deadline that meet.
const PAIRS: i64 = 10_000;
/// Of them, on a server that is asked over a socket.
const PAIRS_FAR: i64 = 500;

const METHODS: [&str; 2] = ["mock", "alipay"];

async fn begun(store: &Store, buyer: Buyer, order: &Order) -> Payment {
    begun_by(store, buyer, order, "mock").await
}

async fn begun_by(store: &Store, buyer: Buyer, order: &Order, method: &str) -> Payment {
    let begun = store.money().begin_payment((buyer.0, order.id), method, 6).await.unwrap();
    let Begun::Begun(payment) = begun else { panic!("{begun:?}") };
    payment
}

fn notice(payment: &Payment, trade_no: &str) -> Notice {
    Notice { method: "mock", payment: payment.id, trade_no: trade_no.to_owned(), amount: payment.amount }
}

async fn arrived(store: &Store, payment: &Payment, trade_no: &str) -> Arrived {
    arrived_by(store, payment, "mock", trade_no).await
}

async fn arrived_by(store: &Store, payment: &Payment, method: &'static str, trade_no: &str) -> Arrived {
    store.money().payment_arrived(&Notice { method, ..notice(payment, trade_no) }, 7).await.unwrap()
}

async fn state(store: &Store, user: UserId, order: OrderId) -> OrderState {
    store.orders().order(user, order).await.unwrap().unwrap().state
}

super::cases! {
    what_is_told_a_hundred_times_counts_once => replays,
    money_that_does_not_fit_changes_nothing => misfits,
    late_money_is_held_again_or_goes_back => late,
    money_goes_back_when_the_shop_says_so => backs,
    only_its_own_refund_moves_an_order => own_refunds,
    a_closed_order_is_replaced_once => replacements,
    refunds_never_exceed_their_payment => bounds,
    money_that_only_the_bill_has_is_asked_about => billed,
    the_mock_refunds_a_trade_once => mock_refunds,
    rows_of_earlier_versions_are_filled => backfill,
    payment_and_deadline_decide_each_order_once => races,
}

async fn replays(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = place_one(&store, &asks(ada, 2, None)).await;
    let payment = begun(&store, ada, &order).await;
    assert_eq!(begun(&store, ada, &order).await, payment, "it waits already");
    assert_eq!(payment.amount, Cents::new(200));
    let before = store.outbox(100).await.unwrap().len();
    let mut telling = JoinSet::new();
    for _ in 0..100 {
        let (store, notice) = (store.clone(), notice(&payment, "t1"));
        telling.spawn(async move { store.money().payment_arrived(&notice, 7).await.unwrap() });
    }
    let answers = telling.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == Arrived::Paid).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Arrived::Again).count(), 99);
    assert_eq!(state(&store, ada.0, order.id).await, OrderState::Bought(Fulfilment::Paid));
    assert_eq!(store.outbox(100).await.unwrap().len(), before + 1, "the log hears of it once");
    let again = store.money().begin_payment((ada.0, order.id), "mock", 8).await.unwrap();
    assert_eq!(again, Begun::Refused(OrderState::Bought(Fulfilment::Paid)));
}

async fn misfits(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    let (first, second) = (place_one(&store, &asks(ada, 1, None)).await, place_one(&store, &asks(ada, 1, None)).await);
    let (one, two) = (begun(&store, ada, &first).await, begun(&store, ada, &second).await);
    assert_eq!(store.money().begin_payment((bob.0, first.id), "mock", 6).await.unwrap(), Begun::Unknown);
    let cheap = Notice { amount: Cents::new(99), ..notice(&one, "t1") };
    assert_eq!(store.money().payment_arrived(&cheap, 7).await.unwrap(), Arrived::WrongAmount);
    let nobodys = Notice { payment: PaymentId::from_i64(1).unwrap(), ..notice(&one, "t1") };
    assert_eq!(store.money().payment_arrived(&nobodys, 7).await.unwrap(), Arrived::Unknown);
    assert_eq!(state(&store, ada.0, first.id).await, OrderState::PendingPayment);
    assert_eq!(arrived(&store, &one, "t1").await, Arrived::Paid);
    assert_eq!(arrived(&store, &one, "t2").await, Arrived::OtherTrade, "the payment has its money");
    assert_eq!(arrived(&store, &two, "t1").await, Arrived::OtherTrade, "the money has its payment");
    assert_eq!(state(&store, ada.0, second.id).await, OrderState::PendingPayment);
    assert_eq!(store.money().begin_payment((ada.0, second.id), "mock", second.expires_at_ms).await.unwrap(), {
        Begun::Refused(OrderState::PendingPayment)
    });
    // Paid twice by two ways: the second goes back.
    let third = place_one(&store, &asks(ada, 1, None)).await;
    let other_way = begun_by(&store, ada, &third, "alipay").await;
    let way = begun(&store, ada, &third).await;
    // A notice of another method does not count.
    assert_eq!(arrived(&store, &other_way, "t4").await, Arrived::Unknown);
    assert_eq!(arrived_by(&store, &way, "alipay", "t3").await, Arrived::Unknown);
    assert_eq!(state(&store, ada.0, third.id).await, OrderState::PendingPayment);
    assert_eq!(arrived(&store, &way, "t3").await, Arrived::Paid);
    assert!(matches!(arrived_by(&store, &other_way, "alipay", "t4").await, Arrived::GoesBack(_)));
    assert_eq!(store.due_refunds(&METHODS, 10).await.unwrap().len(), 1);
    // Without Alipay it is not due, and holds up no other refund.
    assert_eq!(store.due_refunds(&["mock"], 10).await.unwrap(), []);
    assert_eq!(store.due_refunds(&[], 10).await.unwrap(), []);
    let not_by = async |methods: &[&str]| store.money().refunds_not_by(methods).await.unwrap();
    assert_eq!((not_by(&METHODS).await, not_by(&["mock"]).await, not_by(&[]).await), (0, 1, 1));
}

async fn late(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = place_one(&store, &asks(ada, 60, None)).await;
    let other = place_one(&store, &asks(ada, 40, None)).await;
    let (payment, too_late) = (begun(&store, ada, &order).await, begun(&store, ada, &other).await);
    assert_eq!(store.close_unpaid(&[order.id, other.id], order.expires_at_ms).await.unwrap(), 2);
    let Arrived::HeldAgain(held) = arrived(&store, &payment, "t1").await else { panic!("not held") };
    assert_eq!(state(&store, ada.0, order.id).await, OrderState::Closed);
    let paid = store.orders().order(ada.0, held).await.unwrap().unwrap();
    assert_eq!((paid.state, &paid.lines), (OrderState::Bought(Fulfilment::Paid), &order.lines));
    assert_eq!((paid.total, stock(&store).await), (order.total, 40));
    assert_eq!(arrived(&store, &payment, "t1").await, Arrived::Again);

    place_one(&store, &asks(ada, 1, None)).await;
    let Arrived::GoesBack(refund) = arrived(&store, &too_late, "t2").await else { panic!("held") };
    assert_eq!(stock(&store).await, 39);
    let due = store.due_refunds(&METHODS, 10).await.unwrap();
    assert_eq!((due.len(), due[0].refund, due[0].trade_no.as_str(), due[0].amount), (1, refund, "t2", other.total));
    store.refund_done(&due[0], 8).await.unwrap();
    store.refund_done(&due[0], 8).await.unwrap();
    assert_eq!(store.due_refunds(&METHODS, 10).await.unwrap(), []);
    assert_eq!(state(&store, ada.0, other.id).await, OrderState::Closed);
    assert_eq!(arrived(&store, &too_late, "t2").await, Arrived::Again);
}

async fn backs(place: &Place) {
    let store = place.fresh().await;
    let (ada, bob) = (buyer(&store, "ada").await, buyer(&store, "bob").await);
    let order = place_one(&store, &asks(ada, 10, None)).await;
    let ask = async |user| store.money().ask_refund((user, order.id), "too big", 8).await.unwrap();
    assert_eq!(ask(ada.0).await, AskedRefund::Refused(OrderState::PendingPayment));
    arrived(&store, &begun(&store, ada, &order).await, "t1").await;
    assert_eq!(ask(bob.0).await, AskedRefund::Unknown);
    assert!(matches!(ask(ada.0).await, AskedRefund::Asked(_)));
    let refunding = OrderState::Refunding(Fulfilment::Paid);
    assert_eq!(ask(ada.0).await, AskedRefund::Refused(refunding));
    assert_eq!(store.due_refunds(&METHODS, 10).await.unwrap(), [], "the shop has not decided");
    let back = Moved::To(OrderState::Bought(Fulfilment::Paid));
    assert_eq!(store.money().decide_refund(order.id, false, 9).await.unwrap(), back);
    assert!(matches!(ask(ada.0).await, AskedRefund::Asked(_)));
    assert_eq!(store.money().decide_refund(order.id, true, 9).await.unwrap(), Moved::To(refunding));
    assert_eq!(
        store.money().decide_refund(order.id, false, 9).await.unwrap(),
        Moved::Refused(refunding),
        "it is decided"
    );
    assert_eq!(state(&store, ada.0, order.id).await, refunding, "the money is on its way");
    let due = store.due_refunds(&METHODS, 10).await.unwrap();
    assert_eq!((due.len(), due[0].amount), (1, order.total));
    store.refund_done(&due[0], 10).await.unwrap();
    assert_eq!((state(&store, ada.0, order.id).await, stock(&store).await), (OrderState::Refunded, 100));
    store.refund_done(&due[0], 10).await.unwrap();
    assert_eq!(stock(&store).await, 100);
    assert_eq!(store.money().decide_refund(order.id, true, 9).await.unwrap(), Moved::Refused(OrderState::Refunded));
}

/// An order is paid twice. The second payment is refunded automatically and does not change the order. The buyer's
/// request refunds the payment that paid the order.
async fn own_refunds(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    // The payment that pays the order is the younger one in the first round, and the older one in the second.
    for (round, [own_method, other_method]) in [["mock", "alipay"], ["alipay", "mock"]].into_iter().enumerate() {
        let order = place_one(&store, &asks(ada, 10, None)).await;
        let older = begun_by(&store, ada, &order, "alipay").await;
        let younger = begun_by(&store, ada, &order, "mock").await;
        let (own, twice) = if own_method == "mock" { (younger, older) } else { (older, younger) };
        assert_eq!(arrived_by(&store, &own, own_method, &format!("own {round}")).await, Arrived::Paid);
        let came_twice = arrived_by(&store, &twice, other_method, &format!("twice {round}")).await;
        let Arrived::GoesBack(goes_back) = came_twice else { panic!("{came_twice:?}") };
        let AskedRefund::Asked(asked) = store.money().ask_refund((ada.0, order.id), "too big", 8).await.unwrap() else {
            panic!("not asked");
        };
        let due = store.due_refunds(&METHODS, 10).await.unwrap();
        assert_eq!(due.iter().map(|due| (due.refund, due.payment)).collect::<Vec<_>>(), [(goes_back, twice.id)]);
        store.refund_done(&due[0], 9).await.unwrap();
        let refunding = OrderState::Refunding(Fulfilment::Paid);
        assert_eq!(state(&store, ada.0, order.id).await, refunding, "its own payment is not refunded yet");
        assert_eq!(stock(&store).await, 90);
        assert_eq!(store.money().decide_refund(order.id, true, 10).await.unwrap(), Moved::To(refunding));
        let due = store.due_refunds(&METHODS, 10).await.unwrap();
        assert_eq!(due.iter().map(|due| (due.refund, due.payment)).collect::<Vec<_>>(), [(asked, own.id)]);
        store.refund_done(&due[0], 11).await.unwrap();
        assert_eq!((state(&store, ada.0, order.id).await, stock(&store).await), (OrderState::Refunded, 100));
        assert_eq!(store.due_refunds(&METHODS, 10).await.unwrap(), []);
    }
}

/// Two payments arrive for a closed order, in sequence and concurrently: the order is replaced once, and the other
/// payment is refunded.
async fn replacements(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    for round in 0..20 {
        let order = place_one(&store, &asks(ada, 2, None)).await;
        let payments =
            [("alipay", begun_by(&store, ada, &order, "alipay").await), ("mock", begun(&store, ada, &order).await)];
        assert_eq!(store.close_unpaid(&[order.id], order.expires_at_ms).await.unwrap(), 1);
        let mut coming = JoinSet::new();
        for (method, payment) in &payments {
            let notice = Notice { method, ..notice(payment, &format!("{round} {}", payment.id)) };
            let store = store.clone();
            let come = async move { (notice.payment, store.money().payment_arrived(&notice, 7).await.unwrap()) };
            if round % 2 == 0 {
                coming.spawn(come);
            } else {
                let come = come.await;
                coming.spawn(std::future::ready(come));
            }
        }
        let (mut replaced, mut back) = (Vec::new(), Vec::new());
        for (payment, arrived) in coming.join_all().await {
            match arrived {
                Arrived::HeldAgain(again) => replaced.push((payment, again)),
                Arrived::GoesBack(refund) => back.push((payment, refund)),
                other @ (Arrived::Paid
                | Arrived::Again
                | Arrived::Unknown
                | Arrived::WrongAmount
                | Arrived::OtherTrade) => panic!("{other:?}"),
            }
        }
        let ([(_, again)], [(twice, refund)]) = (&replaced[..], &back[..]) else {
            panic!("round {round}: {replaced:?} {back:?}");
        };
        assert_eq!(stock(&store).await, 98, "round {round}");
        let due = store.due_refunds(&METHODS, 10).await.unwrap();
        assert_eq!(due.iter().map(|due| (due.refund, due.payment)).collect::<Vec<_>>(), [(*refund, *twice)]);
        store.refund_done(&due[0], 8).await.unwrap();
        assert_eq!(state(&store, ada.0, order.id).await, OrderState::Closed);
        assert_eq!(state(&store, ada.0, *again).await, OrderState::Bought(Fulfilment::Paid));
        // A refund of the new order returns the payment that replaced the closed one.
        assert!(matches!(store.money().ask_refund((ada.0, *again), "", 9).await.unwrap(), AskedRefund::Asked(_)));
        store.money().decide_refund(*again, true, 9).await.unwrap();
        let due = store.due_refunds(&METHODS, 10).await.unwrap();
        assert_eq!(due.iter().map(|due| due.payment).collect::<Vec<_>>(), [replaced[0].0]);
        store.refund_done(&due[0], 10).await.unwrap();
        assert_eq!((state(&store, ada.0, *again).await, stock(&store).await), (OrderState::Refunded, 100));
    }
}

async fn bounds(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = place_one(&store, &asks(ada, 10, None)).await;
    let payment = begun(&store, ada, &order).await;
    assert_eq!(arrived(&store, &payment, "t1").await, Arrived::Paid);
    let query = sqlx::query(
        "INSERT INTO refunds (id, order_id, payment_id, status, amount_cents, reason, created_at_ms, purpose) \
         VALUES (1, ?, ?, 'approved', 1, '', 8, 'twice')",
    );
    let query = query.bind(order.id.as_i64()).bind(payment.id.as_i64());
    query.execute(store.writers()).await.unwrap();
    let ask = async || store.money().ask_refund((ada.0, order.id), "", 8).await.unwrap();
    let paid = OrderState::Bought(Fulfilment::Paid);
    assert_eq!(ask().await, AskedRefund::Refused(paid), "a cent is refunded already");
    assert_eq!(state(&store, ada.0, order.id).await, paid);
    sqlx::query("UPDATE refunds SET status = 'refused'").execute(store.writers()).await.unwrap();
    assert!(matches!(ask().await, AskedRefund::Asked(_)));
}

async fn mock_refunds(place: &Place) {
    let store = place.fresh().await;
    let payment = PaymentId::from_i64(7).unwrap();
    let (amount, refund) = (Cents::new(200), |id| (payment, RefundId::from_i64(id).unwrap()));
    let (trade_no, notify_url) = ("t1".to_owned(), "http://shop".to_owned());
    let trade = MockTrade { payment, trade_no, amount, notify_url, tries: 0 };
    assert!(!store.money().refund_mock_trade(refund(1), amount).await.unwrap(), "there is no trade yet");
    assert!(store.money().add_mock_trade(&trade, 5).await.unwrap());
    assert!(!store.money().refund_mock_trade(refund(1), Cents::new(201)).await.unwrap());
    for _ in 0..3 {
        assert!(store.money().refund_mock_trade(refund(1), amount).await.unwrap(), "the same refund again");
        assert!(!store.money().refund_mock_trade(refund(2), amount).await.unwrap(), "a second refund");
    }
}

/// Runs the updates of the migration again, over rows as earlier versions wrote them.
async fn backfill(place: &Place) {
    let store = place.fresh().await;
    let reason = "there was nothing to be paid any more";
    let orders = [
        (1, "paid"),
        (2, "refunding"),
        (3, "closed"),
        (4, "refunded"),
        (5, "shipped"),
        (6, "refunding"),
        (7, "pending_payment"),
        (8, "paid"),
    ];
    // Order, id, status, notified_at_ms.
    let payments = [
        (1, 11, "succeeded", 7),
        (1, 12, "open", 0),
        (2, 21, "succeeded", 9),
        (2, 22, "succeeded", 8),
        (3, 31, "refunded", 7),
        (4, 41, "refunded", 7),
        (6, 61, "succeeded", 7),
        (7, 71, "open", 0),
        (8, 81, "succeeded", 7),
        (8, 82, "succeeded", 7),
    ];
    // Order, id, payment, status, reason, created_at_ms.
    let refunds = [
        (2, 201, 21, "approved", reason, 9),
        (2, 202, 21, "requested", "too big", 20),
        (3, 301, 31, "done", reason, 7),
        (4, 401, 41, "done", "too big", 20),
        (6, 601, 61, "requested", reason, 20),
    ];
    let mut tx = store.begin_test().await.unwrap();
    for (order, status) in orders {
        let query = "INSERT INTO orders (id, user_id, status, refund_from, total_cents, created_at_ms, expires_at_ms, \
                     updated_at_ms) VALUES (?, 1, ?, ?, 1, 1, 1, 1)";
        let refund_from = (status == "refunding").then_some("paid");
        sqlx::query(query).bind(order).bind(status).bind(refund_from).execute(&mut *tx).await.unwrap();
    }
    for (order, id, status, notified_at_ms) in payments {
        let query = "INSERT INTO payments (id, order_id, method, status, amount_cents, created_at_ms, notified_at_ms) \
                     VALUES (?, ?, 'mock', ?, 1, 1, ?)";
        let notified_at_ms = (notified_at_ms > 0).then_some(notified_at_ms);
        sqlx::query(query).bind(id).bind(order).bind(status).bind(notified_at_ms).execute(&mut *tx).await.unwrap();
    }
    for (order, id, payment, status, reason, at_ms) in refunds {
        let query = "INSERT INTO refunds (id, order_id, payment_id, status, amount_cents, reason, created_at_ms) \
                     VALUES (?, ?, ?, ?, 1, ?, ?)";
        let query = sqlx::query(query).bind(id).bind(order).bind(payment).bind(status).bind(reason).bind(at_ms);
        query.execute(&mut *tx).await.unwrap();
    }
    let migration = include_str!("../../migrations/20261127_0650_paid_by.sql");
    let code: Vec<&str> = migration.lines().filter(|line| !line.starts_with("--")).collect();
    for statement in code.join("\n").split(';').map(str::trim).filter(|statement| statement.starts_with("UPDATE")) {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *tx).await.unwrap();
    }
    let paid_by = sqlx::query("SELECT id, paid_by FROM orders ORDER BY id").fetch_all(&mut *tx).await.unwrap();
    let paid_by: Vec<(i64, Option<i64>)> = paid_by.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known = [(1, 11), (2, 22), (4, 41), (6, 61)];
    let known = |order| known.iter().find(|(of, _)| *of == order).map(|(_, payment)| *payment);
    assert_eq!(paid_by, (1..=8).map(|order| (order, known(order))).collect::<Vec<_>>());
    let rows =
        sqlx::query("SELECT id, purpose, payment_id FROM refunds ORDER BY id").fetch_all(&mut *tx).await.unwrap();
    let rows: Vec<(i64, String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let expected = [(201, "twice", 21), (202, "order", 22), (301, "late", 31), (401, "order", 41), (601, "order", 61)];
    assert_eq!(rows, expected.map(|(id, purpose, payment)| (id, purpose.to_owned(), payment)));
}

/// For each order, its deadline and its money come at the same time. The order is paid, or closed and then
/// held again or its money sent back; never both, never neither.
async fn races(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let pairs = if matches!(place, Place::Files(_)) { PAIRS } else { PAIRS_FAR };
    let (mut paid, mut held, mut back) = (0, 0, 0);
    let mut racing = JoinSet::new();
    for pair in 0..pairs {
        let store = store.clone();
        racing.spawn(async move {
            let order = place_one(&store, &asks(ada, 1, None)).await;
            let payment = begun(&store, ada, &order).await;
            let trade = format!("t{pair}");
            let (notice, orders) = (notice(&payment, &trade), [order.id]);
            let (closing, paying) = (
                store.close_unpaid(&orders, order.expires_at_ms),
                store.money().payment_arrived(&notice, order.expires_at_ms),
            );
            let (closed, arrived) = if pair % 2 == 0 {
                tokio::join!(closing, paying)
            } else {
                let (arrived, closed) = tokio::join!(paying, closing);
                (closed, arrived)
            };
            let (closed, arrived) = (closed.unwrap(), arrived.unwrap());
            let state = state(&store, ada.0, order.id).await;
            assert_eq!(closed == 0, arrived == Arrived::Paid, "{closed} {arrived:?}");
            assert_eq!(state == OrderState::Closed, closed == 1, "{state:?}");
            // What was bought goes off the books, so that the next pair finds stock.
            let bought = if let Arrived::HeldAgain(again) = arrived { again } else { order.id };
            if !matches!(arrived, Arrived::GoesBack(_)) {
                assert!(matches!(
                    store.money().ask_refund((ada.0, bought), "", 8).await.unwrap(),
                    AskedRefund::Asked(_)
                ));
                store.money().decide_refund(bought, true, 8).await.unwrap();
                let due = store.due_refunds(&METHODS, 1000).await.unwrap();
                for due in due.iter().filter(|due| due.payment == payment.id) {
                    store.refund_done(due, 9).await.unwrap();
                }
            }
            arrived
        });
        // As many at once as there are connections to wait for.
        while racing.len() >= 16 {
            match racing.join_next().await.unwrap().unwrap() {
                Arrived::Paid => paid += 1,
                Arrived::HeldAgain(_) => held += 1,
                Arrived::GoesBack(_) => back += 1,
                other @ (Arrived::Again | Arrived::Unknown | Arrived::WrongAmount | Arrived::OtherTrade) => {
                    panic!("{other:?}")
                }
            }
        }
    }
    racing.join_all().await;
    assert!(paid > 0 && held + back > 0, "{paid} paid, {held} held again, {back} sent back");
    assert_eq!(stock(&store).await, 100);
}

/// The platform called the trade closed, and its bill has the money all the same.
async fn billed(place: &Place) {
    let store = place.fresh().await;
    let ada = buyer(&store, "ada").await;
    let order = place_one(&store, &asks(ada, 1, None)).await;
    let payment = begun(&store, ada, &order).await;
    store.money().trade_closed(payment.id).await.unwrap();
    assert_eq!(store.money().due_queries(1_000_000, 10).await.unwrap(), []);
    let row = |amount| Billed { trade_no: "t1".to_owned(), payment: Some(payment.id), amount, refund: None };
    let compare = async |amount| store.money().compare_bill("mock", &[row(amount)], (0, 100), 50).await.unwrap();
    let compared = compare(payment.amount).await;
    assert_eq!((compared.fitting, compared.waiting, compared.unmatched), (0, 1, 0));
    let due = store.money().due_queries(50, 10).await.unwrap();
    assert_eq!(due.iter().map(|open| open.payment).collect::<Vec<_>>(), [payment.id]);
    assert_eq!(arrived(&store, &payment, "t1").await, Arrived::Paid);
    assert_eq!(compare(payment.amount).await.fitting, 1);
}
