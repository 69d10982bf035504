//! Rate limits, the Bloom filter and tokens, cheapest first.

use std::{net::IpAddr, time::Duration};

use contract::{
    ActivityId, SkuId, UserId,
    client_address::{LIMIT_FACTORS, TrustedProxies, limit_key, limit_keys},
    record::TokenCut,
};

use crate::{
    Now,
    config::Config,
    cuts::Bearer,
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
    /// For each network of [`limit_keys`], the narrowest first.
    clients: [Limiter<u128>; 3],
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
            clients: LIMIT_FACTORS.map(|factor| {
                let Rate { per_second, burst } = limits.client;
                let rate = Rate { per_second: per_second.saturating_mul(factor), burst: burst.saturating_mul(factor) };
                Limiter::new(rate, limits.keys_max, config.seed, now)
            }),
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
        let [narrowest, wider @ ..] = &mut self.clients;
        let Some(state) = narrowest.take(limit_key(client), now.mono)? else { return Ok(None) };
        if client.is_ipv4() {
            return Ok(Some(state));
        }
        let mut tightest = state;
        for (limiter, (key, _)) in wider.iter_mut().zip(limit_keys(client).skip(1)) {
            let Some(state) = limiter.take(key, now.mono)? else { break };
            if state.remaining < tightest.remaining {
                tightest = state;
            }
        }
        Ok(Some(tightest))
    }

    /// Whether the client is on this host.
    pub(crate) fn is_local(&self, peer: IpAddr, forwarded_for: Option<&[u8]>) -> bool {
        self.trusted_proxies.client(peer, forwarded_for.into_iter()).to_canonical().is_loopback()
    }

    /// Takes one request of a user.
    pub(crate) fn take_user(&mut self, user: UserId, now: Now) -> Result<Option<RateState>, RateExceeded> {
        self.users.take(user, now.mono)
    }

    /// Takes one challenge for a user.
    pub(crate) fn take_challenge(&mut self, user: UserId, now: Now) -> Result<Option<RateState>, RateExceeded> {
        self.challenges.take(user, now.mono)
    }

    /// Takes records of [`contract::topic::TOKEN_CUTS`].
    pub(crate) fn handle_cuts(&mut self, cuts: &[TokenCut], wall_ms: u64) {
        self.tokens.handle_cuts(cuts, wall_ms);
    }

    /// Who holds the token of this `Authorization` header.
    pub(crate) fn bearer(&mut self, authorization: Option<&[u8]>, now: Now) -> Option<Bearer> {
        self.tokens.bearer(authorization, now.wall_ms)
    }
}
