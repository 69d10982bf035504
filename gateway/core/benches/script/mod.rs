//! A fixed script of requests through the core, for the benches and for counting instructions: the same bytes, the
//! same answers, a ledger in memory behind it.

#[path = "../../tests/core/world.rs"]
#[allow(dead_code, reason = "the tests of the core ask for more")]
mod world;

use contract::{ActivityId, OrderId, stock::Command};
use gateway_core::{Config, ConnId, Control, Next, Rate};
use world::{RULES, World, activity, buy, post};

/// ConnectionTable that ask at once, so that reservations go to the ledger as they do in a sale.
pub(crate) const CONNECTIONS: usize = 64;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Accepted,
    SoldOut,
    RateExceeded,
    Unknown,
    Time,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Accepted, Self::SoldOut, Self::RateExceeded, Self::Unknown, Self::Time];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoldOut => "sold_out",
            Self::RateExceeded => "limited",
            Self::Unknown => "unknown",
            Self::Time => "time",
        }
    }

    const fn status(self) -> &'static [u8] {
        match self {
            Self::Accepted => b"HTTP/1.1 202 ",
            Self::SoldOut => b"HTTP/1.1 409 ",
            Self::RateExceeded => b"HTTP/1.1 429 ",
            Self::Unknown => b"HTTP/1.1 404 ",
            Self::Time => b"HTTP/1.1 200 ",
        }
    }
}

/// A core with all checks on, and clients of one kind.
pub(crate) struct Script {
    world: World,
    kind: Kind,
    connections: Vec<ConnId>,
    requests: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Script {
    /// Of `rounds` rounds, each with a request on every connection.
    pub(crate) fn new(kind: Kind, rounds: usize) -> Self {
        let count = rounds * CONNECTIONS;
        let stock = if kind == Kind::Accepted { count } else { 0 };
        let mut world = World::with(stock as u64, RULES, |config: &mut Config| {
            let high = Rate { per_second: 1_000_000, burst: 1_000_000 };
            config.gate.client = high;
            config.gate.user = if kind == Kind::RateExceeded { Rate { per_second: 1, burst: 1 } } else { high };
        });
        world.control(Control::Activity(activity(2, RULES)));
        let request = |at: usize| {
            let user = i64::try_from(at).unwrap_or(i64::MAX) + 1;
            match kind {
                Kind::Accepted | Kind::SoldOut => buy(user, "a-key"),
                Kind::RateExceeded => buy(1, "a-key"),
                Kind::Unknown => post(user, "", r#"{"activity_id":"77","quantity":1}"#),
                Kind::Time => world::get("/api/v1/time", ""),
            }
        };
        let requests = (0..count).map(|at| request(at).into_bytes()).collect();
        let connections = (0..CONNECTIONS).map(|_| world.open()).collect();
        let mut script = Self { world, kind, connections, requests, out: Vec::with_capacity(4096) };
        if kind == Kind::SoldOut {
            // The ledger says so once.
            let first = script.world.ask(buy(i64::MAX, "a-key"));
            assert_eq!(first.status, 409);
        }
        script
    }

    /// One round: every connection asks, the ledger answers, every answer is written.
    pub(crate) fn round(&mut self, number: usize) {
        for (at, id) in self.connections.iter().enumerate() {
            let request = &self.requests[number * CONNECTIONS + at];
            self.world.core.handle_client(*id, request, self.world.now);
        }
        self.world.settle();
        while self.world.core.poll_ready().is_some() {}
        for id in &self.connections {
            self.out.clear();
            assert_eq!(self.world.core.poll_client(*id, &mut self.out), Next::Write);
            let limited_is_let_in = self.kind == Kind::RateExceeded && number == 0;
            assert!(limited_is_let_in || self.out.starts_with(self.kind.status()), "{:?}", self.kind);
            assert_eq!(self.world.core.poll_client(*id, &mut Vec::new()), Next::Read);
        }
    }
}

/// The ledger by itself: `count` users, each of whom asks once.
#[allow(dead_code, reason = "the instructions are those of the core")]
pub(crate) fn ledger(count: u32) -> (contract::stock::Ledger, Vec<Command>) {
    let id = ActivityId::from_i64(1).unwrap_or_else(|| unreachable!("1 is an id"));
    let (ledger, _) = contract::stock::Ledger::open(id, u64::from(count), RULES, world::START_MS);
    let ask = |number: u32| {
        let order = OrderId::from_i64(i64::from(number)).unwrap_or_else(|| unreachable!("it is not negative"));
        let (user, request) = (world::user(i64::from(number)), None);
        Command::Reserve(contract::stock::Reservation { order, user, request, quantity: 1 })
    };
    (ledger, (1..=count).map(ask).collect())
}
