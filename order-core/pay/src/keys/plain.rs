//! RSA in Rust alone, for the mock platform: it compiles in less than half of the time of aws-lc. RUSTSEC-2023-0071 (timing of the
//! operations with a private key) does not matter to a platform that moves no money.

use rsa::{
    Generate, PublicKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey},
    sha2::Sha256,
    traits::PublicKeyParts,
};

/// As aws-lc demands it.
const MIN_BYTES: usize = 2048 / 8;

#[derive(Debug)]
pub(super) struct PrivateKey(rsa::PrivateKey);

impl PrivateKey {
    /// A new key of 2048 bits, as PKCS #8.
    pub(super) fn generate() -> Option<Vec<u8>> {
        let key = rsa::PrivateKey::try_generate().ok()?;
        Some(key.to_pkcs8_der().ok()?.as_bytes().to_vec())
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        rsa::PrivateKey::from_pkcs8_der(der).ok().filter(|key| key.size() >= MIN_BYTES).map(Self)
    }

    /// The public key, as X.509 SubjectPublicKeyInfo.
    pub(super) fn public_der(&self) -> Option<Vec<u8>> {
        Some(self.0.to_public_key().to_public_key_der().ok()?.as_bytes().to_vec())
    }

    pub(super) fn sign(&self, content: &[u8]) -> Option<Vec<u8>> {
        self.0.pkcs1v15_sign::<Sha256>(content).ok()
    }
}

/// Whether the owner of `public_der` has signed `content`.
pub(super) fn verify(public_der: &[u8], content: &[u8], signature: &[u8]) -> bool {
    let key = PublicKey::from_public_key_der(public_der).ok().filter(|key| key.size() >= MIN_BYTES);
    key.is_some_and(|key| key.pkcs1v15_verify::<Sha256>(content, signature).is_ok())
}
