//! The auditor: what the buyers were told against what the mall's ledger, log and database say.

use serde::{Deserialize, Serialize};

use crate::records::Faults;

/// `GET /admin/api/v1/activities/{id}/audit`. All counts in units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Audit {
    pub total: i64,
    pub available: i64,
    pub held: i64,
    pub sold: i64,
    pub log: LogCounts,
    pub database: DatabaseCounts,
    pub checks: Vec<Check>,
    pub ok: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct LogCounts {
    pub held: i64,
    pub settled: i64,
    pub released: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct DatabaseCounts {
    pub pending_payment: i64,
    pub paid: i64,
    pub closed: i64,
    pub refunded: i64,
}

impl DatabaseCounts {
    pub(crate) const fn orders(self) -> i64 {
        self.pending_payment + self.paid + self.closed + self.refunded
    }
}

/// One check, of the mall or of the bench.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub(crate) struct Check {
    pub id: String,
    pub ok: bool,
    pub detail: String,
}

/// What the bench saw from outside.
pub(crate) struct Seen<'a> {
    pub stock: i64,
    /// Users who were told yes or no.
    pub decided: i64,
    /// Users who got an order.
    pub accepted: i64,
    pub repeats_same: u64,
    pub twins: &'a Faults,
    pub repeats_differ: &'a Faults,
    pub unexpected: &'a Faults,
    /// Requests that never got a yes or no.
    pub undecided: u64,
    /// Orders that their owner could not read, and the number that was tried.
    pub unreadable: &'a Faults,
    pub sampled: usize,
}

/// Collects what a check compares; the faults come first in its detail.
struct Checking {
    faults: Vec<String>,
    facts: Vec<String>,
}

impl Checking {
    const fn new() -> Self {
        Self { faults: Vec::new(), facts: Vec::new() }
    }

    fn hold(&mut self, ok: bool, what: String) {
        if ok { self.facts.push(what) } else { self.faults.push(what) }
    }

    fn none(&mut self, faults: &Faults, what: &str) {
        if faults.count == 0 {
            self.facts.push(format!("{what} 0"));
        } else {
            self.faults.push(format!("{what} {} ({})", faults.count, faults.examples.join("; ")));
        }
    }

    /// Takes the mall's own check of the same invariant in.
    fn end(mut self, id: &str, audit: &Audit) -> Check {
        match audit.checks.iter().find(|check| check.id == id) {
            Some(check) if check.ok => {}
            Some(check) => self.faults.push(format!("the mall says: {}", check.detail)),
            None => self.faults.push("the mall does not check it".to_owned()),
        }
        self.close(id)
    }

    fn close(self, id: &str) -> Check {
        let ok = self.faults.is_empty();
        let told = if ok { self.facts } else { self.faults };
        Check { id: id.to_owned(), ok, detail: told.join(", ") }
    }
}

/// I1 to I3, and after them what else the mall's audit checks.
pub(crate) fn judge(seen: &Seen<'_>, audit: &Audit) -> Vec<Check> {
    let mut checks = vec![oversell(seen, audit), one_order_each(seen, audit), balance(seen, audit)];
    for check in &audit.checks {
        if checks.iter().all(|judged| judged.id != check.id) {
            checks.push(check.clone());
        }
    }
    if !audit.ok && checks.iter().all(|check| check.ok) {
        checks.push(Check { id: "audit".to_owned(), ok: false, detail: "the mall's audit is not ok".to_owned() });
    }
    checks
}

/// What the buyers' answers alone tell, where the mall's audit can't be had.
pub(crate) fn judge_clients(seen: &Seen<'_>, may_close: bool) -> Vec<Check> {
    let mut units = Checking::new();
    if !may_close {
        let (accepted, stock) = (seen.accepted, seen.stock);
        units.hold(accepted <= stock, format!("{accepted} orders accepted of {stock} put on sale"));
    }
    let mut orders = Checking::new();
    orders.none(seen.twins, "twins");
    orders.hold(true, format!("{} repeats got their first answer", seen.repeats_same));
    orders.none(seen.repeats_differ, "repeats that did not");
    orders.none(seen.unreadable, &format!("of {} orders, unreadable by their owner", seen.sampled));
    orders.none(seen.unexpected, "answers without a reason");
    vec![units.close("I1, clients only"), orders.close("I2, clients only")]
}

/// I1: nothing is sold twice, in the ledger, the log, the database or the buyers' hands.
fn oversell(seen: &Seen<'_>, audit: &Audit) -> Check {
    let Audit { total, available, held, sold, log, database, .. } = audit;
    let mut checking = Checking::new();
    checking.hold(*total == seen.stock, format!("total {total} of {} put on sale", seen.stock));
    let may_have = total + log.released;
    checking.hold(seen.accepted <= may_have, format!("{} orders accepted of {may_have} that may be", seen.accepted));
    let owned = held + sold;
    checking.hold(owned <= *total, format!("ledger holds and sold {owned} of {total}"));
    let logged = log.held - log.released;
    checking.hold(logged <= *total, format!("log holds and settled {logged} of {total}"));
    let stored = database.pending_payment + database.paid;
    checking.hold(stored <= *total, format!("database {stored} of {total}"));
    let counts = [*available, *held, *sold, log.held, log.settled, log.released, database.pending_payment];
    let more = [database.paid, database.closed, database.refunded];
    checking.hold(counts.iter().chain(&more).all(|count| *count >= 0), "no count is negative".to_owned());
    checking.end("I1", audit)
}

/// I2: every yes became exactly one order, and a repeat gets the same answer.
fn one_order_each(seen: &Seen<'_>, audit: &Audit) -> Check {
    let mut checking = Checking::new();
    let accepted = seen.accepted;
    checking.hold(audit.log.held == accepted, format!("log {} of {accepted} accepted", audit.log.held));
    let stored = audit.database.orders();
    checking.hold(stored == accepted, format!("database {stored} of {accepted} accepted"));
    checking.none(seen.twins, "twins");
    checking.hold(true, format!("{} repeats got their first answer", seen.repeats_same));
    checking.none(seen.repeats_differ, "repeats that did not");
    checking.none(seen.unreadable, &format!("of {} orders, unreadable by their owner", seen.sampled));
    checking.none(seen.unexpected, "answers without a reason");
    checking.hold(seen.undecided == 0, format!("requests that got neither yes nor no {}", seen.undecided));
    checking.end("I2", audit)
}

/// I3: every unit is somewhere, and none is left while a buyer was sent away.
fn balance(seen: &Seen<'_>, audit: &Audit) -> Check {
    let Audit { total, available, held, sold, database, .. } = audit;
    let mut checking = Checking::new();
    let sum = available + held + sold;
    checking.hold(sum == *total, format!("total {total} = available {available} + held {held} + sold {sold}"));
    let due = seen.stock.min(seen.decided);
    checking.hold(seen.accepted >= due, format!("{} of {due} that could be sold were", seen.accepted));
    let pending = database.pending_payment;
    checking.hold(pending == *held, format!("database waits for the payment of {pending}, ledger holds {held}"));
    checking.hold(database.paid == *sold, format!("database paid {}, ledger sold {sold}", database.paid));
    checking.end("I3", audit)
}

/// After the time to pay: every order of the bench is closed, and its unit is for sale again.
pub(crate) fn returned(seen: &Seen<'_>, audit: &Audit) -> Check {
    let mut checking = Checking::new();
    let Audit { total, available, log, database, .. } = audit;
    checking.hold(database.closed == seen.accepted, format!("closed {} of {}", database.closed, seen.accepted));
    checking.hold(log.released == seen.accepted, format!("released {} of {}", log.released, seen.accepted));
    checking.hold(available == total, format!("available again {available} of {total}"));
    let Check { ok, detail, .. } = checking.end("I3", audit);
    Check { id: "I3 after closing".to_owned(), ok, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit() -> Audit {
        let check = |id: &str| Check { id: id.to_owned(), ok: true, detail: "fine".to_owned() };
        Audit {
            total: 10,
            available: 0,
            held: 10,
            sold: 0,
            log: LogCounts { held: 10, settled: 0, released: 0 },
            database: DatabaseCounts { pending_payment: 10, paid: 0, closed: 0, refunded: 0 },
            checks: ["I1", "I2", "I3", "I5"].map(check).to_vec(),
            ok: true,
        }
    }

    static NONE: Faults = Faults { count: 0, examples: Vec::new() };

    fn seen() -> Seen<'static> {
        Seen {
            stock: 10,
            decided: 40,
            accepted: 10,
            repeats_same: 1,
            twins: &NONE,
            repeats_differ: &NONE,
            unexpected: &NONE,
            undecided: 0,
            unreadable: &NONE,
            sampled: 10,
        }
    }

    /// The ids of the checks that fail, and the first one's detail.
    fn failing(seen: &Seen<'_>, change: impl FnOnce(&mut Audit)) -> (Vec<String>, String) {
        let mut audit = audit();
        change(&mut audit);
        let checks: Vec<Check> = judge(seen, &audit).into_iter().filter(|check| !check.ok).collect();
        let detail = checks.first().map(|check| check.detail.clone()).unwrap_or_default();
        (checks.into_iter().map(|check| check.id).collect(), detail)
    }

    #[test]
    fn a_good_sale_passes() {
        assert_eq!(failing(&seen(), |_| {}).0, Vec::<String>::new());
        assert_eq!(judge(&seen(), &audit()).len(), 4);
        let few = Seen { decided: 4, accepted: 4, ..seen() };
        let changed = failing(&few, |audit| {
            (audit.available, audit.held, audit.log.held, audit.database.pending_payment) = (6, 4, 4, 4);
        });
        assert_eq!(changed.0, Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_found() {
        let check = |seen: &Seen<'_>, change: fn(&mut Audit), ids: &[&str], told: &str| {
            let (found, detail) = failing(seen, change);
            assert_eq!(found, ids, "{detail}");
            assert!(detail.contains(told), "{detail}");
        };
        let nothing = |_: &mut Audit| {};
        let faults = Faults { count: 7, examples: vec!["user 3".to_owned()] };
        check(&seen(), |audit| audit.available = 1, &["I3"], "total 10 = available 1 + held 10 + sold 0");
        check(&seen(), |audit| audit.database.pending_payment = 9, &["I2", "I3"], "database 9 of 10 accepted");
        check(&seen(), |audit| audit.log.held = 9, &["I2"], "log 9 of 10 accepted");
        check(
            &seen(),
            |audit| (audit.available, audit.held) = (-1, 11),
            &["I1", "I3"],
            "ledger holds and sold 11 of 10",
        );
        check(&Seen { accepted: 11, ..seen() }, nothing, &["I1", "I2"], "11 orders accepted of 10 that may be");
        check(&Seen { accepted: 9, ..seen() }, nothing, &["I2", "I3"], "log 10 of 9");
        check(&Seen { twins: &faults, ..seen() }, nothing, &["I2"], "twins 7 (user 3)");
        check(&Seen { repeats_differ: &faults, ..seen() }, nothing, &["I2"], "repeats that did not 7 (user 3)");
        check(&Seen { unreadable: &faults, ..seen() }, nothing, &["I2"], "unreadable by their owner 7");
        check(&Seen { undecided: 1, ..seen() }, nothing, &["I2"], "neither yes nor no 1");
        check(&seen(), |audit| audit.checks[1].ok = false, &["I2"], "the mall says: fine");
        check(&seen(), |audit| audit.checks[3].ok = false, &["I5"], "fine");
        check(&seen(), |audit| drop(audit.checks.remove(0)), &["I1"], "the mall does not check it");
        check(&seen(), |audit| audit.ok = false, &["audit"], "is not ok");
    }

    #[test]
    fn clients_alone_find_what_they_can() {
        let failing = |seen: &Seen<'_>, may_close| {
            let checks = judge_clients(seen, may_close).into_iter().filter(|check| !check.ok);
            checks.map(|check| check.id).collect::<Vec<_>>()
        };
        let faults = Faults { count: 7, examples: vec!["user 3".to_owned()] };
        assert_eq!(failing(&seen(), false), Vec::<String>::new());
        assert_eq!(failing(&Seen { accepted: 11, ..seen() }, false), ["I1, clients only"]);
        // Units of orders that closed are sold again.
        assert_eq!(failing(&Seen { accepted: 11, ..seen() }, true), Vec::<String>::new());
        assert_eq!(failing(&Seen { twins: &faults, ..seen() }, false), ["I2, clients only"]);
        assert_eq!(failing(&Seen { repeats_differ: &faults, ..seen() }, true), ["I2, clients only"]);
    }

    #[test]
    fn stock_that_came_back() {
        let mut audit = audit();
        assert!(!returned(&seen(), &audit).ok);
        (audit.available, audit.held, audit.log.released) = (10, 0, 10);
        (audit.database.pending_payment, audit.database.closed) = (0, 10);
        assert!(returned(&seen(), &audit).ok);
        assert!(judge(&seen(), &audit).iter().all(|check| check.ok));
    }
}
