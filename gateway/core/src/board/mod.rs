//! What this core knows about sales and orders. It follows the log (activities, the ledger's journal and order events,
//! each in order), and learns from the ledger's replies to this core, which come a moment earlier.

mod orders;
mod sale;
mod view;

use std::collections::{BTreeSet, HashMap, VecDeque};

use contract::{
    Activity, ActivityId, OrderId, SkuId, UserId,
    activity::{AnswerAfter, Door, EntryRule},
    record::OrderEvent,
    stock::{BatchReply, Entry, Event, Outcome, Reservation, Term},
};
use foldhash::fast::FixedState;

pub(crate) use orders::{Order, Status};
pub(crate) use sale::Sale;
pub(crate) use view::{Rfc3339Ms, detail, list_end, list_item, list_start, status_json};

use crate::queue::{Unavailable, UnreadHold, Verdict};
use orders::Orders;

/// How much one core remembers. What does not fit is forgotten, oldest first; the ledger is asked about it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardLimits {
    /// Activities; those that end first go first.
    pub sales_max: usize,
    /// Buyers of all sales together.
    pub buyers_max: usize,
    /// Orders whose status can be asked for.
    pub orders_max: usize,
    /// Users of all sales together that admins allowed or blocked. Those of sales that are over go first. A sale whose
    /// users do not fit is refused as unavailable: a blocked user must stay blocked even when the list overflows.
    pub rules_max: usize,
}

impl Default for BoardLimits {
    fn default() -> Self {
        Self { sales_max: 16 * 1024, buyers_max: 4 * 1024 * 1024, orders_max: 1024 * 1024, rules_max: 1024 * 1024 }
    }
}

/// The state of all sales and orders.
#[derive(Debug)]
pub(crate) struct Board {
    limits: BoardLimits,
    sales: HashMap<ActivityId, Sale, FixedState>,
    /// The order in which sales are forgotten: by end, then id.
    by_end: BTreeSet<(u64, ActivityId)>,
    /// The order of lists: by start, then id.
    by_start: BTreeSet<(u64, ActivityId)>,
    /// Sales that ask for a challenge.
    captchas: BTreeSet<ActivityId>,
    buyers: usize,
    rules: usize,
    orders: Orders,
    changed: VecDeque<(OrderId, Order)>,
}

impl Board {
    pub(crate) fn new(limits: BoardLimits, seed: u64) -> Self {
        assert!(limits.sales_max > 0 && limits.orders_max > 0, "a board that remembers nothing");
        Self {
            limits,
            sales: HashMap::with_hasher(FixedState::with_seed(seed)),
            by_end: BTreeSet::new(),
            by_start: BTreeSet::new(),
            captchas: BTreeSet::new(),
            buyers: 0,
            rules: 0,
            orders: Orders::new(limits.orders_max, seed),
            changed: VecDeque::new(),
        }
    }

    /// The sale, where its admin has announced it.
    pub(crate) fn sale(&self, activity: ActivityId) -> Option<(&Activity, &Sale)> {
        let sale = self.sales.get(&activity)?;
        Some((sale.activity()?, sale))
    }

    /// Announced sales that start after `after`, by start and id.
    pub(crate) fn listed(&self, after: Option<(u64, ActivityId)>) -> impl Iterator<Item = (&Activity, &Sale)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.by_start.range((from, Unbounded)).filter_map(|(_, id)| self.sale(*id))
    }

    /// What is announced, for the Bloom filter.
    pub(crate) fn catalogue(&self) -> impl ExactSizeIterator<Item = (ActivityId, SkuId)> {
        let ids: Vec<_> = self
            .by_start
            .iter()
            .filter_map(|(_, id)| self.sale(*id))
            .map(|(activity, _)| (activity.id, activity.sku))
            .collect();
        ids.into_iter()
    }

    pub(crate) fn order(&self, order: OrderId) -> Option<Order> {
        self.orders.get(order)
    }

    /// Whether an order that is not known may have been forgotten for want of room.
    pub(crate) fn may_have_forgotten(&self, order: OrderId) -> bool {
        self.orders.may_be_forgotten(order)
    }

    /// The next change of an order.
    pub(crate) fn poll_changed(&mut self) -> Option<(OrderId, Order)> {
        self.changed.pop_front()
    }

    /// An activity as its admin wrote it; an older version changes nothing. Whether it did.
    pub(crate) fn handle_activity(&mut self, activity: Activity) -> bool {
        let id = activity.id;
        let sale = self.sales.entry(id).or_default();
        let known = sale.activity();
        if known.is_some_and(|known| known.version >= activity.version) {
            return false;
        }
        if let Some(known) = known {
            self.by_start.remove(&(known.rules.starts_at_ms, id));
        }
        self.by_start.insert((activity.rules.starts_at_ms, id));
        self.by_end.remove(&(sale.ends_at_ms(), id));
        self.by_end.insert((activity.rules.ends_at_ms, id));
        if activity.admission.door == Door::Captcha {
            self.captchas.insert(id);
        } else {
            self.captchas.remove(&id);
        }
        sale.announce(activity);
        self.forget_sales();
        true
    }

    /// An admin's rule for a user.
    pub(crate) fn handle_rule(&mut self, rule: EntryRule, wall_ms: u64) {
        let sale = self.sales.entry(rule.activity).or_default();
        self.by_end.insert((sale.ends_at_ms(), rule.activity));
        self.rules += usize::from(sale.handle_rule(rule));
        if self.rules > self.limits.rules_max {
            self.make_room(rule.activity, wall_ms, Sale::has_rules, |board, sale| board.rules -= sale.forget_rules());
        }
        self.forget_sales();
    }

    /// Whether the admin has ended the sale before the end that its ledger is known to have.
    pub(crate) fn is_ended_early(&self, activity: ActivityId, wall_ms: u64) -> bool {
        self.sale(activity).is_some_and(|(activity, sale)| sale.is_ended_early(activity, wall_ms))
    }

    /// Whether a sale that runs, or starts within `lead_ms`, asks for challenges.
    pub(crate) fn needs_captchas(&self, wall_ms: u64, lead_ms: u64) -> bool {
        let due = |activity: &Activity| {
            let rules = &activity.rules;
            rules.starts_at_ms <= wall_ms.saturating_add(lead_ms) && wall_ms < rules.ends_at_ms
        };
        self.captchas.iter().any(|id| self.sale(*id).is_some_and(|(activity, _)| due(activity)))
    }

    /// The term in which the activity's ledger sells, as far as the journal was read; `None` while it is being recovered.
    pub(crate) fn open_term(&self, activity: ActivityId) -> Option<Term> {
        self.sales.get(&activity).map_or(Some(Term::FIRST), Sale::open_term)
    }

    /// Whether yeses of the sale wait until they were read on the journal.
    pub(crate) fn answers_after_log(&self, activity: ActivityId) -> bool {
        let sale = self.sale(activity);
        sale.is_some_and(|(known, _)| known.admission.answer_after == AnswerAfter::Log)
    }

    /// What the journal says of a yes. A number alone proves nothing of an order that is new: another order may have it. Of
    /// a repeat the core may have forgotten the order. The ledger had it before its reply, so it is on the journal before
    /// the reply's number, if the term is still the same.
    pub(crate) fn verdict(&self, activity: ActivityId, hold: &UnreadHold) -> Verdict {
        let Some(sale) = self.sales.get(&activity) else { return Verdict::Lost(Unavailable::Unknown) };
        if sale.open_term() != Some(hold.term) {
            return Verdict::Lost(Unavailable::Frozen);
        }
        if self.order(hold.order).is_some_and(|order| order.status >= Status::Queued) {
            return Verdict::Counts;
        }
        match (sale.has_read_to(hold.seq), hold.repeated) {
            (false, _) => Verdict::Waits,
            (true, true) => Verdict::Counts,
            (true, false) => Verdict::Lost(Unavailable::Unknown),
        }
    }

    /// The next entries of the journal.
    pub(crate) fn handle_entries(&mut self, entries: &[Entry], wall_ms: u64) {
        for entry in entries {
            self.handle_entry(entry, wall_ms);
        }
        self.forget_sales();
    }

    fn handle_entry(&mut self, entry: &Entry, wall_ms: u64) {
        let sale = self.sales.entry(entry.activity).or_default();
        if !sale.is_known_to_journal() && sale.activity().is_none() {
            if let Event::Opened { rules, .. } = entry.event {
                sale.expect_end(rules.ends_at_ms);
            }
            self.by_end.insert((sale.ends_at_ms(), entry.activity));
        }
        if !sale.handle_entry(entry) {
            return;
        }
        match entry.event {
            Event::Held(reservation) => self.note_held(entry.activity, &reservation, Status::Queued, wall_ms),
            // Order events are kept for a shorter time than the journal.
            Event::Settled { order, .. } => self.conclude_order(order, Status::Paid),
            Event::Released { order, .. } => self.conclude_order(order, Status::Closed),
            Event::Opened { .. }
            | Event::Restocked { .. }
            | Event::Ended { .. }
            | Event::TermStarted { .. }
            | Event::TermOpened(_)
            | Event::PromiseFailed { .. } => {}
        }
    }

    /// Order events, in the order of the log.
    pub(crate) fn handle_order_events(&mut self, events: &[OrderEvent]) {
        for event in events {
            self.advance_order(event.order, event.user, event.status.into());
        }
    }

    /// The ledger's reply to `asked`.
    pub(crate) fn handle_reply<'a>(
        &mut self,
        activity: ActivityId,
        asked: impl Iterator<Item = &'a Reservation>,
        reply: &BatchReply,
        repeats_only: bool,
        wall_ms: u64,
    ) {
        for (reservation, outcome) in asked.zip(&reply.outcomes) {
            if let Outcome::Held { order, .. } = outcome {
                let held = Reservation { order: *order, ..*reservation };
                self.note_held(activity, &held, Status::Promised, wall_ms);
            }
        }
        if let Some(sale) = self.sales.get_mut(&activity) {
            sale.handle_reply(reply, repeats_only);
        }
    }

    fn note_held(&mut self, activity: ActivityId, held: &Reservation, status: Status, wall_ms: u64) {
        if let Some(sale) = self.sales.get_mut(&activity)
            && sale.add_buyer(held.user)
        {
            self.buyers += 1;
            if self.buyers > self.limits.buyers_max {
                self.make_room(activity, wall_ms, Sale::has_buyers, |board, sale| board.buyers -= sale.forget_buyers());
            }
        }
        self.advance_order(held.order, held.user, status);
    }

    fn advance_order(&mut self, order: OrderId, owner: UserId, status: Status) {
        if self.orders.advance(order, owner, status) {
            self.changed.push_back((order, Order { owner, status }));
        }
    }

    fn conclude_order(&mut self, order: OrderId, status: Status) {
        if let Some(concluded) = self.orders.conclude(order, status) {
            self.changed.push_back((order, concluded));
        }
    }

    /// Makes room: of the sales that are over and `has` something to forget, the one that ended first forgets it. If no such
    /// sale exists, the one that was `added` to does.
    fn make_room(
        &mut self,
        added: ActivityId,
        wall_ms: u64,
        has: impl Fn(&Sale) -> bool,
        forget: impl FnOnce(&mut Self, &mut Sale),
    ) {
        let mut over = self.by_end.iter().take_while(|(ends_at_ms, _)| *ends_at_ms <= wall_ms).map(|(_, id)| *id);
        let found = over.find(|id| self.sales.get(id).is_some_and(&has)).unwrap_or(added);
        let Some(mut sale) = self.sales.remove(&found) else { return };
        forget(self, &mut sale);
        self.sales.insert(found, sale);
    }

    fn forget_sales(&mut self) {
        while self.sales.len() > self.limits.sales_max {
            let Some((_, id)) = self.by_end.pop_first() else { return };
            let Some(mut sale) = self.sales.remove(&id) else { continue };
            self.buyers -= sale.forget_buyers();
            self.rules -= sale.forget_rules();
            self.captchas.remove(&id);
            if let Some(activity) = sale.activity() {
                self.by_start.remove(&(activity.rules.starts_at_ms, id));
            }
        }
    }

    /// What the sale requires for entry, and whether the user is known to have bought.
    pub(crate) fn door(&self, activity: ActivityId, user: UserId) -> (Door, bool) {
        let sale = self.sale(activity);
        sale.map_or((Door::Open, false), |(known, sale)| (known.admission.door, sale.has_buyer(user)))
    }

    /// The answer that is certain without asking the ledger.
    pub(crate) fn refusal(&self, activity: ActivityId, user: UserId, wall_ms: u64) -> Option<crate::Answer> {
        match self.sale(activity) {
            None => Some(crate::Answer::UnknownActivity),
            Some((known, sale)) => sale.refusal(known, user, wall_ms),
        }
    }
}
