//! Who may ask, and how much: limits, the Bloom filter and tokens, cheapest first.

use std::{net::IpAddr, time::Duration};

use contract::UserId;

use crate::{
    Now,
    config::{Cidr, Config, address_bits},
    http::{RateState, list},
    limit::{Limited, Limiter},
    screen::Screen,
    tokens::Tokens,
};

/// Everything between routing and the sale itself.
#[derive(Debug)]
pub(crate) struct Gate {
    clients: Limiter<u128>,
    users: Limiter<UserId>,
    tokens: Tokens,
    trusted_proxies: Vec<Cidr>,
    pub(crate) screen: Screen,
}

impl Gate {
    pub(crate) fn new(config: &Config, now: Duration) -> Self {
        let limits = &config.gate;
        Self {
            clients: Limiter::new(limits.client, limits.keys_max, config.seed, now),
            users: Limiter::new(limits.user, limits.keys_max, config.seed, now),
            tokens: Tokens::new(config.keys.tokens.clone(), limits.tokens_max, config.seed),
            trusted_proxies: limits.trusted_proxies.clone(),
            screen: Screen::new(config.seed),
        }
    }

    /// Takes one request of the client behind `peer`.
    pub(crate) fn take_client(
        &mut self,
        peer: IpAddr,
        forwarded_for: Option<&[u8]>,
        now: Now,
    ) -> Result<Option<RateState>, Limited> {
        let client = self.client(peer, forwarded_for);
        self.clients.take(limit_key(client), now.mono)
    }

    /// Takes one request of a user.
    pub(crate) fn take_user(&mut self, user: UserId, now: Now) -> Result<Option<RateState>, Limited> {
        self.users.take(user, now.mono)
    }

    /// The user who holds the token of this `Authorization` header.
    pub(crate) fn user(&mut self, authorization: Option<&[u8]>, now: Now) -> Option<UserId> {
        self.tokens.user(authorization, now.wall_ms)
    }

    /// The nearest address on the way to the client that is no proxy of ours.
    fn client(&self, peer: IpAddr, forwarded_for: Option<&[u8]>) -> IpAddr {
        let trusts = |address: IpAddr| self.trusted_proxies.iter().any(|network| network.contains(address));
        let mut client = peer;
        for hop in list(forwarded_for.unwrap_or_default()).rev() {
            if !trusts(client) {
                break;
            }
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| hop.parse().ok()) else { break };
            client = address;
        }
        client
    }
}

/// One household has a /64 of IPv6 addresses.
fn limit_key(client: IpAddr) -> u128 {
    let bits = address_bits(client);
    match client.to_canonical() {
        IpAddr::V4(_) => bits,
        IpAddr::V6(_) => bits >> 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Keys;

    #[test]
    fn forwarded_for_is_believed_from_proxies_only() {
        let mut config = Config::new(Keys::new(b"x"), 1);
        config.gate.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let gate = Gate::new(&config, Duration::ZERO);
        let check = |peer: &str, forwarded: &str, expect: &str| {
            let client = gate.client(peer.parse().unwrap(), Some(forwarded.as_bytes()));
            assert_eq!(client.to_string(), expect, "{peer} {forwarded}");
        };
        check("9.9.9.9", "1.1.1.1", "9.9.9.9");
        check("127.0.0.1", "1.1.1.1", "1.1.1.1");
        check("127.0.0.1", "8.8.8.8, 1.1.1.1", "1.1.1.1");
        check("127.0.0.1", "8.8.8.8, 1.1.1.1,10.0.0.3", "1.1.1.1");
        check("127.0.0.1", "1.1.1.1, unknown", "127.0.0.1");
        check("127.0.0.1", "", "127.0.0.1");
    }
}
