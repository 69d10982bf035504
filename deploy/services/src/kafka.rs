//! Apache Kafka, as `services.sh` starts it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Identity,
    process::{Process, free_port, until},
    skipped,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services.sh");

/// A Kafka of its own: one broker. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct Kafka {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    secure: Option<Secure>,
}

/// A listener that asks for TLS and a password (SCRAM-SHA-512), next to the plain one.
#[derive(Debug)]
struct Secure {
    port: u16,
    identity: Identity,
    user: String,
    password: String,
}

impl Kafka {
    /// A Kafka without topics. `None`, said loudly, where its jars or a Java are missing.
    ///
    /// # Panics
    /// If they are there and it does not start.
    pub fn start() -> Option<Self> {
        Self::make(None)
    }

    /// The same with a second listener (SASL_SSL, SCRAM-SHA-512), on which `user` signs in with `password`.
    ///
    /// # Panics
    /// If its jars are there and it does not start.
    pub fn start_secure(identity: Identity, user: &str, password: &str) -> Option<Self> {
        let (user, password) = (user.to_owned(), password.to_owned());
        Self::make(Some(Secure { port: free_port(), identity, user, password }))
    }

    fn make(secure: Option<Secure>) -> Option<Self> {
        let verified = Command::new("bash").args([SCRIPT, "verified", "kafka"]).output();
        if !verified.is_ok_and(|it| it.status.success()) {
            skipped("kafka", "no Java, or not the jars that are listed; `make services-install` installs them");
            return None;
        }
        let dir = match tempfile::tempdir() {
            Ok(dir) => dir,
            Err(error) => panic!("no temporary directory: {error}"),
        };
        let mut kafka = Self { process: None, dir, port: two_free_ports(), secure };
        kafka.resume();
        Some(kafka)
    }

    /// Starts it again on the data it has; it names its broker when this returns.
    ///
    /// # Panics
    /// If it does not start.
    pub fn resume(&mut self) {
        let (dir, port) = (self.dir.path().display().to_string(), self.port.to_string());
        let log = self.dir.path().join("kafka.log");
        let more = self.secure.as_ref().map(|secure| secure.write(self.dir.path(), self.port));
        let mut arguments = vec![SCRIPT, "start", "kafka", &dir, &port];
        if let Some((properties, user)) = &more {
            arguments.extend([properties.as_str(), user]);
        }
        let process = match Process::start("bash", &arguments, &log) {
            Ok(process) => process,
            Err(error) => panic!("Kafka does not start: {error}"),
        };
        until("Kafka names its broker", || {
            assert!(process.is_running(), "Kafka ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            self.has_broker()
        });
        self.process = Some(process);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// For `MALL_KAFKA__BROKERS`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of the listener that asks for TLS and a password.
    ///
    /// # Panics
    /// If it was started without one.
    pub fn secure_brokers(&self) -> String {
        let Some(secure) = &self.secure else { panic!("this Kafka has no SASL_SSL") };
        format!("127.0.0.1:{}", secure.port)
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// An open port is not yet a broker: this asks for the metadata of all topics (request 3, version 1).
    /// The answer begins with its size, our number, and how many brokers there are.
    fn has_broker(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 12]> {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.write_all(b"\0\0\0\x0e\0\x03\0\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff")?;
            let mut answer = [0; 12];
            socket.read_exact(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer[8..] != [0; 4])
    }
}

impl Secure {
    /// Writes the settings of the listener to a file of `dir`. Returns its path, and the user as `kafka-storage` takes it.
    fn write(&self, dir: &Path, plain: u16) -> (String, String) {
        let Self { port, identity, user, password } = self;
        let (pair, path) = (identity.write_pair(dir), dir.join("secure.properties"));
        let (plain_at, secure_at) = (format!("127.0.0.1:{plain}"), format!("127.0.0.1:{port}"));
        let controller = plain + 1;
        let text = format!(
            "listeners=PLAINTEXT://{plain_at},CONTROLLER://127.0.0.1:{controller},SASL_SSL://{secure_at}\n\
             advertised.listeners=PLAINTEXT://{plain_at},SASL_SSL://{secure_at}\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\nsasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
            pair.display()
        );
        if let Err(error) = std::fs::write(&path, text) {
            panic!("{}: {error}", path.display());
        }
        (path.display().to_string(), format!("SCRAM-SHA-512=[name={user},password={password}]"))
    }
}

/// A port whose successor is free too: the controller listens there.
fn two_free_ports() -> u16 {
    loop {
        let port = free_port();
        let next = port.checked_add(1).map(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)));
        if matches!(next, Some(Ok(_))) {
            return port;
        }
    }
}
