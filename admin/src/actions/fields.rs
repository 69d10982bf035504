//! Checks of single fields.

use contract::Cents;
use store::{Attributes, PRICE_CENTS_MAX};

use super::Refusal;

/// The most units of one SKU or sale.
pub(crate) const STOCK_MAX: u64 = 1_000_000_000;

/// A text that is not blank.
pub(crate) fn named(text: &str, chars_max: usize, field: &'static str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::invalid(field, format!("{field} is empty")));
    }
    short(text, chars_max, field)
}

/// A text that may be blank.
pub(crate) fn short(text: &str, chars_max: usize, field: &'static str) -> Result<(), Refusal> {
    let is_allowed = |char: char| !char.is_control() || char == '\n' || char == '\t';
    if text.chars().count() > chars_max || !text.chars().all(is_allowed) {
        let detail = format!("{field} is at most {chars_max} characters, none of them a control character");
        return Err(Refusal::invalid(field, detail));
    }
    Ok(())
}

/// A text that is not blank and has one line.
pub(crate) fn line(text: &str, chars_max: usize, field: &'static str) -> Result<(), Refusal> {
    if text.trim().is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control) {
        return Err(Refusal::invalid(field, format!("{field} is 1 to {chars_max} characters in one line")));
    }
    Ok(())
}

pub(crate) fn priced(price: Cents) -> Result<(), Refusal> {
    if (0..=PRICE_CENTS_MAX).contains(&price.get()) {
        return Ok(());
    }
    Err(Refusal::invalid("price_cents", "price_cents is 0 to 1000000000000"))
}

/// Cents of `1234.5`; `None` if it is not an amount.
pub(crate) fn parse_cents(text: &str) -> Option<i64> {
    let text = text.trim().trim_start_matches('¥');
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || part.len() > 2 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let part: i64 = format!("{part:0<2}").parse().ok()?;
    Some(whole.parse::<i64>().ok()? * 100 + part)
}

/// `Colour: black, Storage: 256 GB`, with colons and commas of either width.
pub(crate) fn parse_attributes(text: &str) -> Option<Attributes> {
    let pairs = text.split([',', '，', ';', '；']).filter(|pair| !pair.trim().is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once([':', '：'])?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    pairs.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_with_either_punctuation() {
        let read = parse_attributes("颜色：黑，容量: 256 GB").unwrap();
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [("容量", "256 GB"), ("颜色", "黑")].map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
        assert_eq!(parse_attributes("black"), None);
        assert_eq!(parse_attributes(""), Some(Attributes::default()));
    }
}
