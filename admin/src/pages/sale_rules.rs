//! The fields of a sale's form that may stay empty: who may take part, the time to pay, and whether it is a draft.

use maud::{Markup, html};
use store::Sale;

use super::{
    form::{Errors, Fields, Shown},
    text::{Lang, ZONE, from_local, local},
};

/// What the optional fields say.
pub(super) struct OptionalRules {
    pub(super) registered_before_ms: Option<u64>,
    pub(super) pay_within_ms: Option<u64>,
    pub(super) is_draft: bool,
}

pub(super) fn values(sale: &Sale) -> [(&'static str, String); 3] {
    let registered_before = sale.activity.admission.registered_before_ms.map(local);
    [
        ("registered_before", registered_before.unwrap_or_default()),
        ("pay_within_ms", sale.pay_within_ms.map(seconds_text).unwrap_or_default()),
        ("draft", if sale.is_draft { "on" } else { "" }.to_owned()),
    ]
}

/// The inputs. A sale that is published does not become a draft again, so `may_be_draft` leaves that box out.
pub(super) fn inputs(lang: Lang, shown: Shown<'_>, may_be_draft: bool) -> Markup {
    let zone =
        format!("{} {} {ZONE}", lang.t("留空表示所有用户。", "Empty for all users."), lang.t("时区", "Time zone"));
    let pay = lang.t("留空则与普通订单相同。", "Empty for the time of all other orders.");
    html! {
        div.pair {
            (shown.input("registered_before", lang.t("注册时间早于", "Registered before"), "datetime-local", &zone))
            (shown.input("pay_within_ms", lang.t("付款时限（秒）", "Time to pay, in seconds"), "text", pay))
        }
        @if may_be_draft { (shown.check("draft", lang.t("草稿：只有员工能看到", "Draft: only staff see it"))) }
    }
}

/// The optional fields in the form; what can't be read is in `errors`.
pub(super) fn read(lang: Lang, fields: &Fields, errors: &mut Errors) -> OptionalRules {
    let given = |name: &str| Some(fields.get(name).trim()).filter(|text| !text.is_empty());
    let date = lang.t("请填写日期和时间，或留空。", "Enter date and time, or leave it empty.");
    let registered_before_ms =
        given("registered_before").and_then(|text| errors.need("registered_before", from_local(text), date));
    let seconds = lang.t("请填写秒数，例如 900，或留空。", "Enter seconds such as 900, or leave it empty.");
    let pay_within_ms =
        given("pay_within_ms").and_then(|text| errors.need("pay_within_ms", from_seconds(text), seconds));
    OptionalRules { registered_before_ms, pay_within_ms, is_draft: fields.is_on("draft") }
}

/// `90` or `0.25`.
fn seconds_text(ms: u64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds of what [`seconds_text`] writes.
fn from_seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > 3 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(format!("{part:0<3}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_as_they_are_written() {
        for (text, ms) in [("90", 90_000), ("0.25", 250), ("1800", 1_800_000), ("0.1", 100), ("100", 100_000)] {
            assert_eq!((from_seconds(text), seconds_text(ms)), (Some(ms), text.to_owned()));
        }
        for wrong in ["", ".5", "1.", "1.2345", "-1", "1e3", "99999999999999999999"] {
            assert_eq!(from_seconds(wrong), None, "{wrong}");
        }
    }
}
