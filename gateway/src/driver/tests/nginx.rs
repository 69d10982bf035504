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

/// The gateway has counted nothing for so long: nothing is under way.
const QUIET: Duration = Duration::from_millis(200);
/// Honest requests after the table; more than nginx keeps connections.
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

    /// What came back so far; waits until there are `enough` answers.
    fn read(&mut self, enough: usize) -> Vec<Came> {
        let mut piece = [0; 16 * 1024];
        self.socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        loop {
            let came = answers(&self.written);
            self.socket.set_nonblocking(came.len() >= enough).unwrap();
            match self.socket.read(&mut piece) {
                Ok(count @ 1..) => self.written.extend(&piece[..count]),
                // The end, silence, or a reset behind the last answer.
                Ok(_) | Err(_) => return came,
            }
        }
    }
}

/// How many answers of the gateway came back, and how many times nginx had none.
fn tally(clients: &mut [Client]) -> (u64, u64) {
    let came: Vec<Came> = clients.iter_mut().flat_map(|client| client.read(0)).collect();
    let count = |is: fn(&Came) -> bool| came.iter().filter(|came| is(came)).count() as u64;
    (count(|came| came.from_gateway), count(|came| came.status == 502))
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
        let sockets = http_table::cases().into_iter().map(|case| (case, connect())).collect::<Vec<_>>();
        let mut clients: Vec<Client> = sockets.into_iter().map(|(case, socket)| Client::send(case, socket)).collect();
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
        let mut faults = Vec::new();
        for client in clients.iter_mut().filter(|client| is_honest(&client.case) && !decides(&client.case.name)) {
            let due = client.case.statuses();
            let came = client.read(due.len());
            let statuses: Vec<u16> = came.iter().map(|came| came.status).collect();
            if statuses != due || !came.iter().all(|came| came.from_gateway) {
                faults.push(format!("[{}] {came:?} instead of {due:?}", client.case.name));
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
        }
        // As many answers as the gateway counts, though the last may be late, and none after that.
        let mut agrees = || {
            let ((seen, lost), sum) = (tally(&mut clients), (counted(&server) - before).saturating_sub(PROBES.into()));
            eprintln!("{}: {seen} answers came back, {lost} were lost, {sum} are counted", driver.name());
            // may_minihttp loses refusals, and what nginx then says is 502.
            seen <= sum && sum <= if driver.runtime == Runtime::May { seen + lost } else { seen }
        };
        let what = format!("{}: every answer of the gateway has come back", driver.name());
        until(&what, &mut agrees);
        std::thread::sleep(3 * crate::thread::TICK);
        assert!(agrees(), "{}: more requests than were sent", driver.name());
    });
}
