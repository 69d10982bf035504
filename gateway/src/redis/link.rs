//! One core's connection to Redis: kept open, opened again after a loss, and full duplex.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use gateway_core::Batch;
use tokio::sync::oneshot;

use super::{
    Settings,
    pipe::{Broken, Pipe},
    recent::Recent,
};
use crate::{
    net::{Net, Reader, Writer, first},
    shard::Shard,
};

/// Between two tries to connect.
const RECONNECT_EVERY: Duration = Duration::from_millis(50);
/// Failures that are not logged between two that are.
const QUIET_FAILURES: u32 = 100;
/// Room for one read; a batch's reply is about 2 KiB.
const READ_BYTES: usize = 16 * 1024;

/// What a core has of Redis. No borrow crosses an await.
pub(crate) struct Link {
    pipe: RefCell<Pipe>,
    /// The writer's waker while there is nothing to write.
    writer: Cell<Option<Waker>>,
    /// Why the connection must be given up.
    broken: RefCell<Option<Broken>>,
    host: String,
    port: u16,
    recent: Arc<Recent>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Broken(#[from] Broken),
}

impl Link {
    pub(crate) fn new(settings: Settings, recent: Arc<Recent>) -> Self {
        let Settings { host, port, login, window, reply_timeout, .. } = settings;
        let pipe = RefCell::new(Pipe::new(login, window, reply_timeout));
        Self { pipe, writer: Cell::new(None), broken: RefCell::new(None), host, port, recent }
    }

    /// Asks the ledger of the batch's activity; [`Link::pass_on`] has the answer.
    pub(crate) fn send(&self, batch: Batch, now: Duration) {
        self.pipe.borrow_mut().send(batch, now);
        self.wake_writer();
    }

    /// Deadlines.
    pub(crate) fn tick(&self, now: Duration) {
        if let Err(broken) = self.pipe.borrow_mut().handle_timeout(now) {
            self.broken.replace(Some(broken));
        }
        self.wake_writer();
    }

    fn wake_writer(&self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Gives the core what came for it.
    pub(crate) fn pass_on(&self, shard: &Shard) {
        loop {
            let next = self.pipe.borrow_mut().poll_reply();
            let Some((batch, reply)) = next else { return };
            if let Ok(reply) = &reply {
                self.recent.remember(&batch, reply, shard.now().wall_ms);
            }
            shard.handle_letter((batch.id, reply));
        }
    }

    /// Where Redis is now. A name is looked up on a thread of its own, since that blocks.
    async fn address(&self) -> io::Result<SocketAddr> {
        if let Ok(ip) = self.host.parse() {
            return Ok(SocketAddr::new(ip, self.port));
        }
        let (sender, found) = oneshot::channel();
        let (host, port) = (self.host.clone(), self.port);
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(host, port)).map(|mut found| found.next());
            // Whoever asked may have ended.
            drop(sender.send(found));
        })?;
        let found = found.await.map_err(io::Error::other)??;
        found.ok_or_else(|| io::Error::other(format!("{} has no address", self.host)))
    }
}

/// Keeps the shard's connection to Redis for as long as the thread runs. While there is none, batches
/// are answered unavailable at once.
pub(crate) async fn run(shard: Rc<Shard>, net: impl Net) {
    let Some(link) = shard.redis() else { return };
    let mut failures = 0_u32;
    loop {
        let (lost, was_open) = match connect(link, net).await {
            Ok((reader, writer)) => {
                link.pipe.borrow_mut().handle_connected(shard.now().mono);
                let lost = first(read(&shard, link, reader), write(link, writer)).await;
                (lost, link.pipe.borrow().is_open())
            }
            Err(error) => (Lost::Io(error), false),
        };
        link.pipe.borrow_mut().handle_lost();
        link.broken.take();
        link.pass_on(&shard);
        failures = if was_open { 0 } else { failures + 1 };
        if failures % QUIET_FAILURES <= 1 {
            tracing::warn!(host = link.host, port = link.port, %lost, "no connection to Redis");
        }
        net.sleep(RECONNECT_EVERY).await;
    }
}

async fn connect<N: Net>(link: &Link, net: N) -> io::Result<(N::Reader, N::Writer)> {
    net.connect(link.address().await?).await
}

async fn read(shard: &Shard, link: &Link, mut reader: impl Reader) -> Lost {
    let mut buf = Vec::with_capacity(READ_BYTES);
    loop {
        let result;
        (result, buf) = reader.read(buf).await;
        match result {
            Ok(0) => return Lost::Io(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                let handled = link.pipe.borrow_mut().handle_input(&buf, shard.now().mono);
                buf.clear();
                link.pass_on(shard);
                // A script that was not known is sent again.
                link.wake_writer();
                if let Err(broken) = handled {
                    return broken.into();
                }
            }
            Err(error) => return error.into(),
        }
    }
}

async fn write(link: &Link, mut writer: impl Writer) -> Lost {
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
