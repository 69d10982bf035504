//! Why an action was not carried out.

use contract::RefundId;
use domain::SaleError;
use ledger::LedgerUnavailable;
use store::{Changed, StoreError};

use crate::{audit::AuditError, opening::OpenError};

/// Why an action was not carried out.
#[derive(Debug, Clone)]
pub(crate) enum Refusal {
    /// This field has a value that it can't have.
    Invalid { field: &'static str, detail: String },
    /// There is no such row, of this kind.
    Unknown(&'static str),
    /// The row, of this kind, has another version by now.
    Changed { what: &'static str, version: u64 },
    /// The row's state does not allow it.
    Conflict(String),
    /// The order has no address, so it can't be sent.
    NoAddress,
    /// The order's open refund is not the one that was decided, but this one.
    OtherRefund(RefundId),
    /// Another account has the name.
    NameTaken,
    /// There are not enough units for it.
    InsufficientStock { left: u64, detail: String },
    /// Too many passwords are being hashed.
    Busy,
    /// A part of the mall does not answer.
    Unavailable(String),
    /// A fault of the program.
    Fault(String),
}

impl Refusal {
    pub(crate) fn invalid(field: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { field, detail: detail.into() }
    }

    /// This refusal, of the form as a whole where it is of `field`.
    pub(crate) fn of_form(mut self, field: &str) -> Self {
        if let Self::Invalid { field: named, .. } = &mut self
            && *named == field
        {
            *named = "";
        }
        self
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::Conflict(detail.into())
    }

    /// The SKU has too few units.
    pub(crate) fn sku_has(left: u64) -> Self {
        let detail = format!("the SKU has {left} units that are not in a sale or an order");
        Self::InsufficientStock { left, detail }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let text = format!("{error:#}");
        match error {
            StoreError::Ids(_)
            | StoreError::Unavailable(_)
            | StoreError::OutcomeUnknown(_)
            | StoreError::Database(_) => Self::Unavailable(text),
            StoreError::Sale(_) | StoreError::Unsuitable(_) | StoreError::Migration(_) => Self::Fault(text),
        }
    }
}

impl From<SaleError> for Refusal {
    fn from(error: SaleError) -> Self {
        match error {
            SaleError::Failed { .. } => Self::Unavailable(format!("{error:#}")),
            SaleError::Gap { .. } | SaleError::Contradiction(_) => Self::Fault(format!("{error:#}")),
        }
    }
}

impl From<LedgerUnavailable> for Refusal {
    fn from(error: LedgerUnavailable) -> Self {
        Self::Unavailable(format!("{error:#}"))
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Ledger(error) => error.into(),
        }
    }
}

impl From<OpenError> for Refusal {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Ledger(error) => error.into(),
        }
    }
}

/// The changed row, or why it was not changed.
pub(super) fn changed<T>(changed: Changed<T>, what: &'static str) -> Result<T, Refusal> {
    match changed {
        Changed::Done(row) => Ok(row),
        Changed::Unknown => Err(Refusal::Unknown(what)),
        Changed::VersionIs(version) => Err(Refusal::Changed { what, version }),
        Changed::TooLate => {
            Err(Refusal::conflict("a sale whose ledger is open, or is about to be opened, can't be changed any more"))
        }
        Changed::Invalid(field) => {
            Err(Refusal::invalid(field, format!("{field} does not exist, or does not fit the other fields")))
        }
        Changed::InsufficientStock(left) => Err(Refusal::sku_has(left)),
    }
}
