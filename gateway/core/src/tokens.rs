//! Bearer tokens. A token is verified once and then found by all its bytes.

use contract::{
    record::TokenCut,
    token::{TOKEN_BYTES_MAX, TokenKey},
};

use crate::{
    cuts::{Bearer, CUTS_MAX, Cuts},
    lru::LruMap,
};

/// The key, the tokens that were verified with it, and those that were cut.
#[derive(Debug)]
pub(crate) struct Tokens {
    key: TokenKey,
    /// By the whole token, so that a collision of hashes never confuses two tokens.
    verified: LruMap<Box<[u8]>, Bearer>,
    cuts: Cuts,
}

impl Tokens {
    pub(crate) fn new(key: TokenKey, tokens_max: usize, seed: u64) -> Self {
        Self { key, verified: LruMap::new(tokens_max, seed), cuts: Cuts::new(CUTS_MAX, seed) }
    }

    /// Takes records of [`contract::topic::TOKEN_CUTS`].
    pub(crate) fn handle_cuts(&mut self, cuts: &[TokenCut], wall_ms: u64) {
        cuts.iter().for_each(|cut| self.cuts.handle(cut, wall_ms));
    }

    /// Who is named by an `Authorization` header (RFC 6750 section 2.1).
    pub(crate) fn bearer(&mut self, authorization: Option<&[u8]>, wall_ms: u64) -> Option<Bearer> {
        let (scheme, mut token) = authorization?.split_at_checked(7)?;
        // RFC 9110 section 11.4 lets more than one space follow the scheme.
        while let [b' ', rest @ ..] = token {
            token = rest;
        }
        if !scheme.eq_ignore_ascii_case(b"bearer ") || token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let now_s = wall_ms / 1000;
        let bearer = match self.verified.get(token) {
            Some(bearer) => bearer,
            None => self.verify(token, now_s)?,
        };
        (now_s < bearer.expires_at_s && !self.cuts.refuses(&bearer)).then_some(bearer)
    }

    fn verify(&mut self, token: &[u8], now_s: u64) -> Option<Bearer> {
        let claims = self.key.verify(std::str::from_utf8(token).ok()?, now_s).ok()?;
        let bearer = Bearer {
            user: claims.subject,
            session: claims.session,
            issued_at_s: claims.issued_at_s,
            expires_at_s: claims.expires_at_s,
        };
        self.verified.insert(token.into(), bearer);
        Some(bearer)
    }
}

#[cfg(test)]
mod tests {
    use contract::{UserId, record::CutScope, token::Audience};

    use super::*;

    #[test]
    fn a_cached_token_is_as_good_as_a_verified_one_and_no_longer() {
        let key = TokenKey::new(b"secret", Audience::Shopper);
        let user = UserId::from_i64(5).unwrap();
        let header = format!("Bearer {}", key.sign(user, None, 1_000, 60)).into_bytes();
        let mut tokens = Tokens::new(key, 2, 1);
        for _ in 0..2 {
            assert_eq!(tokens.bearer(Some(&header), 1_069_999).map(|bearer| bearer.user), Some(user));
            assert!(tokens.bearer(Some(&header), 1_070_000).is_none());
        }
        let spaced = [b"bearer   ", &header[7..]].concat();
        assert_eq!(tokens.bearer(Some(&spaced), 1_000_000).map(|bearer| bearer.user), Some(user));
        let mut forged = header.clone();
        *forged.last_mut().unwrap() ^= 1;
        for bad in [&forged[..], &header[7..], b"Bearer ", b"Bearer", b"", b"Basic eDp5"] {
            assert!(tokens.bearer(Some(bad), 1_000_000).is_none());
        }
        assert!(tokens.bearer(None, 1_000_000).is_none());
    }

    #[test]
    fn a_cached_token_is_cut_at_once() {
        let key = TokenKey::new(b"secret", Audience::Shopper);
        let user = UserId::from_i64(5).unwrap();
        let header = format!("Bearer {}", key.sign(user, None, 1_000, 60)).into_bytes();
        let mut tokens = Tokens::new(key, 2, 1);
        assert_eq!(tokens.bearer(Some(&header), 1_000_000).map(|bearer| bearer.user), Some(user));
        tokens.handle_cuts(&[TokenCut { user, at_ms: 1_000_001, scope: CutScope::All }], 1_000_001);
        assert!(tokens.bearer(Some(&header), 1_000_002).is_none());
    }
}
