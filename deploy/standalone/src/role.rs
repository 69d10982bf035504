//! The services that can be a process of their own.

/// Which service this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    OrderCore,
    Admin,
}

impl Role {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::OrderCore => "order-core",
            Self::Admin => "admin",
        }
    }
}
