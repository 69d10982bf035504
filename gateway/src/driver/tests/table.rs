//! The table of raw bytes.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use foundation::config::Runtime;

use super::{
    ANSWER_MAX,
    http_table::{self, Case},
    on_every_driver,
};

/// After what should be the last answer, so long another one is waited for.
const SILENCE: Duration = Duration::from_millis(5);

/// How may_minihttp differs from the table.
const ON_MAY: &str = include_str!("../on_may/table.txt");
/// What a connection says on which nothing is a request any more.
const REFUSAL_ENDS: &[u8] = b"Content-Length: 0\r\nconnection: close\r\n\r\n";
const REFUSAL_BEGINS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nServer: M\r\n";

/// What must come of a case.
enum Outcome {
    Answers(Case),
    /// Nothing is written, and the connection closes.
    Silence(Case),
}

impl Outcome {
    fn check(&self, written: &[u8], closed: bool) -> Result<(), String> {
        match self {
            Self::Answers(case) => case.check(written, closed),
            Self::Silence(_) if written.is_empty() && closed => Ok(()),
            Self::Silence(case) => {
                let (name, written) = (&case.name, written.escape_ascii());
                Err(format!("[{name}] instead of silence, closed: {closed}: {written}"))
            }
        }
    }

    const fn case(&self) -> &Case {
        match self {
            Self::Answers(case) | Self::Silence(case) => case,
        }
    }
}

/// The table as it is on `runtime`.
fn outcomes(runtime: Runtime) -> Vec<Outcome> {
    let mut differs = if runtime == Runtime::May { differences() } else { BTreeMap::new() };
    let outcomes = http_table::cases().into_iter().map(|mut case| match differs.remove(&*case.name) {
        None => Outcome::Answers(case),
        Some("silence") => Outcome::Silence(case),
        Some(outcome) => {
            assert!(case.expect(outcome).is_some(), "[{}] no outcome: {outcome}", case.name);
            Outcome::Answers(case)
        }
    });
    let outcomes = outcomes.collect();
    assert!(differs.is_empty(), "no such cases: {:?}", differs.keys());
    outcomes
}

/// A line `=> outcome`, and the names of cases below it.
fn differences() -> BTreeMap<&'static str, &'static str> {
    let (mut outcome, mut differs) = ("", BTreeMap::new());
    for line in ON_MAY.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("=> ") {
            Some(next) => outcome = next,
            None => {
                for name in line.split_whitespace() {
                    assert_eq!(differs.insert(name, outcome), None, "[{name}] twice");
                }
            }
        }
    }
    differs
}

/// Takes the refusals off the end that follow an answer that closes: may_minihttp goes on with what it has read.
fn without_refusals(mut written: &[u8]) -> &[u8] {
    while let Some(rest) = written.strip_suffix(REFUSAL_ENDS) {
        let Some(at) = memchr::memmem::rfind(rest, REFUSAL_BEGINS) else { break };
        written = &rest[..at];
    }
    written
}

/// Reads until the case is satisfied and then silence, or until the end; and checks that.
fn check(outcome: &Outcome, socket: &mut TcpStream, trims: bool) -> Result<(), String> {
    let (mut written, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let trimmed = if trims { without_refusals(&written) } else { &written };
        let fits = outcome.check(trimmed, false);
        socket.set_read_timeout(Some(if fits.is_ok() { SILENCE } else { ANSWER_MAX })).unwrap();
        match socket.read(&mut piece) {
            Ok(0) => return outcome.check(trimmed, true),
            Ok(count) => written.extend(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return fits,
            Err(error) if trims && error.kind() == ErrorKind::ConnectionReset => return outcome.check(trimmed, true),
            Err(error) => return Err(format!("[{}] {error}", outcome.case().name)),
        }
    }
}

#[test]
fn the_table_of_raw_bytes() {
    on_every_driver(|driver| {
        let server = driver.start();
        let mut faults = Vec::new();
        for outcome in outcomes(driver.runtime) {
            let mut socket = server.connect();
            socket.write_all(&outcome.case().sent).unwrap();
            // It says no goodbye: a client that still sends may find its connection reset.
            faults.extend(check(&outcome, &mut socket, driver.runtime == Runtime::May).err());
        }
        assert!(faults.is_empty(), "{}: {} faults\n{}", driver.name(), faults.len(), faults.join("\n"));
    });
}
