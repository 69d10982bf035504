//! Refresh tokens. A token names its session and shows that this mall made it, so that any token of a session that
//! is not the current one is known as a copy, however old it is.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::SessionId;

/// Random bytes of a session's first token.
pub const RANDOM_BYTES: usize = 32;
/// A longer text is no token.
const TOKEN_BYTES_MAX: usize = 128;
/// Of HMAC-SHA256, cut to 128 bits (RFC 2104 section 5).
const MAC_BYTES: usize = 16;

/// The key of the tokens, derived from the secret of the shoppers' access tokens.
#[derive(Clone)]
pub struct RefreshKey {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshKey")
    }
}

impl RefreshKey {
    /// The key that belongs to the shoppers' secret.
    pub fn new(shopper_secret: &[u8]) -> Self {
        let mac = |key: &[u8]| match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes a key of any length (RFC 2104)"),
        };
        let derived = mac(shopper_secret).chain_update(b"mall refresh tokens v1").finalize().into_bytes();
        Self { mac: mac(&derived) }
    }

    /// The first token of a session.
    pub fn first(&self, session: SessionId, random: &[u8; RANDOM_BYTES]) -> String {
        self.seal(session, random)
    }

    /// The token that replaces `token`. Each token has one successor, so that two tabs which bring the same token at
    /// once are given the same one.
    pub fn successor(&self, session: SessionId, token: &str) -> String {
        let secret = self.mac.clone().chain_update(b"next").chain_update(token).finalize().into_bytes();
        self.seal(session, &secret.into())
    }

    /// The session of `token`, if this key made it. Whether it is the current one is for the database to say.
    pub fn session(&self, token: &str) -> Option<SessionId> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (stated, mac) = token.rsplit_once('.')?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok().filter(|mac| mac.len() == MAC_BYTES)?;
        self.mac_of(stated).verify_truncated_left(&mac).ok()?;
        stated.split_once('.')?.0.parse().ok()
    }

    fn seal(&self, session: SessionId, secret: &[u8; RANDOM_BYTES]) -> String {
        let stated = format!("{session}.{}", URL_SAFE_NO_PAD.encode(secret));
        let mac = self.mac_of(&stated).finalize().into_bytes();
        format!("{stated}.{}", URL_SAFE_NO_PAD.encode(&mac[..MAC_BYTES]))
    }

    fn mac_of(&self, stated: &str) -> Hmac<Sha256> {
        self.mac.clone().chain_update(b"token").chain_update(stated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_session_and_has_one_successor() {
        let key = RefreshKey::new(b"secret");
        let session = SessionId::from_i64(42).unwrap();
        let first = key.first(session, &[7; RANDOM_BYTES]);
        let second = key.successor(session, &first);
        assert_ne!(first, second);
        assert_eq!(key.successor(session, &first), second);
        assert_ne!(key.successor(session, &second), second);
        for token in [&first, &second] {
            assert!(
                token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
            );
            assert_eq!(key.session(token), Some(session));
            assert_eq!(RefreshKey::new(b"another").session(token), None);
            for at in 0..token.len() {
                let mut forged = token.clone().into_bytes();
                forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
                assert_eq!(key.session(std::str::from_utf8(&forged).unwrap()), None, "{at}");
            }
        }
        for bad in ["", ".", "..", "42", "42.a.b", &"a.".repeat(100)] {
            assert_eq!(key.session(bad), None, "{bad}");
        }
    }
}
