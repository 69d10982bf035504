//! What a handler answers that does not do what it was asked.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use store::StoreError;
use web::Problem;

use crate::{actions::Refusal, audit::AuditError};

/// A problem, with its cause logged where it is ours.
pub(crate) struct Refused(pub(crate) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let conflict = |code, detail: String| Problem::new(StatusCode::CONFLICT, code, detail);
        Self(match refusal {
            Refusal::Invalid { field: _, detail } => Problem::invalid_body(detail),
            Refusal::Unknown(what) => Problem::not_found(format!("there is no such {what}")),
            Refusal::Changed { what, version } => {
                let detail = format!("the {what} has changed meanwhile; read it again");
                Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail)
                    .with("version", json!(version))
            }
            Refusal::Conflict(detail) => conflict("invalid_transition", detail),
            Refusal::NoAddress => conflict("no_address", "the order has no address; its buyer chooses one".to_owned()),
            Refusal::OtherRefund(refund) => {
                let detail = "the buyer asks for another refund by now; read the order again".to_owned();
                conflict("refund_changed", detail).with("refund_id", json!(refund))
            }
            Refusal::NameTaken => conflict("username_taken", "another account has this name".to_owned()),
            Refusal::InsufficientStock { left, detail } => {
                conflict("insufficient_stock", detail).with("stock", json!(left))
            }
            Refusal::Busy => {
                let detail = "too many passwords are being hashed; try again";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after_s(1)
            }
            Refusal::Unavailable(error) => Problem::unavailable(&error, 1),
            Refusal::Fault(error) => Problem::internal(&error),
        })
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<AuditError> for Refused {
    fn from(error: AuditError) -> Self {
        Refusal::from(error).into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

pub(super) fn not_found(what: &'static str) -> Refused {
    Refusal::Unknown(what).into()
}

pub(super) fn invalid(detail: &str) -> Refused {
    Problem::invalid_body(detail).into()
}
