//! nginx.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
};

use tempfile::TempDir;

use crate::{
    process::{Process, free_port, has, until},
    skipped,
};

const CONFIG: &str = include_str!("../nginx/proxy.conf.in");

/// An nginx in front of one server. Dropping it kills it.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    _dir: TempDir,
    port: u16,
}

impl Nginx {
    /// An nginx that passes everything on to `upstream`, over connections that it keeps. `None`, said loudly,
    /// where there is no nginx.
    ///
    /// # Panics
    /// Where it is there and does not start.
    pub fn start(upstream: SocketAddr) -> Option<Self> {
        if !has("nginx") {
            skipped("nginx", "no nginx on the PATH; `services.sh install` installs it");
            return None;
        }
        let (dir, port) = match tempfile::tempdir() {
            Ok(dir) => (dir, free_port()),
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let path = dir.path().display().to_string();
        let config = CONFIG.replace("@DIR@", &path).replace("@PORT@", &port.to_string());
        let config = config.replace("@UPSTREAM@", &upstream.to_string());
        let file = dir.path().join("nginx.conf").display().to_string();
        let log = dir.path().join("error.log").display().to_string();
        let started = std::fs::write(&file, config)
            .and_then(|()| Process::start("nginx", &["-p", &path, "-c", &file, "-e", &log], Path::new(&log)));
        let process = match started {
            Ok(process) => process,
            Err(error) => panic!("nginx does not start: {error}"),
        };
        let nginx = Self { process, _dir: dir, port };
        until("nginx answers", || TcpStream::connect(nginx.address()).is_ok());
        Some(nginx)
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
