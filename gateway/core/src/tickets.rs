//! Entry tickets, and the captcha images that some of them require.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use contract::{
    UserId,
    activity::Door,
    ticket::{self, Stated, Subject, TicketKey},
};
use serde::Deserialize;

use crate::{
    answer::Answer,
    lru::LruMap,
    order_request::{Refusal, json_object},
};

/// How long a ticket is good, in milliseconds.
pub const TICKET_MS: u64 = 10 * 60_000;
/// How long a challenge may be answered, in milliseconds.
pub const CHALLENGE_MS: u64 = 2 * 60_000;
/// Milliseconds before a sale at which its images are requested.
pub const CAPTCHA_LEAD_MS: u64 = 10 * 60_000;

/// Challenges that were tried and may not be tried again on this core.
const TRIED_MAX: usize = 16 * 1024;
/// A user's wait after the first wrong answer, in milliseconds; it doubles with each further one.
const WRONG_WAIT_MS: u64 = 1_000;
/// The longest wait after a wrong answer, in milliseconds.
const WRONG_WAIT_MAX_MS: u64 = 64_000;
/// After this many milliseconds without a wrong answer the wait starts from its shortest again.
const WRONG_KEPT_MS: u64 = 10 * 60_000;
/// Users whose wrong answers are remembered on this core.
const WRONG_USERS_MAX: usize = 16 * 1024;
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 64;

const _: () = assert!(CHALLENGE_MS <= TICKET_MS, "a ticket outlives the challenge that it was given for");

/// A captcha image and the text in it.
#[derive(Debug, Clone)]
pub struct Captcha {
    /// A PNG.
    pub image: Arc<[u8]>,
    /// The text in the image.
    pub answer: String,
}

/// A request for a ticket. The body may be empty if the sale does not use challenges.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TicketRequest<'b> {
    #[serde(borrow, default)]
    challenge: Option<Cow<'b, str>>,
    #[serde(borrow, default)]
    answer: Option<Cow<'b, str>>,
}

impl<'b> TicketRequest<'b> {
    pub(crate) fn read(content_type: Option<&[u8]>, body: &'b [u8]) -> Result<Self, Refusal> {
        if body.is_empty() { Ok(Self::default()) } else { json_object(content_type, body) }
    }
}

/// A user's application for an entry ticket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Application<'a> {
    pub door: Door,
    pub subject: Subject,
    pub brought: &'a TicketRequest<'a>,
    /// The end of the sale; no ticket is valid beyond it.
    pub ends_at_ms: u64,
}

/// The ticket of a reservation, and whose it must be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TicketProof<'a> {
    pub ticket: Option<&'a str>,
    pub subject: Subject,
    pub has_bought: bool,
}

/// The key, the images that are ready, and the challenges that were tried.
#[derive(Debug)]
pub(crate) struct Tickets {
    key: TicketKey,
    ready: VecDeque<Captcha>,
    ready_max: usize,
    /// Images that were requested and have not arrived.
    asked: usize,
    /// By user, because any client may send anything as a challenge.
    tried: LruMap<(UserId, u64), ()>,
    /// Wrong answers of a user, and when the latest of them came.
    wrong: LruMap<UserId, (u32, u64)>,
}

impl Tickets {
    pub(crate) fn new(key: TicketKey, ready_max: usize, seed: u64) -> Self {
        Self {
            key,
            ready: VecDeque::new(),
            ready_max,
            asked: 0,
            tried: LruMap::new(TRIED_MAX, seed),
            wrong: LruMap::new(WRONG_USERS_MAX, seed),
        }
    }

    /// How many images to request now; the caller must request them.
    pub(crate) fn poll_wanted(&mut self) -> Option<usize> {
        let missing = self.ready_max - self.ready.len();
        if self.asked > 0 || missing <= self.ready_max / 2 {
            return None;
        }
        self.asked = missing;
        Some(missing)
    }

    /// Takes images that were requested; an empty list if no more of them come.
    pub(crate) fn handle_captchas(&mut self, captchas: Vec<Captcha>) {
        self.asked = if captchas.is_empty() { 0 } else { self.asked.saturating_sub(captchas.len()) };
        self.ready.extend(captchas);
        self.ready.truncate(self.ready_max);
    }

    /// Seconds until the user may ask for a challenge or answer one; `None` where that is now. A program that guesses would
    /// otherwise have a ticket after some tries.
    pub(crate) fn wait_s(&mut self, user: UserId, wall_ms: u64) -> Option<u64> {
        let (wrong, at_ms) = self.wrong.get(&user)?;
        let wait_ms = WRONG_WAIT_MS.saturating_mul(1 << (wrong - 1).min(16)).min(WRONG_WAIT_MAX_MS);
        let left_ms = at_ms.saturating_add(wait_ms).saturating_sub(wall_ms);
        (left_ms > 0).then(|| left_ms.div_ceil(1000))
    }

    fn note_wrong(&mut self, user: UserId, wall_ms: u64) {
        let before = self.wrong.get(&user).filter(|(_, at_ms)| wall_ms < at_ms.saturating_add(WRONG_KEPT_MS));
        let wrong = before.map_or(0, |(wrong, _)| wrong).saturating_add(1);
        self.wrong.insert(user, (wrong, wall_ms));
    }

    /// An image that was not used before, and its sealed challenge.
    pub(crate) fn challenge(&mut self, subject: Subject, nonce: u64, wall_ms: u64) -> Option<(String, Arc<[u8]>)> {
        let Captcha { image, answer } = self.ready.pop_front()?;
        let stated = Stated { expires_at_ms: wall_ms.saturating_add(CHALLENGE_MS), nonce };
        Some((self.key.challenge(subject, stated, &answer), image))
    }

    /// A ticket and when it expires, if what was brought meets the sale's requirement. A challenge can be tried once,
    /// right or wrong.
    pub(crate) fn issue(
        &mut self,
        application: &Application<'_>,
        nonce: u64,
        wall_ms: u64,
    ) -> Result<(String, u64), Answer> {
        let Application { door, subject, brought, ends_at_ms } = *application;
        if door == Door::Captcha {
            let (Some(challenge), Some(answer)) = (&brought.challenge, &brought.answer) else {
                return Err(Answer::ChallengeRequired);
            };
            if let Err(refusal) = self.pass(subject, challenge, answer, wall_ms) {
                self.note_wrong(subject.user, wall_ms);
                return Err(refusal);
            }
        }
        let expires_at_ms = wall_ms.saturating_add(TICKET_MS).min(ends_at_ms);
        Ok((self.key.ticket(subject, Stated { expires_at_ms, nonce }), expires_at_ms))
    }

    fn pass(&mut self, subject: Subject, challenge: &str, answer: &str, wall_ms: u64) -> Result<(), Answer> {
        let Ok(nonce) = ticket::nonce(challenge) else { return Err(Answer::ChallengeFailed) };
        let tried = (subject.user, nonce);
        let again = self.tried.get(&tried).is_some();
        self.tried.insert(tried, ());
        if again || answer.len() > ANSWER_BYTES_MAX {
            return Err(Answer::ChallengeFailed);
        }
        match self.key.open_challenge(challenge, subject, answer) {
            Ok(stated) if wall_ms < stated.expires_at_ms => Ok(()),
            Ok(_) | Err(_) => Err(Answer::ChallengeFailed),
        }
    }

    /// Why the ticket does not admit the user. A user who has bought may show an expired ticket, so that a repeat of the
    /// request gets its first answer.
    pub(crate) fn refusal(&self, door: Door, shown: &TicketProof<'_>, wall_ms: u64) -> Option<Answer> {
        if door == Door::Open {
            return None;
        }
        let Some(ticket) = shown.ticket else { return Some(Answer::TicketRequired) };
        match self.key.open_ticket(ticket, shown.subject) {
            Ok(stated) if shown.has_bought || wall_ms < stated.expires_at_ms => None,
            Ok(_) | Err(_) => Some(Answer::TicketInvalid),
        }
    }
}
