//! redis-server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Identity,
    process::{Process, free_port, has, until},
    skipped,
};

/// A Redis of its own. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    appendfsync: &'static str,
    tls: Option<(u16, Identity)>,
}

impl Redis {
    /// A Redis that appends to its file and syncs it every second, as a mall's does. `None`, said loudly,
    /// where there is no redis-server.
    pub fn start() -> Option<Self> {
        Self::start_with("everysec")
    }

    /// The same with another `appendfsync`; `no` for tests that never restart it.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub fn start_with(appendfsync: &'static str) -> Option<Self> {
        Self::make(appendfsync, None)
    }

    /// A Redis that also listens for TLS on a port of its own.
    ///
    /// # Panics
    /// If redis-server is there and does not start, or was built without TLS.
    pub fn start_tls(identity: Identity) -> Option<Self> {
        Self::make("no", Some(identity))
    }

    fn make(appendfsync: &'static str, identity: Option<Identity>) -> Option<Self> {
        if !has("redis-server") {
            skipped("redis", "no redis-server on the PATH; `make services-install` installs it");
            return None;
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let tls = identity.map(|identity| (free_port(), identity));
        let mut redis = Self { process: None, dir, port: free_port(), appendfsync, tls };
        redis.resume();
        Some(redis)
    }

    /// Starts it again on the data it has; it answers when this returns.
    ///
    /// # Panics
    /// If it does not start.
    pub fn resume(&mut self) {
        let (port, dir) = (self.port.to_string(), self.dir.path().display().to_string());
        let args = ["--port", &port, "--bind", "127.0.0.1", "--dir", &dir, "--save", ""];
        let aof = ["--appendonly", "yes", "--appendfsync", self.appendfsync];
        let tls = self.tls_arguments();
        let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
        let started =
            Process::start("redis-server", &[&args[..], &aof[..], &tls].concat(), &self.dir.path().join("redis.log"));
        self.process = match started {
            Ok(process) => Some(process),
            Err(error) => panic!("redis-server does not start: {error}"),
        };
        until("redis answers", || self.ping());
    }

    fn tls_arguments(&self) -> Vec<String> {
        let Some((port, Identity { certificate, key })) = &self.tls else { return Vec::new() };
        let text = |path: &Path| path.display().to_string();
        let options = [
            ("--tls-port", port.to_string()),
            ("--tls-cert-file", text(certificate)),
            ("--tls-key-file", text(key)),
            // Redis wants an authority even where it asks clients for no certificate.
            ("--tls-ca-cert-file", text(certificate)),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM: it writes what it has and ends.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal("TERM");
            process.ended();
        }
    }

    /// SIGSTOP: connections stay and nothing is answered, until [`Redis::thaw`].
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The port on 127.0.0.1; the same after [`Redis::resume`].
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// For `MALL_REDIS__URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The same over TLS, at the host 127.0.0.1.
    ///
    /// # Panics
    /// If it was not started with TLS.
    pub fn tls_url(&self) -> String {
        let Some((port, _)) = &self.tls else { panic!("this Redis has no TLS") };
        format!("rediss://127.0.0.1:{port}")
    }

    /// Makes this server the master and `demoted` its replica; returns once the replica has synchronised. Unlike a
    /// restart, connections to `demoted` stay open.
    ///
    /// # Panics
    /// If the replica does not synchronise.
    pub fn fail_over_from(&self, demoted: &Self) {
        let (written, read) = ("master_repl_offset:", "slave_repl_offset:");
        until("the replica has it all", || demoted.info(written).is_some() && demoted.info(written) == self.info(read));
        self.ask(&["REPLICAOF", "NO", "ONE"]);
        demoted.follow(self);
    }

    /// What follows `name` in its line of `INFO replication`.
    fn info(&self, name: &str) -> Option<String> {
        let info = self.ask(&["INFO", "replication"]);
        info.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    }

    /// Becomes a replica of `master`; returns once it has synchronised.
    ///
    /// # Panics
    /// If it does not synchronise.
    pub fn follow(&self, master: &Self) {
        // By default a master waits five seconds for more replicas.
        master.ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        self.ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        until("the replica follows", || self.info("master_link_status:").as_deref() == Some("up"));
    }

    /// What it answers to one command, the elements of a list on lines of their own.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn ask(&self, command: &[&str]) -> String {
        let port = self.port.to_string();
        match std::process::Command::new("redis-cli").args(["-p", &port]).args(command).output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => panic!("redis-cli does not start: {error}"),
        }
    }

    /// `-LOADING` is no answer.
    fn ping(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            socket.read_exact(&mut answer)?;
            Ok(&answer == b"+PONG")
        };
        ask().unwrap_or(false)
    }
}
