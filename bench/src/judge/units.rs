//! Which units were certainly, and which possibly, held at a time.

use std::collections::HashMap;

use super::{
    format::{Answer, State},
    read::{Buy, History},
};

/// When the units of an order came back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    pub earliest_ns: u64,
    /// `u64::MAX` if it is not certain that they came back.
    pub latest_ns: u64,
}

/// Units of one order, or of a request whose outcome is not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    pub line: u64,
    pub user: u32,
    pub quantity: u64,
    /// The first moment at which the units may have been taken.
    pub possible_ns: u64,
    /// The moment from which they were certainly taken; `u64::MAX` if they may not have been.
    pub certain_ns: u64,
    pub release: Option<Release>,
}

/// Everything that took units, or may have.
pub(super) struct Units {
    pub holds: Vec<Hold>,
}

/// All calls of one user with one key.
pub(super) fn requests(history: &History) -> HashMap<(u32, u32), Vec<Buy>> {
    let mut requests: HashMap<(u32, u32), Vec<Buy>> = HashMap::new();
    for buy in &history.buys {
        requests.entry((buy.user, buy.key)).or_default().push(*buy);
    }
    requests
}

impl Units {
    pub(super) fn new(history: &History, requests: &HashMap<(u32, u32), Vec<Buy>>) -> Self {
        let releases = Releases::new(history);
        // An order that went to two buyers took its units once.
        let mut orders: HashMap<u32, Hold> = HashMap::new();
        let mut holds = Vec::new();
        for calls in requests.values() {
            let possible_ns = calls.iter().map(|call| call.sent_ns).min().unwrap_or(0);
            let mut granted = false;
            for call in calls {
                let Some(order) = call.order else { continue };
                granted = true;
                let hold = Hold {
                    line: call.line,
                    user: call.user,
                    quantity: call.quantity,
                    possible_ns,
                    certain_ns: call.answered_ns,
                    release: releases.of(order),
                };
                orders
                    .entry(order)
                    .and_modify(|known| {
                        known.possible_ns = known.possible_ns.min(possible_ns);
                        if call.answered_ns < known.certain_ns {
                            (known.certain_ns, known.line) = (call.answered_ns, call.line);
                        }
                    })
                    .or_insert(hold);
            }
            if !granted && let Some(unanswered) = calls.iter().find(|call| call.answer == Answer::None) {
                let Buy { line, user, quantity, .. } = *unanswered;
                let release = releases.unseen();
                holds.push(Hold { line, user, quantity, possible_ns, certain_ns: u64::MAX, release });
            }
        }
        holds.extend(orders.into_values());
        let mut holds: Vec<Hold> = holds.into_iter().map(not_before_it_was_taken).collect();
        holds.sort_unstable_by_key(|hold| (hold.certain_ns, hold.line));
        Self { holds }
    }

    /// What came back, by the latest moment at which it did.
    pub(super) fn releases(&self) -> Vec<Release> {
        let mut releases: Vec<Release> = self.holds.iter().filter_map(|hold| hold.release).collect();
        releases.sort_unstable_by_key(|release| release.latest_ns);
        releases
    }

    /// The most units that may have been held, at every moment at which that number changes.
    pub(super) fn possible(&self) -> Timeline {
        let mut changes = Vec::new();
        for hold in &self.holds {
            let quantity = i64::try_from(hold.quantity).unwrap_or(i64::MAX);
            changes.push((hold.possible_ns, quantity));
            // A unit is still held at the last moment at which it can have come back.
            if let Some(latest_ns) = hold.release.map(|release| release.latest_ns).filter(|ns| *ns < u64::MAX) {
                changes.push((latest_ns + 1, -quantity));
            }
        }
        Timeline::new(changes)
    }
}

/// A release that was read may have been at any time after the order was taken, not before.
fn not_before_it_was_taken(hold: Hold) -> Hold {
    let release = hold.release.map(|release| {
        let earliest_ns = release.earliest_ns.max(hold.possible_ns);
        Release { earliest_ns, latest_ns: release.latest_ns.max(earliest_ns) }
    });
    Hold { release, ..hold }
}

/// When orders gave their units back, as far as clients know.
struct Releases {
    known: HashMap<u32, Release>,
    /// When an order was last seen open.
    open_ns: HashMap<u32, u64>,
    may_close: bool,
}

impl Releases {
    fn new(history: &History) -> Self {
        let mut known: HashMap<u32, Release> = HashMap::new();
        let mut open_ns: HashMap<u32, u64> = HashMap::new();
        for read in
            history.reads.iter().filter(|read| read.found && read.state.is_some_and(|state| state != State::Closed))
        {
            let since = open_ns.entry(read.order).or_default();
            *since = (*since).max(read.sent_ns);
        }
        for read in history.reads.iter().filter(|read| read.found && read.state == Some(State::Closed)) {
            // It was closed after the last time it was seen open.
            let earliest_ns = open_ns.get(&read.order).copied().filter(|ns| *ns <= read.answered_ns).unwrap_or(0);
            let release = known.entry(read.order).or_insert(Release { earliest_ns, latest_ns: read.answered_ns });
            release.latest_ns = release.latest_ns.min(read.answered_ns);
        }
        for cancel in &history.cancels {
            let window = Release { earliest_ns: cancel.sent_ns, latest_ns: cancel.answered_ns };
            if cancel.done {
                // Where both are known, the units came back within both.
                let latest_ns = known.get(&cancel.order).map_or(u64::MAX, |release| release.latest_ns);
                known.insert(cancel.order, Release { latest_ns: window.latest_ns.min(latest_ns), ..window });
            } else if cancel.answered_ns == u64::MAX {
                known.entry(cancel.order).or_insert(window);
            }
        }
        Self { known, open_ns, may_close: history.header.may_close }
    }

    fn of(&self, order: u32) -> Option<Release> {
        let seen_open_ns = self.open_ns.get(&order).copied().unwrap_or(0);
        let unseen = self.may_close.then_some(Release { earliest_ns: seen_open_ns, latest_ns: u64::MAX });
        self.known.get(&order).copied().or(unseen)
    }

    /// Of an order that no client knows.
    fn unseen(&self) -> Option<Release> {
        self.may_close.then_some(Release { earliest_ns: 0, latest_ns: u64::MAX })
    }
}

/// A number over time.
pub(super) struct Timeline {
    /// From this moment on, this many; and the most of all moments up to the next power of two.
    levels: Vec<Vec<i64>>,
    times_ns: Vec<u64>,
}

impl Timeline {
    fn new(mut changes: Vec<(u64, i64)>) -> Self {
        changes.sort_unstable();
        let (mut times_ns, mut values) = (vec![0], vec![0]);
        let mut value = 0_i64;
        for (at_ns, change) in changes {
            value = value.saturating_add(change);
            if times_ns.last() == Some(&at_ns) {
                if let Some(last) = values.last_mut() {
                    *last = value;
                }
            } else {
                times_ns.push(at_ns);
                values.push(value);
            }
        }
        // levels[k][i] is the most of values[i..i + 2^k].
        let mut levels = vec![values];
        let mut width = 1;
        while 2 * width <= times_ns.len() {
            let below = levels.last().map_or(&[][..], Vec::as_slice);
            let level = (0..=times_ns.len() - 2 * width).map(|at| below[at].max(below[at + width])).collect();
            levels.push(level);
            width *= 2;
        }
        Self { levels, times_ns }
    }

    /// The most at any moment of the span.
    pub(super) fn most(&self, from_ns: u64, to_ns: u64) -> i64 {
        let first = self.times_ns.partition_point(|at_ns| *at_ns <= from_ns).saturating_sub(1);
        let end = self.times_ns.partition_point(|at_ns| *at_ns <= to_ns).max(first + 1);
        let level = (end - first).ilog2();
        let values = &self.levels[usize::try_from(level).unwrap_or(0)];
        values[first].max(values[end - (1 << level)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_a_span_is_the_most_of_its_moments() {
        let changes = vec![(5, 1), (7, 2), (7, -1), (9, 4), (12, -6), (20, 3), (21, 1), (30, -2)];
        let timeline = Timeline::new(changes.clone());
        let at = |ns: u64| changes.iter().filter(|(at_ns, _)| *at_ns <= ns).map(|(_, change)| change).sum::<i64>();
        for from in 0..35 {
            for to in from..35 {
                assert_eq!(Some(timeline.most(from, to)), (from..=to).map(at).max(), "{from} to {to}");
            }
        }
        assert_eq!(Timeline::new(Vec::new()).most(0, u64::MAX), 0);
    }
}
