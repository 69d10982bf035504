//! mariadbd.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{
    Identity,
    process::{Process, free_port, has, until},
    skipped,
};

/// A MariaDB of its own. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct MariaDb {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    databases: AtomicU32,
    identity: Option<Identity>,
}

impl MariaDb {
    /// A MariaDB with no database in it yet. `None`, said loudly, where there is no mariadbd.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub fn start() -> Option<Self> {
        Self::make(None)
    }

    /// The same, which takes connections over TCP over TLS only.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub fn start_tls(identity: Identity) -> Option<Self> {
        Self::make(Some(identity))
    }

    fn make(identity: Option<Identity>) -> Option<Self> {
        for program in ["mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb"] {
            if !has(program) {
                skipped("mariadb", &format!("no {program} on the PATH; `make services-install` installs it"));
                return None;
            }
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let install = [
            "--no-defaults".to_owned(),
            format!("--user={}", whoami()),
            format!("--datadir={}", dir.path().join("data").display()),
            // A server that starts removes from there what it takes for its own leftovers.
            format!("--tmpdir={}", dir.path().display()),
            "--auth-root-authentication-method=normal".to_owned(),
            "--skip-test-db".to_owned(),
        ];
        run("mariadb-install-db", &install);
        let mut database = Self { process: None, dir, port: free_port(), databases: AtomicU32::new(0), identity };
        database.resume();
        Some(database)
    }

    /// Starts it again on the data it has; it answers when this returns.
    ///
    /// # Panics
    /// If it does not start.
    pub fn resume(&mut self) {
        let dir = self.dir.path();
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--user={}", whoami()),
            format!("--datadir={}", dir.join("data").display()),
            format!("--tmpdir={}", dir.display()),
            format!("--socket={}", self.socket()),
            format!("--pid-file={}", dir.join("pid").display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--port={}", self.port),
            "--innodb-buffer-pool-size=128M".to_owned(),
            "--character-set-server=utf8mb4".to_owned(),
            "--collation-server=utf8mb4_unicode_ci".to_owned(),
        ];
        if let Some(Identity { certificate, key }) = &self.identity {
            args.push(format!("--ssl-cert={}", certificate.display()));
            args.push(format!("--ssl-key={}", key.display()));
            args.push("--require-secure-transport=ON".to_owned());
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.process = match Process::start("mariadbd", &args, &dir.join("mariadb.log")) {
            Ok(process) => Some(process),
            Err(error) => panic!("mariadbd does not start: {error}"),
        };
        let ping = ["--no-defaults".to_owned(), format!("--socket={}", self.socket()), "ping".to_owned()];
        until("mariadb answers", || {
            Command::new("mariadb-admin").args(&ping).output().is_ok_and(|it| it.status.success())
        });
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// The address of a new, empty database with a user of its own.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn database(&self) -> String {
        let name = format!("mall_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!(
            "CREATE DATABASE {name}; CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{name}'; \
             GRANT ALL ON {name}.* TO {name}@'127.0.0.1'"
        ));
        format!("mysql://{name}:{name}@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs `statements` as root.
    ///
    /// # Panics
    /// If the server refuses them.
    pub fn sql(&self, statements: &str) {
        let socket = format!("--socket={}", self.socket());
        run("mariadb", &["--no-defaults".to_owned(), socket, "-uroot".to_owned(), format!("-e{statements}")]);
    }

    /// What a query answers: a line for each row, with tabs between columns.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn ask(&self, query: &str) -> String {
        let socket = format!("--socket={}", self.socket());
        let args = ["--no-defaults".to_owned(), socket, "-uroot".to_owned(), "-BN".to_owned(), format!("-e{query}")];
        run("mariadb", &args)
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self) -> String {
        self.dir.path().join("socket").display().to_string()
    }
}

fn whoami() -> String {
    let told = Command::new("id").arg("-un").output().map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    told.unwrap_or_default()
}

fn run(program: &str, args: &[String]) -> String {
    match Command::new(program).args(args).output() {
        Ok(it) if it.status.success() => String::from_utf8_lossy(&it.stdout).into_owned(),
        Ok(it) => panic!("{program}: {} {}", it.status, String::from_utf8_lossy(&it.stderr)),
        Err(error) => panic!("{program}: {error}"),
    }
}
