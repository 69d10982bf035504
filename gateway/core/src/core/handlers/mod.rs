//! Handlers of requests: admission, and what the board can answer without the ledger.

mod orders;
mod reads;
mod reserve;
mod tickets;

use std::sync::Arc;

use contract::{
    Activity, ActivityId, OrderId, UserId,
    activity::EntryRule,
    record::{OrderEvent, TokenCut},
    snowflake::Snowflake,
    stock::{BatchReply, Entry, Term},
};
use serde::Serialize;

use super::{
    decision::Decision,
    random::one_way,
    turn::{Turn, WrittenAnswer},
};
use crate::{
    Answer, Config, Now,
    board::{Board, Order},
    cuts::Bearer,
    gate::Gate,
    http::Method,
    queue::{BatchId, ConcludedBatch, UnreadHold, Verdict},
    route::Route,
    tickets::{CAPTCHA_LEAD_MS, Captcha, Tickets},
};

/// Everything that is known of clients, sales and orders.
#[derive(Debug)]
pub(super) struct Handlers {
    gate: Gate,
    board: Board,
    tickets: Tickets,
    ids: Snowflake,
    nonce_seed: u64,
    nonces_drawn: u64,
    caught_up: bool,
    draining: bool,
    readiness: Readiness,
    refused_locally: u64,
    /// Where `GET /` leads; empty leads nowhere.
    shop_url: String,
}

/// The readiness of the rest of the process, as `/readyz` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not ready; empty if it is.
    pub reasons: Arc<[PartReason]>,
    /// What an operator must look at although the process serves.
    pub warnings: Arc<[PartReason]>,
    /// The process has been asked to stop and serves on for a while, so that no client finds a connection reset.
    pub is_stopping: bool,
}

/// A part of the process, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartReason {
    /// The part's name.
    pub part: String,
    /// A sentence for people.
    pub reason: String,
}

impl Handlers {
    pub(super) fn new(config: &Config, ids: Snowflake, now: Now) -> Self {
        Self {
            gate: Gate::new(config, now.mono),
            board: Board::new(config.board, config.seed),
            tickets: Tickets::new(config.keys.tickets.clone(), config.captchas_max, config.seed),
            ids,
            nonce_seed: config.seed,
            nonces_drawn: 0,
            caught_up: false,
            draining: false,
            readiness: Readiness::default(),
            refused_locally: 0,
            shop_url: config.shop_url.clone(),
        }
    }

    /// Whether `/readyz` answers 200.
    pub(super) fn is_ready(&self) -> bool {
        self.caught_up && !self.draining && self.readiness.reasons.is_empty()
    }

    /// Reservations that were refused without the ledger.
    pub(super) const fn refused_locally(&self) -> u64 {
        self.refused_locally
    }

    /// The term in which a ledger is asked, and whether for repeats only: the admin may have ended the sale before the end
    /// that its ledger is known to have.
    pub(super) fn asked_in(&self, activity: ActivityId, now: Now) -> (Term, bool) {
        // While the ledger is being recovered, it refuses every term.
        let term = self.board.open_term(activity).unwrap_or(Term::FIRST);
        (term, self.board.is_ended_early(activity, now.wall_ms))
    }

    /// Whether the ledger sells in `term`, as far as the journal was read. A reply of another term is no answer.
    pub(super) fn is_open_in(&self, activity: ActivityId, term: Term) -> bool {
        self.board.open_term(activity) == Some(term)
    }

    /// Whether yeses of the sale wait until they were read on the journal.
    pub(super) fn answers_after_log(&self, activity: ActivityId) -> bool {
        self.board.answers_after_log(activity)
    }

    /// What the journal says of a yes.
    pub(super) fn verdict(&self, activity: ActivityId, hold: &UnreadHold) -> Verdict {
        self.board.verdict(activity, hold)
    }

    pub(super) fn handle_activity(&mut self, activity: Activity) {
        if self.board.handle_activity(activity) && self.caught_up {
            self.gate.rebuild_id_filter(self.board.catalogue());
        }
    }

    pub(super) fn handle_rules(&mut self, rules: &[EntryRule], now: Now) {
        rules.iter().for_each(|rule| self.board.handle_rule(*rule, now.wall_ms));
    }

    pub(super) fn handle_entries(&mut self, entries: &[Entry], now: Now) {
        self.board.handle_entries(entries, now.wall_ms);
    }

    pub(super) fn handle_order_events(&mut self, events: &[OrderEvent]) {
        self.board.handle_order_events(events);
    }

    pub(super) fn handle_cuts(&mut self, cuts: &[TokenCut], now: Now) {
        self.gate.handle_cuts(cuts, now.wall_ms);
    }

    pub(super) fn handle_caught_up(&mut self) {
        self.caught_up = true;
        self.gate.rebuild_id_filter(self.board.catalogue());
    }

    pub(super) fn handle_readiness(&mut self, readiness: Readiness) {
        self.readiness = readiness;
    }

    pub(super) fn handle_lease(&mut self, until_ms: u64) {
        self.ids.extend_lease(until_ms);
    }

    pub(super) fn handle_captchas(&mut self, captchas: Vec<Captcha>) {
        self.tickets.handle_captchas(captchas);
    }

    pub(super) fn handle_drain(&mut self) {
        self.draining = true;
    }

    /// The ledger's outcomes for `concluded`.
    pub(super) fn handle_reply(&mut self, batch: BatchId, concluded: &ConcludedBatch, reply: &BatchReply, now: Now) {
        let asked = concluded.sent.iter().map(|waiting| &waiting.reservation);
        self.board.handle_reply(batch.activity(), asked, reply, concluded.repeats_only, now.wall_ms);
    }

    /// An order whose status changed.
    pub(super) fn poll_changed(&mut self) -> Option<(OrderId, Order)> {
        self.board.poll_changed()
    }

    /// How many captcha images are wanted; nothing while some are still being rendered.
    pub(super) fn poll_captchas(&mut self, now: Now) -> Option<usize> {
        let needed = self.board.needs_captchas(now.wall_ms, CAPTCHA_LEAD_MS);
        needed.then(|| self.tickets.poll_wanted()).flatten()
    }

    /// An id for a new order; `None` while the lease of the worker id does not cover `now`.
    pub(super) fn next_order(&mut self, now: Now) -> Option<OrderId> {
        OrderId::from_i64(self.ids.next(now.wall_ms).ok()?)
    }

    /// Answers a request, or decides what must happen first.
    pub(super) fn answer(&mut self, turn: &mut Turn<'_, '_>, now: Now) -> Decision {
        let method = turn.head.method;
        if turn.head.target == "*" {
            return turn.say_options("GET, HEAD, POST, OPTIONS").into();
        }
        let (path, query) = turn.head.path_and_query();
        let Some(route) = Route::find(path) else { return turn.refuse(Answer::NotFound).into() };
        if !route.takes(method) {
            return turn.refuse_method(route.allow()).into();
        }
        if method == Method::Options {
            return turn.say_options(route.allow()).into();
        }
        if !route.is_operational() {
            match self.gate.take_client(turn.peer, turn.head.fields.forwarded_for, now) {
                Ok(rate) => turn.exchange.rate = rate,
                Err(limited) => return turn.refuse_limited(limited).into(),
            }
        }
        match route {
            Route::Time => reads::time(turn, now).into(),
            Route::Activities => self.activities(turn, query, now).into(),
            Route::Activity(activity) => self.activity(turn, activity, now).into(),
            Route::Tickets(activity) => self.ticket(turn, activity, now).into(),
            Route::Challenge(activity) => self.challenge(turn, activity, now).into(),
            Route::Orders => self.reserve(turn, now),
            Route::Order(order) => self.order(turn, order, now).into(),
            Route::OrderEvents(order) => self.order_events(turn, order, now),
            Route::Shop if self.shop_url.is_empty() => turn.refuse(Answer::NotFound).into(),
            Route::Shop => turn.redirect(&self.shop_url).into(),
            Route::Ping => turn.say(Answer::Read, "text/plain", b"pong").into(),
            Route::Healthz => turn.say(Answer::Read, "application/json", br#"{"status":"ok"}"#).into(),
            Route::Readyz => self.readyz(turn).into(),
            // To clients of other hosts the path does not exist: the figures show what the API hides.
            Route::Metrics if !self.gate.is_local(turn.peer, turn.head.fields.forwarded_for) => {
                turn.refuse(Answer::NotFound).into()
            }
            Route::Metrics => Decision::Metrics,
        }
    }

    /// The user who asks, within the user's limit.
    #[inline]
    fn authorize(&mut self, turn: &mut Turn<'_, '_>, now: Now) -> Result<UserId, WrittenAnswer> {
        self.authorize_bearer(turn, now).map(|bearer| bearer.user)
    }

    /// As [`Self::authorize`], with the token's expiry.
    fn authorize_bearer(&mut self, turn: &mut Turn<'_, '_>, now: Now) -> Result<Bearer, WrittenAnswer> {
        let Some(bearer) = self.gate.bearer(turn.head.fields.authorization, now) else {
            return Err(turn.refuse(Answer::InvalidToken));
        };
        match self.gate.take_user(bearer.user, now) {
            Ok(rate) => {
                turn.add_rate(rate);
                Ok(bearer)
            }
            Err(limited) => Err(turn.refuse_limited(limited)),
        }
    }

    /// A number that can't be predicted and is not drawn again.
    fn nonce(&mut self) -> u64 {
        self.nonces_drawn += 1;
        one_way(b"nonce", self.nonce_seed, self.nonces_drawn)
    }
}
