//! The users of one run: ids that no other run has, and their tokens.

use contract::{
    ActivityId, UserId,
    token::{Audience, TokenKey},
};

/// A run's users lie above every id that the mall makes: those stay below 2^62 until the year 2059.
const USERS_FROM: i64 = 1 << 62;
/// Bits of a user's number within the run; 32 bits above them tell runs apart.
const RUN_SHIFT: u32 = 24;
const TOKEN_LIFETIME_S: u64 = 6 * 3600;

pub(crate) struct Buyers {
    first: i64,
    tokens: String,
    ends: Vec<usize>,
}

impl Buyers {
    /// Signs a token for each of `count` users.
    pub(crate) fn new(run: u32, count: u32, secret: &str, now_s: u64) -> Self {
        let key = TokenKey::new(secret.as_bytes(), Audience::Shopper);
        let first = USERS_FROM | (i64::from(run) << RUN_SHIFT);
        let mut buyers = Self { first, tokens: String::new(), ends: Vec::new() };
        for user in 0..count {
            buyers.tokens.push_str(&key.sign(buyers.id(user), None, now_s, TOKEN_LIFETIME_S));
            buyers.ends.push(buyers.tokens.len());
        }
        buyers
    }

    #[cfg(any(feature = "figures", test))]
    /// The same users, the first `count` of them.
    pub(crate) fn first(&self, count: u32) -> Self {
        let ends: Vec<usize> = self.ends.iter().copied().take(index(count)).collect();
        let tokens = self.tokens[..ends.last().copied().unwrap_or(0)].to_owned();
        Self { first: self.first, tokens, ends }
    }

    pub(crate) fn id(&self, user: u32) -> UserId {
        match UserId::from_i64(self.first + i64::from(user)) {
            Some(id) => id,
            None => unreachable!("2^62 and less than 2^56 more is no negative number"),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn token(&self, user: u32) -> &str {
        let user = index(user);
        let start = user.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.tokens[start..self.ends[user]]
    }
}

/// Tells this run's users and goods from every other run's.
pub(crate) fn random_run() -> Result<u32, String> {
    let hex = foundation::data_dir::random_hex(4).map_err(|error| error.to_string())?;
    u32::from_str_radix(&hex, 16).map_err(|error| error.to_string())
}

/// A user's number as an index.
pub(crate) fn index(user: u32) -> usize {
    usize::try_from(user).unwrap_or(usize::MAX)
}

/// The parts of a request to buy one unit that are the same for all.
pub(crate) struct BuyRequest {
    host: String,
    body: String,
}

impl BuyRequest {
    pub(crate) fn new(host: &str, activity: ActivityId) -> Self {
        Self { host: host.to_owned(), body: format!(r#"{{"activity_id":"{activity}","quantity":1}}"#) }
    }

    /// Appends the request of `user`: the same bytes each time, so a repeat is the same request.
    pub(crate) fn write(&self, buyers: &Buyers, user: u32, out: &mut Vec<u8>) {
        let id = buyers.id(user).to_string();
        let length = self.body.len().to_string();
        for part in [
            "POST /api/v1/seckill/orders HTTP/1.1\r\nHost: ",
            &self.host,
            "\r\nAuthorization: Bearer ",
            buyers.token(user),
            "\r\nIdempotency-Key: bench-",
            &id,
            "\r\nContent-Type: application/json\r\nContent-Length: ",
            &length,
            "\r\n\r\n",
            &self.body,
        ] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_token_of_its_own() {
        let buyers = Buyers::new(u32::MAX, 3, "secret", 1_800_000_000);
        let key = TokenKey::new(b"secret", Audience::Shopper);
        for user in 0..buyers.count() {
            let claims = key.verify(buyers.token(user), 1_800_000_001).unwrap();
            assert_eq!(claims.subject, buyers.id(user));
        }
        assert_ne!(Buyers::new(1, 1, "s", 0).id(0), Buyers::new(2, 1, "s", 0).id(0));
    }

    #[test]
    fn the_first_of_them_are_the_same_users() {
        let buyers = Buyers::new(7, 3, "secret", 1_800_000_000);
        let first = buyers.first(2);
        assert_eq!((first.count(), first.id(1), first.token(1)), (2, buyers.id(1), buyers.token(1)));
    }

    #[test]
    fn the_request_is_whole() {
        let buyers = Buyers::new(0, 1, "secret", 0);
        let mut out = Vec::new();
        BuyRequest::new("h:1", ActivityId::from_i64(9).unwrap()).write(&buyers, 0, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, r#"{"activity_id":"9","quantity":1}"#);
        assert!(head.starts_with("POST /api/v1/seckill/orders HTTP/1.1\r\nHost: h:1\r\n"), "{head}");
        assert!(head.contains("\r\nIdempotency-Key: bench-4611686018427387904\r\n"), "{head}");
        assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head}");
    }
}
