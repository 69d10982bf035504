//! A proxy for the protocol of MySQL without TLS. It connects a store with its server, and does harm to one
//! transaction of a given write.
//!
//! A packet has its length in three bytes and a number in the fourth, which is 0 for commands.
//! <https://mariadb.com/kb/en/0-packet/>

use std::{
    io::{Read, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use sqlx::{AnyConnection, Connection as _};
use store::Write;
use tokio::runtime::Handle;

/// How long a COMMIT is under way whose sender has lost its connection.
const UNDER_WAY: Duration = Duration::from_millis(200);
/// How often a connection that is held is looked at.
const HELD_LOOK: Duration = Duration::from_millis(10);
/// How long the server may take to answer the proxy.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The command that has a statement as text.
const QUERY: u8 = 3;
/// The first byte of an answer that says that a statement without rows has succeeded.
const OK: u8 = 0;
/// The first byte of an answer that says that a statement has failed.
const ERROR: u8 = 0xff;
/// The number of the error for a deadlock.
const DEADLOCK: u16 = 1213;
/// The number of the error for a row that another transaction has locked for too long.
const LOCK_WAIT: u16 = 1205;

/// What happens to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server gives it up in favour of another one at its first statement.
    DeadlockAtFirst,
    /// The server gives it up in favour of another one after all of its statements.
    DeadlockAtLast,
    /// It waits for too long for a row, after all of its statements.
    LockWait,
    /// Its connection is lost before COMMIT reaches the server.
    CutBeforeCommit,
    /// Its connection is lost before the answer to COMMIT reaches the client.
    CutAfterCommit,
    /// Its connection is lost, and COMMIT reaches the server a moment later.
    CutDuringCommit,
}

/// The proxy. It ends with the process.
pub(crate) struct Proxy {
    port: u16,
    control: Arc<Control>,
}

struct Control {
    server: u16,
    runtime: Handle,
    /// The address of the database past the proxy.
    rival_url: String,
    armed: Mutex<Option<(Write, Fault)>>,
    /// Whether a cut is followed by a time without new connections.
    holds: AtomicBool,
    /// Whether new connections wait.
    is_held: AtomicBool,
    /// All connections of clients.
    clients: Mutex<Vec<TcpStream>>,
    /// What did not go as it should.
    problems: Mutex<Vec<String>>,
}

impl Proxy {
    /// A proxy for the database at `url`. The database has a table `rivals` with many rows.
    pub(crate) fn start(url: &str) -> Self {
        let server = port(url);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy_port = listener.local_addr().unwrap().port();
        let control = Arc::new(Control {
            server,
            runtime: Handle::current(),
            rival_url: url.to_owned(),
            armed: Mutex::default(),
            holds: AtomicBool::new(false),
            is_held: AtomicBool::new(false),
            clients: Mutex::default(),
            problems: Mutex::default(),
        });
        let shared = control.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, control) = (client.unwrap(), shared.clone());
                while control.is_held.load(Ordering::Acquire) {
                    thread::sleep(HELD_LOOK);
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", control.server)) else { continue };
                thread::spawn(move || carry(client, server, &control));
            }
        });
        Self { port: proxy_port, control }
    }

    /// The address of the database behind the proxy.
    pub(crate) fn url(&self) -> String {
        let url =
            self.control.rival_url.replacen(&format!(":{}/", self.control.server), &format!(":{}/", self.port), 1);
        format!("{url}?ssl-mode=DISABLED")
    }

    /// Does `fault` to the next transaction of `write`.
    pub(crate) fn arm(&self, write: Write, fault: Fault) {
        *self.control.armed.lock().unwrap() = Some((write, fault));
    }

    /// Does `fault` to the next transaction of `write`, cuts all other connections, and lets no new one pass until
    /// [`Proxy::release`].
    pub(crate) fn arm_and_hold(&self, write: Write, fault: Fault) {
        self.control.holds.store(true, Ordering::Release);
        self.arm(write, fault);
    }

    /// Whether new connections wait.
    pub(crate) fn is_held(&self) -> bool {
        self.control.is_held.load(Ordering::Acquire)
    }

    /// Lets new connections pass.
    pub(crate) fn release(&self) {
        self.control.is_held.store(false, Ordering::Release);
    }

    /// What did not go as it should, and a fault that had no transaction to happen to.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = std::mem::take(&mut *self.control.problems.lock().unwrap());
        if let Some(armed) = self.control.armed.lock().unwrap().take() {
            problems.push(format!("{armed:?} did not happen"));
        }
        problems
    }
}

/// The port in `mysql://user:password@host:port/name`.
fn port(url: &str) -> u16 {
    let host = url.rsplit('@').next().unwrap();
    host.split([':', '/']).nth(1).unwrap().parse().unwrap()
}

/// What happens to the answers of a server.
#[derive(Debug, Clone, Copy)]
enum Answers {
    /// The client gets them.
    Forward,
    /// The proxy gets them.
    Keep,
    /// The next one closes both connections.
    Close,
}

/// One connection of a client, and the one to the server that belongs to it.
struct Pair<'a> {
    client: TcpStream,
    server: TcpStream,
    answers: Arc<Mutex<Answers>>,
    kept: Receiver<Vec<u8>>,
    control: &'a Control,
}

fn carry(client: TcpStream, server: TcpStream, control: &Control) {
    for side in [&client, &server] {
        // Many packets are small, and each of them is answered.
        side.set_nodelay(true).unwrap();
    }
    let answers = Arc::new(Mutex::new(Answers::Forward));
    let (keep, kept) = channel();
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap(), answers.clone());
    thread::spawn(move || carry_back(back.0, back.1, &back.2, &keep));
    control.clients.lock().unwrap().push(client.try_clone().unwrap());
    let mut pair = Pair { client, server, answers, kept, control };
    // The name of the write that has just begun, and whether a statement has followed.
    let mut write: Option<(String, bool)> = None;
    while let Ok(packet) = read_packet(&mut pair.client) {
        let text = (packet[3] == 0 && packet.get(4) == Some(&QUERY)).then(|| String::from_utf8_lossy(&packet[5..]));
        let begun = text.as_ref().and_then(|text| text.strip_prefix("START TRANSACTION /* ")?.strip_suffix(" */"));
        if let Some(name) = begun {
            write = Some((name.to_owned(), false));
        } else if packet[3] == 0
            && let Some((name, has_begun)) = &mut write
        {
            let is_last = text.as_deref() == Some("COMMIT");
            let is_first = !std::mem::replace(has_begun, true);
            if let Some(fault) = control.take(name, is_first, is_last) {
                pair.harm(fault, &packet);
                continue;
            }
        }
        if pair.server.write_all(&packet).is_err() {
            break;
        }
    }
    close(&pair.client, &pair.server);
}

fn carry_back(mut server: TcpStream, mut client: TcpStream, answers: &Mutex<Answers>, keep: &Sender<Vec<u8>>) {
    while let Ok(packet) = read_packet(&mut server) {
        let answers = *answers.lock().unwrap();
        match answers {
            Answers::Forward if client.write_all(&packet).is_ok() => {}
            Answers::Keep if keep.send(packet).is_ok() => {}
            Answers::Forward | Answers::Keep | Answers::Close => break,
        }
    }
    close(&client, &server);
}

fn close(client: &TcpStream, server: &TcpStream) {
    for side in [client, server] {
        // It may be closed already.
        drop(side.shutdown(Shutdown::Both));
    }
}

fn read_packet(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet)?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    stream.read_exact(&mut packet[4..])?;
    Ok(packet)
}

impl Control {
    /// The fault that is to happen now.
    fn take(&self, name: &str, is_first: bool, is_last: bool) -> Option<Fault> {
        let mut armed = self.armed.lock().unwrap();
        let is_due = match armed.as_ref()? {
            (write, _) if write.name() != name => false,
            (_, Fault::DeadlockAtFirst) => is_first,
            (
                _,
                Fault::DeadlockAtLast
                | Fault::LockWait
                | Fault::CutBeforeCommit
                | Fault::CutAfterCommit
                | Fault::CutDuringCommit,
            ) => is_last,
        };
        if is_due { armed.take().map(|(_, fault)| fault) } else { None }
    }
}

impl Pair<'_> {
    /// Does `fault` to the transaction, whose next command is `packet`.
    fn harm(&mut self, fault: Fault, packet: &[u8]) {
        if self.control.holds.swap(false, Ordering::AcqRel) {
            let own = self.client.peer_addr().unwrap();
            let mut clients = self.control.clients.lock().unwrap();
            for other in clients.drain(..).filter(|client| client.peer_addr().is_ok_and(|other| other != own)) {
                // It may be closed already.
                drop(other.shutdown(Shutdown::Both));
            }
            self.control.is_held.store(true, Ordering::Release);
        }
        match fault {
            Fault::DeadlockAtFirst | Fault::DeadlockAtLast => {
                let given_up = self.deadlock();
                self.report(given_up);
            }
            Fault::LockWait => {
                let given_up = self.wait_for_lock();
                self.report(given_up);
            }
            Fault::CutBeforeCommit => close(&self.client, &self.server),
            Fault::CutAfterCommit => {
                *self.answers.lock().unwrap() = Answers::Close;
                self.server.write_all(packet).unwrap();
            }
            Fault::CutDuringCommit => {
                self.client.shutdown(Shutdown::Both).unwrap();
                thread::sleep(UNDER_WAY);
                *self.answers.lock().unwrap() = Answers::Close;
                self.server.write_all(packet).unwrap();
                // The server must have read it before this side is closed.
                thread::sleep(UNDER_WAY);
            }
        }
    }

    /// Sends the client the error of a transaction that was given up.
    fn report(&mut self, given_up: Result<Vec<u8>, String>) {
        match given_up {
            Ok(error) => self.client.write_all(&error).unwrap(),
            Err(problem) => {
                self.control.problems.lock().unwrap().push(problem);
                close(&self.client, &self.server);
            }
        }
    }

    /// Has the transaction and a larger one wait for each other; the server's error.
    fn deadlock(&mut self) -> Result<Vec<u8>, String> {
        let runtime = &self.control.runtime;
        let mut rival = runtime.block_on(rival(&self.control.rival_url));
        *self.answers.lock().unwrap() = Answers::Keep;
        self.succeed("UPDATE rivals SET n = n + 1 WHERE id = 1")?;
        self.send("UPDATE rivals SET n = n + 1 WHERE id = 2");
        let update = "UPDATE rivals SET n = n + 1 WHERE id = 1";
        let survived = self.control.runtime.block_on(async { sqlx::raw_sql(update).execute(&mut rival).await });
        let error = self.error(DEADLOCK)?;
        *self.answers.lock().unwrap() = Answers::Forward;
        survived.map(|_| error).map_err(|error| format!("the rival was given up: {error}"))
    }

    /// Has the transaction wait for a row until the server does not wait any longer; the server's error.
    fn wait_for_lock(&mut self) -> Result<Vec<u8>, String> {
        let rival = self.control.runtime.block_on(rival(&self.control.rival_url));
        *self.answers.lock().unwrap() = Answers::Keep;
        self.succeed("SET SESSION innodb_lock_wait_timeout = 0")?;
        self.send("UPDATE rivals SET n = n + 1 WHERE id = 2");
        let error = self.error(LOCK_WAIT)?;
        self.succeed("SET SESSION innodb_lock_wait_timeout = 10")?;
        *self.answers.lock().unwrap() = Answers::Forward;
        drop(rival);
        Ok(error)
    }

    /// Sends a statement of fewer than 255 bytes to the server.
    fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len() + 1).unwrap();
        let packet = [&[length, 0, 0, 0, QUERY], text.as_bytes()].concat();
        self.server.write_all(&packet).unwrap();
    }

    fn succeed(&mut self, text: &str) -> Result<(), String> {
        self.send(text);
        let answer = self.answer()?;
        if answer[4] == OK { Ok(()) } else { Err(format!("{text}: {answer:?}")) }
    }

    /// The server's answer, which must be the error `number`.
    fn error(&self, number: u16) -> Result<Vec<u8>, String> {
        let answer = self.answer()?;
        let is_expected = answer[4] == ERROR && answer[5..7] == number.to_le_bytes();
        if is_expected { Ok(answer) } else { Err(format!("not error {number}: {answer:?}")) }
    }

    fn answer(&self) -> Result<Vec<u8>, String> {
        self.kept.recv_timeout(ANSWER_MAX).map_err(|error| format!("the server does not answer: {error}"))
    }
}

/// A transaction that has changed all rows of `rivals` but the first one.
async fn rival(url: &str) -> AnyConnection {
    let mut rival = AnyConnection::connect(url).await.unwrap();
    for sql in ["START TRANSACTION", "UPDATE rivals SET n = n + 1 WHERE id >= 2"] {
        sqlx::raw_sql(sql).execute(&mut rival).await.unwrap();
    }
    rival
}
