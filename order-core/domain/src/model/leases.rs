//! The leases in memory.

use super::ModelStore;
use crate::{LeaseName, LeaseRow, LeaseStore, SaleError, SaleStore as _};

impl LeaseStore for ModelStore {
    async fn lease(&self, name: LeaseName) -> Result<LeaseRow, SaleError> {
        Ok(self.tables().leases.get(&name).copied().unwrap_or_default())
    }

    async fn move_lease(&self, name: LeaseName, from: LeaseRow, to: LeaseRow) -> Result<bool, SaleError> {
        let mut tables = self.tables();
        let row = tables.leases.entry(name).or_default();
        let key = |row: &LeaseRow| (row.holder, row.fencing_number, row.renewals);
        let is_same = key(row) == key(&from);
        if is_same {
            *row = LeaseRow { late_writes: row.late_writes, ..to };
        }
        Ok(is_same)
    }

    async fn outbox_sent_by(&self, ids: &[i64], fencing_number: u64) -> Result<bool, SaleError> {
        {
            let mut tables = self.tables();
            let row = tables.leases.entry(LeaseName::OutboxRelay).or_default();
            if row.fencing_number != fencing_number {
                row.late_writes += 1;
                return Ok(false);
            }
        }
        self.outbox_sent(ids).await.map(|()| true)
    }

    /// Activities and entry rules do not go through the outbox of the model.
    async fn repeat_latest(&self, _: u64) -> Result<(), SaleError> {
        Ok(())
    }
}
