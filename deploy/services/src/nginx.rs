//! nginx.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::{
    process::{Process, free_port, has, until},
    skipped,
};

const CONFIG: &str = include_str!("../nginx/proxy.conf.in");
const TLS_CONFIG: &str = include_str!("../nginx/tls.conf.in");
const CERTIFICATE: &str = "certificate.pem";
const NO_OPENSSL: &str = "no openssl on the PATH to make a certificate with";

/// How the front of a mall listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Without TLS.
    Plain,
    /// The same, and a client that says nothing for a second is let go.
    Hasty,
    /// Without TLS, and the `X-Forwarded-For` of clients on loopback is believed.
    Behind,
    /// As `nginx/conf.d/tls.conf.example` has it, for `localhost`, with a certificate of its own.
    Tls,
}

/// What is behind the front of a mall, as `address:port`.
#[derive(Debug)]
pub struct Upstreams<'a> {
    /// Gateways.
    pub gateways: &'a [&'a str],
    /// order-core.
    pub order_core: &'a str,
    /// admin.
    pub admin: &'a str,
}

/// An nginx in front of one server. Dropping it kills it.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    dir: TempDir,
    port: u16,
}

impl Nginx {
    /// An nginx that passes everything on to `upstream`, over connections that it keeps. `None`, said loudly,
    /// where there is no nginx.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub fn start(upstream: SocketAddr) -> Option<Self> {
        Self::start_with(CONFIG, upstream, |_| Some(()))
    }

    /// The same over TLS for `localhost`, for who gives this name and password (basic authentication).
    /// `None`, reported as skipped, where there is no nginx or no openssl.
    ///
    /// # Panics
    /// If they are there and it does not start.
    pub fn start_tls(upstream: SocketAddr, user: &str, password: &str) -> Option<Self> {
        Self::start_with(TLS_CONFIG, upstream, |dir| {
            if !has("openssl") {
                skipped("nginx", NO_OPENSSL);
                return None;
            }
            make_certificate(dir);
            let written = std::fs::write(dir.join("users"), format!("{user}:{{PLAIN}}{password}\n"));
            assert!(written.is_ok(), "{written:?}");
            Some(())
        })
    }

    fn start_with(config: &str, upstream: SocketAddr, prepare: impl FnOnce(&Path) -> Option<()>) -> Option<Self> {
        let (dir, port) = place()?;
        prepare(dir.path())?;
        let path = dir.path().display().to_string();
        let config = config.replace("@DIR@", &path).replace("@PORT@", &port.to_string());
        let config = config.replace("@UPSTREAM@", &upstream.to_string());
        let file = dir.path().join("nginx.conf").display().to_string();
        let log = dir.path().join("error.log").display().to_string();
        let started = std::fs::write(&file, config)
            .and_then(|()| Process::start("nginx", &["-p", &path, "-c", &file, "-e", &log], Path::new(&log)));
        let process = match started {
            Ok(process) => process,
            Err(error) => panic!("nginx does not start: {error}"),
        };
        let nginx = Self { process, dir, port };
        until("nginx answers", || TcpStream::connect(nginx.address()).is_ok());
        Some(nginx)
    }

    /// The front of the mall as it is deployed (`nginx/nginx.conf`), with the shop's files that `write_shop` writes to the
    /// directory it is given. `limits` is a file of `nginx/conf.d`. `None`, reported as skipped, where there is no nginx, or
    /// no openssl for TLS.
    ///
    /// # Panics
    /// If they are there and it does not start.
    pub fn start_front(
        upstreams: &Upstreams<'_>,
        limits: &str,
        listen: Listen,
        write_shop: impl FnOnce(&Path),
    ) -> Option<Self> {
        let (dir, port) = place()?;
        if listen == Listen::Tls {
            if !has("openssl") {
                skipped("nginx", NO_OPENSSL);
                return None;
            }
            make_certificate(dir.path());
        }
        write_shop(&dir.path().join("shop"));
        let written = write_front(dir.path(), port, upstreams, limits, listen);
        assert!(written.is_ok(), "{written:?}");
        let (path, log) = (dir.path().display().to_string(), dir.path().join("logs/error.log"));
        // A master that is killed would leave its workers behind.
        let one_process = "daemon off; master_process off;";
        let log_path = log.display().to_string();
        let arguments = ["-p", &path, "-c", "nginx.conf", "-e", &log_path, "-g", one_process];
        let process = match Process::start("nginx", &arguments, &log) {
            Ok(process) => process,
            Err(error) => panic!("nginx does not start: {error}"),
        };
        let nginx = Self { process, dir, port };
        until("nginx answers", || TcpStream::connect(nginx.address()).is_ok());
        Some(nginx)
    }

    /// The certificate that it shows, in PEM; `None` where it speaks no TLS.
    pub fn certificate(&self) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(CERTIFICATE)).ok()
    }

    /// What it has written to its log of errors.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("logs/error.log")).unwrap_or_default()
    }

    /// A line of JSON for each request of the front that has ended, written within a second or two.
    pub fn requests(&self) -> String {
        // A request with bytes that are not UTF-8 leaves them in its line.
        let log = std::fs::read(self.dir.path().join("logs/access.log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Its process id.
    pub const fn id(&self) -> u32 {
        self.process.id()
    }
}

/// A directory and a port for an nginx; `None`, reported as skipped, where there is no nginx.
fn place() -> Option<(tempfile::TempDir, u16)> {
    if !has("nginx") {
        skipped("nginx", "no nginx on the PATH; `services.sh install` installs it");
        return None;
    }
    match tempfile::tempdir() {
        Ok(dir) => Some((dir, free_port())),
        Err(error) => panic!("no temporary directory: {error}"),
    }
}

/// Copies `nginx/` to `dir`, with this port and these upstreams in place of the deployed ones.
fn write_front(dir: &Path, port: u16, upstreams: &Upstreams<'_>, limits: &str, listen: Listen) -> std::io::Result<()> {
    let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../nginx"));
    let to = dir.join("conf.d");
    for path in [&to, &dir.join("tmp"), &dir.join("logs")] {
        std::fs::create_dir_all(path)?;
    }
    std::fs::copy(from.join("nginx.conf"), dir.join("nginx.conf"))?;
    for file in std::fs::read_dir(from.join("conf.d"))? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    std::fs::copy(from.join("conf.d").join(limits), to.join("limits.conf"))?;
    let plain = format!("listen 127.0.0.1:{port} backlog=2048;\n");
    let listen = match listen {
        Listen::Plain => plain,
        Listen::Hasty => plain + "client_header_timeout 1s;\nclient_body_timeout 1s;\nkeepalive_timeout 1s;\n",
        Listen::Behind => plain + "set_real_ip_from 127.0.0.0/8;\n",
        Listen::Tls => {
            let example = std::fs::read_to_string(from.join("conf.d/tls.conf.example"))?;
            example.replace("listen 443 ", &format!("listen 127.0.0.1:{port} "))
        }
    };
    std::fs::write(to.join("listen.conf"), listen)?;
    let gateways: String =
        upstreams.gateways.iter().map(|at| format!("server {at} max_fails=2 fail_timeout=1s;")).collect();
    let text = format!(
        "upstream gateways {{ {gateways} keepalive 8; }}\nupstream order_core {{ server {}; keepalive 8; }}\n\
         upstream admin {{ server {}; }}\n",
        upstreams.order_core, upstreams.admin
    );
    std::fs::write(to.join("upstreams.conf"), text)
}

/// A certificate for `localhost` and its key.
fn make_certificate(dir: &Path) {
    let path = |name: &str| dir.join(name).display().to_string();
    let subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    // A certificate of an authority is refused as that of a server.
    let role = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let (key, certificate) = (path("key.pem"), path(CERTIFICATE));
    let files = ["-keyout", &key, "-out", &certificate];
    let made = Command::new("openssl").args(kind).args(subject).args(role).args(files).output();
    assert!(made.as_ref().is_ok_and(|it| it.status.success()), "openssl makes no certificate: {made:?}");
}
