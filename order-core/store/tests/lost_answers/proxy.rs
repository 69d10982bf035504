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

/// What happens to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server gives it up in favour of another one at its first statement.
    DeadlockAtFirst,
    /// The server gives it up in favour of another one after all of its statements.
    DeadlockAtLast,
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
            problems: Mutex::default(),
        });
        let shared = control.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, control) = (client.unwrap(), shared.clone());
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
            (_, Fault::DeadlockAtLast | Fault::CutBeforeCommit | Fault::CutAfterCommit | Fault::CutDuringCommit) => {
                is_last
            }
        };
        if is_due { armed.take().map(|(_, fault)| fault) } else { None }
    }
}

impl Pair<'_> {
    /// Does `fault` to the transaction, whose next command is `packet`.
    fn harm(&mut self, fault: Fault, packet: &[u8]) {
        match fault {
            Fault::DeadlockAtFirst | Fault::DeadlockAtLast => match self.deadlock() {
                Ok(error) => self.client.write_all(&error).unwrap(),
                Err(problem) => {
                    self.control.problems.lock().unwrap().push(problem);
                    close(&self.client, &self.server);
                }
            },
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

    /// Has the transaction and a larger one wait for each other; the server's error.
    fn deadlock(&mut self) -> Result<Vec<u8>, String> {
        *self.answers.lock().unwrap() = Answers::Keep;
        let runtime = &self.control.runtime;
        let mut rival = runtime.block_on(rival(&self.control.rival_url));
        self.update(1);
        let updated = self.answer()?;
        if updated[4] != OK {
            return Err(format!("the first row: {updated:?}"));
        }
        self.update(2);
        let update = "UPDATE rivals SET n = n + 1 WHERE id = 1";
        let survived = runtime.block_on(async { sqlx::raw_sql(update).execute(&mut rival).await });
        let error = self.answer()?;
        if let Err(error) = survived {
            return Err(format!("the rival was given up: {error}"));
        }
        let number = u16::from_le_bytes([error[5], error[6]]);
        *self.answers.lock().unwrap() = Answers::Forward;
        if (error[4], number) == (ERROR, DEADLOCK) { Ok(error) } else { Err(format!("no deadlock: {error:?}")) }
    }

    fn update(&mut self, id: u8) {
        let text = format!("UPDATE rivals SET n = n + 1 WHERE id = {id}");
        let length = u8::try_from(text.len() + 1).unwrap();
        let packet = [&[length, 0, 0, 0, QUERY], text.as_bytes()].concat();
        self.server.write_all(&packet).unwrap();
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
