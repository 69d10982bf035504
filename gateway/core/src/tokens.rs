//! Bearer tokens. A token is verified once and then found by all its bytes.

use contract::{
    UserId,
    token::{TOKEN_BYTES_MAX, TokenKey},
};

use crate::lru::LruMap;

/// The holder of a token, and its expiry.
#[derive(Debug, Clone, Copy)]
struct Bearer {
    user: UserId,
    expires_at_s: u64,
}

/// The key, and the tokens that were verified with it.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: TokenKey,
    /// By the whole token, so that a collision of hashes never confuses two tokens.
    verified: LruMap<Box<[u8]>, Bearer>,
}

impl Tokens {
    pub(crate) fn new(key: TokenKey, tokens_max: usize, seed: u64) -> Self {
        Self { key, verified: LruMap::new(tokens_max, seed) }
    }

    /// The user of an `Authorization` header (RFC 6750 section 2.1).
    pub(crate) fn user(&mut self, authorization: Option<&[u8]>, wall_ms: u64) -> Option<UserId> {
        let (scheme, token) = authorization?.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let now_s = wall_ms / 1000;
        if let Some(bearer) = self.verified.get(token) {
            return (now_s < bearer.expires_at_s).then_some(bearer.user);
        }
        let claims = self.key.verify(std::str::from_utf8(token).ok()?, now_s).ok()?;
        let bearer = Bearer { user: claims.subject, expires_at_s: claims.expires_at_s };
        self.verified.insert(token.into(), bearer);
        Some(bearer.user)
    }
}

#[cfg(test)]
mod tests {
    use contract::token::Audience;

    use super::*;

    #[test]
    fn a_cached_token_is_as_good_as_a_verified_one_and_no_longer() {
        let key = TokenKey::new(b"secret", Audience::Shopper);
        let user = UserId::from_i64(5).unwrap();
        let header = format!("Bearer {}", key.sign(user, None, 1_000, 60)).into_bytes();
        let mut tokens = Tokens::new(key, 2, 1);
        for _ in 0..2 {
            assert_eq!(tokens.user(Some(&header), 1_059_999), Some(user));
            assert_eq!(tokens.user(Some(&header), 1_060_000), None);
        }
        let mut forged = header.clone();
        *forged.last_mut().unwrap() ^= 1;
        for bad in [&forged[..], &header[7..], b"Bearer ", b"Bearer", b"", b"Basic eDp5"] {
            assert_eq!(tokens.user(Some(bad), 1_000_000), None);
        }
        assert_eq!(tokens.user(None, 1_000_000), None);
    }
}
