//! Clients that send a request a byte at a time (slowloris), beside honest ones.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Between two bytes of one client.
const BYTE_EVERY: Duration = Duration::from_secs(1);
const HEAD: &[u8] = b"POST /api/v1/seckill/orders HTTP/1.1\r\nHost: mall\r\nAuthorization: Bearer ";

/// One of them.
struct Dribble {
    stream: TcpStream,
    sent: usize,
}

/// What they came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dribbled {
    /// Connections that the server ended, which were opened again.
    pub cut: u64,
}

/// Keeps `count` of them at it until `stop`; `ready` is raised once all are connected.
pub(crate) fn dribble(
    address: SocketAddr,
    count: usize,
    ready: &AtomicBool,
    stop: &AtomicBool,
) -> Result<Dribbled, String> {
    let failed = |error: std::io::Error| format!("{address}: a slow client: {error}");
    let mut clients = (0..count).map(|_| connect(address)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    ready.store(true, Ordering::Release);
    let mut dribbled = Dribbled::default();
    // One after the other, evenly: a burst of all of them would cost the honest clients' own processor.
    let apart = BYTE_EVERY / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let mut due = Instant::now();
    for at in (0..count).cycle() {
        if stop.load(Ordering::Acquire) {
            break;
        }
        due += apart;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if !clients[at].send_one() {
            dribbled.cut += 1;
            clients[at] = connect(address).map_err(failed)?;
        }
    }
    Ok(dribbled)
}

fn connect(address: SocketAddr) -> std::io::Result<Dribble> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Dribble { stream, sent: 0 })
}

impl Dribble {
    /// Whether the server still listens.
    fn send_one(&mut self) -> bool {
        let ended = match self.stream.read(&mut [0; 512]) {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let byte = HEAD.get(self.sent).copied().unwrap_or(b'a');
        self.sent += 1;
        !ended && self.stream.write_all(&[byte]).is_ok()
    }
}
