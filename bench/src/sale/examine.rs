//! Clients, ledger, log and database at the end of a run.

use std::time::{Duration, Instant};

use contract::OrderId;

use super::{AUDIT_EVERY, Options, asking::Asking};
use crate::{
    audit::{self, Audit, Check, Seen},
    buyers::Buyers,
    crowd::Crowd,
    judge::format::{Line, State},
    mall::{Mall, OrderAnswer},
    progress::note,
    records::Faults,
};

/// Orders that are read back; of more orders, this many at equal distances.
const SAMPLE_MAX: usize = 2000;

/// What an examination found.
#[derive(Default)]
pub(super) struct Examined {
    pub audit: Option<Audit>,
    pub checks: Vec<Check>,
    /// Orders that were read back.
    pub reads: Vec<Line>,
    /// What could not be examined.
    pub missing: Vec<String>,
}

/// Reads orders back as their owners, and audits until all is well or the time for it is over.
pub(super) fn examine(
    options: &Options,
    asking: &Asking,
    crowd: &Crowd<'_>,
    buyers: &Buyers,
    (began, rest_by): (Instant, Instant),
) -> Examined {
    let records = &crowd.records;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut seen = Seen {
        stock: i64::from(options.stock),
        decided: number(records.decided()),
        accepted: number(records.accepted()),
        repeats_same: records.repeats_same,
        twins: &records.twins,
        repeats_differ: &records.repeats_differ,
        unexpected: &records.unexpected,
        undecided: crowd.gave_up,
        unreadable: &Faults::default(),
        sampled: 0,
    };
    let may_close = options.pay_within.is_some();
    let without = |missing: String, seen: &Seen<'_>, examined: Examined| {
        let missing = [examined.missing, vec![format!("the mall's audit: {missing}")]].concat();
        Examined { checks: audit::judge_clients(seen, may_close), missing, ..examined }
    };
    let mut examined = Examined::default();
    match until_quiet(asking, rest_by, |audit| audit::judge(&seen, audit)) {
        Ok((audit, checks)) => (examined.audit, examined.checks) = (Some(audit), checks),
        Err(missing) => return without(missing, &seen, examined),
    }

    let unreadable = examined.read_back(asking, crowd, buyers, began);
    seen.sampled = examined.reads.len();
    seen.unreadable = &unreadable;
    match until_quiet(asking, rest_by, |audit| audit::judge(&seen, audit)) {
        Ok((audit, checks)) => (examined.audit, examined.checks) = (Some(audit), checks),
        Err(missing) => return without(missing, &seen, examined),
    }
    let Some(pay_within) = options.pay_within else { return examined };
    note(&format!("waiting {} s for the unpaid orders to close", pay_within.as_secs_f64()));
    let closed_by = Instant::now() + pay_within + options.settle;
    match until_quiet(asking, closed_by, |audit| vec![audit::returned(&seen, audit)]) {
        Ok((audit, returned)) => {
            examined.audit = Some(audit);
            examined.checks.extend(returned);
        }
        Err(missing) => examined.missing.push(format!("the audit after the unpaid orders closed: {missing}")),
    }
    examined
}

impl Examined {
    /// Reads a sample of the orders as their owners; those that are not as they should be.
    fn read_back(&mut self, asking: &Asking, crowd: &Crowd<'_>, buyers: &Buyers, began: Instant) -> Faults {
        let orders = crowd.records.orders();
        let step = orders.len().div_ceil(SAMPLE_MAX).max(1);
        let mut unreadable = Faults::default();
        for (order, user) in orders.iter().step_by(step).copied() {
            let (sent, token) = (began.elapsed(), buyers.token(user).to_owned());
            let answer = match asking.ask(move |mall, timeout| read_order(mall, &token, order, timeout)) {
                Ok(answer) => answer,
                Err(fault) => {
                    let (read, due) = (self.reads.len(), orders.len().div_ceil(step));
                    self.missing.push(format!("{} of {due} orders were not read back: {fault}", due - read));
                    break;
                }
            };
            self.reads.push(Line::Read {
                user: buyers.id(user).to_string(),
                order: order.to_string(),
                sent_ns: nanos(sent),
                answered_ns: nanos(began.elapsed()),
                found: answer.fault.is_none(),
                owner: None,
                quantity: None,
                state: state(&answer.status),
            });
            if let Some(fault) = answer.fault {
                unreadable.add(fault);
            }
        }
        unreadable
    }
}

/// An order as its owner reads it; a server that is away for the moment is a fault.
fn read_order(mall: &Mall, token: &str, order: OrderId, timeout: Duration) -> Result<OrderAnswer, String> {
    let answer = mall.order(token, order, timeout)?;
    match answer.fault {
        Some(fault) if answer.is_unavailable => Err(fault),
        fault => Ok(OrderAnswer { fault, ..answer }),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of an order by its status, if the judge has a word for it.
fn state(status: &str) -> Option<State> {
    match status {
        "queued" => Some(State::Queued),
        "pending_payment" => Some(State::Pending),
        "paid" | "shipped" | "completed" | "refunding" | "refunded" => Some(State::Paid),
        "closed" | "failed" => Some(State::Closed),
        _ => None,
    }
}

/// The first audit that passes, or the first one after `by`.
fn until_quiet(
    asking: &Asking,
    by: Instant,
    judge: impl Fn(&Audit) -> Vec<Check>,
) -> Result<(Audit, Vec<Check>), String> {
    loop {
        let audit = asking.audit()?;
        let checks = judge(&audit);
        if checks.iter().all(|check| check.ok) || Instant::now() >= by {
            return Ok((audit, checks));
        }
        asking.interrupt.sleep(AUDIT_EVERY);
    }
}
