//! Money by way of a platform: Alipay, or one that the mall plays itself. Both are spoken to in one way; only
//! keys, names and addresses differ.

pub mod faults;
pub mod mock;
mod unmatched;
mod watch;

use std::{fmt, sync::Arc, time::Duration};

use anyhow::Context as _;
use domain::DueRefund;
use foundation::config::{AlipayConfig, PaymentsConfig};
use futures_util::future::BoxFuture;
use pay::{App, CloseAnswer, RefundAnswer, Signer, TradeAnswer, Verifier};
use store::{Arrived, Found, Mismatch, Notice, OpenPayment, Store, StoreError};
use ureq::Agent;
use workers::PayBack;

pub use mock::MockPlatform;
pub(crate) use unmatched::UnmatchedFigure;
pub(crate) use watch::Inquiry;
pub use watch::PaymentWatch;

/// The method of the platform that the mall plays itself.
pub const MOCK: &str = "mock";
/// Alipay's.
pub const ALIPAY: &str = "alipay";

/// How long a platform, or a shop that gets a notice, may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// China's clocks are ahead of UTC by so much; the platform's timestamps are theirs.
const CHINA_MS: u64 = 8 * 3600 * 1000;

/// A way to pay.
#[derive(Debug)]
pub struct Provider {
    /// Its name in requests.
    pub method: &'static str,
    /// How it is spoken to.
    pub app: App,
    /// The URL that gets its notices of payments.
    pub notify_url: String,
    /// Where the buyer goes on.
    pub return_url: String,
}

/// Every way to pay. Clones are the same.
#[derive(Debug, Clone)]
pub struct Providers {
    all: Arc<[Provider]>,
    transport: Transport,
}

type Post = dyn Fn(String, String) -> BoxFuture<'static, Result<String, String>> + Send + Sync;

/// Takes a form to the address of a platform and brings its answer back.
#[derive(Clone)]
pub struct Transport(Arc<Post>);

impl Transport {
    /// Takes a form and its address with `post`.
    pub fn new(
        post: impl Fn(String, String) -> BoxFuture<'static, Result<String, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(post))
    }

    fn http() -> Self {
        let agent = agent();
        Self::new(move |url, body| {
            let agent = agent.clone();
            Box::pin(async move { post_form(&agent, &url, body).await })
        })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl Providers {
    /// The ways of the settings; the mock's where there is one.
    ///
    /// # Errors
    /// If a key can't be read.
    pub fn new(config: &PaymentsConfig, public_url: &str, mock: Option<&MockPlatform>) -> anyhow::Result<Self> {
        // Another part of the process may have chosen the same one before.
        #[cfg(feature = "tls")]
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let provider = |method: &'static str, app| Provider {
            method,
            app,
            notify_url: format!("{public_url}/api/v1/payments/{method}/notify"),
            return_url: format!("{public_url}/pay/return"),
        };
        let mut all = Vec::new();
        if let Some(mock) = mock {
            all.push(provider(MOCK, mock.app(public_url)?));
        }
        if let Some(alipay) = &config.alipay {
            anyhow::ensure!(
                cfg!(feature = "tls") || !alipay.gateway.starts_with("https:"),
                "payments.alipay_gateway: this build has no TLS; build it with --features kafka"
            );
            all.push(provider(ALIPAY, alipay_app(alipay)?));
        }
        Ok(Self::over(all, Transport::http()))
    }

    /// These ways to pay, reached by `transport`.
    pub fn over(all: Vec<Provider>, transport: Transport) -> Self {
        Self { all: all.into(), transport }
    }

    /// What the platform says of a payment.
    ///
    /// # Errors
    /// If it has not said it.
    pub(crate) async fn trade(&self, open: &OpenPayment, now_ms: u64) -> Result<TradeAnswer, String> {
        let provider = self.of(&open.method)?;
        let body =
            provider.app.trade_query_body(open.payment, &timestamp(now_ms)).map_err(|error| error.to_string())?;
        let answer = (self.transport.0)(provider.app.gateway.clone(), body).await?;
        provider.app.trade_answer(open.payment, &answer).map_err(|error| error.to_string())
    }

    /// Has the platform close a trade that waits for its buyer.
    ///
    /// # Errors
    /// If it is not known whether it is closed.
    pub(crate) async fn close_trade(&self, open: &OpenPayment, now_ms: u64) -> Result<CloseAnswer, String> {
        let provider = self.of(&open.method)?;
        let body =
            provider.app.trade_close_body(open.payment, &timestamp(now_ms)).map_err(|error| error.to_string())?;
        let answer = (self.transport.0)(provider.app.gateway.clone(), body).await?;
        provider.app.close_answer(&answer).map_err(|error| error.to_string())
    }

    fn of(&self, method: &str) -> Result<&Provider, String> {
        self.get(method).ok_or_else(|| "this payment method is not set up any more".to_owned())
    }

    /// The way called `method`.
    pub fn get(&self, method: &str) -> Option<&Provider> {
        self.all.iter().find(|provider| provider.method == method)
    }
}

/// Notes money that fits no payment, for an admin.
pub(crate) async fn note_unmatched(
    store: &Store,
    notice: &Notice,
    arrived: Arrived,
    now_ms: u64,
) -> Result<(), StoreError> {
    let mismatch = match arrived {
        Arrived::Unknown => Mismatch::UnknownPayment,
        Arrived::WrongAmount => Mismatch::WrongAmount,
        Arrived::OtherTrade => Mismatch::OtherTrade,
        Arrived::Paid | Arrived::Again | Arrived::HeldAgain(_) | Arrived::GoesBack(_) => return Ok(()),
    };
    let (method, trade_no) = (notice.method.to_owned(), notice.trade_no.clone());
    let subject_id = Some(notice.payment.as_i64());
    store.money().note_unmatched(&Found { method, trade_no, mismatch, subject_id, amount: notice.amount }, now_ms).await
}

impl PayBack for Providers {
    fn methods(&self) -> Vec<&'static str> {
        self.all.iter().map(|provider| provider.method).collect()
    }

    async fn pay_back(&self, due: &DueRefund, now_ms: u64) -> Result<(), String> {
        let provider = self.of(&due.method)?;
        let timestamp = timestamp(now_ms);
        let request =
            pay::RefundRequest { refund: due.refund, payment: due.payment, amount: due.amount, timestamp: &timestamp };
        // Where the request moved no money, an earlier one may have: the query decides.
        for is_query in [false, true] {
            let app = &provider.app;
            let body = if is_query { app.refund_query_body(&request) } else { app.refund_body(&request) };
            let body = body.map_err(|error| error.to_string())?;
            let answer = (self.transport.0)(app.gateway.clone(), body).await?;
            let answer = if is_query { app.refund_query_answer(&answer) } else { app.refund_answer(&answer) };
            match answer.map_err(|error| error.to_string())? {
                RefundAnswer::Moved => return Ok(()),
                RefundAnswer::NotByThis => {}
            }
        }
        Err("the platform has accepted the refund, and no money has moved".to_owned())
    }
}

fn alipay_app(config: &AlipayConfig) -> anyhow::Result<App> {
    let read = |path: &std::path::Path| {
        // The setting may hold the key itself by mistake, which must not get into a log.
        let shown = path.to_string_lossy();
        anyhow::ensure!(
            !shown.contains("-----"),
            "the setting holds a key; it must be the path of a file with the key"
        );
        std::fs::read_to_string(path).with_context(|| format!("the key in {shown} can't be read"))
    };
    let AlipayConfig { app_id, seller_id, gateway, private_key, public_key } = config;
    Ok(App {
        app_id: app_id.clone(),
        seller_id: seller_id.clone(),
        gateway: gateway.clone(),
        signer: Signer::read(&read(private_key)?).context("payments.alipay_private_key")?,
        platform: Verifier::read(&read(public_key)?).context("payments.alipay_public_key")?,
    })
}

/// `yyyy-MM-dd HH:mm:ss` in China.
pub fn timestamp(now_ms: u64) -> String {
    let utc = foundation::rfc3339::format(now_ms.saturating_add(CHINA_MS));
    utc.chars().take(19).map(|char| if char == 'T' { ' ' } else { char }).collect()
}

pub(crate) fn agent() -> Agent {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_MAX)).max_redirects(0);
    config.build().new_agent()
}

/// Posts a form from a thread of its own; the answer's text.
pub(crate) async fn post_form(agent: &Agent, url: &str, body: String) -> Result<String, String> {
    let (agent, url) = (agent.clone(), url.to_owned());
    let post = move || -> Result<String, ureq::Error> {
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        let mut answer = agent.post(&url).header("Content-Type", kind).send(body)?;
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
    };
    let posted = tokio::task::spawn_blocking(post).await.map_err(|error| error.to_string())?;
    posted.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_place_of_its_path_is_not_shown() {
        let key = std::path::PathBuf::from("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----");
        let text = |field: &str| field.to_owned();
        let config = AlipayConfig {
            app_id: text("1"),
            seller_id: text("2"),
            gateway: text("https://alipay.example"),
            private_key: key.clone(),
            public_key: key,
        };
        let Err(error) = alipay_app(&config) else { panic!("a key is no path") };
        let shown = format!("{error:#}");
        assert!(shown.contains("path of a file") && !shown.contains("secret"), "{shown}");
    }
}
