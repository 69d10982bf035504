//! How many connections each client has.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use contract::client_address::{TrustedProxies, limit_keys};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore};

/// Between two lines in the log about refused connections.
const QUIET: Duration = Duration::from_secs(10);
/// Refusals that are being written at once; beyond it a connection is closed without one.
const REFUSALS_MAX: usize = 64;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Of what the client sent, what is read first, so that closing does not reset the answer away.
const REFUSAL_READ_BYTES: usize = 8 * 1024;

const BODY: &str = r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"your address has as many connections open as it may have","code":"too_many_connections"}"#;

/// Counts connections by the networks of [`limit_keys`]. Clones count together.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    open: Arc<Mutex<HashMap<u128, usize>>>,
    max: NonZeroUsize,
    proxies: TrustedProxies,
    refusals: Arc<Semaphore>,
    logged: Arc<Mutex<Option<Instant>>>,
}

/// Counts as one connection until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    clients: Clients,
    keys: Vec<u128>,
}

impl Clients {
    pub(super) fn new(max: NonZeroUsize, proxies: TrustedProxies) -> Self {
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
        Self { open: Arc::default(), max, proxies, refusals, logged: Arc::default() }
    }

    /// Counts a connection of `peer`; `None` if it has too many. Trusted proxies stand for many clients and are not counted.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<Counted> {
        let mut counted = Counted { clients: self.clone(), keys: Vec::new() };
        if self.proxies.contains(peer) {
            return Some(counted);
        }
        let mut open = lock(&self.open);
        let room = |(key, factor): (u128, u32)| {
            open.get(&key).is_none_or(|count| *count < self.max.get().saturating_mul(factor as usize))
        };
        if !limit_keys(peer).all(room) {
            return None;
        }
        for (key, _) in limit_keys(peer) {
            *open.entry(key).or_default() += 1;
            counted.keys.push(key);
        }
        drop(open);
        Some(counted)
    }

    /// Answers 429 on a connection that was not admitted, and closes it.
    pub(super) fn refuse(&self, mut stream: TcpStream, peer: IpAddr) {
        let mut logged = lock(&self.logged);
        if logged.is_none_or(|at| at.elapsed() >= QUIET) {
            *logged = Some(Instant::now());
            tracing::warn!(
                %peer, max = self.max,
                "refused a connection: its address has connections_per_client_max of them open"
            );
        }
        drop(logged);
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let answer = format!(
                "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
                 cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\r\n{BODY}",
                BODY.len()
            );
            let refusal = async {
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await?;
                let mut bytes = vec![0; REFUSAL_READ_BYTES];
                tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await
            };
            // The client may be gone, or not read: it is refused either way.
            drop(tokio::time::timeout(REFUSAL_TIMEOUT, refusal).await);
            drop(permit);
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = lock(&self.clients.open);
        for key in &self.keys {
            if let Some(count) = open.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    open.remove(key);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_so_many() {
        let clients = Clients::new(NonZeroUsize::new(2).unwrap(), "10.0.0.0/8".parse().unwrap());
        let admit = |peer: &str| clients.admit(peer.parse().unwrap());
        let (first, second) = (admit("9.9.9.9"), admit("9.9.9.9"));
        assert!(first.is_some() && second.is_some());
        assert!(admit("9.9.9.9").is_none());
        assert!(admit("9.9.9.8").is_some(), "another client");
        drop(first);
        assert!(admit("9.9.9.9").is_some(), "one was closed");
        let proxied: Vec<_> = (0..100).map(|_| admit("10.1.2.3")).collect();
        assert!(proxied.iter().all(Option::is_some), "a trusted proxy is not counted");
        let networks: Vec<_> = (0..100).filter_map(|net| admit(&format!("2001:db8:0:{net:x}::1"))).collect();
        assert_eq!(networks.len(), 8, "a /56 has four times as many as a /64");
        drop((second, networks));
        assert!(lock(&clients.open).is_empty());
    }
}
