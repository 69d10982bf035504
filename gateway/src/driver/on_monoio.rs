//! The monoio driver: io_uring, and epoll where the kernel refuses io_uring.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use monoio::{
    IoUringDriver, LegacyDriver, RuntimeBuilder,
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    mailbox::Mailbox,
    net::{Net, Reader, Writer},
    redis,
    session::{self, Socket},
    shard::Shard,
    thread::{ACCEPT_RETRY, CONNECT_MAX, CoreThread, DRAIN_MAX, TICK},
};

/// Submission queue entries of one ring.
const RING_ENTRIES: u32 = 4096;
/// How long a client that was refused may still send before the socket is closed under it.
const LINGER: Duration = Duration::from_millis(500);

impl<T: AsyncReadRent> Reader for T {
    async fn read(&mut self, buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        // monoio fills a buffer from its start; a slice from the end on makes it append.
        let at = buf.len();
        let (result, slice) = AsyncReadRent::read(self, buf.slice_mut(at..)).await;
        (result, slice.into_inner())
    }
}

impl<T: AsyncWriteRent> Writer for T {
    async fn write_all(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let (result, buf) = AsyncWriteRentExt::write_all(self, buf).await;
        (result.map(drop), buf)
    }
}

/// monoio as a client.
struct Monoio;

impl Net for Monoio {
    type Reader = OwnedReadHalf<TcpStream>;
    type Writer = OwnedWriteHalf<TcpStream>;

    async fn connect(&self, address: SocketAddr) -> io::Result<(Self::Reader, Self::Writer)> {
        let connected = timeout(CONNECT_MAX, TcpStream::connect_addr(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(stream.into_split())
    }

    async fn sleep(&self, duration: Duration) {
        sleep(duration).await;
    }
}

impl Socket for TcpStream {
    async fn linger(&mut self) {
        if self.shutdown().await.is_err() {
            return;
        }
        let drain = async {
            let mut buf = Vec::with_capacity(4096);
            loop {
                let (result, filled) = AsyncReadRent::read(self, buf).await;
                buf = filled;
                if !matches!(result, Ok(1..)) {
                    return;
                }
            }
        };
        // Whether the client closed or the time ran out, the socket is closed now.
        drop(timeout(LINGER, drain).await);
    }
}

/// Runs `thread` until it is stopped and drained.
pub(crate) fn run(thread: CoreThread) -> io::Result<()> {
    if let Some(cpu) = thread.cpu
        && let Err(error) = monoio::utils::bind_to_cpu_set([cpu])
    {
        tracing::warn!(%error, cpu, "a core thread can't stay on its processor");
    }
    if monoio::utils::detect_uring() {
        match RuntimeBuilder::<IoUringDriver>::new().enable_timer().with_entries(RING_ENTRIES).build() {
            Ok(mut runtime) => return runtime.block_on(serve(thread)),
            Err(error) => tracing::warn!(%error, "io_uring is refused; going on with epoll"),
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    // epoll tells when to accept; io_uring waits in the accept itself and wants a socket that blocks.
    thread.socket.set_nonblocking(true)?;
    runtime.block_on(serve(thread))
}

async fn serve(thread: CoreThread) -> io::Result<()> {
    let CoreThread { socket, open, parts, mailbox, stop, .. } = thread;
    let shard = Shard::new(parts);
    let Mailbox { mut letters, mut controls } = mailbox;
    monoio::spawn(redis::run(shard.clone(), Monoio));
    {
        let shard = shard.clone();
        monoio::spawn(async move { shard.flush().await });
    }
    {
        let shard = shard.clone();
        monoio::spawn(async move {
            while let Some(letter) = letters.recv().await {
                shard.handle_letter(letter);
            }
        });
    }
    {
        let shard = shard.clone();
        monoio::spawn(async move {
            while let Some(control) = controls.recv().await {
                shard.handle_control(control);
            }
        });
    }
    {
        let shard = shard.clone();
        monoio::spawn(async move {
            loop {
                sleep(TICK).await;
                shard.tick();
            }
        });
    }
    monoio::select! {
        () = stop.cancelled() => return Ok(()),
        () = open.cancelled() => {}
    }
    let listener = TcpListener::from_std(socket.into())?;
    monoio::select! {
        () = stop.cancelled() => {}
        () = accept(&listener, &shard) => {}
    }
    drop(listener);
    let stopped = Instant::now();
    shard.drain();
    while shard.connections() > 0 && stopped.elapsed() < DRAIN_MAX {
        sleep(TICK).await;
    }
    shard.tick();
    Ok(())
}

async fn accept(listener: &TcpListener, shard: &Rc<Shard>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Without it a small answer may wait for the client's acknowledgement.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "no TCP_NODELAY");
                }
                if let Ok(id) = shard.open(peer.ip()) {
                    let shard = shard.clone();
                    monoio::spawn(async move { session::serve(&shard, id, socket).await });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
