//! Money as the protocol writes it: yuan with up to two decimals.

use contract::Cents;

/// Digits before the point at most: 10^15 fen are beyond what anybody pays at once.
const YUAN_DIGITS_MAX: usize = 13;

/// `19.90`.
pub fn yuan(amount: Cents) -> String {
    let cents = amount.get();
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
}

/// Reads `19`, `19.9` or `19.90`; nothing else.
pub fn cents(text: &str) -> Option<Cents> {
    let (yuan, fen) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(yuan) || !digits(fen) || yuan.len() > YUAN_DIGITS_MAX || fen.len() > 2 {
        return None;
    }
    let tenfold = if fen.len() == 1 { 10 } else { 1 };
    let cents = yuan.parse::<i64>().ok()? * 100 + fen.parse::<i64>().ok()? * tenfold;
    Some(Cents::new(cents))
}
