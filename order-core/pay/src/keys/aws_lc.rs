//! RSA by aws-lc: what real money is signed with.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey},
};

#[derive(Debug)]
pub(super) struct PrivateKey(RsaKeyPair);

impl PrivateKey {
    /// A new key of 2048 bits, as PKCS #8.
    pub(super) fn generate() -> Option<Vec<u8>> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
        let der: Pkcs8V1Der<'_> = key.as_der().ok()?;
        Some(der.as_ref().to_vec())
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        RsaKeyPair::from_pkcs8(der).ok().map(Self)
    }

    /// The public key, as X.509 SubjectPublicKeyInfo.
    pub(super) fn public_der(&self) -> Option<Vec<u8>> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().ok()?;
        Some(der.as_ref().to_vec())
    }

    pub(super) fn sign(&self, content: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), content, &mut signature).ok()?;
        Some(signature)
    }
}

/// Whether the owner of `public_der` has signed `content`.
pub(super) fn verify(public_der: &[u8], content: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_der).verify(content, signature).is_ok()
}
