//! The checks. Each accuses only if no order of events within the calls' times explains what the clients saw.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{
    format::{Answer, State},
    read::{Buy, History, Read},
    units::{Hold, Release, Timeline, Units, requests},
};

/// What can be wrong with a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// More units held at one moment than there are.
    Oversell,
    /// Units that were left while buyers were refused as sold out.
    Undersell,
    /// "Sold out" while a unit was certainly free.
    FalseSoldOut,
    /// A refusal for the limit of a user who was certainly below it.
    FalseLimit,
    /// A yes whose order its buyer can't read.
    LostOrder,
    /// Two orders for one request.
    TwinOrder,
    /// One order for two requests.
    SharedOrder,
    /// An order that somebody else can read, or that names another owner.
    WrongOwner,
    /// A repeat after a yes that got another answer.
    ChangedAnswer,
    /// A buyer was refused, and a later one got a unit although none came back.
    UnfairOrder,
    /// An order that was accepted and never became one.
    StuckOrder,
    /// A user with more units than the limit.
    OverLimit,
    /// An order of a buyer who was refused.
    OrderWithoutYes,
    /// An order of another quantity than was asked for.
    WrongQuantity,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Oversell,
        Self::Undersell,
        Self::FalseSoldOut,
        Self::FalseLimit,
        Self::LostOrder,
        Self::TwinOrder,
        Self::SharedOrder,
        Self::WrongOwner,
        Self::ChangedAnswer,
        Self::UnfairOrder,
        Self::StuckOrder,
        Self::OverLimit,
        Self::OrderWithoutYes,
        Self::WrongQuantity,
    ];
}

/// One fault, at the line that shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Fault {
    pub kind: Kind,
    pub line: u64,
    pub detail: String,
}

/// Finds every fault of a history, in the order of the lines.
pub(super) fn faults(history: &History) -> Vec<Fault> {
    let requests = requests(history);
    let units = Units::new(history, &requests);
    let possible = units.possible();
    let mut checks = Checks { history, requests: &requests, faults: Vec::new() };
    checks.oversell(&units);
    checks.over_limit(&units);
    checks.sold_out(&units, &possible);
    checks.limits(&units);
    checks.fairness(&units);
    checks.repeats();
    checks.shared();
    checks.reads();
    let mut faults = checks.faults;
    faults.sort_unstable_by_key(|fault| (fault.line, fault.kind));
    faults
}

struct Checks<'a> {
    history: &'a History,
    requests: &'a HashMap<(u32, u32), Vec<Buy>>,
    faults: Vec<Fault>,
}

/// Goes through holds by the moment from which they are certain; calls `taken` with the hold and the units that are
/// certainly held then, this one included.
fn certain<'a>(holds: impl Iterator<Item = &'a Hold>, mut taken: impl FnMut(&Hold, u64)) {
    let (mut held, mut ends) = (0_u64, std::collections::BinaryHeap::new());
    for hold in holds.filter(|hold| hold.certain_ns < u64::MAX) {
        while ends.peek().is_some_and(|std::cmp::Reverse((end_ns, _))| *end_ns <= hold.certain_ns) {
            let Some(std::cmp::Reverse((_, quantity))) = ends.pop() else { break };
            held -= quantity;
        }
        let end_ns = hold.release.map_or(u64::MAX, |release| release.earliest_ns);
        // It may have come back before the buyer read the yes.
        if end_ns <= hold.certain_ns {
            continue;
        }
        held += hold.quantity;
        ends.push(std::cmp::Reverse((end_ns, hold.quantity)));
        taken(hold, held);
    }
}

impl Checks<'_> {
    fn add(&mut self, kind: Kind, line: u64, detail: String) {
        self.faults.push(Fault { kind, line, detail });
    }

    fn user(&self, user: u32) -> &str {
        self.history.users.name(user)
    }

    fn order(&self, order: u32) -> &str {
        self.history.orders.name(order)
    }

    fn oversell(&mut self, units: &Units) {
        let stock = self.history.header.stock;
        certain(units.holds.iter(), |hold, held| {
            if held > stock {
                self.add(Kind::Oversell, hold.line, format!("{held} units are held of {stock}"));
            }
        });
    }

    fn over_limit(&mut self, units: &Units) {
        let limit = self.history.header.per_user_limit;
        if limit == 0 {
            return;
        }
        for (user, holds) in by_user(units) {
            certain(holds.iter().copied(), |hold, held| {
                if held > limit {
                    let detail = format!("user {} holds {held} units, the limit is {limit}", self.user(user));
                    self.add(Kind::OverLimit, hold.line, detail);
                }
            });
        }
    }

    /// Every "sold out" must be true at some moment of its call, and no unit may be left at the end.
    fn sold_out(&mut self, units: &Units, possible: &Timeline) {
        let stock = signed(self.history.header.stock);
        let last_release_ns = units.releases().last().map_or(0, |release| release.latest_ns);
        let left_at_end = stock - possible.most(u64::MAX, u64::MAX);
        let mut undersold = None;
        for buy in self.history.buys.iter().filter(|buy| buy.answer == Answer::SoldOut) {
            let quantity = signed(buy.quantity);
            let free = stock - possible.most(buy.sent_ns, buy.answered_ns);
            if free >= quantity {
                let detail = format!("user {} got sold out while {free} units are free", self.user(buy.user));
                self.add(Kind::FalseSoldOut, buy.line, detail);
            }
            if left_at_end >= quantity && buy.sent_ns > last_release_ns {
                undersold = Some(buy.line);
            }
        }
        if let Some(line) = undersold {
            let detail = format!("{left_at_end} units of {stock} are left, and buyers got sold out");
            self.add(Kind::Undersell, line, detail);
        }
    }

    fn limits(&mut self, units: &Units) {
        let limit = signed(self.history.header.per_user_limit);
        let refused = self.history.buys.iter().filter(|buy| buy.answer == Answer::Limit);
        let mut timelines: HashMap<u32, Timeline> = HashMap::new();
        let holds = by_user(units);
        for buy in refused {
            let timeline = timelines.entry(buy.user).or_insert_with(|| {
                let holds = holds.get(&buy.user).into_iter().flatten().map(|hold| **hold).collect();
                Units { holds }.possible()
            });
            let most = timeline.most(buy.sent_ns, buy.answered_ns);
            if limit == 0 || most + signed(buy.quantity) <= limit {
                let detail =
                    format!("user {} is refused for the limit with {most} of {limit} units", self.user(buy.user));
                self.add(Kind::FalseLimit, buy.line, detail);
            }
        }
    }

    /// A buyer who was refused as sold out comes before all who asked after that answer, unless units came back.
    fn fairness(&mut self, units: &Units) {
        let releases = units.releases();
        // For each release by its latest moment: the earliest that this one or a later one can have been.
        let earliest = suffix_min(releases.iter().map(|release| release.earliest_ns));
        let mut quantities: Vec<u64> = self.history.buys.iter().map(|buy| buy.quantity).collect();
        quantities.sort_unstable();
        quantities.dedup();
        for quantity in quantities {
            let mut granted: Vec<&Buy> =
                self.history.buys.iter().filter(|buy| is_first_yes(self.requests, buy)).collect();
            granted.retain(|buy| buy.quantity >= quantity);
            granted.sort_unstable_by_key(|buy| buy.sent_ns);
            let answered = suffix_min(granted.iter().map(|buy| buy.answered_ns));
            for refused in &self.history.buys {
                if refused.answer != Answer::SoldOut || refused.quantity != quantity {
                    continue;
                }
                let later = granted.partition_point(|buy| buy.sent_ns <= refused.answered_ns);
                let Some(granted_ns) = answered.get(later) else { continue };
                let first = releases.partition_point(|release: &Release| release.latest_ns < refused.sent_ns);
                if earliest.get(first).is_none_or(|earliest_ns| earliest_ns > granted_ns) {
                    let (user, other) = (self.user(refused.user), granted[later]);
                    let detail = format!(
                        "user {user} got sold out, user {} (line {}) asks later and gets a unit that nobody gave back",
                        self.user(other.user),
                        other.line
                    );
                    self.add(Kind::UnfairOrder, refused.line, detail);
                }
            }
        }
    }

    /// After a yes, the same request gets the same yes.
    fn repeats(&mut self) {
        for calls in self.requests.values() {
            let yes = calls.iter().filter(|call| call.answer == Answer::Yes).min_by_key(|call| call.answered_ns);
            let Some(first) = yes else { continue };
            for call in calls.iter().filter(|call| call.line != first.line) {
                let user = self.user(call.user);
                match call.answer {
                    Answer::Yes if call.order != first.order => {
                        let name = |call: &Buy| call.order.map_or("?", |order| self.order(order)).to_owned();
                        let detail =
                            format!("user {user} gets orders {} and {} for one request", name(first), name(call));
                        self.add(Kind::TwinOrder, call.line.max(first.line), detail);
                    }
                    Answer::Yes if call.body.is_some() && first.body.is_some() && call.body != first.body => {
                        let detail = format!("user {user} repeats a request and gets a different body");
                        self.add(Kind::ChangedAnswer, call.line, detail);
                    }
                    Answer::SoldOut | Answer::Limit if call.sent_ns > first.answered_ns => {
                        let detail = format!("user {user} has a yes (line {}) and then a no", first.line);
                        self.add(Kind::ChangedAnswer, call.line, detail);
                    }
                    Answer::Yes | Answer::SoldOut | Answer::Limit | Answer::Refused | Answer::None => {}
                }
            }
        }
    }

    fn shared(&mut self) {
        let mut first: HashMap<u32, &Buy> = HashMap::new();
        for buy in &self.history.buys {
            let Some(order) = buy.order else { continue };
            let before = first.entry(order).or_insert(buy);
            if (before.user, before.key) != (buy.user, buy.key) {
                let (user, other) = (self.user(buy.user), self.user(before.user));
                let detail =
                    format!("order {} goes to users {other} (line {}) and {user}", self.order(order), before.line);
                self.add(Kind::SharedOrder, buy.line, detail);
            }
        }
    }

    fn reads(&mut self) {
        let mut granted: HashMap<u32, &Buy> = HashMap::new();
        for buy in &self.history.buys {
            if let Some(order) = buy.order {
                let first = granted.entry(order).or_insert(buy);
                if buy.answered_ns < first.answered_ns {
                    *first = buy;
                }
            }
        }
        let mut unknown: HashMap<u32, bool> = HashMap::new();
        for buy in &self.history.buys {
            // A request that was refused as "busy" may have been carried out too.
            *unknown.entry(buy.user).or_default() |= matches!(buy.answer, Answer::None | Answer::Refused);
        }
        let mut last: HashMap<u32, &Read> = HashMap::new();
        for read in &self.history.reads {
            let order = self.order(read.order);
            match granted.get(&read.order) {
                Some(buy) if buy.user == read.user => {
                    self.read_by_buyer(read, buy);
                    let latest = last.entry(read.order).or_insert(read);
                    if read.sent_ns >= latest.sent_ns {
                        *latest = read;
                    }
                }
                Some(buy) if read.found => {
                    let detail = format!(
                        "order {order} of user {} is read by user {}",
                        self.user(buy.user),
                        self.user(read.user)
                    );
                    self.add(Kind::WrongOwner, read.line, detail);
                }
                None if read.found && !unknown.get(&read.user).copied().unwrap_or(false) => {
                    let detail = format!("order {order} of user {}, who never got a yes for it", self.user(read.user));
                    self.add(Kind::OrderWithoutYes, read.line, detail);
                }
                Some(_) | None => {}
            }
        }
        for read in last.into_values().filter(|read| read.found && read.state == Some(State::Queued)) {
            let detail = format!("order {} is still queued when it is read last", self.order(read.order));
            self.add(Kind::StuckOrder, read.line, detail);
        }
    }

    fn read_by_buyer(&mut self, read: &Read, buy: &Buy) {
        let order = self.order(read.order).to_owned();
        if !read.found {
            if read.sent_ns > buy.answered_ns {
                let detail = format!("order {order} was accepted (line {}) and is not found", buy.line);
                self.add(Kind::LostOrder, read.line, detail);
            }
            return;
        }
        if let Some(owner) = read.owner.filter(|owner| *owner != buy.user) {
            let detail = format!("order {order} of user {} names user {}", self.user(buy.user), self.user(owner));
            self.add(Kind::WrongOwner, read.line, detail);
        }
        if let Some(quantity) = read.quantity.filter(|quantity| *quantity != buy.quantity) {
            let detail = format!("order {order} has {quantity} units, {} were asked for", buy.quantity);
            self.add(Kind::WrongQuantity, read.line, detail);
        }
    }
}

/// Pairs of a refused and a granted request, and how many of them have the refused one sent first.
///
/// An inversion is no fault as long as the calls overlap, because the network reorders. The count shows how far the
/// sale is from first come, first served.
pub(super) fn inversions(history: &History) -> (u64, u64) {
    let mut granted: Vec<u64> =
        history.buys.iter().filter(|buy| buy.answer == Answer::Yes).map(|buy| buy.sent_ns).collect();
    granted.sort_unstable();
    let (mut pairs, mut inverted) = (0, 0);
    for buy in history.buys.iter().filter(|buy| buy.answer == Answer::SoldOut) {
        pairs += granted.len() as u64;
        inverted += (granted.len() - granted.partition_point(|sent_ns| *sent_ns <= buy.sent_ns)) as u64;
    }
    (inverted, pairs)
}

fn by_user(units: &Units) -> HashMap<u32, Vec<&Hold>> {
    let mut users: HashMap<u32, Vec<&Hold>> = HashMap::new();
    for hold in &units.holds {
        users.entry(hold.user).or_default().push(hold);
    }
    users
}

/// Whether this call is the first of its request: a repeat takes no unit.
fn is_first_yes(requests: &HashMap<(u32, u32), Vec<Buy>>, buy: &Buy) -> bool {
    let calls = requests.get(&(buy.user, buy.key)).map_or(&[][..], Vec::as_slice);
    let first_ns = calls.iter().map(|call| call.sent_ns).min();
    buy.answer == Answer::Yes && first_ns == Some(buy.sent_ns)
}

fn suffix_min(values: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator) -> Vec<u64> {
    let mut least = u64::MAX;
    let mut mins: Vec<u64> = values
        .rev()
        .map(|value| {
            least = least.min(value);
            least
        })
        .collect();
    mins.reverse();
    mins
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
