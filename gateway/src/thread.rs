//! What a core thread gets, and its limits.

use std::time::Duration;

use socket2::Socket;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{mailbox::Mailbox, shard::Parts};

/// How often deadlines are checked and figures are published.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Connections that may wait to be accepted, by core.
pub(crate) const BACKLOG: i32 = 4096;
/// Between two tries to accept after the process ran out of something (files, memory).
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long another server may take to accept a connection.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long a client that was refused may still send before the socket is closed under it.
pub(crate) const LINGER: Duration = Duration::from_millis(500);
/// How long open requests may take once the gateway stops.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Everything one core thread needs; it is moved there and stays.
pub(crate) struct CoreThread {
    /// The processor to stay on.
    pub(crate) cpu: Option<usize>,
    /// Bound; it listens once `open` is cancelled.
    pub(crate) socket: Socket,
    /// Cancelled once the cores have replayed the log.
    pub(crate) open: CancellationToken,
    /// Notified once the thread listens.
    pub(crate) listens: oneshot::Sender<()>,
    pub(crate) parts: Parts,
    pub(crate) mailbox: Mailbox,
    /// Cancelled: no new connections, finish what is open, return.
    pub(crate) stop: CancellationToken,
}
