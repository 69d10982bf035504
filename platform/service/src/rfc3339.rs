//! Times as clients see them: RFC 3339 in UTC, from and to epoch milliseconds.
//!
//! `#[serde(with = "foundation::rfc3339")]` on a `u64`, `foundation::rfc3339::option` on an `Option<u64>`.

use serde::{Deserialize, Deserializer, Serializer, de};
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const MILLIS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
/// 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for a year.
const LAST_MS: u64 = 253_402_300_799_999;

/// `2026-11-22T08:00:00.000Z`. What lies after the year 9999 is shown as its last instant.
pub fn format(at_ms: u64) -> String {
    let nanos = i128::from(at_ms.min(LAST_MS)) * 1_000_000;
    let formatted = OffsetDateTime::from_unix_timestamp_nanos(nanos).map(|at| at.format(MILLIS));
    match formatted {
        Ok(Ok(text)) => text,
        Ok(Err(_)) | Err(_) => unreachable!("{at_ms} ms lies within the years 1970 to 9999"),
    }
}

/// Epoch milliseconds of an RFC 3339 time, cut to the millisecond; `None` before 1970 or if it is malformed.
pub fn parse(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok().filter(|at_ms| *at_ms <= LAST_MS)
}

/// For serde: writes epoch milliseconds as text.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(at_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*at_ms))
}

/// For serde: reads text as epoch milliseconds.
///
/// # Errors
/// If it is no RFC 3339 time since 1970.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| de::Error::custom("expected an RFC 3339 time such as 2026-11-22T08:00:00Z"))
}

/// The same for a time that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer};

    /// For serde: writes epoch milliseconds as text, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(at_ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match at_ms {
            Some(at_ms) => super::serialize(at_ms, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// For serde: reads text as epoch milliseconds, or null.
    ///
    /// # Errors
    /// If it is no RFC 3339 time since 1970.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        #[derive(Deserialize)]
        struct At(#[serde(with = "super")] u64);
        Ok(Option::<At>::deserialize(deserializer)?.map(|at| at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (at_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_334_400_123, "2026-11-22T08:00:00.123Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format(at_ms), text);
            assert_eq!(parse(text), Some(at_ms));
        }
        assert_eq!(format(u64::MAX), format(LAST_MS));
    }

    #[test]
    fn what_is_read() {
        for (text, expect) in [
            ("2026-11-22T08:00:00Z", Some(1_795_334_400_000)),
            ("2026-11-22T16:00:00+08:00", Some(1_795_334_400_000)),
            ("2026-11-22T08:00:00.9999999Z", Some(1_795_334_400_999)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-22T08:00:00", None),
            ("2026-11-22", None),
            ("2026-02-30T08:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expect, "{text}");
        }
    }

    #[test]
    fn serde_reads_and_writes_it() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Sale {
            #[serde(with = "super")]
            starts_at: u64,
            #[serde(with = "super::option", default)]
            paid_at: Option<u64>,
        }
        let sale: Sale = serde_json::from_str(r#"{"starts_at":"1970-01-01T00:00:01Z"}"#).unwrap();
        assert_eq!(sale, Sale { starts_at: 1000, paid_at: None });
        let text = serde_json::to_string(&Sale { starts_at: 1000, paid_at: Some(2000) }).unwrap();
        assert_eq!(text, r#"{"starts_at":"1970-01-01T00:00:01.000Z","paid_at":"1970-01-01T00:00:02.000Z"}"#);
        assert!(serde_json::from_str::<Sale>(r#"{"starts_at":1000}"#).is_err());
    }
}
