//! Elasticsearch, as `services.sh` starts it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    process::{Process, free_port, until},
    skipped,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services.sh");

/// An Elasticsearch of its own: one node. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Elasticsearch {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
}

impl Elasticsearch {
    /// An Elasticsearch without indices. `None`, reported as skipped, where its jars or a Java are missing.
    ///
    /// # Panics
    /// If they are there and it does not start.
    pub fn start() -> Option<Self> {
        let verified = Command::new("bash").args([SCRIPT, "verified", "elasticsearch"]).output();
        if !verified.is_ok_and(|it| it.status.success()) {
            skipped("elasticsearch", "no Java, or not the jars that are listed; `services.sh install` installs them");
            return None;
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let mut server = Self { process: None, dir, port: two_free_ports() };
        server.resume();
        Some(server)
    }

    /// Starts it again on the data it has; its indices can be searched when this returns.
    ///
    /// # Panics
    /// If it does not start.
    pub fn resume(&mut self) {
        let (dir, port) = (self.dir.path().display().to_string(), self.port.to_string());
        let log = self.dir.path().join("elasticsearch.log");
        let process = match Process::start("bash", &[SCRIPT, "start", "elasticsearch", &dir, &port], &log) {
            Ok(process) => process,
            Err(error) => panic!("Elasticsearch does not start: {error}"),
        };
        until("Elasticsearch is healthy", || {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.is_running(), "Elasticsearch ended: {}", log());
            self.is_healthy()
        });
        self.process = Some(process);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Where it listens for HTTP.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// For `MALL_SEARCH__URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// An open port is not yet a node: every primary shard must be there.
    fn is_healthy(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect(self.address())?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            let path = "/_cluster/health?wait_for_status=yellow&timeout=1s";
            socket
                .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("\"timed_out\":false"))
    }
}

/// A port whose successor is free too: nodes of a cluster would talk there.
fn two_free_ports() -> u16 {
    loop {
        let port = free_port();
        let next = port.checked_add(1).map(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)));
        if matches!(next, Some(Ok(_))) {
            return port;
        }
    }
}
