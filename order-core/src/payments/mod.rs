//! Money by way of a platform: Alipay, or one that the mall plays itself. Both are spoken to in one way; only
//! keys, names and addresses differ.

pub mod mock;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use domain::DueRefund;
use foundation::config::{AlipayConfig, PaymentsConfig};
use pay::{App, Signer, Verifier};
use ureq::Agent;
use workers::PayBack;

pub use mock::MockPlatform;

/// The method of the platform that the mall plays itself.
pub const MOCK: &str = "mock";
/// Alipay's.
pub const ALIPAY: &str = "alipay";

/// How long a platform, or a shop that is told, may take to answer.
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
    /// Where it tells that money has come.
    pub notify_url: String,
    /// Where the buyer goes on.
    pub return_url: String,
}

/// Every way to pay. Clones are the same.
#[derive(Debug, Clone)]
pub struct Providers {
    all: Arc<[Provider]>,
    agent: Agent,
}

impl Providers {
    /// The ways of the settings; the mock's where there is one.
    ///
    /// # Errors
    /// Where a key can't be read.
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
        Ok(Self { all: all.into(), agent: agent() })
    }

    /// The way called `method`.
    pub fn get(&self, method: &str) -> Option<&Provider> {
        self.all.iter().find(|provider| provider.method == method)
    }
}

impl PayBack for Providers {
    fn methods(&self) -> Vec<&'static str> {
        self.all.iter().map(|provider| provider.method).collect()
    }

    async fn pay_back(&self, due: &DueRefund, now_ms: u64) -> Result<(), String> {
        let provider = self.get(&due.method).ok_or("this payment method is not set up any more")?;
        let timestamp = timestamp(now_ms);
        let request =
            pay::RefundRequest { refund: due.refund, payment: due.payment, amount: due.amount, timestamp: &timestamp };
        let body = provider.app.refund_body(&request).map_err(|error| error.to_string())?;
        let answer = post_form(&self.agent, &provider.app.gateway, body).await?;
        provider.app.refund_answer(&answer).map_err(|error| error.to_string())
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
pub(crate) fn timestamp(now_ms: u64) -> String {
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
