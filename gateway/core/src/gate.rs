//! Rate limits, the Bloom filter and tokens, cheapest first.

use std::{net::IpAddr, time::Duration};

use contract::{
    ActivityId, SkuId, UserId,
    client_address::{TrustedProxies, limit_key},
};

use crate::{
    Now,
    config::Config,
    http::RateState,
    id_filter::IdFilter,
    limit::{Limiter, Rate, RateExceeded},
    tokens::Tokens,
};

/// Captcha images for one user. Each takes long to render, and a few users must not use up those that are ready.
const CHALLENGES: Rate = Rate { per_second: 1, burst: 5 };

/// Everything between routing and the sale itself.
#[derive(Debug)]
pub(crate) struct Gate {
    clients: Limiter<u128>,
    users: Limiter<UserId>,
    challenges: Limiter<UserId>,
    tokens: Tokens,
    trusted_proxies: TrustedProxies,
    id_filter: IdFilter,
}

impl Gate {
    pub(crate) fn new(config: &Config, now: Duration) -> Self {
        let limits = &config.gate;
        Self {
            clients: Limiter::new(limits.client, limits.keys_max, config.seed, now),
            users: Limiter::new(limits.user, limits.keys_max, config.seed, now),
            challenges: Limiter::new(CHALLENGES, limits.keys_max, config.seed, now),
            tokens: Tokens::new(config.keys.tokens.clone(), limits.tokens_max, config.seed),
            trusted_proxies: limits.trusted_proxies.clone(),
            id_filter: IdFilter::new(config.seed),
        }
    }

    /// Makes the Bloom filter pass exactly these activities and what they sell.
    pub(crate) fn rebuild_id_filter(&mut self, catalogue: impl ExactSizeIterator<Item = (ActivityId, SkuId)>) {
        self.id_filter.rebuild(catalogue);
    }

    pub(crate) fn may_have_activity(&self, activity: ActivityId) -> bool {
        self.id_filter.may_have_activity(activity)
    }

    pub(crate) fn may_have_sku(&self, sku: SkuId) -> bool {
        self.id_filter.may_have_sku(sku)
    }

    /// Takes one request of the client behind `peer`.
    pub(crate) fn take_client(
        &mut self,
        peer: IpAddr,
        forwarded_for: Option<&[u8]>,
        now: Now,
    ) -> Result<Option<RateState>, RateExceeded> {
        let client = self.trusted_proxies.client(peer, forwarded_for.into_iter());
        self.clients.take(limit_key(client), now.mono)
    }

    /// Takes one request of a user.
    pub(crate) fn take_user(&mut self, user: UserId, now: Now) -> Result<Option<RateState>, RateExceeded> {
        self.users.take(user, now.mono)
    }

    /// Takes one challenge for a user.
    pub(crate) fn take_challenge(&mut self, user: UserId, now: Now) -> Result<Option<RateState>, RateExceeded> {
        self.challenges.take(user, now.mono)
    }

    /// The user who holds the token of this `Authorization` header.
    pub(crate) fn user(&mut self, authorization: Option<&[u8]>, now: Now) -> Option<UserId> {
        self.tokens.user(authorization, now.wall_ms)
    }
}
