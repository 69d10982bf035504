//! Who a request comes from.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{HeaderName, request::Parts},
};
use contract::client_address::TrustedProxies;

use super::Problem;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the peer, or whom trusted proxies name. The hardened router finds it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// Has the request know its [`ClientAddress`] where it knows its peer.
pub(super) fn find(request: &mut Request, proxies: &TrustedProxies) {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return };
    let lines = request.headers().get_all(X_FORWARDED_FOR).iter().map(|line| line.as_bytes());
    let client = ClientAddress(proxies.client(peer.ip(), lines));
    request.extensions_mut().insert(client);
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, Problem>> + Send {
        let client = parts.extensions.get::<Self>().copied();
        std::future::ready(client.ok_or_else(|| Problem::internal(&"a request without a peer")))
    }
}
