//! Where a Redis is, and whom the connection trusts.

use ::redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};

use super::Connection;

/// Begins the address of a server that is reached over TLS.
const TLS_SCHEME: &str = "rediss://";

/// A Redis: its address, login and, over TLS, the certificates that are trusted.
#[derive(Clone)]
pub struct Server {
    info: ConnectionInfo,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

/// Why an address is no Redis that this program can reach. It does not repeat the address, which may have a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidServer(String);

impl Server {
    /// The server at `url` (`redis://` or `rediss://`). Over TLS, its certificate must be of one of the authorities
    /// `ca_pem`; without them, of those that browsers trust.
    ///
    /// # Errors
    /// If the address is invalid, asks for TLS without verification, or for TLS in a build that has none.
    pub fn new(url: &str, ca_pem: Option<&[u8]>) -> Result<Self, InvalidServer> {
        let is_tls = url.starts_with(TLS_SCHEME);
        if is_tls && !cfg!(feature = "tls") {
            return Err(InvalidServer("this build has no TLS; build it with --features kafka".to_owned()));
        }
        if ca_pem.is_some() && !is_tls {
            return Err(InvalidServer(format!(
                "certificates of authorities need an address that begins with {TLS_SCHEME}"
            )));
        }
        let info = url.into_connection_info().map_err(|error| InvalidServer(error.to_string()))?;
        if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
            return Err(InvalidServer("TLS without verification (#insecure) is not supported".to_owned()));
        }
        if !matches!(info.addr(), ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { .. }) {
            return Err(InvalidServer("expected an address that begins with redis:// or rediss://".to_owned()));
        }
        Self::with_trust(info, is_tls, ca_pem)
    }

    #[cfg(feature = "tls")]
    fn with_trust(info: ConnectionInfo, is_tls: bool, ca_pem: Option<&[u8]>) -> Result<Self, InvalidServer> {
        if !is_tls {
            return Ok(Self { info, tls: None });
        }
        let tls = crate::tls::client_config(ca_pem).map_err(InvalidServer)?;
        let Some(ca_pem) = ca_pem else { return Ok(Self { info, tls: Some(tls) }) };
        let trusted = ::redis::TlsCertificates { client_tls: None, root_cert: Some(ca_pem.to_vec()) };
        let client = Client::build_with_tls(info, trusted).map_err(|error| InvalidServer(error.to_string()))?;
        Ok(Self { info: client.get_connection_info().clone(), tls: Some(tls) })
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unnecessary_wraps, reason = "as with TLS")]
    fn with_trust(info: ConnectionInfo, _is_tls: bool, _ca_pem: Option<&[u8]>) -> Result<Self, InvalidServer> {
        Ok(Self { info })
    }

    /// A shared connection. Needs a tokio runtime.
    ///
    /// # Errors
    /// If the client can't be made.
    pub fn connect(&self) -> Result<Connection, InvalidServer> {
        let client = Client::open(self.info.clone()).map_err(|error| InvalidServer(error.to_string()))?;
        Connection::of(client).map_err(|error| InvalidServer(error.to_string()))
    }

    /// Host (a name or an IP address) and port.
    pub fn host_and_port(&self) -> (&str, u16) {
        if let ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } = self.info.addr() {
            return (host, *port);
        }
        unreachable!("`new` takes no other address")
    }

    /// User, password and database.
    pub fn login(&self) -> &RedisConnectionInfo {
        self.info.redis_settings()
    }

    /// How it is spoken to over TLS; `None` for a plain connection.
    #[cfg(feature = "tls")]
    pub const fn tls(&self) -> Option<&std::sync::Arc<rustls::ClientConfig>> {
        self.tls.as_ref()
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("redis::Server").field(&self.info.addr().to_string()).finish()
    }
}
