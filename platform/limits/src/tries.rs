//! Wrong sign-ins by the client's address.

use std::net::IpAddr;

use axum::http::StatusCode;
use contract::client_address::limit_key;
use foundation::{config::LimitsConfig, web::Problem};

use crate::{Rule, Stamp, Windows, layer::Skips};

/// Counts wrong sign-ins by the client's address. Accounts count theirs by themselves and lock sooner: behind
/// one address there may be a whole office.
#[derive(Debug, Clone)]
pub struct WrongTries {
    windows: Windows,
    rule: Option<Rule>,
    realm: &'static str,
    skips: Skips,
}

/// A sign-in that counts as wrong until it is forgiven.
#[derive(Debug)]
#[must_use]
pub struct Try(Option<(String, Stamp)>);

impl WrongTries {
    /// Counts those of `realm`.
    pub fn new(windows: Windows, config: &LimitsConfig, realm: &'static str) -> Self {
        Self {
            windows,
            rule: crate::layer::rule(config.wrong_sign_ins_max, config.wrong_sign_ins_window),
            realm,
            skips: Skips::default(),
        }
    }

    /// Counts a sign-in before its password is looked at, so that those made at once count too. It counts
    /// nothing while the windows are away: the accounts' own counts are in the database.
    ///
    /// # Errors
    /// 429 `locked` where too many were wrong.
    pub async fn count(&self, client: IpAddr, now_ms: u64) -> Result<Try, Problem> {
        let Some(rule) = self.rule else { return Ok(Try(None)) };
        let name = format!("wrong sign-in:{}:{:x}", self.realm, limit_key(client));
        match self.windows.take(&name, rule, now_ms).await {
            Ok(taken) => match taken.stamp {
                Some(stamp) => Ok(Try(Some((name, stamp)))),
                None => {
                    let detail = "too many wrong tries from your address; wait";
                    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "locked", detail);
                    Err(problem.retry_after_s(taken.frees_ms.div_ceil(1000)))
                }
            },
            Err(away) => {
                self.skips.skip(&away, now_ms);
                Ok(Try(None))
            }
        }
    }

    /// It was not wrong.
    pub async fn forgive(&self, Try(counted): Try, now_ms: u64) {
        let Some((name, stamp)) = counted else { return };
        if let Err(away) = self.windows.give_back(&name, stamp, now_ms).await {
            self.skips.skip(&away, now_ms);
        }
    }
}
