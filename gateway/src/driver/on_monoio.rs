//! The monoio driver: io_uring, and epoll where the kernel refuses io_uring.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use monoio::{
    IoUringDriver, LegacyDriver, RuntimeBuilder,
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use socket2::Socket;

use crate::{
    net::{Listening, Net, Reader, Writer},
    serve::serve,
    thread::{CONNECT_MAX, CoreThread},
};

/// Submission queue entries of one ring.
const RING_ENTRIES: u32 = 4096;

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

    async fn shutdown(&mut self) -> io::Result<()> {
        AsyncWriteRent::shutdown(self).await
    }
}

#[derive(Clone, Copy)]
pub(super) struct Monoio;

impl Net for Monoio {
    type Reader = OwnedReadHalf<TcpStream>;
    type Writer = OwnedWriteHalf<TcpStream>;

    async fn connect(self, address: SocketAddr) -> io::Result<(Self::Reader, Self::Writer)> {
        let connected = timeout(CONNECT_MAX, TcpStream::connect_addr(address)).await;
        let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(stream.into_split())
    }

    async fn sleep(self, duration: Duration) {
        sleep(duration).await;
    }

    fn spawn(self, task: impl Future<Output = ()> + 'static) {
        monoio::spawn(task);
    }
}

impl Listening for Monoio {
    type Listener = TcpListener;
    type Client = TcpStream;

    fn listener(self, socket: Socket) -> io::Result<TcpListener> {
        TcpListener::from_std(socket.into())
    }

    async fn accept(self, listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = listener.accept().await?;
        Ok((stream, peer.ip()))
    }
}

/// Runs `thread` until it is stopped and drained.
pub(crate) fn run(thread: CoreThread) -> io::Result<()> {
    run_with(thread, |thread| serve(thread, Monoio))
}

/// The same, with what brings the requests.
pub(super) fn run_with<F: Future<Output = io::Result<()>>>(
    thread: CoreThread,
    serve: impl FnOnce(CoreThread) -> F,
) -> io::Result<()> {
    if let Some(cpu) = thread.cpu {
        stay_on(cpu);
    }
    if monoio::utils::detect_uring() {
        match RuntimeBuilder::<IoUringDriver>::new().enable_timer().with_entries(RING_ENTRIES).build() {
            Ok(mut runtime) => return runtime.block_on(serve(thread)),
            Err(error) => tracing::warn!(%error, "io_uring is refused; going on with epoll"),
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    // epoll reports when to accept; io_uring waits in the accept itself and wants a socket that blocks.
    thread.socket.set_nonblocking(true)?;
    runtime.block_on(serve(thread))
}

/// Keeps this thread on one processor.
pub(super) fn stay_on(cpu: usize) {
    if let Err(error) = monoio::utils::bind_to_cpu_set([cpu]) {
        tracing::warn!(%error, cpu, "a core thread can't stay on its processor");
    }
}
