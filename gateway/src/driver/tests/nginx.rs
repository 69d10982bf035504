//! The table of raw bytes through nginx, which keeps its connections to the gateway and sends on them what came from
//! one client after another. Whatever a client sends, the two must agree on where a request ends: the gateway sees
//! exactly the requests whose answers went back through nginx, and each client gets its own.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::Ordering,
    time::Duration,
};

use foundation::config::Runtime;
use gateway_core::Stats;
use services::Nginx;

use super::{
    Server,
    http_table::{self, Case},
    on_every_driver, until,
};

/// nginx closes a connection that is silent for a second or two (`proxy.conf.in`); a busy machine may take much longer.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);
/// Honest requests at the same time after the table; more than nginx keeps connections.
const PROBES: u32 = 64;

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

/// A client of one case.
struct Client {
    case: Case,
    socket: TcpStream,
    written: Vec<u8>,
}

impl Client {
    fn send(case: Case, mut socket: TcpStream) -> Self {
        // It may have been refused before it was all sent.
        drop(socket.write_all(&case.sent));
        Self { case, socket, written: Vec::new() }
    }

    /// All that comes back until nginx closes the connection: after that nothing of this client is under way.
    fn read_to_end(&mut self) -> Vec<Came> {
        self.socket.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
        match self.socket.read_to_end(&mut self.written) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("[{}] {error}", self.case.name),
            // A reset follows the last answer if the client sent more than was read.
            Ok(_) | Err(_) => answers(&self.written),
        }
    }
}

/// All answers in it leave the connection open, or it was asked to close.
fn is_honest(case: &Case) -> bool {
    let statuses = case.statuses();
    !statuses.is_empty() && statuses.iter().all(|status| matches!(status, 200 | 204 | 401 | 404 | 405 | 422))
}

/// Answers of the gateway to others than the test itself, as of its last tick.
fn counted(server: &Server) -> u64 {
    let all = server.figures.read(|stats: &Stats| stats.all_answers().map(|(_, count)| count).sum());
    all.saturating_sub(server.answered.load(Ordering::SeqCst))
}

#[test]
fn through_nginx_no_request_is_smuggled() {
    on_every_driver(|driver| {
        let server = driver.start();
        let Some(nginx) = Nginx::start(server.address) else { return };
        let connect = || TcpStream::connect(nginx.address()).unwrap();
        let sockets = http_table::cases().into_iter().map(|case| (case, connect())).collect::<Vec<_>>();
        let mut clients: Vec<Client> = sockets.into_iter().map(|(case, socket)| Client::send(case, socket)).collect();
        let came: Vec<Vec<Came>> = clients.iter_mut().map(Client::read_to_end).collect();
        let decides: Vec<&str> = NGINX_DECIDES.lines().filter(|line| !line.starts_with('#')).collect();
        let decides = |name: &str| {
            let mut words = decides.iter().flat_map(|line| line.split_whitespace());
            words.any(|word| word == name) || driver.runtime == Runtime::May && MAY_DECIDES.contains(&name)
        };
        let mut faults = Vec::new();
        for (client, came) in clients.iter().zip(&came) {
            if !is_honest(&client.case) || decides(&client.case.name) {
                continue;
            }
            let due = client.case.statuses();
            let statuses: Vec<u16> = came.iter().map(|came| came.status).collect();
            if statuses != due || !came.iter().all(|came| came.from_gateway) {
                faults.push(format!("[{}] {came:?} instead of {due:?}", client.case.name));
            }
        }
        assert!(faults.is_empty(), "{}: {} faults\n{}", driver.name(), faults.len(), faults.join("\n"));
        probe(driver.name(), connect);

        // All clients have their end and nginx is gone: nobody sends any more, so the count can only catch up.
        drop(nginx);
        let came = || came.iter().flatten();
        let seen = came().filter(|came| came.from_gateway).count() as u64;
        // may_minihttp loses refusals, and what nginx then says is 502.
        let lost = came().filter(|came| came.status == 502 && driver.runtime == Runtime::May).count() as u64;
        let sent = seen + u64::from(PROBES);
        until(&format!("{}: {sent} answers are counted", driver.name()), || counted(&server) >= sent);
        std::thread::sleep(3 * crate::thread::TICK);
        let sum = counted(&server);
        eprintln!("{}: {sent} answers came back, {lost} were lost, {sum} are counted", driver.name());
        assert!(sum <= sent + lost, "{}: more requests than were sent", driver.name());
    });
}

/// Honest requests on all connections that nginx keeps; each gets its own answer.
fn probe(driver: &str, connect: impl Fn() -> TcpStream) {
    let ids = (1..=PROBES).map(|number| format!("{number:032x}"));
    let ask = |id: String| {
        let mut socket = connect();
        let request = format!(
            "GET /probe HTTP/1.1\r\nHost: mall\r\nConnection: close\r\ntraceparent: 00-{id}-00f067aa0ba902b7-01\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        (id, socket)
    };
    let asked: Vec<(String, TcpStream)> = ids.map(ask).collect();
    for (id, mut socket) in asked {
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(&format!(r#""trace_id":"{id}""#)), "{driver}: another's answer: {answer}");
    }
}
