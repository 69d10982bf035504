//! A child process that can't outlive its parent.

use std::{
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A server that has not answered by then never will.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long one read of an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Ports of servers.
const PORTS: Range<u16> = 20_000..32_000;
const PORT_TRIES_MAX: u32 = 1000;

/// Starts its arguments, prints their process id, and kills them once its input ends: it does when the
/// parent closes it or dies.
const WARDEN: &str = r#""$@" </dev/null >&2 & pid=$!; echo $pid; read -r _; kill -9 $pid; wait $pid 2>/dev/null"#;

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    warden: Child,
    id: u32,
}

impl Process {
    /// Runs `program`, writing what it says to `log`.
    pub(crate) fn start(program: &str, args: &[&str], log: &Path) -> io::Result<Self> {
        let said = std::fs::File::options().create(true).append(true).open(log)?;
        let mut warden = Command::new("sh")
            .args(["-c", WARDEN, "warden", program])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()?;
        let mut line = String::new();
        let Some(told) = warden.stdout.take() else { return Err(io::Error::other("no pipe")) };
        BufReader::new(told).read_line(&mut line)?;
        let id = line.trim().parse().map_err(|_| io::Error::other(format!("{program} has no process id: {line:?}")))?;
        Ok(Self { warden, id })
    }

    /// The server's process id.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// A process that has ended stays as a zombie until the warden waits for it.
    pub(crate) fn is_running(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Sends `signal` (`TERM`, `STOP`, `CONT`) to the server.
    pub(crate) fn signal(&self, signal: &str) {
        let sent =
            Command::new("kill").args([format!("-{signal}"), self.id.to_string()]).stderr(Stdio::null()).status();
        // A server that has ended already needs no signal.
        drop(sent);
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn ended(mut self) {
        until("the server has ended", || !self.is_running());
        drop(self.warden.stdin.take());
        drop(self.warden.wait());
    }
}

/// kill -9.
impl Drop for Process {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        drop(self.warden.wait());
    }
}

/// A port that nobody listened on a moment ago, below those that the kernel gives to clients: before a server
/// that is killed comes back to its port, somebody's connection must not have taken it.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    let random = RandomState::new();
    for _ in 0..PORT_TRIES_MAX {
        let number = random.hash_one((std::process::id(), TAKEN.fetch_add(1, Ordering::Relaxed)));
        let span = u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(number % span).unwrap_or(0);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on loopback among {PORTS:?}")
}

/// Waits until `holds`.
///
/// # Panics
/// If it does not within [`START_MAX`].
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < START_MAX, "not within {START_MAX:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The body of what a server on loopback answers to a GET of `path` with status 200; `None` for any other answer, or none in time.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let ask = || -> io::Result<String> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        socket.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).is_some_and(|status| status == "200").then(|| body.to_owned())
}

/// Whether `program` is installed.
pub(crate) fn has(program: &str) -> bool {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&dirs).any(|dir| dir.join(program).is_file())
}
