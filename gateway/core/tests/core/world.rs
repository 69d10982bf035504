//! A core, one ledger behind it, and clients that speak HTTP to it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use contract::{
    Activity, ActivityId, Cents, OrderId, SkuId, UserId,
    activity::{Admission, Rules},
    record::{OrderEvent, OrderStatus},
    snowflake::Snowflake,
    stock::{BatchReply, Command, Entry, Ledger},
    token::TokenKey,
};
use gateway_core::{Batch, Config, ConnId, Control, Core, Keys, Next, Now};
use serde_json::Value;

pub(crate) const START_MS: u64 = 1_800_000_000_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// A core with one activity, id 1, open for an hour from [`START_MS`].
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) ledger: Ledger,
    pub(crate) now: Now,
    /// Entries that the core has not been given yet.
    pub(crate) journal: Vec<Entry>,
    pub(crate) client: IpAddr,
}

pub(crate) fn keys() -> Keys {
    Keys::new(b"a secret of the test")
}

pub(crate) fn key() -> TokenKey {
    keys().tokens
}

pub(crate) fn activity(id: i64, rules: Rules) -> Activity {
    Activity {
        id: ActivityId::from_i64(id).unwrap(),
        version: 1,
        title: "Phone \"手机\"".to_owned(),
        sku: SkuId::from_i64(1000 + id).unwrap(),
        price: Cents::new(100),
        original_price: Cents::new(900),
        rules,
        admission: Admission::default(),
    }
}

pub(crate) fn user(id: i64) -> UserId {
    UserId::from_i64(id).unwrap()
}

pub(crate) const RULES: Rules = Rules { per_user_limit: 1, starts_at_ms: START_MS, ends_at_ms: START_MS + HOUR_MS };

impl World {
    pub(crate) fn new(stock: u64) -> Self {
        Self::with(stock, RULES, |_| {})
    }

    pub(crate) fn with(stock: u64, rules: Rules, configure: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::cold(stock, rules, configure);
        world.control(Control::Activity(activity(1, rules)));
        world.follow();
        world.control(Control::CaughtUp);
        world
    }

    /// Nothing was given to the core yet.
    pub(crate) fn cold(stock: u64, rules: Rules, configure: impl FnOnce(&mut Config)) -> Self {
        let now = Now { mono: Duration::from_secs(5), wall_ms: START_MS + 1 };
        let mut config = Config::new(keys(), 42);
        // The world has one client.
        config.connections_per_client_max = config.connections_max;
        configure(&mut config);
        let core = Core::new(config, Snowflake::new(1, START_MS - HOUR_MS, u64::MAX), now);
        let (ledger, opened) = Ledger::open(ActivityId::from_i64(1).unwrap(), stock, rules, START_MS - HOUR_MS);
        Self { core, ledger, now, journal: vec![opened], client: IpAddr::from([127, 0, 0, 1]) }
    }

    pub(crate) fn control(&mut self, control: Control) {
        self.core.handle_control(control, self.now);
    }

    /// Gives the core what is new on the journal.
    pub(crate) fn follow(&mut self) {
        let entries: Arc<[Entry]> = std::mem::take(&mut self.journal).into();
        self.control(Control::Entries(entries));
    }

    pub(crate) fn event(&mut self, order: OrderId, owner: i64, status: OrderStatus) {
        let event = OrderEvent { order, user: user(owner), status, at_ms: self.now.wall_ms };
        self.control(Control::OrderEvents(Arc::from([event])));
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono + Duration::from_millis(ms), wall_ms: self.now.wall_ms + ms };
        self.core.handle_timeout(self.now);
    }

    pub(crate) fn open(&mut self) -> ConnId {
        self.core.open(self.client, self.now).unwrap()
    }

    pub(crate) fn send(&mut self, id: ConnId, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        assert_eq!(self.core.handle_client(id, bytes, self.now), bytes.len());
    }

    /// What is there to write, and what the driver does after it.
    pub(crate) fn receive(&mut self, id: ConnId) -> (Vec<u8>, Next) {
        let mut all = Vec::new();
        loop {
            let mut out = Vec::new();
            match self.core.poll_client(id, &mut out) {
                Next::Write => all.append(&mut out),
                next @ (Next::Read | Next::Wait | Next::Close) => return (all, next),
            }
        }
    }

    /// The same, with the shell's part in `/metrics`.
    pub(crate) fn receive_all(&mut self, id: ConnId) -> (Vec<u8>, Next) {
        let (mut all, mut next) = self.receive(id);
        while let Some(asked) = self.core.poll_metrics() {
            self.core.handle_metrics(asked, b"up 1\n", self.now);
            let (more, after) = self.receive(id);
            all.extend(more);
            next = after;
        }
        (all, next)
    }

    /// What the ledger says to a batch; its entries go to the journal.
    pub(crate) fn decide(&mut self, batch: &Batch) -> BatchReply {
        let command = if batch.repeats_only { Command::Repeat } else { Command::Reserve };
        let reserve = |reservation: &_| command(*reservation);
        let outcomes = batch
            .reservations
            .iter()
            .map(|asked| self.ledger.apply(reserve(asked), self.now.wall_ms, &mut self.journal))
            .collect();
        BatchReply { outcomes, counters: self.ledger.counters() }
    }

    /// Answers batches until none is left.
    pub(crate) fn settle(&mut self) {
        while let Some(batch) = self.core.poll_batch() {
            let reply = self.decide(&batch);
            self.core.handle_reply(batch.id, Ok(reply), self.now);
        }
    }

    /// One request on a connection of its own, answered at once by the ledger.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let id = self.open();
        self.send(id, request);
        self.settle();
        let (bytes, next) = self.receive(id);
        self.core.close(id);
        Answer::read(&bytes, next)
    }

    /// The ledger carries out what the mall asks of it.
    pub(crate) fn command(&mut self, command: Command) {
        self.ledger.apply(command, self.now.wall_ms, &mut self.journal);
    }
}

pub(crate) fn token(id: i64) -> String {
    key().sign(user(id), None, START_MS / 1000, 24 * 3600)
}

pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: mall\r\n{headers}\r\n")
}

pub(crate) fn get_as(id: i64, path: &str) -> String {
    get(path, &format!("Authorization: Bearer {}\r\n", token(id)))
}

/// A POST of `body` with the user's token.
pub(crate) fn post(id: i64, headers: &str, body: &str) -> String {
    post_to("/api/v1/seckill/orders", id, headers, body)
}

pub(crate) fn post_to(path: &str, id: i64, headers: &str, body: &str) -> String {
    let (token, len) = (token(id), body.len());
    format!(
        "POST {path} HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
    )
}

/// The user asks for one unit of activity 1.
pub(crate) fn buy(id: i64, key: &str) -> String {
    let header = if key.is_empty() { String::new() } else { format!("Idempotency-Key: {key}\r\n") };
    post(id, &header, r#"{"activity_id":"1","quantity":1}"#)
}

/// One answer, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) next: String,
}

impl Answer {
    pub(crate) fn read(bytes: &[u8], next: Next) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}, {next:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").unwrap())
            // Answers are compared with later ones.
            .filter(|(name, _)| *name != "date")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if let Some(length) = headers.get("content-length") {
            assert!(body.is_empty() || body.len().to_string() == *length, "{text}");
        }
        Self { status, headers, body: body.to_owned(), next: format!("{next:?}") }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The field `code` of a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.body);
        let json = self.json();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(names, ["code", "detail", "status", "title", "trace_id", "type"]);
        assert_eq!(json["status"], self.status);
        assert_eq!(json["trace_id"].as_str().unwrap().len(), 32);
        json["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn order(&self) -> OrderId {
        assert_eq!(self.status, 202, "{}", self.body);
        self.json()["order_id"].as_str().unwrap().parse().unwrap()
    }
}

/// The statuses of all answers in `bytes`.
pub(crate) fn statuses(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let parts = text.split("HTTP/1.1 ").skip(1);
    parts.filter(|part| part.as_bytes()[..3].iter().all(u8::is_ascii_digit)).map(|part| part[..3].to_owned()).collect()
}
