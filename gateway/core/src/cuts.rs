//! Access tokens that are not good any more although they have not expired.

use std::collections::{HashMap, VecDeque};

use contract::{
    SessionId, UserId,
    record::{CutScope, TokenCut},
    snowflake,
    topic::{CUT_LEEWAY_MS, TOKEN_CUTS_KEPT_MS},
};
use foldhash::fast::FixedState;

/// Cuts that are remembered. Where there are more, the oldest are forgotten, and every token that is as old as they
/// are is refused: its holder refreshes it.
pub const CUTS_MAX: usize = 64 * 1024;

/// The holder of a token, and what a cut goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bearer {
    pub user: UserId,
    pub session: Option<SessionId>,
    pub issued_at_s: u64,
    pub expires_at_s: u64,
}

/// What was cut of a user's tokens.
#[derive(Debug, Clone, Copy)]
struct UserCut {
    at_ms: u64,
    but: Option<SessionId>,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    User(UserId),
    Session(SessionId),
}

/// The cuts of the time that an access token lives.
#[derive(Debug)]
pub(crate) struct Cuts {
    users: HashMap<UserId, UserCut, FixedState>,
    sessions: HashMap<SessionId, u64, FixedState>,
    /// In the order in which they came.
    ages: VecDeque<(u64, Key)>,
    cuts_max: usize,
    /// Tokens that were signed up to this instant are refused, epoch milliseconds; 0 where none are.
    floor_ms: u64,
}

impl Cuts {
    pub(crate) fn new(cuts_max: usize, seed: u64) -> Self {
        assert!(cuts_max > 0, "cuts that are never remembered");
        let state = FixedState::with_seed(seed);
        Self {
            users: HashMap::with_hasher(state.clone()),
            sessions: HashMap::with_hasher(state),
            ages: VecDeque::new(),
            cuts_max,
            floor_ms: 0,
        }
    }

    pub(crate) fn handle(&mut self, cut: &TokenCut, now_ms: u64) {
        let TokenCut { user, at_ms, scope } = *cut;
        let at_ms = at_ms.min(now_ms.saturating_add(CUT_LEEWAY_MS));
        let key = match scope {
            CutScope::One(session) => {
                self.sessions.insert(session, at_ms);
                Key::Session(session)
            }
            CutScope::All => {
                self.cut_user(user, at_ms, None);
                Key::User(user)
            }
            CutScope::AllBut(session) => {
                self.cut_user(user, at_ms, Some(session));
                Key::User(user)
            }
        };
        self.ages.push_back((at_ms, key));
        self.forget(now_ms);
    }

    /// A later cut never spares what an earlier one has ended, whatever clock each of them comes from: the instant does not
    /// go back, and a cut with an earlier instant spares only the session that the known one spares, too.
    fn cut_user(&mut self, user: UserId, at_ms: u64, but: Option<SessionId>) {
        let cut = match self.users.get(&user) {
            Some(known) if known.at_ms > at_ms => UserCut { at_ms: known.at_ms, but: but.filter(|_| but == known.but) },
            _ => UserCut { at_ms, but },
        };
        self.users.insert(user, cut);
    }

    /// Forgets cuts of tokens that have expired, and the oldest where there are too many.
    fn forget(&mut self, now_ms: u64) {
        let expired_ms = now_ms.saturating_sub(TOKEN_CUTS_KEPT_MS);
        if self.floor_ms <= expired_ms {
            self.floor_ms = 0;
        }
        while let Some((at_ms, key)) = self.ages.front().copied() {
            let is_expired = at_ms <= expired_ms;
            if !is_expired && self.ages.len() <= self.cuts_max {
                return;
            }
            self.ages.pop_front();
            if !is_expired {
                self.floor_ms = self.floor_ms.max(at_ms);
            }
            match key {
                Key::User(user) if self.users.get(&user).is_some_and(|cut| cut.at_ms <= at_ms) => {
                    self.users.remove(&user);
                }
                Key::Session(session) if self.sessions.get(&session).is_some_and(|known| *known <= at_ms) => {
                    self.sessions.remove(&session);
                }
                Key::User(_) | Key::Session(_) => {}
            }
        }
    }

    /// Whether the token was cut. Nearly all of the time there is hardly any cut, and nothing is looked up.
    #[inline]
    pub(crate) fn refuses(&self, bearer: &Bearer) -> bool {
        (!self.ages.is_empty() || self.floor_ms > 0) && self.has_cut(bearer)
    }

    fn has_cut(&self, bearer: &Bearer) -> bool {
        let issued_at_ms = bearer.issued_at_s.saturating_mul(1000);
        if self.floor_ms > 0 && issued_at_ms <= self.floor_ms {
            return true;
        }
        if bearer.session.is_some_and(|session| self.sessions.contains_key(&session)) {
            return true;
        }
        let Some(cut) = self.users.get(&bearer.user) else { return false };
        // A session outlives the cuts before it, however soon it begins after one: its id has milliseconds.
        match bearer.session {
            Some(session) => cut.but != Some(session) && snowflake::made_at_ms(session.as_i64()) <= cut.at_ms,
            None => issued_at_ms <= cut.at_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_500;

    fn user(id: i64) -> UserId {
        UserId::from_i64(id).unwrap()
    }

    /// A session that begins `after_ms` after the cuts.
    fn session(after_ms: i64) -> SessionId {
        let at_ms = NOW_MS.checked_add_signed(after_ms).unwrap();
        SessionId::from_i64(snowflake::first_at_ms(at_ms)).unwrap()
    }

    fn bearer(id: i64, session: Option<SessionId>, issued_at_s: u64) -> Bearer {
        Bearer { user: user(id), session, issued_at_s, expires_at_s: u64::MAX }
    }

    #[test]
    fn a_cut_ends_the_tokens_before_it() {
        let check = |scope: CutScope, holder: Bearer, expect: bool| {
            let mut cuts = Cuts::new(8, 1);
            assert!(!cuts.refuses(&holder));
            cuts.handle(&TokenCut { user: user(1), at_ms: NOW_MS, scope }, NOW_MS);
            assert_eq!(cuts.refuses(&holder), expect, "{scope:?} {holder:?}");
        };
        let (before, after) = (session(-1), session(1));
        check(CutScope::All, bearer(1, Some(before), 0), true);
        check(CutScope::All, bearer(1, Some(after), 0), false);
        check(CutScope::All, bearer(1, None, NOW_MS / 1000), true);
        check(CutScope::All, bearer(1, None, NOW_MS / 1000 + 1), false);
        check(CutScope::All, bearer(2, Some(before), 0), false);
        check(CutScope::AllBut(before), bearer(1, Some(before), 0), false);
        check(CutScope::AllBut(before), bearer(1, Some(session(-2)), 0), true);
        check(CutScope::AllBut(before), bearer(1, None, NOW_MS / 1000), true);
        check(CutScope::One(before), bearer(1, Some(before), 0), true);
        check(CutScope::One(before), bearer(1, Some(session(-2)), 0), false);
        check(CutScope::One(before), bearer(1, None, 0), false);
    }

    #[test]
    fn a_cut_of_a_wrong_clock_ends_no_tokens_of_hours_to_come() {
        let mut cuts = Cuts::new(8, 1);
        let spared = session(-5);
        let ahead = TokenCut { user: user(1), at_ms: NOW_MS + 5 * 3_600_000, scope: CutScope::AllBut(spared) };
        cuts.handle(&ahead, NOW_MS);
        let soon = i64::try_from(CUT_LEEWAY_MS).unwrap() + 1;
        assert!(!cuts.refuses(&bearer(1, Some(session(soon)), 0)), "it began after the cut");
        assert!(!cuts.refuses(&bearer(1, None, (NOW_MS + CUT_LEEWAY_MS) / 1000 + 1)));
        assert!(cuts.refuses(&bearer(1, Some(session(-1)), 0)) && !cuts.refuses(&bearer(1, Some(spared), 0)));
        // The user is blocked by a process whose clock is right.
        cuts.handle(&TokenCut { user: user(1), at_ms: NOW_MS, scope: CutScope::All }, NOW_MS);
        assert!(cuts.refuses(&bearer(1, Some(spared), 0)), "the earlier instant is the later cut");
    }

    #[test]
    fn cuts_are_forgotten_with_the_tokens_that_they_end() {
        let mut cuts = Cuts::new(8, 1);
        let holder = bearer(1, Some(session(-1)), NOW_MS / 1000);
        cuts.handle(&TokenCut { user: user(1), at_ms: NOW_MS, scope: CutScope::All }, NOW_MS);
        let later = NOW_MS + TOKEN_CUTS_KEPT_MS;
        cuts.handle(&TokenCut { user: user(2), at_ms: later - 1, scope: CutScope::All }, later - 1);
        assert!(cuts.refuses(&holder));
        cuts.handle(&TokenCut { user: user(2), at_ms: later, scope: CutScope::All }, later);
        assert!(!cuts.refuses(&holder));
        assert_eq!((cuts.users.len(), cuts.ages.len()), (1, 2));
    }

    #[test]
    fn too_many_cuts_refuse_every_token_as_old_as_the_oldest() {
        const MAX: usize = 100;
        let mut cuts = Cuts::new(MAX, 1);
        for id in 1..=1_000 {
            let at_ms = NOW_MS + 1_000 * u64::try_from(id).unwrap();
            cuts.handle(&TokenCut { user: user(id), at_ms, scope: CutScope::All }, at_ms);
            assert!(cuts.users.len() <= MAX && cuts.ages.len() <= MAX);
        }
        assert!(cuts.refuses(&bearer(1, Some(session(-1)), NOW_MS / 1000)), "it is forgotten and still cut");
        assert!(cuts.refuses(&bearer(9_999, None, NOW_MS / 1000 + 900)), "as old as a forgotten cut");
        assert!(!cuts.refuses(&bearer(9_999, None, NOW_MS / 1000 + 901)), "refreshed since");
    }
}
