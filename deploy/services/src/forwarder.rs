//! An address that can be pointed at another server, as a name does after a failover.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often the listener looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Forwards connections to a port on loopback. Connections that are open stay with the server that they were
/// made to.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    to: AtomicU16,
    accepted: AtomicUsize,
    ends: AtomicBool,
}

impl Forwarder {
    /// Listens on a free port and forwards to `to`.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(to: u16) -> Self {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            Ok(listener) => listener,
            Err(error) => panic!("no port to listen on: {error}"),
        };
        let address = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
        let port = match address {
            Ok(address) => address.port(),
            Err(error) => panic!("a listener without an address: {error}"),
        };
        let shared = Arc::new(Shared { to: to.into(), accepted: AtomicUsize::new(0), ends: AtomicBool::new(false) });
        let accepting = {
            let shared = shared.clone();
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Self { port, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// For `MALL_REDIS__URL`.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Forwards connections that are made from now on to `to`.
    pub fn point_to(&self, to: u16) {
        self.shared.to.store(to, Ordering::SeqCst);
    }

    /// Connections that were made to it so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    while !shared.ends.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((client, _)) => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                // A server that is not there ends the client's connection.
                drop(join(client, shared.to.load(Ordering::SeqCst)));
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Copies in both directions until either side ends. The threads end with their connections.
fn join(client: TcpStream, to: u16) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    server.set_nodelay(true)?;
    for (from, into) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        std::thread::spawn(move || {
            drop(io::copy(&mut &from, &mut &into));
            // One of them may be gone already.
            drop(from.shutdown(Shutdown::Both));
            drop(into.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}
