//! A payment platform for tests that speaks Alipay's protocol, and errs as often as its settings say.

use std::collections::{BTreeMap, VecDeque};

use contract::{Cents, PaymentId, RefundId};
use pay::{App, Form, Signer, Verifier, cents, platform_answer, yuan};
use serde::Deserialize;
use serde_json::{Value, json};

/// A small generator of random numbers (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % max
    }
}

/// How often the platform errs, each in a hundred times.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    lost: u64,
    doubled: u64,
    in_gbk: u64,
    /// It does nothing and answers nothing.
    silent: u64,
    /// It does what was asked and answers nothing.
    silent_after: u64,
    /// It refunds and says that no money moved.
    unmoved: u64,
}

impl Faults {
    pub(crate) const SOME: Self = Self { lost: 30, doubled: 20, in_gbk: 30, silent: 15, silent_after: 15, unmoved: 60 };
    /// It answers nothing.
    pub(crate) const SILENT: Self = Self { silent: 100, ..Self::NONE };
    const NONE: Self = Self { lost: 0, doubled: 0, in_gbk: 30, silent: 0, silent_after: 0, unmoved: 0 };
}

/// What has happened.
#[derive(Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) paid: u32,
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) in_gbk: u32,
    pub(crate) silent: u32,
    pub(crate) silent_after: u32,
    pub(crate) unmoved: u32,
    pub(crate) closed: u32,
    pub(crate) refunded: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Waiting,
    Success,
    Closed,
}

struct Trade {
    status: Status,
    amount: Cents,
    trade_no: String,
    refunded: i64,
    expires_at_ms: u64,
    seed: u64,
    notify_url: String,
}

impl Trade {
    fn word(&self) -> &'static str {
        match self.status {
            Status::Waiting => "WAIT_BUYER_PAY",
            Status::Success if self.refunded == self.amount.get() => "TRADE_CLOSED",
            Status::Success => "TRADE_SUCCESS",
            Status::Closed => "TRADE_CLOSED",
        }
    }
}

#[derive(Deserialize)]
struct Biz {
    out_trade_no: PaymentId,
    #[serde(default)]
    total_amount: String,
    #[serde(default)]
    refund_amount: String,
    out_request_no: Option<RefundId>,
}

pub(crate) struct Faulty {
    app: App,
    shop: Verifier,
    signer: Signer,
    random: Random,
    faults: Faults,
    seed: u64,
    trades: BTreeMap<PaymentId, Trade>,
    refunds: BTreeMap<RefundId, (PaymentId, i64)>,
    /// Where each of them goes to, and its body.
    notices: VecDeque<(String, Vec<u8>)>,
    /// The buyer pays just before the next request to close the trade.
    pays_before_close: bool,
    pub(crate) seen: Seen,
}

impl Faulty {
    pub(crate) fn new(app: App, signer: Signer) -> Self {
        let shop = app.signer.verifier().unwrap();
        let (random, faults, seen) = (Random::new(0), Faults::NONE, Seen::default());
        let (trades, refunds, notices) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { app, shop, signer, random, faults, seed: 0, trades, refunds, notices, pays_before_close: false, seen }
    }

    pub(crate) fn begin(&mut self, seed: u64, faults: Faults) {
        (self.random, self.faults, self.seed) = (Random::new(!seed), faults, seed);
    }

    /// From now on it does not err, but for notices in GBK.
    pub(crate) fn recovers(&mut self) {
        self.faults = Faults::NONE;
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    /// A buyer has the page before them; its request is `query`.
    pub(crate) fn open_page(&mut self, query: &str, expires_at_ms: u64) {
        let form = Form::parse(query.as_bytes()).unwrap();
        assert!(form.is_request_of(&self.shop) && form.get("method") == "alipay.trade.page.pay");
        let biz: Biz = serde_json::from_str(form.get("biz_content")).unwrap();
        // Some buyers look at the page without signing in; the platform makes no trade of that.
        if self.happens(25) {
            return;
        }
        let (amount, trade_no) = (cents(&biz.total_amount).unwrap(), format!("T{}", biz.out_trade_no));
        let (seed, refunded, notify_url) = (self.seed, 0, form.get("notify_url").to_owned());
        let trade = Trade { status: Status::Waiting, amount, trade_no, refunded, expires_at_ms, seed, notify_url };
        self.trades.entry(biz.out_trade_no).or_insert(trade);
    }

    /// The buyer of the current history pays what waits.
    pub(crate) fn buyer_pays(&mut self, now_ms: u64) {
        let seed = self.seed;
        let is_payable =
            |trade: &Trade| trade.seed == seed && trade.status == Status::Waiting && now_ms < trade.expires_at_ms;
        let Some((payment, trade)) = self.trades.iter_mut().find(|(_, trade)| is_payable(trade)) else { return };
        trade.status = Status::Success;
        let payment = *payment;
        self.seen.paid += 1;
        self.tell(payment);
    }

    /// Puts a notice on its way, unless it is lost; its turn is a matter of chance.
    fn tell(&mut self, payment: PaymentId) {
        if self.happens(self.faults.lost) {
            self.seen.lost += 1;
            return;
        }
        let in_gbk = self.happens(self.faults.in_gbk);
        let notice = (self.trades[&payment].notify_url.clone(), self.notice(payment, in_gbk));
        let copies = if self.happens(self.faults.doubled) { 2 } else { 1 };
        self.seen.doubled += copies - 1;
        self.seen.in_gbk += u32::from(in_gbk);
        for _ in 0..copies {
            let at = usize::try_from(self.random.below(1 + self.notices.len() as u64)).unwrap();
            self.notices.insert(at, notice.clone());
        }
    }

    fn notice(&self, payment: PaymentId, in_gbk: bool) -> Vec<u8> {
        let trade = &self.trades[&payment];
        // 茶 in GBK is B2 E8, which is no UTF-8.
        let (charset, subject) = if in_gbk { ("GBK", &b"\xb2\xe8"[..]) } else { ("utf-8", "茶".as_bytes()) };
        let refund_fee = yuan(Cents::new(trade.refunded));
        let mut pairs = vec![
            ("app_id", self.app.app_id.as_bytes().to_vec()),
            ("charset", charset.into()),
            ("out_trade_no", payment.to_string().into()),
            ("seller_id", self.app.seller_id.as_bytes().to_vec()),
            ("subject", subject.to_vec()),
            ("total_amount", yuan(trade.amount).into()),
            ("trade_no", trade.trade_no.as_bytes().to_vec()),
            ("trade_status", trade.word().into()),
        ];
        if trade.refunded > 0 {
            pairs.insert(3, ("refund_fee", refund_fee.into()));
        }
        let signed: Vec<Vec<u8>> = pairs.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
        let sign = self.signer.sign(signed.join(&b'&')).unwrap();
        pairs.push(("sign", sign.into()));
        pairs.push(("sign_type", b"RSA2".to_vec()));
        let encoded = |value: &[u8]| value.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        pairs.join("&").into_bytes()
    }

    pub(crate) fn next_notice(&mut self) -> Option<(String, Vec<u8>)> {
        self.notices.pop_front()
    }

    /// The answer to a request; an error where none comes.
    pub(crate) fn answer(&mut self, body: &str, now_ms: u64) -> Result<String, String> {
        if self.happens(self.faults.silent) {
            self.seen.silent += 1;
            return Err("no answer".to_owned());
        }
        let form = Form::parse(body.as_bytes()).unwrap();
        assert!(form.is_request_of(&self.shop), "the shop's signature");
        let biz: Biz = serde_json::from_str(form.get("biz_content")).unwrap();
        let method = form.get("method");
        let response = match method {
            "alipay.trade.query" => self.query(&biz, now_ms),
            "alipay.trade.close" => self.close(&biz, now_ms),
            "alipay.trade.refund" => self.refund(&biz),
            "alipay.trade.fastpay.refund.query" => self.refund_query(&biz),
            method => panic!("{method}"),
        };
        if self.happens(self.faults.silent_after) {
            self.seen.silent_after += 1;
            return Err("no answer".to_owned());
        }
        Ok(platform_answer(&self.signer, method, &response).unwrap())
    }

    fn query(&mut self, biz: &Biz, now_ms: u64) -> Value {
        let Some(trade) = self.trades.get_mut(&biz.out_trade_no) else { return no_trade() };
        if trade.status == Status::Waiting && now_ms >= trade.expires_at_ms {
            trade.status = Status::Closed;
        }
        json!({ "code": "10000", "msg": "Success", "out_trade_no": biz.out_trade_no, "trade_no": trade.trade_no,
            "trade_status": trade.word(), "total_amount": yuan(trade.amount) })
    }

    pub(crate) const fn pays_before_close(&mut self) {
        self.pays_before_close = true;
    }

    fn close(&mut self, biz: &Biz, now_ms: u64) -> Value {
        if std::mem::take(&mut self.pays_before_close) {
            self.buyer_pays(now_ms);
        }
        let Some(trade) = self.trades.get_mut(&biz.out_trade_no) else { return no_trade() };
        if trade.status != Status::Waiting {
            return json!({ "code": "40004", "msg": "Business Failed", "sub_code": "ACQ.TRADE_STATUS_ERROR" });
        }
        trade.status = Status::Closed;
        self.seen.closed += 1;
        let answer = json!({ "code": "10000", "msg": "Success", "out_trade_no": biz.out_trade_no });
        self.tell(biz.out_trade_no);
        answer
    }

    fn refund(&mut self, biz: &Biz) -> Value {
        let (amount, id) = (cents(&biz.refund_amount).unwrap().get(), biz.out_request_no.unwrap());
        let is_new = !self.refunds.contains_key(&id);
        let Some(trade) = self.trades.get_mut(&biz.out_trade_no) else { return no_trade() };
        assert!(trade.status == Status::Success, "money that never came is to go back");
        assert!(!is_new || trade.refunded + amount <= trade.amount.get(), "more goes back than came");
        if is_new {
            trade.refunded += amount;
            self.refunds.insert(id, (biz.out_trade_no, amount));
            self.seen.refunded += 1;
            self.tell(biz.out_trade_no);
        }
        let unmoved = self.happens(self.faults.unmoved);
        self.seen.unmoved += u32::from(unmoved);
        let fund_change = if is_new && !unmoved { "Y" } else { "N" };
        json!({ "code": "10000", "msg": "Success", "fund_change": fund_change, "refund_fee": biz.refund_amount })
    }

    fn refund_query(&self, biz: &Biz) -> Value {
        match biz.out_request_no.and_then(|id| self.refunds.get(&id)) {
            Some((_, amount)) => json!({ "code": "10000", "msg": "Success", "refund_status": "REFUND_SUCCESS",
                "refund_amount": yuan(Cents::new(*amount)) }),
            None => json!({ "code": "10000", "msg": "Success" }),
        }
    }

    /// What buyers have paid and what has gone back, in cents.
    pub(crate) fn totals(&self) -> (i64, i64) {
        let paid = self.trades.values().filter(|trade| trade.status == Status::Success);
        let (paid, refunded): (Vec<i64>, Vec<i64>) = paid.map(|trade| (trade.amount.get(), trade.refunded)).unzip();
        (paid.iter().sum(), refunded.iter().sum())
    }

    /// Histories in which the shop keeps the money of more than one trade.
    pub(crate) fn paid_twice(&self) -> usize {
        let mut kept: BTreeMap<u64, u32> = BTreeMap::new();
        for trade in self.trades.values().filter(|trade| trade.status == Status::Success) {
            *kept.entry(trade.seed).or_default() += u32::from(trade.refunded < trade.amount.get());
        }
        kept.values().filter(|kept| **kept > 1).count()
    }
}

fn no_trade() -> Value {
    json!({ "code": "40004", "msg": "Business Failed", "sub_code": "ACQ.TRADE_NOT_EXIST", "sub_msg": "交易不存在" })
}
