//! Section `payments`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{Check, raw};

/// How money comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentsConfig {
    /// Where browsers and payment platforms reach order-core; where it listens when absent.
    pub public_url: Option<String>,
    /// The mock platform.
    pub mock: MockConfig,
    /// How long after the timeout of an order its money still buys it.
    pub late_hold: Duration,
    /// The shop's app at Alipay; without it there is none.
    pub alipay: Option<AlipayConfig>,
}

/// The mock platform, which the mall serves itself and where everybody pays without money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockConfig {
    /// It is available.
    On {
        /// The first gap between repeated notices.
        first_gap: Duration,
    },
    /// It has no method, no pages and no notices.
    Off {
        /// The reason, for the log.
        reason: &'static str,
    },
}

/// The shop's app at Alipay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlipayConfig {
    /// The app's number.
    pub app_id: String,
    /// Who gets the money.
    pub seller_id: String,
    /// Where the platform takes requests.
    pub gateway: String,
    /// The file of the app's private key: PKCS #8, in base64 or PEM.
    pub private_key: PathBuf,
    /// The file of the platform's public key: X.509, in base64 or PEM.
    pub public_key: PathBuf,
}

impl Check {
    pub(super) fn payments(
        &mut self,
        raw: raw::Payments,
        public_url: Option<String>,
        order_core: SocketAddr,
    ) -> PaymentsConfig {
        let public_url = self.url("public_url", public_url, &["http", "https"]);
        let public_url = public_url.map(|url| url.expose().trim_end_matches('/').to_owned());
        let gateway = self.url("payments.alipay_gateway", raw.alipay_gateway, &["http", "https"]);
        self.https("payments.alipay_gateway", gateway.as_ref());
        let (app_id, seller_id) = (raw.alipay_app_id, raw.alipay_seller_id);
        let gateway = gateway.map(|url| url.expose().to_owned());
        let keys = (raw.alipay_private_key.map(PathBuf::from), raw.alipay_public_key.map(PathBuf::from));
        let alipay = match (app_id, seller_id, gateway, keys) {
            (None, None, None, (None, None)) => None,
            (Some(app_id), Some(seller_id), Some(gateway), (Some(private_key), Some(public_key))) => {
                Some(AlipayConfig { app_id, seller_id, gateway, private_key, public_key })
            }
            _ => {
                let rest = "alipay_seller_id, alipay_gateway, alipay_private_key and alipay_public_key";
                self.fault("payments.alipay_app_id", &format!("it goes together with {rest}: all of them, or none"));
                None
            }
        };
        if alipay.is_some() && public_url.is_none() {
            self.fault("public_url", "Alipay needs it: notices and buyers come to this address");
        }
        let mock = self.mock((raw.mock, raw.mock_retry_ms), alipay.is_some(), order_core);
        let late_hold = self.millis("payments.late_hold_ms", raw.late_hold_ms, 0..=24 * 3_600_000);
        PaymentsConfig { public_url, mock, late_hold, alipay }
    }

    /// Whether the mock platform is on. Everybody who reaches it gets everything for free, so without an explicit
    /// setting it is off where real money is taken and where other hosts can connect.
    fn mock(&mut self, (mock, retry_ms): (Option<bool>, u64), has_alipay: bool, order_core: SocketAddr) -> MockConfig {
        let first_gap = self.millis("payments.mock_retry_ms", retry_ms, 0..=600_000);
        let is_local = order_core.ip().to_canonical().is_loopback();
        if first_gap.is_zero() {
            let old = self.named("payments.mock_retry_ms");
            if mock == Some(true) {
                self.fault("payments.mock", &format!("true contradicts {old}: 0, which turns the mock off"));
            } else {
                self.warnings.push(format!("{old}: 0 turns the mock off; use payments.mock: false instead"));
            }
            return MockConfig::Off { reason: "payments.mock_retry_ms is 0" };
        }
        match mock {
            Some(false) => MockConfig::Off { reason: "payments.mock is false" },
            Some(true) => {
                if has_alipay || !is_local {
                    let key = self.named("payments.mock");
                    self.warnings.push(format!("{key}: true lets everybody who reaches order-core pay without money"));
                }
                MockConfig::On { first_gap }
            }
            None if has_alipay => MockConfig::Off { reason: "Alipay is set up" },
            None if !is_local => MockConfig::Off { reason: "order_core.listen is not a loopback address" },
            None => MockConfig::On { first_gap },
        }
    }
}
