//! Why a request is refused.

/// A request that can't be answered, and which field of it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidRequest {
    /// The name of the field.
    pub field: &'static str,
    /// What is wrong with it, for the client.
    pub reason: String,
}

impl InvalidRequest {
    pub(crate) fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }
}
