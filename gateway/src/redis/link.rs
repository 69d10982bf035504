//! One core's connection to Redis: kept open, opened again after a loss, and full duplex.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use contract::stock::BatchReply;
use foundation::{Clock, SystemClock, logs::FailureStreak, redis::Server};
use gateway_core::{Batch, BatchId, PipeError, RedisEvent, RedisPipe, Unavailable};
use ledger::confirmed::RecentHolds;
use tokio::sync::oneshot;

use super::Settings;
use crate::net::{Net, Reader, Writer, first};
#[cfg(feature = "tls")]
use crate::{thread::CONNECT_MAX, tls};

/// Between two attempts to connect.
const RECONNECT_EVERY: Duration = Duration::from_millis(50);
/// Room for one read; a batch's reply is about 2 KiB.
const READ_BYTES: usize = 16 * 1024;

/// One core's side of the connection. No borrow crosses an await.
pub(crate) struct Link {
    pipe: RefCell<RedisPipe>,
    /// The writer's waker while there is nothing to write.
    writer: Cell<Option<Waker>>,
    /// Set when there may be replies; the waker of the task that takes them while it waits.
    replied: Cell<bool>,
    taker: Cell<Option<Waker>>,
    /// Why the connection must be given up.
    broken: RefCell<Option<PipeError>>,
    server: Arc<Server>,
    recent: Arc<RecentHolds>,
    started: Instant,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    PipeError(#[from] PipeError),
}

impl Link {
    /// `recent` gets the holds that Redis may forget.
    pub(crate) fn new(settings: Settings, recent: Arc<RecentHolds>) -> Self {
        let Settings { server, config, .. } = settings;
        Self {
            pipe: RefCell::new(RedisPipe::new(config)),
            writer: Cell::new(None),
            replied: Cell::new(false),
            taker: Cell::new(None),
            broken: RefCell::new(None),
            server,
            recent,
            started: Instant::now(),
        }
    }

    /// Asks the ledger of the batch's activity, unless too much of what this core has confirmed is not on the log.
    /// [`Link::poll_reply`] returns the reply.
    pub(crate) fn send(&self, batch: Batch) {
        let mut pipe = self.pipe.borrow_mut();
        if self.recent.is_full(SystemClock.now_ms()) {
            pipe.refuse(batch);
        } else {
            pipe.send(batch, self.started.elapsed());
        }
        drop(pipe);
        self.moved();
    }

    /// Checks deadlines.
    pub(crate) fn tick(&self) {
        if let Err(broken) = self.pipe.borrow_mut().handle_timeout(self.started.elapsed()) {
            self.broken.replace(Some(broken));
        }
        self.moved();
    }

    /// A batch and the ledger's reply to it.
    pub(crate) fn poll_reply(&self) -> Option<(BatchId, Result<BatchReply, Unavailable>)> {
        let (batch, reply) = self.pipe.borrow_mut().poll_reply()?;
        if let Ok(reply) = &reply {
            self.recent.remember(batch.activity, &batch.reservations, reply, SystemClock.now_ms());
        }
        Some((batch.id, reply))
    }

    /// Ready once [`Link::poll_reply`] may have something. One task may wait for it.
    pub(crate) fn poll_replied(&self, context: &Context<'_>) -> Poll<()> {
        if self.replied.take() {
            return Poll::Ready(());
        }
        self.taker.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// After anything that may have moved the conversation.
    fn moved(&self) {
        self.log_events();
        self.replied.set(true);
        for waiting in [&self.taker, &self.writer] {
            if let Some(waker) = waiting.take() {
                waker.wake();
            }
        }
    }

    fn log_events(&self) {
        while let Some(event) = self.pipe.borrow_mut().poll_event() {
            match event {
                RedisEvent::Connected(run) => tracing::info!(run, "connected to Redis"),
                RedisEvent::BatchRefused { code, details } => tracing::warn!(code, details, "Redis refused a batch"),
                RedisEvent::Unreadable(error) => tracing::error!(%error, "a reply of Redis can't be read"),
            }
        }
    }

    /// The address of Redis now. A name is looked up on a thread of its own, because that blocks.
    async fn address(&self) -> io::Result<SocketAddr> {
        let (host, port) = self.server.host_and_port();
        if let Ok(ip) = host.parse() {
            return Ok(SocketAddr::new(ip, port));
        }
        let (sender, found) = oneshot::channel();
        let name = host.to_owned();
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(name, port)).map(|mut found| found.next());
            // The core may have ended.
            drop(sender.send(found));
        })?;
        let found = found.await.map_err(io::Error::other)??;
        found.ok_or_else(|| io::Error::other(format!("{host} has no address")))
    }
}

/// Connects, and reconnects after a loss, until the thread ends. Batches fail at once while there is no connection.
pub(crate) async fn run(link: Rc<Link>, net: impl Net) {
    let mut failures = FailureStreak::default();
    loop {
        let ended = match connect(&link, net).await {
            Ok((reader, writer)) => converse_as_configured(&link, reader, writer, net).await,
            Err(error) => Err(error),
        };
        let (lost, was_open) = ended.unwrap_or_else(|error| (LinkError::Io(error), false));
        link.pipe.borrow_mut().handle_lost();
        link.broken.take();
        link.moved();
        if was_open {
            failures.end();
        }
        if was_open || failures.count() {
            let (host, port) = link.server.host_and_port();
            tracing::warn!(host, port, %lost, "no connection to Redis");
        }
        net.sleep(RECONNECT_EVERY).await;
    }
}

async fn connect<N: Net>(link: &Link, net: N) -> io::Result<(N::Reader, N::Writer)> {
    net.connect(link.address().await?).await
}

/// Why the conversation ended, and whether it had begun well.
type Ended = (LinkError, bool);

/// Over TLS where the address says so.
#[cfg(feature = "tls")]
async fn converse_as_configured(
    link: &Link,
    reader: impl Reader,
    writer: impl Writer,
    net: impl Net,
) -> io::Result<Ended> {
    let Some(config) = link.server.tls() else { return Ok(converse(link, reader, writer).await) };
    let (host, _) = link.server.host_and_port();
    let late = async {
        net.sleep(CONNECT_MAX).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let (reader, writer) = first(tls::handshake(config.clone(), host, reader, writer), late).await?;
    Ok(converse(link, reader, writer).await)
}

#[cfg(not(feature = "tls"))]
async fn converse_as_configured(
    link: &Link,
    reader: impl Reader,
    writer: impl Writer,
    _net: impl Net,
) -> io::Result<Ended> {
    Ok(converse(link, reader, writer).await)
}

async fn converse(link: &Link, reader: impl Reader, writer: impl Writer) -> Ended {
    link.pipe.borrow_mut().handle_connected(link.started.elapsed());
    let lost = first(read(link, reader), write(link, writer)).await;
    (lost, link.pipe.borrow().is_open())
}

async fn read(link: &Link, mut reader: impl Reader) -> LinkError {
    let mut buf = Vec::with_capacity(READ_BYTES);
    loop {
        let result;
        (result, buf) = reader.read(buf).await;
        match result {
            Ok(0) => return LinkError::Io(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                let handled = link.pipe.borrow_mut().handle_input(&buf, link.started.elapsed());
                buf.clear();
                link.moved();
                if let Err(broken) = handled {
                    return broken.into();
                }
            }
            Err(error) => return error.into(),
        }
    }
}

async fn write(link: &Link, mut writer: impl Writer) -> LinkError {
    let mut buf = Vec::new();
    loop {
        let waiting = poll_fn(|context| {
            if let Some(broken) = link.broken.take() {
                return Poll::Ready(Err(broken));
            }
            if link.pipe.borrow_mut().poll_transmit(&mut buf) {
                return Poll::Ready(Ok(()));
            }
            link.writer.set(Some(context.waker().clone()));
            Poll::Pending
        });
        if let Err(broken) = waiting.await {
            return broken.into();
        }
        let result;
        (result, buf) = writer.write_all(std::mem::take(&mut buf)).await;
        if let Err(error) = result {
            return error.into();
        }
        buf.clear();
    }
}
