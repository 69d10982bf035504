//! How many connections each client has.

use std::{collections::HashMap, net::IpAddr};

use contract::client_address::{TrustedProxies, limit_keys};
use foldhash::fast::FixedState;

/// Open connections by the networks of [`limit_keys`].
#[derive(Debug)]
pub(super) struct ClientConnections {
    open: HashMap<u128, u32, FixedState>,
    max: u32,
    proxies: TrustedProxies,
}

impl ClientConnections {
    /// `seed` keeps clients from choosing keys that collide.
    pub(super) fn new(max: usize, proxies: TrustedProxies, seed: u64) -> Self {
        let open = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { open, max: u32::try_from(max).unwrap_or(u32::MAX), proxies }
    }

    /// Counts a connection of `peer`; `false` if it has too many. Trusted proxies stand for many clients and are not
    /// counted.
    pub(super) fn add(&mut self, peer: IpAddr) -> bool {
        if self.proxies.contains(peer) {
            return true;
        }
        let has_room =
            |(key, factor): (u128, u32)| self.open.get(&key).is_none_or(|open| *open < self.max.saturating_mul(factor));
        if !limit_keys(peer).all(has_room) {
            return false;
        }
        for (key, _) in limit_keys(peer) {
            *self.open.entry(key).or_default() += 1;
        }
        true
    }

    /// A connection that was counted is closed.
    pub(super) fn remove(&mut self, peer: IpAddr) {
        if self.proxies.contains(peer) {
            return;
        }
        for (key, _) in limit_keys(peer) {
            let open = self.open.get_mut(&key).unwrap_or_else(|| panic!("no connection of {peer} was counted"));
            *open -= 1;
            if *open == 0 {
                self.open.remove(&key);
            }
        }
    }
}
