//! The table of raw bytes through nginx, which keeps its connections to the gateway and sends on them what came from
//! one client after another. Whatever a client sends, the two must agree on where a request ends: the gateway sees
//! exactly the requests whose answers went back through nginx, and each client gets its own.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use foundation::config::Runtime;
use gateway_core::Stats;
use services::Nginx;

use super::{
    ANSWER_MAX, Server,
    http_table::{self, Case},
    on_every_driver, until,
};

/// Once all that is due has come, so long more is waited for; it was all sent long before.
const SILENCE: Duration = Duration::from_millis(10);
/// The gateway has counted nothing for so long: nothing is under way.
const QUIET: Duration = Duration::from_millis(200);
/// Honest requests after the table; more than nginx keeps connections.
const PROBES: u128 = 64;

/// Cases that are right and that nginx answers by itself, or passes on as something else.
const NGINX_DECIDES: &str = include_str!("nginx.txt");
/// A head longer than may_minihttp's sixteen fields; nginx then has no answer.
const MAY_DECIDES: &[&str] = &["limit-headers"];

/// An answer that came back: its status, and whether the gateway wrote it.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    status: u16,
    from_gateway: bool,
}

/// The answers in `written`, without interim ones. No body holds what begins an answer.
fn answers(written: &[u8]) -> Vec<Came> {
    let text = String::from_utf8_lossy(written);
    let mut found = Vec::new();
    if text.starts_with("pong") {
        // To a client of HTTP/0.9 nginx writes the body alone.
        found.push(Came { status: 200, from_gateway: true });
    }
    for piece in text.split("HTTP/1.1 ").skip(1) {
        let head = piece.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
        if let Some(status) = head.get(..3).and_then(|status| status.parse().ok())
            && status >= 200
        {
            found.push(Came { status, from_gateway: head.contains("\r\ncache-control: ") });
        }
    }
    found
}

/// Reads until `enough` answers have come and then silence, or until the end.
fn read(socket: &mut TcpStream, enough: usize) -> Vec<Came> {
    let (mut written, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let due = answers(&written).len() < enough;
        socket.set_read_timeout(Some(if due { ANSWER_MAX } else { SILENCE })).unwrap();
        match socket.read(&mut piece) {
            Ok(count @ 1..) => written.extend(&piece[..count]),
            // The end, silence, or a reset behind the last answer.
            Ok(_) | Err(_) => return answers(&written),
        }
    }
}

/// All answers in it leave the connection open, or it was asked to close.
fn is_honest(case: &Case) -> bool {
    let statuses = case.statuses();
    !statuses.is_empty() && statuses.iter().all(|status| matches!(status, 200 | 204 | 401 | 404 | 405 | 422))
}

fn counted(server: &Server) -> u64 {
    server.figures.read(|stats: &Stats| stats.all_answers().map(|(_, count)| count).sum())
}

#[test]
fn through_nginx_no_request_is_smuggled() {
    on_every_driver(|driver| {
        let server = driver.start();
        let Some(nginx) = Nginx::start(server.address) else { return };
        let before = counted(&server);
        let connect = || TcpStream::connect(nginx.address()).unwrap();
        let mut open: Vec<(Case, TcpStream)> = http_table::cases().into_iter().map(|case| (case, connect())).collect();
        for (case, socket) in &mut open {
            // It may have been refused before it was all sent.
            drop(socket.write_all(&case.sent));
        }
        let mut last = None;
        until("the gateway is quiet", || {
            std::thread::sleep(QUIET);
            let now = Some(counted(&server));
            std::mem::replace(&mut last, now) == now
        });
        let decides: Vec<&str> = NGINX_DECIDES.lines().filter(|line| !line.starts_with('#')).collect();
        let decides = |name: &str| {
            let mut words = decides.iter().flat_map(|line| line.split_whitespace());
            words.any(|word| word == name) || driver.runtime == Runtime::May && MAY_DECIDES.contains(&name)
        };
        let (mut seen, mut lost, mut faults) = (0, 0, Vec::new());
        for (case, socket) in &mut open {
            let strict = is_honest(case) && !decides(&case.name);
            let came = read(socket, if strict { case.statuses().len() } else { 0 });
            seen += came.iter().filter(|came| came.from_gateway).count() as u64;
            lost += came.iter().filter(|came| came.status == 502).count() as u64;
            let statuses: Vec<u16> = came.iter().map(|came| came.status).collect();
            if strict && (statuses != case.statuses() || !came.iter().all(|came| came.from_gateway)) {
                faults.push(format!("[{}] {came:?} instead of {:?}", case.name, case.statuses()));
            }
        }
        assert!(faults.is_empty(), "{}: {} faults\n{}", driver.name(), faults.len(), faults.join("\n"));
        for number in 1..=PROBES {
            let id = format!("{number:032x}");
            let mut socket = connect();
            let probe = format!(
                "GET /probe HTTP/1.1\r\nHost: mall\r\nConnection: close\r\ntraceparent: 00-{id}-{id:.16}-01\r\n\r\n"
            );
            socket.write_all(probe.as_bytes()).unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).unwrap();
            assert!(answer.contains(&format!(r#""trace_id":"{id}""#)), "{}: another's answer: {answer}", driver.name());
            seen += 1;
        }
        let sum = || counted(&server) - before;
        until("all that was answered is counted", || sum() >= seen);
        std::thread::sleep(3 * crate::thread::TICK);
        // may_minihttp loses refusals, and what nginx then says is 502.
        let due = if driver.runtime == Runtime::May { seen..=seen + lost } else { seen..=seen };
        assert!(due.contains(&sum()), "{}: {} requests, and answers {due:?}", driver.name(), sum());
    });
}
