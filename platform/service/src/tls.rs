//! TLS to other servers.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// How a server is verified: its certificate must be of one of the authorities `ca_pem`, or, without them, of those that
/// browsers trust, and name the host that was asked for.
///
/// # Errors
/// If `ca_pem` has no certificate, or one that can't be read.
pub fn client_config(ca_pem: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("the certificates can't be read: {error}"))?;
                roots.add(certificate).map_err(|error| format!("a certificate can't be read: {error}"))?;
            }
            if roots.is_empty() {
                return Err("expected certificates in PEM, found none".to_owned());
            }
        }
    }
    let config = ClientConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The cryptography of this process. The client of Redis takes it from the process' default.
fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have installed it meanwhile.
        drop(aws_lc_rs::default_provider().install_default());
    }
    Arc::new(aws_lc_rs::default_provider())
}
