//! What holds on every driver, over real sockets.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use contract::{
    Activity, ActivityId, Cents, SkuId,
    activity::{Admission, Terms},
    ledger::BatchReply,
    snowflake::Snowflake,
};
use foundation::{Clock, SystemClock, metrics::Registry};
use gateway_core::{Batch, Config, Control, Core, Keys, Now};
use ledger::house::Reply;
use tokio_util::sync::CancellationToken;

use super::on_monoio;
use crate::{
    bind,
    figures::Figures,
    link::{Ledgers, ReserveLink},
    mailbox::mailbox,
    painter::Painter,
    probe,
    shard::Parts,
    thread::{BACKLOG, CoreThread},
};

#[path = "../../core/tests/http_table/cases.rs"]
#[expect(dead_code, reason = "the core's own tests ask for more")]
mod http_table;

const DRIVERS: &[(&str, Run)] = &[("monoio", on_monoio::run)];
/// Longer than any answer takes.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// After what should be the last answer, so long another one is waited for.
const SILENCE: Duration = Duration::from_millis(5);

type Run = fn(CoreThread) -> io::Result<()>;

/// The ledger of tests that reserve nothing.
struct NoLedger;

impl ReserveLink for NoLedger {
    fn reserve(&self, _: Batch, _: Reply<BatchReply>) {}
}

/// One core thread that knows activity 1.
struct Server {
    address: SocketAddr,
    figures: Arc<Figures>,
    stop: CancellationToken,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    fn start(run: Run, configure: impl FnOnce(&mut Config)) -> Self {
        let address = probe(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let socket = bind(address).unwrap();
        socket.listen(BACKLOG).unwrap();
        let mut config = Config::new(Keys::new(b"a key"), 1);
        configure(&mut config);
        let wall_ms = SystemClock.now_ms();
        let core = Core::new(config, Snowflake::new(1, wall_ms, u64::MAX), Now { mono: Duration::ZERO, wall_ms });
        let (sender, mailbox) = mailbox();
        let terms = Terms { per_user_limit: 1, starts_at_ms: wall_ms - 1, ends_at_ms: u64::MAX };
        let activity = Activity {
            id: ActivityId::from_i64(1).unwrap(),
            version: 1,
            title: "of the table".to_owned(),
            sku: SkuId::from_i64(1).unwrap(),
            price: Cents::new(1),
            original_price: Cents::new(1),
            terms,
            admission: Admission::default(),
        };
        for control in [Control::Activity(activity), Control::CaughtUp] {
            sender.controls.blocking_send(control).unwrap();
        }
        let (figures, open, stop) = (Arc::new(Figures::default()), CancellationToken::new(), CancellationToken::new());
        let parts = Parts {
            core,
            ledgers: Ledgers::Shared(Arc::new(NoLedger)),
            recent: Arc::default(),
            mailbox: sender.letters,
            painter: Painter::start().unwrap().of(sender.controls),
            figures: figures.clone(),
            metrics: Registry::default(),
            started: Instant::now(),
        };
        open.cancel();
        let thread = CoreThread { cpu: None, socket, open, parts, mailbox, stop: stop.clone() };
        let thread = Some(std::thread::spawn(move || run(thread)));
        Self { address, figures, stop, thread }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        socket
    }

    /// Returns once the core knows the activity.
    fn wait_until_ready(&self) {
        let begun = Instant::now();
        let mut answer = String::new();
        while !answer.starts_with("HTTP/1.1 200 ") {
            assert!(begun.elapsed() < ANSWER_MAX, "{answer}");
            answer.clear();
            let mut socket = self.connect();
            socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: mall\r\nConnection: close\r\n\r\n").unwrap();
            socket.read_to_string(&mut answer).unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(Err(panicked)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panicked);
        }
    }
}

/// Reads until the case is satisfied and then silence, or until the end; and checks that.
fn check(case: &http_table::Case, socket: &mut TcpStream) -> Result<(), String> {
    let (mut written, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let fits = case.check(&written, false);
        socket.set_read_timeout(Some(if fits.is_ok() { SILENCE } else { ANSWER_MAX })).unwrap();
        match socket.read(&mut piece) {
            Ok(0) => return case.check(&written, true),
            Ok(count) => written.extend(&piece[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return fits,
            Err(error) => return Err(format!("[{}] {error}", case.name)),
        }
    }
}

#[test]
fn the_table_of_raw_bytes() {
    for (driver, run) in DRIVERS {
        let server = Server::start(*run, |_| {});
        server.wait_until_ready();
        let mut faults = Vec::new();
        for case in http_table::cases() {
            let mut socket = server.connect();
            socket.write_all(&case.sent).unwrap();
            faults.extend(check(&case, &mut socket).err());
        }
        assert!(faults.is_empty(), "{driver}: {} faults\n{}", faults.len(), faults.join("\n"));
    }
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    for (driver, run) in DRIVERS {
        let server = Server::start(*run, |config| config.timeouts.write = Duration::from_millis(200));
        let mut socket = server.connect();
        socket.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        let request = b"GET /api/v1/seckill/activities HTTP/1.1\r\nHost: mall\r\n\r\n".repeat(100);
        let begun = Instant::now();
        // Until the socket is full both ways, and then until it is closed.
        loop {
            match socket.write_all(&request) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{driver}: it was not cut");
        }
        assert_eq!(server.figures.read(|stats| stats.connections_cut), 1, "{driver}");
    }
}
