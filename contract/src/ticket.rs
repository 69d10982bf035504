//! Entry tickets, and the challenges that some sales ask for before they give one. Both are statements
//! that any gateway can check with the key alone; nobody keeps them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{ActivityId, UserId};

/// Of HMAC-SHA256, cut to 128 bits (RFC 2104 section 5).
const MAC_BYTES: usize = 16;
/// Expiry and nonce.
const STATED_BYTES: usize = 16;

/// The text is no ticket, was sealed for somebody or something else, or the answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ticket is not valid")]
pub struct InvalidTicket;

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Which sale.
    pub activity: ActivityId,
    /// Who may enter it.
    pub user: UserId,
}

/// What a statement says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// First instant at which it is no longer good, epoch milliseconds.
    pub expires_at_ms: u64,
    /// Tells statements apart.
    pub nonce: u64,
}

/// The key of the gateways. It is derived from the secret of the shoppers' tokens, so that a process that can
/// check a token can check a ticket, and nobody can make one.
#[derive(Clone)]
pub struct TicketKey {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey")
    }
}

/// Keeps a ticket from being taken for a challenge.
#[derive(Clone, Copy)]
enum Kind {
    Ticket = 1,
    Challenge = 2,
}

impl TicketKey {
    /// The key that belongs to the shoppers' secret.
    pub fn new(shopper_secret: &[u8]) -> Self {
        let mac = |key: &[u8]| match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mac) => mac,
            Err(_) => unreachable!("HMAC takes a key of any length (RFC 2104)"),
        };
        let derived = mac(shopper_secret).chain_update(b"mall entry tickets v1").finalize().into_bytes();
        Self { mac: mac(&derived) }
    }

    /// A ticket for `subject`.
    pub fn ticket(&self, subject: Subject, stated: Stated) -> String {
        self.seal(Kind::Ticket, subject, stated, b"")
    }

    /// What `ticket` says. Whether it has expired is the caller's to see.
    ///
    /// # Errors
    /// If this key did not seal it for `subject`.
    pub fn open_ticket(&self, ticket: &str, subject: Subject) -> Result<Stated, InvalidTicket> {
        self.open(Kind::Ticket, ticket, subject, b"")
    }

    /// A challenge for `subject` whose answer is `answer`, which can't be derived from it.
    pub fn challenge(&self, subject: Subject, stated: Stated, answer: &str) -> String {
        self.seal(Kind::Challenge, subject, stated, &plain(answer))
    }

    /// What `challenge` says, if `answer` is its answer, in capitals or not.
    ///
    /// # Errors
    /// If it is not, or this key did not seal it for `subject`.
    pub fn open_challenge(&self, challenge: &str, subject: Subject, answer: &str) -> Result<Stated, InvalidTicket> {
        self.open(Kind::Challenge, challenge, subject, &plain(answer))
    }

    fn seal(&self, kind: Kind, subject: Subject, stated: Stated, answer: &[u8]) -> String {
        let mut sealed = [0; STATED_BYTES + MAC_BYTES];
        sealed[..8].copy_from_slice(&stated.expires_at_ms.to_be_bytes());
        sealed[8..STATED_BYTES].copy_from_slice(&stated.nonce.to_be_bytes());
        let mac = self.mac_of(kind, subject, &sealed[..STATED_BYTES], answer).finalize().into_bytes();
        sealed[STATED_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    fn open(&self, kind: Kind, text: &str, subject: Subject, answer: &[u8]) -> Result<Stated, InvalidTicket> {
        let sealed = unsealed(text)?;
        let (stated, mac) = sealed.split_at(STATED_BYTES);
        self.mac_of(kind, subject, stated, answer).verify_truncated_left(mac).map_err(|_| InvalidTicket)?;
        Ok(Stated { expires_at_ms: number(&stated[..8]), nonce: number(&stated[8..]) })
    }

    /// All but the answer, which comes last, is of fixed length.
    fn mac_of(&self, kind: Kind, subject: Subject, stated: &[u8], answer: &[u8]) -> Hmac<Sha256> {
        self.mac
            .clone()
            .chain_update([kind as u8])
            .chain_update(subject.activity.as_i64().to_be_bytes())
            .chain_update(subject.user.as_i64().to_be_bytes())
            .chain_update(stated)
            .chain_update(answer)
    }
}

/// The nonce of a ticket or a challenge, whatever key sealed it.
///
/// # Errors
/// If it can't be either.
pub fn nonce(text: &str) -> Result<u64, InvalidTicket> {
    Ok(number(&unsealed(text)?[8..STATED_BYTES]))
}

/// Its bytes; no two texts have the same.
fn unsealed(text: &str) -> Result<[u8; STATED_BYTES + MAC_BYTES], InvalidTicket> {
    let mut sealed = [0; STATED_BYTES + MAC_BYTES];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut sealed) {
        Ok(length) if length == sealed.len() => Ok(sealed),
        Ok(_) | Err(_) => Err(InvalidTicket),
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An answer as it counts: without blanks around it, in capitals.
fn plain(answer: &str) -> Vec<u8> {
    answer.trim().to_ascii_uppercase().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(activity: i64, user: i64) -> Subject {
        Subject { activity: ActivityId::from_i64(activity).unwrap(), user: UserId::from_i64(user).unwrap() }
    }

    const STATED: Stated = Stated { expires_at_ms: 1_800_000_000_123, nonce: 0x0102_0304_0506_0708 };

    #[test]
    fn a_ticket_is_good_for_its_subject_only() {
        let key = TicketKey::new(b"secret");
        let ticket = key.ticket(subject(1, 2), STATED);
        assert_eq!((ticket.len(), nonce(&ticket)), (43, Ok(STATED.nonce)));
        let check = |key: &TicketKey, ticket: &str, subject, expect: bool| {
            let opened = key.open_ticket(ticket, subject);
            assert_eq!(opened, if expect { Ok(STATED) } else { Err(InvalidTicket) }, "{ticket} {subject:?}");
        };
        check(&key, &ticket, subject(1, 2), true);
        check(&TicketKey::new(b"secret"), &ticket, subject(1, 2), true);
        check(&TicketKey::new(b"another"), &ticket, subject(1, 2), false);
        check(&key, &ticket, subject(1, 3), false);
        check(&key, &ticket, subject(2, 2), false);
        check(&key, &key.challenge(subject(1, 2), STATED, ""), subject(1, 2), false);
        for at in 0..ticket.len() {
            let mut forged = ticket.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'Q' } else { b'A' };
            check(&key, std::str::from_utf8(&forged).unwrap(), subject(1, 2), false);
            check(&key, &ticket[..at], subject(1, 2), false);
        }
        for bad in [format!("{ticket}A"), format!("{ticket}="), "A".repeat(5000), "票".to_owned()] {
            check(&key, &bad, subject(1, 2), false);
        }
    }

    #[test]
    fn a_challenge_is_met_by_its_answer_only() {
        let key = TicketKey::new(b"secret");
        let challenge = key.challenge(subject(1, 2), STATED, "aB3x");
        for (answer, expect) in [("AB3X", true), (" ab3x\n", true), ("", false), ("AB3", false), ("AB3XX", false)] {
            assert_eq!(key.open_challenge(&challenge, subject(1, 2), answer).is_ok(), expect, "{answer}");
        }
        assert_eq!(key.open_challenge(&challenge, subject(1, 3), "AB3X"), Err(InvalidTicket));
        assert_eq!(key.open_challenge(&key.ticket(subject(1, 2), STATED), subject(1, 2), ""), Err(InvalidTicket));
    }
}
