//! Access tokens: JWT (RFC 7519) signed with HS256 (RFC 7518 section 3.2).
//!
//! The algorithm is pinned: a token whose header names another one, or lists critical extensions,
//! is no token. Shopper and admin tokens differ in audience and in key.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{SessionId, UserId};

/// How long a shopper's access token is good, in seconds.
pub const ACCESS_S: u64 = 3600;
/// A longer token is refused unread.
pub const TOKEN_BYTES_MAX: usize = 4096;

const ISSUER: &str = "mall";
/// `{"alg":"HS256","typ":"JWT"}`: what we write, and what is accepted without parsing.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Whom a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The gateway and order-core.
    Shopper,
    /// The admin service.
    Admin,
}

impl Audience {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Shopper => "shopper",
            Self::Admin => "admin",
        }
    }
}

/// How far the clocks of those who sign and those who verify may be apart, in seconds (RFC 7519 section 4.1.4).
pub const LEEWAY_S: u64 = 10;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The token's `sub`.
    pub subject: UserId,
    /// First second at which the token is no longer accepted, epoch seconds: [`LEEWAY_S`] after its `exp`.
    pub expires_at_s: u64,
    /// When it was signed, epoch seconds; 0 where it does not say.
    pub issued_at_s: u64,
    /// The shopper's session. Tokens that no sign-in has given have none.
    pub session: Option<SessionId>,
    /// An admin's role; shoppers have none.
    pub role: Option<String>,
}

/// The token is not good, whatever the reason: callers get one answer for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// A secret with its HMAC state already keyed. Cloning it is cheap; its `Debug` shows nothing.
#[derive(Clone)]
pub struct TokenKey {
    mac: Hmac<Sha256>,
    audience: Audience,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").field("audience", &self.audience).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: UserId,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

/// RFC 7519 lets NumericDate have a fraction, and some signers write one.
#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow)]
    iss: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    aud: Audiences<'a>,
    sub: UserId,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    sid: Option<SessionId>,
    role: Option<String>,
}

/// RFC 7519 section 4.1.3: one audience, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences<'a> {
    #[serde(borrow)]
    One(std::borrow::Cow<'a, str>),
    #[serde(borrow)]
    Many(Vec<std::borrow::Cow<'a, str>>),
}

impl Audiences<'_> {
    fn contain(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    crit: Option<serde_json::Value>,
}

impl TokenKey {
    /// The key of one audience.
    pub fn new(secret: &[u8], audience: Audience) -> Self {
        let Ok(mac) = Hmac::new_from_slice(secret) else { unreachable!("HMAC takes a key of any length (RFC 2104)") };
        Self { mac, audience }
    }

    /// A token for `subject`, good from `now_s` (epoch seconds) for `lifetime_s`.
    pub fn sign(&self, subject: UserId, role: Option<&str>, now_s: u64, lifetime_s: u64) -> String {
        self.sign_claims(subject, (None, role), now_s, lifetime_s)
    }

    /// A token for a session of `subject`, good from `now_s` (epoch seconds) for `lifetime_s`.
    pub fn sign_session(&self, subject: UserId, session: SessionId, now_s: u64, lifetime_s: u64) -> String {
        self.sign_claims(subject, (Some(session), None), now_s, lifetime_s)
    }

    fn sign_claims(
        &self,
        subject: UserId,
        (sid, role): (Option<SessionId>, Option<&str>),
        now_s: u64,
        lifetime_s: u64,
    ) -> String {
        let exp = now_s.saturating_add(lifetime_s);
        let payload = Payload { iss: ISSUER, aud: self.audience.as_str(), sub: subject, iat: now_s, exp, sid, role };
        let json = match serde_json::to_vec(&payload) {
            Ok(json) => json,
            Err(error) => unreachable!("a payload of strings and numbers serializes: {error}"),
        };
        let mut token = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(json));
        let signature = self.mac.clone().chain_update(&token).finalize().into_bytes();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// Checks signature, algorithm, issuer, audience and times of `token`.
    ///
    /// # Errors
    /// One error for every reason.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Claims, InvalidToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidToken)?;
        let (header, payload) = signed.split_once('.').ok_or(InvalidToken)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidToken);
        self.mac.clone().chain_update(signed).verify_slice(&decode(signature)?).map_err(|_| InvalidToken)?;
        if header != HEADER {
            let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| InvalidToken)?;
            if header.alg != "HS256" || header.crit.is_some() {
                return Err(InvalidToken);
            }
        }
        let payload = decode(payload)?;
        let claims: Received<'_> = serde_json::from_slice(&payload).map_err(|_| InvalidToken)?;
        let for_us = claims.iss == ISSUER && claims.aud.contain(self.audience.as_str());
        let expires_at_s = whole_seconds(claims.exp)?.saturating_add(LEEWAY_S);
        let begun = claims.nbf.map_or(Ok(0), whole_seconds)? <= now_s.saturating_add(LEEWAY_S);
        if !for_us || !begun || now_s >= expires_at_s {
            return Err(InvalidToken);
        }
        let issued_at_s = claims.iat.map_or(Ok(0), whole_seconds)?;
        Ok(Claims { subject: claims.sub, expires_at_s, issued_at_s, session: claims.sid, role: claims.role })
    }
}

fn whole_seconds(seconds: f64) -> Result<u64, InvalidToken> {
    /// 2^53: beyond it a NumericDate has no exact second.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if !(0.0..=EXACT_MAX).contains(&seconds) {
        return Err(InvalidToken);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked above")]
    Ok(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key() -> TokenKey {
        TokenKey::new(b"a secret of the test", Audience::Shopper)
    }

    fn forge(header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = key().mac.chain_update(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn what_is_signed_is_verified() {
        let user = UserId::from_i64(42).unwrap();
        let token = key().sign(user, None, NOW, 60);
        let claims =
            Claims { subject: user, expires_at_s: NOW + 60 + LEEWAY_S, issued_at_s: NOW, session: None, role: None };
        assert_eq!(key().verify(&token, NOW + 59 + LEEWAY_S), Ok(claims.clone()));
        let session = SessionId::from_i64(7);
        let of_session = key().sign_session(user, session.unwrap(), NOW, 60);
        assert_eq!(key().verify(&of_session, NOW), Ok(Claims { session, ..claims }));
        assert_eq!(key().verify(&token, NOW + 60 + LEEWAY_S), Err(InvalidToken));
        assert_eq!(TokenKey::new(b"another", Audience::Shopper).verify(&token, NOW), Err(InvalidToken));
        assert_eq!(TokenKey::new(b"a secret of the test", Audience::Admin).verify(&token, NOW), Err(InvalidToken));
    }

    /// The signature of the example in RFC 7515 appendix A.1, over its own bytes and key.
    #[test]
    fn hs256_is_that_of_the_rfc() {
        let secret = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mac = TokenKey::new(&secret, Audience::Shopper).mac.chain_update(signed).finalize().into_bytes();
        assert_eq!(URL_SAFE_NO_PAD.encode(mac), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        const GOOD: &str = r#"{"iss":"mall","aud":"shopper","sub":"1","iat":1,"exp":1800000060}"#;
        let check = |header: &str, payload: &str, good: bool| {
            assert_eq!(key().verify(&forge(header, payload), NOW).is_ok(), good, "{header} {payload}");
        };
        check(r#"{"typ":"JWT","alg":"HS256"}"#, GOOD, true);
        check(r#"{"alg":"HS256"}"#, GOOD, true);
        check(r#"{"alg":"HS256"}"#, r#"{"iss":"mall","aud":["x","shopper"],"sub":"1","exp":1800000060}"#, true);
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"nOnE"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"HS256","crit":["b64"]}"#,
            "{}",
            "",
        ] {
            check(header, GOOD, false);
        }
        for payload in [
            r#"{"iss":"mall","aud":"admin","sub":"1","exp":1800000060}"#,
            r#"{"iss":"shop","aud":"shopper","sub":"1","exp":1800000060}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"1","exp":"1800000060"}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"1","exp":-1}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"1","exp":1e300}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"1"}"#,
            r#"{"iss":"mall","aud":"shopper","exp":1800000060}"#,
            r#"{"iss":"mall","aud":"shopper","sub":1,"exp":1800000060}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"x","exp":1800000060}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"1","exp":1800000060,"nbf":1800000011}"#,
            r#"{"iss":"mall","aud":"shopper","sub":"1","sub":"2","exp":1800000060}"#,
            r#"{"iss":"mall","aud":[],"sub":"1","exp":1800000060}"#,
            r#"{"iss":"mall","aud":["admin"],"sub":"1","exp":1800000060}"#,
            r#"{"iss":"mall","aud":["shopper",1],"sub":"1","exp":1800000060}"#,
            "[]",
            "",
        ] {
            check(r#"{"alg":"HS256"}"#, payload, false);
        }
        for token in ["", ".", "..", "a.b.c", "a.b", &"a".repeat(5000)] {
            assert_eq!(key().verify(token, NOW), Err(InvalidToken));
        }
        let whole = forge(r#"{"alg":"HS256"}"#, GOOD);
        let (signed, _) = whole.rsplit_once('.').unwrap();
        assert_eq!(key().verify(&format!("{signed}."), NOW), Err(InvalidToken));
    }
}
