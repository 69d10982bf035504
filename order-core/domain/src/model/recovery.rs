//! What the recovery of a ledger asks of the database, and what an admin decides of a sale.

use contract::{
    ActivityId, OperationId,
    record::{Action, LedgerCommand},
    stock::{HoldState, Promise, Term},
};

use super::ModelStore;
use crate::outgoing::Outgoing;

impl ModelStore {
    /// An admin adds or takes units, once per operation.
    pub fn ask_restock(&self, activity: ActivityId, operation: OperationId, delta: i64) {
        let mut tables = self.tables();
        tables.asked.insert((activity, operation), delta);
        tables.send(Outgoing::command(activity, Action::Restock { operation, delta }));
        self.ring(&tables);
    }

    /// An admin ends a sale before its time.
    pub fn end_sale(&self, activity: ActivityId, ends_at_ms: u64) {
        let mut tables = self.tables();
        tables.ended.insert(activity, ends_at_ms);
        tables.send(Outgoing::command(activity, Action::End { ends_at_ms }));
        self.ring(&tables);
    }

    /// The ledgers whose opening is taken in.
    pub fn opened(&self) -> Vec<ActivityId> {
        self.tables().ledgers.keys().copied().collect()
    }

    /// Draws a term that is higher than every term drawn before, and than `above`.
    pub fn next_term(&self, above: Term) -> Term {
        let mut tables = self.tables();
        tables.last_term = tables.last_term.max(above.0) + 1;
        Term(tables.last_term)
    }

    /// What was decided of an activity's orders, units and end, and has not come back from its ledger.
    pub fn decisions(&self, activity: ActivityId) -> Vec<LedgerCommand> {
        let tables = self.tables();
        let held = tables.holds.iter().filter(|(_, row)| row.activity == activity && row.hold.state == HoldState::Held);
        let mut actions: Vec<Action> =
            held.filter_map(|(order, _)| tables.orders.get(order)?.state.command(*order)).collect();
        for ((of, operation), delta) in &tables.asked {
            if *of == activity && !tables.restocks.contains(&(activity, *operation)) {
                actions.push(Action::Restock { operation: *operation, delta: *delta });
            }
        }
        let ledgers_end = tables.ledgers.get(&activity).map(|row| row.rules.ends_at_ms);
        let ends_at_ms = tables.ended.get(&activity).copied();
        if let (Some(ends_at_ms), Some(ledgers_end)) = (ends_at_ms, ledgers_end)
            && ends_at_ms < ledgers_end
        {
            actions.push(Action::End { ends_at_ms });
        }
        actions.into_iter().map(|action| LedgerCommand { activity, action }).collect()
    }

    /// The promises of an activity that wait until a term opens.
    pub fn promises(&self, activity: ActivityId) -> Vec<Promise> {
        self.tables().promises.get(&activity).cloned().unwrap_or_default()
    }
}
