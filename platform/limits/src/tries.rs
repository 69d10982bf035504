//! Wrong sign-ins: they slow down the client that makes them, and not the owner of the account.

use std::net::IpAddr;

use contract::client_address::{limit_key, limit_keys};
use foundation::config::LimitsConfig;
use sha2::{Digest, Sha256};

use crate::{LocalWindows, Rule, Stamp, Taken, Windows, layer::Skips};

/// Wrong passwords of one client for one account, until the client waits.
const OF_CLIENT: Rule = Rule::new(5, 5 * 60_000);
/// Wrong passwords for one account from clients that are new to it, until each new client waits.
const OF_STRANGERS: Rule = Rule::new(10, 15 * 60_000);
/// A new client's wait for its first try then, and between two tries.
const NEWCOMER: Rule = Rule::new(1, 30_000);
/// How long it is remembered that a new client has waited.
const NEWCOMER_KNOWN: Rule = Rule::new(1, 10 * 60_000);

/// How a client is known to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has not signed in to it lately.
    No,
    /// It has signed in from this address lately.
    ByAddress,
    /// It has the cookie of the device with this number.
    ByDevice(u64),
}

/// Counts wrong sign-ins by account and client, and by the client's address.
///
/// A client that the account knows waits only for its own wrong passwords. All others share a count, which makes each
/// of them wait for half a minute at most before it may try.
#[derive(Debug, Clone)]
pub struct WrongTries {
    windows: Windows,
    /// Counts while `windows` are away: passwords must not be guessed meanwhile.
    own: LocalWindows,
    by_address: Option<Rule>,
    realm: &'static str,
    skips: Skips,
}

/// The client may not try a password now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// For how long, in milliseconds.
    pub ms: u64,
}

/// A sign-in that counts as wrong until it is forgiven.
#[derive(Debug, Default)]
#[must_use]
pub struct Try {
    taken: Vec<Counted>,
    /// The window of the client and the account.
    own: String,
}

#[derive(Debug)]
struct Counted {
    name: String,
    stamp: Stamp,
    /// Counted in this process.
    is_own: bool,
}

impl WrongTries {
    /// Counts those of `realm`.
    pub fn new(windows: Windows, config: &LimitsConfig, realm: &'static str) -> Self {
        Self {
            windows,
            own: LocalWindows::default(),
            by_address: crate::layer::rule(config.wrong_sign_ins_max, config.wrong_sign_ins_window),
            realm,
            skips: Skips::default(),
        }
    }

    /// Counts a sign-in as `username` before its password is looked at, so that those made at once count too.
    ///
    /// # Errors
    /// [`Wait`] where the client must wait; then nothing is counted.
    pub async fn count(&self, username: &str, client: IpAddr, known: Known, now_ms: u64) -> Result<Try, Wait> {
        let (account, address) = (name_hash(username), limit_key(client));
        let who = match known {
            Known::ByDevice(number) => format!("device {number:x}"),
            Known::ByAddress | Known::No => format!("{address:x}"),
        };
        let name = |what: &str, of: &str| format!("{what}:{}:{of}", self.realm);
        let pair = format!("{account}:{who}");
        let mut counted = Try { taken: Vec::new(), own: name("wrong password", &pair) };
        let result = async {
            if known == Known::No {
                for (network, factor) in self.by_address.iter().flat_map(|_| limit_keys(client)) {
                    let Some(rule) = self.by_address else { continue };
                    let name = name("wrong sign-in", &format!("{network:x}"));
                    self.take_or_wait(&mut counted, name, rule.times(factor), now_ms).await?;
                }
                let strangers = self.take(&mut counted, name("strangers", &account), OF_STRANGERS, now_ms).await;
                if strangers.stamp.is_none() {
                    self.wait_once(&name("newcomer", &pair), now_ms).await?;
                    // Or each /64 of a /48 would have a turn of its own, and one attacker has 65,536 of them.
                    for (network, turns) in limit_keys(client).skip(1) {
                        let name = name("newcomers", &format!("{account}:{network:x}"));
                        self.take_or_wait(&mut counted, name, NEWCOMER.times(turns), now_ms).await?;
                    }
                }
            }
            self.take_or_wait(&mut counted, name("wrong password", &pair), OF_CLIENT, now_ms).await
        };
        match result.await {
            Ok(()) => Ok(counted),
            Err(wait) => {
                self.give_back(counted, now_ms).await;
                Err(wait)
            }
        }
    }

    /// A new client waits before its first try and between its tries. It does not wait for what others do meanwhile.
    async fn wait_once(&self, name: &str, now_ms: u64) -> Result<(), Wait> {
        let mut kept = Try::default();
        let is_first = self.take(&mut kept, format!("{name}:seen"), NEWCOMER_KNOWN, now_ms).await.stamp.is_some();
        let turn = self.take(&mut kept, format!("{name}:turn"), NEWCOMER, now_ms).await;
        let may_try = !is_first && turn.stamp.is_some();
        if may_try { Ok(()) } else { Err(Wait { ms: if is_first { NEWCOMER.within_ms } else { turn.frees_ms } }) }
    }

    /// It is not known whether it was wrong, as where the server was busy.
    pub async fn give_back(&self, counted: Try, now_ms: u64) {
        for Counted { name, stamp, is_own } in counted.taken {
            if is_own {
                self.own.give_back(&name, stamp).await;
            } else if let Err(away) = self.windows.give_back(&name, stamp, now_ms).await {
                self.skips.skip(&away, now_ms);
            }
        }
    }

    /// It was right: the client's earlier tries are forgotten.
    pub async fn forgive(&self, counted: Try, now_ms: u64) {
        let own = counted.own.clone();
        self.give_back(counted, now_ms).await;
        self.own.clear(&own).await;
        if let Err(away) = self.windows.clear(&own, now_ms).await {
            self.skips.skip(&away, now_ms);
        }
    }

    async fn take_or_wait(&self, counted: &mut Try, name: String, rule: Rule, now_ms: u64) -> Result<(), Wait> {
        let taken = self.take(counted, name, rule, now_ms).await;
        if taken.stamp.is_some() { Ok(()) } else { Err(Wait { ms: taken.frees_ms }) }
    }

    async fn take(&self, counted: &mut Try, name: String, rule: Rule, now_ms: u64) -> Taken {
        let (taken, is_own) = match self.windows.take(&name, rule, now_ms).await {
            Ok(taken) => (taken, false),
            Err(away) => {
                self.skips.skip(&away, now_ms);
                (self.own.take(&name, rule, now_ms).await, true)
            }
        };
        counted.taken.extend(taken.stamp.map(|stamp| Counted { name, stamp, is_own }));
        taken
    }
}

/// What a name is counted by: as long as any other, and the same for names that differ only in case.
fn name_hash(username: &str) -> String {
    let hash = Sha256::digest(username.to_lowercase());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use foundation::config;

    use super::*;

    #[tokio::test]
    async fn a_new_client_waits_once_and_then_has_its_turn() {
        let config = config::load(None, std::iter::empty()).unwrap();
        let tries = WrongTries::new(Windows::Local(LocalWindows::default()), &config.limits, "test");
        let peer = |last: u8| IpAddr::from([192, 0, 2, last]);
        for last in 0..10 {
            let _counted = tries.count("ada", peer(last), Known::No, 0).await.unwrap();
        }
        let check = async |known: Known, now_ms: u64, expect: Option<u64>| {
            let counted = tries.count("ADA", peer(100), known, now_ms).await;
            assert_eq!(counted.err().map(|wait| wait.ms), expect, "{known:?} {now_ms}");
        };
        check(Known::ByAddress, 0, None).await;
        check(Known::ByDevice(3), 0, None).await;
        check(Known::No, 0, Some(30_000)).await;
        check(Known::No, 29_999, Some(1)).await;
        check(Known::No, 30_000, None).await;
        check(Known::No, 30_001, Some(29_999)).await;
        check(Known::No, 60_000, None).await;
        // Another account is another matter.
        assert!(tries.count("bob", peer(100), Known::No, 1).await.is_ok());
    }

    /// Every /64 of a /48 is a new client. The site has some turns in half a minute, and not one for each of them.
    #[tokio::test]
    async fn the_networks_of_a_site_share_its_tries() {
        let config = config::load(None, std::iter::empty()).unwrap();
        let tries = WrongTries::new(Windows::Local(LocalWindows::default()), &config.limits, "test");
        let peer = |network: u16| IpAddr::from([0x2001, 0xdb8, 1, network, 0, 0, 0, 1]);
        let mut tried = 0;
        for round in 0..4 {
            for network in (0..9_600).step_by(16) {
                tried += usize::from(tries.count("ada", peer(network), Known::No, round * 30_000).await.is_ok());
            }
        }
        // Ten before anybody waits, and 16 in each of the three half minutes after that.
        assert_eq!(tried, 10 + 3 * 16);
    }

    #[tokio::test]
    async fn what_is_counted_has_one_length() {
        assert_eq!(name_hash(&"n".repeat(240 << 10)).len(), name_hash("n").len());
        assert_eq!(name_hash("ÄDA"), name_hash("äda"));
    }
}
