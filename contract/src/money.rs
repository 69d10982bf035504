//! Money in whole cents. There is no float and no unchecked arithmetic on it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in cents (分). JSON and the database carry the bare integer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(i64);

impl Cents {
    /// An amount of `cents`.
    pub const fn new(cents: i64) -> Self {
        Self(cents)
    }

    /// The bare number of cents.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The price of `quantity` units; `None` where it does not fit.
    pub fn times(self, quantity: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(quantity)).map(Self)
    }

    /// The sum; `None` where it does not fit.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl fmt::Display for Cents {
    /// Yuan with two places: `-12.05`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let cents = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Cents {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        crate::openapi::cents()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Cents {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_checked() {
        assert_eq!(Cents::new(1999).times(3), Some(Cents::new(5997)));
        assert_eq!(Cents::new(i64::MAX).times(2), None);
        assert_eq!(Cents::new(i64::MAX).plus(Cents::new(1)), None);
    }

    #[test]
    fn shown_as_yuan() {
        for (cents, text) in [(0, "0.00"), (5, "0.05"), (-1205, "-12.05"), (i64::MIN, "-92233720368547758.08")] {
            assert_eq!(Cents::new(cents).to_string(), text);
        }
    }
}
