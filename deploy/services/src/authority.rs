//! Certificates for servers on loopback.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{process::has, skipped};

/// A certificate authority of its own. Dropping it removes its files and those of the certificates that it issued.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
}

/// What a server proves its name with.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM (PKCS #8).
    pub key: PathBuf,
}

impl Authority {
    /// A new authority. `None`, reported as skipped, where there is no openssl.
    ///
    /// # Panics
    /// If openssl is there and fails.
    pub fn new() -> Option<Self> {
        if !has("openssl") {
            skipped("tls", "no openssl on the PATH to make certificates with");
            return None;
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let authority = Self { dir };
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
        authority.make("ca", "an authority", &extensions, &[]);
        Some(authority)
    }

    /// Its own certificate in PEM, which clients trust.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for `name`, in the form of openssl: `IP:127.0.0.1` or `DNS:localhost`.
    ///
    /// # Panics
    /// If openssl fails.
    pub fn issue(&self, name: &str) -> Identity {
        let file: String = name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
        let subject = format!("subjectAltName={name}");
        let ca = [self.ca_file().display().to_string(), self.path("ca.key").display().to_string()];
        let signed = ["-CA", &ca[0], "-CAkey", &ca[1]];
        self.make(&file, "a server", &["basicConstraints=critical,CA:FALSE", &subject], &signed);
        Identity { certificate: self.path(&format!("{file}.pem")), key: self.path(&format!("{file}.key")) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make(&self, file: &str, common_name: &str, extensions: &[&str], signed: &[&str]) {
        let (key, certificate) = (self.path(&format!("{file}.key")), self.path(&format!("{file}.pem")));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        command.args(["-subj", &format!("/CN={common_name}")]).args(signed);
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        let made = command.arg("-keyout").arg(key).arg("-out").arg(certificate).output();
        assert!(made.as_ref().is_ok_and(|it| it.status.success()), "openssl makes no certificate: {made:?}");
    }
}

impl Identity {
    /// Key and certificate as one file of `dir`, as Kafka reads them.
    ///
    /// # Panics
    /// If the files can't be read or written.
    pub(crate) fn write_pair(&self, dir: &Path) -> PathBuf {
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let path = dir.join("identity.pem");
        if let Err(error) = std::fs::write(&path, read(&self.key) + &read(&self.certificate)) {
            panic!("{}: {error}", path.display());
        }
        path
    }
}
