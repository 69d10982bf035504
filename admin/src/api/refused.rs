//! What a handler answers that does not do what it was asked.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::SaleError;
use foundation::web::Problem;
use ledger::LedgerUnavailable;
use serde_json::json;
use store::{Changed, StoreError};

use crate::{audit::AuditError, opening::OpenError};

/// A problem, with its cause logged where it is ours.
pub(super) struct Refused(pub(super) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self(match error {
            StoreError::Ids(_)
            | StoreError::Unavailable(_)
            | StoreError::OutcomeUnknown(_)
            | StoreError::Database(_) => Problem::unavailable(&error, 1),
            StoreError::Sale(_) | StoreError::Unsuitable(_) | StoreError::Migration(_) => Problem::internal(&error),
        })
    }
}

impl From<SaleError> for Refused {
    fn from(error: SaleError) -> Self {
        Self(match error {
            SaleError::Failed { .. } => Problem::unavailable(&error, 1),
            SaleError::Gap { .. } | SaleError::Contradiction(_) => Problem::internal(&error),
        })
    }
}

impl From<LedgerUnavailable> for Refused {
    fn from(error: LedgerUnavailable) -> Self {
        Self(Problem::unavailable(&error, 1))
    }
}

impl From<AuditError> for Refused {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => error.into(),
            AuditError::Ledger(error) => error.into(),
        }
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Ledger(error) => error.into(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

pub(super) fn not_found(what: &str) -> Refused {
    Problem::not_found(format!("there is no such {what}")).into()
}

pub(super) fn invalid(detail: &str) -> Refused {
    Problem::invalid_body(detail).into()
}

pub(super) fn insufficient_stock(left: u64) -> Refused {
    let detail = format!("the SKU has {left} units that are not in a sale or an order");
    Problem::new(StatusCode::CONFLICT, "insufficient_stock", detail).with("stock", json!(left)).into()
}

/// The changed row, or why it was not changed.
pub(super) fn changed<T>(changed: Changed<T>, what: &str) -> Result<T, Refused> {
    match changed {
        Changed::Done(row) => Ok(row),
        Changed::Unknown => Err(not_found(what)),
        Changed::VersionIs(version) => {
            let detail = format!("the {what} has changed meanwhile; read it again");
            let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail);
            Err(problem.with("version", json!(version)).into())
        }
        Changed::TooLate => {
            let detail = "a sale whose ledger is open, or is about to be opened, can't be changed any more";
            Err(Problem::new(StatusCode::CONFLICT, "invalid_transition", detail).into())
        }
        Changed::Invalid(field) => Err(invalid(&format!("{field} does not exist, or does not fit the other fields"))),
        Changed::InsufficientStock(left) => Err(insufficient_stock(left)),
    }
}
