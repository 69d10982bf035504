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
    while !stop.load(Ordering::Acquire) {
        let round = Instant::now();
        for client in &mut clients {
            if !client.send_one() {
                dribbled.cut += 1;
                *client = connect(address).map_err(failed)?;
            }
        }
        while round.elapsed() < BYTE_EVERY && !stop.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
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
