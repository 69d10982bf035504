//! Languages, money, times.

use foundation::rfc3339;
use maud::{Markup, html};

pub(super) use crate::actions::fields::parse_cents as cents;

/// Times are shown and entered in China Standard Time, which has no daylight saving.
const ZONE_MS: u64 = 8 * 3_600_000;
pub(super) const ZONE: &str = "UTC+8";

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lang {
    Zh,
    En,
}

impl Lang {
    pub(super) const fn t(self, zh: &'static str, en: &'static str) -> &'static str {
        match self {
            Self::Zh => zh,
            Self::En => en,
        }
    }

    pub(super) const fn tag(self) -> &'static str {
        self.t("zh-CN", "en")
    }
}

/// `¥1,234.50`.
pub(super) fn yuan(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}¥{}.{:02}", grouped(cents / 100), cents % 100)
}

/// `1234.50`, as a form has it.
pub(super) fn plain_yuan(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-27 20:00:05`.
fn shown(at_ms: u64) -> String {
    let text = rfc3339::format(at_ms + ZONE_MS);
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// A time with its zone.
pub(super) fn time(at_ms: u64) -> Markup {
    html! { time datetime=(rfc3339::format(at_ms)) { (shown(at_ms)) " " span.zone { (ZONE) } } }
}

/// The value of a `datetime-local` field.
pub(super) fn local(at_ms: u64) -> String {
    shown(at_ms).replace(' ', "T")
}

/// Milliseconds of a `datetime-local` field.
pub(super) fn from_local(text: &str) -> Option<u64> {
    let text = text.trim().replace(' ', "T");
    let seconds = if text.len() == 16 { ":00" } else { "" };
    rfc3339::parse(&format!("{text}{seconds}+08:00"))
}

/// A length of time, such as `2 h 5 min`.
pub(super) fn span(lang: Lang, ms: u64) -> String {
    let minutes = ms / 60_000;
    let (days, hours) = (minutes / 1_440, minutes % 1_440 / 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{} {}", ms / 1000, lang.t("秒", "s")),
        (0, 0) => format!("{minutes} {}", lang.t("分钟", "min")),
        (0, _) => format!("{hours} {} {} {}", lang.t("小时", "h"), minutes % 60, lang.t("分钟", "min")),
        (_, _) => format!("{days} {} {hours} {}", lang.t("天", "d"), lang.t("小时", "h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_as_it_is_written() {
        for (text, expect) in [
            ("12.34", Some(1234)),
            ("¥5", Some(500)),
            ("0.5", Some(50)),
            ("1.234", None),
            ("", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("9999999999999", None),
        ] {
            assert_eq!(cents(text), expect, "{text}");
        }
        assert_eq!((yuan(123_456_789), yuan(-5)), ("¥1,234,567.89".to_owned(), "-¥0.05".to_owned()));
        assert_eq!((grouped(0), grouped(1000), grouped(999_999)), ("0".into(), "1,000".into(), "999,999".into()));
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let at_ms = from_local("2026-11-27T20:00").unwrap();
        assert_eq!(rfc3339::format(at_ms), "2026-11-27T12:00:00.000Z");
        assert_eq!(local(at_ms), "2026-11-27T20:00:00");
        assert_eq!(from_local(&local(at_ms + 5_000)), Some(at_ms + 5_000));
        assert_eq!((from_local(""), from_local("tomorrow"), from_local("2026-13-01T00:00")), (None, None, None));
    }
}
