//! RSA2: SHA-256 with RSA, PKCS #1 v1.5, in base64.

#[cfg(feature = "aws-lc")]
mod aws_lc;
#[cfg(any(test, not(feature = "aws-lc")))]
mod plain;

use base64::{Engine, prelude::BASE64_STANDARD};

#[cfg(feature = "aws-lc")]
use aws_lc as rsa2;
#[cfg(not(feature = "aws-lc"))]
use plain as rsa2;

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
pub struct Signer(rsa2::PrivateKey);

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
    /// If it is not a key.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let der = der(text).ok_or(KeyError::Unreadable("a private key, PKCS #8"))?;
        rsa2::PrivateKey::from_pkcs8(&der).map(Self).ok_or(KeyError::Unreadable("a private key, PKCS #8"))
    }

    /// A new private key of 2048 bits, as [`Signer::read`] takes it.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<String, KeyError> {
        rsa2::PrivateKey::generate().map(|der| BASE64_STANDARD.encode(der)).ok_or(KeyError::Unusable)
    }

    /// What checks this key's signatures.
    ///
    /// # Errors
    /// If the public key can't be derived.
    pub fn verifier(&self) -> Result<Verifier, KeyError> {
        self.0.public_der().map(Verifier).ok_or(KeyError::Unusable)
    }

    /// The signature of `content`.
    ///
    /// # Errors
    /// If the key can't sign.
    pub fn sign(&self, content: impl AsRef<[u8]>) -> Result<String, KeyError> {
        self.0.sign(content.as_ref()).map(|bytes| BASE64_STANDARD.encode(bytes)).ok_or(KeyError::Unusable)
    }
}

impl Verifier {
    /// A public key, X.509 SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// If it is not a key.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        der(text).map(Self).ok_or(KeyError::Unreadable("a public key, X.509"))
    }

    /// Whether `signature` is one of `content`.
    pub fn accepts(&self, content: impl AsRef<[u8]>, signature: &str) -> bool {
        let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
        rsa2::verify(&self.0, content.as_ref(), &signature)
    }
}

/// The two implementations read each other's keys, sign alike, and refuse the same signatures.
#[cfg(test)]
#[cfg(feature = "aws-lc")]
mod tests {
    use super::{aws_lc, plain};

    fn check(key: &[u8]) {
        let aws = aws_lc::PrivateKey::from_pkcs8(key).unwrap();
        let own = plain::PrivateKey::from_pkcs8(key).unwrap();
        let public = aws.public_der().unwrap();
        assert_eq!(own.public_der().unwrap(), public);

        // PKCS #1 v1.5 has no randomness, so equal keys give equal signatures.
        let signature = aws.sign(b"total_amount=19.90").unwrap();
        assert_eq!(own.sign(b"total_amount=19.90").unwrap(), signature);
        for verify in [aws_lc::verify, plain::verify] {
            assert!(verify(&public, b"total_amount=19.90", &signature));
            assert!(!verify(&public, b"total_amount=19.91", &signature));
            assert!(!verify(&public, b"total_amount=19.90", &signature[1..]));
            assert!(!verify(&public, b"total_amount=19.90", &[]));
            assert!(!verify(&public[1..], b"total_amount=19.90", &signature));
        }
    }

    #[test]
    fn both_implementations_agree() {
        check(&aws_lc::PrivateKey::generate().unwrap());
        check(&plain::PrivateKey::generate().unwrap());
    }

    #[test]
    fn neither_reads_what_is_no_key() {
        let key = plain::PrivateKey::generate().unwrap();
        for bytes in [&key[..key.len() - 1], &key[1..], &[]] {
            assert!(plain::PrivateKey::from_pkcs8(bytes).is_none());
            assert!(aws_lc::PrivateKey::from_pkcs8(bytes).is_none());
        }
    }
}
