//! Who a request comes from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Once,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{HeaderName, request::Parts},
};
use contract::client_address::TrustedProxies;

use super::Problem;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// One line of the log for each process is enough.
static WARNED: Once = Once::new();

/// The client's address: the peer, or whom trusted proxies name. The hardened router finds it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Has the request know its [`ClientAddress`] where it knows its peer.
pub(super) fn find(request: &mut Request, proxies: &TrustedProxies) {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return };
    let lines = request.headers().get_all(X_FORWARDED_FOR).iter().map(|line| line.as_bytes());
    let client = ClientAddress(proxies.client(peer.ip(), lines));
    if request.headers().contains_key(X_FORWARDED_FOR) && is_unknown_proxy(peer.ip(), proxies) {
        WARNED.call_once(|| {
            tracing::warn!(
                peer = %peer.ip(),
                "a peer in a private network sends X-Forwarded-For and is not in trusted_proxies: all of its clients count as one"
            );
        });
    }
    request.extensions_mut().insert(client);
}

/// Whether `peer` may be a proxy that the settings should name: it is in a private network, and they name none.
fn is_unknown_proxy(peer: IpAddr, proxies: &TrustedProxies) -> bool {
    let is_private = match peer.to_canonical() {
        IpAddr::V4(peer) => peer.is_private() || peer.is_loopback(),
        IpAddr::V6(peer) => peer.is_unique_local() || peer.is_loopback(),
    };
    is_private && *proxies == TrustedProxies::default()
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Problem>> + Send {
        let client = parts.extensions.get::<Self>().copied();
        std::future::ready(client.ok_or_else(|| Problem::internal(&"a request without a peer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_no_setting_names_is_noticed() {
        let none = TrustedProxies::default();
        for peer in ["10.1.2.3", "::1", "fd00::1", "::ffff:192.168.0.1"] {
            assert!(is_unknown_proxy(peer.parse().unwrap(), &none), "{peer}");
        }
        for peer in ["9.9.9.9", "2001:db8::1"] {
            assert!(!is_unknown_proxy(peer.parse().unwrap(), &none), "{peer}");
        }
        assert!(!is_unknown_proxy("10.1.2.3".parse().unwrap(), &"10.9.9.9".parse().unwrap()));
    }
}
