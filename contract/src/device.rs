//! Statements that a client has signed in to an account before. A browser keeps one in a cookie, so that wrong
//! passwords from elsewhere do not delay it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::UserId;

/// How long a statement is good, in milliseconds.
pub const DEVICE_MS: u64 = 30 * 24 * 3600 * 1000;
/// Of HMAC-SHA256, cut to 128 bits (RFC 2104 section 5).
const MAC_BYTES: usize = 16;
/// The time of the sign-in and the number of the device.
const STATED_BYTES: usize = 16;

/// The key of the statements, derived from the secret of one service's tokens.
#[derive(Clone)]
pub struct DeviceKey {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey")
    }
}

impl DeviceKey {
    /// The key that belongs to `secret`.
    pub fn new(secret: &[u8]) -> Self {
        let mac = |key: &[u8]| match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes a key of any length (RFC 2104)"),
        };
        let derived = mac(secret).chain_update(b"mall device cookies v1").finalize().into_bytes();
        Self { mac: mac(&derived) }
    }

    /// The statement that the device `number` has signed in to `account` at `now_ms`.
    pub fn seal(&self, account: UserId, number: u64, now_ms: u64) -> String {
        let mut sealed = [0; STATED_BYTES + MAC_BYTES];
        sealed[..8].copy_from_slice(&now_ms.to_be_bytes());
        sealed[8..STATED_BYTES].copy_from_slice(&number.to_be_bytes());
        let mac = self.mac_of(account, &sealed[..STATED_BYTES]).finalize().into_bytes();
        sealed[STATED_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The number of the device, if this key sealed `text` for `account` not longer ago than [`DEVICE_MS`].
    pub fn open(&self, text: &str, account: UserId, now_ms: u64) -> Option<u64> {
        let mut sealed = [0; STATED_BYTES + MAC_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut sealed).ok()?;
        if length != sealed.len() {
            return None;
        }
        let (stated, mac) = sealed.split_at(STATED_BYTES);
        self.mac_of(account, stated).verify_truncated_left(mac).ok()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        (now_ms < number(&stated[..8]).saturating_add(DEVICE_MS)).then(|| number(&stated[8..]))
    }

    fn mac_of(&self, account: UserId, stated: &[u8]) -> Hmac<Sha256> {
        self.mac.clone().chain_update(account.as_i64().to_be_bytes()).chain_update(stated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn a_statement_is_good_for_its_account_and_thirty_days() {
        let key = DeviceKey::new(b"secret");
        let account = |id| UserId::from_i64(id).unwrap();
        let text = key.seal(account(1), 7, NOW);
        assert_eq!(key.open(&text, account(1), NOW), Some(7));
        assert_eq!(key.open(&text, account(1), NOW + DEVICE_MS - 1), Some(7));
        assert_eq!(key.open(&text, account(1), NOW + DEVICE_MS), None);
        assert_eq!(key.open(&text, account(2), NOW), None);
        assert_eq!(DeviceKey::new(b"another").open(&text, account(1), NOW), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
            assert_eq!(key.open(std::str::from_utf8(&forged).unwrap(), account(1), NOW), None, "{at}");
        }
        for bad in ["", "A", &"A".repeat(5000), "票"] {
            assert_eq!(key.open(bad, account(1), NOW), None, "{bad:.20}");
        }
    }
}
