//! Section `web`.

use super::{Check, raw};

/// What browsers need to know, and what is known of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebConfig {
    /// Origins whose pages may call the gateway and order-core; `None` allows the shop's own address.
    pub origins: Option<Vec<String>>,
    /// Where browsers reach the gateway; where it listens when absent. Empty, which is
    /// written `/`: where they reach the shop.
    pub gateway_url: Option<String>,
}

impl Check {
    pub(super) fn web(&mut self, raw: raw::Web) -> WebConfig {
        let origins = raw.origins.map(|text| {
            let listed = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
            listed.filter_map(|origin| self.origin("web.origins", origin)).collect()
        });
        let gateway_url = match raw.gateway_url.as_deref() {
            None => None,
            Some("/") => Some(String::new()),
            Some(url) => self.origin("web.gateway_url", url),
        };
        WebConfig { origins, gateway_url }
    }

    /// Scheme, host and perhaps port, as browsers send it in `Origin` (RFC 6454 section 6.2).
    fn origin(&mut self, key: &str, text: &str) -> Option<String> {
        let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_authority = |authority: &str| {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
            !authority.is_empty() && authority.bytes().all(allowed)
        };
        if authority.is_some_and(is_authority) {
            return Some(text.to_owned());
        }
        self.fault(
            key,
            &format!("expected an origin such as https://shop.example or http://127.0.0.1:8081, found {text:?}"),
        );
        None
    }
}
