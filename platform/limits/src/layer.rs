//! The layer that keeps to the limits.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use contract::{client_address::limit_keys, token::TokenKey};
use foundation::{
    Clock,
    config::LimitsConfig,
    metrics::{Counter, Registry},
};
use web::{ClientAddress, Problem, bearer};

use crate::{Away, Rule, Taken, Windows};

const RATE_LIMIT: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];
/// Between two lines in the log that say that nobody is limited.
const QUIET_MS: u64 = 10_000;

/// Paths that are no plain reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Routes {
    /// Register, sign in: by address, with or without a token.
    pub sign_in: &'static [&'static str],
    /// Never limited: what only our partners ask for.
    pub free: &'static [&'static str],
}

/// Limits of one service: each user may ask for each route so often, and a client without a token is counted by its address.
/// While the windows are away nobody is limited, and a metric counts it.
#[derive(Clone)]
pub struct Limits {
    windows: Windows,
    sign_in: Option<Rule>,
    write: Option<Rule>,
    read: Option<Rule>,
    tokens: TokenKey,
    routes: Routes,
    limited: Counter,
    skips: Skips,
    now_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// A limit of 0 turns the limit off.
pub(crate) fn rule(max: u32, within: Duration) -> Option<Rule> {
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    NonZeroU32::new(max).map(|max| Rule { max, within_ms })
}

impl Limits {
    /// The limits of `config` for a service whose users have tokens of `tokens`.
    pub fn new(
        windows: Windows,
        config: &LimitsConfig,
        (tokens, routes): (TokenKey, Routes),
        (metrics, service): (&Registry, &str),
        clock: impl Clock,
    ) -> Self {
        let name = |what: &str| format!("mall_{what}_total{{service=\"{service}\"}}");
        let skipped =
            metrics.counter(&name("limits_skipped"), "Requests that were not limited because Redis was away.");
        Self {
            windows,
            sign_in: rule(config.sign_in_max, config.window),
            write: rule(config.write_max, config.window),
            read: rule(config.read_max, config.window),
            tokens,
            routes,
            limited: metrics.counter(&name("rate_limited"), "Requests that were refused as too many."),
            skips: Skips { skipped: Some(skipped), ..Skips::default() },
            now_ms: Arc::new(move || clock.now_ms()),
        }
    }

    /// Limits `router`, which [`web::harden`] is around. Its paths get their answer to other methods here, because an answer that is added later is outside
    /// of the layers.
    pub fn limit(self, router: Router) -> Router {
        web::refuse_other_methods(router).layer(middleware::from_fn(move |request: Request, next: Next| {
            let limits = self.clone();
            async move { limits.pass(request, next).await }
        }))
    }

    async fn pass(&self, request: Request, next: Next) -> Response {
        let now_ms = (self.now_ms)();
        let wanted = self.wanted(&request, now_ms);
        if wanted.is_empty() {
            return next.run(request).await;
        }
        match self.windows.take_all(&wanted, now_ms).await {
            Ok((rule, taken)) if taken.stamp.is_some() => {
                let mut response = next.run(request).await;
                for (name, value) in headers(rule, taken) {
                    response.headers_mut().insert(name, value);
                }
                response
            }
            Ok((rule, taken)) => {
                self.limited.add(1);
                let mut problem =
                    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests; slow down")
                        .retry_after_s(seconds(taken.frees_ms));
                for (name, value) in headers(rule, taken) {
                    problem = problem.header(name, value);
                }
                problem.into_response()
            }
            Err(away) => {
                self.skips.skip(&away, now_ms);
                next.run(request).await
            }
        }
    }

    /// The windows that a request counts in: of its route and who asks. None where it is not limited.
    fn wanted(&self, request: &Request, now_ms: u64) -> Vec<(String, Rule)> {
        let Some(path) = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) else { return Vec::new() };
        if self.routes.free.contains(&path) {
            return Vec::new();
        }
        let signs_in = self.routes.sign_in.contains(&path) && request.method() == Method::POST;
        let rule = match *request.method() {
            _ if signs_in => self.sign_in,
            Method::GET | Method::HEAD | Method::OPTIONS => self.read,
            _ => self.write,
        };
        let Some(rule) = rule else { return Vec::new() };
        let user = if signs_in { None } else { bearer(request.headers(), &self.tokens, now_ms).ok() };
        if let Some(claims) = user {
            return vec![(format!("{} {path}:user {}", request.method(), claims.subject), rule)];
        }
        // Without a peer all are one client: rather too few than too many.
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let client = request.extensions().get::<ClientAddress>().map_or(unknown, |client| client.0);
        let window = |(key, factor): (u128, u32)| {
            let max = rule.max.saturating_mul(NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN));
            (format!("{} {path}:client {key:x}", request.method()), Rule { max, ..rule })
        };
        limit_keys(client).map(window).collect()
    }
}

/// As at the gateway: `RateLimit-Reset` is the time until one more request is allowed.
fn headers(rule: Rule, taken: Taken) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let values = [u64::from(rule.max.get()), u64::from(taken.left), seconds(taken.frees_ms)];
    RATE_LIMIT.into_iter().zip(values.map(HeaderValue::from))
}

const fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

/// Requests that were let through uncounted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skips {
    skipped: Option<Counter>,
    logged_ms: Arc<AtomicU64>,
}

impl Skips {
    pub(crate) fn skip(&self, away: &Away, now_ms: u64) {
        if let Some(skipped) = &self.skipped {
            skipped.add(1);
        }
        let logged_ms = self.logged_ms.load(Ordering::Relaxed);
        if now_ms >= logged_ms + QUIET_MS
            && self.logged_ms.compare_exchange(logged_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!(%away, "requests are not limited while their counts are away");
        }
    }
}
