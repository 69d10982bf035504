//! What secrets must be like, and which addresses must be encrypted.

use super::{
    Check, Secret,
    servers::{host_of, is_loopback},
};

/// RFC 7518 section 3.2 asks for 256 bits.
const KEY_BYTES_MIN: usize = 32;
/// Bytes of a password that other hosts may try.
const PASSWORD_BYTES_MIN: usize = 12;
/// bcrypt reads 72 bytes and would ignore the rest.
const PASSWORD_BYTES_MAX: usize = 72;

impl Check {
    /// A key of tokens. A short one can be found from one token by trying; it is refused where other hosts can connect.
    pub(super) fn key(&mut self, key: &str, text: Option<String>, is_local: bool) -> Option<Secret> {
        let text = text?;
        let is_short = text.len() < KEY_BYTES_MIN;
        if text.is_empty() {
            self.fault(key, "expected a secret, found nothing; leave it out to have one made");
        } else if is_short && !is_local {
            let problem = format!("expected at least {KEY_BYTES_MIN} bytes where a service listens beyond loopback");
            self.fault(key, &problem);
        } else if is_short {
            let source = self.named(key);
            self.warnings.push(format!("{source}: shorter than 32 bytes; a token's key should not be guessable"));
        }
        Some(Secret(text))
    }

    pub(super) fn password(&mut self, text: Option<String>, is_local: bool) -> Option<Secret> {
        let text = text?;
        if text.is_empty() || text.len() > PASSWORD_BYTES_MAX {
            self.fault("admin_password", "expected 1 to 72 bytes; leave it out to have one made");
        } else if text.len() < PASSWORD_BYTES_MIN && !is_local {
            let problem =
                format!("expected at least {PASSWORD_BYTES_MIN} bytes where a service listens beyond loopback");
            self.fault("admin_password", &problem);
        }
        Some(Secret(text))
    }

    /// Notes a fault where `url` leads to another host without encryption.
    pub(super) fn https(&mut self, key: &str, url: Option<&Secret>) {
        if url.is_some_and(|url| url.expose().starts_with("http://") && !is_loopback(host_of(url.expose()))) {
            self.fault(key, "expected an address that begins with https://; http:// is for loopback addresses");
        }
    }
}
