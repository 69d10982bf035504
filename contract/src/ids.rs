//! Newtyped ids. Each is a non-negative 63-bit number that travels as a decimal string in JSON
//! (a JavaScript number ends at 2^53) and as a BIGINT in the database.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The text is no id: not 1 to 19 decimal digits without a leading zero, or above 2^63 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected a decimal number from 0 to 9223372036854775807")]
pub struct InvalidId;

/// Reads the canonical decimal form only, so that one id has one spelling.
fn parse(text: &str) -> Result<i64, InvalidId> {
    let digits = text.as_bytes();
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 19;
    if !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return Err(InvalidId);
    }
    text.parse().map_err(|_| InvalidId)
}

macro_rules! id {
    ($(#[doc = $doc:literal])* $name:ident) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// The id as the database's BIGINT; `None` below zero.
            pub const fn from_i64(value: i64) -> Option<Self> {
                if value < 0 { None } else { Some(Self(value)) }
            }

            /// The id as the database's BIGINT.
            pub const fn as_i64(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an id as a decimal string")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                crate::openapi::id(concat!($($doc),*))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// A flash sale of one SKU.
    ActivityId
);
id!(
    /// An order. Its id is made before units are reserved and is the idempotency key of every later step.
    OrderId
);
id!(
    /// A shopper, as the token's `sub`.
    UserId
);
id!(
    /// A shopper's session, as the token's `sid`: all tokens that follow from one sign-in.
    SessionId
);
id!(
    /// A product (SPU).
    ProductId
);
id!(
    /// A stock keeping unit (SKU).
    SkuId
);
id!(
    /// A category of products.
    CategoryId
);
id!(
    /// A delivery address of a shopper.
    AddressId
);
id!(
    /// One attempt to pay for an order; the provider knows the payment by this id.
    PaymentId
);
id!(
    /// A refund.
    RefundId
);
id!(
    /// One change of an activity's stock by an admin; applied at most once.
    OperationId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_has_one_spelling() {
        let check = |text: &str, expect: Option<i64>| {
            assert_eq!(text.parse::<OrderId>().ok().map(OrderId::as_i64), expect, "{text:?}");
        };
        check("0", Some(0));
        check("7", Some(7));
        check("9223372036854775807", Some(i64::MAX));
        for bad in ["", "00", "07", "+7", "-7", " 7", "7 ", "1e3", "9223372036854775808", "99999999999999999999", "٣"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn json_is_a_string() {
        let id: OrderId = "42".parse().unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), r#""42""#);
        assert_eq!(serde_json::from_str::<OrderId>(r#""42""#).unwrap(), id);
        assert!(serde_json::from_str::<OrderId>("42").is_err());
    }
}
