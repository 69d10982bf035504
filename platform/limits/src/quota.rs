//! What handlers count by themselves, because the layer can't know of it.

use axum::http::StatusCode;
use web::Problem;

use crate::{Rule, Stamp, Windows, layer::Skips};

/// A limit on what is done in one's name. While the windows are away nothing is limited.
#[derive(Debug, Clone)]
pub struct Quota {
    windows: Windows,
    what: &'static str,
    rule: Rule,
    skips: Skips,
}

/// One that was taken.
#[derive(Debug)]
#[must_use]
pub struct Taking(Option<(String, Stamp)>);

impl Quota {
    /// Each may do `what` as often as `rule` has it.
    pub fn new(windows: Windows, what: &'static str, rule: Rule) -> Self {
        Self { windows, what, rule, skips: Skips::default() }
    }

    /// Takes one for `who`.
    ///
    /// # Errors
    /// 429 `rate_limited` where there were too many.
    pub async fn take(&self, who: &str, now_ms: u64) -> Result<Taking, Problem> {
        let name = format!("{}:{who}", self.what);
        match self.windows.take(&name, self.rule, now_ms).await {
            Ok(taken) => match taken.stamp {
                Some(stamp) => Ok(Taking(Some((name, stamp)))),
                None => {
                    let detail = "too many requests; slow down";
                    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
                    Err(problem.retry_after_s(taken.frees_ms.div_ceil(1000)))
                }
            },
            Err(away) => {
                self.skips.skip(&away, now_ms);
                Ok(Taking(None))
            }
        }
    }

    /// It does not count.
    pub async fn give_back(&self, Taking(taken): Taking, now_ms: u64) {
        let Some((name, stamp)) = taken else { return };
        if let Err(away) = self.windows.give_back(&name, stamp, now_ms).await {
            self.skips.skip(&away, now_ms);
        }
    }
}
