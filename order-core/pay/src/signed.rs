//! Parameters as the bytes that were signed.

use std::collections::BTreeMap;

use crate::Twice;

/// Parameters by name, decoded and in no charset: a notice is signed over bytes in the charset that it names itself, which
/// may be GBK. What the shop reads of it is ASCII in both.
#[derive(Debug)]
pub(crate) struct Signed(BTreeMap<Vec<u8>, Vec<u8>>);

impl Signed {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Twice> {
        let mut pairs = BTreeMap::new();
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = (decoded(&pair[..at]), decoded(pair.get(at + 1..).unwrap_or_default()));
            if let Some(name) = pairs.insert(name.clone(), value).map(|_| name) {
                return Err(Twice::named(&String::from_utf8_lossy(&name)));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter; nothing where it is not there, or is no text in UTF-8.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name.as_bytes()).and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default()
    }

    /// What is signed: all but `left_out`, sorted by name, `name=value` joined by `&`, not encoded.
    pub(crate) fn content(&self, left_out: &[&str]) -> Vec<u8> {
        let is_signed = |name: &[u8]| !left_out.iter().any(|left_out| left_out.as_bytes() == name);
        let signed = self.0.iter().filter(|(name, value)| is_signed(name) && !value.is_empty());
        let pairs: Vec<Vec<u8>> = signed.map(|(name, value)| [name, &b"="[..], value].concat()).collect();
        pairs.join(&b'&')
    }
}

/// Undoes percent-encoding; a `%` without two hexadecimal digits stays as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit =
        |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16)).and_then(|it| u8::try_from(it).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, digit(at).zip(digit(at + 1))) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some((high, low))) => {
                bytes.push(high << 4 | low);
                at += 2;
            }
            (byte, _) => bytes.push(*byte),
        }
    }
    bytes
}
