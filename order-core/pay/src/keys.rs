//! RSA2: SHA-256 with RSA, PKCS #1 v1.5, in base64.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_STANDARD};

/// A key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not what it should be.
    #[error("not an RSA key of at least 2048 bits in base64 or PEM: {0}")]
    Unreadable(&'static str),
    /// None could be made, or nothing signed.
    #[error("the key can't be made or used")]
    Unusable,
}

/// Signs.
#[derive(Debug)]
pub struct Signer(RsaKeyPair);

/// Checks signatures.
#[derive(Debug, Clone)]
pub struct Verifier(Vec<u8>);

/// The bytes in a text that is base64, with or without PEM's lines around it.
fn der(text: &str) -> Option<Vec<u8>> {
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    BASE64_STANDARD.decode(body).ok().filter(|bytes| !bytes.is_empty())
}

impl Signer {
    /// A private key, PKCS #8.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let der = der(text).ok_or(KeyError::Unreadable("a private key, PKCS #8"))?;
        RsaKeyPair::from_pkcs8(&der).map(Self).map_err(|_| KeyError::Unreadable("a private key, PKCS #8"))
    }

    /// A new private key of 2048 bits, as [`Signer::read`] takes it.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub fn generate() -> Result<String, KeyError> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Unusable)?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| KeyError::Unusable)?;
        Ok(BASE64_STANDARD.encode(der.as_ref()))
    }

    /// What checks this key's signatures.
    ///
    /// # Errors
    /// Where the public key can't be told.
    pub fn verifier(&self) -> Result<Verifier, KeyError> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().map_err(|_| KeyError::Unusable)?;
        Ok(Verifier(der.as_ref().to_vec()))
    }

    /// The signature of `content`.
    ///
    /// # Errors
    /// Where the key can't sign.
    pub fn sign(&self, content: &str) -> Result<String, KeyError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = SystemRandom::new();
        self.0.sign(&RSA_PKCS1_SHA256, &random, content.as_bytes(), &mut signature).map_err(|_| KeyError::Unusable)?;
        Ok(BASE64_STANDARD.encode(signature))
    }
}

impl Verifier {
    /// A public key, X.509 SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// Where it is none.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        der(text).map(Self).ok_or(KeyError::Unreadable("a public key, X.509"))
    }

    /// Whether `signature` is one of `content`.
    pub fn accepts(&self, content: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.0);
        key.verify(content.as_bytes(), &signature).is_ok()
    }
}
