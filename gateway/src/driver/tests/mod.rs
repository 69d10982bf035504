//! What holds on every driver, over real sockets.

mod caps;
mod clients;
mod nginx;
mod sale;
mod table;
mod threads;
#[cfg(feature = "tls")]
mod tls;

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use contract::{
    Activity, ActivityId, Cents, SkuId,
    activity::{Admission, Rules},
    snowflake::Snowflake,
    stock::BatchReply,
    token::{Audience, TokenKey},
};
use foundation::{Clock, SystemClock, config::Runtime, metrics::Registry};
use gateway_core::{Batch, Config, Control, Core, Keys, Now};
use ledger::house::Reply;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

#[path = "../../../core/tests/http_table/cases.rs"]
#[expect(dead_code, reason = "the core's own tests ask for more")]
mod http_table;

use super::Run;
use crate::{
    bind,
    captcha::CaptchaRenderer,
    figures::Figures,
    link::{Ledgers, ReserveLink},
    mailbox::mailbox,
    probe,
    shard::Parts,
    thread::CoreThread,
};

/// Longer than any answer takes.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const KEY: &[u8] = b"a key";
const PING: &[u8] = b"GET /ping HTTP/1.1\r\nHost: mall\r\n\r\n";
/// Of the activities of tests.
const STOCK: u64 = 3;

/// Runs `check` on each driver; one that this build lacks is said so loudly.
fn on_every_driver(check: impl Fn(Driver)) {
    for runtime in Runtime::ALL {
        match super::on(runtime) {
            Ok(run) => check(Driver { runtime, run }),
            Err(error) => eprintln!("\nSKIPPED {}: {error}", runtime.as_str()),
        }
    }
}

#[derive(Clone, Copy)]
struct Driver {
    runtime: Runtime,
    run: Run,
}

impl Driver {
    const fn name(self) -> &'static str {
        self.runtime.as_str()
    }

    /// What the thread is made of, for tests that change something of it.
    fn parts(self) -> Start {
        let mut config = Config::new(Keys::new(KEY), 1);
        config.connections_per_client_max = config.connections_max;
        crate::fit(&mut config, self.runtime);
        Start {
            driver: self,
            address: probe(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap(),
            cpu: None,
            ledgers: Ledgers::Shared(Arc::new(NoLedger)),
            activity: ActivityId::from_i64(1).unwrap(),
            config,
        }
    }

    fn start(self) -> Server {
        self.parts().start()
    }
}

fn key() -> TokenKey {
    TokenKey::new(KEY, Audience::Shopper)
}

/// The ledger of tests that reserve nothing.
struct NoLedger;

impl ReserveLink for NoLedger {
    fn reserve(&self, _: Batch, _: Reply<BatchReply>) {}
}

struct Start {
    driver: Driver,
    address: SocketAddr,
    cpu: Option<usize>,
    ledgers: Ledgers,
    activity: ActivityId,
    config: Config,
}

/// One core thread that knows one activity.
struct Server {
    address: SocketAddr,
    figures: Arc<Figures>,
    /// Requests of `ask` that were answered.
    answered: AtomicU64,
    stop: CancellationToken,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// When the activity of a test begins.
fn rules(now_ms: u64) -> Rules {
    Rules { per_user_limit: 1, starts_at_ms: now_ms - 1000, ends_at_ms: now_ms + 3_600_000 }
}

impl Start {
    /// Starts it; it is ready when this returns.
    fn start(self) -> Server {
        let Self { driver, address, cpu, ledgers, activity, config } = self;
        let socket = bind(address).unwrap();
        let wall_ms = SystemClock.now_ms();
        let core = Core::new(config, Snowflake::new(1, wall_ms, u64::MAX), Now { mono: Duration::ZERO, wall_ms });
        let (sender, mailbox) = mailbox();
        let activity = Activity {
            id: activity,
            version: 1,
            title: "of the tests".to_owned(),
            sku: SkuId::from_i64(1).unwrap(),
            price: Cents::new(1),
            original_price: Cents::new(1),
            rules: rules(wall_ms),
            admission: Admission::default(),
        };
        for control in [Control::Activity(activity), Control::CaughtUp] {
            sender.controls.blocking_send(control).unwrap();
        }
        let (figures, open, stop) = (Arc::new(Figures::default()), CancellationToken::new(), CancellationToken::new());
        let parts = Parts {
            core,
            ledgers,
            recent: Arc::default(),
            mailbox: sender.replies,
            captchas: CaptchaRenderer::start().unwrap().handle_for(sender.controls),
            figures: figures.clone(),
            metrics: Registry::default(),
            started: Instant::now(),
        };
        open.cancel();
        let (listens, heard) = oneshot::channel();
        let thread = CoreThread { cpu, socket, open, listens, parts, mailbox, stop: stop.clone() };
        let run = driver.run;
        let named = std::thread::Builder::new().name(format!("test-{}", driver.name()));
        let thread = Some(named.spawn(move || run(thread)).unwrap());
        heard.blocking_recv().unwrap();
        let server = Server { address, figures, answered: AtomicU64::new(0), stop, thread };
        until("it is ready", || server.ask(b"GET /readyz HTTP/1.1\r\nHost: mall\r\n\r\n").starts_with("HTTP/1.1 200 "));
        server
    }
}

impl Server {
    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        socket
    }

    /// The answer to one request on a connection of its own.
    fn ask(&self, request: &[u8]) -> String {
        let mut socket = self.connect();
        socket.write_all(request).unwrap();
        let answer = answer(&mut socket);
        if !answer.is_empty() {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        answer
    }

    /// Ends it, and says how it ended.
    fn join(mut self) -> std::io::Result<()> {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap()
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

/// Reads one answer with a Content-Length; a shorter one means that the connection ended.
fn answer(socket: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        if !matches!(socket.read(&mut byte), Ok(1)) {
            return String::from_utf8(text).unwrap();
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    socket.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// Waits until `holds`.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < 2 * ANSWER_MAX, "not within {:?}: {what}", 2 * ANSWER_MAX);
        std::thread::sleep(Duration::from_millis(5));
    }
}
