//! One sale as the journal records it, and what can be refused without asking the ledger.
//!
//! A refusal given here must be the one the ledger would give. A repeat gets its first answer even
//! after the last unit or the last minute, so nothing is refused to a user who may have bought:
//! - known buyers are never refused here, and stay known after their units went back;
//! - a flag counts only once the journal was read up to the ledger's `seq` at the time the flag was
//!   set. No purchase is possible after it, and every earlier buyer is on the journal;
//! - where the journal was not read from its first entry without a gap, nothing is refused.

use std::collections::{HashMap, HashSet};

use contract::{
    Activity, UserId,
    activity::{self, Admission, EntryRule},
    snowflake::made_at_ms,
    stock::{BatchReply, Entry, Event, Outcome, Placed, Position, Term},
};
use foldhash::fast::FixedState;

use crate::answer::Answer;

/// Milliseconds after the end beyond which no buyer can be missing on a journal that is followed.
const ENDED_CERTAIN_MS: u64 = 60_000;
/// Milliseconds after the end for which repeats get their first answer.
const REPEATS_MS: u64 = 24 * 3600 * 1000;

/// No unit was available at this point of the journal.
#[derive(Debug, Clone, Copy)]
struct SoldOut {
    epoch: u64,
    seq: u64,
}

/// The stock at one point of the journal.
#[derive(Debug, Clone, Copy)]
struct Level {
    seq: u64,
    available: u64,
    total: u64,
}

/// A sale and its buyers.
#[derive(Debug)]
pub(crate) struct Sale {
    activity: Option<Activity>,
    /// The key by which it is forgotten.
    ends_at_ms: u64,
    /// How far the journal was read.
    position: Position,
    epoch: u64,
    /// The journal was read from its first entry without a gap.
    whole: bool,
    level: Option<Level>,
    buyers: HashSet<UserId, FixedState>,
    sold_out: Option<SoldOut>,
    /// The end of the sale as the journal has it; `None` where that was not read.
    ledger_ends_at_ms: Option<u64>,
    /// The ledger's `seq` when it reported the end of the sale. Every buyer is on the journal before it.
    ended_at_seq: Option<u64>,
    /// The latest entry rule of each user that has one.
    rules: HashMap<UserId, EntryRule, FixedState>,
    /// There were more rules than are kept, so any user may be a blocked one.
    rules_lost: bool,
}

impl Default for Sale {
    fn default() -> Self {
        Self {
            activity: None,
            ends_at_ms: u64::MAX,
            position: Position::default(),
            epoch: 0,
            whole: true,
            level: None,
            buyers: HashSet::with_hasher(FixedState::default()),
            sold_out: None,
            ledger_ends_at_ms: None,
            ended_at_seq: None,
            rules: HashMap::with_hasher(FixedState::default()),
            rules_lost: false,
        }
    }
}

impl Sale {
    /// Whether an entry of the journal was read.
    pub(super) const fn is_known_to_journal(&self) -> bool {
        self.position.seq > 0
    }

    /// The term in which the ledger sells, as far as the journal was read; `None` while it is being recovered.
    pub(super) fn open_term(&self) -> Option<Term> {
        self.position.is_open.then_some(self.position.term)
    }

    /// Whether the journal was read up to the entry `seq`.
    pub(super) const fn has_read_to(&self, seq: u64) -> bool {
        self.position.seq >= seq
    }

    /// As its admin announced it; `None` before that.
    pub(super) const fn activity(&self) -> Option<&Activity> {
        self.activity.as_ref()
    }

    /// The end by which it is forgotten.
    pub(super) const fn ends_at_ms(&self) -> u64 {
        self.ends_at_ms
    }

    /// The end as its ledger has it, as long as the activity is not known.
    pub(super) fn expect_end(&mut self, ends_at_ms: u64) {
        self.ends_at_ms = ends_at_ms;
    }

    /// Takes the activity as its admin wrote it.
    pub(super) fn announce(&mut self, activity: Activity) {
        self.ends_at_ms = activity.rules.ends_at_ms;
        self.activity = Some(activity);
    }

    /// Takes the journal's next entry; an entry that was read before changes nothing. Whether it was new.
    pub(super) fn handle_entry(&mut self, entry: &Entry) -> bool {
        match self.position.advance(entry) {
            Placed::Next => {}
            Placed::Mark => {
                // What was concluded from replies holds in their term only.
                if !self.position.is_open {
                    (self.sold_out, self.level, self.ended_at_seq) = (None, None, None);
                }
                return false;
            }
            Placed::Known | Placed::Stale | Placed::Failed => return false,
            Placed::Gap => {
                self.whole = false;
                self.position.jump(entry);
                (self.sold_out, self.level, self.ended_at_seq) = (None, None, None);
            }
        }
        self.move_epoch(entry.epoch);
        self.level = level_after(self.level, entry);
        match entry.event {
            Event::Opened { rules, .. } => self.ledger_ends_at_ms = Some(rules.ends_at_ms),
            Event::Ended { ends_at_ms } => {
                (self.ledger_ends_at_ms, self.ended_at_seq) = (Some(ends_at_ms), Some(entry.seq));
            }
            Event::Held(_)
            | Event::Settled { .. }
            | Event::Released { .. }
            | Event::Restocked { .. }
            | Event::TermStarted { .. }
            | Event::TermOpened(_)
            | Event::PromiseFailed { .. } => {}
        }
        true
    }

    fn move_epoch(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
        if self.sold_out.is_some_and(|flag| flag.epoch < epoch) {
            self.sold_out = None;
        }
    }

    /// Whether the admin has ended the sale before the end that its ledger is known to have.
    pub(super) fn is_ended_early(&self, activity: &Activity, wall_ms: u64) -> bool {
        let ends_at_ms = activity.rules.ends_at_ms;
        wall_ms >= ends_at_ms && self.ledger_ends_at_ms.is_none_or(|ledgers| ledgers > ends_at_ms)
    }

    /// `repeats_only`: the ledger was not asked whether the sale is over for it too.
    pub(super) fn handle_reply(&mut self, reply: &BatchReply, repeats_only: bool) {
        let counters = &reply.counters;
        if self.level.is_none_or(|level| level.seq < counters.seq) {
            self.level = Some(Level { seq: counters.seq, available: counters.available, total: counters.total });
        }
        if self.sold_out.is_some_and(|flag| flag.epoch < counters.epoch) {
            self.sold_out = None;
        }
        let said = |outcome| reply.outcomes.contains(&outcome);
        if counters.available == 0 && counters.epoch >= self.epoch && said(Outcome::SoldOut) {
            // Nothing can be held in the same epoch any more: the flag's first `seq` is read to soonest.
            self.sold_out.get_or_insert(SoldOut { epoch: counters.epoch, seq: counters.seq });
        }
        if said(Outcome::Ended) && !repeats_only {
            self.ended_at_seq = Some(counters.seq);
        }
    }

    /// Whether the buyer was not known.
    pub(super) fn add_buyer(&mut self, user: UserId) -> bool {
        self.whole && self.buyers.insert(user)
    }

    /// Forgets the buyers; from now on nothing is refused here. Returns how many there were.
    pub(super) fn forget_buyers(&mut self) -> usize {
        self.whole = false;
        std::mem::replace(&mut self.buyers, HashSet::with_hasher(FixedState::default())).len()
    }

    /// Takes an admin's rule for a user; an older version changes nothing. Whether there is one more rule to keep.
    pub(super) fn handle_rule(&mut self, rule: EntryRule) -> bool {
        let known = self.rules.get(&rule.user);
        // Once some of them are lost, nobody is let in, whatever the others say.
        if self.rules_lost || known.is_some_and(|known| known.version >= rule.version) {
            return false;
        }
        self.rules.insert(rule.user, rule).is_none()
    }

    /// Whether there are rules to forget.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether there are buyers to forget.
    pub(super) fn has_buyers(&self) -> bool {
        !self.buyers.is_empty()
    }

    /// Forgets the rules; from now on no user is let in. Returns how many there were.
    pub(super) fn forget_rules(&mut self) -> usize {
        self.rules_lost = true;
        std::mem::replace(&mut self.rules, HashMap::with_hasher(FixedState::default())).len()
    }

    /// Whether the user is known to have bought.
    pub(super) fn has_buyer(&self, user: UserId) -> bool {
        self.buyers.contains(&user)
    }

    /// The refusal of a user who may not take part, or of all users while the sale is paused.
    fn shut(&self, activity: &Activity, user: UserId) -> Option<Answer> {
        let admission = activity.admission;
        if admission.paused {
            return Some(Answer::Paused);
        }
        if self.rules_lost {
            return Some(Answer::Unavailable);
        }
        let entry = self.rules.get(&user).map_or(activity::Entry::Unlisted, |rule| rule.entry);
        let shut_out = match entry {
            activity::Entry::Allowed => false,
            activity::Entry::Blocked => true,
            activity::Entry::Unlisted => admission.invited_only || is_too_new(&admission, user),
        };
        shut_out.then_some(Answer::NotEligible)
    }

    pub(super) fn refusal(&self, activity: &Activity, user: UserId, wall_ms: u64) -> Option<Answer> {
        let rules = &activity.rules;
        if wall_ms >= rules.ends_at_ms.saturating_add(REPEATS_MS) {
            return Some(Answer::Ended);
        }
        if (rules.starts_at_ms..rules.ends_at_ms).contains(&wall_ms)
            && let Some(answer) = self.shut(activity, user)
        {
            return Some(answer);
        }
        if !self.position.is_open {
            return Some(Answer::Frozen);
        }
        if !self.whole || self.buyers.contains(&user) {
            return None;
        }
        if wall_ms < rules.starts_at_ms {
            return Some(Answer::NotStarted);
        }
        let read_to = |seq: u64| self.has_read_to(seq);
        let is_sold_out = self.sold_out.is_some_and(|flag| read_to(flag.seq));
        if wall_ms >= rules.ends_at_ms {
            let certain = wall_ms >= rules.ends_at_ms.saturating_add(ENDED_CERTAIN_MS) || is_sold_out;
            return (certain || self.ended_at_seq.is_some_and(read_to)).then_some(Answer::Ended);
        }
        is_sold_out.then_some(Answer::SoldOut)
    }

    /// Units left and units in all, as far as is known.
    pub(super) fn stock(&self) -> Option<(u64, u64)> {
        self.level.map(|level| (level.available, level.total))
    }
}

/// Whether the user registered too late for the sale.
fn is_too_new(admission: &Admission, user: UserId) -> bool {
    admission.registered_before_ms.is_some_and(|before_ms| made_at_ms(user.as_i64()) >= before_ms)
}

/// The stock after `entry`; `None` if it can't be known until the ledger or the journal reports it again.
fn level_after(before: Option<Level>, entry: &Entry) -> Option<Level> {
    if let Event::Opened { stock, .. } = entry.event {
        return Some(Level { seq: entry.seq, available: stock, total: stock });
    }
    let level = before?;
    if entry.seq <= level.seq {
        return Some(level);
    }
    if entry.seq != level.seq + 1 {
        return None;
    }
    let (available, total) = match entry.event {
        Event::Opened { .. } | Event::Settled { .. } | Event::Ended { .. } => (level.available, level.total),
        Event::Held(reservation) => (level.available.checked_sub(reservation.quantity.into())?, level.total),
        Event::Released { quantity, .. } => (level.available.checked_add(quantity.into())?, level.total),
        Event::TermStarted { .. } | Event::TermOpened(_) | Event::PromiseFailed { .. } => {
            (level.available, level.total)
        }
        Event::Restocked { delta, .. } => {
            (level.available.checked_add_signed(delta)?, level.total.checked_add_signed(delta)?)
        }
    };
    Some(Level { seq: entry.seq, available, total })
}
